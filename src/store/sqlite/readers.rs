//! Where reads go: past the writer, to connections of their own.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, SqlSafeStr};
use tokio::sync::{Mutex, Semaphore};

use crate::run::error::Error;

use super::{connect, fault};

/// Reads at the same time.
const CONNECTION_LIMIT: usize = 4;

/// How long a read may take, with waiting for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// See the [module](self).
pub(super) enum Readers {
    /// Of a file: a few connections, opened when they are needed and kept.
    Pool(Box<Pool>),
    /// Of memory, which has but one connection: the writer's.
    Shared(Arc<Mutex<SqliteConnection>>),
}

/// Connections to a file.
pub(super) struct Pool {
    options: SqliteConnectOptions,
    permits: Semaphore,
    idle: std::sync::Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    /// For the file at this path.
    pub(super) fn of_file(path: &Path) -> Self {
        Self::Pool(Box::new(Pool {
            options: connect::reading(path),
            permits: Semaphore::new(CONNECTION_LIMIT),
            idle: std::sync::Mutex::default(),
        }))
    }

    /// Every row of a query. The text is a literal, or made of literals; values are arguments.
    pub(super) async fn rows(
        &self,
        sql: impl SqlSafeStr,
        arguments: SqliteArguments,
    ) -> Result<Vec<SqliteRow>, Error> {
        let query = sqlx::query_with(sql, arguments);
        match self {
            Self::Shared(connection) => query.fetch_all(&mut *connection.lock().await).await,
            Self::Pool(pool) => match tokio::time::timeout(PATIENCE, pool.rows(query)).await {
                Ok(rows) => rows,
                Err(_) => return Err(fault::unavailable("it does not answer in time")),
            },
        }
        .map_err(fault::error)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

impl Pool {
    async fn rows(&self, query: Query<'_>) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        let rows = query.fetch_all(&mut connection).await;
        // One that may be broken is not kept, and neither is that of a caller who went away.
        if !rows.as_ref().is_err_and(fault::breaks_connection) {
            self.idle().push(connection);
        }
        rows
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
