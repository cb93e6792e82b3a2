//! What the Chat Completions API sends, as serde shapes.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use crate::simulator::ask::Ask;
use crate::simulator::turn::{Speech, Tokens};

/// A whole answer.
#[derive(Serialize)]
pub(super) struct Completion<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: [Choice<'a>; 1],
    pub usage: Usage,
    pub service_tier: &'static str,
}

#[derive(Serialize)]
pub(super) struct Choice<'a> {
    pub index: usize,
    pub message: Message<'a>,
    pub logprobs: Option<()>,
    pub finish_reason: &'static str,
}

/// The model's message. `reasoning_content` is not OpenAI's but what compatible servers send.
#[derive(Serialize, Default)]
pub(super) struct Message<'a> {
    pub role: &'static str,
    pub content: Option<String>,
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
pub(super) struct ToolCall<'a> {
    id: String,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
}

impl<'a> ToolCall<'a> {
    pub fn new(id: String, name: &'a str, arguments: Cow<'a, str>) -> Self {
        ToolCall {
            id,
            r#type: "function",
            function: Function { name, arguments },
        }
    }
}

/// Annotations as this API has them: what the Responses API says flatly stands one level deeper.
pub(super) fn annotations(flat: &[Value]) -> Vec<Value> {
    let nested = |annotation: &Value| {
        let mut fields = annotation.clone();
        let kind = fields
            .as_object_mut()
            .and_then(|fields| fields.shift_remove("type"));
        let kind = kind.unwrap_or_default();
        let name = kind.as_str().unwrap_or_default();
        json!({"type": name, name: fields})
    };
    flat.iter().map(nested).collect()
}

/// One event of a stream.
#[derive(Serialize)]
pub(super) struct Chunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: &'a [ChunkChoice<'a>],
    pub service_tier: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
pub(super) struct ChunkChoice<'a> {
    pub index: usize,
    pub delta: Delta<'a>,
    pub finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
pub(super) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[ToolCallDelta<'a>; 1]>,
}

impl<'a> Delta<'a> {
    pub fn call(call: ToolCallDelta<'a>) -> Self {
        Delta {
            tool_calls: Some([call]),
            ..Delta::default()
        }
    }
}

#[derive(Serialize)]
pub(super) struct ToolCallDelta<'a> {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub function: FunctionDelta<'a>,
}

#[derive(Serialize)]
pub(super) struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}

/// Token counts: a token is taken for four bytes.
#[derive(Serialize)]
pub(super) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: usize,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: usize,
}

impl Usage {
    pub fn of(ask: &Ask, speech: &Speech) -> Self {
        let tokens = Tokens::of(ask, speech);
        Usage {
            prompt_tokens: tokens.input,
            completion_tokens: tokens.output,
            total_tokens: tokens.input + tokens.output,
            prompt_tokens_details: PromptDetails { cached_tokens: 0 },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: tokens.reasoning,
            },
        }
    }
}
