//! What is wrong with a request, for the answer that refuses it.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;

/// What is wrong with a request, and with which field of it if that can be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objection {
    /// In words.
    pub text: String,
    /// The field, as OpenAI's `param` names it: `input[0].content`.
    pub param: Option<String>,
}

impl Objection {
    /// That a body does not fit a schema, with this said of it. The first error says which field is meant, but one that only
    /// says what no schema has looked at comes last: that is everything where another one has failed.
    pub(super) fn of_body(text: String, errors: &[ValidationError<'_>]) -> Self {
        let is_left_over = |error: &&ValidationError<'_>| {
            matches!(error.kind(), ValidationErrorKind::UnevaluatedProperties { .. })
        };
        let first = errors.iter().find(|error| !is_left_over(error));
        Self {
            text,
            param: first.or(errors.first()).and_then(param),
        }
    }
}

impl From<String> for Objection {
    fn from(text: String) -> Self {
        Self { text, param: None }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The field that an error is of; none for the whole body.
fn param(error: &ValidationError<'_>) -> Option<String> {
    let name = match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str(),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.first().map(String::as_str),
        _ => None,
    };
    let place = error.instance_path().as_str();
    let steps = place
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"));
    let mut param = String::new();
    for step in steps.chain(name.map(str::to_owned)) {
        match step.parse::<usize>() {
            Ok(index) => param.push_str(&format!("[{index}]")),
            Err(_) if param.is_empty() => param.push_str(&step),
            Err(_) => param.push_str(&format!(".{step}")),
        }
    }
    Some(param).filter(|param| !param.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_field_is_named_as_openai_does() {
        let schema = json!({
            "allOf": [{
                "required": ["model"],
                "properties": {"model": {"type": "string"}, "input": {"items": {
                    "required": ["role"], "additionalProperties": false, "properties": {"role": {"enum": ["user"]}}
                }}}
            }],
            "unevaluatedProperties": false
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let named = |body: Value| {
            let errors: Vec<_> = validator.iter_errors(&body).collect();
            Objection::of_body(String::new(), &errors)
                .param
                .unwrap_or_default()
        };
        let table = [
            (json!({}), "model"),
            (json!({"model": 1}), "model"),
            (json!({"model": "m", "modle": 1}), "modle"),
            (
                json!({"model": "m", "input": [{"role": "user"}, {}]}),
                "input[1].role",
            ),
            (json!({"model": "m", "input": [{"role": "x"}]}), "input[0].role"),
            (
                json!({"model": "m", "input": [{"role": "user", "a/b": 1}]}),
                "input[0].a/b",
            ),
        ];
        for (body, expected) in table {
            assert_eq!(named(body), expected);
        }
    }
}
