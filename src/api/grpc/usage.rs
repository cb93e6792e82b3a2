//! What callers have used.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::answered;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::usage_service_server::UsageService;
use crate::api::request_id::RequestId;

/// `assistant.v1.UsageService` on the handlers.
#[derive(Clone)]
pub struct Usage {
    handlers: Arc<Handlers>,
}

impl Usage {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl UsageService for Usage {
    async fn list_usage(
        &self,
        request: Request<pb::ListUsageRequest>,
    ) -> Result<Response<pb::ListUsageResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_usage(request.into_inner()).await, &id)
    }
}
