//! The sessions of clients that begin with `initialize`: rmcp's, but only so many at a time, and answers wait for clients
//! that are away.

use std::fmt;
use std::time::Duration;

use futures::{Stream, StreamExt};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, GetExtensions, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};

use super::streams::{CallStream, Streams};

/// Sessions at once.
const MAX_SESSIONS: usize = 1_024;
/// How long neither side of a session may say anything: a tool that is at work and silent must not take longer.
const SESSION_IDLE: Duration = Duration::from_secs(15 * 60);

/// The first revision whose clients come back when their stream is closed (SEP-1699), and the header that names one.
const POLLING_SINCE: &str = "2025-11-25";
const REVISION: &str = "mcp-protocol-version";

/// The sessions of one server.
pub(super) struct Sessions {
    inner: LocalSessionManager,
    streams: Streams,
}

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    /// There are as many as there may be.
    #[error("there are too many sessions")]
    Full,
    /// rmcp's own reasons.
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

impl Sessions {
    pub(super) fn new() -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(SESSION_IDLE);
        Self {
            inner,
            streams: Streams::default(),
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        if self.inner.sessions.read().await.len() >= MAX_SESSIONS {
            tracing::warn!(
                limit = MAX_SESSIONS,
                "an mcp session is refused: there are too many"
            );
            return Err(SessionsError::Full);
        }
        Ok(self.inner.create_session().await?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        Ok(self.inner.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        Ok(self.inner.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        Ok(self.inner.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let stream = CallStream::default();
        // There before the tool is, which may close it at once.
        let reader = stream.read_behind(None);
        let mut is_call = false;
        if let JsonRpcMessage::Request(request) = &mut message {
            is_call = matches!(request.request, ClientRequest::CallToolRequest(_));
            if comes_back(&request.request) {
                request.request.extensions_mut().insert(stream.clone());
            }
        }
        let events = self.inner.create_stream(id, message).await?;
        self.streams.keep(id, stream, events, is_call).await;
        Ok(reader)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        Ok(self.inner.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.inner.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        if let Some(missed) = self.streams.resume(id, &last_event_id) {
            return Ok(missed.left_stream());
        }
        Ok(self.inner.resume(id, last_event_id).await?.right_stream())
    }
}

/// Whether the client of a request is one that comes back. Revisions are dates: their order is that of their names.
fn comes_back(request: &impl GetExtensions) -> bool {
    let head = request.extensions().get::<http::request::Parts>();
    let revision = head.and_then(|head| head.headers.get(REVISION)?.to_str().ok());
    revision.is_some_and(|revision| revision >= POLLING_SINCE)
}
