//! One provider: its address, the connections to it, and how it has been lately.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use async_openai::config::{Config as _, OPENAI_API_BASE, OpenAIConfig};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};

use crate::model::{Config, Secret, Timeouts, install_tls_provider, retry};
use crate::run::error::Error;

use super::error::Failure;

pub(super) mod aside;

/// How much of a refusal is read, in bytes.
const REFUSAL_LIMIT_BYTES: usize = 64 << 10;
/// Secrets shorter than this are not struck out of texts: they would be found everywhere.
const SECRET_LENGTH_BYTES: usize = 6;

/// A provider. One connection pool, kept alive between requests.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client,
    url: Url,
    /// What must not be logged, also when the provider quotes it.
    secrets: Vec<Secret>,
    timeouts: Timeouts,
    /// Why the last request failed.
    trouble: Mutex<Option<String>>,
}

/// The provider's address, checked.
///
/// # Errors
/// `VALIDATION_FAILED`.
pub(super) fn base_url(config: &Config) -> Result<Url, Error> {
    let refuse = |what: &str| Error::invalid("model.base_url", what);
    let text = config.base_url.as_deref().unwrap_or(OPENAI_API_BASE).trim();
    let url = Url::parse(text).map_err(|error| refuse(&format!("not a url: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("expected an http or https url"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not hold credentials: set a key or headers instead"));
    }
    Ok(url)
}

impl Upstream {
    /// The provider of this configuration; requests go to `path` below `base`.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the key or a header cannot be sent; `INTERNAL` when there is no TLS.
    pub(super) fn new(config: &Config, base: Url, path: &[&str]) -> Result<Self, Error> {
        install_tls_provider();
        let mut client = Client::builder()
            .default_headers(headers(config)?)
            .user_agent(concat!("assistd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.timeouts.connect)
            // Followed, a redirect would carry the conversation to somebody who was not configured.
            .redirect(reqwest::redirect::Policy::none())
            // What may be repeated is decided here alone.
            .retry(reqwest::retry::never());
        if base.scheme() == "http" {
            // The system's certificates are not needed, may be missing and take time to read.
            client = client.tls_certs_only([]);
        }
        let mut url = base;
        url.path_segments_mut()
            .map_err(|()| Error::invalid("model.base_url", "expected an http or https url"))?
            .pop_if_empty()
            .extend(path);
        let key = config.api_key.as_ref().map(|key| key.expose());
        let values = config.headers.iter().map(|(_, value)| value.as_str());
        Ok(Self {
            client: client.build().map_err(Error::internal)?,
            url,
            secrets: key
                .into_iter()
                .chain(values)
                .filter(|secret| secret.len() >= SECRET_LENGTH_BYTES)
                .map(Secret::new)
                .collect(),
            timeouts: config.timeouts,
            trouble: Mutex::default(),
        })
    }

    /// The scheme, host and port.
    pub(super) fn endpoint(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Sends a request, again if the provider has not begun to work on it.
    ///
    /// # Errors
    /// The provider's refusal, or that it cannot be reached.
    pub(super) async fn send(&self, body: Bytes) -> Result<Response, Failure> {
        let mut retries = 0;
        loop {
            let failure = match self.attempt(body.clone()).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let wait = failure
                .is_before_work()
                .then(|| retry::wait(retries, failure.retry_after, fastrand::f64()))
                .flatten();
            let Some(wait) = wait else {
                return Err(failure);
            };
            tracing::debug!(
                status = failure.status,
                wait_ms = wait.as_secs_f64() * 1000.0,
                "asking the model again"
            );
            tokio::time::sleep(wait).await;
            retries += 1;
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<Response, Failure> {
        let sending = self.client.post(self.url.clone()).body(body).send();
        let response = tokio::time::timeout(self.timeouts.first_byte, sending)
            .await
            .map_err(|_| Failure::silent(self.timeouts.first_byte))?
            .map_err(Failure::from_transport)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = retry::retry_after(response.headers(), SystemTime::now());
        let body = self.beginning(response).await;
        Err(Failure {
            retry_after,
            ..Failure::from_response(status, &body)
        })
    }

    /// The next piece of an answer; none at its end.
    ///
    /// # Errors
    /// The connection breaks, or is silent for too long.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        tokio::time::timeout(self.timeouts.idle, response.chunk())
            .await
            .map_err(|_| Failure::silent(self.timeouts.idle))?
            .map_err(Failure::from_transport)
    }

    /// Makes an error of a failure, and remembers it.
    pub(super) fn failed(&self, failure: Failure) -> Error {
        let error = failure.into_error(|text| self.conceal(text));
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.message().to_owned());
        error
    }

    /// Remembers that all is well.
    pub(super) fn succeeded(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why the last request failed, until one succeeds.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The beginning of a refusal's body; the rest, or a body that breaks off, is not worth another error.
    async fn beginning(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = self.chunk(&mut response).await {
            let room = REFUSAL_LIMIT_BYTES - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() >= room {
                break;
            }
        }
        body
    }

    fn conceal(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose(), "***")
        })
    }
}

/// The headers of every request. Checked before they reach async-openai, which panics over those that cannot
/// be sent.
fn headers(config: &Config) -> Result<HeaderMap, Error> {
    let key = config.api_key.as_ref().map_or("", |key| key.expose());
    let organization = config.organization.as_deref().unwrap_or_default();
    let project = config.project.as_deref().unwrap_or_default();
    for (field, value) in [
        ("model.api_key", key),
        ("model.organization", organization),
        ("model.project", project),
    ] {
        HeaderValue::from_str(value)
            .map_err(|_| Error::invalid(field, "holds a character that a header cannot hold"))?;
    }
    // The constructor reads the environment; every field of it is replaced.
    let mut provider = OpenAIConfig::new()
        .with_api_base(OPENAI_API_BASE)
        .with_api_key(key)
        .with_org_id(organization)
        .with_project_id(project);
    let mut is_authorized = !key.is_empty();
    for (name, value) in &config.headers {
        let refuse = |what: &str| Error::invalid(format!("model.headers.{name}"), what);
        let header = HeaderName::try_from(name.as_str()).map_err(|_| refuse("not the name of a header"))?;
        is_authorized |= header == AUTHORIZATION;
        provider = provider
            .with_header(header, value.as_str())
            .map_err(|_| refuse("holds a character that a header cannot hold"))?;
    }
    let mut headers = provider.headers();
    if !is_authorized {
        headers.remove(AUTHORIZATION);
    }
    for value in headers.values_mut() {
        value.set_sensitive(true);
    }
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("text/event-stream, application/json"));
    Ok(headers)
}
