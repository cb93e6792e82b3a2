//! The environment: the process's own, and below it the file `.env`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::key::Raw;
use super::problem::{Error, Problem};
use super::settings::{Setting, Source};
use super::table::KEYS;

/// The variables of the process and, where it has none of that name, of `.env`. Cheap to clone.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<BTreeMap<String, Variable>>,
}

#[derive(Clone)]
struct Variable {
    value: String,
    source: Source,
}

impl Environment {
    /// Puts the process's variables over those of the file, which need not exist.
    ///
    /// An empty variable counts as unset, so that compose files can pass on what may not be there. A
    /// variable that is not Unicode is left out.
    ///
    /// # Errors
    /// The file exists and cannot be read or understood.
    pub fn read(process: impl IntoIterator<Item = (OsString, OsString)>, file: &Path) -> Result<Self, Error> {
        let mut variables = BTreeMap::new();
        for (name, value) in read_file(file)? {
            let source = Source::EnvironmentFile {
                path: file.to_owned(),
                name: name.clone(),
            };
            variables.insert(name, Variable { value, source });
        }
        for (name, value) in process {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string())
                && !value.is_empty()
            {
                let source = Source::Environment { name: name.clone() };
                variables.insert(name, Variable { value, source });
            }
        }
        variables.retain(|_, variable| !variable.value.is_empty());
        Ok(Self {
            variables: Arc::new(variables),
        })
    }

    /// The value of a variable.
    pub fn lookup(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.as_str())
    }

    /// What it says for a key.
    pub(super) fn setting(&self, name: &str) -> Option<Setting> {
        self.variables.get(name).map(|variable| Setting {
            raw: Raw::Text(variable.value.clone()),
            source: variable.source.clone(),
        })
    }

    /// The variables that carry our prefix but are no key's.
    pub(super) fn unknown(&self) -> impl Iterator<Item = Problem> {
        self.variables
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX) && !is_service_link(name))
            .filter(|(name, _)| KEYS.iter().all(|entry| entry.about().env != name.as_str()))
            .map(|(name, variable)| Problem::unknown_variable(name.clone(), variable.source.clone()))
    }
}

/// Names only: a value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// What our variables begin with; all but those that other programs know too.
pub(super) const PREFIX: &str = "ASSISTD_";

/// Whether it is one of the variables that Kubernetes and Docker links set in every container beside a
/// service of the name `assistd`: `ASSISTD_SERVICE_HOST`, `ASSISTD_PORT`, `ASSISTD_PORT_8000_TCP_ADDR`, …
fn is_service_link(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
        || rest == "PORT"
        || rest
            .strip_prefix("PORT_")
            .is_some_and(|port| port.starts_with(|first: char| first.is_ascii_digit()))
}

fn read_file(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::from(Problem::Unreadable {
                path: path.to_owned(),
                reason: error.to_string(),
            }));
        }
    };
    dotenvy::from_read_iter(file)
        .collect::<Result<_, _>>()
        .map_err(|error| syntax(path, &error).into())
}

/// The line's text is not part of the message: it may hold a secret.
fn syntax(path: &Path, error: &dotenvy::Error) -> Problem {
    let reason = match error {
        dotenvy::Error::LineParse(line, _) => {
            let name = line.split('=').next().unwrap_or_default().trim();
            format!("the line of `{name}` is not of the form NAME=value")
        }
        other => other.to_string(),
    };
    Problem::Unreadable {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect()
    }

    #[test]
    fn the_process_wins_over_the_file_and_an_empty_variable_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        std::fs::write(&path, "A=file\nB=file\nexport C='two words'\nD=\n").unwrap();
        let environment =
            Environment::read(process(&[("A", "process"), ("B", ""), ("E", "")]), &path).unwrap();
        let found: Vec<_> = ["A", "B", "C", "D", "E"]
            .map(|name| environment.lookup(name))
            .into_iter()
            .collect();
        assert_eq!(
            found,
            [Some("process"), Some("file"), Some("two words"), None, None]
        );
    }

    #[test]
    fn a_line_that_is_no_assignment_is_an_error_without_the_lines_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        std::fs::write(&path, "OPENAI_API_KEY='sk-secret\n").unwrap();
        let error = Environment::read([], &path).unwrap_err().to_string();
        assert!(
            error.contains(".env") && error.contains("OPENAI_API_KEY"),
            "{error}"
        );
        assert!(!error.contains("sk-secret"), "{error}");
    }

    #[test]
    fn variables_with_our_prefix_must_be_known_but_for_service_links() {
        let pairs = process(&[
            ("ASSISTD_LISTEN", "x"),
            ("ASSISTD_LISTN", "x"),
            ("ASSISTD_PORT", "tcp://10.0.0.1:8000"),
            ("ASSISTD_PORT_8000_TCP_ADDR", "10.0.0.1"),
            ("ASSISTD_SERVICE_HOST", "10.0.0.1"),
            ("ASSISTD_SERVICE_PORT_GRPC", "8000"),
            ("OTHER", "x"),
        ]);
        let environment = Environment::read(pairs, Path::new("/nonexistent/.env")).unwrap();
        let unknown: Vec<String> = environment.unknown().map(|problem| problem.to_string()).collect();
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        assert!(unknown[0].contains("`ASSISTD_LISTN`"), "{unknown:?}");
        assert!(unknown[0].contains("`ASSISTD_LISTEN`"), "{unknown:?}");
    }

    #[test]
    fn debug_output_shows_no_values() {
        let environment =
            Environment::read(process(&[("K", "sk-1")]), Path::new("/nonexistent/.env")).unwrap();
        assert_eq!(format!("{environment:?}"), r#"{"K"}"#);
    }
}
