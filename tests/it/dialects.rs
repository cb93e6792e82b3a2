//! What holds in every dialect, through the whole service.

use assistd::config::{Dialect, ModelState};
use assistd::simulator::{Item, Recorded, Script, Turn};
use serde_json::{Value, json};

use crate::world::World;

const DIALECTS: [Dialect; 3] = [Dialect::Responses, Dialect::ChatCompletions, Dialect::Assistants];

async fn world(script: Script, dialect: Dialect, state: ModelState) -> World {
    World::with(script, |config| {
        config.model.dialect = Some(dialect);
        config.model.state = state;
    })
    .await
}

/// What the model was told in the requests that it spoke to, each with its path.
fn asked(world: &World) -> Vec<(String, Value)> {
    let requests = world.simulator.requests();
    let is_for_the_model = |request: &Recorded| {
        let ends = ["/responses", "/chat/completions", "/runs", "/submit_tool_outputs"];
        request.method == "POST" && ends.iter().any(|end| request.path.ends_with(end))
    };
    let told = requests.iter().filter(|request| is_for_the_model(request));
    told.map(|request| (request.path.clone(), request.body.clone()))
        .collect()
}

/// The Responses API takes no limit below 16 tokens: a lower one, and what a turn before has left of one, is kept here.
#[tokio::test]
async fn a_limit_below_the_least_of_responses_is_kept_here() {
    let limited = |limit: &str| json!({"message": "count", "limits": {"maxOutputTokens": limit}});
    for streams in [true, false] {
        let script = Script::turns([
            Turn::text(["one two", " three four five", " six"]),
            Turn::text("well"),
            Turn::say([Item::call("echo", r#"{"text": "hello"}"#)]),
            Turn::text("on ".repeat(40)),
        ]);
        let script = if streams { script } else { script.never_streaming() };
        let world = world(script, Dialect::Responses, ModelState::Stateless).await;
        let (status, answer) = world.post("/v1/chat", &limited("4")).await;
        assert_eq!(
            (status, &answer["response"]),
            (200, &json!("one two three four")),
            "{answer}"
        );
        assert_eq!(answer["incompleteReason"], "INCOMPLETE_REASON_MAX_TOKENS");
        // What fits is whole.
        let (_, answer) = world.post("/v1/chat", &limited("4")).await;
        assert_eq!(
            (&answer["response"], &answer["state"]),
            (&json!("well"), &json!("RUN_STATE_COMPLETED"))
        );
        let (status, answer) = world.post("/v1/chat", &limited("20")).await;
        assert_eq!(
            (status, &answer["incompleteReason"]),
            (200, &json!("INCOMPLETE_REASON_MAX_TOKENS")),
            "{answer}"
        );
        let words = answer["response"].as_str().unwrap().split_whitespace().count();
        assert!((1..16).contains(&words), "{answer}");
        let limits: Vec<Value> = asked(&world)
            .iter()
            .map(|(_, body)| body["max_output_tokens"].clone())
            .collect();
        assert_eq!(limits, [16, 16, 20, 16], "{streams}");
        world.stopped().await;
    }
}

#[tokio::test]
async fn chat_completions_is_told_any_limit() {
    let world = world(
        Script::turns([Turn::text("well")]),
        Dialect::ChatCompletions,
        ModelState::Stateless,
    )
    .await;
    let request = json!({"message": "count", "limits": {"maxOutputTokens": "4"}});
    let (status, answer) = world.post("/v1/chat", &request).await;
    assert_eq!((status, &answer["response"]), (200, &json!("well")), "{answer}");
    assert_eq!(asked(&world)[0].1["max_tokens"], 4);
    world.stopped().await;
}

/// An answer that did not fit, and the word about it, are for the turn that follows. A later run is given neither, also
/// where the provider keeps the conversation.
#[tokio::test]
async fn an_answer_is_corrected_and_later_runs_are_not_given_what_did_not_fit() {
    const MISFIT: &str = "It is 7 degrees.";
    const NOTE: &str = "does not fit";
    let stateless = DIALECTS.map(|dialect| (dialect, ModelState::Stateless));
    let kept = (Dialect::Responses, ModelState::PreviousResponse);
    for (dialect, state) in stateless.into_iter().chain([kept]) {
        let case = format!("{dialect:?} {state:?}");
        let script = Script::turns([
            Turn::text("Hello."),
            Turn::text(MISFIT),
            Turn::text(r#"{"degrees": 7}"#),
            Turn::text("Quite cool."),
            Turn::text("Indeed."),
        ]);
        let world = world(script, dialect, state).await;
        let chat = async |message: &str, thread: &Value, options: Value| {
            let request = json!({"message": message, "thread": thread, "options": options});
            let (status, answer) = world.post("/v1/chat", &request).await;
            assert_eq!(status, 200, "{case}: {answer}");
            answer
        };
        let thread = chat("good morning", &json!(""), json!({})).await["thread"].clone();
        let weather = json!({"outputFormat": {"jsonSchema": {
            "name": "weather",
            "schema": {"type": "object", "properties": {"degrees": {"type": "number"}}, "required": ["degrees"]},
            "maxCorrections": 1,
        }}});
        let corrected = chat("how warm is it?", &thread, weather).await;
        assert_eq!(corrected["structured"], json!({"degrees": 7}), "{case}");
        assert_eq!(corrected["usage"]["turns"], 2, "{case}");
        for (message, response) in [("is that cool?", "Quite cool."), ("really?", "Indeed.")] {
            let answer = chat(message, &thread, json!({})).await;
            assert_eq!(answer["response"], response, "{case}");
        }

        let asked = asked(&world);
        assert_eq!(asked.len(), 5, "{case}");
        let text = |index: usize| asked[index].1.to_string();
        for (index, wants_json) in [false, true, true, false, false].into_iter().enumerate() {
            assert_eq!(text(index).contains("json_schema"), wants_json, "{case}: {index}");
        }
        // The provider has the misfit where it keeps the conversation, and is told it where it does not.
        assert!(text(2).contains(NOTE), "{case}: {}", text(2));
        let is_kept = dialect == Dialect::Assistants || state == ModelState::PreviousResponse;
        assert_eq!(text(2).contains(MISFIT), !is_kept, "{case}: {}", text(2));
        for (index, last) in [(3, "is that cool?"), (4, "really?")] {
            let text = text(index);
            assert!(text.contains(last), "{case}: {text}");
            for gone in [MISFIT, NOTE] {
                assert!(!text.contains(gone), "{case}: {text}");
            }
        }
        // What the provider keeps of that run is not gone on from: the first request behind it tells the answer itself.
        assert!(text(3).contains(r#"{\"degrees\": 7}"#), "{case}: {}", text(3));
        let goes_on = |index: usize| {
            let (path, body) = &asked[index];
            let response = &body["previous_response_id"];
            let thread = path
                .strip_suffix("/runs")
                .filter(|thread| *thread != "/v1/threads");
            response.as_str().or(thread).map(str::to_owned)
        };
        assert_eq!(goes_on(2).is_some(), is_kept, "{case}");
        assert_eq!(goes_on(4).is_some(), is_kept, "{case}");
        assert!(
            goes_on(3).is_none() || goes_on(3) == goes_on(1),
            "{case}: {asked:?}"
        );
        world.stopped().await;
    }
}

/// A run that its provider is at work on for long is asked after for as long as it may take here.
#[tokio::test]
async fn a_run_that_does_not_end_where_nothing_streams_ends_by_its_own_deadline() {
    let script = Script::turns([Turn::text("late")])
        .never_streaming()
        .pace(600_000, 0);
    let world = world(script, Dialect::Assistants, ModelState::Stateless).await;
    let request = json!({"message": "slow", "limits": {"maxDuration": "1s"}});
    let (status, answer) = world.post("/v1/chat", &request).await;
    assert_eq!(
        (status, &answer["incompleteReason"]),
        (200, &json!("INCOMPLETE_REASON_DEADLINE")),
        "{answer}"
    );
    world.stopped().await;
}
