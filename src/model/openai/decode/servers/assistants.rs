//! The Assistants API, of the servers that speak it or have spoken it.

use super::Server;
use crate::model::Dialect;
use crate::run::error::Reason;

pub(super) const SERVERS: [Server; 4] = [OPENAI, AZURE, ALIBABA, OPEN_ASSISTANT_API];

/// OpenAI itself, before it shut this API down. What a text refers to comes with the piece that says so, and again with the
/// whole message.
/// Source: the description of its API, `openapi.json` (`AssistantStreamEvent`),
/// <https://platform.openai.com/docs/api-reference/assistants-streaming>.
const OPENAI: Server = Server {
    name: "OpenAI",
    dialect: Dialect::Assistants,
    streams: &[
        (
            r#"event: thread.created
data: {"id":"thread_1","object":"thread","created_at":1,"metadata":{},"tool_resources":{}}

event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.step.created
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"in_progress","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.run.step.in_progress
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"in_progress","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.message.created
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.in_progress
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hello","annotations":[]}}]}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"[1]","annotations":[{"index":0,"type":"file_citation","text":"[1]","start_index":5,"end_index":8,"file_citation":{"file_id":"file-1","quote":""}}]}}]}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"[2]","annotations":[{"index":1,"type":"file_path","text":"[2]","start_index":8,"end_index":11,"file_path":{"file_id":"file-2"}}]}}]}}

event: thread.message.completed
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"completed","incomplete_details":null,"role":"assistant","content":[{"type":"text","text":{"value":"Hello[1][2]","annotations":[{"type":"file_citation","text":"[1]","start_index":5,"end_index":8,"file_citation":{"file_id":"file-1"}},{"type":"file_path","text":"[2]","start_index":8,"end_index":11,"file_path":{"file_id":"file-2"}}]}}],"attachments":[],"metadata":{}}

event: thread.run.step.completed
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"completed","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.run.completed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"completed","required_action":null,"last_error":null,"incomplete_details":null,"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_token_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

event: done
data: [DONE]

"#,
            "text=Hello[1] cites=file-1()in()@5..8 text=[2] cites=file-2()in()@8..11 usage=3/0/2/0 stop",
        ),
        (
            r#"event: thread.created
data: {"id":"thread_1","object":"thread","created_at":1,"metadata":{},"tool_resources":{}}

event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.step.created
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"tool_calls","status":"in_progress","step_details":{"type":"tool_calls","tool_calls":[]},"usage":null}

event: thread.run.step.in_progress
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"tool_calls","status":"in_progress","step_details":{"type":"tool_calls","tool_calls":[]},"usage":null}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"","output":null}}]}}}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"type":"function","function":{"arguments":"{\"a\":"}}]}}}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"type":"function","function":{"arguments":"1}"}}]}}}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":"","output":null}}]}}}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":1,"type":"function","function":{"arguments":"{}"}}]}}}

event: thread.run.requires_action
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"requires_action","required_action":{"type":"submit_tool_outputs","submit_tool_outputs":{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]}},"last_error":null,"incomplete_details":null,"usage":null}

event: done
data: [DONE]

"#,
            r#"call0=f args0={"a":1} call1=g args1={} stop"#,
        ),
        // A tool of the provider's own, and a picture.
        (
            r#"event: thread.created
data: {"id":"thread_1","object":"thread","created_at":1,"metadata":{},"tool_resources":{}}

event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.step.created
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"tool_calls","status":"in_progress","step_details":{"type":"tool_calls","tool_calls":[{"id":"call_9","type":"code_interpreter","code_interpreter":{"input":"1","outputs":[]}}]},"usage":null}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"id":"call_9","type":"code_interpreter","code_interpreter":{"input":"1+1","outputs":[]}}]}}}

event: thread.run.step.completed
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"tool_calls","status":"completed","step_details":{"type":"tool_calls","tool_calls":[{"id":"call_9","type":"code_interpreter","code_interpreter":{"input":"1","outputs":[]}}]},"usage":null}

event: thread.run.step.created
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"in_progress","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.run.step.in_progress
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"in_progress","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.message.created
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.in_progress
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"image_file","image_file":{"file_id":"file-3"}}]}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":1,"type":"text","text":{"value":"Hello","annotations":[]}}]}}

event: thread.message.completed
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"completed","incomplete_details":null,"role":"assistant","content":[{"type":"image_file","image_file":{"file_id":"file-3"}},{"type":"text","text":{"value":"Hello","annotations":[]}}],"attachments":[],"metadata":{}}

event: thread.run.completed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"completed","required_action":null,"last_error":null,"incomplete_details":null,"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}

event: done
data: [DONE]

"#,
            "text=Hello usage=3/0/2/0 stop",
        ),
        (
            r#"event: thread.created
data: {"id":"thread_1","object":"thread","created_at":1,"metadata":{},"tool_resources":{}}

event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.step.created
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"in_progress","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.run.step.in_progress
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"in_progress","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.message.created
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.in_progress
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"He","annotations":[]}}]}}

event: thread.message.incomplete
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"incomplete","incomplete_details":{"reason":"max_tokens"},"role":"assistant","content":[{"type":"text","text":{"value":"He","annotations":[]}}],"attachments":[],"metadata":{}}

event: thread.run.step.completed
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"message_creation","status":"completed","step_details":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}

event: thread.run.incomplete
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"incomplete","required_action":null,"last_error":null,"incomplete_details":{"reason":"max_completion_tokens"},"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}

event: done
data: [DONE]

"#,
            "text=He usage=3/0/2/0 length",
        ),
        (
            r#"event: thread.created
data: {"id":"thread_1","object":"thread","created_at":1,"metadata":{},"tool_resources":{}}

event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.failed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"failed","required_action":null,"last_error":{"code":"rate_limit_exceeded","message":"You exceeded your current quota."},"incomplete_details":null,"usage":null}

event: done
data: [DONE]

"#,
            "error=RATE_LIMITED",
        ),
        (
            r#"event: thread.created
data: {"id":"thread_1","object":"thread","created_at":1,"metadata":{},"tool_resources":{}}

event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: error
data: {"code":null,"message":"The server had an error while processing your request.","param":null,"type":"server_error"}

"#,
            "error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            404,
            r#"{"error":{"message":"No thread found with id 'thread_1'.","type":"invalid_request_error","param":null,"code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"Can't add messages to thread_1 while a run run_1 is active.","type":"invalid_request_error","param":null,"code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"Invalid 'max_completion_tokens': integer below minimum value. Expected a value >= 256, but got 10 instead.","type":"invalid_request_error","param":"max_completion_tokens","code":"integer_below_min_value"}}"#,
            Reason::ModelRequestRejected,
        ),
    ],
};

/// Azure OpenAI and its agents: pages are cited in the form of this API, and the filter is told of at the run, at its message,
/// or by a run that is incomplete for no reason that it names.
/// Source: <https://learn.microsoft.com/azure/ai-services/openai/assistants-reference-runs>,
/// <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/tools/bing-grounding>, Azure/azure-rest-api-specs,
/// `specification/ai/Azure.AI.Agents`.
const AZURE: Server = Server {
    name: "Azure OpenAI",
    dialect: Dialect::Assistants,
    streams: &[
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.message.created
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.in_progress
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hello"}}]}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"[1]","annotations":[{"index":0,"type":"url_citation","text":"[1]","start_index":5,"end_index":8,"url_citation":{"url":"https://a.example","title":"A"}}]}}]}}

event: thread.message.completed
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"completed","incomplete_details":null,"role":"assistant","content":[{"type":"text","text":{"value":"Hello[1]","annotations":[{"type":"url_citation","text":"[1]","start_index":5,"end_index":8,"url_citation":{"url":"https://a.example","title":"A"}}]}}],"attachments":[],"metadata":{}}

event: thread.run.completed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"completed","required_action":null,"last_error":null,"incomplete_details":null,"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}

event: done
data: [DONE]

"#,
            "text=Hello[1] cites=https://a.example(A)@5..8 usage=3/0/2/0 stop",
        ),
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.message.created
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.in_progress
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"I","annotations":[]}}]}}

event: thread.message.incomplete
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"incomplete","incomplete_details":{"reason":"content_filter"},"role":"assistant","content":[{"type":"text","text":{"value":"I","annotations":[]}}],"attachments":[],"metadata":{}}

event: thread.run.incomplete
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"incomplete","required_action":null,"last_error":null,"incomplete_details":{"reason":"content_filter"},"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}

event: done
data: [DONE]

"#,
            "text=I usage=3/0/2/0 content_filter",
        ),
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: error
data: {"error":{"code":"429","message":"Rate limit is exceeded. Try again in 20 seconds."}}

"#,
            "error=RATE_LIMITED",
        ),
        // A call that the filter has cut.
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null}

event: thread.run.step.created
data: {"id":"step_1","object":"thread.run.step","run_id":"run_1","assistant_id":"asst_1","thread_id":"thread_1","type":"tool_calls","status":"in_progress","step_details":{"type":"tool_calls","tool_calls":[]},"usage":null}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"","output":null}}]}}}

event: thread.run.incomplete
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"incomplete","required_action":null,"last_error":null,"incomplete_details":{},"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}

event: done
data: [DONE]

"#,
            "call0=f usage=3/0/2/0 content_filter",
        ),
    ],
    refusals: &[
        (
            401,
            r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            Reason::ModelRequestRejected,
        ),
    ],
};

/// Alibaba Cloud Model Studio: the content of a delta is one part without a list around it, and errors are codes of its own.
/// Source: <https://www.alibabacloud.com/help/en/model-studio/event-streaming>,
/// <https://www.alibabacloud.com/help/en/model-studio/error-code>.
const ALIBABA: Server = Server {
    name: "Alibaba Cloud Model Studio",
    dialect: Dialect::Assistants,
    streams: &[
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"request_id":"r","status_code":200}

event: thread.message.created
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"in_progress","incomplete_details":null,"role":"assistant","content":[],"attachments":[],"metadata":{},"request_id":"r","status_code":200}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"role":"assistant","content":{"type":"text","text":{"value":"Hel","annotations":[]}},"file_ids":[]},"request_id":"r","status_code":200}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"role":"assistant","content":{"type":"text","text":{"value":"lo","annotations":[]}},"file_ids":[]},"request_id":"r","status_code":200}

event: thread.message.completed
data: {"id":"msg_1","object":"thread.message","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","run_id":"run_1","status":"completed","incomplete_details":null,"role":"assistant","content":[{"type":"text","text":{"value":"Hello","annotations":[]}}],"attachments":[],"metadata":{},"request_id":"r","status_code":200}

event: thread.run.completed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"completed","required_action":null,"last_error":null,"incomplete_details":null,"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5},"request_id":"r","status_code":200}

"#,
            "text=Hello usage=3/0/2/0 stop",
        ),
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"request_id":"r","status_code":200}

event: error
data: {"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later.","request_id":"r"}

"#,
            "error=RATE_LIMITED",
        ),
    ],
    refusals: &[
        (
            401,
            r#"{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"r"}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            429,
            r#"{"code":"Throttling.AllocationQuota","message":"Allocated quota exceeded, please increase your quota limit.","request_id":"r"}"#,
            Reason::RateLimited,
        ),
        (
            400,
            r#"{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing.","request_id":"r"}"#,
            Reason::QuotaExceeded,
        ),
        (
            400,
            r#"{"code":"InvalidParameter","message":"Range of input length should be [1, 30720]","request_id":"r"}"#,
            Reason::ContextLengthExceeded,
        ),
    ],
};

/// Open Assistant API: a message that is over has the status of one that is not, details are a text, and nothing says that the
/// stream is done.
/// Source: MLT-OSS/open-assistant-api, `app/core/runner/pub_handler.py`, `app/models/run.py`, `app/models/message.py`.
const OPEN_ASSISTANT_API: Server = Server {
    name: "Open Assistant API",
    dialect: Dialect::Assistants,
    streams: &[
        (
            r#"event: thread.run.created
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"started_at":1.5,"extra_body":{}}

event: thread.run.queued
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"queued","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"started_at":1.5,"extra_body":{}}

event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"started_at":1.5,"extra_body":{}}

event: thread.message.created
data: {"role":"assistant","thread_id":"thread_1","object":"thread.message","content":[],"file_ids":[],"attachments":[],"metadata_":null,"assistant_id":"asst_1","run_id":"run_1","created_at":1.5,"updated_at":1.5,"id":"msg_1","status":"in_progress"}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hel"}}],"role":"assistant"}}

event: thread.message.delta
data: {"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"lo"}}],"role":null}}

event: thread.message.completed
data: {"role":"assistant","thread_id":"thread_1","object":"thread.message","content":[{"type":"text","text":{"value":"Hello","annotations":[]}}],"file_ids":[],"attachments":[],"metadata_":null,"assistant_id":"asst_1","run_id":"run_1","created_at":1.5,"updated_at":1.5,"id":"msg_1","status":"in_progress"}

event: thread.run.completed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"completed","required_action":null,"last_error":null,"incomplete_details":"","usage":null,"started_at":1.5,"extra_body":{}}

"#,
            "text=Hello stop",
        ),
        // Calls come whole.
        (
            r#"event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"started_at":1.5,"extra_body":{}}

event: thread.run.step.delta
data: {"id":"step_1","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}","output":null}},{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":"{}","output":null}}]}}}

event: thread.run.requires_action
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"requires_action","required_action":{"type":"submit_tool_outputs","submit_tool_outputs":{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]}},"last_error":null,"incomplete_details":null,"usage":null,"started_at":1.5,"extra_body":{}}

"#,
            r#"call0=f args0={"a":1} call1=g args1={} stop"#,
        ),
        (
            r#"event: thread.run.in_progress
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"in_progress","required_action":null,"last_error":null,"incomplete_details":null,"usage":null,"started_at":1.5,"extra_body":{}}

event: thread.run.failed
data: {"id":"run_1","object":"thread.run","created_at":1,"assistant_id":"asst_1","thread_id":"thread_1","status":"failed","required_action":null,"last_error":{"code":"server_error","message":"x"},"incomplete_details":"x","usage":null,"started_at":1.5,"extra_body":{}}

"#,
            "error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            404,
            r#"{"detail":"run run_1 not found"}"#,
            Reason::ModelRequestRejected,
        ),
        (
            500,
            r#"{"detail":"Internal Server Error"}"#,
            Reason::ModelUnavailable,
        ),
    ],
};
