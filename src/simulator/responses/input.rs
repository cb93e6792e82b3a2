//! Reads the `input` and the `tools` of a Responses request.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{Absent, Repeated};
use crate::simulator::ask::text_of;
use crate::simulator::refusal::Refusal;

/// What encrypted reasoning of ours begins with.
pub(super) const ENCRYPTED: &str = "gAAAA";

/// A conversation so far: what it ends with, and the calls in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    pub message: String,
    pub outputs: Vec<String>,
    calls: Vec<String>,
    answered: Vec<String>,
}

impl Input {
    /// Notes a call that the answer makes, for whoever goes on from there.
    pub fn called(&mut self, call: String) {
        self.calls.push(call);
    }
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
    encrypted_content: Option<String>,
}

fn message_type() -> Cow<'static, str> {
    Cow::Borrowed("message")
}

/// Goes on from `before` with a string or a list of items. As at OpenAI, a call without an output and an
/// output without a call are errors: a history with a hole is not continued.
pub(super) fn read(raw: &RawValue, before: Input) -> Result<Input, Refusal> {
    let mut input = before;
    if raw.get().starts_with('[') {
        let items: Vec<InputItem<'_>> = serde_json::from_str(raw.get())?;
        for item in items {
            add(item, &mut input)?;
        }
    } else {
        input.message = serde_json::from_str(raw.get())?;
        input.outputs.clear();
    }
    let is_open = |id: &&String| !input.answered.contains(*id);
    match input.calls.iter().find(is_open) {
        Some(id) => Err(unmatched(format!("No tool output found for function call {id}."))),
        None => Ok(input),
    }
}

fn add(item: InputItem<'_>, input: &mut Input) -> Result<(), Refusal> {
    match &*item.r#type {
        "message" if item.role.as_deref() == Some("user") => {
            input.message = text_of(item.content)?;
            input.outputs.clear();
        }
        "function_call" => {
            let id = item.call_id.ok_or_else(|| Refusal::missing("input[].call_id"))?;
            input.calls.push(id);
        }
        "function_call_output" => {
            let id = item.call_id.ok_or_else(|| Refusal::missing("input[].call_id"))?;
            if !input.calls.contains(&id) {
                return Err(unmatched(format!(
                    "No tool call found for function call output with call_id {id}."
                )));
            }
            input.outputs.push(text_of(item.output)?);
            input.answered.push(id);
        }
        // As at OpenAI, what it has not encrypted itself is not taken.
        "reasoning"
            if item
                .encrypted_content
                .as_ref()
                .is_some_and(|text| !text.starts_with(ENCRYPTED)) =>
        {
            return Err(Refusal::invalid(
                Some("input"),
                Some("invalid_encrypted_content"),
                "The encrypted content could not be verified.",
            ));
        }
        // Other messages, reasoning and whatever else there is do not decide about the answer.
        _ => {}
    }
    Ok(())
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
