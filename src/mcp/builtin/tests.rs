//! The server as clients see it, over pipes and over HTTP.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, ClientConfig, ErrorCode, JsonObject, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Error, MAX_IN_FLIGHT, serve, serve_http};

const PATIENCE: Duration = Duration::from_secs(20);

type Client = RunningService<RoleClient, ClientConfig>;

/// A server on one end of a pipe, and the other end.
fn piped(stop: CancellationToken) -> (tokio::io::DuplexStream, JoinHandle<Result<(), Error>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(far);
    (near, tokio::spawn(serve(input, output, stop)))
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("the test takes too long")
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Result<(String, bool), ServiceError> {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    let request = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = within(client.call_tool(request)).await?;
    let text = result.content[0].as_text().expect("a text").text.clone();
    Ok((text, result.is_error == Some(true)))
}

/// Everything that a client relies on, whatever the transport and the protocol version.
async fn check_conversation(client: &Client) {
    let tools = within(client.list_all_tools()).await.unwrap();
    let names: Vec<Cow<'_, str>> = tools.iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(names, ["echo", "calculate"]);
    assert!(
        tools
            .iter()
            .all(|tool| tool.annotations.as_ref().unwrap().read_only_hint == Some(true))
    );

    let answer = |text: &str, failed| (text.to_owned(), failed);
    assert_eq!(
        call(client, "echo", json!({"text": "hi"})).await.unwrap(),
        answer("Echo: hi", false)
    );
    let sum = call(client, "calculate", json!({"expression": "7/2"}))
        .await
        .unwrap();
    assert_eq!(sum, answer("Result: 3.5", false));
    let error = call(client, "calculate", json!({"expression": "1//0"}))
        .await
        .unwrap();
    assert_eq!(error, answer("Error: division by zero", false));
    let wrong = call(client, "echo", json!({"text": 5})).await.unwrap();
    assert_eq!(
        wrong,
        answer("Input validation error: 5 is not of type 'string'", true)
    );
    let missing = within(client.call_tool(CallToolRequestParams::new("calculate")))
        .await
        .unwrap();
    assert_eq!(missing.is_error, Some(true));

    match call(client, "nope", json!({})).await {
        Err(ServiceError::McpError(error)) => assert_eq!(error.code, ErrorCode::INVALID_PARAMS),
        other => panic!("an unknown tool was answered with {other:?}"),
    }
}

fn stateless() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    }
}

#[tokio::test]
async fn a_client_over_a_pipe_lists_and_calls_the_tools() {
    let (near, server) = piped(CancellationToken::new());
    let client = within(ClientConfig::default().serve(near)).await.unwrap();
    let info = client.peer_info().expect("the server introduced itself");
    let implementation = info.server_info.as_ref().expect("with its name");
    assert_eq!(implementation.name, "assistd");
    assert_eq!(implementation.version, env!("CARGO_PKG_VERSION"));
    assert!(
        info.instructions
            .as_deref()
            .is_some_and(|text| text.contains("calculate"))
    );
    check_conversation(&client).await;
    within(client.cancel()).await.unwrap();
    within(server)
        .await
        .unwrap()
        .expect("the end of the input is a clean end");
}

#[tokio::test]
async fn a_stateless_client_over_a_pipe_lists_and_calls_the_tools() {
    let (near, _server) = piped(CancellationToken::new());
    let client = within(ClientConfig::default().serve_with_lifecycle(near, stateless()))
        .await
        .unwrap();
    check_conversation(&client).await;
    within(client.cancel()).await.unwrap();
}

#[tokio::test]
async fn many_calls_at_once_are_all_answered() {
    let (near, _server) = piped(CancellationToken::new());
    let client = Arc::new(within(ClientConfig::default().serve(near)).await.unwrap());
    let calls = (0..4 * MAX_IN_FLIGHT).map(|number| {
        let client = client.clone();
        async move {
            (
                number,
                call(&client, "echo", json!({"text": number.to_string()}))
                    .await
                    .unwrap(),
            )
        }
    });
    for (number, (text, failed)) in futures::future::join_all(calls).await {
        assert_eq!((text, failed), (format!("Echo: {number}"), false));
    }
}

#[tokio::test]
async fn a_client_that_leaves_at_once_or_a_stop_ends_the_server_cleanly() {
    let (near, server) = piped(CancellationToken::new());
    drop(near);
    within(server).await.unwrap().expect("nothing was said");

    let stop = CancellationToken::new();
    let (near, server) = piped(stop.clone());
    let client = within(ClientConfig::default().serve(near)).await.unwrap();
    stop.cancel();
    within(server).await.unwrap().expect("it was asked to stop");
    drop(client);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_read_no_further() {
    let (near, _server) = piped(CancellationToken::new());
    let (answers, mut requests) = tokio::io::split(near);
    let mut answers = BufReader::new(answers).lines();
    let line = |value: Value| format!("{value}\n").into_bytes();
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    }});
    requests.write_all(&line(hello)).await.unwrap();
    within(answers.next_line()).await.unwrap().unwrap();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    requests.write_all(&line(ready)).await.unwrap();

    // Far more than the pipes and the places hold: the writer is stopped, and only reading frees it.
    let total = 10 * MAX_IN_FLIGHT;
    let text = "x".repeat(8 * 1024);
    let writer = tokio::spawn(async move {
        for id in 1..=total {
            let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
                "params": {"name": "echo", "arguments": {"text": text}}});
            requests.write_all(&line(request)).await.unwrap();
        }
        requests
    });
    let stalled = timeout(Duration::from_millis(300), async {
        while !writer.is_finished() {
            tokio::task::yield_now().await;
        }
    });
    assert!(
        stalled.await.is_err(),
        "the server read everything though nobody read its answers"
    );
    for _ in 0..total {
        let answer = within(answers.next_line()).await.unwrap().expect("an answer");
        assert!(answer.contains("Echo: "), "{answer}");
    }
    within(writer).await.unwrap();
}

/// A server over HTTP on a free port, its address, and what stops it.
async fn listening() -> (String, CancellationToken, JoinHandle<Result<(), Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve_http(listener, stop.clone().cancelled_owned()));
    (address, stop, server)
}

async fn connected(address: &str, lifecycle: ClientLifecycleMode) -> Client {
    // The provider may be installed already by another test of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{address}/mcp"));
    let transport = StreamableHttpClientTransport::from_config(config);
    within(ClientConfig::default().serve_with_lifecycle(transport, lifecycle))
        .await
        .unwrap()
}

#[tokio::test]
async fn clients_of_both_eras_over_http_list_and_call_the_tools() {
    let (address, stop, server) = listening().await;
    for lifecycle in [ClientLifecycleMode::Initialize, stateless()] {
        let client = connected(&address, lifecycle).await;
        check_conversation(&client).await;
        within(client.cancel()).await.unwrap();
    }
    stop.cancel();
    within(server).await.unwrap().expect("it was asked to stop");
}

/// Sends `head` and `body` as they are and gives the status line of the answer.
async fn status(address: &str, head: &str, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{head}\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = socket.write_all(body).await;
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn what_is_no_call_is_refused_over_http() {
    let (address, _stop, _server) = listening().await;
    let json = "Content-Type: application/json\r\nAccept: application/json, text/event-stream";
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let cases: [(String, &[u8], &str); 6] = [
        ("GET / HTTP/1.1".to_owned(), b"", "404"),
        ("GET /mcp HTTP/1.1".to_owned(), b"", "405"),
        (
            format!("POST /mcp HTTP/1.1\r\n{json}\r\nOrigin: https://example.com"),
            call,
            "403",
        ),
        (format!("POST /mcp HTTP/1.1\r\n{json}"), b"not json", "4"),
        (
            "POST /mcp HTTP/1.1\r\nContent-Type: text/plain\r\nAccept: */*".to_owned(),
            call,
            "4",
        ),
        (format!("POST /mcp HTTP/1.1\r\n{json}"), call, "200"),
    ];
    for (head, body, expected) in cases {
        let line = status(&address, &head, body).await;
        assert!(
            line.starts_with(&format!("HTTP/1.1 {expected}")),
            "{head}: {line}"
        );
    }
}

#[tokio::test]
async fn arguments_that_are_no_object_are_refused_and_the_pipe_goes_on() {
    let (near, _server) = piped(CancellationToken::new());
    let client = within(ClientConfig::default().serve(near)).await.unwrap();
    let mut arguments = JsonObject::new();
    arguments.insert("text".to_owned(), json!(["nested", {"deep": [1]}]));
    let (text, failed) = call(&client, "echo", Value::Object(arguments)).await.unwrap();
    assert_eq!(
        text,
        "Input validation error: ['nested', {'deep': [1]}] is not of type 'string'"
    );
    assert!(failed);
    assert_eq!(
        call(&client, "echo", json!({"text": "still"})).await.unwrap().0,
        "Echo: still"
    );
}
