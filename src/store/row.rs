//! Between the heart's types and columns that every database has: text, integers, JSON as text.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::run::error::Error;
use crate::run::event::Event;
use crate::run::id::RunId;
use crate::run::message::{Message, Role, Usage};
use crate::run::record::{RunRecord, State};
use crate::run::step::Step;

use super::chunk;

/// A run to be inserted. The JSON is made by the caller, so that the writer need not.
#[derive(Clone, Debug)]
pub(super) struct RunRow {
    pub(super) record: RunRecord,
    pub(super) snapshot: Arc<str>,
    /// The message that waits with a queued run: null when there is none; nothing for a run that is not queued.
    pub(super) queued: Option<Arc<str>>,
}

/// A message to be inserted, with its content and the caller's notes as JSON.
#[derive(Clone, Debug)]
pub(super) struct MessageRow {
    pub(super) message: Arc<Message>,
    pub(super) content: Arc<str>,
    pub(super) metadata: Arc<str>,
}

/// A step to be inserted or updated, as JSON.
#[derive(Clone, Debug)]
pub(super) struct StepRow {
    pub(super) run: RunId,
    pub(super) place: i64,
    pub(super) step: Arc<str>,
}

/// Events of one run that follow one another, to be inserted.
#[derive(Clone, Debug)]
pub(super) struct EventRow {
    pub(super) run: RunId,
    pub(super) last_sequence: i64,
    pub(super) chunk: Arc<str>,
}

impl RunRow {
    pub(super) fn new(record: &RunRecord, message: Option<&Arc<Message>>) -> Result<Self, Error> {
        let is_queued = record.state == State::Queued;
        Ok(Self {
            record: record.clone(),
            snapshot: json(&record.snapshot)?,
            queued: is_queued.then(|| json(&message.map(Arc::as_ref))).transpose()?,
        })
    }
}

impl StepRow {
    pub(super) fn new(run: &RunId, step: &Step) -> Result<Self, Error> {
        Ok(Self {
            run: run.clone(),
            place: i64::from(step.place),
            step: json(step)?,
        })
    }
}

impl EventRow {
    /// A row for these events; none for no events.
    pub(super) fn new(
        run: &RunId,
        events: &[Arc<Event>],
        steps: &[Arc<Step>],
    ) -> Result<Option<Self>, Error> {
        let Some(last) = events.last() else {
            return Ok(None);
        };
        Ok(Some(Self {
            run: run.clone(),
            last_sequence: count(last.sequence),
            chunk: chunk::encode(events, steps)?,
        }))
    }
}

impl MessageRow {
    pub(super) fn new(message: &Arc<Message>) -> Result<Self, Error> {
        Ok(Self {
            message: Arc::clone(message),
            content: json(&message.content)?,
            metadata: json(&message.metadata)?,
        })
    }
}

/// The JSON of a value.
pub(super) fn json(value: &impl serde::Serialize) -> Result<Arc<str>, Error> {
    serde_json::to_string(value)
        .map(Arc::from)
        .map_err(Error::internal)
}

/// Microseconds since 1970, negative before; what is finer is lost.
pub(super) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

/// The inverse of [`micros`]; none for a time that the system cannot express.
pub(super) fn time(micros: i64) -> Option<SystemTime> {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

/// A count as the databases have it: their integers are signed.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a run has used, as JSON. It is small and flat, and goes into JSON whatever its numbers are.
pub(super) fn usage(usage: &Usage) -> String {
    serde_json::to_string(usage).unwrap_or_default()
}

/// Whether a run holds its thread: it is neither over nor queued.
pub(super) fn is_active(record: &RunRecord) -> bool {
    record.state.outcome().is_none() && record.state != State::Queued
}

/// What a run waits for, as JSON; none when it waits for nothing. It is made of texts and times, and goes into
/// JSON whatever they are.
pub(super) fn pending(record: &RunRecord) -> Option<String> {
    (!record.pending.is_empty()).then(|| serde_json::to_string(&record.pending).unwrap_or_default())
}

/// The stored name of a role.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

/// Reads the stored name of a role back.
pub(super) fn role(name: &str) -> Option<Role> {
    [Role::System, Role::User, Role::Assistant, Role::Tool]
        .into_iter()
        .find(|&role| role_name(role) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_microseconds_on_both_sides_of_1970() {
        for stored in [0, 1, -1, 1_795_000_000_123_456, -62_000_000_000_000_000] {
            assert_eq!(time(stored).map(micros), Some(stored));
        }
    }

    #[test]
    fn every_role_reads_back_from_its_name() {
        for each in [Role::System, Role::User, Role::Assistant, Role::Tool] {
            assert_eq!(role(role_name(each)), Some(each));
        }
        assert_eq!(role("robot"), None);
    }
}
