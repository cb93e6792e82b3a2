//! Why a server cannot be given a token, in words for operators: without tokens, secrets and bodies.

use std::path::PathBuf;

use super::vault::VaultError;

/// Why authorization failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthError {
    /// Something would have to be sent to a host that the configuration does not name.
    #[error(
        "{what} is at {host}, which the configuration does not name: if it is to be trusted, add it to \
         `oauth.allowed_hosts`, or its issuer to `oauth.authorization_servers`"
    )]
    HostNotNamed {
        /// What is there: "the token endpoint".
        what: &'static str,
        /// The host, with its port where that is not the usual one.
        host: String,
    },
    /// An address is not `https`, and neither of this machine nor written in the configuration.
    #[error("{what} is at {url}, which is not https")]
    NotHttps {
        /// What is there.
        what: &'static str,
        /// The address, without its query.
        url: String,
    },
    /// Nobody answers as expected at an address.
    #[error("{host} does not answer: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// Metadata is missing or does not fit.
    #[error("{0}")]
    Metadata(String),
    /// The authorization server refuses; `error` is a code of RFC 6749, section 5.2, or alike.
    #[error("the authorization server refuses: {error}{}", .description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The code.
        error: String,
        /// What it says besides, if that can be shown.
        description: Option<String>,
    },
    /// An answer of the authorization server does not fit what was asked.
    #[error("{0}")]
    Response(String),
    /// The configuration lacks something.
    #[error("{0}")]
    Configuration(String),
    /// A file with a credential cannot be used.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A person has to log in.
    #[error("nobody is logged in")]
    LoginNeeded,
    /// The store of tokens cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
}
