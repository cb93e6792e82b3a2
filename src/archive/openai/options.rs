//! How a model was asked, as far as runs here can ask it the same way.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::run::options::{ModelOptions, OutputFormat, OutputSchema, ToolChoice};

use super::shape::Settings;

/// The options that these settings stand for, where they are not as usual, and the names of the settings that are
/// carried over so. One that cannot be meant here is not.
pub(super) fn options(settings: &Settings) -> (ModelOptions, Vec<&'static str>) {
    let mut carried = Vec::new();
    let mut options = ModelOptions::default();
    let mut take = |name: &'static str, with: ModelOptions| {
        if with != ModelOptions::default() && with.check().is_empty() {
            carried.push(name);
            options = std::mem::take(&mut options).over(with);
        }
    };
    take(
        "temperature",
        ModelOptions {
            temperature: unusual(&settings.temperature),
            ..ModelOptions::default()
        },
    );
    take(
        "top_p",
        ModelOptions {
            top_p: unusual(&settings.top_p),
            ..ModelOptions::default()
        },
    );
    take(
        "reasoning_effort",
        ModelOptions {
            reasoning_effort: typed(&settings.reasoning_effort),
            ..ModelOptions::default()
        },
    );
    take(
        "response_format",
        ModelOptions {
            output_format: settings.response_format.as_ref().and_then(format),
            ..ModelOptions::default()
        },
    );
    take(
        "tool_choice",
        ModelOptions {
            tool_choice: settings.tool_choice.as_ref().and_then(tool_choice),
            ..ModelOptions::default()
        },
    );
    take(
        "parallel_tool_calls",
        ModelOptions {
            parallel_tool_calls: typed(&settings.parallel_tool_calls).filter(|parallel| !parallel),
            ..ModelOptions::default()
        },
    );
    (options, carried)
}

fn typed<T: DeserializeOwned>(value: &Option<Value>) -> Option<T> {
    serde_json::from_value(value.clone()?).ok()
}

/// A number that is not 1, which is what every assistant had that said nothing, also of models that take none.
fn unusual(value: &Option<Value>) -> Option<f64> {
    typed(value).filter(|number| *number != 1.0)
}

fn format(format: &Value) -> Option<OutputFormat> {
    match format.get("type")?.as_str()? {
        "json_object" => Some(OutputFormat::JsonObject {
            max_corrections: OutputFormat::CORRECTIONS,
        }),
        "json_schema" => {
            let format = format.get("json_schema")?;
            let text = |name: &str| format.get(name).and_then(Value::as_str).unwrap_or_default();
            Some(OutputFormat::JsonSchema(OutputSchema {
                name: text("name").to_owned(),
                description: text("description").to_owned(),
                schema: format.get("schema")?.clone(),
                strict: format.get("strict").and_then(Value::as_bool),
                max_corrections: OutputFormat::CORRECTIONS,
            }))
        }
        _ => None,
    }
}

/// `auto` was the usual; a tool of OpenAI's own cannot be chosen here.
fn tool_choice(choice: &Value) -> Option<ToolChoice> {
    match choice {
        Value::String(word) if word == "none" => Some(ToolChoice::None),
        Value::String(word) if word == "required" => Some(ToolChoice::Required),
        _ => {
            let name = choice.get("function")?.get("name")?.as_str()?;
            Some(ToolChoice::Tool(name.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_carried_over_as_far_as_they_can_be_meant() {
        let schema = json!({"type": "object"});
        let table = [
            (
                json!({"temperature": 1, "top_p": 1.0, "response_format": "auto", "tool_choice": "auto", "parallel_tool_calls": true}),
                json!({}),
                0,
            ),
            (
                json!({"temperature": 0.2, "top_p": 0.5}),
                json!({"temperature": 0.2, "top_p": 0.5}),
                2,
            ),
            (json!({"temperature": 3, "top_p": "x"}), json!({}), 0),
            (
                json!({"reasoning_effort": "high"}),
                json!({"reasoning_effort": "high"}),
                1,
            ),
            (json!({"reasoning_effort": "extreme"}), json!({}), 0),
            (
                json!({"response_format": {"type": "json_object"}}),
                json!({"output_format": {"json_object": {"max_corrections": 2}}}),
                1,
            ),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}}}),
                json!({"output_format": {"json_schema": {
                    "name": "n", "description": "", "schema": schema, "strict": true, "max_corrections": 2,
                }}}),
                1,
            ),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "x"}}}}),
                json!({}),
                0,
            ),
            (
                json!({"tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false}),
                json!({"tool_choice": {"tool": "f"}, "parallel_tool_calls": false}),
                2,
            ),
            (json!({"tool_choice": {"type": "file_search"}}), json!({}), 0),
        ];
        for (settings, expected, count) in table {
            let (options, carried) = options(&serde_json::from_value(settings.clone()).unwrap());
            assert_eq!(serde_json::to_value(options).unwrap(), expected, "{settings}");
            assert_eq!(carried.len(), count, "{settings}");
        }
    }
}
