//! Chat Completions, of the servers that people have.

use super::Server;
use crate::model::Dialect;
use crate::run::error::Reason;

pub(super) const SERVERS: [Server; 10] = [
    OPENAI, AZURE, VLLM, LLAMA_CPP, OLLAMA, LITELLM, OPENROUTER, DEEPSEEK, GROQ, MISTRAL,
];

/// OpenAI itself. Every chunk has a service tier and padding, the tokens come behind the reason to stop in a chunk of their
/// own, and a refusal is a text of its own.
/// Source: <https://platform.openai.com/docs/api-reference/chat-streaming>,
/// <https://platform.openai.com/docs/guides/error-codes>.
const OPENAI: Server = Server {
    name: "OpenAI",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"kq8X"}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"w2"}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example","title":"A","start_index":0,"end_index":5}}]},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

data: [DONE]

"#,
            "text=Hello cites=https://a.example(A)@0..5 usage=3/1/2/1 stop",
        ),
        (
            r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}],"refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: [DONE]

"#,
            "call0=f args0={\"a\":1} call1=g args1={} stop",
        ),
        (
            r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,"refusal":""},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"refusal":"No"},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"refusal":"."},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: [DONE]

"#,
            "refusal=No. stop",
        ),
        // The limit has cut a call before its name came: it is the limit that is told.
        (
            r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"arguments":""}}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}

data: [DONE]

"#,
            "length",
        ),
        (
            r#"data: {"choices":[{"index":0,"delta":{"content":"He"}}]}

data: {"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}

"#,
            "text=He error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-***. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Reason::QuotaExceeded,
        ),
        (
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            503,
            r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"server_error","param":null,"code":null}}"#,
            Reason::ModelUnavailable,
        ),
    ],
};

/// Azure OpenAI. The chunk in front has no choice, only what its filter made of the prompt; with its asynchronous
/// filter, chunks come that have no delta.
/// Source: <https://learn.microsoft.com/azure/foundry/openai/concepts/content-streaming>,
/// <https://learn.microsoft.com/azure/foundry/openai/concepts/content-filter>.
const AZURE: Server = Server {
    name: "Azure OpenAI",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":",
                "[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\n",
                "data: {\"choices\":[{\"content_filter_results\":{},\"delta\":{\"content\":\"\",\"refusal\":null,\"role\":\"assistant\"},",
                "\"finish_reason\":null,\"index\":0,\"logprobs\":null}],\"created\":1,\"id\":\"chatcmpl-1\",\"model\":\"gpt-4o\",",
                "\"object\":\"chat.completion.chunk\",\"system_fingerprint\":\"fp\"}\n\n",
                "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null,\"index\":0}],\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,",
                "\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}},",
                "\"content_filter_offsets\":{\"check_offset\":44,\"start_offset\":44,\"end_offset\":198}}],\"usage\":null}\n\n",
                "data: {\"choices\":[{\"content_filter_results\":{},\"delta\":{},\"finish_reason\":\"stop\",\"index\":0}],\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"choices\":[],\"object\":\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":2,\"prompt_tokens\":3,\"total_tokens\":5}}\n\n",
                "data: [DONE]\n\n",
            ),
            "text=Hello usage=3/0/2/0 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"delta\":{\"content\":null,\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"\",\"name\":\"f\"},",
                "\"id\":\"call_1\",\"index\":0,\"type\":\"function\"}]},\"finish_reason\":null,\"index\":0}],\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"},\"index\":0}]},\"finish_reason\":null,\"index\":0}]}\n\n",
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\",\"index\":0}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"delta\":{\"content\":\"I\"},\"finish_reason\":null,\"index\":0}]}\n\n",
                "data: {\"choices\":[{\"content_filter_results\":{\"violence\":{\"filtered\":true,\"severity\":\"high\"}},\"delta\":{},",
                "\"finish_reason\":\"content_filter\",\"index\":0}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "text=I content_filter",
        ),
    ],
    refusals: &[
        (
            401,
            r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            429,
            r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds."}}"#,
            Reason::RateLimited,
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Reason::ContextLengthExceeded,
        ),
    ],
};

/// vLLM. Its reasoning was `reasoning_content` before late 2025 and is `reasoning` since; an error within a stream is
/// an error object in an event. A request that is called off ends with the reason `abort`.
/// Source: vllm-project/vllm, `vllm/entrypoints/openai/engine/protocol.py` (`ErrorInfo`, `DeltaMessage`),
/// `vllm/entrypoints/openai/chat_completion/serving.py` (`create_streaming_error_response`).
const VLLM: Server = Server {
    name: "vLLM",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,",
                "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"prompt_token_ids\":null}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\"},\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null}]}\n\n",
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":5,\"completion_tokens\":2}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=reasoning// text=Hello usage=3/0/2/0 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":\"chatcmpl-tool-1\",\"type\":\"function\",\"index\":0,",
                "\"function\":{\"name\":\"f\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"tool_calls\",\"stop_reason\":null}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"}}]}\n\n",
                "data: {\"error\":{\"message\":\"EngineCore encountered an issue.\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}\n\n",
                "data: [DONE]\n\n",
            ),
            "text=He error=MODEL_UNAVAILABLE",
        ),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"},\"finish_reason\":\"abort\"}]}\n\ndata: [DONE]\n\n",
            "text=He error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. Please reduce the length of the input messages.","type":"BadRequestError","param":"input_tokens","code":400}}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            404,
            r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            401,
            r#"{"error":"Unauthorized"}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            400,
            r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","param":null,"code":400}}"#,
            Reason::ModelRequestRejected,
        ),
    ],
};

/// llama.cpp. Builds before late 2025 write an error within a stream as a field of its own, `error: {…}`, which is no
/// field of server-sent events; later ones as data.
/// Source: ggml-org/llama.cpp, `tools/server/server.cpp` (`server_sent_event`), `tools/server/utils.hpp`
/// (`format_error_response`), `tools/server/README.md`.
const LLAMA_CPP: Server = Server {
    name: "llama.cpp",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\"created\":1,",
                "\"id\":\"chatcmpl-1\",\"model\":\"m\",\"system_fingerprint\":\"b6000-abc\",\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}],\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"object\":\"chat.completion.chunk\"}\n\n",
                "data: {\"choices\":[],\"object\":\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":2,\"prompt_tokens\":3,\"total_tokens\":5},",
                "\"timings\":{\"prompt_n\":3,\"predicted_n\":2}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=reasoning_content// text=Hello usage=3/0/2/0 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a1\",\"type\":\"function\",",
                "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
                "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n",
                "data: {\"choices\":[{\"finish_reason\":\"tool_calls\",\"index\":0,\"delta\":{}}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
        (
            "error: {\"code\":400,\"message\":\"the request exceeds the available context size, try increasing it\",\"type\":\"exceed_context_size_error\"}\n\n",
            "error=CONTEXT_LENGTH_EXCEEDED",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"delta\":{\"content\":\"He\"}}]}\n\n",
                "data: {\"error\":{\"code\":500,\"message\":\"Compute error.\",\"type\":\"server_error\"}}\n\n",
            ),
            "text=He error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            503,
            r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
            Reason::ModelUnavailable,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"request (4476 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":4476,"n_ctx":4096}}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            401,
            r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            501,
            r#"{"error":{"code":501,"message":"This server does not support tools","type":"not_supported_error"}}"#,
            Reason::ModelRequestRejected,
        ),
    ],
};

/// Ollama. A call comes whole, in one chunk, before an empty one with the reason to stop.
/// Source: ollama/ollama, `openai/openai.go` (`ToChunk`, `ToToolCalls`, `NewError`), `middleware/openai.go`.
const OLLAMA: Server = Server {
    name: "Ollama",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"id\":\"chatcmpl-768\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"system_fingerprint\":\"fp_ollama\",",
                "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"reasoning\":\"hm\"},\"finish_reason\":null}]}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"stop\"}]}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=reasoning// text=Hello usage=3/0/2/0 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"call_hk81qg8b\",\"index\":0,",
                "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"tool_calls\"}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
    ],
    refusals: &[
        (
            404,
            r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"not_found_error","param":null,"code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"registry.ollama.ai/library/x does not support tools","type":"invalid_request_error","param":null,"code":null}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            503,
            r#"{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}"#,
            Reason::ModelUnavailable,
        ),
    ],
};

/// LiteLLM. What the provider behind it said stands in its own words; codes are texts, and `None` is Python's.
/// Source: BerriAI/litellm, `litellm/proxy/_types.py` (`ProxyException`), `litellm/proxy/common_request_processing.py`,
/// <https://docs.litellm.ai/docs/exception_mapping>.
const LITELLM: Server = Server {
    name: "LiteLLM",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"id\":\"chatcmpl-1\",\"created\":1,\"model\":\"m\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,",
                "\"delta\":{\"reasoning_content\":\"hm\",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\"}],\"content\":\"\",\"role\":\"assistant\"}}]}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}]}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"completion_tokens\":2,\"prompt_tokens\":3,\"total_tokens\":5}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=reasoning_content// text=Hello usage=3/0/2/0 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1\",",
                "\"function\":{\"arguments\":\"\",\"name\":\"f\"},\"type\":\"function\",\"index\":0}]}}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"},\"type\":\"function\",\"index\":0}]}}]}\n\n",
                "data: {\"choices\":[{\"finish_reason\":\"tool_calls\",\"index\":0,\"delta\":{}}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"}}]}\n\n",
                "data: {\"error\":{\"message\":\"litellm.RateLimitError: x\",\"type\":\"throttling_error\",\"param\":null,\"code\":\"429\"}}\n\n",
            ),
            "text=He error=RATE_LIMITED",
        ),
    ],
    refusals: &[
        (
            401,
            r#"{"error":{"message":"Authentication Error, Invalid proxy server token passed.","type":"token_not_found_in_db","param":"key","code":"401"}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            400,
            r#"{"error":{"message":"Budget has been exceeded! Current cost: 1.0, Max budget: 0.5","type":"budget_exceeded","param":null,"code":"400"}}"#,
            Reason::QuotaExceeded,
        ),
        (
            429,
            r#"{"error":{"message":"No deployments available for selected model, Try again in 5 seconds.","type":"None","param":"None","code":"429"}}"#,
            Reason::RateLimited,
        ),
        (
            400,
            r#"{"error":{"message":"litellm.ContextWindowExceededError: litellm.BadRequestError: x","type":null,"param":null,"code":"400"}}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            503,
            r#"{"error":{"message":"litellm.ServiceUnavailableError: x","type":null,"param":null,"code":"503"}}"#,
            Reason::ModelUnavailable,
        ),
    ],
};

/// OpenRouter. Comments keep the connection open; reasoning comes twice, as text and in details that it wants back; an
/// error of the provider behind it is beside the choice that it ends.
/// Source: <https://openrouter.ai/docs/api-reference/streaming>, <https://openrouter.ai/docs/api-reference/errors>,
/// <https://openrouter.ai/docs/use-cases/reasoning-tokens>.
const OPENROUTER: Server = Server {
    name: "OpenRouter",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                ": OPENROUTER PROCESSING\n\n",
                "data: {\"id\":\"gen-1\",\"provider\":\"X\",\"model\":\"m\",\"object\":\"chat.completion.chunk\",\"created\":1,\"choices\":[{\"index\":0,",
                "\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"reasoning\":\"h\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"h\",",
                "\"format\":\"anthropic-claude-v1\",\"index\":0}]},\"finish_reason\":null,\"native_finish_reason\":null,\"logprobs\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\",\"reasoning\":\"m\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"m\",\"index\":0}]}}]}\n\n",
                ": OPENROUTER PROCESSING\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\",\"native_finish_reason\":\"end_turn\"}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":3,",
                "\"completion_tokens\":2,\"total_tokens\":5,\"cost\":0.1,\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n",
                "data: [DONE]\n\n",
            ),
            concat!(
                "reasoning=hm reasoned=reasoning_details/",
                r#"[{"type":"reasoning.text","text":"hm","format":"anthropic-claude-v1","index":0}]"#,
                "/ text=Hello usage=3/0/2/1 stop",
            ),
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"toolu_1\",",
                "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"type\":\"function\",",
                "\"function\":{\"arguments\":\"{}\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"tool_calls\",\"native_finish_reason\":\"tool_use\"}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"}}]}\n\n",
                "data: {\"id\":\"gen-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"provider\":\"X\",\"error\":{\"code\":\"server_error\",",
                "\"message\":\"Provider disconnected unexpectedly\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
            ),
            "text=He error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            402,
            r#"{"error":{"code":402,"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits"},"user_id":"u"}"#,
            Reason::QuotaExceeded,
        ),
        (
            429,
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"x is temporarily rate-limited upstream","provider_name":"X"}}}"#,
            Reason::RateLimited,
        ),
        (
            401,
            r#"{"error":{"message":"No auth credentials found","code":401}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            400,
            r#"{"error":{"message":"This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens.","code":400,"metadata":{"provider_name":null}}}"#,
            Reason::ContextLengthExceeded,
        ),
        (
            502,
            r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"X"}}}"#,
            Reason::ModelUnavailable,
        ),
    ],
};

/// DeepSeek. Comments keep the connection open, and an answer that its machines had no room for ends with a reason of
/// its own.
/// Source: <https://api-docs.deepseek.com/api/create-chat-completion>, <https://api-docs.deepseek.com/quick_start/error_codes>,
/// <https://api-docs.deepseek.com/quick_start/rate_limit>.
const DEEPSEEK: Server = Server {
    name: "DeepSeek",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                ": keep-alive\n\n",
                "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"deepseek-chat\",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,",
                "\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\",\"reasoning_content\":null},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\",\"reasoning_content\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":",
                "{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":1},",
                "\"completion_tokens_details\":{\"reasoning_tokens\":1},\"prompt_cache_hit_tokens\":1,\"prompt_cache_miss_tokens\":2}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=reasoning_content// text=Hello usage=3/1/2/1 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_00_x\",\"type\":\"function\",",
                "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"tool_calls\"}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"},\"finish_reason\":\"insufficient_system_resource\"}]}\n\ndata: [DONE]\n\n",
            "text=He error=MODEL_UNAVAILABLE",
        ),
    ],
    refusals: &[
        (
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
            Reason::QuotaExceeded,
        ),
        (
            401,
            r#"{"error":{"message":"Authentication Fails (no such user)","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            400,
            r#"{"error":{"message":"The reasoning_content in the thinking mode must be passed back to the API.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
            Reason::ModelRequestRejected,
        ),
        (503, "", Reason::ModelUnavailable),
    ],
};

/// Groq. The last chunk has the tokens twice; a call that its model wrote wrongly is a refusal.
/// Source: <https://console.groq.com/docs/api-reference>, <https://console.groq.com/docs/errors>,
/// <https://console.groq.com/docs/reasoning>.
const GROQ: Server = Server {
    name: "Groq",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"system_fingerprint\":\"fp\",",
                "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"x_groq\":{\"id\":\"req_1\"}}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\"},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req_1\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}}\n\n",
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"queue_time\":0.1,\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=reasoning// text=Hello usage=3/0/2/0 stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",",
                "\"arguments\":\"{}\"},\"index\":0}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} stop",
        ),
    ],
    refusals: &[
        (
            429,
            r#"{"error":{"message":"Rate limit reached for model `m` in organization `o` on tokens per minute (TPM)","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Reason::RateLimited,
        ),
        (
            400,
            r#"{"error":{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=f>"}}"#,
            Reason::ModelRequestRejected,
        ),
        (
            400,
            r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Reason::ContextLengthExceeded,
        ),
    ],
};

/// Mistral. Reasoning is a part of the content, which is a list as long as it goes on and a text behind it, and a call comes
/// whole with the reason to stop.
/// Source: <https://docs.mistral.ai/api>, <https://docs.mistral.ai/capabilities/reasoning>.
const MISTRAL: Server = Server {
    name: "Mistral",
    dialect: Dialect::ChatCompletions,
    streams: &[
        (
            concat!(
                "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]}]},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"model_length\"}],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":5,\"completion_tokens\":2}}\n\n",
                "data: [DONE]\n\n",
            ),
            "reasoning=hm reasoned=thinking// text=Hello usage=3/0/2/0 length",
        ),
        (
            r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"h"}],"closed":false}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"m"}]},{"type":"text","text":"Hel"}]},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}

data: [DONE]

"#,
            "reasoning=hm reasoned=thinking// text=Hello stop",
        ),
        (
            concat!(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\",\"tool_calls\":[{\"id\":\"D681PevKs\",\"function\":{\"name\":\"f\",",
                "\"arguments\":\"{}\"},\"index\":0}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":5,\"completion_tokens\":2}}\n\n",
                "data: [DONE]\n\n",
            ),
            "call0=f args0={} usage=3/0/2/0 stop",
        ),
    ],
    refusals: &[
        (
            401,
            r#"{"detail":"Unauthorized"}"#,
            Reason::ModelCredentialsRejected,
        ),
        (
            429,
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#,
            Reason::RateLimited,
        ),
        (
            422,
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","parallel_tools"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error","param":null,"code":null}"#,
            Reason::ModelRequestRejected,
        ),
    ],
};
