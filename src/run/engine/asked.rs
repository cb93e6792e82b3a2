//! What of a thread models may have been asked about before a run begins.

use std::sync::Arc;

use super::Shared;
use crate::run::message::Message;
use crate::run::page::{Order, Page};
use crate::run::record::RunRecord;

/// How many of a thread's newest runs are looked at. Those that wait for it are among them.
const NEWEST_RUNS: u32 = 50;

impl Shared {
    /// How many messages at the end of this history no request can have had before the run makes its first: the one that
    /// it was opened with, and those that were only added to the thread since the last run. None where that run has left
    /// nothing in the thread, or is not known: what it may have asked was about all that there was.
    pub(super) async fn unasked(&self, record: &RunRecord, history: &[Arc<Message>]) -> usize {
        let is_own = |message: &&Arc<Message>| message.run.as_ref() == Some(&record.id);
        let own = history.iter().rev().take_while(is_own).count();
        let before = &history[..history.len() - own];
        let added = before.iter().rev().take_while(|message| message.run.is_none());
        let added = added.count();
        let last = before[..before.len() - added].last();
        let last = last.and_then(|message| message.run.as_ref());
        let Some(last) = last else {
            return own;
        };
        if !self.ports.model.holds_conversations(&record.snapshot.model) {
            // Nobody wants to know.
            return own;
        }
        // A run that was opened without a message, and failed without a word, has left nothing in the thread.
        let page = Page {
            after: None,
            limit: NEWEST_RUNS,
            order: Order::NewestFirst,
        };
        match self.ports.store.runs(&record.thread, &[], page).await {
            Ok(runs) => {
                let others = runs.items.iter().filter(|run| run.id != record.id);
                let begun = others.filter(|run| run.start_time.is_some());
                let newest = begun.max_by_key(|run| run.start_time);
                match newest.is_some_and(|run| run.id == *last) {
                    true => own + added,
                    false => 0,
                }
            }
            Err(error) => {
                tracing::debug!(%error, "what was asked before cannot be read");
                0
            }
        }
    }
}
