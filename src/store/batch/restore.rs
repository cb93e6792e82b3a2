//! Things that are put back as they were, whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::run::assistant::AssistantRecord;
use crate::run::error::Error;
use crate::run::id::MessageId;
use crate::run::message::Usage;
use crate::run::ports::{Restore, WholeRun, WholeThread};
use crate::run::record::ThreadRecord;
use crate::store::decode::{self, Columns};
use crate::store::row::{self, MessageRow, RunRow, StepRow};

use super::plan::Plan;
use super::{Answer, NOWHERE, Thread};

/// Something to be put back.
#[derive(Debug)]
pub(in crate::store) enum Restoration {
    /// An assistant, with its profile as JSON.
    Assistant {
        record: AssistantRecord,
        profile: Arc<str>,
    },
    Thread(RestoredThread),
}

/// A thread with everything of it. A message's position is its place in the list.
#[derive(Debug)]
pub(in crate::store) struct RestoredThread {
    pub(in crate::store) record: ThreadRecord,
    pub(in crate::store) metadata: Arc<str>,
    pub(in crate::store) messages: Vec<MessageRow>,
    pub(in crate::store) runs: Vec<RestoredRun>,
    pub(in crate::store) steps: Vec<StepRow>,
    /// What its runs have used.
    pub(in crate::store) usage: Usage,
}

/// A run, and where its messages are.
#[derive(Debug)]
pub(in crate::store) struct RestoredRun {
    pub(in crate::store) row: RunRow,
    pub(in crate::store) first_position: i64,
    pub(in crate::store) last_position: i64,
}

/// The kinds of names.
pub(in crate::store) const KINDS: [&str; 4] = ["assistant", "thread", "message", "run"];

/// A name of something, and of which kind it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Name {
    /// One of [`KINDS`].
    pub(in crate::store) kind: &'static str,
    pub(in crate::store) id: Box<str>,
}

impl Name {
    pub(in crate::store) fn new(kind: &'static str, id: &str) -> Self {
        Self { kind, id: id.into() }
    }

    /// Reads a row that names something, of this kind in its column `kind`.
    pub(in crate::store) fn read(row: &impl Columns) -> Result<Self, Error> {
        let kind = decode::column(row, "kind", Columns::text)?;
        let known = KINDS.into_iter().find(|known| *known == kind);
        let known = known.ok_or_else(|| Error::internal(format!("there is no kind {kind}")))?;
        Ok(Self::new(known, decode::column(row, "id", Columns::text)?))
    }
}

impl Restoration {
    pub(in crate::store) fn new(restore: &Restore) -> Result<Self, Error> {
        Ok(match restore {
            Restore::Assistant(record) => Self::Assistant {
                record: record.clone(),
                profile: row::json(&record.profile)?,
            },
            Restore::Thread(whole) => Self::Thread(RestoredThread::new(whole)?),
        })
    }

    /// Every name in it that nothing else may have.
    pub(in crate::store) fn names(&self) -> Vec<Name> {
        match self {
            Self::Assistant { record, .. } => vec![Name::new("assistant", record.id.as_str())],
            Self::Thread(thread) => {
                let messages = thread
                    .messages
                    .iter()
                    .map(|row| Name::new("message", row.message.id.as_str()));
                let runs = thread
                    .runs
                    .iter()
                    .map(|run| Name::new("run", run.row.record.id.as_str()));
                let own = Name::new("thread", thread.record.id.as_str());
                std::iter::once(own).chain(messages).chain(runs).collect()
            }
        }
    }
}

impl RestoredThread {
    fn new(whole: &WholeThread) -> Result<Self, Error> {
        let places: HashMap<&MessageId, i64> = whole
            .messages
            .iter()
            .zip(0..)
            .map(|(message, place)| (&message.id, place))
            .collect();
        let mut last_of_run = HashMap::new();
        for (message, place) in whole.messages.iter().zip(0..) {
            last_of_run.extend(message.run.as_ref().map(|run| (run, place)));
        }
        let run = |run: &WholeRun| -> Result<RestoredRun, Error> {
            let first = run.first_message.as_ref().and_then(|first| places.get(first));
            let first_position = first.copied().unwrap_or(NOWHERE);
            let last = last_of_run.get(&run.record.id).copied();
            Ok(RestoredRun {
                row: RunRow::new(&run.record, None)?,
                first_position,
                last_position: last.unwrap_or(first_position).max(first_position),
            })
        };
        let mut steps = Vec::new();
        for each in &whole.runs {
            for step in &each.steps {
                steps.push(StepRow::new(&each.record.id, step)?);
            }
        }
        Ok(Self {
            metadata: row::json(&whole.record.metadata)?,
            record: whole.record.clone(),
            messages: whole
                .messages
                .iter()
                .map(MessageRow::new)
                .collect::<Result<_, _>>()?,
            runs: whole.runs.iter().map(run).collect::<Result<_, _>>()?,
            steps,
            usage: whole.used(),
        })
    }
}

impl Plan {
    pub(super) fn restore(&mut self, restoration: &Arc<Restoration>) -> Answer {
        let names = restoration.names();
        let mut seen = HashSet::new();
        let taken = names
            .iter()
            .find(|name| self.facts.taken.contains(*name) || !seen.insert(*name));
        if let Some(taken) = taken {
            return Answer::Taken(taken.clone());
        }
        self.facts.taken.extend(names);
        let mut number = 0;
        match &**restoration {
            Restoration::Assistant { record, .. } => {
                self.facts
                    .assistants
                    .insert(record.id.clone(), row::count(record.version));
            }
            Restoration::Thread(restored) => {
                number = self.facts.new_numbers.pop_front().unwrap_or_default();
                let thread = Thread {
                    number,
                    version: row::count(restored.record.version),
                    last_position: NOWHERE + row::count(restored.messages.len() as u64),
                    active: None,
                    queue: Vec::new(),
                    usage: restored.usage,
                };
                self.facts.threads.insert(restored.record.id.clone(), thread);
            }
        }
        self.changes.restorations.push((number, Arc::clone(restoration)));
        Answer::Done
    }
}
