//! `assistd export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use crate::app;
use crate::archive::export::{Exported, export, thread_name};
use crate::archive::fault::Failure;
use crate::archive::{Counts, summary};
use crate::config::{Settings, StoreSection};

use super::error::Error;

/// How often somebody at a terminal is told how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What `export` takes.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Only this thread, by its id or name; may be given again. Without it, all threads and assistants
    #[arg(long = "thread", value_name = "NAME")]
    threads: Vec<String>,

    /// Write to this file, which is replaced when all is well; without it, to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the lines, and at the end says on standard error how many of what there were.
pub async fn run(settings: &Settings, arguments: &ExportArguments) -> Result<(), Error> {
    let threads = arguments.threads.iter().map(|name| {
        thread_name(name).ok_or_else(|| Error::Usage(format!("{name:?} is not the name of a thread")))
    });
    let threads = threads.collect::<Result<Vec<_>, _>>()?;
    let store = app::open_store(&lasting(settings)?, false)
        .await
        .map_err(Error::service)?;
    let mut output = Output::open(arguments.output.as_deref())?;
    let mut progress = Progress::new("exported");
    let exported = export(
        &*store,
        &threads,
        &mut |line| output.writer.write_all(line.as_bytes()),
        &mut |counts| progress.tell(counts),
    )
    .await
    .map_err(failed);
    let exported = match exported {
        Ok(exported) => exported,
        Err(error) => {
            output.discard();
            return Err(error);
        }
    };
    output.close()?;
    let Exported { counts, unfinished } = exported;
    eprintln!("exported {}", summary::counted(&counts));
    if unfinished > 0 {
        eprintln!("left out, because they are not over: {unfinished} runs, and what they have brought");
    }
    Ok(())
}

/// Where the store is, if it outlives the process.
pub(super) fn lasting(settings: &Settings) -> Result<StoreSection, Error> {
    match StoreSection::from_settings(settings)? {
        StoreSection::Memory => Err(Error::Usage(
            "the store is in memory, and ends with its process".to_owned(),
        )),
        section => Ok(section),
    }
}

/// The command's error for a failure.
pub(super) fn failed(failure: Failure) -> Error {
    match failure {
        Failure::Io(error) => Error::Io(error),
        failure => Error::service(failure),
    }
}

/// Where the lines go. A file is written beside its place first, so that a file that was cut off never looks like
/// an export.
struct Output {
    writer: BufWriter<Box<dyn Write>>,
    file: Option<(PathBuf, PathBuf)>,
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Self, Error> {
        let (inner, file): (Box<dyn Write>, _) = match path {
            None => (Box::new(io::stdout()), None),
            Some(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".part");
                let part = PathBuf::from(name);
                // Conversations are for their owner's eyes.
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600);
                let file = options
                    .open(&part)
                    .map_err(|error| Error::Usage(format!("cannot write {}: {error}", part.display())))?;
                (Box::new(file), Some((part, path.to_owned())))
            }
        };
        Ok(Self {
            writer: BufWriter::new(inner),
            file,
        })
    }

    /// Takes back what was begun.
    fn discard(self) {
        if let Some((part, _)) = &self.file {
            // Whatever is wrong there, why the export failed says more.
            let _ = std::fs::remove_file(part);
        }
    }

    fn close(mut self) -> io::Result<()> {
        self.writer.flush()?;
        if let Some((part, path)) = &self.file {
            File::open(part)?.sync_all()?;
            std::fs::rename(part, path)?;
        }
        Ok(())
    }
}

/// Tells somebody at a terminal how far it is.
pub(super) struct Progress {
    verb: &'static str,
    is_watched: bool,
    last: Instant,
}

impl Progress {
    pub(super) fn new(verb: &'static str) -> Self {
        Self {
            verb,
            is_watched: io::stderr().is_terminal(),
            last: Instant::now(),
        }
    }

    pub(super) fn tell(&mut self, counts: &Counts) {
        if self.is_watched && self.last.elapsed() >= PROGRESS_INTERVAL {
            self.last = Instant::now();
            eprintln!("{} so far: {}", self.verb, summary::counted(counts));
        }
    }
}
