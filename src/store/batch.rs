//! What a batch of writes does to what is stored: decided in memory, free of databases.
//!
//! Writes of many callers share one transaction. Whether each may happen is decided [here](plan) *before*
//! anything is written, in the order in which they came, so that one that may not leaves no trace and harms no
//! other.

mod plan;
mod restore;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use crate::run::assistant::AssistantRecord;
use crate::run::error::Error;
use crate::run::id::{AssistantId, RunId, ThreadId};
use crate::run::message::Usage;
use crate::run::ports::{Append, RequestKey};
use crate::run::record::{RunRecord, State, ThreadRecord};

use super::row::{self, EventRow, MessageRow, RunRow, StepRow};

pub(super) use plan::{REPLAY_WINDOW, plan};
pub(super) use restore::{KINDS, Name, Restoration, RestoredThread};

/// The position before the first message.
pub(super) const NOWHERE: i64 = -1;

/// One write, as a caller asks for it.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Opens a run.
    Open(Arc<OpenRun>),
    /// Starts a queued run.
    Start(Arc<StartRun>),
    /// Writes a run as it is now, with what it has brought.
    Save(Arc<SaveRun>),
    /// Writes events of runs.
    Append(Arc<Vec<AppendRow>>),
    /// Adds a thread.
    CreateThread(Arc<CreateThread>),
    /// Changes a thread.
    UpdateThread(Arc<UpdateThread>),
    /// Deletes a thread.
    DeleteThread { thread: ThreadId, version: Option<u64> },
    /// Adds a message that no run wrote.
    AddMessage(Arc<AddMessage>),
    /// Adds an assistant.
    CreateAssistant(Arc<CreateAssistant>),
    /// Changes an assistant.
    UpdateAssistant(Arc<UpdateAssistant>),
    /// Deletes an assistant.
    DeleteAssistant {
        assistant: AssistantId,
        version: Option<u64>,
    },
    /// Puts something back as it was.
    Restore(Arc<Restoration>),
    /// Deletes what is past retention.
    Sweep(Sweep),
    /// Writes nothing of meaning, to see whether writing works.
    Probe,
}

impl Operation {
    /// The thread that it touches, and that may be there.
    pub(super) fn thread(&self) -> Option<&ThreadId> {
        match self {
            Self::Open(opening) => Some(&opening.run.record.thread),
            Self::Start(start) => Some(&start.record.thread),
            Self::Save(save) => Some(&save.record.thread),
            Self::UpdateThread(update) => Some(&update.thread),
            Self::DeleteThread { thread, .. } => Some(thread),
            Self::AddMessage(add) => Some(&add.thread),
            Self::CreateThread(_)
            | Self::Append(_)
            | Self::CreateAssistant(_)
            | Self::UpdateAssistant(_)
            | Self::DeleteAssistant { .. }
            | Self::Restore(_)
            | Self::Sweep(_)
            | Self::Probe => None,
        }
    }

    /// The assistant that it changes.
    pub(super) fn assistant(&self) -> Option<&AssistantId> {
        match self {
            Self::UpdateAssistant(update) => Some(&update.assistant),
            Self::DeleteAssistant { assistant, .. } => Some(assistant),
            _ => None,
        }
    }

    /// The request id that it came with.
    pub(super) fn request(&self) -> Option<&RequestKey> {
        match self {
            Self::Open(opening) => opening.request.as_ref(),
            Self::CreateThread(create) => create.request.as_ref(),
            Self::AddMessage(add) => add.request.as_ref(),
            Self::CreateAssistant(create) => create.request.as_ref(),
            _ => None,
        }
    }

    /// The runs that it writes, the one that it opens aside.
    pub(super) fn runs(&self) -> Vec<&RunId> {
        match self {
            Self::Start(start) => vec![&start.record.id],
            Self::Save(save) => vec![&save.record.id],
            Self::Append(appends) => appends.iter().map(|append| &append.run).collect(),
            _ => Vec::new(),
        }
    }

    /// The names of what it restores.
    pub(super) fn names(&self) -> Vec<Name> {
        match self {
            Self::Restore(restoration) => restoration.names(),
            _ => Vec::new(),
        }
    }

    /// Whether it may add a thread.
    pub(super) fn creates_thread(&self) -> bool {
        match self {
            Self::Open(opening) => opening.creates_thread,
            Self::CreateThread(_) => true,
            Self::Restore(restoration) => matches!(**restoration, Restoration::Thread(_)),
            _ => false,
        }
    }
}

/// A run to be opened.
#[derive(Debug)]
pub(super) struct OpenRun {
    pub(super) run: RunRow,
    pub(super) message: Option<MessageRow>,
    pub(super) events: Option<EventRow>,
    pub(super) request: Option<RequestKey>,
    pub(super) creates_thread: bool,
    /// The last position of the thread that the caller has read.
    pub(super) seen: i64,
}

/// A queued run to be started.
#[derive(Debug)]
pub(super) struct StartRun {
    pub(super) record: Arc<RunRecord>,
    pub(super) message: Option<MessageRow>,
    pub(super) events: Option<EventRow>,
    /// The last position of the thread that the caller has read.
    pub(super) seen: i64,
    /// The run has written something up to there itself.
    pub(super) is_followed: bool,
}

/// A run to be written.
#[derive(Debug)]
pub(super) struct SaveRun {
    pub(super) record: Arc<RunRecord>,
    pub(super) messages: Vec<MessageRow>,
    pub(super) steps: Vec<StepRow>,
    pub(super) events: Option<EventRow>,
}

/// Events to be written.
#[derive(Debug)]
pub(super) struct AppendRow {
    pub(super) run: RunId,
    /// See [`RunRecord::fence`].
    pub(super) fence: u64,
    pub(super) events: Option<EventRow>,
    /// The sequence that is reserved from then on.
    pub(super) reserved_sequence: i64,
}

impl AppendRow {
    pub(super) fn new(append: Append) -> Result<Self, Error> {
        Ok(Self {
            events: EventRow::new(&append.run, &append.events, &[])?,
            run: append.run,
            fence: append.fence,
            reserved_sequence: row::count(append.reserved_sequence),
        })
    }
}

/// A thread to be added.
#[derive(Debug)]
pub(super) struct CreateThread {
    pub(super) record: ThreadRecord,
    pub(super) metadata: Arc<str>,
    pub(super) request: Option<RequestKey>,
}

/// A thread to be changed.
#[derive(Debug)]
pub(super) struct UpdateThread {
    pub(super) thread: ThreadId,
    pub(super) title: Option<String>,
    pub(super) metadata: Option<Arc<str>>,
    /// The version that the change builds on; none for any.
    pub(super) version: Option<u64>,
    pub(super) time: SystemTime,
}

/// A message to be added.
#[derive(Debug)]
pub(super) struct AddMessage {
    pub(super) thread: ThreadId,
    pub(super) message: MessageRow,
    pub(super) request: Option<RequestKey>,
}

/// An assistant to be added, with its profile as JSON.
#[derive(Debug)]
pub(super) struct CreateAssistant {
    pub(super) record: AssistantRecord,
    pub(super) profile: Arc<str>,
    pub(super) request: Option<RequestKey>,
}

/// An assistant to be changed, with its new profile as JSON.
#[derive(Debug)]
pub(super) struct UpdateAssistant {
    pub(super) assistant: AssistantId,
    pub(super) profile: Arc<str>,
    /// The version that the change builds on.
    pub(super) version: u64,
    pub(super) time: SystemTime,
}

/// What to sweep: so many at most of each kind. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    /// The events of runs that ended before this time.
    pub(super) ended_before: i64,
    /// Request ids that were used before this time.
    pub(super) requested_before: i64,
    pub(super) limit: i64,
}

/// What came of a write that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is written.
    Done,
    /// The thread has grown since the caller read it: nothing is written.
    Stale,
    /// The request has been seen before, and brought the thing of this name: nothing is written.
    Replayed(Box<str>),
    /// The run has to wait for this one: nothing is written.
    Behind(RunId),
    /// It is written, but for these runs, which other processes have taken over.
    Appended(Vec<RunId>),
    /// So many things are gone.
    Swept(u64),
    /// Something of this name is there already: nothing is written.
    Taken(Name),
}

/// What the database knows of everything that a batch names.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) threads: HashMap<ThreadId, Thread>,
    /// Numbers for new threads, as many as may be needed.
    pub(super) new_numbers: VecDeque<i64>,
    /// The versions of assistants.
    pub(super) assistants: HashMap<AssistantId, i64>,
    /// By request id.
    pub(super) requests: HashMap<String, Request>,
    /// The runs that are written.
    pub(super) runs: HashMap<RunId, Run>,
    /// Those of the names in what is to be restored that are there already.
    pub(super) taken: HashSet<Name>,
}

/// A run, as far as writes need to know it.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) state: State,
    /// See [`RunRecord::fence`].
    pub(super) fence: u64,
}

/// A thread, as far as writes need to know it.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) number: i64,
    pub(super) version: i64,
    pub(super) last_position: i64,
    pub(super) active: Option<RunId>,
    /// Runs that wait to be started, the first first.
    pub(super) queue: Vec<RunId>,
    /// What those of its runs that are over have used.
    pub(super) usage: Usage,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) digest: Vec<u8>,
    /// The name of what it brought.
    pub(super) subject: Box<str>,
    pub(super) time: SystemTime,
}

/// The rows to write. Updates go first: a run that ends makes room for one that begins. Deletions go last, so
/// that they take along whatever else the batch brings.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) updates: HashMap<RunId, RunUpdate>,
    pub(super) threads: Vec<NewThread>,
    pub(super) thread_updates: Vec<(i64, Arc<UpdateThread>)>,
    /// By the number of the thread, what those of its runs that are over have used now.
    pub(super) usages: HashMap<i64, Usage>,
    /// What callers have used more, in the order of the keys: processes that write the same rows at the same time
    /// wait for one another, and never in a circle.
    pub(super) spendings: BTreeMap<Account, Spent>,
    /// In the order in which they came.
    pub(super) runs: Vec<NewRun>,
    pub(super) messages: Vec<NewMessage>,
    pub(super) steps: Vec<StepRow>,
    pub(super) events: Vec<EventRow>,
    /// The reserved sequences of runs that are not written themselves.
    pub(super) reserves: Vec<(RunId, i64)>,
    pub(super) requests: Vec<NewRequest>,
    pub(super) deletions: Vec<i64>,
    pub(super) assistants: Vec<Arc<CreateAssistant>>,
    pub(super) assistant_updates: Vec<Arc<UpdateAssistant>>,
    pub(super) assistant_deletions: Vec<AssistantId>,
    /// What is restored, each with the number of its thread if it is one.
    pub(super) restorations: Vec<(i64, Arc<Restoration>)>,
    pub(super) sweep: Option<Sweep>,
    pub(super) probe: bool,
}

/// What is summed up apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    pub(super) day: i64,
    pub(super) caller: String,
    /// The code; empty where there is no cost.
    pub(super) currency: String,
}

/// What runs have used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) runs: i64,
    pub(super) usage: Usage,
}

impl Spent {
    /// How many numbers it is.
    pub(super) const NUMBERS: usize = 8;

    /// As it is stored: runs, turns, calls, tokens read, cached, written and of reasoning, and the cost.
    pub(super) fn numbers(&self) -> [i64; Self::NUMBERS] {
        let usage = &self.usage;
        [
            self.runs,
            i64::from(usage.turns),
            i64::from(usage.tool_calls),
            row::count(usage.input_tokens),
            row::count(usage.cached_tokens),
            row::count(usage.output_tokens),
            row::count(usage.reasoning_tokens),
            usage.cost.map_or(0, |cost| row::count(cost.micros)),
        ]
    }
}

#[derive(Debug)]
pub(super) struct RunUpdate {
    pub(super) record: Arc<RunRecord>,
    /// The position of the message that it answers, if it has just been started.
    pub(super) first_position: Option<i64>,
    /// The position of its newest message, if there is one more.
    pub(super) last_position: Option<i64>,
}

#[derive(Debug)]
pub(super) struct NewThread {
    pub(super) number: i64,
    pub(super) id: ThreadId,
    pub(super) title: String,
    pub(super) metadata: Arc<str>,
    pub(super) create_time: SystemTime,
}

#[derive(Debug)]
pub(super) struct NewRun {
    pub(super) thread: i64,
    pub(super) row: RunRow,
    pub(super) first_position: i64,
    pub(super) last_position: i64,
}

#[derive(Debug)]
pub(super) struct NewMessage {
    pub(super) thread: i64,
    pub(super) position: i64,
    pub(super) row: MessageRow,
}

#[derive(Debug)]
pub(super) struct NewRequest {
    pub(super) key: RequestKey,
    pub(super) subject: Box<str>,
    pub(super) time: SystemTime,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.updates.is_empty()
            && self.threads.is_empty()
            && self.thread_updates.is_empty()
            && self.usages.is_empty()
            && self.spendings.is_empty()
            && self.runs.is_empty()
            && self.messages.is_empty()
            && self.steps.is_empty()
            && self.events.is_empty()
            && self.reserves.is_empty()
            && self.deletions.is_empty()
            && self.assistants.is_empty()
            && self.assistant_updates.is_empty()
            && self.assistant_deletions.is_empty()
            && self.restorations.is_empty()
            && self.sweep.is_none()
            && !self.probe
    }
}
