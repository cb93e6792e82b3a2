//! What OpenAI's Assistants API gave its users, as things of ours. Names, times and order are kept; what has no
//! place here is kept as labels or as marked text, and noted.

mod assistant;
mod found;
mod label;
mod message;
mod options;
mod run;
mod shape;
mod step;
mod thread;

use crate::run::ports::Restore;

use super::fault::Fault;
use super::note::Notes;

/// Faults that are told at once.
const FAULT_LIMIT: usize = 20;

/// Reads a file: any number of JSON values, on lines or not, each an object, a list or an array of objects, or
/// an object that holds such.
///
/// # Errors
/// The first faults, each with the line where its value begins and the path of the field.
pub fn read(text: &str) -> Result<(Vec<Restore>, Notes), Vec<Fault>> {
    let mut notes = Notes::default();
    let (objects, mut faults) = found::find(text, &mut notes);
    let mut items = Vec::new();
    for found in objects.assistants {
        match assistant::assistant(found.value, &mut notes) {
            Ok(record) => items.push(Restore::Assistant(record)),
            Err(fault) => faults.push(fault.within(&found.path).at(found.line)),
        }
    }
    match thread::threads(objects.rest, &mut notes) {
        Ok(threads) => items.extend(threads.into_iter().map(Restore::Thread)),
        Err(more) => faults.extend(more),
    }
    if items.is_empty() && faults.is_empty() {
        faults.push(Fault::of(
            "",
            "the file has no assistant, thread, message or run in it",
        ));
    }
    if faults.is_empty() {
        return Ok((items, notes));
    }
    faults.sort_by_key(|fault| fault.line);
    faults.truncate(FAULT_LIMIT);
    Err(faults)
}

#[cfg(test)]
mod tests;
