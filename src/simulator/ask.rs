//! What a request asks for, whatever its dialect: the little that decides about an answer.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// A request, read.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub model: String,
    /// The text of the last user message, its parts joined.
    pub message: String,
    /// The texts of the tool outputs that follow the last user message, in order.
    pub outputs: Vec<String>,
    pub tools: Offer,
    pub stream: bool,
    /// The size of everything the model has to read: messages, instructions, tools.
    pub input_bytes: usize,
}

/// The tools that the model may call.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub names: Vec<String>,
    pub choice: Choice,
}

/// `tool_choice`, as both dialects mean it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}

#[derive(Deserialize)]
struct ChoiceObject {
    r#type: String,
    name: Option<String>,
    function: Option<Named>,
    mode: Option<String>,
    tools: Option<Vec<AllowedTool>>,
    allowed_tools: Option<Allowed>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Allowed {
    mode: Option<String>,
    tools: Vec<AllowedTool>,
}

#[derive(Deserialize)]
struct AllowedTool {
    name: Option<String>,
    function: Option<Named>,
}

impl Offer {
    /// The offer of `names` under `choice`, the request's `tool_choice` if it has one.
    pub fn new(names: Vec<String>, choice: Option<&RawValue>) -> Result<Self, Refusal> {
        let Some(raw) = choice else {
            return Ok(Offer {
                names,
                choice: Choice::Auto,
            });
        };
        if raw.get().starts_with('"') {
            let word: String = serde_json::from_str(raw.get())?;
            return Ok(Offer {
                names,
                choice: mode(&word)?,
            });
        }
        let object: ChoiceObject = serde_json::from_str(raw.get())?;
        match object.r#type.as_str() {
            "function" | "custom" => {
                let name = object.name.or(object.function.map(|function| function.name));
                let name = name.ok_or_else(|| Refusal::missing("tool_choice.name"))?;
                if !names.contains(&name) {
                    let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
                    return Err(Refusal::invalid(Some("tool_choice"), None, message));
                }
                Ok(Offer {
                    names,
                    choice: Choice::Named(name),
                })
            }
            "allowed_tools" => {
                let nested = object.allowed_tools.unwrap_or(Allowed {
                    mode: None,
                    tools: Vec::new(),
                });
                let tools = object.tools.unwrap_or(nested.tools);
                let choice = mode(object.mode.or(nested.mode).as_deref().unwrap_or("auto"))?;
                Ok(Offer {
                    names: allowed(names, tools),
                    choice,
                })
            }
            other => {
                let message = format!("Invalid value: '{other}' for 'tool_choice.type'.");
                Err(Refusal::invalid(
                    Some("tool_choice"),
                    Some("invalid_value"),
                    message,
                ))
            }
        }
    }

    /// The offered tool that is called `name`, or `SERVER__name`, unless no tool may be called.
    pub fn find(&self, name: &str) -> Option<&str> {
        let usable = match &self.choice {
            Choice::None => None,
            Choice::Named(only) => Some(std::slice::from_ref(only)),
            Choice::Auto | Choice::Required => Some(self.names.as_slice()),
        };
        usable?.iter().map(String::as_str).find(|offered| {
            offered
                .strip_suffix(name)
                .is_some_and(|server| server.is_empty() || server.ends_with("__"))
        })
    }
}

fn mode(word: &str) -> Result<Choice, Refusal> {
    match word {
        "auto" => Ok(Choice::Auto),
        "none" => Ok(Choice::None),
        "required" => Ok(Choice::Required),
        other => {
            let message = format!("Invalid value: '{other}' for 'tool_choice'.");
            Err(Refusal::invalid(
                Some("tool_choice"),
                Some("invalid_value"),
                message,
            ))
        }
    }
}

fn allowed(mut names: Vec<String>, tools: Vec<AllowedTool>) -> Vec<String> {
    let listed: HashSet<String> = tools
        .into_iter()
        .filter_map(|tool| tool.name.or(tool.function.map(|function| function.name)))
        .collect();
    names.retain(|name| listed.contains(name));
    names
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// The text of a `content` or `output`: a string, or a list of parts of which those with a text count.
pub(super) fn text_of(raw: Option<&RawValue>) -> Result<String, Refusal> {
    let Some(raw) = raw else { return Ok(String::new()) };
    if raw.get().starts_with('[') {
        let parts: Vec<Part<'_>> = serde_json::from_str(raw.get())?;
        return Ok(parts.into_iter().filter_map(|part| part.text).collect());
    }
    Ok(serde_json::from_str(raw.get())?)
}

/// The size in bytes of an optional piece of the request.
pub(super) fn size_of(raw: Option<&RawValue>) -> usize {
    raw.map_or(0, |raw| raw.get().len())
}
