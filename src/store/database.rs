//! The store on any database: one task writes, and reads go past it.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::run::assistant::{AssistantRecord, Profile};
use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::event::Event;
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Listed, Page};
use crate::run::ports::{
    Append, History, NewThread, Opened, Opening, Pending, RequestKey, Restore, Restored, Save, Start,
    Started, Store, ThreadChange,
};
use crate::run::record::{RunRecord, ThreadRecord};
use crate::run::spending::{Spenders, Spending};
use crate::run::step::Step;
use crate::run::truncation::Reach;

use super::batch::{
    AddMessage, Answer, AppendRow, CreateAssistant, CreateThread, NOWHERE, Name, OpenRun, Operation,
    REPLAY_WINDOW, Restoration, SaveRun, StartRun, Sweep, UpdateAssistant, UpdateThread,
};
use super::chunk;
use super::query::{Queries, Readers};
use super::row::{self, EventRow, MessageRow, RunRow, StepRow};
use super::writer::Writer;

/// How often opening a run starts over, because the thread has grown since it was read.
const ATTEMPT_LIMIT: usize = 16;

/// Events that are given at once: whoever watches and does not read holds no more.
const EVENT_LIMIT: usize = 512;

/// Runs whose events, and request ids, that are swept in one transaction.
const SWEEP_LIMIT: i64 = 32;

/// See the [module](self).
pub(super) struct Database<R> {
    pub(super) writer: Writer,
    pub(super) queries: Queries<R>,
}

impl<R: Readers> Database<R> {
    /// Over a writer and readers of the same database.
    pub(super) fn new(writer: Writer, readers: R) -> Self {
        let queries = Queries { readers };
        Self { writer, queries }
    }
}

#[async_trait]
impl<R: Readers> Store for Database<R> {
    async fn open_run(&self, opening: Opening) -> Result<Opened, Error> {
        let record = &opening.record;
        let run = RunRow::new(record, opening.message.as_ref())?;
        let message = opening.message.as_ref().map(MessageRow::new).transpose()?;
        let events = EventRow::new(&record.id, &opening.events, &[])?;
        let mut is_new = opening.creates_thread;
        // The history is read before the run is opened and past the writer, so that long ones hold up nobody
        // and a failure to read leaves no run behind. The writer checks that nothing has come after it.
        for _ in 0..ATTEMPT_LIMIT {
            let (history, seen) = if is_new {
                (History::default(), NOWHERE)
            } else {
                self.queries.history(&record.thread, opening.reach).await?
            };
            let open = OpenRun {
                run: run.clone(),
                message: message.clone(),
                events: events.clone(),
                request: opening.request.clone(),
                creates_thread: opening.creates_thread,
                seen,
            };
            match self.writer.write(Operation::Open(Arc::new(open))).await? {
                Answer::Replayed(run) => {
                    let run = RunId::parse(&run).map_err(Error::internal)?;
                    return Ok(Opened::Replayed(Box::new(self.run(&run).await?)));
                }
                Answer::Stale => is_new = false,
                _ => return Ok(Opened::Started(history)),
            }
        }
        Err(changes_too_quickly())
    }

    async fn start_run(&self, start: Start) -> Result<Started, Error> {
        let record = Arc::new(start.record);
        let message = start.message.as_ref().map(MessageRow::new).transpose()?;
        let events = EventRow::new(&record.id, &start.events, &[])?;
        for _ in 0..ATTEMPT_LIMIT {
            let (mut history, seen) = self.queries.history(&record.thread, start.reach).await?;
            let said = start.message.as_ref().map(|message| &message.id);
            // The same may have been written before, and nobody have heard of it.
            history.messages.pop_if(|last| Some(&last.id) == said);
            let last = history.messages.last();
            let write = StartRun {
                is_followed: last.is_some_and(|last| last.run.as_ref() == Some(&record.id)),
                record: Arc::clone(&record),
                message: message.clone(),
                events: events.clone(),
                seen,
            };
            match self.writer.write(Operation::Start(Arc::new(write))).await? {
                Answer::Behind(run) => return Ok(Started::Behind(run)),
                Answer::Stale => {}
                _ => return Ok(Started::Now(history)),
            }
        }
        Err(changes_too_quickly())
    }

    async fn queued_message(&self, run: &RunId) -> Result<Option<Arc<Message>>, Error> {
        self.queries.queued_message(run).await
    }

    async fn save(&self, save: &Save) -> Result<(), Error> {
        let run = &save.record.id;
        let save = SaveRun {
            record: Arc::clone(&save.record),
            messages: save
                .messages
                .iter()
                .map(MessageRow::new)
                .collect::<Result<_, _>>()?,
            steps: save
                .steps
                .iter()
                .map(|step| StepRow::new(run, step))
                .collect::<Result<_, _>>()?,
            events: EventRow::new(run, &save.events, &save.steps)?,
        };
        self.writer.write(Operation::Save(Arc::new(save))).await.map(drop)
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Vec<RunId>, Error> {
        let rows = appends.into_iter().map(AppendRow::new);
        let append = Operation::Append(Arc::new(rows.collect::<Result<_, _>>()?));
        match self.writer.write(append).await? {
            Answer::Appended(lost) => Ok(lost),
            _ => Ok(Vec::new()),
        }
    }

    async fn run(&self, run: &RunId) -> Result<RunRecord, Error> {
        self.queries.run(run).await
    }

    async fn runs(
        &self,
        thread: &ThreadId,
        states: &[&'static str],
        page: Page,
    ) -> Result<Listed<RunRecord>, Error> {
        self.queries.check_thread(thread).await?;
        self.queries.runs(thread, states, page).await
    }

    async fn pending_actions(&self, page: Page) -> Result<Listed<Pending>, Error> {
        self.queries.pending_actions(page).await
    }

    async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error> {
        self.queries.run_messages(run).await
    }

    async fn run_steps(&self, run: &RunId, page: Page) -> Result<Listed<Arc<Step>>, Error> {
        self.queries.run_steps(run, page).await
    }

    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, Error> {
        let chunks = self.queries.chunks(run, row::count(after)).await?;
        if chunks.is_empty() {
            self.queries.check_events(run, after).await?;
        }
        let mut stored = Vec::new();
        for text in chunks {
            stored.extend(chunk::read(&text)?);
        }
        // Chunks may overlap where a write was repeated; what both have is the same.
        let mut last = after;
        stored.retain(|event| {
            let is_next = event.sequence() > last;
            last = last.max(event.sequence());
            is_next
        });
        stored.truncate(EVENT_LIMIT);
        let elsewhere = if stored.iter().any(chunk::Stored::needs_elsewhere) {
            let messages = self.queries.run_messages(run).await?;
            let steps = self.queries.all_run_steps(run).await?;
            chunk::Elsewhere::new(self.queries.run(run).await?, messages, &steps)
        } else {
            chunk::Elsewhere::nothing(run)
        };
        stored.into_iter().map(|event| event.event(&elsewhere)).collect()
    }

    async fn brought(&self, request: &RequestKey) -> Result<Option<String>, Error> {
        match self.queries.request(request).await? {
            Some(seen) => Ok(seen.replay(request, clock::now())?.map(String::from)),
            None => Ok(None),
        }
    }

    async fn create_thread(&self, new: NewThread) -> Result<ThreadRecord, Error> {
        let create = CreateThread {
            metadata: row::json(&new.record.metadata)?,
            record: new.record.clone(),
            request: new.request,
        };
        match self
            .writer
            .write(Operation::CreateThread(Arc::new(create)))
            .await?
        {
            Answer::Replayed(thread) => {
                let thread = ThreadId::parse(&thread).map_err(Error::internal)?;
                let found = self.queries.thread(&thread).await;
                found.map_err(|error| error.with("thread", thread.as_str()))
            }
            _ => Ok(new.record),
        }
    }

    async fn thread(&self, thread: &ThreadId) -> Result<ThreadRecord, Error> {
        self.queries.thread(thread).await
    }

    async fn threads(&self, page: Page) -> Result<Listed<ThreadRecord>, Error> {
        self.queries.threads(page).await
    }

    async fn update_thread(
        &self,
        thread: &ThreadId,
        change: ThreadChange,
        version: Option<u64>,
    ) -> Result<ThreadRecord, Error> {
        let update = UpdateThread {
            thread: thread.clone(),
            title: change.title,
            metadata: change.metadata.as_ref().map(row::json).transpose()?,
            version,
            time: clock::now(),
        };
        self.writer
            .write(Operation::UpdateThread(Arc::new(update)))
            .await?;
        self.queries.thread(thread).await
    }

    async fn delete_thread(&self, thread: &ThreadId, version: Option<u64>) -> Result<(), Error> {
        let thread = thread.clone();
        let delete = Operation::DeleteThread { thread, version };
        self.writer.write(delete).await.map(drop)
    }

    async fn add_message(
        &self,
        thread: &ThreadId,
        message: Arc<Message>,
        request: Option<RequestKey>,
    ) -> Result<Arc<Message>, Error> {
        let add = AddMessage {
            thread: thread.clone(),
            message: MessageRow::new(&message)?,
            request,
        };
        match self.writer.write(Operation::AddMessage(Arc::new(add))).await? {
            Answer::Replayed(message) => {
                let message = MessageId::parse(&message).map_err(Error::internal)?;
                self.queries.message(thread, &message).await
            }
            _ => Ok(message),
        }
    }

    async fn history(&self, thread: &ThreadId) -> Result<Vec<Arc<Message>>, Error> {
        let (history, _) = self.queries.history(thread, Reach::All).await?;
        if history.messages.is_empty() {
            self.queries.check_thread(thread).await?;
        }
        Ok(history.messages)
    }

    async fn messages(&self, thread: &ThreadId, page: Page) -> Result<Listed<Arc<Message>>, Error> {
        self.queries.check_thread(thread).await?;
        self.queries.messages(thread, page).await
    }

    async fn message(&self, thread: &ThreadId, message: &MessageId) -> Result<Arc<Message>, Error> {
        self.queries.message(thread, message).await
    }

    async fn create_assistant(
        &self,
        record: AssistantRecord,
        request: Option<RequestKey>,
    ) -> Result<AssistantRecord, Error> {
        let create = CreateAssistant {
            profile: row::json(&record.profile)?,
            record: record.clone(),
            request,
        };
        let create = Operation::CreateAssistant(Arc::new(create));
        match self.writer.write(create).await? {
            Answer::Replayed(assistant) => {
                let assistant = AssistantId::parse(&assistant).map_err(Error::internal)?;
                self.queries.assistant(&assistant).await
            }
            _ => Ok(record),
        }
    }

    async fn assistant(&self, assistant: &AssistantId) -> Result<AssistantRecord, Error> {
        self.queries.assistant(assistant).await
    }

    async fn assistants(&self, page: Page) -> Result<Listed<AssistantRecord>, Error> {
        self.queries.assistants(page).await
    }

    async fn update_assistant(
        &self,
        assistant: &AssistantId,
        profile: Profile,
        version: u64,
    ) -> Result<AssistantRecord, Error> {
        let update = UpdateAssistant {
            assistant: assistant.clone(),
            profile: row::json(&profile)?,
            version,
            time: clock::now(),
        };
        self.writer
            .write(Operation::UpdateAssistant(Arc::new(update)))
            .await?;
        self.queries.assistant(assistant).await
    }

    async fn delete_assistant(&self, assistant: &AssistantId, version: Option<u64>) -> Result<(), Error> {
        let assistant = assistant.clone();
        let delete = Operation::DeleteAssistant { assistant, version };
        self.writer.write(delete).await.map(drop)
    }

    async fn restore(&self, restore: &Restore) -> Result<Restored, Error> {
        let restoration = Operation::Restore(Arc::new(Restoration::new(restore)?));
        match self.writer.write(restoration).await? {
            Answer::Taken(Name { kind, id }) => Ok(Restored::Taken { kind, id }),
            _ => Ok(Restored::Added),
        }
    }

    async fn spendings(&self, spenders: &Spenders, page: Page) -> Result<Listed<Spending>, Error> {
        self.queries.spendings(spenders, page).await
    }

    async fn sweep(&self, ended_before: SystemTime) -> Result<u64, Error> {
        let requested_before = clock::now() - REPLAY_WINDOW;
        let sweep = Operation::Sweep(Sweep {
            ended_before: row::micros(ended_before),
            requested_before: row::micros(requested_before),
            limit: SWEEP_LIMIT,
        });
        match self.writer.write(sweep).await? {
            Answer::Swept(count) => Ok(count),
            _ => Ok(0),
        }
    }

    async fn check(&self) -> Result<(), Error> {
        self.queries.check().await?;
        if self.writer.trouble().is_some() {
            // Perhaps it has passed; nobody else may write for a while, waiting for us to say so.
            self.writer.write(Operation::Probe).await?;
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        R::KIND
    }
}

fn changes_too_quickly() -> Error {
    Error::new(
        Reason::StoreUnavailable,
        "the thread changes too quickly to open a run on it",
    )
}
