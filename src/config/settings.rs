//! The layers, merged: for every key the value that counts, and who said it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file;
use super::key::{Entry, Fallback, Key, Raw};
use super::models::{self, NamedTable};
use super::problem::{Error, Problem};
use super::table::{KEYS, MODEL_NAME};

/// Where the layers come from.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The flags that were given: the key's name and the text.
    pub flags: Vec<(&'static str, String)>,
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where `.env` and `assistd.toml` are looked for; empty is the current directory.
    pub directory: PathBuf,
    /// A file to read instead of `assistd.toml`; it must exist.
    pub file: Option<PathBuf>,
}

impl Inputs {
    /// The layers of this process in its current directory.
    pub fn of_process(flags: Vec<(&'static str, String)>, file: Option<PathBuf>) -> Self {
        Self {
            flags,
            environment: std::env::vars_os().collect(),
            directory: PathBuf::new(),
            file,
        }
    }
}

/// What somebody said for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub raw: Raw,
    /// Who said it.
    pub source: Source,
}

/// Who said it. The order of the layers is that of the variants: the first wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag {
        /// Without the dashes.
        long: &'static str,
    },
    /// A variable of the process.
    Environment {
        /// Its name.
        name: String,
    },
    /// A variable in `.env`.
    EnvironmentFile {
        /// The file.
        path: PathBuf,
        /// Its name.
        name: String,
    },
    /// A key in `assistd.toml`.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nobody.
    Default,
}

/// For every key the value that counts. All values are of their keys' forms.
#[derive(Debug)]
pub struct Settings {
    settings: BTreeMap<&'static str, Setting>,
    models: Vec<NamedTable>,
    environment: Environment,
}

/// A key as it stands, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The TOML key.
    pub key: Cow<'static, str>,
    /// The value, a secret masked; `None` when it is unset.
    pub value: Option<String>,
    /// Who said it.
    pub source: Source,
}

impl Settings {
    /// Reads and merges all layers, and checks every value that counts.
    ///
    /// # Errors
    /// Files that cannot be read, names that nobody knows, values that are not of their keys' forms: all of
    /// them at once, as far as they can be told apart.
    pub fn read(inputs: Inputs) -> Result<Self, Error> {
        let environment = Environment::read(inputs.environment, &inputs.directory.join(".env"))?;
        let (path, required) = match inputs.file {
            Some(path) => (inputs.directory.join(path), true),
            None => (inputs.directory.join("assistd.toml"), false),
        };
        let said = file::read(&path, required)?;
        let mut problems: Vec<Problem> = environment.unknown().chain(said.problems).collect();
        let mut settings = said.settings;
        for entry in KEYS {
            let about = entry.about();
            if let Some(setting) = environment.setting(about.env) {
                settings.insert(about.name, setting);
            }
            let given = inputs.flags.iter().rev().find(|(name, _)| *name == about.name);
            if let (Some((_, text)), Some(flag)) = (given, &about.flag) {
                let raw = Raw::Text(text.clone());
                let source = Source::Flag { long: flag.long };
                settings.insert(about.name, Setting { raw, source });
            }
            if let Some(setting) = settings.get(about.name) {
                problems.extend(check(*entry, setting, || about.name.to_owned()));
            }
        }
        let merged = Self {
            settings,
            models: said.models,
            environment,
        };
        let unlisted = merged.get(&MODEL_NAME).unwrap_or_default();
        problems.extend(models::problems(&merged.models, &unlisted));
        Error::of(problems)?;
        Ok(merged)
    }

    /// The value of a key that may be unset.
    pub fn get<T>(&self, key: &Key<T>) -> Option<T> {
        match (self.settings.get(key.about.name), &key.about.default) {
            (Some(setting), _) => (key.form.parse)(&setting.raw),
            (None, Fallback::Value(text)) => (key.form.parse)(&Raw::Text((*text).to_owned())),
            (None, Fallback::Unset(_) | Fallback::Platform(..)) => None,
        }
    }

    /// The value of a key that always has one.
    ///
    /// # Errors
    /// The key is unset and has no default.
    pub fn require<T>(&self, key: &Key<T>) -> Result<T, Error> {
        self.get(key).ok_or_else(|| {
            Error::from(Problem::Missing {
                key: key.about.name,
                reason: "it has no default".to_owned(),
            })
        })
    }

    /// A path; one that a file says is meant from where the file is.
    pub fn path(&self, key: &Key<PathBuf>) -> Option<PathBuf> {
        Some(self.located(key, self.get(key)?))
    }

    /// A path that is the value of this key, or a part of it, as seen from the current directory.
    pub fn located<T>(&self, key: &Key<T>, path: PathBuf) -> PathBuf {
        match self.settings.get(key.about.name).map(|setting| &setting.source) {
            Some(Source::File { path: file, .. }) => file.parent().unwrap_or(Path::new("")).join(path),
            _ => path,
        }
    }

    /// Who has set a key, if anybody has.
    pub fn source<T>(&self, key: &Key<T>) -> Option<Source> {
        self.settings
            .get(key.about.name)
            .map(|setting| setting.source.clone())
    }

    /// That what was set here does not go with something else.
    pub(super) fn unfit<T>(&self, key: &Key<T>, reason: String) -> Problem {
        Problem::Unfit {
            key: key.about.name.to_owned(),
            source: self.source(key).unwrap_or(Source::Default),
            reason,
        }
    }

    /// The environment that the settings were read from.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The models with tables of their own, in the order of the file.
    pub fn models(&self) -> &[NamedTable] {
        &self.models
    }

    /// Every key as it stands, to be shown; of a model's table what it says.
    pub fn rows(&self) -> Vec<Row> {
        let of_models = self.models.iter().flat_map(|table| {
            let said = models::KEYS.iter().filter_map(|entry| {
                let setting = table.settings.get(entry.about().name)?;
                Some(Row {
                    key: table.key(entry.about().name).into(),
                    value: Some(setting.raw.shown(entry.shape())),
                    source: setting.source.clone(),
                })
            });
            said.collect::<Vec<_>>()
        });
        let rows = KEYS.iter().map(|entry| self.row(*entry));
        rows.chain(of_models).collect()
    }

    fn row(&self, entry: &dyn Entry) -> Row {
        let about = entry.about();
        let (value, source) = match (self.settings.get(about.name), &about.default) {
            (Some(setting), _) => (Some(setting.raw.shown(entry.shape())), setting.source.clone()),
            (None, Fallback::Value(text)) => (Some((*text).to_owned()), Source::Default),
            (None, Fallback::Unset(_)) => (None, Source::Default),
            (None, Fallback::Platform(_, here)) => (here(), Source::Default),
        };
        Row {
            key: about.name.into(),
            value,
            source,
        }
    }
}

/// What is wrong with a value, if anything is.
pub(super) fn check(entry: &dyn Entry, setting: &Setting, key: impl FnOnce() -> String) -> Option<Problem> {
    (!entry.accepts(&setting.raw)).then(|| Problem::Invalid {
        key: key(),
        value: setting.raw.shown(entry.shape()),
        source: setting.source.clone(),
        expected: entry.shape().expects,
    })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag { long } => write!(f, "--{long}"),
            Source::Environment { name } => f.write_str(name),
            Source::EnvironmentFile { path, name } => write!(f, "{name} in {}", path.display()),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Default => f.write_str("default"),
        }
    }
}
