//! How we are authorized at a server, as its entry says under `oauth`.

use std::path::PathBuf;

use reqwest::Url;
use serde_json::{Map, Value};

use super::ConfigError;
use super::parse::{Entry, unknown};
use crate::mcp::secret::Hidden;

/// How tokens for a server are got.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OAuth {
    /// On whose behalf.
    pub grant: Grant,
    /// Who we are to the authorization server, where somebody has registered us there.
    pub client_id: Option<String>,
    /// How we prove it.
    pub credential: Credential,
    /// The file with the assertion of [`Grant::JwtBearer`].
    pub assertion_file: Option<PathBuf>,
    /// The `https` address of the client's metadata, which names us to servers that take such a name.
    pub client_metadata_url: Option<String>,
    /// The audience that an exchange asks for, beside the resource (RFC 8693, section 2.1).
    pub audience: Option<String>,
    /// The scopes that are asked for, beside those that the server asks for.
    pub scopes: Vec<String>,
    /// The issuers whose tokens are asked for; none for whichever the server names, at a host that may be spoken to.
    pub authorization_servers: Vec<Url>,
    /// Hosts that may be spoken to, beside the server's own: `host` or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// The port on this machine to which a login leads back; none for any that is free.
    pub redirect_port: Option<u16>,
}

/// On whose behalf tokens are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// A person's, who logs in once (OAuth 2.1, section 4.1).
    #[default]
    AuthorizationCode,
    /// The service's own (OAuth 2.1, section 4.2).
    ClientCredentials,
    /// The service's own, by an assertion that its platform gives it (RFC 7523, section 2.1).
    JwtBearer,
}

/// How a client proves who it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Credential {
    /// It does not.
    #[default]
    None,
    /// By this secret.
    Secret(Hidden),
    /// By the secret in this file.
    SecretFile(PathBuf),
    /// By the private key in this file (`private_key_jwt`).
    PrivateKeyFile(PathBuf),
}

/// The keys, and what editors call them.
const KEYS: &[(&str, &[&str])] = &[
    ("grant", &[]),
    ("client_id", &["clientId", "CLIENT_ID"]),
    ("client_secret", &["clientSecret", "CLIENT_SECRET"]),
    ("client_secret_env", &[]),
    ("client_secret_file", &[]),
    ("private_key_file", &[]),
    ("assertion_file", &[]),
    ("client_metadata_url", &["clientMetadataUrl"]),
    ("audience", &[]),
    ("scopes", &["scope"]),
    ("authorization_servers", &[]),
    ("allowed_hosts", &[]),
    ("redirect_port", &["callbackPort"]),
];
/// Keys that editors write, and that discovery makes needless.
const IGNORED: &[&str] = &[
    "enabled",
    "authorizationUrl",
    "authServerMetadataUrl",
    "tokenUrl",
    "registrationUrl",
    "redirectUri",
    "audiences",
];

impl OAuth {
    /// Reads the object under `key`, which is `oauth`, or `auth` as one editor has it.
    pub(super) fn parse(server: &Entry<'_>, key: &str, value: &Value) -> Result<Self, ConfigError> {
        let given = server.object(key, value)?;
        let mut fields = Map::new();
        for (name, value) in given.fields {
            let known = KEYS
                .iter()
                .find(|(known, others)| name == known || others.contains(&name.as_str()));
            match known {
                Some((known, _)) if fields.contains_key(*known) => {
                    return Err(given.invalid(name, format!("'{known}' is given too")));
                }
                Some((known, _)) => drop(fields.insert((*known).to_owned(), value.clone())),
                None if IGNORED.contains(&name.as_str()) => {}
                None => {
                    let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
                    return Err(unknown(given.at(name), name, &known));
                }
            }
        }
        let fields = Value::Object(fields);
        server.object(key, &fields)?.oauth()
    }
}

impl Entry<'_> {
    fn oauth(&self) -> Result<OAuth, ConfigError> {
        let oauth = OAuth {
            grant: self.grant()?,
            client_id: self.filled("client_id")?,
            credential: self.credential()?,
            assertion_file: self.filled("assertion_file")?.map(PathBuf::from),
            client_metadata_url: self.client_metadata_url()?,
            audience: self.filled("audience")?,
            scopes: self.scopes()?,
            authorization_servers: self.authorization_servers()?,
            allowed_hosts: self.hosts()?,
            redirect_port: self
                .number("redirect_port", u16::MAX.into())?
                .and_then(|port| u16::try_from(port).ok()),
        };
        let has_credential = oauth.credential != Credential::None;
        let problem = match oauth.grant {
            Grant::ClientCredentials if !has_credential => Some((
                "grant",
                "\"client_credentials\" needs 'client_secret_env', 'client_secret_file' or 'private_key_file'",
            )),
            Grant::JwtBearer if oauth.assertion_file.is_none() => {
                Some(("grant", "\"jwt_bearer\" needs 'assertion_file'"))
            }
            _ if (has_credential || oauth.grant != Grant::AuthorizationCode) && oauth.client_id.is_none() => {
                Some(("client_id", "is missing"))
            }
            _ => None,
        };
        match problem {
            Some((key, problem)) => Err(self.invalid(key, problem)),
            None => Ok(oauth),
        }
    }

    fn grant(&self) -> Result<Grant, ConfigError> {
        match self.text("grant")?.as_deref() {
            None | Some("authorization_code") => Ok(Grant::AuthorizationCode),
            Some("client_credentials") => Ok(Grant::ClientCredentials),
            Some("jwt_bearer") => Ok(Grant::JwtBearer),
            Some(other) => Err(self.invalid(
                "grant",
                format!(
                    "'{other}': expected \"authorization_code\", \"client_credentials\" or \"jwt_bearer\""
                ),
            )),
        }
    }

    fn credential(&self) -> Result<Credential, ConfigError> {
        let text = self.filled("client_secret")?;
        let variable = match self.filled("client_secret_env")? {
            Some(name) => Some((self.lookup)(&name).ok_or_else(|| {
                self.invalid(
                    "client_secret_env",
                    format!("the environment variable {name} is not set"),
                )
            })?),
            None => None,
        };
        let file = self.filled("client_secret_file")?;
        let key = self.filled("private_key_file")?;
        let given = [
            text.map(|text| Credential::Secret(text.into())),
            variable.map(|text| Credential::Secret(text.into())),
            file.map(|path| Credential::SecretFile(path.into())),
            key.map(|path| Credential::PrivateKeyFile(path.into())),
        ];
        let mut given = given.into_iter().flatten();
        let first = given.next().unwrap_or_default();
        match given.next() {
            Some(_) => Err(invalid_pair(self)),
            None => Ok(first),
        }
    }

    /// It has to have a path, and to be `https` (OAuth Client ID Metadata Document, section 3).
    fn client_metadata_url(&self) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.filled("client_metadata_url")? else {
            return Ok(None);
        };
        let url = Url::parse(&text).ok();
        let fits =
            url.is_some_and(|url| url.scheme() == "https" && url.path() != "/" && url.fragment().is_none());
        match fits {
            true => Ok(Some(text)),
            false => Err(self.invalid("client_metadata_url", "expected an https:// URL with a path")),
        }
    }

    /// A list, or one text with spaces between them, as the protocol has it.
    fn scopes(&self) -> Result<Vec<String>, ConfigError> {
        let texts = match self.fields.get("scopes") {
            Some(Value::String(_)) => self.text("scopes")?.into_iter().collect(),
            _ => self.texts("scopes")?,
        };
        let scopes = texts
            .iter()
            .flat_map(|text| text.split_ascii_whitespace())
            .map(str::to_owned);
        Ok(scopes.collect())
    }

    fn authorization_servers(&self) -> Result<Vec<Url>, ConfigError> {
        let listed = self.texts("authorization_servers")?.into_iter().enumerate();
        let read = |(index, text): (usize, String)| {
            let url = Url::parse(&text).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
            });
            url.ok_or_else(|| {
                self.invalid(
                    &format!("authorization_servers[{index}]"),
                    format!("'{text}': expected the issuer, such as https://auth.example.com"),
                )
            })
        };
        listed.map(read).collect()
    }

    fn hosts(&self) -> Result<Vec<String>, ConfigError> {
        let listed = self.texts("allowed_hosts")?;
        for (index, host) in listed.iter().enumerate() {
            let url = Url::parse(&format!("https://{host}/")).ok();
            let fits = url.is_some_and(|url| {
                let name = url.host_str().unwrap_or_default();
                let rest = host.get(name.len()..);
                rest.is_some_and(|rest| rest.is_empty() || is_port(rest))
                    && host.is_char_boundary(name.len())
                    && host[..name.len()].eq_ignore_ascii_case(name)
            });
            if !fits || host.contains('*') {
                return Err(self.invalid(
                    &format!("allowed_hosts[{index}]"),
                    format!("'{host}': expected a host such as auth.example.com or auth.example.com:8443"),
                ));
            }
        }
        Ok(listed)
    }

    /// A text that says something.
    fn filled(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.text(key)? {
            Some(text) if text.trim().is_empty() => Err(self.invalid(key, "is empty")),
            text => Ok(text),
        }
    }
}

/// `:` and a port.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok())
}

fn invalid_pair(entry: &Entry<'_>) -> ConfigError {
    entry.invalid(
        "client_secret",
        "only one of 'client_secret', 'client_secret_env', 'client_secret_file' and 'private_key_file' can hold",
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Endpoint};
    use super::*;

    fn parse(oauth: &str) -> Result<OAuth, String> {
        let json = format!(r#"{{"mcpServers": {{"a": {{"url": "https://h/mcp", {oauth}}}}}}}"#);
        let lookup = |name: &str| (name == "SECRET").then(|| "s3cret".to_owned());
        let config = Config::parse(&json, lookup).map_err(|error| error.to_string())?;
        assert!(!format!("{config:?}").contains("s3cret"));
        let Endpoint::Http(remote) = &config.servers[0].endpoint else {
            panic!("expected an address");
        };
        Ok(remote.oauth.clone())
    }

    #[test]
    fn what_editors_write_is_understood_too() {
        let secret = Credential::Secret("s3cret".to_owned().into());
        let client = |scopes: &[&str], redirect_port| OAuth {
            client_id: Some("me".to_owned()),
            credential: secret.clone(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            redirect_port,
            ..OAuth::default()
        };
        let cases = [
            (r#""disabled": false"#, OAuth::default()),
            (r#""oauth": {}"#, OAuth::default()),
            (
                r#""oauth": {"client_id": "me", "client_secret_env": "SECRET", "scopes": ["a", "b"]}"#,
                client(&["a", "b"], None),
            ),
            (
                r#""oauth": {"clientId": "me", "clientSecret": "${SECRET}", "callbackPort": 8123, "enabled": true}"#,
                client(&[], Some(8123)),
            ),
            (
                r#""auth": {"CLIENT_ID": "me", "CLIENT_SECRET": "s3cret", "scopes": "a b"}"#,
                client(&["a", "b"], None),
            ),
            (
                r#""oauth": {"grant": "client_credentials", "client_id": "me", "private_key_file": "/k.pem",
                             "authorization_servers": ["http://keycloak:8080/realms/a"], "allowed_hosts": ["[::1]:80"]}"#,
                OAuth {
                    grant: Grant::ClientCredentials,
                    client_id: Some("me".to_owned()),
                    credential: Credential::PrivateKeyFile("/k.pem".into()),
                    authorization_servers: vec![Url::parse("http://keycloak:8080/realms/a").unwrap()],
                    allowed_hosts: vec!["[::1]:80".to_owned()],
                    ..OAuth::default()
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let cases = [
            (r#""oauth": []"#, "oauth: expected an object"),
            (
                r#""oauth": {"client": "x"}"#,
                "oauth.client: unknown key; the nearest known one is 'client_id'",
            ),
            (
                r#""oauth": {"grant": "password"}"#,
                "oauth.grant: 'password': expected",
            ),
            (
                r#""oauth": {"client_id": "a", "clientId": "b"}"#,
                "oauth.clientId: 'client_id' is given too",
            ),
            (r#""oauth": {"client_id": " "}"#, "oauth.client_id: is empty"),
            (
                r#""oauth": {"client_secret": "x"}"#,
                "oauth.client_id: is missing",
            ),
            (
                r#""oauth": {"client_id": "a", "client_secret_env": "NONE"}"#,
                "oauth.client_secret_env: the environment variable NONE is not set",
            ),
            (
                r#""oauth": {"client_id": "a", "client_secret": "x", "private_key_file": "y"}"#,
                "oauth.client_secret: only one of",
            ),
            (
                r#""oauth": {"grant": "client_credentials", "client_id": "a"}"#,
                "oauth.grant: \"client_credentials\" needs",
            ),
            (
                r#""oauth": {"grant": "jwt_bearer", "client_id": "a"}"#,
                "needs 'assertion_file'",
            ),
            (
                r#""oauth": {"client_metadata_url": "https://h"}"#,
                "oauth.client_metadata_url: expected an https:// URL with a path",
            ),
            (
                r#""oauth": {"authorization_servers": ["auth.example"]}"#,
                "oauth.authorization_servers[0]: 'auth.example': expected the issuer",
            ),
            (
                r#""oauth": {"allowed_hosts": ["https://h"]}"#,
                "oauth.allowed_hosts[0]: 'https://h'",
            ),
            (
                r#""oauth": {"allowed_hosts": ["*.example"]}"#,
                "oauth.allowed_hosts[0]: '*.example'",
            ),
            (
                r#""oauth": {"allowed_hosts": ["h/path"]}"#,
                "oauth.allowed_hosts[0]: 'h/path'",
            ),
            (
                r#""oauth": {"redirect_port": 70000}"#,
                "oauth.redirect_port: expected a whole number",
            ),
            (
                r#""caller_token": "both""#,
                "caller_token: 'both': expected \"pass\" or \"exchange\"",
            ),
            (
                r#""oauth": {}, "caller_token": "exchange""#,
                "caller_token: \"exchange\" needs 'oauth.client_id'",
            ),
            (r#""oauth": {}, "auth": {}"#, "auth: 'oauth' is given too"),
            (
                r#""oauth": {}, "headers": {"Authorization": "x"}"#,
                "oauth: 'headers.Authorization' is given too",
            ),
        ];
        for (text, expected) in cases {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
