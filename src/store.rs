//! Durable state; sqlx lives only here.
//!
//! The databases differ in how they read and write; what a batch of writes *means* is decided in
//! [`batch`], without a database, for all of them, and [`database`] is the store on any of them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::run::error::{Error, Reason};
use crate::run::ports::{News, Ownership, Pins, Store};

mod batch;
mod chunk;
mod database;
mod decode;
mod pool;
mod postgres;
mod query;
mod row;
mod schema;
mod sqlite;
mod writer;

/// Where the store keeps what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The place.
    pub location: Location,
}

/// A place for a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file, created together with its directories when it is not there. What was written survives
    /// the death of the process at any moment; a power cut may take the last moments, never the whole.
    File(PathBuf),
    /// Memory, for as long as the handle lives; every store has its own.
    Memory,
    /// A database of a PostgreSQL server, which must be there; its tables are created. Any number of processes
    /// may share it. What was written survives whatever the server survives.
    Postgres(Url),
}

/// The address of a PostgreSQL database, often with a password: `postgres://user:password@host:port/database`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// Wraps it.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// A store that is open: what serves each port.
#[derive(Clone)]
pub struct Opened {
    /// What outlives the process.
    pub store: Arc<dyn Store>,
    /// Which process carries out which run.
    pub ownership: Arc<dyn Ownership>,
    /// What other processes have written.
    pub news: Arc<dyn News>,
    /// Which tools of MCP servers are approved.
    pub pins: Arc<dyn Pins>,
}

impl Opened {
    fn new<O: Ownership + News + 'static>(
        store: impl Store + 'static,
        owners: O,
        pins: impl Pins + 'static,
    ) -> Self {
        let owners = Arc::new(owners);
        Self {
            store: Arc::new(store),
            ownership: Arc::<O>::clone(&owners),
            news: owners,
            pins: Arc::new(pins),
        }
    }
}

/// Opens the store and brings its schema up to date. Several processes may do so at once on the same place.
///
/// Dropping the last handle closes it, after the writes that are under way.
///
/// # Errors
/// `STORE_UNAVAILABLE`, with the place and what is wrong with it: it cannot be reached, created, read or written,
/// or a newer version of the service has written it.
pub async fn open(config: &Config) -> Result<Opened, Error> {
    let file = match &config.location {
        Location::Postgres(url) => return postgres::open(url).await,
        Location::File(path) => sqlite::Location::File(path.clone()),
        Location::Memory => sqlite::Location::Memory,
    };
    sqlite::open(&file).await
}

/// `STORE_UNAVAILABLE`, with what is wrong in words that callers may see.
fn unavailable(trouble: &str) -> Error {
    Error::new(
        Reason::StoreUnavailable,
        format!("the store cannot be used: {trouble}"),
    )
}

/// A name for this process that no other ever had.
fn process_name() -> Arc<str> {
    format!("proc_{}", Uuid::now_v7().simple()).into()
}
