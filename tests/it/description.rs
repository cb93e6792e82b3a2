//! OpenAI's API description as a judge of requests and answers.

mod judge;

pub use judge::judged;

use jsonschema::Validator;
use serde_json::{Value, json};

const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/openai/openapi.json");

/// The description, or `None` with a loud note where it does not lie beside the project.
pub fn description() -> Option<Description> {
    let Ok(text) = std::fs::read_to_string(DESCRIPTION) else {
        crate::skip::skipped(
            "OpenAI's description is not beside the project: nothing is validated against it",
        );
        return None;
    };
    let mut document: Value = serde_json::from_str(&text).expect("the description is JSON");
    allow_null(&mut document);
    Some(Description { document })
}

/// The description with what OpenAPI 3.0 called `nullable` written as JSON Schema knows it.
#[derive(Clone)]
pub struct Description {
    document: Value,
}

impl Description {
    /// A judge of the component schema `name`.
    pub fn schema(&self, name: &str) -> Validator {
        validator(self.document["components"].clone(), name)
    }

    /// A judge of request bodies. A schema with a discriminator is read as the type it names: the
    /// description's own `oneOf` forbids what several of its members allow, such as a user message
    /// with a type.
    pub fn request_schema(&self, name: &str) -> Validator {
        let mut components = self.document["components"].clone();
        discriminate(&mut components);
        validator(components, name)
    }
}

fn validator(components: Value, name: &str) -> Validator {
    let schema = json!({"$ref": format!("#/components/schemas/{name}")});
    validator_of(components, &schema)
}

/// A judge of a schema that refers to these components.
fn validator_of(components: Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["components"] = components;
    jsonschema::validator_for(&schema).expect("the description is a JSON Schema")
}

fn allow_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(allow_null),
        Value::Object(object) => {
            object.values_mut().for_each(allow_null);
            if object.remove("nullable") == Some(Value::Bool(true)) {
                let inner = Value::Object(std::mem::take(object));
                *schema = json!({"anyOf": [inner, {"type": "null"}]});
            }
        }
        _ => {}
    }
}

fn discriminate(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(discriminate),
        Value::Object(object) => {
            object.values_mut().for_each(discriminate);
            if object.contains_key("discriminator")
                && let Some(members) = object.remove("oneOf")
            {
                object.insert("anyOf".to_owned(), members);
            }
        }
        _ => {}
    }
}

/// Panics with every error when `instance` does not validate.
pub fn assert_valid(validator: &Validator, instance: &Value) {
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{instance:#}");
}
