//! The two scripts of a batch: what it needs to know, and what it writes.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::run::error::Error;
use crate::run::id::{RunId, ThreadId};
use crate::store::batch::{
    Changes, Facts, NOWHERE, NewMessage, NewRun, NewThread, OpenRun, Operation, Request, RunUpdate, Thread,
};
use crate::store::row;

use super::decode::{self, run_columns};
use super::fault;
use super::script::{Row, Script};

/// Why a batch could not be read or written.
pub(super) enum Failure {
    /// SQLite says no.
    Sqlite(sqlx::Error),
    /// What it gave cannot be read.
    Unreadable(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(cause: sqlx::Error) -> Self {
        Self::Sqlite(cause)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Failure {
    /// The error for the callers.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Sqlite(cause) => fault::error(cause),
            Self::Unreadable(error) => error,
        }
    }
}

const THREADS: [&str; 2] = [
    "SELECT 'thread' AS fact, t.id, t.number, \
     (SELECT max(position) FROM messages WHERE thread = t.number) AS last_position, \
     (SELECT id FROM runs WHERE thread = t.number AND active) AS active FROM",
    "CROSS JOIN threads t ON t.id = column1",
];

const REQUESTS: [&str; 2] = [
    concat!(
        "SELECT 'request' AS fact, r.request_id, r.request_digest, ",
        run_columns!(),
        " FROM"
    ),
    "CROSS JOIN runs r ON r.request_id = column1 JOIN threads t ON t.number = r.thread ORDER BY r.create_time",
];

const RUNS: [&str; 2] = [
    concat!("SELECT ", run_columns!(), " FROM"),
    "CROSS JOIN runs r ON r.id = column1 JOIN threads t ON t.number = r.thread",
];

/// Begins a transaction that no other process can write in, and reads what the operations touch.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    operations: &[Operation],
) -> Result<Facts, Failure> {
    let threads: Vec<&ThreadId> = operations.iter().filter_map(thread).collect();
    let openings = || operations.iter().filter_map(opening);
    let requests: Vec<&str> = openings()
        .filter_map(|opening| Some(opening.run.request.as_ref()?.id.as_str()))
        .collect();
    let mut script = Script::default();
    script.statement("BEGIN IMMEDIATE");
    script.rows(THREADS, 1, &threads, |id, row| {
        row.add(id.as_str());
    });
    if openings().any(|opening| opening.creates_thread) {
        script.statement("SELECT 'number' AS fact, coalesce(max(number), 0) + 1 AS number FROM threads");
    }
    script.rows(REQUESTS, 1, &requests, |id, row| {
        row.add(*id);
    });
    let mut facts = Facts::default();
    for row in script.run(connection).await? {
        add_fact(&mut facts, &row)?;
    }
    read_ended(connection, operations, &mut facts).await?;
    Ok(facts)
}

fn thread(operation: &Operation) -> Option<&ThreadId> {
    match operation {
        Operation::Open(opening) => Some(&opening.run.record.thread),
        Operation::Save { record, .. } => Some(&record.thread),
        Operation::Probe => None,
    }
}

fn opening(operation: &Operation) -> Option<&OpenRun> {
    match operation {
        Operation::Open(opening) => Some(opening),
        Operation::Save { .. } | Operation::Probe => None,
    }
}

fn add_fact(facts: &mut Facts, row: &SqliteRow) -> Result<(), Error> {
    match decode::column(row, "fact")? {
        "thread" => {
            let id = ThreadId::parse(decode::column(row, "id")?).map_err(Error::internal)?;
            let active: Option<&str> = decode::column(row, "active")?;
            let last_position: Option<i64> = decode::column(row, "last_position")?;
            let thread = Thread {
                number: decode::column(row, "number")?,
                last_position: last_position.unwrap_or(NOWHERE),
                active: active.map(RunId::parse).transpose().map_err(Error::internal)?,
            };
            facts.threads.insert(id, thread);
        }
        "number" => facts.next_number = decode::column(row, "number")?,
        _ => {
            let digest: Option<Vec<u8>> = decode::column(row, "request_digest")?;
            let request = Request {
                digest: digest.unwrap_or_default(),
                record: decode::run(row)?,
            };
            facts.requests.insert(decode::column(row, "request_id")?, request);
        }
    }
    Ok(())
}

/// Looks up saved runs that are not active: a write that is tried again, as a rule, and rare.
async fn read_ended(
    connection: &mut SqliteConnection,
    operations: &[Operation],
    facts: &mut Facts,
) -> Result<(), Failure> {
    let inactive: Vec<&RunId> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Save { record, .. } => {
                let thread = facts.threads.get(&record.thread)?;
                (thread.active.as_ref() != Some(&record.id)).then_some(&record.id)
            }
            Operation::Open(_) | Operation::Probe => None,
        })
        .collect();
    if inactive.is_empty() {
        return Ok(());
    }
    let mut script = Script::default();
    script.rows(RUNS, 1, &inactive, |id, row| {
        row.add(id.as_str());
    });
    for row in script.run(connection).await? {
        let record = decode::run(&row)?;
        facts.ended.insert(record.id.clone(), record);
    }
    Ok(())
}

const UPDATES: [&str; 2] = [
    "UPDATE runs SET state = column2, detail = column3, message = column4, active = column5, \
     usage = column6, last_sequence = column7, end_time = column8, \
     last_position = max(last_position, coalesce(column9, last_position)) FROM",
    "WHERE runs.id = column1",
];

const NEW_THREADS: [&str; 2] = [
    "INSERT INTO threads (number, id, create_time) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
];

const NEW_RUNS: [&str; 2] = [
    "INSERT INTO runs (id, state, detail, message, active, usage, last_sequence, end_time, thread, snapshot, create_time, first_position, last_position, \
     request_id, request_digest) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
];

const NEW_MESSAGES: [&str; 2] = [
    "INSERT INTO messages (thread, position, id, role, content, run, incomplete, create_time) SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (id) DO NOTHING",
];

/// Writes the changes and ends the transaction that [`read`] began.
pub(super) async fn write(connection: &mut SqliteConnection, changes: Changes) -> Result<(), Failure> {
    let mut script = Script::default();
    let updates: Vec<_> = changes.updates.into_values().collect();
    let runs: Vec<_> = changes.runs.into_values().collect();
    script.rows(UPDATES, 9, &updates, update);
    script.rows(NEW_THREADS, 3, &changes.threads, new_thread);
    script.rows(NEW_RUNS, 15, &runs, new_run);
    script.rows(NEW_MESSAGES, 8, &changes.messages, new_message);
    if changes.probe {
        // Writes the first page of the file, whatever it said before; nobody reads the number.
        script.statement("PRAGMA user_version = 1");
    }
    script.statement("COMMIT");
    script.run(connection).await?;
    Ok(())
}

fn update(update: &RunUpdate, row: &mut Row) {
    progress(&update.record, row);
    row.add(update.last_position);
}

/// What a run's row has in common when it is inserted and when it is updated: eight columns.
fn progress(record: &crate::run::record::RunRecord, row: &mut Row) {
    row.add(record.id.as_str())
        .add(record.state.name())
        .add(record.state.detail())
        .add(record.state.message())
        .add(record.state.outcome().is_none())
        .add(row::usage(&record.usage))
        .add(row::count(record.last_sequence))
        .add(record.end_time.map(row::micros));
}

fn new_thread(new: &NewThread, row: &mut Row) {
    let record = &new.opening.run.record;
    row.add(new.number)
        .add(record.thread.as_str())
        .add(row::micros(record.create_time));
}

fn new_run(new: &NewRun, row: &mut Row) {
    let request = new.row.request.as_ref();
    progress(&new.row.record, row);
    row.add(new.thread)
        .add(new.row.snapshot.clone())
        .add(row::micros(new.row.record.create_time))
        .add(new.first_position)
        .add(new.last_position)
        .add(request.map(|request| request.id.as_str()))
        .add(request.map(|request| request.digest.as_slice()));
}

fn new_message(new: &NewMessage, row: &mut Row) {
    let message = &new.row.message;
    row.add(new.thread)
        .add(new.position)
        .add(message.id.as_str())
        .add(row::role_name(message.role))
        .add(new.row.content.clone())
        .add(message.run.as_ref().map(RunId::as_str))
        .add(message.incomplete)
        .add(row::micros(message.create_time));
}
