//! Chat Completions.

use super::check;
use crate::model::Dialect::ChatCompletions;

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
            "reasoning=hmmx reasoned=thinking// text=ok refusal=no stop",
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
