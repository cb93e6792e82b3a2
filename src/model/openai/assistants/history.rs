//! A conversation in the words of the Assistants API, and how far a thread there has it already.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::digest::{hex, of_messages as digest};
use super::super::media;
use super::super::tools::{Offer, alias};
use super::events::Place;
use crate::run::message::{MediaSource, Message, Part, Role, Usage};
use crate::run::ports::ModelRequest;

/// What is kept behind a message that a run there wrote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bond {
    thread: String,
    run: String,
    /// The provider's id of the newest message that the run had written; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<String>,
    /// The tokens of the run's turns so far, as they count here; none for a run that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counted: Option<Usage>,
    /// The provider's ids of the calls that the message makes, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<String>,
    /// The digest of the messages before it.
    history: String,
    /// The digest of what the run was told apart from the messages.
    orders: String,
}

/// How a turn is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Way {
    /// The run goes on with these outputs.
    Submit(Place, Vec<Value>),
    /// A run in this thread, behind the run that is named, with these messages besides.
    Continue(Place, Vec<Value>),
    /// A thread of its own for the whole history.
    Begin(Vec<Value>),
}

impl Bond {
    pub(super) fn new(
        place: Place,
        written: Option<String>,
        counted: Option<Usage>,
        calls: Vec<String>,
        request: &ModelRequest,
        orders: &str,
    ) -> Self {
        Self {
            thread: place.thread,
            run: place.run,
            written,
            counted,
            calls,
            history: digest(request.messages.iter().map(|message| &**message)),
            orders: orders.to_owned(),
        }
    }
}

/// The history in whole, for a new thread.
pub(super) fn whole(request: &ModelRequest) -> Vec<Value> {
    messages(request.messages.iter().map(|message| &**message))
}

/// How to ask, from what is kept behind the newest message that has something from this upstream.
pub(super) fn way(request: &ModelRequest, upstream: &str, orders: &str) -> Way {
    bound(request, upstream, orders).unwrap_or_else(|| Way::Begin(whole(request)))
}

/// The newest message that has something from this upstream, with its place in the history.
fn newest<'a>(request: &'a ModelRequest, upstream: &str) -> Option<(usize, &'a Message, Bond)> {
    let history = request.messages.iter().map(|message| &**message);
    history.enumerate().rev().find_map(|(index, message)| {
        let state = message.continuation(upstream)?;
        Some((index, message, Bond::deserialize(state).ok()?))
    })
}

/// What is kept behind the newest turn of this run; none for a run that begins.
pub(super) fn before(request: &ModelRequest, upstream: &str, place: &Place) -> Option<Bond> {
    let (_, _, bond) = newest(request, upstream)?;
    (bond.thread == place.thread && bond.run == place.run).then_some(bond)
}

/// None where the history is not what the thread there has: it was edited or cut, somebody else answered in
/// between, or the outputs are not those that the run waits for.
fn bound(request: &ModelRequest, upstream: &str, orders: &str) -> Option<Way> {
    let history = request.messages.iter().map(|message| &**message);
    let (index, message, bond) = newest(request, upstream)?;
    if message.incomplete || bond.history != digest(history.clone().take(index)) {
        return None;
    }
    let later = || history.clone().skip(index + 1);
    let place = Place {
        thread: bond.thread,
        run: bond.run,
    };
    if bond.calls.is_empty() {
        let is_new = |message: &Message| matches!(message.role, Role::User | Role::System);
        return later()
            .all(is_new)
            .then(|| Way::Continue(place, messages(later())));
    }
    // A run cannot be told anything new in the middle.
    if bond.orders != orders || later().any(|message| message.role != Role::Tool) {
        return None;
    }
    let parts = later().flat_map(|message| &message.content);
    let outputs: Vec<_> = parts
        .filter_map(|part| match part {
            Part::ToolOutput(output) => Some(output),
            _ => None,
        })
        .collect();
    let calls: Vec<_> = message.tool_calls().collect();
    if calls.len() != bond.calls.len() || outputs.len() != calls.len() {
        return None;
    }
    let of_call = |(call, theirs): (&_, &String)| {
        let call: &crate::run::message::ToolCall = call;
        let output = outputs.iter().find(|output| output.call == call.id)?;
        Some(json!({"tool_call_id": theirs, "output": output.output.text()}))
    };
    let outputs: Option<Vec<Value>> = calls.into_iter().zip(&bond.calls).map(of_call).collect();
    Some(Way::Submit(place, outputs?))
}

/// What a run is told apart from the messages, in short.
pub(super) fn orders(model: &str, instructions: &str, offer: Option<&Offer>) -> String {
    let mut hasher = Sha256::new();
    for text in [model, instructions, offer.map_or("", |offer| offer.json.get())] {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text);
    }
    hex(&hasher.finalize())
}

/// The instructions, with the system messages of the history: this API knows none within a thread.
pub(super) fn instructions(request: &ModelRequest) -> String {
    let system = request
        .messages
        .iter()
        .filter(|message| message.role == Role::System)
        .map(|message| message.text());
    let texts = std::iter::once(request.instructions.clone()).chain(system);
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    texts.join("\n\n")
}

fn messages<'a>(history: impl Iterator<Item = &'a Message>) -> Vec<Value> {
    history.filter_map(message).collect()
}

fn message(message: &Message) -> Option<Value> {
    let (role, content) = match message.role {
        Role::System => return None,
        Role::User => ("user", of_user(message)),
        Role::Assistant | Role::Tool => ("assistant", Value::String(in_words(message))),
    };
    let is_empty = match &content {
        Value::String(text) => text.is_empty(),
        content => content.as_array().is_none_or(Vec::is_empty),
    };
    (!is_empty).then(|| json!({"role": role, "content": content}))
}

fn of_user(message: &Message) -> Value {
    let parts = media::spelled_out(&message.content);
    match media::only_text(&parts) {
        Some(text) => Value::String(text),
        None => parts.iter().filter_map(|one| part(one)).collect(),
    }
}

/// Images go by their address; of anything else the model is told that it was there. In a question it is
/// [refused](media::check).
fn part(part: &Part) -> Option<Value> {
    let note = |kind: &str, media| {
        let text = format!("[{kind} {}]", media::name(media));
        json!({"type": "text", "text": text})
    };
    match part {
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Image(image) => Some(match &image.source {
            MediaSource::Url(url) => {
                let mut address = json!({"url": url});
                if let Some(detail) = image.detail {
                    address["detail"] = json!(media::closeness(detail));
                }
                json!({"type": "image_url", "image_url": address})
            }
            MediaSource::Base64(_) => note("image", image),
        }),
        Part::File(file) => Some(match &file.source {
            MediaSource::Url(url) => {
                json!({"type": "text", "text": format!("[file {}: {url}]", media::name(file))})
            }
            MediaSource::Base64(_) => note("file", file),
        }),
        _ => None,
    }
}

/// Calls and outputs as text: a thread cannot be given them in any other form.
fn in_words(message: &Message) -> String {
    let said = message.content.iter().filter_map(|part| match part {
        Part::Text(text) | Part::Refusal(text) => Some(text.clone()),
        Part::ToolCall(call) => Some(format!("[called {} with {}]", alias(&call.tool), call.arguments)),
        Part::ToolOutput(output) => {
            let (tool, text) = (alias(&output.tool), output.output.text());
            Some(format!("[{tool} answered: {text}]"))
        }
        _ => None,
    });
    said.collect::<Vec<_>>().join("\n")
}
