//! Calls with the token of whoever caused them, instead of our own authorization.

use super::auth::{AuthError, Bearer, Exchange};
use super::config::{CallerToken, Endpoint, ServerConfig};
use super::session::{unauthorized, unavailable};
use crate::run::credentials::Credentials;
use crate::run::error::Error;

/// What becomes of the tokens of callers at one server.
pub(super) enum CallerTokens {
    Ignored,
    Passed,
    /// None where the configuration leaves nothing to exchange with: no call is made then.
    Exchanged(Option<Box<Exchange>>),
}

impl CallerTokens {
    /// At a server of this configuration.
    pub(super) fn of(config: &ServerConfig) -> Self {
        let Endpoint::Http(remote) = &config.endpoint else {
            return Self::Ignored;
        };
        match remote.caller_token {
            CallerToken::Ignore => Self::Ignored,
            CallerToken::Pass => Self::Passed,
            CallerToken::Exchange => Self::Exchanged(Exchange::new(config).map(Box::new)),
        }
    }

    /// The token for a call of this caller; none where the call is made with our own authorization.
    ///
    /// # Errors
    /// `MCP_AUTHORIZATION_REQUIRED` when the caller has none, or none is given for it; `MCP_UNAVAILABLE` when the
    /// authorization server does not answer.
    pub(super) async fn bearer(
        &self,
        server: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Option<Bearer>, Error> {
        let missing = || {
            let want = "it is called with the token of the caller's own request, and there is none: send it as \
                        `Authorization: Bearer …`; it is not kept when a run goes on after a restart";
            unauthorized(server, want)
        };
        let credentials = || credentials.ok_or_else(missing);
        let token = match self {
            Self::Ignored => return Ok(None),
            Self::Passed => credentials()?.reveal().into(),
            Self::Exchanged(None) => {
                return Err(unauthorized(
                    server,
                    "its headers leave no place for a caller's token",
                ));
            }
            Self::Exchanged(Some(exchange)) => {
                let exchanged = exchange.token(credentials()?.reveal()).await;
                exchanged.map_err(|error| failure(server, error))?
            }
        };
        Ok(Some(Bearer(token)))
    }

    /// The server has refused what it was given for this caller.
    pub(super) fn refused(&self, credentials: Option<&Credentials>) {
        if let (Self::Exchanged(Some(exchange)), Some(credentials)) = (self, credentials) {
            exchange.forget(credentials.reveal());
        }
    }
}

fn failure(server: &str, error: AuthError) -> Error {
    let text = format!("the caller's token cannot be exchanged: {error}");
    let failure = match error {
        AuthError::Unreachable { .. } => unavailable(server, format!("MCP server '{server}': {text}")),
        _ => unauthorized(server, &text),
    };
    failure.caused_by(error)
}
