//! What one request to a model uses and costs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use crate::run::message::Usage;
use crate::run::model::{Attempt, AttemptResult};
use crate::run::money::Prices;
use crate::run::record::Snapshot;
use crate::run::step::StepState;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Bill {
    /// The tokens that the provider has reported of the answer.
    usage: Usage,
    /// Whether it has reported any.
    is_reported: bool,
    /// Bytes written since that report.
    unreported: u64,
    /// Bytes read, as long as the provider has not counted their tokens.
    expected_input: u64,
    /// What attempts that failed have used, each at its own model's prices.
    lost: Usage,
    /// What the model costs that was asked.
    asked_prices: Option<Prices>,
    other_prices: Arc<BTreeMap<String, Prices>>,
    /// What its provider calls the model that was asked.
    asked: String,
    attempts: Vec<Attempt>,
    /// Requests of which nothing is known yet but when they were sent, in that order.
    at_work: VecDeque<(Attempt, SystemTime)>,
}

impl Bill {
    /// Of a request to the run's model, by the name that its provider has for it.
    pub(super) fn new(snapshot: &Snapshot, provider_model: &str) -> Self {
        Self::at(snapshot.prices, &snapshot.other_prices, provider_model)
    }

    /// Of a request to the model of that name with these prices, for which those may answer that have the others.
    pub(super) fn at(
        prices: Option<Prices>,
        other_prices: &Arc<BTreeMap<String, Prices>>,
        provider_model: &str,
    ) -> Self {
        Self {
            usage: Usage::default(),
            is_reported: false,
            unreported: 0,
            expected_input: 0,
            lost: Usage::default(),
            asked_prices: prices,
            other_prices: Arc::clone(other_prices),
            asked: provider_model.to_owned(),
            attempts: Vec::new(),
            at_work: VecDeque::new(),
        }
    }

    /// Of a request to another model.
    pub(super) fn of_other(model: &str, snapshot: &Snapshot, provider_model: &str) -> Self {
        Self {
            asked_prices: snapshot.other_prices.get(model).copied(),
            ..Self::new(snapshot, provider_model)
        }
    }

    /// A request was sent now, of which this is to be told if it is given up.
    pub(super) fn sent(&mut self, attempt: Attempt, now: SystemTime) {
        self.at_work.push_back((attempt, now));
    }

    /// Keeps what became of a request, and counts what it used though it failed.
    pub(super) fn attempted(&mut self, mut attempt: Attempt) {
        if !matches!(attempt.result, AttemptResult::NotSent(_)) {
            self.at_work.pop_front();
        }
        if let Some(usage) = &mut attempt.usage {
            let prices = self.prices_of(&attempt.model);
            usage.cost = prices.map(|prices| prices.cost(usage));
            self.lost = self.lost.plus(*usage);
        }
        self.attempts.push(attempt);
    }

    /// The requests that it took, in order; those of which nothing was heard until now are given up.
    pub(super) fn attempts(&self, now: SystemTime) -> Vec<Attempt> {
        let given_up = self.at_work.iter().map(|(attempt, sent)| Attempt {
            latency: now.duration_since(*sent).unwrap_or_default(),
            ..attempt.clone()
        });
        self.attempts.iter().cloned().chain(given_up).collect()
    }

    /// Whether a model has begun to answer.
    pub(super) fn is_answered(&self) -> bool {
        self.answerer().is_some()
    }

    /// What its provider calls the model that answers: the one that was asked, as long as none has begun to.
    pub(super) fn model(&self) -> String {
        let answerer = self.answerer().map(|attempt| &attempt.provider_model);
        answerer.unwrap_or(&self.asked).clone()
    }

    fn answerer(&self) -> Option<&Attempt> {
        let mut attempts = self.attempts.iter().rev();
        attempts.find(|attempt| attempt.result == AttemptResult::Answered)
    }

    /// What the model costs that answers: the one that was asked, as long as none has begun to.
    fn prices(&self) -> Option<Prices> {
        match self.answerer() {
            Some(answerer) => self.prices_of(&answerer.model),
            None => self.asked_prices,
        }
    }

    /// What the model of this name costs. The first attempt is at the one that was asked.
    fn prices_of(&self, model: &str) -> Option<Prices> {
        match self.attempts.first() {
            Some(first) if first.model != model => self.other_prices.get(model).copied(),
            _ => self.asked_prices,
        }
    }

    /// Takes the provider's count, which stands in place of every estimate and earlier count.
    pub(super) fn report(&mut self, usage: Usage) {
        self.usage = self.priced(usage);
        self.is_reported = true;
        self.unreported = 0;
        self.expected_input = 0;
    }

    fn priced(&self, usage: Usage) -> Usage {
        Usage {
            cost: self.prices().map(|prices| prices.cost(&usage)),
            ..usage
        }
    }

    /// The model has written so many bytes more.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.unreported += bytes as u64;
    }

    /// Counts this many bytes as read until the provider has counted.
    pub(super) fn expect_to_read(&mut self, bytes: u64) {
        self.expected_input = bytes;
    }

    /// What the request has used, now that it is over: its answer, and the attempts that failed.
    pub(super) fn total(&self, state: &StepState) -> Usage {
        self.lost.plus(self.answer(state))
    }

    /// What the answer has used, now that it is over: what the provider has reported. One that reports nothing, or was
    /// cut off before it did, has used something all the same, if it has begun to answer: then this is an estimate, so
    /// that budgets hold.
    pub(super) fn answer(&self, state: &StepState) -> Usage {
        let is_counted = self.is_reported && *state == StepState::Completed;
        if self.unreported == 0 || is_counted {
            return self.usage;
        }
        let estimate = Usage::estimate(self.expected_input, self.unreported);
        self.usage.plus(self.priced(estimate))
    }

    /// The tokens so far: those that the provider has reported, and an estimate of what was read and written since,
    /// because most providers report only at the end.
    pub(super) fn tokens(&self) -> Usage {
        let estimate = Usage::estimate(self.expected_input, self.unreported);
        self.lost.plus(self.priced(self.usage.plus(estimate)))
    }
}
