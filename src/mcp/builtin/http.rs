//! The server over streamable HTTP, at `/mcp`. Without sessions: a POST is answered by one JSON body.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Error, MAX_IN_FLIGHT, MAX_MESSAGE_BYTES, Server};

const PATH: &str = "/mcp";
const MAX_CONNECTIONS: usize = 256;
/// For the head of a request, which is also how long an idle connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// For reading a request's body, waiting for a free place and answering.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// For connections to finish once the server is asked to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Before the next `accept` when one fails, as it does while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Body = BoxBody<Bytes, Infallible>;

/// Serves on `listener` until `shutdown` resolves; requests in work are finished first.
///
/// A listener on a loopback address answers only requests whose `Host` is a loopback name, so that a web
/// page cannot reach it by rebinding DNS; a request with an `Origin`, which only a web page sends, is
/// always refused.
///
/// # Errors
///
/// When the listener has no address.
pub async fn serve_http(listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let door = Door::new(listener.local_addr()?);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    // Dropped at the end, which ends what did not finish in time.
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (socket, permit) = accept(&listener, &connections) => {
                tasks.spawn(serve_connection(socket, permit, door.clone(), graceful.watcher()));
            }
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an mcp connection's task failed");
                }
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_DEADLINE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some mcp connections did not finish in time");
    }
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = connections
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (socket, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot accept an mcp connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(socket: TcpStream, permit: OwnedSemaphorePermit, door: Door, watcher: Watcher) {
    // An answer is one small write: waiting to fill a packet would only delay it.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_IN_FLIGHT as u32);
    let answer = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let connection = builder
        .serve_connection(TokioIo::new(socket), answer)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an mcp connection ended abnormally");
    }
    drop(permit);
}

/// What every connection shares.
#[derive(Clone)]
struct Door {
    service: StreamableHttpService<Server, NeverSessionManager>,
    in_flight: Arc<Semaphore>,
}

impl Door {
    fn new(address: SocketAddr) -> Self {
        let mut config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(MAX_MESSAGE_BYTES)
            .enforce_origin_validation();
        if !address.ip().is_loopback() {
            config = config.disable_allowed_hosts();
        }
        let server = Server::new();
        let service = StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config);
        Self {
            service,
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "not found");
        }
        let answered = timeout(REQUEST_DEADLINE, async {
            let _place = self.in_flight.acquire().await;
            self.service.handle(request).await
        });
        answered
            .await
            .unwrap_or_else(|_| plain(StatusCode::REQUEST_TIMEOUT, "request timeout"))
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = status;
    response
}
