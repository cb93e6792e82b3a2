//! What a key of the configuration is: its names, what it accepts, and what it is for.

use std::fmt;

use serde_json::{Map, Value};

/// One key: everything there is to know of it, said once. The flags, the help, the environment names, the
/// TOML names and `docs/configuration.md` all come from here.
pub struct Key<T: 'static> {
    /// Its names and its purpose.
    pub about: About,
    /// What it accepts.
    pub form: Form<T>,
}

/// A key's names and its purpose.
pub struct About {
    /// The TOML key, with its table: `model.name`.
    pub name: &'static str,
    /// The environment variable; empty for none.
    pub env: &'static str,
    /// The flag, if there is one.
    pub flag: Option<Flag>,
    /// What holds when nobody sets it.
    pub default: Fallback,
    /// What it is for, in one or two sentences.
    pub help: &'static str,
}

/// A flag and the commands that have it.
pub struct Flag {
    /// Without the dashes.
    pub long: &'static str,
    /// The commands that have it.
    pub scope: Scope,
    /// Whether it stands alone and means `true`.
    pub is_switch: bool,
}

/// The commands that have a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Every,
    /// Those that run the service or show its configuration.
    Service,
    /// Those that run the service, and those that log in at its MCP servers.
    Logins,
    /// Those that use the store: the service, and what reads or fills the store beside it.
    Store,
    /// Those that talk to a running service.
    Client,
}

/// What holds when nobody sets a key.
pub enum Fallback {
    /// A value, in the form in which one would write it.
    Value(&'static str),
    /// No value; these words say what happens then.
    Unset(&'static str),
    /// What the platform says, in these words, and what that is here, if it says anything.
    Platform(&'static str, fn() -> Option<String>),
}

/// What a key accepts.
pub struct Form<T: 'static> {
    /// How that is told to people.
    pub shape: Shape,
    /// Reads a value; `None` when it is not of this form.
    pub parse: fn(&Raw) -> Option<T>,
}

/// How a form is told to people.
pub struct Shape {
    /// The placeholder in a usage text.
    pub placeholder: &'static str,
    /// Completes the sentence "expected …".
    pub expects: &'static str,
    /// How much of a value may be shown.
    pub shows: Shows,
}

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// All of it.
    Everything,
    /// All of a URL but its password and what its query says.
    NoPassword,
    /// The same without its user too, who may be a key.
    NoCredentials,
    /// What looks like the name of an environment variable. Anything else may be the secret itself, put in the wrong
    /// place.
    VariableName,
    /// Nothing.
    Nothing,
}

/// A value as somebody wrote it, before it has a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// One value. Numbers and booleans of TOML are here too, as text.
    Text(String),
    /// A TOML array.
    List(Vec<String>),
    /// A TOML table.
    Table(Map<String, Value>),
}

/// A key whatever its type.
pub trait Entry: Sync {
    /// Its names and its purpose.
    fn about(&self) -> &About;

    /// How its form is told to people.
    fn shape(&self) -> &Shape;

    /// Whether a value is of its form.
    fn accepts(&self, raw: &Raw) -> bool;
}

impl<T: 'static> Entry for Key<T> {
    fn about(&self) -> &About {
        &self.about
    }

    fn shape(&self) -> &Shape {
        &self.form.shape
    }

    fn accepts(&self, raw: &Raw) -> bool {
        (self.form.parse)(raw).is_some()
    }
}

/// What stands in the place of a secret.
pub const MASK: &str = "********";

impl Raw {
    /// The value when it is a single one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) => Some(text),
            Raw::List(_) | Raw::Table(_) => None,
        }
    }

    /// The value as it may be shown: a secret is masked; of a secret table the names are shown.
    pub fn shown(&self, shape: &Shape) -> String {
        match (shape.shows, self) {
            (Shows::Everything, _) => self.to_string(),
            (Shows::NoPassword, _) => without_password(&self.to_string(), false),
            (Shows::NoCredentials, _) => without_password(&self.to_string(), true),
            (Shows::VariableName, Raw::Text(text)) if looks_like_a_variable(text) => text.clone(),
            (Shows::Nothing, Raw::Table(table)) => table
                .keys()
                .map(|name| format!("{name}: {MASK}"))
                .collect::<Vec<_>>()
                .join(", "),
            (Shows::Nothing | Shows::VariableName, _) => MASK.to_owned(),
        }
    }
}

/// Whether it is written as the names of environment variables are: keys of providers have small letters, or digits
/// first.
pub(super) fn looks_like_a_variable(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && text
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// A URL without its password and the values of its query, and without its user if so.
fn without_password(url: &str, hides_user: bool) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        // Somebody may have forgotten it.
        None if hides_user => (String::new(), url),
        None => return url.to_owned(),
    };
    let (place, query) = match rest.split_once('?') {
        Some((place, _)) => (place, format!("?{MASK}")),
        None => (rest, String::new()),
    };
    // The last one: an address that is not well formed may have several, and all before it may be secret.
    let place = match place.rsplit_once('@') {
        Some((_, host)) if hides_user => format!("{MASK}@{host}"),
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => format!("{user}@{host}"),
        },
        None => place.to_owned(),
    };
    format!("{scheme}{place}{query}")
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Text(text) => f.write_str(text),
            Raw::List(items) => f.write_str(&items.join(", ")),
            Raw::Table(table) => f.write_str(&Value::Object(table.clone()).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_variable_only_what_can_be_no_key_is_shown() {
        let shape = Shape {
            placeholder: "",
            expects: "",
            shows: Shows::VariableName,
        };
        let cases = [
            ("OPENAI_API_KEY", "OPENAI_API_KEY"),
            ("_KEY2", "_KEY2"),
            ("sk-proj-1", MASK),
            ("0123456789ABCDEF", MASK),
            ("abc123", MASK),
            ("", MASK),
        ];
        for (text, expected) in cases {
            assert_eq!(Raw::Text(text.to_owned()).shown(&shape), expected, "{text}");
        }
    }

    #[test]
    fn of_a_url_everything_is_shown_but_the_password() {
        let shape = Shape {
            placeholder: "",
            expects: "",
            shows: Shows::NoPassword,
        };
        let cases = [
            ("postgres://db", "postgres://db".to_owned()),
            ("postgres://me@db:5432/x", "postgres://me@db:5432/x".to_owned()),
            ("postgres://me:pw@db/x", format!("postgres://me:{MASK}@db/x")),
            ("postgres://me:p@w:1@db/x", format!("postgres://me:{MASK}@db/x")),
            ("postgres://db/x?password=pw", format!("postgres://db/x?{MASK}")),
            ("sqlite:/data/x.db", "sqlite:/data/x.db".to_owned()),
        ];
        for (url, expected) in cases {
            assert_eq!(Raw::Text(url.to_owned()).shown(&shape), expected);
        }
        let shape = Shape {
            shows: Shows::NoCredentials,
            ..shape
        };
        let cases = [
            ("https://host/v1", "https://host/v1".to_owned()),
            ("https://sk-key@host/v1", format!("https://{MASK}@host/v1")),
            ("https://me:pw@host/v1", format!("https://{MASK}@host/v1")),
            ("https://host/v1?key=k", format!("https://host/v1?{MASK}")),
            ("host/v1?key=k", format!("host/v1?{MASK}")),
        ];
        for (url, expected) in cases {
            assert_eq!(Raw::Text(url.to_owned()).shown(&shape), expected);
        }
    }
}
