//! What happens, for whoever counts it.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::Save;
use crate::run::error::Error;
use crate::run::message::{ToolOutput, Usage};
use crate::run::model::{Attempt, AttemptResult};
use crate::run::record::RunRecord;
use crate::run::step::{Step, StepState, Work};

/// Who is told of what happened.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes note of it. A run waits for this: it MUST NOT wait, and MUST be quick.
    fn observe(&self, happening: &Happening<'_>);
}

/// Something that is over, and durable if it belongs to a run. Whatever comes again after a crash is told again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Happening<'a> {
    /// A turn of a model.
    Turn(Turn<'a>),
    /// A call of a tool, in a run or outside of any.
    Call(Call<'a>),
    /// A run, whatever its end.
    Run(&'a RunRecord),
}

/// A turn of a model that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn<'a> {
    /// Whether it summed up a conversation, and was no answer.
    pub is_summary: bool,
    /// The model that was asked for, as the request or the assistant names it.
    pub model: &'a str,
    /// The requests that it took, in order.
    pub attempts: &'a [Attempt],
    /// What it used.
    pub usage: &'a Usage,
    /// Events of the model's stream that were passed over, because nobody here understands them.
    pub unknown_events: u32,
    /// Why it has no result, where that is a failure: the name of an error's reason.
    pub failure: Option<&'a str>,
    /// From its first request to its end.
    pub duration: Duration,
}

/// A call of a tool that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call<'a> {
    /// The server in the configuration; empty for a tool that no server has.
    pub server: &'a str,
    /// The tool's name in the catalogue, or whatever a model called it where no server has it.
    pub tool: &'a str,
    /// What became of it.
    pub outcome: CallOutcome,
    /// How long it took; zero when it was not made.
    pub duration: Duration,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It has an output.
    Answered,
    /// Its output says that it failed.
    Failed,
    /// It was given up with its run.
    Cancelled,
}

/// Nobody counts.
impl Observer for () {
    fn observe(&self, _: &Happening<'_>) {}
}

impl<'a> Happening<'a> {
    /// What is over with this write.
    pub fn all_of(save: &'a Save) -> impl Iterator<Item = Happening<'a>> {
        let record = &*save.record;
        let steps = save.steps.iter();
        let steps = steps.filter_map(|step| Self::of_step(step, &record.snapshot.model));
        let end = record.state.outcome().map(|_| Happening::Run(record));
        steps.chain(end)
    }

    fn of_step(step: &'a Step, model: &'a str) -> Option<Self> {
        let failure = match &step.state {
            StepState::Waiting | StepState::Running => return None,
            StepState::Failed { reason, .. } => Some(reason.as_str()),
            StepState::Completed | StepState::Cancelled => None,
        };
        Some(match &step.work {
            Work::ModelTurn { usage, attempts, .. } | Work::Summary { usage, attempts, .. } => {
                Happening::Turn(Turn {
                    unknown_events: match step.work {
                        Work::ModelTurn { unknown_events, .. } => unknown_events,
                        _ => 0,
                    },
                    is_summary: matches!(step.work, Work::Summary { .. }),
                    // A summary may be another model's, which its requests name.
                    model: match attempts.first() {
                        Some(first) if matches!(step.work, Work::Summary { .. }) => &first.model,
                        _ => model,
                    },
                    attempts,
                    usage,
                    failure,
                    duration: between(step.start_time, step.end_time),
                })
            }
            Work::ToolCall {
                call,
                server,
                output,
                duration,
                ..
            } => Happening::Call(Call {
                server,
                tool: &call.tool,
                outcome: match (&step.state, output) {
                    (StepState::Cancelled, _) | (_, None) => CallOutcome::Cancelled,
                    (_, Some(output)) => CallOutcome::of(output),
                },
                duration: *duration,
            }),
        })
    }
}

impl Turn<'_> {
    /// The attempt whose answer began, if any did.
    pub fn answered(&self) -> Option<&Attempt> {
        let mut attempts = self.attempts.iter().rev();
        attempts.find(|attempt| attempt.result == AttemptResult::Answered)
    }
}

impl CallOutcome {
    /// That of a call with this output.
    pub fn of(output: &ToolOutput) -> Self {
        match output.is_error {
            true => Self::Failed,
            false => Self::Answered,
        }
    }

    /// That of a call that ended so.
    pub fn of_result(result: &Result<ToolOutput, Error>) -> Self {
        result.as_ref().map_or(Self::Failed, Self::of)
    }
}

fn between(start: Option<SystemTime>, end: Option<SystemTime>) -> Duration {
    let took = start
        .zip(end)
        .and_then(|(start, end)| end.duration_since(start).ok());
    took.unwrap_or_default()
}
