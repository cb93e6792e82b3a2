//! What a batch needs to know, and what it writes: as a rule one statement each.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::postgres::PgConnection;

use crate::run::error::Error;
use crate::run::id::RunId;
use crate::run::message::Usage;
use crate::run::record::RunRecord;
use crate::store::batch::{Changes, Facts, Operation, RunUpdate, Spent, Sweep};
use crate::store::decode::{self, Columns, spending_added, spending_sums};
use crate::store::row;

use super::desk::Setback;
use super::sheet::Sheet;
use super::{lock, restore};

const FACTS: &str = "SELECT 'thread' AS fact, t.id, t.number, t.version, \
         (SELECT max(position) FROM messages WHERE thread = t.number) AS last_position, \
         (SELECT id FROM runs WHERE thread = t.number AND active) AS active, \
         (SELECT string_agg(id, ',' ORDER BY number) FROM runs WHERE thread = t.number AND queued IS NOT NULL) \
         AS queue, NULL::bytea AS digest, NULL::text AS subject, NULL::bigint AS time, \
         NULL::text AS state, NULL::text AS detail, NULL::text AS message, NULL::bigint AS fence, t.usage \
     FROM threads t WHERE t.number = ANY($1::bigint[]) \
     UNION ALL SELECT 'request', id, NULL, NULL, NULL, NULL, NULL, digest, subject, time, NULL, NULL, NULL, NULL, NULL \
     FROM requests WHERE id = ANY($2::text[]) \
     UNION ALL SELECT 'number', NULL, nextval('thread_numbers'), NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
         NULL, NULL, NULL, NULL, NULL FROM generate_series(1, $3::bigint) \
     UNION ALL SELECT 'run', id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, state, detail, message, fence, NULL \
     FROM runs WHERE id = ANY($4::text[])";

const ASSISTANTS: &str =
    "SELECT id, version FROM assistants WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE";

/// Locks and reads what the operations touch.
pub(super) async fn read(connection: &mut PgConnection, operations: &[Operation]) -> Result<Facts, Setback> {
    let numbers = lock::lock(connection, operations).await?;
    let requests: Vec<_> = operations.iter().filter_map(Operation::request).collect();
    let new_threads = operations
        .iter()
        .filter(|operation| operation.creates_thread())
        .count();
    let runs: Vec<_> = operations.iter().flat_map(Operation::runs).collect();
    let mut facts = Facts::default();
    if !numbers.is_empty() || !requests.is_empty() || new_threads > 0 {
        let mut sheet = Sheet::default();
        sheet
            .value(numbers)
            .column(&requests, |request| request.id.as_str())
            .value(i64::try_from(new_threads).unwrap_or(i64::MAX))
            .column(&runs, |run| run.as_str());
        for row in sheet.query(FACTS, connection).await? {
            add_fact(&mut facts, &row)?;
        }
    }
    restore::look_up(&mut facts, connection, operations).await?;
    let assistants: Vec<_> = operations.iter().filter_map(Operation::assistant).collect();
    if !assistants.is_empty() {
        let mut sheet = Sheet::default();
        sheet.column(&assistants, |assistant| assistant.as_str());
        for row in sheet.query(ASSISTANTS, connection).await? {
            let (id, version) = decode::assistant_fact(&row)?;
            facts.assistants.insert(id, version);
        }
    }
    Ok(facts)
}

fn add_fact(facts: &mut Facts, row: &impl Columns) -> Result<(), Error> {
    match decode::column(row, "fact", Columns::text)? {
        "thread" => {
            let (id, thread) = decode::thread_fact(row)?;
            facts.threads.insert(id, thread);
        }
        "run" => {
            let (id, run) = decode::run_fact(row)?;
            facts.runs.insert(id, run);
        }
        "number" => facts
            .new_numbers
            .push_back(decode::column(row, "number", Columns::number)?),
        _ => {
            let (id, request) = decode::request_fact(row)?;
            facts.requests.insert(id, request);
        }
    }
    Ok(())
}

/// The columns that [`progress`] fills, in its order: fourteen.
macro_rules! progress_columns {
    () => {
        "id, state, detail, message, active, usage, last_sequence, reserved_sequence, start_time, expire_time, \
         end_time, pending, waited, waits_since"
    };
}

pub(super) use progress_columns;

/// Everything that runs bring, in one statement. Its parts all see what was there before it, and act in no
/// order; keys and references are checked when all are done. Its row is the name of the transaction, by which one
/// can ask later what became of it. When it is committed, the other processes hear of the runs that have new events.
const CHANGES: &str = concat!(
    "WITH updated AS (UPDATE runs SET state = u.state, detail = u.detail, message = u.message, active = u.active, \
         usage = u.usage, last_sequence = u.last_sequence, \
         reserved_sequence = greatest(runs.reserved_sequence, u.reserved_sequence), start_time = u.start_time, \
         expire_time = u.expire_time, end_time = u.end_time, pending = u.pending, waited = u.waited, \
         waits_since = u.waits_since, queued = CASE WHEN u.state = 'queued' THEN runs.queued END, \
         first_position = coalesce(u.first_position, runs.first_position), \
         last_position = greatest(runs.last_position, u.last_position) \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::bigint[], \
         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[], \
         $15::bigint[], $16::bigint[]) AS u (",
    progress_columns!(),
    ", first_position, last_position) WHERE runs.id = u.id), \
     reserved AS (UPDATE runs SET reserved_sequence = greatest(runs.reserved_sequence, u.sequence) \
     FROM unnest($17::text[], $18::bigint[]) AS u (id, sequence) WHERE runs.id = u.id), \
     new_threads AS (INSERT INTO threads (number, id, title, metadata, create_time, update_time, usage) \
     SELECT number, id, title, metadata, time, time, usage \
     FROM unnest($19::bigint[], $20::text[], $21::text[], $22::text[], $23::bigint[], $65::text[]) \
         AS u (number, id, title, metadata, time, usage)), \
     usages AS (UPDATE threads SET usage = u.usage FROM unnest($66::bigint[], $67::text[]) AS u (number, usage) \
     WHERE threads.number = u.number), \
     spent AS (INSERT INTO usage_of_callers (day, caller, currency, ",
    spending_sums!(),
    ") SELECT * FROM unnest($68::bigint[], $69::text[], $70::text[], $71::bigint[], $72::bigint[], $73::bigint[], \
         $74::bigint[], $75::bigint[], $76::bigint[], $77::bigint[], $78::bigint[]) \
     ON CONFLICT (day, caller, currency) DO UPDATE SET ",
    spending_added!("least"),
    "), \
     new_runs AS (INSERT INTO runs (",
    progress_columns!(),
    ", thread, snapshot, create_time, first_position, last_position, queued, has_events, owner, fence) SELECT ",
    progress_columns!(),
    ", thread, snapshot, create_time, first_position, last_position, queued, true, $63::text, fence \
     FROM unnest($24::text[], $25::text[], $26::text[], $27::text[], $28::bool[], $29::text[], $30::bigint[], \
         $31::bigint[], $32::bigint[], $33::bigint[], $34::bigint[], $35::text[], $36::bigint[], $37::bigint[], \
         $38::bigint[], $39::text[], $40::bigint[], $41::bigint[], $42::bigint[], $43::text[], $64::bigint[]) \
     WITH ORDINALITY AS u (",
    progress_columns!(),
    ", thread, snapshot, create_time, first_position, last_position, queued, fence, place) \
     ORDER BY place RETURNING id, number), \
     new_messages AS (INSERT INTO messages (thread, position, id, role, content, run, incomplete, create_time, \
         metadata) \
     SELECT * FROM unnest($44::bigint[], $45::bigint[], $46::text[], $47::text[], $48::text[], $49::text[], \
         $50::bool[], $51::bigint[], $52::text[]) ON CONFLICT (id) DO NOTHING), \
     new_steps AS (INSERT INTO steps (run, place, step) SELECT run, place, step FROM ( \
         SELECT coalesce((SELECT number FROM runs WHERE id = u.run), (SELECT number FROM new_runs WHERE id = u.run)) \
         AS run, place, step FROM unnest($53::text[], $54::bigint[], $55::text[]) AS u (run, place, step)) AS known \
     WHERE run IS NOT NULL ON CONFLICT (run, place) DO UPDATE SET step = excluded.step), \
     new_events AS (INSERT INTO events (run, last_sequence, chunk) SELECT run, last_sequence, chunk FROM ( \
         SELECT coalesce((SELECT number FROM runs WHERE id = u.run), (SELECT number FROM new_runs WHERE id = u.run)) \
         AS run, last_sequence, chunk \
         FROM unnest($56::text[], $57::bigint[], $58::text[]) AS u (run, last_sequence, chunk)) AS known \
     WHERE run IS NOT NULL ON CONFLICT (run, last_sequence) DO NOTHING), \
     new_requests AS (INSERT INTO requests (id, digest, subject, time) \
     SELECT * FROM unnest($59::text[], $60::bytea[], $61::text[], $62::bigint[]) \
     ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, subject = excluded.subject, time = excluded.time) \
     SELECT pg_current_xact_id()::text AS transaction, \
         (SELECT count(pg_notify('assistd', run)) FROM (SELECT DISTINCT run FROM unnest($56::text[]) AS u (run)) \
         AS told) AS told"
);

const THREAD_UPDATE: &str = "UPDATE threads SET title = coalesce($2, title), metadata = coalesce($3, metadata), \
                             version = version + 1, update_time = $4 WHERE number = $1";

const DELETIONS: &str = "DELETE FROM threads WHERE number = ANY($1::bigint[])";

const NEW_ASSISTANTS: &str = "INSERT INTO assistants (id, profile, version, create_time, update_time) \
                              SELECT id, profile, 1, time, time \
                              FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u (id, profile, time)";

const ASSISTANT_UPDATE: &str =
    "UPDATE assistants SET profile = $2, version = version + 1, update_time = $3 WHERE id = $1";

const ASSISTANT_DELETIONS: &str = "DELETE FROM assistants WHERE id = ANY($1::text[])";

/// Of what another process is sweeping, nothing.
const SWEEP: &str = "WITH overdue AS MATERIALIZED (SELECT number FROM runs \
         WHERE has_events AND NOT active AND end_time < $1 ORDER BY end_time LIMIT $3 FOR UPDATE SKIP LOCKED), \
     gone AS (DELETE FROM events USING overdue WHERE events.run = overdue.number), \
     swept AS (UPDATE runs SET has_events = false FROM overdue WHERE runs.number = overdue.number RETURNING 1), \
     old AS MATERIALIZED (SELECT id FROM requests WHERE time < $2 LIMIT $3 FOR UPDATE SKIP LOCKED), \
     forgotten AS (DELETE FROM requests USING old WHERE requests.id = old.id RETURNING 1) \
     SELECT (SELECT count(*) FROM swept) + (SELECT count(*) FROM forgotten) AS count";

/// Finds nothing, but only where it may write.
const PROBE: &str = "DELETE FROM requests WHERE id IS NULL";

/// What was written.
pub(super) struct Outcome {
    /// The transaction's name.
    pub(super) transaction: String,
    /// How many things were swept.
    pub(super) swept: u64,
}

/// Writes the changes; the transaction is not over then. Runs that are new belong to `owner`.
pub(super) async fn write(
    connection: &mut PgConnection,
    changes: Changes,
    owner: &str,
) -> Result<Outcome, Setback> {
    let rows = sheet(&changes, owner).query(CHANGES, connection).await?;
    let transaction = match rows.first() {
        Some(row) => decode::column(row, "transaction", Columns::text)?.to_owned(),
        None => String::new(),
    };
    // One at a time: several of one thread follow one another.
    for (number, update) in &changes.thread_updates {
        let mut sheet = Sheet::default();
        sheet
            .value(*number)
            .value(update.title.as_deref().map(storable))
            .value(update.metadata.as_deref())
            .value(row::micros(update.time));
        sheet.query(THREAD_UPDATE, connection).await?;
    }
    write_assistants(connection, &changes).await?;
    if !changes.deletions.is_empty() {
        let mut sheet = Sheet::default();
        sheet.column(&changes.deletions, |number| *number);
        sheet.query(DELETIONS, connection).await?;
    }
    restore::insert(connection, &changes.restorations, owner).await?;
    let swept = match changes.sweep {
        Some(limits) => sweep(connection, limits).await?,
        None => 0,
    };
    if changes.probe {
        Sheet::default().query(PROBE, connection).await?;
    }
    Ok(Outcome { transaction, swept })
}

async fn write_assistants(connection: &mut PgConnection, changes: &Changes) -> Result<(), Setback> {
    if !changes.assistants.is_empty() {
        let mut sheet = Sheet::default();
        sheet
            .column(&changes.assistants, |new| new.record.id.as_str())
            .column(&changes.assistants, |new| &*new.profile)
            .column(&changes.assistants, |new| row::micros(new.record.create_time));
        sheet.query(NEW_ASSISTANTS, connection).await?;
    }
    for update in &changes.assistant_updates {
        let mut sheet = Sheet::default();
        sheet
            .value(update.assistant.as_str())
            .value(&*update.profile)
            .value(row::micros(update.time));
        sheet.query(ASSISTANT_UPDATE, connection).await?;
    }
    if !changes.assistant_deletions.is_empty() {
        let mut sheet = Sheet::default();
        sheet.column(&changes.assistant_deletions, |id| id.as_str());
        sheet.query(ASSISTANT_DELETIONS, connection).await?;
    }
    Ok(())
}

async fn sweep(connection: &mut PgConnection, sweep: Sweep) -> Result<u64, Setback> {
    let mut sheet = Sheet::default();
    sheet
        .value(sweep.ended_before)
        .value(sweep.requested_before)
        .value(sweep.limit);
    match sheet.query(SWEEP, connection).await?.first() {
        Some(row) => {
            let count = decode::column(row, "count", Columns::number)?;
            Ok(u64::try_from(count).unwrap_or_default())
        }
        None => Ok(0),
    }
}

/// The arguments of [`CHANGES`].
fn sheet(changes: &Changes, owner: &str) -> Sheet {
    // One statement can write a row but once, so what is said of one more often is brought together.
    let mut reserves: HashMap<&RunId, i64> = HashMap::new();
    for (run, sequence) in &changes.reserves {
        let reserved = reserves.entry(run).or_insert(*sequence);
        *reserved = (*reserved).max(*sequence);
    }
    let mut reserved = |record: &RunRecord| {
        let own = row::count(record.reserved_sequence);
        reserves.remove(&record.id).map_or(own, |other| own.max(other))
    };
    let updates: Vec<(&RunUpdate, i64)> = changes
        .updates
        .values()
        .map(|update| (update, reserved(&update.record)))
        .collect();
    let runs: Vec<_> = changes
        .runs
        .iter()
        .map(|new| (new, reserved(&new.row.record)))
        .collect();
    let reserves: Vec<_> = reserves.into_iter().collect();
    let steps = last_of_each(&changes.steps, |step| (&step.run, step.place));
    let requests = last_of_each(&changes.requests, |request| &request.key.id);

    let usages: Vec<_> = changes.usages.iter().collect();
    let spendings: Vec<_> = changes.spendings.iter().collect();

    let mut sheet = Sheet::default();
    progress(
        &mut sheet,
        &updates,
        |(update, _)| &update.record,
        |(_, reserved)| *reserved,
    );
    sheet
        .column(&updates, |(update, _)| update.first_position)
        .column(&updates, |(update, _)| update.last_position)
        .column(&reserves, |(run, _)| run.as_str())
        .column(&reserves, |(_, sequence)| *sequence)
        .column(&changes.threads, |new| new.number)
        .column(&changes.threads, |new| new.id.as_str())
        .column(&changes.threads, |new| storable(&new.title))
        .column(&changes.threads, |new| &*new.metadata)
        .column(&changes.threads, |new| row::micros(new.create_time));
    progress(
        &mut sheet,
        &runs,
        |(new, _)| &new.row.record,
        |(_, reserved)| *reserved,
    );
    sheet
        .column(&runs, |(new, _)| new.thread)
        .column(&runs, |(new, _)| &*new.row.snapshot)
        .column(&runs, |(new, _)| row::micros(new.row.record.create_time))
        .column(&runs, |(new, _)| new.first_position)
        .column(&runs, |(new, _)| new.last_position)
        .column(&runs, |(new, _)| new.row.queued.as_deref());
    let messages = &changes.messages;
    sheet
        .column(messages, |new| new.thread)
        .column(messages, |new| new.position)
        .column(messages, |new| new.row.message.id.as_str())
        .column(messages, |new| row::role_name(new.row.message.role))
        .column(messages, |new| &*new.row.content)
        .column(messages, |new| {
            new.row.message.run.as_ref().map(|run| run.as_str())
        })
        .column(messages, |new| new.row.message.incomplete)
        .column(messages, |new| row::micros(new.row.message.create_time))
        .column(messages, |new| &*new.row.metadata)
        .column(&steps, |step| step.run.as_str())
        .column(&steps, |step| step.place)
        .column(&steps, |step| &*step.step)
        .column(&changes.events, |new| new.run.as_str())
        .column(&changes.events, |new| new.last_sequence)
        .column(&changes.events, |new| &*new.chunk)
        .column(&requests, |new| new.key.id.as_str())
        .column(&requests, |new| new.key.digest.as_slice())
        .column(&requests, |new| &*new.subject)
        .column(&requests, |new| row::micros(new.time))
        .value(owner)
        .column(&runs, |(new, _)| row::count(new.row.record.fence))
        .column(&changes.threads, |new| {
            row::usage(changes.usages.get(&new.number).unwrap_or(&Usage::default()))
        })
        .column(&usages, |(number, _)| **number)
        .column(&usages, |(_, usage)| row::usage(usage))
        .column(&spendings, |(account, _)| account.day)
        .column(&spendings, |(account, _)| storable(&account.caller))
        .column(&spendings, |(account, _)| account.currency.as_str());
    let numbers: Vec<_> = spendings.iter().map(|(_, spent)| spent.numbers()).collect();
    for place in 0..Spent::NUMBERS {
        sheet.column(&numbers, |numbers| numbers[place]);
    }
    sheet
}

/// What a run's row has in common when it is inserted and when it is updated.
pub(super) fn progress<R>(
    sheet: &mut Sheet,
    rows: &[R],
    record: impl Fn(&R) -> &RunRecord,
    reserved: impl Fn(&R) -> i64,
) {
    sheet
        .column(rows, |row| record(row).id.as_str())
        .column(rows, |row| record(row).state.name())
        .column(rows, |row| record(row).state.stored_detail().map(Cow::into_owned))
        .column(rows, |row| record(row).state.message().map(storable))
        .column(rows, |row| row::is_active(record(row)))
        .column(rows, |row| row::usage(&record(row).usage))
        .column(rows, |row| row::count(record(row).last_sequence))
        .column(rows, reserved)
        .column(rows, |row| record(row).start_time.map(row::micros))
        .column(rows, |row| record(row).expire_time.map(row::micros))
        .column(rows, |row| record(row).end_time.map(row::micros))
        .column(rows, |row| row::pending(record(row)))
        .column(rows, |row| {
            i64::try_from(record(row).waited.as_micros()).unwrap_or(i64::MAX)
        })
        .column(rows, |row| record(row).waits_since.map(row::micros));
}

/// Of rows with one key the last one, in the place of the first.
fn last_of_each<'r, R, K: Eq + std::hash::Hash>(rows: &'r [R], key: impl Fn(&'r R) -> K) -> Vec<&'r R> {
    let mut places = HashMap::new();
    let mut last: Vec<&R> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.get(&key(row)) {
            Some(&place) => last[place] = row,
            None => {
                places.insert(key(row), last.len());
                last.push(row);
            }
        }
    }
    last
}

/// A text that is not JSON as PostgreSQL takes it: without NUL, which its texts cannot hold.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
