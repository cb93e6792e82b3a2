//! Requests of other kinds than the one that an upstream is made for: other methods, other paths.

use bytes::Bytes;
use http::{HeaderValue, Method};
use reqwest::Response;
use serde_json::Value;

use super::{IDEMPOTENCY_KEY, Upstream, header_value};
use crate::model::openai::error::Failure;

/// One request.
pub(in crate::model::openai) struct Aside<'a> {
    pub(in crate::model::openai) method: Method,
    /// The path below the provider's address, in segments.
    pub(in crate::model::openai) path: &'a [&'a str],
    pub(in crate::model::openai) query: &'a [(&'a str, &'a str)],
    pub(in crate::model::openai) body: Option<Bytes>,
    /// What the provider knows the request by when it is sent again.
    pub(in crate::model::openai) idempotency_key: Option<HeaderValue>,
    /// The version that APIs want to be told which have one of their own.
    pub(in crate::model::openai) beta: Option<&'static str>,
}

/// The longest answer to a small question, in bytes.
const OBJECT_LIMIT_BYTES: usize = 8 << 20;

impl Upstream {
    /// Sends it once: whether it is sent again is for the turn that it belongs to.
    ///
    /// # Errors
    /// The provider's refusal, or that it cannot be reached.
    pub(in crate::model::openai) async fn aside(&self, aside: &Aside<'_>) -> Result<Response, Failure> {
        let mut url = self.base.0.clone();
        // An address that cannot have a path was refused when the upstream was made.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(aside.path);
        }
        if !aside.query.is_empty() {
            url.query_pairs_mut().extend_pairs(aside.query);
        }
        let mut request = self.client.request(aside.method.clone(), url);
        if let Some(version) = aside.beta {
            request = request.header("openai-beta", version);
        }
        if let Some(body) = &aside.body {
            request = request.body(body.clone());
        }
        if let Some(name) = &aside.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, name.clone());
        }
        if let Some(key) = self.key().await {
            let value = header_value(key.expose(), self.has_bearer)?;
            request = request.header(self.key_header.clone(), value);
        }
        let response = tokio::time::timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_| Failure::headless(self.timeouts.first_byte))?
            .map_err(|error| Failure::from_transport(error, self.timeouts.connect))?;
        self.accepted(response).await
    }

    /// The object that an answer is.
    ///
    /// # Errors
    /// The answer breaks off, is too long or is no JSON.
    pub(in crate::model::openai) async fn object(&self, mut response: Response) -> Result<Value, Failure> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk(&mut response).await? {
            body.extend_from_slice(&bytes);
            if body.len() > OBJECT_LIMIT_BYTES {
                return Err(Failure::broken(format!(
                    "an object of more than {OBJECT_LIMIT_BYTES} bytes"
                )));
            }
        }
        serde_json::from_slice(&body)
            .map_err(|error| Failure::broken(format!("the answer is not valid json: {error}")))
    }
}
