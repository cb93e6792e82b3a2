//! Whether an answer has the form that was asked for.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::options::OutputFormat;

/// How many things are told that are wrong with an answer, and how much of it, in bytes.
const TOLD: usize = 3;
const TOLD_BYTES: usize = 600;

/// The check of a run's answer, made once for all its turns.
#[derive(Debug)]
pub struct AnswerCheck {
    /// None checks nothing but that it is JSON.
    validator: Option<Validator>,
    corrections: u32,
}

impl AnswerCheck {
    /// The check of this format; none where any text will do.
    ///
    /// A schema that does not compile, which no request can have, checks nothing but that the answer is JSON.
    pub fn of(format: &OutputFormat) -> Option<Self> {
        let (schema, corrections) = match format {
            OutputFormat::Text => return None,
            OutputFormat::JsonObject { max_corrections } => (&json!({"type": "object"}), max_corrections),
            OutputFormat::JsonSchema(schema) => (&schema.schema, &schema.max_corrections),
        };
        Some(Self {
            validator: jsonschema::validator_for(schema).ok(),
            corrections: *corrections,
        })
    }

    /// How often the model is asked again.
    pub fn corrections(&self) -> u32 {
        self.corrections
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// What is wrong with it, the first things, without any of its values.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let answer: Value =
            serde_json::from_str(text).map_err(|error| format!("it is not valid JSON: {error}"))?;
        let Some(validator) = &self.validator else {
            return Ok(());
        };
        let wrong: Vec<String> = validator
            .iter_errors(&answer)
            .take(TOLD)
            .map(|error| match error.instance_path().as_str() {
                "" => error.masked().to_string(),
                place => format!("at {place}: {}", error.masked()),
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let mut told = wrong.join("; ");
        if told.len() > TOLD_BYTES {
            told.truncate(told.floor_char_boundary(TOLD_BYTES));
            told.push('…');
        }
        Err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::options::OutputSchema;

    fn check(format: OutputFormat, text: &str) -> String {
        let check = AnswerCheck::of(&format).unwrap();
        check.check(text).err().unwrap_or_default()
    }

    #[test]
    fn an_answer_that_does_not_fit_is_told_what_is_wrong_without_its_values() {
        let weather = json!({
            "type": "object",
            "properties": {"degrees": {"type": "number", "maximum": 60}, "sky": {"enum": ["clear", "grey"]}},
            "required": ["degrees"],
            "additionalProperties": false,
        });
        let table = [
            (r#"{"degrees": 3}"#, ""),
            (r#" {"degrees": 3, "sky": "grey"} "#, ""),
            ("", "it is not valid JSON"),
            ("```json\n{\"degrees\": 3}\n```", "it is not valid JSON"),
            (r#"{"degrees": 3} and so on"#, "it is not valid JSON"),
            ("{}", "\"degrees\" is a required property"),
            (
                r#"{"degrees": 61.5}"#,
                "at /degrees: value is greater than the maximum of 60",
            ),
            (r#"{"degrees": 3, "sky": "secret"}"#, "at /sky: "),
        ];
        for (text, expected) in table {
            let schema = OutputSchema {
                name: "weather".into(),
                description: String::new(),
                schema: weather.clone(),
                strict: None,
                max_corrections: 2,
            };
            let told = check(OutputFormat::JsonSchema(schema), text);
            assert!(
                told.starts_with(expected) && told.is_empty() == expected.is_empty(),
                "{text}: {told}"
            );
            assert!(!told.contains("secret") && !told.contains("61.5"), "{told}");
        }
    }

    #[test]
    fn an_object_is_asked_for_without_a_schema() {
        let object = || OutputFormat::JsonObject { max_corrections: 0 };
        assert_eq!(check(object(), "{}"), "");
        assert_ne!(check(object(), "[]"), "");
        assert!(AnswerCheck::of(&OutputFormat::Text).is_none());
    }
}
