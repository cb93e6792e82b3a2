//! Reads the `messages` and the `tools` of a Chat Completions request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::simulator::ask::text_of;
use crate::simulator::refusal::Refusal;

/// What the conversation ends with.
#[derive(Default)]
pub(super) struct Said {
    pub message: String,
    pub outputs: Vec<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    tool_calls: Option<Vec<CallId>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct CallId {
    id: String,
}

/// Reads the messages. As at OpenAI, every call must be answered by the tool messages right after it,
/// and every tool message must answer a call.
pub(super) fn read(raw: &RawValue) -> Result<Said, Refusal> {
    let messages: Vec<Message<'_>> = serde_json::from_str(raw.get())?;
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
        return Err(Refusal::invalid(Some("messages"), Some("empty_array"), message));
    }
    let mut said = Said::default();
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        if message.role == "tool" {
            let id = message
                .tool_call_id
                .ok_or_else(|| Refusal::missing("messages[].tool_call_id"))?;
            let call = open
                .iter()
                .position(|call| *call == id)
                .ok_or_else(|| no_call(&id))?;
            open.swap_remove(call);
            said.outputs.push(text_of(message.content)?);
            continue;
        }
        all_answered(&open)?;
        if message.role == "user" {
            said = Said {
                message: text_of(message.content)?,
                outputs: Vec::new(),
            };
        }
        open = message
            .tool_calls
            .into_iter()
            .flatten()
            .map(|call| call.id)
            .collect();
    }
    all_answered(&open)?;
    Ok(said)
}

fn no_call(id: &str) -> Refusal {
    let message =
        format!("Invalid parameter: the tool message for '{id}' does not follow a message that calls it.");
    Refusal::invalid(Some("messages"), None, message)
}

fn all_answered(open: &[String]) -> Result<(), Refusal> {
    if open.is_empty() {
        return Ok(());
    }
    let ids = open.join(", ");
    let message = format!("Every 'tool_call_id' must be answered by a tool message right after it: {ids}.");
    Err(Refusal::invalid(Some("messages"), None, message))
}

#[derive(Deserialize)]
struct Tool {
    r#type: String,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
}

/// The names of the function tools.
pub(super) fn tool_names(raw: Option<&RawValue>) -> Result<Vec<String>, Refusal> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let tools: Vec<Tool> = serde_json::from_str(raw.get())?;
    let functions = tools.into_iter().filter(|tool| tool.r#type == "function");
    functions
        .map(|tool| tool.function.map(|function| function.name))
        .map(|name| name.ok_or_else(|| Refusal::missing("tools[].function.name")))
        .collect()
}
