//! Resource names (AIP-122): `threads/{thread}`, `threads/{thread}/runs/{run}`, `tools/{tool}`, ….

use crate::run::error::{Error, Reason};
use crate::run::id::{MessageId, RunId, ThreadId};

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

/// Reads the name of a tool.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field when it is not of the form `tools/{tool}`.
pub fn parse_tool<'a>(field: &str, name: &'a str) -> Result<&'a str, Error> {
    name.strip_prefix("tools/")
        .filter(|tool| !tool.is_empty())
        .ok_or_else(|| Error::invalid(field, "must be of the form tools/{tool}"))
}

/// Checks that the assistant that a request names is there: the default one, by name or by not naming any.
///
/// # Errors
/// `VALIDATION_FAILED` for something that is no assistant's name, `ASSISTANT_NOT_FOUND` for one of no assistant.
pub fn check_assistant(field: &str, name: &str) -> Result<(), Error> {
    match name {
        "" | DEFAULT_ASSISTANT => Ok(()),
        name if name.starts_with("assistants/") => Err(Error::new(
            Reason::AssistantNotFound,
            format!("there is no assistant {name}"),
        )
        .with("assistant", name)),
        _ => Err(Error::invalid(
            field,
            "must be of the form assistants/{assistant}",
        )),
    }
}
