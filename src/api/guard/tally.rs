//! How each call of the contract ended, for whoever counts them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Uri};
use tonic::Code;

/// Where the code of a call is, in the headers of an answer without a body and in trailers.
const GRPC_STATUS: &str = "grpc-status";

/// Who hears of the calls.
pub trait Witness: Send + Sync {
    /// A call is over. `path` is as the caller wrote it, `/package.Service/Method` if there is such a method. A call
    /// whose caller went away before its end is `Cancelled`. It MUST NOT wait.
    fn saw(&self, path: &str, code: Code, took: Duration);
}

/// One call, which is over when this is dropped.
pub(super) struct Tally {
    witness: Option<(Arc<dyn Witness>, Uri)>,
    started: Instant,
    code: Code,
}

impl Tally {
    /// A call of this path that begins.
    pub(super) fn new(witness: Option<&Arc<dyn Witness>>, uri: &Uri) -> Self {
        Self {
            witness: witness.map(|witness| (Arc::clone(witness), uri.clone())),
            started: Instant::now(),
            // Until something else is known of it.
            code: Code::Cancelled,
        }
    }

    /// That is its end, unless more is said.
    pub(super) fn ends_with(&mut self, code: Code) {
        self.code = code;
    }

    /// Takes the code from there, if it is there.
    pub(super) fn reads(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(GRPC_STATUS) {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if let Some((witness, uri)) = &self.witness {
            witness.saw(uri.path(), self.code, self.started.elapsed());
        }
    }
}
