//! The SQLite store: one connection writes, a few read.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::run::error::Error;
use crate::run::ports::Store;

use super::archive::Archive;
use super::writer::Writer;

use desk::Desk;
use readers::Readers;

mod connect;
mod desk;
mod exchange;
mod fault;
mod readers;
mod script;
#[cfg(test)]
mod tests;

/// A place for a database.
#[derive(Clone, Debug)]
pub(super) enum Location {
    /// A file, created together with its directories when it is not there.
    File(std::path::PathBuf),
    /// Memory, for as long as the store lives.
    Memory,
}

/// Opens or creates the database; see [`open`](super::open).
pub(super) async fn open(location: &Location) -> Result<impl Store + use<>, Error> {
    let connection = Arc::new(Mutex::new(connect::open(location).await?));
    Ok(over(connection, location))
}

fn over(connection: Arc<Mutex<sqlx::SqliteConnection>>, location: &Location) -> Archive<Readers> {
    let readers = match location {
        Location::File(path) => Readers::of_file(path),
        Location::Memory => Readers::Shared(Arc::clone(&connection)),
    };
    Archive::new(Writer::start(Desk::new(connection, location)), readers)
}
