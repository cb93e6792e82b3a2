//! Chat, tools, health and assistants.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{EventStream, answered, streamed};
use crate::api::caller::Requester;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::assistant_service_server::AssistantService;
use crate::api::request_id::RequestId;

/// `assistant.v1.AssistantService` on the handlers.
#[derive(Clone)]
pub struct Assistant {
    handlers: Arc<Handlers>,
}

impl Assistant {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl AssistantService for Assistant {
    type StreamChatStream = EventStream;

    async fn chat(&self, request: Request<pb::ChatRequest>) -> Result<Response<pb::ChatResponse>, Status> {
        let id = RequestId::of(request.extensions());
        let answer = match Requester::of(request.extensions()) {
            Ok(requester) => self.handlers.chat(request.into_inner(), requester).await,
            Err(error) => Err(error),
        };
        answered(answer, &id)
    }

    async fn stream_chat(
        &self,
        request: Request<pb::ChatRequest>,
    ) -> Result<Response<Self::StreamChatStream>, Status> {
        let id = RequestId::of(request.extensions());
        let events = match Requester::of(request.extensions()) {
            Ok(requester) => self.handlers.stream_chat(request.into_inner(), requester).await,
            Err(error) => Err(error),
        };
        streamed(events, id)
    }

    async fn list_tools(
        &self,
        request: Request<pb::ListToolsRequest>,
    ) -> Result<Response<pb::ListToolsResponse>, Status> {
        answered(
            self.handlers.list_tools(request.get_ref()),
            &RequestId::of(request.extensions()),
        )
    }

    async fn get_tool(&self, request: Request<pb::GetToolRequest>) -> Result<Response<pb::Tool>, Status> {
        answered(
            self.handlers.get_tool(request.get_ref()),
            &RequestId::of(request.extensions()),
        )
    }

    async fn accept_tools(
        &self,
        request: Request<pb::AcceptToolsRequest>,
    ) -> Result<Response<pb::AcceptToolsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.accept_tools(request.get_ref()).await, &id)
    }

    async fn call_tool(
        &self,
        request: Request<pb::CallToolRequest>,
    ) -> Result<Response<pb::CallToolResponse>, Status> {
        let id = RequestId::of(request.extensions());
        let called = match Requester::of(request.extensions()) {
            Ok(requester) => self.handlers.call_tool(request.into_inner(), requester).await,
            Err(error) => Err(error),
        };
        answered(called, &id)
    }

    async fn health(
        &self,
        request: Request<pb::HealthRequest>,
    ) -> Result<Response<pb::HealthResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(Ok(self.handlers.health().await), &id)
    }

    async fn create_assistant(
        &self,
        request: Request<pb::CreateAssistantRequest>,
    ) -> Result<Response<pb::Assistant>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.create_assistant(request.into_inner()).await, &id)
    }

    async fn get_assistant(
        &self,
        request: Request<pb::GetAssistantRequest>,
    ) -> Result<Response<pb::Assistant>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.get_assistant(request.into_inner()).await, &id)
    }

    async fn list_assistants(
        &self,
        request: Request<pb::ListAssistantsRequest>,
    ) -> Result<Response<pb::ListAssistantsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_assistants(request.into_inner()).await, &id)
    }

    async fn update_assistant(
        &self,
        request: Request<pb::UpdateAssistantRequest>,
    ) -> Result<Response<pb::Assistant>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.update_assistant(request.into_inner()).await, &id)
    }

    async fn delete_assistant(
        &self,
        request: Request<pb::DeleteAssistantRequest>,
    ) -> Result<Response<()>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.delete_assistant(request.into_inner()).await, &id)
    }
}
