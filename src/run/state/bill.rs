//! What one request to a model uses and costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::run::message::Usage;
use crate::run::model::{Attempt, AttemptResult};
use crate::run::money::Prices;
use crate::run::record::Snapshot;
use crate::run::step::StepState;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Bill {
    /// The tokens that the provider has reported.
    usage: Usage,
    /// Whether it has reported any.
    is_reported: bool,
    /// Bytes written since that report.
    unreported: u64,
    /// Bytes read, as long as the provider has not counted their tokens.
    expected_input: u64,
    /// What the model costs that answers: the one that was asked, as long as none has begun to.
    prices: Option<Prices>,
    other_prices: Arc<BTreeMap<String, Prices>>,
    /// What its provider calls the model that was asked.
    asked: String,
    attempts: Vec<Attempt>,
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
            prices,
            other_prices: Arc::clone(other_prices),
            asked: provider_model.to_owned(),
            attempts: Vec::new(),
        }
    }

    /// Of a request to another model.
    pub(super) fn of_other(model: &str, snapshot: &Snapshot, provider_model: &str) -> Self {
        Self {
            prices: snapshot.other_prices.get(model).copied(),
            ..Self::new(snapshot, provider_model)
        }
    }

    /// Keeps what became of a request.
    pub(super) fn attempted(&mut self, attempt: Attempt) {
        let asked = self.attempts.first().map_or(&attempt.model, |first| &first.model);
        if attempt.result == AttemptResult::Answered && *asked != attempt.model {
            self.prices = self.other_prices.get(&attempt.model).copied();
        }
        self.attempts.push(attempt);
    }

    /// The requests that it took, in order.
    pub(super) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether a model has begun to answer.
    pub(super) fn is_answered(&self) -> bool {
        self.answerer().is_some()
    }

    /// What its provider calls the model that answers: the one that was asked, as long as none has begun to.
    pub(super) fn model(&self) -> String {
        self.answerer().unwrap_or(&self.asked).clone()
    }

    fn answerer(&self) -> Option<&String> {
        let mut answered = self.attempts.iter().rev();
        let answered = answered.find(|attempt| attempt.result == AttemptResult::Answered)?;
        Some(&answered.provider_model)
    }

    /// Takes the provider's count, which stands in place of every estimate and earlier count.
    pub(super) fn report(&mut self, usage: Usage) {
        self.usage = Usage {
            cost: self.prices.map(|prices| prices.cost(&usage)),
            ..usage
        };
        self.is_reported = true;
        self.unreported = 0;
        self.expected_input = 0;
    }

    /// The model has written so many bytes more.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.unreported += bytes as u64;
    }

    /// Counts this many bytes as read until the provider has counted.
    pub(super) fn expect_to_read(&mut self, bytes: u64) {
        self.expected_input = bytes;
    }

    /// What the request has used, now that it is over: what the provider has reported. One that reports nothing, or was
    /// cut off before it did, has used something all the same, if it has begun to answer: then this is an estimate, so
    /// that budgets hold.
    pub(super) fn total(&self, state: &StepState) -> Usage {
        let is_counted = self.is_reported && *state == StepState::Completed;
        if self.unreported == 0 || is_counted {
            return self.usage;
        }
        let estimate = Usage::estimate(self.expected_input, self.unreported);
        self.usage.plus(Usage {
            cost: self.prices.map(|prices| prices.cost(&estimate)),
            ..estimate
        })
    }

    /// The tokens so far: those that the provider has reported, and an estimate of what was read and written since,
    /// because most providers report only at the end.
    pub(super) fn tokens(&self) -> Usage {
        let estimate = Usage::estimate(self.expected_input, self.unreported);
        let so_far = self.usage.plus(estimate);
        Usage {
            cost: self.prices.map(|prices| prices.cost(&so_far)),
            ..so_far
        }
    }
}
