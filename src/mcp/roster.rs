//! What is known of every server, and the catalogue that follows from it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::watch;

use super::config::ServerConfig;
use super::library::Shelf;
use super::session::Session;
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::library::Holdings;
use crate::run::ports::{Connection, ServerStatus};

/// One server and how it is now.
pub(super) struct Link {
    pub(super) config: ServerConfig,
    phase: RwLock<Phase>,
    /// What it has besides tools, once that was listed on the open connection.
    shelf: RwLock<Option<Shelf>>,
    last_error_time: RwLock<Option<SystemTime>>,
}

/// How a server is.
enum Phase {
    Connecting,
    Ready {
        session: Arc<Session>,
        tools: Vec<Arc<Tool>>,
    },
    Down(String),
}

/// All servers, in the order of the configuration.
pub(super) struct Roster {
    links: Vec<Arc<Link>>,
    catalogue: RwLock<Arc<Catalogue>>,
    holdings: RwLock<Arc<Holdings>>,
    changes: watch::Sender<()>,
}

impl Link {
    /// The open connection.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn session(&self) -> Result<Arc<Session>, String> {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Ready { session, .. } => Ok(session.clone()),
            Phase::Connecting => Err("not connected yet".to_owned()),
            Phase::Down(reason) => Err(reason.clone()),
        }
    }

    /// What Health says of it.
    pub(super) fn status(&self) -> ServerStatus {
        let (connection, tool_count) = match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Connecting => (Connection::Connecting, 0),
            Phase::Ready { tools, .. } => (Connection::Ready, tools.len()),
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
            Phase::Down(_) => true,
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
    pub(super) fn new(servers: Vec<ServerConfig>) -> Self {
        let links = servers.into_iter().map(|config| {
            Arc::new(Link {
                config,
                phase: RwLock::new(Phase::Connecting),
                shelf: RwLock::new(None),
                last_error_time: RwLock::new(None),
            })
        });
        Self {
            links: links.collect(),
            catalogue: RwLock::new(Arc::new(Catalogue::new(1, []))),
            holdings: RwLock::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// The servers, in the order of the configuration.
    pub(super) fn links(&self) -> &[Arc<Link>] {
        &self.links
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
        link.set(Phase::Down(reason));
        let mut holdings = self.holdings.write().unwrap_or_else(PoisonError::into_inner);
        link.set_shelf(None);
        *holdings = Arc::new(self.collected());
        drop(holdings);
        self.publish();
    }

    /// Waits until the first attempt to connect to each server is over, with everything listed.
    pub(super) async fn settled(&self) {
        let mut changes = self.changes.subscribe();
        while !self.links.iter().all(|link| link.is_settled()) {
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
        let shelves: Vec<Shelf> = self.links.iter().filter_map(|link| link.shelf()).collect();
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
        for tool in self.links.iter().flat_map(|link| link.tools()) {
            let description = tool.description();
            if let Some(owner) = owners.get(&description.name) {
                tracing::warn!(
                    tool = description.name,
                    server = description.server,
                    remote_name = description.remote_name,
                    kept = owner,
                    "tool left out: an earlier one has its name"
                );
                continue;
            }
            let owner = format!("{}/{}", description.server, description.remote_name);
            owners.insert(description.name.clone(), owner);
            merged.push(tool);
        }
        merged
    }
}

fn are_same(left: &[Arc<Tool>], right: &[Arc<Tool>]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| Arc::ptr_eq(left, right) || left.description() == right.description())
}
