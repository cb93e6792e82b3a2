//! One port, many doors: which of them a request goes through.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;

use super::docs::Docs;
use super::guard::Guard;
use super::handlers::Handlers;
use super::legacy::Legacy;
use super::request_id::RequestId;
use super::transcode::Transcoder;

/// The contract's services, guarded: what every door but the legacy one leads to.
pub type Contract = Guard<Routes>;

/// All doors.
#[derive(Clone)]
pub struct Front {
    grpc: GrpcWebService<Contract>,
    http: Transcoder<Contract>,
    legacy: Arc<Legacy>,
    docs: Arc<Docs>,
    handlers: Arc<Handlers>,
    draining: CancellationToken,
}

impl Front {
    /// The doors to these. Once `draining` is cancelled, the service says that it is not ready.
    pub fn new(
        contract: Contract,
        http: Transcoder<Contract>,
        legacy: Legacy,
        docs: Docs,
        handlers: Arc<Handlers>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            grpc: GrpcWebLayer::new().layer(contract),
            http,
            legacy: Arc::new(legacy),
            docs: Arc::new(docs),
            handlers,
            draining,
        }
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if is_grpc(&request) {
            return unfailing(self.grpc.oneshot(request).await);
        }
        match path {
            "/healthz" => probe(&request, true),
            "/readyz" => {
                let is_ready = !self.draining.is_cancelled() && self.handlers.store_trouble().await.is_none();
                probe(&request, is_ready)
            }
            path if path == "/v1" || path.starts_with("/v1/") => unfailing(self.http.oneshot(request).await),
            _ => match self.docs.answer(&request) {
                Some(response) => response,
                None => self.legacy.answer(request).await,
            },
        }
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The doors are asked when there is a call for them.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let id = RequestId::read(request.headers());
        let span = tracing::info_span!("request", id = id.as_str(), path = request.uri().path());
        request.extensions_mut().insert(id.clone());
        let answer = self.clone().answer(request).instrument(span);
        async move {
            let mut response = answer.await;
            id.write(response.headers_mut());
            Ok(response)
        }
        .boxed()
    }
}

/// Whether the request is gRPC or gRPC-Web, by its media type.
fn is_grpc(request: &Request<Body>) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    let media_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes());
    media_type
        .and_then(|media_type| media_type.get(..PREFIX.len()))
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

fn probe(request: &Request<Body>, is_well: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
            .headers_mut()
            .insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if !is_well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn unfailing<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
