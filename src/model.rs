//! Language models; async-openai lives only here.
//!
//! [`OpenAi`] speaks to anything that is compatible with OpenAI, in one of three [`Dialect`]s; [`Router`] has any
//! number of such models, by their names; [`NotConfigured`] stands in where there is none. All are the heart's
//! [`Model`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use crate::run::error::{Error, Reason};
use crate::run::money::Prices;
use crate::run::ports::{Model, ModelRequest, ModelStatus, ModelStream};

mod account;
mod breaker;
mod budget;
mod circuit;
mod hedge;
mod key;
pub mod openai;
mod retry;
mod router;
pub mod tokens;

pub use breaker::BreakerSettings;
pub use openai::OpenAi;
pub use router::{Listing, Router};

/// Where a model is and how to ask it. Plain data: nobody here reads the environment.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What requests call the model where it has a table of its own; none is what its provider calls it.
    pub name: Option<String>,
    /// Further names for it.
    pub aliases: Vec<String>,
    /// The names of the models that answer instead when it cannot, the first choice first.
    pub fallbacks: Vec<String>,
    /// The address that paths such as `/responses` are added to; none is OpenAI's own.
    pub base_url: Option<String>,
    /// The key, sent as a bearer token; none sends no `Authorization`.
    pub api_key: Option<Secret>,
    /// The file with the key, in place of one above. It is read again when it changes.
    pub api_key_file: Option<PathBuf>,
    /// The header that the key goes into as it is; none sends it as a bearer token.
    pub api_key_header: Option<String>,
    /// The model, as its provider knows it.
    pub model: String,
    /// OpenAI's organisation id.
    pub organization: Option<String>,
    /// OpenAI's project id.
    pub project: Option<String>,
    /// Further headers, for gateways; they win over the ones above.
    pub headers: Vec<(String, String)>,
    /// How to speak to it; none is Responses with OpenAI itself and Chat Completions with everybody else.
    pub dialect: Option<Dialect>,
    /// Where the state of a conversation is kept, in the Responses dialect.
    pub state: State,
    /// How the model is given its reasoning back, in the Chat Completions dialect.
    pub reasoning_back: ReasoningBack,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What is done about failures and about too much at once.
    pub resilience: Resilience,
    /// Tokens that a conversation and its answer may have together, if that is known.
    pub context_tokens: Option<u64>,
    /// Tokens that one answer may have, if that is known.
    pub max_output_tokens: Option<u64>,
    /// What it costs, if that is known.
    pub prices: Option<Prices>,
    /// Whether an `Idempotency-Key` goes with every request; none sends one to OpenAI itself alone.
    pub idempotency_keys: Option<bool>,
}

impl Config {
    /// What requests call the model.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.model)
    }

    /// The address as it is written, or OpenAI's own.
    fn address(&self) -> &str {
        let address = self.base_url.as_deref().unwrap_or(openai::BASE);
        address.trim().trim_end_matches('/')
    }

    /// The key of the configuration that this setting comes from.
    fn field(&self, key: &str) -> String {
        match &self.name {
            Some(name) => format!("models.{name}.{key}"),
            None => format!("model.{key}"),
        }
    }
}

/// What is done about a provider that fails, and about too much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// How often one request is sent again before its answer begins.
    pub max_retries: u32,
    /// The share of all requests that may be sent again, in percent, besides a few.
    pub retry_percent: u32,
    /// When it is left alone.
    pub breaker: BreakerSettings,
    /// How long nothing comes of a request before a second one goes to the same model beside it, and the first that
    /// speaks is heard; none for never. The Assistants dialect never does: a thread there has one run at a time.
    pub hedge_after: Option<Duration>,
    /// Requests that may go on at once; none for any number. Models with one address and one key share their places:
    /// of several bounds, the smallest holds.
    pub max_concurrency: Option<u32>,
    /// Requests that may wait until one of them ends; the same holds of it.
    pub max_waiting: u32,
}

impl Default for Resilience {
    fn default() -> Self {
        Self {
            max_retries: 2,
            retry_percent: 20,
            breaker: BreakerSettings::default(),
            hedge_after: None,
            max_concurrency: None,
            max_waiting: 100,
        }
    }
}

/// Where the state of a conversation is kept, in the Responses dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Here alone: every request has the whole history.
    #[default]
    Stateless,
    /// At the provider too: a request has what is new, and names the response that it follows.
    PreviousResponse,
    /// At the provider too, in a conversation of the provider's: a request has what is new, and becomes a part of it.
    Conversation,
}

/// How a model is given back, with the calls that came of it, what it was thinking; in the Chat Completions dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReasoningBack {
    /// Under the name and in the form in which it came; only to the upstream and model that it came from.
    #[default]
    AsGiven,
    /// Not at all.
    Never,
    /// As `reasoning_content`, also that of other models, and an empty one where there is none.
    ReasoningContent,
    /// The same as `reasoning`.
    Reasoning,
}

/// How long to wait for the provider. A run's own deadline holds besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the head of the answer. Some servers send none before the model has begun to speak.
    pub first_byte: Duration,
    /// For the next byte after it. Models that reason without saying so are silent for long.
    pub idle: Duration,
    /// For the next event that says something, whatever bytes come meanwhile: comments keep a connection open also where
    /// nobody works on the answer any more.
    pub event: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            event: Duration::from_secs(300),
        }
    }
}

/// Which of OpenAI's APIs a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /responses`.
    Responses,
    /// `POST /chat/completions`.
    ChatCompletions,
    /// `POST /threads/…/runs` and what belongs to it, in its second version.
    Assistants,
}

impl Dialect {
    /// The name in configurations and in Health.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Responses => "responses",
            Dialect::ChatCompletions => "chat_completions",
            Dialect::Assistants => "assistants",
        }
    }
}

impl FromStr for Dialect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "responses" => Ok(Dialect::Responses),
            "chat_completions" => Ok(Dialect::ChatCompletions),
            "assistants" => Ok(Dialect::Assistants),
            _ => Err(Error::invalid(
                "model.dialect",
                "expected responses, chat_completions or assistants",
            )),
        }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be sent and not to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Gives the process a TLS implementation, unless it has one already. `main` does so first; a model that is
/// made without it, as in tests, makes up for it.
pub fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// No model: every request is `MODEL_NOT_CONFIGURED`.
#[derive(Clone, Copy, Debug)]
pub struct NotConfigured;

#[async_trait]
impl Model for NotConfigured {
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream, Error> {
        let error = Error::new(Reason::ModelNotConfigured, "no model is configured");
        Err(error.with("model", request.model))
    }

    fn status(&self) -> ModelStatus {
        ModelStatus {
            model: String::new(),
            endpoint: String::new(),
            dialect: "",
            simulated: false,
            trouble: Some("no model is configured".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_reads_back_from_its_name() {
        for dialect in [Dialect::Responses, Dialect::ChatCompletions, Dialect::Assistants] {
            assert_eq!(dialect.as_str().parse::<Dialect>().unwrap(), dialect);
        }
        assert_eq!(
            "Responses".parse::<Dialect>().unwrap_err().reason(),
            Reason::ValidationFailed
        );
    }

    #[test]
    fn a_secret_does_not_print() {
        let config = Config {
            api_key: Some(Secret::new("sk-1234")),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("1234"));
    }
}
