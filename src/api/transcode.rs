//! HTTP/JSON for any annotated gRPC service, driven by its descriptor.
//!
//! A [`Transcoder`] takes a descriptor pool and the gRPC service itself, and is an HTTP service: each
//! request is turned into the gRPC request it stands for and handed to the service in-process, so
//! that whatever guards the service guards this door too. Adding an annotated RPC adds its route.
//!
//! JSON is translated to and from the wire format directly, by tables laid out once
//! ([`schema`]), without building a message in between. Nothing here depends on the rest of the crate.

pub mod bind;
mod call;
pub mod code;
pub mod decode;
pub mod error;
mod frame;
mod headers;
mod media;
pub mod openapi;
pub mod print;
pub mod query;
mod raw;
mod request;
pub mod route;
pub mod scalar;
pub mod schema;
mod stream;
pub mod template;
pub mod text;
pub mod wellknown;
pub mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response};
use prost_reflect::DescriptorPool;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use bind::{Binding, BuildError};
use error::{Refusal, Refusals};
use query::Plus;
use route::{Found, Router};
use schema::Schema;
use stream::EventPlan;

pub use code::http_status;

/// What can be set about a transcoder.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest body that is taken, in bytes.
    pub body_limit_bytes: usize,
    /// The `domain` of the `ErrorInfo` of errors that arise here: the service's name.
    pub error_domain: String,
    /// How often an event stream that has nothing to say sends a comment.
    pub heartbeat: Duration,
    /// How long a stream may take to its first message before it is said to have begun: until then, an error is an
    /// answer of its own.
    pub first_message_grace: Duration,
    /// How long a browser waits before it connects to an event stream again, in milliseconds.
    pub retry_ms: u32,
    /// What a plus sign in a query stands for.
    pub plus: Plus,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_limit_bytes: 4 * 1024 * 1024,
            error_domain: "localhost".to_owned(),
            heartbeat: Duration::from_secs(15),
            first_message_grace: Duration::from_secs(1),
            retry_ms: 2_000,
            plus: Plus::Space,
        }
    }
}

/// What every request looks things up in.
struct Shared {
    schema: Schema,
    bindings: Vec<Binding>,
    router: Router<usize>,
    /// By binding.
    events: Vec<EventPlan>,
    refusals: Refusals,
    options: Options,
}

/// An HTTP service in front of a gRPC service.
#[derive(Clone)]
pub struct Transcoder<S> {
    shared: Arc<Shared>,
    inner: S,
}

/// A route, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The HTTP method.
    pub method: &'a Method,
    /// The path template as the annotation has it.
    pub template: &'a str,
    /// The full name of the RPC.
    pub rpc: &'a str,
    /// `*`, the name of a field, or nothing.
    pub body: &'a str,
}

impl<S> Transcoder<S> {
    /// A transcoder for every RPC of the pool that carries a `google.api.http` rule. The pool must
    /// have been decoded from bytes that kept the options.
    ///
    /// # Errors
    /// The first rule that cannot be served, or two that conflict, with the RPCs named.
    pub fn new(pool: &DescriptorPool, inner: S, options: Options) -> Result<Self, BuildError> {
        let mut schema = Schema::new(pool);
        // Details of errors are printed also where the service itself does not mention their types.
        if let Ok(details) = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET) {
            schema.extend(&details);
        }
        let (bindings, router) = bind::bindings(pool, &schema)?;
        let events = bindings
            .iter()
            .map(|binding| EventPlan::new(&schema, binding.rpc.output))
            .collect();
        let refusals = Refusals {
            domain: options.error_domain.clone(),
        };
        let shared = Arc::new(Shared {
            schema,
            bindings,
            router,
            events,
            refusals,
            options,
        });
        Ok(Self { shared, inner })
    }

    /// The routes in the order of the descriptor.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.shared.bindings.iter().map(|binding| Route {
            method: &binding.method,
            template: &binding.text,
            rpc: &binding.rpc.name,
            body: binding.body.text(&self.shared.schema, binding.rpc.input),
        })
    }

    /// OpenAPI 3.1 for these routes. `pool` is the one that the transcoder was made from; with its source info, the
    /// comments of the `.proto` files are the document's words.
    #[must_use]
    pub fn openapi(&self, pool: &DescriptorPool, info: &openapi::Info) -> serde_json::Value {
        openapi::document(&self.shared, pool, info)
    }

    /// Whether any route, of whatever method, leads there; `path` is without the query.
    #[must_use]
    pub fn contains_path(&self, path: &str) -> bool {
        !matches!(
            self.shared.router.find(&Method::OPTIONS, path, &mut Vec::new()),
            Found::Nothing
        )
    }

    /// 405 in the form of every other error, for a path that is not one of these routes but takes other methods.
    #[must_use]
    pub fn other_method(&self, allow: HeaderValue) -> Response<Body> {
        self.refused(self.shared.refusals.other_method(allow))
    }

    /// 414 in the same form.
    #[must_use]
    pub fn uri_too_long(&self, limit_bytes: usize) -> Response<Body> {
        self.refused(self.shared.refusals.uri_too_long(limit_bytes))
    }

    /// 415 in the same form, for a body that no route of these is asked to read.
    #[must_use]
    pub fn unsupported_media_type(&self, message: &str) -> Response<Body> {
        self.refused(self.shared.refusals.unsupported_media_type(message))
    }

    /// 415 in the same form, for a body in a coding that cannot be read; `taken` lists those that can.
    #[must_use]
    pub fn unsupported_encoding(&self, taken: HeaderValue) -> Response<Body> {
        self.refused(self.shared.refusals.unsupported_encoding(taken))
    }

    /// 406 in the same form.
    #[must_use]
    pub fn not_acceptable(&self, offered: &str) -> Response<Body> {
        self.refused(self.shared.refusals.not_acceptable(offered))
    }

    /// A status in the same form, as if an RPC had ended with it.
    #[must_use]
    pub fn status(&self, status: Status) -> Response<Body> {
        self.refused(status.into())
    }

    fn refused(&self, refusal: Refusal) -> Response<Body> {
        self.shared.refusals.response(&self.shared.schema, refusal)
    }
}

impl<S, B> Service<Request<B>> for Transcoder<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The inner service is asked when there is a call for it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        Box::pin(async move { Ok(call::answer(shared, inner, request).await) })
    }
}
