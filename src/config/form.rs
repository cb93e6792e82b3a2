//! The forms that values have, each with the words that an error says of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value};
use tracing_subscriber::EnvFilter;

use super::duration;
use super::key::{Form, Raw, Shape, Shows};
use super::secret::Secret;
use super::section::{
    Dialect, LogFormat, ModelState, Origins, PinnedTools, ReasoningBack, StoreSection, TruncationStrategy,
};

const fn open(placeholder: &'static str, expects: &'static str) -> Shape {
    Shape {
        placeholder,
        expects,
        shows: Shows::Everything,
    }
}

/// An address to listen on.
pub const ADDRESS: Form<SocketAddr> = Form {
    shape: open(
        "ADDR",
        "an address and a port such as 127.0.0.1:8000 or [::1]:8000",
    ),
    parse: |raw| raw.text()?.parse().ok(),
};

/// Any text.
pub const TEXT: Form<String> = Form {
    shape: open("TEXT", "a text"),
    parse: |raw| Some(raw.text()?.to_owned()),
};

/// One word or more on one line, fit for a header.
pub const NAME: Form<String> = Form {
    shape: open("NAME", "a name, on one line and not empty"),
    parse: |raw| header_text(raw.text()?),
};

/// Several names.
pub const NAMES: Form<Vec<String>> = Form {
    shape: open("NAMES", "names, separated by commas; in toml an array"),
    parse: names,
};

/// A variable of the environment.
pub const VARIABLE: Form<String> = Form {
    shape: Shape {
        placeholder: "VARIABLE",
        expects: "the name of an environment variable, not what it holds",
        shows: Shows::VariableName,
    },
    parse: |raw| {
        let name = raw.text()?;
        let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
    },
};

/// A header.
pub const HEADER_NAME: Form<String> = Form {
    shape: open("HEADER", "the name of a header"),
    parse: |raw| {
        let name = raw.text()?;
        name.parse::<HeaderName>().ok().map(|_| name.to_owned())
    },
};

/// A secret that is sent in a header.
pub const SECRET: Form<Secret> = Form {
    shape: Shape {
        placeholder: "SECRET",
        expects: "one line of visible characters",
        shows: Shows::Nothing,
    },
    parse: |raw| header_text(raw.text()?).map(Secret::new),
};

/// A path.
pub const PATH: Form<PathBuf> = Form {
    shape: open("PATH", "a path"),
    parse: |raw| {
        let text = raw.text()?;
        (!text.is_empty()).then(|| PathBuf::from(text))
    },
};

/// A database.
pub const STORE: Form<StoreSection> = Form {
    shape: Shape {
        placeholder: "URL",
        expects: "a database such as postgres://user@host:5432/assistd or sqlite:/var/lib/assistd/assistd.db",
        shows: Shows::NoPassword,
    },
    parse: |raw| store(raw.text()?),
};

/// The address of an HTTP service; a slash at its end is dropped.
pub const URL: Form<String> = Form {
    shape: Shape {
        placeholder: "URL",
        expects: "a URL such as https://host/v1, without a fragment",
        shows: Shows::NoCredentials,
    },
    parse: |raw| http_url(raw.text()?),
};

/// Yes or no.
pub const SWITCH: Form<bool> = Form {
    shape: open("BOOL", "true or false"),
    parse: |raw| match raw.text()?.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    },
};

/// How many of something; at least one.
pub const COUNT: Form<u32> = Form {
    shape: open("N", "a whole number from 1 to 4294967295"),
    parse: |raw| raw.text()?.parse().ok().filter(|&count| count > 0),
};

/// How many of something; perhaps none.
pub const NUMBER: Form<u32> = Form {
    shape: open("N", "a whole number from 0 to 4294967295"),
    parse: |raw| raw.text()?.parse().ok(),
};

/// A share.
pub const PERCENT: Form<u32> = Form {
    shape: open("PERCENT", "a whole number from 0 to 100"),
    parse: |raw| raw.text()?.parse().ok().filter(|&percent| percent <= 100),
};

/// How many of something that may be very many; at least one.
pub const AMOUNT: Form<u64> = Form {
    shape: open("N", "a whole number, at least 1"),
    parse: |raw| raw.text()?.parse().ok().filter(|&count| count > 0),
};

/// How many bytes; at least one.
pub const BYTES: Form<usize> = Form {
    shape: open("BYTES", "a whole number of bytes, at least 1"),
    parse: |raw| raw.text()?.parse().ok().filter(|&count| count > 0),
};

/// A time to wait; more than nothing.
pub const DURATION: Form<Duration> = Form {
    shape: open("DURATION", "a duration such as 250ms, 30s, 10m or 1h30m"),
    parse: |raw| duration::parse(raw.text()?).filter(|duration| !duration.is_zero()),
};

/// A time to wait, or none.
pub const GRACE: Form<Duration> = Form {
    shape: open("DURATION", "a duration such as 0s, 250ms, 30s or 10m"),
    parse: |raw| duration::parse(raw.text()?),
};

/// The API that a model speaks.
pub const DIALECT: Form<Dialect> = Form {
    shape: open("DIALECT", "responses, chat_completions or assistants"),
    parse: |raw| match raw.text()? {
        "responses" => Some(Dialect::Responses),
        "chat_completions" => Some(Dialect::ChatCompletions),
        "assistants" => Some(Dialect::Assistants),
        _ => None,
    },
};

/// Where the state of a conversation is kept.
pub const MODEL_STATE: Form<ModelState> = Form {
    shape: open("STATE", "stateless, previous_response or conversation"),
    parse: |raw| match raw.text()? {
        "stateless" => Some(ModelState::Stateless),
        "previous_response" => Some(ModelState::PreviousResponse),
        "conversation" => Some(ModelState::Conversation),
        _ => None,
    },
};

/// How a model is given its reasoning back.
pub const REASONING_BACK: Form<ReasoningBack> = Form {
    shape: open("WAY", "as_given, never, reasoning_content or reasoning"),
    parse: |raw| match raw.text()? {
        "as_given" => Some(ReasoningBack::AsGiven),
        "never" => Some(ReasoningBack::Never),
        "reasoning_content" => Some(ReasoningBack::ReasoningContent),
        "reasoning" => Some(ReasoningBack::Reasoning),
        _ => None,
    },
};

/// Whose tools are pinned.
pub const PINNED_TOOLS: Form<PinnedTools> = Form {
    shape: open("SERVERS", "none, remote or all"),
    parse: |raw| match raw.text()? {
        "none" => Some(PinnedTools::None),
        "remote" => Some(PinnedTools::Remote),
        "all" => Some(PinnedTools::All),
        _ => None,
    },
};

/// What happens to the oldest part of a conversation that is too long.
pub const TRUNCATION: Form<TruncationStrategy> = Form {
    shape: open("STRATEGY", "disabled, auto or summarize"),
    parse: |raw| match raw.text()? {
        "disabled" => Some(TruncationStrategy::Disabled),
        "auto" => Some(TruncationStrategy::Auto),
        "summarize" => Some(TruncationStrategy::Summarize),
        _ => None,
    },
};

/// A price or an amount of money, in millionths of the currency's unit.
pub const MONEY: Form<u64> = Form {
    shape: open(
        "AMOUNT",
        "an amount such as 0.25, with at most six digits after the point",
    ),
    parse: |raw| money(raw.text()?),
};

/// A currency.
pub const CURRENCY: Form<String> = Form {
    shape: open("CODE", "a currency's code of three capital letters, such as USD"),
    parse: |raw| {
        let text = raw.text()?;
        let is_code = text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase());
        is_code.then(|| text.to_owned())
    },
};

/// Headers. Their values often are credentials.
pub const HEADERS: Form<Vec<(String, Secret)>> = Form {
    shape: Shape {
        placeholder: "HEADERS",
        expects: "`name: value` pairs, separated by line ends, or by commas on one line; in toml a table",
        shows: Shows::Nothing,
    },
    parse: headers,
};

/// A JSON object, as its text.
pub const OBJECT: Form<String> = Form {
    shape: open(
        "JSON",
        "a JSON object such as {\"temperature\": 0.2}; in toml a table",
    ),
    parse: object,
};

/// Origins that browsers may come from.
pub const ORIGINS: Form<Origins> = Form {
    shape: open(
        "ORIGINS",
        "`*`, or origins such as https://app.example.com, separated by commas",
    ),
    parse: origins,
};

/// Which events are logged.
pub const FILTER: Form<String> = Form {
    shape: open(
        "FILTER",
        "a level such as info, or directives such as info,assistd=debug",
    ),
    parse: |raw| {
        let text = raw.text()?;
        EnvFilter::try_new(text).ok().map(|_| text.to_owned())
    },
};

/// How events are written.
pub const LOG_FORMAT: Form<LogFormat> = Form {
    shape: open("FORMAT", "text or json"),
    parse: |raw| match raw.text()? {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    },
};

/// A text that can be sent as a header's value and is not blank.
pub(super) fn header_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && HeaderValue::from_str(text).is_ok_and(|value| value.to_str().is_ok()))
        .then(|| text.to_owned())
}

/// A decimal number as millionths, exactly.
fn money(text: &str) -> Option<u64> {
    const DIGITS: usize = 6;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > DIGITS {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = format!("{part:0<DIGITS$}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(part)
}

fn store(text: &str) -> Option<StoreSection> {
    match text.split_once(':')? {
        ("sqlite", ":memory:") => Some(StoreSection::Memory),
        ("sqlite", path) if !path.is_empty() => Some(StoreSection::File(PathBuf::from(path))),
        ("postgres" | "postgresql", rest) if rest.len() > 2 && rest.starts_with("//") => {
            Some(StoreSection::Postgres(Secret::new(text)))
        }
        _ => None,
    }
}

fn http_url(text: &str) -> Option<String> {
    // A fragment is never sent: what stands there was meant to be something else.
    if text.contains('#') {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let schemed = matches!(uri.scheme_str(), Some("http" | "https"));
    let hosted = uri.host().is_some_and(|host| !host.is_empty());
    let text = match uri.query() {
        Some(_) => text,
        None => text.trim_end_matches('/'),
    };
    (schemed && hosted).then(|| text.to_owned())
}

fn headers(raw: &Raw) -> Option<Vec<(String, Secret)>> {
    let pairs = match raw {
        Raw::Table(table) => table
            .iter()
            .map(|(name, value)| Some((name.clone(), scalar(value)?)))
            .collect::<Option<Vec<_>>>()?,
        Raw::List(_) => return None,
        Raw::Text(text) => {
            let separator = if text.trim().contains('\n') { '\n' } else { ',' };
            text.split(separator)
                .map(str::trim)
                .filter(|piece| !piece.is_empty())
                .map(|piece| {
                    piece
                        .split_once(':')
                        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                })
                .collect::<Option<Vec<_>>>()?
        }
    };
    let sendable = pairs
        .iter()
        .all(|(name, value)| name.parse::<HeaderName>().is_ok() && header_text(value).is_some());
    sendable.then(|| {
        pairs
            .into_iter()
            .map(|(name, value)| (name, Secret::new(value)))
            .collect()
    })
}

/// A single value as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text of a JSON object.
fn object(raw: &Raw) -> Option<String> {
    match raw {
        Raw::Text(text) => {
            let object: Map<String, Value> = serde_json::from_str(text).ok()?;
            Some(Value::Object(object).to_string())
        }
        Raw::Table(table) => Some(Value::Object(table.clone()).to_string()),
        Raw::List(_) => None,
    }
}

fn names(raw: &Raw) -> Option<Vec<String>> {
    let items: Vec<&str> = match raw {
        Raw::List(items) => items.iter().map(String::as_str).collect(),
        Raw::Text(text) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect(),
        Raw::Table(_) => return None,
    };
    items.into_iter().map(header_text).collect()
}

fn origins(raw: &Raw) -> Option<Origins> {
    let items: Vec<String> = match raw {
        Raw::List(items) => items.clone(),
        Raw::Text(text) => text
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect(),
        Raw::Table(_) => return None,
    };
    if items.iter().any(|item| item == "*") {
        return (items.len() == 1).then_some(Origins::Any);
    }
    items
        .iter()
        .all(|item| is_origin(item))
        .then_some(Origins::These(items))
}

/// Whether it is an origin as a browser sends it: a scheme, a host, perhaps a port, and nothing after.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    !scheme.is_empty() && !rest.contains('/') && rest.parse::<http::uri::Authority>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &str) -> Raw {
        Raw::Text(value.to_owned())
    }

    #[test]
    fn money_is_read_exactly() {
        let cases = [
            ("0", Some(0)),
            ("0.25", Some(250_000)),
            ("2", Some(2_000_000)),
            ("10.000001", Some(10_000_001)),
            ("0.0000001", None),
            ("-1", None),
            ("+1", None),
            ("1.", None),
            (".5", None),
            ("1,5", None),
            ("1e3", None),
            ("99999999999999999999", None),
            ("", None),
        ];
        for (input, expected) in cases {
            assert_eq!((MONEY.parse)(&text(input)), expected, "{input}");
        }
    }

    #[test]
    fn an_object_is_json_or_a_table() {
        let table = json!({"stop": ["a"], "temperature": 0.5});
        let cases = [
            (text(" {\"a\": 1} "), Some("{\"a\":1}")),
            (
                Raw::Table(table.as_object().unwrap().clone()),
                Some("{\"stop\":[\"a\"],\"temperature\":0.5}"),
            ),
            (text("temperature: 1"), None),
            (text("[1]"), None),
            (text(""), None),
        ];
        for (raw, expected) in cases {
            assert_eq!((OBJECT.parse)(&raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn urls_need_a_scheme_and_a_host() {
        let cases = [
            ("https://api.example.com/v1/", Some("https://api.example.com/v1")),
            ("http://127.0.0.1:9000", Some("http://127.0.0.1:9000")),
            ("http://[::1]:9000/v1", Some("http://[::1]:9000/v1")),
            ("api.example.com/v1", None),
            ("ftp://api.example.com", None),
            ("https://", None),
            ("https://a b", None),
            ("https://host/v1#part", None),
            ("https://host/v1#", None),
            (
                "https://host/v1?api-version=1",
                Some("https://host/v1?api-version=1"),
            ),
            ("https://host/v1/?a=/", Some("https://host/v1/?a=/")),
            ("", None),
        ];
        for (input, expected) in cases {
            assert_eq!((URL.parse)(&text(input)).as_deref(), expected, "{input}");
        }
    }

    #[test]
    fn headers_come_as_lines_or_on_one_line_or_as_a_table() {
        let pair = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
        let two = Some(vec![pair("x-a", "1"), pair("x-b", "2:3")]);
        assert_eq!((HEADERS.parse)(&text("x-a: 1\nx-b: 2:3\n")), two);
        assert_eq!((HEADERS.parse)(&text("x-a:1, x-b: 2:3")), two);
        let table = |value: Value| Raw::Table(value.as_object().unwrap().clone());
        let written = table(json!({"x-a": 1, "x-b": "2:3"}));
        assert_eq!((HEADERS.parse)(&written), two);
        assert!((HEADERS.parse)(&table(json!({"x-a": ["1"]}))).is_none());
        let lines = (HEADERS.parse)(&text("accept: a, b\nx-a: 1"));
        assert_eq!(lines, Some(vec![pair("accept", "a, b"), pair("x-a", "1")]));
        for wrong in ["x-a", "x a: 1", "x-a:", ": 1", "x-a: 1, b"] {
            assert!((HEADERS.parse)(&text(wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn origins_are_a_star_or_a_list_of_origins() {
        let list = |items: &[&str]| Origins::These(items.iter().map(|&item| item.to_owned()).collect());
        let cases = [
            ("*", Some(Origins::Any)),
            (
                "https://a.example, http://localhost:3000",
                Some(list(&["https://a.example", "http://localhost:3000"])),
            ),
            ("", Some(list(&[]))),
            ("*, https://a.example", None),
            ("a.example", None),
            ("https://a.example/path", None),
        ];
        for (input, expected) in cases {
            assert_eq!((ORIGINS.parse)(&text(input)), expected, "{input}");
        }
        let array = Raw::List(vec!["https://a.example".to_owned()]);
        assert_eq!((ORIGINS.parse)(&array), Some(list(&["https://a.example"])));
    }

    #[test]
    fn a_secret_is_one_line_that_a_header_can_carry() {
        for wrong in ["", "  ", "sk-a\nb", "sk-\u{e9}"] {
            assert!((SECRET.parse)(&text(wrong)).is_none(), "{wrong:?}");
        }
        let secret = (SECRET.parse)(&text(" sk-abc\n")).unwrap();
        assert_eq!(secret.reveal(), "sk-abc");
    }
}
