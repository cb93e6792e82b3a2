use std::pin::Pin;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::Frame;
use http_body_util::BodyExt;
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::*;

/// What the guarded service does.
#[derive(Clone, Copy)]
enum Does {
    Answers,
    Panics,
    Hangs,
    PanicsInItsBody,
    HangsInItsBody,
    Fails(Code, &'static str),
}

/// What it does, and what the bodies of its answers hold.
#[derive(Clone)]
struct Guarded(Does, Option<Arc<()>>);

impl Guarded {
    fn new(does: Does) -> Self {
        Self(does, None)
    }
}

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let (does, held) = (self.0, self.1.clone());
        Box::pin(async move {
            let body = match does {
                Does::Answers => Body::empty(),
                Does::Panics => panic!("the secret of the panic"),
                Does::Hangs => std::future::pending().await,
                Does::PanicsInItsBody | Does::HangsInItsBody => Body::new(Ends(does, held)),
                Does::Fails(code, text) => return Ok(Status::new(code, text).into_http()),
            };
            Ok(Response::new(body))
        })
    }
}

struct Ends(Does, #[expect(dead_code, reason = "it is held")] Option<Arc<()>>);

impl http_body::Body for Ends {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.0 {
            Does::PanicsInItsBody => panic!("the secret of the panic"),
            _ => Poll::Pending,
        }
    }
}

fn request() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    let id = RequestId::read(request.headers());
    request.extensions_mut().insert(id);
    request
}

/// The status that a call ends with, in its head or in its trailers.
async fn status(guard: Guard<Guarded>, request: Request<Body>) -> Status {
    let response = guard.oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let trailers = response
        .into_body()
        .collect()
        .await
        .unwrap()
        .trailers()
        .cloned()
        .unwrap_or_default();
    Status::from_header_map(&trailers).unwrap_or_else(|| Status::ok(""))
}

fn guard(does: Does) -> Guard<Guarded> {
    Guard::new(Guarded::new(does), 1, Duration::from_secs(3))
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_a_call_its_error_is_explained() {
    let cases = [
        (Does::Panics, Code::Internal, "INTERNAL"),
        (Does::PanicsInItsBody, Code::Internal, "INTERNAL"),
        (Does::Hangs, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Does::HangsInItsBody, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (
            Does::Fails(Code::Unimplemented, ""),
            Code::Unimplemented,
            "UNIMPLEMENTED",
        ),
        (
            Does::Fails(Code::Internal, "failed to decode"),
            Code::InvalidArgument,
            "VALIDATION_FAILED",
        ),
        (
            Does::Fails(Code::OutOfRange, "too large"),
            Code::ResourceExhausted,
            "REQUEST_TOO_LARGE",
        ),
    ];
    for (does, code, reason) in cases {
        let status = status(guard(does), request()).await;
        assert_eq!(status.code(), code, "{reason}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, reason);
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_that_calls_alone_and_gives_its_permit_back() {
    let mut guard = guard(Does::Panics);
    assert_eq!(status(guard.clone(), request()).await.code(), Code::Internal);
    guard.services = Guarded::new(Does::Answers);
    assert_eq!(status(guard.clone(), request()).await.code(), Code::Ok);

    guard.services = Guarded::new(Does::HangsInItsBody);
    let held = guard.clone().oneshot(request()).await.unwrap();
    assert_eq!(
        status(guard.clone(), request()).await.code(),
        Code::ResourceExhausted,
        "a body holds its permit"
    );
    drop(held);
    guard.services = Guarded::new(Does::Answers);
    assert_eq!(status(guard, request()).await.code(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_holds_nothing_past_its_deadline() {
    let kept = Arc::new(());
    let mut guard = guard(Does::HangsInItsBody);
    guard.services.1 = Some(Arc::clone(&kept));
    let unread = guard.clone().oneshot(request()).await.unwrap();
    guard.services = Guarded::new(Does::Answers);
    assert_eq!(
        status(guard.clone(), request()).await.code(),
        Code::ResourceExhausted
    );
    assert_eq!(Arc::strong_count(&kept), 2);
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&kept), 1, "what the call held is gone");
    assert_eq!(status(guard, request()).await.code(), Code::Ok);
    let trailers = unread.into_body().collect().await.unwrap();
    let late = Status::from_header_map(trailers.trailers().unwrap()).unwrap();
    assert_eq!(late.code(), Code::DeadlineExceeded, "who reads after all is told");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_cannot_be_read_is_refused() {
    let mut request = request();
    request
        .headers_mut()
        .insert("grpc-timeout", http::HeaderValue::from_static("soon"));
    let status = status(guard(Does::Answers), request).await;
    assert_eq!(status.code(), Code::InvalidArgument);
}
