//! How a model is to answer. What is stored is the serialised form of these types: rename with care.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod check;

/// How a model is to answer, as far as anybody says; the rest is the provider's choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelOptions {
    /// How much chance there is in the choice of tokens: 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The tokens to choose from, by their share of the probability: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// How long it reasons before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<ReasoningEffort>,
    /// How much of its reasoning is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_summary: Option<ReasoningSummary>,
    /// How many words it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<Verbosity>,
    /// Whether it calls tools, and which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may ask for several calls in one turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// What its answer has to look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// It stops before it would write one of these: at most 4. Empty for none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Makes the same request give the same answer, as far as the provider can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// How urgently the provider deals with it, in the provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// Notes for the provider: at most 16.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Fields of the provider's own, which go into its request as they are.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// How long a model reasons before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// Shortly.
    Low,
    /// As usual.
    Medium,
    /// For long.
    High,
    /// For longer.
    Xhigh,
    /// As long as it can.
    Max,
}

/// How much of its reasoning a model shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningSummary {
    /// What the provider thinks fit.
    Auto,
    /// A short summary.
    Concise,
    /// A long one.
    Detailed,
}

/// How many words a model makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verbosity {
    /// Few.
    Low,
    /// As usual.
    Medium,
    /// Many.
    High,
}

/// Whether a model calls tools, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it thinks fit.
    Auto,
    /// It calls none, though it knows them.
    None,
    /// At least one, in the first turn of a run.
    Required,
    /// This one, in the first turn of a run.
    Tool(String),
}

/// What an answer has to look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    /// Text of any form.
    Text,
    /// Some JSON object.
    JsonObject {
        /// How often the model is asked again when its answer is none.
        max_corrections: u32,
    },
    /// JSON that fits a schema.
    JsonSchema(OutputSchema),
}

/// A schema that answers have to fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputSchema {
    /// Its name, for the model: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What the answer is for, for the model; empty for nothing.
    #[serde(default)]
    pub description: String,
    /// JSON Schema, 2020-12 unless it says otherwise.
    pub schema: Value,
    /// Whether the provider makes sure of it, which not every schema allows; none for the provider's default.
    #[serde(default)]
    pub strict: Option<bool>,
    /// How often the model is asked again when its answer does not fit.
    pub max_corrections: u32,
}

impl ModelOptions {
    /// These options, and the others where these say nothing. Fields of the provider's own are merged by name.
    #[must_use]
    pub fn over(self, others: ModelOptions) -> ModelOptions {
        let or = |these: Vec<String>, others| if these.is_empty() { others } else { these };
        let mut extra = others.extra;
        extra.extend(self.extra);
        ModelOptions {
            temperature: self.temperature.or(others.temperature),
            top_p: self.top_p.or(others.top_p),
            reasoning_effort: self.reasoning_effort.or(others.reasoning_effort),
            reasoning_summary: self.reasoning_summary.or(others.reasoning_summary),
            verbosity: self.verbosity.or(others.verbosity),
            tool_choice: self.tool_choice.or(others.tool_choice),
            parallel_tool_calls: self.parallel_tool_calls.or(others.parallel_tool_calls),
            output_format: self.output_format.or(others.output_format),
            stop: or(self.stop, others.stop),
            seed: self.seed.or(others.seed),
            service_tier: self.service_tier.or(others.service_tier),
            metadata: if self.metadata.is_empty() {
                others.metadata
            } else {
                self.metadata
            },
            extra,
        }
    }

    /// The options of a turn after the first: calls that had to be made have been asked for, and would be again,
    /// without end.
    #[must_use]
    pub fn later(&self) -> ModelOptions {
        let tool_choice = match &self.tool_choice {
            Some(ToolChoice::Required | ToolChoice::Tool(_)) => Some(ToolChoice::Auto),
            choice => choice.clone(),
        };
        ModelOptions {
            tool_choice,
            ..self.clone()
        }
    }
}

impl OutputFormat {
    /// How often the model is asked again when its answer does not fit, unless the caller says otherwise.
    pub const CORRECTIONS: u32 = 2;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(value: Value) -> ModelOptions {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_said_wins_field_by_field() {
        let request = options(json!({"temperature": 0.0, "stop": ["a"], "extra": {"a": 1}}));
        let assistant = options(json!({
            "temperature": 1.0, "top_p": 0.5, "stop": ["b", "c"], "metadata": {"k": "v"},
            "extra": {"a": 2, "b": 3},
        }));
        assert_eq!(
            serde_json::to_value(request.over(assistant)).unwrap(),
            json!({
                "temperature": 0.0, "top_p": 0.5, "stop": ["a"], "metadata": {"k": "v"},
                "extra": {"a": 1, "b": 3},
            })
        );
    }

    #[test]
    fn a_call_that_must_be_made_is_made_once() {
        for (first, later) in [
            (json!("required"), json!("auto")),
            (json!({"tool": "look"}), json!("auto")),
            (json!("none"), json!("none")),
            (json!("auto"), json!("auto")),
        ] {
            let first = options(json!({"tool_choice": first, "seed": 7}));
            assert_eq!(first.later(), options(json!({"tool_choice": later, "seed": 7})));
        }
    }

    #[test]
    fn nothing_said_is_stored_as_nothing() {
        assert_eq!(serde_json::to_value(ModelOptions::default()).unwrap(), json!({}));
    }
}
