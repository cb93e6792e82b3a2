//! Conversations as objects at the provider.
//!
//! Each request changes its conversation there, and one that fails or breaks off has changed it in a way that nobody is told.
//! So a conversation is gone on with only by a request that is certainly the first since its last answer was read to its
//! end; every other one begins a conversation of its own, with the whole history. See
//! `docs/adr/0009-state-at-the-provider.md`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Method;
use reqwest::Response;
use serde_json::{Value, json};

use super::super::digest;
use super::super::error::Failure;
use super::super::tools::Offer;
use super::super::upstream::Upstream;
use super::super::upstream::aside::Aside;
use super::super::way::Way;
use super::kept::{self, Kept};
use crate::model::Secret;
use crate::run::ports::ModelRequest;

/// What is to be said in a conversation there.
pub(in crate::model::openai) struct Talk {
    upstream: Arc<Upstream>,
    request: ModelRequest,
    offer: Option<Arc<Offer>>,
    identity: String,
    /// The conversation that no other request can be in. Whoever sends one there takes it out, and puts it back when that
    /// has certainly left nothing.
    free: Mutex<Option<Conversation>>,
}

/// A conversation.
struct Conversation {
    id: String,
    /// What a request brings to it: all, or what is new.
    way: Way,
}

/// What an answer and its conversation have to do with each other.
pub(in crate::model::openai) struct Bond {
    conversation: String,
    /// The digest of what it was asked about.
    history: String,
}

impl Bond {
    /// What is kept of an answer in the conversation, by what is known of its response.
    pub(in crate::model::openai) fn state(&self, response: &Value) -> Value {
        kept::spoken(&self.conversation, &self.history, response)
    }
}

impl Talk {
    /// Goes on with the conversation that has the rest of the history, if there is one and the way says so.
    pub(in crate::model::openai) fn new(
        upstream: Arc<Upstream>,
        request: ModelRequest,
        offer: Option<Arc<Offer>>,
        identity: String,
        way: Way,
    ) -> Self {
        let kept = (way == Way::InConversation).then(|| Kept::spoken(&request, &identity));
        let conversation = kept
            .flatten()
            .and_then(|kept| kept.conversation().map(str::to_owned));
        let free = conversation.map(|id| Conversation { id, way });
        Self {
            upstream,
            offer,
            identity,
            free: Mutex::new(free),
            request,
        }
    }

    /// How its first request is made.
    pub(in crate::model::openai) fn way(&self) -> Way {
        self.free()
            .as_ref()
            .map_or(Way::NewConversation, |conversation| conversation.way)
    }

    /// Sends the request once, in a conversation that only has what stands before it.
    ///
    /// # Errors
    /// The provider's refusal of the request or of a new conversation, or that it cannot be reached.
    pub(in crate::model::openai) async fn say(
        &self,
        key: Option<&Secret>,
    ) -> Result<(Response, Bond), Failure> {
        let free = self.free().take();
        let conversation = match free {
            Some(conversation) => conversation,
            None => self.begin().await?,
        };
        let Conversation { id, way } = &conversation;
        let limit = self.request.max_output_tokens;
        let body = super::body(
            &self.request,
            limit,
            self.offer.as_deref(),
            &self.identity,
            *way,
            Some(id),
        );
        let body =
            body.map_err(|error| Failure::broken(format!("the request is not valid json: {error}")))?;
        // What is sent again is another request: it goes elsewhere, or the first one has left nothing.
        let idempotency_key = self.upstream.idempotency_key();
        match self
            .upstream
            .send(body.into(), key, idempotency_key.as_ref())
            .await
        {
            Ok(response) => {
                let history = self.request.messages.iter().map(|message| &**message);
                let bond = Bond {
                    conversation: conversation.id,
                    history: digest::of_messages(history),
                };
                Ok((response, bond))
            }
            Err(failure) => {
                if failure.has_left_nothing() {
                    self.free().get_or_insert(conversation);
                }
                Err(failure)
            }
        }
    }

    /// Begins a conversation. One that is begun twice, because the answer was lost, stays empty.
    async fn begin(&self) -> Result<Conversation, Failure> {
        let thread = self.request.thread.iter().map(|thread| thread.as_str());
        let metadata: Value = thread
            .map(|thread| ("thread".to_owned(), json!(thread)))
            .collect();
        let aside = Aside {
            method: Method::POST,
            path: &["conversations"],
            query: &[],
            body: Some(Bytes::from(json!({"metadata": metadata}).to_string())),
            idempotency_key: None,
            beta: None,
        };
        let response = self.upstream.aside(&aside).await?;
        let object = self.upstream.object(response).await?;
        let id = object["id"].as_str().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Failure::broken("a conversation without an id"))?;
        Ok(Conversation {
            id: id.to_owned(),
            way: Way::NewConversation,
        })
    }

    // A panic while it was held leaves nothing half done.
    fn free(&self) -> MutexGuard<'_, Option<Conversation>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
