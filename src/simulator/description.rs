//! OpenAI's description of its API, as the judge of requests and of answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Objection, Recorded, Said};

/// What the description forbids although real servers need it: where, what is put there instead, and why.
const EXCEPTIONS: [(&str, u64, &str); 3] = [
    (
        "/components/schemas/CreateRunRequest/properties/tools/anyOf/0/maxItems",
        128,
        "an assistant may have 128 tools, and a run that overrides them no fewer",
    ),
    (
        "/components/schemas/CreateThreadAndRunRequest/properties/tools/anyOf/0/maxItems",
        128,
        "as for a run in a thread that is there",
    ),
    (
        "/components/schemas/RunObject/properties/tools/maxItems",
        128,
        "an answer repeats what it was asked",
    ),
];

/// OpenAI's description of its API (OpenAPI 3.1, as JSON).
///
/// A request fits it when there is such an operation, whose parameters are those in the query, when its body satisfies
/// the schema, and when the body has no field that the schema does not know. What a schema leaves open deeper inside
/// may be anything.
#[derive(Debug)]
pub struct Description {
    document: Value,
    /// The components as requests are read: with discriminators instead of `oneOf`.
    requests: Value,
    allowed: Vec<String>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Why a text is no description.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It describes no operation.
    #[error("it has no \"paths\"")]
    NoPaths,
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// The text is not JSON, or describes nothing. A schema that cannot be used is told of whatever it is to judge.
    pub fn read(text: &str) -> Result<Self, DescriptionError> {
        let mut document: Value = serde_json::from_str(text)?;
        if !document["paths"].is_object() {
            return Err(DescriptionError::NoPaths);
        }
        allow_null(&mut document);
        for (place, limit, _) in EXCEPTIONS {
            if let Some(value) = document.pointer_mut(place) {
                *value = limit.into();
            }
        }
        let mut requests = document["components"].clone();
        discriminate(&mut requests);
        Ok(Description {
            document,
            requests,
            allowed: Vec::new(),
            validators: Mutex::default(),
        })
    }

    /// Lets requests have this besides, whatever is in it: a field or a parameter of this name, or a part of a message
    /// that is of this type. That is what a provider has of its own.
    #[must_use]
    pub fn allowing(mut self, field: &str) -> Self {
        self.allowed.push(field.to_owned());
        self
    }

    /// Judges a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn request(&self, request: &Recorded) -> Result<(), Objection> {
        let method = request.method.to_lowercase();
        let (template, operation) = self.operation(&method, &request.path)?;
        let name = format!("request {method} {template}");
        self.query(&name, operation, &request.query)?;
        let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
            return match request.body.is_null() {
                true => Ok(()),
                false => Err(format!("{name}: a body that nobody asked for").into()),
            };
        };
        let mut body = request.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|field, _| !self.allowed.contains(field));
            fields.values_mut().for_each(|value| self.leave_out_parts(value));
        }
        let closed = json!({"allOf": [schema], "unevaluatedProperties": false});
        self.check(&name, &self.requests, &closed, &body)
    }

    /// Judges what is answered to a request with this method and path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn answer(&self, method: &str, path: &str, said: &Said<'_>) -> Result<(), String> {
        match said {
            Said::Whole(400.., body) => self.fits("ErrorResponse", body),
            Said::Whole(_, body) => {
                let (template, operation) = self.operation(&method.to_lowercase(), path)?;
                match operation.pointer("/responses/200/content/application~1json/schema") {
                    Some(schema) => {
                        let name = format!("answer {method} {template}");
                        let verdict = self.check(&name, &self.document["components"], schema, body);
                        verdict.map_err(|objection| objection.text)
                    }
                    None => Ok(()),
                }
            }
            Said::Event(_, Value::String(end)) if end == "[DONE]" => Ok(()),
            Said::Event(_, data) if data.get("error").is_some_and(Value::is_object) => {
                self.fits("ErrorResponse", data)
            }
            Said::Event("", data) => self.fits("CreateChatCompletionStreamResponse", data),
            Said::Event(name, data) if name.starts_with("thread.") => {
                let schema = match *name {
                    "thread.created" => "ThreadStreamEvent",
                    name if name.starts_with("thread.run.step.") => "RunStepStreamEvent",
                    name if name.starts_with("thread.run.") => "RunStreamEvent",
                    _ => "MessageStreamEvent",
                };
                self.fits(schema, &json!({"event": name, "data": data}))
            }
            Said::Event(name, data) => self.fits(self.schema_of_event(name)?, data),
        }
    }

    /// The schema of an event of a response, which says its name. Another event's would let much pass.
    fn schema_of_event(&self, name: &str) -> Result<&str, String> {
        let schemas = &self.document["components"]["schemas"];
        let references = schemas["ResponseStreamEvent"]["anyOf"].as_array();
        let names = references.into_iter().flatten().filter_map(|reference| {
            let (_, schema) = reference["$ref"].as_str()?.rsplit_once('/')?;
            Some(schema)
        });
        let mut of_name = names.filter(|schema| {
            let kinds = schemas[schema]["properties"]["type"]["enum"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == name))
        });
        of_name.next().ok_or_else(|| format!("no event is called {name}"))
    }

    /// Judges a value by the schema of this name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fits(&self, name: &str, value: &Value) -> Result<(), String> {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let verdict = self.check(name, &self.document["components"], &schema, value);
        verdict.map_err(|objection| objection.text)
    }

    /// Takes the parts away that requests may have besides.
    fn leave_out_parts(&self, value: &mut Value) {
        match value {
            Value::Array(items) => {
                let is_own = |item: &Value| {
                    let kind = item["type"].as_str();
                    kind.is_some_and(|kind| self.allowed.iter().any(|allowed| allowed == kind))
                };
                let before = items.len();
                items.retain(|item| !is_own(item));
                items.iter_mut().for_each(|item| self.leave_out_parts(item));
                if items.is_empty() && before > 0 {
                    *value = Value::Null;
                }
            }
            Value::Object(fields) => fields.values_mut().for_each(|value| self.leave_out_parts(value)),
            _ => {}
        }
    }

    /// The operation that the path stands for, with the path's template.
    fn operation(&self, method: &str, path: &str) -> Result<(&str, &Value), String> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        let fits = |template: &str| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            loop {
                match (wanted.next(), given.next()) {
                    (None, None) => return true,
                    (Some(wanted), Some(given)) if wanted.starts_with('{') || wanted == given => {}
                    _ => return false,
                }
            }
        };
        let paths = self.document["paths"].as_object().into_iter().flatten();
        // A path without a parameter is closer than one with.
        let found = paths
            .filter(|(template, operations)| fits(template) && operations.get(method).is_some())
            .min_by_key(|(template, _)| template.matches('{').count());
        let (template, operations) = found.ok_or_else(|| format!("no operation {method} {path}"))?;
        Ok((template, &operations[method]))
    }

    /// Judges the parameters behind the question mark. One that is not text is given as it would be in JSON.
    fn query(&self, name: &str, operation: &Value, query: &str) -> Result<(), Objection> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (field, text) = pair.split_once('=').unwrap_or((pair, ""));
            let (field, text) = (decoded(field)?, decoded(text)?);
            if self.allowed.contains(&field) {
                continue;
            }
            let mut described = operation["parameters"].as_array().into_iter().flatten();
            let of_this_name = |one: &&Value| one["in"] == "query" && one["name"] == *field;
            let Some(described) = described.find(of_this_name) else {
                return Err(Objection {
                    text: format!("{name}: nobody knows the parameter {field}"),
                    param: Some(field),
                });
            };
            let as_text = Value::from(text.as_str());
            let components = &self.document["components"];
            let place = format!("{name}, {field}");
            let check = |value: &Value| self.check(&place, components, &described["schema"], value);
            let as_json = serde_json::from_str(&text).unwrap_or_else(|_| as_text.clone());
            let verdict = check(&as_text).or_else(|_| check(&as_json));
            verdict.map_err(|Objection { text, .. }| Objection {
                text,
                param: Some(field.clone()),
            })?;
        }
        Ok(())
    }

    /// Judges a value by a schema that refers to these components and is always the same for a name.
    fn check(&self, name: &str, components: &Value, schema: &Value, value: &Value) -> Result<(), Objection> {
        let validator = {
            let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
            match validators.get(name) {
                Some(validator) => Arc::clone(validator),
                None => {
                    let made = validator(components, schema).map_err(|error| format!("{name}: {error}"))?;
                    Arc::clone(validators.entry(name.to_owned()).or_insert(made))
                }
            }
        };
        let errors: Vec<_> = validator.iter_errors(value).collect();
        if errors.is_empty() {
            return Ok(());
        }
        let told = errors
            .iter()
            .map(|error| format!("{}: {error}", error.instance_path()));
        let told = told.collect::<Vec<_>>().join("; ");
        Err(Objection::of_body(format!("{name}: {told}\n{value:#}"), &errors))
    }
}

fn validator(components: &Value, schema: &Value) -> Result<Arc<Validator>, String> {
    let mut schema = schema.clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["components"] = components.clone();
    let made = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    Ok(Arc::new(made))
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|error| format!("the query: {error}"))
}

/// Writes what OpenAPI 3.0 called `nullable` as JSON Schema knows it.
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

/// Lets a schema with a discriminator be read as the type that it names: the description's own `oneOf` forbids what
/// several of its members allow, such as a user message with a type.
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

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = r##"{
        "paths": {
            "/things": {
                "get": {"parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 9}}]},
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}},
                    "responses": {"200": {"content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Thing"}}}}}
                }
            },
            "/things/{id}": {"post": {}}
        },
        "components": {"schemas": {
            "Named": {"type": "object", "properties": {"name": {"type": "string", "nullable": true}}},
            "New": {"allOf": [{"$ref": "#/components/schemas/Named"}, {"required": ["name"]}]},
            "Thing": {"type": "object", "required": ["id"]},
            "ErrorResponse": {"type": "object", "required": ["error"]}
        }}
    }"##;

    fn request(method: &str, path: &str, query: &str, body: Value) -> Recorded {
        Recorded {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: http::HeaderMap::new(),
            body,
        }
    }

    #[test]
    fn a_request_has_an_operation_and_fits_its_parameters_and_its_schema() {
        let description = Description::read(API).unwrap().allowing("own");
        let table = [
            ("GET", "/things", "", Value::Null, ""),
            ("GET", "/v1/things", "limit=3", Value::Null, ""),
            ("GET", "/things", "limit=10", Value::Null, "limit"),
            ("GET", "/things", "order=asc", Value::Null, "order"),
            ("GET", "/things", "own=1", Value::Null, ""),
            ("GET", "/things", "", json!({}), "a body that nobody asked for"),
            ("GET", "/others", "", Value::Null, "no operation get /others"),
            ("POST", "/things/1", "", Value::Null, ""),
            ("POST", "/things", "", json!({"name": "n"}), ""),
            ("POST", "/things", "", json!({"name": null}), ""),
            ("POST", "/things", "", json!({"name": 1}), "/name"),
            ("POST", "/things", "", json!({}), "required"),
            ("POST", "/things", "", json!({"name": "n", "own": 1}), ""),
            ("POST", "/things", "", json!({"name": [{"type": "own"}]}), ""),
            (
                "POST",
                "/things",
                "",
                json!({"name": [{"type": "other"}]}),
                "/name",
            ),
            ("POST", "/things", "", json!({"name": "n", "nmae": 1}), "nmae"),
        ];
        for (method, path, query, body, expected) in table {
            let case = format!("{method} {path}?{query} {body}");
            let verdict = description.request(&request(method, path, query, body));
            let problem = verdict.err().unwrap_or_default().text;
            assert_eq!(problem.is_empty(), expected.is_empty(), "{case}: {problem}");
            assert!(problem.contains(expected), "{case}: {problem}");
        }
    }

    #[test]
    fn an_answer_fits_its_operation_and_a_refusal_is_an_error() {
        let description = Description::read(API).unwrap();
        let answer = |status, body| description.answer("POST", "/v1/things", &Said::Whole(status, &body));
        assert_eq!(answer(200, json!({"id": 1})), Ok(()));
        assert!(answer(200, json!({})).is_err());
        assert!(answer(400, json!({"id": 1})).is_err());
        assert_eq!(answer(404, json!({"error": {}})), Ok(()));
    }

    #[test]
    fn what_describes_nothing_is_no_description() {
        for text in ["", "{}", r#"{"paths": []}"#] {
            assert!(Description::read(text).is_err(), "{text}");
        }
    }
}
