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
    /// What it was for.
    pub purpose: Purpose,
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

/// What a turn of a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It answers in a run.
    Answer,
    /// It sums up a conversation.
    Summary,
    /// It answers an MCP server during a call.
    Sampling,
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
        let steps = steps.flat_map(|step| {
            let sampled = Self::sampled_by(step);
            sampled.chain(Self::of_step(step, &record.snapshot.model))
        });
        let end = record.state.outcome().map(|_| Happening::Run(record));
        steps.chain(end)
    }

    /// What models have answered to the server of a call that is over.
    fn sampled_by(step: &'a Step) -> impl Iterator<Item = Self> {
        let sampled = match (&step.work, &step.state) {
            (_, StepState::Waiting | StepState::Running) => &[],
            (Work::ToolCall { sampled, .. }, _) => sampled.as_slice(),
            _ => &[],
        };
        sampled.iter().map(|request| {
            Happening::Turn(Turn {
                purpose: Purpose::Sampling,
                model: request
                    .attempts
                    .first()
                    .map_or(&request.model, |first| &first.model),
                attempts: &request.attempts,
                usage: &request.usage,
                unknown_events: 0,
                failure: failure(&request.state),
                duration: between(Some(request.start_time), Some(request.end_time)),
            })
        })
    }

    fn of_step(step: &'a Step, model: &'a str) -> Option<Self> {
        if matches!(step.state, StepState::Waiting | StepState::Running) {
            return None;
        }
        Some(match &step.work {
            Work::ModelTurn { usage, attempts, .. } | Work::Summary { usage, attempts, .. } => {
                Happening::Turn(Turn {
                    unknown_events: match step.work {
                        Work::ModelTurn { unknown_events, .. } => unknown_events,
                        _ => 0,
                    },
                    purpose: match step.work {
                        Work::Summary { .. } => Purpose::Summary,
                        _ => Purpose::Answer,
                    },
                    // A summary may be another model's, which its requests name.
                    model: match attempts.first() {
                        Some(first) if matches!(step.work, Work::Summary { .. }) => &first.model,
                        _ => model,
                    },
                    attempts,
                    usage,
                    failure: failure(&step.state),
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

/// Why there is no result, where that is a failure.
fn failure(state: &StepState) -> Option<&str> {
    match state {
        StepState::Failed { reason, .. } => Some(reason),
        _ => None,
    }
}

fn between(start: Option<SystemTime>, end: Option<SystemTime>) -> Duration {
    let took = start
        .zip(end)
        .and_then(|(start, end)| end.duration_since(start).ok());
    took.unwrap_or_default()
}
