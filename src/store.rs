//! Durable state; sqlx lives only here.
//!
//! The databases differ in how they read and write; what a batch of writes *means* is decided in
//! [`batch`], without a database, for all of them.

use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::run::error::Error;
use crate::run::ports::{News, Ownership, Store};

mod batch;
mod chunk;
mod row;
mod sqlite;

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
}

/// A store that is open: one thing, for each port that it serves.
#[derive(Clone)]
pub struct Opened {
    /// What outlives the process.
    pub store: Arc<dyn Store>,
    /// Which process carries out which run.
    pub ownership: Arc<dyn Ownership>,
    /// What other processes have written.
    pub news: Arc<dyn News>,
}

impl Opened {
    fn new<S: Store + Ownership + News + 'static>(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            ownership: Arc::<S>::clone(&store),
            news: Arc::<S>::clone(&store),
            store,
        }
    }
}

/// Opens the store and brings its schema up to date. Several processes may do so at once on the same place.
///
/// Dropping the last handle closes it, after the writes that are under way.
///
/// # Errors
/// `STORE_UNAVAILABLE`, with the place and what is wrong with it: it cannot be created, read or written, or a
/// newer version of the service has written it.
pub async fn open(config: &Config) -> Result<Opened, Error> {
    Ok(Opened::new(sqlite::Sqlite::open(&config.location).await?))
}

/// A name for this process that no other ever had.
fn process_name() -> Arc<str> {
    format!("proc_{}", Uuid::now_v7().simple()).into()
}
