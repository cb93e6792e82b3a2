//! `assistd import`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::app;
use crate::archive::fault::Failure;
use crate::archive::import::{Imported, OnConflict, Options, import};
use crate::archive::source::{Format, Source};
use crate::archive::summary;
use crate::config::{Settings, StoreSection};

use super::error::Error;
use super::export::{Progress, failed, lasting};

/// What `import` takes.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The file; `-` is standard input, which is held in memory
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// What the file is; without it, what it looks like
    #[arg(long, value_name = "FORMAT")]
    from: Option<From>,

    /// What to do when something else of the same name is in the store
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    on_conflict: Conflict,

    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// What `assistd export` writes
    Assistd,
    /// What OpenAI's Assistants API returned: objects, arrays or lists
    Openai,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Conflict {
    /// Import nothing
    Fail,
    /// Leave what is in the store, and import the rest
    Skip,
}

/// Imports the file, and says what came of it.
pub async fn run(settings: &Settings, arguments: &ImportArguments) -> Result<(), Error> {
    let format = arguments.from.map(|from| match from {
        From::Assistd => Format::Lines,
        From::Openai => Format::OpenAi,
    });
    let source = if arguments.file == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        Source::of_text(text, format)
    } else {
        Source::of_file(&arguments.file, format)
    };
    let source = source.map_err(|failure| match failure {
        Failure::Io(error) => Error::Usage(format!("cannot read {}: {error}", arguments.file.display())),
        failure => failed(failure),
    })?;
    let section = lasting(settings)?;
    let options = Options {
        on_conflict: match arguments.on_conflict {
            Conflict::Fail => OnConflict::Fail,
            Conflict::Skip => OnConflict::Skip,
        },
        dry_run: arguments.dry_run,
    };
    let mut progress = Progress::new("imported");
    if !app::store_exists(&section) {
        // What is refused, or only tried, leaves no store behind.
        let empty = app::open_store(&StoreSection::Memory, true)
            .await
            .map_err(Error::service)?;
        let tried = Options {
            dry_run: true,
            ..options
        };
        let imported = import(&*empty, &source, tried, &mut |_| {})
            .await
            .map_err(failed)?;
        if arguments.dry_run {
            return told(&imported, true);
        }
    }
    let store = app::open_store(&section, true).await.map_err(Error::service)?;
    let imported = import(&*store, &source, options, &mut |counts| progress.tell(counts))
        .await
        .map_err(failed)?;
    told(&imported, arguments.dry_run)
}

fn told(imported: &Imported, dry_run: bool) -> Result<(), Error> {
    let text = summary::told(imported, dry_run);
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
