//! The two tools: what they are called, what they accept, what they answer.

use std::sync::Arc;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::arithmetic;

/// A tool with one required string argument.
struct Definition {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    argument: &'static str,
    argument_description: &'static str,
    /// What its structured output may have: keys, each with what it is. There is one of them.
    outputs: &'static [(&'static str, &'static str)],
    answer: fn(&str) -> Answer,
}

/// What a tool answers.
struct Answer {
    text: String,
    /// One of the tool's outputs.
    output: (&'static str, String),
}

const DEFINITIONS: [Definition; 2] = [
    Definition {
        name: "echo",
        title: "Echo",
        description: "Echo back the input text",
        argument: "text",
        argument_description: "Text to echo back",
        outputs: &[("text", "The text, unchanged")],
        answer: |text| Answer {
            text: format!("Echo: {text}"),
            output: ("text", text.to_owned()),
        },
    },
    Definition {
        name: "calculate",
        title: "Calculator",
        description: "Perform basic arithmetic calculations",
        argument: "expression",
        argument_description: "Mathematical expression to evaluate",
        // Texts, since a number of JSON holds neither a large integer nor what Python prints of a float.
        outputs: &[
            ("result", "The value, as Python prints it"),
            ("error", "Why the expression has no value"),
        ],
        // An expression without a value is an answer, not a failure of the tool: clients of the
        // service that this one replaces read it as text.
        answer: |expression| match arithmetic::evaluate(expression) {
            Ok(value) => Answer {
                text: format!("Result: {value}"),
                output: ("result", value),
            },
            Err(error) => Answer {
                text: format!("Error: {error}"),
                output: ("error", error.to_string()),
            },
        },
    },
];

/// Both tools, as they are listed.
pub(super) fn all() -> Vec<Tool> {
    DEFINITIONS.iter().map(listed).collect()
}

fn listed(definition: &Definition) -> Tool {
    let mut input = strings(&[(definition.argument, definition.argument_description)]);
    input.insert("required".to_owned(), json!([definition.argument]));
    let mut output = strings(definition.outputs);
    output.insert("additionalProperties".to_owned(), json!(false));
    output.insert("minProperties".to_owned(), json!(1));
    output.insert("maxProperties".to_owned(), json!(1));
    let mut tool = Tool::new(definition.name, definition.description, Arc::new(input)).with_annotations(
        ToolAnnotations::new()
            .read_only(true)
            .destructive(false)
            .idempotent(true)
            .open_world(false),
    );
    tool.title = Some(definition.title.to_owned());
    tool.output_schema = Some(Arc::new(output));
    tool
}

/// The schema of an object with these texts.
fn strings(properties: &[(&str, &str)]) -> JsonObject {
    let properties: JsonObject = properties
        .iter()
        .map(|(name, description)| {
            let property = json!({"type": "string", "description": description});
            ((*name).to_owned(), property)
        })
        .collect();
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema
}

/// What the tool answers; `None` when there is no tool of this name. Arguments that do not fit the
/// tool's schema are a failed result, so that a model can mend them.
pub(super) fn call(name: &str, arguments: &JsonObject) -> Option<CallToolResult> {
    let definition = DEFINITIONS.iter().find(|definition| definition.name == name)?;
    Some(match arguments.get(definition.argument) {
        Some(Value::String(text)) => {
            let Answer {
                text,
                output: (key, value),
            } = (definition.answer)(text);
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(json!({ key: value }));
            result
        }
        Some(other) => invalid(&format!("{} is not of type 'string'", in_python(other))),
        None => invalid(&format!("'{}' is a required property", definition.argument)),
    })
}

fn invalid(problem: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(format!(
        "Input validation error: {problem}"
    ))])
}

/// A JSON value as Python would show it; the text of validation errors is part of what clients know.
fn in_python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => arithmetic::printed_float(float),
            _ => number.to_string(),
        },
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(in_python).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", quoted(name), in_python(value));
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// A string in single quotes, or in double ones when it holds single quotes only.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\\' => shown.push_str("\\\\"),
            _ if character == quote => shown.extend(['\\', character]),
            _ if character.is_ascii_control() => shown.push_str(&format!("\\x{:02x}", u32::from(character))),
            _ => shown.push(character),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(name: &str, arguments: Value) -> (String, bool) {
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object")
        };
        let result = call(name, &arguments).expect("the tool exists");
        let text = result.content[0].as_text().expect("a text").text.clone();
        (text, result.is_error == Some(true))
    }

    #[test]
    fn a_call_answers_with_its_text_and_whether_it_failed() {
        let cases = [
            ("echo", json!({"text": "hi"}), "Echo: hi", false),
            ("echo", json!({"text": ""}), "Echo: ", false),
            ("echo", json!({"text": "hi", "x": 1}), "Echo: hi", false),
            (
                "echo",
                json!({}),
                "Input validation error: 'text' is a required property",
                true,
            ),
            (
                "echo",
                json!({"text": 5}),
                "Input validation error: 5 is not of type 'string'",
                true,
            ),
            (
                "echo",
                json!({"text": 5.0}),
                "Input validation error: 5.0 is not of type 'string'",
                true,
            ),
            (
                "echo",
                json!({"text": null}),
                "Input validation error: None is not of type 'string'",
                true,
            ),
            (
                "echo",
                json!({"text": [true, "it's", {"a": "\n\"'"}]}),
                r#"Input validation error: [True, "it's", {'a': '\n"\''}] is not of type 'string'"#,
                true,
            ),
            ("calculate", json!({"expression": "2+2*3"}), "Result: 8", false),
            (
                "calculate",
                json!({"expression": "1/0"}),
                "Error: division by zero",
                false,
            ),
            (
                "calculate",
                json!({"expression": "x+1"}),
                "Error: name 'x' is not defined",
                false,
            ),
            (
                "calculate",
                json!({}),
                "Input validation error: 'expression' is a required property",
                true,
            ),
        ];
        for (name, arguments, text, failed) in cases {
            assert_eq!(
                answered(name, arguments.clone()),
                (text.to_owned(), failed),
                "{name} {arguments}"
            );
        }
    }

    #[test]
    fn structured_output_fits_the_schema_that_is_listed() {
        for (name, arguments, expected) in [
            ("echo", json!({"text": "hi"}), Some(json!({"text": "hi"}))),
            ("echo", json!({}), None),
            (
                "calculate",
                json!({"expression": "2**100"}),
                Some(json!({"result": "1267650600228229401496703205376"})),
            ),
            (
                "calculate",
                json!({"expression": "4/2"}),
                Some(json!({"result": "2.0"})),
            ),
            (
                "calculate",
                json!({"expression": "1/0"}),
                Some(json!({"error": "division by zero"})),
            ),
        ] {
            let result = call(name, arguments.as_object().unwrap()).unwrap();
            assert_eq!(result.structured_content, expected, "{name} {arguments}");
            let tool = all().into_iter().find(|tool| tool.name == name).unwrap();
            let schema = Value::Object(Arc::unwrap_or_clone(tool.output_schema.unwrap()));
            if let Some(structured) = &expected {
                assert_eq!(crate::run::catalogue::violation(&schema, structured), None);
            }
            assert!(crate::run::catalogue::violation(&schema, &json!({})).is_some());
        }
    }

    #[test]
    fn a_tool_that_does_not_exist_has_no_answer() {
        assert!(call("nope", &JsonObject::new()).is_none());
    }

    #[test]
    fn the_tools_are_listed_without_keys_that_have_no_value() {
        let listed = serde_json::to_value(all()).unwrap();
        let hints = json!({
            "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false,
        });
        let schema = |argument: &str, description: &str| {
            json!({
                "type": "object",
                "properties": {argument: {"type": "string", "description": description}},
                "required": [argument],
            })
        };
        let output = |properties: Value| {
            json!({
                "type": "object",
                "properties": properties,
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            })
        };
        let string = |description: &str| json!({"type": "string", "description": description});
        let expected = json!([
            {
                "name": "echo",
                "title": "Echo",
                "description": "Echo back the input text",
                "inputSchema": schema("text", "Text to echo back"),
                "outputSchema": output(json!({"text": string("The text, unchanged")})),
                "annotations": hints,
            },
            {
                "name": "calculate",
                "title": "Calculator",
                "description": "Perform basic arithmetic calculations",
                "inputSchema": schema("expression", "Mathematical expression to evaluate"),
                "outputSchema": output(json!({
                    "result": string("The value, as Python prints it"),
                    "error": string("Why the expression has no value"),
                })),
                "annotations": hints,
            },
        ]);
        assert_eq!(listed, expected);
    }
}
