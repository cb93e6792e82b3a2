//! One provider: its address, the connections to it, and how it has been lately.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_openai::config::{Config as _, OPENAI_API_BASE, OpenAIConfig};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use tokio::time::Instant;

use crate::model::account::{Pass, Share};
use crate::model::breaker::Verdict;
use crate::model::budget::Budget;
use crate::model::key::KeyFile;
use crate::model::{Config, Secret, Timeouts, install_tls_provider, retry};
use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::model::Condition;

use super::error::Failure;

use secrets::{Secrets, strike_out};

pub(super) mod aside;
mod secrets;

/// How much of a refusal is read, in bytes.
const REFUSAL_LIMIT_BYTES: usize = 64 << 10;
/// How a provider knows a request that is sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A provider. One connection pool, kept alive between requests.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client,
    /// What paths are added to.
    base: Address,
    /// Where the requests go that it is made for.
    address: Address,
    /// What must not be logged, also when the provider quotes it.
    secrets: Secrets,
    timeouts: Timeouts,
    key_file: Option<KeyFile>,
    key_header: HeaderName,
    has_bearer: bool,
    takes_idempotency_keys: bool,
    max_retries: u32,
    hedge_after: Option<Duration>,
    /// Its part of what it has in common with other models there.
    share: Share,
    record: Mutex<Record>,
}

/// Where requests go. What its query says may be a key: it is sent, and not shown.
struct Address(Url);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

/// How it has been lately. Never locked across a wait.
#[derive(Debug)]
struct Record {
    /// Why the last request failed.
    trouble: Option<String>,
    budget: Budget,
}

/// A place at a provider, for one request until its answer is over. Dropped without a word, it says nothing of how
/// the provider is.
#[derive(Debug)]
pub(super) struct Place {
    upstream: Arc<Upstream>,
    pass: Pass,
    is_told: bool,
}

/// The provider's address, checked.
///
/// # Errors
/// `VALIDATION_FAILED`.
pub(super) fn base_url(config: &Config) -> Result<Url, Error> {
    let refuse = |what: &str| Error::invalid(config.field("base_url"), what);
    let text = config.base_url.as_deref().unwrap_or(super::BASE).trim();
    let url = Url::parse(text).map_err(|error| refuse(&format!("not a url: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("expected an http or https url"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not hold credentials: set a key or headers instead"));
    }
    if url.fragment().is_some() {
        return Err(refuse("must not have a fragment, which is never sent"));
    }
    Ok(url)
}

impl Upstream {
    /// The provider of this configuration; requests go to `path` below `base`.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the key or a header cannot be sent; `INTERNAL` when there is no TLS.
    pub(super) fn new(config: &Config, share: Share, base: Url, path: &[&str]) -> Result<Self, Error> {
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
        let secrets = Secrets::of(config, &base);
        let mut url = base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::invalid(config.field("base_url"), "expected an http or https url"))?
            .pop_if_empty()
            .extend(path);
        let is_openai = url.host_str() == super::openai_host().as_deref();
        let key_file = config.api_key_file.as_deref().map(KeyFile::open).transpose();
        let key_file = key_file.map_err(|what| Error::invalid(config.field("api_key_file"), what))?;
        let (key_header, has_bearer) = key_header(config)?;
        let resilience = &config.resilience;
        Ok(Self {
            client: client.build().map_err(Error::internal)?,
            base: Address(base),
            address: Address(url),
            secrets,
            timeouts: config.timeouts,
            key_file,
            key_header,
            has_bearer,
            takes_idempotency_keys: config.idempotency_keys.unwrap_or(is_openai),
            max_retries: resilience.max_retries,
            hedge_after: resilience.hedge_after,
            share,
            record: Mutex::new(Record {
                trouble: None,
                budget: Budget::new(resilience.retry_percent),
            }),
        })
    }

    /// The scheme, host and port.
    pub(super) fn endpoint(&self) -> String {
        self.address.0.origin().ascii_serialization()
    }

    /// How often a request may be sent again.
    pub(super) fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// How long nothing comes of a request before a second one goes beside it; none for never.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.hedge_after
    }

    /// A place for a request if there is one now, and nobody waits for it.
    pub(super) fn enter_at_once(self: &Arc<Self>) -> Option<Place> {
        Some(self.place(self.share.enter_at_once()?))
    }

    fn place(self: &Arc<Self>, pass: Pass) -> Place {
        Place {
            upstream: Arc::clone(self),
            pass,
            is_told: false,
        }
    }

    /// A place for a request of this caller, once there is one.
    ///
    /// # Errors
    /// `MODEL_UNAVAILABLE` while too much fails; `OVERLOADED` when too many wait, or it takes too long.
    pub(super) async fn enter(
        self: &Arc<Self>,
        caller: &str,
        patience: Option<Duration>,
    ) -> Result<Place, Error> {
        Ok(self.place(self.share.enter(caller, patience).await?))
    }

    /// Takes note of a request that is sent for the first time: some of them may be sent again.
    pub(super) fn count(&self) {
        self.record().budget.add();
    }

    /// Whether one more request may be sent again.
    pub(super) fn may_retry(&self) -> bool {
        self.record().budget.take(Instant::now())
    }

    /// The name by which the provider knows a request that is sent again, if it does.
    pub(super) fn idempotency_key(&self) -> Option<HeaderValue> {
        let key = self.takes_idempotency_keys.then(uuid::Uuid::new_v4)?;
        HeaderValue::from_str(&key.to_string()).ok()
    }

    /// The key in the file, if it is in one.
    pub(super) async fn key(&self) -> Option<Secret> {
        match &self.key_file {
            Some(file) => Some(file.current().await),
            None => None,
        }
    }

    /// Whether the file has another key than this one by now.
    pub(super) async fn has_other_key(&self, key: &Secret) -> bool {
        match &self.key_file {
            Some(file) => file.has_changed_from(key).await,
            None => false,
        }
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// The provider's refusal, or that it cannot be reached.
    pub(super) async fn send(
        &self,
        body: Bytes,
        key: Option<&Secret>,
        idempotency_key: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut request = self.client.post(self.address.0.clone()).body(body);
        if let Some(key) = key {
            request = request.header(
                self.key_header.clone(),
                header_value(key.expose(), self.has_bearer)?,
            );
        }
        if let Some(name) = idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, name.clone());
        }
        let response = tokio::time::timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_| Failure::headless(self.timeouts.first_byte))?
            .map_err(|error| Failure::from_transport(error, self.timeouts.connect))?;
        self.accepted(response).await
    }

    /// The answer, unless it is a refusal.
    async fn accepted(&self, response: Response) -> Result<Response, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = retry::retry_after(response.headers(), SystemTime::now());
        let body = self.beginning(response).await;
        let mut failure = Failure::from_response(status, &body);
        failure.retry_after = retry_after.or(failure.retry_after);
        Err(failure)
    }

    /// The next piece of an answer; none at its end.
    ///
    /// # Errors
    /// The connection breaks, or is silent for too long.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        self.chunk_since(response, Instant::now()).await
    }

    /// The same of an answer that has said nothing since then.
    ///
    /// # Errors
    /// The connection breaks, or nothing comes, or nothing that says anything, for too long.
    pub(super) async fn chunk_since(
        &self,
        response: &mut Response,
        since: Instant,
    ) -> Result<Option<Bytes>, Failure> {
        let Timeouts { idle, event, .. } = self.timeouts;
        let now = Instant::now();
        let (end, failure): (_, fn(_) -> _) = match since + event {
            end if end < now + idle => (end, |timeouts: Timeouts| Failure::speechless(timeouts.event)),
            _ => (now + idle, |timeouts: Timeouts| Failure::silent(timeouts.idle)),
        };
        tokio::time::timeout_at(end, response.chunk())
            .await
            .map_err(|_| failure(self.timeouts))?
            .map_err(|error| Failure::from_transport(error, self.timeouts.connect))
    }

    /// Makes an error of a failure.
    pub(super) fn error(&self, failure: Failure) -> Error {
        failure.into_error(|text| self.conceal(text))
    }

    /// How it has been lately.
    pub(super) fn condition(&self) -> Condition {
        let record = self.record();
        let open_for = self.share.open_for();
        Condition {
            trouble: record.trouble.clone(),
            closed_until: open_for.and_then(|left| clock::now().checked_add(left)),
            at_work: self.share.at_work(),
            waiting: self.share.waiting(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beginning of a refusal's body; the rest, or a body that breaks off, is not worth another error.
    async fn beginning(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        let since = Instant::now();
        while let Ok(Some(bytes)) = self.chunk_since(&mut response, since).await {
            let room = REFUSAL_LIMIT_BYTES - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() >= room {
                break;
            }
        }
        body
    }

    fn conceal(&self, text: &str) -> String {
        let of_file = self.key_file.iter().flat_map(KeyFile::secrets);
        let text = of_file.fold(text.to_owned(), |text, secret| strike_out(&text, &secret));
        self.secrets.conceal(text)
    }
}

impl Place {
    /// The answer has begun: one that tried whether the provider works again has its result.
    pub(super) fn begun(&mut self) {
        if self.pass.is_trial() {
            self.tell(Verdict::Works);
            self.pass.end_trial();
            self.is_told = false;
        }
    }

    /// The answer is complete. Said once, however often it is called.
    pub(super) fn succeeded(&mut self) {
        if !self.is_told {
            self.tell(Verdict::Works);
            self.upstream.record().trouble = None;
        }
    }

    /// The request has failed; gives back what is told of it. A provider whose content filter refuses what was said did
    /// its part, and what is wrong with a request alone is no trouble of its: only what would meet others too is.
    /// `is_configured` is whether the model was asked for by the name that the operator gave it.
    pub(super) fn failed(mut self, failure: Failure, is_configured: bool) -> Error {
        let is_filtered = failure.is_filtered();
        let is_trouble = !failure.is_of_request(is_configured);
        let error = self.upstream.error(failure);
        let said = std::error::Error::source(&error).map(tracing::field::display);
        let endpoint = self.upstream.endpoint();
        if is_filtered {
            tracing::info!(endpoint, said, "a content filter ended a turn");
            self.succeeded();
            return error;
        }
        let reason = error.reason().as_str();
        tracing::warn!(endpoint, reason, said, "a request to a model failed");
        if is_trouble {
            self.upstream.record().trouble = Some(error.message().to_owned());
        }
        // A provider that refuses is there.
        self.tell(match error.reason() {
            Reason::ModelUnavailable if is_trouble => Verdict::Fails,
            _ => Verdict::Works,
        });
        error
    }

    fn tell(&mut self, verdict: Verdict) {
        self.is_told = true;
        self.upstream.share.note(&self.pass, verdict);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Verdict::Unknown);
        }
    }
}

/// The header that the key goes into, and whether it stands there as a bearer token.
fn key_header(config: &Config) -> Result<(HeaderName, bool), Error> {
    let Some(name) = &config.api_key_header else {
        return Ok((AUTHORIZATION, true));
    };
    let name = HeaderName::try_from(name.as_str())
        .map_err(|_| Error::invalid(config.field("api_key_header"), "not the name of a header"))?;
    Ok((name, false))
}

fn header_value(key: &str, has_bearer: bool) -> Result<HeaderValue, Failure> {
    let text = if has_bearer {
        format!("Bearer {key}")
    } else {
        key.to_owned()
    };
    let mut value = HeaderValue::from_str(&text).map_err(|error| Failure::broken(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The headers of every request. Checked before they reach async-openai, which panics over those that cannot
/// be sent.
fn headers(config: &Config) -> Result<HeaderMap, Error> {
    let key = config.api_key.as_ref().map_or("", |key| key.expose());
    let organization = config.organization.as_deref().unwrap_or_default();
    let project = config.project.as_deref().unwrap_or_default();
    for (field, value) in [
        ("api_key", key),
        ("organization", organization),
        ("project", project),
    ] {
        HeaderValue::from_str(value).map_err(|_| {
            Error::invalid(config.field(field), "holds a character that a header cannot hold")
        })?;
    }
    // The constructor reads the environment; every field of it is replaced.
    let mut provider = OpenAIConfig::new()
        .with_api_base(OPENAI_API_BASE)
        .with_api_key(key)
        .with_org_id(organization)
        .with_project_id(project);
    let mut is_authorized = !key.is_empty() && config.api_key_header.is_none();
    if config.api_key_header.is_some() && !key.is_empty() {
        let (name, _) = key_header(config)?;
        provider = provider.with_header(name, key).map_err(Error::internal)?;
    }
    for (name, value) in &config.headers {
        let refuse = |what: &str| Error::invalid(config.field(&format!("headers.{name}")), what);
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
