//! Servers that ask the model during a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assistd::simulator::{At, Fault, Script, Turn};
use serde_json::{Value, json};

use crate::mcp::peer::{Listening, Seen};
use crate::metrics;
use crate::world::{self, World};

/// A service with a server that may ask the model so, and whose model calls that server's tool.
pub async fn world(allow: &str, turns: impl IntoIterator<Item = Turn>) -> (World, Listening) {
    let seen = Arc::<Seen>::default();
    seen.has_asking.store(true, Ordering::SeqCst);
    let server = Listening::start(([127, 0, 0, 1], 0).into(), &seen).await;
    let entry = json!({"url": server.url(), "sampling": {"allow": allow, "max_tokens": 30}});
    let servers = json!({"mcpServers": {"a": entry}});
    let turns = [Turn::call("a__sample", &json!({}))].into_iter().chain(turns);
    let world = World::with(Script::turns(turns), |config| config.mcp = world::mcp(&servers)).await;
    (world, server)
}

async fn chat(world: &World) -> Value {
    chat_within(world, &json!({})).await
}

async fn chat_within(world: &World, limits: &Value) -> Value {
    let asked = json!({"message": "ask", "limits": limits});
    let (status, answer) = world.post("/v1/chat", &asked).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The step of the run's call.
async fn call(world: &World, answer: &Value) -> Value {
    let run = answer["run"].as_str().unwrap();
    let steps = get(world, &format!("/v1/{run}/steps")).await;
    let mut steps = steps["steps"].as_array().unwrap().iter();
    let step = steps.find(|step| step.get("toolCall").is_some()).unwrap();
    step["toolCall"].clone()
}

fn count(number: &Value) -> u64 {
    number.as_str().map_or(0, |text| text.parse().unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    reqwest::get(world.url(path)).await.unwrap().json().await.unwrap()
}

/// What the tool said to the model at last.
fn output(world: &World) -> String {
    world.simulator.requests().last().unwrap().body.to_string()
}

#[tokio::test]
async fn a_server_that_may_asks_the_model_and_the_run_counts_it() {
    let (world, _server) = world("allow", [Turn::text("quite well"), Turn::text("over")]).await;
    let answer = chat(&world).await;
    assert_eq!(answer["response"], "over");
    let requests = world.simulator.requests();
    let [first, sampled, last] = requests.as_slice() else {
        panic!("{} requests", requests.len())
    };
    let asked = sampled.body.to_string();
    assert!(
        asked.contains("how are you?") && asked.contains("Be kind."),
        "{asked}"
    );
    assert!(
        !asked.contains("a__sample") && !asked.contains("Be brief."),
        "nothing of the run: {asked}"
    );
    assert!(
        asked.contains("_tokens\":30"),
        "no more than the operator allows: {asked}"
    );
    assert!(first.body.to_string().contains("a__sample"));
    assert!(last.body.to_string().contains("quite well"));
    let run = answer["run"].as_str().unwrap();
    let steps = get(&world, &format!("/v1/{run}/steps")).await;
    let of_turns = steps["steps"].as_array().unwrap().iter();
    let of_turns: i64 = of_turns
        .filter_map(|step| {
            step["modelTurn"]["usage"]["inputTokens"]
                .as_str()?
                .parse::<i64>()
                .ok()
        })
        .sum();
    let all: i64 = answer["usage"]["inputTokens"].as_str().unwrap().parse().unwrap();
    assert!(
        of_turns > 0 && all > of_turns,
        "{all} of the run, {of_turns} of its turns"
    );
    assert_eq!(answer["usage"]["turns"], 2);
    world.stopped().await;
}

#[tokio::test]
async fn the_step_of_the_call_and_the_figures_tell_of_every_attempt() {
    let busy = Turn::status(503).header("retry-after", "0").times(1);
    let (world, _server) = world("allow", [busy, Turn::text("quite well"), Turn::text("over")]).await;
    let answer = chat(&world).await;
    assert_eq!(answer["response"], "over");
    let call = call(&world, &answer).await;
    let [sampled] = call["sampledRequests"].as_array().unwrap().as_slice() else {
        panic!("{call}")
    };
    let results = sampled["attempts"].as_array().unwrap().iter();
    let results: Vec<_> = results
        .map(|attempt| (&attempt["result"], &attempt["httpStatus"]))
        .collect();
    let expected = [
        (&json!("MODEL_ATTEMPT_RESULT_FAILED"), &json!(503)),
        (&json!("MODEL_ATTEMPT_RESULT_ANSWERED"), &json!(200)),
    ];
    assert_eq!(results, expected, "{sampled}");
    assert_eq!(
        (&sampled["model"], &sampled["state"]),
        (&json!("test-model"), &json!("STEP_STATE_COMPLETED"))
    );
    assert!(count(&sampled["usage"]["outputTokens"]) > 0, "{sampled}");
    assert!(sampled["startTime"].is_string() && sampled["endTime"].is_string());
    let figures = metrics::figures(&world).await;
    let model = r#"gen_ai_request_model="test-model""#;
    for (name, expected) in [
        (
            format!(r#"assistd_model_attempts_total{{{model},outcome="answered",error_type=""}}"#),
            3,
        ),
        (
            format!(
                r#"assistd_model_attempts_total{{{model},outcome="failed",error_type="MODEL_UNAVAILABLE"}}"#
            ),
            1,
        ),
        (
            format!(
                r#"gen_ai_client_operation_duration_seconds_count{{gen_ai_operation_name="sample",{model},error_type=""}}"#
            ),
            1,
        ),
        (
            format!(r#"gen_ai_client_token_usage_sum{{gen_ai_token_type="input",{model}}}"#),
            count(&answer["usage"]["inputTokens"]),
        ),
        (
            format!(r#"gen_ai_client_token_usage_sum{{gen_ai_token_type="output",{model}}}"#),
            count(&answer["usage"]["outputTokens"]),
        ),
    ] {
        assert_eq!(
            figures.get(&name),
            Some(&(expected as f64)),
            "{name} in {figures:#?}"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn no_answer_is_waited_for_that_would_come_after_the_end_of_the_run() {
    let busy = Turn::status(503).header("retry-after", "10").times(1);
    let (world, _server) = world("allow", [busy, Turn::text("over"), Turn::text("not said")]).await;
    let answer = chat_within(&world, &json!({"maxDuration": "9s"})).await;
    assert_eq!(
        (&answer["state"], &answer["response"]),
        (&json!("RUN_STATE_COMPLETED"), &json!("over"))
    );
    let call = call(&world, &answer).await;
    let sampled = &call["sampledRequests"][0];
    assert_eq!(sampled["state"], "STEP_STATE_FAILED", "{sampled}");
    assert_eq!(sampled["attempts"].as_array().unwrap().len(), 1, "{sampled}");
    assert!(sampled.get("usage").is_none(), "{sampled}");
    world.stopped().await;
}

#[tokio::test]
async fn the_limits_of_the_run_hold_for_a_server_also_where_nobody_counts() {
    // A token counts as eight bytes where the provider has not counted.
    let broken = Turn::text("12345678 12345678 12345678 12345678 ").fault(Fault::Cut(At::Deltas(3)));
    let (world, _server) = world("allow", [broken, Turn::text("over")]).await;
    let answer = chat_within(&world, &json!({"maxOutputTokens": "25"})).await;
    assert_eq!(answer["state"], "RUN_STATE_COMPLETED", "{answer}");
    let run = answer["run"].as_str().unwrap();
    let steps = get(&world, &format!("/v1/{run}/steps")).await;
    let first = count(&steps["steps"][0]["modelTurn"]["usage"]["outputTokens"]);
    let requests = world.simulator.requests();
    let asked = requests[1].body.to_string();
    let left = format!("_tokens\":{}", 25 - first);
    assert!(asked.contains(&left), "{left} in {asked}");
    let call = call(&world, &answer).await;
    let sampled = &call["sampledRequests"][0];
    assert_eq!(sampled["state"], "STEP_STATE_FAILED", "{sampled}");
    assert_eq!(sampled["usage"]["outputTokens"], "3", "{sampled}");
    assert!(count(&sampled["usage"]["inputTokens"]) > 0, "{sampled}");
    let turns = steps["steps"].as_array().unwrap().iter();
    let turns: u64 = turns
        .map(|step| count(&step["modelTurn"]["usage"]["outputTokens"]))
        .sum();
    assert_eq!(count(&answer["usage"]["outputTokens"]), turns + 3);
    world.stopped().await;
}

#[tokio::test]
async fn a_person_lets_a_server_ask_the_model_or_does_not() {
    for (decision, expected) in [
        (json!({"approve": {}}), "quite well"),
        (json!({"reject": {"reason": "no"}}), "may not ask a model"),
    ] {
        let turns = match expected {
            "quite well" => [Turn::text("quite well"), Turn::text("over")],
            _ => [Turn::text("over"), Turn::text("not said")],
        };
        let (world, _server) = world("ask", turns).await;
        let waiting = chat(&world).await;
        assert_eq!(waiting["state"], "RUN_STATE_REQUIRES_ACTION");
        let action = &waiting["pendingActions"][0];
        let asked = &action["sampling"];
        assert_eq!(
            (&asked["server"], &asked["prompt"]),
            (&json!("a"), &json!("user: how are you?"))
        );
        assert_eq!(
            (&asked["systemPrompt"], &asked["maxTokens"]),
            (&json!("Be kind."), &json!("30"))
        );
        assert_eq!(world.simulator.requests().len(), 1, "nothing is asked before");
        let run = waiting["run"].as_str().unwrap();
        let mut answer = json!({"actionId": action["id"], "digest": action["digest"], "output": {}});
        let submit = format!("/v1/{run}:submitActions");
        let (status, refused) = world.post(&submit, &json!({"answers": [answer]})).await;
        assert_eq!(status, 400, "{refused}");
        answer.as_object_mut().unwrap().remove("output");
        answer
            .as_object_mut()
            .unwrap()
            .extend(decision.as_object().unwrap().clone());
        let (status, answered) = world.post(&submit, &json!({"answers": [answer]})).await;
        assert_eq!(status, 200, "{answered}");
        let events = reqwest::get(world.url(&format!("/v1/{run}:watch")))
            .await
            .unwrap();
        let events = tokio::time::timeout(world::PATIENCE, events.text())
            .await
            .unwrap()
            .unwrap();
        assert!(events.contains("RUN_STATE_COMPLETED"), "{events}");
        assert!(output(&world).contains(expected), "{}", output(&world));
        world.stopped().await;
    }
}
