//! The models that an operator has named, and what became of each request to them.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::message::Usage;
use super::money::Prices;

/// One model that requests can name, as the operator configured it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelCard {
    /// What requests say.
    pub name: String,
    /// What its provider calls it.
    pub provider_model: String,
    /// Further names that requests can say.
    pub aliases: Vec<String>,
    /// The scheme, host and port of the provider, without path and credentials.
    pub endpoint: String,
    /// How it is spoken to: `responses` or `chat_completions`.
    pub dialect: &'static str,
    /// Whether it answers when neither the request nor the assistant names a model.
    pub is_default: bool,
    /// Whether it is the built-in simulator.
    pub simulated: bool,
    /// The models that answer instead when it cannot, the first choice first.
    pub fallbacks: Vec<String>,
    /// Tokens that a conversation and its answer may have together; none when nobody has said.
    pub context_tokens: Option<u64>,
    /// Tokens that one answer may have; none when nobody has said.
    pub max_output_tokens: Option<u64>,
    /// Requests that may go on at once; none for any number.
    pub max_concurrency: Option<u32>,
    /// What it costs; none when nobody has said.
    pub prices: Option<Prices>,
}

/// How a model has been lately, from memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why the last request failed, until one succeeds.
    pub trouble: Option<String>,
    /// Until when nothing is sent to it, because too much has failed.
    pub closed_until: Option<SystemTime>,
    /// Requests whose answers are not over. Zero where nothing bounds them.
    pub at_work: usize,
    /// Requests that wait for one of those to end.
    pub waiting: usize,
}

/// One request to a model, or one that was not sent because it could not have worked. What is stored is the
/// serialised form: rename with care.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// [`ModelCard::name`] of the model, or what the request said where no model has that name.
    pub model: String,
    /// What the provider calls the model.
    pub provider_model: String,
    /// The scheme, host and port that it went to.
    pub endpoint: String,
    /// What became of it.
    pub result: AttemptResult,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// How long it was waited before it was sent: for its turn, or because the one before it failed.
    pub wait: Duration,
    /// From sending it to the first piece of its answer, to its failure, or to when it was given up.
    pub latency: Duration,
    /// What it used, where it failed and its provider said so all the same; with what that costs, once somebody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What became of a request to a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// The answer began. How it ended is the turn's to tell.
    Answered,
    /// It was sent and failed before the answer began; the text is the name of an error's reason.
    Failed(String),
    /// It was sent, and dropped before its answer began, because another one beside it was answered first.
    Overtaken,
    /// It was sent, and given up before its answer began, with the turn that it was for.
    Abandoned,
    /// It was not sent; the text is the name of an error's reason.
    NotSent(String),
}
