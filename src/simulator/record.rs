//! What arrived, for tests to look at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use serde_json::Value;

const KEPT: usize = 1_000;

/// A request as it arrived.
#[derive(Debug)]
pub struct Recorded {
    /// `POST`, `GET` …
    pub method: String,
    /// The path as sent, with the `/v1` if there was one.
    pub path: String,
    /// What stands behind the question mark of the path; empty for nothing.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when there was none or when it was not JSON.
    pub body: Value,
}

/// The last requests and violations, bounded.
#[derive(Debug, Default)]
pub(super) struct Record {
    requests: Mutex<VecDeque<Arc<Recorded>>>,
    violations: Mutex<VecDeque<String>>,
}

impl Record {
    pub fn note_request(&self, request: Recorded) {
        push(&self.requests, Arc::new(request));
    }

    pub fn note_violation(&self, violation: String) {
        tracing::warn!(%violation, "not as described");
        push(&self.violations, violation);
    }

    pub fn requests(&self) -> Vec<Arc<Recorded>> {
        locked(&self.requests).iter().cloned().collect()
    }

    pub fn violations(&self) -> Vec<String> {
        locked(&self.violations).iter().cloned().collect()
    }
}

fn push<T>(queue: &Mutex<VecDeque<T>>, entry: T) {
    let mut queue = locked(queue);
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(entry);
}

// A panic of another test thread while it held the lock leaves a whole queue behind.
fn locked<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
