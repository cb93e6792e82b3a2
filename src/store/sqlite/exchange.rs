//! The two scripts of a batch: what it needs to know, and what it writes.

use std::borrow::Cow;

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::run::error::Error;
use crate::run::id::{AssistantId, RunId, ThreadId};
use crate::run::ports::RequestKey;
use crate::run::record::RunRecord;
use crate::store::batch::{
    Changes, Facts, Name, NewMessage, NewRequest, NewRun, NewThread, Operation, RunUpdate, Sweep,
    UpdateThread,
};
use crate::store::decode::{self, Columns, spending_added, spending_sums};
use crate::store::row::{self, EventRow, StepRow};

use super::restore;
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

const THREADS: [&str; 2] = [
    "SELECT 'thread' AS fact, t.id, t.number, t.version, \
     (SELECT max(position) FROM messages WHERE thread = t.number) AS last_position, \
     (SELECT id FROM runs WHERE thread = t.number AND active) AS active, \
     (SELECT group_concat(id) FROM (SELECT id FROM runs WHERE thread = t.number AND queued IS NOT NULL \
     ORDER BY number)) AS queue, t.usage FROM",
    "CROSS JOIN threads t ON t.id = column1",
];

const REQUESTS: [&str; 2] = [
    "SELECT 'request' AS fact, q.id, q.digest, q.subject, q.time FROM",
    "CROSS JOIN requests q ON q.id = column1",
];

const ASSISTANTS: [&str; 2] = [
    "SELECT 'assistant' AS fact, a.id, a.version FROM",
    "CROSS JOIN assistants a ON a.id = column1",
];

const RUNS: [&str; 2] = [
    "SELECT 'run' AS fact, r.id, r.state, r.detail, r.message, r.fence FROM",
    "CROSS JOIN runs r ON r.id = column1",
];

/// Begins a transaction that no other process can write in, and reads what the operations touch.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    operations: &[Operation],
) -> Result<Facts, Failure> {
    let threads: Vec<&ThreadId> = operations.iter().filter_map(Operation::thread).collect();
    let requests: Vec<&RequestKey> = operations.iter().filter_map(Operation::request).collect();
    let assistants: Vec<&AssistantId> = operations.iter().filter_map(Operation::assistant).collect();
    let runs: Vec<&RunId> = operations.iter().flat_map(Operation::runs).collect();
    let mut script = Script::default();
    script.statement("BEGIN IMMEDIATE");
    script.rows(THREADS, 1, &threads, |id, row| {
        row.add(id.as_str());
    });
    let new_threads = operations
        .iter()
        .filter(|operation| operation.creates_thread())
        .count();
    if new_threads > 0 {
        script.statement("SELECT 'number' AS fact, coalesce(max(number), 0) + 1 AS number FROM threads");
    }
    script.rows(REQUESTS, 1, &requests, |request, row| {
        row.add(request.id.as_str());
    });
    script.rows(ASSISTANTS, 1, &assistants, |id, row| {
        row.add(id.as_str());
    });
    script.rows(RUNS, 1, &runs, |id, row| {
        row.add(id.as_str());
    });
    restore::look_up(&mut script, operations);
    let mut facts = Facts::default();
    for row in script.run(connection).await? {
        add_fact(&mut facts, &row, new_threads)?;
    }
    Ok(facts)
}

fn add_fact(facts: &mut Facts, row: &SqliteRow, new_threads: usize) -> Result<(), Error> {
    match decode::column(row, "fact", Columns::text)? {
        "thread" => {
            let (id, thread) = decode::thread_fact(row)?;
            facts.threads.insert(id, thread);
        }
        "assistant" => {
            let (id, version) = decode::assistant_fact(row)?;
            facts.assistants.insert(id, version);
        }
        "taken" => {
            facts.taken.insert(Name::read(row)?);
        }
        "run" => {
            let (id, run) = decode::run_fact(row)?;
            facts.runs.insert(id, run);
        }
        "number" => {
            let next = decode::column(row, "number", Columns::number)?;
            facts.new_numbers = (next..).take(new_threads).collect();
        }
        _ => {
            let (id, request) = decode::request_fact(row)?;
            facts.requests.insert(id, request);
        }
    }
    Ok(())
}

const UPDATES: [&str; 2] = [
    "UPDATE runs SET state = column2, detail = column3, message = column4, active = column5, usage = column6, \
     last_sequence = column7, reserved_sequence = max(reserved_sequence, column8), start_time = column9, \
     expire_time = column10, end_time = column11, pending = column12, waited = column13, \
     waits_since = column14, queued = CASE WHEN column2 = 'queued' THEN queued END, \
     first_position = coalesce(column15, first_position), \
     last_position = max(last_position, coalesce(column16, last_position)) FROM",
    "WHERE runs.id = column1",
];

const NEW_THREADS: [&str; 2] = [
    "INSERT INTO threads (number, id, title, metadata, create_time, update_time) \
     SELECT column1, column2, column3, column4, column5, column5 FROM",
    "WHERE column1 IS NOT NULL",
];

const USAGES: [&str; 2] = [
    "UPDATE threads SET usage = column2 FROM",
    "WHERE threads.number = column1",
];

const SPENDINGS: [&str; 2] = [
    concat!(
        "INSERT INTO usage_of_callers (day, caller, currency, ",
        spending_sums!(),
        ") SELECT * FROM"
    ),
    concat!(
        "WHERE column1 IS NOT NULL ON CONFLICT (day, caller, currency) DO UPDATE SET ",
        spending_added!("min")
    ),
];

const NEW_RUNS: [&str; 2] = [
    "INSERT INTO runs (id, state, detail, message, active, usage, last_sequence, reserved_sequence, start_time, \
     expire_time, end_time, pending, waited, waits_since, thread, snapshot, create_time, first_position, \
     last_position, queued, owner, fence, has_events) \
     SELECT *, 1 FROM",
    "WHERE column1 IS NOT NULL",
];

const NEW_MESSAGES: [&str; 2] = [
    "INSERT INTO messages (thread, position, id, role, content, run, incomplete, create_time, metadata) \
     SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (id) DO NOTHING",
];

const NEW_STEPS: [&str; 2] = [
    "INSERT INTO steps (run, place, step) SELECT r.number, column2, column3 FROM",
    "CROSS JOIN runs r ON r.id = column1 WHERE true ON CONFLICT (run, place) DO UPDATE SET step = excluded.step",
];

const NEW_EVENTS: [&str; 2] = [
    "INSERT INTO events (run, last_sequence, chunk) SELECT r.number, column2, column3 FROM",
    "CROSS JOIN runs r ON r.id = column1 WHERE true ON CONFLICT (run, last_sequence) DO NOTHING",
];

const RESERVES: [&str; 2] = [
    "UPDATE runs SET reserved_sequence = max(reserved_sequence, column2) FROM",
    "WHERE runs.id = column1",
];

const NEW_REQUESTS: [&str; 2] = [
    "INSERT OR REPLACE INTO requests (id, digest, subject, time) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
];

const THREAD_UPDATES: [&str; 2] = [
    "UPDATE threads SET title = coalesce(column2, title), metadata = coalesce(column3, metadata), \
     version = version + 1, update_time = column4 FROM",
    "WHERE threads.number = column1",
];

const NEW_ASSISTANTS: [&str; 2] = [
    "INSERT INTO assistants (id, profile, version, create_time, update_time) \
     SELECT column1, column2, 1, column3, column3 FROM",
    "WHERE column1 IS NOT NULL",
];

const ASSISTANT_UPDATES: [&str; 2] = [
    "UPDATE assistants SET profile = column2, version = version + 1, update_time = column3 FROM",
    "WHERE assistants.id = column1",
];

const ASSISTANT_DELETIONS: [&str; 2] = ["DELETE FROM assistants WHERE id IN (SELECT column1 FROM", ")"];

const DELETIONS: [&str; 2] = ["DELETE FROM threads WHERE number IN (SELECT column1 FROM", ")"];

/// Writes the changes and ends the transaction that [`read`] began. Runs that are new belong to `owner`. Says how
/// many things were swept.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    changes: Changes,
    owner: &str,
) -> Result<u64, Failure> {
    let mut script = Script::default();
    let updates: Vec<_> = changes.updates.into_values().collect();
    script.rows(UPDATES, 16, &updates, update);
    script.rows(NEW_THREADS, 5, &changes.threads, new_thread);
    script.rows(NEW_RUNS, 22, &changes.runs, |new, row| {
        new_run(new, row);
        row.add(owner).add(row::count(new.row.record.fence));
    });
    script.rows(NEW_MESSAGES, 9, &changes.messages, new_message);
    script.rows(NEW_STEPS, 3, &changes.steps, new_step);
    script.rows(NEW_EVENTS, 3, &changes.events, new_events);
    script.rows(RESERVES, 2, &changes.reserves, |(run, sequence), row| {
        row.add(run.as_str()).add(*sequence);
    });
    script.rows(NEW_REQUESTS, 4, &changes.requests, new_request);
    let usages: Vec<_> = changes.usages.into_iter().collect();
    script.rows(USAGES, 2, &usages, |(number, usage), row| {
        row.add(*number).add(row::usage(usage));
    });
    let spendings: Vec<_> = changes.spendings.into_iter().collect();
    script.rows(SPENDINGS, 11, &spendings, |(account, spent), row| {
        row.add(account.day)
            .add(account.caller.as_str())
            .add(account.currency.as_str());
        for number in spent.numbers() {
            row.add(number);
        }
    });
    // One at a time: several of one thread follow one another.
    for thread_update in &changes.thread_updates {
        script.rows(
            THREAD_UPDATES,
            4,
            std::slice::from_ref(thread_update),
            update_thread,
        );
    }
    script.rows(DELETIONS, 1, &changes.deletions, |number, row| {
        row.add(*number);
    });
    script.rows(NEW_ASSISTANTS, 3, &changes.assistants, |create, row| {
        row.add(create.record.id.as_str())
            .add(&*create.profile)
            .add(row::micros(create.record.create_time));
    });
    for update in &changes.assistant_updates {
        script.rows(
            ASSISTANT_UPDATES,
            3,
            std::slice::from_ref(update),
            |update, row| {
                row.add(update.assistant.as_str())
                    .add(&*update.profile)
                    .add(row::micros(update.time));
            },
        );
    }
    script.rows(ASSISTANT_DELETIONS, 1, &changes.assistant_deletions, |id, row| {
        row.add(id.as_str());
    });
    restore::insert(&mut script, &changes.restorations, owner);
    if let Some(sweep) = changes.sweep {
        script.sweep(sweep);
    }
    if changes.probe {
        // Writes the first page of the file, whatever it said before; nobody reads the number.
        script.statement("PRAGMA user_version = 1");
    }
    script.statement("COMMIT");
    let rows = script.run(connection).await?;
    Ok(rows.len() as u64)
}

impl Script {
    /// Deletes what is past retention, and gives a row for each run and each request.
    fn sweep(&mut self, sweep: Sweep) {
        const OVERDUE: &str = "SELECT number FROM runs WHERE has_events AND NOT active AND end_time < ? \
                               ORDER BY end_time LIMIT ?";
        for (head, tail) in [
            ("DELETE FROM events WHERE run IN (", ")"),
            (
                "UPDATE runs SET has_events = 0 WHERE number IN (",
                ") RETURNING number",
            ),
        ] {
            self.with_arguments(&format!("{head}{OVERDUE}{tail}"), |row| {
                row.add(sweep.ended_before).add(sweep.limit);
            });
        }
        let requests = "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE time < ? LIMIT ?) \
                        RETURNING time";
        self.with_arguments(requests, |row| {
            row.add(sweep.requested_before).add(sweep.limit);
        });
    }
}

fn update(update: &RunUpdate, row: &mut Row) {
    progress(&update.record, row);
    row.add(update.first_position).add(update.last_position);
}

/// What a run's row has in common when it is inserted and when it is updated: fourteen columns.
pub(super) fn progress(record: &RunRecord, row: &mut Row) {
    row.add(record.id.as_str())
        .add(record.state.name())
        .add(record.state.stored_detail().map(Cow::into_owned))
        .add(record.state.message())
        .add(row::is_active(record))
        .add(row::usage(&record.usage))
        .add(row::count(record.last_sequence))
        .add(row::count(record.reserved_sequence))
        .add(record.start_time.map(row::micros))
        .add(record.expire_time.map(row::micros))
        .add(record.end_time.map(row::micros))
        .add(row::pending(record))
        .add(i64::try_from(record.waited.as_micros()).unwrap_or(i64::MAX))
        .add(record.waits_since.map(row::micros));
}

fn new_thread(new: &NewThread, row: &mut Row) {
    row.add(new.number)
        .add(new.id.as_str())
        .add(new.title.as_str())
        .add(&*new.metadata)
        .add(row::micros(new.create_time));
}

fn update_thread((number, update): &(i64, std::sync::Arc<UpdateThread>), row: &mut Row) {
    row.add(*number)
        .add(update.title.as_deref())
        .add(update.metadata.as_deref())
        .add(row::micros(update.time));
}

fn new_run(new: &NewRun, row: &mut Row) {
    progress(&new.row.record, row);
    row.add(new.thread)
        .add(&*new.row.snapshot)
        .add(row::micros(new.row.record.create_time))
        .add(new.first_position)
        .add(new.last_position)
        .add(new.row.queued.as_deref());
}

fn new_message(new: &NewMessage, row: &mut Row) {
    let message = &new.row.message;
    row.add(new.thread)
        .add(new.position)
        .add(message.id.as_str())
        .add(row::role_name(message.role))
        .add(&*new.row.content)
        .add(message.run.as_ref().map(RunId::as_str))
        .add(message.incomplete)
        .add(row::micros(message.create_time))
        .add(&*new.row.metadata);
}

fn new_step(new: &StepRow, row: &mut Row) {
    row.add(new.run.as_str()).add(new.place).add(&*new.step);
}

fn new_events(new: &EventRow, row: &mut Row) {
    row.add(new.run.as_str()).add(new.last_sequence).add(&*new.chunk);
}

fn new_request(new: &NewRequest, row: &mut Row) {
    row.add(new.key.id.as_str())
        .add(new.key.digest.as_slice())
        .add(&*new.subject)
        .add(row::micros(new.time));
}
