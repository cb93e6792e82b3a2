//! From JSON to [`Config`], with errors that name the place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;
use serde_json::{Map, Value};

use crate::run::catalogue::Policy;

use super::{
    CallerToken, Config, ConfigError, Endpoint, LogLevel, OAuth, Process, Protocol, Remote, SamplingPolicy,
    ServerConfig, reference, twice,
};

/// The variables that a child process is given if they are set: what programs need to find their files and to
/// speak the user's language. The service's own keys are not among them.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "SystemRoot",
    "USERPROFILE",
    "PATHEXT",
    "COMSPEC",
];
/// Keys that mean something here.
const KNOWN: &[&str] = &[
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "oauth",
    "auth",
    "caller_token",
    "prefix",
    "disabled",
    "protocol",
    "timeout_ms",
    "connect_timeout_ms",
    "tool_timeouts_ms",
    "call_limit_ms",
    "connections",
    "max_concurrency",
    "allowed_tools",
    "denied_tools",
    "roots",
    "pin_tools",
    "sampling",
    "log_level",
    "policy",
    "tool_policies",
    "type",
    "transport",
];
/// Keys that editors write and that can be ignored without harm.
const IGNORED: &[&str] = &[
    "alwaysAllow",
    "autoApprove",
    "description",
    "timeout",
    "name",
    "icon",
    "version",
    "gallery",
    "note",
];
/// Keys beside `mcpServers` that can be ignored without harm.
const IGNORED_AT_TOP: &[&str] = &["$schema", "inputs"];
/// Headers that the protocol sets itself.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "content-type",
    "content-length",
    "host",
    "mcp-session-id",
    "mcp-protocol-version",
    "last-event-id",
];
const NAME_LIMIT_BYTES: usize = 40;
const TIMEOUT_LIMIT_MS: u64 = 24 * 60 * 60 * 1000;
const CONCURRENCY_LIMIT: u64 = 4096;
const CONNECTIONS_LIMIT: u64 = 32;
/// What is said of a server that is configured to be of the oldest remote transport.
const IS_SSE: &str = "the HTTP+SSE transport of 2024 is not supported: use the server's streamable HTTP address with \"type\": \"http\"";

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn config(json: &str, lookup: Lookup<'_>) -> Result<Config, ConfigError> {
    let document: Value = serde_json::from_str(json)?;
    twice::check(json)?;
    let top = object(&document, "the document")?;
    for key in top.keys() {
        if key != "mcpServers" && !IGNORED_AT_TOP.contains(&key.as_str()) {
            return Err(unknown(key.clone(), key, &["mcpServers"]));
        }
    }
    let Some(servers) = top.get("mcpServers") else {
        return Err(invalid("mcpServers", "is missing"));
    };
    let servers = object(servers, "mcpServers")?
        .iter()
        .map(|(name, value)| server(name, value, lookup))
        .collect::<Result<_, _>>()?;
    Ok(Config { servers })
}

fn server(name: &str, value: &Value, lookup: Lookup<'_>) -> Result<ServerConfig, ConfigError> {
    let place = format!("mcpServers.{name}");
    if name.is_empty() || !is_plain(name) {
        return Err(invalid(
            place,
            format!("not a valid name: expected 1 to {NAME_LIMIT_BYTES} letters, digits, '-' or '_'"),
        ));
    }
    let entry = Entry {
        fields: object(value, &place)?,
        place,
        lookup,
    };
    for key in entry.fields.keys() {
        if !KNOWN.contains(&key.as_str()) && !IGNORED.contains(&key.as_str()) {
            return Err(unknown(entry.at(key), key, KNOWN));
        }
    }
    let mut server = ServerConfig::new(name, entry.endpoint()?);
    server.unsupported = entry.unsupported()?;
    if let Some(prefix) = entry.text("prefix")? {
        if !is_plain(&prefix) {
            return Err(entry.invalid(
                "prefix",
                format!("expected up to {NAME_LIMIT_BYTES} letters, digits, '-' or '_'"),
            ));
        }
        server.prefix = prefix;
    }
    server.disabled = entry.choice("disabled")?.unwrap_or(false);
    if let Some(text) = entry.text("protocol")? {
        let refusal = || entry.invalid("protocol", format!("'{text}': {}", Protocol::EXPECTED));
        server.protocol = Protocol::parse(&text).ok_or_else(refusal)?;
    }
    server.timeouts.all = entry.timeout("timeout_ms")?;
    server.timeouts.tools = entry.timeouts("tool_timeouts_ms")?;
    if let Some(total) = entry.timeout("call_limit_ms")? {
        server.timeouts.total = total;
    }
    if let Some(limit) = entry.timeout("connect_timeout_ms")? {
        server.connect_timeout = limit;
    }
    if let Some(count) = entry.number("connections", CONNECTIONS_LIMIT)? {
        server.connections = usize::try_from(count).unwrap_or(1);
    }
    if let Some(most) = entry.number("max_concurrency", CONCURRENCY_LIMIT)? {
        server.max_concurrency = usize::try_from(most).unwrap_or(usize::MAX);
    }
    if entry.fields.contains_key("allowed_tools") {
        server.offer.allowed = Some(entry.texts("allowed_tools")?);
    }
    server.offer.denied = entry.texts("denied_tools")?;
    server.roots = entry.roots()?;
    server.pin_tools = entry.choice("pin_tools")?;
    if let Some(text) = entry.text("log_level")? {
        let refusal = || entry.invalid("log_level", format!("'{text}': {}", LogLevel::EXPECTED));
        server.log_level = Some(LogLevel::parse(&text).ok_or_else(refusal)?);
    }
    if let Some(sampling) = entry.inner("sampling")? {
        server.sampling = SamplingPolicy::read(&sampling)?;
    }
    server.policies.all = entry
        .text("policy")?
        .map(|name| entry.policy("policy", &name))
        .transpose()?;
    for (tool, name) in entry.pairs("tool_policies")? {
        let policy = entry.policy(&format!("tool_policies.{tool}"), &name)?;
        server.policies.tools.insert(tool, policy);
    }
    Ok(server)
}

/// The fields of one server, or of an object in it.
pub(super) struct Entry<'a> {
    pub(super) fields: &'a Map<String, Value>,
    place: String,
    pub(super) lookup: Lookup<'a>,
}

impl<'a> Entry<'a> {
    /// The object of this key.
    fn inner(&self, key: &str) -> Result<Option<Entry<'a>>, ConfigError> {
        let place = self.at(key);
        let inner = self.fields.get(key).map(|value| {
            Ok(Entry {
                fields: object(value, &place)?,
                place,
                lookup: self.lookup,
            })
        });
        inner.transpose()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.fields.keys().map(String::as_str)
    }

    fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let stdio = self.fields.contains_key("command");
        let remote = self.fields.contains_key("url");
        self.check_transport(stdio)?;
        let (stray, owner) = match (stdio, remote) {
            (true, true) => return Err(invalid(&self.place, "has both 'command' and 'url'")),
            (false, false) => return Err(invalid(&self.place, "needs 'command' or 'url'")),
            (true, false) => (
                ["headers", "oauth", "auth", "caller_token", "connections"].as_slice(),
                "url",
            ),
            (false, true) => (["args", "env", "cwd"].as_slice(), "command"),
        };
        if let Some(key) = stray.iter().find(|key| self.fields.contains_key(**key)) {
            return Err(self.invalid(key, format!("goes with '{owner}', which is not there")));
        }
        if stdio {
            self.process().map(Endpoint::Stdio)
        } else {
            self.remote().map(Endpoint::Http)
        }
    }

    fn policy(&self, key: &str, name: &str) -> Result<Policy, ConfigError> {
        match name {
            "allow" => Ok(Policy::Allow),
            "ask" => Ok(Policy::Ask),
            "deny" => Ok(Policy::Deny),
            _ => Err(self.invalid(key, format!("'{name}': expected \"allow\", \"ask\" or \"deny\""))),
        }
    }

    fn check_transport(&self, stdio: bool) -> Result<(), ConfigError> {
        for key in ["type", "transport"] {
            let Some(kind) = self.text(key)? else { continue };
            let fits = match kind.as_str() {
                "stdio" => stdio,
                "http" | "streamable-http" | "streamable_http" | "streamableHttp" | "sse" => !stdio,
                _ => return Err(self.invalid(key, format!("'{kind}': expected \"stdio\" or \"http\""))),
            };
            if !fits {
                let expected = if stdio { "url" } else { "command" };
                return Err(self.invalid(key, format!("'{kind}' needs '{expected}'")));
            }
        }
        Ok(())
    }

    /// Why such a server cannot be spoken to. It is no mistake of the file: the others can be.
    fn unsupported(&self) -> Result<Option<&'static str>, ConfigError> {
        for key in ["type", "transport"] {
            if self.text(key)?.as_deref() == Some("sse") {
                return Ok(Some(IS_SSE));
            }
        }
        Ok(None)
    }

    fn process(&self) -> Result<Process, ConfigError> {
        let command = self.text("command")?.unwrap_or_default();
        if command.is_empty() {
            return Err(self.invalid("command", "is empty"));
        }
        let configured = self.pairs("env")?;
        for (name, value) in &configured {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(self.invalid(&format!("env.{name}"), "not a valid environment variable"));
            }
        }
        let is_configured = |name: &str| configured.iter().any(|(configured, _)| configured == name);
        let mut env: Vec<(String, String)> = INHERITED
            .iter()
            .filter(|name| !is_configured(name))
            .filter_map(|name| Some(((*name).to_owned(), (self.lookup)(name)?)))
            .collect();
        env.extend(configured);
        Ok(Process {
            command: PathBuf::from(command),
            args: self.texts("args")?,
            env,
            cwd: self.text("cwd")?.map(PathBuf::from),
        })
    }

    fn remote(&self) -> Result<Remote, ConfigError> {
        let text = self.text("url")?.unwrap_or_default();
        let url = Url::parse(&text).map_err(|error| self.invalid("url", format!("not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(self.invalid("url", "expected http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.invalid("url", "holds credentials: put them into 'headers'"));
        }
        let headers = self
            .pairs("headers")?
            .into_iter()
            .map(|(name, value)| self.header(&name, &value))
            .collect::<Result<Vec<_>, _>>()?;
        let oauth = self.authorization(&headers)?;
        Ok(Remote {
            url: url.into(),
            caller_token: self.caller_token(&oauth)?,
            oauth,
            headers,
        })
    }

    fn caller_token(&self, oauth: &OAuth) -> Result<CallerToken, ConfigError> {
        let problem = match self.text("caller_token")?.as_deref() {
            None => return Ok(CallerToken::Ignore),
            Some("pass") => return Ok(CallerToken::Pass),
            Some("exchange") if oauth.client_id.is_some() => return Ok(CallerToken::Exchange),
            Some("exchange") => "\"exchange\" needs 'oauth.client_id'".to_owned(),
            Some(other) => format!("'{other}': expected \"pass\" or \"exchange\""),
        };
        Err(self.invalid("caller_token", problem))
    }

    /// Under `oauth`, or under `auth` as one editor has it.
    fn authorization(&self, headers: &[(HeaderName, HeaderValue)]) -> Result<OAuth, ConfigError> {
        let (key, value) = match (self.fields.get("oauth"), self.fields.get("auth")) {
            (Some(_), Some(_)) => return Err(self.invalid("auth", "'oauth' is given too")),
            (Some(value), None) => ("oauth", value),
            (None, Some(value)) => ("auth", value),
            (None, None) => return Ok(OAuth::default()),
        };
        if headers
            .iter()
            .any(|(name, _)| *name == http::header::AUTHORIZATION)
        {
            return Err(self.invalid(key, "'headers.Authorization' is given too"));
        }
        OAuth::parse(self, key, value)
    }

    /// The object that this value is, as the one under this key.
    pub(super) fn object<'o>(&'o self, key: &str, value: &'o Value) -> Result<Entry<'o>, ConfigError> {
        let place = self.at(key);
        Ok(Entry {
            fields: object(value, &place)?,
            place,
            lookup: self.lookup,
        })
    }

    fn header(&self, name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ConfigError> {
        let place = format!("headers.{name}");
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| self.invalid(&place, "not a valid header name"))?;
        if RESERVED_HEADERS.contains(&header.as_str()) {
            return Err(self.invalid(&place, "is set by the protocol itself"));
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|_| self.invalid(&place, "not a valid header value"))?;
        value.set_sensitive(true);
        Ok((header, value))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.fields
            .get(key)
            .map(|value| self.resolved(key, value))
            .transpose()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        match self.fields.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .enumerate()
                .map(|(index, value)| self.resolved(&format!("{key}[{index}]"), value))
                .collect(),
            Some(_) => Err(self.invalid(key, "expected an array of strings")),
        }
    }

    fn pairs(&self, key: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(value) = self.fields.get(key) else {
            return Ok(Vec::new());
        };
        object(value, &self.at(key))?
            .iter()
            .map(|(name, value)| Ok((name.clone(), self.resolved(&format!("{key}.{name}"), value)?)))
            .collect()
    }

    fn choice(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.fields.get(key) {
            None => Ok(None),
            Some(Value::Bool(choice)) => Ok(Some(*choice)),
            Some(_) => Err(self.invalid(key, "expected true or false")),
        }
    }

    fn timeout(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let value = self.fields.get(key);
        value.map(|value| self.millis(key, value)).transpose()
    }

    fn timeouts(&self, key: &str) -> Result<BTreeMap<String, Duration>, ConfigError> {
        let Some(value) = self.fields.get(key) else {
            return Ok(BTreeMap::new());
        };
        object(value, &self.at(key))?
            .iter()
            .map(|(tool, value)| Ok((tool.clone(), self.millis(&format!("{key}.{tool}"), value)?)))
            .collect()
    }

    fn millis(&self, key: &str, value: &Value) -> Result<Duration, ConfigError> {
        match value.as_u64() {
            Some(millis @ 1..=TIMEOUT_LIMIT_MS) => Ok(Duration::from_millis(millis)),
            _ => Err(self.invalid(key, format!("expected milliseconds from 1 to {TIMEOUT_LIMIT_MS}"))),
        }
    }

    pub(super) fn number(&self, key: &str, most: u64) -> Result<Option<u64>, ConfigError> {
        let number = self.fields.get(key).map(|value| {
            let fits = value.as_u64().filter(|number| (1..=most).contains(number));
            fits.ok_or_else(|| self.invalid(key, format!("expected a whole number from 1 to {most}")))
        });
        number.transpose()
    }

    /// The addresses of the roots. A plain path is taken as one.
    fn roots(&self) -> Result<Vec<String>, ConfigError> {
        let roots = self.texts("roots")?.into_iter().enumerate();
        roots
            .map(|(index, root)| {
                let place = format!("roots[{index}]");
                let url = match root.starts_with("file:") {
                    true => Url::parse(&root).ok(),
                    false => Url::from_file_path(&root).ok(),
                };
                let unfit = || self.invalid(&place, "expected a file: URL or an absolute path");
                url.map(Into::into).ok_or_else(unfit)
            })
            .collect()
    }

    fn resolved(&self, key: &str, value: &Value) -> Result<String, ConfigError> {
        match value {
            Value::String(text) => {
                reference::resolve(text, self.lookup).map_err(|problem| self.invalid(key, problem))
            }
            _ => Err(self.invalid(key, "expected a string")),
        }
    }

    pub(super) fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    pub(super) fn invalid(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        invalid(self.at(key), problem)
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= NAME_LIMIT_BYTES
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>, ConfigError> {
    value
        .as_object()
        .ok_or_else(|| invalid(place, "expected an object"))
}

pub(super) fn unknown(place: String, key: &str, known: &[&str]) -> ConfigError {
    let nearest = known.iter().max_by(|a, b| {
        strsim::normalized_damerau_levenshtein(key, a)
            .total_cmp(&strsim::normalized_damerau_levenshtein(key, b))
    });
    match nearest {
        Some(nearest) => invalid(
            place,
            format!("unknown key; the nearest known one is '{nearest}'"),
        ),
        None => invalid(place, "unknown key"),
    }
}

fn invalid(place: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        place: place.into(),
        problem: problem.into(),
    }
}
