//! Durable state; sqlx lives only here.
//!
//! The databases differ in how they read and write; what a batch of writes *means* is decided in
//! [`batch`], without a database, for all of them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::run::error::Error;
use crate::run::ports::Store;

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

/// Opens the store and brings its schema up to date. Several processes may do so at once on the same place.
///
/// Dropping the last handle closes it, after the writes that are under way.
///
/// # Errors
/// `STORE_UNAVAILABLE`, with the place and what is wrong with it: it cannot be created, read or written, or a
/// newer version of the service has written it.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(sqlite::Sqlite::open(&config.location).await?))
}
