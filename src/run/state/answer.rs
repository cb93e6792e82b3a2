//! The answer that ends a run, and what becomes of one that has not the form that was asked for.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Effect, Phase, Run};
use crate::run::error::{Error, Reason};
use crate::run::event::Body;
use crate::run::id::{MessageId, RunId};
use crate::run::message::{Message, Part, Role};
use crate::run::record::{Outcome, RunRecord, Snapshot};
use crate::run::step::StepState;

impl Run {
    /// What is wrong with what the model has said in this turn, if it has to have a form. A refusal is no answer, and
    /// has none.
    pub(super) fn violation(&self) -> Option<String> {
        let (Phase::Asking(turn), Some(check)) = (&self.phase, &self.terms.answer) else {
            return None;
        };
        if turn.has_refused() {
            return None;
        }
        check.check(&turn.text()).err()
    }

    /// Keeps an answer that does not fit, tells the model what is wrong with it, and asks again; or gives up.
    pub(super) fn correct(&mut self, violation: &str, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        let (answer, bodies) = turn.close(true, "the answer does not fit", now);
        let mut entry = self.turn_entry(answer.clone(), bodies, StepState::Completed, now);
        if !self.may_correct() {
            let message = format!("the model's answer does not fit what was asked for: {violation}");
            let outcome = Outcome::Failed(Error::new(Reason::OutputSchemaViolated, message));
            return self.end(outcome, entry, now, out);
        }
        let note = Arc::new(Message {
            id: MessageId::new(&mut self.mint),
            role: Role::System,
            content: vec![Part::Text(format!(
                "This answer does not fit what was asked for: {violation}. Answer again, with nothing but JSON \
                 that fits."
            ))],
            run: Some(self.journal.record().id.clone()),
            incomplete: false,
            create_time: now,
            metadata: Default::default(),
        });
        self.history.extend(answer);
        self.history.push(Arc::clone(&note));
        entry.messages.push(Arc::clone(&note));
        entry.bodies.push(Body::MessageCreated(note));
        self.journal.commit(entry, now, out);
        self.ask(now, out);
    }

    /// Whether the model may be asked once more: its notes are counted, which outlive a process.
    fn may_correct(&self) -> bool {
        let RunRecord {
            snapshot: Snapshot { limits, .. },
            usage,
            ..
        } = self.journal.record();
        // Those of other runs are not in the history.
        let notes = self.history.iter().filter(|message| is_note(message)).count();
        let allowed = self.terms.answer.as_ref().map_or(0, |check| check.corrections());
        notes < usize::try_from(allowed).unwrap_or(usize::MAX)
            && usage.turns < limits.max_turns
            && self.journal.limit_met().is_none()
    }
}

/// A history as a run is given it: without the answers of other runs that did not fit, and without what was said about
/// them. Both were meant for the turns that followed; later ones may want text. Where a provider has them, it is not
/// gone on with: what came behind them is told anew.
pub(super) fn without_corrections(history: Vec<Arc<Message>>, run: &RunId) -> Vec<Arc<Message>> {
    let mut given: Vec<Arc<Message>> = Vec::with_capacity(history.len());
    let mut corrected = None;
    for message in history {
        if !is_note(&message) || message.run.as_ref() == Some(run) {
            let is_behind = corrected.is_some() && corrected == message.run;
            given.push(match is_behind {
                true => without_continuation(message),
                false => message,
            });
            continue;
        }
        let is_answer = |said: &mut Arc<Message>| said.role == Role::Assistant && said.run == message.run;
        given.pop_if(is_answer);
        corrected.clone_from(&message.run);
    }
    given
}

/// A message with nothing of what its provider needs to go on behind it.
fn without_continuation(mut message: Arc<Message>) -> Arc<Message> {
    let is_one = |part: &Part| matches!(part, Part::Continuation(_));
    if message.content.iter().any(is_one) {
        Arc::make_mut(&mut message).content.retain(|part| !is_one(part));
    }
    message
}

/// Whether a message says what is wrong with the one before it. Nothing else is a rule that comes from a run.
fn is_note(message: &Message) -> bool {
    message.role == Role::System && message.run.is_some() && message.summarized().is_none()
}
