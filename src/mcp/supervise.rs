//! The life of one server: connect, keep, notice that it is gone, try again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt};
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
use super::lines::{Lines, MESSAGE_LIMIT_BYTES};
use super::link::{Held, Link, Trouble, held_back, some_of};
use super::pulse::Pulse;
use super::reason;
use super::remote;
use super::roster::Roster;
use super::schema;
use super::session::{Running, Session};
use super::tap::{Changes, Tap};
use super::watchdog::Watchdog;
use crate::run::catalogue::{Tool, ToolDescription};
use crate::run::pin::{Fingerprint, Quarantine};
use crate::run::ports::{Pinned, Pins};

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
    /// How often a server is asked for a sign of life; of one at an address, every fourth time the lists are read anew.
    pub probe_every: Duration,
    /// How long it may take to give one.
    pub probe_limit: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_millis(250),
            retry_longest: Duration::from_secs(30),
            probe_every: Duration::from_secs(15),
            probe_limit: Duration::from_secs(10),
        }
    }
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Calls, and what the server has: it lists, and hears of changes.
    First,
    /// Calls of a server that can be used already.
    Further,
}

/// Keeps one session with a server open until it is told to stop.
pub(super) struct Supervisor {
    pub(super) role: Role,
    pub(super) link: Arc<Link>,
    pub(super) roster: Arc<Roster>,
    pub(super) pins: Arc<dyn Pins>,
    pub(super) pacing: Pacing,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) watchdog: Option<Arc<Watchdog>>,
    /// Whether it was said what the configuration says of tools that are not there.
    pub(super) has_warned: bool,
    /// The tools as they were last seen: compiled schemas are used again.
    pub(super) known: Vec<Arc<Tool>>,
}

impl Supervisor {
    /// Runs until `stop`. Nothing that it started is left when it returns.
    pub(super) async fn run(mut self) {
        let mut wait = self.pacing.retry_first;
        loop {
            if self.role == Role::Further {
                let ready = self.roster.ready_to(&self.link);
                if self.stop.run_until_cancelled(ready).await.is_none() {
                    return;
                }
            }
            let start = Instant::now();
            self.serve().await;
            // A server that has lived for a while starts anew; one that keeps dying is tried less and less often.
            if start.elapsed() > self.pacing.retry_longest {
                wait = self.pacing.retry_first;
            }
            let pause = sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0));
            let pause = async {
                tokio::select! {
                    () = pause => false,
                    () = self.authorized() => false,
                    () = self.link.hurried() => true,
                }
            };
            wait = match self.stop.run_until_cancelled(pause).await {
                None => return,
                Some(true) => self.pacing.retry_first,
                Some(false) => (wait * 2).min(self.pacing.retry_longest),
            };
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
            let changes = Changes::default();
            let transport = remote::transport(remote, self.link.authorizer.clone(), changes.clone());
            let transport = match transport {
                Ok(transport) => transport,
                Err(reason) => return self.down(reason),
            };
            let never = pin!(std::future::pending());
            match self.serve_over(transport, &changes, lifecycle, never).await {
                Attempt::Over => return,
                Attempt::NeedsSession(reason) => refusal = Some(reason),
                Attempt::Refused(reason) | Attempt::Failed(reason) => return self.down(reason),
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

    /// Tries to begin in every way that the server's [`Protocol`](super::config::Protocol) has, each with a process of
    /// its own: one that has been asked a question that it does not know may be of no use any more.
    async fn serve_child(&mut self, process: &Process) {
        let protocol = &self.link.config.protocol;
        let mut lifecycles = protocol.lifecycles_of_child().into_iter().peekable();
        // What it has answered to the beginning of a session.
        let mut refusal = None;
        while let Some(lifecycle) = lifecycles.next() {
            let (mut child, streams) = match Child::start(process, self.watchdog.as_ref()) {
                Ok(started) => started,
                Err(reason) => return self.down(reason),
            };
            let log = child::log_stderr(self.link.config.name.clone(), streams.stderr);
            let gone = CancellationToken::new();
            self.tasks.spawn(gone.clone().run_until_cancelled_owned(log));
            let transport = AsyncRwTransport::new_client(Lines::new(streams.stdout), streams.stdin)
                .with_max_line_length(MESSAGE_LIMIT_BYTES);
            let is_session = matches!(lifecycle, ClientLifecycleMode::Initialize);
            let changes = Changes::default();
            let attempt = self
                .serve_over(transport, &changes, lifecycle, pin!(child.exited()))
                .await;
            let is_last = lifecycles.peek().is_none() || self.stop.is_cancelled();
            let (reason, is_refusal) = match attempt {
                Attempt::Over => (None, false),
                Attempt::Refused(reason) => (Some(reason), true),
                Attempt::NeedsSession(reason) | Attempt::Failed(reason) => (Some(reason), false),
            };
            // One that breaks off when a session begins is of no more use in another way.
            let goes_on = reason.is_some() && !is_last && (is_refusal || !is_session);
            if let Some(reason) = reason {
                // What it says of a session says more than that it does not know what it was asked after that.
                let reason = refusal.take().unwrap_or(reason);
                if goes_on {
                    let server = &self.link.config.name;
                    tracing::debug!(
                        server,
                        reason,
                        "the server is started anew, and asked in another way"
                    );
                    refusal = is_session.then_some(reason);
                } else {
                    self.down(reason);
                }
            }
            child.end().await;
            gone.cancel();
            if !goes_on {
                return;
            }
        }
    }

    /// Opens a session on a transport and keeps it; `changes` are what is heard on it, `exited` is the end of the process
    /// behind it, with the reason.
    async fn serve_over<T>(
        &mut self,
        transport: T,
        changes: &Changes,
        lifecycle: ClientLifecycleMode,
        mut exited: Pin<&mut impl Future<Output = String>>,
    ) -> Attempt
    where
        T: Transport<RoleClient> + 'static,
    {
        let desk = Arc::new(Desk::new(&self.link.config));
        let server = self.link.config.name.clone();
        let tap = Tap::new(transport, server, changes.clone(), desk.clone());
        let limit = self.link.config.connect_timeout;
        let client = Client::new(desk.clone(), &self.link.config);
        let opening = client.serve_with_lifecycle(tap, lifecycle);
        let mut opening = pin!(timeout(limit, opening));
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Attempt::Failed("shutting down".to_owned()),
            opened = &mut opening => opened,
            // It may have said why.
            reason = &mut exited => match timeout(EXIT_STATUS_GRACE, opening).await {
                Ok(Ok(Err(error))) if !reason::is_broken_start(&error) => Ok(Err(error)),
                _ => return Attempt::Failed(reason),
            },
        };
        match opened {
            Ok(Ok(running)) => {
                self.keep(running, desk, changes, exited).await;
                Attempt::Over
            }
            Err(_) => Attempt::Failed(format!("not connected within {} ms", limit.as_millis())),
            Ok(Err(error)) => {
                tracing::debug!(server = self.link.config.name, %error, "connecting failed");
                let reason = reason::of_start(&error);
                if matches!(error, ClientInitializeError::NoCompatibleProtocolVersion { .. }) {
                    return Attempt::NeedsSession(reason);
                }
                if reason::is_refusal_of_start(&error) {
                    return Attempt::Refused(reason);
                }
                if let Endpoint::Http(remote) = &self.link.config.endpoint
                    && reason::is_refusal_of_post(&error)
                    && remote::speaks_only_sse(remote).await
                {
                    return Attempt::Failed(ONLY_SSE.to_owned());
                }
                if !reason::is_broken_start(&error) {
                    return Attempt::Failed(reason);
                }
                Attempt::Failed(self.exit_status_or(reason, exited).await)
            }
        }
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
        let (session, signals) = Session::new(&running, config, desk).await;
        let (doubt, abandoned) = signals.split();
        let (stop, link) = (self.stop.clone(), self.link.clone());
        let pacing = self.pacing;
        let probe_every = pacing.probe_every;
        let quit = running.cancellation_token();
        let shelving = library::Shelving {
            link: self.link.clone(),
            roster: self.roster.clone(),
            session: session.clone(),
            relist_every: matches!(config.endpoint, Endpoint::Http(_)).then(|| probe_every * RELIST_PROBES),
        };
        let mut closed = pin!(running.waiting());
        let mut is_closed = false;
        let is_first = self.role == Role::First;
        let reason = tokio::select! {
            () = stop.cancelled() => "shutting down".to_owned(),
            reason = &mut exited => reason,
            _ = &mut closed => {
                is_closed = true;
                self.exit_status_or("the server closed the connection".to_owned(), exited.as_mut()).await
            }
            reason = self.follow(&session, &changes.tools, &doubt), if is_first => {
                self.exit_status_or(reason, exited.as_mut()).await
            }
            reason = stay(&link, &session, pacing, &doubt), if !is_first => reason,
            never = shelving.follow(&changes.library), if is_first => match never {},
            never = session.listen(probe_every, changes), if is_first => match never {},
            never = session.cancel_abandoned(abandoned) => match never {},
            never = session.set_log_level(&changes.session) => match never {},
        };
        self.lost(Some(&session), &reason);
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
            Ok(Err(reason)) => return reason,
            Err(_) => return format!("the tools were not listed within {} ms", limit.as_millis()),
        }
        let config = &self.link.config;
        tracing::info!(server = config.name, tools = self.known.len(), "MCP server ready");
        let is_remote = matches!(config.endpoint, Endpoint::Http(_));
        let mut pulse = Pulse::of(&config.endpoint, self.pacing.probe_limit);
        let mut probes: u32 = 0;
        loop {
            let lists = tokio::select! {
                () = tools_changed.notified() => {
                    sleep(CHANGES_SETTLE).await;
                    true
                }
                () = doubt.notified() => false,
                // Another process may have been told that what is held back is accepted.
                () = sleep(self.pacing.probe_every) => {
                    probes = probes.wrapping_add(1);
                    is_remote && probes.is_multiple_of(RELIST_PROBES)
                }
            };
            if lists {
                let error = match timeout(limit, self.list(session)).await {
                    Ok(Ok(())) => None,
                    Ok(Err(reason)) => Some(reason),
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
            } else if self.link.is_holding() {
                self.compare(session).await;
            }
            if is_remote {
                self.notice_logins().await;
            }
            match pulse.feel(session).await {
                Ok(silent) => self.link.note(Trouble::Pings, silent),
                Err(reason) => return reason,
            }
        }
    }

    /// Lists the tools and publishes them.
    async fn list(&mut self, session: &Arc<Session>) -> Result<(), String> {
        let listed = session
            .tools()
            .await
            .map_err(|error| reason::of_request(&error))?;
        self.link.note(Trouble::ToolsCut, listed.cut);
        let listed = listed.items;
        self.warn_of_unmatched(&listed);
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
        self.note_unchecked(&tools);
        let held = self.held(&tools).await?;
        if let Some(held) = held_back(&tools, &held).filter(|_| !self.is_known(&tools)) {
            tracing::warn!(server = self.link.config.name, held, "tools have changed");
        }
        self.known.clone_from(&tools);
        self.roster.ready(&self.link, session, tools, held);
        Ok(())
    }

    /// Says which tools have schemas that check nothing: logged when the tools are others than before.
    fn note_unchecked(&self, tools: &[Arc<Tool>]) {
        let unchecked = tools.iter().filter_map(|tool| {
            let why = tool.unchecked()?;
            Some(format!(
                "{} is not checked: {why}",
                tool.description().remote_name
            ))
        });
        let unchecked: Vec<String> = unchecked.collect();
        let unchecked = (!unchecked.is_empty()).then(|| some_of(&unchecked));
        if let Some(unchecked) = unchecked.as_ref().filter(|_| !self.is_known(tools)) {
            tracing::warn!(
                server = self.link.config.name,
                unchecked,
                "tools have schemas that check nothing"
            );
        }
        self.link.note(Trouble::NotChecked, unchecked);
    }

    /// Says once what the configuration says of tools that the server does not have: it may be a slip of the pen.
    fn warn_of_unmatched(&mut self, listed: &[rmcp::model::Tool]) {
        if std::mem::replace(&mut self.has_warned, true) {
            return;
        }
        let config = &self.link.config;
        let names: Vec<&str> = listed.iter().map(|tool| &*tool.name).collect();
        let file = config.file.as_ref().map(|file| file.display().to_string());
        for key in config.unmatched(&names) {
            let server = &config.name;
            tracing::warn!(
                server,
                file,
                key,
                "the configuration is about a tool that the server does not have"
            );
        }
    }

    /// Which of these tools are not as they were approved. Those that nobody has seen before are approved now.
    async fn held(&self, tools: &[Arc<Tool>]) -> Result<Held, String> {
        if self.link.config.pin_tools != Some(true) {
            return Ok(Held::new());
        }
        let mut now = Pinned::new();
        for tool in tools {
            let description = tool.description();
            // Of two tools with one name the first is offered.
            now.entry(description.remote_name.clone())
                .or_insert_with(|| Fingerprint::of(description));
        }
        let approved = self.pins.pin(&self.link.config.name, &now).await;
        let approved = approved.map_err(|error| {
            format!(
                "which of its tools are approved cannot be read: {}",
                error.message()
            )
        })?;
        let held = now.into_iter().filter_map(|(tool, now)| {
            let quarantine = Quarantine::of(approved.get(&tool)?, now)?;
            Some((tool, quarantine))
        });
        Ok(held.collect())
    }

    /// Looks again which tools are held back.
    async fn compare(&self, session: &Arc<Session>) {
        match self.held(&self.known).await {
            Ok(held) => self.roster.ready(&self.link, session, self.known.clone(), held),
            Err(error) => tracing::warn!(server = self.link.config.name, error, "tools stay held back"),
        }
    }

    fn is_known(&self, tools: &[Arc<Tool>]) -> bool {
        let mut pairs = tools.iter().zip(&self.known);
        tools.len() == self.known.len() && pairs.all(|(tool, known)| Arc::ptr_eq(tool, known))
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
        self.lost(None, &reason);
    }

    /// A session is over, or could not be had.
    fn lost(&self, session: Option<&Arc<Session>>, reason: &str) {
        self.roster.down(&self.link, session, reason);
        let server = &self.link.config.name;
        match (self.stop.is_cancelled(), self.link.is_ready()) {
            (true, _) => {}
            (false, true) => tracing::warn!(server, reason, "a session with an MCP server is lost"),
            (false, false) => tracing::warn!(server, reason, "MCP server down"),
        }
    }
}

/// Stays with a further session for as long as it is good, and its server can be used; gives the reason of its end.
async fn stay(link: &Link, session: &Arc<Session>, pacing: Pacing, doubt: &Notify) -> String {
    if !link.join(session) {
        return "the server went away".to_owned();
    }
    let mut pulse = Pulse::of(&link.config.endpoint, pacing.probe_limit);
    loop {
        tokio::select! {
            () = doubt.notified() => {}
            () = sleep(pacing.probe_every) => {}
        }
        match pulse.feel(session).await {
            Err(reason) => return reason,
            Ok(_) if !link.is_ready() => return "the server went away".to_owned(),
            Ok(_) => {}
        }
    }
}

/// What came of an attempt to connect.
enum Attempt {
    /// The connection was kept until its end; the server is down.
    Over,
    /// The server has none of the revisions that were offered, for this reason.
    NeedsSession(String),
    /// The server answered that it does not begin, for this reason.
    Refused(String),
    /// There was no connection, for this reason.
    Failed(String),
}

/// Whether the schemas of a tool are within bounds.
fn check_schemas(description: &ToolDescription) -> Result<(), String> {
    schema::check(&description.input_schema).map_err(|problem| format!("its input schema {problem}"))?;
    let output_schema = description.output_schema.as_deref();
    output_schema
        .map_or(Ok(()), schema::check)
        .map_err(|problem| format!("its output schema {problem}"))
}

#[cfg(test)]
mod tests;
