//! The configuration: the only reader of the environment and of files.
//!
//! Flags win over the environment, that over `.env`, that over `assistd.toml`, that over the defaults. Every
//! key is described once, in [`table`]; the rest of the crate sees plain typed data.

pub mod document;
mod duration;
mod environment;
mod file;
pub mod form;
pub mod key;
pub mod models;
mod problem;
mod secret;
mod section;
mod settings;
pub mod table;
mod watched;

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

pub use environment::Environment;
pub use problem::{Error, Problem};
pub use secret::Secret;
pub use section::{
    ApiSection, Dialect, LogFormat, LogSection, McpSection, McpSource, ModelEndpoint, ModelPrices,
    ModelResilience, ModelSection, ModelState, ModelTimeouts, NamedModel, Origins, PinnedTools,
    ReasoningBack, RunLimits, RunSection, StoreSection, TokenKey, TruncationSection, TruncationStrategy,
};
pub use settings::{Inputs, Row, Setting, Settings, Source};
pub use watched::WatchedFile;

/// The `data_dir` that stands for none.
const IN_MEMORY: &str = ":memory:";

/// Everything that the service is told, as plain data.
#[derive(Clone, Debug)]
pub struct Config {
    /// The front door.
    pub api: ApiSection,
    /// Where state is kept.
    pub store: StoreSection,
    /// The model.
    pub model: ModelSection,
    /// The tools.
    pub mcp: McpSection,
    /// What a run is given, and its bounds.
    pub run: RunSection,
}

impl Config {
    /// The service's configuration from the merged settings. Reads the list of MCP servers.
    ///
    /// # Errors
    /// That list cannot be read, or there is no place for the data.
    pub fn from_settings(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            api: api(settings)?,
            store: store(settings)?,
            model: model(settings)?,
            mcp: mcp(settings)?,
            run: run(settings)?,
        })
    }
}

impl LogSection {
    /// What is logged, and how, from the merged settings.
    ///
    /// # Errors
    /// None, as long as the keys have their defaults.
    pub fn from_settings(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            filter: settings.require(&table::LOG_FILTER)?,
            format: settings.require(&table::LOG_FORMAT)?,
        })
    }
}

fn api(settings: &Settings) -> Result<ApiSection, Error> {
    Ok(ApiSection {
        listen: settings.require(&table::LISTEN)?,
        cors_origins: settings.require(&table::API_CORS_ORIGINS)?,
        body_limit_bytes: settings.require(&table::API_BODY_LIMIT)?,
        max_concurrent_requests: usize::try_from(settings.require(&table::API_MAX_CONCURRENT_REQUESTS)?)
            .unwrap_or(usize::MAX),
        request_timeout: settings.require(&table::API_REQUEST_TIMEOUT)?,
        slow_watcher_limit: settings.require(&table::API_SLOW_WATCHER_LIMIT)?,
        drain_grace: settings.require(&table::API_DRAIN_GRACE)?,
        caller_header: settings.get(&table::API_CALLER_HEADER),
        metrics: settings.require(&table::API_METRICS)?,
        metrics_callers: settings.require(&table::API_METRICS_CALLERS)?,
    })
}

impl StoreSection {
    /// Where state is kept, from the merged settings.
    ///
    /// # Errors
    /// No directory is named, and the platform has none.
    pub fn from_settings(settings: &Settings) -> Result<Self, Error> {
        store(settings)
    }
}

fn store(settings: &Settings) -> Result<StoreSection, Error> {
    if let Some(store) = settings.get(&table::STORE) {
        return Ok(match store {
            StoreSection::File(path) => StoreSection::File(settings.located(&table::STORE, path)),
            store => store,
        });
    }
    match settings.get(&table::DATA_DIR) {
        Some(path) if path == Path::new(IN_MEMORY) => Ok(StoreSection::Memory),
        Some(_) => Ok(settings
            .path(&table::DATA_DIR)
            .map_or(StoreSection::Memory, StoreSection::Directory)),
        None => default_data_dir().map(StoreSection::Directory),
    }
}

fn default_data_dir() -> Result<PathBuf, Error> {
    match etcetera::base_strategy::choose_native_strategy() {
        Ok(platform) => Ok(platform.data_dir().join("assistd")),
        Err(error) => Err(Error::from(Problem::Missing {
            key: table::DATA_DIR.about.name,
            reason: error.to_string(),
        })),
    }
}

fn model(settings: &Settings) -> Result<ModelSection, Error> {
    Error::of(models::missing_references(
        settings.models(),
        settings.environment(),
    ))?;
    let endpoint = model_endpoint(settings)?;
    let mut listed: Vec<NamedModel> = settings
        .models()
        .iter()
        .map(|table| table.section(settings))
        .collect::<Result<_, _>>()?;
    let name = default_model(settings, endpoint.is_given(), &listed)?;
    Error::of(misfits(settings, endpoint.is_given(), &listed, &name))?;
    let prices = prices(settings)?;
    let fallbacks = settings.get(&table::MODEL_FALLBACKS).unwrap_or_default();
    let context_tokens = settings.get(&table::MODEL_CONTEXT_TOKENS);
    let max_output_tokens = settings.get(&table::MODEL_MAX_OUTPUT_TOKENS);
    // What `[model]` says of the default model is said of the one in the table too, where that does not say otherwise.
    if let Some(default) = listed.iter_mut().find(|model| model.is_called(&name)) {
        default.prices = default.prices.take().or_else(|| prices.clone());
        default.context_tokens = default.context_tokens.or(context_tokens);
        default.max_output_tokens = default.max_output_tokens.or(max_output_tokens);
        if default.fallbacks.is_empty() {
            default.fallbacks.clone_from(&fallbacks);
        }
    }
    Ok(ModelSection {
        name,
        endpoint,
        dialect: settings.get(&table::MODEL_DIALECT),
        state: settings.require(&table::MODEL_STATE)?,
        reasoning_back: settings.require(&table::MODEL_REASONING_BACK)?,
        timeouts: ModelTimeouts {
            connect: settings.require(&table::MODEL_CONNECT_TIMEOUT)?,
            first_byte: settings.require(&table::MODEL_FIRST_BYTE_TIMEOUT)?,
            idle: settings.require(&table::MODEL_IDLE_TIMEOUT)?,
            event: settings.require(&table::MODEL_EVENT_TIMEOUT)?,
        },
        resilience: ModelResilience {
            max_retries: settings.require(&table::MODEL_MAX_RETRIES)?,
            retry_percent: settings.require(&table::MODEL_RETRY_PERCENT)?,
            breaker_failures: settings.require(&table::MODEL_BREAKER_FAILURES)?,
            breaker_failure_percent: settings.require(&table::MODEL_BREAKER_FAILURE_PERCENT)?,
            breaker_window: settings.require(&table::MODEL_BREAKER_WINDOW)?,
            breaker_cooldown: settings.require(&table::MODEL_BREAKER_COOLDOWN)?,
            max_concurrency: settings.get(&table::MODEL_MAX_CONCURRENCY),
            max_waiting: settings.require(&table::MODEL_MAX_WAITING)?,
            hedge_after: settings.get(&table::MODEL_HEDGE_AFTER),
        },
        fallbacks,
        context_tokens,
        max_output_tokens,
        listed,
        only_listed: settings.require(&table::MODEL_ONLY_LISTED)?,
        prices,
        idempotency_keys: settings.get(&table::MODEL_IDEMPOTENCY_KEYS),
        no_simulator: settings.require(&table::NO_SIMULATOR)?,
    })
}

/// What of `[model]` does not go together, with itself or with the models that are listed.
fn misfits(settings: &Settings, has_upstream: bool, listed: &[NamedModel], name: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let long_answer = models::long_answer(
        settings.get(&table::MODEL_MAX_OUTPUT_TOKENS),
        settings.get(&table::MODEL_CONTEXT_TOKENS),
        table::MODEL_CONTEXT_TOKENS.about.name,
    );
    problems.extend(long_answer.map(|reason| settings.unfit(&table::MODEL_MAX_OUTPUT_TOKENS, reason)));
    let names = |model: &NamedModel| [vec![model.name.clone()], model.aliases.clone()].concat();
    let mut known: Vec<String> = listed.iter().flat_map(names).collect();
    let unlisted = settings.get(&table::MODEL_NAME).unwrap_or_default();
    if !has_upstream && !known.contains(&unlisted) {
        problems.extend(models::without_provider(settings.models(), &unlisted));
    }
    let mut fallbacks = settings.get(&table::MODEL_FALLBACKS).unwrap_or_default();
    if has_upstream {
        known.push(name.to_owned());
    }
    fallbacks.retain(|fallback| !known.contains(fallback));
    let unfit = fallbacks.iter().map(|fallback| {
        let reason = models::no_such_model(fallback, known.iter().map(String::as_str));
        settings.unfit(&table::MODEL_FALLBACKS, reason)
    });
    problems.extend(unfit);
    problems
}

/// A model has a price for reading and one for writing, or none at all.
fn prices(settings: &Settings) -> Result<Option<ModelPrices>, Error> {
    let input = settings.get(&table::MODEL_INPUT_PRICE);
    let cached_input = settings.get(&table::MODEL_CACHED_INPUT_PRICE);
    let output = settings.get(&table::MODEL_OUTPUT_PRICE);
    let reasoning = settings.get(&table::MODEL_REASONING_PRICE);
    let missing = |key: &'static str| {
        Err(Error::from(Problem::Missing {
            key,
            reason: "another price of the model is set".to_owned(),
        }))
    };
    match (input, output) {
        (None, None) if cached_input.or(reasoning).is_none() => Ok(None),
        (None, None) => missing(table::MODEL_INPUT_PRICE.about.name),
        (None, Some(_)) => missing(table::MODEL_INPUT_PRICE.about.name),
        (Some(_), None) => missing(table::MODEL_OUTPUT_PRICE.about.name),
        (Some(input), Some(output)) => Ok(Some(ModelPrices {
            currency: settings.require(&table::MODEL_CURRENCY)?,
            input,
            cached_input: cached_input.unwrap_or(input),
            output,
            reasoning,
        })),
    }
}

fn model_endpoint(settings: &Settings) -> Result<ModelEndpoint, Error> {
    let endpoint = ModelEndpoint {
        base_url: settings.get(&table::MODEL_BASE_URL),
        api_key: settings.get(&table::MODEL_API_KEY),
        api_key_file: settings.path(&table::MODEL_API_KEY_FILE),
        api_key_header: settings.get(&table::MODEL_API_KEY_HEADER),
        organization: settings.get(&table::MODEL_ORGANIZATION),
        project: settings.get(&table::MODEL_PROJECT),
        headers: settings.get(&table::MODEL_HEADERS).unwrap_or_default(),
    };
    match settings.source(&table::MODEL_API_KEY_FILE) {
        Some(source) if endpoint.api_key.is_some() => Err(Error::from(Problem::Unfit {
            key: table::MODEL_API_KEY_FILE.about.name.to_owned(),
            source,
            reason: format!("`{}` is given too", table::MODEL_API_KEY.about.name),
        })),
        _ => Ok(endpoint),
    }
}

/// The name of the model that answers when nobody names one: with an upstream for all names that is always the one
/// that is said, without one it has to be in the list. A list of one needs no saying.
fn default_model(settings: &Settings, has_upstream: bool, listed: &[NamedModel]) -> Result<String, Error> {
    let name = settings.require(&table::MODEL_NAME)?;
    let is_listed = listed.iter().any(|model| model.is_called(&name));
    match listed {
        _ if has_upstream || is_listed => Ok(name),
        [] => Ok(name),
        [only] if settings.source(&table::MODEL_NAME).is_none() => Ok(only.name.clone()),
        listed => {
            let names: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
            let reason = format!(
                "models are listed, and `{name}` is none of them: it is to be one of {}",
                names.join(", ")
            );
            let key = table::MODEL_NAME.about.name;
            Err(Error::from(match settings.source(&table::MODEL_NAME) {
                Some(source) => Problem::Unfit {
                    key: key.to_owned(),
                    source,
                    reason,
                },
                None => Problem::Missing { key, reason },
            }))
        }
    }
}

fn mcp(settings: &Settings) -> Result<McpSection, Error> {
    let source = match settings.path(&table::MCP_CONFIG) {
        None => McpSource::Builtin,
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => McpSource::File { path, text },
            Err(error) => {
                return Err(Error::from(Problem::Unreadable {
                    path,
                    reason: format!("{error} (`{}`)", table::MCP_CONFIG.about.name),
                }));
            }
        },
    };
    Ok(McpSection {
        source,
        environment: settings.environment().clone(),
        ask_before_destruction: settings.require(&table::MCP_ASK_BEFORE_DESTRUCTION)?,
        pin_tools: settings.require(&table::MCP_PIN_TOOLS)?,
        serve: settings.require(&table::MCP_SERVE)?,
        token_file: token_file(settings)?,
        token_key: token_key(settings)?,
    })
}

/// Beside the store's file, unless it is said; in memory only if the state is.
fn token_file(settings: &Settings) -> Result<Option<PathBuf>, Error> {
    const NAME: &str = "mcp-tokens.json";
    if let Some(path) = settings.path(&table::MCP_TOKEN_FILE) {
        return Ok(Some(path));
    }
    match settings.get(&table::DATA_DIR) {
        Some(path) if path == Path::new(IN_MEMORY) => Ok(None),
        Some(_) => Ok(settings.path(&table::DATA_DIR).map(|path| path.join(NAME))),
        None => default_data_dir().map(|path| Some(path.join(NAME))),
    }
}

fn token_key(settings: &Settings) -> Result<TokenKey, Error> {
    let text = settings.get(&table::MCP_TOKEN_KEY);
    match (text, settings.path(&table::MCP_TOKEN_KEY_FILE)) {
        (Some(_), Some(_)) => Err(Error::from(Problem::Missing {
            key: table::MCP_TOKEN_KEY_FILE.about.name,
            reason: format!("`{}` is given too", table::MCP_TOKEN_KEY.about.name),
        })),
        (Some(text), None) => Ok(TokenKey::Text(text)),
        (None, Some(path)) => Ok(TokenKey::File(path)),
        (None, None) => Ok(TokenKey::Beside),
    }
}

fn run(settings: &Settings) -> Result<RunSection, Error> {
    Ok(RunSection {
        instructions: settings.require(&table::ASSISTANT_INSTRUCTIONS)?,
        options: settings
            .get(&table::ASSISTANT_OPTIONS)
            .zip(settings.source(&table::ASSISTANT_OPTIONS)),
        limits: RunLimits {
            max_turns: settings.require(&table::RUN_MAX_TURNS)?,
            max_tool_calls: settings.require(&table::RUN_MAX_TOOL_CALLS)?,
            max_output_tokens: settings.get(&table::RUN_MAX_OUTPUT_TOKENS),
            max_total_tokens: settings.get(&table::RUN_MAX_TOTAL_TOKENS),
            max_duration: settings.get(&table::RUN_MAX_DURATION),
            max_cost: settings.get(&table::RUN_MAX_COST),
        },
        truncation: truncation(settings)?,
        summary_model: settings.get(&table::RUN_SUMMARY_MODEL),
        execution_limit: settings.require(&table::RUN_EXECUTION_LIMIT)?,
        waiting_limit: settings.require(&table::RUN_WAITING_LIMIT)?,
        lease: settings.require(&table::RUN_LEASE)?,
        event_retention: settings.require(&table::RUN_EVENT_RETENTION)?,
        call_timeout: settings.require(&table::RUN_CALL_TIMEOUT)?,
        parallel_calls: settings.require(&table::RUN_PARALLEL_CALLS)?,
        tool_output_limit_bytes: settings.require(&table::RUN_TOOL_OUTPUT_LIMIT)?,
    })
}

fn truncation(settings: &Settings) -> Result<TruncationSection, Error> {
    let said = (
        settings.source(&table::RUN_TRUNCATION),
        settings.source(&table::RUN_LAST_TURNS),
    );
    let strategy = match (settings.require(&table::RUN_TRUNCATION)?, said) {
        // As in a request: who bounds the turns wants the others left out.
        (TruncationStrategy::Disabled, (None, Some(_))) => TruncationStrategy::Auto,
        (TruncationStrategy::Disabled, (Some(_), Some(source))) => {
            return Err(Error::from(Problem::Unfit {
                key: table::RUN_LAST_TURNS.about.name.to_owned(),
                source,
                reason: format!("`{}` is `disabled`", table::RUN_TRUNCATION.about.name),
            }));
        }
        (strategy, _) => strategy,
    };
    Ok(TruncationSection {
        strategy,
        last_turns: settings.get(&table::RUN_LAST_TURNS),
        max_tokens: settings.get(&table::RUN_MAX_CONTEXT_TOKENS),
    })
}

#[cfg(test)]
mod tests;
