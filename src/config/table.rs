//! Every key, once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::form;
use super::key::{About, Entry, Fallback, Flag, Key, Scope};
use super::secret::Secret;
use super::section::{
    Dialect, LogFormat, ModelState, Origins, PinnedTools, ReasoningBack, StoreSection, TruncationStrategy,
};

/// The keys, in the order in which they are shown.
pub const KEYS: &[&dyn Entry] = &[
    &LISTEN,
    &DATA_DIR,
    &STORE,
    &MCP_CONFIG,
    &NO_SIMULATOR,
    &SERVER,
    &MCP_ASK_BEFORE_DESTRUCTION,
    &MCP_PIN_TOOLS,
    &MCP_SERVE,
    &MCP_TOKEN_FILE,
    &MCP_TOKEN_KEY,
    &MCP_TOKEN_KEY_FILE,
    &MODEL_API_KEY,
    &MODEL_API_KEY_FILE,
    &MODEL_API_KEY_HEADER,
    &MODEL_BASE_URL,
    &MODEL_NAME,
    &MODEL_ORGANIZATION,
    &MODEL_PROJECT,
    &MODEL_DIALECT,
    &MODEL_STATE,
    &MODEL_REASONING_BACK,
    &MODEL_HEADERS,
    &MODEL_CONNECT_TIMEOUT,
    &MODEL_FIRST_BYTE_TIMEOUT,
    &MODEL_IDLE_TIMEOUT,
    &MODEL_EVENT_TIMEOUT,
    &MODEL_ONLY_LISTED,
    &MODEL_FALLBACKS,
    &MODEL_CONTEXT_TOKENS,
    &MODEL_MAX_OUTPUT_TOKENS,
    &MODEL_INPUT_PRICE,
    &MODEL_CACHED_INPUT_PRICE,
    &MODEL_OUTPUT_PRICE,
    &MODEL_REASONING_PRICE,
    &MODEL_CURRENCY,
    &MODEL_MAX_CONCURRENCY,
    &MODEL_MAX_WAITING,
    &MODEL_HEDGE_AFTER,
    &MODEL_MAX_RETRIES,
    &MODEL_RETRY_PERCENT,
    &MODEL_BREAKER_FAILURES,
    &MODEL_BREAKER_FAILURE_PERCENT,
    &MODEL_BREAKER_WINDOW,
    &MODEL_BREAKER_COOLDOWN,
    &MODEL_IDEMPOTENCY_KEYS,
    &ASSISTANT_INSTRUCTIONS,
    &ASSISTANT_OPTIONS,
    &RUN_MAX_TURNS,
    &RUN_MAX_TOOL_CALLS,
    &RUN_MAX_OUTPUT_TOKENS,
    &RUN_MAX_TOTAL_TOKENS,
    &RUN_MAX_DURATION,
    &RUN_MAX_COST,
    &RUN_TRUNCATION,
    &RUN_SUMMARY_MODEL,
    &RUN_LAST_TURNS,
    &RUN_MAX_CONTEXT_TOKENS,
    &RUN_EXECUTION_LIMIT,
    &RUN_WAITING_LIMIT,
    &RUN_LEASE,
    &RUN_EVENT_RETENTION,
    &RUN_CALL_TIMEOUT,
    &RUN_PARALLEL_CALLS,
    &RUN_TOOL_OUTPUT_LIMIT,
    &API_BODY_LIMIT,
    &API_MAX_CONCURRENT_REQUESTS,
    &API_REQUEST_TIMEOUT,
    &API_SLOW_WATCHER_LIMIT,
    &API_DRAIN_GRACE,
    &API_CORS_ORIGINS,
    &API_METRICS,
    &API_METRICS_CALLERS,
    &API_CALLER_HEADER,
    &LOG_FILTER,
    &LOG_FORMAT,
];

const fn flag(long: &'static str, scope: Scope) -> Option<Flag> {
    Some(Flag {
        long,
        scope,
        is_switch: false,
    })
}

/// Where the service listens.
pub static LISTEN: Key<SocketAddr> = Key {
    about: About {
        name: "listen",
        env: "ASSISTD_LISTEN",
        flag: flag("listen", Scope::Service),
        default: Fallback::Value("127.0.0.1:8000"),
        help: "Where the service listens, for gRPC, gRPC-Web and HTTP/JSON alike. Port 0 takes any free port",
    },
    form: form::ADDRESS,
};

fn platform_data_dir() -> Option<String> {
    super::default_data_dir()
        .ok()
        .map(|path| path.display().to_string())
}

/// Where state is kept.
pub static DATA_DIR: Key<PathBuf> = Key {
    about: About {
        name: "data_dir",
        env: "ASSISTD_DATA_DIR",
        flag: flag("data-dir", Scope::Store),
        default: Fallback::Platform("`assistd` in the platform's data directory", platform_data_dir),
        help: "Where threads, messages and runs are kept, created when missing. `:memory:` keeps them until the process ends",
    },
    form: form::PATH,
};

/// The database.
pub static STORE: Key<StoreSection> = Key {
    about: About {
        name: "store",
        env: "ASSISTD_STORE",
        flag: flag("store", Scope::Store),
        default: Fallback::Unset("an SQLite file in `data_dir`"),
        help: "The database to use instead of a file in `data_dir`. A PostgreSQL password is better kept in the \
               environment, or in the file that `PGPASSFILE` names, than in a flag, where others see it",
    },
    form: form::STORE,
};

/// The list of MCP servers.
pub static MCP_CONFIG: Key<PathBuf> = Key {
    about: About {
        name: "mcp_config",
        env: "ASSISTD_MCP_CONFIG",
        flag: flag("mcp-config", Scope::Logins),
        default: Fallback::Unset("the built-in server with `echo` and `calculate`"),
        help: "A JSON file with the MCP servers to connect, under `mcpServers`",
    },
    form: form::PATH,
};

/// Whether somebody is asked before a tool that may destroy something.
pub static MCP_ASK_BEFORE_DESTRUCTION: Key<bool> = Key {
    about: About {
        name: "mcp.ask_before_destruction",
        env: "ASSISTD_MCP_ASK_BEFORE_DESTRUCTION",
        flag: None,
        default: Fallback::Value("false"),
        help: "Whether a run waits for approval before it calls a tool that may destroy something, unless the MCP \
               configuration has a policy for it",
    },
    form: form::SWITCH,
};

/// Whose tools are held back when they change.
pub static MCP_PIN_TOOLS: Key<PinnedTools> = Key {
    about: About {
        name: "mcp.pin_tools",
        env: "ASSISTD_MCP_PIN_TOOLS",
        flag: None,
        default: Fallback::Value("remote"),
        help: "Which MCP servers' tools are held back when they change after they were first seen, until an operator \
               accepts them, unless the MCP configuration says it of a server",
    },
    form: form::PINNED_TOOLS,
};

/// Whether the assistants are served as MCP tools.
pub static MCP_SERVE: Key<bool> = Key {
    about: About {
        name: "mcp.serve",
        env: "ASSISTD_MCP_SERVE",
        flag: Some(Flag {
            long: "mcp",
            scope: Scope::Service,
            is_switch: true,
        }),
        default: Fallback::Value("false"),
        help: "Serve the assistants as MCP tools, over streamable HTTP at /mcp",
    },
    form: form::SWITCH,
};

/// Where the tokens of logins at MCP servers are kept.
pub static MCP_TOKEN_FILE: Key<PathBuf> = Key {
    about: About {
        name: "mcp.token_file",
        env: "ASSISTD_MCP_TOKEN_FILE",
        flag: flag("mcp-token-file", Scope::Logins),
        default: Fallback::Unset("`mcp-tokens.json` in `data_dir`; in memory where that is"),
        help: "Where the tokens of `assistd mcp login` are kept, sealed with a key",
    },
    form: form::PATH,
};

/// What they are sealed with.
pub static MCP_TOKEN_KEY: Key<Secret> = Key {
    about: About {
        name: "mcp.token_key",
        env: "ASSISTD_MCP_TOKEN_KEY",
        flag: None,
        default: Fallback::Unset("a key that is made at the first login, in a file beside the tokens"),
        help: "What the tokens of logins at MCP servers are sealed with: 32 random bytes in base64, or any other text \
               that nobody guesses",
    },
    form: form::SECRET,
};

/// The file with that key.
pub static MCP_TOKEN_KEY_FILE: Key<PathBuf> = Key {
    about: About {
        name: "mcp.token_key_file",
        env: "ASSISTD_MCP_TOKEN_KEY_FILE",
        flag: None,
        default: Fallback::Unset("none"),
        help: "A file that holds that key and nothing else, instead of `mcp.token_key`",
    },
    form: form::PATH,
};

/// No stand-in for a missing model.
pub static NO_SIMULATOR: Key<bool> = Key {
    about: About {
        name: "no_simulator",
        env: "ASSISTD_NO_SIMULATOR",
        flag: Some(Flag {
            long: "no-simulator",
            scope: Scope::Service,
            is_switch: true,
        }),
        default: Fallback::Value("false"),
        help: "Refuse to chat without a model, instead of answering from the built-in simulator",
    },
    form: form::SWITCH,
};

/// The service that client commands talk to.
pub static SERVER: Key<String> = Key {
    about: About {
        name: "server",
        env: "ASSISTD_SERVER",
        flag: flag("server", Scope::Client),
        default: Fallback::Value("http://127.0.0.1:8000"),
        help: "The running service that chat, actions, runs, tools, call, resources, prompts, models, usage and health talk to",
    },
    form: form::URL,
};

/// The model's credential. A flag would show it in the list of processes, so there is none.
pub static MODEL_API_KEY: Key<Secret> = Key {
    about: About {
        name: "model.api_key",
        env: "OPENAI_API_KEY",
        flag: None,
        default: Fallback::Unset("none"),
        help: "The API key that is sent to the model's provider",
    },
    form: form::SECRET,
};

/// Where the model is.
pub static MODEL_BASE_URL: Key<String> = Key {
    about: About {
        name: "model.base_url",
        env: "OPENAI_BASE_URL",
        flag: flag("base-url", Scope::Service),
        default: Fallback::Unset("OpenAI's, when there is an API key"),
        help: "An OpenAI-compatible API, up to and with its version: https://api.openai.com/v1. A query in it goes with \
               every request",
    },
    form: form::URL,
};

/// The model's name.
pub static MODEL_NAME: Key<String> = Key {
    about: About {
        name: "model.name",
        env: "ASSISTD_MODEL",
        flag: flag("model", Scope::Service),
        default: Fallback::Value("gpt-5.4-mini"),
        help: "The model that answers when neither the request nor the assistant names one",
    },
    form: form::NAME,
};

/// The organization that pays.
pub static MODEL_ORGANIZATION: Key<String> = Key {
    about: About {
        name: "model.organization",
        env: "OPENAI_ORG_ID",
        flag: None,
        default: Fallback::Unset("none"),
        help: "The organization that the provider bills",
    },
    form: form::NAME,
};

/// The project that it is booked on.
pub static MODEL_PROJECT: Key<String> = Key {
    about: About {
        name: "model.project",
        env: "OPENAI_PROJECT_ID",
        flag: None,
        default: Fallback::Unset("none"),
        help: "The project that the provider books requests on",
    },
    form: form::NAME,
};

/// The API that the model speaks.
pub static MODEL_DIALECT: Key<Dialect> = Key {
    about: About {
        name: "model.dialect",
        env: "ASSISTD_MODEL_DIALECT",
        flag: None,
        default: Fallback::Unset("`responses` for api.openai.com, `chat_completions` for any other base URL"),
        help: "The API that the model speaks",
    },
    form: form::DIALECT,
};

/// Where the state of a conversation is kept.
pub static MODEL_STATE: Key<ModelState> = Key {
    about: About {
        name: "model.state",
        env: "ASSISTD_MODEL_STATE",
        flag: None,
        default: Fallback::Value("stateless"),
        help: "Whether a model that speaks `responses` keeps the state of conversations too, so that a request has only \
               what is new",
    },
    form: form::MODEL_STATE,
};

/// How a model is given its reasoning back.
pub static MODEL_REASONING_BACK: Key<ReasoningBack> = Key {
    about: About {
        name: "model.reasoning_back",
        env: "ASSISTD_MODEL_REASONING_BACK",
        flag: None,
        default: Fallback::Value("as_given"),
        help: "How a model that speaks `chat_completions` is given back, with its calls, what it was thinking: under the \
               name under which that came, not at all, or under this name",
    },
    form: form::REASONING_BACK,
};

/// Headers for every model request.
pub static MODEL_HEADERS: Key<Vec<(String, Secret)>> = Key {
    about: About {
        name: "model.headers",
        env: "ASSISTD_MODEL_HEADERS",
        flag: None,
        default: Fallback::Unset("none"),
        help: "Headers that are sent with every model request, beside the usual ones",
    },
    form: form::HEADERS,
};

/// The wait for a connection to the model.
pub static MODEL_CONNECT_TIMEOUT: Key<Duration> = Key {
    about: About {
        name: "model.connect_timeout",
        env: "ASSISTD_MODEL_CONNECT_TIMEOUT",
        flag: None,
        default: Fallback::Value("10s"),
        help: "How long to wait for a connection to the model's provider",
    },
    form: form::DURATION,
};

/// The wait for the head of the model's answer.
pub static MODEL_FIRST_BYTE_TIMEOUT: Key<Duration> = Key {
    about: About {
        name: "model.first_byte_timeout",
        env: "ASSISTD_MODEL_FIRST_BYTE_TIMEOUT",
        flag: None,
        default: Fallback::Value("2m"),
        help: "How long to wait from a model request to the head of its answer",
    },
    form: form::DURATION,
};

/// The wait between two pieces of the model's answer.
pub static MODEL_IDLE_TIMEOUT: Key<Duration> = Key {
    about: About {
        name: "model.idle_timeout",
        env: "ASSISTD_MODEL_IDLE_TIMEOUT",
        flag: None,
        default: Fallback::Value("2m"),
        help: "How long a model's stream may be silent before it counts as broken",
    },
    form: form::DURATION,
};

/// The wait between two events of the model's answer.
pub static MODEL_EVENT_TIMEOUT: Key<Duration> = Key {
    about: About {
        name: "model.event_timeout",
        env: "ASSISTD_MODEL_EVENT_TIMEOUT",
        flag: None,
        default: Fallback::Value("5m"),
        help: "How long a model's stream may say nothing, whatever bytes come, before it counts as broken",
    },
    form: form::DURATION,
};

/// The file with the model's credential.
pub static MODEL_API_KEY_FILE: Key<PathBuf> = Key {
    about: About {
        name: "model.api_key_file",
        env: "ASSISTD_MODEL_API_KEY_FILE",
        flag: None,
        default: Fallback::Unset("none"),
        help: "A file that holds the API key and nothing else, instead of `model.api_key`. It is read again when it changes",
    },
    form: form::PATH,
};

/// The header that the credential goes into.
pub static MODEL_API_KEY_HEADER: Key<String> = Key {
    about: About {
        name: "model.api_key_header",
        env: "ASSISTD_MODEL_API_KEY_HEADER",
        flag: None,
        default: Fallback::Unset("`Authorization`, as a bearer token"),
        help: "The header that the API key is sent in as it is, such as Azure's `api-key`",
    },
    form: form::HEADER_NAME,
};

/// Whether other names are refused.
pub static MODEL_ONLY_LISTED: Key<bool> = Key {
    about: About {
        name: "model.only_listed",
        env: "ASSISTD_MODEL_ONLY_LISTED",
        flag: None,
        default: Fallback::Value("false"),
        help: "Refuse a model that is neither `model.name` nor has a table `[models.NAME]`, instead of asking the provider for it",
    },
    form: form::SWITCH,
};

/// What answers instead.
pub static MODEL_FALLBACKS: Key<Vec<String>> = Key {
    about: About {
        name: "model.fallbacks",
        env: "ASSISTD_MODEL_FALLBACKS",
        flag: None,
        default: Fallback::Unset("none"),
        help: "The models, of those with a table `[models.NAME]`, that answer instead when this one cannot, the first choice first",
    },
    form: form::NAMES,
};

/// The room of the model.
pub static MODEL_CONTEXT_TOKENS: Key<u64> = Key {
    about: About {
        name: "model.context_tokens",
        env: "ASSISTD_MODEL_CONTEXT_TOKENS",
        flag: None,
        default: Fallback::Unset("not known: the provider decides"),
        help: "Tokens that the default model takes at most, read and written together. A conversation that is longer is not sent: see `run.truncation`",
    },
    form: form::AMOUNT,
};

/// The longest answer of the model.
pub static MODEL_MAX_OUTPUT_TOKENS: Key<u64> = Key {
    about: About {
        name: "model.max_output_tokens",
        env: "ASSISTD_MODEL_MAX_OUTPUT_TOKENS",
        flag: None,
        default: Fallback::Unset("not known"),
        help: "Tokens that the default model writes at most in one answer. No more is asked of it, and so much room is left for it when a conversation is shortened",
    },
    form: form::AMOUNT,
};

/// What reading costs.
pub static MODEL_INPUT_PRICE: Key<u64> = Key {
    about: About {
        name: "model.input_price",
        env: "ASSISTD_MODEL_INPUT_PRICE",
        flag: None,
        default: Fallback::Unset("none: costs are not counted"),
        help: "What a million tokens cost that the default model reads",
    },
    form: form::MONEY,
};

/// What reading costs that is cached.
pub static MODEL_CACHED_INPUT_PRICE: Key<u64> = Key {
    about: About {
        name: "model.cached_input_price",
        env: "ASSISTD_MODEL_CACHED_INPUT_PRICE",
        flag: None,
        default: Fallback::Unset("`model.input_price`"),
        help: "What a million tokens cost that it reads and that the provider had cached",
    },
    form: form::MONEY,
};

/// What writing costs.
pub static MODEL_OUTPUT_PRICE: Key<u64> = Key {
    about: About {
        name: "model.output_price",
        env: "ASSISTD_MODEL_OUTPUT_PRICE",
        flag: None,
        default: Fallback::Unset("none: costs are not counted"),
        help: "What a million tokens cost that it writes",
    },
    form: form::MONEY,
};

/// What reasoning costs.
pub static MODEL_REASONING_PRICE: Key<u64> = Key {
    about: About {
        name: "model.reasoning_price",
        env: "ASSISTD_MODEL_REASONING_PRICE",
        flag: None,
        default: Fallback::Unset("`model.output_price`"),
        help: "What a million tokens of reasoning cost, where they do not cost what the rest of the answer does",
    },
    form: form::MONEY,
};

/// The currency of the prices.
pub static MODEL_CURRENCY: Key<String> = Key {
    about: About {
        name: "model.currency",
        env: "ASSISTD_MODEL_CURRENCY",
        flag: None,
        default: Fallback::Value("USD"),
        help: "The currency of all prices, also those of `[models.NAME]`, by its code in ISO 4217",
    },
    form: form::CURRENCY,
};

/// Model requests at the same time.
pub static MODEL_MAX_CONCURRENCY: Key<u32> = Key {
    about: About {
        name: "model.max_concurrency",
        env: "ASSISTD_MODEL_MAX_CONCURRENCY",
        flag: None,
        default: Fallback::Unset("any number"),
        help: "Requests to one model, or to all with the same base URL and key, that go on at the same time; a streamed answer \
               counts until it ends",
    },
    form: form::COUNT,
};

/// Model requests that wait.
pub static MODEL_MAX_WAITING: Key<u32> = Key {
    about: About {
        name: "model.max_waiting",
        env: "ASSISTD_MODEL_MAX_WAITING",
        flag: None,
        default: Fallback::Value("100"),
        help: "Requests that wait until one of those ends; one more is refused as overloaded, or goes to a fallback",
    },
    form: form::NUMBER,
};

/// A second request beside a slow one.
pub static MODEL_HEDGE_AFTER: Key<Duration> = Key {
    about: About {
        name: "model.hedge_after",
        env: "ASSISTD_MODEL_HEDGE_AFTER",
        flag: None,
        default: Fallback::Unset("never"),
        help: "How long the first piece of an answer may take before a second request goes to the same model, and the first to speak is heard. Not in the Assistants dialect",
    },
    form: form::DURATION,
};

/// Retries of one request.
pub static MODEL_MAX_RETRIES: Key<u32> = Key {
    about: About {
        name: "model.max_retries",
        env: "ASSISTD_MODEL_MAX_RETRIES",
        flag: None,
        default: Fallback::Value("2"),
        help: "How often a model request is sent again before its answer begins",
    },
    form: form::NUMBER,
};

/// Retries of all requests.
pub static MODEL_RETRY_PERCENT: Key<u32> = Key {
    about: About {
        name: "model.retry_percent",
        env: "ASSISTD_MODEL_RETRY_PERCENT",
        flag: None,
        default: Fallback::Value("20"),
        help: "The share of all model requests that may be sent again, besides one a second",
    },
    form: form::PERCENT,
};

/// When a model is left alone.
pub static MODEL_BREAKER_FAILURES: Key<u32> = Key {
    about: About {
        name: "model.breaker_failures",
        env: "ASSISTD_MODEL_BREAKER_FAILURES",
        flag: None,
        default: Fallback::Value("5"),
        help: "Failures one after the other after which a model is left alone; 0 never leaves it alone",
    },
    form: form::NUMBER,
};

/// The rate at which a model is left alone.
pub static MODEL_BREAKER_FAILURE_PERCENT: Key<u32> = Key {
    about: About {
        name: "model.breaker_failure_percent",
        env: "ASSISTD_MODEL_BREAKER_FAILURE_PERCENT",
        flag: None,
        default: Fallback::Value("50"),
        help: "The share of failures, among at least 20 answers, that does the same",
    },
    form: form::PERCENT,
};

/// How far back that rate is counted.
pub static MODEL_BREAKER_WINDOW: Key<Duration> = Key {
    about: About {
        name: "model.breaker_window",
        env: "ASSISTD_MODEL_BREAKER_WINDOW",
        flag: None,
        default: Fallback::Value("1m"),
        help: "How far back that share is counted",
    },
    form: form::DURATION,
};

/// How long a model is left alone.
pub static MODEL_BREAKER_COOLDOWN: Key<Duration> = Key {
    about: About {
        name: "model.breaker_cooldown",
        env: "ASSISTD_MODEL_BREAKER_COOLDOWN",
        flag: None,
        default: Fallback::Value("10s"),
        help: "How long a model is left alone before one request tries it again",
    },
    form: form::DURATION,
};

/// Whether requests to the model have idempotency keys.
pub static MODEL_IDEMPOTENCY_KEYS: Key<bool> = Key {
    about: About {
        name: "model.idempotency_keys",
        env: "ASSISTD_MODEL_IDEMPOTENCY_KEYS",
        flag: None,
        default: Fallback::Unset("`true` for api.openai.com, `false` for others"),
        help: "Whether each request of the model that has no table has an `Idempotency-Key`, the same when it is sent again",
    },
    form: form::SWITCH,
};

/// The default assistant's instructions.
pub static ASSISTANT_INSTRUCTIONS: Key<String> = Key {
    about: About {
        name: "assistant.instructions",
        env: "ASSISTD_INSTRUCTIONS",
        flag: None,
        default: Fallback::Value("You are a helpful assistant."),
        help: "The system instructions of the assistant that answers when a request names none",
    },
    form: form::TEXT,
};

/// How the model answers unless somebody says otherwise.
pub static ASSISTANT_OPTIONS: Key<String> = Key {
    about: About {
        name: "assistant.options",
        env: "ASSISTD_OPTIONS",
        flag: None,
        default: Fallback::Unset("the provider's own"),
        help: "How the model answers where neither a request nor its assistant says otherwise: a JSON object such as \
               `{\"temperature\": 0.2}`; docs/model-options.md has the fields",
    },
    form: form::OBJECT,
};

/// Model requests in a run.
pub static RUN_MAX_TURNS: Key<u32> = Key {
    about: About {
        name: "run.max_turns",
        env: "ASSISTD_RUN_MAX_TURNS",
        flag: None,
        default: Fallback::Value("16"),
        help: "Model requests with tools on offer in one run. When they are used up, one more without tools asks for the answer",
    },
    form: form::COUNT,
};

/// Tool calls in a run.
pub static RUN_MAX_TOOL_CALLS: Key<u32> = Key {
    about: About {
        name: "run.max_tool_calls",
        env: "ASSISTD_RUN_MAX_TOOL_CALLS",
        flag: None,
        default: Fallback::Value("64"),
        help: "Tool calls in one run, over all its turns",
    },
    form: form::COUNT,
};

/// Tokens that a run may write.
pub static RUN_MAX_OUTPUT_TOKENS: Key<u64> = Key {
    about: About {
        name: "run.max_output_tokens",
        env: "ASSISTD_RUN_MAX_OUTPUT_TOKENS",
        flag: None,
        default: Fallback::Unset("no limit but the model's"),
        help: "Tokens that the model may write in one run, over all its turns, reasoning included; until the provider has \
               counted them, 8 bytes count as one token",
    },
    form: form::AMOUNT,
};

/// Tokens that a run may use.
pub static RUN_MAX_TOTAL_TOKENS: Key<u64> = Key {
    about: About {
        name: "run.max_total_tokens",
        env: "ASSISTD_RUN_MAX_TOTAL_TOKENS",
        flag: None,
        default: Fallback::Unset("no limit"),
        help: "Tokens that one run may read and write, over all its turns; until the provider has counted them, 8 bytes \
               that the model writes count as one token",
    },
    form: form::AMOUNT,
};

/// The wall time after which a run ends with what there is.
pub static RUN_MAX_DURATION: Key<Duration> = Key {
    about: About {
        name: "run.max_duration",
        env: "ASSISTD_RUN_MAX_DURATION",
        flag: None,
        default: Fallback::Unset("no limit but `run.execution_limit`"),
        help: "How long a run may take before it ends as incomplete, with the answer there is",
    },
    form: form::DURATION,
};

/// What a run may cost.
pub static RUN_MAX_COST: Key<u64> = Key {
    about: About {
        name: "run.max_cost",
        env: "ASSISTD_RUN_MAX_COST",
        flag: None,
        default: Fallback::Unset("no limit"),
        help: "What one run may cost, in `model.currency`. It holds only for models that have prices",
    },
    form: form::MONEY,
};

/// What becomes of long conversations.
pub static RUN_TRUNCATION: Key<TruncationStrategy> = Key {
    about: About {
        name: "run.truncation",
        env: "ASSISTD_RUN_TRUNCATION",
        flag: None,
        default: Fallback::Value("disabled"),
        help: "What happens to the oldest part of a conversation that is longer than the model takes: `disabled` fails the run, `auto` leaves it out, `summarize` gives the model a summary in its place",
    },
    form: form::TRUNCATION,
};

/// What sums up.
pub static RUN_SUMMARY_MODEL: Key<String> = Key {
    about: About {
        name: "run.summary_model",
        env: "ASSISTD_RUN_SUMMARY_MODEL",
        flag: None,
        default: Fallback::Unset("the run's own"),
        help: "The model that sums up what a model is not given any more, where `summarize` says so",
    },
    form: form::NAME,
};

/// How many turns a model is given.
pub static RUN_LAST_TURNS: Key<u32> = Key {
    about: About {
        name: "run.last_turns",
        env: "ASSISTD_RUN_LAST_TURNS",
        flag: None,
        default: Fallback::Unset("all"),
        help: "How many turns of a conversation the model is given at most, the newest. Not with `run.truncation` `disabled`; alone it means `auto`",
    },
    form: form::COUNT,
};

/// How many tokens a model is given.
pub static RUN_MAX_CONTEXT_TOKENS: Key<u64> = Key {
    about: About {
        name: "run.max_context_tokens",
        env: "ASSISTD_RUN_MAX_CONTEXT_TOKENS",
        flag: None,
        default: Fallback::Unset("what the model takes"),
        help: "How many tokens the model is given at most, as the service estimates them",
    },
    form: form::AMOUNT,
};

/// The wall time after which a run expires.
pub static RUN_EXECUTION_LIMIT: Key<Duration> = Key {
    about: About {
        name: "run.execution_limit",
        env: "ASSISTD_RUN_EXECUTION_LIMIT",
        flag: None,
        default: Fallback::Value("10m"),
        help: "How long a run may take before it is stopped as expired",
    },
    form: form::DURATION,
};

/// The time after which a run that waits for people expires.
pub static RUN_WAITING_LIMIT: Key<Duration> = Key {
    about: About {
        name: "run.waiting_limit",
        env: "ASSISTD_RUN_WAITING_LIMIT",
        flag: None,
        default: Fallback::Value("24h"),
        help: "How long a run may wait for an approval or for the output of a client's own tool before it is stopped \
               as expired",
    },
    form: form::DURATION,
};

/// How long a process that says nothing counts as alive.
pub static RUN_LEASE: Key<Duration> = Key {
    about: About {
        name: "run.lease",
        env: "ASSISTD_RUN_LEASE",
        flag: None,
        default: Fallback::Value("15s"),
        help: "How long a process that says nothing still counts as alive where several share a PostgreSQL store; then \
               the others go on with its runs",
    },
    form: form::DURATION,
};

/// How long the events of a run are kept.
pub static RUN_EVENT_RETENTION: Key<Duration> = Key {
    about: About {
        name: "run.event_retention",
        env: "ASSISTD_RUN_EVENT_RETENTION",
        flag: None,
        default: Fallback::Value("24h"),
        help: "How long the events of a run are kept after its end, for watchers that come late; messages, runs and \
               steps are kept until their thread is deleted",
    },
    form: form::DURATION,
};

/// The longest tool call.
pub static RUN_CALL_TIMEOUT: Key<Duration> = Key {
    about: About {
        name: "run.call_timeout",
        env: "ASSISTD_RUN_CALL_TIMEOUT",
        flag: None,
        default: Fallback::Value("60s"),
        help: "How long one tool call may take",
    },
    form: form::DURATION,
};

/// Tool calls at the same time.
pub static RUN_PARALLEL_CALLS: Key<u32> = Key {
    about: About {
        name: "run.parallel_calls",
        env: "ASSISTD_RUN_PARALLEL_CALLS",
        flag: None,
        default: Fallback::Value("8"),
        help: "Tool calls of one turn that go on at the same time",
    },
    form: form::COUNT,
};

/// The longest output that a model is given.
pub static RUN_TOOL_OUTPUT_LIMIT: Key<usize> = Key {
    about: About {
        name: "run.tool_output_limit_bytes",
        env: "ASSISTD_RUN_TOOL_OUTPUT_LIMIT_BYTES",
        flag: None,
        default: Fallback::Value("65536"),
        help: "Text of one tool call's output that the model is given; more is cut with a note, and the run's step keeps \
               the whole",
    },
    form: form::BYTES,
};

/// The largest request body.
pub static API_BODY_LIMIT: Key<usize> = Key {
    about: About {
        name: "api.body_limit_bytes",
        env: "ASSISTD_BODY_LIMIT_BYTES",
        flag: None,
        default: Fallback::Value("4194304"),
        help: "The largest request that is read, on every door",
    },
    form: form::BYTES,
};

/// Requests in flight.
pub static API_MAX_CONCURRENT_REQUESTS: Key<u32> = Key {
    about: About {
        name: "api.max_concurrent_requests",
        env: "ASSISTD_MAX_CONCURRENT_REQUESTS",
        flag: None,
        default: Fallback::Value("10000"),
        help: "Requests and open streams at the same time; one more is refused as overloaded",
    },
    form: form::COUNT,
};

/// The longest request.
pub static API_REQUEST_TIMEOUT: Key<Duration> = Key {
    about: About {
        name: "api.request_timeout",
        env: "ASSISTD_REQUEST_TIMEOUT",
        flag: None,
        default: Fallback::Value("15m"),
        help: "How long any request or stream may take, whatever its client allows",
    },
    form: form::DURATION,
};

/// The longest that a watcher may leave its events.
pub static API_SLOW_WATCHER_LIMIT: Key<Duration> = Key {
    about: About {
        name: "api.slow_watcher_limit",
        env: "ASSISTD_SLOW_WATCHER_LIMIT",
        flag: None,
        default: Fallback::Value("2m"),
        help: "How long a client that watches a run may leave events unread before it is dropped",
    },
    form: form::DURATION,
};

/// Whether there are figures.
pub static API_METRICS: Key<bool> = Key {
    about: About {
        name: "api.metrics",
        env: "ASSISTD_METRICS",
        flag: None,
        default: Fallback::Value("true"),
        help: "Whether figures for Prometheus are at `/metrics`, for everybody who reaches the port",
    },
    form: form::SWITCH,
};

/// Callers with figures of their own.
pub static API_METRICS_CALLERS: Key<u32> = Key {
    about: About {
        name: "api.metrics_callers",
        env: "ASSISTD_METRICS_CALLERS",
        flag: None,
        default: Fallback::Value("0"),
        help: "How many callers have figures of their own at `/metrics`, under their names; all others count together",
    },
    form: form::NUMBER,
};

/// Who says who asks.
pub static API_CALLER_HEADER: Key<String> = Key {
    about: About {
        name: "api.caller_header",
        env: "ASSISTD_CALLER_HEADER",
        flag: None,
        default: Fallback::Unset("none: nobody is named"),
        help: "The header in which a proxy says who asks, such as `x-forwarded-user`. Only behind a proxy that always sets \
               it: what a client writes there is believed",
    },
    form: form::HEADER_NAME,
};

/// The time to finish after a signal to stop.
pub static API_DRAIN_GRACE: Key<Duration> = Key {
    about: About {
        name: "api.drain_grace",
        env: "ASSISTD_DRAIN_GRACE",
        flag: None,
        default: Fallback::Value("10s"),
        help: "How long running work may go on after a signal to stop",
    },
    form: form::GRACE,
};

/// Origins that browsers may come from.
pub static API_CORS_ORIGINS: Key<Origins> = Key {
    about: About {
        name: "api.cors_origins",
        env: "ASSISTD_CORS_ORIGINS",
        flag: None,
        default: Fallback::Value("*"),
        help: "Origins whose pages may call the service from a browser, with credentials only where they are listed",
    },
    form: form::ORIGINS,
};

/// What is logged.
pub static LOG_FILTER: Key<String> = Key {
    about: About {
        name: "log.filter",
        env: "ASSISTD_LOG",
        flag: flag("log", Scope::Every),
        default: Fallback::Value("info"),
        help: "What is logged to standard error",
    },
    form: form::FILTER,
};

/// How it is logged.
pub static LOG_FORMAT: Key<LogFormat> = Key {
    about: About {
        name: "log.format",
        env: "ASSISTD_LOG_FORMAT",
        flag: flag("log-format", Scope::Every),
        default: Fallback::Value("text"),
        help: "How log lines are written",
    },
    form: form::LOG_FORMAT,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::key::{Raw, Shows};
    use super::*;

    #[test]
    fn no_two_keys_share_a_name() {
        let mut seen = BTreeSet::new();
        for entry in KEYS {
            let about = entry.about();
            assert!(seen.insert(about.name), "{}", about.name);
            assert!(seen.insert(about.env), "{}", about.env);
            if let Some(flag) = &about.flag {
                assert!(seen.insert(flag.long) || flag.long == about.name, "{}", flag.long);
            }
        }
    }

    #[test]
    fn every_default_is_of_its_own_form() {
        for entry in KEYS {
            if let Fallback::Value(text) = entry.about().default {
                assert!(
                    entry.accepts(&Raw::Text(text.to_owned())),
                    "{}",
                    entry.about().name
                );
            }
        }
    }

    #[test]
    fn no_secret_can_be_given_as_a_flag() {
        for entry in KEYS {
            assert!(
                entry.shape().shows != Shows::Nothing || entry.about().flag.is_none(),
                "{}",
                entry.about().name
            );
        }
    }
}
