//! The models that requests can name.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::answered;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::model_service_server::ModelService;
use crate::api::request_id::RequestId;

/// `assistant.v1.ModelService` on the handlers.
#[derive(Clone)]
pub struct Models {
    handlers: Arc<Handlers>,
}

impl Models {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_models(request.get_ref()), &id)
    }

    async fn get_model(&self, request: Request<pb::GetModelRequest>) -> Result<Response<pb::Model>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.get_model(request.get_ref()), &id)
    }
}
