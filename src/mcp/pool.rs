//! All servers together: the heart's toolbox; see [`library`](super::library) for what else they have.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Vault;
use super::config::{Config, ServerConfig};
use super::library::{likely_owner, open};
use super::link::{Link, Trouble, gone};
use super::roster::Roster;
use super::session::{Probe, Session, did_no_harm};
use super::supervise::{Pacing, Role, Supervisor};
use super::watchdog::Watchdog;
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::error::{Error, Reason};
use crate::run::message::ToolOutput;
use crate::run::pin::Fingerprint;
use crate::run::ports::{Caller, Pinned, Pins, ServerStatus, Toolbox};

/// How often it is looked whether the calls of a server that is not configured any more are over.
const RETIREMENT_LOOK: Duration = Duration::from_millis(200);
/// How long a call that broke off, and does no harm when it is made again, waits for its server to come back.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// The connections to all configured servers.
///
/// Must be [shut down](Pool::shutdown): a pool that is only dropped stops its tasks, but does not wait for the child
/// processes to end.
pub struct Pool {
    roster: Arc<Roster>,
    pins: Arc<dyn Pins>,
    pacing: Pacing,
    vault: Arc<Vault>,
    watchdog: Option<Arc<Watchdog>>,
    /// Held while the servers are exchanged.
    exchange: Mutex<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: tokio_util::sync::DropGuard,
}

impl Pool {
    /// Begins to connect to every server that is not disabled, each in a task of its own, and returns at once.
    /// How tools were when they were approved is kept in `pins`. Must be called within a tokio runtime; TLS needs the
    /// process's default provider of rustls.
    ///
    /// Nobody can be logged in; see [`with_logins`](Self::with_logins).
    pub fn start(config: Config, pacing: Pacing, pins: Arc<dyn Pins>) -> Self {
        Self::with_logins(config, pacing, pins, Arc::new(Vault::in_memory()))
    }

    /// The same, with the logins of people at servers in this vault.
    pub fn with_logins(config: Config, pacing: Pacing, pins: Arc<dyn Pins>, vault: Arc<Vault>) -> Self {
        Self::with_watchdog(config, pacing, pins, vault, None)
    }

    /// The same, with somebody who ends the child processes when this process is killed.
    pub fn with_watchdog(
        config: Config,
        pacing: Pacing,
        pins: Arc<dyn Pins>,
        vault: Arc<Vault>,
        watchdog: Option<Watchdog>,
    ) -> Self {
        let stop = CancellationToken::new();
        let servers = config.servers.into_iter();
        let links = servers.map(|server| Link::new(server, &vault, stop.child_token()));
        let pool = Self {
            roster: Arc::new(Roster::new(links.collect())),
            pins,
            pacing,
            vault,
            watchdog: watchdog.map(Arc::new),
            exchange: Mutex::default(),
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        };
        if let Some(watchdog) = &pool.watchdog {
            pool.tasks.spawn(watchdog.clone().keep(pool.stop.clone()));
        }
        for link in pool.roster.links().iter() {
            pool.supervise(link);
        }
        pool
    }

    fn supervise(&self, link: &Arc<Link>) {
        if link.config.disabled {
            return;
        }
        if let Some(reason) = link.config.unsupported {
            tracing::warn!(server = link.config.name, reason, "MCP server down");
            return;
        }
        for number in 0..link.config.connections {
            self.hold(link, if number == 0 { Role::First } else { Role::Further });
        }
    }

    fn hold(&self, link: &Arc<Link>, role: Role) {
        let supervisor = Supervisor {
            role,
            link: link.clone(),
            roster: self.roster.clone(),
            pins: self.pins.clone(),
            pacing: self.pacing,
            stop: link.stop.clone(),
            tasks: self.tasks.clone(),
            watchdog: self.watchdog.clone(),
            has_warned: false,
            known: Vec::new(),
        };
        self.tasks.spawn(supervisor.run());
    }

    /// From now on there are these servers, in this order. One whose entry is as before stays connected; calls and readings at one that
    /// is gone or has changed go on to their end, at the old one.
    pub fn reconfigure(&self, config: Config) {
        let _one_at_a_time = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        self.roster.set_trouble(None);
        let before = self.roster.links();
        let kept = |server: &ServerConfig| before.iter().find(|link| link.config == *server).cloned();
        let mut added = Vec::new();
        let links = config.servers.into_iter().map(|server| {
            kept(&server).unwrap_or_else(|| {
                let link = Link::new(server, &self.vault, self.stop.child_token());
                let namesake = before.iter().find(|other| other.config.name == link.config.name);
                if let Some(namesake) = namesake {
                    link.take_over(namesake);
                }
                added.push(link.clone());
                link
            })
        });
        let links: Vec<Arc<Link>> = links.collect();
        let is_gone = |link: &&Arc<Link>| !links.iter().any(|other| Arc::ptr_eq(other, link));
        let gone: Vec<Arc<Link>> = before.iter().filter(is_gone).cloned().collect();
        // Of two tools with one name the earlier server's is offered: another order is another configuration.
        let is_same = |(link, other): (&Arc<Link>, &Arc<Link>)| Arc::ptr_eq(link, other);
        if links.len() == before.len() && links.iter().zip(before.iter()).all(is_same) {
            return;
        }
        tracing::info!(
            added = ?names(&added),
            removed = ?names(&gone),
            order = ?names(&links),
            "the MCP servers are reconfigured"
        );
        for link in &gone {
            link.set_retired();
        }
        self.roster.replace(links);
        for link in &added {
            self.supervise(link);
        }
        for link in gone {
            self.tasks.spawn(retire(link));
        }
    }

    /// Every server that is down is tried again at once.
    pub fn hurry(&self) {
        for link in self.roster.links().iter() {
            link.hurry();
        }
    }

    /// The newest configuration cannot be used, for this reason: the one before stays in force.
    pub fn keep_configuration(&self, reason: String) {
        tracing::error!(
            reason,
            "the MCP configuration cannot be used: the one before stays in force"
        );
        self.roster.set_trouble(Some(reason));
    }

    /// What is known of the servers.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Waits until the first attempt to connect to each server is over, with everything listed, or `limit` has passed; says which.
    pub async fn settled(&self, limit: Duration) -> bool {
        timeout(limit, self.roster.settled()).await.is_ok()
    }

    /// Closes every connection and ends every child process. Bounded: a child that does not end by itself is killed
    /// after a few seconds. Calls that are under way fail with `MCP_UNAVAILABLE`.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[async_trait]
impl Toolbox for Pool {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.roster.catalogue()
    }

    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        caller: Arc<dyn Caller>,
    ) -> Result<ToolOutput, Error> {
        let description = tool.description();
        let Some(link) = self.roster.link(&description.server) else {
            return Err(gone(&description.server));
        };
        let _place = link.enter(caller.name()).await?;
        let session = open(&link)?;
        check_offered(&link, &self.roster.catalogue(), tool)?;
        caller.begins();
        let again = tool.is_repeatable().then(|| arguments.clone());
        let tokens = &link.caller_tokens;
        let bearer = tokens.bearer(&description.server, caller.credentials()).await?;
        let called = session
            .call(description, arguments, caller.clone(), bearer.clone())
            .await;
        let called = match (called, again) {
            (Err(error), Some(arguments)) if error.reason() == Reason::OutcomeUnknown => {
                tracing::info!(tool = tool.name(), %error, "a call that does no harm is made again");
                match timeout(RETRY_LIMIT, back(&link)).await {
                    // It may have come back as another one.
                    Ok(session) => match check_offered(&link, &self.roster.catalogue(), tool) {
                        Ok(()) => {
                            let caller = caller.clone();
                            session.call(description, arguments, caller, bearer.clone()).await
                        }
                        Err(refusal) => Err(refusal),
                    },
                    Err(_) => Err(error),
                }
                .map_err(harmless)
            }
            (called, _) => called,
        };
        if let Err(error) = &called
            && bearer.is_some()
            && error.reason() == Reason::McpAuthorizationRequired
        {
            // It says nothing of how the server is.
            tokens.refused(caller.credentials());
            return called;
        }
        let is_theirs = |error: &&Error| {
            matches!(
                error.reason(),
                Reason::McpUnavailable
                    | Reason::McpAuthorizationRequired
                    | Reason::OutcomeUnknown
                    | Reason::DeadlineExceeded
            )
        };
        let failure = called.as_ref().err().filter(is_theirs);
        let failure = failure.map(|error| error.message().to_owned());
        link.note_of(&session, Trouble::Calls, failure);
        called
    }

    fn missing(&self, tool: &str) -> Option<Error> {
        let links = self.roster.links();
        // Names stay their owners' while those are away.
        let known = links
            .iter()
            .position(|link| link.names().tools.contains_key(tool));
        let owner = known.or_else(|| likely_owner(links.iter().map(|link| &link.config), tool))?;
        open(links.get(owner)?).err()
    }

    async fn accept(
        &self,
        server: &str,
        tools: &[String],
        digests: &[String],
    ) -> Result<Vec<Arc<Tool>>, Error> {
        let Some(link) = self.roster.link(server) else {
            return Err(Error::invalid(
                "server",
                format!("there is no MCP server named {server:?}"),
            ));
        };
        open(&link)?;
        let listed = link.tools();
        if let Some(unknown) = tools
            .iter()
            .find(|name| listed.iter().all(|(tool, _)| tool.name() != *name))
        {
            let text = format!("MCP server {server:?} has no tool named {unknown:?}");
            return Err(Error::new(Reason::ToolNotFound, text).with("tool", unknown));
        }
        let mut accepted = Vec::new();
        let mut pinned = Pinned::new();
        for (tool, held) in listed {
            let Some(held) =
                held.filter(|_| tools.is_empty() || tools.iter().any(|name| name == tool.name()))
            else {
                continue;
            };
            if !digests.is_empty() && !digests.contains(&held.now.digest()) {
                return Err(changed(&tool));
            }
            pinned.insert(tool.description().remote_name.clone(), held.now);
            accepted.push(tool);
        }
        if !accepted.is_empty() {
            self.pins.accept(server, &pinned).await?;
            self.roster.release(&link, &pinned);
            tracing::info!(server, tools = ?pinned.keys(), "changed tools are accepted");
        }
        Ok(accepted)
    }

    fn servers(&self) -> Vec<ServerStatus> {
        self.roster.links().iter().map(|link| link.status()).collect()
    }

    fn trouble(&self) -> Option<String> {
        self.roster.trouble()
    }
}

fn names(links: &[Arc<Link>]) -> Vec<&str> {
    links.iter().map(|link| link.config.name.as_str()).collect()
}

/// Lets what goes on at a server that is gone from the configuration come to its end, then ends it. There is no limit
/// here: every call and every reading has its own, and a call may wait for a person.
async fn retire(link: Arc<Link>) {
    let idle = async {
        while !link.gate.is_idle() {
            sleep(RETIREMENT_LOOK).await;
        }
    };
    let _ = link.stop.run_until_cancelled(idle).await;
    link.stop.cancel();
}

/// Waits until a server that broke off answers again.
async fn back(link: &Link) -> Arc<Session> {
    const FIRST_LOOK: Duration = Duration::from_millis(20);
    let mut pause = FIRST_LOOK;
    loop {
        if let Ok(session) = link.session()
            && session.ping(Probe::Ping, RETRY_LIMIT).await.is_ok()
        {
            return session;
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// The failure of a call that does no harm: whatever it has done, it can be made again.
fn harmless(error: Error) -> Error {
    match error.reason() {
        Reason::OutcomeUnknown => {
            let server = error.metadata().iter().find(|(key, _)| *key == "server");
            let server = server.map(|(_, server)| server.clone()).unwrap_or_default();
            did_no_harm(&server, error)
        }
        _ => error,
    }
}

/// Whether a tool can be called as it was given: its server has it, it is not held back, and where tools are pinned
/// it is still the same.
fn check_offered(link: &Link, catalogue: &Catalogue, tool: &Tool) -> Result<(), Error> {
    let description = tool.description();
    let offered = catalogue.get(&description.name).filter(|offered| {
        let offered = offered.description();
        offered.server == description.server && offered.remote_name == description.remote_name
    });
    let Some(offered) = offered else {
        return Err(not_found(tool));
    };
    if let Some(quarantine) = catalogue.held().get(&description.name) {
        return Err(quarantine.refusal(tool));
    }
    let is_pinned = link.config.pin_tools == Some(true) && offered.description() != description;
    if is_pinned && Fingerprint::of(offered.description()) != Fingerprint::of(description) {
        return Err(changed(tool));
    }
    Ok(())
}

fn changed(tool: &Tool) -> Error {
    let description = tool.description();
    let text = format!(
        "the tool {:?} has changed since it was looked at",
        description.name
    );
    Error::new(Reason::ToolChanged, text)
        .with("tool", &description.name)
        .with("server", &description.server)
}

fn not_found(tool: &Tool) -> Error {
    let description = tool.description();
    Error::new(
        Reason::ToolNotFound,
        format!("tool '{}' is not offered any more", description.name),
    )
    .with("tool", &description.name)
    .with("server", &description.server)
}

#[cfg(test)]
mod tests {
    use super::super::config::{Endpoint, Process};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_at_a_server_that_is_gone_ends_by_itself_and_nothing_more_begins() {
        let process = Process {
            command: "none".into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
        };
        let config = ServerConfig::new("gone", Endpoint::Stdio(process));
        let link = Link::new(config, &Arc::new(Vault::in_memory()), CancellationToken::new());
        let place = link.enter("").await.unwrap();
        link.set_retired();
        let retiring = tokio::spawn(retire(link.clone()));
        sleep(Duration::from_secs(24 * 60 * 60)).await;
        assert!(!link.stop.is_cancelled(), "the call goes on");
        let refused = link.enter("").await.err().unwrap();
        assert_eq!(refused.reason(), Reason::McpUnavailable);
        drop(place);
        retiring.await.unwrap();
        assert!(link.stop.is_cancelled());
    }
}
