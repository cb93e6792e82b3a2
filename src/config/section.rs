//! The configuration as plain data, a section for each part of the service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::secret::Secret;
use super::settings::Source;

/// The front door.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiSection {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Origins that browsers may come from.
    pub cors_origins: Origins,
    /// The largest request body.
    pub body_limit_bytes: usize,
    /// Requests in flight at once; a stream counts until it ends.
    pub max_concurrent_requests: usize,
    /// The longest that any request may take, streams too.
    pub request_timeout: Duration,
    /// How long a watcher may leave events unread.
    pub slow_watcher_limit: Duration,
    /// How long running runs may go on after a signal to stop.
    pub drain_grace: Duration,
    /// The header in which a proxy says who asks.
    pub caller_header: Option<String>,
    /// Whether the figures of the service are served.
    pub metrics: bool,
    /// How many callers have figures of their own.
    pub metrics_callers: u32,
}

/// Origins that browsers may come from; with credentials only where they are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// These alone; perhaps none.
    These(Vec<String>),
}

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSection {
    /// In a directory, which may not exist yet.
    Directory(PathBuf),
    /// In an SQLite file, which may not exist yet.
    File(PathBuf),
    /// In a PostgreSQL database of this URL.
    Postgres(Secret),
    /// In memory, until the process ends.
    Memory,
}

/// The model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSection {
    /// The model's name, as the provider knows it.
    pub name: String,
    /// Where it is, and who asks.
    pub endpoint: ModelEndpoint,
    /// The API that it speaks; `None` lets the base URL decide.
    pub dialect: Option<Dialect>,
    /// Where the state of a conversation is kept.
    pub state: ModelState,
    /// How it is given its reasoning back, in the Chat Completions dialect.
    pub reasoning_back: ReasoningBack,
    /// How long to wait for it.
    pub timeouts: ModelTimeouts,
    /// What is done about failures and about too much at once.
    pub resilience: ModelResilience,
    /// The names of the models that answer instead when it cannot.
    pub fallbacks: Vec<String>,
    /// Tokens that a conversation and its answer may have together, if that is known.
    pub context_tokens: Option<u64>,
    /// Tokens that it can write in one answer, if that is known.
    pub max_output_tokens: Option<u64>,
    /// What the model costs that answers when nobody names one, unless its own table says.
    pub prices: Option<ModelPrices>,
    /// Whether requests have idempotency keys; `None` lets the base URL decide.
    pub idempotency_keys: Option<bool>,
    /// The models with names of their own.
    pub listed: Vec<NamedModel>,
    /// Whether a name that no model has is refused, instead of being the provider's to know.
    pub only_listed: bool,
    /// Never use the built-in simulator in place of a missing model.
    pub no_simulator: bool,
}

/// A model with a name of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedModel {
    /// What requests say.
    pub name: String,
    /// What the provider calls it.
    pub provider_model: String,
    /// Further names that requests can say.
    pub aliases: Vec<String>,
    /// The models that answer instead when it cannot, by name or alias.
    pub fallbacks: Vec<String>,
    /// Where it is, and who asks.
    pub endpoint: ModelEndpoint,
    /// The API that it speaks; `None` lets the base URL decide.
    pub dialect: Option<Dialect>,
    /// Where the state of a conversation is kept.
    pub state: ModelState,
    /// How it is given its reasoning back, in the Chat Completions dialect.
    pub reasoning_back: ReasoningBack,
    /// How long to wait for it.
    pub timeouts: ModelTimeouts,
    /// What is done about failures and about too much at once.
    pub resilience: ModelResilience,
    /// Tokens that a conversation and its answer may have together, if that is known.
    pub context_tokens: Option<u64>,
    /// Tokens that it can write in one answer, if that is known.
    pub max_output_tokens: Option<u64>,
    /// What it costs.
    pub prices: Option<ModelPrices>,
    /// Whether requests have idempotency keys; `None` lets the base URL decide.
    pub idempotency_keys: Option<bool>,
}

impl NamedModel {
    /// Whether that is its name or one of its aliases.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// What is done about a provider that fails, and about too much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelResilience {
    /// How often a request is sent again before its answer begins.
    pub max_retries: u32,
    /// The share of all requests that may be sent again.
    pub retry_percent: u32,
    /// Failures one after the other that open the breaker; 0 for no breaker.
    pub breaker_failures: u32,
    /// The share of failures that opens it.
    pub breaker_failure_percent: u32,
    /// How far back that share is counted.
    pub breaker_window: Duration,
    /// How long it stays open.
    pub breaker_cooldown: Duration,
    /// Requests at the same time; `None` for any number.
    pub max_concurrency: Option<u32>,
    /// Requests that wait for one of those to end.
    pub max_waiting: u32,
    /// How long nothing comes of a request before a second one goes beside it; none for never.
    pub hedge_after: Option<Duration>,
}

/// Where the model is, and who asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelEndpoint {
    /// Without a slash at its end; `None` is the provider's own.
    pub base_url: Option<String>,
    /// The credential.
    pub api_key: Option<Secret>,
    /// A file with the credential, read again when it changes.
    pub api_key_file: Option<PathBuf>,
    /// The header that the credential goes into; `None` for a bearer token.
    pub api_key_header: Option<String>,
    /// The organization that pays.
    pub organization: Option<String>,
    /// The project that it is booked on.
    pub project: Option<String>,
    /// Headers for every request, beside our own.
    pub headers: Vec<(String, Secret)>,
}

impl ModelEndpoint {
    /// Whether there is a provider: somebody has said where it is, or who asks it.
    pub fn is_given(&self) -> bool {
        self.base_url.is_some() || self.api_key.is_some() || self.api_key_file.is_some()
    }
}

/// How long to wait for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelTimeouts {
    /// For a connection.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// Between two events of a stream that say something.
    pub event: Duration,
}

/// What a model costs, in millionths of the currency's unit for a million tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPrices {
    /// The currency's code.
    pub currency: String,
    /// Of tokens read.
    pub input: u64,
    /// Of tokens read that the provider had cached.
    pub cached_input: u64,
    /// Of tokens written.
    pub output: u64,
    /// Of tokens written that were reasoning; none for the price of the others.
    pub reasoning: Option<u64>,
}

/// An API that models speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's Responses API.
    Responses,
    /// OpenAI's Chat Completions API, which nearly everybody else speaks.
    ChatCompletions,
    /// OpenAI's Assistants API, for servers that still have it.
    Assistants,
}

/// Where the state of a conversation is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// In the store alone.
    Stateless,
    /// At the provider too, in responses that follow each other.
    PreviousResponse,
    /// At the provider too, in a conversation.
    Conversation,
}

/// How a model is given back, with the calls that came of it, what it was thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReasoningBack {
    /// Under the name under which it came, to the model that it came from.
    #[default]
    AsGiven,
    /// Not at all.
    Never,
    /// As `reasoning_content`, whoever thought it.
    ReasoningContent,
    /// As `reasoning`, whoever thought it.
    Reasoning,
}

/// The tools.
#[derive(Clone, Debug)]
pub struct McpSection {
    /// Where the list of servers comes from.
    pub source: McpSource,
    /// What `${NAME}` in it stands for.
    pub environment: Environment,
    /// Whether somebody is asked before a tool that may destroy something.
    pub ask_before_destruction: bool,
    /// Whose tools are pinned where the list does not say it of a server.
    pub pin_tools: PinnedTools,
    /// Whether the assistants are served as MCP tools.
    pub serve: bool,
    /// Where the tokens of logins at servers are kept; none for in memory.
    pub token_file: Option<PathBuf>,
    /// What they are sealed with.
    pub token_key: TokenKey,
}

/// The key that tokens in a file are sealed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TokenKey {
    /// One that is made when it is first needed, in a file beside theirs.
    #[default]
    Beside,
    /// This text.
    Text(Secret),
    /// What is in this file.
    File(PathBuf),
}

/// Whose tools are held back when they change after they were approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinnedTools {
    /// Nobody's.
    None,
    /// Those of servers at an address: what is there, somebody else says.
    Remote,
    /// Everybody's.
    All,
}

/// Where the list of MCP servers comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpSource {
    /// There is none: the binary's own server.
    Builtin,
    /// A file.
    File {
        /// Its path, for messages.
        path: PathBuf,
        /// What it says.
        text: String,
    },
}

/// What a run is given, and its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSection {
    /// The system instructions of the default assistant; empty for none.
    pub instructions: String,
    /// How the model answers unless somebody says otherwise, as JSON, and who said it.
    pub options: Option<(String, Source)>,
    /// The bounds that end a run with what there is.
    pub limits: RunLimits,
    /// What becomes of a conversation that is too long.
    pub truncation: TruncationSection,
    /// The model that sums up; none for the run's own.
    pub summary_model: Option<String>,
    /// The longest that a run may take before it expires.
    pub execution_limit: Duration,
    /// The longest that a run may wait for people before it expires.
    pub waiting_limit: Duration,
    /// How long a process that says nothing still counts as alive.
    pub lease: Duration,
    /// How long the events of a run are kept after its end.
    pub event_retention: Duration,
    /// The longest that one tool call may take.
    pub call_timeout: Duration,
    /// Tool calls of one turn that go on at the same time.
    pub parallel_calls: u32,
    /// Bytes of text of one tool's output that the model is given.
    pub tool_output_limit_bytes: usize,
}

/// The bounds that end a run with what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Model requests with tools on offer.
    pub max_turns: u32,
    /// Tool calls, over all turns.
    pub max_tool_calls: u32,
    /// Tokens written, over all turns.
    pub max_output_tokens: Option<u64>,
    /// Tokens read and written, over all turns.
    pub max_total_tokens: Option<u64>,
    /// Wall time.
    pub max_duration: Option<Duration>,
    /// Money, in millionths of the unit of the currency of the prices.
    pub max_cost: Option<u64>,
}

/// What becomes of a conversation that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncationSection {
    /// What happens to the oldest part.
    pub strategy: TruncationStrategy,
    /// Turns that a model is given at most.
    pub last_turns: Option<u32>,
    /// Tokens that a model is given at most.
    pub max_tokens: Option<u64>,
}

/// What happens to the oldest part of a conversation that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncationStrategy {
    /// Nothing is left out: the run fails.
    Disabled,
    /// It is left out.
    Auto,
    /// It is summed up, and left out.
    Summarize,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSection {
    /// A level, or directives for targets.
    pub filter: String,
    /// How events are written.
    pub format: LogFormat,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A line of JSON.
    Json,
}
