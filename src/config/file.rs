//! The file `assistd.toml`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::key::{Entry, Raw};
use super::models::{self, NamedTable};
use super::problem::{Error, Problem};
use super::settings::{Setting, Source};
use super::table::KEYS;

/// What a file says, by key.
#[derive(Debug, Default)]
pub struct Settled {
    /// The settings of known keys.
    pub settings: BTreeMap<&'static str, Setting>,
    /// The models with tables of their own.
    pub models: Vec<NamedTable>,
    /// What is wrong with the rest.
    pub problems: Vec<Problem>,
}

/// Reads a file. One that need not be there and is not says nothing.
///
/// # Errors
/// The file cannot be read or is not TOML.
pub fn read(path: &Path, required: bool) -> Result<Settled, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound && !required => Ok(Settled::default()),
        Err(error) => Err(Error::from(Problem::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })),
    }
}

fn parse(path: &Path, text: &str) -> Result<Settled, Error> {
    let document = DeTable::parse(text).map_err(|error| {
        Error::from(Problem::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })
    })?;
    let mut settled = Settled::default();
    Reader { path, text }.table("", document.get_ref(), &mut settled);
    Ok(settled)
}

/// The file at hand, for telling where something was said.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn table(&self, prefix: &str, table: &DeTable<'_>, settled: &mut Settled) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            let source = self.source(key);
            if let (models::SECTION, DeValue::Table(tables)) = (name.as_str(), value.get_ref()) {
                self.models(tables, settled);
                continue;
            }
            let known = KEYS.iter().find(|entry| entry.about().name == name);
            match (known, value.get_ref()) {
                (Some(entry), value) => match raw(value) {
                    Some(raw) => {
                        settled
                            .settings
                            .insert(entry.about().name, Setting { raw, source });
                    }
                    None => settled.problems.push(Problem::Invalid {
                        key: entry.about().name.to_owned(),
                        value: value.type_str().to_owned(),
                        source,
                        expected: entry.shape().expects,
                    }),
                },
                (None, DeValue::Table(inner)) if !inner.is_empty() => self.table(&name, inner, settled),
                (None, DeValue::Table(_)) if is_section(&name) => {}
                (None, _) => settled.problems.push(Problem::unknown_key(name, source)),
            }
        }
    }
}

impl Reader<'_> {
    fn source(&self, key: &Spanned<DeString<'_>>) -> Source {
        Source::File {
            path: self.path.to_owned(),
            line: line_of(self.text, key.span().start),
        }
    }

    /// The tables of models, in the order of the file.
    fn models(&self, tables: &DeTable<'_>, settled: &mut Settled) {
        let first = settled.models.len();
        for (name, value) in tables {
            let full_name = format!("{}.{}", models::SECTION, name.get_ref());
            let DeValue::Table(table) = value.get_ref() else {
                let problem = Problem::Unfit {
                    key: full_name,
                    source: self.source(name),
                    reason: "expected a table".to_owned(),
                };
                settled.problems.push(problem);
                continue;
            };
            let mut named = NamedTable {
                name: name.get_ref().to_string(),
                source: self.source(name),
                settings: BTreeMap::new(),
            };
            for (key, value) in table {
                let full_name = named.key(key.get_ref());
                let source = self.source(key);
                let known: Option<&&dyn Entry> = models::KEYS
                    .iter()
                    .find(|entry| entry.about().name == *key.get_ref());
                let problem = match (known, raw(value.get_ref())) {
                    (Some(entry), Some(raw)) => {
                        named.settings.insert(entry.about().name, Setting { raw, source });
                        continue;
                    }
                    (Some(entry), None) => Problem::Invalid {
                        key: full_name,
                        value: value.get_ref().type_str().to_owned(),
                        source,
                        expected: entry.shape().expects,
                    },
                    (None, _) => Problem::unknown_model_key(full_name, key.get_ref(), source),
                };
                settled.problems.push(problem);
            }
            settled.models.push(named);
        }
        let line = |table: &NamedTable| match table.source {
            Source::File { line, .. } => line,
            _ => 0,
        };
        settled.models[first..].sort_by_key(line);
    }
}

/// Whether keys live under this name; such a table may be empty.
fn is_section(name: &str) -> bool {
    KEYS.iter().any(|entry| {
        let rest = entry.about().name.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The value as text, a list of texts or a table; `None` for a list of anything else.
fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(|item| scalar(item.get_ref()))
            .collect::<Option<Vec<_>>>()
            .map(Raw::List),
        DeValue::Table(table) => Some(Raw::Table(object(table))),
        other => scalar(other).map(Raw::Text),
    }
}

fn object(table: &DeTable<'_>) -> Map<String, Value> {
    let member = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        (key.get_ref().to_string(), json(value.get_ref()))
    };
    table.iter().map(member).collect()
}

/// The value as JSON has it. What JSON has no form for, such as a time, is a text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Table(table) => Value::Object(object(table)),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => {
            let text = scalar(value).unwrap_or_default();
            text.replace('_', "")
                .parse()
                .map_or(Value::String(text), Value::Number)
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.to_string()),
            Err(_) => Some(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The line of a byte position, from 1.
fn line_of(text: &str, position: usize) -> usize {
    let before = &text.as_bytes()[..position.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_text(text: &str) -> Result<Settled, Error> {
        parse(Path::new("assistd.toml"), text)
    }

    #[test]
    fn values_of_every_kind_become_text_lists_or_pairs() {
        let settled = read_text(
            r#"
            listen = "[::1]:80"
            no_simulator = true
            [run]
            max_turns = 0x10
            [model]
            headers = { x-a = "1", x-b = 2 }
            [api]
            cors_origins = ["https://a.example"]
            [log]
            "#,
        )
        .unwrap();
        assert!(settled.problems.is_empty(), "{:?}", settled.problems);
        let text = |text: &str| Raw::Text(text.to_owned());
        let expected = [
            ("listen", text("[::1]:80"), 2),
            ("no_simulator", text("true"), 3),
            ("run.max_turns", text("16"), 5),
            (
                "model.headers",
                Raw::Table(json!({"x-a": "1", "x-b": 2}).as_object().unwrap().clone()),
                7,
            ),
            (
                "api.cors_origins",
                Raw::List(vec!["https://a.example".to_owned()]),
                9,
            ),
        ];
        assert_eq!(settled.settings.len(), expected.len());
        for (name, raw, expected_line) in expected {
            let setting = &settled.settings[name];
            assert_eq!(setting.raw, raw, "{name}");
            assert!(
                matches!(setting.source, Source::File { line, .. } if line == expected_line),
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_keys_are_named_with_their_line_and_the_nearest_known_one() {
        let settled = read_text("listn = 'x'\n[modle]\nbase_url = 'x'\n[extra]\n").unwrap();
        let said: Vec<String> = settled.problems.iter().map(ToString::to_string).collect();
        let expected = [
            ("`listn` (assistd.toml:1)", "`listen`"),
            ("`modle.base_url` (assistd.toml:3)", "`model.base_url`"),
            ("`extra` (assistd.toml:4)", ""),
        ];
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (name, nearest) in expected {
            assert!(
                said.iter()
                    .any(|line| line.contains(name) && line.contains(nearest)),
                "{name}: {said:?}"
            );
        }
    }

    #[test]
    fn a_value_that_is_too_deep_is_named_by_its_kind() {
        let settled = read_text("[api]\ncors_origins = [['a']]\n").unwrap();
        let said = settled.problems[0].to_string();
        assert!(
            said.starts_with("invalid value `array` for `api.cors_origins` (assistd.toml:2)"),
            "{said}"
        );
    }

    #[test]
    fn text_that_is_no_toml_is_an_error_with_its_line() {
        let error = read_text("listen = 'x'\nwhat is this\n").unwrap_err().to_string();
        assert!(error.starts_with("assistd.toml:2: "), "{error}");
    }

    #[test]
    fn only_a_file_that_was_asked_for_must_exist() {
        let path = Path::new("/nonexistent/assistd.toml");
        assert!(read(path, false).unwrap().settings.is_empty());
        let error = read(path, true).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read /nonexistent/assistd.toml: "),
            "{error}"
        );
    }
}
