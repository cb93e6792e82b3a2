//! Responses.

use serde_json::{Value, json};

use super::check;
use crate::model::Dialect::Responses;

#[test]
fn responses_say_text_in_every_form() {
    let table: &[(&[&str], &str)] = &[
        (
            &[
                r#"{"type":"response.created","sequence_number":0,"response":{"id":"r"}}"#,
                r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs"}}"#,
                r#"{"type":"response.reasoning_summary_part.added","summary_index":0}"#,
                r#"{"type":"response.reasoning_summary_text.delta","delta":"h"}"#,
                r#"{"type":"response.reasoning_summary_part.added","summary_index":1}"#,
                r#"{"type":"response.reasoning_text.delta","delta":"m"}"#,
                r#"{"type":"response.output_text.delta","delta":"Hé"}"#,
                r#"{"type":"response.brand_new","delta":{"x":1},"item":[],"response":7}"#,
                r#"{"type":"response.output_text.delta","delta":"llo","logprobs":[]}"#,
                r#"{"type":"response.output_text.done","text":"Héllo"}"#,
                r#"{"type":"response.completed","response":{"status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"Héllo"}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":5}}}"#,
            ],
            "reasoning=h\n\nm text=Hé unknown=1 text=llo usage=3/1/2/1 stop",
        ),
        // The type only as the event's name; the text only whole, then only at the end.
        (
            &[
                "event: response.output_text.done\ndata: {\"text\":\"a\"}",
                "event: response.completed\ndata: {\"response\":{}}",
            ],
            "text=a stop",
        ),
        (
            &[
                r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"no"}]},{"type":"new"},3]}}"#,
            ],
            "text=a refusal=no stop",
        ),
        // Messages only as items; no word of them in the last event, or all of it once more.
        (
            &[
                r#"{"type":"response.output_item.done","item":{"type":"message","content":"a"}}"#,
                r#"{"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"b","annotations":{}}]}}"#,
                r#"{"type":"response.completed","response":{"output":[{"type":"message","content":"a"},{"type":"message","content":"b"}]}}"#,
            ],
            "text=ab stop",
        ),
        // The status knows better.
        (
            &[
                r#"{"type":"response.output_text.delta","delta":"a"}"#,
                r#"{"type":"response.completed","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
            ],
            "text=a content_filter",
        ),
        (
            &[
                r#"{"type":"response.refusal.delta","delta":"no"}"#,
                r#"{"type":"response.refusal.done","refusal":"no"}"#,
                r#"{"type":"response.completed"}"#,
                "[DONE]",
            ],
            "refusal=no stop",
        ),
        (
            &[
                r#"{"type":"response.output_text.delta","delta":"a"}"#,
                r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#,
            ],
            "text=a length",
        ),
        (
            &[
                r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}"#,
            ],
            "content_filter",
        ),
    ];
    for (events, expected) in table {
        check(Responses, events, expected);
    }
}

#[test]
fn what_a_provider_needs_to_go_on_is_kept() {
    let reasoning = r#"{"type":"response.output_item.done","item":{"type":"reasoning","id":"rs","summary":[{"text":"a"},{"text":"b"}],"encrypted_content":"0x"}}"#;
    let table: &[(&[&str], &str)] = &[
        (
            &[
                reasoning,
                r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","id":"x","call_id":"c","name":"f","arguments":"{}"}}"#,
                r#"{"type":"response.completed","response":{"id":"r"}}"#,
            ],
            "reasoned=rs/0x/a\n\nb call0=f args0={} goes_on={\"response\":\"r\",\"calls\":[\"c\"]} stop",
        ),
        // In the order in which the calls are asked for, not in which they were first heard of.
        (
            &[
                r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}"#,
                r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"d","name":"g"}}"#,
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}}"#,
                r#"{"type":"response.completed","response":{"id":"r"}}"#,
            ],
            "call1=g call0=f args0={} goes_on={\"response\":\"r\",\"calls\":[\"d\",\"c\"]} stop",
        ),
        // A call without an id cannot be answered there.
        (
            &[
                r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"f","arguments":"{}"}}"#,
                r#"{"type":"response.completed","response":{"id":"r"}}"#,
            ],
            "call0=f args0={} stop",
        ),
        // Reasoning that shows nothing and holds nothing.
        (
            &[
                r#"{"type":"response.output_item.done","item":{"type":"reasoning","id":"rs","summary":[]}}"#,
                r#"{"type":"response.output_text.delta","delta":"a"}"#,
                r#"{"type":"response.completed","response":{}}"#,
            ],
            "text=a stop",
        ),
    ];
    for (events, expected) in table {
        check(Responses, events, expected);
    }
}

#[test]
fn responses_ask_for_calls_in_every_form() {
    let done = r#"{"type":"response.completed","response":{}}"#;
    let table: &[(&[&str], &str)] = &[
        (
            &[
                r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"x","call_id":"c","name":"f","arguments":""}}"#,
                r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"y","call_id":"d","name":"g","arguments":""}}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":2,"item_id":"y","delta":"{}"}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"item_id":"other","delta":"{\"a\""}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"item_id":"x","delta":":1}"}"#,
                r#"{"type":"response.function_call_arguments.done","output_index":1,"item_id":"x","name":"f","arguments":"{\"a\":1}"}"#,
                r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","id":"x","name":"f","arguments":"{\"a\":1}"}}"#,
                r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","id":"y","name":"g","arguments":"{}"}}"#,
                done,
            ],
            r#"call0=f call1=g args1={} args0={"a":1} stop"#,
        ),
        // Whole, without an index, and with an object for arguments.
        (
            &[
                r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"x","name":"f","arguments":{"a":1}}}"#,
                r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"y","name":"g"}}"#,
                done,
            ],
            r#"call0=f args0={"a":1} call1=g stop"#,
        ),
        // The name comes last.
        (
            &[
                r#"{"type":"response.function_call_arguments.delta","item_id":"x","delta":"{}"}"#,
                r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"x","name":"f","arguments":"{}"}}"#,
                done,
            ],
            "call0=f args0={} stop",
        ),
        // Only in the last event, also where the text came before.
        (
            &[
                r#"{"type":"response.completed","response":{"output":[{"type":"function_call","name":"f","arguments":"{}"}]}}"#,
            ],
            "call0=f args0={} stop",
        ),
        (
            &[
                r#"{"type":"response.output_text.delta","delta":"a"}"#,
                r#"{"type":"response.completed","response":{"output":[{"type":"message","content":"a"},{"type":"function_call","name":"f","arguments":"{}"}]}}"#,
            ],
            "text=a call0=f args0={} stop",
        ),
    ];
    for (events, expected) in table {
        check(Responses, events, expected);
    }
}

/// Two calls of one tool, one behind the other, as OpenAI's Responses tell of them.
fn two_calls() -> Vec<Value> {
    let of = |index: u64, item: &str, id: &str, x: u64| {
        let call = |arguments: &str| json!({"type": "function_call", "id": item, "call_id": id, "name": "f", "arguments": arguments});
        let event = |kind: &str, own: Value| {
            let mut event = json!({"type": format!("response.{kind}"), "output_index": index});
            event
                .as_object_mut()
                .unwrap()
                .extend(own.as_object().unwrap().clone());
            event
        };
        let whole = format!("{{\"x\":{x}}}");
        let (head, tail) = whole.split_at(4);
        [
            event("output_item.added", json!({"item": call("")})),
            event(
                "function_call_arguments.delta",
                json!({"item_id": item, "delta": head}),
            ),
            event(
                "function_call_arguments.delta",
                json!({"item_id": item, "delta": tail}),
            ),
            event(
                "function_call_arguments.done",
                json!({"item_id": item, "name": "f", "arguments": whole}),
            ),
            event("output_item.done", json!({"item": call(&whole)})),
        ]
    };
    let end = json!({"type": "response.completed", "response": {}});
    let calls = of(0, "x", "c", 1).into_iter().chain(of(1, "y", "d", 2));
    calls.chain([end]).collect()
}

#[test]
fn a_call_stays_one_whatever_its_events_can_be_told_apart_by() {
    const ALL: &str = "";
    // Which events lose which fields.
    let table: &[&[(&str, &str)]] = &[
        &[],
        &[(ALL, "/output_index")],
        &[(ALL, "/item_id")],
        &[(ALL, "/item_id"), (ALL, "/output_index")],
        &[(ALL, "/item/call_id"), (ALL, "/output_index")],
        &[(ALL, "/item/id"), (ALL, "/item_id"), (ALL, "/output_index")],
        &[("arguments", "/item_id"), ("arguments", "/output_index")],
        &[("arguments", "/output_index"), ("arguments", "/name")],
        &[("output_item", "/output_index"), ("output_item", "/item/id")],
        &[
            ("done", "/output_index"),
            ("done", "/item_id"),
            ("done", "/item/id"),
        ],
        // Nothing is left but the order.
        &[
            (ALL, "/item/id"),
            (ALL, "/item/call_id"),
            (ALL, "/item_id"),
            (ALL, "/output_index"),
        ],
    ];
    let expected = r#"call0=f args0={"x":1} call1=f args1={"x":2} stop"#;
    for lost in table {
        let mut events = two_calls();
        for event in &mut events {
            let kind = event["type"].as_str().unwrap().to_owned();
            for (_, path) in lost.iter().filter(|(of, _)| kind.contains(of)) {
                let (parent, field) = path.rsplit_once('/').unwrap();
                let parent = event.pointer_mut(parent).and_then(Value::as_object_mut);
                parent.and_then(|parent| parent.remove(field));
            }
        }
        check_values(&events, expected);
    }
    // Ids that are new in every event, with and without a place.
    for keeps_place in [true, false] {
        let mut events = two_calls();
        for (number, event) in events.iter_mut().enumerate() {
            let id = json!(format!("changed_{number}"));
            for path in ["/item_id", "/item/id"] {
                event
                    .pointer_mut(path)
                    .into_iter()
                    .for_each(|field| *field = id.clone());
            }
            if !keeps_place {
                event.as_object_mut().unwrap().remove("output_index");
            }
        }
        check_values(&events, expected);
    }
    // Side by side instead of one behind the other, known by one thing alone.
    for kept in ["output_index", "item_id"] {
        let mut events = two_calls();
        let second: Vec<Value> = events.splice(5..10, []).collect();
        for (place, event) in second.into_iter().enumerate() {
            events.insert(2 * place + 1, event);
        }
        for event in &mut events {
            let (index, id) = (kept == "output_index", kept == "item_id");
            let event = event.as_object_mut().unwrap();
            event.retain(|field, _| match field.as_str() {
                "output_index" => index,
                "item_id" => id,
                _ => true,
            });
        }
        let expected = r#"call0=f call1=f args0={"x" args1={"x" args0=:1} args1=:2} stop"#;
        check_values(&events, expected);
    }
}

fn check_values(events: &[Value], expected: &str) {
    let events: Vec<String> = events.iter().map(Value::to_string).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    check(Responses, &events, expected);
}

#[test]
fn responses_that_fail_are_errors() {
    let said = r#"{"type":"response.output_text.delta","delta":"a"}"#;
    let table: &[(&[&str], &str)] = &[
        (&[said], "text=a error=MODEL_UNAVAILABLE"),
        (&[said, "[DONE]"], "text=a error=MODEL_UNAVAILABLE"),
        (&[said, "{"], "text=a error=MODEL_UNAVAILABLE"),
        (
            &[r#"{"type":"error","code":"rate_limit_exceeded","message":"x","param":null}"#],
            "error=RATE_LIMITED",
        ),
        (
            &["event: error\ndata: {\"error\":{\"code\":\"insufficient_quota\"}}"],
            "error=QUOTA_EXCEEDED",
        ),
        (
            &[r#"{"error":{"message":"x","code":503}}"#],
            "error=MODEL_UNAVAILABLE",
        ),
        (
            &[
                said,
                r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}"#,
            ],
            "text=a error=MODEL_UNAVAILABLE",
        ),
        (
            &[r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt","message":"x"}}}"#],
            "error=MODEL_REQUEST_REJECTED",
        ),
        (&[r#"{"type":"response.failed"}"#], "error=MODEL_UNAVAILABLE"),
        (
            &[said, "event: unknown\ndata: {\"error\":{\"code\":429}}"],
            "text=a error=RATE_LIMITED",
        ),
        (
            &[
                r#"{"type":"response.done","response":{"status":"failed","error":{"code":"rate_limit_exceeded"}}}"#,
            ],
            "error=RATE_LIMITED",
        ),
    ];
    for (events, expected) in table {
        check(Responses, events, expected);
    }
}
