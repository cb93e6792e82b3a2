//! The run's record, its steps, and the numbering of its events.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Effect;
use crate::run::action::Action;
use crate::run::event::{Body, Event};
use crate::run::message::{Message, Usage};
use crate::run::ports::Save;
use crate::run::record::{IncompleteReason, Outcome, RunRecord, State};
use crate::run::step::Step;

/// How many sequences are reserved beyond the newest that is written. More than that many events are not shown
/// before some of them are written.
pub const RESERVE: u64 = 1024;

#[derive(Debug)]
pub(super) struct Journal {
    record: RunRecord,
    sequence: u64,
    next_place: u32,
}

/// What belongs together: all of it is written, then the bodies are shown.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) messages: Vec<Arc<Message>>,
    pub(super) steps: Vec<Step>,
    pub(super) bodies: Vec<Body>,
}

impl Journal {
    /// Goes on after the sequence and the steps that there are.
    pub(super) fn new(record: RunRecord, sequence: u64, next_place: u32) -> Self {
        Self {
            record,
            sequence,
            next_place,
        }
    }

    pub(super) fn record(&self) -> &RunRecord {
        &self.record
    }

    /// The place for one more step.
    pub(super) fn place(&mut self) -> u32 {
        let place = self.next_place;
        self.next_place += 1;
        place
    }

    /// Gives an event of a turn that is not over its number and shows it. It is written right behind, and void
    /// if the process dies before the turn is over.
    pub(super) fn emit(&mut self, body: Body, now: SystemTime, out: &mut Vec<Effect>) {
        let event = self.number(body, now);
        out.push(Effect::Emit(event));
    }

    /// Changes the state; the body tells of it.
    pub(super) fn change_state(&mut self, to: State) -> Body {
        let from = Some(std::mem::replace(&mut self.record.state, to.clone()));
        Body::StateChanged { from, to }
    }

    /// Says what the run waits for now, and changes its state if it begins to wait, or waits no more; the body
    /// tells of that.
    ///
    /// While nothing is at work, only the wait is bounded: the time in which it works stands still.
    pub(super) fn wait_for(
        &mut self,
        pending: Vec<Arc<Action>>,
        is_at_work: bool,
        execution_limit: Duration,
        now: SystemTime,
    ) -> Option<Body> {
        self.record.pending = pending;
        let expires = self.record.pending.iter().map(|action| action.expire_time).min();
        if let Some(expires) = expires.filter(|_| !is_at_work) {
            self.record.waits_since.get_or_insert(now);
            self.record.expire_time = Some(expires);
        } else if let Some(since) = self.record.waits_since.take() {
            self.record.waited += now.duration_since(since).unwrap_or_default();
            let started = self.record.start_time.unwrap_or(now);
            self.record.expire_time = started.checked_add(execution_limit + self.record.waited);
        }
        match (&self.record.state, expires) {
            (State::Running, Some(_)) if !is_at_work => Some(self.change_state(State::RequiresAction)),
            (State::RequiresAction, None) => Some(self.change_state(State::Running)),
            _ => None,
        }
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

    /// The limit on tokens or money that the run is beyond, with these of the turn that goes on.
    pub(super) fn limit_passed(&self, turn: Usage) -> Option<IncompleteReason> {
        self.spending(turn)
            .find(|(_, used, limit)| used > limit)
            .map(|(reason, ..)| reason)
    }

    /// The limit on tokens or money that leaves nothing for another turn.
    pub(super) fn limit_met(&self) -> Option<IncompleteReason> {
        self.spending(Usage::default())
            .find(|(_, used, limit)| used >= limit)
            .map(|(reason, ..)| reason)
    }

    /// The tokens that the run may still write; none for no limit.
    pub(super) fn output_tokens_left(&self) -> Option<u64> {
        let limit = self.record.snapshot.limits.max_output_tokens?;
        Some(limit.saturating_sub(self.record.usage.output_tokens))
    }

    /// What the run has used together with this turn, with each limit that there is, and what it is to meet it.
    fn spending(&self, turn: Usage) -> impl Iterator<Item = (IncompleteReason, u64, u64)> {
        let used = self.record.usage.plus(turn);
        let limits = self.record.snapshot.limits;
        let of_tokens = |used: u64| move |limit: u64| (IncompleteReason::MaxTokens, used, limit);
        let total = limits.max_total_tokens.map(of_tokens(used.total_tokens()));
        let output = limits.max_output_tokens.map(of_tokens(used.output_tokens));
        let cost = limits.max_cost.zip(used.cost);
        let cost = cost.map(|(limit, used)| (IncompleteReason::Budget, used.micros, limit));
        total.into_iter().chain(output).chain(cost)
    }

    /// Writes, then shows: nobody hears of what is not durable.
    pub(super) fn commit(&mut self, entry: Entry, now: SystemTime, out: &mut Vec<Effect>) {
        let last_sequence = self.sequence + entry.bodies.len() as u64;
        self.record.last_sequence = last_sequence;
        self.record.reserved_sequence = last_sequence + RESERVE;
        let record = Arc::new(self.record.clone());
        self.save(record, entry, now, out);
    }

    /// Writes the end, then shows what led to it and the terminal event.
    pub(super) fn end(&mut self, outcome: Outcome, mut entry: Entry, now: SystemTime, out: &mut Vec<Effect>) {
        let last_sequence = self.sequence + entry.bodies.len() as u64 + 1;
        self.record.state = State::Ended(outcome);
        self.record.end_time = Some(now);
        self.record.expire_time = None;
        self.record.waits_since = None;
        self.record.pending.clear();
        self.record.last_sequence = last_sequence;
        self.record.reserved_sequence = last_sequence;
        let record = Arc::new(self.record.clone());
        entry.bodies.push(Body::Ended(Arc::clone(&record)));
        self.save(record, entry, now, out);
    }

    /// Frees the numbers of events that nobody has seen.
    pub(super) fn take_back(&mut self, unsent: u64) {
        self.sequence = self.sequence.saturating_sub(unsent);
    }

    fn save(&mut self, record: Arc<RunRecord>, entry: Entry, now: SystemTime, out: &mut Vec<Effect>) {
        let bodies = entry.bodies.into_iter();
        // Of a step that changed twice, the last word counts.
        let mut steps: Vec<Arc<Step>> = Vec::with_capacity(entry.steps.len());
        for step in entry.steps {
            steps.retain(|earlier| earlier.place != step.place);
            steps.push(Arc::new(step));
        }
        out.push(Effect::Save(Save {
            record,
            messages: entry.messages,
            steps,
            events: bodies.map(|body| Arc::new(self.number(body, now))).collect(),
        }));
    }

    fn number(&mut self, body: Body, now: SystemTime) -> Event {
        self.sequence += 1;
        Event {
            sequence: self.sequence,
            time: now,
            body,
        }
    }
}
