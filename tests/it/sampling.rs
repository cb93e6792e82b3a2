//! Servers that ask the model during a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};

use crate::mcp::peer::{Listening, Seen};
use crate::world::{self, World};

/// A service with a server that may ask the model so, and whose model calls that server's tool.
pub async fn world(allow: &str, turns: [Turn; 2]) -> (World, Listening) {
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
    let (status, answer) = world.post("/v1/chat", &json!({"message": "ask"})).await;
    assert_eq!(status, 200, "{answer}");
    answer
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
