//! What a server may ask of models (sampling).

use super::ConfigError;
use super::parse::{Entry, unknown};

/// Tokens that one answer may have unless `max_tokens` says otherwise.
const MAX_TOKENS_DEFAULT: u64 = 1024;
/// Answers during one call unless `max_requests` says otherwise.
const MAX_REQUESTS_DEFAULT: u64 = 8;
const MAX_TOKENS_LIMIT: u64 = 1_000_000;
const MAX_REQUESTS_LIMIT: u64 = 1_000;

/// What `sampling` of a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingPolicy {
    /// Whether it may ask at all.
    pub allow: Consent,
    /// The model that answers; empty for the default.
    pub model: String,
    /// The most tokens of one answer.
    pub max_tokens: u64,
    /// The most answers during one call.
    pub max_requests: u64,
}

/// Whether a server may ask models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// No, and it is not told that it could.
    #[default]
    Deny,
    /// A person decides each time.
    Ask,
    /// Yes.
    Allow,
}

impl Default for SamplingPolicy {
    fn default() -> Self {
        Self {
            allow: Consent::default(),
            model: String::new(),
            max_tokens: MAX_TOKENS_DEFAULT,
            max_requests: MAX_REQUESTS_DEFAULT,
        }
    }
}

impl SamplingPolicy {
    const KNOWN: &[&str] = &["allow", "model", "max_tokens", "max_requests"];

    /// Reads the entry `sampling`.
    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, ConfigError> {
        for key in entry.keys() {
            if !Self::KNOWN.contains(&key) {
                return Err(unknown(entry.at(key), key, Self::KNOWN));
            }
        }
        let allow = match entry.text("allow")?.as_deref() {
            None | Some("deny") => Consent::Deny,
            Some("ask") => Consent::Ask,
            Some("allow") => Consent::Allow,
            Some(other) => {
                let problem = format!("'{other}': expected \"deny\", \"ask\" or \"allow\"");
                return Err(entry.invalid("allow", problem));
            }
        };
        let usual = Self::default();
        Ok(Self {
            allow,
            model: entry.text("model")?.unwrap_or_default(),
            max_tokens: entry
                .number("max_tokens", MAX_TOKENS_LIMIT)?
                .unwrap_or(usual.max_tokens),
            max_requests: entry
                .number("max_requests", MAX_REQUESTS_LIMIT)?
                .unwrap_or(usual.max_requests),
        })
    }
}
