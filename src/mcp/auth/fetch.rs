//! Requests to authorization servers: checked before they are sent, bounded in time and size, never redirected.

use std::sync::OnceLock;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::AuthError;
use super::hosts::{Hosts, url_host};
use crate::mcp::reason;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(20);
const BODY_LIMIT_BYTES: usize = 256 << 10;

/// The fields of a form, in their order.
pub(super) type Form = Vec<(&'static str, String)>;

/// The way to the authorization servers of one MCP server.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Made when it is first needed: reading the machine's certificates takes a while.
    client: OnceLock<Client>,
    pub(super) hosts: Hosts,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Its body; null when that is not JSON.
    pub(super) body: Value,
}

impl Fetch {
    pub(super) fn new(hosts: Hosts) -> Self {
        Self {
            client: OnceLock::new(),
            hosts,
        }
    }

    fn client(&self) -> Result<&Client, AuthError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // A redirect could lead anywhere.
        let made = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build();
        let made = made
            .map_err(|error| AuthError::Configuration(format!("cannot set up the HTTP client: {error}")))?;
        Ok(self.client.get_or_init(|| made))
    }

    /// A document of metadata; none where there is no such thing.
    ///
    /// # Errors
    /// When nothing may be sent there, nobody answers, or what is there is something else.
    pub(super) async fn document<T: DeserializeOwned>(
        &self,
        what: &'static str,
        url: &Url,
    ) -> Result<Option<T>, AuthError> {
        self.hosts.check(what, url)?;
        let answer = send(url, self.client()?.get(url.clone())).await?;
        if answer.status.is_client_error() {
            return Ok(None);
        }
        let unfit = |reason: String| AuthError::Metadata(format!("{what} at {url} cannot be used: {reason}"));
        if answer.status != StatusCode::OK {
            return Err(unfit(format!("HTTP {}", answer.status.as_u16())));
        }
        if answer.body.is_null() {
            return Err(unfit("it is not JSON".to_owned()));
        }
        let read = serde_json::from_value(answer.body);
        read.map(Some).map_err(|error| unfit(error.to_string()))
    }

    /// Sends a form, with an `Authorization` if there is one.
    pub(super) async fn post_form(
        &self,
        what: &'static str,
        url: &Url,
        authorization: Option<HeaderValue>,
        form: &Form,
    ) -> Result<Answer, AuthError> {
        self.hosts.check(what, url)?;
        let mut request = self
            .client()?
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encoded(form));
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        send(url, request).await
    }

    /// Sends JSON.
    pub(super) async fn post_json(
        &self,
        what: &'static str,
        url: &Url,
        body: &Value,
    ) -> Result<Answer, AuthError> {
        self.hosts.check(what, url)?;
        send(url, self.client()?.post(url.clone()).json(body)).await
    }
}

async fn send(url: &Url, request: RequestBuilder) -> Result<Answer, AuthError> {
    let unreachable = |reason: String| AuthError::Unreachable {
        host: url_host(url),
        reason,
    };
    let broken = |error: reqwest::Error| unreachable(reason::of_client(&error));
    let mut response = request
        .header(ACCEPT, "application/json")
        .send()
        .await
        .map_err(broken)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(unreachable(format!("it redirects (HTTP {})", status.as_u16())));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > BODY_LIMIT_BYTES {
            return Err(unreachable(format!(
                "it sends more than {BODY_LIMIT_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// What stands as it is in a form: the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A text as it stands in a form.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A form as `application/x-www-form-urlencoded`.
pub(super) fn encoded(form: &Form) -> String {
    let fields = form
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)));
    fields.collect::<Vec<_>>().join("&")
}
