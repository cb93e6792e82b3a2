//! What is known of every server, and the catalogue that follows from it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::library::Shelf;
use super::link::{Held, Link, Phase, Trouble, has, some_of};
use super::session::Session;
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::library::Holdings;
use crate::run::pin::Quarantine;
use crate::run::ports::Pinned;

/// All servers, in the order of the configuration.
pub(super) struct Roster {
    links: RwLock<Arc<[Arc<Link>]>>,
    trouble: RwLock<Option<String>>,
    catalogue: RwLock<Arc<Catalogue>>,
    holdings: RwLock<Arc<Holdings>>,
    changes: watch::Sender<()>,
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
        let names = tools.iter().map(|tool| {
            let description = tool.description();
            (description.name.clone(), description.remote_name.clone())
        });
        let names = names.collect();
        *phase = Phase::Ready {
            sessions,
            tools,
            held,
        };
        drop(phase);
        link.names().tools = names;
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
        let links = self.links();
        let mut owners: HashMap<String, String> = HashMap::new();
        let (mut shelves, mut prompts) = (Vec::new(), Vec::new());
        for link in links.iter() {
            let shelf = link.shelf();
            if shelf.is_none() {
                // It may come back at any time, and its names must not mean something else meanwhile.
                for (name, remote_name) in &link.names().prompts {
                    let origin = || format!("{}/{remote_name}", link.config.name);
                    owners.entry(name.clone()).or_insert_with(origin);
                }
            }
            let mut clashes = Vec::new();
            for prompt in shelf.iter().flat_map(|shelf| shelf.prompts.iter()) {
                let origin = format!("{}/{}", prompt.server, prompt.about.name);
                match owners.get(&prompt.name) {
                    Some(owner) => clashes.push(format!(
                        "{origin} is left out: {owner} has the name {}",
                        prompt.name
                    )),
                    None => {
                        owners.insert(prompt.name.clone(), origin);
                        prompts.push(prompt.clone());
                    }
                }
            }
            shelves.extend(shelf);
            let clashes = (!clashes.is_empty()).then(|| some_of(&clashes));
            if let Some(clashes) = &clashes {
                tracing::warn!(server = link.config.name, clashes, "two prompts have one name");
            }
            link.note(Trouble::PromptNames, clashes);
        }
        let resources = shelves.iter().flat_map(|shelf| shelf.resources.iter().cloned());
        let templates = shelves.iter().flat_map(|shelf| shelf.templates.iter().cloned());
        Holdings::new(resources.collect(), templates.collect(), prompts)
    }

    /// The tools of all servers, and those that are held back, by their names here.
    fn merged(&self) -> (Vec<Arc<Tool>>, HashMap<String, Quarantine>) {
        let mut owners: HashMap<String, String> = HashMap::new();
        let (mut merged, mut all_held) = (Vec::new(), HashMap::new());
        for link in self.links().iter() {
            let mut clashes = Vec::new();
            let mut offered = 0;
            if !link.is_ready() {
                // It may come back at any time, and its names must not mean something else meanwhile.
                for (name, remote_name) in &link.names().tools {
                    let origin = || format!("{}/{remote_name}", link.config.name);
                    owners.entry(name.clone()).or_insert_with(origin);
                }
            }
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
            // The same is not said again whenever any server changes.
            if let Some(clashes) = clashes
                .as_ref()
                .filter(|clashes| !link.has_noted(Trouble::Names, clashes))
            {
                tracing::warn!(server = link.config.name, clashes, "two tools have one name");
            }
            link.note(Trouble::Names, clashes);
        }
        (merged, all_held)
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
