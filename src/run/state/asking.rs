//! What a model is asked, before and unless it answers.

use std::sync::Arc;
use std::time::SystemTime;

use super::journal::Entry;
use super::turn::Turn;
use super::{Effect, Phase, Run, Terms};
use crate::run::context::{self, Asked, Choice, Selected};
use crate::run::error::Error;
use crate::run::message::Message;
use crate::run::options::{ModelOptions, ToolChoice};
use crate::run::ports::ModelRequest;
use crate::run::record::{Outcome, RunRecord};

/// The conversation and what a run wants of it.
fn asked<'a>(
    history: &'a [Arc<Message>],
    unread: u64,
    record: &'a RunRecord,
    terms: &'a Terms,
    request: &'a Parts,
) -> Asked<'a> {
    Asked {
        history,
        unread,
        kept_from: context::kept_from(history, &record.id),
        instructions: &record.snapshot.instructions,
        tools: request.offers_tools.then_some(&*terms.catalogue),
        options: &record.snapshot.options,
        max_output_tokens: request.max_output_tokens,
        truncation: record.snapshot.truncation,
        may_sum_up: request.may_sum_up,
        bounds: &terms.bounds,
    }
}

/// What of a request does not depend on the conversation.
struct Parts {
    offers_tools: bool,
    max_output_tokens: Option<u64>,
    may_sum_up: bool,
}

impl Run {
    /// Sends the conversation to the model: with tools, unless a limit has run out.
    pub(super) fn ask(&mut self, now: SystemTime, out: &mut Vec<Effect>) {
        self.ask_or_sum_up(!self.forgoes_summaries, now, out);
    }

    /// The same; if it may, it has what the model is not given any more summed up before.
    pub(super) fn ask_or_sum_up(&mut self, may_sum_up: bool, now: SystemTime, out: &mut Vec<Effect>) {
        let selected = match self.choose(may_sum_up) {
            Ok(Choice::Give(selected)) => selected,
            Ok(Choice::SumUp(gap)) => return self.sum_up(gap, now, out),
            Err(error) => {
                let model = self.journal.record().snapshot.model.clone();
                let error = error.with("model", model);
                return self.end(Outcome::Failed(error), Entry::default(), now, out);
            }
        };
        let mut turn = Turn::new(
            self.journal.record(),
            &self.terms.provider_model,
            selected.used,
            &mut self.mint,
            now,
        );
        let turns = self.journal.record().usage.turns;
        let request = self.request(selected, turns + 1);
        turn.bill.expect_to_read(context::bytes_of(&request));
        // What could not be paid for is not sent.
        if let Some(reason) = self.journal.limit_passed(turn.bill.tokens()) {
            return self.end(Outcome::Incomplete(reason), Entry::default(), now, out);
        }
        self.journal.count(1, 0);
        self.asked = self.history.len();
        out.push(Effect::CallModel(request));
        self.phase = Phase::Asking(Box::new(turn));
    }

    /// The provider finds the conversation too long. If nothing has been said yet, and some of it may be left out, the
    /// model is asked once more, within the same turn, with about half.
    pub(super) fn ask_for_less(&mut self, error: Error, now: SystemTime, out: &mut Vec<Effect>) {
        let may = matches!(&self.phase, Phase::Asking(turn) if turn.may_be_shortened());
        let request = self.parts(false);
        let record = self.journal.record();
        let asked = asked(&self.history, self.unread, record, &self.terms, &request);
        let chosen = (may && self.context.halve(&asked)).then(|| self.context.choose(&asked));
        let (Phase::Asking(turn), Some(Ok(Choice::Give(selected)))) = (&mut self.phase, chosen) else {
            return self.stop(Outcome::Failed(error), Entry::default(), now, out);
        };
        turn.shorten(selected.used);
        let request = self.request(selected, self.journal.record().usage.turns);
        if let Phase::Asking(turn) = &mut self.phase {
            turn.bill.expect_to_read(context::bytes_of(&request));
        }
        out.push(Effect::CallModel(request));
    }

    fn choose(&mut self, may_sum_up: bool) -> Result<Choice, Error> {
        let request = self.parts(may_sum_up);
        let record = self.journal.record();
        let asked = asked(&self.history, self.unread, record, &self.terms, &request);
        self.context.choose(&asked)
    }

    fn parts(&self, may_sum_up: bool) -> Parts {
        Parts {
            offers_tools: self.landing.is_none() && !self.terms.catalogue.tools().is_empty(),
            max_output_tokens: self.journal.output_tokens_left(),
            may_sum_up,
        }
    }

    /// The request of this turn, counted from 1.
    fn request(&self, selected: Selected, turn: u32) -> ModelRequest {
        let record = self.journal.record();
        let parts = self.parts(false);
        // The summary that a model is given does not stand where it was written.
        let unasked = self.history[self.asked..].iter();
        let unasked = unasked.filter(|message| message.summarized().is_none());
        ModelRequest {
            run: record.id.clone(),
            thread: Some(record.thread.clone()),
            caller: record.snapshot.caller.clone(),
            model: record.snapshot.model.clone(),
            instructions: record.snapshot.instructions.clone(),
            messages: selected.messages,
            unasked: unasked.count(),
            tools: parts.offers_tools.then(|| Arc::clone(&self.terms.catalogue)),
            max_output_tokens: parts.max_output_tokens,
            estimated_tokens: selected.tokens,
            deadline: self.alarm().map(|(time, _)| time),
            options: self.options(turn),
        }
    }

    /// How the model is to answer in this turn.
    fn options(&self, turn: u32) -> Arc<ModelOptions> {
        let options = &self.journal.record().snapshot.options;
        match (&options.tool_choice, turn) {
            (Some(ToolChoice::Required | ToolChoice::Tool(_)), 2..) => Arc::new(options.later()),
            _ => Arc::clone(options),
        }
    }
}
