//! A summary of what the model is not given any more, while it is written. Nothing of it is shown before it is whole.

use std::sync::Arc;
use std::time::SystemTime;

use super::bill::Bill;
use super::journal::Entry;
use super::{Effect, Phase, Run};
use crate::run::context::{self, Gap};
use crate::run::error::{Error, Reason};
use crate::run::event::Body;
use crate::run::id::{MessageId, StepId};
use crate::run::message::{Message, Part, Role, Summarized};
use crate::run::options::ModelOptions;
use crate::run::ports::{Finish, ModelEvent, ModelRequest, Tokenizer};
use crate::run::record::Outcome;
use crate::run::step::{Step, StepState, Work};
use crate::run::summary;

/// How many bytes of text a token has at least, of texts that are longer than a model takes.
const BYTES_OF_A_TOKEN: u64 = 3;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Summing {
    text: String,
    summarized: Summarized,
    /// How long it may be; not every provider keeps to that.
    max_tokens: u64,
    bill: Bill,
    started: SystemTime,
}

impl Summing {
    /// Takes what the model says; what is not text is of no use here.
    pub(super) fn hear(&mut self, event: ModelEvent, now: SystemTime) -> &Bill {
        self.bill.wrote(event.written_bytes());
        match event {
            ModelEvent::Sent(attempt) => self.bill.sent(attempt, now),
            ModelEvent::Attempt(attempt) => self.bill.attempted(attempt),
            ModelEvent::Usage(usage) => self.bill.report(usage),
            ModelEvent::TextDelta(text) => self.text.push_str(&text),
            _ => {}
        }
        &self.bill
    }
}

/// As much of the text, from its beginning, as has no more than so many tokens.
fn shortened<'a>(mut text: &'a str, max_tokens: u64, tokenizer: &dyn Tokenizer) -> &'a str {
    loop {
        let tokens = tokenizer.count(text);
        if tokens <= max_tokens {
            return text;
        }
        let bytes = u128::from(max_tokens) * text.len() as u128 / u128::from(tokens);
        let bytes = usize::try_from(bytes).unwrap_or(text.len());
        text = text[..text.floor_char_boundary(bytes)].trim_end();
    }
}

impl Run {
    /// Asks for the summary.
    pub(super) fn sum_up(&mut self, gap: Gap, now: SystemTime, out: &mut Vec<Effect>) {
        let record = self.journal.record();
        let snapshot = &record.snapshot;
        let (model, context_tokens, mut bill) = match &self.terms.summary_model {
            Some(other) => (
                other.name.clone(),
                other.context_tokens,
                Bill::of_other(&other.name, snapshot, &other.provider_model),
            ),
            None => (
                snapshot.model.clone(),
                self.terms.bounds.context_tokens,
                Bill::new(snapshot, &self.terms.provider_model),
            ),
        };
        let left = self.journal.output_tokens_left().unwrap_or(u64::MAX);
        let max_output_tokens = gap.max_tokens.min(left);
        let room = context_tokens.map(|tokens| tokens.saturating_sub(2 * max_output_tokens));
        let room = room.map_or(usize::MAX, |tokens| {
            usize::try_from(tokens.saturating_mul(BYTES_OF_A_TOKEN)).unwrap_or(usize::MAX)
        });
        let messages = gap.messages.iter().map(|message| &**message);
        let question = Message {
            id: MessageId::new(&mut self.mint),
            role: Role::User,
            content: vec![Part::Text(summary::transcript(
                gap.earlier.as_deref(),
                messages,
                room,
            ))],
            run: Some(record.id.clone()),
            incomplete: false,
            create_time: now,
            metadata: Default::default(),
        };
        let messages = vec![Arc::new(question)];
        let request = ModelRequest {
            run: record.id.clone(),
            thread: None,
            caller: snapshot.caller.clone(),
            model,
            instructions: summary::INSTRUCTIONS.to_owned(),
            messages,
            unasked: 0,
            tools: None,
            max_output_tokens: Some(max_output_tokens),
            estimated_tokens: None,
            deadline: self.alarm().map(|(time, _)| time),
            options: Arc::new(ModelOptions::default()),
        };
        bill.expect_to_read(context::bytes_of(&request));
        if self.journal.limit_passed(bill.tokens()).is_some() {
            // What is left may do for an answer all the same.
            self.forgoes_summaries = true;
            return self.ask_or_sum_up(false, now, out);
        }
        out.push(Effect::CallModel(request));
        self.phase = Phase::Summing(Box::new(Summing {
            text: String::new(),
            summarized: gap.summarized,
            max_tokens: gap.max_tokens,
            bill,
            started: now,
        }));
    }

    /// The model has stopped: what it has written is the summary, also when it would have written more.
    pub(super) fn finish_summary(&mut self, finish: Finish, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Summing(summing) = &mut self.phase else {
            return;
        };
        let tokenizer = &*self.terms.bounds.tokenizer;
        let text = shortened(summing.text.trim(), summing.max_tokens, tokenizer);
        if text.is_empty() || finish == Finish::ContentFilter {
            let error = Error::new(Reason::ModelUnavailable, "the model wrote no summary");
            return self.give_up_summary(error, now, out);
        }
        let message = Arc::new(Message {
            id: MessageId::new(&mut self.mint),
            role: Role::System,
            content: vec![
                Part::Text(text.to_owned()),
                Part::Summarized(summing.summarized.clone()),
            ],
            run: Some(self.journal.record().id.clone()),
            incomplete: false,
            create_time: now,
            metadata: Default::default(),
        });
        let entry = self.summary_entry(Some(&message), StepState::Completed, now);
        self.history.push(message);
        self.go_on_without_summing(entry, now, out);
    }

    /// There is no summary: its step says why, and the model is asked without one, from here on.
    pub(super) fn give_up_summary(&mut self, error: Error, now: SystemTime, out: &mut Vec<Effect>) {
        self.forgoes_summaries = true;
        let entry = self.summary_entry(None, StepState::failed(&error), now);
        self.go_on_without_summing(entry, now, out);
    }

    fn go_on_without_summing(&mut self, entry: Entry, now: SystemTime, out: &mut Vec<Effect>) {
        if let Some(reason) = self.journal.limit_met() {
            return self.end(Outcome::Incomplete(reason), entry, now, out);
        }
        self.journal.commit(entry, now, out);
        self.ask_or_sum_up(false, now, out);
    }

    /// What the end of a summary brings: its message, its step, and what tells of them.
    pub(super) fn summary_entry(
        &mut self,
        message: Option<&Arc<Message>>,
        state: StepState,
        now: SystemTime,
    ) -> Entry {
        let Phase::Summing(summing) = &self.phase else {
            return Entry::default();
        };
        let mut bodies = Vec::new();
        let usage = summing.bill.total(&state);
        self.journal.add_usage(usage, &mut bodies);
        bodies.extend(message.cloned().map(Body::MessageCreated));
        let step = Step {
            id: StepId::new(&mut self.mint),
            // It belongs to the turn that it makes room for.
            turn: self.journal.record().usage.turns + 1,
            work: Work::Summary {
                model: summing.bill.model(),
                message: message.map(|message| message.id.clone()),
                messages: summing.summarized.messages,
                usage,
                attempts: summing.bill.attempts(now),
            },
            place: self.journal.place(),
            state,
            create_time: summing.started,
            start_time: Some(summing.started),
            end_time: Some(now),
        };
        Entry {
            messages: message.cloned().into_iter().collect(),
            steps: vec![step],
            bodies,
        }
    }
}
