//! Which process carries out which run, by leases that the server's clock measures.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlSafeStr;
use sqlx::postgres::PgRow;
use tokio::sync::watch;

use crate::run::error::{Error, Reason};
use crate::run::id::RunId;
use crate::run::ports::{Letter, News, Ownership, Topic};
use crate::run::record::RunRecord;
use crate::store::decode;
use crate::store::query::{Queries, Readers as _, Value, named};
use crate::store::row;

use super::bell::Bell;
use super::readers::Readers;

/// Forgets those who have long been gone, too.
const RENEW: &str = "WITH forgotten AS (DELETE FROM processes WHERE lease_end < now() - interval '1 day') \
     INSERT INTO processes (id, lease_end) VALUES ($1, now() + $2 * interval '1 microsecond') \
     ON CONFLICT (id) DO UPDATE SET lease_end = excluded.lease_end";

/// Nobody's name is empty.
const LEAVE: &str = "WITH abandoned AS (UPDATE runs SET owner = '' WHERE owner = $1 AND id = $2 RETURNING number) \
     SELECT number, pg_notify('assistd', 'left') FROM abandoned";

const RELEASE: &str = "WITH gone AS (DELETE FROM processes WHERE id = $1 RETURNING id) \
     SELECT id, pg_notify('assistd', 'left') FROM gone";

/// Locks the threads as a batch does, so that no batch of the old owner is decided before and written after. What
/// a batch has locked is left for the next time.
const CLAIM: &str = "WITH orphans AS MATERIALIZED (SELECT r.number FROM runs r JOIN threads t ON t.number = r.thread \
         WHERE (r.active OR r.queued IS NOT NULL) AND r.owner <> $1 \
         AND NOT EXISTS (SELECT FROM processes p WHERE p.id = r.owner AND p.lease_end > now()) \
         ORDER BY r.create_time, r.number LIMIT $2 FOR UPDATE OF t, r SKIP LOCKED) \
     UPDATE runs SET owner = $1, fence = fence + 1 FROM orphans WHERE runs.number = orphans.number RETURNING id";

/// The owner hears of it when it is there.
const POST: &str = "WITH posted AS (INSERT INTO letters (run, letter) SELECT number, $2 FROM runs WHERE id = $1 \
         RETURNING number) \
     SELECT number, pg_notify('assistd', 'letters') FROM posted";

const TAKE_LETTERS: &str = "DELETE FROM letters USING runs WHERE runs.number = letters.run AND runs.owner = $1 \
                            RETURNING letters.number, runs.id, letters.letter";

/// See the [module](self).
pub(super) struct Owners {
    queries: Queries<Arc<Readers>>,
    bell: Bell,
    /// The name of this process.
    owner: Arc<str>,
}

impl Owners {
    /// Over these connections, for the process of this name.
    pub(super) fn new(readers: Arc<Readers>, bell: Bell, owner: Arc<str>) -> Self {
        Self {
            queries: Queries { readers },
            bell,
            owner,
        }
    }

    /// One statement, a transaction of its own.
    async fn statement(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<PgRow>, Error> {
        self.queries.readers.rows(sql.into_sql_str(), values).await
    }
}

#[async_trait]
impl Ownership for Owners {
    async fn renew(&self, lease: Duration) -> Result<(), Error> {
        let mut values = named([&*self.owner]);
        let micros = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        values.push(Value::Number(micros));
        self.statement(RENEW, values).await.map(drop)
    }

    async fn claim(&self, limit: u32) -> Result<Vec<RunRecord>, Error> {
        let mut values = named([&*self.owner]);
        values.push(Value::Number(limit.into()));
        let claimed = self.statement(CLAIM, values).await?;
        self.queries.claimed(&claimed).await
    }

    async fn leave(&self, run: &RunId) -> Result<(), Error> {
        let values = named([&*self.owner, run.as_str()]);
        self.statement(LEAVE, values).await.map(drop)
    }

    async fn release(&self) -> Result<(), Error> {
        self.statement(RELEASE, named([&*self.owner])).await.map(drop)
    }

    async fn post(&self, run: &RunId, letter: &Letter) -> Result<(), Error> {
        let values = named([run.as_str(), &*row::json(letter)?]);
        match self.statement(POST, values).await?.is_empty() {
            true => Err(Error::new(Reason::RunNotFound, "no such run")),
            false => Ok(()),
        }
    }

    async fn letters(&self) -> Result<Vec<(RunId, Letter)>, Error> {
        decode::letters(&self.statement(TAKE_LETTERS, named([&*self.owner])).await?)
    }
}

impl News for Owners {
    fn listen(&self, topic: &Topic) -> watch::Receiver<()> {
        self.bell.listen(topic)
    }
}
