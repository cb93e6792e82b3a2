//! The objects as OpenAI's API had them, as far as they are carried over. Fields that its versions did not
//! always have may be missing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub(super) type Labels = Option<BTreeMap<String, String>>;

#[derive(Debug, Deserialize)]
pub(super) struct Assistant {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) instructions: Option<String>,
    pub(super) model: String,
    #[serde(default)]
    pub(super) tools: Vec<Tool>,
    pub(super) tool_resources: Option<Value>,
    /// Of the API's first version.
    #[serde(default)]
    pub(super) file_ids: Vec<String>,
    pub(super) metadata: Labels,
    #[serde(flatten)]
    pub(super) settings: Settings,
}

/// A tool that a model was offered. What it holds is only shown.
#[derive(Debug, Deserialize)]
pub(super) struct Tool {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

/// How a model was asked.
#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    pub(super) temperature: Option<Value>,
    pub(super) top_p: Option<Value>,
    pub(super) response_format: Option<Value>,
    pub(super) reasoning_effort: Option<Value>,
    pub(super) max_prompt_tokens: Option<Value>,
    pub(super) max_completion_tokens: Option<Value>,
    pub(super) truncation_strategy: Option<Value>,
    pub(super) tool_choice: Option<Value>,
    pub(super) parallel_tool_calls: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Thread {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) metadata: Labels,
    pub(super) tool_resources: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) thread_id: String,
    pub(super) role: Role,
    pub(super) content: Content,
    /// Missing in the API's first version, as if completed.
    pub(super) status: Option<String>,
    pub(super) incomplete_details: Option<Details>,
    pub(super) assistant_id: Option<String>,
    pub(super) run_id: Option<String>,
    pub(super) attachments: Option<Vec<Attachment>>,
    /// Of the API's first version.
    #[serde(default)]
    pub(super) file_ids: Vec<String>,
    pub(super) metadata: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    User,
    Assistant,
}

/// A text alone is what one gives to create a message.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Value>),
}

/// One part of a message. Which field is there depends on the type.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<Text>,
    pub(super) refusal: Option<String>,
    pub(super) image_url: Option<ImageUrl>,
    pub(super) image_file: Option<ImageFile>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Text {
    pub(super) value: String,
    #[serde(default)]
    pub(super) annotations: Vec<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
    pub(super) detail: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageFile {
    pub(super) file_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Details {
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    pub(super) file_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) thread_id: String,
    pub(super) assistant_id: Option<String>,
    pub(super) status: String,
    pub(super) last_error: Option<LastError>,
    pub(super) started_at: Option<u64>,
    pub(super) expires_at: Option<u64>,
    pub(super) cancelled_at: Option<u64>,
    pub(super) failed_at: Option<u64>,
    pub(super) completed_at: Option<u64>,
    pub(super) incomplete_details: Option<Details>,
    #[serde(default)]
    pub(super) model: String,
    pub(super) instructions: Option<String>,
    #[serde(default)]
    pub(super) tools: Vec<Tool>,
    pub(super) usage: Option<Usage>,
    pub(super) metadata: Labels,
    #[serde(flatten)]
    pub(super) settings: Settings,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct LastError {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) prompt_token_details: Option<CachedTokens>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CachedTokens {
    pub(super) cached_tokens: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) run_id: String,
    pub(super) status: String,
    pub(super) step_details: StepDetails,
    pub(super) last_error: Option<LastError>,
    pub(super) expired_at: Option<u64>,
    pub(super) cancelled_at: Option<u64>,
    pub(super) failed_at: Option<u64>,
    pub(super) completed_at: Option<u64>,
    pub(super) usage: Option<Usage>,
    pub(super) metadata: Labels,
}

/// What a step did. Which field is there depends on the type.
#[derive(Debug, Deserialize)]
pub(super) struct StepDetails {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) message_creation: Option<MessageCreation>,
    pub(super) tool_calls: Option<Vec<Call>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageCreation {
    pub(super) message_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) function: Option<Function>,
    pub(super) code_interpreter: Option<CodeInterpreter>,
    pub(super) file_search: Option<Value>,
    /// Its name in the API's first version.
    pub(super) retrieval: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: String,
    pub(super) output: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CodeInterpreter {
    #[serde(default)]
    pub(super) input: String,
    #[serde(default)]
    pub(super) outputs: Vec<CodeOutput>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CodeOutput {
    pub(super) logs: Option<String>,
    pub(super) image: Option<ImageFile>,
}
