//! `assistd openapi`.

use std::io::{self, Write};

use super::error::Error;
use crate::app;

/// Prints the document that a running service has at `/openapi.json`, for tools that want a file.
pub fn run() -> Result<(), Error> {
    let document = app::openapi().map_err(Error::service)?;
    let mut text = serde_json::to_vec_pretty(&document).map_err(Error::service)?;
    text.push(b'\n');
    io::stdout().write_all(&text)?;
    Ok(())
}
