//! A connection to one server, once it is open: calls, listing, and the question whether it is still there.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientConfig,
    ClientRequest, DiscoverRequest, DiscoverRequestParams, ErrorCode, PaginatedRequestParams, PingRequest,
    ProtocolVersion, RequestId, SubscriptionFilter, Tool as RemoteTool,
};
use rmcp::service::{ClientCacheConfig, Peer, PeerRequestOptions, RoleClient, RunningService, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::convert;
use super::reason;
use super::tap::ProgressSink;
use crate::run::error::{Error, Reason};
use crate::run::message::ToolOutput;
use crate::run::ports::OnProgress;

/// What rmcp gives for an open connection.
pub(super) type Running = RunningService<RoleClient, ClientConfig>;

/// Progress reports of one call that may wait to be passed on.
const REPORTS_WAITING: usize = 32;
/// Abandoned calls whose cancellation may wait to be sent; and how many are sent at once.
const CANCELLATIONS_WAITING: usize = 4096;
const CANCELLATIONS_AT_ONCE: usize = 64;
/// How long telling the server of one may take.
const CANCELLATION_LIMIT: Duration = Duration::from_secs(5);
/// How long a server may take to answer a ping.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may take to open a stream of notifications.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);
/// The most pages of a list of tools that are asked for, and the most tools that are taken.
const PAGES: usize = 200;
const TOOLS: usize = 2_000;

/// An open connection.
pub(super) struct Session {
    server: String,
    peer: Peer<RoleClient>,
    call_timeout: Duration,
    open_calls: AtomicUsize,
    abandoned: mpsc::Sender<RequestId>,
    /// Notified when a call met a broken transport.
    doubt: Arc<Notify>,
}

/// The other end of a session's signals, for the task that keeps it.
pub(super) struct Signals {
    pub(super) doubt: Arc<Notify>,
    abandoned: mpsc::Receiver<RequestId>,
}

impl Session {
    /// Around an open connection.
    pub(super) async fn new(server: &str, running: &Running, call_timeout: Duration) -> (Arc<Self>, Signals) {
        // A list that comes from a cache says nothing about the server as it is now.
        let peer = running.peer().clone();
        peer.set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        let (sender, abandoned) = mpsc::channel(CANCELLATIONS_WAITING);
        let doubt = Arc::new(Notify::new());
        let session = Self {
            server: server.to_owned(),
            peer,
            call_timeout,
            open_calls: AtomicUsize::new(0),
            abandoned: sender,
            doubt: doubt.clone(),
        };
        (Arc::new(session), Signals { doubt, abandoned })
    }

    /// Calls a tool by its name on the server; see [`Toolbox::call`](crate::run::ports::Toolbox::call).
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        on_progress: OnProgress,
    ) -> Result<ToolOutput, Error> {
        let (sink, mut reports) = mpsc::channel(REPORTS_WAITING);
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let mut request = CallToolRequest::new(params);
        request.extensions.insert(ProgressSink(sink));
        let request = ClientRequest::CallToolRequest(request);
        let sending = self
            .peer
            .send_request_with_option(request, PeerRequestOptions::no_options());
        let mut handle = match timeout(self.call_timeout, sending).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return self.failed(error),
            Err(_) => return Err(self.silent()),
        };
        let mut open = OpenCall::new(self, handle.id.clone());
        let deadline = sleep_until(Instant::now() + self.call_timeout);
        tokio::pin!(deadline);
        let mut done = f64::NEG_INFINITY;
        loop {
            tokio::select! {
                biased;
                // Reports first: those that came before the answer are passed on before it.
                Some(report) = reports.recv() => {
                    deadline.as_mut().reset(Instant::now() + self.call_timeout);
                    if report.progress > done {
                        done = report.progress;
                        on_progress(report);
                    }
                }
                answer = &mut handle.rx => {
                    open.answered();
                    return match answer {
                        Ok(Ok(result)) => Ok(convert::output(result)),
                        Ok(Err(error)) => self.failed(error),
                        Err(_) => self.failed(ServiceError::TransportClosed),
                    };
                }
                () = &mut deadline => return Err(self.silent()),
            }
        }
    }

    /// Whether calls wait for their answers.
    pub(super) fn is_busy(&self) -> bool {
        self.open_calls.load(Ordering::Relaxed) > 0
    }

    /// Every tool that the server has, up to a bound.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub(super) async fn list(&self) -> Result<Vec<RemoteTool>, ServiceError> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES {
            let params = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page = match self.peer.list_tools(Some(params)).await {
                Err(ServiceError::McpError(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => break,
                page => page?,
            };
            tools.extend(page.tools);
            cursor = page.next_cursor.filter(|_| tools.len() < TOOLS);
            if cursor.is_none() {
                break;
            }
        }
        if cursor.is_some() || tools.len() > TOOLS {
            tools.truncate(TOOLS);
            tracing::warn!(server = self.server, limit = TOOLS, "the list of tools is cut");
        }
        Ok(tools)
    }

    /// Asks for a sign of life. An error that the server answers with is one.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn ping(&self) -> Result<(), ServiceError> {
        let request = if self.is_stateless() {
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        } else {
            ClientRequest::PingRequest(PingRequest::default())
        };
        let asked = async {
            self.peer
                .send_request_with_option(request, PeerRequestOptions::with_timeout(PING_LIMIT))
                .await?
                .await_response()
                .await
        };
        match timeout(PING_LIMIT * 2, asked).await {
            Ok(Ok(_) | Err(ServiceError::McpError(_))) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ServiceError::Timeout { timeout: PING_LIMIT }),
        }
    }

    /// Asks a server of the stateless revision to tell of changes, for as long as it is polled; older ones tell
    /// unasked. The changes themselves are seen by the [`Tap`](super::tap::Tap).
    pub(super) async fn listen(&self, retry_every: Duration) -> Infallible {
        let info = self.peer.peer_info();
        let tells = info
            .and_then(|info| info.capabilities.tools.as_ref()?.list_changed)
            .unwrap_or(false);
        if !tells || !self.is_stateless() {
            return std::future::pending().await;
        }
        loop {
            let filter = SubscriptionFilter::builder().tools_list_changed().build();
            if let Ok(Ok(mut stream)) = timeout(LISTEN_LIMIT, self.peer.listen(filter)).await {
                while let Ok(Some(_)) = stream.next().await {}
            }
            sleep(retry_every).await;
        }
    }

    /// Tells the server of the calls that nobody waits for any more, for as long as it is polled.
    pub(super) async fn cancel_abandoned(&self, signals: mpsc::Receiver<RequestId>) -> Infallible {
        ReceiverStream::new(signals)
            .for_each_concurrent(CANCELLATIONS_AT_ONCE, async |id| {
                let params = CancelledNotificationParam::new(
                    Some(id),
                    Some("nobody waits for it any more".to_owned()),
                );
                let notification = CancelledNotification::new(params);
                let telling = self.peer.send_notification(notification.into());
                let _ = timeout(CANCELLATION_LIMIT, telling).await;
            })
            .await;
        std::future::pending().await
    }

    fn is_stateless(&self) -> bool {
        self.peer
            .peer_info()
            .is_some_and(|info| info.protocol_version == ProtocolVersion::NO_INITIALIZE)
    }

    /// What comes of a call that rmcp calls failed: what the server itself refuses is for the model to read.
    fn failed(&self, error: ServiceError) -> Result<ToolOutput, Error> {
        match error {
            ServiceError::McpError(error) => Ok(ToolOutput::failure(error.message.into_owned())),
            error => {
                self.doubt.notify_one();
                let text = format!("MCP server '{}': {}", self.server, reason::of_request(&error));
                Err(unavailable(&self.server, text).caused_by(error))
            }
        }
    }

    fn silent(&self) -> Error {
        let limit_ms = self.call_timeout.as_millis();
        let text = format!("MCP server '{}' was silent for {limit_ms} ms", self.server);
        unavailable(&self.server, text)
    }
}

impl Signals {
    /// Splits them.
    pub(super) fn split(self) -> (Arc<Notify>, mpsc::Receiver<RequestId>) {
        (self.doubt, self.abandoned)
    }
}

/// `MCP_UNAVAILABLE`, naming the server.
pub(super) fn unavailable(server: &str, text: impl Into<String>) -> Error {
    Error::new(Reason::McpUnavailable, text).with("server", server)
}

/// A call that waits for its answer. Dropped before, it signals that the server is to be told.
struct OpenCall<'a> {
    session: &'a Session,
    id: Option<RequestId>,
}

impl<'a> OpenCall<'a> {
    fn new(session: &'a Session, id: RequestId) -> Self {
        session.open_calls.fetch_add(1, Ordering::Relaxed);
        Self {
            session,
            id: Some(id),
        }
    }

    fn answered(&mut self) {
        self.id = None;
    }
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.session.open_calls.fetch_sub(1, Ordering::Relaxed);
        if let Some(id) = self.id.take() {
            let _ = self.session.abandoned.try_send(id);
        }
    }
}
