//! Passes requests on to a real provider, and writes down what it says.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Url};

use super::{Answered, Asked, Chunk, Entry};
use crate::simulator::refusal::Refusal;

/// What is not passed on of a request's headers: those of one connection alone (RFC 9110 §7.6.1), what the client that
/// sends it on writes itself, and what answers may be packed in, because they are written down as they come.
const OF_THE_CONNECTION: [HeaderName; 12] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HOST,
    CONTENT_LENGTH,
    ACCEPT_ENCODING,
];
/// What is kept of an answer's headers.
const KEPT: [HeaderName; 12] = [
    CONTENT_TYPE,
    HeaderName::from_static("retry-after"),
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
/// How long a provider may take until it begins to answer, and between two pieces.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The file cannot be opened.
    #[error("cannot write {0}: {1}")]
    File(String, std::io::Error),
    /// The address is none.
    #[error("{0} is not an http or https url")]
    Url(String),
    /// There is no HTTP client here.
    #[error("no connection can be made: {0}")]
    Client(reqwest::Error),
}

/// A provider to ask, and a file to write to.
#[derive(Debug)]
pub struct Recorder {
    client: Client,
    upstream: Url,
    file: Arc<Mutex<File>>,
}

impl Recorder {
    /// Records what the provider below `upstream` (the address that paths such as `/responses` are added to)
    /// says, at the end of the file.
    ///
    /// # Errors
    /// The file cannot be written, or the address cannot be used.
    pub fn new(upstream: &str, path: &Path) -> Result<Self, RecorderError> {
        let url = Url::parse(upstream).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| RecorderError::Url(upstream.to_owned()))?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| RecorderError::File(path.display().to_string(), error))?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only when another thread was faster, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .read_timeout(PATIENCE);
        if url.scheme() == "http" {
            client = client.tls_certs_only([]);
        }
        Ok(Self {
            client: client.build().map_err(RecorderError::Client)?,
            upstream: url,
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// Passes a request on, which is written down as it was `asked`. What comes back is written when its body has been
    /// read.
    pub(in crate::simulator) async fn pass_on(
        &self,
        asked: Asked,
        head: &Parts,
        body: Bytes,
    ) -> Result<(StatusCode, Vec<(String, String)>, Passing), Refusal> {
        let path = asked.path.split('?').next().unwrap_or_default();
        let url = self.address(path, head.uri.query());
        let headers = of_the_request(&head.headers);
        let request = self.client.request(head.method.clone(), url);
        let request = request.headers(headers).body(body);
        let start = Instant::now();
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let kept: Vec<(String, String)> = KEPT
            .iter()
            .filter_map(|name| {
                let value = response.headers().get(name)?.to_str().ok()?;
                Some((name.to_string(), value.to_owned()))
            })
            .collect();
        let answered = Answered {
            status: status.as_u16(),
            headers: kept.clone(),
            chunks: Vec::new(),
            broken: false,
        };
        let passing = Passing {
            body: response.bytes_stream().boxed(),
            start,
            rest: Vec::new(),
            entry: Some(Entry {
                request: asked,
                response: answered,
            }),
            file: Arc::clone(&self.file),
        };
        Ok((status, kept, passing))
    }

    /// Where a request for this path goes, with the query of the provider's address and its own.
    fn address(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.upstream.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').skip(1));
        }
        let queries = [self.upstream.query(), query];
        let queries: Vec<&str> = queries
            .into_iter()
            .flatten()
            .filter(|query| !query.is_empty())
            .collect();
        let joined = (!queries.is_empty()).then(|| queries.join("&"));
        url.set_query(joined.as_deref());
        url
    }
}

/// The headers that are passed on: all but those of the connection, which may name further ones.
fn of_the_request(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(CONNECTION).into_iter();
    let named: Vec<HeaderName> = named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut passed_on = headers.clone();
    for name in OF_THE_CONNECTION.iter().chain(&named) {
        passed_on.remove(name);
    }
    passed_on
}

fn unreachable(error: &reqwest::Error) -> Refusal {
    tracing::debug!(%error, "the provider cannot be asked");
    Refusal {
        message: "The provider that is recorded cannot be reached.".to_owned(),
        ..Refusal::with_status(StatusCode::BAD_GATEWAY)
    }
}

/// A body on its way through. It is written down at its end, or as far as it came.
pub(in crate::simulator) struct Passing {
    body: futures::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    start: Instant,
    /// The beginning of a character whose end has not come yet.
    rest: Vec<u8>,
    entry: Option<Entry>,
    file: Arc<Mutex<File>>,
}

impl Stream for Passing {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.body.poll_next_unpin(cx));
        Poll::Ready(match next {
            Some(Ok(bytes)) => {
                self.note(&bytes);
                Some(Ok(bytes))
            }
            Some(Err(error)) => {
                self.write(true);
                Some(Err(std::io::Error::other(error)))
            }
            None => {
                self.write(false);
                None
            }
        })
    }
}

impl Passing {
    fn note(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            // What can still become a character waits; what cannot is replaced.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.rest.len(),
        };
        let later = self.rest.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.rest, later)).into_owned();
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(entry) = &mut self.entry
            && !text.is_empty()
        {
            entry.response.chunks.push(Chunk { at_ms, text });
        }
    }

    /// Writes the line, once.
    fn write(&mut self, broken: bool) {
        let Some(mut entry) = self.entry.take() else {
            return;
        };
        entry.response.broken = broken;
        let Ok(mut line) = serde_json::to_vec(&entry) else {
            return;
        };
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&line) {
            tracing::warn!(%error, "the recording cannot be written");
        }
    }
}

impl Drop for Passing {
    /// A client that goes away in the middle has heard only so much.
    fn drop(&mut self) {
        self.write(true);
    }
}
