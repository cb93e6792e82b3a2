//! The model's adapter against a server that says exactly what a test wants.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assistd::model::{Config, Dialect, OpenAi, Secret};
use assistd::run::catalogue::{Annotations, Catalogue, Tool, ToolDescription};
use assistd::run::error::{Error, Reason};
use assistd::run::id::{CallId, MessageId, Mint, RunId, ThreadId};
use assistd::run::message::{
    CallOutput, Content, Media, MediaSource, Message, Part, Role, ToolCall, ToolOutput,
};
use assistd::run::model::AttemptResult;
use assistd::run::ports::{Finish, Model, ModelEvent, ModelRequest};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::description::{Bench, Judge};

mod options;

const DIALECTS: [Dialect; 3] = [Dialect::Responses, Dialect::ChatCompletions, Dialect::Assistants];
const PATIENCE: Duration = Duration::from_secs(10);
const CHAT_OK: &str =
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// What the server saw.
#[derive(Debug)]
enum Seen {
    Connected,
    Request { head: String, body: Vec<u8> },
    Closed,
}

/// What the server does with a request.
#[derive(Clone)]
enum Answer {
    /// Sends these bytes, as they are.
    Raw(String),
    /// Sends these bytes and then nothing, with the connection open.
    Hang(String),
}

fn ok(body: &str) -> Answer {
    Answer::Raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A refusal of what the model is asked. In the Assistants dialect it is also all that has to be there before: a list with
/// our assistant, a thread, and a run, which has failed.
fn refused(dialect: Dialect) -> Answer {
    match dialect {
        Dialect::Responses | Dialect::ChatCompletions => refusal("400 Bad Request", ""),
        Dialect::Assistants => object(&json!({
            "object": "thread.run", "id": "id_1", "thread_id": "id_1", "status": "failed",
            "last_error": {"code": "invalid_prompt", "message": "no"},
            "data": [{"id": "asst_1", "metadata": {"made_by": "assistd"}}],
        })),
    }
}

fn refusal(head: &str, body: &str) -> Answer {
    Answer::Raw(format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// What the server saw, as it came. Requests are judged, and the test that drops this fails if one was not as described.
struct Seeing {
    seen: mpsc::UnboundedReceiver<Seen>,
    _judge: Judge,
}

impl Deref for Seeing {
    type Target = mpsc::UnboundedReceiver<Seen>;

    fn deref(&self) -> &Self::Target {
        &self.seen
    }
}

impl DerefMut for Seeing {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.seen
    }
}

/// Serves one answer after the other, the last one for ever.
async fn serve(answers: Vec<Answer>) -> (String, Seeing) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, seen) = mpsc::unbounded_channel();
    let judge = Judge::default();
    let bench = judge.bench();
    let seeing = Seeing { seen, _judge: judge };
    tokio::spawn(async move {
        let mut answers = answers.into_iter().peekable();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = sender.send(Seen::Connected);
            while let Some(request) = read_request(&mut socket, &bench).await {
                let _ = sender.send(request);
                let answer = answers.next().unwrap();
                if answers.peek().is_none() {
                    answers = vec![answer.clone()].into_iter().peekable();
                }
                match answer {
                    Answer::Raw(bytes) => socket.write_all(bytes.as_bytes()).await.unwrap(),
                    Answer::Hang(bytes) => {
                        socket.write_all(bytes.as_bytes()).await.unwrap();
                        let _ = socket.read(&mut [0; 16]).await;
                        break;
                    }
                }
            }
            let _ = sender.send(Seen::Closed);
        }
    });
    (base, seeing)
}

/// A request, which is judged.
async fn read_request(socket: &mut TcpStream, bench: &Bench) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bench.request(head.lines().next().unwrap(), &body);
                return Some(Seen::Request { head, body });
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn request_seen(seen: &mut Seeing) -> (String, Value) {
    loop {
        let next = tokio::time::timeout(PATIENCE, seen.recv())
            .await
            .unwrap()
            .unwrap();
        if let Seen::Request { head, body } = next {
            return (head, serde_json::from_slice(&body).unwrap());
        }
    }
}

/// The request that the model is asked with; in the Assistants dialect, the one for a run.
async fn model_asked(dialect: Dialect, seen: &mut Seeing) -> (String, Value) {
    loop {
        let next = tokio::time::timeout(PATIENCE, seen.recv())
            .await
            .unwrap()
            .unwrap();
        let Seen::Request { head, body } = next else {
            continue;
        };
        let path = head.split(' ').nth(1).unwrap();
        if dialect != Dialect::Assistants || (head.starts_with("post ") && path.ends_with("/runs")) {
            return (head, serde_json::from_slice(&body).unwrap());
        }
    }
}

fn config(base: &str) -> Config {
    Config {
        base_url: Some(base.to_owned()),
        api_key: Some(Secret::new("sk-very-secret")),
        model: "m".to_owned(),
        ..Config::default()
    }
}

fn message(role: Role, content: Vec<Part>) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::new(&mut Mint::System),
        role,
        content,
        run: None,
        incomplete: false,
        create_time: SystemTime::UNIX_EPOCH,
        metadata: Default::default(),
    })
}

fn request(messages: Vec<Arc<Message>>) -> ModelRequest {
    ModelRequest {
        run: RunId::new(&mut Mint::System),
        thread: None,
        caller: String::new(),
        model: String::new(),
        instructions: String::new(),
        messages,
        unasked: 0,
        tools: None,
        max_output_tokens: None,
        estimated_tokens: None,
        options: Arc::default(),
        deadline: None,
    }
}

fn hello() -> ModelRequest {
    request(vec![message(Role::User, vec![Part::Text("hello".into())])])
}

/// Everything that a request can hold.
fn everything() -> ModelRequest {
    let call = CallId::new(&mut Mint::System);
    let media = |source| Media {
        detail: None,
        source,
        mime_type: String::new(),
        name: String::new(),
    };
    let url = || MediaSource::Url("http://127.0.0.1/x".into());
    let base64 = || MediaSource::Base64("aGk=".into());
    let tool = |name: &str, input_schema| {
        Arc::new(Tool::new(ToolDescription {
            name: name.into(),
            server: "s".into(),
            remote_name: name.into(),
            title: String::new(),
            description: "does it".into(),
            input_schema: Arc::new(input_schema),
            output_schema: None,
            annotations: Annotations::default(),
            timeout: None,
            policy: Default::default(),
        }))
    };
    let schema = json!({"type": "object", "properties": {"q": {"type": "string"}}});
    ModelRequest {
        instructions: "be brief".into(),
        tools: Some(Arc::new(Catalogue::new(
            1,
            [
                tool("s__find", schema),
                tool("odd.name", json!({"type": "object"})),
            ],
        ))),
        max_output_tokens: Some(100),
        ..request(vec![
            message(Role::System, vec![Part::Text("more rules".into())]),
            message(
                Role::User,
                vec![
                    Part::Text("look".into()),
                    Part::Image(media(url())),
                    Part::Image(media(base64())),
                    Part::File(media(url())),
                    Part::File(media(base64())),
                ],
            ),
            message(
                Role::Assistant,
                vec![
                    Part::Text("calling".into()),
                    Part::ToolCall(ToolCall {
                        id: call.clone(),
                        tool: "odd.name".into(),
                        arguments: "{malformed".into(),
                    }),
                ],
            ),
            message(
                Role::Tool,
                vec![Part::ToolOutput(CallOutput {
                    call,
                    tool: "odd.name".into(),
                    output: ToolOutput {
                        content: vec![Content::Text("out".into())],
                        ..ToolOutput::default()
                    },
                    truncated: false,
                })],
            ),
            message(Role::Assistant, vec![Part::Refusal("no".into())]),
            message(Role::Assistant, vec![]),
            message(Role::User, vec![Part::Text("why".into())]),
        ])
    }
}

/// What it says, without how it came to that.
async fn ask(model: &OpenAi, request: ModelRequest) -> Result<Vec<ModelEvent>, Error> {
    let collected = async {
        let mut events = Vec::new();
        let mut stream = model.stream(request).await?;
        while let Some(event) = stream.next().await {
            match event? {
                ModelEvent::Sent(_) | ModelEvent::Attempt(_) => {}
                event => events.push(event),
            }
        }
        Ok(events)
    };
    tokio::time::timeout(PATIENCE, collected).await.unwrap()
}

fn hi() -> Vec<ModelEvent> {
    vec![
        ModelEvent::TextDelta("hi".into()),
        ModelEvent::Finished(Finish::Stop),
    ]
}

#[tokio::test]
async fn every_request_is_what_openais_description_says() {
    for (dialect, path) in [
        (Dialect::Responses, "post /v1/responses "),
        (Dialect::ChatCompletions, "post /v1/chat/completions "),
        (Dialect::Assistants, "post /v1/threads/runs "),
    ] {
        let (base, mut seen) = serve(vec![refused(dialect)]).await;
        let model = OpenAi::new(
            Config {
                dialect: Some(dialect),
                ..config(&base)
            },
            false,
        )
        .unwrap();
        let mut without_tools = everything();
        without_tools.tools = None;
        for request in [hello(), everything(), without_tools] {
            ask(&model, request).await.unwrap_err();
            let (head, body) = model_asked(dialect, &mut seen).await;
            assert!(head.starts_with(path), "{head}");
            assert!(head.contains("authorization: bearer sk-very-secret"), "{head}");
            assert_eq!(body["model"], "m");
            assert_eq!(body["stream"], true);
        }
    }
}

#[tokio::test]
async fn a_token_limit_is_asked_under_the_name_that_the_model_does_not_refuse() {
    let older = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#;
    let newer = r#"{"error":{"message":"Unrecognized request argument supplied: max_completion_tokens","type":"invalid_request_error","param":null,"code":null}}"#;
    let (older, newer) = (
        refusal("400 Bad Request", older),
        refusal("400 Bad Request", newer),
    );
    let (base, mut seen) = serve(vec![older.clone(), ok(CHAT_OK), ok(CHAT_OK), newer, older]).await;
    let model = OpenAi::new(config(&base), false).unwrap();
    let limited = || ModelRequest {
        max_output_tokens: Some(100),
        ..hello()
    };
    assert_eq!(ask(&model, limited()).await.unwrap(), hi());
    assert_eq!(ask(&model, limited()).await.unwrap(), hi());
    // Whoever refuses both is asked under each once.
    let error = ask(&model, limited()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ModelRequestRejected);
    let mut names = Vec::new();
    for _ in 0..5 {
        let (_, body) = request_seen(&mut seen).await;
        let limits = ["max_tokens", "max_completion_tokens"].map(|name| (name, body.get(name)));
        let told = limits.into_iter().filter(|(_, limit)| limit.is_some());
        names.push(
            told.map(|(name, limit)| format!("{name}={}", limit.unwrap()))
                .collect::<String>(),
        );
    }
    let (older, newer) = ("max_tokens=100", "max_completion_tokens=100");
    assert_eq!(names, [older, newer, newer, newer, older]);
}

#[tokio::test]
async fn tools_are_offered_under_names_that_providers_take_and_come_back_under_their_own() {
    let (base, mut seen) = serve(vec![refusal("400 Bad Request", "")]).await;
    let model = OpenAi::new(config(&base), false).unwrap();
    ask(&model, everything()).await.unwrap_err();
    let (_, body) = request_seen(&mut seen).await;
    assert_eq!(body["tools"][0]["function"]["name"], "s__find");
    let alias = body["tools"][1]["function"]["name"].as_str().unwrap();
    assert!(alias.starts_with("odd_name_"), "{alias}");
    assert_eq!(body["messages"][2]["tool_calls"][0]["function"]["name"], alias);
    assert_eq!(
        body["messages"][2]["tool_calls"][0]["id"],
        body["messages"][3]["tool_call_id"]
    );
    // Mistral takes no other ids.
    let id = body["messages"][2]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(
        id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{id}"
    );

    let chunk = json!({"choices": [{"delta": {"tool_calls": [{"function": {"name": alias}}]}}]});
    let (base, _seen) = serve(vec![ok(&format!("data: {chunk}\n\ndata: [DONE]\n\n"))]).await;
    let model = OpenAi::new(config(&base), false).unwrap();
    let events = ask(&model, everything()).await.unwrap();
    let tool = "odd.name".to_owned();
    assert_eq!(events[0], ModelEvent::ToolCallStarted { index: 0, tool });
}

#[tokio::test]
async fn a_passing_refusal_is_retried_and_a_lasting_one_is_not() {
    let limited = |headers: &str| refusal(&format!("429 Too Many Requests\r\n{headers}"), "");
    let quota = r#"{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let table = [
        (vec![limited("retry-after-ms: 30"), ok(CHAT_OK)], Ok(()), 2),
        (
            vec![limited("retry-after: 0.03"), refusal("503 Busy", ""), ok(CHAT_OK)],
            Ok(()),
            3,
        ),
        (
            vec![refusal("502 Bad Gateway", "")],
            Err(Reason::ModelUnavailable),
            3,
        ),
        (vec![limited("retry-after: 11")], Err(Reason::RateLimited), 1),
        (
            vec![refusal("429 Too Many Requests", quota)],
            Err(Reason::QuotaExceeded),
            1,
        ),
        (vec![refusal("500 Oops", "")], Err(Reason::ModelUnavailable), 1),
        (
            vec![refusal("302 Found\r\nlocation: /", "")],
            Err(Reason::ModelRequestRejected),
            1,
        ),
        (
            vec![refusal("401 Unauthorized", "")],
            Err(Reason::ModelCredentialsRejected),
            1,
        ),
    ];
    for (answers, expected, requests) in table {
        let (base, mut seen) = serve(answers).await;
        let model = OpenAi::new(config(&base), false).unwrap();
        let outcome = ask(&model, hello()).await;
        assert_eq!(model.status().trouble.is_some(), outcome.is_err());
        if let Err(error) = &outcome
            && error.reason() == Reason::RateLimited
        {
            assert_eq!(error.retry_delay(), Some(Duration::from_secs(11)));
        }
        let outcome = outcome
            .map(|events| assert_eq!(events, hi()))
            .map_err(|error| error.reason());
        assert_eq!(outcome, expected);
        let mut count = 0;
        while let Ok(next) = seen.try_recv() {
            count += usize::from(matches!(next, Seen::Request { .. }));
        }
        assert_eq!(count, requests, "{expected:?}");
    }
}

/// OpenRouter's limit of a day is in the headers, or in the body alone. It is not worth a retry.
#[tokio::test]
async fn a_limit_that_is_reset_at_a_moment_is_waited_for_until_then() {
    let headers = "X-RateLimit-Limit: 50\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 4102444800000";
    let body = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429,"metadata":{
        "headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"4102444800000"}}}}"#;
    for answer in [
        refusal(&format!("429 Too Many Requests\r\n{headers}"), ""),
        refusal("429 Too Many Requests", body),
    ] {
        let (base, mut seen) = serve(vec![answer, ok(CHAT_OK)]).await;
        let model = OpenAi::new(config(&base), false).unwrap();
        let error = ask(&model, hello()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::RateLimited);
        // The longest that callers are told.
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(3_600)));
        let mut count = 0;
        while let Ok(next) = seen.try_recv() {
            count += usize::from(matches!(next, Seen::Request { .. }));
        }
        assert_eq!(count, 1);
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{CHAT_OK}\r\n0\r\n\r\n",
        CHAT_OK.len()
    );
    let (base, mut seen) = serve(vec![Answer::Raw(chunked)]).await;
    let model = OpenAi::new(config(&base), false).unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&model, hello()).await.unwrap(), hi());
    }
    let mut connections = 0;
    while let Ok(next) = seen.try_recv() {
        connections += usize::from(matches!(next, Seen::Connected));
    }
    assert_eq!(connections, 1);
}

#[tokio::test]
async fn a_dropped_stream_closes_the_connection() {
    let begun = "HTTP/1.1 200 OK\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let (base, mut seen) = serve(vec![Answer::Hang(begun.into())]).await;
    let model = OpenAi::new(config(&base), false).unwrap();
    let mut stream = model.stream(hello()).await.unwrap();
    let sent = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap();
    assert!(matches!(sent, Some(Ok(ModelEvent::Sent(_)))));
    let begun = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap();
    assert!(matches!(begun, Some(Ok(ModelEvent::Attempt(_)))));
    let first = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap(), ModelEvent::TextDelta("hi".into()));
    drop(stream);
    while !matches!(
        tokio::time::timeout(PATIENCE, seen.recv())
            .await
            .unwrap()
            .unwrap(),
        Seen::Closed
    ) {}
}

#[tokio::test]
async fn a_provider_that_is_silent_breaks_off_or_is_not_there_is_unavailable() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let late = "the model provider did not answer in time";
    let broken = "the model provider failed or broke off its answer";
    let no_head = format!("{late}: no head of an answer within 200ms (first_byte_timeout)");
    let no_byte = format!("{late}: nothing came for 200ms (idle_timeout)");
    let page = format!("{broken}: what came is text/html, and neither JSON nor a stream of events");
    let of_type = |kind: &str, body: &str| {
        Answer::Raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    for (answer, message) in [
        (Answer::Hang(String::new()), no_head.as_str()),
        (Answer::Hang("HTTP/1.1 200 OK\r\n\r\n".into()), &no_byte),
        (Answer::Hang(begun.into()), &no_byte),
        (
            ok("data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n"),
            broken,
        ),
        (ok("<html>"), broken),
        (
            of_type("text/html; charset=utf-8", "<html>not for anybody</html>"),
            &page,
        ),
        (of_type("Text/HTML", ""), &page),
        // What may be the provider's own words is not told.
        (of_type("the key is 7/x", "<html>"), broken),
        (ok(""), broken),
        (Answer::Raw("nonsense\r\n\r\n".into()), broken),
    ] {
        let (base, _seen) = serve(vec![answer]).await;
        let mut config = config(&base);
        config.timeouts.first_byte = Duration::from_millis(200);
        config.timeouts.idle = Duration::from_millis(200);
        let error = ask(&OpenAi::new(config, false).unwrap(), hello())
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason(), error.message()),
            (Reason::ModelUnavailable, message)
        );
    }
    let (base, _seen) = serve(vec![refusal("307 Temporary Redirect", "")]).await;
    let error = ask(&OpenAi::new(config(&base), false).unwrap(), hello())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::ModelRequestRejected);
    assert!(
        error.message().contains("elsewhere (status 307)"),
        "{}",
        error.message()
    );
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let model = OpenAi::new(config(&format!("http://{closed}")), false).unwrap();
    let error = ask(&model, hello()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ModelUnavailable);
    assert_eq!(
        model.status().trouble.as_deref(),
        Some("the model provider cannot be reached")
    );
}

/// A server that takes no connections, and does not refuse them either, for as long as these are there: its queue of
/// those that wait to be taken is full.
#[cfg(target_os = "linux")]
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let one_more = || tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address));
    while let Ok(connected) = one_more().await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue does not become full");
    }
    (listener, waiting)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_given_up() {
    let (server, _waiting) = full().await;
    let mut config = config(&format!("http://{}/v1", server.local_addr().unwrap()));
    config.timeouts.connect = Duration::from_millis(200);
    config.timeouts.first_byte = 10 * PATIENCE;
    config.timeouts.idle = 10 * PATIENCE;
    let model = OpenAi::new(config, false).unwrap();
    let asked = tokio::time::timeout(PATIENCE, ask(&model, hello()));
    let error = asked.await.expect("it is given up in time").unwrap_err();
    assert_eq!(error.reason(), Reason::ModelUnavailable);
    assert_eq!(
        model.status().trouble.as_deref(),
        Some("the model provider cannot be reached: no connection within 200ms (connect_timeout)")
    );
}

/// Sends this again and again, for ever.
async fn murmuring(head: &'static str, again: &'static str) -> (String, Judge) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let judge = Judge::default();
    let bench = judge.bench();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            read_request(&mut socket, &bench).await;
            let mut bytes = head;
            while socket.write_all(bytes.as_bytes()).await.is_ok() {
                bytes = again;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    (base, judge)
}

#[tokio::test]
async fn bytes_that_say_nothing_do_not_keep_an_answer_alive() {
    let begun = "HTTP/1.1 200 OK\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let silent = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, again) in [
        (begun, ": ping\n\n"),
        (silent, ": ping\n\n"),
        (silent, "event: keepalive\ndata: {}\n\n"),
        // Nor white space before one object.
        (silent, " "),
        (silent, "{"),
        ("HTTP/1.1 500 Oops\r\n\r\n", "x"),
    ] {
        let (base, _judge) = murmuring(head, again).await;
        let mut config = config(&base);
        config.timeouts.event = Duration::from_millis(300);
        let model = OpenAi::new(config, false).unwrap();
        let asked = tokio::time::timeout(PATIENCE, ask(&model, hello()));
        let error = asked.await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Reason::ModelUnavailable, "{head}{again}");
        let is_late = error
            .message()
            .ends_with("no event came for 300ms (event_timeout)");
        assert_eq!(is_late, head.starts_with("HTTP/1.1 200"), "{}", error.message());
    }
    // What says something keeps it alive, however long it takes altogether.
    let (base, _judge) = murmuring(begun, &begun[silent.len()..]).await;
    let mut config = config(&base);
    config.timeouts.event = Duration::from_secs(1);
    let model = OpenAi::new(config, false).unwrap();
    let mut events = model.stream(hello()).await.unwrap();
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        assert!(matches!(event, Some(Ok(_))), "{event:?}");
    }
}

#[tokio::test]
async fn the_query_of_an_address_goes_with_every_request_and_is_shown_to_nobody() {
    let body = r#"{"error":{"message":"bad version 2024-10-21 or key k1%2Bsecret, k1+secret"}}"#;
    let (base, mut seen) = serve(vec![refusal("400 Bad Request", body)]).await;
    let config = config(&format!("{base}/?api-version=2024-10-21&key=k1%2Bsecret"));
    let model = OpenAi::new(config, false).unwrap();
    let error = ask(&model, hello()).await.unwrap_err();
    let (head, _) = request_seen(&mut seen).await;
    assert!(
        head.starts_with("post /v1/chat/completions?api-version=2024-10-21&key=k1%2bsecret http"),
        "{head}"
    );
    let told = format!("{error:?} {model:?} {:?}", model.status());
    assert!(!told.contains("k1"), "{told}");
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let model = OpenAi::new(
        Config {
            base_url: Some(format!("http://{closed}/?key=k1-secret")),
            ..Config::default()
        },
        false,
    )
    .unwrap();
    let error = ask(&model, hello()).await.unwrap_err();
    assert!(!format!("{error:?} {model:?}").contains("k1-"), "{error:?}");
}

#[tokio::test]
async fn neither_callers_nor_logs_see_the_key() {
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-very-secret"}}"#;
    let (base, _seen) = serve(vec![refusal("401 Unauthorized", body)]).await;
    let model = OpenAi::new(config(&base), false).unwrap();
    let error = ask(&model, hello()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ModelCredentialsRejected);
    assert!(!error.message().contains("Incorrect"));
    assert!(!format!("{error:?} {model:?}").contains("sk-very-secret"));
    assert!(format!("{error:?}").contains("Incorrect API key"));
}

#[tokio::test]
async fn what_stands_behind_the_scheme_in_a_header_is_a_secret_too() {
    let body = r#"{"error":{"message":"the token k1VerySecret is unknown","param":"k1VerySecret","code":"k1VerySecret"}}"#;
    let (base, _seen) = serve(vec![refusal("400 Bad Request", body)]).await;
    let config = Config {
        api_key: None,
        headers: vec![("authorization".into(), "Bearer k1VerySecret".into())],
        ..config(&base)
    };
    let model = OpenAi::new(config, false).unwrap();
    let error = ask(&model, hello()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ModelRequestRejected);
    let told = format!("{error:?} {:?}", model.status());
    assert!(told.contains("the token *** is unknown"), "{told}");
    assert!(!told.contains("k1VerySecret"), "{told}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_an_error() {
    let good = || config("http://127.0.0.1:1/v1/");
    let with_header = |name: &str, value: &str| Config {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..good()
    };
    let table = [
        (config("127.0.0.1:1"), "model.base_url"),
        (config("ftp://127.0.0.1"), "model.base_url"),
        (config("http://user:pass@127.0.0.1"), "model.base_url"),
        (
            Config {
                api_key: Some(Secret::new("sk-\n")),
                ..good()
            },
            "model.api_key",
        ),
        (
            Config {
                organization: Some("a\nb".into()),
                ..good()
            },
            "model.organization",
        ),
        (
            Config {
                project: Some("a\nb".into()),
                ..good()
            },
            "model.project",
        ),
        (with_header("a b", "c"), "model.headers.a b"),
        (with_header("a", "b\nc"), "model.headers.a"),
    ];
    for (config, field) in table {
        let error = OpenAi::new(config, false).unwrap_err();
        assert_eq!(error.violations()[0].field, field);
        assert!(!error.message().contains("sk-"));
    }
    let status = OpenAi::new(good(), true).unwrap().status();
    assert_eq!(status.endpoint, "http://127.0.0.1:1");
    assert_eq!((status.dialect, status.simulated), ("chat_completions", true));
}

/// An object of the Assistants API.
fn object(object: &Value) -> Answer {
    let body = object.to_string();
    Answer::Raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[tokio::test]
async fn a_run_that_cannot_be_asked_after_for_a_while_is_asked_after_again_and_never_made_twice() {
    let run = |status: &str| json!({"object": "thread.run", "id": "run_1", "thread_id": "thread_1", "status": status});
    let ours = json!({"data": [{"id": "asst_1", "metadata": {"made_by": "assistd"}}]});
    let said = json!({"object": "list", "data": [{"object": "thread.message", "run_id": "run_1", "role": "assistant",
        "status": "completed", "content": [{"type": "text", "text": {"value": "hi"}}]}]});
    let busy = || refusal("503 Busy\r\nretry-after: 0", "");
    let begun = || vec![object(&ours), object(&run("queued"))];
    let table = [
        // Every question may fail, and each that is answered makes up for those before it.
        (
            vec![
                busy(),
                busy(),
                object(&run("in_progress")),
                busy(),
                busy(),
                object(&run("completed")),
                busy(),
                object(&said),
            ],
            Ok("hi"),
            5,
        ),
        (vec![busy()], Err(Reason::ModelUnavailable), 2),
        // What is gone does not come back.
        (
            vec![refusal("404 Not Found", "")],
            Err(Reason::ModelUnavailable),
            0,
        ),
        (
            vec![refusal("401 No", "")],
            Err(Reason::ModelCredentialsRejected),
            0,
        ),
    ];
    for (answers, expected, failed) in table {
        let (base, mut seen) = serve(begun().into_iter().chain(answers).collect()).await;
        let config = Config {
            dialect: Some(Dialect::Assistants),
            ..config(&base)
        };
        let model = OpenAi::new(config, false).unwrap();
        let (mut text, mut end, mut attempts) = (String::new(), Ok(()), Vec::new());
        let mut stream = model.stream(hello()).await.unwrap();
        while let Some(event) = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap() {
            match event {
                Ok(ModelEvent::Attempt(attempt)) => attempts.push(attempt.result),
                Ok(ModelEvent::TextDelta(delta)) => text.push_str(&delta),
                Ok(_) => {}
                Err(error) => end = Err(error.reason()),
            }
        }
        drop(stream);
        assert_eq!(end.map(|()| text.as_str()), expected);
        assert_eq!(attempts[0], AttemptResult::Answered);
        assert_eq!(attempts.len() - 1, failed, "{attempts:?}");
        let mut made = 0;
        while let Ok(next) = seen.try_recv() {
            made += match next {
                Seen::Request { head, .. } => usize::from(head.starts_with("post /v1/threads/runs ")),
                _ => 0,
            };
        }
        assert_eq!(made, 1, "{expected:?}");
    }
}

/// The waits between the questions are more than the idle limit together, and none of them is.
#[tokio::test]
async fn a_run_that_is_asked_after_for_longer_than_the_idle_limit_is_heard_to_its_end() {
    let run = |status: &str| json!({"object": "thread.run", "id": "run_1", "thread_id": "thread_1", "status": status});
    let ours = json!({"data": [{"id": "asst_1", "metadata": {"made_by": "assistd"}}]});
    let said = json!({"object": "list", "data": [{"object": "thread.message", "run_id": "run_1", "role": "assistant",
        "status": "completed", "content": [{"type": "text", "text": {"value": "hi"}}]}]});
    let mut answers = vec![object(&ours), object(&run("queued"))];
    answers.extend(std::iter::repeat_n(object(&run("in_progress")), 5));
    answers.extend([object(&run("completed")), object(&said)]);
    let (base, _seen) = serve(answers).await;
    let mut config = Config {
        dialect: Some(Dialect::Assistants),
        ..config(&base)
    };
    config.timeouts.idle = Duration::from_secs(1);
    let model = OpenAi::new(config, false).unwrap();
    assert_eq!(ask(&model, hello()).await.unwrap()[0], hi()[0]);
}

#[tokio::test]
async fn a_long_history_that_was_held_up_goes_on_where_it_was_unless_a_part_may_be_there_twice() {
    let ours = json!({"data": [{"id": "asst_1", "metadata": {"made_by": "assistd"}}]});
    let run = json!({"object": "thread.run", "id": "run_1", "thread_id": "thread_1", "status": "completed"});
    let said = json!({"object": "list", "data": [{"object": "thread.message", "run_id": "run_1", "role": "assistant",
        "status": "completed", "content": [{"type": "text", "text": {"value": "hi"}}]}]});
    let (thread, kept) = (json!({"id": "thread_1"}), json!({"id": "msg_1"}));
    let end = || [object(&ours), object(&run), object(&said)];
    let held_up = |head: &str| refusal(&format!("{head}\r\nretry-after: 0"), "");
    let several = |count| std::iter::repeat_n(object(&kept), count);
    // 32 messages make the thread, 6 follow one by one, and 32 come with the run.
    let begun = || [object(&thread), object(&kept)].into_iter();
    let went_on = begun().chain([held_up("429 Slow")]).chain(several(5));
    let began_anew = begun()
        .chain([held_up("503 Busy"), object(&thread)])
        .chain(several(6));
    let table: [(Vec<Answer>, usize, usize); 2] = [
        (went_on.chain(end()).collect(), 1, 7),
        (began_anew.chain(end()).collect(), 2, 8),
    ];
    for (answers, threads, posts) in table {
        let (base, mut seen) = serve(answers).await;
        let config = Config {
            dialect: Some(Dialect::Assistants),
            ..config(&base)
        };
        let model = OpenAi::new(config, false).unwrap();
        let text = |index: usize| vec![Part::Text(format!("message {index}"))];
        let history = (0..70).map(|index| message(Role::User, text(index))).collect();
        assert_eq!(ask(&model, request(history)).await.unwrap()[0], hi()[0]);
        let (mut made, mut posted) = (0, Vec::new());
        while let Ok(next) = seen.try_recv() {
            let Seen::Request { head, body } = next else {
                continue;
            };
            made += usize::from(head.starts_with("post /v1/threads "));
            if head.starts_with("post /v1/threads/thread_1/messages ") {
                let body: Value = serde_json::from_slice(&body).unwrap();
                posted.push(body["content"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!((made, posted.len()), (threads, posts));
        posted.dedup();
        let last = posted.split_off(posted.len() - 5);
        let expected: Vec<String> = (33..38).map(|index| format!("message {index}")).collect();
        assert_eq!(last, expected);
    }
}
