//! Where batches are written: one connection, one transaction at a time.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;

use crate::run::error::Error;
use crate::store::batch::{self, Operation};
use crate::store::unavailable;
use crate::store::writer::{self, Failure, Written};

use super::{connect, exchange, fault};

/// How long a caller waits for a write. Longer than one takes to fail, so that the caller hears what is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a transaction may take up to its commit, and then the commit.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a transaction that lost against others is tried again, and the longest pause before that.
const CONFLICT_LIMIT: u32 = 6;
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// How long to ask what became of a commit without an answer, and how often.
const VERDICT_PATIENCE: Duration = Duration::from_secs(10);
const VERDICT_PAUSE: Duration = Duration::from_millis(100);

/// See the [module](self).
pub(super) struct Desk {
    /// None while the newest one was lost and there is no other.
    connection: Option<PgConnection>,
    options: PgConnectOptions,
    owner: Arc<str>,
}

/// Why a transaction did not come to its end.
pub(super) enum Setback {
    /// PostgreSQL says no, or says nothing any more: nothing is written.
    Postgres(sqlx::Error),
    /// What it gave cannot be read: nothing is written.
    Unreadable(Error),
    /// Its commit was not answered.
    Unanswered {
        transaction: String,
        written: Written,
        cause: sqlx::Error,
    },
}

impl From<sqlx::Error> for Setback {
    fn from(cause: sqlx::Error) -> Self {
        Self::Postgres(cause)
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

/// What became of a transaction.
enum Verdict {
    Committed,
    Aborted,
    Unknown,
}

impl Desk {
    /// Starts with this connection. The runs that are opened belong to `owner`.
    pub(super) fn new(connection: PgConnection, options: PgConnectOptions, owner: Arc<str>) -> Self {
        Self {
            connection: Some(connection),
            options,
            owner,
        }
    }

    /// One transaction. A connection that may be broken, or in the middle of something, is not kept.
    async fn attempt(&mut self, operations: &[Operation]) -> Result<Written, Setback> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect::connect(&self.options).await?,
        };
        let outcome = transaction(&mut connection, operations, &self.owner).await;
        let is_whole = match &outcome {
            Ok(_) | Err(Setback::Unreadable(_)) => true,
            Err(Setback::Postgres(cause)) => !fault::breaks_connection(cause),
            Err(Setback::Unanswered { .. }) => false,
        };
        self.connection = is_whole.then_some(connection);
        outcome
    }

    /// Asks what became of a transaction, for as long as the server cannot be reached or is still at it.
    async fn verdict(&mut self, transaction: &str) -> Verdict {
        let deadline = Instant::now() + VERDICT_PATIENCE;
        while Instant::now() < deadline {
            if let Ok(mut connection) = connect::connect(&self.options).await {
                let question = sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)").bind(transaction);
                let status: Result<Option<String>, _> = question.fetch_one(&mut connection).await;
                let verdict = match &status {
                    Ok(Some(status)) if status == "committed" => Some(Verdict::Committed),
                    Ok(Some(status)) if status == "aborted" => Some(Verdict::Aborted),
                    Err(cause) if fault::trouble(cause).is_some() => None,
                    // It has never heard of the transaction, or not for long: another server, perhaps.
                    Ok(None) | Err(_) => Some(Verdict::Unknown),
                    Ok(Some(_)) => None,
                };
                if let Some(verdict) = verdict {
                    self.connection = Some(connection);
                    return verdict;
                }
            }
            tokio::time::sleep(VERDICT_PAUSE).await;
        }
        Verdict::Unknown
    }
}

impl writer::Desk for Desk {
    fn patience(&self) -> Option<Duration> {
        Some(PATIENCE)
    }

    async fn transact(&mut self, operations: &[Operation]) -> Result<Written, Failure> {
        let mut conflicts = 0;
        loop {
            let is_old = self.connection.is_some();
            let cause = match self.attempt(operations).await {
                Ok(written) => return Ok(written),
                Err(Setback::Unreadable(error)) => return Err(Failure::Fault(error)),
                Err(Setback::Postgres(cause)) => cause,
                Err(Setback::Unanswered {
                    transaction,
                    written,
                    cause,
                }) => match self.verdict(&transaction).await {
                    Verdict::Committed => return Ok(written),
                    Verdict::Aborted => cause,
                    Verdict::Unknown => {
                        let trouble = "it is not known whether the server has written it";
                        return Err(Failure::Uncertain(trouble, unavailable(trouble).caused_by(cause)));
                    }
                },
            };
            if fault::is_conflict(&cause) && conflicts < CONFLICT_LIMIT {
                conflicts += 1;
                tokio::time::sleep(CONFLICT_PAUSE.mul_f64(fastrand::f64())).await;
            } else if is_old && fault::breaks_connection(&cause) && !is_timeout(&cause) {
                // The server has been away, perhaps, since the last batch.
                self.connection = None;
            } else {
                return Err(match fault::trouble(&cause) {
                    Some(trouble) => Failure::Outside(trouble, fault::error(cause)),
                    None => Failure::Fault(fault::error(cause)),
                });
            }
        }
    }
}

fn is_timeout(cause: &sqlx::Error) -> bool {
    matches!(cause, sqlx::Error::PoolTimedOut)
}

/// Locks, reads, decides, writes, commits.
async fn transaction(
    connection: &mut PgConnection,
    operations: &[Operation],
    owner: &str,
) -> Result<Written, Setback> {
    let mut transaction = tokio::time::timeout(TRANSACTION_TIMEOUT, connection.begin())
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)??;
    let work = async {
        let facts = exchange::read(&mut transaction, operations).await?;
        let (changes, answers) = batch::plan(operations, facts);
        if changes.is_empty() {
            return Ok((Written::new(answers, false, 0), None));
        }
        let outcome = exchange::write(&mut transaction, changes, owner).await?;
        let written = Written::new(answers, true, outcome.swept);
        Ok::<_, Setback>((written, Some(outcome.transaction)))
    };
    let (written, name) = tokio::time::timeout(TRANSACTION_TIMEOUT, work)
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)??;
    let Some(name) = name else {
        transaction.rollback().await?;
        return Ok(written);
    };
    let commit = tokio::time::timeout(COMMIT_TIMEOUT, transaction.commit())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut));
    match commit {
        Ok(()) => Ok(written),
        Err(cause) if fault::breaks_connection(&cause) => Err(Setback::Unanswered {
            transaction: name,
            written,
            cause,
        }),
        Err(cause) => Err(Setback::Postgres(cause)),
    }
}
