//! Where reads go: past the writer, to connections of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlStr;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use tokio::sync::Mutex;

use crate::run::error::Error;
use crate::store::pool::Pool;
use crate::store::query::{self, Section, Value};

use super::{connect, fault};

/// Reads at the same time.
const CONNECTION_LIMIT: usize = 4;

/// How long a read may take, with waiting for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// See the [module](self).
pub(super) enum Readers {
    /// Of a file: a few connections, opened when they are needed and kept.
    Pool(Box<Pool<SqliteConnection>>),
    /// Of memory, which has but one connection: the writer's.
    Shared(Arc<Mutex<SqliteConnection>>),
}

impl Readers {
    /// For the file at this path.
    pub(super) fn of_file(path: &Path) -> Self {
        let pool = Pool::new(connect::reading(path), CONNECTION_LIMIT, PATIENCE);
        Self::Pool(Box::new(pool))
    }
}

impl query::Readers for Readers {
    const KIND: &'static str = "sqlite";

    const PENDING: Section = Section {
        select: "SELECT t.id AS thread_id, r.id, j.value AS action, \
                 json_extract(j.value, '$.create_time.secs_since_epoch') * 1000000 \
                 + json_extract(j.value, '$.create_time.nanos_since_epoch') / 1000 AS cursor_0, \
                 r.number * 65536 + j.key AS cursor_1 \
                 FROM runs r JOIN threads t ON t.number = r.thread JOIN json_each(r.pending) j \
                 WHERE r.pending IS NOT NULL",
        key: ("cursor_0", "cursor_1"),
    };

    type Row = SqliteRow;

    async fn rows(&self, sql: SqlStr, values: Vec<Value>) -> Result<Vec<SqliteRow>, Error> {
        let query = sqlx::query_with(sql, query::arguments::<sqlx::Sqlite>(values)?);
        match self {
            Self::Shared(connection) => query.fetch_all(&mut *connection.lock().await).await,
            Self::Pool(pool) => match tokio::time::timeout(PATIENCE, read(pool, query)).await {
                Ok(rows) => rows,
                Err(_) => return Err(fault::unavailable("it does not answer in time")),
            },
        }
        .map_err(fault::error)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

async fn read(pool: &Pool<SqliteConnection>, query: Query<'_>) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut taken = pool.take().await?;
    let rows = query.fetch_all(&mut taken.connection).await;
    if !rows.as_ref().is_err_and(fault::breaks_connection) {
        taken.keep();
    }
    rows
}
