//! gRPC-Web, and what pages of other origins may do.

use assistd::api::pb;
use assistd::config::Origins;
use assistd::simulator::{Script, Turn};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use serde_json::{Value, json};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::web_call::{WebAnswer, send};
use crate::world::World;

const CHAT: &str = "/assistant.v1.AssistantService/Chat";
const ORIGIN: &str = "https://app.example";

fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

fn chat(text: &str) -> Vec<u8> {
    framed(&pb::ChatRequest {
        message: text.to_owned(),
        ..Default::default()
    })
}

async fn call(world: &World, content_type: &str, body: Vec<u8>) -> WebAnswer {
    send(world, "POST", CHAT, &[("content-type", content_type)], body).await
}

/// The details of an answer's error, which are in its headers or in its trailers.
fn details(answer: &WebAnswer) -> ErrorDetails {
    let details = answer.trailer("grpc-status-details-bin").unwrap();
    let details = base64::prelude::BASE64_STANDARD_NO_PAD
        .decode(details.trim_end_matches('='))
        .unwrap();
    tonic::Status::with_details(tonic::Code::Unknown, "", details.into()).get_error_details()
}

#[tokio::test]
async fn a_call_is_the_same_however_its_media_type_is_written() {
    let world = World::new(Script::stand_in()).await;
    let text = |body: &[u8]| {
        body.chunks(4)
            .map(|chunk| BASE64_STANDARD.encode(chunk))
            .collect::<String>()
            .into_bytes()
    };
    for (content_type, answered) in [
        ("application/grpc-web", "application/grpc-web+proto"),
        ("application/grpc-web+proto", "application/grpc-web+proto"),
        (
            "APPLICATION/gRPC-Web+Proto; Charset=UTF-8",
            "application/grpc-web+proto",
        ),
        ("application/grpc-web-text", "application/grpc-web-text+proto"),
        (
            "Application/grpc-web-TEXT+proto ;a=b",
            "application/grpc-web-text+proto",
        ),
    ] {
        let body = if answered.contains("text") {
            text(&chat("hi"))
        } else {
            chat("hi")
        };
        let answer = call(&world, content_type, body).await;
        assert_eq!(
            (answer.http, answer.code()),
            (200, Some(0)),
            "{content_type}: {answer:?}"
        );
        assert_eq!(answer.header("content-type"), answered, "{content_type}");
        let response = pb::ChatResponse::decode(&*answer.messages[0]).unwrap();
        assert_eq!(response.response, "Mock reply to: hi");
    }
    let headers = [
        ("content-type", "application/grpc-web+proto"),
        ("accept", "application/grpc-web-text"),
    ];
    let answer = send(&world, "POST", CHAT, &headers, chat("hi")).await;
    assert_eq!(
        (answer.code(), answer.header("content-type")),
        (Some(0), "application/grpc-web-text+proto"),
        "the answer has the form that is asked for"
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_stream_comes_event_by_event_and_ends_with_its_trailers() {
    let world = World::new(Script::stand_in()).await;
    for content_type in ["application/grpc-web", "application/grpc-web-text"] {
        let mut body = chat("one two three");
        if content_type.ends_with("text") {
            body = BASE64_STANDARD.encode(body).into_bytes();
        }
        let path = "/assistant.v1.AssistantService/StreamChat";
        let answer = send(&world, "POST", path, &[("content-type", content_type)], body).await;
        assert_eq!(answer.code(), Some(0), "{answer:?}");
        let events: Vec<pb::RunEvent> = answer
            .messages
            .iter()
            .map(|message| pb::RunEvent::decode(&**message).unwrap())
            .collect();
        let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        let expected: Vec<i64> = (1..).take(events.len()).collect();
        assert!(events.len() > 3 && sequences == expected, "{sequences:?}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn every_error_of_a_web_call_is_one_that_its_client_can_read() {
    let world = World::new(Script::stand_in()).await;
    let two = [chat("a"), chat("b")].concat();
    let mut flagged = chat("a");
    flagged[0] = 1;
    let cases: [(&str, Vec<u8>, i64, &str); 8] = [
        ("application/grpc-web", chat(""), 3, "VALIDATION_FAILED"),
        ("application/grpc-web", two, 12, "UNIMPLEMENTED"),
        ("application/grpc-web", flagged, 13, "INTERNAL"),
        (
            "application/grpc-web",
            b"\0\0\0\0\x09ab".to_vec(),
            3,
            "VALIDATION_FAILED",
        ),
        ("application/grpc-web", Vec::new(), 3, "VALIDATION_FAILED"),
        ("application/grpc-web+json", chat("a"), 12, "UNIMPLEMENTED"),
        (
            "application/grpc-web-text",
            b"%%%%".to_vec(),
            3,
            "VALIDATION_FAILED",
        ),
        ("application/grpc-web-text+json", chat("a"), 12, "UNIMPLEMENTED"),
    ];
    for (content_type, body, code, reason) in cases {
        let headers = [("content-type", content_type), ("origin", ORIGIN)];
        let answer = send(&world, "POST", CHAT, &headers, body.clone()).await;
        assert_eq!(
            (answer.http, answer.code()),
            (200, Some(code)),
            "{content_type} {body:?}: {answer:?}"
        );
        assert!(answer.header("content-type").starts_with("application/grpc-web"));
        let info = details(&answer).error_info().cloned().unwrap();
        assert_eq!(info.reason, reason, "{content_type} {body:?}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains("grpc-status-details-bin")
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_web_calls_deadline_is_kept_for_a_stream_too() {
    let world = World::new(Script::turns([Turn::hang()])).await;
    let headers = [("content-type", "application/grpc-web"), ("grpc-timeout", "200m")];
    let path = "/assistant.v1.AssistantService/StreamChat";
    let answer = send(&world, "POST", path, &headers, chat("hi")).await;
    assert!(!answer.messages.is_empty());
    assert_eq!(answer.code(), Some(4), "{answer:?}");
    assert_eq!(details(&answer).error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    world.stopped().await;
}

#[tokio::test]
async fn what_is_no_call_by_name_is_told_what_would_be() {
    let world = World::new(Script::stand_in()).await;
    let client = reqwest::Client::new();
    for (method, path, content_type, expected) in [
        ("POST", CHAT, "application/json", (415, "UNSUPPORTED_MEDIA_TYPE")),
        (
            "POST",
            CHAT,
            "application/grpcweb",
            (415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        ("POST", CHAT, "application/grpc", (415, "UNSUPPORTED_MEDIA_TYPE")),
        (
            "POST",
            "/v1/chat",
            "application/grpc-websocket",
            (415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        ("GET", CHAT, "application/grpc-web", (405, "METHOD_NOT_ALLOWED")),
        ("PUT", CHAT, "application/json", (405, "METHOD_NOT_ALLOWED")),
    ] {
        let request = client
            .request(method.parse().unwrap(), world.url(path))
            .header("content-type", content_type)
            .header("origin", ORIGIN);
        let response = request.body(chat("hi")).send().await.unwrap();
        let headers = response.headers().clone();
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(
            headers.get("allow").map(|allow| allow.to_str().unwrap()),
            (expected.0 == 405).then_some("OPTIONS, POST")
        );
        let status = response.status().as_u16();
        let json: Value = response.json().await.unwrap();
        let reason = json["error"]["details"][0]["reason"].as_str().unwrap_or_default();
        assert_eq!(
            (status, reason),
            expected,
            "{method} {path} {content_type}: {json}"
        );
    }
    let options = client.request(reqwest::Method::OPTIONS, world.url(CHAT));
    let options = options.send().await.unwrap();
    assert_eq!(
        (options.status().as_u16(), options.headers()["allow"].as_bytes()),
        (204, &b"OPTIONS, POST"[..])
    );
    world.stopped().await;
}

#[tokio::test]
async fn grpc_itself_needs_no_exact_media_type_either() {
    let world = World::new(Script::stand_in()).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for (content_type, code) in [
        ("application/grpc", None),
        ("Application/GRPC+Proto; charset=utf-8", None),
        ("application/grpc+json", Some("12")),
    ] {
        let request = client.post(world.url(CHAT)).header("content-type", content_type);
        let response = request.body(chat("hi")).send().await.unwrap();
        assert_eq!(response.status(), 200, "{content_type}");
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/grpc", "{content_type}");
        let found = headers.get("grpc-status").map(|code| code.to_str().unwrap());
        assert_eq!(found, code, "{content_type}");
    }
    world.stopped().await;
}

/// Every kind of answer there is, by every door.
#[tokio::test]
async fn every_answer_carries_the_headers_that_a_page_needs_to_read_it() {
    let world = World::with(Script::stand_in(), |config| {
        config.api.cors_origins = Origins::These(vec![ORIGIN.to_owned()]);
    })
    .await;
    let client = reqwest::Client::new();
    for (method, path, content_type, body, status) in [
        ("GET", "/v1/health", "", "", 200),
        ("GET", "/v1/nowhere", "", "", 404),
        ("DELETE", "/v1/chat", "", "", 405),
        ("POST", "/v1/chat", "application/json", "{}", 400),
        ("POST", "/v1/chat", "text/plain", "x", 415),
        ("OPTIONS", "/v1/chat", "", "", 204),
        (
            "POST",
            "/v1/chat:stream",
            "application/json",
            r#"{"message":"hi"}"#,
            200,
        ),
        ("POST", CHAT, "application/grpc-web", "", 200),
        ("GET", CHAT, "application/grpc-web", "", 405),
        ("GET", "/health", "", "", 200),
        ("GET", "/nowhere", "", "", 404),
        ("GET", "/openapi.json", "", "", 200),
        ("GET", "/healthz", "", "", 200),
    ] {
        let request = client
            .request(method.parse().unwrap(), world.url(path))
            .header("origin", ORIGIN)
            .header("x-request-id", "req-7")
            .header("content-type", content_type);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        let headers = response.headers();
        assert_eq!(headers["x-request-id"], "req-7", "{method} {path}");
        assert_eq!(headers["access-control-allow-origin"], ORIGIN, "{method} {path}");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        let exposed = headers["access-control-expose-headers"].to_str().unwrap();
        for name in [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "x-request-id",
            "retry-after",
        ] {
            assert!(exposed.split(',').any(|one| one.trim() == name), "{exposed}");
        }
        assert!(varies(headers, "origin"), "{method} {path}: {headers:?}");
    }
    world.stopped().await;
}

fn varies(headers: &reqwest::header::HeaderMap, by: &str) -> bool {
    let values = headers.get_all("vary").iter();
    values
        .flat_map(|value| value.to_str().unwrap().split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(by))
}

#[tokio::test]
async fn only_listed_origins_are_trusted_with_credentials() {
    let listed = || Origins::These(vec![ORIGIN.to_owned(), "http://localhost:3000".to_owned()]);
    for (origins, origin, allowed, credentials) in [
        (Origins::Any, ORIGIN, Some("*"), false),
        (listed(), ORIGIN, Some(ORIGIN), true),
        (
            listed(),
            "http://localhost:3000",
            Some("http://localhost:3000"),
            true,
        ),
        (listed(), "https://evil.example", None, false),
        (listed(), "https://app.example.evil.example", None, false),
        (listed(), "null", None, false),
    ] {
        let world = World::with(Script::stand_in(), |config| {
            config.api.cors_origins = origins.clone()
        })
        .await;
        // A stream, as EventSource asks for it, and what is asked before a page may do more.
        for preflight in [false, true] {
            let mut request = reqwest::Client::new()
                .request(
                    if preflight { "OPTIONS" } else { "GET" }.parse().unwrap(),
                    world.url("/v1/threads/x/runs/y:watch"),
                )
                .header("origin", origin)
                .header("accept", "text/event-stream");
            let wanted = "last-event-id, x-request-id, authorization, grpc-timeout, x-grpc-web";
            if preflight {
                request = request
                    .header("access-control-request-method", "GET")
                    .header("access-control-request-headers", wanted);
            }
            let response = request.send().await.unwrap();
            let headers = response.headers();
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(
                header("access-control-allow-origin"),
                allowed,
                "{origins:?} {origin} {preflight}"
            );
            assert_eq!(
                header("access-control-allow-credentials"),
                credentials.then_some("true"),
                "{origins:?} {origin} {preflight}"
            );
            if preflight {
                assert_eq!(response.status(), 200);
                assert_eq!(header("access-control-allow-headers"), Some(wanted));
                assert_eq!(header("access-control-allow-methods"), Some("GET"));
            }
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn an_rpc_by_name_is_not_taken_for_a_legacy_path() {
    let world = World::new(Script::stand_in()).await;
    let (status, body) = world.post(CHAT, &json!({"message": "hi"})).await;
    assert_eq!((status, &body["error"]["code"]), (415, &json!(415)), "{body}");
    let (status, body) = world.post("/a.b/c/d", &json!({})).await;
    assert_eq!((status, body), (404, json!({"detail": "Not Found"})));
    world.stopped().await;
}
