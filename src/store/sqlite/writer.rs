//! The one task that writes: it takes everything that waits, writes it in one transaction, and answers.
//!
//! While it writes, the next batch gathers; so the cost of a transaction is shared by as many writes as there
//! are callers, and a lone caller waits for nobody.

use std::slice;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Executor};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::run::error::{Error, Reason};
use crate::run::event::{Body, Event};
use crate::run::record::{Outcome, State};
use crate::store::Location;
use crate::store::batch::{self, Answer, OpenRun, Operation, SaveRun};
use crate::store::row::EventRow;

use super::exchange::{self, Failure};
use super::{connect, fault};

/// Writes that may wait; a caller beyond them waits to wait.
const QUEUE_LIMIT: usize = 1024;

/// Writes in one transaction.
const BATCH_LIMIT: usize = 128;

/// How long a caller waits for a write. Longer than the database waits for another process's lock, so that
/// the caller hears what is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// The callers' end.
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
    trouble: Arc<std::sync::Mutex<Option<&'static str>>>,
    /// None in memory, which cannot hang.
    patience: Option<Duration>,
}

struct Request {
    operation: Operation,
    reply: oneshot::Sender<(Result<Answer, Error>, Heard)>,
}

/// What a caller uses to say that it has its answer.
type Heard = oneshot::Sender<()>;

impl Writer {
    /// Starts the task, which ends when the last `Writer` is dropped and everything queued is written.
    ///
    /// The runs that it opens belong to `owner`.
    pub(super) fn start(
        connection: Arc<Mutex<SqliteConnection>>,
        location: &Location,
        owner: Arc<str>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let trouble = Arc::new(std::sync::Mutex::new(None));
        let scribe = Scribe {
            connection,
            location: location.clone(),
            owner,
            trouble: Arc::clone(&trouble),
            unheard: Vec::new(),
        };
        tokio::spawn(scribe.work(receiver));
        Self {
            queue: sender,
            trouble,
            patience: matches!(location, Location::File(_)).then_some(PATIENCE),
        }
    }

    /// Has an operation written; when this is done it is durable, refused or failed.
    pub(super) async fn write(&self, operation: Operation) -> Result<Answer, Error> {
        let closed = || fault::unavailable("it is closed");
        let exchange = async {
            let (reply, answer) = oneshot::channel();
            let request = Request { operation, reply };
            self.queue.send(request).await.map_err(|_| closed())?;
            let (answer, heard) = answer.await.map_err(|_| closed())?;
            heard.send(()).ok();
            answer
        };
        match self.patience {
            None => exchange.await,
            Some(patience) => tokio::time::timeout(patience, exchange)
                .await
                .unwrap_or_else(|_| Err(fault::unavailable("it does not answer in time"))),
        }
    }

    /// Why the last write failed; none when it did not.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end.
struct Scribe {
    connection: Arc<Mutex<SqliteConnection>>,
    location: Location,
    owner: Arc<str>,
    trouble: Arc<std::sync::Mutex<Option<&'static str>>>,
    /// Runs that have been opened, but whose callers have not said yet that they know. If they go away
    /// instead, nobody would ever end the run.
    unheard: Vec<(oneshot::Receiver<()>, Arc<OpenRun>)>,
}

impl Scribe {
    async fn work(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut batch = Vec::with_capacity(BATCH_LIMIT);
        while queue.recv_many(&mut batch, BATCH_LIMIT).await > 0 {
            // A run that nobody waits for any more is not opened; a save counts whether anybody waits or not.
            batch.retain(|request| !(request.reply.is_closed() && is_open(&request.operation)));
            self.round(batch.drain(..)).await;
        }
    }

    /// Writes these and answers. Runs that were opened for callers who have gone are called off first, so that
    /// whoever wants their threads now finds them free.
    async fn round(&mut self, requests: impl Iterator<Item = Request>) {
        let withdrawn = self.withdraw();
        let mut operations: Vec<_> = withdrawn.iter().map(|opening| cancelled(opening)).collect();
        let mut replies = Vec::new();
        for request in requests {
            operations.push(request.operation);
            replies.push(request.reply);
        }
        if operations.is_empty() {
            return;
        }
        let mut answers = self.write(&operations).await.into_iter();
        for (opening, answer) in withdrawn.into_iter().zip(answers.by_ref()) {
            if answer.is_err_and(|error| error.reason() == Reason::StoreUnavailable) {
                let (_, never) = oneshot::channel();
                self.unheard.push((never, opening));
            }
        }
        let asked = operations.len() - replies.len();
        for ((operation, answer), reply) in operations.into_iter().skip(asked).zip(answers).zip(replies) {
            let (heard, hearing) = oneshot::channel();
            if let (Ok(Answer::Done), Operation::Open(opening)) = (&answer, operation) {
                self.unheard.push((hearing, opening));
            }
            // Who has gone drops `heard` unused, which is how the next round knows.
            reply.send((answer, heard)).ok();
        }
    }

    /// Takes out the runs whose callers have gone, and forgets those whose callers have heard.
    fn withdraw(&mut self) -> Vec<Arc<OpenRun>> {
        let mut withdrawn = Vec::new();
        self.unheard
            .retain_mut(|(hearing, opening)| match hearing.try_recv() {
                Ok(()) => false,
                Err(TryRecvError::Empty) => true,
                Err(TryRecvError::Closed) => {
                    withdrawn.push(Arc::clone(opening));
                    false
                }
            });
        withdrawn
    }

    async fn write(&mut self, operations: &[Operation]) -> Vec<Result<Answer, Error>> {
        let failure = match self.attempt(operations).await {
            Ok(answers) => return answers,
            Err(failure) => failure,
        };
        if is_outside(&failure) || operations.len() == 1 {
            let error = failure.into_error();
            return vec![Err(error); operations.len()];
        }
        // One of them is at fault: each for itself, so that the others do not suffer.
        let mut answers = Vec::with_capacity(operations.len());
        for operation in operations {
            answers.push(match self.attempt(slice::from_ref(operation)).await {
                Ok(mut answer) => answer.swap_remove(0),
                Err(failure) => Err(failure.into_error()),
            });
        }
        answers
    }

    /// One transaction. After a failure nothing of it is left, and the connection can be used again.
    async fn attempt(&mut self, operations: &[Operation]) -> Result<Vec<Result<Answer, Error>>, Failure> {
        let mut connection = self.connection.lock().await;
        match transaction(&mut connection, operations, &self.owner).await {
            Ok((answers, has_written)) => {
                if has_written {
                    self.set_trouble(None);
                }
                Ok(answers)
            }
            Err(failure) => {
                // Fails when SQLite has rolled back by itself already.
                connection.execute("ROLLBACK").await.ok();
                if let Failure::Sqlite(cause) = &failure {
                    if let Some(trouble) = fault::trouble(cause) {
                        if self.set_trouble(Some(trouble)) == Some(trouble) {
                            tracing::debug!(error = %cause, "the store still cannot be written");
                        } else {
                            tracing::error!(error = %cause, "the store cannot be written");
                        }
                    }
                    if fault::breaks_connection(cause) {
                        self.reconnect(&mut connection).await;
                    }
                }
                Err(failure)
            }
        }
    }

    /// Gives back what it was before.
    fn set_trouble(&self, trouble: Option<&'static str>) -> Option<&'static str> {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut known, trouble)
    }

    async fn reconnect(&self, connection: &mut SqliteConnection) {
        if let Location::File(_) = self.location {
            let options = connect::writing(&self.location).create_if_missing(false);
            match options.connect().await {
                Ok(new) => *connection = new,
                Err(error) => tracing::error!(%error, "the store cannot be opened again"),
            }
        }
    }
}

/// The write that calls a run off as if its caller had cancelled it at once.
fn cancelled(opening: &OpenRun) -> Operation {
    let mut record = opening.run.record.clone();
    record.state = State::Ended(Outcome::Cancelled);
    record.end_time = Some(record.create_time);
    record.expire_time = None;
    record.last_sequence += 1;
    let record = Arc::new(record);
    let end = Arc::new(Event {
        sequence: record.last_sequence,
        time: record.create_time,
        body: Body::Ended(Arc::clone(&record)),
    });
    Operation::Save(Arc::new(SaveRun {
        // It names the run only, and so cannot fail to be written as JSON.
        events: EventRow::new(&record.id, &[end], &[]).unwrap_or_default(),
        record,
        messages: Vec::new(),
        steps: Vec::new(),
    }))
}

fn is_open(operation: &Operation) -> bool {
    matches!(operation, Operation::Open(_))
}

fn is_outside(failure: &Failure) -> bool {
    matches!(failure, Failure::Sqlite(cause) if fault::trouble(cause).is_some())
}

/// Reads, decides, writes; the answers, and whether anything was written.
async fn transaction(
    connection: &mut SqliteConnection,
    operations: &[Operation],
    owner: &str,
) -> Result<(Vec<Result<Answer, Error>>, bool), Failure> {
    let facts = exchange::read(connection, operations).await?;
    let (changes, mut answers) = batch::plan(operations, facts);
    let has_written = !changes.is_empty();
    let swept = exchange::write(connection, changes, owner).await?;
    for answer in answers.iter_mut().flatten() {
        if let Answer::Swept(count) = answer {
            *count = swept;
        }
    }
    Ok((answers, has_written))
}
