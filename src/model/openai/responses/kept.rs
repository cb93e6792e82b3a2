//! What the provider has kept of a history, and what has come since.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::digest;
use crate::run::id::CallId;
use crate::run::message::Message;
use crate::run::ports::ModelRequest;

/// The newest message of a history that the provider has kept.
pub(super) struct Kept<'a> {
    place: Place<'a>,
    /// The messages behind it.
    pub(super) rest: &'a [Arc<Message>],
    /// Its calls, each with the name that the provider knows it by.
    calls: Vec<(&'a CallId, &'a str)>,
}

/// Where it is kept.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// As the response of this id, with all that it follows.
    Response(&'a str),
    /// At the end of the conversation of this id.
    Conversation(&'a str),
}

/// What has to be known of a response to go on behind it.
pub(super) fn state(response: &str, calls: &[&str]) -> Value {
    json!({"response": response, "calls": calls})
}

/// What has to be known of a conversation to go on in it: what has been said there, up to the message that this is a part
/// of. `response` is the [state] of the response.
pub(super) fn spoken(conversation: &str, history: &str, response: &Value) -> Value {
    json!({"conversation": conversation, "history": history, "calls": response["calls"]})
}

impl<'a> Kept<'a> {
    /// The newest response of this upstream.
    pub(super) fn newest(messages: &'a [Arc<Message>], upstream: &str) -> Option<Self> {
        let (place, state) = newest(messages, upstream)?;
        Self::of(
            messages,
            place,
            state,
            Place::Response(state.get("response")?.as_str()?),
        )
    }

    /// The conversation of this upstream that has all of the history but for what no request can have brought there. It
    /// does not where something was left out, edited or said by somebody else since, and it is not known whether it does
    /// where a request has failed. One that would say nothing new is not made there: nobody could tell it from one that failed.
    pub(super) fn spoken(request: &'a ModelRequest, upstream: &str) -> Option<Self> {
        let messages = &request.messages;
        let kept = Self::newest_spoken(messages, upstream)?;
        if kept.rest.is_empty() || kept.rest.len() > request.unasked {
            return None;
        }
        let (place, state) = newest(messages, upstream)?;
        let before = messages[..place].iter().map(|message| &**message);
        (state.get("history")?.as_str()? == digest::of_messages(before)).then_some(kept)
    }

    /// The newest conversation of this upstream, whatever it has: for a request that is [known](Self::spoken) to go on in it.
    pub(super) fn newest_spoken(messages: &'a [Arc<Message>], upstream: &str) -> Option<Self> {
        let (place, state) = newest(messages, upstream)?;
        let conversation = Place::Conversation(state.get("conversation")?.as_str()?);
        Self::of(messages, place, state, conversation)
    }

    fn of(messages: &'a [Arc<Message>], index: usize, state: &'a Value, place: Place<'a>) -> Option<Self> {
        let (message, rest) = messages[index..].split_first()?;
        let calls = state.get("calls").and_then(Value::as_array);
        let names = calls.into_iter().flatten().filter_map(Value::as_str);
        let calls: Vec<_> = message.tool_calls().map(|call| &call.id).zip(names).collect();
        (calls.len() == message.tool_calls().count()).then_some(Self { place, rest, calls })
    }

    /// The id of the response, if it is one.
    pub(super) fn response(&self) -> Option<&'a str> {
        match self.place {
            Place::Response(id) => Some(id),
            Place::Conversation(_) => None,
        }
    }

    /// The id of the conversation, if it is in one.
    pub(super) fn conversation(&self) -> Option<&'a str> {
        match self.place {
            Place::Conversation(id) => Some(id),
            Place::Response(_) => None,
        }
    }

    /// The name that the provider knows a call by: its own for those that it has kept.
    pub(super) fn id<'b>(&'b self, call: &'b CallId) -> &'b str {
        let known = self.calls.iter().find(|(ours, _)| *ours == call);
        known.map_or(call.as_str(), |(_, theirs)| theirs)
    }
}

/// The newest message that this upstream can go on behind, by its place, and how.
fn newest<'a>(messages: &'a [Arc<Message>], upstream: &str) -> Option<(usize, &'a Value)> {
    let mut messages = messages.iter().enumerate().rev();
    messages.find_map(|(place, message)| Some((place, message.continuation(upstream)?)))
}
