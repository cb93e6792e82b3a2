//! The PostgreSQL store: one connection writes, a few read; other processes do the same beside this one.

use crate::run::error::Error;
use crate::run::ports::Store;

use super::Url;
use super::archive::Archive;
use super::writer::Writer;

use desk::Desk;
use readers::Readers;

mod connect;
mod desk;
mod exchange;
mod fault;
mod lock;
mod readers;
mod sheet;

/// Connects to the database and brings its schema up to date; see [`open`](super::open).
pub(super) async fn open(url: &Url) -> Result<impl Store + use<>, Error> {
    let options = connect::options(url)?;
    let connection = connect::open(&options).await?;
    let readers = Readers::new(options.clone());
    Ok(Archive::new(
        Writer::start(Desk::new(connection, options)),
        readers,
    ))
}
