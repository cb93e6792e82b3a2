//! Threads and assistants as files: our own lines, and what OpenAI's Assistants API gave its users.
//!
//! Everything here works on the [`Store`](crate::run::ports::Store) port alone, whatever is behind it. The
//! formats are pure; [`export`] and [`import`] carry them to a store and from it.

pub mod export;
pub mod fault;
pub mod import;
pub mod line;
pub mod note;
pub mod openai;
pub mod reader;
pub mod source;
pub mod summary;
mod time;

/// How many of each kind of thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Assistants.
    pub assistants: u64,
    /// Threads.
    pub threads: u64,
    /// Messages.
    pub messages: u64,
    /// Runs.
    pub runs: u64,
    /// Steps.
    pub steps: u64,
}

impl Counts {
    /// Counts one thing more, with everything in it.
    pub fn add(&mut self, item: &crate::run::ports::Restore) {
        use crate::run::ports::Restore;
        match item {
            Restore::Assistant(_) => self.assistants += 1,
            Restore::Thread(whole) => {
                self.threads += 1;
                self.messages += whole.messages.len() as u64;
                self.runs += whole.runs.len() as u64;
                self.steps += whole.runs.iter().map(|run| run.steps.len() as u64).sum::<u64>();
            }
        }
    }
}
