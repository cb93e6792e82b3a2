//! Clients of the service that this one replaces: its recorded exchanges, and cases of our own.

use std::collections::BTreeMap;
use std::path::Path;

use assistd::simulator::{Script, Turn};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::world::{self, World};

/// Where the recordings are, if they are there.
const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/legacy/exchanges.json");

/// Recorded exchanges that are answered otherwise on purpose: name, status, body where it is told, reason.
fn deviations() -> BTreeMap<&'static str, (u16, Option<Value>, &'static str)> {
    let failed = || Some(json!({"detail": "Assistant run failed"}));
    let text = |text: &str, is_error: bool| {
        let mut body = json!({"result": [{"type": "text", "text": text}]});
        if is_error {
            body["isError"] = json!(true);
        }
        Some(body)
    };
    BTreeMap::from([
        ("health_head", (200, None, "HEAD answers as GET without a body")),
        ("chat_null_ids", (200, None, "explicit null ids mean absent")),
        (
            "chat_empty_message",
            (422, None, "an empty message is refused before anything is done"),
        ),
        ("chat_run_failed", (500, failed(), "without the doubled '500: '")),
        (
            "chat_image_answer",
            (
                500,
                Some(json!({"detail": "No assistant response found"})),
                "no inner error is shown",
            ),
        ),
        (
            "chat_upstream_403",
            (500, failed(), "the provider's text is never shown"),
        ),
        (
            "chat_upstream_500",
            (500, failed(), "the provider's text is never shown"),
        ),
        (
            "chat_upstream_503",
            (
                503,
                failed(),
                "upstream errors keep their meaning, without the provider's text",
            ),
        ),
        ("chat_malformed_thread", (404, None, "an unknown thread is 404")),
        (
            "chat_unknown_assistant",
            (404, None, "an unknown assistant is 404"),
        ),
        (
            "call_echo_missing_text",
            (
                200,
                text("Input validation error: 'text' is a required property", true),
                "a failed tool says so",
            ),
        ),
        (
            "call_echo_wrong_type",
            (
                200,
                text("Input validation error: 5 is not of type 'string' at /text", true),
                "a failed tool says so, and where",
            ),
        ),
        (
            "call_calculate_rce",
            (200, text("Error: …", false), "never evaluates code"),
        ),
        (
            "call_calculate_not_math",
            (200, text("Error: …", false), "only arithmetic"),
        ),
        (
            "openapi_json",
            (200, None, "the document is the contract's, not the original's"),
        ),
        (
            "cors_preflight_bad_method",
            (200, None, "the methods are listed, and the browser compares them"),
        ),
    ])
}

/// The upstream of a recording: what fails, and how often, before all is well.
fn script(case: &Value) -> Script {
    let upstream = &case["upstream_behaviour"];
    let Some(status) = upstream["fail_status"].as_u64() else {
        return Script::stand_in().legacy_markers();
    };
    let times = upstream["fail_times"].as_u64().unwrap_or(10) as u32;
    let turn = Turn::status(status as u16).times(times);
    let retry_after = upstream["retry_after_ms"].as_u64().unwrap_or(1);
    Script::turns([turn.header("retry-after-ms", &retry_after.to_string())]).legacy_markers()
}

fn send(world: &World, request: &Value, thread: &str) -> reqwest::RequestBuilder {
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let mut builder = reqwest::Client::new().request(method, world.url(request["path"].as_str().unwrap()));
    for (name, value) in request["headers"].as_object().unwrap() {
        if !name.eq_ignore_ascii_case("content-length") {
            builder = builder.header(name, value.as_str().unwrap());
        }
    }
    match request["body"].as_str() {
        // The recording spells a byte that is not UTF-8.
        Some(body) if body.contains(r"\xff") => builder.body(b"{\"message\":\"\xff\"}".as_slice()),
        Some(body) => builder.body(with_thread(body, thread)),
        None => builder,
    }
}

/// The request's own thread is one of the recording's: ours takes its place.
fn with_thread(body: &str, thread: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(mut value)
            if value["thread_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("thread_")) =>
        {
            value["thread_id"] = json!(thread);
            value.to_string()
        }
        _ => body.to_owned(),
    }
}

/// Answers compare without keys that have no value, ids, and the hints that only our tools have.
fn comparable(body: &Value) -> Value {
    match body {
        Value::Array(values) => values.iter().map(comparable).collect(),
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(key, value)| !value.is_null() && *key != "annotations");
            let masked = kept.map(|(key, value)| match key.as_str() {
                "thread_id" | "run_id" => (key.clone(), json!(value.is_string())),
                _ => (key.clone(), comparable(value)),
            });
            Value::Object(masked.collect::<Map<_, _>>())
        }
        Value::String(text) if text.starts_with("Error: ") => json!("Error: …"),
        other => other.clone(),
    }
}

async fn check(world: &World, case: &Value, thread: &str) -> Result<(), String> {
    let (request, recorded) = (&case["request"], &case["response"]);
    let response = send(world, request, thread).send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.text().await.unwrap();
    let value: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let deviation = deviations().remove(case["name"].as_str().unwrap());
    let (expected_status, expected_body) = match deviation {
        Some((status, body, _)) => (u64::from(status), body),
        None => (
            recorded["status"].as_u64().unwrap(),
            Some(recorded["body_json"].clone()),
        ),
    };
    if u64::from(status) != expected_status {
        return Err(format!("status {status}, not {expected_status}: {body}"));
    }
    if let Some(expected) = expected_body.filter(|body| !body.is_null())
        && comparable(&value) != comparable(&expected)
    {
        return Err(format!("{value} is not {expected}"));
    }
    if let Some(allow) = recorded["headers"]["allow"].as_str().filter(|_| status == 405)
        && headers["allow"] != allow
    {
        return Err(format!("allow is {:?}", headers["allow"]));
    }
    if request["headers"].get("Origin").is_some() {
        let origin = headers
            .get("access-control-allow-origin")
            .map(|value| value.as_bytes());
        let credentials = headers.get("access-control-allow-credentials");
        if origin != Some(b"*") || credentials.is_some() {
            return Err(format!(
                "any origin may call, without credentials: {origin:?} {credentials:?}"
            ));
        }
    }
    Ok(())
}

#[tokio::test]
async fn recorded_exchanges_are_answered_as_before_or_as_they_should_have_been() {
    if !Path::new(RECORDINGS).exists() {
        return crate::skip::not_compared("the recorded exchanges are not here");
    }
    let recordings: Value = serde_json::from_str(&std::fs::read_to_string(RECORDINGS).unwrap()).unwrap();
    let with_tools = World::new(Script::stand_in().legacy_markers()).await;
    let without_tools = World::with(Script::stand_in(), |config| {
        config.mcp = world::mcp(&json!({"mcpServers": {}}))
    })
    .await;
    let (_, first) = with_tools
        .post("/assistant/chat", &json!({"message": "first"}))
        .await;
    let thread = first["thread_id"].as_str().unwrap();
    let mut wrong = Vec::new();
    for case in recordings["cases"].as_array().unwrap() {
        let result = if case["mcp"] == "not running" {
            check(&without_tools, case, thread).await
        } else if case["upstream_behaviour"]["fail_status"].is_null() {
            check(&with_tools, case, thread).await
        } else {
            let failing = World::new(script(case)).await;
            let result = check(&failing, case, thread).await;
            failing.stopped().await;
            result
        };
        if let Err(difference) = result {
            wrong.push(format!("{}: {difference}", case["name"]));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of the recordings:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    with_tools.stopped().await;
    without_tools.stopped().await;
}

#[tokio::test]
async fn the_old_paths_keep_their_promises() {
    let world = World::new(Script::stand_in()).await;
    let (status, chat) = world
        .post("/assistant/chat", &json!({"message": "what is 7/2?"}))
        .await;
    assert_eq!(status, 200);
    assert_eq!(chat["response"], "The tool answered: Result: 3.5");
    let keys: Vec<&String> = chat.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["response", "thread_id", "run_id"]);

    let again = json!({"message": "and now?", "thread_id": chat["thread_id"]});
    let (status, next) = world.post("/assistant/chat", &again).await;
    assert_eq!((status, &next["thread_id"]), (200, &chat["thread_id"]));

    let cases = [
        (
            "/mcp/call?tool_name=echo",
            json!({"text": "hi"}),
            200,
            json!([{"type": "text", "text": "Echo: hi"}]),
        ),
        (
            "/mcp/call",
            json!({"tool_name": "calculate", "arguments": {"expression": "2**64"}}),
            200,
            json!([{"type": "text", "text": "Result: 18446744073709551616"}]),
        ),
        ("/mcp/call?tool_name=nope", json!({}), 404, Value::Null),
    ];
    for (path, body, status, result) in cases {
        let (answered, answer) = world.post(path, &body).await;
        assert_eq!(
            (answered, &answer["result"]),
            (status, &result),
            "{path} {answer}"
        );
    }
    let response = reqwest::get(world.url("/health")).await.unwrap();
    assert_eq!(
        response.text().await.unwrap(),
        r#"{"status":"healthy","mcp_connected":true}"#
    );
    world.stopped().await;
}

#[tokio::test]
async fn upstream_errors_keep_their_meaning_for_old_clients() {
    let cases = [
        (Turn::status(429).header("retry-after", "11"), 429, Some("11")),
        (Turn::status(503).times(3), 503, None),
        (Turn::status(500), 500, None),
    ];
    for (turn, status, retry_after) in cases {
        let world = World::new(Script::turns([turn])).await;
        let request = reqwest::Client::new()
            .post(world.url("/assistant/chat"))
            .json(&json!({"message": "hi"}));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        let told = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(told.as_deref(), retry_after);
        assert_eq!(
            response.json::<Value>().await.unwrap(),
            json!({"detail": "Assistant run failed"})
        );
        world.stopped().await;
    }
}
