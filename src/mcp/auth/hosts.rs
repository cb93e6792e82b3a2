//! Where requests of authorization may go: only to hosts that the configuration names, whatever servers say.

use std::net::IpAddr;

use reqwest::Url;

use super::error::AuthError;

/// The places that the configuration of one server names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hosts {
    /// Addresses that are written out: the server's own, and its authorization servers'. Their scheme counts.
    origins: Vec<Url>,
    /// `host` for every port, or `host:port`.
    hosts: Vec<String>,
}

impl Hosts {
    pub(super) fn new(origins: Vec<Url>, hosts: Vec<String>) -> Self {
        Self { origins, hosts }
    }

    /// Reads an address that somebody else has given, and checks it.
    ///
    /// # Errors
    /// When it is none, or nothing may be sent there.
    pub(super) fn read(&self, what: &'static str, text: &str) -> Result<Url, AuthError> {
        let url =
            Url::parse(text).map_err(|error| AuthError::Metadata(format!("{what} is not a URL: {error}")))?;
        self.check(what, &url)?;
        Ok(url)
    }

    /// Whether something may be sent there. It has to be `https`, unless it is this machine, or the configuration
    /// itself says `http` (MCP 2025-11-25, Authorization, Communication Security).
    pub(super) fn check(&self, what: &'static str, url: &Url) -> Result<(), AuthError> {
        let is_written = self.origins.iter().any(|origin| origin.origin() == url.origin());
        let host = url.host_str().unwrap_or_default();
        let is_named = is_written
            || self.hosts.iter().any(|named| {
                named.eq_ignore_ascii_case(host) || named.eq_ignore_ascii_case(&host_and_port(url))
            });
        if !matches!(url.scheme(), "http" | "https") || !has_plain_host(url) {
            return Err(AuthError::Metadata(format!(
                "{what} is not an address of http: {}",
                shown(url)
            )));
        }
        if !is_named {
            return Err(AuthError::HostNotNamed {
                what,
                host: url_host(url),
            });
        }
        if url.scheme() != "https" && !is_written && !is_loopback(host) {
            return Err(AuthError::NotHttps {
                what,
                url: shown(url),
            });
        }
        Ok(())
    }
}

/// The host, with its port where that is not the usual one.
pub(super) fn url_host(url: &Url) -> String {
    match url.port() {
        Some(_) => host_and_port(url),
        None => url.host_str().unwrap_or_default().to_owned(),
    }
}

fn host_and_port(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// No credentials, which could hide what the host is.
fn has_plain_host(url: &Url) -> bool {
    url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
}

/// An address without what may be a secret in it.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url_host(url), url.path())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_to_a_host_that_is_not_named() {
        let origins = ["https://mcp.example/mcp", "http://keycloak:8080/realms/a"];
        let origins = origins.map(|url| Url::parse(url).unwrap());
        let named = ["auth.example", "other.example:8443", "localhost", "[::1]"];
        let hosts = Hosts::new(origins.to_vec(), named.map(str::to_owned).to_vec());
        let cases = [
            ("https://mcp.example/.well-known/x", "ok"),
            ("https://MCP.example:443/token", "ok"),
            ("https://mcp.example:8443/token", "named"),
            ("http://mcp.example/token", "named"),
            ("http://keycloak:8080/token", "ok"),
            ("https://keycloak:8080/token", "named"),
            ("https://auth.example/token?x=y", "ok"),
            ("https://auth.example:9/token", "ok"),
            ("http://auth.example/token", "https"),
            ("https://other.example:8443/", "ok"),
            ("https://other.example/", "named"),
            ("https://auth.example.evil.example/", "named"),
            ("https://auth.example@evil.example/", "http"),
            ("https://evil.example\\@auth.example/", "named"),
            ("http://localhost:1/", "ok"),
            ("http://[::1]:1/", "ok"),
            ("http://127.0.0.1:1/", "named"),
            ("http://169.254.169.254/latest/meta-data", "named"),
            ("http://2130706433/", "named"),
            ("file:///etc/passwd", "http"),
            ("javascript:alert(1)", "http"),
        ];
        for (url, expected) in cases {
            let got = match hosts.read("it", url) {
                Ok(_) => "ok",
                Err(AuthError::HostNotNamed { .. }) => "named",
                Err(AuthError::NotHttps { .. }) => "https",
                Err(_) => "http",
            };
            assert_eq!(got, expected, "{url}");
        }
    }
}
