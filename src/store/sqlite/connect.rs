//! Connections and the schema.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

use crate::run::error::Error;
use crate::store::schema::{self, Failure, Migration};

use super::{Location, fault};

/// How long a statement waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the start waits for other processes that start.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// Between two attempts to start.
const START_PAUSE: Duration = Duration::from_millis(25);

/// Every schema change there ever was, oldest first.
pub(super) const MIGRATIONS: &[Migration] = &[
    (
        1,
        "threads, messages, runs",
        include_str!("../../../migrations/sqlite/0001_threads_messages_runs.sql"),
    ),
    (
        2,
        "event log",
        include_str!("../../../migrations/sqlite/0002_event_log.sql"),
    ),
    (
        3,
        "owners",
        include_str!("../../../migrations/sqlite/0003_owners.sql"),
    ),
    (
        4,
        "usage of threads",
        include_str!("../../../migrations/sqlite/0004_usage_of_threads.sql"),
    ),
    (
        5,
        "system messages",
        include_str!("../../../migrations/sqlite/0005_system_messages.sql"),
    ),
    (
        6,
        "usage of callers",
        include_str!("../../../migrations/sqlite/0006_usage_of_callers.sql"),
    ),
    (
        7,
        "tool pins",
        include_str!("../../../migrations/sqlite/0007_tool_pins.sql"),
    ),
];

/// How to connect for writing.
pub(super) fn writing(location: &Location) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .statement_cache_capacity(256)
        .row_buffer_size(512)
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    match location {
        // In KiB when negative: pages that writes touch, most of them indexes.
        Location::File(path) => options
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", "-16384"),
        Location::Memory => options,
    }
}

/// How to connect for reading.
pub(super) fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(512)
        .pragma("query_only", "on")
        .disable_statement_logging()
}

/// Creates what is missing, connects and brings the schema up to date.
pub(super) async fn open(location: &Location) -> Result<SqliteConnection, Error> {
    let path = match location {
        Location::File(path) => Some(path.as_path()),
        Location::Memory => None,
    };
    let place = path.map_or_else(|| "in memory".into(), |path| path.display().to_string());
    if let Some(directory) = path.and_then(Path::parent) {
        tokio::fs::create_dir_all(directory)
            .await
            .map_err(|cause| schema::cannot_open(&place, cause))?;
    }
    let options = writing(location).create_if_missing(true);
    // SQLite does not always wait for a lock while two processes create one file, so we do.
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match connect(&options).await {
            Ok(connection) => return Ok(connection),
            Err(Failure::Database(cause)) if fault::is_busy(&cause) && Instant::now() < deadline => {
                tokio::time::sleep(START_PAUSE).await;
            }
            Err(failure) => return Err(failure.at(&place)),
        }
    }
}

async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, Failure> {
    let mut connection = options.connect().await?;
    migrate(&mut connection, MIGRATIONS).await?;
    Ok(connection)
}

/// Applies what has not been applied, all or nothing, while no other process can write.
pub(super) async fn migrate(connection: &mut SqliteConnection, known: &[Migration]) -> Result<(), Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    schema::migrate(&mut *transaction, known).await?;
    Ok(transaction.commit().await?)
}
