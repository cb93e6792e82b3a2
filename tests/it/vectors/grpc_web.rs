//! gRPC-Web against the whole service, as a browser would speak it: over HTTP/1.1.

use assistd::simulator::{Script, Turn};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Outcome, list, read, text};
use crate::web_call::{self, WebAnswer};
use crate::world::World;

#[tokio::test]
async fn grpc_web_is_answered_as_the_vectors_say() {
    let Some(file) = read("grpc_web.json") else {
        return;
    };
    let (quick, stuck) = (
        World::new(Script::stand_in()).await,
        World::new(Script::turns([Turn::hang(), Turn::hang()])).await,
    );
    let mut outcome = Outcome::of("grpc_web");
    let example = BASE64_STANDARD
        .decode(text(&file, "trailer_frame_example_base64"))
        .unwrap();
    let (_, trailers) = web_call::frames(&example);
    assert_eq!(trailers["grpc-status"], "0");
    for case in list(&file, "cases") {
        // What a deadline ends must not have ended before.
        let world = if case["expect"]["grpc_status"] == 4 {
            &stuck
        } else {
            &quick
        };
        outcome.add(
            text(case, "name").to_owned(),
            check(case, &ask(world, case).await),
        );
    }
    outcome.settle();
    quick.stopped().await;
    stuck.stopped().await;
}

async fn ask(world: &World, case: &Value) -> WebAnswer {
    let request = &case["request"];
    let path = request["path"]
        .as_str()
        .unwrap_or("/assistant.v1.AssistantService/Chat");
    let method = request["method"].as_str().unwrap_or("POST");
    let body = match request["body_text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => BASE64_STANDARD.decode(text(request, "body_base64")).unwrap(),
    };
    let headers = request["headers"].as_object().into_iter().flatten();
    let headers: Vec<(&str, &str)> = headers
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    web_call::send(world, method, path, &headers, body).await
}

fn check(case: &Value, answer: &WebAnswer) -> Result<(), String> {
    let (expect, code) = (&case["expect"], answer.code());
    let one_of = |key: &str, found: Option<i64>| {
        let allowed = list(expect, key);
        allowed.is_empty() || allowed.iter().any(|one| one.as_i64() == found && found.is_some())
    };
    let mut problems = Vec::new();
    if !expect["http_status"].is_null() && expect["http_status"] != answer.http {
        problems.push("http_status");
    }
    if !expect["grpc_status"].is_null() && expect["grpc_status"].as_i64() != code {
        problems.push("grpc_status");
    }
    if !one_of("grpc_status_in", code) {
        problems.push("grpc_status_in");
    }
    let http = answer.http.to_string();
    let by_http = list(expect, "http_status_or_grpc_status")
        .iter()
        .any(|one| *one == http.as_str());
    if !by_http && !one_of("http_status_or_grpc_status", code) {
        problems.push("http_status_or_grpc_status");
    }
    let content_type = answer.header("content-type");
    if !content_type.starts_with(text(expect, "content_type_prefix")) {
        problems.push("content_type_prefix");
    }
    if text(expect, "body").starts_with("base64") && code.is_none() {
        problems.push("body");
    }
    let exposed = answer.header("access-control-expose-headers");
    let exposed: Vec<&str> = exposed.split(',').map(str::trim).collect();
    let must_be = list(expect, "expose_headers_include");
    if !must_be
        .iter()
        .filter_map(Value::as_str)
        .all(|name| exposed.contains(&name))
    {
        problems.push("expose_headers_include");
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("{problems:?}: {answer:?}"))
    }
}
