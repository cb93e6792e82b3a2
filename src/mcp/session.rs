//! A connection to one server, once it is open: calls, listing, reading, and the question whether it is still there.

mod listing;
mod reading;

pub(super) use reading::{no_prompt, no_resource};

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientRequest,
    DiscoverRequest, DiscoverRequestParams, ErrorData, InputRequiredResult, InputResponses, PingRequest,
    ProtocolVersion, RequestId, ServerResult, SubscriptionFilter,
};
use rmcp::service::{ClientCacheConfig, Peer, PeerRequestOptions, RoleClient, RunningService, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::auth::Bearer;
use super::client::Client;
use super::config::Timeouts;
use super::convert;
use super::desk::{Desk, Open, Visit};
use super::reason;
use super::tap::ProgressSink;
use crate::run::catalogue::ToolDescription;
use crate::run::error::{Error, Reason};
use crate::run::event::Progress;
use crate::run::message::ToolOutput;
use crate::run::ports::Caller;

/// What rmcp gives for an open connection.
pub(super) type Running = RunningService<RoleClient, Client>;

/// Progress reports of one call that may wait to be passed on.
const REPORTS_WAITING: usize = 32;
/// Abandoned calls whose cancellation may wait to be sent; and how many are sent at once.
const CANCELLATIONS_WAITING: usize = 4096;
const CANCELLATIONS_AT_ONCE: usize = 64;
/// How long telling the server of one may take.
const CANCELLATION_LIMIT: Duration = Duration::from_secs(5);
/// How long a server may take to answer a ping.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How often a server may want something more before it goes on with a call, and how long it is left in peace when
/// it wants nothing but to be asked again.
const ROUNDS: usize = 10;
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// How long a server may take to open a stream of notifications.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) struct Session {
    server: String,
    peer: Peer<RoleClient>,
    timeouts: Timeouts,
    desk: Arc<Desk>,
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
    pub(super) async fn new(
        server: &str,
        running: &Running,
        timeouts: Timeouts,
        desk: Arc<Desk>,
    ) -> (Arc<Self>, Signals) {
        // A list that comes from a cache says nothing about the server as it is now.
        let peer = running.peer().clone();
        peer.set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        let (sender, abandoned) = mpsc::channel(CANCELLATIONS_WAITING);
        let doubt = Arc::new(Notify::new());
        let session = Self {
            server: server.to_owned(),
            peer,
            timeouts,
            desk,
            open_calls: AtomicUsize::new(0),
            abandoned: sender,
            doubt: doubt.clone(),
        };
        (Arc::new(session), Signals { doubt, abandoned })
    }

    /// Calls a tool; see [`Toolbox::call`](crate::run::ports::Toolbox::call). A server of the stateless revision may
    /// want something first: then it is given that, and asked again. With a `bearer`, the call is made with that token.
    pub(super) async fn call(
        &self,
        tool: &ToolDescription,
        arguments: Map<String, Value>,
        caller: Arc<dyn Caller>,
        bearer: Option<Bearer>,
    ) -> Result<ToolOutput, Error> {
        let open = self.desk.enter(caller.clone());
        let began = Instant::now();
        let mut params = CallToolRequestParams::new(tool.remote_name.clone()).with_arguments(arguments);
        for _ in 0..ROUNDS {
            let (sink, reports) = mpsc::channel(REPORTS_WAITING);
            let mut request = CallToolRequest::new(params.clone());
            request.extensions.insert(ProgressSink(sink));
            if let Some(bearer) = &bearer {
                request.extensions.insert(bearer.clone());
            }
            let patience = Patience {
                silence: tool.timeout.unwrap_or(self.timeouts.longest_silence()),
                total: self.timeouts.total.saturating_sub(began.elapsed()),
                visit: Some(&open.visit),
            };
            let request = ClientRequest::CallToolRequest(request);
            let wants = match self.ask(request, patience, reports, &*caller).await {
                Ok(ServerResult::InputRequiredResult(wants)) => wants,
                Ok(result) => return Ok(convert::output(result)),
                // What the server itself refuses is for the model to read.
                Err(Failure::Refused(error)) => return Ok(ToolOutput::failure(error.message.into_owned())),
                Err(Failure::Lost(error)) => return Err(error),
            };
            params.request_state.clone_from(&wants.request_state);
            match fulfilled(&open, wants).await {
                Ok(responses) => params.input_responses = responses,
                Err(text) => return Ok(ToolOutput::failure(text)),
            }
        }
        Ok(ToolOutput::failure(format!(
            "the tool wanted something {ROUNDS} times before it went on, and was given up"
        )))
    }

    /// Sends a request and waits for its answer, as long as the server is not silent for too long. Dropped before,
    /// the server is told.
    async fn ask(
        &self,
        request: ClientRequest,
        patience: Patience<'_>,
        mut reports: mpsc::Receiver<Progress>,
        caller: &dyn Caller,
    ) -> Result<ServerResult, Failure> {
        let limit = patience.silence;
        let sending = self
            .peer
            .send_request_with_option(request, PeerRequestOptions::no_options());
        let mut handle = match timeout(limit, sending).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return Err(self.failed(error, false)),
            Err(_) => return Err(self.silent(limit)),
        };
        let mut open = OpenCall::new(self, handle.id.clone());
        let silence = sleep_until(Instant::now() + limit);
        let total = sleep_until(Instant::now() + patience.total);
        tokio::pin!(silence, total);
        // Since when a person is asked: until there is an answer, time stands still.
        let mut stands_since = None;
        let mut done = f64::NEG_INFINITY;
        loop {
            tokio::select! {
                biased;
                // Reports first: those that came before the answer are passed on before it.
                Some(report) = reports.recv() => {
                    silence.as_mut().reset(Instant::now() + limit);
                    if report.progress > done {
                        done = report.progress;
                        caller.progress(report);
                    }
                }
                is_asking = patience.turns() => match (is_asking, stands_since) {
                    (true, None) => stands_since = Some(Instant::now()),
                    (false, Some(since)) => {
                        stands_since = None;
                        let later = total.deadline() + since.elapsed();
                        total.as_mut().reset(later);
                        silence.as_mut().reset(Instant::now() + limit);
                    }
                    _ => {}
                },
                answer = &mut handle.rx => {
                    open.answered();
                    return match answer {
                        Ok(Ok(result)) => Ok(result),
                        Ok(Err(error)) => Err(self.failed(error, true)),
                        Err(_) => Err(self.failed(ServiceError::TransportClosed, true)),
                    };
                }
                () = &mut silence, if stands_since.is_none() => return Err(self.silent(limit)),
                () = &mut total, if stands_since.is_none() => return Err(self.endless()),
            }
        }
    }

    /// How many calls wait for their answers.
    pub(super) fn open_calls(&self) -> usize {
        self.open_calls.load(Ordering::Relaxed)
    }

    /// Whether calls wait for their answers.
    pub(super) fn is_busy(&self) -> bool {
        self.open_calls() > 0
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
        let filter = self.changes_told();
        if filter == SubscriptionFilter::new() || !self.is_stateless() {
            return std::future::pending().await;
        }
        loop {
            let filter = filter.clone();
            if let Ok(Ok(mut stream)) = timeout(LISTEN_LIMIT, self.peer.listen(filter)).await {
                while let Ok(Some(_)) = stream.next().await {}
            }
            sleep(retry_every).await;
        }
    }

    /// The changes that the server says it tells of.
    fn changes_told(&self) -> SubscriptionFilter {
        let mut filter = SubscriptionFilter::builder();
        if let Some(info) = self.peer.peer_info() {
            let has = &info.capabilities;
            let tells = |list_changed: Option<bool>| list_changed.unwrap_or(false);
            if tells(has.tools.as_ref().and_then(|tools| tools.list_changed)) {
                filter = filter.tools_list_changed();
            }
            if tells(
                has.resources
                    .as_ref()
                    .and_then(|resources| resources.list_changed),
            ) {
                filter = filter.resources_list_changed();
            }
            if tells(has.prompts.as_ref().and_then(|prompts| prompts.list_changed)) {
                filter = filter.prompts_list_changed();
            }
        }
        filter.build()
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

    fn failed(&self, error: ServiceError, was_sent: bool) -> Failure {
        let error = match error {
            ServiceError::McpError(error) => return Failure::Refused(error),
            error => error,
        };
        self.doubt.notify_one();
        let mut text = format!("MCP server '{}': {}", self.server, reason::of_request(&error));
        if reason::is_refusal_of_access(&error) {
            let refused = unauthorized(&self.server, &reason::of_request(&error));
            return Failure::Lost(refused.caused_by(error));
        }
        let failure = if was_sent && reason::may_have_arrived(&error) {
            text.push_str("; it is not known what the call has done");
            Error::new(Reason::OutcomeUnknown, text).with("server", &self.server)
        } else {
            unavailable(&self.server, text)
        };
        Failure::Lost(failure.caused_by(error))
    }

    fn endless(&self) -> Failure {
        let limit_ms = self.timeouts.total.as_millis();
        let text = format!(
            "MCP server '{}' did not come to an end within {limit_ms} ms",
            self.server
        );
        Failure::Lost(unavailable(&self.server, text))
    }

    fn silent(&self, limit: Duration) -> Failure {
        let limit_ms = limit.as_millis();
        let text = format!("MCP server '{}' was silent for {limit_ms} ms", self.server);
        Failure::Lost(unavailable(&self.server, text))
    }
}

/// Gives a server what it wants before it goes on; none when it only wants to be asked again.
async fn fulfilled(open: &Open, wants: InputRequiredResult) -> Result<Option<InputResponses>, String> {
    let requests = wants.input_requests.unwrap_or_default();
    if requests.is_empty() {
        sleep(ROUND_PAUSE).await;
        return Ok(None);
    }
    let mut responses = InputResponses::new();
    for (key, request) in requests {
        responses.insert(key, open.fulfil(request).await?);
    }
    Ok(Some(responses))
}

/// How long an answer is waited for.
struct Patience<'a> {
    silence: Duration,
    total: Duration,
    /// The call, during which a person may be asked.
    visit: Option<&'a Visit>,
}

impl Patience<'_> {
    /// Waits until a question to a person begins or ends; says whether one is open.
    async fn turns(&self) -> bool {
        match self.visit {
            Some(visit) => {
                visit.moved.notified().await;
                visit.is_asking()
            }
            None => std::future::pending().await,
        }
    }
}

/// Why a request has no answer.
enum Failure {
    /// The server answered that it will not.
    Refused(ErrorData),
    /// The server is not connected any more, or silent.
    Lost(Error),
}

impl Signals {
    /// Splits them.
    pub(super) fn split(self) -> (Arc<Notify>, mpsc::Receiver<RequestId>) {
        (self.doubt, self.abandoned)
    }
}

/// `MCP_AUTHORIZATION_REQUIRED`, naming the server.
pub(super) fn unauthorized(server: &str, want: &str) -> Error {
    let text = format!("MCP server '{server}': {want}");
    Error::new(Reason::McpAuthorizationRequired, text).with("server", server)
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
