//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use strsim::normalized_damerau_levenshtein;

use super::environment::PREFIX;
use super::key::{About, Entry};
use super::models;
use super::settings::Source;
use super::table::KEYS;

/// Everything that is wrong with a configuration, so that it can be mended in one go.
#[derive(Debug)]
pub struct Error {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub enum Problem {
    /// A name that no key has.
    Unknown {
        /// The name.
        name: String,
        /// Where it was said.
        source: Source,
        /// The known name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value that is not of its key's form.
    Invalid {
        /// The key.
        key: String,
        /// The value as it may be shown.
        value: String,
        /// Where it was said.
        source: Source,
        /// Completes "expected …".
        expected: &'static str,
    },
    /// A value that does not go with something else.
    Unfit {
        /// The key.
        key: String,
        /// Where it was said.
        source: Source,
        /// Why not.
        reason: String,
    },
    /// A file that cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file whose text cannot be understood.
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Nobody said it and it has no default here.
    Missing {
        /// The key.
        key: &'static str,
        /// Why there is no default.
        reason: String,
    },
}

impl Error {
    /// What is wrong, in the order in which it was found; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// An error, when anything is wrong.
    pub(super) fn of(problems: Vec<Problem>) -> Result<(), Error> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Error { problems })
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl Problem {
    /// An unknown TOML key.
    pub(super) fn unknown_key(name: String, source: Source) -> Self {
        Problem::Unknown {
            nearest: nearest_key(&name),
            name,
            source,
        }
    }

    /// An unknown key of a model's table.
    pub(super) fn unknown_model_key(name: String, last: &str, source: Source) -> Self {
        let likeness = |about: &About| normalized_damerau_levenshtein(last, about.name);
        Problem::Unknown {
            nearest: nearest_of(models::KEYS, likeness).map(|about| about.name),
            name,
            source,
        }
    }

    /// An unknown environment variable.
    pub(super) fn unknown_variable(name: String, source: Source) -> Self {
        Problem::Unknown {
            nearest: nearest_variable(&name),
            name,
            source,
        }
    }
}

/// The key that is most like this name. One without its table, or in a wrong one, counts as nearly right.
fn nearest_key(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |about: &About| {
        let whole = normalized_damerau_levenshtein(name, about.name);
        let bare = normalized_damerau_levenshtein(&last(name), &last(about.name));
        whole.max(bare * 0.95)
    };
    nearest_of(KEYS, likeness).map(|about| about.name)
}

/// The variable that is most like this name, or whose key, written as a variable, is.
fn nearest_variable(name: &str) -> Option<&'static str> {
    let likeness = |about: &About| {
        let derived = format!("{PREFIX}{}", about.name.replace('.', "_").to_ascii_uppercase());
        let direct = normalized_damerau_levenshtein(name, about.env);
        direct.max(normalized_damerau_levenshtein(name, &derived))
    };
    nearest_of(KEYS, likeness).map(|about| about.env)
}

fn nearest_of(keys: &'static [&dyn Entry], likeness: impl Fn(&About) -> f64) -> Option<&'static About> {
    nearest(keys.iter().map(|entry| entry.about()), |about| likeness(about))
}

/// The known one that was probably meant: the one that is most like what was said, if it is like it at all.
pub(super) fn nearest<T>(known: impl Iterator<Item = T>, likeness: impl Fn(&T) -> f64) -> Option<T> {
    /// Below it one word is not a misspelling of the other.
    const ALIKE: f64 = 0.5;

    let scored = known.map(|one| (likeness(&one), one));
    let (score, one) = scored.max_by(|one, two| one.0.total_cmp(&two.0))?;
    (score >= ALIKE).then_some(one)
}

/// Ends a sentence about an unknown name with the one that was probably meant.
pub(super) struct Nearest<'a>(pub(super) Option<&'a str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; the nearest known one is `{name}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unknown {
                name,
                source,
                nearest,
            } => write!(
                f,
                "unknown configuration key `{name}` ({source}){}",
                Nearest(*nearest)
            ),
            Problem::Invalid {
                key,
                value,
                source,
                expected,
            } => write!(
                f,
                "invalid value `{value}` for `{key}` ({source}); expected {expected}"
            ),
            Problem::Unfit { key, source, reason } => write!(f, "`{key}` ({source}): {reason}"),
            Problem::Unreadable { path, reason } => write!(f, "cannot read {}: {reason}", path.display()),
            Problem::Syntax { path, line, reason } => write!(f, "{}:{line}: {reason}", path.display()),
            Problem::Missing { key, reason } => write!(f, "no value for `{key}`: {reason}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_the_one_that_was_meant() {
        let keys = [
            ("listn", "listen"),
            ("datadir", "data_dir"),
            ("base_url", "model.base_url"),
            ("modle.base_url", "model.base_url"),
            ("model.apikey", "model.api_key"),
            ("run.max_turn", "run.max_turns"),
            ("api.drain", "api.drain_grace"),
        ];
        assert_eq!(nearest_key("zebra"), None);
        for (said, meant) in keys {
            assert_eq!(nearest_key(said), Some(meant));
        }
        let variables = [
            ("ASSISTD_LISTN", "ASSISTD_LISTEN"),
            ("ASSISTD_DATADIR", "ASSISTD_DATA_DIR"),
            ("ASSISTD_MODEL_NAME", "ASSISTD_MODEL"),
            ("ASSISTD_MODEL_BASE_URL", "OPENAI_BASE_URL"),
            ("ASSISTD_MAX_TURNS", "ASSISTD_RUN_MAX_TURNS"),
        ];
        for (said, meant) in variables {
            assert_eq!(nearest_variable(said), Some(meant));
        }
    }
}
