//! Servers over HTTP whose answers are slow, too large, or among other things, written by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assistd::run::error::Reason;
use assistd::run::ports::{Connection, Toolbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{call, child, loopback, pool, until};

/// What becomes of the stream that answers a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stream {
    /// It comes in tiny pieces.
    Trickles,
    /// It stops in the middle of the answer, and stays open.
    Stalls,
    /// Comments keep it open, and the answer never comes.
    Idles,
    /// Answers to something else come first.
    AnswersOthers,
    /// Very many notifications come first.
    Floods,
    /// So many that they are too much in all.
    FloodsAtLength,
    /// The answer is larger than is taken.
    IsTooLarge,
    /// The same, and it is no stream.
    IsTooLargeAsJson,
    /// The answer is no JSON.
    IsMalformed,
    /// The same, as an event.
    IsMalformedEvent,
    /// There are no calls: it does not answer when a session begins.
    HangsAtInitialize,
    /// There are no calls: it does not list its tools.
    HangsAtList,
    /// There are no calls: what it lists is no JSON.
    ListIsMalformed,
    /// The tool that it lists has a schema that takes forever to check against.
    ListsABomb,
}

/// How much a server sends that sends too much, in pieces of this many bytes.
const HUGE_BYTES: usize = 100 * 1024 * 1024;
const PIECE_BYTES: usize = 1024 * 1024;
/// Whether a client has read all of that.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
/// How many notifications a server sends that floods; and of one that floods at length, how much in all and how long each is.
const FLOOD: usize = 20_000;
const FLOOD_BYTES: usize = 32 * 1024 * 1024;
const FLOOD_PIECE_BYTES: usize = 16 * 1024;

/// What is no JSON.
const MALFORMED: &str = r#"{"jsonrpc": "2.0", "id": "#;

/// A server that answers calls so, until the set is dropped.
pub async fn slow(stream: Stream) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind(loopback()).await.expect("bind");
    let url = format!("http://{}/mcp", listener.local_addr().expect("address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            connections.spawn(serve(socket, stream));
        }
    });
    (url, tasks)
}

/// One request for each connection.
async fn serve(mut socket: TcpStream, stream: Stream) {
    let Some((is_post, request)) = read(&mut socket).await else {
        return;
    };
    let method = request["method"].as_str().unwrap_or_default();
    let result = match method {
        _ if !is_post => return write(&mut socket, "405 Method Not Allowed", "").await,
        _ if request["id"].is_null() => return write(&mut socket, "202 Accepted", "").await,
        "initialize" if stream == Stream::HangsAtInitialize => return hang(&mut socket).await,
        "tools/list" if stream == Stream::HangsAtList => return hang(&mut socket).await,
        "tools/list" if stream == Stream::ListIsMalformed => {
            return write(&mut socket, "200 OK", MALFORMED).await;
        }
        "tools/list" if stream == Stream::ListsABomb => {
            json!({"tools": [{"name": "work", "inputSchema": super::faults::bomb()}]})
        }
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "slow", "version": "1"},
        }),
        "tools/list" => json!({"tools": [{"name": "work", "inputSchema": {"type": "object"}}]}),
        "tools/call" => {
            let _ = answer(&mut socket, stream, &request["id"]).await;
            return;
        }
        "ping" => json!({}),
        _ => {
            let error = json!({"code": -32601, "message": "no such method"});
            let answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
            return write(&mut socket, "200 OK", &answer.to_string()).await;
        }
    };
    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
    write(&mut socket, "200 OK", &answer.to_string()).await;
}

/// Says nothing until the client hangs up.
async fn hang(socket: &mut TcpStream) {
    let _ = socket.read(&mut [0]).await;
}

async fn read(socket: &mut TcpStream) -> Option<(bool, Value)> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if body.len() >= length {
                let request = serde_json::from_str(body).unwrap_or_default();
                return Some((head.starts_with("post"), request));
            }
        }
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn write(socket: &mut TcpStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Answers a call, until the client hangs up.
async fn answer(socket: &mut TcpStream, stream: Stream, id: &Value) -> std::io::Result<()> {
    let kind = match stream {
        Stream::IsTooLargeAsJson | Stream::IsMalformed => "application/json",
        _ => "text/event-stream",
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let content = json!([{"type": "text", "text": "done"}]);
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"content": content}});
    let event = |message: Value| format!("event: message\ndata: {message}\n\n");
    match stream {
        Stream::Trickles | Stream::Stalls | Stream::Idles => {
            trickle(socket, stream, &answer).await;
            return Ok(());
        }
        Stream::IsMalformed => return socket.write_all(MALFORMED.as_bytes()).await,
        Stream::IsMalformedEvent => {
            let event = format!("event: message\ndata: {MALFORMED}\n\n");
            return socket.write_all(event.as_bytes()).await;
        }
        Stream::HangsAtInitialize | Stream::HangsAtList | Stream::ListIsMalformed | Stream::ListsABomb => {}
        Stream::AnswersOthers => {
            for other in [json!(4711), json!("x")] {
                let other = json!({"jsonrpc": "2.0", "id": other, "result": {"content": []}});
                socket.write_all(event(other).as_bytes()).await?;
            }
        }
        Stream::Floods => {
            let params = json!({"level": "error", "data": "too much"});
            let noise = event(json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}));
            for _ in 0..FLOOD {
                socket.write_all(noise.as_bytes()).await?;
            }
        }
        Stream::FloodsAtLength => {
            let params = json!({"level": "error", "data": "too much ".repeat(FLOOD_PIECE_BYTES / 9)});
            let noise = event(json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}));
            for _ in 0..FLOOD_BYTES / FLOOD_PIECE_BYTES {
                socket.write_all(noise.as_bytes()).await?;
            }
        }
        Stream::IsTooLarge | Stream::IsTooLargeAsJson => {
            let begun = format!(r#"{{"jsonrpc": "2.0", "id": {id}, "result": {{"content": [{{"text": ""#);
            let field = if stream == Stream::IsTooLarge {
                "data: "
            } else {
                ""
            };
            socket.write_all(format!("{field}{begun}").as_bytes()).await?;
            let piece = vec![b'x'; PIECE_BYTES];
            for _ in 0..HUGE_BYTES / PIECE_BYTES {
                socket.write_all(&piece).await?;
            }
            IS_TAKEN.store(true, Ordering::SeqCst);
            return Ok(());
        }
    }
    socket.write_all(event(answer).as_bytes()).await
}

async fn trickle(socket: &mut TcpStream, stream: Stream, answer: &Value) {
    let event = format!(": still here\n\nevent: message\ndata: {answer}\n\n");
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let pieces = match stream {
        Stream::Trickles => event.as_bytes(),
        Stream::Stalls => &event.as_bytes()[..event.len() / 2],
        _ => b"",
    };
    for piece in pieces.chunks(5) {
        ticks.tick().await;
        if socket.write_all(piece).await.is_err() {
            return;
        }
    }
    if stream == Stream::Trickles {
        return;
    }
    loop {
        ticks.tick().await;
        let comment: &[u8] = if stream == Stream::Idles {
            b": still here\n\n"
        } else {
            b""
        };
        if socket.write_all(comment).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_stream_of_events_may_be_slow_and_not_silent() {
    for (stream, timeout_ms, expected) in [
        (Stream::Trickles, 60_000, Ok("done")),
        (Stream::Stalls, 300, Err("was silent for 300 ms")),
        (Stream::Idles, 300, Err("was silent for 300 ms")),
    ] {
        let (url, _server) = slow(stream).await;
        let pool = pool(json!({"slow": {"url": url, "timeout_ms": timeout_ms}, "good": child()})).await;
        let called = call(&pool, "slow__work", json!({})).await;
        match expected {
            Ok(text) => assert_eq!(called.expect("an output").text(), text, "{stream:?}"),
            Err(text) => {
                let error = called.expect_err("silence");
                assert_eq!(error.reason(), Reason::DeadlineExceeded, "{stream:?}");
                assert!(error.message().contains(text), "{stream:?}: {error}");
                until("it is told", || {
                    matches!(&pool.servers()[0].connection, Connection::Degraded(reason) if reason.contains(text))
                })
                .await;
            }
        }
        assert!(call(&pool, "good__echo", json!({})).await.is_ok(), "{stream:?}");
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn an_answer_is_found_among_other_things_and_may_not_be_too_large() {
    for (stream, expected) in [
        (Stream::AnswersOthers, "done"),
        (Stream::Floods, "done"),
        (
            Stream::IsTooLarge,
            "its answer is larger than the 16777216 bytes that are taken",
        ),
        (
            Stream::IsTooLargeAsJson,
            "MCP server 'bad': the server's answer is larger than 16777216 bytes",
        ),
    ] {
        let (url, _server) = slow(stream).await;
        let pool = pool(json!({"bad": {"url": url}, "good": child()})).await;
        let output = call(&pool, "bad__work", json!({})).await.expect("an output");
        assert_eq!(output.text(), expected, "{stream:?}");
        assert_eq!(output.is_error, expected != "done", "{stream:?}");
        assert_eq!(pool.servers()[0].connection, Connection::Ready, "{stream:?}");
        assert!(call(&pool, "good__echo", json!({})).await.is_ok(), "{stream:?}");
        pool.shutdown().await;
        assert!(
            !IS_TAKEN.load(Ordering::SeqCst),
            "{stream:?}: it is not kept in memory"
        );
    }
}

/// What is seen of a server that does something wrong.
#[derive(Debug)]
enum Seen {
    /// It is down, for a reason that holds this.
    Down(&'static str),
    /// It is connected, and does not work in part, for a reason that holds this.
    Degraded(&'static str),
    /// A call fails so.
    Failure(Reason),
}

#[tokio::test]
async fn whatever_a_server_over_http_does_wrong_the_pool_says_so_and_the_others_work() {
    const HANGS_MS: u64 = 2_000;
    const PATIENT_MS: u64 = 25_000;
    for (stream, connect_timeout_ms, expected) in [
        (
            Stream::HangsAtInitialize,
            HANGS_MS,
            Seen::Down("not connected within 2000 ms"),
        ),
        (
            Stream::HangsAtList,
            HANGS_MS,
            Seen::Down("the tools were not listed within 2000 ms"),
        ),
        (Stream::ListIsMalformed, PATIENT_MS, Seen::Down("")),
        (
            Stream::ListsABomb,
            PATIENT_MS,
            Seen::Degraded("work is left out: its input schema stands for more than"),
        ),
        (
            Stream::IsMalformed,
            PATIENT_MS,
            Seen::Failure(Reason::OutcomeUnknown),
        ),
        (
            Stream::IsMalformedEvent,
            PATIENT_MS,
            Seen::Failure(Reason::OutcomeUnknown),
        ),
    ] {
        let (url, _server) = slow(stream).await;
        let bad = json!({
            "url": url, "connect_timeout_ms": connect_timeout_ms, "timeout_ms": PATIENT_MS,
        });
        let pool = pool(json!({"bad": bad, "good": child()})).await;
        let said = pool.servers()[0].connection.clone();
        match expected {
            Seen::Down(text) => assert!(
                matches!(&said, Connection::Down(reason) if reason.contains(text)),
                "{stream:?}: {said:?}"
            ),
            Seen::Degraded(text) => {
                assert!(
                    matches!(&said, Connection::Degraded(reason) if reason.contains(text)),
                    "{stream:?}: {said:?}"
                );
                assert!(pool.catalogue().get("bad__work").is_none(), "{stream:?}");
            }
            Seen::Failure(reason) => {
                let error = call(&pool, "bad__work", json!({})).await.expect_err("no answer");
                assert_eq!(error.reason(), reason, "{stream:?}: {error}");
                assert!(
                    error.message().contains("it is not known what the call has done"),
                    "{stream:?}: {error}"
                );
            }
        }
        assert!(call(&pool, "good__echo", json!({})).await.is_ok(), "{stream:?}");
        pool.shutdown().await;
    }
}
