//! One port, many doors: which of them a request goes through.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::caller::{self, Caller};
use super::coding::{self, Accepted};
use super::docs::Docs;
use super::grpc_web::GrpcWeb;
use super::grpc_web::media::{Form, Media};
use super::guard::Guard;
use super::handlers::Handlers;
use super::legacy::Legacy;
use super::request_id::RequestId;
use super::transcode::Transcoder;
use super::{deadline, status};

/// The longest path with its query, in bytes. It is well below the limit of a head, where there is no door yet to say
/// what is wrong.
const TARGET_LIMIT_BYTES: usize = 16 * 1024;

/// The contract's services, guarded: what every door but the legacy one leads to.
pub type Contract = Guard<Routes>;

/// An MCP server, which is none of this room's business but where its path is.
pub type Mcp = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Where the MCP server is, if there is one.
const MCP_PATH: &str = "/mcp";

/// Where the figures are, if they are given.
const METRICS_PATH: &str = "/metrics";

/// Gives the figures of the service, in the text format of OpenMetrics.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The media type of that format.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// All doors.
#[derive(Clone)]
pub struct Front {
    grpc: GrpcWeb<Contract>,
    http: Transcoder<Contract>,
    legacy: Arc<Legacy>,
    docs: Arc<Docs>,
    mcp: Option<Mcp>,
    metrics: Option<Metrics>,
    caller_header: Option<HeaderName>,
    handlers: Arc<Handlers>,
    request_timeout: Duration,
    draining: CancellationToken,
}

impl Front {
    /// The doors to these. A request gets `request_timeout` at most. Once `draining` is cancelled, the service says
    /// that it is not ready.
    pub fn new(
        contract: Contract,
        http: Transcoder<Contract>,
        legacy: Legacy,
        docs: Docs,
        handlers: Arc<Handlers>,
        request_timeout: Duration,
        draining: CancellationToken,
    ) -> Self {
        Self {
            grpc: GrpcWeb::new(contract),
            http,
            legacy: Arc::new(legacy),
            docs: Arc::new(docs),
            mcp: None,
            metrics: None,
            caller_header: None,
            handlers,
            request_timeout,
            draining,
        }
    }

    /// The same doors, and one to an MCP server at `/mcp`.
    #[must_use]
    pub fn with_mcp(mut self, mcp: Mcp) -> Self {
        self.mcp = Some(mcp);
        self
    }

    /// The same doors, and a header in which a proxy says who asks.
    #[must_use]
    pub fn with_caller_header(mut self, header: Option<HeaderName>) -> Self {
        self.caller_header = header;
        self
    }

    /// The same doors, and one to the figures at `/metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let target = request.uri().path_and_query();
        if target.is_some_and(|target| target.as_str().len() > TARGET_LIMIT_BYTES) {
            return self.http.uri_too_long(TARGET_LIMIT_BYTES);
        }
        let media = Media::of(request.headers());
        if media.is_some() || is_rpc(request.uri().path()) {
            return self.call(media, request).await;
        }
        // Apart, so that a call is not as large as all that may become of a request for the web, and copied as that.
        self.web(request).boxed().await
    }

    /// Answers what is no call of an RPC by its own name.
    async fn web(self, request: Request<Body>) -> Response<Body> {
        if let Some(mcp) = self.mcp.clone().filter(|_| request.uri().path() == MCP_PATH) {
            // Its answers may be streams that go on for hours: they are not compressed.
            return match mcp.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
        }
        let accepted = Accepted::read(request.headers());
        if accepted.is_nothing() {
            return self
                .http
                .not_acceptable("bodies in gzip, in zstd, or as they are");
        }
        let response = match coding::of(&request) {
            Ok(None) => self.plain(request).await,
            Ok(Some(coding)) => coding::decoded(request, coding, |request| self.plain(request)).await,
            Err(coding::Unreadable) => self.http.unsupported_encoding(coding::TAKEN),
        };
        coding::encoded(response, accepted).await
    }

    /// Answers what is HTTP and nothing else, by its path.
    async fn plain(self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let metrics = self.metrics.as_ref().filter(|_| path == METRICS_PATH);
        let is_read_only =
            metrics.is_some() || matches!(path, "/healthz" | "/readyz" | "/openapi.json" | "/docs");
        if is_read_only && !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.not_called(request.method(), HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        if let Some(metrics) = metrics {
            return figures(metrics());
        }
        match path {
            "/healthz" => probe(true),
            "/readyz" => {
                let is_ready = !self.draining.is_cancelled() && self.handlers.store_trouble().await.is_none();
                probe(is_ready)
            }
            path if path == "/v1" || path.starts_with("/v1/") => self.transcoded(request).await,
            _ => match self.docs.answer(&request) {
                Some(response) => response,
                None => self.legacy.answer(request).await,
            },
        }
    }

    /// Answers HTTP/JSON. The guard sees a call when its body has come; until then, the time is kept here.
    async fn transcoded(self, request: Request<Body>) -> Response<Body> {
        let time = deadline::timeout(request.headers(), self.request_timeout).unwrap_or(self.request_timeout);
        let (http, id) = (self.http.clone(), RequestId::of(request.extensions()));
        match tokio::time::timeout(time, self.http.oneshot(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => http.status(status::of(&deadline::passed(), id.as_str())),
        }
    }

    /// Answers a method that calls nothing: OPTIONS is told what is allowed, and any other is refused with it.
    fn not_called(&self, method: &Method, allow: HeaderValue) -> Response<Body> {
        if method != Method::OPTIONS {
            return self.http.other_method(allow);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, allow);
        response
    }

    /// Answers what is for an RPC by its own name, or says that it is gRPC, which only that can be.
    async fn call(self, media: Option<Media>, request: Request<Body>) -> Response<Body> {
        const ALLOW: HeaderValue = HeaderValue::from_static("OPTIONS, POST");
        if request.method() != Method::POST {
            return self.not_called(request.method(), ALLOW);
        }
        match media {
            Some(media) if media.form == Form::Native && request.version() < Version::HTTP_2 => self
                .http
                .unsupported_media_type("grpc needs http/2: use grpc-web, or json, over http/1.1"),
            Some(media) => self.grpc.answer(media, request).await,
            None => self.http.unsupported_media_type(
                "an rpc is called by its name with application/grpc or application/grpc-web",
            ),
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
        if let Some(header) = &self.caller_header {
            let caller = Caller::read(request.headers(), header);
            request.extensions_mut().insert(caller);
        }
        if let Some(credentials) = caller::credentials(request.headers()) {
            request.extensions_mut().insert(credentials);
        }
        let front = self.clone();
        async move {
            let mut response = front.answer(request).await;
            id.write(response.headers_mut());
            Ok(response)
        }
        .instrument(span)
        .boxed()
    }
}

/// Whether the path is an RPC's own: `/package.Service/Method`.
fn is_rpc(path: &str) -> bool {
    let names = path.strip_prefix('/').and_then(|names| names.split_once('/'));
    names.is_some_and(|(service, method)| {
        service.contains('.') && !service.starts_with('.') && !method.is_empty() && !method.contains('/')
    })
}

fn figures(text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(text)));
    response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
    response
}

fn probe(is_well: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    if !is_well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
