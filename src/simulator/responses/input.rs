//! Reads the `input` and the `tools` of a Responses request.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{Absent, Repeated};
use crate::simulator::ask::text_of;
use crate::simulator::refusal::Refusal;

/// What the conversation ends with.
#[derive(Default)]
pub(super) struct Input {
    pub message: String,
    pub outputs: Vec<String>,
}

#[derive(Deserialize)]
struct InputItem<'a> {
    #[serde(borrow, default = "message_type")]
    r#type: Cow<'a, str>,
    role: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    call_id: Option<String>,
}

fn message_type() -> Cow<'static, str> {
    Cow::Borrowed("message")
}

/// Reads a string or a list of items. As at OpenAI, a call without an output and an output without a
/// call are errors: a history with a hole is not continued.
pub(super) fn read(raw: &RawValue) -> Result<Input, Refusal> {
    if !raw.get().starts_with('[') {
        return Ok(Input {
            message: serde_json::from_str(raw.get())?,
            outputs: Vec::new(),
        });
    }
    let items: Vec<InputItem<'_>> = serde_json::from_str(raw.get())?;
    let mut input = Input::default();
    let mut open: Vec<String> = Vec::new();
    let mut answered: Vec<String> = Vec::new();
    for item in items {
        match &*item.r#type {
            "message" if item.role.as_deref() == Some("user") => {
                input.message = text_of(item.content)?;
                input.outputs.clear();
            }
            "function_call" => open.push(item.call_id.ok_or_else(|| Refusal::missing("input[].call_id"))?),
            "function_call_output" => {
                let id = item.call_id.ok_or_else(|| Refusal::missing("input[].call_id"))?;
                if !open.contains(&id) {
                    return Err(unmatched(format!(
                        "No tool call found for function call output with call_id {id}."
                    )));
                }
                input.outputs.push(text_of(item.output)?);
                answered.push(id);
            }
            // Other messages, reasoning and whatever else there is do not decide about the answer.
            _ => {}
        }
    }
    match open.iter().find(|id| !answered.contains(id)) {
        Some(id) => Err(unmatched(format!("No tool output found for function call {id}."))),
        None => Ok(input),
    }
}

fn unmatched(message: String) -> Refusal {
    Refusal::invalid(Some("input"), None, message)
}

#[derive(Deserialize)]
struct OfferedTool {
    r#type: String,
    name: Option<String>,
    #[serde(default)]
    strict: Present,
    #[serde(default)]
    parameters: Present,
}

/// Whether a field is there, be it null.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Present(true))
    }
}

/// The names of the function tools, and the tools as the answer repeats them: word for word, or with
/// the fields that an answer must have where the request left them out.
pub(super) fn tools(given: Option<&RawValue>) -> Result<(Vec<String>, Repeated<'_>), Refusal> {
    let Some(given) = given else {
        return Ok((Vec::new(), Repeated::Absent(Absent::List([]))));
    };
    let offered: Vec<OfferedTool> = serde_json::from_str(given.get())?;
    let mut names = Vec::with_capacity(offered.len());
    let mut complete = true;
    for tool in offered {
        if tool.r#type == "function" {
            complete &= tool.strict.0 && tool.parameters.0;
            names.push(tool.name.ok_or_else(|| Refusal::missing("tools[].name"))?);
        }
    }
    if complete {
        return Ok((names, Repeated::Given(given)));
    }
    let mut mended: Value = serde_json::from_str(given.get())?;
    for tool in mended
        .as_array_mut()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if tool.get("type").is_some_and(|kind| kind == "function") {
            tool.entry("strict").or_insert(Value::Null);
            tool.entry("parameters").or_insert(Value::Null);
        }
    }
    Ok((names, Repeated::Mended(mended)))
}
