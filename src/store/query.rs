//! What is read, and how it is asked for.

use std::sync::Arc;

use sqlx::{Arguments, AssertSqlSafe, Database, Encode, SqlSafeStr, SqlStr, Type};

use crate::run::assistant::AssistantRecord;
use crate::run::error::{Error, Reason};
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Cursor, Listed, Order, Page};
use crate::run::ports::{History, Pending, RequestKey};
use crate::run::record::{RunRecord, ThreadRecord};
use crate::run::spending::{Spenders, Spending};
use crate::run::step::Step;
use crate::run::truncation::Reach;

use super::batch::{NOWHERE, Request};
use super::decode::{self, Columns, message_columns, run_columns, spending_sums};
use super::row;

/// Chunks of events that are read at once: so many, and no more once they are so many bytes.
const CHUNK_LIMIT: i64 = 64;
const CHUNK_LIMIT_BYTES: i64 = 32 * 1024;

const HISTORY: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.thread = (SELECT number FROM threads WHERE id = $1) ORDER BY m.position"
);

/// The newest part of a thread, from the position that this SQL gives on, and the operator's words before it.
macro_rules! part_of_history {
    ($start:expr) => {
        concat!(
            "WITH place AS (SELECT t.number, coalesce(",
            $start,
            ", 0) AS start FROM threads t WHERE t.id = $1) SELECT ",
            message_columns!(),
            " FROM place JOIN messages m ON m.thread = place.number AND m.position >= place.start UNION ALL SELECT ",
            message_columns!(),
            " FROM place JOIN messages m ON m.thread = place.number AND m.position < place.start \
             WHERE m.role = 'system' ORDER BY position"
        )
    };
}

/// The position of a message that begins a turn: the caller speaks after somebody else.
macro_rules! turn_of_thread {
    ($rest:expr) => {
        concat!(
            "(SELECT m.position FROM messages m WHERE m.thread = t.number AND m.role = 'user' AND coalesce((SELECT p.role \
             FROM messages p WHERE p.thread = m.thread AND p.position < m.position ORDER BY p.position DESC LIMIT 1), '') \
             <> 'user' ",
            $rest,
            ")"
        )
    };
}

/// So many turns.
pub(super) const NEWEST_TURNS: &str =
    part_of_history!(turn_of_thread!("ORDER BY m.position DESC LIMIT 1 OFFSET $2 - 1"));

/// So many messages, and the rest of the turn that the oldest of them is in.
pub(super) const NEWEST_MESSAGES: &str = part_of_history!(turn_of_thread!(
    "AND m.position <= (SELECT position FROM messages WHERE thread = t.number ORDER BY position DESC LIMIT 1 \
     OFFSET $2 - 1) ORDER BY m.position DESC LIMIT 1"
));

const MESSAGE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m JOIN threads t ON t.number = m.thread WHERE m.id = $1 AND t.id = $2"
);

const MESSAGES: Section = Section {
    select: concat!(
        "SELECT ",
        message_columns!(),
        ", m.position AS cursor_0, m.thread AS cursor_1 FROM messages m \
         WHERE m.thread = (SELECT number FROM threads WHERE id = $1)"
    ),
    key: ("m.position", "m.thread"),
};

const RUN_MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM runs r JOIN messages m \
     ON m.thread = r.thread AND m.position BETWEEN r.first_position AND r.last_position \
     WHERE r.id = $1 AND (m.run = r.id OR m.position = r.first_position) ORDER BY m.position"
);

const RUN: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs r JOIN threads t ON t.number = r.thread WHERE r.id = $1"
);

const RUNS: Section = Section {
    select: concat!(
        "SELECT ",
        run_columns!(),
        ", r.create_time AS cursor_0, r.number AS cursor_1 \
         FROM threads t JOIN runs r ON r.thread = t.number WHERE t.id = $1 \
         AND ($2 = '' OR $2 LIKE '%,' || r.state || ',%')"
    ),
    key: ("r.create_time", "r.number"),
};

const ASSISTANT: &str = "SELECT id, profile, version, create_time, update_time FROM assistants WHERE id = $1";

const ASSISTANTS: Section = Section {
    select: "SELECT id, profile, version, create_time, update_time, create_time AS cursor_0, \
             number AS cursor_1 FROM assistants WHERE true",
    key: ("create_time", "number"),
};

const STEPS: Section = Section {
    select: "SELECT s.step, s.place AS cursor_0, s.run AS cursor_1 FROM runs r JOIN steps s ON s.run = r.number \
             WHERE r.id = $1",
    key: ("s.place", "s.run"),
};

const SPENDINGS: Section = Section {
    select: concat!(
        "SELECT day, caller, currency, ",
        spending_sums!(),
        ", day AS cursor_0, number AS cursor_1 FROM usage_of_callers \
         WHERE ($1 = '' OR caller = $2) AND day >= $3 AND day < $4"
    ),
    key: ("day", "number"),
};

/// A reader may hold on to what it is given for as long as it likes, so it is not given much.
const CHUNKS: &str = "\
    WITH sizes AS (\
        SELECT e.run, e.last_sequence, octet_length(e.chunk) AS size FROM runs r JOIN events e ON e.run = r.number \
        WHERE r.id = $1 AND e.last_sequence > $2 ORDER BY e.last_sequence LIMIT $3), \
    sums AS (SELECT run, last_sequence, sum(size) OVER (ORDER BY last_sequence) - size AS before FROM sizes) \
    SELECT e.chunk FROM sums s JOIN events e ON e.run = s.run AND e.last_sequence = s.last_sequence \
    WHERE s.before < $4 ORDER BY s.last_sequence";

const REQUEST: &str = "SELECT id, digest, subject, time FROM requests WHERE id = $1";

const KEPT_EVENTS: &str = "SELECT last_sequence, has_events FROM runs WHERE id = $1";

/// The columns of a thread. What was added to it counts as a change of it. The run that holds it and the first that
/// waits for it are looked for apart: each has an index, and one question for both would read every run of the thread.
macro_rules! thread_columns {
    () => {
        "SELECT t.id, t.title, t.metadata, t.version, t.create_time, (SELECT max(time) FROM ( \
         SELECT t.update_time AS time UNION ALL \
         SELECT (SELECT create_time FROM messages WHERE thread = t.number ORDER BY position DESC LIMIT 1) UNION ALL \
         SELECT (SELECT max(create_time) FROM runs WHERE thread = t.number)) AS times) AS update_time, \
         coalesce((SELECT id FROM runs WHERE thread = t.number AND active), \
         (SELECT id FROM runs WHERE thread = t.number AND queued IS NOT NULL ORDER BY number LIMIT 1)) AS active_run, t.usage, \
         (SELECT usage FROM runs WHERE thread = t.number AND active) AS active_usage, \
         t.create_time AS cursor_0, t.number AS cursor_1 FROM threads t"
    };
}

pub(super) const THREAD: &str = concat!(thread_columns!(), " WHERE t.id = $1");

const THREADS: Section = Section {
    select: concat!(thread_columns!(), " WHERE true"),
    key: ("t.create_time", "t.number"),
};

/// A list that is read in parts: a query without its order, and what orders it.
pub(super) struct Section {
    pub(super) select: &'static str,
    pub(super) key: (&'static str, &'static str),
}

/// A value in a query.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

/// Values as a database takes them.
///
/// # Errors
/// `INTERNAL` when one is too large for it.
pub(super) fn arguments<D: Database>(values: Vec<Value>) -> Result<D::Arguments, Error>
where
    for<'v> String: Encode<'v, D> + Type<D>,
    for<'v> i64: Encode<'v, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Number(number) => arguments.add(number),
        }
        .map_err(Error::internal)?;
    }
    Ok(arguments)
}

/// Connections to a database that queries are sent over.
pub(super) trait Readers: Send + Sync + 'static {
    /// The kind of database, as Health names it.
    const KIND: &'static str;

    /// What runs wait for, the oldest first: databases differ in how they read JSON.
    const PENDING: Section;

    /// A row of an answer.
    type Row: Columns + Send + Sync;

    /// Every row of a query. The text is a literal, or made of literals; values are arguments, `$1` the first.
    fn rows(
        &self,
        sql: SqlStr,
        arguments: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;
}

impl<R: Readers> Readers for Arc<R> {
    const KIND: &'static str = R::KIND;

    const PENDING: Section = R::PENDING;

    type Row = R::Row;

    fn rows(
        &self,
        sql: SqlStr,
        arguments: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send {
        (**self).rows(sql, arguments)
    }
}

/// The queries, over these connections.
pub(super) struct Queries<R> {
    pub(super) readers: R,
}

impl<R: Readers> Queries<R> {
    /// A thread's messages, and the last one's position; none of a thread that does not exist.
    pub(super) async fn history(&self, thread: &ThreadId, reach: Reach) -> Result<(History, i64), Error> {
        let mut arguments = named([thread.as_str()]);
        let sql = match reach {
            Reach::All => HISTORY,
            Reach::Turns(turns) => {
                arguments.push(Value::Number(turns.max(1).into()));
                NEWEST_TURNS
            }
            Reach::Messages(count) => {
                arguments.push(Value::Number(row::count(count)));
                NEWEST_MESSAGES
            }
        };
        let rows = self.rows(sql, arguments).await?;
        let last_position = match rows.last() {
            Some(row) => decode::column(row, "position", Columns::number)?,
            None => NOWHERE,
        };
        let messages = all(&rows, decode::message)?;
        let unread = match reach {
            Reach::All => 0,
            // Counting them would read them.
            Reach::Turns(_) | Reach::Messages(_) => {
                let positions = u64::try_from(last_position - NOWHERE).unwrap_or_default();
                positions.saturating_sub(messages.len() as u64)
            }
        };
        Ok((History { messages, unread }, last_position))
    }

    pub(super) async fn message(
        &self,
        thread: &ThreadId,
        message: &MessageId,
    ) -> Result<Arc<Message>, Error> {
        let rows = self
            .rows(MESSAGE, named([message.as_str(), thread.as_str()]))
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
        self.section(&MESSAGES, named([thread.as_str()]), page, decode::message)
            .await
    }

    pub(super) async fn run(&self, run: &RunId) -> Result<RunRecord, Error> {
        let rows = self.rows(RUN, named([run.as_str()])).await?;
        decode::run(rows.first().ok_or_else(no_run)?)
    }

    /// The runs that a process has just taken over, the oldest first: these rows name them.
    pub(super) async fn claimed(&self, rows: &[impl Columns]) -> Result<Vec<RunRecord>, Error> {
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let run = RunId::parse(decode::column(row, "id", Columns::text)?).map_err(Error::internal)?;
            match self.run(&run).await {
                Ok(record) => claimed.push(record),
                // Deleted in this moment.
                Err(error) if error.reason() == Reason::RunNotFound => {}
                Err(error) => return Err(error),
            }
        }
        claimed.sort_by_key(|record| record.create_time);
        Ok(claimed)
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
        self.section(&RUNS, named([thread.as_str(), &states]), page, decode::run)
            .await
    }

    pub(super) async fn pending_actions(&self, page: Page) -> Result<Listed<Pending>, Error> {
        self.section(&R::PENDING, Vec::new(), page, decode::pending).await
    }

    pub(super) async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error> {
        let rows = self.rows(RUN_MESSAGES, named([run.as_str()])).await?;
        all(&rows, decode::message)
    }

    pub(super) async fn queued_message(&self, run: &RunId) -> Result<Option<Arc<Message>>, Error> {
        let sql = "SELECT queued FROM runs WHERE id = $1 AND queued IS NOT NULL";
        let rows = self.rows(sql, named([run.as_str()])).await?;
        let message = decode::column(rows.first().ok_or_else(no_run)?, "queued", Columns::text)?;
        serde_json::from_str(message).map_err(Error::internal)
    }

    pub(super) async fn run_steps(&self, run: &RunId, page: Page) -> Result<Listed<Arc<Step>>, Error> {
        self.section(&STEPS, named([run.as_str()]), page, decode::step)
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
        let mut arguments = named([run.as_str()]);
        arguments.extend([after, CHUNK_LIMIT, CHUNK_LIMIT_BYTES].map(Value::Number));
        let rows = self.rows(CHUNKS, arguments).await?;
        all(&rows, |row| {
            decode::column(row, "chunk", Columns::text).map(str::to_owned)
        })
    }

    /// Whether the run is there and its events after this sequence, if there are any, are kept.
    pub(super) async fn check_events(&self, run: &RunId, after: u64) -> Result<(), Error> {
        let rows = self.rows(KEPT_EVENTS, named([run.as_str()])).await?;
        let row = rows.first().ok_or_else(no_run)?;
        let last_sequence = decode::column(row, "last_sequence", Columns::number)?;
        if decode::column(row, "has_events", Columns::flag)? || row::count(after) >= last_sequence {
            return Ok(());
        }
        let expired = Error::new(
            Reason::EventsExpired,
            "the events after that sequence are not kept any more",
        );
        // All of them are: the first that could be is the one after the last.
        Err(expired.with("oldest_sequence", (last_sequence + 1).to_string()))
    }

    /// What is known of a request that came with this id.
    pub(super) async fn request(&self, request: &RequestKey) -> Result<Option<Request>, Error> {
        let rows = self.rows(REQUEST, named([request.id.as_str()])).await?;
        let seen = rows.first().map(decode::request_fact).transpose()?;
        Ok(seen.map(|(_, seen)| seen))
    }

    pub(super) async fn thread(&self, thread: &ThreadId) -> Result<ThreadRecord, Error> {
        let rows = self.rows(THREAD, named([thread.as_str()])).await?;
        decode::thread(rows.first().ok_or_else(no_thread)?)
    }

    pub(super) async fn threads(&self, page: Page) -> Result<Listed<ThreadRecord>, Error> {
        self.section(&THREADS, Vec::new(), page, decode::thread).await
    }

    pub(super) async fn assistant(&self, assistant: &AssistantId) -> Result<AssistantRecord, Error> {
        let rows = self.rows(ASSISTANT, named([assistant.as_str()])).await?;
        let missing = || Error::new(Reason::AssistantNotFound, "no such assistant");
        decode::assistant(rows.first().ok_or_else(missing)?)
    }

    pub(super) async fn assistants(&self, page: Page) -> Result<Listed<AssistantRecord>, Error> {
        self.section(&ASSISTANTS, Vec::new(), page, decode::assistant)
            .await
    }

    pub(super) async fn spendings(&self, spenders: &Spenders, page: Page) -> Result<Listed<Spending>, Error> {
        let is_of_one = if spenders.caller.is_some() { "1" } else { "" };
        let mut arguments = named([is_of_one, spenders.caller.as_deref().unwrap_or_default()]);
        let from = spenders.from.map_or(i64::MIN, |day| day.0);
        let before = spenders.before.map_or(i64::MAX, |day| day.0);
        arguments.extend([from, before].map(Value::Number));
        self.section(&SPENDINGS, arguments, page, decode::spending).await
    }

    /// Whether the thread is there.
    pub(super) async fn check_thread(&self, thread: &ThreadId) -> Result<(), Error> {
        let sql = "SELECT id FROM threads WHERE id = $1";
        match self.rows(sql, named([thread.as_str()])).await?.is_empty() {
            true => Err(no_thread()),
            false => Ok(()),
        }
    }

    /// Whether anything can be read.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let sql = "SELECT number FROM threads LIMIT 1";
        self.rows(sql, Vec::new()).await.map(drop)
    }

    async fn rows(&self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<R::Row>, Error> {
        self.readers.rows(sql.into_sql_str(), arguments).await
    }

    async fn section<T>(
        &self,
        section: &Section,
        mut arguments: Vec<Value>,
        page: Page,
        decode: impl Fn(&R::Row) -> Result<T, Error>,
    ) -> Result<Listed<T>, Error> {
        let (first, second) = section.key;
        let (beyond, direction) = match page.order {
            Order::OldestFirst => (">", ""),
            Order::NewestFirst => ("<", " DESC"),
        };
        let mut sql = section.select.to_owned();
        if let Some(Cursor(time, number)) = page.after {
            let place = arguments.len();
            sql.push_str(&format!(
                " AND ({first}, {second}) {beyond} (${}, ${})",
                place + 1,
                place + 2
            ));
            arguments.extend([Value::Number(time), Value::Number(number)]);
        }
        // One more than asked for tells whether there is a next part.
        arguments.push(Value::Number(i64::from(page.limit) + 1));
        let limit = arguments.len();
        sql.push_str(&format!(
            " ORDER BY {first}{direction}, {second}{direction} LIMIT ${limit}"
        ));
        // Safe: the text is made of literals, and there are four of each section.
        let mut rows = self
            .readers
            .rows(AssertSqlSafe(sql).into_sql_str(), arguments)
            .await?;
        let has_more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let next = match rows.last() {
            Some(last) if has_more => Some(Cursor(
                decode::column(last, "cursor_0", Columns::number)?,
                decode::column(last, "cursor_1", Columns::number)?,
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

fn all<R, T>(rows: &[R], decode: impl Fn(&R) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    rows.iter().map(decode).collect()
}

/// Texts as arguments.
pub(super) fn named<const N: usize>(names: [&str; N]) -> Vec<Value> {
    names.map(|name| Value::Text(name.to_owned())).into()
}
