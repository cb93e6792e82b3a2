//! What is read, and how it is asked for.

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe};

use crate::run::assistant::AssistantRecord;
use crate::run::error::{Error, Reason};
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Cursor, Listed, Order, Page};
use crate::run::ports::Pending;
use crate::run::record::{RunRecord, ThreadRecord};
use crate::run::step::Step;
use crate::store::batch::NOWHERE;
use crate::store::row;

use super::decode::{self, message_columns, run_columns};
use super::readers::Readers;

/// Chunks of events that are read at once: so many, and no more once they are so many bytes.
const CHUNK_LIMIT: i64 = 64;
const CHUNK_LIMIT_BYTES: i64 = 32 * 1024;

const HISTORY: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.thread = (SELECT number FROM threads WHERE id = ?) ORDER BY m.position"
);

const MESSAGE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m JOIN threads t ON t.number = m.thread WHERE m.id = ? AND t.id = ?"
);

const MESSAGES: Section = Section {
    select: concat!(
        "SELECT ",
        message_columns!(),
        ", m.position AS cursor_0, m.thread AS cursor_1 FROM messages m \
         WHERE m.thread = (SELECT number FROM threads WHERE id = ?)"
    ),
    key: ("m.position", "m.thread"),
};

const RUN_MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM runs r JOIN messages m \
     ON m.thread = r.thread AND m.position BETWEEN r.first_position AND r.last_position \
     WHERE r.id = ? AND (m.run = r.id OR m.position = r.first_position) ORDER BY m.position"
);

const RUN: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs r JOIN threads t ON t.number = r.thread WHERE r.id = ?"
);

const RUNS: Section = Section {
    select: concat!(
        "SELECT ",
        run_columns!(),
        ", r.create_time AS cursor_0, r.number AS cursor_1 \
         FROM threads t JOIN runs r ON r.thread = t.number WHERE t.id = ? \
         AND (? = '' OR instr(?, ',' || r.state || ',') > 0)"
    ),
    key: ("r.create_time", "r.number"),
};

const ACTIVE_RUNS: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs r JOIN threads t ON t.number = r.thread WHERE r.active OR r.queued IS NOT NULL \
     ORDER BY r.create_time, r.number"
);

const PENDING: Section = Section {
    select: "SELECT t.id AS thread_id, r.id, j.value AS action, \
             json_extract(j.value, '$.create_time.secs_since_epoch') * 1000000 \
             + json_extract(j.value, '$.create_time.nanos_since_epoch') / 1000 AS cursor_0, \
             r.number * 65536 + j.key AS cursor_1 \
             FROM runs r JOIN threads t ON t.number = r.thread JOIN json_each(r.pending) j \
             WHERE r.pending IS NOT NULL",
    key: ("cursor_0", "cursor_1"),
};

const ASSISTANT: &str = "SELECT id, profile, version, create_time, update_time FROM assistants WHERE id = ?";

const ASSISTANTS: Section = Section {
    select: "SELECT id, profile, version, create_time, update_time, create_time AS cursor_0, \
             number AS cursor_1 FROM assistants WHERE true",
    key: ("create_time", "number"),
};

const STEPS: Section = Section {
    select: "SELECT s.step, s.place AS cursor_0, s.run AS cursor_1 FROM runs r JOIN steps s ON s.run = r.number \
             WHERE r.id = ?",
    key: ("s.place", "s.run"),
};

/// A reader may hold on to what it is given for as long as it likes, so it is not given much.
const CHUNKS: &str = "\
    WITH sizes AS (\
        SELECT e.run, e.last_sequence, octet_length(e.chunk) AS size FROM runs r JOIN events e ON e.run = r.number \
        WHERE r.id = ? AND e.last_sequence > ? ORDER BY e.last_sequence LIMIT ?), \
    sums AS (SELECT run, last_sequence, sum(size) OVER (ORDER BY last_sequence) - size AS before FROM sizes) \
    SELECT e.chunk FROM sums s JOIN events e ON e.run = s.run AND e.last_sequence = s.last_sequence \
    WHERE s.before < ? ORDER BY s.last_sequence";

const KEPT_EVENTS: &str = "SELECT last_sequence, has_events FROM runs WHERE id = ?";

/// The columns of a thread. What was added to it counts as a change of it.
macro_rules! thread_columns {
    () => {
        "SELECT t.id, t.title, t.metadata, t.version, t.create_time, max(t.update_time, \
         coalesce((SELECT create_time FROM messages WHERE thread = t.number ORDER BY position DESC LIMIT 1), 0), \
         coalesce((SELECT max(create_time) FROM runs WHERE thread = t.number), 0)) AS update_time, \
         (SELECT id FROM runs WHERE thread = t.number AND (active OR queued IS NOT NULL) \
         ORDER BY active DESC, number LIMIT 1) AS active_run, \
         t.create_time AS cursor_0, t.number AS cursor_1 FROM threads t"
    };
}

const THREAD: &str = concat!(thread_columns!(), " WHERE t.id = ?");

const THREADS: Section = Section {
    select: concat!(thread_columns!(), " WHERE true"),
    key: ("t.create_time", "t.number"),
};

/// A list that is read in parts: a query without its order, and what orders it.
struct Section {
    select: &'static str,
    key: (&'static str, &'static str),
}

impl Readers {
    /// A thread's messages, oldest first, and the last one's position; none of a thread that does not exist.
    pub(super) async fn history(&self, thread: &ThreadId) -> Result<(Vec<Arc<Message>>, i64), Error> {
        let rows = self.rows(HISTORY, named([thread.as_str()])?).await?;
        let last_position = match rows.last() {
            Some(row) => decode::column(row, "position")?,
            None => NOWHERE,
        };
        Ok((all(&rows, decode::message)?, last_position))
    }

    pub(super) async fn message(
        &self,
        thread: &ThreadId,
        message: &MessageId,
    ) -> Result<Arc<Message>, Error> {
        let rows = self
            .rows(MESSAGE, named([message.as_str(), thread.as_str()])?)
            .await?;
        let row = rows.first().ok_or_else(|| {
            Error::new(Reason::MessageNotFound, "no such message").with("message", message.as_str())
        })?;
        decode::message(row)
    }

    pub(super) async fn messages(
        &self,
        thread: &ThreadId,
        page: Page,
    ) -> Result<Listed<Arc<Message>>, Error> {
        self.section(&MESSAGES, named([thread.as_str()])?, page, decode::message)
            .await
    }

    pub(super) async fn run(&self, run: &RunId) -> Result<RunRecord, Error> {
        let rows = self.rows(RUN, named([run.as_str()])?).await?;
        decode::run(rows.first().ok_or_else(no_run)?)
    }

    pub(super) async fn runs(
        &self,
        thread: &ThreadId,
        states: &[&'static str],
        page: Page,
    ) -> Result<Listed<RunRecord>, Error> {
        let states = match states {
            [] => String::new(),
            states => format!(",{},", states.join(",")),
        };
        self.section(
            &RUNS,
            named([thread.as_str(), &states, &states])?,
            page,
            decode::run,
        )
        .await
    }

    pub(super) async fn pending_actions(&self, page: Page) -> Result<Listed<Pending>, Error> {
        self.section(&PENDING, SqliteArguments::default(), page, decode::pending)
            .await
    }

    pub(super) async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error> {
        let rows = self.rows(RUN_MESSAGES, named([run.as_str()])?).await?;
        all(&rows, decode::message)
    }

    pub(super) async fn queued_message(&self, run: &RunId) -> Result<Option<Arc<Message>>, Error> {
        let sql = "SELECT queued FROM runs WHERE id = ? AND queued IS NOT NULL";
        let rows = self.rows(sql, named([run.as_str()])?).await?;
        let message: &str = decode::column(rows.first().ok_or_else(no_run)?, "queued")?;
        serde_json::from_str(message).map_err(Error::internal)
    }

    pub(super) async fn run_steps(&self, run: &RunId, page: Page) -> Result<Listed<Arc<Step>>, Error> {
        self.section(&STEPS, named([run.as_str()])?, page, decode::step)
            .await
    }

    pub(super) async fn all_run_steps(&self, run: &RunId) -> Result<Vec<Arc<Step>>, Error> {
        let everything = Page {
            after: None,
            limit: u32::MAX - 1,
            order: Order::OldestFirst,
        };
        Ok(self.run_steps(run, everything).await?.items)
    }

    /// Chunks of a run's events that hold any beyond this sequence.
    pub(super) async fn chunks(&self, run: &RunId, after: i64) -> Result<Vec<String>, Error> {
        let mut arguments = named([run.as_str()])?;
        add(&mut arguments, after)?;
        add(&mut arguments, CHUNK_LIMIT)?;
        add(&mut arguments, CHUNK_LIMIT_BYTES)?;
        let rows = self.rows(CHUNKS, arguments).await?;
        all(&rows, |row| decode::column(row, "chunk"))
    }

    /// Whether the run is there and its events after this sequence, if there are any, are kept.
    pub(super) async fn check_events(&self, run: &RunId, after: u64) -> Result<(), Error> {
        let rows = self.rows(KEPT_EVENTS, named([run.as_str()])?).await?;
        let row = rows.first().ok_or_else(no_run)?;
        let last_sequence: i64 = decode::column(row, "last_sequence")?;
        if decode::column(row, "has_events")? || row::count(after) >= last_sequence {
            return Ok(());
        }
        let expired = Error::new(
            Reason::EventsExpired,
            "the events after that sequence are not kept any more",
        );
        Err(expired.with("oldest_sequence", last_sequence.to_string()))
    }

    pub(super) async fn active_runs(&self) -> Result<Vec<RunRecord>, Error> {
        all(
            &self.rows(ACTIVE_RUNS, SqliteArguments::default()).await?,
            decode::run,
        )
    }

    pub(super) async fn thread(&self, thread: &ThreadId) -> Result<ThreadRecord, Error> {
        let rows = self.rows(THREAD, named([thread.as_str()])?).await?;
        decode::thread(rows.first().ok_or_else(no_thread)?)
    }

    pub(super) async fn threads(&self, page: Page) -> Result<Listed<ThreadRecord>, Error> {
        self.section(&THREADS, SqliteArguments::default(), page, decode::thread)
            .await
    }

    pub(super) async fn assistant(&self, assistant: &AssistantId) -> Result<AssistantRecord, Error> {
        let rows = self.rows(ASSISTANT, named([assistant.as_str()])?).await?;
        let missing = || Error::new(Reason::AssistantNotFound, "no such assistant");
        decode::assistant(rows.first().ok_or_else(missing)?)
    }

    pub(super) async fn assistants(&self, page: Page) -> Result<Listed<AssistantRecord>, Error> {
        self.section(&ASSISTANTS, SqliteArguments::default(), page, decode::assistant)
            .await
    }

    /// Whether the thread is there.
    pub(super) async fn check_thread(&self, thread: &ThreadId) -> Result<(), Error> {
        let sql = "SELECT id FROM threads WHERE id = ?";
        match self.rows(sql, named([thread.as_str()])?).await?.is_empty() {
            true => Err(no_thread()),
            false => Ok(()),
        }
    }

    /// Whether anything can be read.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let sql = "SELECT number FROM threads LIMIT 1";
        self.rows(sql, SqliteArguments::default()).await.map(drop)
    }

    async fn section<T>(
        &self,
        section: &Section,
        mut arguments: SqliteArguments,
        page: Page,
        decode: impl Fn(&SqliteRow) -> Result<T, Error>,
    ) -> Result<Listed<T>, Error> {
        let (first, second) = section.key;
        let (beyond, direction) = match page.order {
            Order::OldestFirst => (">", ""),
            Order::NewestFirst => ("<", " DESC"),
        };
        let mut sql = section.select.to_owned();
        if let Some(Cursor(time, number)) = page.after {
            sql.push_str(&format!(" AND ({first}, {second}) {beyond} (?, ?)"));
            add(&mut arguments, time)?;
            add(&mut arguments, number)?;
        }
        sql.push_str(&format!(
            " ORDER BY {first}{direction}, {second}{direction} LIMIT ?"
        ));
        // One more than asked for tells whether there is a next part.
        add(&mut arguments, i64::from(page.limit) + 1)?;
        let mut rows = self.rows(AssertSqlSafe(sql), arguments).await?;
        let has_more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let next = match rows.last() {
            Some(last) if has_more => Some(Cursor(
                decode::column(last, "cursor_0")?,
                decode::column(last, "cursor_1")?,
            )),
            _ => None,
        };
        Ok(Listed {
            items: all(&rows, decode)?,
            next,
        })
    }
}

fn no_thread() -> Error {
    Error::new(Reason::ThreadNotFound, "no such thread")
}

fn no_run() -> Error {
    Error::new(Reason::RunNotFound, "no such run")
}

fn all<T>(rows: &[SqliteRow], decode: impl Fn(&SqliteRow) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    rows.iter().map(decode).collect()
}

fn named<const N: usize>(names: [&str; N]) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for name in names {
        arguments.add(name.to_owned()).map_err(Error::internal)?;
    }
    Ok(arguments)
}

fn add(arguments: &mut SqliteArguments, value: i64) -> Result<(), Error> {
    arguments.add(value).map_err(Error::internal)
}
