//! How a model is to answer, and what its answers are made of.

use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};
use tonic::Code;

use super::conversations::{case, text};
use super::door::{Door, Form};
use crate::world::World;

over_every_door! {
    options_that_do_not_fit_are_told_which_field_and_why,
    a_request_says_how_to_answer_and_else_its_assistant,
    an_answer_in_json_is_checked_and_asked_for_again,
    an_answer_that_never_fits_is_no_answer,
    a_refusal_and_reasoning_come_live_and_stay,
    what_an_answer_cites_comes_with_its_place,
}

fn weather(max_corrections: i32) -> Value {
    json!({"outputFormat": {"jsonSchema": {
        "name": "weather",
        "schema": {"type": "object", "properties": {"degrees": {"type": "number"}}, "required": ["degrees"]},
        "maxCorrections": max_corrections,
    }}})
}

async fn options_that_do_not_fit_are_told_which_field_and_why(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let labels: Value = (0..17)
        .map(|index| (index.to_string(), json!("v")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let cases = [
        (
            json!({"temperature": 2.5, "topP": 1.5}),
            vec!["temperature", "top_p"],
        ),
        (json!({"stop": ["a", "b", "c", "d", ""]}), vec!["stop", "stop[4]"]),
        (json!({"metadata": labels}), vec!["metadata"]),
        (json!({"extra": {"messages": []}}), vec!["extra.messages"]),
        (json!({"toolChoice": {"tool": "nope"}}), vec!["tool_choice.tool"]),
        (
            json!({"outputFormat": {"jsonSchema": {"name": "a"}}}),
            vec!["output_format.json_schema.schema"],
        ),
        (
            json!({"outputFormat": {"jsonSchema": {"name": "a b", "schema": {"type": "thing"}, "maxCorrections": 9}}}),
            vec![
                "output_format.json_schema.name",
                "output_format.json_schema.max_corrections",
                "output_format.json_schema.schema",
            ],
        ),
    ];
    for (options, fields) in cases {
        let refusal = door
            .refusal(
                "AssistantService.Chat",
                json!({"message": "x", "options": options}),
            )
            .await;
        assert_eq!(
            refusal.why(),
            (Code::InvalidArgument, "VALIDATION_FAILED"),
            "{options}"
        );
        let violations = refusal.violations();
        let named: Vec<&str> = violations.iter().map(|(field, _)| field.as_ref()).collect();
        let expected: Vec<String> = fields.iter().map(|field| format!("options.{field}")).collect();
        assert_eq!(named, expected, "{options}");
    }
    let assistant = json!({"assistant": {"options": {"temperature": -1}}});
    let refusal = door.refusal("AssistantService.CreateAssistant", assistant).await;
    assert_eq!(
        refusal.violations(),
        [("assistant.options.temperature", "must be from 0 to 2")]
    );
    world.stopped().await;
}

async fn a_request_says_how_to_answer_and_else_its_assistant(form: Form) {
    let world = World::new(Script::turns([Turn::text("a"), Turn::text("b")])).await;
    let door = Door::to(&world, form);
    let options = json!({
        "temperature": 0.5, "topP": 0.25, "reasoningEffort": "REASONING_EFFORT_LOW", "stop": ["END"],
        "toolChoice": {"mode": "TOOL_CHOICE_MODE_NONE"}, "parallelToolCalls": false, "seed": "7",
        "serviceTier": "flex", "metadata": {"k": "v"}, "extra": {"min_p": 0.5},
        "verbosity": "VERBOSITY_HIGH", "outputFormat": {"text": {}},
    });
    let assistant = door
        .call(
            "AssistantService.CreateAssistant",
            json!({"assistant": {"options": options}}),
        )
        .await
        .unwrap();
    for (field, value) in options.as_object().unwrap() {
        assert_eq!(&assistant["options"][field], value, "{field}");
    }
    let request = json!({
        "message": "x", "assistant": assistant["name"],
        "options": {"temperature": 0, "toolChoice": {"tool": "echo"}},
    });
    let answer = door.call("AssistantService.Chat", request).await.unwrap();
    let run = door
        .call("RunService.GetRun", json!({"name": answer["run"]}))
        .await
        .unwrap();
    let said = &run["options"];
    assert_eq!((&said["temperature"], &said["topP"]), (&json!(0.0), &json!(0.25)));
    assert_eq!(said["toolChoice"], json!({"tool": "echo"}));
    assert_eq!(said["seed"], "7");
    world.stopped().await;
}

async fn an_answer_in_json_is_checked_and_asked_for_again(form: Form) {
    let turns = [Turn::text("It is 7 degrees."), Turn::text(r#"{"degrees": 7}"#)];
    let world = World::new(Script::turns(turns)).await;
    let door = Door::to(&world, form);
    let request = json!({"message": "how warm is it?", "options": weather(2)});
    let answer = door.call("AssistantService.Chat", request).await.unwrap();
    assert_eq!(answer["response"], r#"{"degrees": 7}"#);
    assert_eq!(answer["structured"], json!({"degrees": 7.0}));
    assert_eq!(answer["usage"]["turns"], 2);
    let listed = door
        .call("ThreadService.ListMessages", json!({"parent": answer["thread"]}))
        .await
        .unwrap();
    let messages = listed["messages"].as_array().unwrap();
    let roles: Vec<&str> = messages
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(
        roles,
        ["ROLE_USER", "ROLE_ASSISTANT", "ROLE_SYSTEM", "ROLE_ASSISTANT"]
    );
    assert_eq!(messages[1]["status"], "MESSAGE_STATUS_COMPLETE");
    let note = messages[2]["content"][0]["text"].as_str().unwrap();
    assert!(note.contains("it is not valid JSON"), "{note}");
    world.stopped().await;
}

async fn an_answer_that_never_fits_is_no_answer(form: Form) {
    let world = World::new(Script::turns([
        Turn::text("{}"),
        Turn::text(r#"{"degrees": "7"}"#),
    ]))
    .await;
    let door = Door::to(&world, form);
    let request = json!({"message": "how warm is it?", "options": weather(1)});
    let refusal = door.refusal("AssistantService.Chat", request).await;
    assert_eq!(
        refusal.why(),
        (Code::FailedPrecondition, "OUTPUT_SCHEMA_VIOLATED")
    );
    assert!(
        refusal
            .message
            .ends_with(r#"at /degrees: value is not of type "number""#),
        "{}",
        refusal.message
    );
    world.stopped().await;
}

async fn a_refusal_and_reasoning_come_live_and_stay(form: Form) {
    let script = r#"{"turns": [{"answer": {"say": {"items": [
        {"reasoning": ["This ", "is odd."]}, {"refusal": ["I will ", "not."]}
    ]}}}]}"#;
    let world = World::new(Script::from_json(script).unwrap()).await;
    let door = Door::to(&world, form);
    let opened = door.open(
        "AssistantService.StreamChat",
        json!({"message": "do it", "options": weather(0)}),
    );
    let events = opened.await.all().await;
    let joined = |kind: &str| -> String {
        let deltas = events.iter().filter_map(|event| event[kind]["text"].as_str());
        deltas.collect()
    };
    assert_eq!(text(&events), "");
    assert_eq!(joined("reasoningDelta"), "This is odd.");
    assert_eq!(joined("refusalDelta"), "I will not.");
    let completed = events
        .iter()
        .find(|event| case(event) == "messageCompleted")
        .unwrap();
    assert_eq!(
        completed["messageCompleted"]["message"]["content"],
        json!([{"reasoningSummary": "This is odd."}, {"refusal": "I will not."}])
    );
    // A refusal is no answer that could fit.
    assert_eq!(case(events.last().unwrap()), "runCompleted");
    world.stopped().await;
}

async fn what_an_answer_cites_comes_with_its_place(form: Form) {
    let body = concat!(
        r#"data: {"choices":[{"delta":{"content":"Après moi"}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"delta":{"annotations":[{"type":"url_citation","url_citation":"#,
        r#"{"url":"https://a.example","title":"A","start_index":6,"end_index":9}},"#,
        r#"{"type":"file_citation","file_id":"f","filename":"n"}]},"finish_reason":"stop"}]}"#,
        "\n\ndata: [DONE]\n\n",
    );
    let world = World::new(Script::turns([Turn::raw(200, "text/event-stream", body)])).await;
    let door = Door::to(&world, form);
    let answer = door
        .call("AssistantService.Chat", json!({"message": "who said it?"}))
        .await
        .unwrap();
    let expected = json!([
        {"url": {"url": "https://a.example", "title": "A"}, "start": "6", "end": "9"},
        {"file": {"fileId": "f", "name": "n", "containerId": ""}},
    ]);
    assert_eq!(answer["response"], "Après moi");
    assert_eq!(answer["annotations"], expected);
    let listed = door
        .call("ThreadService.ListMessages", json!({"parent": answer["thread"]}))
        .await
        .unwrap();
    assert_eq!(listed["messages"][1]["annotations"], expected);
    assert_eq!(listed["messages"][1]["content"], json!([{"text": "Après moi"}]));
    world.stopped().await;
}
