//! Which pages of other origins may call the service (the Fetch standard's CORS protocol).

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use tonic::body::Body;
use tower::util::MapRequest;
use tower::{Layer, Service, ServiceExt};
use tower_http::cors::{
    AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, Cors as Layered, CorsLayer,
};

/// How long a browser may keep the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Headers that a page may read beside the safelisted ones.
const EXPOSED: [HeaderName; 10] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("x-request-id"),
    header::RETRY_AFTER,
    header::ALLOW,
    header::ETAG,
    header::LOCATION,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("mcp-session-id"),
];

/// Whose pages may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Anybody's, without credentials.
    Any,
    /// Those of these origins, with credentials.
    Listed(Vec<HeaderValue>),
}

/// A service behind the CORS protocol.
#[derive(Clone)]
pub struct Cors<S>(Layered<MapRequest<S, Unmasking>>);

type Unmasking = fn(Request<Body>) -> Request<Body>;

/// Marks an OPTIONS request that is no preflight.
#[derive(Clone, Copy)]
struct Masked;

impl<S> Cors<S>
where
    S: Service<Request<Body>> + Clone,
{
    /// Lets pages of these origins call `service`.
    pub fn new(service: S, origins: &Origins) -> Self {
        let layer = CorsLayer::new()
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(MAX_AGE);
        let layer = match origins {
            Origins::Any => layer.allow_origin(AllowOrigin::any()),
            Origins::Listed(listed) => {
                let trusted = listed.clone();
                let credentials = AllowCredentials::predicate(move |origin, _| trusted.contains(origin));
                layer
                    .allow_origin(AllowOrigin::list(listed.iter().cloned()))
                    .allow_credentials(credentials)
            }
        };
        Self(layer.layer(service.map_request(unmask as Unmasking)))
    }
}

impl<S> Service<Request<Body>> for Cors<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Layered<MapRequest<S, Unmasking>> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(mask(request))
    }
}

/// The layer takes every OPTIONS for a preflight; one that is none asks for the resource's methods, and goes past it
/// as something else.
fn mask(mut request: Request<Body>) -> Request<Body> {
    let is_preflight = request
        .headers()
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        *request.method_mut() = Method::GET;
        request.extensions_mut().insert(Masked);
    }
    request
}

fn unmask(mut request: Request<Body>) -> Request<Body> {
    if request.extensions_mut().remove::<Masked>().is_some() {
        *request.method_mut() = Method::OPTIONS;
    }
    request
}
