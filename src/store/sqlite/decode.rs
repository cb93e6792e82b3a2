//! Rows as SQLite gives them, read back into the heart's types.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use crate::run::assistant::AssistantRecord;
use crate::run::error::Error;
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::ports::Pending;
use crate::run::record::{RunRecord, State, ThreadRecord};
use crate::run::step::Step;
use crate::store::{batch, row};

/// The columns that [`run`] reads, of the tables `r` (runs) and `t` (threads).
macro_rules! run_columns {
    () => {
        "r.id, t.id AS thread_id, r.state, r.detail, r.message, r.snapshot, r.usage, r.last_sequence, \
         r.reserved_sequence, r.fence, r.create_time, r.start_time, r.expire_time, r.end_time, \
         r.pending, r.waited, r.waits_since"
    };
}

/// The columns that [`message`] reads, of the table `m` (messages).
macro_rules! message_columns {
    () => {
        "m.id, m.role, m.content, m.run, m.incomplete, m.create_time, m.position, m.metadata"
    };
}

pub(super) use {message_columns, run_columns};

/// Reads a run.
///
/// # Errors
/// `INTERNAL`, with the run's name in the cause, when the row holds what cannot be.
pub(super) fn run(row: &SqliteRow) -> Result<RunRecord, Error> {
    let read = || -> Result<RunRecord, Odd> {
        let state = State::from_parts(get(row, "state")?, get(row, "detail")?, get(row, "message")?);
        Ok(RunRecord {
            id: RunId::parse(get(row, "id")?)?,
            thread: ThreadId::parse(get(row, "thread_id")?)?,
            snapshot: serde_json::from_str(get(row, "snapshot")?)?,
            state: state.ok_or("there is no such state")?,
            usage: serde_json::from_str(get(row, "usage")?)?,
            last_sequence: count(row, "last_sequence")?,
            reserved_sequence: count(row, "reserved_sequence")?,
            fence: count(row, "fence")?,
            create_time: time(get(row, "create_time")?)?,
            start_time: optional_time(row, "start_time")?,
            expire_time: optional_time(row, "expire_time")?,
            end_time: optional_time(row, "end_time")?,
            pending: match get::<Option<&str>>(row, "pending")? {
                Some(pending) => serde_json::from_str(pending)?,
                None => Vec::new(),
            },
            waited: Duration::from_micros(count(row, "waited")?),
            waits_since: optional_time(row, "waits_since")?,
        })
    };
    read().map_err(|odd| unreadable("run", row, &odd))
}

/// Reads what writes need to know of a run.
///
/// # Errors
/// `INTERNAL`, with the run's name in the cause, when the row holds what cannot be.
pub(super) fn run_fact(row: &SqliteRow) -> Result<(RunId, batch::Run), Error> {
    let read = || -> Result<(RunId, batch::Run), Odd> {
        let state = State::from_parts(get(row, "state")?, get(row, "detail")?, get(row, "message")?);
        let run = batch::Run {
            state: state.ok_or("there is no such state")?,
            fence: count(row, "fence")?,
        };
        Ok((RunId::parse(get(row, "id")?)?, run))
    };
    read().map_err(|odd| unreadable("run", row, &odd))
}

/// Reads a message.
///
/// # Errors
/// `INTERNAL`, with the message's name in the cause, when the row holds what cannot be.
pub(super) fn message(row: &SqliteRow) -> Result<Arc<Message>, Error> {
    let read = || -> Result<Message, Odd> {
        let run: Option<&str> = get(row, "run")?;
        Ok(Message {
            id: MessageId::parse(get(row, "id")?)?,
            role: row::role(get(row, "role")?).ok_or("there is no such role")?,
            content: serde_json::from_str(get(row, "content")?)?,
            run: run.map(RunId::parse).transpose()?,
            incomplete: get(row, "incomplete")?,
            create_time: time(get(row, "create_time")?)?,
            metadata: serde_json::from_str(get(row, "metadata")?)?,
        })
    };
    read()
        .map(Arc::new)
        .map_err(|odd| unreadable("message", row, &odd))
}

/// Reads a thread.
///
/// # Errors
/// `INTERNAL`, with the thread's name in the cause, when the row holds what cannot be.
pub(super) fn thread(row: &SqliteRow) -> Result<ThreadRecord, Error> {
    let read = || -> Result<ThreadRecord, Odd> {
        let active_run: Option<&str> = get(row, "active_run")?;
        Ok(ThreadRecord {
            id: ThreadId::parse(get(row, "id")?)?,
            title: get(row, "title")?,
            metadata: serde_json::from_str(get(row, "metadata")?)?,
            version: count(row, "version")?,
            active_run: active_run.map(RunId::parse).transpose()?,
            create_time: time(get(row, "create_time")?)?,
            update_time: time(get(row, "update_time")?)?,
        })
    };
    read().map_err(|odd| unreadable("thread", row, &odd))
}

/// Reads an assistant.
///
/// # Errors
/// `INTERNAL`, with the assistant's name in the cause, when the row holds what cannot be.
pub(super) fn assistant(row: &SqliteRow) -> Result<AssistantRecord, Error> {
    let read = || -> Result<AssistantRecord, Odd> {
        Ok(AssistantRecord {
            id: AssistantId::parse(get(row, "id")?)?,
            profile: serde_json::from_str(get(row, "profile")?)?,
            version: count(row, "version")?,
            create_time: time(get(row, "create_time")?)?,
            update_time: time(get(row, "update_time")?)?,
        })
    };
    read().map_err(|odd| unreadable("assistant", row, &odd))
}

/// Reads something that a run waits for.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn pending(row: &SqliteRow) -> Result<Pending, Error> {
    let read = || -> Result<Pending, Odd> {
        Ok(Pending {
            thread: ThreadId::parse(get(row, "thread_id")?)?,
            run: RunId::parse(get(row, "id")?)?,
            action: serde_json::from_str(get(row, "action")?)?,
        })
    };
    read().map_err(|odd| unreadable("run", row, &odd))
}

/// Reads a step.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn step(row: &SqliteRow) -> Result<Arc<Step>, Error> {
    let read = || -> Result<Step, Odd> { Ok(serde_json::from_str(get(row, "step")?)?) };
    read().map(Arc::new).map_err(|odd| unreadable("step", row, &odd))
}

/// Reads one column with a time.
///
/// # Errors
/// `INTERNAL`, with the row's name in the cause.
pub(super) fn moment(row: &SqliteRow, name: &'static str) -> Result<std::time::SystemTime, Error> {
    let read = || time(get(row, name)?);
    read().map_err(|odd| unreadable("row", row, &odd))
}

/// Reads one column.
///
/// # Errors
/// `INTERNAL`, with the row's name in the cause.
pub(super) fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    name: &'static str,
) -> Result<T, Error> {
    get(row, name).map_err(|odd| unreadable("row", row, &odd))
}

type Odd = Box<dyn std::error::Error + Send + Sync>;

fn get<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, column: &str) -> Result<T, Odd> {
    Ok(row.try_get(column)?)
}

fn count(row: &SqliteRow, column: &str) -> Result<u64, Odd> {
    let count: i64 = get(row, column)?;
    u64::try_from(count).map_err(|_| format!("{column} is negative").into())
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<std::time::SystemTime>, Odd> {
    let micros: Option<i64> = get(row, column)?;
    micros.map(time).transpose()
}

fn time(micros: i64) -> Result<std::time::SystemTime, Odd> {
    row::time(micros).ok_or_else(|| "a time is out of range".into())
}

fn unreadable(what: &str, row: &SqliteRow, odd: &Odd) -> Error {
    let id: &str = row.try_get("id").unwrap_or("(without a readable id)");
    Error::internal(format!("stored {what} {id} cannot be read: {odd}"))
}
