//! A form of an MCP server, filled in field by field on the terminal.

use serde_json::{Map, Value};

use crate::cli::terminal::brief;

const DEFAULT_CHARS: usize = 60;

/// What is to be filled in, in the schema's order.
#[derive(Debug)]
pub struct Form {
    /// The fields.
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its key in the answer.
    pub name: String,
    title: String,
    description: String,
    is_required: bool,
    default: Option<Value>,
    kind: Kind,
}

/// What a field takes: the kinds that MCP has for forms (2025-11-25, Elicitation, Requested Schema).
#[derive(Debug)]
enum Kind {
    Text,
    Number,
    Integer,
    Switch,
    /// One of these.
    Choice(Vec<Choice>),
    /// Any of these.
    Choices(Vec<Choice>),
}

#[derive(Debug)]
struct Choice {
    value: String,
    title: String,
}

impl Form {
    /// The form of a schema; none when it has a field of a kind that cannot be asked for on one line.
    pub fn of(schema: &Map<String, Value>) -> Option<Self> {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
        let fields = schema
            .get("properties")?
            .as_object()?
            .iter()
            .map(|(name, field)| {
                let text = |key: &str| {
                    field
                        .get(key)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                Some(Field {
                    name: name.clone(),
                    title: text("title"),
                    description: text("description"),
                    is_required: is_required(name),
                    default: field.get("default").cloned(),
                    kind: Kind::of(field)?,
                })
            });
        let fields: Vec<Field> = fields.collect::<Option<_>>()?;
        (!fields.is_empty()).then_some(Self { fields })
    }
}

impl Kind {
    fn of(field: &Value) -> Option<Self> {
        Some(match field.get("type")?.as_str()? {
            "string" => choices(field).map_or(Self::Text, Self::Choice),
            "number" => Self::Number,
            "integer" => Self::Integer,
            "boolean" => Self::Switch,
            "array" => Self::Choices(choices(field.get("items")?)?),
            _ => return None,
        })
    }

    fn says(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Integer => "whole number",
            Self::Switch => "yes or no",
            Self::Choice(_) => "one of these",
            Self::Choices(_) => "any of these, separated by commas",
        }
    }
}

/// What can be chosen, with titles where there are any: by `enum` and `enumNames`, or by `oneOf` or `anyOf`.
fn choices(schema: &Value) -> Option<Vec<Choice>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let names = schema.get("enumNames").and_then(Value::as_array);
        let choice = |(index, value): (usize, &Value)| {
            let value = value.as_str()?.to_owned();
            let title = names.and_then(|names| names.get(index)?.as_str());
            Some(Choice {
                title: title.unwrap_or(&value).to_owned(),
                value,
            })
        };
        return values.iter().enumerate().map(choice).collect();
    }
    let options = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    let choice = |option: &Value| {
        let value = option.get("const")?.as_str()?.to_owned();
        let title = option
            .get("title")
            .and_then(Value::as_str)
            .unwrap_or(&value)
            .to_owned();
        Some(Choice { value, title })
    };
    options.iter().map(choice).collect()
}

impl Field {
    /// What the person is shown before the field's line: what it is about, and what can be chosen.
    pub fn about(&self) -> String {
        let name = if self.title.is_empty() {
            &self.name
        } else {
            &self.title
        };
        let mut about = format!("  {name}");
        if !self.description.is_empty() {
            about.push_str(&format!(": {}", self.description));
        }
        if let Kind::Choice(choices) | Kind::Choices(choices) = &self.kind {
            for (index, choice) in choices.iter().enumerate() {
                about.push_str(&format!("\n    {} {}", index + 1, choice.title));
            }
        }
        about
    }

    /// The same, with the key in the answer and what can stand there.
    pub fn whole(&self) -> String {
        let key = match self.title.is_empty() {
            true => String::new(),
            false => format!("{}: ", self.name),
        };
        let kind = self.words();
        let kind = kind.trim().trim_end_matches(':');
        let about = self.about();
        let (first, rest) = about.split_once('\n').unwrap_or((&about, ""));
        let rest = match rest {
            "" => String::new(),
            rest => format!("\n{rest}"),
        };
        format!("  {key}{} {kind}{rest}", first.trim_start())
    }

    /// What stands before the cursor.
    pub fn words(&self) -> String {
        let empty = match (&self.default, self.is_required) {
            (Some(Value::String(text)), _) => format!(", empty for {}", brief(text, DEFAULT_CHARS)),
            (Some(default), _) => format!(", empty for {}", brief(&default.to_string(), DEFAULT_CHARS)),
            (None, true) => String::new(),
            (None, false) => ", may be empty".to_owned(),
        };
        format!("    ({}{empty}): ", self.kind.says())
    }

    /// Reads a line; none when the field is left out.
    ///
    /// # Errors
    /// What is wrong with it, for the person to try again.
    pub fn read(&self, line: &str) -> Result<Option<Value>, String> {
        let line = line.trim();
        if line.is_empty() {
            return match (&self.default, self.is_required) {
                (Some(default), _) => Ok(Some(default.clone())),
                (None, false) => Ok(None),
                // An empty text is one, too, but nobody could say so by mistake.
                (None, true) => Err("this must be filled in".to_owned()),
            };
        }
        let value = match &self.kind {
            Kind::Text => Value::from(line),
            Kind::Number => number(line).ok_or("that is no number")?,
            Kind::Integer => Value::from(line.parse::<i64>().map_err(|_| "that is no whole number")?),
            Kind::Switch => match line.to_lowercase().as_str() {
                "y" | "yes" | "true" => Value::from(true),
                "n" | "no" | "false" => Value::from(false),
                _ => return Err("that is neither yes nor no".to_owned()),
            },
            Kind::Choice(choices) => Value::from(chosen(choices, line)?),
            Kind::Choices(choices) => {
                let lines = line.split(',').map(str::trim).filter(|one| !one.is_empty());
                lines
                    .map(|one| chosen(choices, one))
                    .collect::<Result<Vec<_>, _>>()?
                    .into()
            }
        };
        Ok(Some(value))
    }
}

fn number(line: &str) -> Option<Value> {
    let number: f64 = line.parse().ok()?;
    serde_json::Number::from_f64(number).map(Value::Number)
}

/// The value that a line means: by its number, its title or itself.
fn chosen(choices: &[Choice], line: &str) -> Result<String, String> {
    let named = choices
        .iter()
        .find(|choice| choice.value == line || choice.title == line);
    let numbered = || choices.get(line.parse::<usize>().ok()?.checked_sub(1)?);
    match named.or_else(numbered) {
        Some(choice) => Ok(choice.value.clone()),
        None => Err(format!("{line:?} is none of these")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(properties: Value) -> Option<Form> {
        let schema = json!({"type": "object", "properties": properties, "required": ["name"]});
        Form::of(schema.as_object().unwrap())
    }

    #[test]
    fn a_field_is_shown_with_its_title_type_default_and_choices() {
        let fields = form(json!({
            "name": {"type": "string", "title": "Name", "description": "Who you are"},
            "color": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"], "default": "r"},
            "note": {"type": "string", "default": "\u{1b}[2Jnone"},
            "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}]},
            "age": {"type": "integer", "default": 7},
            "likes": {"type": "array", "items": {"anyOf": [{"const": "tea"}, {"const": "milk"}]}},
        }));
        let shown: Vec<String> = fields
            .unwrap()
            .fields
            .iter()
            .map(|field| format!("{}\n{}", field.about(), field.words()))
            .collect();
        let expected = [
            "  Name: Who you are\n    (text): ",
            "  color\n    1 Red\n    2 Green\n    (one of these, empty for r): ",
            "  note\n    (text, empty for [2Jnone): ",
            "  size\n    1 Small\n    (one of these, may be empty): ",
            "  age\n    (whole number, empty for 7): ",
            "  likes\n    1 tea\n    2 milk\n    (any of these, separated by commas, may be empty): ",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_line_is_read_as_the_field_takes_it() {
        let text = json!({"type": "string"});
        let color = json!({"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]});
        let many = json!({"type": "array", "items": {"enum": ["r", "g"]}});
        let with_default = json!({"type": "integer", "default": 3});
        for (name, field, line, expected) in [
            ("name", &text, " Ada ", Ok(Some(json!("Ada")))),
            ("name", &text, "", Err("this must be filled in")),
            ("other", &text, "", Ok(None)),
            ("other", &with_default, "", Ok(Some(json!(3)))),
            ("other", &with_default, "4", Ok(Some(json!(4)))),
            ("other", &with_default, "4.5", Err("that is no whole number")),
            ("other", &json!({"type": "number"}), "4.5", Ok(Some(json!(4.5)))),
            (
                "other",
                &json!({"type": "number"}),
                "NaN",
                Err("that is no number"),
            ),
            ("other", &json!({"type": "boolean"}), "Yes", Ok(Some(json!(true)))),
            (
                "other",
                &json!({"type": "boolean"}),
                "maybe",
                Err("that is neither yes nor no"),
            ),
            ("other", &color, "2", Ok(Some(json!("g")))),
            ("other", &color, "Red", Ok(Some(json!("r")))),
            ("other", &color, "3", Err("\"3\" is none of these")),
            ("other", &color, "0", Err("\"0\" is none of these")),
            ("other", &many, "1, g", Ok(Some(json!(["r", "g"])))),
        ] {
            let form = form(json!({ name: field })).unwrap();
            let read = form.fields[0].read(line);
            assert_eq!(read, expected.map_err(str::to_owned), "{field} {line:?}");
        }
    }

    #[test]
    fn a_form_that_cannot_be_asked_line_by_line_is_none() {
        assert!(form(json!({})).is_none());
        assert!(form(json!({"name": {"type": "object"}})).is_none());
        assert!(form(json!({"name": {"type": "array", "items": {"type": "string"}}})).is_none());
    }
}
