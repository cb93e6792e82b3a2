//! From the address of a server to the authorization server whose tokens it takes.

use reqwest::Url;
use serde::de::DeserializeOwned;

use super::challenge::Challenge;
use super::error::AuthError;
use super::fetch::Fetch;
use super::hosts::Hosts;
use super::metadata::{
    AuthorizationServer, ResourceDocument, ServerDocument, covers, identifier, resource_documents,
    server_documents,
};
use crate::mcp::config::OAuth;

/// Where tokens for a server are got.
#[derive(Clone, Debug)]
pub(super) struct Discovered {
    /// What they are asked for (RFC 8707).
    pub(super) resource: String,
    /// The scopes that basic use needs, if the server says so.
    pub(super) scopes: Vec<String>,
    /// Who gives them.
    pub(super) server: AuthorizationServer,
}

/// Finds out where tokens for a server are got.
///
/// # Errors
/// When its metadata cannot be had or does not fit, or leads to a place that the configuration does not name.
pub(super) async fn discover(
    fetch: &Fetch,
    server: &Url,
    oauth: &OAuth,
    challenge: &Challenge,
) -> Result<Discovered, AuthError> {
    let (resource, issuer, scopes) = match resource(fetch, server, challenge).await? {
        Some(document) => {
            if !covers(&document.resource, server) {
                return Err(AuthError::Metadata(format!(
                    "the server's metadata is that of another resource, {}",
                    document.resource
                )));
            }
            let issuer = chosen(&document, oauth, &fetch.hosts)?;
            (document.resource, issuer, document.scopes_supported)
        }
        // A server of before RFC 9728: then the configuration has to say whose tokens it takes.
        None => match &oauth.authorization_servers[..] {
            [issuer] => (identifier(server), without_slash(issuer), Vec::new()),
            _ => {
                return Err(AuthError::Metadata(
                    "the server does not say whose tokens it takes: set `oauth.authorization_servers` to the issuer"
                        .to_owned(),
                ));
            }
        },
    };
    let url = fetch.hosts.read("the authorization server", &issuer)?;
    let places = server_documents(&url);
    let document: Option<ServerDocument> =
        first(fetch, "the authorization server's metadata", places).await?;
    let document = document.ok_or_else(|| {
        AuthError::Metadata(format!("the authorization server {issuer} publishes no metadata"))
    })?;
    Ok(Discovered {
        resource,
        scopes,
        server: document.checked(&issuer, &fetch.hosts)?,
    })
}

/// The server's own metadata: where it says that it is, or else in the well-known places.
async fn resource(
    fetch: &Fetch,
    server: &Url,
    challenge: &Challenge,
) -> Result<Option<ResourceDocument>, AuthError> {
    const WHAT: &str = "the server's metadata";
    let Some(place) = &challenge.resource_metadata else {
        return first(fetch, WHAT, resource_documents(server)).await;
    };
    let place = fetch.hosts.read(WHAT, place)?;
    let found = fetch.document(WHAT, &place).await?;
    let missing = || AuthError::Metadata(format!("{WHAT} is not where it says, at {place}"));
    found.map(Some).ok_or_else(missing)
}

/// The first of these documents that is there and can be read. One that cannot be read does not hide another, since
/// some servers answer every path with a page for people.
async fn first<T: DeserializeOwned>(
    fetch: &Fetch,
    what: &'static str,
    places: Vec<Url>,
) -> Result<Option<T>, AuthError> {
    let mut unreadable = None;
    for place in places {
        match fetch.document(what, &place).await {
            Ok(Some(document)) => return Ok(Some(document)),
            Ok(None) => {}
            Err(error @ AuthError::Metadata(_)) => drop(unreadable.get_or_insert(error)),
            Err(error) => return Err(error),
        }
    }
    match unreadable {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Which of the issuers that a server names it shall be: one that the configuration has, if it has any, or the first
/// at a host that may be spoken to.
fn chosen(document: &ResourceDocument, oauth: &OAuth, hosts: &Hosts) -> Result<String, AuthError> {
    let Some(first) = document.authorization_servers.first() else {
        return Err(AuthError::Metadata(
            "the server's metadata names no authorization server".to_owned(),
        ));
    };
    let is_configured = |issuer: &&String| {
        let issuer = Url::parse(issuer);
        issuer.is_ok_and(|issuer| oauth.authorization_servers.contains(&issuer))
    };
    if !oauth.authorization_servers.is_empty() {
        let found = document.authorization_servers.iter().find(is_configured);
        return found.cloned().ok_or_else(|| {
            AuthError::Configuration(format!(
                "the server takes tokens of {}, which is not in `oauth.authorization_servers`: our credentials are \
                 for those alone",
                document.authorization_servers.join(", ")
            ))
        });
    }
    let is_allowed = |issuer: &&String| hosts.read("the authorization server", issuer).is_ok();
    match document.authorization_servers.iter().find(is_allowed) {
        Some(issuer) => Ok(issuer.clone()),
        None => hosts
            .read("the authorization server", first)
            .map(|_| first.clone()),
    }
}

/// As issuers are usually written: an address without a path has no slash at its end.
fn without_slash(issuer: &Url) -> String {
    match issuer.path() {
        "/" => issuer.as_str().trim_end_matches('/').to_owned(),
        _ => issuer.as_str().to_owned(),
    }
}
