//! The newest events of one run that goes on, for any number of watchers.
//!
//! A watcher reads the log at its own pace: there is no queue per watcher, so one that does not read slows
//! nobody and costs nothing. Events that the store has are dropped from the front after a while; a watcher that
//! is further behind reads the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::event::Event;

/// How many events that the store has are kept for watchers that are a little behind.
const KEPT: usize = 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct EventLog {
    recent: Mutex<Recent>,
    last_sequence: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Recent {
    events: VecDeque<Arc<Event>>,
    /// What came before the first of them.
    before: u64,
    /// The store has everything up to here.
    written: u64,
}

/// What follows a sequence.
#[derive(Debug)]
pub enum Next {
    /// This event.
    Event(Arc<Event>),
    /// Something that only the store has.
    Stored,
    /// Nothing yet.
    Nothing,
}

impl EventLog {
    /// An empty log, of events beyond this sequence.
    pub fn new(before: u64) -> Self {
        Self {
            recent: Mutex::new(Recent {
                events: VecDeque::new(),
                before,
                written: before,
            }),
            last_sequence: watch::Sender::new(before),
        }
    }

    /// Appends events and wakes the watchers.
    pub fn append(&self, events: impl IntoIterator<Item = Arc<Event>>) {
        let last = {
            let mut recent = self.recent();
            recent.events.extend(events);
            recent.events.back().map(|event| event.sequence)
        };
        if let Some(last) = last {
            self.last_sequence.send_replace(last);
        }
    }

    /// What follows this sequence.
    pub fn next(&self, after: u64) -> Next {
        let recent = self.recent();
        if after < recent.before {
            return Next::Stored;
        }
        let place = recent.events.partition_point(|event| event.sequence <= after);
        match recent.events.get(place) {
            Some(event) => Next::Event(Arc::clone(event)),
            None => Next::Nothing,
        }
    }

    /// The sequence of the newest event.
    pub fn last_sequence(&self) -> u64 {
        *self.last_sequence.borrow()
    }

    /// Hears of new events.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.last_sequence.subscribe()
    }

    /// The events that the store does not have yet.
    pub fn unwritten(&self) -> Vec<Arc<Event>> {
        let recent = self.recent();
        let place = recent
            .events
            .partition_point(|event| event.sequence <= recent.written);
        recent.events.range(place..).cloned().collect()
    }

    /// The store has everything up to this sequence.
    pub fn mark_written(&self, sequence: u64) {
        let mut recent = self.recent();
        recent.written = recent.written.max(sequence);
        while recent.events.len() > KEPT
            && let Some(first) = recent.events.front()
            && first.sequence <= recent.written
        {
            recent.before = first.sequence;
            recent.events.pop_front();
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::run::event::Body;
    use crate::run::message::Usage;

    fn event(sequence: u64) -> Arc<Event> {
        Arc::new(Event {
            sequence,
            time: UNIX_EPOCH,
            body: Body::UsageUpdated(Usage::default()),
        })
    }

    fn sequence(next: Next) -> Result<u64, &'static str> {
        match next {
            Next::Event(event) => Ok(event.sequence),
            Next::Stored => Err("stored"),
            Next::Nothing => Err("nothing"),
        }
    }

    #[test]
    fn what_follows_is_found_across_gaps() {
        let log = EventLog::new(4);
        log.append([event(5), event(6), event(100)]);
        let cases = [
            (3, Err("stored")),
            (4, Ok(5)),
            (6, Ok(100)),
            (50, Ok(100)),
            (100, Err("nothing")),
        ];
        for (after, expected) in cases {
            assert_eq!(sequence(log.next(after)), expected, "after {after}");
        }
        assert_eq!(log.last_sequence(), 100);
    }

    #[test]
    fn only_what_is_written_is_dropped() {
        let log = EventLog::new(0);
        let count = KEPT as u64 + 10;
        log.append((1..=count).map(event));
        assert_eq!(log.unwritten().len() as u64, count);
        assert_eq!(sequence(log.next(0)), Ok(1));
        log.mark_written(5);
        assert_eq!(sequence(log.next(4)), Err("stored"));
        assert_eq!(sequence(log.next(5)), Ok(6));
        log.mark_written(count);
        assert_eq!(sequence(log.next(9)), Err("stored"));
        assert_eq!(sequence(log.next(10)), Ok(11), "the newest are kept");
        assert!(log.unwritten().is_empty());
    }
}
