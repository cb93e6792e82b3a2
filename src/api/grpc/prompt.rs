//! Prompts of MCP servers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::answered;
use crate::api::caller::Caller;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::prompt_service_server::PromptService;
use crate::api::request_id::RequestId;

/// `assistant.v1.PromptService` on the handlers.
#[derive(Clone)]
pub struct Prompts {
    handlers: Arc<Handlers>,
}

impl Prompts {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl PromptService for Prompts {
    async fn list_prompts(
        &self,
        request: Request<pb::ListPromptsRequest>,
    ) -> Result<Response<pb::ListPromptsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_prompts(request.get_ref()), &id)
    }

    async fn get_prompt(
        &self,
        request: Request<pb::GetPromptRequest>,
    ) -> Result<Response<pb::GetPromptResponse>, Status> {
        let id = RequestId::of(request.extensions());
        let filled = match Caller::of(request.extensions()) {
            Ok(caller) => self.handlers.get_prompt(request.into_inner(), &caller).await,
            Err(error) => Err(error),
        };
        answered(filled, &id)
    }
}
