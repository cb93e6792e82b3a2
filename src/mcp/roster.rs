//! What is known of every server, and the catalogue that follows from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::auth::{Authorizer, Vault};
use super::caller_tokens::CallerTokens;
use super::config::ServerConfig;
use super::gate::Gate;
use super::library::Shelf;
use super::session::{Session, unauthorized, unavailable};
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::error::Error;
use crate::run::library::Holdings;
use crate::run::pin::Quarantine;
use crate::run::ports::{Connection, Pinned, ServerStatus};

/// One server and how it is now.
pub(super) struct Link {
    pub(super) config: ServerConfig,
    /// Gets its tokens, if it may need some.
    pub(super) authorizer: Option<Arc<Authorizer>>,
    /// What becomes of the tokens of callers.
    pub(super) caller_tokens: CallerTokens,
    phase: RwLock<Phase>,
    /// What it has besides tools, once that was listed on the open connection.
    shelf: RwLock<Option<Shelf>>,
    last_error_time: RwLock<Option<SystemTime>>,
    /// What does not work although it is connected.
    troubles: Mutex<BTreeMap<Trouble, String>>,
    /// How many of its tools are in the catalogue and can be called.
    offered: AtomicUsize,
    /// The way to it, for calls.
    pub(super) gate: Gate,
    /// Its supervisor ends.
    pub(super) stop: CancellationToken,
}

/// What may not work of a server that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Fewer sessions are open than there are to be.
    Sessions,
    /// Calls break off, or are not answered in time.
    Calls,
    /// It gives no signs of life while calls go on.
    Pings,
    /// Its tools cannot be listed.
    Tools,
    /// Some of its tools are left out.
    LeftOut,
    /// Some of its tools have names that others have.
    Names,
    /// Its resources, their templates or its prompts cannot be listed.
    Resources,
    /// See there.
    Templates,
    /// See there.
    Prompts,
}

/// How a server is.
enum Phase {
    Disabled,
    Connecting,
    Ready {
        /// Those that are open: at least one.
        sessions: Vec<Arc<Session>>,
        tools: Vec<Arc<Tool>>,
        /// Those of them that are held back.
        held: Held,
    },
    /// It does not let us in; the reason says what is to be done.
    Unauthorized(String),
    Down(String),
}

/// Tools of one server that are held back, by their names on the server.
pub(super) type Held = HashMap<String, Quarantine>;

/// All servers, in the order of the configuration.
pub(super) struct Roster {
    links: RwLock<Arc<[Arc<Link>]>>,
    trouble: RwLock<Option<String>>,
    catalogue: RwLock<Arc<Catalogue>>,
    holdings: RwLock<Arc<Holdings>>,
    changes: watch::Sender<()>,
}

impl Link {
    /// A server that is not connected yet; `stop` ends what is done for it, and logins are in the vault.
    pub(super) fn new(config: ServerConfig, vault: &Arc<Vault>, stop: CancellationToken) -> Arc<Self> {
        let phase = match config.disabled {
            true => Phase::Disabled,
            false => Phase::Connecting,
        };
        Arc::new(Self {
            offered: AtomicUsize::new(0),
            gate: Gate::new(config.max_concurrency),
            authorizer: Authorizer::new(&config, vault.clone()),
            caller_tokens: CallerTokens::of(&config),
            config,
            phase: RwLock::new(phase),
            shelf: RwLock::new(None),
            last_error_time: RwLock::new(None),
            troubles: Mutex::default(),
            stop,
        })
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<Trouble, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something does not work, for this reason; none when it works.
    pub(super) fn note(&self, trouble: Trouble, reason: Option<String>) {
        match reason {
            Some(reason) => drop(self.troubles().insert(trouble, reason)),
            None => drop(self.troubles().remove(&trouble)),
        }
    }

    /// The same, of a connection that may be over meanwhile: then it says nothing of the server as it is now.
    pub(super) fn note_of(&self, session: &Arc<Session>, trouble: Trouble, reason: Option<String>) {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*phase, Phase::Ready { sessions, .. } if has(sessions, session)) {
            self.note(trouble, reason);
        }
    }

    /// The open session with the fewest calls.
    ///
    /// # Errors
    /// `MCP_AUTHORIZATION_REQUIRED` or `MCP_UNAVAILABLE`, and why there is none.
    pub(super) fn session(&self) -> Result<Arc<Session>, Error> {
        let name = &self.config.name;
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        let reason = match &*phase {
            Phase::Ready { sessions, .. } => {
                match sessions.iter().min_by_key(|session| session.open_calls()) {
                    Some(least_busy) => return Ok(Arc::clone(least_busy)),
                    None => "not connected",
                }
            }
            Phase::Unauthorized(want) => return Err(unauthorized(name, want)),
            Phase::Connecting => "not connected yet",
            Phase::Disabled => "switched off",
            Phase::Down(reason) => reason,
        };
        Err(unavailable(name, format!("MCP server '{name}': {reason}")))
    }

    /// What Health says of it.
    pub(super) fn status(&self) -> ServerStatus {
        let (connection, tool_count) = match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Disabled => (Connection::Disabled, 0),
            Phase::Connecting => (Connection::Connecting, 0),
            Phase::Ready { tools, held, .. } => {
                let troubles: Vec<String> = held_back(tools, held)
                    .into_iter()
                    .chain(self.troubles().values().cloned())
                    .collect();
                let connection = match (held.is_empty(), troubles.is_empty()) {
                    (_, true) => Connection::Ready,
                    (true, false) => Connection::Degraded(troubles.join("; ")),
                    (false, false) => Connection::Quarantined(troubles.join("; ")),
                };
                (connection, self.offered.load(Ordering::Relaxed))
            }
            Phase::Unauthorized(want) => (Connection::Unauthorized(want.clone()), 0),
            Phase::Down(reason) => (Connection::Down(reason.clone()), 0),
        };
        ServerStatus {
            name: self.config.name.clone(),
            transport: self.config.endpoint.transport(),
            connection,
            tool_count,
            waiting_calls: self.gate.waiting(),
            last_error_time: *self
                .last_error_time
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Whether it can be used.
    pub(super) fn is_ready(&self) -> bool {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*phase, Phase::Ready { .. })
    }

    /// One more session is open with a server that can be used; says whether it can.
    pub(super) fn join(&self, session: &Arc<Session>) -> bool {
        let mut phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        let Phase::Ready { sessions, .. } = &mut *phase else {
            return false;
        };
        sessions.push(session.clone());
        if sessions.len() >= self.config.connections {
            self.note(Trouble::Sessions, None);
        }
        true
    }

    /// A session is over, or could not be had, for this reason; says whether the server can be used without it.
    fn leave(&self, session: Option<&Arc<Session>>, reason: &str) -> bool {
        let mut phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *phase {
            Phase::Ready { sessions, .. } => {
                sessions.retain(|open| !session.is_some_and(|session| Arc::ptr_eq(open, session)));
                sessions.len()
            }
            _ => 0,
        };
        if open == 0 {
            let want = self.authorizer.as_ref().and_then(|authorizer| authorizer.want());
            *phase = match want {
                Some(want) => Phase::Unauthorized(want),
                None => Phase::Down(reason.to_owned()),
            };
            return false;
        }
        let all = self.config.connections;
        self.note(
            Trouble::Sessions,
            Some(format!("{open} of {all} sessions are open: {reason}")),
        );
        true
    }

    /// Whether the first attempt to connect is over, with everything listed if it succeeded.
    fn is_settled(&self) -> bool {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Connecting => false,
            Phase::Ready { .. } => self.shelf().is_some(),
            Phase::Unauthorized(_) | Phase::Down(_) | Phase::Disabled => true,
        }
    }

    /// What it has besides tools, as far as that is known.
    pub(super) fn shelf(&self) -> Option<Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_shelf(&self, shelf: Option<Shelf>) {
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = shelf;
    }

    /// Its tools, each with what it is held back for.
    pub(super) fn tools(&self) -> Vec<(Arc<Tool>, Option<Quarantine>)> {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Ready { tools, held, .. } => {
                let held = |tool: &Tool| held.get(&tool.description().remote_name).cloned();
                tools.iter().map(|tool| (tool.clone(), held(tool))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether any of its tools are held back.
    pub(super) fn is_holding(&self) -> bool {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*phase, Phase::Ready { held, .. } if !held.is_empty())
    }
}

impl Roster {
    /// Of these servers, none of them connected yet. The catalogue is empty.
    pub(super) fn new(links: Vec<Arc<Link>>) -> Self {
        Self {
            links: RwLock::new(links.into()),
            trouble: RwLock::default(),
            catalogue: RwLock::new(Arc::new(Catalogue::new(version(&[], &Held::default()), []))),
            holdings: RwLock::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// The servers, in the order of the configuration.
    pub(super) fn links(&self) -> Arc<[Arc<Link>]> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server of this name.
    pub(super) fn link(&self, server: &str) -> Option<Arc<Link>> {
        let links = self.links();
        links.iter().find(|link| link.config.name == server).cloned()
    }

    /// From now on there are these servers; what the others had is gone.
    pub(super) fn replace(&self, links: Vec<Arc<Link>>) {
        *self.links.write().unwrap_or_else(PoisonError::into_inner) = links.into();
        let mut holdings = self.holdings.write().unwrap_or_else(PoisonError::into_inner);
        *holdings = Arc::new(self.collected());
        drop(holdings);
        self.publish();
    }

    /// Why the newest configuration is not in force, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The newest configuration is not in force, for this reason; none when it is.
    pub(super) fn set_trouble(&self, reason: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// The catalogue now.
    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What all servers have besides tools now.
    pub(super) fn holdings(&self) -> Arc<Holdings> {
        self.holdings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A server has this besides tools.
    pub(super) fn shelved(&self, link: &Link, shelf: Shelf) {
        let mut holdings = self.holdings.write().unwrap_or_else(PoisonError::into_inner);
        link.set_shelf(Some(shelf));
        *holdings = Arc::new(self.collected());
        drop(holdings);
        self.changes.send_replace(());
    }

    /// A server is connected and has these tools, some of them held back.
    pub(super) fn ready(&self, link: &Link, session: &Arc<Session>, tools: Vec<Arc<Tool>>, held: Held) {
        let mut phase = link.phase.write().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = match &mut *phase {
            Phase::Ready { sessions, .. } => std::mem::take(sessions),
            _ => Vec::new(),
        };
        if !has(&sessions, session) {
            sessions.push(session.clone());
        }
        if sessions.len() >= link.config.connections {
            link.note(Trouble::Sessions, None);
        }
        *phase = Phase::Ready {
            sessions,
            tools,
            held,
        };
        drop(phase);
        self.publish();
    }

    /// These tools of a server are not held back any more, as long as they are as they were.
    pub(super) fn release(&self, link: &Link, accepted: &Pinned) {
        if let Phase::Ready { held, .. } = &mut *link.phase.write().unwrap_or_else(PoisonError::into_inner) {
            held.retain(|tool, quarantine| accepted.get(tool) != Some(&quarantine.now));
        }
        self.publish();
    }

    /// A session of a server is over, or could not be had, for this reason. Without any other the server is down.
    pub(super) fn down(&self, link: &Link, session: Option<&Arc<Session>>, reason: &str) {
        *link
            .last_error_time
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        if link.leave(session, reason) {
            return;
        }
        link.troubles().clear();
        let mut holdings = self.holdings.write().unwrap_or_else(PoisonError::into_inner);
        link.set_shelf(None);
        *holdings = Arc::new(self.collected());
        drop(holdings);
        self.publish();
    }

    /// Waits until a server can be used.
    pub(super) async fn ready_to(&self, link: &Link) {
        let mut changes = self.changes.subscribe();
        while !link.is_ready() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the first attempt to connect to each server is over, with everything listed.
    pub(super) async fn settled(&self) {
        let mut changes = self.changes.subscribe();
        while !self.links().iter().all(|link| link.is_settled()) {
            // Ours is not the last sender: an error cannot be.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes the catalogue anew from what the servers have now. Its lock is held meanwhile, so that of two changes
    /// at once the later catalogue has both.
    fn publish(&self) {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        let (tools, held) = self.merged();
        if !are_same(&tools, catalogue.tools()) || held != *catalogue.held() {
            *catalogue = Arc::new(Catalogue::new(version(&tools, &held), tools).holding(held));
        }
        drop(catalogue);
        self.changes.send_replace(());
    }

    /// What the servers have besides tools, all together.
    fn collected(&self) -> Holdings {
        let shelves: Vec<Shelf> = self.links().iter().filter_map(|link| link.shelf()).collect();
        let resources = shelves.iter().flat_map(|shelf| shelf.resources.iter().cloned());
        let templates = shelves.iter().flat_map(|shelf| shelf.templates.iter().cloned());
        let prompts = shelves.iter().flat_map(|shelf| shelf.prompts.iter().cloned());
        Holdings::new(
            resources.collect(),
            templates.collect(),
            prompts,
            |kept, other| {
                tracing::warn!(
                    prompt = other.name,
                    server = other.server,
                    kept = kept.server,
                    "prompt left out: an earlier one has its name"
                );
            },
        )
    }

    /// The tools of all servers, and those that are held back, by their names here.
    fn merged(&self) -> (Vec<Arc<Tool>>, HashMap<String, Quarantine>) {
        let mut owners: HashMap<String, String> = HashMap::new();
        let (mut merged, mut all_held) = (Vec::new(), HashMap::new());
        for link in self.links().iter() {
            let mut clashes = Vec::new();
            let mut offered = 0;
            for (tool, held) in link.tools() {
                let description = tool.description();
                let origin = format!("{}/{}", description.server, description.remote_name);
                if let Some(owner) = owners.get(&description.name) {
                    let name = &description.name;
                    clashes.push(format!("{origin} is left out: {owner} has the name {name}"));
                    continue;
                }
                owners.insert(description.name.clone(), origin);
                match held {
                    Some(held) => drop(all_held.insert(description.name.clone(), held)),
                    None => offered += 1,
                }
                merged.push(tool);
            }
            link.offered.store(offered, Ordering::Relaxed);
            let clashes = (!clashes.is_empty()).then(|| some_of(&clashes));
            if let Some(clashes) = &clashes {
                tracing::warn!(server = link.config.name, clashes, "two tools have one name");
            }
            link.note(Trouble::Names, clashes);
        }
        (merged, all_held)
    }
}

fn has(sessions: &[Arc<Session>], session: &Arc<Session>) -> bool {
    sessions.iter().any(|open| Arc::ptr_eq(open, session))
}

/// Which of a server's tools are held back, and for what.
pub(super) fn held_back(tools: &[Arc<Tool>], held: &Held) -> Option<String> {
    let remarks = tools.iter().filter_map(|tool| {
        let changed = held.get(&tool.description().remote_name)?.changed.join(", ");
        Some(format!(
            "{} is held back until it is accepted: its {changed} changed",
            tool.name()
        ))
    });
    let remarks: Vec<String> = remarks.collect();
    (!remarks.is_empty()).then(|| some_of(&remarks))
}

/// The first few of many remarks.
pub(super) fn some_of(remarks: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = remarks[..remarks.len().min(SHOWN)].join("; ");
    match remarks.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// The version of a catalogue: a number of its content, so that it is the same after a restart and in every process
/// that has the same tools.
fn version(tools: &[Arc<Tool>], held: &Held) -> u64 {
    let mut digest = Sha256::new();
    for tool in tools {
        digest.update(tool.digest());
        digest.update([u8::from(held.contains_key(tool.name()))]);
    }
    let digest = digest.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |version, byte| version << 8 | u64::from(*byte))
}

fn are_same(left: &[Arc<Tool>], right: &[Arc<Tool>]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| Arc::ptr_eq(left, right) || left.description() == right.description())
}
