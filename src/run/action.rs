//! What a run can wait for, and how it is answered. What is stored is the serialised form of these types: rename
//! with care.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::catalogue::{Annotations, Tool, digest_of, violation};
use super::id::{ActionId, Mint};
use super::message::{ToolCall, ToolOutput};

/// Something that a run waits for: a decision about one call, its output, or what its tool wants to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Its name.
    pub id: ActionId,
    /// The call.
    pub call: ToolCall,
    /// What is asked for.
    pub request: Request,
    /// Binds an answer to what was shown: of server, tool, arguments and schema, in hex.
    pub digest: String,
    /// When the run began to wait for it.
    pub create_time: SystemTime,
    /// When it, and with it the run, expires unless it is answered.
    pub expire_time: SystemTime,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A person is to decide whether the call is made.
    Approval {
        /// The tool's server in the configuration.
        server: String,
        /// What the server says of the tool's effects.
        annotations: Annotations,
    },
    /// The client is to carry out a function of its own.
    ClientTool,
    /// A crash cut the call off: a person is to decide whether it is made again.
    UnknownOutcome {
        /// The tool's server in the configuration.
        server: String,
        /// When the call was sent.
        call_time: SystemTime,
    },
    /// The call goes on, and its server asks a person for something.
    Elicitation(Question),
    /// The call goes on, and its server asks a model: a person is to decide whether it may.
    Sampling(Arc<SamplingPrompt>),
}

/// What the server of a call that goes on wants of a person.
#[derive(Clone, Debug, PartialEq)]
pub enum Asking {
    /// To be told something.
    Question(Question),
    /// To be allowed to ask a model.
    Sampling(Arc<SamplingPrompt>),
}

/// What an MCP server asks a model, as a person is shown it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingPrompt {
    /// The server in the configuration.
    pub server: String,
    /// The model that is asked; empty for the default.
    pub model: String,
    /// What the server tells the model about itself; empty for nothing.
    pub system_prompt: String,
    /// The conversation: who says what, a line each.
    pub prompt: String,
    /// Tokens that the model may write.
    pub max_tokens: u64,
}

/// What an MCP server asks a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The server in the configuration.
    pub server: String,
    /// The question, in the server's words.
    pub message: String,
    /// JSON Schema of what is to be filled in; none when the person is sent to an address instead.
    pub requested_schema: Option<Arc<Value>>,
    /// Where the person is to go; empty for a question with a schema.
    pub url: String,
}

/// What a person does about a server's question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Answers it with this, or goes where it points.
    Accept(Map<String, Value>),
    /// Says no.
    Decline,
    /// Puts it away without choosing; also said where nobody can be asked.
    Cancel,
}

/// The answer to one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Make the call: with these arguments, or with the model's own.
    Approve(Option<Map<String, Value>>),
    /// Do not make it. The reason is for the model; it may be empty.
    Reject(String),
    /// Do not make it: this is its output.
    Output(ToolOutput),
    /// What the server that asks is told.
    Reply(Reply),
}

/// An answer on its way to the run that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The action that it answers.
    pub action: ActionId,
    /// The digest that was shown; empty when it is not to be compared.
    pub digest: String,
    /// The answer.
    pub answer: Answer,
}

/// How an action came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The call was approved as the model wrote it.
    Approved,
    /// The call was approved with other arguments.
    Edited,
    /// The call was rejected.
    Rejected,
    /// The output was given, or the question answered.
    Answered,
    /// Nobody answered in time.
    Expired,
    /// The run ended before an answer came, or who asked waits for it no longer.
    Cancelled,
}

impl Action {
    /// An action about this call of a tool of this server. A tool that is gone has no schema.
    pub fn new(
        request: Request,
        call: &ToolCall,
        server: &str,
        schema: Option<&Value>,
        mint: &mut Mint,
        create_time: SystemTime,
        expire_time: SystemTime,
    ) -> Self {
        Self {
            id: ActionId::new(mint),
            call: call.clone(),
            request,
            digest: digest(server, call, schema),
            create_time,
            expire_time,
        }
    }

    /// Whether the tool takes other arguments than when the action was made. A tool that was gone then had no schema:
    /// nothing was shown that could have changed.
    pub fn schema_is_another(&self, tool: &Tool) -> bool {
        let server = &tool.description().server;
        let of_now = digest(server, &self.call, Some(&tool.description().input_schema));
        self.digest != of_now && self.digest != digest(server, &self.call, None)
    }
}

/// What an action is about, in one number that clients can compare.
fn digest(server: &str, call: &ToolCall, schema: Option<&Value>) -> String {
    let schema = schema.map(Value::to_string).unwrap_or_default();
    let pieces = [
        server,
        call.tool.as_str(),
        call.arguments.as_str(),
        schema.as_str(),
    ];
    digest_of(pieces)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl From<Asking> for Request {
    fn from(asking: Asking) -> Self {
        match asking {
            Asking::Question(question) => Self::Elicitation(question),
            Asking::Sampling(prompt) => Self::Sampling(prompt),
        }
    }
}

impl Request {
    /// What this answer tells the server of a call that goes on; none where no server asks.
    pub fn reply(&self, answer: &Answer) -> Option<Reply> {
        match (self, answer) {
            (Self::Elicitation(_), Answer::Reply(reply)) => Some(reply.clone()),
            (Self::Sampling(_), Answer::Approve(_)) => Some(Reply::Accept(Map::new())),
            (Self::Sampling(_), _) => Some(Reply::Decline),
            _ => None,
        }
    }
}

impl Question {
    /// Whether a person may reply so: what is filled in must fit the schema.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, reply: &Reply) -> Result<(), String> {
        match (reply, &self.requested_schema) {
            (Reply::Accept(content), Some(schema)) => {
                violation(schema, &Value::Object(content.clone())).map_or(Ok(()), Err)
            }
            (Reply::Accept(content), None) if !content.is_empty() => {
                Err("must be empty: nothing is to be filled in".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Submission {
    /// Whether it answers this action, as it was shown.
    pub fn is_about(&self, action: &Action) -> bool {
        self.action == action.id && (self.digest.is_empty() || self.digest == action.digest)
    }
}

impl Answer {
    /// How it ends its action.
    pub fn resolution(&self) -> Resolution {
        match self {
            Answer::Approve(None) => Resolution::Approved,
            Answer::Approve(Some(_)) => Resolution::Edited,
            Answer::Reject(_) => Resolution::Rejected,
            Answer::Output(_) | Answer::Reply(_) => Resolution::Answered,
        }
    }
}
