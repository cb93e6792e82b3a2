//! Where batches are written: one connection, one transaction at a time.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Executor};
use tokio::sync::Mutex;

use crate::store::batch::{self, Operation};
use crate::store::writer::{self, Failure, Written};

use super::{Location, connect, exchange, fault};

/// How long a caller waits for a write. Longer than the database waits for another process's lock, so that
/// the caller hears what is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the [module](self).
pub(super) struct Desk {
    connection: Arc<Mutex<SqliteConnection>>,
    location: Location,
    owner: Arc<str>,
}

impl Desk {
    /// Over this connection to this place. The runs that are opened belong to `owner`.
    pub(super) fn new(
        connection: Arc<Mutex<SqliteConnection>>,
        location: &Location,
        owner: Arc<str>,
    ) -> Self {
        Self {
            connection,
            location: location.clone(),
            owner,
        }
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

impl writer::Desk for Desk {
    fn patience(&self) -> Option<Duration> {
        // Memory cannot hang.
        matches!(self.location, Location::File(_)).then_some(PATIENCE)
    }

    /// After a failure nothing of it is left, and the connection can be used again.
    async fn transact(&mut self, operations: &[Operation]) -> Result<Written, Failure> {
        let mut connection = self.connection.lock().await;
        let failure = match transaction(&mut connection, operations, &self.owner).await {
            Ok(written) => return Ok(written),
            Err(failure) => failure,
        };
        // Fails when SQLite has rolled back by itself already.
        connection.execute("ROLLBACK").await.ok();
        Err(match failure {
            exchange::Failure::Unreadable(error) => Failure::Fault(error),
            exchange::Failure::Sqlite(cause) => {
                if fault::breaks_connection(&cause) {
                    self.reconnect(&mut connection).await;
                }
                match fault::trouble(&cause) {
                    Some(trouble) => Failure::Outside(trouble, fault::error(cause)),
                    None => Failure::Fault(fault::error(cause)),
                }
            }
        })
    }
}

/// Reads, decides, writes.
async fn transaction(
    connection: &mut SqliteConnection,
    operations: &[Operation],
    owner: &str,
) -> Result<Written, exchange::Failure> {
    let facts = exchange::read(connection, operations).await?;
    let (changes, answers) = batch::plan(operations, facts);
    let has_written = !changes.is_empty();
    let swept = exchange::write(connection, changes, owner).await?;
    Ok(Written::new(answers, has_written, swept))
}
