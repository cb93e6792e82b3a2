//! Which assistants there are, and the news that there are others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::run::assistant::AssistantRecord;
use crate::run::error::Error;
use crate::run::page::{Order, Page};
use crate::run::ports::Store;

/// Assistants that are tools of their own; beyond, the oldest are.
const LISTED_AT_MOST: usize = 500;
/// Assistants that are read at once.
const PAGE: u32 = 100;
/// How often the store is looked at while somebody wants to know.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The assistants of a store.
pub(super) struct Roll {
    store: Arc<dyn Store>,
    /// As they were when somebody last looked.
    known: Mutex<Option<Vec<Shown>>>,
    changes: watch::Sender<()>,
}

/// What of an assistant shows in its tool: its name, its name for people, and what it is for.
type Shown = (String, String, String);

impl Roll {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            known: Mutex::new(None),
            changes: watch::Sender::new(()),
        }
    }

    /// The assistants now, the oldest first. Who waits for changes hears if they are others than before.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub(super) async fn read(&self) -> Result<Vec<AssistantRecord>, Error> {
        let mut assistants = Vec::new();
        let mut page = Page {
            after: None,
            limit: PAGE,
            order: Order::OldestFirst,
        };
        while assistants.len() < LISTED_AT_MOST {
            let listed = self.store.assistants(page).await?;
            assistants.extend(listed.items);
            if listed.next.is_none() {
                break;
            }
            page.after = listed.next;
        }
        let now: Vec<Shown> = assistants.iter().map(shown).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| *known != now) {
            self.changes.send_replace(());
        }
        *known = Some(now);
        drop(known);
        Ok(assistants)
    }

    /// Hears when the tools are others than before.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Looks for changes for as long as it is polled, while somebody listens: they may come from other doors, and from
    /// other processes.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.changes.receiver_count() > 0
                && let Err(error) = self.read().await
            {
                tracing::debug!(%error, "the assistants cannot be listed");
            }
        }
    }
}

fn shown(assistant: &AssistantRecord) -> Shown {
    let profile = &assistant.profile;
    (
        assistant.id.to_string(),
        profile.display_name.clone(),
        profile.description.clone(),
    )
}
