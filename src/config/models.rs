//! `[models.NAME]`: a table for each model that requests can name. What can stand in one is described once, here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use strsim::normalized_damerau_levenshtein;

use super::environment::Environment;
use super::form;
use super::key::{About, Entry, Fallback, Key, MASK, looks_like_a_variable};
use super::problem::{Error, Nearest, Problem, nearest};
use super::secret::Secret;
use super::section::{
    Dialect, ModelEndpoint, ModelPrices, ModelResilience, ModelState, ModelTimeouts, NamedModel,
    ReasoningBack,
};
use super::settings::{Setting, Settings, Source, check};
use super::table;

/// The table that the tables are in.
pub const SECTION: &str = "models";

/// The keys of one table, in the order in which they are shown.
pub const KEYS: &[&dyn Entry] = &[
    &MODEL,
    &BASE_URL,
    &API_KEY_ENV,
    &API_KEY_FILE,
    &API_KEY_HEADER,
    &HEADERS,
    &DIALECT,
    &STATE,
    &REASONING_BACK,
    &ORGANIZATION,
    &PROJECT,
    &ALIASES,
    &FALLBACKS,
    &CONTEXT_TOKENS,
    &MAX_OUTPUT_TOKENS,
    &INPUT_PRICE,
    &CACHED_INPUT_PRICE,
    &OUTPUT_PRICE,
    &REASONING_PRICE,
    &MAX_CONCURRENCY,
    &MAX_WAITING,
    &HEDGE_AFTER,
    &CONNECT_TIMEOUT,
    &FIRST_BYTE_TIMEOUT,
    &IDLE_TIMEOUT,
    &EVENT_TIMEOUT,
    &MAX_RETRIES,
    &RETRY_PERCENT,
    &BREAKER_FAILURES,
    &BREAKER_FAILURE_PERCENT,
    &BREAKER_WINDOW,
    &BREAKER_COOLDOWN,
    &IDEMPOTENCY_KEYS,
];

/// A key without a variable or a flag: there may be any number of such tables.
const fn about(name: &'static str, unset: &'static str, help: &'static str) -> About {
    About {
        name,
        env: "",
        flag: None,
        default: Fallback::Unset(unset),
        help,
    }
}

macro_rules! keys {
    ($($name:ident: $type:ty = $key:literal, $form:expr, $unset:literal, $help:literal;)*) => {
        $(static $name: Key<$type> = Key { about: about($key, $unset, $help), form: $form };)*
    };
}

keys! {
    MODEL: String = "model", form::NAME, "NAME",
        "What the provider calls the model";
    BASE_URL: String = "base_url", form::URL, "OpenAI's",
        "An OpenAI-compatible API, up to and with its version";
    API_KEY_ENV: String = "api_key_env", form::VARIABLE, "none",
        "The environment variable that holds the API key, read at the start";
    API_KEY_FILE: PathBuf = "api_key_file", form::PATH, "none",
        "A file that holds the API key and nothing else. It is read again when it changes";
    API_KEY_HEADER: String = "api_key_header", form::HEADER_NAME, "`Authorization`, as a bearer token",
        "The header that the API key is sent in as it is, such as Azure's `api-key`";
    HEADERS: Vec<(String, Secret)> = "headers", form::HEADERS, "none",
        "Headers that are sent with every request. `${NAME}` in a value stands for an environment variable";
    DIALECT: Dialect = "dialect", form::DIALECT,
        "`responses` for api.openai.com, `chat_completions` for any other base URL",
        "The API that the model speaks";
    STATE: ModelState = "state", form::MODEL_STATE, "`model.state`",
        "Where the state of a conversation is kept, in the Responses dialect";
    REASONING_BACK: ReasoningBack = "reasoning_back", form::REASONING_BACK, "`model.reasoning_back`",
        "How the model is given back, with its calls, what it was thinking, in the Chat Completions dialect";
    ORGANIZATION: String = "organization", form::NAME, "none",
        "The organization that the provider bills";
    PROJECT: String = "project", form::NAME, "none",
        "The project that the provider books requests on";
    ALIASES: Vec<String> = "aliases", form::NAMES, "none",
        "Further names that requests can say";
    FALLBACKS: Vec<String> = "fallbacks", form::NAMES, "none",
        "The models that answer instead when this one cannot, the first choice first, by name or alias";
    CONTEXT_TOKENS: u64 = "context_tokens", form::AMOUNT, "not known",
        "Tokens that a conversation and its answer may have together";
    MAX_OUTPUT_TOKENS: u64 = "max_output_tokens", form::AMOUNT, "not known",
        "Tokens that the model can write in one answer";
    INPUT_PRICE: u64 = "input_price", form::MONEY, "not known",
        "What a million tokens cost that the model reads, in `model.currency`";
    CACHED_INPUT_PRICE: u64 = "cached_input_price", form::MONEY, "`input_price`",
        "What a million tokens cost that it reads and that the provider had cached";
    OUTPUT_PRICE: u64 = "output_price", form::MONEY, "not known",
        "What a million tokens cost that it writes";
    REASONING_PRICE: u64 = "reasoning_price", form::MONEY, "`output_price`",
        "What a million tokens of reasoning cost, where they do not cost what the rest of the answer does";
    MAX_CONCURRENCY: u32 = "max_concurrency", form::COUNT, "`model.max_concurrency`",
        "Requests that go on at the same time; a streamed answer counts until it ends";
    MAX_WAITING: u32 = "max_waiting", form::NUMBER, "`model.max_waiting`",
        "Requests that wait until one of those ends; one more is refused as overloaded, or goes to a fallback";
    HEDGE_AFTER: Duration = "hedge_after", form::DURATION, "`model.hedge_after`",
        "How long the first piece of an answer may take before a second request goes to the same model, and the first to \
         speak is heard. Not in the Assistants dialect";
    CONNECT_TIMEOUT: Duration = "connect_timeout", form::DURATION, "`model.connect_timeout`",
        "How long to wait for a connection";
    FIRST_BYTE_TIMEOUT: Duration = "first_byte_timeout", form::DURATION, "`model.first_byte_timeout`",
        "How long to wait from a request to the head of its answer";
    IDLE_TIMEOUT: Duration = "idle_timeout", form::DURATION, "`model.idle_timeout`",
        "How long a stream may be silent before it counts as broken";
    EVENT_TIMEOUT: Duration = "event_timeout", form::DURATION, "`model.event_timeout`",
        "How long a stream may say nothing, whatever bytes come, before it counts as broken";
    MAX_RETRIES: u32 = "max_retries", form::NUMBER, "`model.max_retries`",
        "How often a request is sent again before its answer begins";
    RETRY_PERCENT: u32 = "retry_percent", form::PERCENT, "`model.retry_percent`",
        "The share of all requests that may be sent again, besides one a second";
    BREAKER_FAILURES: u32 = "breaker_failures", form::NUMBER, "`model.breaker_failures`",
        "Failures one after the other after which the model is left alone; 0 never leaves it alone";
    BREAKER_FAILURE_PERCENT: u32 = "breaker_failure_percent", form::PERCENT, "`model.breaker_failure_percent`",
        "The share of failures, among at least 20 answers, that does the same";
    BREAKER_WINDOW: Duration = "breaker_window", form::DURATION, "`model.breaker_window`",
        "How far back that share is counted";
    BREAKER_COOLDOWN: Duration = "breaker_cooldown", form::DURATION, "`model.breaker_cooldown`",
        "How long the model is left alone before one request tries it again";
    IDEMPOTENCY_KEYS: bool = "idempotency_keys", form::SWITCH, "`true` for api.openai.com, `false` for others",
        "Whether each request has an `Idempotency-Key`, the same when it is sent again";
}

/// One table as somebody wrote it.
#[derive(Clone, Debug)]
pub struct NamedTable {
    /// The name of the model.
    pub name: String,
    /// Where the table is.
    pub source: Source,
    /// What it says, by key.
    pub settings: BTreeMap<&'static str, Setting>,
}

impl NamedTable {
    /// A key as it is written in full.
    pub fn key(&self, key: &str) -> String {
        format!("{SECTION}.{}.{key}", self.name)
    }

    fn get<T>(&self, key: &Key<T>) -> Option<T> {
        (key.form.parse)(&self.settings.get(key.about.name)?.raw)
    }

    fn or<T>(&self, key: &Key<T>, settings: &Settings, of_all: &Key<T>) -> Result<T, Error> {
        self.get(key).map_or_else(|| settings.require(of_all), Ok)
    }

    /// A path; it is meant from where the file is.
    fn path(&self, key: &Key<PathBuf>) -> Option<PathBuf> {
        let path = self.get(key)?;
        Some(match &self.settings.get(key.about.name)?.source {
            Source::File { path: file, .. } => file.parent().unwrap_or(Path::new("")).join(path),
            _ => path,
        })
    }

    fn unfit<T>(&self, key: &Key<T>, reason: String) -> Problem {
        let setting = self.settings.get(key.about.name);
        Problem::Unfit {
            key: self.key(key.about.name),
            source: setting.map_or(&self.source, |setting| &setting.source).clone(),
            reason,
        }
    }

    /// The headers with what their references stand for.
    fn headers(&self, environment: &Environment) -> Result<Vec<(String, Secret)>, Problem> {
        let headers = self.get(&HEADERS).unwrap_or_default();
        let expand = |(name, value): (String, Secret)| {
            let value = expand(value.reveal(), environment);
            let value = value.map_err(|reason| self.unfit(&HEADERS, format!("{name}: {reason}")))?;
            Ok((name, Secret::new(value)))
        };
        headers.into_iter().map(expand).collect()
    }

    fn api_key(&self, environment: &Environment) -> Result<Option<Secret>, Problem> {
        let Some(name) = self.get(&API_KEY_ENV) else {
            return Ok(None);
        };
        let key = environment.lookup(&name).and_then(form::header_text);
        let missing = || {
            // Somebody may have put the key itself here.
            let shown = if looks_like_a_variable(&name) { &name } else { MASK };
            let reason = format!("the environment variable {shown} is not set, or is no key");
            self.unfit(&API_KEY_ENV, reason)
        };
        key.map(|key| Some(Secret::new(key))).ok_or_else(missing)
    }

    /// What the model costs.
    fn prices(&self, settings: &Settings) -> Result<Option<ModelPrices>, Error> {
        let (Some(input), Some(output)) = (self.get(&INPUT_PRICE), self.get(&OUTPUT_PRICE)) else {
            return Ok(None);
        };
        Ok(Some(ModelPrices {
            currency: settings.require(&table::MODEL_CURRENCY)?,
            input,
            cached_input: self.get(&CACHED_INPUT_PRICE).unwrap_or(input),
            output,
            reasoning: self.get(&REASONING_PRICE),
        }))
    }

    /// A price that is there while one is missing that it takes to know what a turn costs.
    fn lonely_price(&self) -> Option<Problem> {
        let prices = [&INPUT_PRICE, &CACHED_INPUT_PRICE, &OUTPUT_PRICE, &REASONING_PRICE];
        let has = |price: &&Key<u64>| self.settings.contains_key(price.about.name);
        let given = prices.into_iter().find(has)?;
        let missing = [&INPUT_PRICE, &OUTPUT_PRICE]
            .into_iter()
            .find(|price| !has(price))?;
        Some(self.unfit(given, format!("`{}` is to be given too", missing.about.name)))
    }

    /// An answer that has more room than the conversation and it together.
    fn long_answer(&self) -> Option<Problem> {
        let reason = long_answer(
            self.get(&MAX_OUTPUT_TOKENS),
            self.get(&CONTEXT_TOKENS),
            CONTEXT_TOKENS.about.name,
        )?;
        Some(self.unfit(&MAX_OUTPUT_TOKENS, reason))
    }

    /// The model that the table describes; what it leaves out is as in `[model]`.
    pub(super) fn section(&self, settings: &Settings) -> Result<NamedModel, Error> {
        let environment = settings.environment();
        Ok(NamedModel {
            name: self.name.clone(),
            provider_model: self.get(&MODEL).unwrap_or_else(|| self.name.clone()),
            aliases: self.get(&ALIASES).unwrap_or_default(),
            fallbacks: self.get(&FALLBACKS).unwrap_or_default(),
            endpoint: ModelEndpoint {
                base_url: self.get(&BASE_URL),
                api_key: self.api_key(environment)?,
                api_key_file: self.path(&API_KEY_FILE),
                api_key_header: self.get(&API_KEY_HEADER),
                organization: self.get(&ORGANIZATION),
                project: self.get(&PROJECT),
                headers: self.headers(environment)?,
            },
            dialect: self.get(&DIALECT),
            state: self.or(&STATE, settings, &table::MODEL_STATE)?,
            reasoning_back: self.or(&REASONING_BACK, settings, &table::MODEL_REASONING_BACK)?,
            timeouts: ModelTimeouts {
                connect: self.or(&CONNECT_TIMEOUT, settings, &table::MODEL_CONNECT_TIMEOUT)?,
                first_byte: self.or(&FIRST_BYTE_TIMEOUT, settings, &table::MODEL_FIRST_BYTE_TIMEOUT)?,
                idle: self.or(&IDLE_TIMEOUT, settings, &table::MODEL_IDLE_TIMEOUT)?,
                event: self.or(&EVENT_TIMEOUT, settings, &table::MODEL_EVENT_TIMEOUT)?,
            },
            resilience: ModelResilience {
                max_retries: self.or(&MAX_RETRIES, settings, &table::MODEL_MAX_RETRIES)?,
                retry_percent: self.or(&RETRY_PERCENT, settings, &table::MODEL_RETRY_PERCENT)?,
                breaker_failures: self.or(&BREAKER_FAILURES, settings, &table::MODEL_BREAKER_FAILURES)?,
                breaker_failure_percent: self.or(
                    &BREAKER_FAILURE_PERCENT,
                    settings,
                    &table::MODEL_BREAKER_FAILURE_PERCENT,
                )?,
                breaker_window: self.or(&BREAKER_WINDOW, settings, &table::MODEL_BREAKER_WINDOW)?,
                breaker_cooldown: self.or(&BREAKER_COOLDOWN, settings, &table::MODEL_BREAKER_COOLDOWN)?,
                max_concurrency: self
                    .get(&MAX_CONCURRENCY)
                    .or_else(|| settings.get(&table::MODEL_MAX_CONCURRENCY)),
                max_waiting: self.or(&MAX_WAITING, settings, &table::MODEL_MAX_WAITING)?,
                hedge_after: self
                    .get(&HEDGE_AFTER)
                    .or_else(|| settings.get(&table::MODEL_HEDGE_AFTER)),
            },
            context_tokens: self.get(&CONTEXT_TOKENS),
            max_output_tokens: self.get(&MAX_OUTPUT_TOKENS),
            prices: self.prices(settings)?,
            idempotency_keys: self.get(&IDEMPOTENCY_KEYS),
        })
    }
}

/// Why an answer cannot have so many tokens, if that is more than it and the conversation may have together: so many
/// as `key` says.
pub(super) fn long_answer(max_output: Option<u64>, context: Option<u64>, key: &str) -> Option<String> {
    let (max_output, context) = max_output
        .zip(context)
        .filter(|(max_output, context)| max_output > context)?;
    Some(format!(
        "{max_output} is more than the {context} of `{key}`, which are for the conversation and its answer together"
    ))
}

/// What is wrong with a fallback that no model is called, if that is so.
pub(super) fn no_such_model<'a>(fallback: &str, known: impl Iterator<Item = &'a str>) -> String {
    let alike = |known: &&str| normalized_damerau_levenshtein(known, fallback);
    let nearest = nearest(known, alike);
    format!("no model is called `{fallback}`{}", Nearest(nearest))
}

/// The fallbacks of these tables that are called like `unlisted`, the name in `[model]`, where that has no provider.
pub(super) fn without_provider(tables: &[NamedTable], unlisted: &str) -> Vec<Problem> {
    let is_its = |table: &&NamedTable| {
        table
            .get(&FALLBACKS)
            .unwrap_or_default()
            .iter()
            .any(|name| name == unlisted)
    };
    let lonely = tables.iter().filter(is_its).map(|table| {
        let reason =
            format!("`{unlisted}` is the model of `[model]`, which has neither a key nor a base URL");
        table.unfit(&FALLBACKS, reason)
    });
    lonely.collect()
}

/// What is wrong with these tables, each by itself and all together; `unlisted` is what `[model]` is called.
pub(super) fn problems(tables: &[NamedTable], unlisted: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::from([unlisted]);
    names.extend(tables.iter().map(|table| table.name.as_str()));
    let aliases: Vec<Vec<String>> = tables
        .iter()
        .map(|table| table.get(&ALIASES).unwrap_or_default())
        .collect();
    let mut taken: BTreeSet<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    for (table, aliases) in tables.iter().zip(&aliases) {
        for entry in KEYS {
            let setting = table.settings.get(entry.about().name);
            let key = || table.key(entry.about().name);
            problems.extend(setting.and_then(|setting| check(*entry, setting, key)));
        }
        if !is_name(&table.name) {
            problems.push(Problem::Unfit {
                key: format!("{SECTION}.{}", table.name),
                source: table.source.clone(),
                reason:
                    "the name may hold letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
                        .to_owned(),
            });
        }
        if table.settings.contains_key(API_KEY_ENV.about.name)
            && table.settings.contains_key(API_KEY_FILE.about.name)
        {
            let reason = format!("`{}` is given too", API_KEY_ENV.about.name);
            problems.push(table.unfit(&API_KEY_FILE, reason));
        }
        problems.extend(table.lonely_price());
        problems.extend(table.long_answer());
        for alias in aliases {
            if !taken.insert(alias) {
                problems.push(table.unfit(&ALIASES, format!("`{alias}` is the name of another model too")));
            }
        }
    }
    names.extend(taken);
    for table in tables {
        for fallback in table.get(&FALLBACKS).unwrap_or_default() {
            if fallback == table.name {
                problems.push(table.unfit(&FALLBACKS, "a model cannot stand in for itself".to_owned()));
            } else if !names.contains(fallback.as_str()) {
                let reason = no_such_model(&fallback, names.iter().copied());
                problems.push(table.unfit(&FALLBACKS, reason));
            }
        }
    }
    problems
}

/// The variables that these tables refer to and that are not there. Only who asks the models needs them: a client in
/// the same folder does not have the provider's key.
pub(super) fn missing_references(tables: &[NamedTable], environment: &Environment) -> Vec<Problem> {
    let missing = |table: &NamedTable| {
        let key = table.api_key(environment).err();
        key.into_iter().chain(table.headers(environment).err())
    };
    tables.iter().flat_map(missing).collect()
}

/// Whether it can be a part of a resource's name as it is.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-'))
}

/// Replaces each `${NAME}` by the variable of that name.
fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind
            .split_once('}')
            .ok_or_else(|| "`${` is not closed".to_owned())?;
        let value = environment
            .lookup(name)
            .and_then(form::header_text)
            .ok_or_else(|| format!("the environment variable {name} is not set, or does not fit a header"))?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
