//! Which process carries out which run.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Encode, SqlSafeStr, Type};
use tokio::sync::watch;

use crate::run::error::{Error, Reason};
use crate::run::id::RunId;
use crate::run::ports::{Letter, News, Ownership, Topic};
use crate::run::record::RunRecord;
use crate::store::row;

use super::{Sqlite, decode, fault};

/// How long a write of one of these may take, with waiting for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

const OTHER_OWNERS: &str = "SELECT DISTINCT coalesce(owner, '') AS owner FROM runs \
                            WHERE (active OR queued IS NOT NULL) AND owner IS NOT ?";

const CLAIM: &str = "UPDATE runs SET owner = ?, fence = fence + 1 WHERE number IN \
                     (SELECT number FROM runs WHERE (active OR queued IS NOT NULL) \
                     AND coalesce(owner, '') IN (SELECT value FROM json_each(?)) \
                     ORDER BY create_time, number LIMIT ?) RETURNING id";

const POST: &str =
    "INSERT INTO letters (run, letter) SELECT number, ? FROM runs WHERE id = ? RETURNING number";

const HAS_LETTERS: &str =
    "SELECT l.number FROM letters l JOIN runs r ON r.number = l.run WHERE r.owner = ? LIMIT 1";

const TAKE_LETTERS: &str = "DELETE FROM letters WHERE run IN (SELECT number FROM runs WHERE owner = ?) \
                            RETURNING number, (SELECT id FROM runs WHERE number = run) AS id, letter";

#[async_trait]
impl Ownership for Sqlite {
    async fn renew(&self, _: Duration) -> Result<(), Error> {
        let shown = self.presence.show();
        shown.map_err(|cause| {
            fault::unavailable("the file of this process cannot be written").caused_by(cause)
        })
    }

    async fn claim(&self, limit: u32) -> Result<Vec<RunRecord>, Error> {
        let rows = self.readers.rows(OTHER_OWNERS, with([&*self.owner])?).await?;
        let mut gone = Vec::new();
        for row in &rows {
            let owner: &str = decode::column(row, "owner")?;
            if owner.is_empty() || self.presence.is_gone(owner) {
                gone.push(owner);
            }
        }
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = with([&*self.owner, &*row::json(&gone)?])?;
        add(&mut arguments, i64::from(limit))?;
        let mut claimed = Vec::new();
        for row in self.written(CLAIM, arguments).await? {
            let run = RunId::parse(decode::column(&row, "id")?).map_err(Error::internal)?;
            match self.readers.run(&run).await {
                Ok(record) => claimed.push(record),
                // Deleted in this moment.
                Err(error) if error.reason() == Reason::RunNotFound => {}
                Err(error) => return Err(error),
            }
        }
        claimed.sort_by_key(|record| record.create_time);
        Ok(claimed)
    }

    async fn release(&self) -> Result<(), Error> {
        self.presence.hide();
        Ok(())
    }

    async fn post(&self, run: &RunId, letter: &Letter) -> Result<(), Error> {
        let arguments = with([&*row::json(letter)?, run.as_str()])?;
        match self.written(POST, arguments).await?.is_empty() {
            true => Err(Error::new(Reason::RunNotFound, "no such run")),
            false => Ok(()),
        }
    }

    async fn letters(&self) -> Result<Vec<(RunId, Letter)>, Error> {
        // Nobody is to wait for a writer because somebody looks into an empty box.
        let owner = with([&*self.owner])?;
        if self.readers.rows(HAS_LETTERS, owner.clone()).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut letters = Vec::new();
        for row in self.written(TAKE_LETTERS, owner).await? {
            let number: i64 = decode::column(&row, "number")?;
            let run = RunId::parse(decode::column(&row, "id")?).map_err(Error::internal)?;
            let letter = serde_json::from_str(decode::column(&row, "letter")?).map_err(Error::internal)?;
            letters.push((number, run, letter));
        }
        letters.sort_by_key(|(number, ..)| *number);
        Ok(letters
            .into_iter()
            .map(|(_, run, letter)| (run, letter))
            .collect())
    }
}

impl News for Sqlite {
    /// Never any: processes that share a file look for themselves.
    fn listen(&self, _: &Topic) -> watch::Receiver<()> {
        self.silence.subscribe()
    }
}

impl Sqlite {
    /// Writes by one statement, and gives its rows.
    async fn written(
        &self,
        sql: impl SqlSafeStr,
        arguments: SqliteArguments,
    ) -> Result<Vec<SqliteRow>, Error> {
        let write = async {
            let mut connection = self.connection.lock().await;
            sqlx::query_with(sql, arguments).fetch_all(&mut *connection).await
        };
        match tokio::time::timeout(PATIENCE, write).await {
            Ok(rows) => rows.map_err(fault::error),
            Err(_) => Err(fault::unavailable("it does not answer in time")),
        }
    }
}

fn with<const N: usize>(texts: [&str; N]) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for text in texts {
        add(&mut arguments, text.to_owned())?;
    }
    Ok(arguments)
}

fn add<'v>(
    arguments: &mut SqliteArguments,
    value: impl Encode<'v, sqlx::Sqlite> + Type<sqlx::Sqlite>,
) -> Result<(), Error> {
    arguments.add(value).map_err(Error::internal)
}
