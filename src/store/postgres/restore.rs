//! What puts things back: the names that are taken, and the rows as they were.

use std::sync::Arc;

use sqlx::postgres::PgConnection;

use crate::run::assistant::AssistantRecord;
use crate::run::id::RunId;
use crate::store::batch::{Facts, KINDS, Name, Operation, Restoration, RestoredThread};
use crate::store::row;

use super::desk::Setback;
use super::exchange::{progress, progress_columns, storable};
use super::sheet::Sheet;

/// The names that are taken; the arguments are in the order of [`KINDS`].
const NAMES: &str = "SELECT 'assistant' AS kind, id FROM assistants WHERE id = ANY($1::text[]) \
     UNION ALL SELECT 'thread', id FROM threads WHERE id = ANY($2::text[]) \
     UNION ALL SELECT 'message', id FROM messages WHERE id = ANY($3::text[]) \
     UNION ALL SELECT 'run', id FROM runs WHERE id = ANY($4::text[])";

const ASSISTANT: &str = "INSERT INTO assistants (id, profile, version, create_time, update_time) \
                         VALUES ($1, $2, $3, $4, $5)";

const THREAD: &str = "INSERT INTO threads (number, id, title, metadata, version, create_time, update_time, \
                      usage) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const RUNS: &str = concat!(
    "INSERT INTO runs (",
    progress_columns!(),
    ", snapshot, create_time, first_position, last_position, fence, thread, owner, has_events) SELECT ",
    progress_columns!(),
    ", snapshot, create_time, first_position, last_position, fence, $20::bigint, $21::text, false \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::bigint[], \
         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[], \
         $15::text[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[]) \
     WITH ORDINALITY AS u (",
    progress_columns!(),
    ", snapshot, create_time, first_position, last_position, fence, place) ORDER BY place"
);

const MESSAGES: &str = "INSERT INTO messages (thread, position, id, role, content, run, incomplete, create_time, metadata) \
     SELECT $1::bigint, place - 1, id, role, content, run, incomplete, create_time, metadata \
     FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::bigint[], $8::text[]) \
     WITH ORDINALITY AS u (id, role, content, run, incomplete, create_time, metadata, place)";

const STEPS: &str = "INSERT INTO steps (run, place, step) SELECT r.number, u.place, u.step \
                     FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u (run, place, step) \
                     JOIN runs r ON r.id = u.run";

/// Asks which names of what is to be restored are taken.
pub(super) async fn look_up(
    facts: &mut Facts,
    connection: &mut PgConnection,
    operations: &[Operation],
) -> Result<(), Setback> {
    let names: Vec<Name> = operations.iter().flat_map(Operation::names).collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut sheet = Sheet::default();
    for kind in KINDS {
        let of_kind: Vec<&Name> = names.iter().filter(|name| name.kind == kind).collect();
        sheet.column(&of_kind, |name| &*name.id);
    }
    for row in sheet.query(NAMES, connection).await? {
        facts.taken.insert(Name::read(&row)?);
    }
    Ok(())
}

/// Writes what is restored: a thread under its number, its runs as those of `owner`.
pub(super) async fn insert(
    connection: &mut PgConnection,
    restorations: &[(i64, Arc<Restoration>)],
    owner: &str,
) -> Result<(), Setback> {
    for (number, restoration) in restorations {
        match &**restoration {
            Restoration::Assistant { record, profile } => {
                insert_assistant(connection, record, profile).await?;
            }
            Restoration::Thread(thread) => insert_thread(connection, *number, thread, owner).await?,
        }
    }
    Ok(())
}

async fn insert_assistant(
    connection: &mut PgConnection,
    record: &AssistantRecord,
    profile: &str,
) -> Result<(), Setback> {
    let mut sheet = Sheet::default();
    sheet
        .value(record.id.as_str())
        .value(profile)
        .value(row::count(record.version))
        .value(row::micros(record.create_time))
        .value(row::micros(record.update_time));
    sheet.query(ASSISTANT, connection).await?;
    Ok(())
}

async fn insert_thread(
    connection: &mut PgConnection,
    number: i64,
    thread: &RestoredThread,
    owner: &str,
) -> Result<(), Setback> {
    let record = &thread.record;
    let mut sheet = Sheet::default();
    sheet
        .value(number)
        .value(record.id.as_str())
        .value(storable(&record.title))
        .value(&*thread.metadata)
        .value(row::count(record.version))
        .value(row::micros(record.create_time))
        .value(row::micros(record.update_time))
        .value(row::usage(&thread.usage));
    sheet.query(THREAD, connection).await?;

    let runs = &thread.runs;
    let mut sheet = Sheet::default();
    progress(
        &mut sheet,
        runs,
        |run| &run.row.record,
        |run| row::count(run.row.record.reserved_sequence),
    );
    sheet
        .column(runs, |run| &*run.row.snapshot)
        .column(runs, |run| row::micros(run.row.record.create_time))
        .column(runs, |run| run.first_position)
        .column(runs, |run| run.last_position)
        .column(runs, |run| row::count(run.row.record.fence))
        .value(number)
        .value(owner);
    sheet.query(RUNS, connection).await?;

    let messages = &thread.messages;
    let mut sheet = Sheet::default();
    sheet
        .value(number)
        .column(messages, |new| new.message.id.as_str())
        .column(messages, |new| row::role_name(new.message.role))
        .column(messages, |new| &*new.content)
        .column(messages, |new| new.message.run.as_ref().map(RunId::as_str))
        .column(messages, |new| new.message.incomplete)
        .column(messages, |new| row::micros(new.message.create_time))
        .column(messages, |new| &*new.metadata);
    sheet.query(MESSAGES, connection).await?;

    let steps = &thread.steps;
    let mut sheet = Sheet::default();
    sheet
        .column(steps, |step| step.run.as_str())
        .column(steps, |step| step.place)
        .column(steps, |step| &*step.step);
    sheet.query(STEPS, connection).await?;
    Ok(())
}
