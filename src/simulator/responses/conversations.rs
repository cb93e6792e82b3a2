//! The Conversations API: what has been said, item by item, for requests that go on from it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::input::{self, Input};
use crate::simulator::page::Query;
use crate::simulator::refusal::Refusal;
use crate::simulator::server::Stamp;
use crate::simulator::shelf::Shelf;

/// How many items a conversation can begin with.
const MOST_ITEMS: usize = 20;
/// Where the ids of items begin that a request brings: those of the answer begin at 0.
const OF_INPUT: usize = 0x8000;

/// Conversations by their ids, bounded.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Conversations(Mutex<Shelf<Conversation>>);

#[derive(Debug)]
struct Conversation {
    object: Value,
    items: Vec<Value>,
    input: Input,
    /// How much a model has to read of it.
    bytes: usize,
}

/// The body of a request for one.
#[derive(Deserialize)]
struct New<'a> {
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    metadata: Option<Value>,
}

/// The `conversation` of a request.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Named {
    Id(String),
    Object { id: String },
}

/// What an answer adds.
pub(super) struct Said<'a> {
    /// What the request brought.
    pub input: &'a RawValue,
    /// The items of the answer.
    pub output: Value,
    /// How the conversation reads with both.
    pub read: Input,
    /// How much there is to read then.
    pub bytes: usize,
}

impl Named {
    pub fn id(&self) -> &str {
        match self {
            Named::Id(id) | Named::Object { id } => id,
        }
    }
}

impl Conversations {
    /// What a request about conversations is answered; none for one that there is not.
    pub fn handle(
        &self,
        method: &Method,
        segments: &[&str],
        query: &str,
        body: &[u8],
        stamp: &Stamp,
    ) -> Option<Result<Vec<u8>, Refusal>> {
        let answer = match (method, segments) {
            (&Method::POST, []) => self.create(body, stamp),
            (&Method::GET, [id]) => self.find(id, |one| Ok(one.object.clone())),
            (&Method::DELETE, [id]) => match self.lock().remove(id) {
                Some(_) => Ok(json!({"id": id, "object": "conversation.deleted", "deleted": true})),
                None => Err(not_found(id)),
            },
            (&Method::GET, [id, "items"]) => {
                let page = |query: Query| self.find(id, |one| Ok(query.page(one.items.iter())));
                Query::read(query).and_then(page)
            }
            _ => return None,
        };
        Some(answer.map(|object| object.to_string().into_bytes()))
    }

    fn create(&self, body: &[u8], stamp: &Stamp) -> Result<Value, Refusal> {
        let new: New<'_> = match body {
            [] => New {
                items: None,
                metadata: None,
            },
            body => serde_json::from_slice(body)?,
        };
        let items = new.items.map_or(Ok(Vec::new()), |raw| items(raw, stamp))?;
        if items.len() > MOST_ITEMS {
            let message = format!("Invalid 'items': expected at most {MOST_ITEMS}.");
            return Err(Refusal::invalid(
                Some("items"),
                Some("array_above_max_length"),
                message,
            ));
        }
        let input = new
            .items
            .map_or(Ok(Input::default()), |raw| input::read(raw, Input::default()))?;
        let id = stamp.id("conv_", 0);
        let object = json!({
            "id": id,
            "object": "conversation",
            "created_at": stamp.created_s,
            "metadata": new.metadata.unwrap_or_else(|| json!({})),
        });
        let bytes = new.items.map_or(0, |raw| raw.get().len());
        let conversation = Conversation {
            object: object.clone(),
            items,
            input,
            bytes,
        };
        self.lock().put(id, bytes, conversation);
        Ok(object)
    }

    /// What a request in this conversation begins with, and its size in bytes.
    pub(super) fn before(&self, id: &str) -> Result<(Input, usize), Refusal> {
        self.find(id, |one| Ok((one.input.clone(), one.bytes)))
    }

    /// Adds a request and its answer. One that is gone meanwhile stays so.
    pub(super) fn add(&self, id: &str, said: Said<'_>, stamp: &Stamp) -> serde_json::Result<()> {
        let brought = items_of(said.input, stamp)?;
        let mut shelf = self.lock();
        let Some(conversation) = shelf.get_mut(id) else {
            return Ok(());
        };
        conversation.items.extend(brought);
        if let Value::Array(output) = said.output {
            conversation.items.extend(output);
        }
        conversation.input = said.read;
        let more = said.bytes.saturating_sub(conversation.bytes);
        conversation.bytes = said.bytes;
        shelf.add_weight(id, more);
        Ok(())
    }

    fn find<T>(
        &self,
        id: &str,
        look: impl FnOnce(&Conversation) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        look(self.lock().get(id).ok_or_else(|| not_found(id))?)
    }

    // A panic while it was held leaves a whole shelf behind.
    fn lock(&self) -> MutexGuard<'_, Shelf<Conversation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(id: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        message: format!("Conversation with id '{id}' not found."),
        ..Refusal::invalid(None, None, String::new())
    }
}

fn items(raw: &RawValue, stamp: &Stamp) -> Result<Vec<Value>, Refusal> {
    Ok(items_of(raw, stamp)?)
}

/// What a request brings, as it stands in a conversation.
fn items_of(input: &RawValue, stamp: &Stamp) -> serde_json::Result<Vec<Value>> {
    let input: Value = serde_json::from_str(input.get())?;
    let given = match input {
        Value::Array(items) => items,
        text => vec![json!({"role": "user", "content": text})],
    };
    let numbered = given.into_iter().enumerate();
    Ok(numbered.map(|(index, given)| item(given, index, stamp)).collect())
}

fn item(mut item: Value, index: usize, stamp: &Stamp) -> Value {
    let kind = item["type"].as_str().unwrap_or("message").to_owned();
    let prefix = match kind.as_str() {
        "message" => "msg_",
        "function_call" => "fc_",
        "reasoning" => "rs_",
        _ => "item_",
    };
    if kind == "message" {
        let is_said_by_it = item["role"] == "assistant";
        if let Some(text) = item["content"].as_str() {
            item["content"] = match is_said_by_it {
                true => json!([{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]),
                false => json!([{"type": "input_text", "text": text}]),
            };
        }
    }
    if let Some(fields) = item.as_object_mut() {
        fields.entry("type").or_insert_with(|| json!(kind));
        fields
            .entry("id")
            .or_insert_with(|| json!(stamp.id(prefix, OF_INPUT + index)));
        fields.entry("status").or_insert_with(|| json!("completed"));
    }
    item
}
