//! The two tools: what they are called, what they accept, what they answer.

use std::sync::Arc;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::arithmetic;

/// A tool with one required string argument.
struct Definition {
    name: &'static str,
    description: &'static str,
    argument: &'static str,
    argument_description: &'static str,
    answer: fn(&str) -> String,
}

const DEFINITIONS: [Definition; 2] = [
    Definition {
        name: "echo",
        description: "Echo back the input text",
        argument: "text",
        argument_description: "Text to echo back",
        answer: |text| format!("Echo: {text}"),
    },
    Definition {
        name: "calculate",
        description: "Perform basic arithmetic calculations",
        argument: "expression",
        argument_description: "Mathematical expression to evaluate",
        // An expression without a value is an answer, not a failure of the tool: clients of the
        // service that this one replaces read it as text.
        answer: |expression| match arithmetic::evaluate(expression) {
            Ok(value) => format!("Result: {value}"),
            Err(error) => format!("Error: {error}"),
        },
    },
];

/// Both tools, as they are listed.
pub(super) fn all() -> Vec<Tool> {
    DEFINITIONS.iter().map(listed).collect()
}

fn listed(definition: &Definition) -> Tool {
    let mut property = JsonObject::new();
    property.insert("type".to_owned(), json!("string"));
    property.insert("description".to_owned(), json!(definition.argument_description));
    let mut properties = JsonObject::new();
    properties.insert(definition.argument.to_owned(), Value::Object(property));
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), json!([definition.argument]));
    Tool::new(definition.name, definition.description, Arc::new(schema)).with_annotations(
        ToolAnnotations::new()
            .read_only(true)
            .destructive(false)
            .idempotent(true)
            .open_world(false),
    )
}

/// What the tool answers; `None` when there is no tool of this name. Arguments that do not fit the
/// tool's schema are a failed result, so that a model can mend them.
pub(super) fn call(name: &str, arguments: &JsonObject) -> Option<CallToolResult> {
    let definition = DEFINITIONS.iter().find(|definition| definition.name == name)?;
    Some(match arguments.get(definition.argument) {
        Some(Value::String(text)) => {
            CallToolResult::success(vec![ContentBlock::text((definition.answer)(text))])
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
        let expected = json!([
            {
                "name": "echo",
                "description": "Echo back the input text",
                "inputSchema": schema("text", "Text to echo back"),
                "annotations": hints,
            },
            {
                "name": "calculate",
                "description": "Perform basic arithmetic calculations",
                "inputSchema": schema("expression", "Mathematical expression to evaluate"),
                "annotations": hints,
            },
        ]);
        assert_eq!(listed, expected);
    }
}
