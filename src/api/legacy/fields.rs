//! The fields of the two requests that have any, and FastAPI's words for those that do not fit.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// What `/assistant/chat` is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// Not empty.
    pub message: String,
    /// Which assistant; the default one if there is none.
    pub assistant_id: Option<String>,
    /// Which thread; a new one if there is none.
    pub thread_id: Option<String>,
}

/// What `/mcp/call` is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which tool.
    pub tool_name: String,
    /// With what.
    pub arguments: Map<String, Value>,
}

impl Chat {
    /// Reads a body. Unknown fields are ignored; an id that is null or empty is absent.
    ///
    /// # Errors
    /// 422 with everything that does not fit.
    pub fn read(body: Option<Value>) -> Result<Self, Refusal> {
        let mut fields = match body {
            None => return Err(Refusal::fields(vec![missing(&["body"], Value::Null)])),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(Refusal::fields(vec![not_a_model(other)])),
        };
        let mut misfits = Vec::new();
        if let Some(misfit) = message_misfit(&fields) {
            misfits.push(misfit);
        }
        for id in ["assistant_id", "thread_id"] {
            match fields.get(id) {
                None | Some(Value::Null | Value::String(_)) => {}
                Some(other) => misfits.push(not_a_string(id, other)),
            }
        }
        if !misfits.is_empty() {
            return Err(Refusal::fields(misfits));
        }
        let mut take = |field| match fields.get_mut(field) {
            Some(Value::String(text)) if !text.is_empty() => Some(std::mem::take(text)),
            _ => None,
        };
        Ok(Self {
            message: take("message").unwrap_or_default(),
            assistant_id: take("assistant_id"),
            thread_id: take("thread_id"),
        })
    }
}

impl Call {
    /// Reads a body and the query's `tool_name`. With it, the body is the arguments; without, the body must
    /// name the tool and holds the arguments in a field.
    ///
    /// # Errors
    /// 422 with everything that does not fit.
    pub fn read(tool_name: Option<String>, body: Option<Value>) -> Result<Self, Refusal> {
        let mut misfits = Vec::new();
        if tool_name.is_none() {
            misfits.push(missing(&["query", "tool_name"], Value::Null));
        }
        match (tool_name, body) {
            (_, None) => misfits.push(missing(&["body"], Value::Null)),
            (Some(tool_name), Some(Value::Object(arguments))) => {
                return Ok(Self { tool_name, arguments });
            }
            (None, Some(Value::Object(fields))) if fields.contains_key("tool_name") => {
                return Self::from_body(fields);
            }
            (None, Some(Value::Object(_))) => {}
            (_, Some(other)) => misfits.push(not_an_object(&["body"], other)),
        }
        Err(Refusal::fields(misfits))
    }

    fn from_body(mut fields: Map<String, Value>) -> Result<Self, Refusal> {
        let mut misfits = Vec::new();
        let tool_name = match fields.get_mut("tool_name") {
            Some(Value::String(name)) => std::mem::take(name),
            other => {
                misfits.push(not_a_string(
                    "tool_name",
                    other.as_deref().unwrap_or(&Value::Null),
                ));
                String::new()
            }
        };
        let arguments = match fields.get_mut("arguments").map(Value::take) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(other) => {
                misfits.push(not_an_object(&["body", "arguments"], other));
                Map::new()
            }
        };
        if misfits.is_empty() {
            Ok(Self { tool_name, arguments })
        } else {
            Err(Refusal::fields(misfits))
        }
    }
}

/// 422 for a header that says no time.
pub fn not_a_timeout(header: &str, value: &str) -> Refusal {
    Refusal::fields(vec![json!({
        "type": "timeout_parsing",
        "loc": ["header", header],
        "msg": "Input should be a valid timeout",
        "input": value,
    })])
}

fn message_misfit(fields: &Map<String, Value>) -> Option<Value> {
    match fields.get("message") {
        None => Some(missing(&["body", "message"], Value::Object(fields.clone()))),
        Some(Value::String(text)) if text.is_empty() => Some(json!({
            "type": "string_too_short",
            "loc": ["body", "message"],
            "msg": "String should have at least 1 character",
            "input": "",
            "ctx": {"min_length": 1},
        })),
        Some(Value::String(_)) => None,
        Some(other) => Some(not_a_string("message", other)),
    }
}

fn missing(place: &[&str], input: Value) -> Value {
    misfit("missing", place, "Field required", input)
}

fn not_a_string(field: &str, input: &Value) -> Value {
    misfit(
        "string_type",
        &["body", field],
        "Input should be a valid string",
        input.clone(),
    )
}

fn not_an_object(place: &[&str], input: Value) -> Value {
    misfit("dict_type", place, "Input should be a valid dictionary", input)
}

fn not_a_model(input: Value) -> Value {
    let message = "Input should be a valid dictionary or object to extract fields from";
    misfit("model_attributes_type", &["body"], message, input)
}

fn misfit(kind: &str, place: &[&str], message: &str, input: Value) -> Value {
    json!({"type": kind, "loc": place, "msg": message, "input": input})
}

#[cfg(test)]
mod tests {
    use super::{Call, Chat, Refusal, Value, json};

    fn misfits<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Vec<(String, Value)> {
        let refusal = result.unwrap_err();
        assert_eq!(refusal.status, 422);
        let list = refusal.detail.as_array().unwrap();
        list.iter()
            .map(|misfit| (misfit["type"].as_str().unwrap().to_owned(), misfit["loc"].clone()))
            .collect()
    }

    #[test]
    fn ids_that_are_null_or_empty_are_absent() {
        let body = json!({"message": "hi", "assistant_id": null, "thread_id": "", "more": 1});
        let chat = Chat::read(Some(body)).unwrap();
        assert_eq!((chat.assistant_id, chat.thread_id), (None, None));
        let chat = Chat::read(Some(json!({"message": " ", "thread_id": "t"}))).unwrap();
        assert_eq!(
            (chat.message.as_str(), chat.thread_id.as_deref()),
            (" ", Some("t"))
        );
    }

    #[test]
    fn every_field_that_does_not_fit_is_named_in_order() {
        let found = misfits(Chat::read(Some(json!({"thread_id": [], "assistant_id": 2}))));
        let expected = [
            ("missing".to_owned(), json!(["body", "message"])),
            ("string_type".to_owned(), json!(["body", "assistant_id"])),
            ("string_type".to_owned(), json!(["body", "thread_id"])),
        ];
        assert_eq!(found, expected);
        let found = misfits(Call::read(None, Some(json!([1]))));
        let expected = [
            ("missing".to_owned(), json!(["query", "tool_name"])),
            ("dict_type".to_owned(), json!(["body"])),
        ];
        assert_eq!(found, expected);
        let body = json!({"tool_name": null, "arguments": 1});
        let expected = [
            ("string_type".to_owned(), json!(["body", "tool_name"])),
            ("dict_type".to_owned(), json!(["body", "arguments"])),
        ];
        assert_eq!(misfits(Call::read(None, Some(body))), expected);
    }

    #[test]
    fn the_body_names_the_tool_only_when_the_query_does_not() {
        let body = json!({"tool_name": "echo", "arguments": {"text": "hi"}});
        let call = Call::read(None, Some(body.clone())).unwrap();
        assert_eq!(
            (call.tool_name.as_str(), &call.arguments["text"]),
            ("echo", &json!("hi"))
        );
        let call = Call::read(Some("other".into()), Some(body)).unwrap();
        assert_eq!((call.tool_name.as_str(), call.arguments.len()), ("other", 2));
        let call = Call::read(None, Some(json!({"tool_name": "now"}))).unwrap();
        assert!(call.arguments.is_empty());
    }
}
