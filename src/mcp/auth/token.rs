//! Tokens, and the requests that bring them (RFC 6749, section 5; RFC 8707).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Client, refusal};
use super::clock;
use super::error::AuthError;
use super::fetch::{Fetch, Form};
use super::metadata::AuthorizationServer;
use crate::mcp::secret::Hidden;

/// How long before its end a token is exchanged: the longest that a request may be under way to its server.
const MARGIN_SECONDS: u64 = 30;

/// An access token, and what came with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tokens {
    /// What is sent to the server.
    pub(super) access: Hidden,
    /// What brings the next one.
    pub(super) refresh: Option<Hidden>,
    /// The scopes that were asked for.
    pub(super) asked: Vec<String>,
    /// When it was given, and when it ends, in seconds since 1970; the end only if it was said.
    issued: u64,
    expires: Option<u64>,
}

#[derive(Deserialize)]
struct Response {
    access_token: Hidden,
    token_type: String,
    #[serde(default)]
    expires_in: Value,
    refresh_token: Option<Hidden>,
}

impl Tokens {
    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.expires.is_some_and(|expires| clock::now() >= expires)
    }

    /// Whether it is time for another one: of one that is good for a short time only, the last tenth.
    pub(super) fn is_due(&self) -> bool {
        self.expires.is_some_and(|expires| {
            let margin = MARGIN_SECONDS.min(expires.saturating_sub(self.issued) / 10);
            clock::now() + margin >= expires
        })
    }

    /// Whether it is known when it ends.
    pub(super) fn says_its_end(&self) -> bool {
        self.expires.is_some()
    }

    /// Whether it was given less than so many seconds ago.
    pub(super) fn is_fresh(&self, seconds: u64) -> bool {
        clock::now() < self.issued.saturating_add(seconds)
    }
}

/// Fields of a form whose values are secrets: what repeats one of them is not shown.
const SECRETS: [&str; 7] = [
    "client_secret",
    "client_assertion",
    "assertion",
    "refresh_token",
    "subject_token",
    "code",
    "code_verifier",
];

/// Asks for a token. `form` is the grant; `asked` are the scopes that it is for, whether the form says so or an earlier
/// request did.
///
/// # Errors
/// `Refused` when the server says no, and otherwise when there is no answer of use.
pub(super) async fn request(
    fetch: &Fetch,
    server: &AuthorizationServer,
    client: &Client,
    resource: &str,
    mut form: Form,
    asked: Vec<String>,
) -> Result<Tokens, AuthError> {
    form.push(("resource", resource.to_owned()));
    let authorization = client.prove(&mut form, &server.issuer)?;
    let answer = fetch
        .post_form("the token endpoint", &server.token_endpoint, authorization, &form)
        .await?;
    let secrets = form.iter().filter(|(name, _)| SECRETS.contains(name));
    let secrets = secrets.map(|(_, value)| value.as_str());
    let secrets: Vec<&str> = secrets.chain(client.secret()).collect();
    if let Some(refused) = refusal(&answer.body, &secrets) {
        return Err(refused);
    }
    let host = || server.token_endpoint.host_str().unwrap_or_default().to_owned();
    if answer.status.is_server_error() {
        return Err(AuthError::Unreachable {
            host: host(),
            reason: format!("HTTP {}", answer.status.as_u16()),
        });
    }
    let status = answer.status.as_u16();
    let unfit = |what: &str| AuthError::Response(format!("the token endpoint at {} {what}", host()));
    if !answer.status.is_success() {
        return Err(unfit(&format!("answers with HTTP {status}")));
    }
    let response: Response =
        serde_json::from_value(answer.body).map_err(|_| unfit("answers without a token"))?;
    if !response.token_type.eq_ignore_ascii_case("bearer") {
        return Err(unfit("gives a token that is not a bearer token"));
    }
    // A header's value, and nothing that could become two of them.
    if http::HeaderValue::from_str(response.access_token.reveal()).is_err() {
        return Err(unfit("gives a token that cannot be sent"));
    }
    let issued = clock::now();
    // Some servers write the number as a text.
    let lifetime = match &response.expires_in {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    Ok(Tokens {
        access: response.access_token,
        refresh: response.refresh_token,
        asked,
        issued,
        expires: lifetime.map(|lifetime| issued.saturating_add(lifetime)),
    })
}

/// Both, each once, in their order.
pub(super) fn union(first: &[String], second: &[String]) -> Vec<String> {
    let mut all = first.to_vec();
    for scope in second {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}
