//! A connection to one server, once it is open: calls, listing, reading, and the question whether it is still there.

mod life;
mod listing;
mod reading;
#[cfg(test)]
mod tests;

pub(super) use life::Probe;
pub(super) use listing::Listed;
pub(super) use reading::{no_prompt, no_resource};

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientRequest,
    ErrorCode, ErrorData, InputRequiredResult, InputResponses, ProtocolVersion, RequestId, RequestMetaObject,
    ServerResult, SubscriptionFilter,
};
use rmcp::service::{ClientCacheConfig, Peer, PeerRequestOptions, RoleClient, RunningService, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::auth::Bearer;
use super::client::Client;
use super::config::{LogLevel, ServerConfig, Timeouts};
use super::convert;
use super::desk::{Desk, Open, Visit, Visited};
use super::reason;
use super::tap::{self, Changes, ProgressSink};
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
/// How often a server may want something more before it goes on with a call, and how long it is left in peace when
/// it wants nothing but to be asked again.
const ROUNDS: usize = 10;
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// What a call is refused with until a person has been to some addresses (MCP 2025-11-25, Elicitation, URL Elicitation
/// Required Error).
const ADDRESSES_FIRST: ErrorCode = ErrorCode(-32042);
/// What is said of a call that may have had its effect.
const NOT_KNOWN: &str = "; it is not known what the call has done";
/// How long a server may take to open a stream of notifications.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) struct Session {
    server: String,
    peer: Peer<RoleClient>,
    timeouts: Timeouts,
    /// What it is to log.
    log_level: LogLevel,
    /// What goes with every request of a call or a reading.
    meta: Option<RequestMetaObject>,
    desk: Arc<Desk>,
    open_calls: AtomicUsize,
    /// Requests that were given up without an answer since the server last gave one.
    unanswered: AtomicUsize,
    abandoned: mpsc::Sender<RequestId>,
    /// Notified when a call met a broken transport, or silence.
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
        running: &Running,
        config: &ServerConfig,
        desk: Arc<Desk>,
    ) -> (Arc<Self>, Signals) {
        // A list that comes from a cache says nothing about the server as it is now.
        let peer = running.peer().clone();
        peer.set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        let log_level = config.log_level.unwrap_or_else(tap::log_level);
        let meta = life::meta(&peer, log_level);
        let (sender, abandoned) = mpsc::channel(CANCELLATIONS_WAITING);
        let doubt = Arc::new(Notify::new());
        let session = Self {
            server: config.name.clone(),
            peer,
            timeouts: config.timeouts.clone(),
            log_level,
            meta,
            desk,
            open_calls: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
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
        let mut visited = Visited::default();
        for _ in 0..ROUNDS {
            let (sink, reports) = mpsc::channel(REPORTS_WAITING);
            let mut request = CallToolRequest::new(params.clone());
            request.extensions.insert(ProgressSink {
                reports: sink,
                visit: open.visit.clone(),
            });
            if let Some(bearer) = &bearer {
                request.extensions.insert(bearer.clone());
            }
            let patience = Patience {
                silence: self.silence(tool, &*caller),
                total: self.timeouts.total.saturating_sub(began.elapsed()),
                visit: Some(&open.visit),
                does_no_harm: tool.is_repeatable(),
            };
            let request = ClientRequest::CallToolRequest(request);
            let answer = self.ask(request, patience, reports, &*caller).await;
            if !matches!(answer, Err(Failure::Lost(_))) {
                open.visit.answered();
            }
            let wants = match answer {
                Ok(ServerResult::InputRequiredResult(wants)) => wants,
                Ok(result) => return Ok(convert::output(result)),
                Err(Failure::Refused(error)) if error.code == ADDRESSES_FIRST => {
                    match open.send_to_addresses(&error, &mut visited).await {
                        Ok(()) => continue,
                        Err(text) => return Ok(ToolOutput::failure(text)),
                    }
                }
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

    /// How long a call may be silent: what the operator says of the tool or its server, and no longer than who calls
    /// waits.
    fn silence(&self, tool: &ToolDescription, caller: &dyn Caller) -> Duration {
        let of_operator = tool.timeout.unwrap_or(self.timeouts.longest_silence());
        caller
            .patience()
            .map_or(of_operator, |patience| patience.min(of_operator))
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
        let mut options = PeerRequestOptions::no_options();
        options.meta.clone_from(&self.meta);
        let sending = self.peer.send_request_with_option(request, options);
        let mut handle = match timeout(limit, sending).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return Err(self.failed(error, false)),
            // It was not even taken.
            Err(_) => return Err(self.silent(limit, true)),
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
                    self.heard();
                    return match answer {
                        Ok(Ok(result)) => Ok(result),
                        Ok(Err(error)) => Err(self.failed(error, true)),
                        Err(_) => Err(self.failed(ServiceError::TransportClosed, true)),
                    };
                }
                () = &mut silence, if stands_since.is_none() => {
                    return Err(self.silent(limit, patience.does_no_harm));
                }
                () = &mut total, if stands_since.is_none() => {
                    return Err(self.endless(patience.does_no_harm));
                }
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

    /// Asks a server of the stateless revision to tell of changes, for as long as it is polled; older ones tell
    /// unasked. The changes themselves are seen by the [`Tap`](super::tap::Tap); of those that came while it was not asked,
    /// nobody is told, so that all of them count as possible then.
    pub(super) async fn listen(&self, retry_every: Duration, changes: &Changes) -> Infallible {
        let filter = self.changes_told();
        if filter == SubscriptionFilter::new() || !self.is_stateless() {
            return std::future::pending().await;
        }
        let mut has_asked = false;
        loop {
            let filter = filter.clone();
            if let Ok(Ok(mut stream)) = timeout(LISTEN_LIMIT, self.peer.listen(filter)).await {
                if has_asked {
                    changes.missed();
                }
                while let Ok(Some(_)) = stream.next().await {}
            }
            has_asked = true;
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
        is_stateless(&self.peer)
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
        if reason::is_too_large(&error) {
            // It has done what it was asked, and says so at too great length.
            return Failure::Refused(ErrorData::internal_error(text, None));
        }
        let failure = if was_sent && reason::may_have_arrived(&error) {
            text.push_str(NOT_KNOWN);
            Error::new(Reason::OutcomeUnknown, text).with("server", &self.server)
        } else {
            unavailable(&self.server, text)
        };
        Failure::Lost(failure.caused_by(error))
    }

    fn endless(&self, does_no_harm: bool) -> Failure {
        let limit_ms = self.timeouts.total.as_millis();
        self.late(
            format!("did not come to an end within {limit_ms} ms"),
            does_no_harm,
        )
    }

    fn silent(&self, limit: Duration, does_no_harm: bool) -> Failure {
        // Whether it is still there is asked at once.
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        self.doubt.notify_one();
        self.late(format!("was silent for {} ms", limit.as_millis()), does_no_harm)
    }

    /// `DEADLINE_EXCEEDED`, as of every call that takes too long, whoever's limit it was.
    fn late(&self, what: String, does_no_harm: bool) -> Failure {
        let mut text = format!("MCP server '{}' {what}", self.server);
        if !does_no_harm {
            text.push_str(NOT_KNOWN);
        }
        Failure::Lost(Error::new(Reason::DeadlineExceeded, text).with("server", &self.server))
    }
}

fn is_stateless(peer: &Peer<RoleClient>) -> bool {
    let info = peer.peer_info();
    info.is_some_and(|info| info.protocol_version == ProtocolVersion::NO_INITIALIZE)
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
    /// Whether it does not matter if it has been done or not.
    does_no_harm: bool,
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

/// `MCP_UNAVAILABLE` of what can be done again whatever it has done: it broke off, or was not answered in time.
pub(super) fn did_no_harm(server: &str, error: Error) -> Error {
    let text = error.message();
    unavailable(server, text.strip_suffix(NOT_KNOWN).unwrap_or(text)).caused_by(error)
}

/// A call that waits for its answer. Dropped before, it signals that the server is to be told.
struct OpenCall<'a> {
    session: &'a Session,
    id: Option<RequestId>,
    began: Instant,
}

impl<'a> OpenCall<'a> {
    fn new(session: &'a Session, id: RequestId) -> Self {
        session.open_calls.fetch_add(1, Ordering::Relaxed);
        Self {
            session,
            id: Some(id),
            began: Instant::now(),
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
            self.session.left_alone(self.began.elapsed());
            let _ = self.session.abandoned.try_send(id);
        }
    }
}
