//! Messages: create, get, list.

use std::sync::Arc;

use super::Handlers;
use super::asked::{named, parts, request_key};
use super::attached;
use crate::api::convert::page::{self, Question};
use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::id::{MessageId, Mint};
use crate::run::message::{Message, Part, Role};
use crate::run::page::Order;

impl Handlers {
    /// Adds a message to the end of a thread.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `THREAD_NOT_FOUND`, `THREAD_BUSY`, `REQUEST_ID_REUSED`, `STORE_UNAVAILABLE`.
    pub async fn create_message(
        &self,
        mut request: pb::CreateMessageRequest,
        caller: &str,
    ) -> Result<pb::Message, Error> {
        let id = std::mem::take(&mut request.request_id);
        let request_key = request_key(&id, "CreateMessage", &request)?;
        let thread = name::parse_thread("parent", &request.parent)?;
        let message = request
            .message
            .ok_or_else(|| Error::invalid("message", "must be set"))?;
        if attached::are_among(&message.content)
            && let Some(key) = &request_key
            && let Some(id) = self.store().brought(key).await?
        {
            // They were read then.
            let id = MessageId::parse(&id).map_err(Error::internal)?;
            let added = self.store().message(&thread, &id).await?;
            return Ok(convert::message::to_pb(&thread, &added, true));
        }
        let mut message = read(message)?;
        self.read_attached("message.content", &mut message.content, caller)
            .await?;
        let added = self
            .store()
            .add_message(&thread, Arc::new(message), request_key)
            .await;
        added
            .map(|message| convert::message::to_pb(&thread, &message, true))
            .map_err(|error| named(error, &thread))
    }

    /// One message.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `MESSAGE_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn get_message(&self, request: pb::GetMessageRequest) -> Result<pb::Message, Error> {
        let (thread, message) = name::parse_message("name", &request.name)?;
        let found = self.store().message(&thread, &message).await;
        found
            .map(|message| convert::message::to_pb(&thread, &message, true))
            .map_err(|error| match error.reason() {
                Reason::MessageNotFound => error.with("message", name::message(&thread, &message)),
                _ => error,
            })
    }

    /// The messages of a thread, a page of them.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `THREAD_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn list_messages(
        &self,
        request: pb::ListMessagesRequest,
    ) -> Result<pb::ListMessagesResponse, Error> {
        let thread = name::parse_thread("parent", &request.parent)?;
        let order = page::order(&request.order_by, Order::OldestFirst)?;
        let question = Question::new(&["ListMessages", &request.parent, page::spelled(order)]);
        let page = question.page(request.page_size, &request.page_token, order)?;
        let listed = self.store().messages(&thread, page).await;
        let listed = listed.map_err(|error| named(error, &thread))?;
        let messages = listed.items.iter();
        Ok(pb::ListMessagesResponse {
            messages: messages
                .map(|message| convert::message::to_pb(&thread, message, true))
                .collect(),
            next_page_token: question.token(listed.next),
        })
    }
}

/// Reads a message that a caller adds.
fn read(message: pb::Message) -> Result<Message, Error> {
    let role = match pb::Role::try_from(message.role) {
        Ok(pb::Role::Unspecified | pb::Role::User) => Role::User,
        Ok(pb::Role::Assistant) => Role::Assistant,
        Ok(pb::Role::Tool | pb::Role::System) | Err(_) => {
            return Err(Error::invalid(
                "message.role",
                "must be ROLE_USER or ROLE_ASSISTANT",
            ));
        }
    };
    if message.content.is_empty() {
        return Err(Error::invalid("message.content", "must have at least one part"));
    }
    convert::thread::check_labels("message.metadata", &message.metadata)?;
    let content = parts("message.content", message.content)?;
    if role == Role::Assistant
        && let Some(place) = content.iter().position(|part| !matches!(part, Part::Text(_)))
    {
        return Err(Error::invalid(
            format!("message.content[{place}]"),
            "must be text in a message of ROLE_ASSISTANT",
        ));
    }
    Ok(Message {
        id: MessageId::new(&mut Mint::System),
        role,
        content,
        run: None,
        incomplete: false,
        create_time: clock::now(),
        metadata: message.metadata,
    })
}
