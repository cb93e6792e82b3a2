//! The name of one request, from the caller or from us: in the answer's headers, in the log, in a defect's error.

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries it, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is taken from a caller, in bytes.
const LENGTH_LIMIT_BYTES: usize = 128;

/// The name of one request.
#[derive(Clone, Debug)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's, if it gave one of up to 128 visible ASCII characters; a new one otherwise.
    pub fn read(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match given.filter(|text| (1..=LENGTH_LIMIT_BYTES).contains(&text.len())) {
            Some(text) => Self(Arc::from(text)),
            None => Self(Arc::from(Uuid::now_v7().to_string())),
        }
    }

    /// The one that the front door has put there; empty if there is none.
    pub fn of(extensions: &Extensions) -> Self {
        extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self(Arc::from("")))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells the caller.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(HEADER, value);
        }
    }
}
