//! What resources and authorization servers publish of themselves, and where (RFC 9728; RFC 8414; OpenID Connect
//! Discovery 1.0; in the order of MCP 2025-11-25, Authorization).

use reqwest::Url;
use serde::Deserialize;

use super::error::AuthError;
use super::hosts::Hosts;

/// A protected resource (RFC 9728, section 2).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ResourceDocument {
    /// Its identifier, which tokens are asked for, exactly as it stands there.
    pub(super) resource: String,
    /// The issuers of the tokens that it takes.
    #[serde(default)]
    pub(super) authorization_servers: Vec<String>,
    /// The scopes that a client needs for basic use.
    #[serde(default)]
    pub(super) scopes_supported: Vec<String>,
}

/// An authorization server (RFC 8414, section 2) as it describes itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ServerDocument {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// An authorization server whose every address has been checked.
#[derive(Clone, Debug)]
pub(super) struct AuthorizationServer {
    /// Its identifier.
    pub(super) issuer: String,
    /// Where people are sent to.
    pub(super) authorization_endpoint: Option<Url>,
    /// Where tokens are.
    pub(super) token_endpoint: Url,
    /// Where clients register (RFC 7591).
    pub(super) registration_endpoint: Option<Url>,
    /// Where tokens are given back (RFC 7009).
    pub(super) revocation_endpoint: Option<Url>,
    /// The scopes that it says it knows.
    pub(super) scopes_supported: Vec<String>,
    /// Whether it says that it has PKCE with S256.
    pub(super) has_pkce: bool,
    /// How clients may prove who they are at the token endpoint.
    pub(super) auth_methods: Vec<String>,
    /// Whether a client may be named by the address of its metadata.
    pub(super) takes_client_metadata: bool,
    /// Whether it says who it is when it sends people back (RFC 9207).
    pub(super) says_issuer: bool,
}

impl ServerDocument {
    /// Checks what the server of this identifier says of itself.
    ///
    /// # Errors
    /// When it is the document of another issuer (RFC 8414, section 3.3), has no token endpoint, or names a place to
    /// which nothing may be sent.
    pub(super) fn checked(self, issuer: &str, hosts: &Hosts) -> Result<AuthorizationServer, AuthError> {
        if self.issuer != issuer {
            return Err(AuthError::Metadata(format!(
                "the metadata of the authorization server {issuer} is that of another issuer, {}",
                self.issuer
            )));
        }
        let Some(token_endpoint) = &self.token_endpoint else {
            return Err(AuthError::Metadata(format!(
                "the authorization server {issuer} has no token endpoint"
            )));
        };
        let read = |what, url: &Option<String>| url.as_ref().map(|url| hosts.read(what, url)).transpose();
        let methods = self.code_challenge_methods_supported.unwrap_or_default();
        // RFC 8414, section 2: what holds when it says nothing.
        let default_methods = || vec!["client_secret_basic".to_owned()];
        Ok(AuthorizationServer {
            authorization_endpoint: read("the authorization endpoint", &self.authorization_endpoint)?,
            token_endpoint: hosts.read("the token endpoint", token_endpoint)?,
            registration_endpoint: read("the registration endpoint", &self.registration_endpoint)?,
            revocation_endpoint: read("the revocation endpoint", &self.revocation_endpoint)?,
            issuer: self.issuer,
            scopes_supported: self.scopes_supported,
            has_pkce: methods.iter().any(|method| method == "S256"),
            auth_methods: self
                .token_endpoint_auth_methods_supported
                .unwrap_or_else(default_methods),
            takes_client_metadata: self.client_id_metadata_document_supported,
            says_issuer: self.authorization_response_iss_parameter_supported,
        })
    }
}

/// Where the metadata of a resource may be, when its server does not say (RFC 9728, section 3.1).
pub(super) fn resource_documents(server: &Url) -> Vec<Url> {
    const PLACE: &str = "/.well-known/oauth-protected-resource";
    let path = server.path().trim_end_matches('/');
    let mut places = vec![at(server, &format!("{PLACE}{path}"))];
    if !path.is_empty() {
        places.push(at(server, PLACE));
    }
    places
}

/// Where the metadata of an authorization server may be, first to last.
pub(super) fn server_documents(issuer: &Url) -> Vec<Url> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        at(issuer, &format!("{OAUTH}{path}")),
        at(issuer, &format!("{OPENID}{path}")),
    ];
    if !path.is_empty() {
        places.push(at(issuer, &format!("{path}{OPENID}")));
    }
    places
}

fn at(url: &Url, path: &str) -> Url {
    let mut place = url.clone();
    place.set_path(path);
    place.set_query(None);
    place.set_fragment(None);
    place
}

/// Whether a resource of this identifier has the server in it: the same origin, and a path that the server's begins
/// with. A token for anything else must not be asked for (RFC 9728, section 3.3).
pub(super) fn covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    let path = resource.path().trim_end_matches('/');
    let rest = server.path().strip_prefix(path);
    resource.origin() == server.origin()
        && resource.fragment().is_none()
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The identifier of a server that publishes none (RFC 8707, section 2; without a slash that says nothing).
pub(super) fn identifier(server: &Url) -> String {
    let mut url = server.clone();
    url.set_fragment(None);
    match (url.path(), url.query()) {
        ("/", None) => url.as_str().trim_end_matches('/').to_owned(),
        _ => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(urls: Vec<Url>) -> Vec<String> {
        urls.into_iter().map(Into::into).collect()
    }

    #[test]
    fn metadata_is_looked_for_in_the_order_of_the_specification() {
        let resource = |url: &str| texts(resource_documents(&Url::parse(url).unwrap()));
        let place = "https://h/.well-known/oauth-protected-resource";
        assert_eq!(resource("https://h"), [place]);
        assert_eq!(
            resource("https://h/a/mcp?x=1"),
            [&format!("{place}/a/mcp"), place]
        );
        let server = |url: &str| texts(server_documents(&Url::parse(url).unwrap()));
        assert_eq!(
            server("https://h:8443/"),
            [
                "https://h:8443/.well-known/oauth-authorization-server",
                "https://h:8443/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            server("https://h/tenant"),
            [
                "https://h/.well-known/oauth-authorization-server/tenant",
                "https://h/.well-known/openid-configuration/tenant",
                "https://h/tenant/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn a_token_is_asked_for_a_resource_that_has_the_server_in_it() {
        let cases = [
            ("https://h/a/mcp", true),
            ("https://H:443/a/mcp", true),
            ("https://h/a", true),
            ("https://h", true),
            ("https://h/", true),
            ("https://h/a/mcp/more", false),
            ("https://h/a/m", false),
            ("http://h/a/mcp", false),
            ("https://evil.example/a/mcp", false),
            ("https://h/a/mcp#x", false),
            ("not a url", false),
        ];
        let server = Url::parse("https://h/a/mcp").unwrap();
        for (resource, expected) in cases {
            assert_eq!(covers(resource, &server), expected, "{resource}");
        }
        let of = |url: &str| identifier(&Url::parse(url).unwrap());
        assert_eq!(of("https://H"), "https://h");
        assert_eq!(of("https://h/mcp#x"), "https://h/mcp");
    }
}
