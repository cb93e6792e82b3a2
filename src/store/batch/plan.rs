//! Whether each write of a batch may happen, and which rows it writes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::run::error::{Error, Reason};
use crate::run::id::{AssistantId, RunId, ThreadId};
use crate::run::message::Usage;
use crate::run::ports::RequestKey;
use crate::run::record::{RunRecord, State};
use crate::run::spending::Day;
use crate::store::row::MessageRow;

use super::{
    Account, AddMessage, Answer, AppendRow, Changes, CreateAssistant, CreateThread, Facts, NOWHERE,
    NewMessage, NewRequest, NewRun, NewThread, OpenRun, Operation, Request, Run, RunUpdate, SaveRun,
    StartRun, Thread, UpdateAssistant, UpdateThread,
};

/// How long a request id stands for what it brought.
pub(in crate::store) const REPLAY_WINDOW: Duration = Duration::from_hours(24);

/// Runs that may wait for one thread.
const QUEUE_LIMIT: usize = 64;

/// The notes of a thread that comes with its first run.
const NO_METADATA: &str = "{}";

/// Decides every operation in turn: the rows to write, and the answers once they are written.
pub(in crate::store) fn plan(
    operations: &[Operation],
    facts: Facts,
) -> (Changes, Vec<Result<Answer, Error>>) {
    let mut plan = Plan {
        facts,
        changes: Changes::default(),
    };
    let answers = operations
        .iter()
        .map(|operation| plan.decide(operation))
        .collect();
    (plan.changes, answers)
}

pub(super) struct Plan {
    pub(super) facts: Facts,
    pub(super) changes: Changes,
}

impl Plan {
    fn decide(&mut self, operation: &Operation) -> Result<Answer, Error> {
        match operation {
            Operation::Open(opening) => self.open(opening),
            Operation::Start(start) => self.start(start),
            Operation::Save(save) => self.save(save),
            Operation::Append(appends) => Ok(self.append(appends)),
            Operation::CreateThread(create) => self.create_thread(create),
            Operation::UpdateThread(update) => self.update_thread(update),
            Operation::DeleteThread { thread, version } => self.delete_thread(thread, *version),
            Operation::AddMessage(add) => self.add_message(add),
            Operation::CreateAssistant(create) => self.create_assistant(create),
            Operation::UpdateAssistant(update) => self.update_assistant(update),
            Operation::DeleteAssistant { assistant, version } => self.delete_assistant(assistant, *version),
            Operation::Restore(restoration) => Ok(self.restore(restoration)),
            Operation::Sweep(sweep) => {
                self.changes.sweep = Some(*sweep);
                Ok(Answer::Swept(0))
            }
            Operation::Probe => {
                self.changes.probe = true;
                Ok(Answer::Done)
            }
        }
    }

    fn open(&mut self, opening: &Arc<OpenRun>) -> Result<Answer, Error> {
        let record = &opening.run.record;
        if let Some(run) = self.replay(opening.request.as_ref(), record.create_time)? {
            return Ok(Answer::Replayed(run));
        }
        let mut thread = match self.facts.threads.get(&record.thread) {
            Some(thread) => thread.clone(),
            None if opening.creates_thread && opening.seen != NOWHERE => return Ok(Answer::Stale),
            None if opening.creates_thread => {
                self.new_thread(&record.thread, "", Arc::from(NO_METADATA), record.create_time)
            }
            None => return Err(no_thread()),
        };
        if record.state == State::Queued {
            return self.enqueue(opening, thread);
        }
        check_free(&thread)?;
        if thread.last_position != opening.seen {
            return Ok(Answer::Stale);
        }
        match record.state.outcome() {
            None => thread.active = Some(record.id.clone()),
            Some(_) => self.sum_up(&mut thread, record),
        }
        match &opening.message {
            Some(message) => self.add(&mut thread, message),
            None if thread.last_position == NOWHERE => {
                return Err(Error::invalid("parent", "the thread has no message to answer"));
            }
            None => {}
        }
        let run = NewRun {
            thread: thread.number,
            row: opening.run.clone(),
            first_position: thread.last_position,
            last_position: thread.last_position,
        };
        self.insert(opening, run, thread);
        Ok(Answer::Done)
    }

    /// Its message waits with it, and has no place in the thread yet.
    fn enqueue(&mut self, opening: &Arc<OpenRun>, mut thread: Thread) -> Result<Answer, Error> {
        let record = &opening.run.record;
        if thread.queue.len() >= QUEUE_LIMIT {
            return Err(Error::new(
                Reason::Overloaded,
                format!("{QUEUE_LIMIT} runs wait for the thread already"),
            ));
        }
        thread.queue.push(record.id.clone());
        let run = NewRun {
            thread: thread.number,
            row: opening.run.clone(),
            first_position: thread.last_position,
            last_position: thread.last_position,
        };
        self.insert(opening, run, thread);
        Ok(Answer::Done)
    }

    fn insert(&mut self, opening: &OpenRun, run: NewRun, thread: Thread) {
        let record = &opening.run.record;
        self.changes.runs.push(run);
        self.changes.events.extend(opening.events.clone());
        self.facts.threads.insert(record.thread.clone(), thread);
        self.know(record);
        self.remember(opening.request.as_ref(), record.id.as_str(), record.create_time);
    }

    /// From now on, the run is as it is here.
    fn know(&mut self, record: &RunRecord) {
        let run = Run {
            state: record.state.clone(),
            fence: record.fence,
        };
        self.facts.runs.insert(record.id.clone(), run);
    }

    fn append(&mut self, appends: &[AppendRow]) -> Answer {
        let mut lost = Vec::new();
        for append in appends {
            match self.facts.runs.get(&append.run) {
                Some(run) if run.fence != append.fence => {
                    lost.push(append.run.clone());
                    continue;
                }
                Some(_) => {}
                // Of a run that is gone, nothing is kept.
                None => continue,
            }
            self.changes.events.extend(append.events.clone());
            let reserve = (append.run.clone(), append.reserved_sequence);
            self.changes.reserves.push(reserve);
        }
        Answer::Appended(lost)
    }

    fn start(&mut self, start: &StartRun) -> Result<Answer, Error> {
        let record = &start.record;
        let gone = || Error::new(Reason::RunNotFound, "no such run is queued");
        let mut thread = self.facts.threads.get(&record.thread).cloned().ok_or_else(gone)?;
        self.check_owned(record)?;
        if self.has_just_started(start, &thread) {
            if thread.last_position != start.seen {
                return Ok(Answer::Stale);
            }
            self.changes.events.extend(start.events.clone());
            self.update(record, None, None);
            return Ok(Answer::Done);
        }
        if !thread.queue.contains(&record.id) {
            return Err(gone());
        }
        let before = thread.active.as_ref().or(thread.queue.first());
        if let Some(before) = before.filter(|before| **before != record.id) {
            return Ok(Answer::Behind(before.clone()));
        }
        if thread.last_position != start.seen {
            return Ok(Answer::Stale);
        }
        match &start.message {
            Some(message) => self.add(&mut thread, message),
            None if thread.last_position == NOWHERE => {
                return Err(Error::invalid("parent", "the thread has no message to answer"));
            }
            None => {}
        }
        thread.queue.remove(0);
        thread.active = Some(record.id.clone());
        self.changes.events.extend(start.events.clone());
        let position = thread.last_position;
        self.facts.threads.insert(record.thread.clone(), thread);
        self.know(record);
        self.update(record, Some(position), Some(position));
        Ok(Answer::Done)
    }

    /// Whether the same was written before, for a caller that did not hear of it: the run is active, and nothing
    /// that it did has followed.
    fn has_just_started(&self, start: &StartRun, thread: &Thread) -> bool {
        let record = &start.record;
        let is_running = |run: &Run| run.state == State::Running;
        thread.active.as_ref() == Some(&record.id)
            && !start.is_followed
            && self.facts.runs.get(&record.id).is_some_and(is_running)
    }

    fn save(&mut self, save: &SaveRun) -> Result<Answer, Error> {
        let record = &save.record;
        // Of a run whose thread was deleted, nothing is kept.
        let Some(mut thread) = self.facts.threads.get(&record.thread).cloned() else {
            return Ok(Answer::Done);
        };
        self.check_owned(record)?;
        if thread.active.as_ref() == Some(&record.id) {
            if record.state.outcome().is_some() {
                thread.active = None;
                self.sum_up(&mut thread, record);
            }
        } else if let Some(place) = thread.queue.iter().position(|queued| *queued == record.id) {
            if record.state.outcome().is_some() {
                thread.queue.remove(place);
            }
        } else {
            self.check_repeated(record)?;
        }
        self.know(record);
        for row in &save.messages {
            self.add(&mut thread, row);
        }
        let last_position = (!save.messages.is_empty()).then_some(thread.last_position);
        self.changes.steps.extend(save.steps.iter().cloned());
        self.changes.events.extend(save.events.clone());
        self.facts.threads.insert(record.thread.clone(), thread);
        self.update(record, None, last_position);
        Ok(Answer::Done)
    }

    /// Counts what a run has used that was active until now.
    fn sum_up(&mut self, thread: &mut Thread, record: &RunRecord) {
        thread.usage = thread.usage.plus(record.usage);
        self.changes.usages.insert(thread.number, thread.usage);
        let cost = record.usage.cost;
        let account = Account {
            day: Day::of(record.end_time.unwrap_or(record.create_time)).0,
            caller: record.snapshot.caller.clone(),
            currency: cost.map_or(String::new(), |cost| cost.currency.code().to_owned()),
        };
        let spent = self.changes.spendings.entry(account).or_default();
        spent.runs += 1;
        spent.usage = spent.usage.plus(record.usage);
    }

    /// Nobody has taken the run over, as far as it is stored at all.
    fn check_owned(&self, record: &RunRecord) -> Result<(), Error> {
        match self.facts.runs.get(&record.id) {
            Some(run) if run.fence != record.fence => Err(taken_over(&record.id)),
            _ => Ok(()),
        }
    }

    /// A run that has ended may be written again as it is, by a caller that did not hear of it; nothing else.
    fn check_repeated(&self, record: &RunRecord) -> Result<(), Error> {
        let stored = self.facts.runs.get(&record.id).ok_or_else(|| {
            Error::internal(format!("run {} is not stored, and cannot be saved", record.id))
        })?;
        if stored.state == record.state {
            return Ok(());
        }
        Err(Error::internal(format!(
            "run {} is {} already, and cannot become {}",
            record.id,
            stored.state.name(),
            record.state.name()
        )))
    }

    fn update(&mut self, record: &Arc<RunRecord>, first_position: Option<i64>, last_position: Option<i64>) {
        let is_new = |new: &&mut NewRun| new.row.record.id == record.id;
        if let Some(new) = self.changes.runs.iter_mut().find(is_new) {
            new.row.record = (**record).clone();
            new.first_position = first_position.unwrap_or(new.first_position);
            new.last_position = last_position.unwrap_or(new.last_position);
            return;
        }
        let earlier = self.changes.updates.get(&record.id);
        let update = RunUpdate {
            record: Arc::clone(record),
            first_position: first_position.or(earlier.and_then(|update| update.first_position)),
            last_position: last_position.or(earlier.and_then(|update| update.last_position)),
        };
        self.changes.updates.insert(record.id.clone(), update);
    }

    fn create_thread(&mut self, create: &CreateThread) -> Result<Answer, Error> {
        let record = &create.record;
        if let Some(thread) = self.replay(create.request.as_ref(), record.create_time)? {
            return Ok(Answer::Replayed(thread));
        }
        let metadata = Arc::clone(&create.metadata);
        let thread = self.new_thread(&record.id, &record.title, metadata, record.create_time);
        self.facts.threads.insert(record.id.clone(), thread);
        self.remember(create.request.as_ref(), record.id.as_str(), record.create_time);
        Ok(Answer::Done)
    }

    fn update_thread(&mut self, update: &Arc<UpdateThread>) -> Result<Answer, Error> {
        let thread = self.facts.threads.get_mut(&update.thread).ok_or_else(no_thread)?;
        check_version(thread.version, update.version, "thread")?;
        thread.version += 1;
        self.changes
            .thread_updates
            .push((thread.number, Arc::clone(update)));
        Ok(Answer::Done)
    }

    fn delete_thread(&mut self, id: &ThreadId, version: Option<u64>) -> Result<Answer, Error> {
        let thread = self.facts.threads.get(id).ok_or_else(no_thread)?;
        check_version(thread.version, version, "thread")?;
        check_free(thread)?;
        self.changes.deletions.push(thread.number);
        self.facts.threads.remove(id);
        Ok(Answer::Done)
    }

    fn add_message(&mut self, add: &AddMessage) -> Result<Answer, Error> {
        let time = add.message.message.create_time;
        if let Some(message) = self.replay(add.request.as_ref(), time)? {
            return Ok(Answer::Replayed(message));
        }
        let mut thread = self
            .facts
            .threads
            .get(&add.thread)
            .cloned()
            .ok_or_else(no_thread)?;
        check_free(&thread)?;
        self.add(&mut thread, &add.message);
        self.facts.threads.insert(add.thread.clone(), thread);
        self.remember(add.request.as_ref(), add.message.message.id.as_str(), time);
        Ok(Answer::Done)
    }

    fn add(&mut self, thread: &mut Thread, row: &MessageRow) {
        thread.last_position += 1;
        self.changes.messages.push(NewMessage {
            thread: thread.number,
            position: thread.last_position,
            row: row.clone(),
        });
    }

    fn new_thread(
        &mut self,
        id: &ThreadId,
        title: &str,
        metadata: Arc<str>,
        create_time: SystemTime,
    ) -> Thread {
        let number = self.facts.new_numbers.pop_front().unwrap_or_default();
        self.changes.threads.push(NewThread {
            number,
            id: id.clone(),
            title: title.to_owned(),
            metadata,
            create_time,
        });
        Thread {
            number,
            version: 1,
            last_position: NOWHERE,
            active: None,
            queue: Vec::new(),
            usage: Usage::default(),
        }
    }

    fn create_assistant(&mut self, create: &Arc<CreateAssistant>) -> Result<Answer, Error> {
        let record = &create.record;
        if let Some(assistant) = self.replay(create.request.as_ref(), record.create_time)? {
            return Ok(Answer::Replayed(assistant));
        }
        self.facts.assistants.insert(record.id.clone(), 1);
        self.changes.assistants.push(Arc::clone(create));
        self.remember(create.request.as_ref(), record.id.as_str(), record.create_time);
        Ok(Answer::Done)
    }

    fn update_assistant(&mut self, update: &Arc<UpdateAssistant>) -> Result<Answer, Error> {
        let version = self
            .facts
            .assistants
            .get_mut(&update.assistant)
            .ok_or_else(no_assistant)?;
        check_version(*version, Some(update.version), "assistant")?;
        *version += 1;
        self.changes.assistant_updates.push(Arc::clone(update));
        Ok(Answer::Done)
    }

    fn delete_assistant(&mut self, assistant: &AssistantId, version: Option<u64>) -> Result<Answer, Error> {
        let known = *self.facts.assistants.get(assistant).ok_or_else(no_assistant)?;
        check_version(known, version, "assistant")?;
        self.facts.assistants.remove(assistant);
        self.changes.assistant_deletions.push(assistant.clone());
        Ok(Answer::Done)
    }

    /// What this request has brought before.
    fn replay(&self, request: Option<&RequestKey>, now: SystemTime) -> Result<Option<Box<str>>, Error> {
        let Some(request) = request else {
            return Ok(None);
        };
        let Some(seen) = self.facts.requests.get(&request.id) else {
            return Ok(None);
        };
        seen.replay(request, now)
    }

    fn remember(&mut self, request: Option<&RequestKey>, subject: &str, time: SystemTime) {
        let Some(key) = request else {
            return;
        };
        let seen = Request {
            digest: key.digest.to_vec(),
            subject: subject.into(),
            time,
        };
        self.facts.requests.insert(key.id.clone(), seen);
        self.changes.requests.push(NewRequest {
            key: key.clone(),
            subject: subject.into(),
            time,
        });
    }
}

impl Request {
    /// What it brought, if that is the answer to this request, too: the same again, and soon enough.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` when it was another one.
    pub(in crate::store) fn replay(
        &self,
        request: &RequestKey,
        now: SystemTime,
    ) -> Result<Option<Box<str>>, Error> {
        let age = now.duration_since(self.time);
        if age.is_ok_and(|age| age >= REPLAY_WINDOW) {
            return Ok(None);
        }
        if self.digest != request.digest {
            return Err(Error::new(
                Reason::RequestIdReused,
                "the request id was used for another request",
            ));
        }
        Ok(Some(self.subject.clone()))
    }
}

fn taken_over(run: &RunId) -> Error {
    let error = Error::new(Reason::RunInterrupted, "another process has taken the run over");
    error.with("run", run.as_str())
}

fn no_thread() -> Error {
    Error::new(Reason::ThreadNotFound, "no such thread")
}

fn check_free(thread: &Thread) -> Result<(), Error> {
    // Who is queued was there before.
    let Some(active) = thread.active.as_ref().or(thread.queue.first()) else {
        return Ok(());
    };
    let busy = Error::new(Reason::ThreadBusy, "another run is active on the thread");
    Err(busy.with("run", active.as_str()))
}

fn no_assistant() -> Error {
    Error::new(Reason::AssistantNotFound, "no such assistant")
}

fn check_version(known: i64, expected: Option<u64>, what: &str) -> Result<(), Error> {
    match expected {
        Some(expected) if i64::try_from(expected) != Ok(known) => Err(Error::new(
            Reason::EtagMismatch,
            format!("the {what} has been changed since its etag was read"),
        )),
        _ => Ok(()),
    }
}
