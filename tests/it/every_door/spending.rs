//! What runs cost, what they may, and how much of a long conversation the model is given.

use assistd::config::{Config, ModelEndpoint, ModelPrices, NamedModel, TruncationStrategy};
use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};
use tonic::Code;

use super::door::{Door, Form};
use crate::world::World;

over_every_door! {
    what_a_run_costs_adds_up,
    a_run_ends_when_its_budget_is_spent,
    a_budget_needs_prices,
    a_turn_of_a_fallback_costs_what_the_fallback_does,
    a_long_conversation_is_shortened_or_refused,
    a_long_conversation_is_summed_up,
    a_conversation_that_its_provider_finds_too_long_is_shortened_if_it_may_be,
}

/// A dollar for a million tokens read, two for a million written.
fn priced(config: &mut Config) {
    config.model.prices = Some(ModelPrices {
        currency: "USD".to_owned(),
        input: 1_000_000,
        cached_input: 500_000,
        output: 2_000_000,
        reasoning: None,
    });
}

/// A 64-bit number, which JSON has as text; nothing is zero.
fn number(value: &Value) -> u64 {
    value.as_str().map_or(0, |digits| digits.parse().unwrap())
}

/// What that usage costs, and checks that it says so.
fn cost(usage: &Value) -> u64 {
    let cached = number(&usage["cachedInputTokens"]);
    let read = number(&usage["inputTokens"]) - cached;
    let halves = read * 2 + cached + number(&usage["outputTokens"]) * 4;
    assert!(halves > 0, "{usage}");
    assert_eq!(usage["cost"]["currencyCode"], "USD");
    assert_eq!(number(&usage["cost"]["micros"]), halves.div_ceil(2), "{usage}");
    halves.div_ceil(2)
}

async fn what_a_run_costs_adds_up(form: Form) {
    let script = Script::turns([
        Turn::call("echo", &json!({"text": "ping"})),
        Turn::text("pong"),
        Turn::text("again"),
    ]);
    let world = World::with(script, priced).await;
    let door = Door::to(&world, form);
    let first = door
        .call("AssistantService.Chat", json!({"message": "hi"}))
        .await
        .unwrap();
    let steps = door
        .call("RunService.ListRunSteps", json!({"parent": first["run"]}))
        .await
        .unwrap();
    let turns = steps["steps"].as_array().unwrap().iter();
    let turns: Vec<&Value> = turns
        .map(|step| &step["modelTurn"])
        .filter(|turn| !turn.is_null())
        .collect();
    assert_eq!(turns.len(), 2, "{steps}");
    let of_turns: u64 = turns.iter().map(|turn| cost(&turn["usage"])).sum();
    assert_eq!(cost(&first["usage"]), of_turns);
    let more = json!({"message": "more", "thread": first["thread"]});
    let second = door.call("AssistantService.Chat", more).await.unwrap();
    let run = door
        .call("RunService.GetRun", json!({"name": second["run"]}))
        .await
        .unwrap();
    assert_eq!(run["usage"], second["usage"]);
    let thread = door
        .call("ThreadService.GetThread", json!({"name": first["thread"]}))
        .await
        .unwrap();
    let of_runs = of_turns + cost(&second["usage"]);
    assert_eq!(number(&thread["usage"]["cost"]["micros"]), of_runs);
    assert_eq!(thread["usage"]["turns"], 3);
    assert_eq!(thread["usage"]["toolCalls"], 1);
}

async fn a_run_ends_when_its_budget_is_spent(form: Form) {
    let script = Script::turns([Turn::text("a word ".repeat(400)), Turn::text("never said")]);
    let world = World::with(script, priced).await;
    let door = Door::to(&world, form);
    // The first is cut off while it is written, the second is not even asked for: to read the tools alone costs more.
    for (limit, begins) in [("600", "a word"), ("1", "")] {
        let asked = json!({"message": "hi", "limits": {"maxCostMicros": limit}});
        let answer = door.call("AssistantService.Chat", asked).await.unwrap();
        assert_eq!(answer["state"], "RUN_STATE_INCOMPLETE", "{answer}");
        assert_eq!(answer["incompleteReason"], "INCOMPLETE_REASON_BUDGET");
        let said = answer["response"].as_str().unwrap_or_default();
        assert!(
            said.starts_with(begins) && said.is_empty() == begins.is_empty(),
            "{said}"
        );
        let run = door
            .call("RunService.GetRun", json!({"name": answer["run"]}))
            .await
            .unwrap();
        assert_eq!(run["limits"]["maxCostMicros"], limit);
    }
    assert_eq!(world.simulator.requests().len(), 1);
}

async fn a_budget_needs_prices(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let asked = json!({"message": "hi", "limits": {"maxCostMicros": "5"}});
    let refusal = door.refusal("AssistantService.Chat", asked).await;
    assert_eq!(refusal.why(), (Code::InvalidArgument, "VALIDATION_FAILED"));
    assert_eq!(refusal.violations()[0].0, "limits.max_cost_micros");
    let answer = door
        .call("AssistantService.Chat", json!({"message": "hi"}))
        .await
        .unwrap();
    assert_eq!(answer["usage"]["cost"], Value::Null);
}

/// The first model refuses; the second answers for a hundred times its price.
async fn a_turn_of_a_fallback_costs_what_the_fallback_does(form: Form) {
    let refusing = || Turn::status(500);
    let script = Script::turns([
        refusing(),
        Turn::text("hi"),
        refusing(),
        Turn::text("a word ".repeat(400)),
    ]);
    let world = World::with(script, |config| {
        let named = |name: &str, fallbacks: &[&str], price: u64| NamedModel {
            name: name.to_owned(),
            provider_model: name.to_owned(),
            aliases: vec![format!("{name}-alias")],
            fallbacks: fallbacks.iter().map(|name| (*name).to_owned()).collect(),
            endpoint: config.model.endpoint.clone(),
            dialect: None,
            state: config.model.state,
            timeouts: config.model.timeouts,
            resilience: config.model.resilience,
            context_tokens: None,
            max_output_tokens: None,
            prices: Some(ModelPrices {
                currency: "EUR".to_owned(),
                input: price,
                cached_input: price,
                output: price,
                reasoning: Some(2 * price),
            }),
            reasoning_back: config.model.reasoning_back,
            idempotency_keys: None,
        };
        config.model.listed = vec![
            named("cheap", &["dear-alias"], 1_000_000),
            named("dear", &[], 100_000_000),
        ];
        config.model.endpoint = ModelEndpoint::default();
        config.model.name = "cheap".to_owned();
    })
    .await;
    let door = Door::to(&world, form);
    let listed = door.call("ModelService.ListModels", json!({})).await.unwrap();
    let prices = json!({"currencyCode": "EUR", "inputMicros": "100000000", "cachedInputMicros": "100000000",
        "outputMicros": "100000000", "reasoningMicros": "200000000"});
    assert_eq!(listed["models"][1]["prices"], prices, "{listed}");

    let asked = json!({"message": "hi"});
    let answer = door.call("AssistantService.Chat", asked).await.unwrap();
    let usage = &answer["usage"];
    let tokens = number(&usage["totalTokens"]) + number(&usage["reasoningTokens"]);
    assert_eq!(number(&usage["cost"]["micros"]), 100 * tokens, "{answer}");
    // What is left of this budget after the prompt is enough for the cheap one's whole answer, and not for the
    // other's.
    let asked = json!({"message": "hi", "limits": {"maxCostMicros": "3000"}});
    let answer = door.call("AssistantService.Chat", asked).await.unwrap();
    assert_eq!(answer["incompleteReason"], "INCOMPLETE_REASON_BUDGET", "{answer}");
}

async fn a_long_conversation_is_shortened_or_refused(form: Form) {
    let script = Script::turns((0..6).map(|turn| Turn::text(format!("answer {turn}"))));
    let world = World::with(script, |config| config.model.context_tokens = Some(800)).await;
    let door = Door::to(&world, form);
    let mut thread = json!("");
    let long = "word ".repeat(300);
    for _ in 0..2 {
        let asked = json!({"message": long, "thread": thread});
        thread = door.call("AssistantService.Chat", asked).await.unwrap()["thread"].clone();
    }
    // By default nothing is left out.
    let asked = json!({"message": long, "thread": thread});
    let refusal = door.refusal("AssistantService.Chat", asked).await;
    assert_eq!(
        refusal.why(),
        (Code::FailedPrecondition, "CONTEXT_LENGTH_EXCEEDED")
    );
    assert_eq!(refusal.fact("allowed_tokens"), "800");
    assert!(refusal.fact("estimated_tokens").parse::<u64>().unwrap() > 800);
    // The model was not asked for that one: two turns and the question that was not answered.
    let asked =
        json!({"message": "short", "thread": thread, "truncation": {"strategy": "TRUNCATION_STRATEGY_AUTO"}});
    let answer = door.call("AssistantService.Chat", asked).await.unwrap();
    assert_eq!(answer["response"], "answer 2");
    let steps = door
        .call("RunService.ListRunSteps", json!({"parent": answer["run"]}))
        .await
        .unwrap();
    let turn = &steps["steps"][0]["modelTurn"];
    assert_eq!(
        (&turn["contextMessages"], &turn["omittedMessages"]),
        (&json!(2), &json!(4)),
        "{steps}"
    );
    let asked = json!({"message": "short", "thread": thread, "truncation": {"lastTurns": 1}});
    let answer = door.call("AssistantService.Chat", asked).await.unwrap();
    let steps = door
        .call("RunService.ListRunSteps", json!({"parent": answer["run"]}))
        .await
        .unwrap();
    assert_eq!(steps["steps"][0]["modelTurn"]["contextMessages"], 1);
    let run = door
        .call("RunService.GetRun", json!({"name": answer["run"]}))
        .await
        .unwrap();
    assert_eq!(
        run["truncation"],
        json!({"strategy": "TRUNCATION_STRATEGY_AUTO", "lastTurns": 1})
    );
}

/// Nobody has said how much the model takes; the provider refuses what is longer.
async fn a_conversation_that_its_provider_finds_too_long_is_shortened_if_it_may_be(form: Form) {
    let too_long = || {
        let body = json!({"error": {"message": "x", "code": "context_length_exceeded"}});
        Turn::raw(400, "application/json", body.to_string())
    };
    let answers = (0..4).map(|turn| Turn::text(format!("answer {turn}")));
    let script = answers.chain([
        too_long(),
        Turn::text("short"),
        too_long(),
        too_long(),
        too_long(),
    ]);
    let world = World::new(Script::turns(script)).await;
    let door = Door::to(&world, form);
    let mut thread = json!("");
    for _ in 0..4 {
        let asked = json!({"message": "word ".repeat(300), "thread": thread});
        thread = door.call("AssistantService.Chat", asked).await.unwrap()["thread"].clone();
    }
    let auto =
        json!({"message": "on", "thread": thread, "truncation": {"strategy": "TRUNCATION_STRATEGY_AUTO"}});
    let answer = door.call("AssistantService.Chat", auto.clone()).await.unwrap();
    assert_eq!(answer["response"], "short");
    let steps = door
        .call("RunService.ListRunSteps", json!({"parent": answer["run"]}))
        .await
        .unwrap();
    let turn = &steps["steps"][0]["modelTurn"];
    let results: Vec<&Value> = turn["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["result"])
        .collect();
    assert_eq!(results.len(), 2, "{steps}");
    assert_eq!(
        (&turn["contextMessages"], &turn["omittedMessages"]),
        (&json!(3), &json!(6)),
        "{steps}"
    );
    // It helps no more; and without leave nothing is left out.
    let plain = json!({"message": "on", "thread": thread});
    for (asked, requests) in [(auto, 8), (plain, 9)] {
        let refusal = door.refusal("AssistantService.Chat", asked).await;
        assert_eq!(
            refusal.why(),
            (Code::FailedPrecondition, "CONTEXT_LENGTH_EXCEEDED")
        );
        assert_eq!(world.simulator.requests().len(), requests);
    }
}

/// The third question does not fit beside the first two; what is left out is summed up for it and the fourth.
async fn a_long_conversation_is_summed_up(form: Form) {
    let script = Script::turns([
        Turn::text("answer 0"),
        Turn::text("answer 1"),
        Turn::text("they spoke of words"),
        Turn::text("answer 2"),
        Turn::text("answer 3"),
    ]);
    let world = World::with(script, |config| {
        config.model.context_tokens = Some(1_000);
        config.run.truncation.strategy = TruncationStrategy::Summarize;
        priced(config);
    })
    .await;
    let door = Door::to(&world, form);
    let mut thread = json!("");
    let long = "word ".repeat(300);
    for _ in 0..2 {
        let asked = json!({"message": long, "thread": thread});
        thread = door.call("AssistantService.Chat", asked).await.unwrap()["thread"].clone();
    }
    let asked = json!({"message": long, "thread": thread});
    let third = door.call("AssistantService.Chat", asked).await.unwrap();
    assert_eq!(third["response"], "answer 2");
    let steps = door
        .call("RunService.ListRunSteps", json!({"parent": third["run"]}))
        .await
        .unwrap();
    let (summary, turn) = (&steps["steps"][0]["summary"], &steps["steps"][1]["modelTurn"]);
    assert_eq!(summary["summarizedMessages"], 4, "{steps}");
    assert_eq!(
        (&turn["contextMessages"], &turn["omittedMessages"]),
        (&json!(2), &json!(4)),
        "{steps}"
    );
    // It is paid for by the run, and is no turn of it.
    assert_eq!(
        cost(&third["usage"]),
        cost(&summary["usage"]) + cost(&turn["usage"])
    );
    assert_eq!(third["usage"]["turns"], 1);
    // It is a message of the thread, marked as what it is, and watchers see it.
    let asked = json!({"name": summary["message"]});
    let message = door.call("ThreadService.GetMessage", asked).await.unwrap();
    assert_eq!(message["role"], "ROLE_SYSTEM");
    assert_eq!(message["content"][0]["text"], "they spoke of words");
    assert_eq!(message["summary"]["messages"], 4, "{message}");
    let mut events = door
        .open("RunService.WatchRun", json!({"name": third["run"]}))
        .await;
    let mut shown = Vec::new();
    while let Some(event) = events.next().await {
        shown.push(event.unwrap());
    }
    let is_shown = |event: &&Value| event["messageCreated"]["message"]["name"] == summary["message"];
    assert_eq!(shown.iter().filter(is_shown).count(), 1, "{shown:?}");
    // Used again as long as it is good enough.
    let asked = json!({"message": "short", "thread": thread});
    let fourth = door.call("AssistantService.Chat", asked).await.unwrap();
    assert_eq!(fourth["response"], "answer 3");
    let sent = world.simulator.requests();
    let said = |index: usize| sent[index].body.to_string();
    assert!(said(2).contains("answer 0") && said(2).contains("answer 1"));
    for index in [3, 4] {
        assert!(said(index).contains("they spoke of words"), "{}", said(index));
        assert!(!said(index).contains("answer 1"), "{}", said(index));
    }
    assert_eq!(sent.len(), 5);
}
