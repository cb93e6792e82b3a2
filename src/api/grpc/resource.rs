//! Resources of MCP servers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::answered;
use crate::api::caller::Caller;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::resource_service_server::ResourceService;
use crate::api::request_id::RequestId;

/// `assistant.v1.ResourceService` on the handlers.
#[derive(Clone)]
pub struct Resources {
    handlers: Arc<Handlers>,
}

impl Resources {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl ResourceService for Resources {
    async fn list_resources(
        &self,
        request: Request<pb::ListResourcesRequest>,
    ) -> Result<Response<pb::ListResourcesResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_resources(request.get_ref()), &id)
    }

    async fn list_resource_templates(
        &self,
        request: Request<pb::ListResourceTemplatesRequest>,
    ) -> Result<Response<pb::ListResourceTemplatesResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_resource_templates(request.get_ref()), &id)
    }

    async fn read_resource(
        &self,
        request: Request<pb::ReadResourceRequest>,
    ) -> Result<Response<pb::ReadResourceResponse>, Status> {
        let id = RequestId::of(request.extensions());
        let read = match Caller::of(request.extensions()) {
            Ok(caller) => self.handlers.read_resource(request.get_ref(), &caller).await,
            Err(error) => Err(error),
        };
        answered(read, &id)
    }
}
