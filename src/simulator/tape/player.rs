//! Answers from what was recorded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::{Answered, Asked, Entry, request};
use crate::simulator::refusal::Refusal;

/// Whether the recorded waits are waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Everything comes at once.
    #[default]
    AtOnce,
    /// Every piece comes when it came.
    AsRecorded,
}

/// A recording to answer from.
#[derive(Debug)]
pub struct Player {
    /// Requests as they are compared, with their answers.
    entries: Vec<(Asked, Answered)>,
    /// How many of the answers to equal requests have been given, by the first of them.
    given: Mutex<HashMap<usize, usize>>,
    pub(in crate::simulator) timing: Timing,
}

impl Player {
    /// Reads a recording.
    ///
    /// # Errors
    /// A line is not an entry; the text says which.
    pub fn read(text: &str, timing: Timing) -> Result<Self, String> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let entry = |(index, line): (usize, &str)| {
            let entry: Entry =
                serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
            Ok((request::normal(&entry.request), entry.response))
        };
        Ok(Self {
            entries: lines.map(entry).collect::<Result<_, String>>()?,
            given: Mutex::default(),
            timing,
        })
    }

    /// The answer to this request: of several to equal ones each in its turn, and the last one ever after.
    pub(in crate::simulator) fn answer(&self, asked: &Asked) -> Result<&Answered, Refusal> {
        let asked = request::normal(asked);
        let equal: Vec<usize> = (0..self.entries.len())
            .filter(|index| self.entries[*index].0 == asked)
            .collect();
        let Some(first) = equal.first() else {
            return Err(self.unmatched(&asked));
        };
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let count = given.entry(*first).or_default();
        let index = equal[(*count).min(equal.len() - 1)];
        *count += 1;
        Ok(&self.entries[index].1)
    }

    fn unmatched(&self, asked: &Asked) -> Refusal {
        let nearest = self
            .entries
            .iter()
            .min_by_key(|(recorded, _)| request::distance(recorded, asked));
        let says = nearest
            .and_then(|(recorded, _)| request::difference(recorded, asked))
            .unwrap_or_else(|| "the recording is empty".to_owned());
        Refusal {
            status: StatusCode::NOT_FOUND,
            ..Refusal::invalid(
                None,
                Some("not_recorded"),
                format!("This request was not recorded. The nearest one differs: {says}."),
            )
        }
    }
}

impl Answered {
    /// The body in pieces, each with the wait before it.
    pub(in crate::simulator) fn pieces(&self, timing: Timing) -> impl Iterator<Item = (Duration, &str)> {
        let mut before = 0;
        self.chunks.iter().map(move |chunk| {
            let ms = match timing {
                Timing::AtOnce => 0,
                Timing::AsRecorded => chunk.at_ms.saturating_sub(before),
            };
            before = chunk.at_ms;
            (Duration::from_millis(ms), chunk.text.as_str())
        })
    }
}
