//! The state machine of a run: pure, without a clock or I/O.
//!
//! [`Run::start`] and [`Run::on`] take what happened and append to a list of [`Effect`]s, to be performed in
//! order. What must hold whatever happens, in whatever order: sequences grow by one from 1; there is exactly
//! one terminal event, and it is the last; every call that a watcher saw begin is answered; what the history
//! holds is a conversation that a model can be asked to go on with; the bounds of the run are kept.

mod calls;
mod journal;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use self::calls::Calls;
use self::journal::Journal;
use self::turn::Turn;
use super::catalogue::{Catalogue, Tool};
use super::error::Error;
use super::event::{Body, Event, Progress};
use super::id::{CallId, Mint};
use super::message::{Message, Role, ToolOutput};
use super::ports::{Finish, ModelEvent, ModelRequest};
use super::record::{IncompleteReason, Outcome, RunRecord, Snapshot, State};

/// A run, from its first model request to its end.
#[derive(Debug)]
pub struct Run {
    journal: Journal,
    history: Vec<Arc<Message>>,
    catalogue: Arc<Catalogue>,
    /// The limit that ran out: the last turn, without tools, goes on or is over.
    landing: Option<IncompleteReason>,
    phase: Phase,
    mint: Mint,
}

/// What a run begins with.
#[derive(Debug)]
pub struct Beginning {
    /// The run, as the store has it: open.
    pub record: RunRecord,
    /// The thread before the message that the run answers, oldest first.
    pub history: Vec<Arc<Message>>,
    /// The message that it answers.
    pub message: Arc<Message>,
    /// The tools that it may use.
    pub catalogue: Arc<Catalogue>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The model said something.
    Model(ModelEvent),
    /// The model could not be asked, or broke off.
    ModelFailed(Error),
    /// A tool reports how far it is.
    CallProgress {
        /// The call.
        call: CallId,
        /// How far.
        progress: Progress,
    },
    /// A call is over.
    CallDone {
        /// The call.
        call: CallId,
        /// What it brought.
        output: ToolOutput,
        /// How long it took.
        duration: Duration,
    },
    /// Somebody called the run off.
    Cancel,
    /// The run's own bound on its duration is reached.
    Deadline,
    /// The service's execution limit is reached.
    Expire,
    /// The run cannot go on: the service is going down.
    Fail(Error),
    /// A [`Effect::Save`] failed for good; it and everything behind it in the same list was not done.
    SaveFailed {
        /// Why.
        error: Error,
        /// What was not done, in order.
        undone: Vec<Effect>,
    },
}

/// Something to be done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Write the run and these new messages, before anything behind this is done.
    Save {
        /// The run as it is now.
        record: Arc<RunRecord>,
        /// New messages of its thread.
        messages: Vec<Arc<Message>>,
    },
    /// Show this to every watcher.
    Emit(Event),
    /// Ask the model, and feed what it says back in.
    CallModel(ModelRequest),
    /// Call a tool, and feed what it brings back in.
    CallTool {
        /// The call.
        call: CallId,
        /// The tool.
        tool: Arc<Tool>,
        /// Its arguments, checked.
        arguments: Map<String, Value>,
    },
    /// Abort the model request and every call that goes on.
    Abort,
}

#[derive(Debug)]
enum Phase {
    Asking(Turn),
    Calling(Calls),
    Over,
}

/// What a failed save held up.
#[derive(Debug, Default)]
struct Undone {
    messages: Vec<Arc<Message>>,
    bodies: Vec<Body>,
}

impl Undone {
    fn of(effects: Vec<Effect>) -> Self {
        let mut undone = Self::default();
        for effect in effects {
            match effect {
                Effect::Save { messages, .. } => undone.messages.extend(messages),
                Effect::Emit(event) => undone.bodies.push(event.body),
                Effect::CallModel(_) | Effect::CallTool { .. } | Effect::Abort => {}
            }
        }
        undone
    }
}

impl Run {
    /// Begins a run that is open in the store.
    pub fn start(beginning: Beginning, mint: Mint, now: SystemTime, out: &mut Vec<Effect>) -> Run {
        let Beginning {
            record,
            mut history,
            message,
            catalogue,
        } = beginning;
        history.push(Arc::clone(&message));
        let mut run = Run {
            journal: Journal::new(record),
            history,
            catalogue,
            landing: None,
            phase: Phase::Over,
            mint,
        };
        run.journal.emit(
            Body::StateChanged {
                from: State::Queued,
                to: State::Running,
            },
            now,
            out,
        );
        run.journal.emit(Body::MessageCreated(message), now, out);
        run.ask(out);
        run
    }

    /// Takes one thing that happened. After the end, nothing has an effect any more.
    pub fn on(&mut self, input: Input, now: SystemTime, out: &mut Vec<Effect>) {
        if self.is_over() {
            return;
        }
        match input {
            Input::Model(event) => self.on_model(event, now, out),
            Input::ModelFailed(error) | Input::Fail(error) => {
                self.stop(Outcome::Failed(error), Undone::default(), now, out);
            }
            Input::CallProgress { call, progress } => self.on_progress(call, progress, now, out),
            Input::CallDone {
                call,
                output,
                duration,
            } => self.on_call_done(&call, output, duration, now, out),
            Input::Cancel => {
                self.journal.change_state(State::Cancelling, now, out);
                self.stop(Outcome::Cancelled, Undone::default(), now, out);
            }
            Input::Deadline => {
                let outcome = Outcome::Incomplete(IncompleteReason::Deadline);
                self.stop(outcome, Undone::default(), now, out);
            }
            Input::Expire => self.stop(Outcome::Expired, Undone::default(), now, out),
            Input::SaveFailed { error, undone } => {
                let undone = Undone::of(undone);
                self.journal.take_back(undone.bodies.len() as u64);
                self.stop(Outcome::Failed(error), undone, now, out);
            }
        }
    }

    /// Whether the terminal event is out.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The text of the last message that the model wrote in this run; empty if it wrote none.
    pub fn response(&self) -> String {
        let run = &self.journal.record().id;
        self.history
            .iter()
            .rev()
            .find(|message| message.role == Role::Assistant && message.run.as_ref() == Some(run))
            .map(|message| message.text())
            .unwrap_or_default()
    }

    /// The run as it is now.
    pub fn record(&self) -> &RunRecord {
        self.journal.record()
    }

    fn on_model(&mut self, event: ModelEvent, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        match event {
            ModelEvent::Usage(usage) => turn.usage = usage,
            ModelEvent::Finished(finish) => self.finish_turn(finish, now, out),
            event => turn.say(event, &mut self.journal, &mut self.mint, now, out),
        }
    }

    fn on_progress(&mut self, call: CallId, progress: Progress, now: SystemTime, out: &mut Vec<Effect>) {
        if let Phase::Calling(calls) = &self.phase
            && calls.is_open(&call)
        {
            self.journal
                .emit(Body::ToolCallProgress { call, progress }, now, out);
        }
    }

    fn on_call_done(
        &mut self,
        call: &CallId,
        output: ToolOutput,
        duration: Duration,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Calling(calls) = &mut self.phase else {
            return;
        };
        if let Some(body) = calls.answer(call, output, duration) {
            self.journal.emit(body, now, out);
        }
        if calls.are_answered() {
            self.finish_calls(now, out);
        }
    }

    /// Sends the conversation to the model: with tools, unless a limit has run out.
    fn ask(&mut self, out: &mut Vec<Effect>) {
        self.journal.count(1, 0);
        let record = self.journal.record();
        let offers_tools = self.landing.is_none() && !self.catalogue.tools().is_empty();
        out.push(Effect::CallModel(ModelRequest {
            run: record.id.clone(),
            model: record.snapshot.model.clone(),
            instructions: record.snapshot.instructions.clone(),
            messages: self.history.clone(),
            tools: offers_tools.then(|| Arc::clone(&self.catalogue)),
            max_output_tokens: record.snapshot.limits.max_output_tokens,
        }));
        self.phase = Phase::Asking(Turn::new(record.id.clone(), &mut self.mint));
    }

    /// The model has stopped: the answer is there, or calls are to be made.
    fn finish_turn(&mut self, finish: Finish, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        let asks_for_calls = turn.asks_for_calls();
        let outcome = match (finish, self.landing) {
            (Finish::Length, _) => Outcome::Incomplete(IncompleteReason::MaxTokens),
            (Finish::ContentFilter, _) => Outcome::Incomplete(IncompleteReason::ContentFilter),
            (Finish::Stop, Some(reason)) => Outcome::Incomplete(reason),
            (Finish::Stop, None) if asks_for_calls => return self.make_calls(now, out),
            (Finish::Stop, None) => Outcome::Completed,
        };
        let is_whole = finish == Finish::Stop;
        let (message, mut bodies) = turn.close(is_whole, "not called: no calls are left", now);
        self.journal.add_usage(turn.usage, &mut bodies);
        self.end(outcome, message.into_iter().collect(), bodies, now, out);
    }

    /// Writes down what the model wants called, then calls what may be called.
    fn make_calls(&mut self, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        let mut tail = Vec::new();
        self.journal.add_usage(turn.usage, &mut tail);
        if self.journal.is_over_token_budget() {
            let (message, mut bodies) = turn.close(false, "not called: the token budget is used up", now);
            bodies.extend(tail);
            let outcome = Outcome::Incomplete(IncompleteReason::Budget);
            return self.end(outcome, message.into_iter().collect(), bodies, now, out);
        }
        let message = turn.with_calls(now);
        let mut bodies = vec![Body::MessageCompleted(Arc::clone(&message))];
        bodies.extend(tail);
        self.history.push(Arc::clone(&message));
        self.journal.commit(vec![Arc::clone(&message)], bodies, now, out);

        let mut calls = Calls::new(&message);
        let RunRecord {
            snapshot: Snapshot { limits, .. },
            usage,
            ..
        } = self.journal.record();
        let (max_turns, turns) = (limits.max_turns, usage.turns);
        let allowed = limits.max_tool_calls.saturating_sub(usage.tool_calls);
        let (made, rejected) = calls.admit(allowed, &self.catalogue);
        self.journal.count(0, made.len());
        if calls.exceeded(allowed) {
            self.landing = Some(IncompleteReason::MaxToolCalls);
        } else if turns >= max_turns {
            self.landing = Some(IncompleteReason::MaxTurns);
        }
        for body in rejected {
            self.journal.emit(body, now, out);
        }
        out.extend(made);
        let is_answered = calls.are_answered();
        self.phase = Phase::Calling(calls);
        if is_answered {
            self.finish_calls(now, out);
        }
    }

    /// Every call is answered: tells the model.
    fn finish_calls(&mut self, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Calling(calls) = &mut self.phase else {
            return;
        };
        let message = calls.message(&self.journal.record().id, &mut self.mint, now);
        self.history.push(Arc::clone(&message));
        self.journal.commit(
            vec![Arc::clone(&message)],
            vec![Body::MessageCreated(message)],
            now,
            out,
        );
        self.ask(out);
    }

    /// Breaks off, keeping what there is and answering what is open. What could not be written before is
    /// written, and shown, first.
    fn stop(&mut self, outcome: Outcome, undone: Undone, now: SystemTime, out: &mut Vec<Effect>) {
        out.push(Effect::Abort);
        let note = match &outcome {
            Outcome::Cancelled => "not finished: the run was cancelled",
            Outcome::Failed(_) => "not finished: the run failed",
            _ => "not finished: the run ran out of time",
        };
        let Undone {
            mut messages,
            mut bodies,
        } = undone;
        match &mut self.phase {
            Phase::Asking(turn) => {
                let (message, closing) = turn.close(false, note, now);
                messages.extend(message);
                bodies.extend(closing);
                self.journal.add_usage(turn.usage, &mut bodies);
            }
            Phase::Calling(calls) => {
                bodies.extend(calls.give_up(note));
                let message = calls.message(&self.journal.record().id, &mut self.mint, now);
                bodies.push(Body::MessageCreated(Arc::clone(&message)));
                messages.push(message);
            }
            Phase::Over => return,
        }
        self.end(outcome, messages, bodies, now, out);
    }

    fn end(
        &mut self,
        outcome: Outcome,
        messages: Vec<Arc<Message>>,
        bodies: Vec<Body>,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        // Nobody is asked any more: the history only tells what the last message was.
        self.history.extend(messages.last().cloned());
        self.journal.end(outcome, messages, bodies, now, out);
        self.phase = Phase::Over;
    }
}
