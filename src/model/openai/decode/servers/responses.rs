//! Responses, of the servers that people have.

use super::Server;
use crate::model::Dialect;
use crate::run::error::Reason;

pub(super) const SERVERS: [Server; 7] = [OPENAI, AZURE, VLLM, LLAMA_CPP, OLLAMA, LITELLM, OPENROUTER];

/// OpenAI itself: everything is said live and once more, in deltas, as a part, as an item, and in the whole answer at the end.
/// Source: <https://platform.openai.com/docs/api-reference/responses-streaming>.
const OPENAI: Server = Server {
    name: "OpenAI",
    dialect: Dialect::Responses,
    streams: &[
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gA"}}

event: response.reasoning_summary_part.added
data: {"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"hm","obfuscation":"x"}

event: response.reasoning_summary_text.done
data: {"type":"response.reasoning_summary_text.done","sequence_number":5,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"hm"}

event: response.reasoning_summary_part.done
data: {"type":"response.reasoning_summary_part.done","sequence_number":6,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"hm"}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gAAA"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"type":"web_search_call","id":"ws_1","status":"in_progress"}}

event: response.web_search_call.in_progress
data: {"type":"response.web_search_call.in_progress","sequence_number":9,"item_id":"ws_1","output_index":1}

event: response.web_search_call.completed
data: {"type":"response.web_search_call.completed","sequence_number":10,"item_id":"ws_1","output_index":1}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":11,"output_index":1,"item":{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"a"}}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":12,"output_index":2,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":13,"item_id":"msg_1","output_index":2,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":14,"item_id":"msg_1","output_index":2,"content_index":0,"delta":"Hel","logprobs":[],"obfuscation":"kq"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":15,"item_id":"msg_1","output_index":2,"content_index":0,"delta":"lo","logprobs":[],"obfuscation":"kq"}

event: response.output_text.annotation.added
data: {"type":"response.output_text.annotation.added","sequence_number":16,"item_id":"msg_1","output_index":2,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":17,"item_id":"msg_1","output_index":2,"content_index":0,"text":"Hello","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":18,"item_id":"msg_1","output_index":2,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":19,"output_index":2,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":20,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gAAA"},{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"a"}},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}],"logprobs":[]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":5},"service_tier":"default"}}

"#,
            r#"reasoning=hm reasoned=rs_1/gAAA/hm text=Hello cites=https://a.example(A)@0..5 usage=3/1/2/1 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"function_call","id":"fc_1","status":"in_progress","call_id":"call_1","name":"f","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc_1","output_index":0,"delta":"{\"a\":"}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"fc_1","output_index":0,"delta":"1}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":4,"item_id":"fc_1","output_index":0,"arguments":"{\"a\":1}","name":"f"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"function_call","id":"fc_1","status":"completed","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":6,"output_index":1,"item":{"type":"function_call","id":"fc_2","status":"in_progress","call_id":"call_2","name":"g","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":7,"item_id":"fc_2","output_index":1,"delta":"{}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":8,"item_id":"fc_2","output_index":1,"arguments":"{}","name":"g"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":9,"output_index":1,"item":{"type":"function_call","id":"fc_2","status":"completed","call_id":"call_2","name":"g","arguments":"{}"}}

event: response.completed
data: {"type":"response.completed","sequence_number":10,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"function_call","id":"fc_1","status":"completed","call_id":"call_1","name":"f","arguments":"{\"a\":1}"},{"type":"function_call","id":"fc_2","status":"completed","call_id":"call_2","name":"g","arguments":"{}"}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"call0=f args0={"a":1} call1=g args1={} usage=3/0/2/0 goes_on={"response":"resp_1","calls":["call_1","call_2"]} stop"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"refusal","refusal":""}}

event: response.refusal.delta
data: {"type":"response.refusal.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"No"}

event: response.refusal.done
data: {"type":"response.refusal.done","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"refusal":"No"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"refusal","refusal":"No"}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":6,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"refusal","refusal":"No"}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"refusal=No usage=3/0/2/0 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        // The limit cuts a call.
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"function_call","id":"fc_1","status":"in_progress","call_id":"call_1","name":"f","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc_1","output_index":0,"delta":"{\"a"}

event: response.incomplete
data: {"type":"response.incomplete","sequence_number":3,"response":{"id":"resp_1","object":"response","status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"function_call","id":"fc_1","status":"incomplete","call_id":"call_1","name":"f","arguments":"{\"a"}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"call0=f args0={"a usage=3/0/2/0 goes_on={"response":"resp_1","calls":["call_1"]} length"#,
        ),
        // Since 2026 what went wrong stands in an object of its own, before it stood in the event itself.
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: error
data: {"type":"error","sequence_number":1,"error":{"type":"server_error","code":"server_error","message":"The server had an error.","param":null}}

"#,
            "error=MODEL_UNAVAILABLE",
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: error
data: {"type":"error","sequence_number":1,"code":"rate_limit_exceeded","message":"Slow down.","param":null}

"#,
            "error=RATE_LIMITED",
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.failed
data: {"type":"response.failed","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"failed","error":{"code":"server_error","message":"The model failed to generate a response."},"incomplete_details":null,"output":[],"usage":null}}

"#,
            "error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"message":"Encrypted content is not supported with this model.","type":"invalid_request_error","param":"include","code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            404,
            r#"{"error":{"message":"Previous response with id 'resp_1' not found.","type":"invalid_request_error","param":"previous_response_id","code":"previous_response_not_found"}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
            Reason::ContextLengthExceeded,
        ),
    ],
};

/// Azure OpenAI: as OpenAI, with what its filter made of prompt and answer in the response.
/// Source: <https://learn.microsoft.com/azure/ai-foundry/openai/how-to/responses>,
/// <https://learn.microsoft.com/azure/foundry/openai/concepts/content-filter>.
const AZURE: Server = Server {
    name: "Azure OpenAI",
    dialect: Dialect::Responses,
    streams: &[
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,"content_filters":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,"content_filters":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hello","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"text":"Hello","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":6,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":8,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5},"content_filters":[{"blocked":false,"source_type":"prompt","content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}}

"#,
            r#"text=Hello usage=3/0/2/0 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"I"}

event: response.incomplete
data: {"type":"response.incomplete","sequence_number":2,"response":{"id":"resp_1","object":"response","status":"incomplete","error":null,"incomplete_details":{"reason":"content_filter"},"output":[],"usage":null,"content_filters":[{"blocked":true,"source_type":"completion"}]}}

"#,
            r#"text=I goes_on={"response":"resp_1","calls":[]} content_filter"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: error
data: {"type":"error","sequence_number":1,"code":"too_many_requests","message":"Too Many Requests","param":null}

"#,
            "error=RATE_LIMITED",
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":"invalid_request_error","param":"prompt","code":"content_filter","content_filters":[{"blocked":true,"source_type":"prompt"}]}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            429,
            r#"{"error":{"code":"too_many_requests","message":"Too Many Requests","param":null,"type":"too_many_requests"}}"#,
            Reason::RateLimited,
        ),
    ],
};

/// vLLM. Reasoning has parts of its own; an answer that its limit cut ends as one that is complete; an error is no event of the
/// API's.
/// Source: vllm-project/vllm, `vllm/entrypoints/openai/responses/streaming_events.py`, `simple_streaming_events.py`,
/// <https://github.com/vllm-project/vllm/pull/45386>.
const VLLM: Server = Server {
    name: "vLLM",
    dialect: Dialect::Responses,
    streams: &[
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"msg_a","summary":[],"content":null,"encrypted_content":null,"status":"in_progress"}}

event: response.reasoning_part.added
data: {"type":"response.reasoning_part.added","sequence_number":3,"item_id":"msg_a","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":""}}

event: response.reasoning_text.delta
data: {"type":"response.reasoning_text.delta","sequence_number":4,"item_id":"msg_a","output_index":0,"content_index":0,"delta":"hm"}

event: response.reasoning_text.done
data: {"type":"response.reasoning_text.done","sequence_number":5,"item_id":"msg_a","output_index":0,"content_index":0,"text":"hm"}

event: response.reasoning_part.done
data: {"type":"response.reasoning_part.done","sequence_number":6,"item_id":"msg_a","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":"hm"}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"reasoning","id":"msg_a","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"encrypted_content":null,"status":"completed"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"type":"message","id":"msg_b","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":9,"item_id":"msg_b","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":10,"item_id":"msg_b","output_index":1,"content_index":0,"delta":"Hello","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":11,"item_id":"msg_b","output_index":1,"content_index":0,"text":"Hello","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":12,"item_id":"msg_b","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":13,"output_index":1,"item":{"type":"message","id":"msg_b","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":14,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"msg_a","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"encrypted_content":null,"status":"completed"},{"type":"message","id":"msg_b","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":5},"kv_transfer_params":null}}

"#,
            r#"reasoning=hm reasoned=msg_a//hm text=Hello usage=3/0/2/1 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        // The first piece of the arguments comes twice, and the whole answer gives the call another id.
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"function_call","id":"a1","call_id":"call_1","name":"f","arguments":"{\"a\":","status":"in_progress"}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"a1","output_index":0,"delta":"{\"a\":"}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"a1","output_index":0,"delta":"1}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":4,"item_id":"a1","output_index":0,"arguments":"{\"a\":1}","name":"f"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"function_call","id":"a1","call_id":"call_1","name":"f","arguments":"{\"a\":1}","status":"completed"}}

event: response.completed
data: {"type":"response.completed","sequence_number":6,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"function_call","id":"fc_9","call_id":"call_9","name":"f","arguments":"{\"a\":1}","status":null}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"call0=f args0={"a":1} usage=3/0/2/0 goes_on={"response":"resp_1","calls":["call_1"]} stop"#,
        ),
        // The limit is told by the status alone.
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg_b","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":2,"item_id":"msg_b","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_b","output_index":0,"content_index":0,"delta":"He","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":4,"item_id":"msg_b","output_index":0,"content_index":0,"text":"He","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":5,"item_id":"msg_b","output_index":0,"content_index":0,"part":{"type":"output_text","text":"He","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":6,"output_index":0,"item":{"type":"message","id":"msg_b","status":"completed","role":"assistant","content":[{"type":"output_text","text":"He","annotations":[],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":7,"response":{"id":"resp_1","object":"response","status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message","id":"msg_b","status":"completed","role":"assistant","content":[{"type":"output_text","text":"He","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"text=He usage=3/0/2/0 goes_on={"response":"resp_1","calls":[]} length"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: unknown
data: {"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}

"#,
            "error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            404,
            r#"{"error":{"message":"Response with id 'resp_1' not found.","type":"invalid_request_error","param":"response_id","code":404}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"The engine prompt length 5000 exceeds the max_model_len 4096. Please reduce prompt.","type":"invalid_request_error","param":"input","code":400}}"#,
            Reason::ContextLengthExceeded,
        ),
    ],
};

/// llama.cpp. Its events have neither places nor numbers, and its calls no id of the item; what is over is told at the end.
/// Source: ggml-org/llama.cpp, `tools/server/server-task.cpp` (`to_json_oaicompat_resp_stream`).
const LLAMA_CPP: Server = Server {
    name: "llama.cpp",
    dialect: Dialect::Responses,
    streams: &[
        // The reasoning is told as over behind the text.
        (
            r#"event: response.created
data: {"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress"}}

event: response.in_progress
data: {"type":"response.in_progress","response":{"id":"resp_1","object":"response","status":"in_progress"}}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"id":"rs_1","summary":[],"type":"reasoning","content":[],"encrypted_content":"","status":"in_progress"}}

event: response.reasoning_text.delta
data: {"type":"response.reasoning_text.delta","delta":"hm","item_id":"rs_1"}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"content":[],"id":"msg_1","role":"assistant","status":"in_progress","type":"message"}}

event: response.content_part.added
data: {"type":"response.content_part.added","item_id":"msg_1","part":{"type":"output_text","text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Hello"}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"id":"rs_1","summary":[],"type":"reasoning","content":[{"text":"hm","type":"reasoning_text"}],"encrypted_content":""}}

event: response.output_text.done
data: {"type":"response.output_text.done","item_id":"msg_1","text":"Hello"}

event: response.content_part.done
data: {"type":"response.content_part.done","item_id":"msg_1","part":{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello"}}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"type":"message","status":"completed","id":"msg_1","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello"}],"role":"assistant"}}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"id":"rs_1","summary":[],"type":"reasoning","content":[{"text":"hm","type":"reasoning_text"}],"encrypted_content":""},{"type":"message","status":"completed","id":"msg_1","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello"}],"role":"assistant"}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}

"#,
            r#"reasoning=hm text=Hello reasoned=rs_1//hm usage=3/0/2/0 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        // Two calls of one tool, known by the id for the output alone.
        (
            r#"event: response.created
data: {"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress"}}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"arguments":"","call_id":"fc_a","name":"f","type":"function_call","status":"in_progress"}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","delta":"{\"a\":","item_id":"fc_a"}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","delta":"1}","item_id":"fc_a"}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"arguments":"","call_id":"fc_b","name":"f","type":"function_call","status":"in_progress"}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","delta":"{}","item_id":"fc_b"}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"type":"function_call","status":"completed","arguments":"{\"a\":1}","call_id":"fc_a","name":"f"}}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"type":"function_call","status":"completed","arguments":"{}","call_id":"fc_b","name":"f"}}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","output":[{"type":"function_call","status":"completed","arguments":"{\"a\":1}","call_id":"fc_a","name":"f"},{"type":"function_call","status":"completed","arguments":"{}","call_id":"fc_b","name":"f"}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}

"#,
            r#"call0=f args0={"a":1} call1=f args1={} usage=3/0/2/0 goes_on={"response":"resp_1","calls":["fc_a","fc_b"]} stop"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress"}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"He"}

data: {"error":{"code":500,"message":"Compute error.","type":"server_error"}}

"#,
            "text=He error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"code":400,"message":"llama.cpp does not support 'previous_response_id'.","type":"invalid_request_error"}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"request (4476 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":4476,"n_ctx":4096}}"#,
            Reason::ContextLengthExceeded,
        ),
    ],
};

/// Ollama. What it gives as encrypted reasoning is the reasoning itself; a call comes in one piece.
/// Source: ollama/ollama, `openai/responses.go` (`ResponsesStreamConverter`).
const OLLAMA: Server = Server {
    name: "Ollama",
    dialect: Dialect::Responses,
    streams: &[
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"hm"}

event: response.reasoning_summary_text.done
data: {"type":"response.reasoning_summary_text.done","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"hm"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"hm"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":6,"output_index":1,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":7,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":8,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"Hello","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":9,"item_id":"msg_1","output_index":1,"content_index":0,"text":"Hello","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":10,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":11,"output_index":1,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":12,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"hm"},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"reasoning=hm reasoned=rs_1/hm/hm text=Hello usage=3/0/2/0 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        (
            r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"function_call","id":"fc_1_0","status":"in_progress","call_id":"call_1","name":"f","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc_1_0","output_index":0,"delta":"{\"a\":1}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":3,"item_id":"fc_1_0","output_index":0,"arguments":"{\"a\":1}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"type":"function_call","id":"fc_1_0","status":"completed","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":5,"output_index":1,"item":{"type":"function_call","id":"fc_2_1","status":"in_progress","call_id":"call_2","name":"f","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":6,"item_id":"fc_2_1","output_index":1,"delta":"{}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":7,"item_id":"fc_2_1","output_index":1,"arguments":"{}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":8,"output_index":1,"item":{"type":"function_call","id":"fc_2_1","status":"completed","call_id":"call_2","name":"f","arguments":"{}"}}

event: response.completed
data: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"function_call","id":"fc_1_0","status":"completed","call_id":"call_1","name":"f","arguments":"{\"a\":1}"},{"type":"function_call","id":"fc_2_1","status":"completed","call_id":"call_2","name":"f","arguments":"{}"}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

"#,
            r#"call0=f args0={"a":1} call1=f args1={} usage=3/0/2/0 goes_on={"response":"resp_1","calls":["call_1","call_2"]} stop"#,
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"message":"file inputs are not currently supported","type":"invalid_request_error","param":null,"code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            404,
            r#"{"error":{"message":"model 'x' not found","type":"not_found_error","param":null,"code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            500,
            r#"{"error":"llama runner process has terminated: exit status 2"}"#,
            Reason::ModelUnavailable,
        ),
    ],
};

/// LiteLLM, of what it translates from Chat Completions: some events have no number, a message may have no beginning, reasoning
/// and message have the same place, and an answer that the limit cut is `completed` with another status.
/// Source: BerriAI/litellm, `litellm/responses/litellm_completion_transformation/streaming_iterator.py`.
const LITELLM: Server = Server {
    name: "LiteLLM",
    dialect: Dialect::Responses,
    streams: &[
        (
            r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,"text":null}}

data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_1","status":"in_progress","summary":null}}

data: {"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"delta":"hm"}

data: {"type":"response.reasoning_summary_text.done","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"hm"}

data: {"type":"response.reasoning_summary_part.done","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"hm"}}

data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}]}}

data: {"type":"response.output_text.delta","sequence_number":6,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hello"}

data: {"type":"response.output_text.annotation.added","item_id":"msg_1","output_index":0,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}}

data: {"type":"response.output_text.done","item_id":"msg_1","output_index":0,"content_index":0,"text":"Hello"}

data: {"type":"response.content_part.done","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"reasoning_text","reasoning":"hm"}}

data: {"type":"response.output_item.done","output_index":0,"sequence_number":1,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}]}]}}

data: {"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_1","status":"stop","role":"assistant","content":[{"type":"output_text","text":"hm","annotations":[]}]},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":5}}}

data: [DONE]

"#,
            r#"reasoning=hm reasoned=rs_1//hm text=Hello cites=https://a.example(A)@0..5 usage=3/0/2/1 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        // A message without a word, at the place in front of the calls.
        (
            r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

data: {"type":"response.output_item.added","sequence_number":1,"output_index":1,"item":{"type":"function_call","id":"call_1","call_id":"call_1","name":"f","arguments":"","status":"in_progress"}}

data: {"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"call_1","output_index":1,"delta":"{\"a\":1}"}

data: {"type":"response.function_call_arguments.done","sequence_number":3,"item_id":"call_1","output_index":1,"arguments":"{\"a\":1}"}

data: {"type":"response.output_item.done","output_index":1,"sequence_number":5,"item":{"type":"function_call","id":"call_1","call_id":"call_1","name":"f","arguments":"{\"a\":1}","status":"completed"}}

data: {"type":"response.output_text.done","item_id":"msg_1","output_index":0,"content_index":0,"text":""}

data: {"type":"response.content_part.done","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}

data: {"type":"response.output_item.done","output_index":0,"sequence_number":1,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"","annotations":[]}]}}

data: {"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":null,"annotations":[]}]},{"type":"function_call","id":"call_1","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}}}

data: [DONE]

"#,
            r#"call0=f args0={"a":1} usage=3/0/2/0 goes_on={"response":"resp_1","calls":["call_1"]} stop"#,
        ),
        (
            r#"data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"He"}

data: {"type":"response.completed","response":{"id":"resp_1","object":"response","status":"incomplete","error":null,"incomplete_details":null,"output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"He","annotations":[]}]}],"usage":null}}

data: [DONE]

"#,
            r#"text=He goes_on={"response":"resp_1","calls":[]} length"#,
        ),
        (
            r#"data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"He"}

data: {"error":{"message":"litellm.RateLimitError: x","type":"throttling_error","param":null,"code":"429"}}

"#,
            "text=He error=RATE_LIMITED",
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"message":"litellm.BadRequestError: OpenAIException - {\"error\": {\"message\": \"This model's maximum context length is 8192 tokens.\", \"code\": \"context_length_exceeded\"}}","type":null,"param":null,"code":"400"}}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            400,
            r#"{"error":{"message":"litellm.BadRequestError: Invalid model name passed in model=x. Call `/v1/models` to view available models for your key.","type":"invalid_request_error","param":"model","code":"400"}}"#,
            Reason::ModelRequestRejected,
        ),
    ],
};

/// OpenRouter: its guide shows other events than its client knows, and both are read.
/// Source: <https://openrouter.ai/docs/api/reference/responses/basic-usage>,
/// <https://openrouter.ai/docs/api/reference/responses/error-handling>, OpenRouterTeam/typescript-sdk,
/// `docs/models/openresponsesstreamevent.md`.
const OPENROUTER: Server = Server {
    name: "OpenRouter",
    dialect: Dialect::Responses,
    streams: &[
        // As its guide has it.
        (
            r#": OPENROUTER PROCESSING

data: {"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress"}}

data: {"type":"response.output_item.added","response_id":"resp_1","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","status":"in_progress","content":[]}}

data: {"type":"response.content_part.added","response_id":"resp_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}

data: {"type":"response.content_part.delta","response_id":"resp_1","output_index":0,"content_index":0,"delta":"Hel"}

data: {"type":"response.content_part.delta","response_id":"resp_1","output_index":0,"content_index":0,"delta":"lo"}

data: {"type":"response.output_item.done","response_id":"resp_1","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello"}]}}

data: {"type":"response.done","response":{"id":"resp_1","object":"response","status":"completed","usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}

data: [DONE]

"#,
            r#"text=Hello usage=3/0/2/0 goes_on={"response":"resp_1","calls":[]} stop"#,
        ),
        (
            r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"gen-1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"gen-1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_tmp_1","summary":[]}}

data: {"type":"response.reasoning_text.delta","sequence_number":3,"item_id":"rs_tmp_1","output_index":0,"content_index":0,"delta":"hm"}

data: {"type":"response.reasoning_text.done","sequence_number":4,"item_id":"rs_tmp_1","output_index":0,"content_index":0,"text":"hm"}

data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"type":"reasoning","id":"rs_tmp_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"signature":"s","format":"anthropic-claude-v1"}}

data: {"type":"response.output_item.added","sequence_number":6,"output_index":1,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}

data: {"type":"response.content_part.added","sequence_number":7,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

data: {"type":"response.output_text.delta","sequence_number":8,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"Hello","logprobs":[]}

data: {"type":"response.output_text.annotation.added","sequence_number":9,"item_id":"msg_1","output_index":1,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}}

data: {"type":"response.output_text.done","sequence_number":10,"item_id":"msg_1","output_index":1,"content_index":0,"text":"Hello","logprobs":[]}

data: {"type":"response.content_part.done","sequence_number":11,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}],"logprobs":[]}}

data: {"type":"response.output_item.done","sequence_number":12,"output_index":1,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}],"logprobs":[]}]}}

data: {"type":"response.completed","sequence_number":13,"response":{"id":"gen-1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_tmp_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"signature":"s","format":"anthropic-claude-v1"},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://a.example","title":"A","start_index":0,"end_index":5}],"logprobs":[]}]}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":5,"cost":0.1,"is_byok":false}}}

data: [DONE]

"#,
            r#"reasoning=hm reasoned=rs_tmp_1//hm text=Hello cites=https://a.example(A)@0..5 usage=3/0/2/1 goes_on={"response":"gen-1","calls":[]} stop"#,
        ),
        // The precise error stands beside the one that this API has a code for.
        (
            r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"gen-1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"He"}

data: {"type":"response.failed","sequence_number":2,"response":{"id":"gen-1","object":"response","status":"failed","error":{"code":"server_error","message":"Provider returned error"},"incomplete_details":null,"output":[],"usage":null,"error_type":"rate_limit_exceeded"}}

data: [DONE]

"#,
            "text=He error=RATE_LIMITED",
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"code":"invalid_prompt","message":"Missing required parameter: 'model'."},"metadata":null}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"code":"invalid_prompt","message":"Request too large"},"error_type":"context_length_exceeded","metadata":null}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            429,
            r#"{"error":{"code":"rate_limit_exceeded","message":"Rate limit exceeded. Please try again later."},"metadata":null}"#,
            Reason::RateLimited,
        ),
    ],
};
