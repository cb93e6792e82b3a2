//! What the servers of calls ask models while their calls go on. It is the run's to pay, and to bound.

use std::time::SystemTime;

use super::bill::Bill;
use super::calls::Calls;
use super::{Effect, Phase, Run, used_up};
use crate::run::error::{Error, Reason};
use crate::run::id::CallId;
use crate::run::message::Usage;
use crate::run::ports::ModelEvent;
use crate::run::record::IncompleteReason;
use crate::run::sampling::{Allowance, Wanted};
use crate::run::step::{SampledRequest, StepState};

/// A request of the server of a call that is not over.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: u64,
    bill: Bill,
    started: SystemTime,
}

impl Asked {
    fn new(request: u64, wanted: Wanted, now: SystemTime) -> Self {
        let mut bill = Bill::at(wanted.prices, &wanted.other_prices, &wanted.provider_model);
        bill.expect_to_read(wanted.bytes);
        Self {
            request,
            bill,
            started: now,
        }
    }

    /// What it has used so far, or is expected to.
    pub(super) fn tokens(&self) -> Usage {
        self.bill.tokens()
    }

    pub(super) fn hear(&mut self, event: ModelEvent, now: SystemTime) {
        self.bill.wrote(event.written_bytes());
        match event {
            ModelEvent::Sent(attempt) => self.bill.sent(attempt, now),
            ModelEvent::Attempt(attempt) => self.bill.attempted(attempt),
            ModelEvent::Usage(usage) => self.bill.report(usage),
            _ => {}
        }
    }

    /// What is kept of it, now that it is over.
    pub(super) fn closed(self, state: StepState, now: SystemTime) -> SampledRequest {
        SampledRequest {
            model: self.bill.model(),
            usage: self.bill.total(&state),
            attempts: self.bill.attempts(now),
            state,
            start_time: self.started,
            end_time: now,
        }
    }
}

impl Run {
    /// A server wants to ask a model: what could not be paid for is not sent.
    pub(super) fn on_samples(
        &mut self,
        call: &CallId,
        request: u64,
        wanted: Wanted,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        let asked = Asked::new(request, wanted, now);
        let deadline = self.alarm().map(|(time, _)| time);
        let verdict = match &mut self.phase {
            Phase::Calling(calls) => {
                let open = calls.open_tokens();
                let passed = self.journal.limit_passed(open.plus(asked.tokens()));
                let left = self.journal.output_tokens_left();
                let output_tokens = left.map(|left| left.saturating_sub(open.output_tokens));
                match self.journal.limit_met().or(passed) {
                    Some(reason) => Err(refusal(reason)),
                    None if output_tokens == Some(0) => Err(refusal(IncompleteReason::MaxTokens)),
                    None => calls.samples(call, asked).map(|()| Allowance {
                        deadline,
                        output_tokens,
                    }),
                }
            }
            _ => Err(not_called()),
        };
        out.push(Effect::Sample { request, verdict });
    }

    /// A model answers a server. The request is stopped where that is more than the run may use; the call goes on, and
    /// what is left is looked at when the calls are over.
    pub(super) fn on_sampling(
        &mut self,
        call: &CallId,
        request: u64,
        event: ModelEvent,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Calling(calls) = &mut self.phase else {
            return;
        };
        if let Some(open) = calls.hear(call, request, event, now)
            && let Some(reason) = self.journal.limit_passed(open)
        {
            out.push(Effect::Sample {
                request,
                verdict: Err(refusal(reason)),
            });
        }
    }
}

impl Calls {
    /// What is used by requests that are not over.
    pub(super) fn open_tokens(&self) -> Usage {
        let open = self.slots.iter().flat_map(|slot| &slot.asked);
        open.fold(Usage::default(), |all, asked| all.plus(asked.tokens()))
    }
}

fn refusal(reason: IncompleteReason) -> Error {
    Error::new(Reason::RunLimitReached, used_up(reason))
}

/// Why a server may not ask a model whose call is over.
pub(super) fn not_called() -> Error {
    Error::new(Reason::PermissionDenied, "the call is over")
}
