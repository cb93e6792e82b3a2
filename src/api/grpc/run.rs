//! Runs, from their start to their end.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{EventStream, answered, streamed};
use crate::api::caller::Requester;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::api::pb::run_service_server::RunService;
use crate::api::request_id::RequestId;

/// `assistant.v1.RunService` on the handlers.
#[derive(Clone)]
pub struct Runs {
    handlers: Arc<Handlers>,
}

impl Runs {
    /// The service on these handlers.
    pub fn new(handlers: Arc<Handlers>) -> Self {
        Self { handlers }
    }
}

#[tonic::async_trait]
impl RunService for Runs {
    type WatchRunStream = EventStream;

    async fn create_run(&self, request: Request<pb::CreateRunRequest>) -> Result<Response<pb::Run>, Status> {
        let id = RequestId::of(request.extensions());
        let created = match Requester::of(request.extensions()) {
            Ok(requester) => self.handlers.create_run(request.into_inner(), requester).await,
            Err(error) => Err(error),
        };
        answered(created, &id)
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Result<Response<pb::Run>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.get_run(request.into_inner()).await, &id)
    }

    async fn list_runs(
        &self,
        request: Request<pb::ListRunsRequest>,
    ) -> Result<Response<pb::ListRunsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_runs(request.into_inner()).await, &id)
    }

    async fn watch_run(
        &self,
        request: Request<pb::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let id = RequestId::of(request.extensions());
        streamed(self.handlers.watch_run(request.into_inner()).await, id)
    }

    async fn cancel_run(&self, request: Request<pb::CancelRunRequest>) -> Result<Response<pb::Run>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.cancel_run(request.into_inner()).await, &id)
    }

    async fn submit_actions(
        &self,
        request: Request<pb::SubmitActionsRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.submit_actions(request.into_inner()).await, &id)
    }

    async fn list_pending_actions(
        &self,
        request: Request<pb::ListPendingActionsRequest>,
    ) -> Result<Response<pb::ListPendingActionsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(
            self.handlers.list_pending_actions(request.into_inner()).await,
            &id,
        )
    }

    async fn list_run_steps(
        &self,
        request: Request<pb::ListRunStepsRequest>,
    ) -> Result<Response<pb::ListRunStepsResponse>, Status> {
        let id = RequestId::of(request.extensions());
        answered(self.handlers.list_run_steps(request.into_inner()).await, &id)
    }
}
