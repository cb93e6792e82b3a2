//! What a batch of writes does to what is stored: decided in memory, free of databases.
//!
//! Writes of many callers share one transaction. Whether each may happen is decided here *before* anything is
//! written, in the order in which they came, so that one that may not leaves no trace and harms no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::run::error::{Error, Reason};
use crate::run::id::{RunId, ThreadId};
use crate::run::record::RunRecord;

use super::row::{MessageRow, RunRow};

/// How long a request id stands for the run that it started.
const REPLAY_WINDOW: Duration = Duration::from_hours(24);

/// The position before the first message.
pub(super) const NOWHERE: i64 = -1;

/// One write, as a caller asks for it.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Opens a run.
    Open(Arc<OpenRun>),
    /// Writes a run as it is now and appends messages.
    Save {
        record: Box<RunRecord>,
        messages: Vec<MessageRow>,
    },
    /// Writes nothing of meaning, to see whether writing works.
    Probe,
}

/// A run to be opened.
#[derive(Debug)]
pub(super) struct OpenRun {
    pub(super) run: RunRow,
    pub(super) message: MessageRow,
    pub(super) creates_thread: bool,
    /// The last position of the thread that the caller has read.
    pub(super) seen: i64,
}

/// What came of a write that was not refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It is written.
    Done,
    /// The thread has grown since the caller read it: nothing is written.
    Stale,
    /// The request has been seen before, and started this run: nothing is written.
    Replayed(Box<RunRecord>),
}

/// What the database knows of everything that a batch names.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) threads: HashMap<ThreadId, Thread>,
    /// The number for the next new thread.
    pub(super) next_number: i64,
    /// By request id: the newest run that came with it.
    pub(super) requests: HashMap<String, Request>,
    /// The saved runs that are not the active ones of their threads.
    pub(super) ended: HashMap<RunId, RunRecord>,
}

/// A thread, as far as writes need to know it.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) number: i64,
    pub(super) last_position: i64,
    pub(super) active: Option<RunId>,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) digest: Vec<u8>,
    pub(super) record: RunRecord,
}

/// The rows to write. Updates go first: a run that ends makes room for one that begins.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) updates: HashMap<RunId, RunUpdate>,
    pub(super) threads: Vec<NewThread>,
    pub(super) runs: HashMap<RunId, NewRun>,
    pub(super) messages: Vec<NewMessage>,
    pub(super) probe: bool,
}

#[derive(Debug)]
pub(super) struct RunUpdate {
    pub(super) record: RunRecord,
    /// The position of its newest message, if there is one more.
    pub(super) last_position: Option<i64>,
}

#[derive(Debug)]
pub(super) struct NewThread {
    pub(super) number: i64,
    pub(super) opening: Arc<OpenRun>,
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

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.runs.is_empty() && self.messages.is_empty() && !self.probe
    }
}

/// Decides every operation in turn: the rows to write, and the answers once they are written.
pub(super) fn plan(operations: &[Operation], facts: Facts) -> (Changes, Vec<Result<Answer, Error>>) {
    let mut plan = Plan {
        facts,
        changes: Changes::default(),
    };
    let answers = operations
        .iter()
        .map(|operation| match operation {
            Operation::Open(opening) => plan.open(opening),
            Operation::Save { record, messages } => plan.save(record, messages),
            Operation::Probe => {
                plan.changes.probe = true;
                Ok(Answer::Done)
            }
        })
        .collect();
    (plan.changes, answers)
}

struct Plan {
    facts: Facts,
    changes: Changes,
}

impl Plan {
    fn open(&mut self, opening: &Arc<OpenRun>) -> Result<Answer, Error> {
        let record = &opening.run.record;
        if let Some(record) = self.replay(&opening.run)? {
            return Ok(Answer::Replayed(Box::new(record)));
        }
        let mut thread = match self.facts.threads.get(&record.thread) {
            Some(thread) => thread.clone(),
            None if opening.creates_thread && opening.seen != NOWHERE => return Ok(Answer::Stale),
            None if opening.creates_thread => self.create(opening),
            None => return Err(Error::new(Reason::ThreadNotFound, "no such thread")),
        };
        if let Some(active) = &thread.active {
            let busy = Error::new(Reason::ThreadBusy, "another run is active on the thread");
            return Err(busy.with("run", active.as_str()));
        }
        if thread.last_position != opening.seen {
            return Ok(Answer::Stale);
        }
        thread.last_position += 1;
        if record.state.outcome().is_none() {
            thread.active = Some(record.id.clone());
        }
        self.changes.messages.push(NewMessage {
            thread: thread.number,
            position: thread.last_position,
            row: opening.message.clone(),
        });
        self.changes.runs.insert(
            record.id.clone(),
            NewRun {
                thread: thread.number,
                row: opening.run.clone(),
                first_position: thread.last_position,
                last_position: thread.last_position,
            },
        );
        self.facts.threads.insert(record.thread.clone(), thread);
        if let Some(request) = &opening.run.request {
            let seen = Request {
                digest: request.digest.to_vec(),
                record: record.clone(),
            };
            self.facts.requests.insert(request.id.clone(), seen);
        }
        Ok(Answer::Done)
    }

    /// The run that this request has started before.
    fn replay(&self, run: &RunRow) -> Result<Option<RunRecord>, Error> {
        let Some(request) = &run.request else {
            return Ok(None);
        };
        let Some(seen) = self.facts.requests.get(&request.id) else {
            return Ok(None);
        };
        let age = run.record.create_time.duration_since(seen.record.create_time);
        if age.is_ok_and(|age| age >= REPLAY_WINDOW) {
            return Ok(None);
        }
        if seen.digest != request.digest {
            return Err(Error::new(
                Reason::RequestIdReused,
                "the request id was used for another request",
            ));
        }
        Ok(Some(seen.record.clone()))
    }

    fn create(&mut self, opening: &Arc<OpenRun>) -> Thread {
        let number = self.facts.next_number;
        self.facts.next_number += 1;
        self.changes.threads.push(NewThread {
            number,
            opening: Arc::clone(opening),
        });
        Thread {
            number,
            last_position: NOWHERE,
            active: None,
        }
    }

    fn save(&mut self, record: &RunRecord, messages: &[MessageRow]) -> Result<Answer, Error> {
        let missing = || Error::internal(format!("run {} is not stored, and cannot be saved", record.id));
        let Some(thread) = self.facts.threads.get_mut(&record.thread) else {
            return Err(missing());
        };
        if thread.active.as_ref() == Some(&record.id) {
            if record.state.outcome().is_some() {
                thread.active = None;
            }
        } else {
            let stored = self.facts.ended.get(&record.id).ok_or_else(missing)?;
            if stored.state != record.state {
                return Err(Error::internal(format!(
                    "run {} is {} already, and cannot become {}",
                    record.id,
                    stored.state.name(),
                    record.state.name()
                )));
            }
        }
        if record.state.outcome().is_some() {
            self.facts.ended.insert(record.id.clone(), record.clone());
        }
        for row in messages {
            thread.last_position += 1;
            self.changes.messages.push(NewMessage {
                thread: thread.number,
                position: thread.last_position,
                row: row.clone(),
            });
        }
        let last_position = (!messages.is_empty()).then_some(thread.last_position);
        self.update(record, last_position);
        Ok(Answer::Done)
    }

    fn update(&mut self, record: &RunRecord, last_position: Option<i64>) {
        if let Some(new) = self.changes.runs.get_mut(&record.id) {
            new.row.record = record.clone();
            new.last_position = last_position.unwrap_or(new.last_position);
            return;
        }
        let earlier = self
            .changes
            .updates
            .get(&record.id)
            .and_then(|update| update.last_position);
        let update = RunUpdate {
            record: record.clone(),
            last_position: last_position.or(earlier),
        };
        self.changes.updates.insert(record.id.clone(), update);
    }
}
