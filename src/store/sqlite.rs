//! The SQLite store: one connection writes, a few read.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::run::error::Error;

use super::Opened;
use super::database::Database;
use super::writer::Writer;

use desk::Desk;
use ownership::Owners;
use presence::Presence;
use readers::Readers;
use statement::Statements;

mod connect;
mod desk;
mod exchange;
mod fault;
mod ownership;
mod pins;
mod presence;
mod readers;
mod restore;
mod script;
mod statement;
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
pub(super) async fn open(location: &Location) -> Result<Opened, Error> {
    let connection = Arc::new(Mutex::new(connect::open(location).await?));
    let (database, owners, pins) = over(connection, location);
    Ok(Opened::new(database, owners, pins))
}

fn over(
    connection: Arc<Mutex<sqlx::SqliteConnection>>,
    location: &Location,
) -> (Database<Arc<Readers>>, Owners, Statements) {
    let owner = super::process_name();
    let readers = match location {
        Location::File(path) => Readers::of_file(path),
        Location::Memory => Readers::Shared(Arc::clone(&connection)),
    };
    let readers = Arc::new(readers);
    let desk = Desk::new(Arc::clone(&connection), location, Arc::clone(&owner));
    let database = Database::new(Writer::start(desk), Arc::clone(&readers));
    let statements = Statements::new(connection, Arc::clone(&readers));
    let presence = Presence::new(location, &owner);
    let owners = Owners::new(statements.clone(), readers, presence, owner);
    (database, owners, statements)
}
