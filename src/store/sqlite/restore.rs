//! The parts of the two scripts that put things back: the names that are taken, and the rows as they were.

use std::sync::Arc;

use crate::run::id::RunId;
use crate::store::batch::{Name, Operation, Restoration, RestoredThread};
use crate::store::row;

use super::exchange::progress;
use super::script::{Row, Script};

/// What finds the names that are taken, for each kind.
const NAMES: [(&str, [&str; 2]); 4] = [
    (
        "assistant",
        [
            "SELECT 'taken' AS fact, 'assistant' AS kind, x.id FROM",
            "CROSS JOIN assistants x ON x.id = column1",
        ],
    ),
    (
        "thread",
        [
            "SELECT 'taken' AS fact, 'thread' AS kind, x.id FROM",
            "CROSS JOIN threads x ON x.id = column1",
        ],
    ),
    (
        "message",
        [
            "SELECT 'taken' AS fact, 'message' AS kind, x.id FROM",
            "CROSS JOIN messages x ON x.id = column1",
        ],
    ),
    (
        "run",
        [
            "SELECT 'taken' AS fact, 'run' AS kind, x.id FROM",
            "CROSS JOIN runs x ON x.id = column1",
        ],
    ),
];

const ASSISTANTS: [&str; 2] = [
    "INSERT INTO assistants (id, profile, version, create_time, update_time) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
];

const THREADS: [&str; 2] = [
    "INSERT INTO threads (number, id, title, metadata, version, create_time, update_time, usage) \
     SELECT * FROM",
    "WHERE column1 IS NOT NULL",
];

const RUNS: [&str; 2] = [
    "INSERT INTO runs (id, state, detail, message, active, usage, last_sequence, reserved_sequence, start_time, \
     expire_time, end_time, pending, waited, waits_since, thread, snapshot, create_time, first_position, \
     last_position, owner, fence, has_events) \
     SELECT *, 0 FROM",
    "WHERE column1 IS NOT NULL",
];

const MESSAGES: [&str; 2] = [
    "INSERT INTO messages (thread, position, id, role, content, run, incomplete, create_time, metadata) \
     SELECT * FROM",
    "WHERE column1 IS NOT NULL",
];

const STEPS: [&str; 2] = [
    "INSERT INTO steps (run, place, step) SELECT r.number, column2, column3 FROM",
    "CROSS JOIN runs r ON r.id = column1",
];

/// Asks which names of what is to be restored are taken.
pub(super) fn look_up(script: &mut Script, operations: &[Operation]) {
    let names: Vec<Name> = operations.iter().flat_map(Operation::names).collect();
    for (kind, text) in NAMES {
        let of_kind: Vec<&Name> = names.iter().filter(|name| name.kind == kind).collect();
        script.rows(text, 1, &of_kind, |name, row| {
            row.add(&*name.id);
        });
    }
}

/// Writes what is restored: a thread under its number, its runs as those of `owner`.
pub(super) fn insert(script: &mut Script, restorations: &[(i64, Arc<Restoration>)], owner: &str) {
    for (number, restoration) in restorations {
        match &**restoration {
            Restoration::Assistant { record, profile } => {
                script.rows(ASSISTANTS, 5, &[record], |record, row| {
                    row.add(record.id.as_str())
                        .add(&**profile)
                        .add(row::count(record.version))
                        .add(row::micros(record.create_time))
                        .add(row::micros(record.update_time));
                });
            }
            Restoration::Thread(thread) => insert_thread(script, *number, thread, owner),
        }
    }
}

fn insert_thread(script: &mut Script, number: i64, thread: &RestoredThread, owner: &str) {
    script.rows(THREADS, 8, &[thread], |thread, row| {
        let record = &thread.record;
        row.add(number)
            .add(record.id.as_str())
            .add(record.title.as_str())
            .add(&*thread.metadata)
            .add(row::count(record.version))
            .add(row::micros(record.create_time))
            .add(row::micros(record.update_time))
            .add(row::usage(&thread.usage));
    });
    script.rows(RUNS, 21, &thread.runs, |run, row| {
        progress(&run.row.record, row);
        row.add(number)
            .add(&*run.row.snapshot)
            .add(row::micros(run.row.record.create_time))
            .add(run.first_position)
            .add(run.last_position)
            .add(owner)
            .add(row::count(run.row.record.fence));
    });
    let messages: Vec<_> = thread.messages.iter().zip(0_i64..).collect();
    script.rows(MESSAGES, 9, &messages, |(new, position), row: &mut Row| {
        let message = &new.message;
        row.add(number)
            .add(*position)
            .add(message.id.as_str())
            .add(row::role_name(message.role))
            .add(&*new.content)
            .add(message.run.as_ref().map(RunId::as_str))
            .add(message.incomplete)
            .add(row::micros(message.create_time))
            .add(&*new.metadata);
    });
    script.rows(STEPS, 3, &thread.steps, |step, row| {
        row.add(step.run.as_str()).add(step.place).add(&*step.step);
    });
}
