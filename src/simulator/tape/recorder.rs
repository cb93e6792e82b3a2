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
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Url};

use super::{Answered, Asked, Chunk, Entry};
use crate::simulator::refusal::Refusal;

/// What is passed on of a request's headers: who asks, for whom, and which version of an API.
const PASSED_ON: [HeaderName; 7] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
];
/// What is kept of an answer's headers.
const KEPT: [HeaderName; 9] = [
    CONTENT_TYPE,
    HeaderName::from_static("retry-after"),
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
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

    /// Passes a request on. What comes back is written when its body has been read.
    pub(in crate::simulator) async fn pass_on(
        &self,
        asked: Asked,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Vec<(String, String)>, Passing), Refusal> {
        let mut url = self.upstream.clone();
        let (path, query) = match asked.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (asked.path.as_str(), None),
        };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').skip(1));
        }
        url.set_query(query);
        let method = Method::from_bytes(asked.method.as_bytes()).unwrap_or(Method::POST);
        let mut request = self.client.request(method, url).body(body);
        for name in PASSED_ON {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
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
