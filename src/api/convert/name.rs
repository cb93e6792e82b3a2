//! Resource names (AIP-122): `threads/{thread}`, `threads/{thread}/runs/{run}`, `tools/{tool}`, ….

use crate::run::error::Error;
use crate::run::id::{AssistantId, MessageId, RunId, StepId, ThreadId};

/// The assistant that every run uses unless it says otherwise: the operator's configuration.
pub const DEFAULT_ASSISTANT: &str = "assistants/default";

/// The name of a thread.
pub fn thread(thread: &ThreadId) -> String {
    format!("threads/{thread}")
}

/// The name of a run.
pub fn run(thread: &ThreadId, run: &RunId) -> String {
    format!("threads/{thread}/runs/{run}")
}

/// The name of a step of a run.
pub fn step(thread: &ThreadId, run: &RunId, step: &StepId) -> String {
    format!("threads/{thread}/runs/{run}/steps/{step}")
}

/// The name of a message.
pub fn message(thread: &ThreadId, message: &MessageId) -> String {
    format!("threads/{thread}/messages/{message}")
}

/// The name of a tool.
pub fn tool(tool: &str) -> String {
    format!("tools/{tool}")
}

/// Reads the name of a thread.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `threads/{thread}`.
pub fn parse_thread(field: &str, name: &str) -> Result<ThreadId, Error> {
    name.strip_prefix("threads/")
        .and_then(|id| ThreadId::parse(id).ok())
        .ok_or_else(|| Error::invalid(field, "must be of the form threads/{thread}"))
}

/// Reads the name of a run.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `threads/{thread}/runs/{run}`.
pub fn parse_run(field: &str, name: &str) -> Result<(ThreadId, RunId), Error> {
    child(name, "/runs/")
        .and_then(|(thread, run)| Some((thread, RunId::parse(run).ok()?)))
        .ok_or_else(|| Error::invalid(field, "must be of the form threads/{thread}/runs/{run}"))
}

/// Reads the name of a message.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `threads/{thread}/messages/{message}`.
pub fn parse_message(field: &str, name: &str) -> Result<(ThreadId, MessageId), Error> {
    child(name, "/messages/")
        .and_then(|(thread, message)| Some((thread, MessageId::parse(message).ok()?)))
        .ok_or_else(|| Error::invalid(field, "must be of the form threads/{thread}/messages/{message}"))
}

fn child<'a>(name: &'a str, collection: &str) -> Option<(ThreadId, &'a str)> {
    let (thread, child) = name.strip_prefix("threads/")?.split_once(collection)?;
    Some((ThreadId::parse(thread).ok()?, child))
}

/// The etag of a version.
pub fn etag(version: u64) -> String {
    format!("{version:x}")
}

/// The version that an etag stands for; none for an empty one, and for one that is none of ours a version that
/// nothing has.
pub fn parse_etag(etag: &str) -> Option<u64> {
    (!etag.is_empty()).then(|| u64::from_str_radix(etag, 16).unwrap_or(0))
}

/// Reads the name of a tool.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `tools/{tool}`.
pub fn parse_tool<'a>(field: &str, name: &'a str) -> Result<&'a str, Error> {
    name.strip_prefix("tools/")
        .filter(|tool| !tool.is_empty())
        .ok_or_else(|| Error::invalid(field, "must be of the form tools/{tool}"))
}

/// The name of a model.
pub fn model(model: &str) -> String {
    format!("models/{model}")
}

/// Reads the name of a model.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `models/{model}`.
pub fn parse_model<'a>(field: &str, name: &'a str) -> Result<&'a str, Error> {
    name.strip_prefix("models/")
        .filter(|model| !model.is_empty())
        .ok_or_else(|| Error::invalid(field, "must be of the form models/{model}"))
}

/// The name of a prompt.
pub fn prompt(prompt: &str) -> String {
    format!("prompts/{prompt}")
}

/// Reads the name of a prompt.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `prompts/{prompt}`.
pub fn parse_prompt<'a>(field: &str, name: &'a str) -> Result<&'a str, Error> {
    name.strip_prefix("prompts/")
        .filter(|prompt| !prompt.is_empty())
        .ok_or_else(|| Error::invalid(field, "must be of the form prompts/{prompt}"))
}

/// The name of an assistant; none is the default one.
pub fn assistant(assistant: Option<&AssistantId>) -> String {
    match assistant {
        Some(assistant) => format!("assistants/{assistant}"),
        None => DEFAULT_ASSISTANT.to_owned(),
    }
}

/// Reads the name of an assistant: none for the default one, by name or by an empty name.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `assistants/{assistant}`.
pub fn parse_assistant(field: &str, name: &str) -> Result<Option<AssistantId>, Error> {
    match name {
        "" | DEFAULT_ASSISTANT => Ok(None),
        name => name
            .strip_prefix("assistants/")
            .and_then(|id| AssistantId::parse(id).ok())
            .map(Some)
            .ok_or_else(|| Error::invalid(field, "must be of the form assistants/{assistant}")),
    }
}
