//! The events of one run, for any number of watchers.
//!
//! A watcher reads the log at its own pace: there is no queue per watcher, so one that does not read slows
//! nobody and costs nothing. The log lives as long as the run does or somebody watches.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::event::{Body, Event};

/// The events of one run so far.
#[derive(Debug)]
pub struct EventLog {
    events: Mutex<Vec<Arc<Event>>>,
    length: watch::Sender<usize>,
}

/// One watcher's place in the log.
#[derive(Debug)]
pub struct Watch {
    log: Arc<EventLog>,
    length: watch::Receiver<usize>,
    next: usize,
}

impl EventLog {
    /// An empty log.
    pub fn new() -> Self {
        Self {
            events: Mutex::default(),
            length: watch::Sender::new(0),
        }
    }

    /// Appends an event and wakes the watchers.
    pub fn append(&self, event: Event) {
        let length = {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.push(Arc::new(event));
            events.len()
        };
        self.length.send_replace(length);
    }

    /// Watches from the first event on.
    pub fn watch(self: &Arc<Self>) -> Watch {
        Watch {
            log: Arc::clone(self),
            length: self.length.subscribe(),
            next: 0,
        }
    }

    /// The sequence of the newest event; 0 if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.get(self.length().saturating_sub(1))
            .map_or(0, |event| event.sequence)
    }

    fn length(&self) -> usize {
        *self.length.borrow()
    }

    fn get(&self, place: usize) -> Option<Arc<Event>> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(place)
            .cloned()
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// The next event: waits for it if it has not happened yet. Nothing follows the terminal event.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.log.get(self.next) {
                self.next += 1;
                return Some(event);
            }
            if self.is_over() {
                return None;
            }
            // The sender lives in the log that this watch holds on to, so it cannot be gone.
            self.length.changed().await.ok()?;
        }
    }

    fn is_over(&self) -> bool {
        let last = self.next.checked_sub(1).and_then(|place| self.log.get(place));
        last.is_some_and(|event| matches!(event.body, Body::Ended(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::run::message::Usage;

    fn event(sequence: u64) -> Event {
        Event {
            sequence,
            time: UNIX_EPOCH,
            body: Body::UsageUpdated(Usage::default()),
        }
    }

    #[tokio::test]
    async fn every_watcher_sees_every_event_in_order() {
        let log = Arc::new(EventLog::new());
        let mut early = log.watch();
        log.append(event(1));
        log.append(event(2));
        let mut late = log.watch();
        for watch in [&mut early, &mut late] {
            assert_eq!(watch.next().await.unwrap().sequence, 1);
            assert_eq!(watch.next().await.unwrap().sequence, 2);
        }
        let (next, ()) = tokio::join!(early.next(), async { log.append(event(3)) });
        assert_eq!(next.unwrap().sequence, 3);
        assert_eq!(log.last_sequence(), 3);
    }
}
