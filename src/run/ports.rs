//! What the heart needs from outside. Adapters implement these; `app.rs` alone chooses which.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::{Map, Value};

use super::catalogue::{Catalogue, Tool};
use super::error::Error;
use super::id::{RunId, ThreadId};
use super::message::{Annotation, Continuation, Message, Reasoning, ToolOutput, Usage};
use super::model::{Attempt, Condition, ModelCard};
use super::options::ModelOptions;

mod caller;
mod library;
mod observer;
mod ownership;
mod pins;
mod restore;
mod store;

pub use caller::Caller;
pub use library::Library;
pub use observer::{Call, CallOutcome, Happening, Observer, Purpose, Turn};
pub use ownership::{Letter, News, Ownership, Topic};
pub use pins::{Pinned, Pins};
pub use restore::{Restore, Restored, WholeRun, WholeThread};
pub use store::{
    Append, History, NewThread, Opened, Opening, Pending, RequestKey, Save, Start, Started, Store,
    ThreadChange,
};

/// A language model.
#[async_trait]
pub trait Model: Send + Sync {
    /// Asks for one turn.
    ///
    /// Nothing MUST be sent again once an event other than [`ModelEvent::Sent`] and [`ModelEvent::Attempt`] has been given
    /// out, or after [`ModelRequest::deadline`]. Dropping the future or the stream MUST abort the request. The stream MUST end with [`ModelEvent::Finished`] or an error; one
    /// that just ends is treated as an error. [`ModelEvent::ToolCallStarted`] MUST come before the arguments
    /// of its index, and once per index. Unknown things in the provider's answer MUST be skipped, not failed,
    /// and their number be [told](ModelEvent::Unknown).
    ///
    /// # Errors
    /// `MODEL_*`, `RATE_LIMITED`, `QUOTA_EXCEEDED`, `CONTEXT_LENGTH_EXCEEDED`; the message MUST NOT hold the
    /// provider's text.
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream, Error>;

    /// What it is and how it is, from memory: MUST NOT wait.
    fn status(&self) -> ModelStatus;

    /// The models that requests can name, the default first, from memory: MUST NOT wait.
    fn models(&self) -> Vec<Arc<ModelCard>> {
        Vec::new()
    }

    /// The model that a request of this name goes to, by its name or an alias; the default for the empty name.
    /// None where no model has that name, also when the default's provider is asked for it all the same.
    fn card(&self, name: &str) -> Option<Arc<ModelCard>> {
        self.models().into_iter().find(|card| match name {
            "" => card.is_default,
            name => card.name == name || card.aliases.iter().any(|alias| alias == name),
        })
    }

    /// The models that answer instead of the one of this name when it cannot, the first choice first, from memory:
    /// MUST NOT wait.
    fn fallbacks(&self, _name: &str) -> Vec<Arc<ModelCard>> {
        Vec::new()
    }

    /// How the model of this name has been lately, from memory: MUST NOT wait.
    fn condition(&self, _name: &str) -> Condition {
        Condition::default()
    }

    /// Whether the model of this name, or one that answers instead, goes on with a conversation at its provider that
    /// every request changes, so that it has to know what [was asked before](ModelRequest::unasked); from memory: MUST
    /// NOT wait.
    fn holds_conversations(&self, _name: &str) -> bool {
        false
    }

    /// Why no request can name this model, for people; none when it can.
    fn refusal(&self, _name: &str) -> Option<String> {
        None
    }
}

/// What counts tokens. No model's own count: an estimate that is near enough to most.
pub trait Tokenizer: fmt::Debug + Send + Sync {
    /// How many tokens a text has: never more than it has bytes. MUST NOT wait, and MUST take no more than a time in
    /// proportion to the text, whatever that is.
    fn count(&self, text: &str) -> u64;
}

/// The events of one turn.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, Error>>;

/// What a model is asked.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The run that asks, for tracing.
    pub run: RunId,
    /// The thread that the messages are of; none for a question beside it.
    pub thread: Option<ThreadId>,
    /// For whom it asks, as a proxy in front of the service says; empty when nobody said. One who asks much must not
    /// keep others waiting.
    pub caller: String,
    /// The model, as the request or the assistant names it.
    pub model: String,
    /// The system instructions; empty for none.
    pub instructions: String,
    /// The conversation, oldest first. Every call in it is answered.
    pub messages: Vec<Arc<Message>>,
    /// How many of the messages, the newest, have certainly been in no request before this one, of whatever run. One
    /// that failed, or that a process made which is gone, counts as a request.
    pub unasked: usize,
    /// The tools on offer; none when the answer must come without.
    pub tools: Option<Arc<Catalogue>>,
    /// Tokens that it may write.
    pub max_output_tokens: Option<u64>,
    /// Tokens of the conversation with all around it, rather too many than too few; none where nobody had to know.
    pub estimated_tokens: Option<u64>,
    /// When the run ends if nothing else ends it: nothing is sent again, or waits for its turn, beyond it.
    pub deadline: Option<SystemTime>,
    /// How it is to answer.
    pub options: Arc<ModelOptions>,
}

/// What a model says, piece by piece.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// A request is sent. What is told here is what is to be told of it if it is given up; what becomes of it otherwise comes
    /// as an [`Attempt`](Self::Attempt), of the requests that go on at once in the order in which they were sent.
    Sent(Attempt),
    /// A request has failed or was not sent, or its answer begins.
    Attempt(Attempt),
    /// More text of the answer.
    TextDelta(String),
    /// More text of a refusal.
    RefusalDelta(String),
    /// More of its reasoning, as far as the provider shows it.
    ReasoningDelta(String),
    /// A piece of its reasoning is over. What was shown of it, in the deltas since the last such piece, is its
    /// summary; where there were none, the summary is given here.
    Reasoning(Reasoning),
    /// Something that its text refers to. Places are counted in all the text of the turn.
    Annotation(Annotation),
    /// How the provider can go on behind this turn.
    Continuation(Continuation),
    /// It begins to ask for a call; `index` tells apart the calls of one turn.
    ToolCallStarted {
        /// Which call.
        index: usize,
        /// The tool's name.
        tool: String,
    },
    /// More of the arguments of a call.
    ToolCallArgumentsDelta {
        /// Which call.
        index: usize,
        /// JSON text to append.
        json: String,
    },
    /// So many more events of the provider were skipped, because nobody here knows what they mean.
    Unknown(u32),
    /// The turn's tokens; of several reports the last counts.
    Usage(Usage),
    /// The turn is over.
    Finished(Finish),
}

impl ModelEvent {
    /// The bytes that the model has written with this.
    pub fn written_bytes(&self) -> usize {
        match self {
            ModelEvent::TextDelta(text)
            | ModelEvent::RefusalDelta(text)
            | ModelEvent::ReasoningDelta(text)
            | ModelEvent::ToolCallArgumentsDelta { json: text, .. } => text.len(),
            ModelEvent::Sent(_)
            | ModelEvent::Attempt(_)
            | ModelEvent::Reasoning(_)
            | ModelEvent::Annotation(_)
            | ModelEvent::Continuation(_)
            | ModelEvent::ToolCallStarted { .. }
            | ModelEvent::Unknown(_)
            | ModelEvent::Usage(_)
            | ModelEvent::Finished(_) => 0,
        }
    }
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It said what it had to say, or wants its calls answered.
    Stop,
    /// It ran out of output tokens.
    Length,
    /// The provider's content filter cut it off.
    ContentFilter,
}

/// What Health says of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model that runs use unless they say otherwise; empty when none is configured.
    pub model: String,
    /// The scheme, host and port of the provider, without path and credentials.
    pub endpoint: String,
    /// How it is spoken to: `responses`, `chat_completions` or `assistants`; empty when none is configured.
    pub dialect: &'static str,
    /// Whether it is the built-in simulator.
    pub simulated: bool,
    /// Why the last request failed, until one succeeds; or that no model is configured.
    pub trouble: Option<String>,
}

/// The tools.
#[async_trait]
pub trait Toolbox: Send + Sync {
    /// Every tool of every connected server now, from memory: MUST NOT wait.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// Calls a tool once. Arguments have been checked against its schema.
    ///
    /// Dropping the future MUST abort the call and tell the server so. A call MUST NOT be repeated, unless it
    /// broke off and the tool [does no harm](Tool::is_repeatable). A failure that the tool itself reports is an
    /// output with `is_error`, not an error. The caller hears each progress report of the tool and what its server
    /// asks, and MUST NOT hear anything after the future is done. A call MUST NOT be silent for longer than its caller's
    /// [patience](Caller::patience).
    ///
    /// # Errors
    /// `MCP_UNAVAILABLE` when the server is not connected; `DEADLINE_EXCEEDED` when it is silent; `MCP_AUTHORIZATION_REQUIRED` when it wants more
    /// authorization, or the caller's own token, which is not there or not good for it; `OUTCOME_UNKNOWN` when it breaks off after the call was sent; `TOOL_NOT_FOUND` when it does not have
    /// the tool any more; `TOOL_QUARANTINED` when it is held back; `TOOL_CHANGED` when it is another one than the tool that
    /// was given; `OVERLOADED` when too many calls wait for it.
    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        caller: Arc<dyn Caller>,
    ) -> Result<ToolOutput, Error>;

    /// Why a tool of this name is not in the catalogue, if it would be a server's that cannot be used now; from memory:
    /// MUST NOT wait.
    fn missing(&self, tool: &str) -> Option<Error> {
        let _ = tool;
        None
    }

    /// Approves tools of a server that are held back, as they are now, and gives them; of none that is not held back.
    /// All of the server's, or those of these names; with `digests`, only those whose
    /// [digest](crate::run::pin::Fingerprint::digest) is among them. Without any, nothing is compared: what is held back by
    /// now is approved, also what nobody has looked at.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for an unknown server; `TOOL_NOT_FOUND` when it has no tool of that name;
    /// `MCP_UNAVAILABLE` when it is not connected; `TOOL_CHANGED` when a tool that is held back has another digest;
    /// `STORE_UNAVAILABLE`.
    async fn accept(
        &self,
        server: &str,
        tools: &[String],
        digests: &[String],
    ) -> Result<Vec<Arc<Tool>>, Error> {
        let _ = (server, tools, digests);
        Ok(Vec::new())
    }

    /// How every configured server is, in the order of the configuration, from memory: MUST NOT wait.
    fn servers(&self) -> Vec<ServerStatus>;

    /// Why the newest configuration is not the one in force, if so; from memory: MUST NOT wait.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// What Health says of one MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// `stdio` or `streamable_http`.
    pub transport: &'static str,
    /// Whether its tools can be called now.
    pub connection: Connection,
    /// How many tools it offers: without those that are left out or held back.
    pub tool_count: usize,
    /// How many calls wait for one of those that it is given at once.
    pub waiting_calls: usize,
    /// When it last failed, if it ever did.
    pub last_error_time: Option<SystemTime>,
}

/// Whether an MCP server can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not yet: the first attempt goes on.
    Connecting,
    /// Yes.
    Ready,
    /// In part: it is connected, and something does not work, for this reason.
    Degraded(String),
    /// In part: tools are held back until an operator has looked at how they have changed.
    Quarantined(String),
    /// No: it wants to be authorized; this says what is to be done.
    Unauthorized(String),
    /// No, for this reason; it is tried again.
    Down(String),
    /// No: the operator has switched it off.
    Disabled,
}

impl Connection {
    /// Whether there is a connection.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Ready | Self::Degraded(_) | Self::Quarantined(_) => true,
            Self::Connecting | Self::Unauthorized(_) | Self::Down(_) | Self::Disabled => false,
        }
    }
}
