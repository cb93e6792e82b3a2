//! The server over a pair of byte streams: one JSON-RPC message a line.

use rmcp::RoleServer;
use rmcp::service::{ServerInitializeError, serve_server_with_ct};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::backpressure::Backpressure;
use super::{Error, MAX_IN_FLIGHT, MAX_MESSAGE_BYTES, Server};

/// Serves on standard input and output until the input ends, or SIGTERM or Ctrl-C comes; calls in work
/// are answered first. Nothing else may write to standard output meanwhile: logs belong on standard error.
///
/// After a signal a read of standard input may still be blocked in a thread, when it is not a pipe; the
/// caller ends the process without waiting for it (`Runtime::shutdown_background`).
///
/// # Errors
///
/// When the client does not speak the protocol, or the signal handlers cannot be set up.
pub async fn serve_stdio() -> Result<(), Error> {
    let (input, output) = stdio_pipes();
    let stop = CancellationToken::new();
    let serving = serve(input, output, stop.clone());
    tokio::pin!(serving);
    let signalled = asked_to_stop()?;
    tokio::select! {
        result = &mut serving => result,
        () = signalled => {
            stop.cancel();
            serving.await
        }
    }
}

/// Serves one client on `input` and `output` until the input ends or `stop` is cancelled.
///
/// # Errors
///
/// When the client does not speak the protocol.
pub async fn serve<R, W>(input: R, output: W, stop: CancellationToken) -> Result<(), Error>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let lines = AsyncRwTransport::<RoleServer, _, _>::new_server(input, output)
        .with_max_line_length(MAX_MESSAGE_BYTES);
    let transport = Backpressure::new(lines, MAX_IN_FLIGHT);
    match serve_server_with_ct(Server::new(), transport, stop).await {
        Ok(running) => {
            running.waiting().await?;
            Ok(())
        }
        // A client that leaves before it says anything is no failure.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => Ok(()),
        Err(error) => Err(Error::Handshake(error.to_string())),
    }
}

/// Resolves when the process is asked to stop.
#[cfg(unix)]
fn asked_to_stop() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the process is asked to stop.
#[cfg(not(unix))]
fn asked_to_stop() -> Result<impl Future<Output = ()>, Error> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
