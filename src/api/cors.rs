//! Which pages of other origins may call the service (the Fetch standard's CORS protocol).

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use tonic::body::Body;
use tower::{Layer, Service};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Cors as Layered, CorsLayer};

/// How long a browser may keep the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Headers that a page may read beside the safelisted ones.
const EXPOSED: [HeaderName; 5] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("x-request-id"),
    header::RETRY_AFTER,
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
pub struct Cors<S> {
    layered: Layered<S>,
    bare: S,
}

impl<S: Clone> Cors<S> {
    /// Lets pages of these origins call `service`.
    pub fn new(service: S, origins: &Origins) -> Self {
        let layer = CorsLayer::new().expose_headers(EXPOSED).max_age(MAX_AGE);
        let layer = match origins {
            Origins::Any => layer
                .allow_origin(AllowOrigin::any())
                .allow_methods(AllowMethods::mirror_request())
                .allow_headers(AllowHeaders::mirror_request()),
            Origins::Listed(listed) => layer
                .allow_origin(AllowOrigin::list(listed.iter().cloned()))
                .allow_methods(AllowMethods::mirror_request())
                .allow_headers(AllowHeaders::mirror_request())
                .allow_credentials(true),
        };
        Self {
            layered: layer.layer(service.clone()),
            bare: service,
        }
    }
}

impl<S> Service<Request<Body>> for Cors<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures::future::Either<<Layered<S> as Service<Request<Body>>>::Future, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.layered.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The layer takes every OPTIONS for a preflight; one that is none asks for the resource's methods.
        let is_preflight = request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() == Method::OPTIONS && !is_preflight {
            futures::future::Either::Right(self.bare.call(request))
        } else {
            futures::future::Either::Left(self.layered.call(request))
        }
    }
}
