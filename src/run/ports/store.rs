//! What outlives the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::run::action::Action;
use crate::run::assistant::{AssistantRecord, Profile};
use crate::run::error::Error;
use crate::run::event::Event;
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Listed, Page};
use crate::run::record::{RunRecord, ThreadRecord};
use crate::run::spending::{Spenders, Spending};
use crate::run::step::Step;
use crate::run::truncation::Reach;

use super::{Restore, Restored};

/// Threads, their messages, and runs with their steps and events.
///
/// Every method may fail with `STORE_UNAVAILABLE`; only the other errors are named.
#[async_trait]
pub trait Store: Send + Sync {
    /// Opens a run on a thread: adds the run and what comes with it, in one durable step.
    ///
    /// MUST give back at least what the opening's reach says, and MUST begin where a turn does unless it gives all.
    /// MUST create the thread if the opening says so, MUST hold off a second active run on the thread, also one
    /// of another process, unless the run is opened as queued, and MUST give back the first run again for a
    /// request id seen in the last 24 hours.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`; `THREAD_BUSY` with metadata `run`; `REQUEST_ID_REUSED` when the id came with another
    /// digest; `OVERLOADED` when too many are queued already.
    async fn open_run(&self, opening: Opening) -> Result<Opened, Error>;

    /// Starts a run that is queued, if its thread is free and no other is before it: adds the message that it was
    /// opened with to the end of the thread, and its events, in one durable step.
    ///
    /// MUST be idempotent: as long as nothing of the run has followed, the same again is answered as it was first.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND` when it is not queued any more; `RUN_INTERRUPTED` when another process has taken it over.
    async fn start_run(&self, start: Start) -> Result<Started, Error>;

    /// The message that a queued run was opened with; none when it answers the thread as it stands.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND` when no run of that name is queued.
    async fn queued_message(&self, run: &RunId) -> Result<Option<Arc<Message>>, Error>;

    /// Writes the run as it is now and what it has brought since, in one durable step.
    ///
    /// A run whose state is terminal frees its thread. MUST be idempotent: the same written again changes
    /// nothing, so that the caller may try again after an error. Of a run whose thread is gone, nothing is kept.
    /// With an old [fencing token](RunRecord::fence), nothing MUST be written.
    ///
    /// # Errors
    /// `RUN_INTERRUPTED` when another process has taken the run over.
    async fn save(&self, save: &Save) -> Result<(), Error>;

    /// Writes events of any number of runs, in one durable step. MUST be idempotent. Of a run that is gone,
    /// nothing is kept. Of a run that another process has taken over, nothing MUST be written: these are given back.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<RunId>, Error>;

    /// A run by its name.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`.
    async fn run(&self, run: &RunId) -> Result<RunRecord, Error>;

    /// The runs of a thread, a page of them; with `states`, only those in one of these, by their
    /// [names](crate::run::record::State::name).
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`.
    async fn runs(
        &self,
        thread: &ThreadId,
        states: &[&'static str],
        page: Page,
    ) -> Result<Listed<RunRecord>, Error>;

    /// A page of what runs wait for, of all threads.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn pending_actions(&self, page: Page) -> Result<Listed<Pending>, Error>;

    /// The messages that a run wrote and the one that it answers, oldest first.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error>;

    /// The steps of a run, a page of them.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn run_steps(&self, run: &RunId, page: Page) -> Result<Listed<Arc<Step>>, Error>;

    /// The events of a run with sequences beyond `after`, in their order. MAY give fewer than there are, but
    /// none only when there are no more.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`; `EVENTS_EXPIRED` when the run's events are not kept any more.
    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, Error>;

    /// What this request has brought in the last 24 hours, by its id: a run, a thread, a message or an assistant.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` when the id came with another digest.
    async fn brought(&self, request: &RequestKey) -> Result<Option<String>, Error>;

    /// Adds a thread, or gives back the one that the request id has brought in the last 24 hours.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED`.
    async fn create_thread(&self, new: NewThread) -> Result<ThreadRecord, Error>;

    /// A thread by its name.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`.
    async fn thread(&self, thread: &ThreadId) -> Result<ThreadRecord, Error>;

    /// A page of all threads.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn threads(&self, page: Page) -> Result<Listed<ThreadRecord>, Error>;

    /// Changes a thread, if it is still of that version, and gives it back as it is then.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`; `ETAG_MISMATCH`.
    async fn update_thread(
        &self,
        thread: &ThreadId,
        change: ThreadChange,
        version: Option<u64>,
    ) -> Result<ThreadRecord, Error>;

    /// Deletes a thread with everything of it, if it is still of that version.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`; `ETAG_MISMATCH`; `THREAD_BUSY` with metadata `run`.
    async fn delete_thread(&self, thread: &ThreadId, version: Option<u64>) -> Result<(), Error>;

    /// Adds a message that no run wrote to the end of a thread, or gives back the one that the request id has
    /// brought in the last 24 hours.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`; `THREAD_BUSY` with metadata `run`; `REQUEST_ID_REUSED`.
    async fn add_message(
        &self,
        thread: &ThreadId,
        message: Arc<Message>,
        request: Option<RequestKey>,
    ) -> Result<Arc<Message>, Error>;

    /// Every message of a thread, oldest first.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`.
    async fn history(&self, thread: &ThreadId) -> Result<Vec<Arc<Message>>, Error>;

    /// A page of the messages of a thread.
    ///
    /// # Errors
    /// `THREAD_NOT_FOUND`.
    async fn messages(&self, thread: &ThreadId, page: Page) -> Result<Listed<Arc<Message>>, Error>;

    /// A message of a thread by its name.
    ///
    /// # Errors
    /// `MESSAGE_NOT_FOUND`.
    async fn message(&self, thread: &ThreadId, message: &MessageId) -> Result<Arc<Message>, Error>;

    /// Adds an assistant, or gives back the one that the request id has brought in the last 24 hours.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED`; `ASSISTANT_NOT_FOUND` when what the request id has brought is gone.
    async fn create_assistant(
        &self,
        record: AssistantRecord,
        request: Option<RequestKey>,
    ) -> Result<AssistantRecord, Error>;

    /// An assistant by its name.
    ///
    /// # Errors
    /// `ASSISTANT_NOT_FOUND`.
    async fn assistant(&self, assistant: &AssistantId) -> Result<AssistantRecord, Error>;

    /// A page of all assistants.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn assistants(&self, page: Page) -> Result<Listed<AssistantRecord>, Error>;

    /// Changes an assistant, if it is still of that version, and gives it back as it is then.
    ///
    /// # Errors
    /// `ASSISTANT_NOT_FOUND`; `ETAG_MISMATCH`.
    async fn update_assistant(
        &self,
        assistant: &AssistantId,
        profile: Profile,
        version: u64,
    ) -> Result<AssistantRecord, Error>;

    /// Deletes an assistant, if it is still of that version. Its runs stay.
    ///
    /// # Errors
    /// `ASSISTANT_NOT_FOUND`; `ETAG_MISMATCH`.
    async fn delete_assistant(&self, assistant: &AssistantId, version: Option<u64>) -> Result<(), Error>;

    /// Puts something back as it was, in one durable step.
    ///
    /// MUST keep every name, version, time and order, MUST write all of it or nothing, and MUST NOT change what
    /// is there: when any name of a thread, message, run or assistant in it is taken, nothing is written. The
    /// runs have no events, as if they were past retention.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn restore(&self, restore: &Restore) -> Result<Restored, Error>;

    /// What callers have used, a page of it: the runs that were ended by [`save`](Store::save), each counted once, in
    /// the same durable step.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn spendings(&self, spenders: &Spenders, page: Page) -> Result<Listed<Spending>, Error>;

    /// Deletes the events of some runs that ended before this time, and some request ids that are too old to
    /// count; says of how many. Zero: there are no more.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn sweep(&self, ended_before: SystemTime) -> Result<u64, Error>;

    /// Whether it can be read and written now.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, with what is wrong.
    async fn check(&self) -> Result<(), Error>;

    /// Which kind of store it is: `sqlite` or `postgres`.
    fn kind(&self) -> &'static str;
}

/// A run about to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The run, with its thread's name.
    pub record: RunRecord,
    /// Whether the thread is to be created; otherwise it must be there.
    pub creates_thread: bool,
    /// The caller's message; none for a run that answers the thread as it stands.
    pub message: Option<Arc<Message>>,
    /// What watchers see first.
    pub events: Vec<Arc<Event>>,
    /// The caller's request id, if it gave one.
    pub request: Option<RequestKey>,
    /// How much of the thread it wants to read.
    pub reach: Reach,
}

/// The messages of a thread that somebody wanted to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// These, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// How many others there are, all of them older. A store MAY count a few more, where writes were repeated.
    pub unread: u64,
}

impl From<Vec<Arc<Message>>> for History {
    /// All there is.
    fn from(messages: Vec<Arc<Message>>) -> Self {
        Self { messages, unread: 0 }
    }
}

/// A queued run about to be started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The run as it is when it has started.
    pub record: RunRecord,
    /// The message that it was opened with.
    pub message: Option<Arc<Message>>,
    /// What watchers see then.
    pub events: Vec<Arc<Event>>,
    /// How much of the thread it wants to read.
    pub reach: Reach,
}

/// What came of starting a queued run.
#[derive(Clone, Debug, PartialEq)]
pub enum Started {
    /// It is active. What there is before its own message.
    Now(History),
    /// This run is before it: the active one, or the next in the queue.
    Behind(RunId),
}

/// What a run brings.
#[derive(Clone, Debug)]
pub struct Save {
    /// The run as it is now.
    pub record: Arc<RunRecord>,
    /// New messages of its thread.
    pub messages: Vec<Arc<Message>>,
    /// Steps that are new or have changed.
    pub steps: Vec<Arc<Step>>,
    /// New events, in their order.
    pub events: Vec<Arc<Event>>,
}

/// Something that a run waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The run's thread.
    pub thread: ThreadId,
    /// The run.
    pub run: RunId,
    /// What it waits for.
    pub action: Action,
}

/// New events of one run, in their order: at least one.
#[derive(Clone, Debug)]
pub struct Append {
    /// The run.
    pub run: RunId,
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// See [`RunRecord::reserved_sequence`].
    pub reserved_sequence: u64,
    /// See [`RunRecord::fence`].
    pub fence: u64,
}

/// A thread to be created.
#[derive(Clone, Debug)]
pub struct NewThread {
    /// The thread.
    pub record: ThreadRecord,
    /// The caller's request id, if it gave one.
    pub request: Option<RequestKey>,
}

/// What is to become of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadChange {
    /// The new title, if it changes.
    pub title: Option<String>,
    /// The new labels, all of them, if they change.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// A caller's name for a request, with what tells two requests apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// A UUID that the caller chose.
    pub id: String,
    /// A digest of the request without its id.
    pub digest: [u8; 32],
}

/// What came of opening a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// It is open. What there is before the caller's message.
    Started(History),
    /// The request id has been seen: this is the run that it started.
    Replayed(Box<RunRecord>),
}
