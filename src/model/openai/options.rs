//! How a model is to answer, as both dialects write it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::model::Dialect;
use crate::run::error::{Error, Reason};
use crate::run::options::{
    ModelOptions, OutputFormat, OutputSchema, ReasoningEffort, ReasoningSummary, ToolChoice, Verbosity,
};
use crate::run::ports::ModelRequest;

use super::tools::alias;

/// The fields that both dialects have, of the same name and form.
#[derive(Serialize)]
pub(super) struct Common<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    /// Names that the service writes itself are refused long before.
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

/// The fields of a Responses request.
#[derive(Serialize)]
pub(super) struct ForResponses<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    /// Only where there are tools: some servers refuse it without.
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
}

#[derive(Serialize)]
struct Reasoning {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<ReasoningEffort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<ReasoningSummary>,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Verbosity>,
}

/// The fields of a Chat Completions request.
#[derive(Serialize)]
pub(super) struct ForChatCompletions<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<ReasoningEffort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Verbosity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    /// Only where somebody says so: many servers do not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
}

/// What the answer has to look like. Chat Completions puts the schema one level deeper.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonObject,
    JsonSchema {
        #[serde(flatten)]
        flat: Option<Schema<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        json_schema: Option<Schema<'a>>,
    },
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// Whether a dialect can say what these options ask for. What it has no words for and does no harm when it is not said
/// is passed over: a seed in Responses, and the wish for a summary of the reasoning in Chat Completions.
///
/// # Errors
/// `MODEL_REQUEST_REJECTED`, naming the field.
pub(super) fn check(options: &ModelOptions, dialect: Dialect) -> Result<(), Error> {
    let name = match dialect {
        Dialect::Responses => "Responses",
        Dialect::Assistants => "Assistants",
        Dialect::ChatCompletions => return Ok(()),
    };
    if !options.stop.is_empty() {
        let error = Error::new(
            Reason::ModelRequestRejected,
            format!(
                "options.stop: the model is spoken to in the {name} dialect, which has no stop sequences"
            ),
        );
        return Err(error.with("field", "options.stop"));
    }
    Ok(())
}

/// The options for a Responses request.
pub(super) fn for_responses(request: &ModelRequest, has_tools: bool) -> ForResponses<'_> {
    let options = &*request.options;
    let has_reasoning = options.reasoning_effort.is_some() || options.reasoning_summary.is_some();
    let format = format(options, |schema| Format::JsonSchema {
        flat: Some(schema),
        json_schema: None,
    });
    let has_text = format.is_some() || options.verbosity.is_some();
    ForResponses {
        reasoning: has_reasoning.then_some(Reasoning {
            effort: options.reasoning_effort,
            summary: options.reasoning_summary,
        }),
        text: has_text.then_some(Text {
            format,
            verbosity: options.verbosity,
        }),
        parallel_tool_calls: has_tools.then(|| options.parallel_tool_calls.unwrap_or(true)),
        common: common(
            request,
            has_tools,
            |name| json!({"type": "function", "name": name}),
        ),
    }
}

/// The options for a Chat Completions request.
pub(super) fn for_chat_completions(request: &ModelRequest, has_tools: bool) -> ForChatCompletions<'_> {
    let options = &*request.options;
    ForChatCompletions {
        reasoning_effort: options.reasoning_effort,
        verbosity: options.verbosity,
        response_format: format(options, |schema| Format::JsonSchema {
            flat: None,
            json_schema: Some(schema),
        }),
        stop: &options.stop,
        seed: options.seed,
        parallel_tool_calls: options.parallel_tool_calls.filter(|_| has_tools),
        common: common(
            request,
            has_tools,
            |name| json!({"type": "function", "function": {"name": name}}),
        ),
    }
}

fn common(request: &ModelRequest, has_tools: bool, named: fn(&str) -> Value) -> Common<'_> {
    let options = &*request.options;
    let tool_choice = options.tool_choice.as_ref().filter(|_| has_tools);
    Common {
        temperature: options.temperature,
        top_p: options.top_p,
        tool_choice: tool_choice.and_then(|choice| match choice {
            ToolChoice::Auto => Some(json!("auto")),
            ToolChoice::None => Some(json!("none")),
            ToolChoice::Required => Some(json!("required")),
            // An assistant's, whose server is not connected now.
            ToolChoice::Tool(tool) => {
                let is_offered = request
                    .tools
                    .as_ref()
                    .is_some_and(|tools| tools.get(tool).is_some());
                is_offered.then(|| named(&alias(tool)))
            }
        }),
        service_tier: options.service_tier.as_deref(),
        metadata: &options.metadata,
        extra: &options.extra,
    }
}

fn format<'a>(options: &'a ModelOptions, with: fn(Schema<'a>) -> Format<'a>) -> Option<Format<'a>> {
    match options.output_format.as_ref()? {
        OutputFormat::Text => None,
        OutputFormat::JsonObject { .. } => Some(Format::JsonObject),
        OutputFormat::JsonSchema(OutputSchema {
            name,
            description,
            schema,
            strict,
            ..
        }) => Some(with(Schema {
            name,
            description,
            schema,
            strict: *strict,
        })),
    }
}
