//! How a model is to answer.

use std::collections::BTreeMap;

use serde_json::Value;

use super::structure;
use crate::api::pb;
use crate::run::error::{Error, Violation};
use crate::run::options::{
    ModelOptions, OutputFormat, OutputSchema, ReasoningEffort, ReasoningSummary, ToolChoice, Verbosity,
};

/// A caller's options.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit.
pub fn from_pb(field: &str, options: Option<pb::ModelOptions>) -> Result<ModelOptions, Error> {
    let Some(options) = options else {
        return Ok(ModelOptions::default());
    };
    let mut reader = Reader {
        field,
        violations: Vec::new(),
    };
    let options = reader.options(options);
    let found = options.check().into_iter().map(|violation| Violation {
        field: format!("{field}.{}", violation.field),
        ..violation
    });
    reader.violations.extend(found);
    match reader.violations.is_empty() {
        true => Ok(options),
        false => Err(Error::invalid_fields(reader.violations)),
    }
}

/// Reads what a caller says, and keeps what is wrong with it.
struct Reader<'a> {
    field: &'a str,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    fn refuse(&mut self, field: &str, description: &str) {
        self.violations.push(Violation {
            field: format!("{}.{field}", self.field),
            description: description.to_owned(),
        });
    }

    fn options(&mut self, options: pb::ModelOptions) -> ModelOptions {
        ModelOptions {
            temperature: options.temperature,
            top_p: options.top_p,
            reasoning_effort: self.word("reasoning_effort", options.reasoning_effort, &EFFORTS),
            reasoning_summary: self.word("reasoning_summary", options.reasoning_summary, &SUMMARIES),
            verbosity: self.word("verbosity", options.verbosity, &VERBOSITIES),
            tool_choice: options.tool_choice.and_then(|choice| self.tool_choice(choice)),
            parallel_tool_calls: options.parallel_tool_calls,
            output_format: options.output_format.and_then(|format| self.format(format)),
            stop: options.stop,
            seed: options.seed,
            service_tier: Some(options.service_tier).filter(|tier| !tier.is_empty()),
            metadata: options.metadata,
            extra: options.extra.map(structure::to_json).unwrap_or_default(),
        }
    }

    /// The heart's word for a value of an enum; none for the one that says nothing.
    fn word<T: Copy, E: TryFrom<i32> + PartialEq>(
        &mut self,
        field: &str,
        value: i32,
        words: &[(E, T)],
    ) -> Option<T> {
        if value == 0 {
            return None;
        }
        let value = E::try_from(value).ok();
        let word = words.iter().find(|(known, _)| value.as_ref() == Some(known));
        if word.is_none() {
            self.refuse(field, "is not a known value");
        }
        word.map(|(_, word)| *word)
    }

    fn tool_choice(&mut self, choice: pb::ToolChoice) -> Option<ToolChoice> {
        use pb::tool_choice::Choice;
        match choice.choice? {
            Choice::Tool(tool) => Some(ToolChoice::Tool(tool)),
            Choice::Mode(mode) => match pb::ToolChoiceMode::try_from(mode) {
                Ok(pb::ToolChoiceMode::Unspecified) => None,
                Ok(pb::ToolChoiceMode::Auto) => Some(ToolChoice::Auto),
                Ok(pb::ToolChoiceMode::None) => Some(ToolChoice::None),
                Ok(pb::ToolChoiceMode::Required) => Some(ToolChoice::Required),
                Err(_) => {
                    self.refuse("tool_choice.mode", "is not a known value");
                    None
                }
            },
        }
    }

    fn format(&mut self, format: pb::OutputFormat) -> Option<OutputFormat> {
        use pb::output_format::Format;
        Some(match format.format? {
            Format::Text(_) => OutputFormat::Text,
            Format::JsonObject(object) => OutputFormat::JsonObject {
                max_corrections: self.corrections("json_object", object.max_corrections),
            },
            Format::JsonSchema(schema) => {
                if schema.schema.is_none() {
                    self.refuse("output_format.json_schema.schema", "must be set");
                    return None;
                }
                OutputFormat::JsonSchema(OutputSchema {
                    name: schema.name,
                    description: schema.description,
                    schema: Value::Object(schema.schema.map(structure::to_json).unwrap_or_default()),
                    strict: schema.strict,
                    max_corrections: self.corrections("json_schema", schema.max_corrections),
                })
            }
        })
    }

    fn corrections(&mut self, format: &str, corrections: Option<i32>) -> u32 {
        let Some(corrections) = corrections else {
            return OutputFormat::CORRECTIONS;
        };
        u32::try_from(corrections).unwrap_or_else(|_| {
            let field = format!("output_format.{format}.max_corrections");
            self.refuse(&field, "must not be negative");
            0
        })
    }
}

/// Options as the contract has them; nothing for none.
pub fn to_pb(options: &ModelOptions) -> Option<pb::ModelOptions> {
    if *options == ModelOptions::default() {
        return None;
    }
    Some(pb::ModelOptions {
        temperature: options.temperature,
        top_p: options.top_p,
        reasoning_effort: value(options.reasoning_effort, &EFFORTS),
        reasoning_summary: value(options.reasoning_summary, &SUMMARIES),
        verbosity: value(options.verbosity, &VERBOSITIES),
        tool_choice: options.tool_choice.as_ref().map(tool_choice_to_pb),
        parallel_tool_calls: options.parallel_tool_calls,
        output_format: options.output_format.as_ref().map(format_to_pb),
        stop: options.stop.clone(),
        seed: options.seed,
        service_tier: options.service_tier.clone().unwrap_or_default(),
        metadata: BTreeMap::clone(&options.metadata),
        extra: (!options.extra.is_empty()).then(|| structure::from_json(&options.extra)),
    })
}

fn value<T: PartialEq, E: Copy + Into<i32>>(word: Option<T>, words: &[(E, T)]) -> i32 {
    let known = words.iter().find(|(_, known)| word.as_ref() == Some(known));
    known.map_or(0, |(value, _)| (*value).into())
}

fn tool_choice_to_pb(choice: &ToolChoice) -> pb::ToolChoice {
    use pb::tool_choice::Choice;
    let mode = |mode: pb::ToolChoiceMode| Choice::Mode(mode.into());
    pb::ToolChoice {
        choice: Some(match choice {
            ToolChoice::Auto => mode(pb::ToolChoiceMode::Auto),
            ToolChoice::None => mode(pb::ToolChoiceMode::None),
            ToolChoice::Required => mode(pb::ToolChoiceMode::Required),
            ToolChoice::Tool(tool) => Choice::Tool(tool.clone()),
        }),
    }
}

fn format_to_pb(format: &OutputFormat) -> pb::OutputFormat {
    use pb::output_format::Format;
    let corrections = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    pb::OutputFormat {
        format: Some(match format {
            OutputFormat::Text => Format::Text(pb::TextFormat {}),
            OutputFormat::JsonObject { max_corrections } => Format::JsonObject(pb::JsonObjectFormat {
                max_corrections: corrections(*max_corrections),
            }),
            OutputFormat::JsonSchema(schema) => Format::JsonSchema(pb::JsonSchemaFormat {
                name: schema.name.clone(),
                description: schema.description.clone(),
                schema: schema.schema.as_object().map(structure::from_json),
                strict: schema.strict,
                max_corrections: corrections(schema.max_corrections),
            }),
        }),
    }
}

const EFFORTS: [(pb::ReasoningEffort, ReasoningEffort); 7] = [
    (pb::ReasoningEffort::None, ReasoningEffort::None),
    (pb::ReasoningEffort::Minimal, ReasoningEffort::Minimal),
    (pb::ReasoningEffort::Low, ReasoningEffort::Low),
    (pb::ReasoningEffort::Medium, ReasoningEffort::Medium),
    (pb::ReasoningEffort::High, ReasoningEffort::High),
    (pb::ReasoningEffort::Xhigh, ReasoningEffort::Xhigh),
    (pb::ReasoningEffort::Max, ReasoningEffort::Max),
];

const SUMMARIES: [(pb::ReasoningSummary, ReasoningSummary); 3] = [
    (pb::ReasoningSummary::Auto, ReasoningSummary::Auto),
    (pb::ReasoningSummary::Concise, ReasoningSummary::Concise),
    (pb::ReasoningSummary::Detailed, ReasoningSummary::Detailed),
];

const VERBOSITIES: [(pb::Verbosity, Verbosity); 3] = [
    (pb::Verbosity::Low, Verbosity::Low),
    (pb::Verbosity::Medium, Verbosity::Medium),
    (pb::Verbosity::High, Verbosity::High),
];
