//! The Assistants API.

use super::check;
use crate::model::Dialect::Assistants;

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
        // A call that was cut by the filter, of which a run has no word, and by a limit, before it has a name.
        (
            &[
                r#"{"object":"thread.run.step.delta","delta":{"step_details":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}}"#,
                r#"{"object":"thread.run","status":"incomplete","incomplete_details":{}}"#,
            ],
            "call0=f args0={ content_filter",
        ),
        (
            &[
                r#"{"object":"thread.run.step.delta","delta":{"step_details":{"tool_calls":[{"index":0,"id":"a","function":{}}]}}}"#,
                r#"{"object":"thread.run","status":"incomplete","incomplete_details":{"reason":"max_completion_tokens"}}"#,
            ],
            "length",
        ),
        // The limit is told at the message alone.
        (
            &[
                r#"{"object":"thread.message","status":"incomplete","incomplete_details":{"reason":"max_tokens"},"content":"a"}"#,
                r#"{"object":"thread.run","status":"incomplete","incomplete_details":null}"#,
            ],
            "text=a length",
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
