//! Whether options can be meant.

use serde_json::{Map, Value};

use super::{ModelOptions, OutputFormat, OutputSchema, ToolChoice};
use crate::run::catalogue::check_schema;
use crate::run::error::{Error, Violation};

/// The greatest temperature.
const TEMPERATURE_LIMIT: f64 = 2.0;
/// How many sequences stop a model, and how long they may be, in bytes.
const STOP_LIMIT: usize = 4;
const STOP_LIMIT_BYTES: usize = 256;
/// The longest name of a tier, of a schema and of a tool, in bytes.
const NAME_LIMIT_BYTES: usize = 64;
const TOOL_LIMIT_BYTES: usize = 256;
/// What labels for the provider may be: OpenAI's bounds, in characters.
const LABELS_LIMIT: usize = 16;
const LABEL_KEY_LIMIT: usize = 64;
const LABEL_VALUE_LIMIT: usize = 512;
/// How much JSON a provider's own fields may be, in bytes.
const EXTRA_LIMIT_BYTES: usize = 16 << 10;
/// How large a schema may be, in bytes of JSON, and how deeply it may be nested.
const SCHEMA_LIMIT_BYTES: usize = 64 << 10;
const SCHEMA_LIMIT_DEPTH: usize = 64;
/// The longest description of a format, in characters.
const DESCRIPTION_LIMIT: usize = 1024;
/// How often a model can be asked again.
const CORRECTIONS_LIMIT: u32 = 8;

/// The fields that there are.
const FIELDS: [&str; 13] = [
    "temperature",
    "top_p",
    "reasoning_effort",
    "reasoning_summary",
    "verbosity",
    "tool_choice",
    "parallel_tool_calls",
    "output_format",
    "stop",
    "seed",
    "service_tier",
    "metadata",
    "extra",
];

/// The fields of requests that the service writes itself, in any dialect.
const RESERVED: [&str; 38] = [
    "additional_instructions",
    "additional_messages",
    "assistant_id",
    "background",
    "conversation",
    "function_call",
    "functions",
    "include",
    "input",
    "instructions",
    "max_completion_tokens",
    "max_output_tokens",
    "max_prompt_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "thread",
    "tool_choice",
    "tool_resources",
    "tools",
    "top_p",
    "verbosity",
];

impl ModelOptions {
    /// Reads options in their stored form, as an operator writes them.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for text that is no JSON object, and naming every field that is not known or does not fit.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |error: serde_json::Error| Error::invalid("", format!("not read: {error}"));
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(refuse)?;
        let unknown = fields.keys().filter(|name| !FIELDS.contains(&name.as_str()));
        let unknown = unknown.map(|name| Violation {
            field: name.clone(),
            description: format!("is not known; there are {}", FIELDS.join(", ")),
        });
        let mut violations: Vec<Violation> = unknown.collect();
        let options: Self = serde_json::from_value(Value::Object(fields)).map_err(refuse)?;
        violations.extend(options.check());
        match violations.is_empty() {
            true => Ok(options),
            false => Err(Error::invalid_fields(violations)),
        }
    }

    /// What is wrong with the options, each field by its path in them.
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Found::default();
        found.range("temperature", self.temperature, TEMPERATURE_LIMIT);
        found.range("top_p", self.top_p, 1.0);
        if let Some(ToolChoice::Tool(tool)) = &self.tool_choice
            && !(1..=TOOL_LIMIT_BYTES).contains(&tool.len())
        {
            let description = format!("must be a tool's name of at most {TOOL_LIMIT_BYTES} bytes");
            found.add("tool_choice.tool", description);
        }
        found.stop(&self.stop);
        if let Some(tier) = &self.service_tier
            && !is_name(tier)
        {
            found.add("service_tier", NAME_RULE);
        }
        found.metadata(self);
        found.extra(self);
        match &self.output_format {
            Some(OutputFormat::JsonSchema(schema)) => found.schema(schema),
            Some(OutputFormat::JsonObject { max_corrections }) => {
                found.corrections("json_object", *max_corrections);
            }
            Some(OutputFormat::Text) | None => {}
        }
        found.0
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Found(Vec<Violation>);

const NAME_RULE: &str = "must be letters, digits, _ or -, at most 64";

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=NAME_LIMIT_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

impl Found {
    fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            description: description.into(),
        });
    }

    fn range(&mut self, field: &str, value: Option<f64>, limit: f64) {
        if value.is_some_and(|value| !(0.0..=limit).contains(&value)) {
            self.add(field, format!("must be from 0 to {limit}"));
        }
    }

    fn stop(&mut self, stop: &[String]) {
        if stop.len() > STOP_LIMIT {
            self.add("stop", format!("must be at most {STOP_LIMIT}"));
        }
        for (index, sequence) in stop.iter().enumerate() {
            if !(1..=STOP_LIMIT_BYTES).contains(&sequence.len()) {
                let description = format!("must be 1 to {STOP_LIMIT_BYTES} bytes");
                self.add(format!("stop[{index}]"), description);
            }
        }
    }

    fn metadata(&mut self, options: &ModelOptions) {
        if options.metadata.len() > LABELS_LIMIT {
            self.add("metadata", format!("must be at most {LABELS_LIMIT} labels"));
        }
        let is_too_long = |text: &str, limit: usize| text.chars().count() > limit;
        for (key, value) in &options.metadata {
            if key.is_empty() || is_too_long(key, LABEL_KEY_LIMIT) {
                self.add(
                    "metadata",
                    format!("a key must be 1 to {LABEL_KEY_LIMIT} characters"),
                );
            }
            if is_too_long(value, LABEL_VALUE_LIMIT) {
                let description = format!("must be at most {LABEL_VALUE_LIMIT} characters");
                self.add(format!("metadata[{key:?}]"), description);
            }
        }
    }

    fn extra(&mut self, options: &ModelOptions) {
        for name in options.extra.keys() {
            if RESERVED.contains(&name.as_str()) {
                self.add(
                    format!("extra.{name}"),
                    "is a field that the service writes itself",
                );
            }
        }
        let size: usize = options
            .extra
            .iter()
            .map(|(name, value)| name.len() + value.to_string().len())
            .sum();
        if size > EXTRA_LIMIT_BYTES {
            self.add(
                "extra",
                format!("must be at most {EXTRA_LIMIT_BYTES} bytes of JSON"),
            );
        }
    }

    fn corrections(&mut self, format: &str, corrections: u32) {
        if corrections > CORRECTIONS_LIMIT {
            self.add(
                format!("output_format.{format}.max_corrections"),
                format!("must be at most {CORRECTIONS_LIMIT}"),
            );
        }
    }

    fn schema(&mut self, schema: &OutputSchema) {
        let field = "output_format.json_schema";
        if !is_name(&schema.name) {
            self.add(format!("{field}.name"), NAME_RULE);
        }
        if schema.description.chars().count() > DESCRIPTION_LIMIT {
            let description = format!("must be at most {DESCRIPTION_LIMIT} characters");
            self.add(format!("{field}.description"), description);
        }
        self.corrections("json_schema", schema.max_corrections);
        let field = format!("{field}.schema");
        if is_deeper(&schema.schema, SCHEMA_LIMIT_DEPTH) {
            let description = format!("must be at most {SCHEMA_LIMIT_DEPTH} levels deep");
            return self.add(field, description);
        }
        if schema.schema.to_string().len() > SCHEMA_LIMIT_BYTES {
            let description = format!("must be at most {SCHEMA_LIMIT_BYTES} bytes of JSON");
            return self.add(field, description);
        }
        if let Err(error) = check_schema(&schema.schema) {
            self.add(field, format!("is not a JSON Schema: {error}"));
        }
    }
}

/// Whether values are nested within one another more often than that.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Array(values) => values.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The fields that do not fit.
    fn fields(options: Value) -> Vec<String> {
        let options: ModelOptions = serde_json::from_value(options).unwrap();
        let found = options.check().into_iter();
        found.map(|violation| violation.field).collect()
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(true), |inner, _| json!({"not": inner}))
    }

    fn schema(schema: Value) -> Value {
        json!({"output_format": {"json_schema": {"name": "answer", "schema": schema, "max_corrections": 2}}})
    }

    #[test]
    fn an_operators_options_are_read_with_a_word_for_each_mistake() {
        let table = [
            (
                r#"{"temperature": 0.5, "reasoning_effort": "low", "tool_choice": {"tool": "look"}}"#,
                "",
            ),
            (r#"{"temprature": 0.5, "top_p": 2}"#, "temprature: is not known"),
            (r#"{"top_p": 2}"#, "top_p: must be from 0 to 1"),
            (r#"{"verbosity": "loud"}"#, ": not read: unknown variant"),
            ("[]", ": not read: "),
        ];
        for (text, expected) in table {
            let told = ModelOptions::parse(text).err();
            let told = told.as_ref().map_or("", |error| error.message());
            assert!(
                told.starts_with(expected) && told.is_empty() == expected.is_empty(),
                "{text}: {told}"
            );
        }
    }

    #[test]
    fn options_out_of_range_are_named() {
        let labels: Value = (0..17)
            .map(|index| (index.to_string(), json!("")))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let table = [
            (
                json!({"temperature": 0.0, "top_p": 1.0, "stop": ["a", "b", "c", "d"]}),
                vec![],
            ),
            (
                json!({"temperature": 2.01, "top_p": -0.1}),
                vec!["temperature", "top_p"],
            ),
            (json!({"stop": ["a", "", "c", "d", "e"]}), vec!["stop", "stop[1]"]),
            (json!({"service_tier": "flex"}), vec![]),
            (json!({"service_tier": "a b"}), vec!["service_tier"]),
            (json!({"tool_choice": {"tool": ""}}), vec!["tool_choice.tool"]),
            (json!({"metadata": labels}), vec!["metadata"]),
            (
                json!({"metadata": {"k": "v".repeat(513)}}),
                vec!["metadata[\"k\"]"],
            ),
            (json!({"extra": {"top_k": 3}}), vec![]),
            (
                json!({"extra": {"model": "x", "tools": []}}),
                vec!["extra.model", "extra.tools"],
            ),
            (json!({"extra": {"top_k": "x".repeat(16 << 10)}}), vec!["extra"]),
            (
                json!({"output_format": {"json_object": {"max_corrections": 9}}}),
                vec!["output_format.json_object.max_corrections"],
            ),
            (schema(json!({"type": "object"})), vec![]),
            (schema(nested(64)), vec![]),
            (schema(nested(65)), vec!["output_format.json_schema.schema"]),
            (
                schema(json!({"type": "thing"})),
                vec!["output_format.json_schema.schema"],
            ),
            (
                schema(json!({"$ref": "https://example.com/s"})),
                vec!["output_format.json_schema.schema"],
            ),
            (
                schema(json!({"description": "x".repeat(64 << 10)})),
                vec!["output_format.json_schema.schema"],
            ),
            (
                json!({"output_format": {"json_schema": {"name": "an answer", "schema": {}, "max_corrections": 9}}}),
                vec![
                    "output_format.json_schema.name",
                    "output_format.json_schema.max_corrections",
                ],
            ),
        ];
        for (options, expected) in table {
            assert_eq!(fields(options.clone()), expected, "{options}");
        }
    }
}
