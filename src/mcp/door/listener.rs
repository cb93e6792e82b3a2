//! A server of its own on a port: connections, and nothing else than the door behind them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rmcp::ServerHandler;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Door, PATH, plain};

const MAX_CONNECTIONS: usize = 256;
/// For the head of a request, which is also how long an idle connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;
/// For connections to finish once the server is asked to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Before the next `accept` when one fails, as it does while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The body of an answer.
pub type Body = BoxBody<Bytes, Infallible>;

/// Serves a door at [`PATH`] on `listener` until `shutdown` resolves; requests in work are finished first. Sessions and
/// streams live until the token of the door's options ends them, or else for a few seconds.
///
/// # Errors
///
/// When the listener has no address.
pub async fn serve<S: ServerHandler>(
    listener: TcpListener,
    door: Door<S>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
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

async fn serve_connection<S: ServerHandler>(
    socket: TcpStream,
    permit: OwnedSemaphorePermit,
    door: Door<S>,
    watcher: Watcher,
) {
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
        .max_concurrent_streams(MAX_STREAMS);
    let answer = service_fn(move |request: Request<Incoming>| {
        let door = door.clone();
        async move {
            Ok::<_, Infallible>(if request.uri().path() == PATH {
                door.answer(request).await
            } else {
                plain(StatusCode::NOT_FOUND, "not found")
            })
        }
    });
    let connection = builder
        .serve_connection(TokioIo::new(socket), answer)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an mcp connection ended abnormally");
    }
    drop(permit);
}
