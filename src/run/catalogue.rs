//! The tools that a run may use, and the check of their arguments.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Map, Value};

/// Every tool of every connected server, at one moment. A run keeps the catalogue that it started with.
#[derive(Debug, Default)]
pub struct Catalogue {
    version: u64,
    tools: Vec<Arc<Tool>>,
    by_name: HashMap<String, usize>,
}

/// A tool as a server describes it.
#[derive(Debug)]
pub struct Tool {
    description: ToolDescription,
    arguments: Option<jsonschema::Validator>,
}

/// What a server says of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDescription {
    /// The name in the catalogue: `server__tool`, or as the server's prefix says.
    pub name: String,
    /// The server that offers it.
    pub server: String,
    /// The name on that server.
    pub remote_name: String,
    /// A title for people; empty when there is none.
    pub title: String,
    /// What it does, for models and people; empty when there is none.
    pub description: String,
    /// JSON Schema (2020-12 unless it says otherwise) of the arguments: an object.
    pub input_schema: Arc<Value>,
    /// JSON Schema of the structured content, if the server gives one.
    pub output_schema: Option<Arc<Value>>,
    /// The server's hints about its effects.
    pub annotations: Annotations,
}

/// A server's hints about a tool's effects, as MCP has them; none of them is a promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy something.
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
    /// It touches things outside the server's own domain.
    pub open_world: Option<bool>,
}

impl Catalogue {
    /// A catalogue of these tools, in this order. Of two tools with one name the first stays.
    pub fn new(version: u64, tools: impl IntoIterator<Item = Arc<Tool>>) -> Self {
        let mut catalogue = Self {
            version,
            ..Self::default()
        };
        for tool in tools {
            if !catalogue.by_name.contains_key(tool.name()) {
                catalogue
                    .by_name
                    .insert(tool.name().to_owned(), catalogue.tools.len());
                catalogue.tools.push(tool);
            }
        }
        catalogue
    }

    /// Grows with every change of the catalogue; starts at 1 when the service starts.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tools, in the order of the configuration.
    pub fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }

    /// The tool of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Tool>> {
        self.by_name.get(name).map(|&index| &self.tools[index])
    }
}

impl Tool {
    /// A tool, with its input schema compiled. A schema that does not compile checks nothing, as if absent:
    /// the server has the last word on its arguments anyway.
    pub fn new(description: ToolDescription) -> Self {
        let arguments = jsonschema::validator_for(&description.input_schema).ok();
        Self {
            description,
            arguments,
        }
    }

    /// What the server says of it.
    pub fn description(&self) -> &ToolDescription {
        &self.description
    }

    /// The name in the catalogue.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// Whether the input schema could be compiled, and arguments are checked before they are sent.
    pub fn checks_arguments(&self) -> bool {
        self.arguments.is_some()
    }

    /// Reads JSON text as this tool's arguments and checks them against its schema.
    /// No text at all is the empty object, which is how models call a tool without parameters.
    ///
    /// # Errors
    /// What is wrong, in words that a model can act on.
    pub fn read_arguments(&self, text: &str) -> Result<Map<String, Value>, String> {
        let value = match text.trim() {
            "" => Value::Object(Map::new()),
            text => serde_json::from_str(text)
                .map_err(|error| format!("arguments are not valid JSON: {error}"))?,
        };
        match value {
            Value::Object(arguments) => self.check_arguments(arguments),
            _ => Err("arguments are not a JSON object".to_owned()),
        }
    }

    /// Checks arguments against the tool's schema and gives them back.
    ///
    /// # Errors
    /// What is wrong, in words that a model can act on.
    pub fn check_arguments(&self, arguments: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let Some(validator) = &self.arguments else {
            return Ok(arguments);
        };
        let instance = Value::Object(arguments);
        if let Err(error) = validator.validate(&instance) {
            return Err(format!("Input validation error: {}", describe(&error)));
        }
        match instance {
            Value::Object(arguments) => Ok(arguments),
            _ => Ok(Map::new()),
        }
    }
}

/// The two commonest mishaps in the words that MCP's Python SDK uses, which clients of the service that this
/// one replaces have seen; all others in the validator's own.
fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let at = if place.is_empty() {
        String::new()
    } else {
        format!(" at {place}")
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!(
                "'{}' is a required property{at}",
                property.as_str().unwrap_or_default()
            )
        }
        ValidationErrorKind::Type {
            kind: TypeKind::Single(kind),
        } => {
            format!("{} is not of type '{kind}'", error.instance())
        }
        _ => format!("{error}{at}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn echo() -> Tool {
        Tool::new(ToolDescription {
            name: "echo".into(),
            server: "builtin".into(),
            remote_name: "echo".into(),
            title: String::new(),
            description: String::new(),
            input_schema: Arc::new(json!({
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
            })),
            output_schema: None,
            annotations: Annotations::default(),
        })
    }

    #[test]
    fn arguments_are_read_and_checked() {
        let cases = [
            (r#"{"text":"hi"}"#, Ok(r#"{"text":"hi"}"#)),
            (r#"{"text":"hi","x":1}"#, Ok(r#"{"text":"hi","x":1}"#)),
            ("{}", Err("Input validation error: 'text' is a required property")),
            ("", Err("Input validation error: 'text' is a required property")),
            (
                r#"{"text":5}"#,
                Err("Input validation error: 5 is not of type 'string'"),
            ),
            ("[1]", Err("arguments are not a JSON object")),
        ];
        for (text, expected) in cases {
            let read = echo()
                .read_arguments(text)
                .map(|arguments| Value::Object(arguments).to_string());
            assert_eq!(
                read.as_deref(),
                expected.map_err(str::to_owned).as_deref(),
                "{text}"
            );
        }
        assert!(
            echo()
                .read_arguments("{")
                .unwrap_err()
                .starts_with("arguments are not valid JSON")
        );
    }

    #[test]
    fn the_first_of_two_tools_with_one_name_stays() {
        let catalogue = Catalogue::new(1, [Arc::new(echo()), Arc::new(echo())]);
        assert_eq!(catalogue.tools().len(), 1);
        assert!(catalogue.get("echo").is_some());
        assert!(catalogue.get("nope").is_none());
    }
}
