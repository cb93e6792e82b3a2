//! From a file to a store.

use std::collections::HashSet;

use crate::run::error::{Error, Reason};
use crate::run::ports::{Restore, Restored, Store};

use super::Counts;
use super::export;
use super::fault::{Failure, Fault};
use super::note::Notes;
use super::source::Source;

/// Faults and conflicts that are told at once.
const TOLD_LIMIT: usize = 20;

/// What to do about a name that stands for something else in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Import nothing.
    Fail,
    /// Leave what is there, and import the rest.
    Skip,
}

/// How to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// See [`OnConflict`].
    pub on_conflict: OnConflict,
    /// Only find out what would happen.
    pub dry_run: bool,
}

/// What came of an import, or would come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What was added.
    pub added: Counts,
    /// What was there already, as it is in the file.
    pub same: Counts,
    /// What was not imported, because something else of the same name is there.
    pub skipped: Counts,
    /// What could not be carried over as it was.
    pub notes: Notes,
}

/// How something stands to the store.
enum Standing {
    /// Nothing of that name is there.
    New,
    /// It is there.
    Same,
    /// Something else of that name is there.
    Other,
}

/// Imports a file. All of it is read, checked and compared before anything is written; then each thing is
/// written in one step, a thread with all that belongs to it. An import that was cut off is completed by
/// another one of the same file.
///
/// # Errors
/// The file has faults, the store has something else of the same name, or one of them cannot be read or written.
pub async fn import(
    store: &dyn Store,
    source: &Source,
    options: Options,
    progress: &mut dyn FnMut(&Counts),
) -> Result<Imported, Failure> {
    let (mut imported, new) = survey(store, source, options.on_conflict).await?;
    if options.dry_run {
        return Ok(imported);
    }
    imported.added = Counts::default();
    for item in source.items()? {
        let item = item.map_err(|fault| Failure::Faults(vec![fault]))?;
        if !new.contains(&name(&item)) {
            continue;
        }
        if let Restored::Taken { kind, id } = store.restore(&item).await? {
            return Err(Failure::Elsewhere { kind, id });
        }
        imported.added.add(&item);
        progress(&imported.added);
    }
    Ok(imported)
}

/// What an import would do, and the names of what is new.
async fn survey(
    store: &dyn Store,
    source: &Source,
    on_conflict: OnConflict,
) -> Result<(Imported, HashSet<String>), Failure> {
    let mut found = Imported {
        notes: source.notes().clone(),
        ..Imported::default()
    };
    let (mut faults, mut conflicts, mut more_conflicts) = (Vec::new(), Vec::new(), 0);
    let (mut names, mut new) = (HashSet::new(), HashSet::new());
    for item in source.items()? {
        let item = match item {
            Ok(item) => item,
            Err(fault) => {
                faults.push(fault);
                if faults.len() == TOLD_LIMIT {
                    break;
                }
                continue;
            }
        };
        let name = name(&item);
        if names.contains(&name) {
            faults.push(Fault::of("", format!("{name} is in the file twice")));
        }
        match standing(store, &item).await? {
            Standing::New => {
                found.added.add(&item);
                new.insert(name.clone());
            }
            Standing::Same => found.same.add(&item),
            Standing::Other => {
                found.skipped.add(&item);
                if conflicts.len() < TOLD_LIMIT {
                    conflicts.push(name.clone());
                } else {
                    more_conflicts += 1;
                }
            }
        }
        names.insert(name);
    }
    if !faults.is_empty() {
        return Err(Failure::Faults(faults));
    }
    if !conflicts.is_empty() && on_conflict == OnConflict::Fail {
        return Err(Failure::Conflicts {
            first: conflicts,
            more: more_conflicts,
        });
    }
    Ok((found, new))
}

/// As the contract has it.
fn name(item: &Restore) -> String {
    match item {
        Restore::Assistant(record) => format!("assistants/{}", record.id),
        Restore::Thread(whole) => format!("threads/{}", whole.record.id),
    }
}

async fn standing(store: &dyn Store, item: &Restore) -> Result<Standing, Error> {
    let is_same = match item {
        Restore::Assistant(record) => store.assistant(&record.id).await.map(|there| there == *record),
        Restore::Thread(whole) => match store.thread(&whole.record.id).await {
            Ok(_) => export::thread(store, &whole.record.id)
                .await
                .map(|(there, _)| there == *whole),
            Err(error) => Err(error),
        },
    };
    match is_same {
        Ok(true) => Ok(Standing::Same),
        Ok(false) => Ok(Standing::Other),
        Err(error) if matches!(error.reason(), Reason::AssistantNotFound | Reason::ThreadNotFound) => {
            Ok(Standing::New)
        }
        Err(error) => Err(error),
    }
}
