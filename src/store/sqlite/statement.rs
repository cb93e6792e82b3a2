//! Single statements beside the batches: written on the writer's connection, read past it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::Mutex;

use crate::run::error::Error;
use crate::store::query::{self, Readers as _, Value};

use super::fault;
use super::readers::Readers;

/// How long a write may take, with waiting for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// See the [module](self).
#[derive(Clone)]
pub(super) struct Statements {
    /// The writer's.
    connection: Arc<Mutex<SqliteConnection>>,
    readers: Arc<Readers>,
}

impl Statements {
    /// On the writer's connection and these readers.
    pub(super) fn new(connection: Arc<Mutex<SqliteConnection>>, readers: Arc<Readers>) -> Self {
        Self { connection, readers }
    }

    /// Writes by one statement, and gives its rows.
    pub(super) async fn write(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<SqliteRow>, Error> {
        let arguments = query::arguments::<sqlx::Sqlite>(values)?;
        let write = async {
            let mut connection = self.connection.lock().await;
            sqlx::query_with(sql, arguments).fetch_all(&mut *connection).await
        };
        match tokio::time::timeout(PATIENCE, write).await {
            Ok(rows) => rows.map_err(fault::error),
            Err(_) => Err(fault::unavailable("it does not answer in time")),
        }
    }

    /// Reads by one statement.
    pub(super) async fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<SqliteRow>, Error> {
        self.readers.rows(sql.into_sql_str(), values).await
    }
}
