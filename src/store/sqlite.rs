//! The SQLite store: one connection writes, a few read.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::run::error::{Error, Reason};
use crate::run::id::{RunId, ThreadId};
use crate::run::message::Message;
use crate::run::ports::{Opened, Opening, Store};
use crate::run::record::RunRecord;

use super::Location;
use super::batch::{Answer, NOWHERE, OpenRun, Operation};
use super::row::{MessageRow, RunRow};

use decode::{message_columns, run_columns};
use readers::Readers;
use writer::Writer;

mod connect;
mod decode;
mod exchange;
mod fault;
mod readers;
mod script;
#[cfg(test)]
mod tests;
mod writer;

/// How often opening a run starts over, because the thread has grown since it was read.
const ATTEMPT_LIMIT: usize = 16;

/// See the [module](self).
pub(super) struct Sqlite {
    writer: Writer,
    readers: Readers,
}

impl Sqlite {
    /// Opens or creates the database; see [`open`](super::open).
    pub(super) async fn open(location: &Location) -> Result<Self, Error> {
        let connection = Arc::new(Mutex::new(connect::open(location).await?));
        Ok(Self {
            readers: match location {
                Location::File(path) => Readers::of_file(path),
                Location::Memory => Readers::Shared(Arc::clone(&connection)),
            },
            writer: Writer::start(connection, location),
        })
    }

    /// A thread's messages, oldest first, and the last one's position; none of a thread that does not exist.
    async fn history(&self, thread: &ThreadId) -> Result<(Vec<Arc<Message>>, i64), Error> {
        let rows = self.readers.rows(THREAD_MESSAGES, thread.as_str()).await?;
        let last_position = match rows.last() {
            Some(row) => decode::column(row, "position")?,
            None => NOWHERE,
        };
        let messages = rows.iter().map(decode::message).collect::<Result<_, _>>()?;
        Ok((messages, last_position))
    }
}

const THREAD_MESSAGES: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.thread = (SELECT number FROM threads WHERE id = ?) ORDER BY m.position"
);

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

const ACTIVE_RUNS: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs r JOIN threads t ON t.number = r.thread WHERE r.active ORDER BY r.create_time, r.id"
);

#[async_trait]
impl Store for Sqlite {
    async fn open_run(&self, opening: Opening) -> Result<Opened, Error> {
        let thread = opening.record.thread.clone();
        let run = RunRow::new(&opening)?;
        let message = MessageRow::new(&opening.message)?;
        let mut is_new = opening.creates_thread;
        // The history is read before the run is opened and past the writer, so that long ones hold up nobody
        // and a failure to read leaves no run behind. The writer checks that it is still the whole history.
        for _ in 0..ATTEMPT_LIMIT {
            let (history, seen) = if is_new {
                (Vec::new(), NOWHERE)
            } else {
                self.history(&thread).await?
            };
            let open = OpenRun {
                run: run.clone(),
                message: message.clone(),
                creates_thread: opening.creates_thread,
                seen,
            };
            match self.writer.write(Operation::Open(Arc::new(open))).await? {
                Answer::Done => return Ok(Opened::Started(history)),
                Answer::Replayed(record) => return Ok(Opened::Replayed(record)),
                Answer::Stale => is_new = false,
            }
        }
        Err(Error::new(
            Reason::StoreUnavailable,
            "the thread changes too quickly to open a run on it",
        ))
    }

    async fn save(&self, record: &RunRecord, messages: &[Arc<Message>]) -> Result<(), Error> {
        let save = Operation::Save {
            record: Box::new(record.clone()),
            messages: messages.iter().map(MessageRow::new).collect::<Result<_, _>>()?,
        };
        self.writer.write(save).await.map(drop)
    }

    async fn run(&self, run: &RunId) -> Result<RunRecord, Error> {
        let rows = self.readers.rows(RUN, run.as_str()).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(Reason::RunNotFound, "no such run"))?;
        decode::run(row)
    }

    async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error> {
        let rows = self.readers.rows(RUN_MESSAGES, run.as_str()).await?;
        rows.iter().map(decode::message).collect()
    }

    async fn messages(&self, thread: &ThreadId) -> Result<Vec<Arc<Message>>, Error> {
        let (messages, _) = self.history(thread).await?;
        if messages.is_empty() {
            let threads = "SELECT id FROM threads WHERE id = ?";
            if self.readers.rows(threads, thread.as_str()).await?.is_empty() {
                return Err(Error::new(Reason::ThreadNotFound, "no such thread"));
            }
        }
        Ok(messages)
    }

    async fn active_runs(&self) -> Result<Vec<RunRecord>, Error> {
        let rows = self.readers.rows(ACTIVE_RUNS, "").await?;
        rows.iter().map(decode::run).collect()
    }

    async fn check(&self) -> Result<(), Error> {
        self.readers
            .rows("SELECT number FROM threads LIMIT 1", "")
            .await?;
        if self.writer.trouble().is_some() {
            // Perhaps it has passed; nobody else may write for a while, waiting for us to say so.
            self.writer.write(Operation::Probe).await?;
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }
}
