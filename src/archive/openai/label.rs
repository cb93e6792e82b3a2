//! Labels: the user's own, and what of an object has no other place.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::archive::fault::Fault;
use crate::archive::note::Notes;

use super::shape::{self, Settings, Tool};

/// What the contract allows of labels: how many, and the longest value in characters.
const LABELS_LIMIT: usize = 16;
const VALUE_LIMIT: usize = 512;

/// The labels of something on its way here.
pub(super) struct Labels<'a> {
    labels: BTreeMap<String, String>,
    /// Its name, for the notes.
    of: &'a str,
}

impl<'a> Labels<'a> {
    /// Those that its user gave it.
    pub(super) fn of(id: &'a str, labels: shape::Labels) -> Self {
        Self {
            labels: labels.unwrap_or_default(),
            of: id,
        }
    }

    /// Keeps what has no other place, and says so; whether it fits. A user's own label is never replaced.
    pub(super) fn keep(
        &mut self,
        key: &'static str,
        value: &str,
        (kept, lost): (&'static str, &'static str),
        notes: &mut Notes,
    ) -> bool {
        let fits = self.labels.len() < LABELS_LIMIT
            && value.chars().count() <= VALUE_LIMIT
            && !self.labels.contains_key(key);
        if fits {
            self.labels.insert(key.to_owned(), value.to_owned());
        }
        notes.add(if fits { kept } else { lost }, self.of);
        fits
    }

    /// The tools that do not exist here, and what tools had to work with.
    pub(super) fn keep_tools(&mut self, tools: &[Tool], notes: &mut Notes) {
        if tools.is_empty() {
            return;
        }
        if tools.iter().any(|tool| tool.kind == "function") {
            let note = "function tool: allowed by its name; give it in clientTools of each request, or have an MCP \
                        server offer it";
            notes.add(note, self.of);
        }
        if tools.iter().any(|tool| tool.kind != "function") {
            let note = "tool of OpenAI's own (file_search, code_interpreter): not offered here";
            notes.add(note, self.of);
        }
        let tools: Vec<Value> = tools
            .iter()
            .map(|tool| {
                let mut fields = Map::from_iter(tool.rest.clone());
                fields.insert("type".to_owned(), tool.kind.clone().into());
                Value::Object(fields)
            })
            .collect();
        let told = (
            "description of tools: kept in the label openai_tools",
            "description of tools: too long for a label, not kept",
        );
        self.keep("openai_tools", &Value::Array(tools).to_string(), told, notes);
    }

    /// The files and vector stores that tools had to work with.
    pub(super) fn keep_resources(
        &mut self,
        resources: Option<&Value>,
        file_ids: &[String],
        notes: &mut Notes,
    ) {
        let text = match resources {
            Some(resources) if !is_empty(resources) => resources.to_string(),
            _ if !file_ids.is_empty() => json!({ "file_ids": file_ids }).to_string(),
            _ => return,
        };
        let told = (
            "files or vector stores of tools: only their names are kept, in the label openai_tool_resources",
            "files or vector stores of tools: their names are too long for a label, not kept",
        );
        self.keep("openai_tool_resources", &text, told, notes);
    }

    /// How the model was asked, where that was not as usual and is not carried over.
    pub(super) fn keep_settings(&mut self, settings: &Settings, carried: &[&str], notes: &mut Notes) {
        let usual = [
            ("temperature", &settings.temperature, json!(1.0)),
            ("top_p", &settings.top_p, json!(1.0)),
            ("response_format", &settings.response_format, json!("auto")),
            ("reasoning_effort", &settings.reasoning_effort, Value::Null),
            ("max_prompt_tokens", &settings.max_prompt_tokens, Value::Null),
            (
                "max_completion_tokens",
                &settings.max_completion_tokens,
                Value::Null,
            ),
            (
                "truncation_strategy",
                &settings.truncation_strategy,
                json!({"type": "auto"}),
            ),
            ("tool_choice", &settings.tool_choice, json!("auto")),
            ("parallel_tool_calls", &settings.parallel_tool_calls, json!(true)),
        ];
        let unusual: Map<String, Value> = usual
            .into_iter()
            .filter(|(name, ..)| !carried.contains(name))
            .filter_map(|(name, value, usual)| {
                let value = value.as_ref().filter(|value| !is_like(value, &usual))?;
                Some((name.to_owned(), value.clone()))
            })
            .collect();
        if !unusual.is_empty() {
            let told = (
                "settings of the model: have no effect here, kept in the label openai_settings",
                "settings of the model: have no effect here, too long for a label, not kept",
            );
            self.keep(
                "openai_settings",
                &Value::Object(unusual).to_string(),
                told,
                notes,
            );
        }
    }

    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.labels
    }
}

fn is_empty(resources: &Value) -> bool {
    match resources {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

/// Whether it is that value: 1 is 1.0, and a null inside of an object is nothing.
fn is_like(value: &Value, usual: &Value) -> bool {
    match (value, usual) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => one
            .iter()
            .all(|(name, value)| value.is_null() || other.get(name) == Some(value)),
        _ => value == usual,
    }
}

/// A moment, as OpenAI's API has it.
pub(super) fn time(field: &str, seconds: u64) -> Result<SystemTime, Fault> {
    // Until the year 9999, which is as far as the contract's times go.
    if seconds > 253_402_300_799 {
        return Err(Fault::of(field, "is not a time in seconds since 1970"));
    }
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The same, of one that may be missing.
pub(super) fn optional_time(field: &str, seconds: Option<u64>) -> Result<Option<SystemTime>, Fault> {
    seconds.map(|seconds| time(field, seconds)).transpose()
}
