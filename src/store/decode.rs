//! Rows as the databases give them, read back into the heart's types.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use crate::run::assistant::AssistantRecord;
use crate::run::error::Error;
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::{Message, Usage};
use crate::run::money::Cost;
use crate::run::ports::{Letter, Pending, Pinned};
use crate::run::record::{RunRecord, State, ThreadRecord};
use crate::run::spending::{Day, Spending};
use crate::run::step::Step;

use super::batch::{NOWHERE, Request, Run, Thread};
use super::row;

/// The columns that [`run`] reads, of the tables `r` (runs) and `t` (threads).
macro_rules! run_columns {
    () => {
        "r.id, t.id AS thread_id, r.state, r.detail, r.message, r.snapshot, r.usage, \
         CASE WHEN r.active THEN coalesce((SELECT e.last_sequence FROM events e WHERE e.run = r.number \
         AND e.last_sequence > r.last_sequence ORDER BY e.last_sequence DESC LIMIT 1), r.last_sequence) \
         ELSE r.last_sequence END AS last_sequence, r.reserved_sequence, r.fence, r.create_time, r.start_time, r.expire_time, r.end_time, \
         r.pending, r.waited, r.waits_since"
    };
}

/// The columns that [`message`] reads, of the table `m` (messages).
macro_rules! message_columns {
    () => {
        "m.id, m.role, m.content, m.run, m.incomplete, m.create_time, m.position, m.metadata"
    };
}

/// The columns of what callers have used that are sums, in the order of
/// [`Spent::numbers`](super::batch::Spent::numbers).
macro_rules! spending_sums {
    () => {
        "runs, turns, tool_calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_micros"
    };
}

/// Adds what is new to what is there, up to the largest number. `$least` is the database's function for the lesser of two.
macro_rules! spending_added {
    ($least:literal) => {
        spending_added!(
            $least, "runs"; "turns", "tool_calls", "input_tokens", "cached_tokens", "output_tokens",
            "reasoning_tokens", "cost_micros"
        )
    };
    ($least:literal, $first:literal; $($more:literal),*) => {
        concat!(spending_added!($least, $first), $(", ", spending_added!($least, $more)),*)
    };
    ($least:literal, $column:literal) => {
        concat!(
            $column, " = usage_of_callers.", $column, " + ", $least, "(excluded.", $column,
            ", 9223372036854775807 - usage_of_callers.", $column, ")"
        )
    };
}

pub(super) use {message_columns, run_columns, spending_added, spending_sums};

/// Reads a run.
///
/// # Errors
/// `INTERNAL`, with the run's name in the cause, when the row holds what cannot be.
pub(super) fn run(row: &impl Columns) -> Result<RunRecord, Error> {
    let read = || -> Result<RunRecord, Odd> {
        Ok(RunRecord {
            id: RunId::parse(row.text("id")?)?,
            thread: ThreadId::parse(row.text("thread_id")?)?,
            snapshot: serde_json::from_str(row.text("snapshot")?)?,
            state: state(row)?,
            usage: serde_json::from_str(row.text("usage")?)?,
            last_sequence: count(row, "last_sequence")?,
            reserved_sequence: count(row, "reserved_sequence")?,
            fence: count(row, "fence")?,
            create_time: time(row.number("create_time")?)?,
            start_time: optional_time(row, "start_time")?,
            expire_time: optional_time(row, "expire_time")?,
            end_time: optional_time(row, "end_time")?,
            pending: match row.optional_text("pending")? {
                Some(pending) => serde_json::from_str(pending)?,
                None => Vec::new(),
            },
            waited: Duration::from_micros(count(row, "waited")?),
            waits_since: optional_time(row, "waits_since")?,
        })
    };
    read().map_err(|odd| unreadable("run", row, &odd))
}

/// Reads a message.
///
/// # Errors
/// `INTERNAL`, with the message's name in the cause, when the row holds what cannot be.
pub(super) fn message(row: &impl Columns) -> Result<Arc<Message>, Error> {
    let read = || -> Result<Message, Odd> {
        let run = row.optional_text("run")?;
        Ok(Message {
            id: MessageId::parse(row.text("id")?)?,
            role: row::role(row.text("role")?).ok_or("there is no such role")?,
            content: serde_json::from_str(row.text("content")?)?,
            run: run.map(RunId::parse).transpose()?,
            incomplete: row.flag("incomplete")?,
            create_time: time(row.number("create_time")?)?,
            metadata: serde_json::from_str(row.text("metadata")?)?,
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
pub(super) fn thread(row: &impl Columns) -> Result<ThreadRecord, Error> {
    let read = || -> Result<ThreadRecord, Odd> {
        let active_run = row.optional_text("active_run")?;
        Ok(ThreadRecord {
            id: ThreadId::parse(row.text("id")?)?,
            title: row.text("title")?.to_owned(),
            metadata: serde_json::from_str(row.text("metadata")?)?,
            version: count(row, "version")?,
            active_run: active_run.map(RunId::parse).transpose()?,
            create_time: time(row.number("create_time")?)?,
            update_time: time(row.number("update_time")?)?,
            usage: usage(Some(row.text("usage")?))?.plus(usage(row.optional_text("active_usage")?)?),
        })
    };
    read().map_err(|odd| unreadable("thread", row, &odd))
}

/// Reads what a caller has used on a day.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn spending(row: &impl Columns) -> Result<Spending, Error> {
    let read = || -> Result<Spending, Odd> {
        let small = |name: &'static str| -> Result<u32, Odd> {
            Ok(u32::try_from(row.number(name)?).unwrap_or(u32::MAX))
        };
        let cost = match row.text("currency")? {
            "" => None,
            code => Some(Cost {
                currency: code.parse()?,
                micros: count(row, "cost_micros")?,
            }),
        };
        Ok(Spending {
            day: Day(row.number("day")?),
            caller: row.text("caller")?.to_owned(),
            runs: count(row, "runs")?,
            usage: Usage {
                input_tokens: count(row, "input_tokens")?,
                cached_tokens: count(row, "cached_tokens")?,
                output_tokens: count(row, "output_tokens")?,
                reasoning_tokens: count(row, "reasoning_tokens")?,
                turns: small("turns")?,
                tool_calls: small("tool_calls")?,
                cost,
            },
        })
    };
    read().map_err(|odd| Error::internal(format!("usage cannot be read: {odd}")))
}

/// Reads an assistant.
///
/// # Errors
/// `INTERNAL`, with the assistant's name in the cause, when the row holds what cannot be.
pub(super) fn assistant(row: &impl Columns) -> Result<AssistantRecord, Error> {
    let read = || -> Result<AssistantRecord, Odd> {
        Ok(AssistantRecord {
            id: AssistantId::parse(row.text("id")?)?,
            profile: serde_json::from_str(row.text("profile")?)?,
            version: count(row, "version")?,
            create_time: time(row.number("create_time")?)?,
            update_time: time(row.number("update_time")?)?,
        })
    };
    read().map_err(|odd| unreadable("assistant", row, &odd))
}

/// Reads something that a run waits for.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn pending(row: &impl Columns) -> Result<Pending, Error> {
    let read = || -> Result<Pending, Odd> {
        Ok(Pending {
            thread: ThreadId::parse(row.text("thread_id")?)?,
            run: RunId::parse(row.text("id")?)?,
            action: serde_json::from_str(row.text("action")?)?,
        })
    };
    read().map_err(|odd| unreadable("run", row, &odd))
}

/// Reads a step.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn step(row: &impl Columns) -> Result<Arc<Step>, Error> {
    let read = || -> Result<Step, Odd> { Ok(serde_json::from_str(row.text("step")?)?) };
    read().map(Arc::new).map_err(|odd| unreadable("step", row, &odd))
}

/// Reads what a batch needs to know of a thread; its queue is a list of names with commas between.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn thread_fact(row: &impl Columns) -> Result<(ThreadId, Thread), Error> {
    let read = || -> Result<_, Odd> {
        let active = row.optional_text("active")?;
        let queue = row.optional_text("queue")?;
        let queue = queue.into_iter().flat_map(|names| names.split(','));
        let thread = Thread {
            number: row.number("number")?,
            version: row.number("version")?,
            last_position: row.optional_number("last_position")?.unwrap_or(NOWHERE),
            active: active.map(RunId::parse).transpose()?,
            queue: queue.map(RunId::parse).collect::<Result<_, _>>()?,
            usage: usage(row.optional_text("usage")?)?,
        };
        Ok((ThreadId::parse(row.text("id")?)?, thread))
    };
    read().map_err(|odd| unreadable("thread", row, &odd))
}

/// Reads what a batch needs to know of a run.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn run_fact(row: &impl Columns) -> Result<(RunId, Run), Error> {
    let read = || -> Result<_, Odd> {
        let run = Run {
            state: state(row)?,
            fence: count(row, "fence")?,
        };
        Ok((RunId::parse(row.text("id")?)?, run))
    };
    read().map_err(|odd| unreadable("run", row, &odd))
}

/// Reads letters, and puts them in their order.
///
/// # Errors
/// `INTERNAL` when a row holds what cannot be.
pub(super) fn letters(rows: &[impl Columns]) -> Result<Vec<(RunId, Letter)>, Error> {
    let mut letters = Vec::with_capacity(rows.len());
    for row in rows {
        let read = || -> Result<_, Odd> {
            let letter: Letter = serde_json::from_str(row.text("letter")?)?;
            Ok((row.number("number")?, RunId::parse(row.text("id")?)?, letter))
        };
        letters.push(read().map_err(|odd| unreadable("letter", row, &odd))?);
    }
    letters.sort_by_key(|(number, ..)| *number);
    Ok(letters
        .into_iter()
        .map(|(_, run, letter)| (run, letter))
        .collect())
}

/// Reads which tools are approved.
///
/// # Errors
/// `INTERNAL` when a row holds what cannot be.
pub(super) fn pins(rows: &[impl Columns]) -> Result<Pinned, Error> {
    let pin = |row| -> Result<_, Odd> {
        let fingerprint = serde_json::from_str(Columns::text(row, "fingerprint")?)?;
        Ok((Columns::text(row, "tool")?.to_owned(), fingerprint))
    };
    let read = |row| pin(row).map_err(|odd| unreadable("tool pin", row, &odd));
    rows.iter().map(read).collect()
}

/// Reads what a batch needs to know of an assistant: its version.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn assistant_fact(row: &impl Columns) -> Result<(AssistantId, i64), Error> {
    let read = || -> Result<_, Odd> { Ok((AssistantId::parse(row.text("id")?)?, row.number("version")?)) };
    read().map_err(|odd| unreadable("assistant", row, &odd))
}

/// Reads what a batch needs to know of a request.
///
/// # Errors
/// `INTERNAL` when the row holds what cannot be.
pub(super) fn request_fact(row: &impl Columns) -> Result<(String, Request), Error> {
    let read = || -> Result<_, Odd> {
        let request = Request {
            digest: row.bytes("digest")?.to_vec(),
            subject: row.text("subject")?.into(),
            time: time(row.number("time")?)?,
        };
        Ok((row.text("id")?.to_owned(), request))
    };
    read().map_err(|odd| unreadable("request", row, &odd))
}

/// What stands in the way of reading a row.
pub(super) type Odd = Box<dyn std::error::Error + Send + Sync>;

/// The columns of a row, by their names and as the types that every database has.
pub(super) trait Columns {
    fn text(&self, name: &str) -> Result<&str, Odd>;
    fn optional_text(&self, name: &str) -> Result<Option<&str>, Odd>;
    fn number(&self, name: &str) -> Result<i64, Odd>;
    fn optional_number(&self, name: &str) -> Result<Option<i64>, Odd>;
    fn flag(&self, name: &str) -> Result<bool, Odd>;
    fn bytes(&self, name: &str) -> Result<&[u8], Odd>;
}

impl<D: Database, R: Row<Database = D>> Columns for R
where
    for<'i> &'i str: ColumnIndex<R>,
    for<'r> &'r str: Decode<'r, D> + Type<D>,
    for<'r> &'r [u8]: Decode<'r, D> + Type<D>,
    for<'r> i64: Decode<'r, D> + Type<D>,
    for<'r> bool: Decode<'r, D> + Type<D>,
{
    fn text(&self, name: &str) -> Result<&str, Odd> {
        Ok(self.try_get(name)?)
    }

    fn optional_text(&self, name: &str) -> Result<Option<&str>, Odd> {
        Ok(self.try_get(name)?)
    }

    fn number(&self, name: &str) -> Result<i64, Odd> {
        Ok(self.try_get(name)?)
    }

    fn optional_number(&self, name: &str) -> Result<Option<i64>, Odd> {
        Ok(self.try_get(name)?)
    }

    fn flag(&self, name: &str) -> Result<bool, Odd> {
        Ok(self.try_get(name)?)
    }

    fn bytes(&self, name: &str) -> Result<&[u8], Odd> {
        Ok(self.try_get(name)?)
    }
}

/// Reads a column by one of the methods of [`Columns`].
///
/// # Errors
/// `INTERNAL`, with the row's name in the cause.
pub(super) fn column<'r, R: Columns, T>(
    row: &'r R,
    name: &str,
    read: impl Fn(&'r R, &str) -> Result<T, Odd>,
) -> Result<T, Error> {
    read(row, name).map_err(|odd| unreadable("row", row, &odd))
}

/// What was used; nothing where nothing is said.
fn usage(json: Option<&str>) -> Result<Usage, Odd> {
    Ok(json.map(serde_json::from_str).transpose()?.unwrap_or_default())
}

fn state(row: &impl Columns) -> Result<State, Odd> {
    let state = State::from_parts(
        row.text("state")?,
        row.optional_text("detail")?,
        row.optional_text("message")?,
    );
    state.ok_or_else(|| "there is no such state".into())
}

fn count(row: &impl Columns, column: &str) -> Result<u64, Odd> {
    u64::try_from(row.number(column)?).map_err(|_| format!("{column} is negative").into())
}

fn optional_time(row: &impl Columns, column: &str) -> Result<Option<std::time::SystemTime>, Odd> {
    row.optional_number(column)?.map(time).transpose()
}

fn time(micros: i64) -> Result<std::time::SystemTime, Odd> {
    row::time(micros).ok_or_else(|| "a time is out of range".into())
}

fn unreadable(what: &str, row: &impl Columns, odd: &Odd) -> Error {
    let id = row.text("id").unwrap_or("(without a readable id)");
    Error::internal(format!("stored {what} {id} cannot be read: {odd}"))
}
