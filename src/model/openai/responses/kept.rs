//! A response that the provider has kept, and what has come since.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::run::id::CallId;
use crate::run::message::Message;

/// The newest response of a history that the provider has kept.
pub(super) struct Kept<'a> {
    /// Its id.
    pub(super) response: &'a str,
    /// The messages behind it.
    pub(super) rest: &'a [Arc<Message>],
    /// Its calls, each with the name that the provider knows it by.
    calls: Vec<(&'a CallId, &'a str)>,
}

/// What has to be known of a response to go on behind it.
pub(super) fn state(response: &str, calls: &[&str]) -> Value {
    json!({"response": response, "calls": calls})
}

impl<'a> Kept<'a> {
    /// The newest one of this upstream.
    pub(super) fn newest(messages: &'a [Arc<Message>], upstream: &str) -> Option<Self> {
        let (place, message, state) = messages
            .iter()
            .enumerate()
            .rev()
            .find_map(|(place, message)| Some((place, message, message.continuation(upstream)?)))?;
        let calls = state.get("calls").and_then(Value::as_array);
        let names = calls.into_iter().flatten().filter_map(Value::as_str);
        let calls: Vec<_> = message.tool_calls().map(|call| &call.id).zip(names).collect();
        if calls.len() != message.tool_calls().count() {
            return None;
        }
        Some(Self {
            response: state.get("response")?.as_str()?,
            rest: &messages[place + 1..],
            calls,
        })
    }

    /// The name that the provider knows a call by: its own for those that it has kept.
    pub(super) fn id<'b>(&'b self, call: &'b CallId) -> &'b str {
        let known = self.calls.iter().find(|(ours, _)| *ours == call);
        known.map_or(call.as_str(), |(_, theirs)| theirs)
    }
}
