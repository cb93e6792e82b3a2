//! What the heart needs from outside. Adapters implement these; `app.rs` alone chooses which.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::{Map, Value};

use super::catalogue::{Catalogue, Tool};
use super::error::Error;
use super::event::Progress;
use super::id::{RunId, ThreadId};
use super::message::{Message, ToolOutput, Usage};
use super::record::RunRecord;

/// A language model.
#[async_trait]
pub trait Model: Send + Sync {
    /// Asks for one turn.
    ///
    /// The request MUST be sent at most once after the first event has been given out. Dropping the future or
    /// the stream MUST abort the request. The stream MUST end with [`ModelEvent::Finished`] or an error; one
    /// that just ends is treated as an error. [`ModelEvent::ToolCallStarted`] MUST come before the arguments
    /// of its index, and once per index. Unknown things in the provider's answer MUST be skipped, not failed.
    ///
    /// # Errors
    /// `MODEL_*`, `RATE_LIMITED`, `QUOTA_EXCEEDED`, `CONTEXT_LENGTH_EXCEEDED`; the message MUST NOT hold the
    /// provider's text.
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream, Error>;

    /// What it is and how it is, from memory: MUST NOT wait.
    fn status(&self) -> ModelStatus;
}

/// The events of one turn.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, Error>>;

/// What a model is asked.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The run that asks, for tracing.
    pub run: RunId,
    /// The model's name, as the provider knows it.
    pub model: String,
    /// The system instructions; empty for none.
    pub instructions: String,
    /// The conversation, oldest first. Every call in it is answered.
    pub messages: Vec<Arc<Message>>,
    /// The tools on offer; none when the answer must come without.
    pub tools: Option<Arc<Catalogue>>,
    /// Tokens that it may write.
    pub max_output_tokens: Option<u64>,
}

/// What a model says, piece by piece.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// More text of the answer.
    TextDelta(String),
    /// More text of a refusal.
    RefusalDelta(String),
    /// More of its reasoning, as far as the provider shows it.
    ReasoningDelta(String),
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
    /// The turn's tokens; of several reports the last counts.
    Usage(Usage),
    /// The turn is over.
    Finished(Finish),
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
    /// How it is spoken to: `responses` or `chat_completions`; empty when none is configured.
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
    /// Dropping the future MUST abort the call and tell the server so. A call MUST NOT be repeated. A failure
    /// that the tool itself reports is an output with `is_error`, not an error. `on_progress` is called for
    /// each progress report of the tool and MUST NOT be called after the future is done.
    ///
    /// # Errors
    /// `MCP_UNAVAILABLE` when the server is not connected or breaks off; `TOOL_NOT_FOUND` when it does not
    /// have the tool any more.
    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        on_progress: OnProgress,
    ) -> Result<ToolOutput, Error>;

    /// How every configured server is, in the order of the configuration, from memory: MUST NOT wait.
    fn servers(&self) -> Vec<ServerStatus>;
}

/// Hears of a tool's progress.
pub type OnProgress = Box<dyn Fn(Progress) + Send + Sync>;

/// What Health says of one MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// `stdio` or `streamable_http`.
    pub transport: &'static str,
    /// Whether its tools can be called now.
    pub connection: Connection,
    /// How many tools it offers.
    pub tool_count: usize,
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
    /// No, for this reason; it is tried again.
    Down(String),
}

/// What outlives the process.
#[async_trait]
pub trait Store: Send + Sync {
    /// Opens a run on a thread: adds the caller's message and the run, in one durable step.
    ///
    /// MUST create the thread if the opening says so, MUST hold off a second active run on the thread, also one
    /// of another process, and MUST give back the first run again for a request id seen in the last 24 hours.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`; `THREAD_BUSY` with metadata `run`; `REQUEST_ID_REUSED` when the id came with another
    /// digest; `STORE_UNAVAILABLE`.
    async fn open_run(&self, opening: Opening) -> Result<Opened, Error>;

    /// Writes the run as it is now and appends messages to its thread, in one durable step.
    ///
    /// A run whose state is terminal frees its thread. MUST be idempotent: the same messages written again
    /// change nothing, so that the caller may try again after an error.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    async fn save(&self, record: &RunRecord, messages: &[Arc<Message>]) -> Result<(), Error>;

    /// A run by its name.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`; `STORE_UNAVAILABLE`.
    async fn run(&self, run: &RunId) -> Result<RunRecord, Error>;

    /// The messages that a run wrote and the one that it answers, oldest first.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error>;

    /// Every message of a thread, oldest first.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`; `STORE_UNAVAILABLE`.
    async fn messages(&self, thread: &ThreadId) -> Result<Vec<Arc<Message>>, Error>;

    /// The runs that are not over. At start-up: those whose process died.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    async fn active_runs(&self) -> Result<Vec<RunRecord>, Error>;

    /// Whether it can be read and written now.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, with what is wrong.
    async fn check(&self) -> Result<(), Error>;

    /// Which kind of store it is: `sqlite`.
    fn kind(&self) -> &'static str;
}

/// A run about to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The run, with its thread's name.
    pub record: RunRecord,
    /// Whether the thread is to be created; otherwise it must be there.
    pub creates_thread: bool,
    /// The caller's message.
    pub message: Arc<Message>,
    /// The caller's request id, if it gave one.
    pub request: Option<RequestKey>,
}

/// A caller's name for a request, with what tells two requests apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// A UUID that the caller chose.
    pub id: String,
    /// A digest of the request without its id.
    pub digest: [u8; 32],
}

/// What came of opening a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// It is open. The thread's messages before the caller's, oldest first.
    Started(Vec<Arc<Message>>),
    /// The request id has been seen: this is the run that it started.
    Replayed(Box<RunRecord>),
}
