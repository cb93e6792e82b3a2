//! What is known of every server, and the catalogue that follows from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::auth::{Authorizer, Vault};
use super::config::ServerConfig;
use super::gate::Gate;
use super::library::Shelf;
use super::session::{Session, unauthorized, unavailable};
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::error::Error;
use crate::run::library::Holdings;
use crate::run::ports::{Connection, ServerStatus};

/// One server and how it is now.
pub(super) struct Link {
    pub(super) config: ServerConfig,
    /// Gets its tokens, if it may need some.
    pub(super) authorizer: Option<Arc<Authorizer>>,
    phase: RwLock<Phase>,
    /// What it has besides tools, once that was listed on the open connection.
    shelf: RwLock<Option<Shelf>>,
    last_error_time: RwLock<Option<SystemTime>>,
    /// What does not work although it is connected.
    troubles: Mutex<BTreeMap<Trouble, String>>,
    /// The way to it, for calls.
    pub(super) gate: Gate,
    /// Its supervisor ends.
    pub(super) stop: CancellationToken,
}

/// What may not work of a server that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
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
        session: Arc<Session>,
        tools: Vec<Arc<Tool>>,
    },
    /// It does not let us in; the reason says what is to be done.
    Unauthorized(String),
    Down(String),
}

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
            gate: Gate::new(config.max_concurrency),
            authorizer: Authorizer::new(&config, vault.clone()),
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
        if matches!(&*phase, Phase::Ready { session: open, .. } if Arc::ptr_eq(open, session)) {
            self.note(trouble, reason);
        }
    }

    /// The open connection.
    ///
    /// # Errors
    /// `MCP_AUTHORIZATION_REQUIRED` or `MCP_UNAVAILABLE`, and why.
    pub(super) fn session(&self) -> Result<Arc<Session>, Error> {
        let name = &self.config.name;
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        let reason = match &*phase {
            Phase::Ready { session, .. } => return Ok(session.clone()),
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
            Phase::Ready { tools, .. } => {
                let troubles: Vec<String> = self.troubles().values().cloned().collect();
                let connection = match troubles.is_empty() {
                    true => Connection::Ready,
                    false => Connection::Degraded(troubles.join("; ")),
                };
                (connection, tools.len())
            }
            Phase::Unauthorized(want) => (Connection::Unauthorized(want.clone()), 0),
            Phase::Down(reason) => (Connection::Down(reason.clone()), 0),
        };
        ServerStatus {
            name: self.config.name.clone(),
            transport: self.config.endpoint.transport(),
            connection,
            tool_count,
            last_error_time: *self
                .last_error_time
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn set(&self, phase: Phase) {
        *self.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
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

    fn tools(&self) -> Vec<Arc<Tool>> {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Ready { tools, .. } => tools.clone(),
            _ => Vec::new(),
        }
    }
}

impl Roster {
    /// Of these servers, none of them connected yet. The catalogue is empty and has version 1.
    pub(super) fn new(links: Vec<Arc<Link>>) -> Self {
        Self {
            links: RwLock::new(links.into()),
            trouble: RwLock::default(),
            catalogue: RwLock::new(Arc::new(Catalogue::new(1, []))),
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

    /// A server is connected and has these tools.
    pub(super) fn ready(&self, link: &Link, session: Arc<Session>, tools: Vec<Arc<Tool>>) {
        link.set(Phase::Ready { session, tools });
        self.publish();
    }

    /// A server is not connected, for this reason.
    pub(super) fn down(&self, link: &Link, reason: String) {
        *link
            .last_error_time
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        let want = link.authorizer.as_ref().and_then(|authorizer| authorizer.want());
        link.set(match want {
            Some(want) => Phase::Unauthorized(want),
            None => Phase::Down(reason),
        });
        link.troubles().clear();
        let mut holdings = self.holdings.write().unwrap_or_else(PoisonError::into_inner);
        link.set_shelf(None);
        *holdings = Arc::new(self.collected());
        drop(holdings);
        self.publish();
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
        let tools = self.merged();
        if !are_same(&tools, catalogue.tools()) {
            *catalogue = Arc::new(Catalogue::new(catalogue.version() + 1, tools));
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

    fn merged(&self) -> Vec<Arc<Tool>> {
        let mut owners: HashMap<String, String> = HashMap::new();
        let mut merged = Vec::new();
        for link in self.links().iter() {
            let mut clashes = Vec::new();
            for tool in link.tools() {
                let description = tool.description();
                let origin = format!("{}/{}", description.server, description.remote_name);
                if let Some(owner) = owners.get(&description.name) {
                    let name = &description.name;
                    clashes.push(format!("{origin} is left out: {owner} has the name {name}"));
                    continue;
                }
                owners.insert(description.name.clone(), origin);
                merged.push(tool);
            }
            let clashes = (!clashes.is_empty()).then(|| some_of(&clashes));
            if let Some(clashes) = &clashes {
                tracing::warn!(server = link.config.name, clashes, "two tools have one name");
            }
            link.note(Trouble::Names, clashes);
        }
        merged
    }
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

fn are_same(left: &[Arc<Tool>], right: &[Arc<Tool>]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| Arc::ptr_eq(left, right) || left.description() == right.description())
}
