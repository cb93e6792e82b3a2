//! The run's record and the numbering of its events.

use std::sync::Arc;
use std::time::SystemTime;

use super::Effect;
use crate::run::event::{Body, Event};
use crate::run::message::{Message, Usage};
use crate::run::record::{Outcome, RunRecord, State};

#[derive(Debug)]
pub(super) struct Journal {
    record: RunRecord,
    sequence: u64,
}

impl Journal {
    pub(super) fn new(record: RunRecord) -> Self {
        let sequence = record.last_sequence;
        Self { record, sequence }
    }

    pub(super) fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Gives the event its number and sends it.
    pub(super) fn emit(&mut self, body: Body, now: SystemTime, out: &mut Vec<Effect>) {
        self.sequence += 1;
        out.push(Effect::Emit(Event {
            sequence: self.sequence,
            time: now,
            body,
        }));
    }

    pub(super) fn change_state(&mut self, to: State, now: SystemTime, out: &mut Vec<Effect>) {
        let from = std::mem::replace(&mut self.record.state, to.clone());
        self.emit(Body::StateChanged { from, to }, now, out);
    }

    /// Counts turns and calls as used.
    pub(super) fn count(&mut self, turns: u32, calls: usize) {
        let tool_calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.record.usage = self.record.usage.plus(Usage {
            turns,
            tool_calls,
            ..Usage::default()
        });
    }

    /// Adds a turn's tokens, and says so among `bodies` if there are any.
    pub(super) fn add_usage(&mut self, usage: Usage, bodies: &mut Vec<Body>) {
        if usage != Usage::default() {
            self.record.usage = self.record.usage.plus(usage);
            bodies.push(Body::UsageUpdated(self.record.usage));
        }
    }

    pub(super) fn is_over_token_budget(&self) -> bool {
        let budget = self.record.snapshot.limits.max_total_tokens;
        budget.is_some_and(|budget| self.record.usage.total_tokens() > budget)
    }

    /// Writes, then sends: nobody hears of what is not durable.
    pub(super) fn commit(
        &mut self,
        messages: Vec<Arc<Message>>,
        bodies: Vec<Body>,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        self.record.last_sequence = self.sequence + bodies.len() as u64;
        out.push(Effect::Save {
            record: Arc::new(self.record.clone()),
            messages,
        });
        for body in bodies {
            self.emit(body, now, out);
        }
    }

    /// Writes the end, then sends what led to it and the terminal event.
    pub(super) fn end(
        &mut self,
        outcome: Outcome,
        messages: Vec<Arc<Message>>,
        bodies: Vec<Body>,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        self.record.state = State::Ended(outcome);
        self.record.end_time = Some(now);
        self.record.last_sequence = self.sequence + bodies.len() as u64 + 1;
        let record = Arc::new(self.record.clone());
        out.push(Effect::Save {
            record: Arc::clone(&record),
            messages,
        });
        for body in bodies {
            self.emit(body, now, out);
        }
        self.emit(Body::Ended(record), now, out);
    }

    /// Frees the numbers of events that nobody has seen.
    pub(super) fn take_back(&mut self, unsent: u64) {
        self.sequence = self.sequence.saturating_sub(unsent);
    }
}
