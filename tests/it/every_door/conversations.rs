//! Chat, StreamChat and CallTool.

use assistd::simulator::{At, Fault, Script, Turn};
use serde_json::{Value, json};

use super::door::{Door, Form};
use crate::world::World;

over_every_door! {
    a_message_gets_its_answer,
    a_stream_tells_everything_in_order_and_ends_once,
    a_stream_whose_run_fails_ends_with_the_error_and_its_details,
    a_tool_is_called,
    a_request_id_is_answered_once,
}

/// The case of an event's payload.
pub(super) fn case(event: &Value) -> &str {
    let head = ["sequence", "eventTime", "run"];
    let mut names = event.as_object().unwrap().keys();
    names.find(|name| !head.contains(&name.as_str())).unwrap()
}

/// Checks the numbers of events that begin after a sequence, and that one of them is terminal: the last.
pub(super) fn check_order(events: &[Value], after: usize) {
    let numbers: Vec<String> = events
        .iter()
        .map(|event| event["sequence"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (after + 1..=after + events.len())
        .map(|number| number.to_string())
        .collect();
    assert_eq!(numbers, expected);
    let ends = [
        "runCompleted",
        "runFailed",
        "runCancelled",
        "runExpired",
        "runIncomplete",
    ];
    let terminal = events.iter().filter(|event| ends.contains(&case(event)));
    assert_eq!(terminal.count(), 1, "{events:?}");
    assert!(ends.contains(&case(events.last().unwrap())), "{events:?}");
}

/// What the deltas of a stream add up to.
pub(super) fn text(events: &[Value]) -> String {
    let deltas = events
        .iter()
        .filter_map(|event| event["textDelta"]["text"].as_str());
    deltas.collect()
}

async fn a_message_gets_its_answer(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let answer = Door::to(&world, form)
        .call(
            "AssistantService.Chat",
            json!({"message": "what is 2**100? \u{1f980} é"}),
        )
        .await
        .unwrap();
    assert_eq!(
        answer["response"],
        "The tool answered: Result: 1267650600228229401496703205376"
    );
    assert_eq!(answer["state"], "RUN_STATE_COMPLETED");
    assert_eq!(
        (&answer["usage"]["turns"], &answer["usage"]["toolCalls"]),
        (&json!(2), &json!(1))
    );
    let thread = answer["thread"].as_str().unwrap();
    assert!(
        answer["run"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{thread}/runs/run_")),
        "{answer}"
    );
    assert_eq!(answer["pendingActions"], json!([]));
    world.stopped().await;
}

async fn a_stream_tells_everything_in_order_and_ends_once(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let opened = door.open("AssistantService.StreamChat", json!({"message": "echo one two"}));
    let events = opened.await.all().await;
    check_order(&events, 0);
    assert_eq!(text(&events), "The tool answered: Echo: one two");
    let completed: Vec<&Value> = events
        .iter()
        .filter(|event| case(event) == "messageCompleted")
        .collect();
    let said = completed.last().unwrap();
    assert_eq!(
        said["messageCompleted"]["message"]["content"],
        json!([{"text": text(&events)}])
    );
    let asked = &completed[0]["messageCompleted"]["message"]["content"][0]["toolCall"];
    assert_eq!(
        (&asked["tool"], &asked["arguments"]),
        (&json!("echo"), &json!({"text": "one two"}))
    );
    world.stopped().await;
}

async fn a_stream_whose_run_fails_ends_with_the_error_and_its_details(form: Form) {
    let broken = Turn::text("one two three").fault(Fault::Cut(At::Deltas(2)));
    let world = World::new(Script::turns([broken])).await;
    let door = Door::to(&world, form);
    let opened = door.open("AssistantService.StreamChat", json!({"message": "hi"}));
    let events = opened.await.all().await;
    check_order(&events, 0);
    assert_eq!(text(&events), "one two ");
    let error = &events.last().unwrap()["runFailed"]["run"]["error"];
    assert_eq!(error["code"], i32::from(tonic::Code::Unavailable));
    assert_eq!(
        (&error["details"][0]["@type"], &error["details"][0]["reason"]),
        (
            &json!("type.googleapis.com/google.rpc.ErrorInfo"),
            &json!("MODEL_UNAVAILABLE")
        )
    );
    world.stopped().await;
}

async fn a_tool_is_called(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    for (tool, arguments, text, is_error) in [
        ("calculate", json!({"expression": "7/2"}), "Result: 3.5", false),
        (
            "calculate",
            json!({"expression": "1/0"}),
            "Error: division by zero",
            false,
        ),
        (
            "echo",
            json!({"text": "ä\n\"", "rest": [1, null, {"deep": true}]}),
            "Echo: ä\n\"",
            false,
        ),
        (
            "echo",
            json!({"text": 3}),
            "Input validation error: 3 is not of type 'string' at /text",
            true,
        ),
    ] {
        let request = json!({"name": format!("tools/{tool}"), "arguments": arguments, "timeout": "20.500s"});
        let answer = door.call("AssistantService.CallTool", request).await.unwrap();
        assert_eq!(
            (&answer["content"], &answer["isError"]),
            (&json!([{"text": text}]), &json!(is_error)),
            "{tool}"
        );
    }
    world.stopped().await;
}

async fn a_request_id_is_answered_once(form: Form) {
    let world = World::new(Script::turns([Turn::text("the only answer")])).await;
    let door = Door::to(&world, form);
    let request =
        |message: &str| json!({"message": message, "requestId": "0191d3a0-0000-7000-8000-00000000000a"});
    let first = door.call("AssistantService.Chat", request("hi")).await.unwrap();
    let again = door.call("AssistantService.Chat", request("hi")).await.unwrap();
    assert_eq!(first, again);
    let told = door
        .open("AssistantService.StreamChat", request("hi"))
        .await
        .all()
        .await;
    check_order(&told, 0);
    assert_eq!(text(&told), "the only answer");
    assert_eq!(world.simulator.requests().len(), 1, "the model was asked once");

    let other = door
        .refusal("AssistantService.Chat", request("something else"))
        .await;
    assert_eq!(other.why(), (tonic::Code::InvalidArgument, "REQUEST_ID_REUSED"));
    world.stopped().await;
}
