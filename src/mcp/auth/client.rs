//! Who we are to an authorization server, and how we prove it at its token endpoint.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::assertion::Signer;
use super::error::AuthError;
use super::fetch::{Fetch, Form, escaped};
use super::metadata::AuthorizationServer;
use crate::mcp::config::{Credential, OAuth};
use crate::mcp::secret::Hidden;

/// The value of `client_assertion_type` (RFC 7523, section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that an authorization server knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Client {
    /// Its identifier.
    pub(super) id: String,
    /// Its secret, if it has one.
    secret: Option<Hidden>,
    /// How it proves who it is.
    proof: Proof,
}

/// How a client proves who it is (RFC 7591, section 2; RFC 7523).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Proof {
    None,
    ClientSecretBasic,
    ClientSecretPost,
    /// By an assertion that is signed with the key in this file.
    PrivateKeyJwt(PathBuf),
}

/// What a registration brings (RFC 7591, section 3.2.1).
#[derive(Deserialize)]
struct Registration {
    client_id: String,
    client_secret: Option<Hidden>,
    token_endpoint_auth_method: Option<String>,
}

impl Client {
    /// The client that the configuration describes, if it describes one.
    ///
    /// # Errors
    /// When its secret cannot be read.
    pub(super) fn configured(oauth: &OAuth, server: &AuthorizationServer) -> Result<Option<Self>, AuthError> {
        let Some(id) = &oauth.client_id else {
            return Ok(None);
        };
        let (secret, proof) = match &oauth.credential {
            Credential::None => (None, Proof::None),
            Credential::Secret(secret) => (Some(secret.clone()), secret_proof(server, None)),
            Credential::SecretFile(path) => (Some(read(path)?), secret_proof(server, None)),
            Credential::PrivateKeyFile(path) => (None, Proof::PrivateKeyJwt(path.clone())),
        };
        Ok(Some(Self {
            id: id.clone(),
            secret,
            proof,
        }))
    }

    /// A client for people: the configured one, or one that is named by the address of its metadata, or one that is
    /// registered now (the order of MCP 2025-11-25, Authorization, Client Registration Approaches).
    pub(super) async fn for_people(
        oauth: &OAuth,
        server: &AuthorizationServer,
        fetch: &Fetch,
        redirect_uri: &str,
        scopes: &[String],
    ) -> Result<Self, AuthError> {
        if let Some(client) = Self::configured(oauth, server)? {
            return Ok(client);
        }
        if let Some(url) = oauth
            .client_metadata_url
            .as_ref()
            .filter(|_| server.takes_client_metadata)
        {
            return Ok(Self {
                id: url.clone(),
                secret: None,
                proof: Proof::None,
            });
        }
        let Some(endpoint) = &server.registration_endpoint else {
            return Err(AuthError::Configuration(format!(
                "the authorization server {} lets no client register itself: register one there, and set \
                 `oauth.client_id`",
                server.issuer
            )));
        };
        let mut wanted = json!({
            "client_name": env!("CARGO_PKG_NAME"),
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "application_type": "native",
            "token_endpoint_auth_method": wanted_method(server),
        });
        if !scopes.is_empty() {
            wanted["scope"] = Value::from(scopes.join(" "));
        }
        let answer = fetch
            .post_json("the registration endpoint", endpoint, &wanted)
            .await?;
        if !answer.status.is_success() {
            return Err(refusal(&answer.body, &[]).unwrap_or_else(|| {
                AuthError::Response(format!(
                    "the authorization server {} refuses to register a client (HTTP {})",
                    server.issuer,
                    answer.status.as_u16()
                ))
            }));
        }
        let registered: Registration = serde_json::from_value(answer.body).map_err(|_| {
            AuthError::Response(format!(
                "the authorization server {} registers a client without saying which",
                server.issuer
            ))
        })?;
        let method = registered.token_endpoint_auth_method.as_deref();
        let proof = match (&registered.client_secret, method) {
            (None, _) | (_, Some("none")) => Proof::None,
            (Some(_), method) => secret_proof(server, method),
        };
        Ok(Self {
            id: registered.client_id,
            secret: registered.client_secret,
            proof,
        })
    }

    /// Its secret, which must not be shown.
    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(Hidden::reveal)
    }

    /// Puts into a form who we are; gives the `Authorization` that belongs to it, if one does.
    ///
    /// # Errors
    /// When the key for a signature cannot be used.
    pub(super) fn prove(&self, form: &mut Form, issuer: &str) -> Result<Option<HeaderValue>, AuthError> {
        let secret = self.secret.as_ref().map(Hidden::reveal).unwrap_or_default();
        match &self.proof {
            // Both halves as in a form: RFC 6749, section 2.3.1.
            Proof::ClientSecretBasic => {
                let pair = STANDARD.encode(format!("{}:{}", escaped(&self.id), escaped(secret)));
                let value = HeaderValue::from_str(&format!("Basic {pair}"));
                return value.map(Some).map_err(|_| {
                    AuthError::Configuration("the client's id or secret cannot be sent".to_owned())
                });
            }
            Proof::ClientSecretPost => form.push(("client_secret", secret.to_owned())),
            Proof::PrivateKeyJwt(path) => {
                let signer = Signer::read(path)?;
                form.push(("client_assertion_type", JWT_BEARER.to_owned()));
                form.push(("client_assertion", signer.assertion(&self.id, issuer)?));
            }
            Proof::None => {}
        }
        form.push(("client_id", self.id.clone()));
        Ok(None)
    }
}

/// How a client with a secret proves who it is: as it was registered, or else in a way that the server has.
fn secret_proof(server: &AuthorizationServer, registered: Option<&str>) -> Proof {
    let has = |method: &str| server.auth_methods.iter().any(|known| known == method);
    match registered {
        Some("client_secret_basic") => Proof::ClientSecretBasic,
        Some("client_secret_post") => Proof::ClientSecretPost,
        _ if has("client_secret_post") && !has("client_secret_basic") => Proof::ClientSecretPost,
        _ => Proof::ClientSecretBasic,
    }
}

/// How a client that registers itself asks to prove who it is: a client of a person's machine keeps no secret if it
/// need not.
fn wanted_method(server: &AuthorizationServer) -> &'static str {
    let has = |method: &str| server.auth_methods.iter().any(|known| known == method);
    match () {
        () if has("none") => "none",
        () if has("client_secret_basic") => "client_secret_basic",
        () if has("client_secret_post") => "client_secret_post",
        () => "none",
    }
}

/// The error that a body tells of, if it does. What it says besides is left out where it repeats what we sent.
pub(super) fn refusal(body: &Value, sent: &[&str]) -> Option<AuthError> {
    const CODE_LIMIT: usize = 64;
    let is_code = |code: &&str| {
        code.len() <= CODE_LIMIT
            && !code.is_empty()
            && code
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    let error = body["error"].as_str().filter(is_code)?;
    let description = body["error_description"].as_str().filter(|text| {
        let repeats = |sent: &&str| !sent.is_empty() && text.contains(*sent);
        !text.is_empty() && !sent.iter().any(repeats)
    });
    Some(AuthError::Refused {
        error: error.to_owned(),
        description: description.map(|text| crate::mcp::reason::short(text).to_owned()),
    })
}

/// A credential in a file, without the end of its line. It is read each time: it may be exchanged at any time.
pub(super) fn read(path: &Path) -> Result<Hidden, AuthError> {
    let unfit = |reason: String| AuthError::File {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| unfit(error.to_string()))?;
    match text.trim() {
        "" => Err(unfit("it is empty".to_owned())),
        text => Ok(Hidden::from(text)),
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
