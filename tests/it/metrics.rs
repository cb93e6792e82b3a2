//! The figures at `/metrics`, over the wire.

use std::collections::BTreeMap;

use assistd::simulator::{Script, Turn};
use serde_json::json;

use crate::world::World;

/// Every figure by its name and labels, as it is written.
pub async fn figures(world: &World) -> BTreeMap<String, f64> {
    let response = reqwest::get(world.url("/metrics")).await.unwrap();
    assert_eq!(response.status(), 200);
    let media_type = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(
        media_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

#[tokio::test]
async fn a_chat_with_a_tool_call_moves_the_figures() {
    let script = Script::turns([Turn::call("echo", &json!({"text": "ping"})), Turn::text("pong")]);
    let world = World::with(script, |config| {
        config.model.prices = Some(assistd::config::ModelPrices {
            currency: "USD".to_owned(),
            input: 1_000_000,
            cached_input: 1_000_000,
            output: 1_000_000,
            reasoning: None,
        });
    })
    .await;
    let model = r#"gen_ai_request_model="test-model""#;
    let chats = |code: &str| {
        let method = r#"rpc_method="assistant.v1.AssistantService/Chat""#;
        format!(r#"rpc_server_call_duration_seconds_count{{{method},rpc_response_status_code="{code}"}}"#)
    };
    let before = figures(&world).await;
    assert!(!before.contains_key(&chats("OK")), "{before:?}");
    assert_eq!(
        before[r#"assistd_mcp_server_state{mcp_server="builtin",state="ready"}"#],
        1.0
    );
    assert_eq!(before[r#"assistd_runs{state="running"}"#], 0.0);
    assert_eq!(before[&format!("assistd_model_breaker_open{{{model}}}")], 0.0);

    let (status, answer) = world.post("/v1/chat", &json!({"message": "hi"})).await;
    assert_eq!(status, 200, "{answer}");
    let (status, refusal) = world.post("/v1/chat", &json!({"thread": "threads/none"})).await;
    assert_eq!(status, 400, "{refusal}");

    let after = figures(&world).await;
    let tokens = |kind: &str| {
        after[&format!(r#"gen_ai_client_token_usage_sum{{gen_ai_token_type="{kind}",{model}}}"#)]
    };
    let usage = |name: &str| answer["usage"][name].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(tokens("input"), usage("inputTokens"));
    assert_eq!(tokens("output"), usage("outputTokens"));
    let cost = answer["usage"]["cost"]["micros"]
        .as_str()
        .unwrap()
        .parse::<f64>()
        .unwrap();
    for (name, expected) in [
        (chats("OK"), 1.0),
        (chats("INVALID_ARGUMENT"), 1.0),
        (
            r#"assistd_run_duration_seconds_count{state="completed",reason=""}"#.to_owned(),
            1.0,
        ),
        (
            format!(r#"assistd_model_attempts_total{{{model},outcome="answered",error_type=""}}"#),
            2.0,
        ),
        (
            format!("gen_ai_client_operation_time_to_first_chunk_seconds_count{{{model}}}"),
            2.0,
        ),
        (
            format!(
                r#"gen_ai_client_operation_duration_seconds_count{{gen_ai_operation_name="chat",{model},error_type=""}}"#
            ),
            2.0,
        ),
        (
            r#"gen_ai_execute_tool_duration_seconds_count{mcp_server="builtin",gen_ai_tool_name="echo",error_type=""}"#
                .to_owned(),
            1.0,
        ),
        (format!(r#"assistd_cost_micros_total{{currency="USD",{model}}}"#), cost),
    ] {
        assert_eq!(after.get(&name), Some(&expected), "{name} in {after:#?}");
    }
    // A call outside of any run counts as well.
    let asked = json!({"arguments": {"text": "once more"}});
    let (status, output) = world.post("/v1/tools/echo:call", &asked).await;
    assert_eq!(status, 200, "{output}");
    let calls = r#"gen_ai_execute_tool_duration_seconds_count{mcp_server="builtin",gen_ai_tool_name="echo",error_type=""}"#;
    assert_eq!(figures(&world).await[calls], 2.0);
    world.stopped().await;
}

#[tokio::test]
async fn the_figures_can_be_switched_off_and_are_only_read() {
    let world = World::new(Script::stand_in()).await;
    let posted = reqwest::Client::new()
        .post(world.url("/metrics"))
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 405);
    assert_eq!(posted.headers()["allow"], "GET, HEAD, OPTIONS");
    let off = World::with(Script::stand_in(), |config| config.api.metrics = false).await;
    let response = reqwest::get(off.url("/metrics")).await.unwrap();
    assert_eq!(response.status(), 404);
}
