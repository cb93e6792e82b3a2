//! What was exported, or brought from elsewhere, on its way into a store.

use std::sync::Arc;

use crate::run::assistant::AssistantRecord;
use crate::run::id::MessageId;
use crate::run::message::{Message, Usage};
use crate::run::record::{RunRecord, ThreadRecord};
use crate::run::step::Step;

/// Something to be put into a store as it was, with its name, its version and its times.
#[derive(Clone, Debug, PartialEq)]
pub enum Restore {
    /// An assistant.
    Assistant(AssistantRecord),
    /// A thread with everything of it.
    Thread(WholeThread),
}

/// A thread with everything of it.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeThread {
    /// The thread. No run is active on it, and it was last changed when its newest thing was added, or later.
    pub record: ThreadRecord,
    /// Its messages, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// Its runs, in the order in which they were asked for. All of them are over.
    pub runs: Vec<WholeRun>,
}

impl WholeThread {
    /// What its runs have used, all together.
    pub fn used(&self) -> Usage {
        let usages = self.runs.iter().map(|run| run.record.usage);
        usages.fold(Usage::default(), Usage::plus)
    }
}

/// A run with everything of it but its events.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeRun {
    /// The run.
    pub record: RunRecord,
    /// The message that it answers; without one, the first that it wrote, if it wrote any. One of the thread's.
    pub first_message: Option<MessageId>,
    /// Its steps, in their order.
    pub steps: Vec<Arc<Step>>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is there now.
    Added,
    /// Nothing was written, because something of this name is there, or stands in it twice.
    Taken {
        /// Of which kind: `assistant`, `thread`, `message` or `run`.
        kind: &'static str,
        /// The name.
        id: Box<str>,
    },
}
