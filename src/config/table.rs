//! Every key, once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::form;
use super::key::{About, Entry, Fallback, Flag, Key, Scope};
use super::secret::Secret;
use super::section::{Dialect, LogFormat, ModelState, Origins, StoreSection};

/// The keys, in the order in which they are shown.
pub const KEYS: &[&dyn Entry] = &[
    &LISTEN,
    &DATA_DIR,
    &STORE,
    &MCP_CONFIG,
    &NO_SIMULATOR,
    &SERVER,
    &MCP_ASK_BEFORE_DESTRUCTION,
    &MODEL_API_KEY,
    &MODEL_BASE_URL,
    &MODEL_NAME,
    &MODEL_ORGANIZATION,
    &MODEL_PROJECT,
    &MODEL_DIALECT,
    &MODEL_STATE,
    &MODEL_HEADERS,
    &MODEL_CONNECT_TIMEOUT,
    &MODEL_FIRST_BYTE_TIMEOUT,
    &MODEL_IDLE_TIMEOUT,
    &ASSISTANT_INSTRUCTIONS,
    &ASSISTANT_OPTIONS,
    &RUN_MAX_TURNS,
    &RUN_MAX_TOOL_CALLS,
    &RUN_MAX_OUTPUT_TOKENS,
    &RUN_MAX_TOTAL_TOKENS,
    &RUN_MAX_DURATION,
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
        flag: flag("mcp-config", Scope::Service),
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
        help: "The running service that chat, tools, call, resources, prompts and health talk to",
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
        help: "An OpenAI-compatible API, up to and with its version: https://api.openai.com/v1",
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
    form: form::TEXT,
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
