//! The one task that writes: it takes everything that waits, writes it in one transaction, and answers.
//!
//! While it writes, the next batch gathers; so the cost of a transaction is shared by as many writes as there
//! are callers, and a lone caller waits for nobody.

use std::slice;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::run::error::{Error, Reason};
use crate::run::event::{Body, Event};
use crate::run::record::{Outcome, State};

use super::batch::{Answer, OpenRun, Operation, SaveRun};
use super::row::EventRow;
use super::unavailable;

/// Writes that may wait; a caller beyond them waits to wait.
const QUEUE_LIMIT: usize = 1024;

/// Writes in one transaction.
const BATCH_LIMIT: usize = 128;

/// Where batches are written.
pub(super) trait Desk: Send + 'static {
    /// How long a caller waits for a write; none where nothing can hang.
    fn patience(&self) -> Option<Duration>;

    /// Decides and writes these operations in one transaction.
    ///
    /// After a failure nothing of them is written, unless it is [`Failure::Uncertain`], and the next batch may
    /// be tried.
    fn transact(&mut self, operations: &[Operation])
    -> impl Future<Output = Result<Written, Failure>> + Send;
}

/// A batch that is durable.
pub(super) struct Written {
    /// For each operation what came of it.
    answers: Vec<Result<Answer, Error>>,
    /// Whether there was anything to write.
    has_written: bool,
}

impl Written {
    /// With so many things swept, if it was asked for.
    pub(super) fn new(mut answers: Vec<Result<Answer, Error>>, has_written: bool, swept: u64) -> Self {
        for answer in answers.iter_mut().flatten() {
            if let Answer::Swept(count) = answer {
                *count = swept;
            }
        }
        Self { answers, has_written }
    }
}

/// Why a batch is not known to be written.
pub(super) enum Failure {
    /// Something outside the service is wrong, in these words: the same may work another time.
    Outside(&'static str, Error),
    /// The same, but the transaction may have been committed.
    Uncertain(&'static str, Error),
    /// One of the operations is at fault, or what is stored.
    Fault(Error),
}

/// The callers' end.
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
    trouble: Arc<std::sync::Mutex<Option<&'static str>>>,
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
    pub(super) fn start(desk: impl Desk) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let trouble = Arc::new(std::sync::Mutex::new(None));
        let patience = desk.patience();
        let scribe = Scribe {
            desk,
            trouble: Arc::clone(&trouble),
            unheard: Vec::new(),
        };
        tokio::spawn(scribe.work(receiver));
        Self {
            queue: sender,
            trouble,
            patience,
        }
    }

    /// Has an operation written; when this is done it is durable, refused or failed.
    pub(super) async fn write(&self, operation: Operation) -> Result<Answer, Error> {
        let closed = || unavailable("it is closed");
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
                .unwrap_or_else(|_| Err(unavailable("it does not answer in time"))),
        }
    }

    /// Why the last write failed; none when it did not.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end.
struct Scribe<D> {
    desk: D,
    trouble: Arc<std::sync::Mutex<Option<&'static str>>>,
    /// Runs that have been opened, but whose callers have not said yet that they know. If they go away
    /// instead, nobody would ever end the run. Also runs that may have been opened, and whose callers were told
    /// that they were not.
    unheard: Vec<(oneshot::Receiver<()>, Arc<OpenRun>)>,
}

impl<D: Desk> Scribe<D> {
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
                self.unheard.push((gone(), opening));
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
        let error = match self.attempt(operations).await {
            Ok(answers) => return answers,
            Err(Failure::Fault(error)) if operations.len() == 1 => error,
            Err(Failure::Outside(_, error) | Failure::Uncertain(_, error)) => error,
            Err(Failure::Fault(_)) => {
                // One of them is at fault: each for itself, so that the others do not suffer.
                let mut answers = Vec::with_capacity(operations.len());
                for operation in operations {
                    answers.push(match self.attempt(slice::from_ref(operation)).await {
                        Ok(mut answer) => answer.swap_remove(0),
                        Err(
                            Failure::Fault(error) | Failure::Outside(_, error) | Failure::Uncertain(_, error),
                        ) => Err(error),
                    });
                }
                return answers;
            }
        };
        vec![Err(error); operations.len()]
    }

    async fn attempt(&mut self, operations: &[Operation]) -> Result<Vec<Result<Answer, Error>>, Failure> {
        let outcome = self.desk.transact(operations).await;
        match &outcome {
            Ok(written) if written.has_written => drop(self.set_trouble(None)),
            Ok(_) | Err(Failure::Fault(_)) => {}
            Err(Failure::Outside(trouble, error) | Failure::Uncertain(trouble, error)) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let cause = cause.as_deref().unwrap_or(trouble);
                if self.set_trouble(Some(trouble)) == Some(trouble) {
                    tracing::debug!(error = cause, "the store still cannot be written");
                } else {
                    tracing::error!(error = cause, "the store cannot be written");
                }
            }
        }
        if let Err(Failure::Uncertain(..)) = &outcome {
            for operation in operations {
                if let Operation::Open(opening) = operation {
                    self.unheard.push((gone(), Arc::clone(opening)));
                }
            }
        }
        outcome.map(|written| written.answers)
    }

    /// Gives back what it was before.
    fn set_trouble(&self, trouble: Option<&'static str>) -> Option<&'static str> {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut known, trouble)
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

/// The end of a caller who has gone.
fn gone() -> oneshot::Receiver<()> {
    oneshot::channel().1
}
