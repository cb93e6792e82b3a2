//! Who asked, as a proxy says, and what callers have used.

use std::sync::Arc;
use std::time::Duration;

use assistd::api::pb;
use assistd::config::{Config, ModelPrices};
use assistd::simulator::Script;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::mcp::peer::{Listening, Seen};
use crate::world::{self, PATIENCE, World};

const HEADER: &str = "x-forwarded-user";

fn behind_a_proxy(config: &mut Config) {
    config.api.caller_header = Some(HEADER.to_owned());
    config.api.metrics_callers = 1;
    config.model.prices = Some(ModelPrices {
        currency: "USD".to_owned(),
        input: 1_000_000,
        cached_input: 1_000_000,
        output: 1_000_000,
        reasoning: None,
    });
}

/// A request, with what these headers say.
async fn post(world: &World, path: &str, callers: &[&str], body: Value) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(world.url(path)).json(&body);
    for caller in callers {
        request = request.header(HEADER, *caller);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    reqwest::get(world.url(path)).await.unwrap().json().await.unwrap()
}

async fn figures(world: &World) -> String {
    let figures = reqwest::get(world.url("/metrics")).await.unwrap();
    figures.text().await.unwrap()
}

/// Who has used how many runs and tokens, and for how much.
async fn used(world: &World, query: &str) -> Vec<(String, String, i64)> {
    let listed = get(world, &format!("/v1/usage{query}")).await;
    let usage = listed["usage"].as_array().cloned().unwrap_or_default();
    usage
        .iter()
        .map(|of_caller| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            assert!(text(&of_caller["day"]).ends_with("T00:00:00Z"), "{of_caller}");
            let usage = &of_caller["usage"];
            // A token is a micro-unit.
            assert_eq!(usage["totalTokens"], usage["cost"]["micros"], "{of_caller}");
            (
                text(&of_caller["caller"]),
                text(&of_caller["runs"]),
                text(&usage["totalTokens"]).parse().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn runs_are_counted_for_those_who_asked_for_them() {
    let world = World::with(Script::stand_in(), behind_a_proxy).await;
    let chat = json!({"message": "hi"});
    let (_, first) = post(&world, "/v1/chat", &["ann"], chat.clone()).await;
    let run = get(&world, &format!("/v1/{}", first["run"].as_str().unwrap())).await;
    assert_eq!(run["caller"], "ann", "{run}");
    let tokens =
        |answer: &Value| -> i64 { answer["usage"]["totalTokens"].as_str().unwrap().parse().unwrap() };
    // Through the other doors.
    let mut client = world.grpc().await;
    let mut request = tonic::Request::new(pb::ChatRequest {
        message: "hi".to_owned(),
        ..Default::default()
    });
    request.metadata_mut().insert(HEADER, "ann".parse().unwrap());
    let second = client.chat(request).await.unwrap().into_inner();
    let (status, _) = post(&world, "/assistant/chat", &["bob"], json!({"message": "hi"})).await;
    assert_eq!(status, 200);
    // Nobody is named.
    let (_, nobodys) = post(&world, "/v1/chat", &[], chat.clone()).await;
    let run = get(&world, &format!("/v1/{}", nobodys["run"].as_str().unwrap())).await;
    assert_eq!(run.get("caller").and_then(Value::as_str).unwrap_or_default(), "");

    let of_ann = tokens(&first) + second.usage.unwrap().total_tokens;
    let all = used(&world, "").await;
    assert_eq!(all[0], ("ann".to_owned(), "2".to_owned(), of_ann));
    assert_eq!((all[1].0.as_str(), all[1].1.as_str()), ("bob", "1"));
    assert_eq!(all[2], (String::new(), "1".to_owned(), tokens(&nobodys)));
    assert_eq!(all.len(), 3);
    assert_eq!(used(&world, "?caller=bob").await, all[1..2]);
    assert_eq!(used(&world, "?caller=").await, all[2..3]);
    assert_eq!(used(&world, "?startTime=2020-01-01T00:00:00Z").await, all);
    assert_eq!(used(&world, "?endTime=2020-01-01T12:00:00Z").await, []);
    let page = get(&world, "/v1/usage?pageSize=1").await;
    let token = page["nextPageToken"].as_str().unwrap();
    assert_eq!(
        used(&world, &format!("?pageSize=1&pageToken={token}")).await,
        all[1..2]
    );

    // One caller has figures of its own.
    let figures = figures(&world).await;
    for line in [
        "assistd_caller_runs_total{caller=\"ann\"} 2".to_owned(),
        "assistd_caller_runs_total{caller=\"_OTHER\"} 2".to_owned(),
        format!("assistd_caller_cost_micros_total{{caller=\"ann\",currency=\"USD\"}} {of_ann}"),
    ] {
        assert!(figures.lines().any(|there| there == line), "{line}\n{figures}");
    }
    assert!(!figures.contains("bob"), "{figures}");
    world.stopped().await;
}

#[tokio::test]
async fn a_run_that_comes_over_mcp_is_that_of_its_caller() {
    let world = World::with(Script::stand_in(), |config| {
        behind_a_proxy(config);
        config.mcp.serve = true;
    })
    .await;
    let send = async |session: &str, callers: &[&str], message: Value| {
        let mut request = reqwest::Client::new()
            .post(world.url("/mcp"))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .json(&message);
        if !session.is_empty() {
            request = request.header("mcp-session-id", session);
        }
        for caller in callers {
            request = request.header(HEADER, *caller);
        }
        request.send().await.unwrap()
    };
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "train", "version": "1"},
    }});
    let begun = send("", &[], hello).await;
    let session = begun.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    send(&session, &[], initialized).await;
    for (id, callers, expected) in [
        (2, &["ann"] as &[&str], "Mock reply to: hi"),
        (3, &[], "Mock reply to: hi"),
        (4, &["ann", "bob"], "VALIDATION_FAILED"),
    ] {
        let chat = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": "chat", "arguments": {"message": "hi"},
        }});
        let answer = send(&session, callers, chat).await.text().await.unwrap();
        assert!(answer.contains(expected), "{callers:?}: {answer}");
    }
    let runs = used(&world, "")
        .await
        .into_iter()
        .map(|(caller, runs, _)| (caller, runs));
    let one = |caller: &str| (caller.to_owned(), "1".to_owned());
    assert_eq!(runs.collect::<Vec<_>>(), [one("ann"), one("")]);
    world.stopped().await;
}

#[tokio::test]
async fn readings_take_turns_by_their_callers() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(([127, 0, 0, 1], 0).into(), &seen).await;
    let servers = json!({"mcpServers": {"a": {"url": server.url(), "max_concurrency": 1}}});
    let world = World::with(Script::stand_in(), |config| {
        behind_a_proxy(config);
        config.mcp = world::mcp(&servers);
    })
    .await;
    let read = |caller: &str, note: &str| {
        let path = format!("/v1/mcp/resources:read?server=a&uri=note://{note}");
        let request = reqwest::Client::new()
            .get(world.url(&path))
            .header(HEADER, caller);
        tokio::spawn(request.send())
    };
    let mut readings = vec![read("ann", "wait")];
    seen.waiting.notified().await;
    for (place, (caller, note)) in [("ann", "by/1"), ("ann", "by/2"), ("bob", "by/3")]
        .into_iter()
        .enumerate()
    {
        readings.push(read(caller, note));
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let waits = async {
            let waiting = format!(
                "assistd_mcp_server_calls_waiting{{mcp_server=\"a\"}} {}",
                place + 1
            );
            while !figures(&world).await.lines().any(|line| line == waiting) {
                ticks.tick().await;
            }
        };
        timeout(PATIENCE, waits).await.expect("it waits for its turn");
    }
    seen.release.notify_waiters();
    for reading in readings {
        assert_eq!(reading.await.unwrap().unwrap().status(), 200);
    }
    let reads = seen.reads.lock().unwrap().clone();
    assert_eq!(
        reads,
        ["note://wait", "note://by/1", "note://by/3", "note://by/2"]
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_caller_that_cannot_be_told_is_refused_and_a_window_has_to_be_one() {
    let world = World::with(Script::stand_in(), behind_a_proxy).await;
    let long = "x".repeat(257);
    for callers in [&["ann", "bob"][..], &[long.as_str()]] {
        for (path, body) in [
            ("/v1/chat", json!({"message": "hi"})),
            ("/v1/chat:stream", json!({"message": "hi"})),
            ("/v1/threads/thread_1/runs", json!({})),
        ] {
            let (status, refusal) = post(&world, path, callers, body).await;
            assert_eq!(status, 400, "{path} {refusal}");
            let violation = &refusal["error"]["details"][1]["fieldViolations"][0];
            assert_eq!(violation["field"], HEADER, "{refusal}");
        }
    }
    let window = "/v1/usage?startTime=2020-01-02T00:00:00Z&endTime=2020-01-01T00:00:00Z";
    let refusal = get(&world, window).await;
    let violation = &refusal["error"]["details"][1]["fieldViolations"][0];
    assert_eq!(violation["field"], "end_time", "{refusal}");
    world.stopped().await;
}

#[tokio::test]
async fn without_a_trusted_header_nobody_is_named() {
    let world = World::new(Script::stand_in()).await;
    let (status, chat) = post(&world, "/v1/chat", &["ann", "bob"], json!({"message": "hi"})).await;
    assert_eq!(status, 200);
    let run = get(&world, &format!("/v1/{}", chat["run"].as_str().unwrap())).await;
    assert_eq!(run.get("caller").and_then(Value::as_str).unwrap_or_default(), "");
    let listed = get(&world, "/v1/usage").await;
    assert_eq!(listed["usage"].as_array().unwrap().len(), 1);
    let figures = reqwest::get(world.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!figures.contains("caller_runs_total{"), "{figures}");
    world.stopped().await;
}
