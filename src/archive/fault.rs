//! What is wrong with a file, and where.

use std::fmt;
use std::io;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::run::error::Error;

/// Something in a file that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line where it stands, or where the value that holds it begins; from 1, 0 for the whole file.
    pub line: usize,
    /// The field, by its path in the line; empty for all of it.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Why something could not be exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store says no.
    #[error("{0}")]
    Store(#[from] Error),
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What is in the file does not fit: these are the first faults.
    #[error("the file cannot be imported, and nothing was:{}", listed(.0))]
    Faults(Vec<Fault>),
    /// Of these names, something else is in the store.
    #[error(
        "the store has something else of the same name, and nothing was imported:{}{}", listed(.first), rest(*.more)
    )]
    Conflicts {
        /// The first of them.
        first: Vec<String>,
        /// How many others there are.
        more: usize,
    },
    /// Of this name, something else is in another thread, or has come into the store meanwhile. What stands before it
    /// in the file is imported.
    #[error(
        "the {kind} {id} is in the store already, elsewhere; what stands before it in the file was imported"
    )]
    Elsewhere {
        /// Of which kind it is.
        kind: &'static str,
        /// Its name.
        id: Box<str>,
    },
}

impl Fault {
    /// A fault of a field, in a line that is not known yet.
    pub fn of(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            line: 0,
            field: field.into(),
            description: description.into(),
        }
    }

    /// The same, in that line.
    #[must_use]
    pub fn at(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The same, of something inside of that field.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let field = match (outer, self.field.as_str()) {
            ("", field) => field.to_owned(),
            (outer, "") => outer.to_owned(),
            (outer, field) if field.starts_with('[') => format!("{outer}{field}"),
            (outer, field) => format!("{outer}.{field}"),
        };
        Self { field, ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.description)
    }
}

/// Reads a value as a type.
///
/// # Errors
/// Names the field that does not fit.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Fault::of(field, error.inner().to_string())
    })
}

/// Names the field of an id that is none.
pub(super) fn of_id<T>(field: &str, id: Result<T, Error>) -> Result<T, Fault> {
    id.map_err(|error| {
        let violation = error.violations().first();
        let description = violation.map_or("not a valid id", |violation| &violation.description);
        Fault::of(field, description)
    })
}

fn listed(lines: &[impl fmt::Display]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

fn rest(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    }
}
