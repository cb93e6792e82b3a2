//! The responses that are kept: to be fetched, deleted, or continued.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::input::Input;
use crate::simulator::refusal::Refusal;
use crate::simulator::shelf::Shelf;

/// Responses by their ids, bounded.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Kept(Mutex<Shelf<Response>>);

#[derive(Debug)]
struct Response {
    /// As it was sent, in whole.
    body: Vec<u8>,
    conversation: Input,
    /// How much the model had to read, and has written.
    bytes: usize,
}

impl Kept {
    /// What a request that goes on from this response begins with, and its size in bytes.
    pub(super) fn conversation(&self, id: &str) -> Result<(Input, usize), Refusal> {
        let shelf = self.lock();
        let response = shelf.get(id).ok_or_else(|| {
            let message = format!("Previous response with id '{id}' not found.");
            let code = Some("previous_response_not_found");
            Refusal::invalid(Some("previous_response_id"), code, message)
        })?;
        Ok((response.conversation.clone(), response.bytes))
    }

    pub(super) fn keep(&self, id: String, body: Vec<u8>, conversation: Input, input_bytes: usize) {
        let response = Response {
            bytes: input_bytes + body.len(),
            body,
            conversation,
        };
        self.lock().put(id, response.body.len(), response);
    }

    /// The response, in whole.
    pub fn fetch(&self, id: &str) -> Result<Vec<u8>, Refusal> {
        let shelf = self.lock();
        let response = shelf.get(id).ok_or_else(|| not_found(id))?;
        Ok(response.body.clone())
    }

    /// Forgets the response.
    pub fn delete(&self, id: &str) -> Result<Vec<u8>, Refusal> {
        self.lock().remove(id).ok_or_else(|| not_found(id))?;
        let gone = serde_json::json!({"id": id, "object": "response", "deleted": true});
        Ok(gone.to_string().into_bytes())
    }

    // A panic while it was held leaves a whole shelf behind.
    fn lock(&self) -> MutexGuard<'_, Shelf<Response>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(id: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        message: format!("Response with id '{id}' not found."),
        ..Refusal::invalid(None, None, String::new())
    }
}
