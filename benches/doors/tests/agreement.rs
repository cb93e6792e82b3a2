//! The transcoder and rest_over_grpc are asked the same, and answer the same wherever both do as the contract says.
//! Where the other does not, the table says so, and a version of it that has changed its mind fails here.
#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

use std::convert::Infallible;

use assistd_doors::{door, echo};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

/// What the contract has for an answer, and what the other does.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Theirs {
    Agree,
    /// With this status instead; with 200, by another answer.
    Differ(u16),
}
use Theirs::{Agree, Differ};

async fn ask<S>(service: S, method: &str, path: &str, body: &str) -> (u16, String)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(Body::new(http_body_util::Full::from(body.to_owned())))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Without the fields that have their default, which ours prints and the other does not.
fn without_defaults(value: Value) -> Value {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.into_iter().map(without_defaults).collect(),
        // The other writes UTC as an offset.
        Value::String(text) => return text.replace("+00:00", "Z").into(),
        other => return other,
    };
    let is_default = |value: &Value| {
        [
            json!(""),
            json!(0.0),
            json!(0),
            json!("0"),
            json!(false),
            json!(null),
            json!([]),
            json!({}),
        ]
        .contains(value)
            || value.as_str().is_some_and(|text| text.ends_with("_UNSPECIFIED"))
    };
    fields
        .into_iter()
        .filter(|(_, value)| !is_default(value))
        .map(|(name, value)| (name, without_defaults(value)))
        .collect()
}

/// Bodies of `POST /v1/say`: what status the contract has for them.
const SAID: &[(&str, u16, Theirs)] = &[
    (r#"{}"#, 200, Agree),
    (r#"{"text":"hello","thread":"threads/1"}"#, 200, Agree),
    (
        r#"{"createTime":"2026-11-27T08:00:00Z","create_time":null}"#,
        400,
        Agree,
    ),
    (r#"{"create_time":"2026-11-27T08:00:00.25Z"}"#, 200, Agree),
    (r#"{"createTime":"2026-11-27T10:00:00+02:00"}"#, 200, Agree),
    (r#"{"createTime":"yesterday"}"#, 400, Agree),
    (r#"{"sequence":"9007199254740993"}"#, 200, Agree),
    (r#"{"sequence":12}"#, 200, Agree),
    (r#"{"sequence":"twelve"}"#, 400, Agree),
    (r#"{"sequence":"9223372036854775808"}"#, 400, Agree),
    (r#"{"role":"ROLE_USER"}"#, 200, Agree),
    (r#"{"role":2}"#, 200, Agree),
    (r#"{"role":"ROLE_NOBODY"}"#, 400, Agree),
    (r#"{"temperature":0.5}"#, 200, Agree),
    (r#"{"temperature":"NaN"}"#, 200, Differ(200)),
    (r#"{"temperature":"-Infinity"}"#, 200, Differ(200)),
    (r#"{"temperature":true}"#, 400, Agree),
    (r#"{"streamed":true}"#, 200, Agree),
    (r#"{"streamed":"true"}"#, 400, Agree),
    (r#"{"text":null,"parts":null}"#, 200, Differ(400)),
    (r#"{"text":5}"#, 400, Agree),
    (r#"{"text":"a\u00fc\ud83d\ude00\n\""}"#, 200, Agree),
    (r#"{"tools":["a","b"]}"#, 200, Agree),
    (r#"{"tools":"a"}"#, 400, Agree),
    (r#"{"tools":[null]}"#, 400, Agree),
    (r#"{"metadata":{"a":"b"}}"#, 200, Agree),
    (r#"{"metadata":{"a":1}}"#, 400, Agree),
    (r#"{"digest":"AQID_-8="}"#, 200, Agree),
    (r#"{"digest":"AQID/+8"}"#, 200, Agree),
    (r#"{"digest":"?"}"#, 400, Agree),
    (
        r#"{"parts":[{"text":"a"},{"call":{"name":"t","durationMs":7}}]}"#,
        200,
        Agree,
    ),
    (r#"{"parts":[{"call":{"duration_ms":1.0}}]}"#, 200, Differ(400)),
    (r#"{"parts":[{"call":{"durationMs":1.5}}]}"#, 400, Agree),
    (r#"{"parts":[{"call":{"durationMs":2147483648}}]}"#, 400, Agree),
    (r#"{"parts":[{"text":"a","call":{}}]}"#, 400, Agree),
    (r#"{"unknown":1}"#, 400, Agree),
    (r#"{"text":"a","text":"b"}"#, 400, Agree),
    (r#"{"text":"a""#, 400, Agree),
    (r#"{"text":"a"} x"#, 400, Agree),
    (r#"[]"#, 400, Agree),
    (r#"{"text":"fail"}"#, 404, Agree),
];

/// Other requests, without a body.
const ASKED: &[(&str, &str, u16, Theirs)] = &[
    ("GET", "/v1/threads/7/messages/3", 200, Agree),
    (
        "GET",
        "/v1/threads/a%20b/messages/3?text=x&temperature=0.25",
        200,
        Agree,
    ),
    (
        "GET",
        "/v1/threads/7/messages/3?tools=a&tools=b&role=ROLE_USER",
        200,
        Agree,
    ),
    (
        "GET",
        "/v1/threads/7/messages/3?createTime=2026-11-27T08:00:00Z",
        200,
        Agree,
    ),
    ("GET", "/v1/threads/7/messages/three", 400, Agree),
    ("GET", "/v1/threads/7/messages/3?role=ROLE_NOBODY", 400, Agree),
    ("GET", "/v1/threads/7/messages/3?unknown=1", 400, Agree),
    ("GET", "/v1/threads/7/messages", 404, Agree),
    ("GET", "/v1/nothing", 404, Agree),
    ("DELETE", "/v1/say", 405, Differ(404)),
];

#[tokio::test]
async fn the_same_question_has_the_same_answer() {
    let said = SAID
        .iter()
        .map(|(body, status, theirs)| ("POST", "/v1/say", *body, *status, *theirs));
    let asked = ASKED
        .iter()
        .map(|(method, path, status, theirs)| (*method, *path, "", *status, *theirs));
    let mut wrong = Vec::new();
    for (method, path, body, expected, theirs) in said.chain(asked) {
        let (status, ours) = ask(door::transcoder(), method, path, body).await;
        let (their_status, their_answer) = ask(door::rest_over_grpc(), method, path, body).await;
        let case = format!("{method} {path} {body}");
        if status != expected {
            wrong.push(format!("{case}: ours is {status} {ours}"));
        }
        let same = || {
            let [ours, theirs] =
                [&ours, &their_answer].map(|text| without_defaults(serde_json::from_str(text).unwrap()));
            ours == theirs
        };
        let agrees = their_status == expected && (status != 200 || same());
        let found = if agrees { Agree } else { Differ(their_status) };
        if found != theirs {
            wrong.push(format!(
                "{case}: theirs is {their_status} {their_answer}, ours {ours}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn long_messages_come_back_alike() {
    for message in [echo::small(), echo::large()] {
        let body = serde_json::to_string(&message).unwrap();
        let (status, ours) = ask(door::transcoder(), "POST", "/v1/say", &body).await;
        let (_, theirs) = ask(door::rest_over_grpc(), "POST", "/v1/say", &body).await;
        assert_eq!(status, StatusCode::OK);
        let [sent, ours, theirs] =
            [body, ours, theirs].map(|text| without_defaults(serde_json::from_str(&text).unwrap()));
        assert_eq!(ours, sent);
        assert_eq!(ours, theirs);
    }
}

#[tokio::test]
async fn events_are_the_same() {
    let data = |text: &str| -> Vec<Value> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
        lines.map(|data| serde_json::from_str(data).unwrap()).collect()
    };
    let events = |text: &str| -> Vec<Value> {
        let events = data(text).into_iter().map(without_defaults);
        events.filter(|event| event.get("sequence").is_some()).collect()
    };
    let path = "/v1/events?count=3";
    let asked = |accept: &'static str| {
        Request::builder()
            .uri(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .unwrap()
    };
    let read = async |response: Response<Body>| {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let ours = read(
        door::transcoder()
            .oneshot(asked("text/event-stream"))
            .await
            .unwrap(),
    )
    .await;
    let theirs = read(
        door::rest_over_grpc()
            .oneshot(asked("text/event-stream"))
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(events(&ours).len(), 3, "{ours}");
    assert_eq!(events(&ours), events(&theirs), "{theirs}");
}
