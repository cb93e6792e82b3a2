//! From a provider's answer to the heart's events, without I/O: what the dialects have in common.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::Dialect;
use crate::run::message::Usage;
use crate::run::ports::ModelEvent;

use super::assistants::events as assistants;
use super::chat_completions::chunks;
use super::error::Failure;
use super::loose::Loose;
use super::responses::events;
use super::sse;

/// Events that wait to be given out.
pub(super) type Events = VecDeque<ModelEvent>;

/// Reads one answer. After [`is_done`](Decoder::is_done), the last event given out is `Finished`.
#[derive(Clone, Debug)]
pub(super) enum Decoder {
    Responses(events::Decoder),
    ChatCompletions(chunks::Decoder),
    Assistants(Box<assistants::Decoder>),
}

impl Decoder {
    /// For an answer in this dialect.
    pub(super) fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Responses => Self::Responses(events::Decoder::default()),
            Dialect::ChatCompletions => Self::ChatCompletions(chunks::Decoder::default()),
            Dialect::Assistants => Self::Assistants(Box::default()),
        }
    }

    /// Takes one event of a stream.
    ///
    /// # Errors
    /// The provider's own, or that the event cannot be read.
    pub(super) fn event(&mut self, event: &sse::Event<'_>, out: &mut Events) -> Result<(), Failure> {
        if self.is_done() {
            return Ok(());
        }
        let data = as_text(event.data);
        let name = as_text(event.name);
        match self {
            Self::Responses(decoder) => decoder.event(&name, &data, out),
            Self::ChatCompletions(decoder) => decoder.event(&name, &data, out),
            Self::Assistants(decoder) => decoder.event(&name, &data, out),
        }
    }

    /// Takes an answer that came in one piece although a stream was asked for.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub(super) fn whole(&mut self, body: &[u8], out: &mut Events) -> Result<(), Failure> {
        let body = as_text(body);
        match self {
            Self::Responses(decoder) => decoder.whole(&body, out),
            Self::ChatCompletions(decoder) => decoder.whole(&body, out),
            Self::Assistants(decoder) => decoder.whole(&body, out),
        }
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub(super) fn end(&mut self, out: &mut Events) -> Result<(), Failure> {
        match self {
            Self::Responses(decoder) => decoder.end(),
            Self::ChatCompletions(decoder) => decoder.end(out),
            Self::Assistants(decoder) => decoder.end(),
        }
    }

    /// Whether the answer is complete, and what may follow means nothing.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Responses(decoder) => decoder.is_done(),
            Self::ChatCompletions(decoder) => decoder.is_done(),
            Self::Assistants(decoder) => decoder.is_done(),
        }
    }
}

/// What is no UTF-8 is replaced. The strict check is the faster one by far, and passes as good as always.
fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Reads a JSON object into a type of ours. `None` is valid JSON of a shape that we do not know: to be
/// skipped, like everything unknown.
///
/// # Errors
/// When it is not JSON: something has been lost.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<Option<T>, Failure> {
    match serde_json::from_str(json) {
        Ok(value) => Ok(Some(value)),
        Err(_) if serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok() => Ok(None),
        Err(error) => Err(Failure::broken(format!("the answer is not valid json: {error}"))),
    }
}

/// A failure out of a part of an answer.
pub(super) fn failure(json: &str) -> Failure {
    match serde_json::from_str::<Value>(json) {
        Ok(body) => Failure::from_body(&body),
        Err(_) => Failure::broken(json),
    }
}

/// Tokens, in the words of either dialect; some servers use both at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireUsage<'a> {
    #[serde(borrow)]
    input_tokens: Loose<'a>,
    #[serde(borrow)]
    prompt_tokens: Loose<'a>,
    #[serde(borrow)]
    output_tokens: Loose<'a>,
    #[serde(borrow)]
    completion_tokens: Loose<'a>,
    input_tokens_details: Option<Details>,
    prompt_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

/// Reads a report of tokens; one that cannot be read is none.
pub(super) fn usage(json: &RawValue) -> Option<Usage> {
    let wire: WireUsage<'_> = serde_json::from_str(json.get()).ok()?;
    let input = wire.input_tokens_details.or(wire.prompt_tokens_details);
    let output = wire.output_tokens_details.or(wire.completion_tokens_details);
    let input_tokens = wire.input_tokens.as_u64().or(wire.prompt_tokens.as_u64());
    let output_tokens = wire.output_tokens.as_u64().or(wire.completion_tokens.as_u64());
    if input_tokens.is_none() && output_tokens.is_none() {
        return None;
    }
    Some(Usage {
        input_tokens: input_tokens.unwrap_or(0),
        cached_tokens: input.and_then(|details| details.cached_tokens).unwrap_or(0),
        output_tokens: output_tokens.unwrap_or(0),
        reasoning_tokens: output.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        // Turns and calls are counted by who makes them.
        ..Usage::default()
    })
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod servers;
