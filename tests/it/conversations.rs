//! Responses in conversations of the provider's: a conversation there has what a thread here has, each item once, or it is
//! not gone on with.

use std::sync::Arc;
use std::time::Duration;

use assistd::config::{Config, Dialect, ModelState, NamedModel, StoreSection, TruncationStrategy};
use assistd::simulator::{At, Fault, Finish, Recorded, Script, Simulator, Turn};
use serde_json::{Value, json};

use crate::description::Provider;
use crate::simulator::client;
use crate::world::{PATIENCE, World};

fn in_conversations(config: &mut Config) {
    config.model.dialect = Some(Dialect::Responses);
    config.model.state = ModelState::Conversation;
}

async fn world(script: Script) -> World {
    World::with(script, in_conversations).await
}

/// Asks, in this thread or in a new one: the answer, or the error, and the thread.
async fn chat(world: &World, message: &str, thread: &Value) -> Value {
    let (_, answer) = world
        .post("/v1/chat", &json!({"message": message, "thread": thread}))
        .await;
    answer
}

/// A chat that is answered.
async fn answered(world: &World, message: &str, thread: &Value) -> Value {
    let answer = chat(world, message, thread).await;
    assert_eq!(answer["state"], "RUN_STATE_COMPLETED", "{message}: {answer}");
    answer
}

fn asked(simulator: &Simulator, path: &str) -> Vec<Arc<Recorded>> {
    let requests = simulator.requests().into_iter();
    let of_path = |request: &Arc<Recorded>| request.method == "POST" && request.path == path;
    requests.filter(of_path).collect()
}

/// The conversations, in the order in which they were spoken in.
fn conversations(simulator: &Simulator) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for request in asked(simulator, "/v1/responses") {
        let id = request.body["conversation"]
            .as_str()
            .expect("it is in one")
            .to_owned();
        assert_eq!(request.body.get("previous_response_id"), None);
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// Each request: in which of the conversations, and how many items it brought.
fn requests(simulator: &Simulator) -> Vec<(usize, usize)> {
    let known = conversations(simulator);
    let place = |id: &Value| known.iter().position(|known| *id == **known).unwrap();
    let brought = |request: &Recorded| request.body["input"].as_array().unwrap().len();
    asked(simulator, "/v1/responses")
        .iter()
        .map(|request| (place(&request.body["conversation"]), brought(request)))
        .collect()
}

/// The items of a conversation in short, oldest first.
async fn items(simulator: &Simulator, place: usize) -> Vec<String> {
    let id = &conversations(simulator)[place];
    let url = format!(
        "{}/conversations/{id}/items?order=asc&limit=100",
        simulator.base_url()
    );
    let list: Value = client().get(url).send().await.unwrap().json().await.unwrap();
    let short = |item: &Value| match item["type"].as_str().unwrap() {
        "message" => format!(
            "{}: {}",
            item["role"].as_str().unwrap(),
            item["content"][0]["text"].as_str().unwrap()
        ),
        "function_call" => format!("calls {}", item["name"].as_str().unwrap()),
        "function_call_output" => format!("has {}", item["output"].as_str().unwrap()),
        other => other.to_owned(),
    };
    list["data"].as_array().unwrap().iter().map(short).collect()
}

/// What became of each request of the first turn of a run.
async fn attempts(world: &World, answer: &Value) -> Vec<String> {
    let url = world.url(&format!("/v1/{}/steps", answer["run"].as_str().unwrap()));
    let listed: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let attempts = listed["steps"][0]["modelTurn"]["attempts"].as_array().unwrap();
    let short = |attempt: &Value| {
        let result = attempt["result"].as_str().unwrap();
        let result = result.strip_prefix("MODEL_ATTEMPT_RESULT_").unwrap();
        format!("{result} {}", attempt["httpStatus"])
    };
    attempts.iter().map(short).collect()
}

#[tokio::test]
async fn a_thread_is_one_conversation_that_has_each_of_its_items_once() {
    let world = world(Script::stand_in()).await;
    let first = answered(&world, "one", &Value::Null).await;
    let thread = &first["thread"];
    answered(&world, "echo hello", thread).await;
    answered(&world, "three", thread).await;
    assert_eq!(requests(&world.simulator), [(0, 1), (0, 1), (0, 1), (0, 1)]);
    assert_eq!(
        items(&world.simulator, 0).await,
        [
            "user: one",
            "assistant: Mock reply to: one",
            "user: echo hello",
            "calls echo",
            "has Echo: hello",
            "assistant: The tool answered: Echo: hello",
            "user: three",
            "assistant: Mock reply to: three",
        ]
    );
    let begun = asked(&world.simulator, "/v1/conversations");
    let name = thread.as_str().unwrap().strip_prefix("threads/").unwrap();
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0].body["metadata"], json!({"thread": name}));
    world.stopped().await;
}

/// Turns that do not end well, whatever the provider has made of them.
#[tokio::test]
async fn behind_a_turn_that_went_wrong_a_conversation_begins_with_the_whole_history() {
    let said = || Turn::text(["half ", "more"]);
    let table = [
        ("a failure", Turn::status(500), None),
        ("a refusal", Turn::status(400), None),
        (
            "a storm that stays",
            Turn::status(429).header("retry-after", "0").times(3),
            None,
        ),
        ("a closed connection", Turn::disconnect(), None),
        ("a cut", said().fault(Fault::Cut(At::Deltas(1))), Some("half ")),
        (
            "an early end",
            said().fault(Fault::Stop(At::Deltas(2))),
            Some("half more"),
        ),
        (
            "a failure at the end",
            said().finish(Finish::Failed),
            Some("half more"),
        ),
        (
            "the token limit",
            said().finish(Finish::Length),
            Some("half more"),
        ),
        (
            "the filter",
            said().finish(Finish::ContentFilter),
            Some("half more"),
        ),
    ];
    for (name, turn, kept) in table {
        let times = turn.times.unwrap_or(1);
        let world = world(Script::turns([turn.when_user("two").times(times)])).await;
        let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
        let broken = chat(&world, "two", &thread).await;
        assert_ne!(broken["state"], "RUN_STATE_COMPLETED", "{name}");
        answered(&world, "three", &thread).await;
        answered(&world, "four", &thread).await;
        let kept = kept.map(|text| format!("assistant: {text}"));
        let whole = 4 + usize::from(kept.is_some());
        let mut expected = vec![(0, 1)];
        expected.extend(vec![(0, 1); usize::try_from(times).unwrap()]);
        expected.extend([(1, whole), (1, 1)]);
        assert_eq!(requests(&world.simulator), expected, "{name}");
        let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let mut all = words(&["user: one", "assistant: Mock reply to: one", "user: two"]);
        all.extend(kept);
        all.extend(words(&[
            "user: three",
            "assistant: Mock reply to: three",
            "user: four",
            "assistant: Mock reply to: four",
        ]));
        assert_eq!(items(&world.simulator, 1).await, all, "{name}");
        world.stopped().await;
    }
}

/// What a turn is asked again after, in which conversation each of its requests and the next turn's goes, and how many of
/// them are begun.
#[tokio::test]
async fn what_may_have_arrived_is_asked_again_in_a_conversation_of_its_own() {
    let again = |status: u16| Turn::status(status).header("retry-after", "0").times(1);
    let table = [
        (
            again(503),
            vec![(0, 1), (0, 1), (1, 3), (1, 1)],
            2,
            ["FAILED 503", "ANSWERED 200"],
        ),
        // It was not taken.
        (
            again(429),
            vec![(0, 1), (0, 1), (0, 1), (0, 1)],
            1,
            ["FAILED 429", "ANSWERED 200"],
        ),
        // A second one beside one that is slow.
        (
            Turn::hang().times(1),
            vec![(0, 1), (0, 1), (1, 3), (1, 1)],
            2,
            ["OVERTAKEN null", "ANSWERED 200"],
        ),
    ];
    for (turn, expected, begun, told) in table {
        let world = World::with(Script::turns([turn.when_user("two")]), |config| {
            in_conversations(config);
            config.model.resilience.hedge_after = Some(Duration::from_millis(100));
            config.model.resilience.retry_percent = 1_000;
        })
        .await;
        let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
        let two = answered(&world, "two", &thread).await;
        answered(&world, "three", &thread).await;
        assert_eq!(attempts(&world, &two).await, told);
        assert_eq!(requests(&world.simulator), expected, "{told:?}");
        assert_eq!(
            asked(&world.simulator, "/v1/conversations").len(),
            begun,
            "{told:?}"
        );
        let last = conversations(&world.simulator).len() - 1;
        assert_eq!(
            items(&world.simulator, last).await,
            [
                "user: one",
                "assistant: Mock reply to: one",
                "user: two",
                "assistant: Mock reply to: two",
                "user: three",
                "assistant: Mock reply to: three",
            ],
            "{told:?}"
        );
        world.stopped().await;
    }
}

/// A conversation that nothing has arrived in is not begun again.
#[tokio::test]
async fn a_storm_at_the_first_turn_leaves_one_conversation() {
    let storm = Turn::status(429).header("retry-after", "0").times(2);
    let world = world(Script::turns([storm])).await;
    let one = answered(&world, "one", &Value::Null).await;
    assert_eq!(
        attempts(&world, &one).await,
        ["FAILED 429", "FAILED 429", "ANSWERED 200"]
    );
    assert_eq!(asked(&world.simulator, "/v1/conversations").len(), 1);
    world.stopped().await;
}

#[tokio::test]
async fn a_run_that_is_called_off_leaves_its_conversation_behind() {
    let hanging = Turn::text(["one", "two"]).fault(Fault::Hang(At::Deltas(1)));
    let world = world(Script::turns([hanging.when_user("two").times(1)])).await;
    let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
    let name = thread.as_str().unwrap();
    let message = json!({"content": [{"text": "two"}]});
    for (path, body) in [("messages", message), ("runs", json!({}))] {
        let (status, made) = world.post(&format!("/v1/{name}/{path}"), &body).await;
        assert_eq!(status, 200, "{made}");
    }
    let is_asked = async {
        while asked(&world.simulator, "/v1/responses").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_asked).await.unwrap();
    let request = json!({"message": "three", "thread": thread, "onBusy": "ON_BUSY_INTERRUPT"});
    let (_, answer) = world.post("/v1/chat", &request).await;
    assert_eq!(answer["response"], "Mock reply to: three", "{answer}");
    let requests: Vec<usize> = requests(&world.simulator).into_iter().map(|one| one.0).collect();
    assert_eq!(requests, [0, 0, 1]);
    let items = items(&world.simulator, 1).await;
    assert_eq!(items.first().unwrap(), "user: one");
    assert_eq!(items.last().unwrap(), "assistant: Mock reply to: three");
    world.stopped().await;
}

#[tokio::test]
async fn what_is_left_of_a_history_is_a_conversation_of_its_own() {
    let world = World::with(Script::stand_in(), |config| {
        in_conversations(config);
        config.run.truncation.strategy = TruncationStrategy::Auto;
        config.run.truncation.last_turns = Some(2);
    })
    .await;
    let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
    answered(&world, "two", &thread).await;
    answered(&world, "three", &thread).await;
    assert_eq!(requests(&world.simulator), [(0, 1), (0, 1), (1, 3)]);
    assert_eq!(
        items(&world.simulator, 1).await,
        [
            "user: two",
            "assistant: Mock reply to: two",
            "user: three",
            "assistant: Mock reply to: three",
        ]
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_conversation_that_the_provider_has_forgotten_is_told_anew_once() {
    let world = world(Script::stand_in()).await;
    let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
    let forgotten = &conversations(&world.simulator)[0];
    let url = format!("{}/conversations/{forgotten}", world.simulator.base_url());
    assert_eq!(client().delete(url).send().await.unwrap().status(), 200);
    let two = answered(&world, "two", &thread).await;
    assert_eq!(attempts(&world, &two).await, ["FAILED 404", "ANSWERED 200"]);
    answered(&world, "three", &thread).await;
    assert_eq!(requests(&world.simulator), [(0, 1), (0, 1), (1, 3), (1, 1)]);
    world.stopped().await;
}

#[tokio::test]
async fn after_a_restart_the_conversation_is_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = Provider::new(Script::stand_in()).await;
    let started = || {
        World::with(Script::stand_in(), |config| {
            in_conversations(config);
            config.model.endpoint.base_url = Some(simulator.base_url());
            config.store = StoreSection::Directory(directory.path().to_owned());
        })
    };
    let world = started().await;
    let thread = answered(&world, "echo one", &Value::Null).await["thread"].clone();
    world.stopped().await;
    let world = started().await;
    answered(&world, "two", &thread).await;
    world.stopped().await;
    assert_eq!(requests(&simulator), [(0, 1), (0, 1), (0, 1)]);
    assert_eq!(items(&simulator, 0).await.len(), 6);
}

/// Messages that are added to a thread and answered by runs without one of their own. A run that fails without a word
/// leaves nothing in the thread that tells of it.
#[tokio::test]
async fn messages_that_were_only_added_are_new_unless_a_run_has_failed_at_them() {
    let world = world(Script::turns([Turn::status(500).when_user("three").times(1)])).await;
    let (_, thread) = world.post("/v1/threads", &json!({})).await;
    let thread = thread["name"].as_str().unwrap();
    let answer = async |added: Option<&str>| {
        if let Some(text) = added {
            let message = json!({"content": [{"text": text}]});
            let (status, _) = world.post(&format!("/v1/{thread}/messages"), &message).await;
            assert_eq!(status, 200);
        }
        let (status, run) = world.post(&format!("/v1/{thread}/runs"), &json!({})).await;
        assert_eq!(status, 200, "{run}");
        let watched = world.url(&format!("/v1/{}:watch", run["name"].as_str().unwrap()));
        reqwest::get(watched).await.unwrap().text().await.unwrap();
    };
    for added in [Some("one"), Some("two"), Some("three"), None, Some("four")] {
        answer(added).await;
    }
    assert_eq!(
        requests(&world.simulator),
        [(0, 1), (0, 1), (0, 1), (1, 5), (1, 1)]
    );
    let items = items(&world.simulator, 1).await;
    assert_eq!(items.len(), 8, "{items:?}");
    world.stopped().await;
}

/// A request that says nothing new leaves no message in the thread by which one could see that it was made, and failed.
#[tokio::test]
async fn nobody_is_asked_again_in_a_conversation_without_something_new() {
    let world = world(Script::turns([
        Turn::text("second").when_user("two").times(1),
        Turn::status(500).when_user("two").times(1),
    ]))
    .await;
    let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
    answered(&world, "two", &thread).await;
    let runs = format!("/v1/{}/runs", thread.as_str().unwrap());
    let (status, run) = world.post(&runs, &json!({})).await;
    assert_eq!(status, 200, "{run}");
    let watched = world.url(&format!("/v1/{}:watch", run["name"].as_str().unwrap()));
    reqwest::get(watched).await.unwrap().text().await.unwrap();
    answered(&world, "three", &thread).await;
    assert_eq!(requests(&world.simulator), [(0, 1), (0, 1), (1, 4), (2, 5)]);
    world.stopped().await;
}

/// What another model has said is not in a conversation of the first one's.
#[tokio::test]
async fn behind_an_answer_of_another_model_each_begins_anew() {
    let world = World::with(
        Script::turns([Turn::status(500).when_user("two").times(1)]),
        |config| {
            in_conversations(config);
            let model = &config.model;
            let named = |name: &str, fallbacks: Vec<String>| NamedModel {
                name: name.to_owned(),
                provider_model: format!("{name}-1"),
                aliases: Vec::new(),
                fallbacks,
                endpoint: model.endpoint.clone(),
                dialect: model.dialect,
                state: model.state,
                reasoning_back: model.reasoning_back,
                timeouts: model.timeouts,
                resilience: model.resilience,
                context_tokens: None,
                max_output_tokens: None,
                prices: None,
                idempotency_keys: None,
            };
            config.model.listed = vec![
                named("first", vec!["second".to_owned()]),
                named("second", Vec::new()),
            ];
            config.model.name = "first".to_owned();
        },
    )
    .await;
    let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
    for message in ["two", "three", "four"] {
        answered(&world, message, &thread).await;
    }
    let models: Vec<Value> = asked(&world.simulator, "/v1/responses")
        .iter()
        .map(|request| request.body["model"].clone())
        .collect();
    assert_eq!(models, ["first-1", "first-1", "second-1", "first-1", "first-1"]);
    assert_eq!(
        requests(&world.simulator),
        [(0, 1), (0, 1), (1, 3), (2, 5), (2, 1)]
    );
    assert_eq!(items(&world.simulator, 2).await.len(), 8);
    world.stopped().await;
}

/// What is summed up is asked beside the conversation.
#[tokio::test]
async fn a_summary_is_no_conversation() {
    let world = World::with(Script::stand_in(), |config| {
        in_conversations(config);
        config.run.truncation.strategy = TruncationStrategy::Summarize;
        config.run.truncation.last_turns = Some(2);
    })
    .await;
    let thread = answered(&world, "one", &Value::Null).await["thread"].clone();
    answered(&world, "two", &thread).await;
    answered(&world, "three", &thread).await;
    let beside: Vec<_> = asked(&world.simulator, "/v1/responses")
        .into_iter()
        .filter(|request| request.body.get("conversation").is_none())
        .collect();
    assert_eq!(beside.len(), 1);
    assert_eq!(beside[0].body["store"], false);
    assert_eq!(asked(&world.simulator, "/v1/conversations").len(), 2);
    world.stopped().await;
}
