//! Threads: create, get, list, update, delete.

use super::Handlers;
use super::asked::{named, renamed, request_key};
use crate::api::convert::page::{self, Question};
use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::id::{Mint, ThreadId};
use crate::run::message::Usage;
use crate::run::page::Order;
use crate::run::ports::{NewThread, ThreadChange};
use crate::run::record::ThreadRecord;

/// How often a deletion by force stops another run that was begun meanwhile.
const FORCE_ATTEMPTS: usize = 8;

impl Handlers {
    /// Adds an empty thread.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `REQUEST_ID_REUSED`, `STORE_UNAVAILABLE`; `THREAD_NOT_FOUND` for the repetition of a
    /// request whose thread has been deleted.
    pub async fn create_thread(&self, mut request: pb::CreateThreadRequest) -> Result<pb::Thread, Error> {
        let id = std::mem::take(&mut request.request_id);
        let request_key = request_key(&id, "CreateThread", &request)?;
        let thread = request
            .thread
            .ok_or_else(|| Error::invalid("thread", "must be set"))?;
        let change = convert::thread::change(thread, None)?;
        let now = clock::now();
        let record = ThreadRecord {
            id: ThreadId::new(&mut Mint::System),
            title: change.title.unwrap_or_default(),
            metadata: change.metadata.unwrap_or_default(),
            version: 1,
            active_run: None,
            create_time: now,
            update_time: now,
            usage: Usage::default(),
        };
        let new = NewThread {
            record,
            request: request_key,
        };
        let created = self.store().create_thread(new).await.map_err(renamed)?;
        Ok(convert::thread::to_pb(&created))
    }

    /// One thread.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `THREAD_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn get_thread(&self, request: pb::GetThreadRequest) -> Result<pb::Thread, Error> {
        let thread = name::parse_thread("name", &request.name)?;
        let found = self.store().thread(&thread).await;
        found
            .map(|record| convert::thread::to_pb(&record))
            .map_err(|error| named(error, &thread))
    }

    /// The threads, a page of them.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `STORE_UNAVAILABLE`.
    pub async fn list_threads(
        &self,
        request: pb::ListThreadsRequest,
    ) -> Result<pb::ListThreadsResponse, Error> {
        let order = page::order(&request.order_by, Order::NewestFirst)?;
        let question = Question::new(&["ListThreads", page::spelled(order)]);
        let page = question.page(request.page_size, &request.page_token, order)?;
        let listed = self.store().threads(page).await?;
        Ok(pb::ListThreadsResponse {
            threads: listed.items.iter().map(convert::thread::to_pb).collect(),
            next_page_token: question.token(listed.next),
        })
    }

    /// Changes a thread's title or labels.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `THREAD_NOT_FOUND`, `ETAG_MISMATCH`, `STORE_UNAVAILABLE`.
    pub async fn update_thread(&self, request: pb::UpdateThreadRequest) -> Result<pb::Thread, Error> {
        let thread = request
            .thread
            .ok_or_else(|| Error::invalid("thread", "must be set"))?;
        let id = name::parse_thread("thread.name", &thread.name)?;
        let version = name::parse_etag(&thread.etag);
        let change = convert::thread::change(thread, request.update_mask.as_ref())?;
        let updated = if change == ThreadChange::default() {
            self.unchanged_thread(&id, version).await
        } else {
            self.store().update_thread(&id, change, version).await
        };
        updated
            .map(|record| convert::thread::to_pb(&record))
            .map_err(|error| named(error, &id))
    }

    async fn unchanged_thread(&self, id: &ThreadId, version: Option<u64>) -> Result<ThreadRecord, Error> {
        let record = self.store().thread(id).await?;
        match version {
            Some(version) if version != record.version => Err(Error::new(
                Reason::EtagMismatch,
                "the thread has been changed since its etag was read",
            )),
            _ => Ok(record),
        }
    }

    /// Deletes a thread with everything of it; by force, after stopping the run that is active on it.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `THREAD_NOT_FOUND`, `THREAD_BUSY`, `ETAG_MISMATCH`, `STORE_UNAVAILABLE`.
    pub async fn delete_thread(&self, request: pb::DeleteThreadRequest) -> Result<(), Error> {
        let thread = name::parse_thread("name", &request.name)?;
        let version = name::parse_etag(&request.etag);
        let mut deleted = self.store().delete_thread(&thread, version).await;
        for _ in 0..FORCE_ATTEMPTS {
            match &deleted {
                Err(error) if error.reason() == Reason::ThreadBusy && request.force => {}
                _ => break,
            }
            self.stop_active_run(&thread).await?;
            deleted = self.store().delete_thread(&thread, version).await;
        }
        deleted.map_err(|error| named(error, &thread))
    }

    async fn stop_active_run(&self, thread: &ThreadId) -> Result<(), Error> {
        let record = self.store().thread(thread).await?;
        let Some(run) = record.active_run else {
            return Ok(());
        };
        match self.engine.cancel(thread, &run).await {
            // It has ended otherwise meanwhile.
            Err(error) if error.reason() == Reason::RunNotCancellable => Ok(()),
            result => result.map(drop),
        }
    }
}
