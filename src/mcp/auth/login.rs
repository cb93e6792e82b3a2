//! A person's login: the authorization code flow with PKCE (OAuth 2.1, section 4.1; RFC 7636; RFC 9207).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client as Http, StatusCode, Url};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::challenge::Challenge;
use super::client::{Client, refusal};
use super::discovery::Discovered;
use super::error::AuthError;
use super::fetch::Form;
use super::token;
use super::vault::{self, Vault};
use super::{Place, change_of, entry_of};
use crate::mcp::config::{Endpoint, Grant, Remote, ServerConfig};
use crate::mcp::{reason, remote};

/// Random bytes in a `state` and in a verifier (RFC 7636, section 7.1).
const RANDOM_BYTES: usize = 32;

/// A login that has begun: the person is at the authorization server now, or will be.
#[derive(Debug)]
pub struct Login {
    place: Place,
    vault: Arc<Vault>,
    found: Discovered,
    client: Client,
    redirect_uri: String,
    state: String,
    verifier: String,
    scopes: Vec<String>,
    url: Url,
}

impl Login {
    /// Begins one: finds out where the person has to go. `redirect_uri` is where they come back to, on this machine.
    ///
    /// # Errors
    /// When the server cannot be logged in to: it is none at an address, the service gets its tokens by itself, its
    /// metadata does not fit, or leads to a host that the configuration does not name, or the authorization server
    /// does not say that it has PKCE.
    pub async fn begin(
        server: &ServerConfig,
        vault: Arc<Vault>,
        redirect_uri: String,
    ) -> Result<Self, AuthError> {
        let place = place(server)?;
        if place.oauth.grant != Grant::AuthorizationCode {
            return Err(AuthError::Configuration(format!(
                "'{}' needs no login: the service gets its tokens by itself, as `oauth.grant` says",
                server.name
            )));
        }
        let entry = entry_of(&vault, &place).await?.unwrap_or_default();
        let challenge = match entry.challenge {
            Some(challenge) => challenge,
            None => challenge(server, &place).await?,
        };
        let found = place.discover(&challenge).await?;
        // MCP 2025-11-25, Authorization, Authorization Code Protection.
        if !found.server.has_pkce {
            return Err(AuthError::Metadata(format!(
                "the authorization server {} does not say that it has PKCE with S256, without which a login is not \
                 safe",
                found.server.issuer
            )));
        }
        let Some(endpoint) = found.server.authorization_endpoint.clone() else {
            return Err(AuthError::Metadata(format!(
                "the authorization server {} has no authorization endpoint",
                found.server.issuer
            )));
        };
        let before = entry.login.filter(|login| login.issuer == found.server.issuer);
        let before = before.map(|login| login.tokens.asked).unwrap_or_default();
        let scopes = place.scopes(&before, &challenge, &found);
        let client =
            Client::for_people(&place.oauth, &found.server, &place.fetch, &redirect_uri, &scopes).await?;
        let (state, verifier) = (random()?, random()?);
        let proof = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let mut url = endpoint;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &redirect_uri)
            .append_pair("state", &state)
            .append_pair("code_challenge", &proof)
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", &found.resource);
        if !scopes.is_empty() {
            url.query_pairs_mut().append_pair("scope", &scopes.join(" "));
        }
        Ok(Self {
            place,
            vault,
            found,
            client,
            redirect_uri,
            state,
            verifier,
            scopes,
            url,
        })
    }

    /// Where the person has to go.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Who asks the person.
    pub fn issuer(&self) -> &str {
        &self.found.server.issuer
    }

    /// Ends it: `answer` is the address at which the person has come back, or its query. The tokens are kept; a
    /// service with the same store finds them there.
    ///
    /// # Errors
    /// When the answer is not of this login, is of another issuer or says no, or no token is given for it.
    pub async fn finish(self, answer: &str) -> Result<(), AuthError> {
        let code = self.code(answer)?;
        let form: Form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", self.redirect_uri),
            ("code_verifier", self.verifier),
        ];
        let Discovered { server, resource, .. } = &self.found;
        let fetch = &self.place.fetch;
        let tokens = token::request(fetch, server, &self.client, resource, form, self.scopes).await?;
        let login = vault::Login {
            issuer: server.issuer.clone(),
            client: self.client,
            tokens,
        };
        change_of(&self.vault, &self.place, move |entry| {
            entry.challenge = None;
            entry.login = Some(login);
        })
        .await
    }

    /// The code of an answer. Until it is known whose answer it is, nothing that it says is heeded or shown (RFC 9207,
    /// section 2.4).
    fn code(&self, answer: &str) -> Result<String, AuthError> {
        let mut url = self.url.clone();
        url.set_query(Some(answer.split_once('?').map_or(answer, |(_, query)| query)));
        let query = |wanted: &str| {
            let found = url.query_pairs().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };
        let unfit = |reason: &str| AuthError::Response(format!("the answer to the login {reason}"));
        if query("state").as_deref() != Some(self.state.as_str()) {
            return Err(unfit("is not of this login"));
        }
        let server = &self.found.server;
        match query("iss") {
            Some(issuer) if issuer != server.issuer => {
                return Err(unfit("is of another authorization server"));
            }
            None if server.says_issuer => return Err(unfit("does not say whose it is")),
            _ => {}
        }
        if let Some(error) = query("error") {
            let body = json!({"error": error, "error_description": query("error_description")});
            return Err(refusal(&body, &[]).unwrap_or_else(|| unfit("is an error")));
        }
        query("code").ok_or_else(|| unfit("has no code"))
    }
}

/// Forgets the login at a server, and gives its refresh token back where the authorization server takes it (RFC
/// 7009). Says whether there was one.
///
/// # Errors
/// When the server is none at an address, or the store cannot be changed. What goes wrong at the authorization server
/// is no error: the tokens are gone from here.
pub async fn logout(server: &ServerConfig, vault: &Arc<Vault>) -> Result<bool, AuthError> {
    let place = place(server)?;
    let Some(login) = entry_of(vault, &place).await?.and_then(|entry| entry.login) else {
        return Ok(false);
    };
    change_of(vault, &place, |entry| entry.login = None).await?;
    if let Err(error) = revoke(&place, &login).await {
        tracing::warn!(server = server.name, %error, "the tokens are not given back");
    }
    Ok(true)
}

async fn revoke(place: &Place, login: &vault::Login) -> Result<(), AuthError> {
    let found = place.discover(&Challenge::default()).await?;
    let Some(endpoint) = found
        .server
        .revocation_endpoint
        .filter(|_| found.server.issuer == login.issuer)
    else {
        return Ok(());
    };
    let token = login.tokens.refresh.as_ref().unwrap_or(&login.tokens.access);
    let mut form: Form = vec![("token", token.reveal().to_owned())];
    let authorization = login.client.prove(&mut form, &login.issuer)?;
    let answer = place
        .fetch
        .post_form("the revocation endpoint", &endpoint, authorization, &form);
    answer.await.map(drop)
}

fn place(server: &ServerConfig) -> Result<Place, AuthError> {
    Place::of(server).ok_or_else(|| {
        AuthError::Configuration(format!(
            "'{}' takes no login: it is not at an address, or its headers authorize us already",
            server.name
        ))
    })
}

/// What the server says to somebody whom it does not know. One that lets everybody begin says nothing yet.
async fn challenge(server: &ServerConfig, place: &Place) -> Result<Challenge, AuthError> {
    let Endpoint::Http(remote) = &server.endpoint else {
        return Ok(Challenge::default());
    };
    let unreachable = |error: reqwest::Error| AuthError::Unreachable {
        host: super::hosts::url_host(&place.url),
        reason: reason::of_client(&error),
    };
    let http = remote::client().map_err(unreachable)?;
    let asked = asked(&http, remote).send().await.map_err(unreachable)?;
    let header = asked.headers().get(http::header::WWW_AUTHENTICATE);
    let header = header.filter(|_| asked.status() == StatusCode::UNAUTHORIZED);
    let header = header.and_then(|header| header.to_str().ok());
    Ok(header.map(Challenge::parse).unwrap_or_default())
}

fn asked(http: &Http, remote: &Remote) -> reqwest::RequestBuilder {
    http.post(&remote.url)
        .headers(remote.headers.iter().cloned().collect())
        .header(http::header::ACCEPT, "application/json, text/event-stream")
        .json(
            &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
            }}),
        )
}

fn random() -> Result<String, AuthError> {
    let mut bytes = [0; RANDOM_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| AuthError::Configuration("there is no randomness".to_owned()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
