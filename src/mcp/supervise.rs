//! The life of one server: connect, keep, notice that it is gone, try again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, ServiceError};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::child::{self, Child};
use super::client::Client;
use super::config::{Endpoint, Process, Remote};
use super::convert;
use super::desk::Desk;
use super::library;
use super::reason;
use super::remote;
use super::roster::{Link, Roster, Trouble, some_of};
use super::schema;
use super::session::{Running, Session};
use super::tap::{Changes, Tap};
use crate::run::catalogue::{Tool, ToolDescription};

/// How long to wait for the exit status of a child whose output has ended: it says more than the end of output.
const EXIT_STATUS_GRACE: Duration = Duration::from_millis(200);
/// How long rmcp may take to close a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// What is said of a server of the oldest remote transport.
const ONLY_SSE: &str = "the server speaks only the HTTP+SSE transport of 2024, which is not supported: ask its maker for \
                        its streamable HTTP address";
/// Changes of a list within this time are one.
pub(super) const CHANGES_SETTLE: Duration = Duration::from_millis(100);
/// Every how many signs of life of a server at an address its lists are read anew.
const RELIST_PROBES: u32 = 4;

/// The intervals at which servers are looked after.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// The wait before the first new attempt; doubled for each further one.
    pub retry_first: Duration,
    /// The longest wait before a new attempt.
    pub retry_longest: Duration,
    /// How often a server at an address is asked for a sign of life; every fourth time its lists are
    /// read anew.
    pub probe_every: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_millis(250),
            retry_longest: Duration::from_secs(30),
            probe_every: Duration::from_secs(15),
        }
    }
}

/// Keeps one server connected until it is told to stop.
pub(super) struct Supervisor {
    pub(super) link: Arc<Link>,
    pub(super) roster: Arc<Roster>,
    pub(super) pacing: Pacing,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// The tools as they were last seen: compiled schemas are used again.
    pub(super) known: Vec<Arc<Tool>>,
}

impl Supervisor {
    /// Runs until `stop`. Nothing that it started is left when it returns.
    pub(super) async fn run(mut self) {
        let mut wait = self.pacing.retry_first;
        loop {
            let start = Instant::now();
            self.serve().await;
            // A server that has lived for a while starts anew; one that keeps dying is tried less and less often.
            if start.elapsed() > self.pacing.retry_longest {
                wait = self.pacing.retry_first;
            }
            let pause = sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0));
            let pause = async {
                tokio::select! {
                    () = pause => {}
                    () = self.authorized() => {}
                }
            };
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            wait = (wait * 2).min(self.pacing.retry_longest);
        }
    }

    /// Waits until somebody has logged in at a server that asks for that.
    async fn authorized(&self) {
        match &self.link.authorizer {
            Some(authorizer) => authorizer.changed().await,
            None => std::future::pending().await,
        }
    }

    /// One connection, from the attempt to its end.
    async fn serve(&mut self) {
        let link = self.link.clone();
        match &link.config.endpoint {
            Endpoint::Stdio(process) => self.serve_child(process).await,
            Endpoint::Http(remote) => self.serve_remote(remote).await,
        }
    }

    /// Tries to begin in every way that the server's [`Protocol`](super::config::Protocol) has.
    async fn serve_remote(&mut self, remote: &Remote) {
        self.notice_logins().await;
        let mut refusal = None;
        for lifecycle in self.link.config.protocol.lifecycles() {
            let transport = match remote::transport(remote, self.link.authorizer.clone()) {
                Ok(transport) => transport,
                Err(reason) => return self.down(reason),
            };
            let never = pin!(std::future::pending());
            match self.serve_over(transport, lifecycle, never).await {
                Attempt::Over => return,
                Attempt::NeedsSession(reason) => refusal = Some(reason),
            }
        }
        if let Some(reason) = refusal {
            self.down(reason);
        }
    }

    /// Takes notice of who has logged in, or out, since.
    async fn notice_logins(&self) {
        if let Some(authorizer) = &self.link.authorizer {
            authorizer.look().await;
        }
    }

    async fn serve_child(&mut self, process: &Process) {
        let (mut child, streams) = match Child::start(process) {
            Ok(started) => started,
            Err(reason) => return self.down(reason),
        };
        let log = child::log_stderr(self.link.config.name.clone(), streams.stderr);
        let gone = CancellationToken::new();
        self.tasks.spawn(gone.clone().run_until_cancelled_owned(log));
        let transport = AsyncRwTransport::new_client(streams.stdout, streams.stdin);
        // Whoever has to be asked anew is started anew: there is only one way to begin for this process.
        let mut lifecycles = self.link.config.protocol.lifecycles().into_iter();
        let lifecycle = lifecycles.next().unwrap_or(ClientLifecycleMode::Initialize);
        if let Attempt::NeedsSession(reason) =
            self.serve_over(transport, lifecycle, pin!(child.exited())).await
        {
            self.down(reason);
        }
        child.end().await;
        gone.cancel();
    }

    /// Opens a session on a transport and keeps it; `exited` is the end of the process behind it, with the reason.
    async fn serve_over<T>(
        &mut self,
        transport: T,
        lifecycle: ClientLifecycleMode,
        mut exited: Pin<&mut impl Future<Output = String>>,
    ) -> Attempt
    where
        T: Transport<RoleClient> + 'static,
    {
        let changes = Changes::default();
        let tap = Tap::new(transport, self.link.config.name.clone(), changes.clone());
        let limit = self.link.config.connect_timeout;
        let desk = Arc::new(Desk::new(&self.link.config.name, &self.link.config.roots));
        let client = Client::new(desk.clone(), &self.link.config);
        let opening = client.serve_with_lifecycle(tap, lifecycle);
        let opened = tokio::select! {
            () = self.stop.cancelled() => Err("shutting down".to_owned()),
            reason = &mut exited => Err(reason),
            opened = timeout(limit, opening) => match opened {
                Ok(Ok(running)) => Ok(running),
                Ok(Err(error)) => {
                    tracing::debug!(server = self.link.config.name, %error, "connecting failed");
                    let reason = reason::of_start(&error);
                    if matches!(error, ClientInitializeError::NoCompatibleProtocolVersion { .. }) {
                        return Attempt::NeedsSession(reason);
                    }
                    if let Endpoint::Http(remote) = &self.link.config.endpoint
                        && reason::is_refusal_of_post(&error)
                        && remote::speaks_only_sse(remote).await
                    {
                        self.down(ONLY_SSE.to_owned());
                        return Attempt::Over;
                    }
                    Err(self.exit_status_or(reason, exited.as_mut()).await)
                }
                Err(_) => Err(format!("not connected within {} ms", limit.as_millis())),
            },
        };
        match opened {
            Ok(running) => self.keep(running, desk, &changes, exited).await,
            Err(reason) => self.down(reason),
        }
        Attempt::Over
    }

    /// Lists the tools, declares the server ready, and stays until the connection is over.
    async fn keep(
        &mut self,
        running: Running,
        desk: Arc<Desk>,
        changes: &Changes,
        mut exited: Pin<&mut impl Future<Output = String>>,
    ) {
        let config = &self.link.config;
        let (session, signals) = Session::new(&config.name, &running, config.timeouts.clone(), desk).await;
        let (doubt, abandoned) = signals.split();
        let stop = self.stop.clone();
        let probe_every = self.pacing.probe_every;
        let quit = running.cancellation_token();
        let shelving = library::Shelving {
            link: self.link.clone(),
            roster: self.roster.clone(),
            session: session.clone(),
            relist_every: matches!(config.endpoint, Endpoint::Http(_)).then(|| probe_every * RELIST_PROBES),
        };
        let mut closed = pin!(running.waiting());
        let mut is_closed = false;
        let reason = tokio::select! {
            () = stop.cancelled() => "shutting down".to_owned(),
            reason = &mut exited => reason,
            _ = &mut closed => {
                is_closed = true;
                self.exit_status_or("the server closed the connection".to_owned(), exited.as_mut()).await
            }
            reason = self.follow(&session, &changes.tools, &doubt) => self.exit_status_or(reason, exited.as_mut()).await,
            never = shelving.follow(&changes.library) => match never {},
            never = session.listen(probe_every) => match never {},
            never = session.cancel_abandoned(abandoned) => match never {},
        };
        self.down(reason);
        quit.cancel();
        if !is_closed {
            let _ = timeout(CLOSE_LIMIT, closed).await;
        }
    }

    /// Keeps the catalogue true to the server; returns with the reason when the server is lost.
    async fn follow(&mut self, session: &Arc<Session>, tools_changed: &Notify, doubt: &Notify) -> String {
        let limit = self.link.config.connect_timeout;
        match timeout(limit, self.list(session)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return reason::of_request(&error),
            Err(_) => return format!("the tools were not listed within {} ms", limit.as_millis()),
        }
        let config = &self.link.config;
        tracing::info!(server = config.name, tools = self.known.len(), "MCP server ready");
        let is_remote = matches!(config.endpoint, Endpoint::Http(_));
        let mut probes: u32 = 0;
        loop {
            let lists = tokio::select! {
                () = tools_changed.notified() => {
                    sleep(CHANGES_SETTLE).await;
                    true
                }
                () = doubt.notified(), if is_remote => false,
                () = sleep(self.pacing.probe_every), if is_remote => {
                    probes = probes.wrapping_add(1);
                    probes.is_multiple_of(RELIST_PROBES)
                }
            };
            if lists {
                let error = match timeout(limit, self.list(session)).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(reason::of_request(&error)),
                    Err(_) => Some(format!("no answer within {} ms", limit.as_millis())),
                };
                if let Some(error) = &error {
                    tracing::warn!(
                        server = self.link.config.name,
                        error,
                        "the tools cannot be listed"
                    );
                }
                let trouble = error.map(|error| format!("the tools cannot be listed: {error}"));
                self.link.note(Trouble::Tools, trouble);
            }
            if is_remote {
                self.notice_logins().await;
                let silent = match session.ping().await {
                    Ok(()) => None,
                    // One that is busy with a call may have no time for a ping.
                    Err(error @ ServiceError::Timeout { .. }) if session.is_busy() => {
                        Some(format!("no sign of life: {}", reason::of_request(&error)))
                    }
                    Err(error) => return reason::of_request(&error),
                };
                self.link.note(Trouble::Pings, silent);
            }
        }
    }

    /// Lists the tools and publishes them.
    async fn list(&mut self, session: &Arc<Session>) -> Result<(), ServiceError> {
        let listed = session.tools().await?;
        let mut tools = Vec::with_capacity(listed.len());
        let mut left_out = Vec::new();
        for tool in listed {
            if !self.link.config.offer.has(&tool.name) {
                continue;
            }
            let Some(description) = convert::description(&self.link.config, tool) else {
                continue;
            };
            match check_schemas(&description) {
                Ok(()) => tools.push(self.compiled(description)),
                Err(problem) => left_out.push(format!("{} is left out: {problem}", description.remote_name)),
            }
            // Schemas may be large and many.
            tokio::task::yield_now().await;
        }
        let left_out = (!left_out.is_empty()).then(|| some_of(&left_out));
        if let Some(left_out) = &left_out {
            tracing::warn!(server = self.link.config.name, left_out, "tools are left out");
        }
        self.link.note(Trouble::LeftOut, left_out);
        self.known.clone_from(&tools);
        self.roster.ready(&self.link, session.clone(), tools);
        Ok(())
    }

    fn compiled(&self, description: ToolDescription) -> Arc<Tool> {
        let known = self.known.iter().find(|tool| *tool.description() == description);
        match known {
            Some(tool) => tool.clone(),
            None => Arc::new(Tool::new(description)),
        }
    }

    /// The exit status of the process behind a connection, if it comes at once; otherwise the reason at hand.
    async fn exit_status_or(&self, reason: String, exited: Pin<&mut impl Future<Output = String>>) -> String {
        match self.link.config.endpoint {
            Endpoint::Stdio(_) => timeout(EXIT_STATUS_GRACE, exited).await.unwrap_or(reason),
            Endpoint::Http(_) => reason,
        }
    }

    fn down(&self, reason: String) {
        if !self.stop.is_cancelled() {
            tracing::warn!(server = self.link.config.name, reason, "MCP server down");
        }
        self.roster.down(&self.link, reason);
    }
}

/// What came of an attempt to connect.
enum Attempt {
    /// The connection was kept until its end, or failed; the server is down.
    Over,
    /// The server has none of the revisions that were offered, for this reason.
    NeedsSession(String),
}

/// Whether the schemas of a tool are within bounds.
fn check_schemas(description: &ToolDescription) -> Result<(), String> {
    schema::check(&description.input_schema).map_err(|problem| format!("its input schema {problem}"))?;
    let output_schema = description.output_schema.as_deref();
    output_schema
        .map_or(Ok(()), schema::check)
        .map_err(|problem| format!("its output schema {problem}"))
}
