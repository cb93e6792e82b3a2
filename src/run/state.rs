//! The state machine of a run: pure, without a clock or I/O.
//!
//! [`Run::start`] and [`Run::on`] take what happened and append to a list of [`Effect`]s, to be performed in
//! order. What must hold whatever happens, in whatever order: sequences grow by one from 1; there is exactly
//! one terminal event, and it is the last; every call that a watcher saw begin is answered; what the history
//! holds is a conversation that a model can be asked to go on with; the bounds of the run are kept.

mod answer;
mod asking;
mod bill;
mod calls;
mod journal;
mod sampling;
mod summing;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use self::calls::{Calls, Change, are_used_up};
use self::journal::{Entry, Journal};
use self::summing::Summing;
use self::turn::Turn;
use super::action::{Asking, Reply, Resolution, Submission};
use super::answer::AnswerCheck;
use super::catalogue::{Catalogue, Tool};
use super::context::{Bounds, Context};
use super::error::{Error, Reason};
use super::event::{Body, Event, Progress};
use super::id::{CallId, Mint};
use super::message::{Message, Role, ToolOutput};
use super::ports::{Finish, ModelEvent, ModelRequest, Save};
use super::record::{IncompleteReason, Outcome, RunRecord, Snapshot, State};
use super::sampling::{Allowance, Wanted};
use super::step::{Step, StepState};

pub use self::calls::{check_answer, not_pending};
pub use self::journal::RESERVE;

/// Why calls of a run are not made that has no tokens left.
const OUT_OF_TOKENS: &str = "the run's tokens are used up";

/// And why of one that has no money left.
const OUT_OF_MONEY: &str = "the run's budget is used up";

/// A run, from its first model request to its end.
#[derive(Debug)]
pub struct Run {
    journal: Journal,
    history: Vec<Arc<Message>>,
    /// How many messages there are before the history.
    unread: u64,
    /// How much of the history the model is given.
    context: Context,
    /// How many messages of the history, the oldest, may have been in a request.
    asked: usize,
    terms: Terms,
    /// The limit that ran out: the last turn, without tools, goes on or is over.
    landing: Option<IncompleteReason>,
    /// A summary was tried and failed: what is left out is left out without one.
    forgoes_summaries: bool,
    phase: Phase,
    mint: Mint,
}

/// What a run begins with, or goes on with.
#[derive(Debug)]
pub struct Beginning {
    /// The run, as the store has it: open.
    pub record: RunRecord,
    /// The thread, with the message that the run answers and what it has written itself, oldest first; all of it, or
    /// the part that a model can be given.
    pub history: Vec<Arc<Message>>,
    /// How many older messages there are, which no model can be given any more.
    pub unread: u64,
    /// How many messages, the newest, have certainly been in no request to a model.
    pub unasked: usize,
    /// What the run has done already.
    pub steps: Vec<Arc<Step>>,
    /// What it may use, and for how long.
    pub terms: Terms,
}

/// What a run may use, and for how long.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What its provider calls the model.
    pub provider_model: String,
    /// The tools that it may use.
    pub catalogue: Arc<Catalogue>,
    /// What its answer has to look like; none for any text.
    pub answer: Option<Arc<AnswerCheck>>,
    /// How many calls may go on at once; at least 1.
    pub parallel_calls: usize,
    /// How many bytes of text of one output the model is given.
    pub tool_output_limit: usize,
    /// How long it may work; then it is EXPIRED.
    pub execution_limit: Duration,
    /// How long it may wait for an answer; then it is EXPIRED.
    pub waiting_limit: Duration,
    /// How long a conversation may be.
    pub bounds: Bounds,
    /// What sums up what the model is not given any more; none for the run's own model.
    pub summary_model: Option<SummaryModel>,
}

/// A model that sums up conversations.
#[derive(Clone, Debug)]
pub struct SummaryModel {
    /// What requests call it.
    pub name: String,
    /// What its provider calls it.
    pub provider_model: String,
    /// Tokens that it takes at most; none when that is not known.
    pub context_tokens: Option<u64>,
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
    /// While a call goes on, its tool's server asks a person for something. One question of a call at a time.
    CallAsks {
        /// The call.
        call: CallId,
        /// What is asked.
        asking: Asking,
    },
    /// Whoever asked a person while a call goes on does not wait for the reply any more.
    CallAsksNoMore {
        /// The call.
        call: CallId,
    },
    /// While a call goes on, its tool's server wants to ask a model. The run says whether it may.
    CallSamples {
        /// The call.
        call: CallId,
        /// Tells the requests of servers during one run apart.
        request: u64,
        /// What is to be asked.
        wanted: Wanted,
    },
    /// A model says something to the server of a call.
    CallSampling {
        /// The call.
        call: CallId,
        /// The request.
        request: u64,
        /// What it says.
        event: ModelEvent,
    },
    /// A request of the server of a call to a model is over.
    CallSampled {
        /// The call.
        call: CallId,
        /// The request.
        request: u64,
        /// Why there is no whole answer; none when there is one.
        failure: Option<Error>,
    },
    /// A call broke off after it was sent: nobody knows whether it had its effect.
    CallLost {
        /// The call.
        call: CallId,
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
        /// Whether somebody called the run off meanwhile, which is its end then.
        called_off: bool,
    },
}

/// What can end a run by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The run's own bound on its duration.
    Deadline,
    /// The service's bound on its work, or on its wait.
    Expiry,
}

/// Something to be done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Write this before anything behind it is done, and show its events to every watcher.
    Save(Save),
    /// Show this to every watcher, and write it soon: an event of a turn that is not over.
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
    /// Tell the server of a call that goes on what a person replies to its question.
    Reply {
        /// The call.
        call: CallId,
        /// The reply.
        reply: Reply,
    },
    /// Tell the server of a call that goes on whether it may ask a model, or that it has to stop.
    Sample {
        /// The request.
        request: u64,
        /// What the run leaves for it, or why it may not go on.
        verdict: Result<Allowance, Error>,
    },
    /// Abort the model request and every call that goes on.
    Abort,
}

#[derive(Debug)]
enum Phase {
    /// What the model is not given any more is summed up, before it is asked.
    Summing(Box<Summing>),
    Asking(Box<Turn>),
    Calling(Calls),
    Over,
}

impl Entry {
    /// What a failed save held up.
    fn undone(effects: Vec<Effect>) -> Self {
        let mut undone = Self::default();
        for effect in effects {
            match effect {
                Effect::Save(save) => {
                    let steps = save.steps.into_iter().map(Arc::unwrap_or_clone);
                    let bodies = save
                        .events
                        .into_iter()
                        .map(|event| Arc::unwrap_or_clone(event).body);
                    undone.messages.extend(save.messages);
                    undone.steps.extend(steps);
                    undone.bodies.extend(bodies);
                }
                Effect::Emit(event) => undone.bodies.push(event.body),
                Effect::CallModel(_)
                | Effect::CallTool { .. }
                | Effect::Reply { .. }
                | Effect::Sample { .. }
                | Effect::Abort => {}
            }
        }
        undone
    }
}

/// What watchers of a run see first: its state, and the message that it answers if it has a place in the thread.
/// It is written as the run is opened.
pub fn opening_events(
    record: &mut RunRecord,
    message: Option<&Arc<Message>>,
    now: SystemTime,
) -> Vec<Arc<Event>> {
    let state = Body::StateChanged {
        from: None,
        to: record.state.clone(),
    };
    let created = message.cloned().map(Body::MessageCreated);
    next_events(record, std::iter::once(state).chain(created), now)
}

/// What watchers of a queued run see when it starts. It is written as the run is started.
pub fn starting_events(
    record: &mut RunRecord,
    message: Option<&Arc<Message>>,
    execution_limit: Duration,
    now: SystemTime,
) -> Vec<Arc<Event>> {
    let from = Some(std::mem::replace(&mut record.state, State::Running));
    record.start_time = Some(now);
    record.expire_time = now.checked_add(execution_limit);
    let to = State::Running;
    let created = message.cloned().map(Body::MessageCreated);
    next_events(
        record,
        std::iter::once(Body::StateChanged { from, to }).chain(created),
        now,
    )
}

/// What watchers of a queued run see when it ends without having started.
pub fn ending_events(record: &mut RunRecord, outcome: Outcome, now: SystemTime) -> Vec<Arc<Event>> {
    let cancelling = match outcome {
        Outcome::Cancelled => Some(Body::StateChanged {
            from: Some(record.state.clone()),
            to: State::Cancelling,
        }),
        _ => None,
    };
    record.state = State::Ended(outcome);
    record.end_time = Some(now);
    record.expire_time = None;
    record.last_sequence += 1 + u64::from(cancelling.is_some());
    let ended = Body::Ended(Arc::new(record.clone()));
    record.last_sequence -= 1 + u64::from(cancelling.is_some());
    next_events(record, cancelling.into_iter().chain([ended]), now)
}

/// Numbers events that follow the last, for a run without a state machine.
fn next_events(
    record: &mut RunRecord,
    bodies: impl Iterator<Item = Body>,
    now: SystemTime,
) -> Vec<Arc<Event>> {
    let numbered = (record.last_sequence + 1..).zip(bodies);
    let events: Vec<_> = numbered
        .map(|(sequence, body)| {
            Arc::new(Event {
                sequence,
                time: now,
                body,
            })
        })
        .collect();
    record.last_sequence += events.len() as u64;
    record.reserved_sequence = record.last_sequence + RESERVE;
    events
}

/// What is used up, in words for the model and people.
fn used_up(reason: IncompleteReason) -> &'static str {
    match reason {
        IncompleteReason::Budget => OUT_OF_MONEY,
        _ => OUT_OF_TOKENS,
    }
}

impl Run {
    /// Begins a run that is open in the store and whose [opening events](opening_events) have been shown.
    pub fn start(beginning: Beginning, mint: Mint, now: SystemTime, out: &mut Vec<Effect>) -> Run {
        let sequence = beginning.record.last_sequence;
        let mut run = Run::new(beginning, sequence, mint);
        run.ask(now, out);
        run
    }

    /// Goes on with a run whose process died, from the last step that was written. Whatever was shown after it
    /// is void, and the sequences go on beyond all that anybody can have seen.
    pub fn resume(beginning: Beginning, mint: Mint, now: SystemTime, out: &mut Vec<Effect>) -> Run {
        let record = &beginning.record;
        let (first_void, sequence) = (record.last_sequence + 1, record.reserved_sequence);
        let steps = beginning.steps.clone();
        let mut run = Run::new(beginning, sequence, mint);
        if run.journal.record().usage.turns > 0 {
            run.landing = run.limit_met(are_used_up(&steps));
        }
        let mut entry = Entry {
            bodies: vec![Body::TurnRestarted { first_void }],
            ..Entry::default()
        };
        let Some((mut calls, recorded)) = run.open_calls(&steps, now) else {
            run.journal.commit(entry, now, out);
            run.ask(now, out);
            return run;
        };
        let change = calls.resume(recorded, &run.terms, &mut run.mint, now);
        entry.steps = change.steps;
        entry.bodies.extend(change.bodies);
        run.phase = Phase::Calling(calls);
        run.go_on_calling(entry, change.made, now, out);
        run
    }

    /// Ends a run whose task broke off, from the last step that was written. What was shown after it, up to this
    /// sequence, is void; calls that are open are answered.
    pub fn break_off(
        beginning: Beginning,
        shown: u64,
        error: Error,
        mint: Mint,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) -> Run {
        let written = beginning.record.last_sequence;
        let steps = beginning.steps.clone();
        let mut run = Run::new(beginning, shown.max(written), mint);
        let mut entry = Entry::default();
        if shown > written {
            let first_void = written + 1;
            entry.bodies.push(Body::TurnRestarted { first_void });
        }
        let outcome = Outcome::Failed(error);
        match run.open_calls(&steps, now) {
            Some((calls, recorded)) => {
                entry.steps = recorded.steps;
                entry.bodies.extend(recorded.bodies);
                run.phase = Phase::Calling(calls);
                run.stop(outcome, entry, now, out);
            }
            None => run.end(outcome, entry, now, out),
        }
        run
    }

    /// The calls that the run has asked for last, if the history does not answer them.
    fn open_calls(&mut self, steps: &[Arc<Step>], now: SystemTime) -> Option<(Calls, Change)> {
        let run = &self.journal.record().id;
        let is_open = |message: &&Arc<Message>| {
            message.run.as_ref() == Some(run) && message.tool_calls().next().is_some()
        };
        let message = self.history.last().filter(is_open)?;
        let (journal, mint) = (&mut self.journal, &mut self.mint);
        Some(Calls::recorded(message, steps, &self.terms, journal, mint, now))
    }

    fn new(beginning: Beginning, sequence: u64, mint: Mint) -> Run {
        let next_place = beginning
            .steps
            .iter()
            .map(|step| step.place + 1)
            .max()
            .unwrap_or(0);
        let history = answer::without_corrections(beginning.history, &beginning.record.id);
        Run {
            journal: Journal::new(beginning.record, sequence, next_place),
            asked: history.len().saturating_sub(beginning.unasked),
            history,
            unread: beginning.unread,
            context: Context::default(),
            terms: beginning.terms,
            landing: None,
            forgoes_summaries: false,
            phase: Phase::Over,
            mint,
        }
    }

    /// Takes one thing that happened. After the end, nothing has an effect any more, but that something before it could
    /// not be written.
    pub fn on(&mut self, input: Input, now: SystemTime, out: &mut Vec<Effect>) {
        if self.is_over() {
            if let Input::SaveFailed { undone, .. } = input {
                self.end_with(undone, now, out);
            }
            return;
        }
        match input {
            Input::Model(event) => self.on_model(event, now, out),
            Input::ModelFailed(error) if matches!(self.phase, Phase::Summing(_)) => {
                self.give_up_summary(error, now, out);
            }
            Input::ModelFailed(error) if error.reason() == Reason::ContextLengthExceeded => {
                self.ask_for_less(error, now, out);
            }
            Input::ModelFailed(error) | Input::Fail(error) => {
                self.stop(Outcome::Failed(error), Entry::default(), now, out);
            }
            Input::CallProgress { call, progress } => self.on_progress(call, progress, now, out),
            Input::CallDone {
                call,
                output,
                duration,
            } => self.on_call_done(&call, output, duration, now, out),
            Input::CallAsks { call, asking } => self.on_calls(now, out, |calls, terms, mint| {
                calls.question(&call, asking, terms, mint, now)
            }),
            Input::CallAsksNoMore { call } => {
                self.on_calls(now, out, |calls, terms, _| {
                    calls.question_withdrawn(&call, terms, now)
                });
            }
            Input::CallSamples {
                call,
                request,
                wanted,
            } => self.on_samples(&call, request, wanted, now, out),
            Input::CallSampling { call, request, event } => self.on_sampling(&call, request, event, now, out),
            Input::CallSampled {
                call,
                request,
                failure,
            } => self.on_calls(now, out, |calls, _, _| {
                calls.sampled(&call, request, failure.as_ref(), now)
            }),
            Input::CallLost { call } => {
                self.on_calls(now, out, |calls, terms, mint| calls.lost(&call, terms, mint, now));
            }
            Input::Cancel => {
                let entry = Entry {
                    bodies: vec![self.journal.change_state(State::Cancelling)],
                    ..Entry::default()
                };
                self.stop(Outcome::Cancelled, entry, now, out);
            }
            Input::Deadline => {
                let outcome = Outcome::Incomplete(IncompleteReason::Deadline);
                self.stop(outcome, Entry::default(), now, out);
            }
            Input::Expire => self.stop(self.expired(), Entry::default(), now, out),
            Input::SaveFailed {
                error,
                undone,
                called_off,
            } => {
                let mut undone = Entry::undone(undone);
                self.journal.take_back(undone.bodies.len() as u64);
                let outcome = if called_off {
                    undone.bodies.push(self.journal.change_state(State::Cancelling));
                    Outcome::Cancelled
                } else {
                    Outcome::Failed(error)
                };
                self.stop(outcome, undone, now, out);
            }
        }
    }

    /// Takes answers to what the run has asked: all of them or none. The same answers again change nothing.
    ///
    /// # Errors
    /// `ACTION_NOT_PENDING`; `VALIDATION_FAILED` for an answer that does not fit its action.
    pub fn submit(
        &mut self,
        submissions: Vec<Submission>,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let Phase::Calling(calls) = &mut self.phase else {
            return match submissions.first() {
                Some(first) => Err(not_pending(&first.action)),
                None => Ok(()),
            };
        };
        let change = calls.submit(submissions, &self.terms, now)?;
        if change.steps.is_empty() {
            return Ok(());
        }
        let entry = Entry {
            messages: Vec::new(),
            steps: change.steps,
            bodies: change.bodies,
        };
        self.go_on_calling(entry, change.made, now, out);
        Ok(())
    }

    /// Whether it waits for an answer about a tool that it did not find when it went on.
    pub fn misses_a_tool(&self) -> bool {
        match &self.phase {
            Phase::Calling(calls) => calls.misses_a_tool(&self.terms.catalogue),
            _ => false,
        }
    }

    /// Takes the tools that there are now. Answers are bound to the schema that was shown, so that none is about
    /// another tool of the same name.
    pub fn renew(&mut self, catalogue: Arc<Catalogue>) {
        self.terms.catalogue = catalogue;
    }

    /// What ends the run if nothing else does, and when.
    pub fn alarm(&self) -> Option<(SystemTime, Alarm)> {
        let record = self.journal.record();
        let expiry = record.expire_time.map(|time| (time, Alarm::Expiry));
        if record.is_idle() {
            return expiry;
        }
        let deadline = record
            .snapshot
            .limits
            .max_duration
            .zip(record.start_time)
            .and_then(|(limit, started)| started.checked_add(limit)?.checked_add(record.waited))
            .map(|time| (time, Alarm::Deadline));
        deadline.into_iter().chain(expiry).min_by_key(|(time, _)| *time)
    }

    /// Whether the terminal event is out.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The last message that the model wrote in this run, if it wrote any.
    pub fn answer(&self) -> Option<&Arc<Message>> {
        let run = &self.journal.record().id;
        self.history
            .iter()
            .rev()
            .find(|message| message.role == Role::Assistant && message.run.as_ref() == Some(run))
    }

    /// The run as it is now.
    pub fn record(&self) -> &RunRecord {
        self.journal.record()
    }

    fn on_model(&mut self, event: ModelEvent, now: SystemTime, out: &mut Vec<Effect>) {
        let bill = match (&mut self.phase, event) {
            (Phase::Summing(_), ModelEvent::Finished(finish)) => {
                return self.finish_summary(finish, now, out);
            }
            (Phase::Summing(summing), event) => summing.hear(event, now),
            (Phase::Asking(_), ModelEvent::Finished(finish)) => return self.finish_turn(finish, now, out),
            (Phase::Asking(turn), ModelEvent::Sent(attempt)) => return turn.bill.sent(attempt, now),
            (Phase::Asking(turn), ModelEvent::Attempt(attempt)) => {
                turn.bill.attempted(attempt);
                &turn.bill
            }
            (Phase::Asking(turn), ModelEvent::Unknown(count)) => return turn.skipped(count),
            (Phase::Asking(turn), ModelEvent::Usage(usage)) => {
                turn.bill.report(usage);
                &turn.bill
            }
            (Phase::Asking(turn), event) => {
                turn.say(event, &mut self.journal, &mut self.mint, now, out);
                &turn.bill
            }
            (Phase::Calling(_) | Phase::Over, _) => return,
        };
        if let Some(reason) = self.journal.limit_passed(bill.tokens()) {
            self.stop(Outcome::Incomplete(reason), Entry::default(), now, out);
        }
    }

    /// The end of a run that has worked, or waited for people, for too long.
    fn expired(&self) -> Outcome {
        let record = self.journal.record();
        if !record.is_idle() {
            return Outcome::Expired("the run worked for longer than the service allows".to_owned());
        }
        let pending = record.pending.iter();
        let pending: Vec<String> = pending
            .map(|action| format!("{} ({})", action.id, action.call.tool))
            .collect();
        Outcome::Expired(format!(
            "the run waited too long for an answer to {}",
            pending.join(", ")
        ))
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
        self.on_calls(now, out, |calls, terms, _| {
            calls.answer(call, output, duration, terms, now)
        });
    }

    /// Lets something happen to the calls, if there are any, and goes on from there.
    fn on_calls(
        &mut self,
        now: SystemTime,
        out: &mut Vec<Effect>,
        happen: impl FnOnce(&mut Calls, &Terms, &mut Mint) -> Option<Change>,
    ) {
        let Phase::Calling(calls) = &mut self.phase else {
            return;
        };
        let Some(change) = happen(calls, &self.terms, &mut self.mint) else {
            return;
        };
        let entry = Entry {
            messages: Vec::new(),
            steps: change.steps,
            bodies: change.bodies,
        };
        self.go_on_calling(entry, change.made, now, out);
    }

    /// The model has stopped: the answer is there, or calls are to be made.
    fn finish_turn(&mut self, finish: Finish, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Asking(turn) = &self.phase else {
            return;
        };
        let asks_for_calls = turn.asks_for_calls();
        let outcome = match (finish, self.landing) {
            (Finish::Length, _) => Outcome::Incomplete(IncompleteReason::MaxTokens),
            (Finish::ContentFilter, _) => Outcome::Incomplete(IncompleteReason::ContentFilter),
            (Finish::Stop, Some(reason)) => Outcome::Incomplete(reason),
            (Finish::Stop, None) if asks_for_calls => return self.make_calls(now, out),
            (Finish::Stop, None) => match self.violation() {
                None => Outcome::Completed,
                Some(violation) => return self.correct(&violation, now, out),
            },
        };
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        let is_whole = finish == Finish::Stop;
        let (message, bodies) = turn.close(is_whole, "no calls are left", now);
        let entry = self.turn_entry(message, bodies, StepState::Completed, now);
        self.end(outcome, entry, now, out);
    }

    /// What the end of a turn brings: its message, its step, and what tells of them.
    fn turn_entry(
        &mut self,
        message: Option<Arc<Message>>,
        mut bodies: Vec<Body>,
        state: StepState,
        now: SystemTime,
    ) -> Entry {
        let Phase::Asking(turn) = &self.phase else {
            return Entry::default();
        };
        let usage = turn.bill.total(&state);
        // What an attempt read that failed is not in the conversation twice.
        self.context.count(&turn.bill.answer(&state));
        self.journal.add_usage(usage, &mut bodies);
        let step = turn.step(&mut self.journal, &mut self.mint, message.as_ref(), state, now);
        Entry {
            messages: message.into_iter().collect(),
            steps: vec![step],
            bodies,
        }
    }

    /// Writes down what the model wants called, then calls what may be called.
    fn make_calls(&mut self, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        let message = turn.with_calls(now);
        let bodies = vec![Body::MessageCompleted(Arc::clone(&message))];
        let mut entry = self.turn_entry(Some(Arc::clone(&message)), bodies, StepState::Completed, now);
        if let Some(reason) = self.journal.limit_met() {
            return self.give_up_calls(reason, entry, now, out);
        }
        self.history.push(Arc::clone(&message));
        let RunRecord {
            snapshot: Snapshot { limits, .. },
            usage,
            ..
        } = self.journal.record();
        let allowed = limits.max_tool_calls.saturating_sub(usage.tool_calls);
        let (calls, change) = Calls::new(
            &message,
            allowed,
            &self.terms,
            &mut self.journal,
            &mut self.mint,
            now,
        );
        self.landing = self.limit_met(calls.exceeded(allowed));
        entry.steps.extend(change.steps);
        entry.bodies.extend(change.bodies);
        self.phase = Phase::Calling(calls);
        self.go_on_calling(entry, change.made, now, out);
    }

    /// The limit after whose calls only one turn without tools is left, if it is met; `has_refused` calls beyond it.
    fn limit_met(&self, has_refused: bool) -> Option<IncompleteReason> {
        let RunRecord {
            snapshot: Snapshot { limits, .. },
            usage,
            ..
        } = self.journal.record();
        if has_refused || usage.tool_calls >= limits.max_tool_calls {
            Some(IncompleteReason::MaxToolCalls)
        } else if usage.turns >= limits.max_turns {
            Some(IncompleteReason::MaxTurns)
        } else {
            None
        }
    }

    /// The tokens or the money are used up: what was said is kept, what was to be called is not.
    fn give_up_calls(
        &mut self,
        reason: IncompleteReason,
        entry: Entry,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Asking(turn) = &mut self.phase else {
            return;
        };
        let (message, mut bodies) = turn.close(false, used_up(reason), now);
        // The first body tells of the message with its calls, which is not kept.
        bodies.extend(entry.bodies.into_iter().skip(1));
        let entry = Entry {
            messages: message.into_iter().collect(),
            steps: entry.steps,
            bodies,
        };
        self.end(Outcome::Incomplete(reason), entry, now, out);
    }

    /// Writes what the calls have brought; then makes more of them or, when all are answered, tells the model.
    fn go_on_calling(&mut self, mut entry: Entry, made: Vec<Effect>, now: SystemTime, out: &mut Vec<Effect>) {
        let Phase::Calling(calls) = &mut self.phase else {
            return;
        };
        self.journal.add_usage(calls.take_used(), &mut entry.bodies);
        let (limit, is_at_work) = (self.terms.execution_limit, calls.is_at_work());
        let turned = self.journal.wait_for(calls.pending(), is_at_work, limit, now);
        entry.bodies.extend(turned);
        if !calls.are_answered() {
            self.journal.commit(entry, now, out);
            out.extend(made);
            return;
        }
        let message = calls.message(&self.journal.record().id, &self.terms, &mut self.mint, now);
        entry.messages.push(Arc::clone(&message));
        entry.bodies.push(Body::MessageCreated(Arc::clone(&message)));
        // What servers have asked the model may have used up what was left.
        if let Some(reason) = self.journal.limit_met() {
            return self.end(Outcome::Incomplete(reason), entry, now, out);
        }
        self.history.push(message);
        self.journal.commit(entry, now, out);
        self.ask(now, out);
    }

    /// Breaks off: everything that is open is closed, written and shown. What a failed save held up comes
    /// first.
    fn stop(&mut self, outcome: Outcome, mut entry: Entry, now: SystemTime, out: &mut Vec<Effect>) {
        out.push(Effect::Abort);
        let why = match &outcome {
            Outcome::Cancelled => "the run was cancelled",
            Outcome::Failed(_) => "the run failed",
            Outcome::Incomplete(reason @ (IncompleteReason::MaxTokens | IncompleteReason::Budget)) => {
                used_up(*reason)
            }
            _ => "the run ran out of time",
        };
        let state = match &outcome {
            Outcome::Failed(error) => StepState::failed(error),
            _ => StepState::Cancelled,
        };
        match &mut self.phase {
            Phase::Summing(_) => {
                let closing = self.summary_entry(None, state, now);
                entry.steps.extend(closing.steps);
                entry.bodies.extend(closing.bodies);
            }
            Phase::Asking(turn) => {
                let (message, bodies) = turn.close(false, why, now);
                let closing = self.turn_entry(message, bodies, state, now);
                entry.messages.extend(closing.messages);
                entry.steps.extend(closing.steps);
                entry.bodies.extend(closing.bodies);
            }
            Phase::Calling(calls) => {
                let resolution = match outcome {
                    Outcome::Expired(_) => Resolution::Expired,
                    _ => Resolution::Cancelled,
                };
                let change = calls.give_up(why, resolution, now);
                let message = calls.message(&self.journal.record().id, &self.terms, &mut self.mint, now);
                entry.steps.extend(change.steps);
                entry.bodies.extend(change.bodies);
                self.journal.add_usage(calls.take_used(), &mut entry.bodies);
                entry.bodies.push(Body::MessageCreated(Arc::clone(&message)));
                entry.messages.push(message);
            }
            Phase::Over => return,
        }
        self.end(outcome, entry, now, out);
    }

    /// The end was to be written behind something that could not be: it is written together with that.
    fn end_with(&mut self, undone: Vec<Effect>, now: SystemTime, out: &mut Vec<Effect>) {
        let Some(outcome) = self.journal.record().state.outcome().cloned() else {
            return;
        };
        let mut entry = Entry::undone(undone);
        let unsent = entry.bodies.len() as u64;
        // The last one tells of the end, and is told anew.
        if entry
            .bodies
            .pop_if(|body| matches!(body, Body::Ended(_)))
            .is_none()
        {
            return;
        }
        self.journal.take_back(unsent);
        out.push(Effect::Abort);
        self.journal.end(outcome, entry, now, out);
    }

    fn end(&mut self, outcome: Outcome, entry: Entry, now: SystemTime, out: &mut Vec<Effect>) {
        // Nobody is asked any more: the history only tells what the last message was.
        self.history.extend(entry.messages.last().cloned());
        self.journal.end(outcome, entry, now, out);
        self.phase = Phase::Over;
    }
}
