//! What comes in and what goes out, per dialect, as tables: one line a case, wherever the bytes are split.

use serde_json::{Value, json};

use super::Decoder;
use crate::model::Dialect::{self, Assistants, ChatCompletions, Responses};
use crate::model::openai::decode::Events;
use crate::model::openai::error::Failure;
use crate::model::openai::sse;
use crate::run::message::{Annotation, Cited, Reasoning, Usage};
use crate::run::ports::{Finish, ModelEvent};

/// A shorthand for what came of an answer, deltas joined: `"text"`, `?reasoning`, `!refusal`, `call0=name`,
/// `args0={}`, `usage=in/cached/out/reasoning`, and the end.
fn shorthand(events: &Events, end: &Result<(), Failure>) -> String {
    let mut words: Vec<(String, String)> = Vec::new();
    for event in events {
        let (key, text) = match event {
            ModelEvent::TextDelta(text) => ("text=".to_owned(), text.clone()),
            ModelEvent::ReasoningDelta(text) => ("reasoning=".to_owned(), text.clone()),
            ModelEvent::RefusalDelta(text) => ("refusal=".to_owned(), text.clone()),
            ModelEvent::Reasoning(Reasoning {
                summary,
                encrypted,
                id,
                ..
            }) => ("reasoned=".to_owned(), format!("{id}/{encrypted}/{summary}")),
            ModelEvent::Annotation(annotation) => ("cites=".to_owned(), cited(annotation)),
            ModelEvent::Continuation(continuation) => ("goes_on=".to_owned(), continuation.state.to_string()),
            ModelEvent::ToolCallStarted { index, tool } => (format!("call{index}="), tool.clone()),
            ModelEvent::ToolCallArgumentsDelta { index, json } => (format!("args{index}="), json.clone()),
            ModelEvent::Usage(Usage {
                input_tokens,
                cached_tokens,
                output_tokens,
                reasoning_tokens,
                ..
            }) => (
                "usage=".to_owned(),
                format!("{input_tokens}/{cached_tokens}/{output_tokens}/{reasoning_tokens}"),
            ),
            ModelEvent::Finished(Finish::Stop) => ("stop".to_owned(), String::new()),
            ModelEvent::Finished(Finish::Length) => ("length".to_owned(), String::new()),
            ModelEvent::Unknown(count) => ("unknown=".to_owned(), count.to_string()),
            ModelEvent::Attempt(_) => ("attempt".to_owned(), String::new()),
            ModelEvent::Finished(Finish::ContentFilter) => ("content_filter".to_owned(), String::new()),
        };
        match words.last_mut() {
            Some((last, joined)) if *last == key => joined.push_str(&text),
            _ => words.push((key, text)),
        }
    }
    if let Err(failure) = end {
        words.push(("error=".to_owned(), failure.reason().as_str().to_owned()));
    }
    let words: Vec<String> = words.into_iter().map(|(key, text)| key + &text).collect();
    words.join(" ")
}

fn cited(annotation: &Annotation) -> String {
    let source = match &annotation.source {
        Cited::Url { url, title } => format!("{url}({title})"),
        Cited::File { id, name, container } => format!("{id}({name})in({container})"),
    };
    let place = |place: Option<u64>| place.map(|place| place.to_string()).unwrap_or_default();
    format!("{source}@{}..{}", place(annotation.start), place(annotation.end))
}

pub(super) fn decode(dialect: Dialect, pieces: &[&[u8]]) -> String {
    let mut decoder = Decoder::new(dialect);
    let mut stream = sse::Decoder::default();
    let mut events = Events::new();
    let end = pieces
        .iter()
        .try_for_each(|piece| stream.feed(piece, |event| decoder.event(&event, &mut events)))
        .and_then(|()| stream.finish(|event| decoder.event(&event, &mut events)))
        .and_then(|()| decoder.end(&mut events));
    shorthand(&events, &end)
}

/// Every line of `events` is the data of one event; one that begins with `event:` is as it stands.
fn check(dialect: Dialect, events: &[&str], expected: &str) {
    let text: String = events
        .iter()
        .map(|event| match event.strip_prefix("event:") {
            Some(_) => format!("{event}\n\n"),
            None => format!("data: {event}\n\n"),
        })
        .collect();
    let bytes = text.as_bytes();
    assert_eq!(decode(dialect, &[bytes]), expected, "{text}");
    for at in 0..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(decode(dialect, &[head, tail]), expected, "split at {at}: {text}");
    }
}

fn check_whole(dialect: Dialect, body: &str, expected: &str) {
    let mut events = Events::new();
    let end = Decoder::new(dialect).whole(body.as_bytes(), &mut events);
    assert_eq!(shorthand(&events, &end), expected, "{body}");
}

#[test]
fn chat_completions_say_text_in_every_form() {
    let table: &[(&[&str], &str)] = &[
        (
            &[
                r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}]}"#,
                r#"{"choices":[{"delta":{"content":"llo\n"}}],"new_field":{"x":[1]}}"#,
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":1}}}"#,
                "[DONE]",
            ],
            "text=Héllo\n usage=3/1/2/1 stop",
        ),
        // Usage in the middle, an odd reason to stop, no `[DONE]`.
        (
            &[
                r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":"1","completion_tokens":1.0}}"#,
                r#"{"choices":[{"delta":{"content":"b"},"finish_reason":"eos"}]}"#,
            ],
            "text=a usage=1/0/1/0 text=b stop",
        ),
        // No reason to stop, but `[DONE]`.
        (
            &[r#"{"choices":[{"delta":{"content":"a"}}]}"#, "[DONE]"],
            "text=a stop",
        ),
        // What comes behind the end is not read.
        (
            &[r#"{"choices":[{"delta":{"content":"a"}}]}"#, "[DONE]", "garbage"],
            "text=a stop",
        ),
        (
            &[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}"#],
            "text=a length",
        ),
        (
            &[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"content_filter"}]}"#],
            "text=a content_filter",
        ),
        (
            &[
                r#"{"choices":[{"delta":{"reasoning_content":"hm","reasoning":"hm"}}]}"#,
                r#"{"choices":[{"delta":{"reasoning":"m"}}]}"#,
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"x"}]},{"type":"text","text":"ok"}]}}]}"#,
                r#"{"choices":[{"delta":{"refusal":"no"},"finish_reason":"stop"}]}"#,
            ],
            "reasoning=hmm reasoned=reasoning// text=ok refusal=no stop",
        ),
        // Unknown events and nulls are counted; second choices and empty lines mean nothing.
        (
            &[
                "event: ping\ndata: {}",
                r#"{"choices":null,"error":null}"#,
                r#"{"choices":"?"}"#,
                r#"{"choices":[{"index":1,"delta":{"content":"other"}}]}"#,
                r#"{"choices":[{"delta":null,"finish_reason":"stop"}]}"#,
                "[DONE]",
            ],
            "unknown=111 stop",
        ),
    ];
    for (events, expected) in table {
        check(ChatCompletions, events, expected);
    }
}

#[test]
fn chat_completions_ask_for_calls_in_every_form() {
    let table: &[(&[&str], &str)] = &[
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]}"#,
                r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
                "[DONE]",
            ],
            r#"call0=f call1=g args1={ args0={"x": args1=} args0=1} stop"#,
        ),
        // Neither index nor id nor type; arguments as an object.
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":{"b":1,"a":2}}},{"function":{"name":"f"}}]}}]}"#,
                "[DONE]",
            ],
            r#"call0=f args0={"b":1,"a":2} call1=f stop"#,
        ),
        // Every call has the index 0; ids tell them apart.
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]}}]}"#,
                r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
            ],
            "call0=f args0={} call1=f args1={} stop",
        ),
        // Neither index nor id, and the name with every piece; what is complete is followed by another call.
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":\"\\\"}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"\"}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"g","arguments":"{}"}}]}}]}"#,
                "[DONE]",
            ],
            r#"call0=f args0={"a":"\"}"} call1=f args1={} call2=g args2={} stop"#,
        ),
        // Two of the same tool at once, with ids alone.
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"f","arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"arguments":"}"}}]}}]}"#,
                "[DONE]",
            ],
            "call0=f args0={ call1=f args1={ args0=} args1=} stop",
        ),
        // Id and name are repeated with every piece.
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]}}]}"#,
                "[DONE]",
            ],
            "call0=f args0={} stop",
        ),
        // The name comes late, the pieces have no index.
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}}]}"#,
                "[DONE]",
            ],
            "call0=f args0={} stop",
        ),
        (
            &[
                r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":"{"}}}]}"#,
                r#"{"choices":[{"delta":{"function_call":{"arguments":"}"}},"finish_reason":"function_call"}]}"#,
            ],
            "call0=f args0={} stop",
        ),
    ];
    for (events, expected) in table {
        check(ChatCompletions, events, expected);
    }
}

#[test]
fn chat_completions_that_fail_are_errors() {
    let said = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    let table: &[(&[&str], &str)] = &[
        (&[said], "text=a error=MODEL_UNAVAILABLE"),
        (&[said, r#"{"choices":[{"del"#], "text=a error=MODEL_UNAVAILABLE"),
        (&["[DONE]"], "error=MODEL_UNAVAILABLE"),
        (&[], "error=MODEL_UNAVAILABLE"),
        (&["<html>"], "error=MODEL_UNAVAILABLE"),
        (
            &[said, r#"{"error":{"message":"x","code":429}}"#],
            "text=a error=RATE_LIMITED",
        ),
        (
            &[said, r#"{"object":"error","message":"x"}"#],
            "text=a error=MODEL_UNAVAILABLE",
        ),
        (
            &["event: error\ndata: {\"message\":\"x\",\"code\":\"context_length_exceeded\"}"],
            "error=CONTEXT_LENGTH_EXCEEDED",
        ),
        (
            &[r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#],
            "error=MODEL_UNAVAILABLE",
        ),
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a"}]}}]}"#,
                "[DONE]",
            ],
            "error=MODEL_UNAVAILABLE",
        ),
    ];
    for (events, expected) in table {
        check(ChatCompletions, events, expected);
    }
}

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
fn what_a_text_refers_to_is_counted_in_all_of_it() {
    let url = r#"{"type":"url_citation","url":"u","title":"t","start_index":0,"end_index":1}"#;
    let nested =
        r#"{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}"#;
    let file = r#"{"type":"file_citation","file_id":"f","filename":"n","index":3}"#;
    let part = |text: &str, annotations: &str| {
        format!(r#"{{"type":"output_text","text":"{text}","annotations":[{annotations}]}}"#)
    };
    let message = format!(
        r#"{{"type":"message","content":[{},{}]}}"#,
        part("Hé", ""),
        part("x", url)
    );
    let table = [
        // Live, in the second part; the message that is whole says them again, and one more.
        (
            Responses,
            vec![
                r#"{"type":"response.content_part.added","content_index":0}"#.to_owned(),
                r#"{"type":"response.output_text.delta","delta":"Hé"}"#.to_owned(),
                r#"{"type":"response.output_text.done","text":"Hé"}"#.to_owned(),
                r#"{"type":"response.content_part.added","content_index":1}"#.to_owned(),
                r#"{"type":"response.output_text.delta","delta":"x"}"#.to_owned(),
                format!(r#"{{"type":"response.output_text.annotation.added","annotation":{url}}}"#),
                format!(
                    r#"{{"type":"response.output_item.done","item":{{"type":"message","content":[{},{}]}}}}"#,
                    part("Hé", ""),
                    part("x", &format!("{url},{file}"))
                ),
                r#"{"type":"response.completed","response":{}}"#.to_owned(),
            ],
            "text=Héx cites=u(t)@2..3f(n)in()@.. stop",
        ),
        // Only in the last event.
        (
            Responses,
            vec![format!(
                r#"{{"type":"response.completed","response":{{"output":[{message}]}}}}"#
            )],
            "text=Héx cites=u(t)@2..3 stop",
        ),
        (
            ChatCompletions,
            vec![
                r#"{"choices":[{"delta":{"content":"Hé"}}]}"#.to_owned(),
                format!(
                    r#"{{"choices":[{{"delta":{{"annotations":[{nested},{{"type":"new"}},7]}},"finish_reason":"stop"}}]}}"#
                ),
            ],
            "text=Hé cites=u(t)@0..1 stop",
        ),
    ];
    for (dialect, events, expected) in table {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        check(dialect, &events, expected);
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
        // Only in the last event.
        (
            &[
                r#"{"type":"response.completed","response":{"output":[{"type":"function_call","name":"f","arguments":"{}"}]}}"#,
            ],
            "call0=f args0={} stop",
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
    ];
    for (events, expected) in table {
        check(Responses, events, expected);
    }
}

#[test]
fn an_answer_in_one_piece_is_read_too() {
    let table = [
        (
            ChatCompletions,
            r#"{"choices":[{"message":{"role":"assistant","content":"a","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "text=a call0=f args0={} usage=1/0/2/0 stop",
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"message":{"content":"a"}}]}"#,
            "text=a stop",
        ),
        (ChatCompletions, r#"{"choices":[]}"#, "error=MODEL_UNAVAILABLE"),
        (
            ChatCompletions,
            r#"{"error":{"code":"invalid_api_key"}}"#,
            "error=MODEL_CREDENTIALS_REJECTED",
        ),
        (
            ChatCompletions,
            r#"{"code":429,"message":"x"}"#,
            "error=RATE_LIMITED",
        ),
        (
            Responses,
            r#"{"object":"response","status":"completed","error":null,"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
            "reasoned=//hm text=a usage=1/0/2/0 stop",
        ),
        (Responses, r#"{"status":"incomplete","output":[]}"#, "length"),
        (
            Responses,
            r#"{"status":"failed","error":{"code":"server_error"}}"#,
            "error=MODEL_UNAVAILABLE",
        ),
        (
            Responses,
            r#"{"status":"in_progress","output":[]}"#,
            "error=MODEL_UNAVAILABLE",
        ),
        (
            Responses,
            r#"{"error":{"code":"rate_limit_exceeded"}}"#,
            "error=RATE_LIMITED",
        ),
        (Responses, "{}", "error=MODEL_UNAVAILABLE"),
        (Responses, "[", "error=MODEL_UNAVAILABLE"),
    ];
    for (dialect, body, expected) in table {
        check_whole(dialect, body, expected);
    }
}

#[test]
fn runs_of_assistants_are_read_in_every_form() {
    let done = r#"{"object":"thread.run","id":"run_1","thread_id":"thread_1","status":"completed","usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
    let waiting = r#"{"object":"thread.run","id":"run_1","thread_id":"thread_1","status":"requires_action","usage":null,"required_action":{"type":"submit_tool_outputs","submit_tool_outputs":{"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{\"x\":1}"}}]}}}"#;
    let table: &[(&[&str], &str)] = &[
        (
            &[
                "event: thread.created\ndata: {\"id\":\"thread_1\",\"object\":\"thread\"}",
                "event: thread.run.created\ndata: {\"object\":\"thread.run\",\"id\":\"run_1\",\"thread_id\":\"thread_1\",\"status\":\"queued\"}",
                "event: thread.message.created\ndata: {\"object\":\"thread.message\",\"role\":\"assistant\",\"status\":\"in_progress\",\"content\":[]}",
                r#"{"object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hé","annotations":[]}}]}}"#,
                r#"{"object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"llo"}},{"type":"brand_new"}]}}"#,
                r#"{"object":"thread.message","role":"assistant","status":"completed","content":[{"type":"text","text":{"value":"Héllo","annotations":[]}}]}"#,
                "event: brand.new\ndata: {\"object\":\"brand.new\"}",
                done,
                "event: done\ndata: [DONE]",
            ],
            "text=Héllo unknown=1 usage=3/0/2/0 stop",
        ),
        // A message only in whole, with a plain text; a refusal; no `[DONE]`.
        (
            &[
                r#"{"object":"thread.message","status":"completed","content":[{"type":"text","text":"a"}]}"#,
                r#"{"object":"thread.message","status":"completed","content":[{"type":"refusal","refusal":"no"}]}"#,
                done,
            ],
            "text=a refusal=no usage=3/0/2/0 stop",
        ),
        // What the user said is not the answer.
        (
            &[
                r#"{"object":"thread.message","role":"user","status":"completed","content":[{"type":"text","text":{"value":"hi"}}]}"#,
                done,
            ],
            "usage=3/0/2/0 stop",
        ),
        // Calls in pieces, interleaved, and listed once more at the end.
        (
            &[
                r#"{"object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}}"#,
                r#"{"object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{\"x\""}}]}}}"#,
                r#"{"object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"type":"function","function":{"arguments":"{}"}},{"index":1,"type":"function","function":{"arguments":":1}"}}]}}}"#,
                waiting,
            ],
            r#"call0=f call1=g args1={"x" args0={} args1=:1} stop"#,
        ),
        // Calls only in the list.
        (&[waiting], r#"call0=f args0={} call1=g args1={"x":1} stop"#),
        (
            &[
                r#"{"object":"thread.message","status":"incomplete","incomplete_details":{"reason":"content_filter"},"content":[{"type":"text","text":{"value":"a"}}]}"#,
                r#"{"object":"thread.run","status":"incomplete","incomplete_details":{}}"#,
            ],
            "text=a content_filter",
        ),
        (
            &[
                r#"{"object":"thread.run","status":"incomplete","incomplete_details":{"reason":"max_completion_tokens"}}"#,
            ],
            "length",
        ),
    ];
    for (events, expected) in table {
        check(Assistants, events, expected);
    }
}

#[test]
fn runs_of_assistants_that_fail_are_errors() {
    let said =
        r#"{"object":"thread.message.delta","delta":{"content":[{"type":"text","text":{"value":"a"}}]}}"#;
    let table: &[(&[&str], &str)] = &[
        (&[said], "text=a error=MODEL_UNAVAILABLE"),
        (&[said, "[DONE]"], "text=a error=MODEL_UNAVAILABLE"),
        (&[said, "{"], "text=a error=MODEL_UNAVAILABLE"),
        (
            &["event: error\ndata: {\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}"],
            "error=RATE_LIMITED",
        ),
        (
            &[
                r#"{"object":"thread.run","status":"failed","last_error":{"code":"rate_limit_exceeded","message":"x"}}"#,
            ],
            "error=RATE_LIMITED",
        ),
        (
            &[
                r#"{"object":"thread.run","status":"failed","last_error":{"code":"server_error","message":"x"}}"#,
            ],
            "error=MODEL_UNAVAILABLE",
        ),
        (
            &[r#"{"object":"thread.run","status":"failed"}"#],
            "error=MODEL_UNAVAILABLE",
        ),
        (
            &[r#"{"object":"thread.run","status":"expired"}"#],
            "error=MODEL_UNAVAILABLE",
        ),
        (
            &[r#"{"object":"thread.run","status":"cancelled"}"#],
            "error=MODEL_UNAVAILABLE",
        ),
        (
            &[r#"{"error":{"code":"insufficient_quota"}}"#],
            "error=QUOTA_EXCEEDED",
        ),
    ];
    for (events, expected) in table {
        check(Assistants, events, expected);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever comes in, wherever it is cut: no panic, and always the same events.
    #[test]
    fn any_bytes_mean_the_same_however_they_are_split(
        pieces in proptest::collection::vec(fragment(), 0..12),
        cuts in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 0..6),
    ) {
        let bytes = pieces.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let split: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        for dialect in [Responses, ChatCompletions, Assistants] {
            proptest::prop_assert_eq!(decode(dialect, &[&bytes]), decode(dialect, &split));
            let mut events = Events::new();
            let _ = Decoder::new(dialect).whole(&bytes, &mut events);
        }
    }
}

/// Things that streams are made of, sound and unsound.
fn fragment() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};

    const LINES: [&str; 14] = [
        "\n",
        "\r\n\r\n",
        ": ping\n\n",
        "event: error\n",
        "data: [DONE]\n\n",
        "data: {}\n\n",
        "data: {\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"h\u{e9}\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
        "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":7}}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"output\":[null]}}\n\n",
        "data: {\"object\":\"thread.message.delta\",\"delta\":{\"content\":[{\"text\":{\"value\":\"a\"}},{\"text\":[]}]}}\n\n",
        "data: {\"object\":\"thread.run\",\"status\":\"requires_action\",\"required_action\":{\"submit_tool_outputs\":{\"tool_calls\":[{}]}}}\n\n",
    ];
    prop_oneof![
        8 => proptest::sample::select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => Just("data: \u{20ac}".as_bytes().to_vec()),
    ]
}
