//! What is imported: a file of our own lines, read again and again, or what OpenAI's API gave, gathered in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::run::ports::Restore;

use super::fault::{Failure, Fault};
use super::line::HEADER;
use super::note::Notes;
use super::openai;
use super::reader::Reader;

/// How much of a file tells its format, in bytes.
const GLANCE_BYTES: u64 = 256;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What `export` writes.
    Lines,
    /// What OpenAI's Assistants API gave: lists, arrays or objects, one or many.
    OpenAi,
}

/// A file to import.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    notes: Notes,
}

#[derive(Debug)]
enum Kind {
    /// Read from the file, as often as it takes.
    File(PathBuf),
    /// Standard input, which can be read only once.
    Text(Vec<u8>),
    /// Read and understood.
    Gathered(Vec<Restore>),
}

/// The things in a file, in its order.
pub type Items<'a> = Box<dyn Iterator<Item = Result<Restore, Fault>> + 'a>;

impl Source {
    /// Opens a file; without a format, whatever it looks like.
    ///
    /// # Errors
    /// It cannot be read, or what OpenAI gave has faults.
    pub fn of_file(path: &Path, format: Option<Format>) -> Result<Self, Failure> {
        let mut beginning = Vec::new();
        File::open(path)?.take(GLANCE_BYTES).read_to_end(&mut beginning)?;
        match format.unwrap_or_else(|| recognise(&beginning)) {
            Format::Lines => Ok(Self::of(Kind::File(path.to_owned()))),
            Format::OpenAi => Self::gather(std::fs::read(path)?),
        }
    }

    /// Takes what was read from elsewhere.
    ///
    /// # Errors
    /// What OpenAI gave has faults.
    pub fn of_text(text: Vec<u8>, format: Option<Format>) -> Result<Self, Failure> {
        match format.unwrap_or_else(|| recognise(&text)) {
            Format::Lines => Ok(Self::of(Kind::Text(text))),
            Format::OpenAi => Self::gather(text),
        }
    }

    fn gather(text: Vec<u8>) -> Result<Self, Failure> {
        let text = String::from_utf8(text)
            .map_err(|_| Failure::Faults(vec![Fault::of("", "the file is not UTF-8")]))?;
        let (items, notes) = openai::read(&text).map_err(Failure::Faults)?;
        Ok(Self {
            kind: Kind::Gathered(items),
            notes,
        })
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            notes: Notes::default(),
        }
    }

    /// What is in it, from the beginning.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn items(&self) -> io::Result<Items<'_>> {
        let lines: Box<dyn BufRead + '_> = match &self.kind {
            Kind::File(path) => Box::new(BufReader::new(File::open(path)?)),
            Kind::Text(text) => Box::new(Cursor::new(text)),
            Kind::Gathered(items) => return Ok(Box::new(items.iter().cloned().map(Ok))),
        };
        Ok(Box::new(Reader::new(lines)))
    }

    /// What could not be carried over as it was.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }
}

/// Our own files say what they are in their first line.
fn recognise(beginning: &[u8]) -> Format {
    let beginning = &beginning[..beginning.len().min(256)];
    let text = String::from_utf8_lossy(beginning);
    let first = text.trim_start().lines().next().unwrap_or_default();
    if first.contains("\"kind\"") && first.contains(HEADER) {
        Format::Lines
    } else {
        Format::OpenAi
    }
}
