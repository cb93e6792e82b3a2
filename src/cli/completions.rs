//! `assistd completions`.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use super::error::Error;

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &CompletionsArguments) -> Result<(), Error> {
    // Through a buffer: the generator panics when the reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::grammar(), "assistd", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}
