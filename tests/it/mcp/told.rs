//! What the whole service says of servers that misbehave: in a chat's run, in CallTool, and in Health. The other server stays
//! usable, and so does the thread.

use std::time::Duration;

use assistd::simulator::Script;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::child;
use super::faults::faulty;
use crate::world::{self, World};

/// What a chat comes to that calls the bad server's tool.
#[derive(Clone, Copy)]
enum Comes {
    /// The tool's output is this; the model goes on.
    Output(&'static str),
    /// The call has failed with a text that holds this; the model is told, and goes on.
    Failed(&'static str),
    /// Nobody knows what the call has done: somebody is asked.
    Asked,
    /// There is no such tool: Health says why, with this in it.
    Down(&'static str),
}

/// A fault, the tool that is called, what a chat comes to, and what CallTool answers (the status, and what its text holds).
type Case = (&'static str, &'static str, Comes, (u16, &'static str));

/// Services that are at it at the same time.
const AT_ONCE: usize = 4;

const CASES: [Case; 15] = {
    use Comes::{Asked, Down, Failed, Output};
    const DOWN: (u16, &str) = (503, "MCP_UNAVAILABLE");
    const LATE: (u16, &str) = (504, "DEADLINE_EXCEEDED");
    const UNKNOWN: (u16, &str) = (409, "OUTCOME_UNKNOWN");
    [
        ("nothing", "work", Output("done"), (200, "done")),
        (
            "nothing",
            "lie",
            Failed("Output validation error"),
            (200, "Output validation error"),
        ),
        ("hangs at initialize", "work", Down("not connected within"), DOWN),
        (
            "hangs at tools/list",
            "work",
            Down("were not listed within"),
            DOWN,
        ),
        (
            "hangs at tools/call",
            "work",
            Failed("it is not known what the call has done"),
            LATE,
        ),
        ("hangs at tools/call", "look", Failed("was silent for"), LATE),
        ("dies at initialize", "work", Down("exited with code 3"), DOWN),
        ("dies at tools/call", "work", Asked, UNKNOWN),
        ("dies after", "work", Output("done"), (200, "done")),
        ("dies once", "look", Output("done"), (200, "done")),
        ("floods", "work", Output("done"), (200, "done")),
        (
            "sends too much",
            "work",
            Failed("its answer is larger than"),
            (200, "its answer is larger than"),
        ),
        ("sends nonsense", "work", Output("done"), (200, "done")),
        ("answers others", "work", Output("done"), (200, "done")),
        ("prints", "work", Output("done"), (200, "done")),
    ]
};

#[tokio::test]
async fn whatever_a_server_does_the_run_says_so_and_the_service_goes_on() {
    stream::iter(CASES).for_each_concurrent(AT_ONCE, tell).await;
}

#[tokio::test]
async fn a_call_that_only_the_service_bounds_is_told_of_as_any() {
    let place = tempfile::tempdir().unwrap();
    let mut bad = faulty("hangs at tools/call", place.path());
    bad.as_object_mut().unwrap().remove("timeout_ms");
    let world = World::with(Script::stand_in(), |config| {
        config.mcp = world::mcp(&json!({"mcpServers": {"bad": bad}}));
        config.run.call_timeout = Duration::from_millis(500);
    })
    .await;
    for (tool, text) in [
        (
            "work",
            "was silent for 500 ms; it is not known what the call has done",
        ),
        ("look", "was silent for 500 ms"),
    ] {
        let path = format!("/v1/tools/bad__{tool}:call");
        let (status, answer) = world.post(&path, &json!({"arguments": {}})).await;
        assert_eq!(status, 504, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.ends_with(text), "{answer}");
        let health = get(&world, "/v1/health").await;
        assert_ne!(
            health["mcpServers"][0]["status"], "HEALTH_STATUS_HEALTHY",
            "{health}"
        );
    }
    world.stopped().await;
}

/// Since 2026-07-28 data may be any JSON value, and an object's integers have always been larger than a double's.
#[tokio::test]
async fn data_that_no_struct_can_hold_comes_as_its_text() {
    let cases = [
        ("nothing", json!({"sum": "three"}), ""),
        ("knows no sessions, gives a list", Value::Null, r#"[1,"two"]"#),
        (
            "gives a large number",
            json!({"id": 9_007_199_254_740_992_u64}),
            r#"{"id":9007199254740993}"#,
        ),
    ];
    for (fault, object, text) in cases {
        let place = tempfile::tempdir().unwrap();
        let servers = json!({"mcpServers": {"data": faulty(fault, place.path())}});
        let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
        let path = "/v1/tools/data__work:call";
        let (status, direct) = world.post(path, &json!({"arguments": {}})).await;
        assert_eq!(status, 200, "{fault}: {direct}");
        let asked = json!({"message": "call data__work {}"});
        let (_, answer) = world.post("/v1/chat", &asked).await;
        let name = answer["run"].as_str().unwrap();
        let steps = get(&world, &format!("/v1/{name}/steps")).await;
        let steps = steps["steps"].as_array().unwrap();
        let call = steps.iter().find_map(|step| step.get("toolCall")).unwrap();
        for output in [&direct, &call["output"]] {
            // What is rounded reads differently from parser to parser: it is compared as a double.
            let shown = &output["structuredContent"];
            assert!(
                *shown == object
                    || shown["id"]
                        .as_f64()
                        .is_some_and(|id| Some(id) == object["id"].as_f64()),
                "{fault}: {output}"
            );
            assert_eq!(
                output["structuredContentJson"].as_str().unwrap_or_default(),
                text,
                "{fault}: {output}"
            );
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn the_titles_of_annotations_are_told_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    let mut titled = faulty("has titles", place.path());
    titled["policy"] = json!("ask");
    let servers = json!({"mcpServers": {"a": titled}});
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
    for (tool, title, annotations) in [
        ("work", "Work", json!({"title": "Works"})),
        ("look", "Looks", json!({"title": "Looks"})),
        ("rest", "Rest", json!({"readOnly": true})),
    ] {
        let listed = get(&world, &format!("/v1/tools/a__{tool}")).await;
        assert_eq!(listed["title"], title, "{listed}");
        let asked = json!({"message": format!("call a__{tool} {{}}")});
        let (_, answer) = world.post("/v1/chat", &asked).await;
        let approval = &answer["pendingActions"][0]["toolApproval"];
        for said in [&listed["annotations"], &approval["annotations"]] {
            let mut said = said.clone();
            said.as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null() && *value != "");
            assert_eq!(said, annotations, "{listed} {answer}");
        }
    }
    world.stopped().await;
}

async fn tell((fault, tool, comes, direct): Case) {
    let what = format!("{fault}, {tool}");
    let place = tempfile::tempdir().unwrap();
    // What a server does once, it does to the chat and to the call alike.
    let marks = [place.path().join("chat"), place.path().join("call")];
    let servers = json!({"mcpServers": {
        "bad": faulty(fault, &marks[0]),
        "worse": faulty(fault, &marks[1]),
        "good": child(),
    }});
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;

    let asked = json!({"message": format!("call bad__{tool} {{}}")});
    let (status, answer) = world.post("/v1/chat", &asked).await;
    assert_eq!(status, 200, "{what}: {answer}");
    let name = answer["run"].as_str().unwrap();
    let run = get(&world, &format!("/v1/{name}")).await;
    let steps = get(&world, &format!("/v1/{name}/steps")).await;
    let state = run["state"].as_str().unwrap();
    match comes {
        Comes::Output(text) => {
            assert_eq!(state, "RUN_STATE_COMPLETED", "{what}: {run}");
            assert_eq!(output(&steps), (text.to_owned(), false), "{what}: {steps}");
        }
        Comes::Failed(text) => {
            assert_eq!(state, "RUN_STATE_COMPLETED", "{what}: {run}");
            let (said, is_error) = output(&steps);
            assert!(is_error && said.contains(text), "{what}: {steps}");
        }
        Comes::Asked => {
            assert_eq!(state, "RUN_STATE_REQUIRES_ACTION", "{what}: {run}");
            let action = &answer["pendingActions"][0]["unknownOutcome"];
            assert_eq!(
                action["toolCall"]["tool"],
                format!("bad__{tool}"),
                "{what}: {answer}"
            );
        }
        Comes::Down(text) => {
            assert_eq!(state, "RUN_STATE_COMPLETED", "{what}: {run}");
            let health = get(&world, "/v1/health").await;
            let bad = &health["mcpServers"][0];
            assert_eq!(bad["status"], "HEALTH_STATUS_UNHEALTHY", "{what}: {health}");
            assert!(
                bad["message"].as_str().unwrap().contains(text),
                "{what}: {health}"
            );
        }
    }

    let path = format!("/v1/tools/worse__{tool}:call");
    let (status, answer) = world.post(&path, &json!({"arguments": {}})).await;
    assert_eq!(status, direct.0, "{what}: {answer}");
    assert!(answer.to_string().contains(direct.1), "{what}: {answer}");

    let (status, answer) = world
        .post("/v1/chat", &json!({"message": "call good__echo {}"}))
        .await;
    assert_eq!(
        (status, answer["state"].as_str()),
        (200, Some("RUN_STATE_COMPLETED")),
        "{what}: {answer}"
    );
    world.stopped().await;
}

async fn get(world: &World, path: &str) -> Value {
    let response = reqwest::get(world.url(path)).await.unwrap();
    response.json().await.unwrap()
}

/// The texts of the first call's output, and whether it is a failure.
fn output(steps: &Value) -> (String, bool) {
    let steps = steps["steps"].as_array().unwrap();
    let call = steps.iter().find_map(|step| step.get("toolCall")).unwrap();
    let content = call["output"]["content"].as_array().unwrap();
    let texts: Vec<&str> = content.iter().filter_map(|one| one["text"].as_str()).collect();
    (texts.join("\n"), call["output"]["isError"] == true)
}
