//! Which MCP servers there are, in the format that editors use (`mcpServers`), and a few keys of our own.

mod logging;
mod oauth;
mod parse;
mod protocol;
mod reference;
mod sampling;
mod twice;

pub use logging::LogLevel;
pub use oauth::{Credential, Grant, OAuth};
pub use protocol::Protocol;
pub use sampling::{Consent, SamplingPolicy};

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::run::catalogue::{Annotations, Policy};
use crate::run::glob;

/// The longest that a call or a reading may be silent unless `timeout_ms` says otherwise: a bound for those that are
/// never answered. Whoever calls has a shorter one.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);
/// The longest that a call may take in all unless `call_limit_ms` says otherwise, however much progress it reports.
const CALL_LIMIT_DEFAULT: Duration = Duration::from_secs(3600);
/// Calls of one server at once unless `max_concurrency` says otherwise.
const CONCURRENCY_DEFAULT: usize = 128;
/// The longest that connecting and listing may take unless `connect_timeout_ms` says otherwise. Launchers such as
/// `npx` may have to download the server first.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The MCP servers to connect to, in order.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The servers; names are unique.
    pub servers: Vec<ServerConfig>,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Its name: 1 to 40 letters, digits, `-` or `_`.
    pub name: String,
    /// The file that lists it, for messages; none where there is none.
    pub file: Option<PathBuf>,
    /// What its tools' names begin with; empty for bare names.
    pub prefix: String,
    /// Whether it is left alone.
    pub disabled: bool,
    /// How it is reached.
    pub endpoint: Endpoint,
    /// Why it cannot be spoken to in the way that its entry asks for; none for one that can.
    pub unsupported: Option<&'static str>,
    /// Which revisions of the protocol it is offered.
    pub protocol: Protocol,
    /// What happens when a model asks for its tools.
    pub policies: Policies,
    /// Which of its tools there are.
    pub offer: Offer,
    /// How long its calls may take.
    pub timeouts: Timeouts,
    /// How many sessions are held with it at once; more than one only over HTTP.
    pub connections: usize,
    /// How many of its calls go on at once; further ones wait.
    pub max_concurrency: usize,
    /// The places that it is told to work in, by their `file:` addresses.
    pub roots: Vec<String>,
    /// The longest that connecting and listing the tools may take.
    pub connect_timeout: Duration,
    /// Whether its tools are pinned: held back when they change after they were approved. None where the entry does
    /// not say, which is no.
    pub pin_tools: Option<bool>,
    /// Whether it may ask models.
    pub sampling: SamplingPolicy,
    /// What it is to log; none for as much as the service's own log takes.
    pub log_level: Option<LogLevel>,
}

/// Which tools of a server there are, by patterns of their names on the server in which `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// Only these; none for all.
    pub allowed: Option<Vec<String>>,
    /// Not these, even if they are allowed.
    pub denied: Vec<String>,
}

impl Offer {
    /// Whether the tool is among them.
    pub fn has(&self, tool: &str) -> bool {
        let is_any = |patterns: &[String]| patterns.iter().any(|pattern| glob::fits(pattern, tool));
        self.allowed.as_ref().is_none_or(|allowed| is_any(allowed)) && !is_any(&self.denied)
    }
}

/// How long the calls of a server may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// How long a call may be silent: its answer or a progress report must come within it.
    pub all: Option<Duration>,
    /// The same for some tools, by patterns of their names on the server; of several that fit, the shortest holds.
    pub tools: BTreeMap<String, Duration>,
    /// How long a call may take in all, whatever it reports.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            all: None,
            tools: BTreeMap::new(),
            total: CALL_LIMIT_DEFAULT,
        }
    }
}

impl Timeouts {
    /// How long a tool may be silent, where the operator says so.
    pub fn of(&self, tool: &str) -> Option<Duration> {
        let fitting = self.tools.iter().filter(|(pattern, _)| glob::fits(pattern, tool));
        fitting.map(|(_, limit)| *limit).min().or(self.all)
    }

    /// The bound on silence where nobody else has one.
    pub fn longest_silence(&self) -> Duration {
        self.all.unwrap_or(SILENCE_LIMIT)
    }
}

/// What happens when a model asks for the tools of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// For all of them.
    pub all: Option<Policy>,
    /// For some of them, by patterns of their names on the server in which `*` stands for any text.
    pub tools: BTreeMap<String, Policy>,
    /// Where neither says anything: whether somebody is asked before a tool that may destroy something.
    pub asks_before_destruction: bool,
}

impl Policies {
    /// The policy of a tool: the one by its own name, or else the strictest of the patterns that fit it, or else its
    /// server's, or else what its annotations suggest. MCP says that a
    /// tool may destroy something unless it says that it does not (2025-11-25, `ToolAnnotations`).
    pub fn of(&self, tool: &str, annotations: &Annotations) -> Policy {
        let fitting = || {
            let patterns = self.tools.iter();
            patterns
                .filter(|(pattern, _)| glob::fits(pattern, tool))
                .map(|(_, policy)| *policy)
                .max()
        };
        let set = self.tools.get(tool).copied().or_else(fitting).or(self.all);
        set.unwrap_or_else(|| {
            let is_harmless = annotations.read_only == Some(true) || annotations.destructive == Some(false);
            if self.asks_before_destruction && !is_harmless {
                Policy::Ask
            } else {
                Policy::Allow
            }
        })
    }
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Endpoint {
    /// As a child process, over its standard input and output.
    Stdio(Process),
    /// Over streamable HTTP.
    Http(Remote),
}

/// A child process to start.
#[derive(Clone, PartialEq)]
pub struct Process {
    /// The program: a path, or a name that is looked up in the child's `PATH`.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: it inherits nothing else.
    pub env: Vec<(String, String)>,
    /// Its working directory; ours if there is none.
    pub cwd: Option<PathBuf>,
}

/// A server at an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// The address of its MCP endpoint, `http` or `https`.
    pub url: String,
    /// Headers of every request, marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How we are authorized there, if it asks for that and the headers do not.
    pub oauth: OAuth,
    /// What becomes of the token with which a caller's request comes.
    pub caller_token: CallerToken,
}

/// What becomes of the tokens of callers at a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerToken {
    /// Nothing: calls are made with our own authorization.
    #[default]
    Ignore,
    /// A call is made with the token of the request that caused it.
    Pass,
    /// A call is made with a token that was given in exchange for it (RFC 8693).
    Exchange,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON.
    #[error("not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A value does not fit.
    #[error("{place}: {problem}")]
    Invalid {
        /// The path of the value: `mcpServers.files.command`.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Config {
    /// Reads a configuration. `lookup` gives the value of an environment variable: those that the text refers to as
    /// `${NAME}`, `${env:NAME}` or `${NAME:-default}`, and the few that every child process is given.
    ///
    /// # Errors
    /// When the text is not JSON, a key is unknown, a value does not fit, or a variable is missing.
    pub fn parse(json: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        parse::config(json, &lookup)
    }

    /// Refuses a server whose questions to models would go to one that no request can name: `refusal` says why, of its
    /// name.
    ///
    /// # Errors
    /// That.
    pub fn check_models(&self, refusal: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for server in &self.servers {
            if let Some(problem) = refusal(&server.sampling.model) {
                let place = format!("mcpServers.{}.sampling.model", server.name);
                return Err(ConfigError::Invalid { place, problem });
            }
        }
        Ok(())
    }

    /// The default: this program's own MCP server as a child process, its tools under their bare names.
    pub fn builtin(exe: PathBuf) -> Self {
        let process = Process {
            command: exe,
            args: vec!["mcp-server".to_owned()],
            env: Vec::new(),
            cwd: None,
        };
        let server = ServerConfig {
            prefix: String::new(),
            ..ServerConfig::new("builtin", Endpoint::Stdio(process))
        };
        Self {
            servers: vec![server],
        }
    }
}

impl ServerConfig {
    /// A server with the defaults for everything else.
    pub fn new(name: impl Into<String>, endpoint: Endpoint) -> Self {
        let name = name.into();
        // A child process of the older revisions may choke on an unknown first message, and one that says nothing to
        // it would cost ten seconds.
        let protocol = match &endpoint {
            Endpoint::Stdio(_) => Protocol::Legacy,
            Endpoint::Http(_) => Protocol::Auto,
        };
        Self {
            file: None,
            prefix: format!("{name}__"),
            name,
            disabled: false,
            endpoint,
            unsupported: None,
            protocol,
            policies: Policies::default(),
            offer: Offer::default(),
            timeouts: Timeouts::default(),
            connections: 1,
            max_concurrency: CONCURRENCY_DEFAULT,
            roots: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            pin_tools: None,
            sampling: SamplingPolicy::default(),
            log_level: None,
        }
    }
}

impl ServerConfig {
    /// What is said of tools that are not there, each by its place in the list of servers: a name that is not one of
    /// the server's `tools`, or a pattern that none of them fits.
    pub fn unmatched(&self, tools: &[&str]) -> Vec<String> {
        let fits_none = |pattern: &str| !tools.iter().any(|tool| glob::fits(pattern, tool));
        let listed = |key: &'static str, patterns: &[String]| -> Vec<String> {
            let unmatched = patterns
                .iter()
                .enumerate()
                .filter(|(_, pattern)| fits_none(pattern));
            unmatched
                .map(|(index, pattern)| format!("{key}[{index}] ({pattern:?})"))
                .collect()
        };
        let named = |key: &'static str, name: &String| format!("{key}.{name}");
        let allowed = self.offer.allowed.as_deref().unwrap_or_default();
        let policies = self.policies.tools.keys().filter(|pattern| fits_none(pattern));
        let timeouts = self.timeouts.tools.keys().filter(|pattern| fits_none(pattern));
        listed("allowed_tools", allowed)
            .into_iter()
            .chain(listed("denied_tools", &self.offer.denied))
            .chain(policies.map(|name| named("tool_policies", name)))
            .chain(timeouts.map(|pattern| named("tool_timeouts_ms", pattern)))
            .map(|place| format!("mcpServers.{}.{place}", self.name))
            .collect()
    }
}

impl Endpoint {
    /// Whether somebody else says what is there.
    pub fn is_remote(&self) -> bool {
        matches!(self, Endpoint::Http(_))
    }

    /// `stdio` or `streamable_http`.
    pub fn transport(&self) -> &'static str {
        match self {
            Endpoint::Stdio(_) => "stdio",
            Endpoint::Http(_) => "streamable_http",
        }
    }
}

impl fmt::Debug for Process {
    /// Arguments and the values of variables may be secrets: they are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Process")
            .field("command", &self.command)
            .field("args", &self.args.len())
            .field("env", &names)
            .field("cwd", &self.cwd)
            .finish()
    }
}

#[cfg(test)]
mod tests;
