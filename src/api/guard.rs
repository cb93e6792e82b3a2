//! What every call of the contract passes, whatever door it came through: a permit, a deadline, a net under
//! panics, and the promise that every error has its `ErrorInfo`.

mod body;
mod tally;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use self::body::GuardedBody;
use self::tally::Tally;
pub use self::tally::Witness;
use super::request_id::RequestId;
use super::{deadline, status};
use crate::run::error::{Error, Reason};

/// The codings of messages that a server takes.
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What tonic says of a message whose flag says that it is compressed, when the call's headers do not say how.
const COMPRESSED_BUT_NOT_SO: &str = "compressed-flag but no grpc-encoding";

/// The contract's services behind their guard.
#[derive(Clone)]
pub struct Guard<S> {
    services: S,
    permits: Arc<Semaphore>,
    timeout: Duration,
    witness: Option<Arc<dyn Witness>>,
}

impl<S> Guard<S> {
    /// Guards `services`: at most `max_calls` at once, streams included, each for at most `timeout`.
    pub fn new(services: S, max_calls: usize, timeout: Duration) -> Self {
        Self {
            services,
            permits: Arc::new(Semaphore::new(max_calls)),
            timeout,
            witness: None,
        }
    }

    /// The same, and this hears of every call once it is over.
    #[must_use]
    pub fn seen_by(mut self, witness: Option<Arc<dyn Witness>>) -> Self {
        self.witness = witness;
        self
    }
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let id = RequestId::of(request.extensions());
        let mut tally = Tally::new(self.witness.as_ref(), request.uri());
        let admitted = self.admit(request.headers());
        let (permit, deadline) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                tally.ends_with(status::code(error.kind()));
                return std::future::ready(Ok(refusal(&error, &id))).boxed();
            }
        };
        // A clone takes the place of the service that is ready, as tower asks.
        let next = self.services.clone();
        let mut services = std::mem::replace(&mut self.services, next);
        let answer = async move { services.call(request).await };
        async move {
            let caught = AssertUnwindSafe(answer).catch_unwind();
            let response = match tokio::time::timeout_at(deadline, caught).await {
                Ok(Ok(Ok(response))) => response,
                Ok(Err(panic)) => {
                    tally.ends_with(Code::Internal);
                    return Ok(refusal(&panicked(panic.as_ref()), &id));
                }
                Err(_) => {
                    tally.ends_with(Code::DeadlineExceeded);
                    return Ok(refusal(&deadline::passed(), &id));
                }
            };
            let response = explained(response, &id);
            tally.reads(response.headers());
            let guarded = |body| GuardedBody::new(body, permit, tally, deadline, id);
            Ok(response.map(|body| Body::new(guarded(body))))
        }
        .boxed()
    }
}

impl<S> Guard<S> {
    fn admit(&self, headers: &HeaderMap) -> Result<(OwnedSemaphorePermit, Instant), Error> {
        let timeout = deadline::timeout(headers, self.timeout)?;
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Error::new(Reason::Overloaded, "too many requests at once"))?;
        Ok((permit, Instant::now() + timeout))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal(text.unwrap_or_else(|| "a panic without a text".to_owned()))
}

fn refusal(error: &Error, id: &RequestId) -> Response<Body> {
    status::of(error, id.as_str()).into_http()
}

/// Gives an error that tonic itself has made the form of the contract's: its code, and an `ErrorInfo`.
fn explained(response: Response<Body>, id: &RequestId) -> Response<Body> {
    let made_by_tonic = Status::from_header_map(response.headers())
        .filter(|status| status.code() != Code::Ok && status.details().is_empty());
    match made_by_tonic {
        Some(status) => {
            let mut refused = refusal(&explanation(&status), id);
            // It says how a client may compress, when it has just compressed otherwise.
            if let Some(accepted) = response.headers().get(GRPC_ACCEPT_ENCODING) {
                refused
                    .headers_mut()
                    .insert(GRPC_ACCEPT_ENCODING, accepted.clone());
            }
            refused
        }
        None => response,
    }
}

fn explanation(status: &Status) -> Error {
    let text = status.message();
    match status.code() {
        Code::Unimplemented if text.is_empty() => Error::new(
            Reason::Unimplemented,
            "there is no such method, or it is not served yet",
        ),
        Code::Unimplemented => Error::new(Reason::Unimplemented, text),
        Code::OutOfRange | Code::ResourceExhausted => Error::new(Reason::RequestTooLarge, text),
        Code::Cancelled => Error::new(Reason::RunCancelled, "the request was broken off"),
        // The one breach of the protocol for which gRPC itself prescribes the code.
        Code::Internal if text.contains(COMPRESSED_BUT_NOT_SO) => Error::internal(status.clone()),
        Code::Internal | Code::InvalidArgument | Code::Unknown => Error::new(
            Reason::ValidationFailed,
            format!("the request cannot be read: {text}"),
        ),
        _ => Error::internal(status.clone()),
    }
}
