//! Which processes are there: each holds the lock of a file of its own beside the database for as long as it lives.
//!
//! The system lets go of a dead process's locks at once, so that what it left can be taken over without waiting for
//! a lease to end, and a living one has nothing to write while there is nothing to do.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Location;

/// What the directory with the files is called: the database's name and this.
const SUFFIX: &str = "-owners";

/// Files that are made until one is there and locked: another process may take a new one for a dead one's.
const ATTEMPT_LIMIT: usize = 16;

/// That this process is there.
pub(super) struct Presence {
    /// None for a store in memory, which nobody shares.
    directory: Option<PathBuf>,
    name: String,
    held: Mutex<Option<File>>,
}

impl Presence {
    /// Of a process of this name, which is not there yet.
    pub(super) fn new(location: &Location, name: &str) -> Self {
        Self {
            directory: match location {
                Location::File(path) => Some(beside(path)),
                Location::Memory => None,
            },
            name: name.to_owned(),
            held: Mutex::new(None),
        }
    }

    /// Says that this process is there.
    pub(super) fn show(&self) -> io::Result<()> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            fs::create_dir_all(directory)?;
            *held = Some(locked(&directory.join(&self.name))?);
        }
        Ok(())
    }

    /// Says that this process is gone.
    pub(super) fn hide(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(_), Some(directory)) = (held, &self.directory) {
            remove(&directory.join(&self.name));
        }
    }

    /// Whether the process of this name is not there any more, or never was.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        let Some(directory) = &self.directory else {
            return true;
        };
        let path = directory.join(name);
        let Ok(file) = OpenOptions::new().write(true).open(&path) else {
            return true;
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => false,
            // Where there are no locks, there is but one process.
            Ok(()) | Err(TryLockError::Error(_)) => {
                remove(&path);
                true
            }
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(SUFFIX);
    path.with_file_name(name)
}

fn locked(path: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPT_LIMIT {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        let is_mine = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if is_mine && path.exists() {
            return Ok(file);
        }
    }
    Err(io::Error::new(
        ErrorKind::WouldBlock,
        "another process holds the lock",
    ))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(%error, "the file of a process that is gone cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_from_when_it_says_so_until_it_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let location = Location::File(place.path().join("x.db"));
        let [one, other] = ["one", "other"].map(|name| Presence::new(&location, name));
        assert!(other.is_gone("one"));
        one.show().unwrap();
        one.show().unwrap();
        assert!(!other.is_gone("one"));
        one.hide();
        assert!(other.is_gone("one"));
        one.show().unwrap();
        // As when the process dies: nobody says anything.
        drop(one);
        assert!(other.is_gone("one"));
        assert_eq!(fs::read_dir(place.path().join("x.db-owners")).unwrap().count(), 0);
    }
}
