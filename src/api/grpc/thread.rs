//! Threads and their messages.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::answered;
use crate::api::caller::Caller;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::thread_service_server::ThreadService;
use crate::api::request_id::RequestId;

/// `assistant.v1.ThreadService` on the handlers.
#[derive(Clone)]
pub struct Threads {
    handlers: Arc<Handlers>,
}

impl Threads {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl ThreadService for Threads {
    async fn create_thread(
        &self,
        request: Request<pb::CreateThreadRequest>,
    ) -> Result<Response<pb::Thread>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.create_thread(request.into_inner()).await, &id)
    }

    async fn get_thread(
        &self,
        request: Request<pb::GetThreadRequest>,
    ) -> Result<Response<pb::Thread>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.get_thread(request.into_inner()).await, &id)
    }

    async fn list_threads(
        &self,
        request: Request<pb::ListThreadsRequest>,
    ) -> Result<Response<pb::ListThreadsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_threads(request.into_inner()).await, &id)
    }

    async fn update_thread(
        &self,
        request: Request<pb::UpdateThreadRequest>,
    ) -> Result<Response<pb::Thread>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.update_thread(request.into_inner()).await, &id)
    }

    async fn delete_thread(&self, request: Request<pb::DeleteThreadRequest>) -> Result<Response<()>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.delete_thread(request.into_inner()).await, &id)
    }

    async fn create_message(
        &self,
        request: Request<pb::CreateMessageRequest>,
    ) -> Result<Response<pb::Message>, Status> {
        let id = RequestId::of(request.extensions());
        let created = match Caller::of(request.extensions()) {
            Ok(caller) => self.handlers.create_message(request.into_inner(), &caller).await,
            Err(error) => Err(error),
        };
        answered(created, &id)
    }

    async fn get_message(
        &self,
        request: Request<pb::GetMessageRequest>,
    ) -> Result<Response<pb::Message>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.get_message(request.into_inner()).await, &id)
    }

    async fn list_messages(
        &self,
        request: Request<pb::ListMessagesRequest>,
    ) -> Result<Response<pb::ListMessagesResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_messages(request.into_inner()).await, &id)
    }
}
