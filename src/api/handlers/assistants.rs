//! Assistants: create, get, list, update, delete.

use super::Handlers;
use super::asked::request_key;
use crate::api::convert::page::Question;
use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::assistant::AssistantRecord;
use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::id::{AssistantId, Mint};
use crate::run::page::Order;

/// How often a change without an etag is made again on what somebody else has changed meanwhile.
const UPDATE_ATTEMPTS: usize = 8;

impl Handlers {
    /// Adds an assistant.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `REQUEST_ID_REUSED`, `STORE_UNAVAILABLE`.
    pub async fn create_assistant(
        &self,
        mut request: pb::CreateAssistantRequest,
    ) -> Result<pb::Assistant, Error> {
        let id = std::mem::take(&mut request.request_id);
        let request_key = request_key(&id, "CreateAssistant", &request)?;
        let assistant = request.assistant.ok_or_else(unset)?;
        self.check_model("assistant.model", &assistant.model)?;
        let now = clock::now();
        let record = AssistantRecord {
            id: AssistantId::new(&mut Mint::System),
            profile: convert::assistant::profile(assistant)?,
            version: 1,
            create_time: now,
            update_time: now,
        };
        let created = self.store().create_assistant(record, request_key).await?;
        Ok(convert::assistant::to_pb(&created))
    }

    /// One assistant.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `ASSISTANT_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn get_assistant(&self, request: pb::GetAssistantRequest) -> Result<pb::Assistant, Error> {
        if request.name.is_empty() {
            return Err(Error::invalid("name", "must not be empty"));
        }
        Ok(match self.assistant("name", &request.name).await? {
            Some(record) => convert::assistant::to_pb(&record),
            None => convert::assistant::default_to_pb(self.engine.settings(), self.started),
        })
    }

    /// The assistants that were created, a page of them, the newest first. The default one is not among them: it
    /// can be got by its name.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `STORE_UNAVAILABLE`.
    pub async fn list_assistants(
        &self,
        request: pb::ListAssistantsRequest,
    ) -> Result<pb::ListAssistantsResponse, Error> {
        let question = Question::new(&["ListAssistants"]);
        let page = question.page(request.page_size, &request.page_token, Order::NewestFirst)?;
        let listed = self.store().assistants(page).await?;
        Ok(pb::ListAssistantsResponse {
            assistants: listed.items.iter().map(convert::assistant::to_pb).collect(),
            next_page_token: question.token(listed.next),
        })
    }

    /// Changes an assistant.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `ASSISTANT_NOT_FOUND`, `ETAG_MISMATCH`, `STORE_UNAVAILABLE`.
    pub async fn update_assistant(
        &self,
        request: pb::UpdateAssistantRequest,
    ) -> Result<pb::Assistant, Error> {
        let assistant = request.assistant.ok_or_else(unset)?;
        let id = stored("assistant.name", &assistant.name)?;
        let version = name::parse_etag(&assistant.etag);
        self.check_model("assistant.model", &assistant.model)?;
        let new = convert::assistant::profile(assistant)?;
        let mut attempts = 0;
        loop {
            let record = self
                .store()
                .assistant(&id)
                .await
                .map_err(|error| named(error, &id))?;
            let expected = version.unwrap_or(record.version);
            let changed =
                convert::assistant::changed(record.profile, new.clone(), request.update_mask.as_ref())?;
            attempts += 1;
            match self.store().update_assistant(&id, changed, expected).await {
                Err(error)
                    if error.reason() == Reason::EtagMismatch
                        && version.is_none()
                        && attempts < UPDATE_ATTEMPTS => {}
                updated => {
                    return updated
                        .map(|record| convert::assistant::to_pb(&record))
                        .map_err(|error| named(error, &id));
                }
            }
        }
    }

    /// Deletes an assistant.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `ASSISTANT_NOT_FOUND`, `ETAG_MISMATCH`, `STORE_UNAVAILABLE`.
    pub async fn delete_assistant(&self, request: pb::DeleteAssistantRequest) -> Result<(), Error> {
        let id = stored("name", &request.name)?;
        let version = name::parse_etag(&request.etag);
        let deleted = self.store().delete_assistant(&id, version).await;
        deleted.map_err(|error| named(error, &id))
    }

    /// The assistant that a request names; none for the default one.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `ASSISTANT_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub(super) async fn assistant(&self, field: &str, name: &str) -> Result<Option<AssistantRecord>, Error> {
        let Some(id) = name::parse_assistant(field, name)? else {
            return Ok(None);
        };
        let found = self.store().assistant(&id).await;
        found.map(Some).map_err(|error| named(error, &id))
    }
}

/// The name of an assistant that is in the store, and not in the configuration.
fn stored(field: &str, name: &str) -> Result<AssistantId, Error> {
    if name.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    name::parse_assistant(field, name)?.ok_or_else(|| {
        Error::invalid(
            field,
            "the default assistant is changed in the service's configuration",
        )
    })
}

fn unset() -> Error {
    Error::invalid("assistant", "must be set")
}

fn named(error: Error, id: &AssistantId) -> Error {
    match error.reason() {
        Reason::AssistantNotFound | Reason::EtagMismatch => {
            error.with("assistant", name::assistant(Some(id)))
        }
        _ => error,
    }
}
