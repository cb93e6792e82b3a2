//! The PostgreSQL store: one connection writes, a few read; other processes do the same beside this one.

use std::sync::Arc;

use crate::run::error::Error;

use super::database::Database;
use super::writer::Writer;
use super::{Opened, Url};

use bell::Bell;
use desk::Desk;
use ownership::Owners;
use pins::Pins;
use readers::Readers;

mod bell;
mod connect;
mod desk;
mod exchange;
mod fault;
mod lock;
mod ownership;
mod pins;
mod readers;
mod restore;
mod sheet;

/// Connects to the database and brings its schema up to date; see [`open`](super::open).
pub(super) async fn open(url: &Url) -> Result<Opened, Error> {
    let options = connect::options(url)?;
    let connection = connect::open(&options).await?;
    let owner = super::process_name();
    let readers = Arc::new(Readers::new(options.clone()));
    let bell = Bell::hung(options.clone());
    let desk = Desk::new(connection, options, Arc::clone(&owner));
    Ok(Opened::new(
        Database::new(Writer::start(desk), Arc::clone(&readers)),
        Owners::new(Arc::clone(&readers), bell, owner),
        Pins::new(readers),
    ))
}
