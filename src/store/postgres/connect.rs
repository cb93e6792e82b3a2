//! Connections and the schema.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::run::error::Error;
use crate::store::Url;
use crate::store::schema::{self, Failure, Migration};

/// How long a connection may take to come about.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the start waits for the schema, which another process may be at.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The server's own bounds, for when this process cannot say any more that it has lost interest.
const SERVER_TIMEOUTS: [(&str, &str); 3] = [
    ("statement_timeout", "15s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
];

/// What the processes that start hold one after the other.
const SCHEMA_LOCK: &str = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; \
                           SELECT pg_advisory_xact_lock(hashtextextended('assistd.schema', 0))";

/// Every schema change there ever was, oldest first.
const MIGRATIONS: &[Migration] = &[
    (
        1,
        "threads, runs, events",
        include_str!("../../../migrations/postgres/0001_threads_runs_events.sql"),
    ),
    (
        2,
        "usage of threads",
        include_str!("../../../migrations/postgres/0002_usage_of_threads.sql"),
    ),
    (
        3,
        "system messages",
        include_str!("../../../migrations/postgres/0003_system_messages.sql"),
    ),
    (
        4,
        "usage of callers",
        include_str!("../../../migrations/postgres/0004_usage_of_callers.sql"),
    ),
    (
        5,
        "tool pins",
        include_str!("../../../migrations/postgres/0005_tool_pins.sql"),
    ),
];

/// What an address may say in its query; `options[…]` besides.
const QUERY_KEYS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// How to connect.
///
/// # Errors
/// `STORE_UNAVAILABLE`, without the address, when it cannot be read.
pub(super) fn options(url: &Url) -> Result<PgConnectOptions, Error> {
    // What exactly is wrong is not told, here or by sqlx to the log: it may be a part with a secret.
    let wrong = |what: &str| schema::cannot_open("at the address that is configured", what);
    let query = url.reveal().split_once('?').map_or("", |(_, query)| query);
    let mut keys = query.split('&').filter_map(|pair| pair.split('=').next());
    let is_known = |key: &str| key.is_empty() || QUERY_KEYS.contains(&key) || key.starts_with("options[");
    if !keys.all(is_known) {
        return Err(wrong("its query has a key that is not known"));
    }
    let options: PgConnectOptions = url
        .reveal()
        .parse()
        .map_err(|_| wrong("it is not a postgres:// URL"))?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("assistd"),
    };
    // What the address says, counts.
    let said = options.get_options().unwrap_or_default().to_owned();
    let unsaid = SERVER_TIMEOUTS
        .into_iter()
        .filter(|(name, _)| !said.contains(name));
    Ok(options
        .options(unsaid)
        .statement_cache_capacity(128)
        .disable_statement_logging())
}

/// The place, without whoever connects to it.
fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{} at {}", database, socket.display()),
        None => format!("{} at {}:{}", database, options.get_host(), options.get_port()),
    }
}

/// Connects and brings the schema up to date.
pub(super) async fn open(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    let start = async {
        let mut connection = connect(options).await?;
        migrate(&mut connection).await?;
        Ok(connection)
    };
    let late = || Failure::Unfit("its schema is held by another process".to_owned());
    tokio::time::timeout(START_PATIENCE, start)
        .await
        .unwrap_or_else(|_| Err(late()))
        .map_err(|failure| failure.at(&place(options)))
}

/// Connects, in time.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)?
}

/// Applies what has not been applied, all or nothing, while no other process does.
async fn migrate(connection: &mut PgConnection) -> Result<(), Failure> {
    let mut transaction = connection.begin().await?;
    transaction.execute(SCHEMA_LOCK).await?;
    schema::migrate(&mut *transaction, MIGRATIONS).await?;
    Ok(transaction.commit().await?)
}
