//! What a real provider said, as a file: one line of JSON for each request with its answer.
//!
//! [`recorder`] passes requests on and writes; [`player`] answers from what was written.

mod player;
mod recorder;
mod request;
mod serving;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use player::{Player, Timing};
pub use recorder::{Recorder, RecorderError};

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub request: Asked,
    pub response: Answered,
}

/// A request. Its headers are not written: they hold credentials, and decide nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub method: String,
    /// The path below `/v1`, with its query, in which an asterisk stands in place of keys.
    pub path: String,
    /// The JSON body; null for none.
    #[serde(default)]
    pub body: Value,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub status: u16,
    /// Those that clients look at: the content type, and when to try again.
    pub headers: Vec<(String, String)>,
    /// The body as it came in.
    pub chunks: Vec<Chunk>,
    /// The connection broke before the end of the body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// The milliseconds since the request was sent on.
    pub at_ms: u64,
    /// The piece. Bytes that are cut in the middle of a character come with the next piece.
    pub text: String,
}
