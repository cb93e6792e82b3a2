//! Events as they are stored: several of one run in one text.
//!
//! What is stored elsewhere anyway is only named here: a message by its id, a call's output by the call, the
//! run at its end not at all. Reading puts them together again. What is stored is the serialised form of
//! [`StoredBody`]: rename with care.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::action::{Action, Resolution};
use crate::run::error::Error;
use crate::run::event::{Body, Event, Progress};
use crate::run::id::{ActionId, CallId, MessageId, RunId};
use crate::run::message::{Message, ToolCall, ToolOutput, Usage};
use crate::run::record::{RunRecord, State};
use crate::run::step::{Step, Work};

use super::row;

/// One event: its sequence, its time in microseconds since 1970, and what happened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored(u64, i64, StoredBody);

/// What happened. The names are short, for there are many.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredBody {
    /// From a state, if there was one, to a state.
    State(Option<String>, String),
    /// A message that has only begun.
    Begun(Message),
    /// A message that was added whole.
    Added(MessageId),
    Text(MessageId, String),
    Reasoning(MessageId, String),
    Refusal(MessageId, String),
    /// A message that is whole.
    Whole(MessageId),
    /// A message in which nothing was said, and which is therefore not kept.
    Empty(Message),
    Call(MessageId, CallId, String),
    Arguments(CallId, String),
    Progress(CallId, f64, Option<f64>, String),
    /// The output of a call that has a step.
    Output(CallId),
    /// The output of a call that has none: it was never to be made.
    Note(CallId, String, ToolOutput),
    Restarted(u64),
    Asked(Arc<Action>),
    Resolved(ActionId, Resolution),
    Usage(Usage),
    Ended,
}

/// What is stored elsewhere.
#[derive(Debug)]
pub(super) struct Elsewhere {
    run: RunId,
    record: Option<Arc<RunRecord>>,
    messages: HashMap<MessageId, Arc<Message>>,
    outputs: HashMap<CallId, (ToolCall, Arc<ToolOutput>, Duration)>,
}

impl Elsewhere {
    /// Nothing yet of this run: enough for most events.
    pub(super) fn nothing(run: &RunId) -> Self {
        Self {
            run: run.clone(),
            record: None,
            messages: HashMap::new(),
            outputs: HashMap::new(),
        }
    }

    /// The run, its messages and its steps.
    pub(super) fn new(record: RunRecord, messages: Vec<Arc<Message>>, steps: &[Arc<Step>]) -> Self {
        let messages = messages.into_iter().map(|message| (message.id.clone(), message));
        let outputs = steps.iter().filter_map(|step| match &step.work {
            Work::ToolCall {
                call,
                output: Some(output),
                duration,
                ..
            } => Some((call.id.clone(), (call.clone(), Arc::clone(output), *duration))),
            _ => None,
        });
        Self {
            run: record.id.clone(),
            record: Some(Arc::new(record)),
            messages: messages.collect(),
            outputs: outputs.collect(),
        }
    }
}

/// The text for these events, which come with these steps.
pub(super) fn encode(events: &[Arc<Event>], steps: &[Arc<Step>]) -> Result<Arc<str>, Error> {
    let stored: Vec<Stored> = events
        .iter()
        .map(|event| Stored(event.sequence, row::micros(event.time), body(&event.body, steps)))
        .collect();
    row::json(&stored)
}

/// Reads a text, without what is stored elsewhere.
pub(super) fn read(text: &str) -> Result<Vec<Stored>, Error> {
    serde_json::from_str(text).map_err(Error::internal)
}

impl Stored {
    /// The event's sequence.
    pub(super) fn sequence(&self) -> u64 {
        self.0
    }

    /// Whether it cannot be told without the run, its messages and its steps.
    pub(super) fn needs_elsewhere(&self) -> bool {
        matches!(
            self.2,
            StoredBody::Added(_) | StoredBody::Whole(_) | StoredBody::Output(_) | StoredBody::Ended
        )
    }

    /// The event.
    ///
    /// # Errors
    /// `INTERNAL` when what it names is not there.
    pub(super) fn event(self, elsewhere: &Elsewhere) -> Result<Event, Error> {
        let Self(sequence, time, body) = self;
        let told = (|| {
            let time = row::time(time)?;
            let body = elsewhere.body(body)?;
            Some(Event { sequence, time, body })
        })();
        told.ok_or_else(|| {
            let run = &elsewhere.run;
            Error::internal(format!("stored event {sequence} of run {run} cannot be told"))
        })
    }
}

impl Elsewhere {
    fn body(&self, body: StoredBody) -> Option<Body> {
        let message = |id| self.messages.get(&id).cloned();
        let state = |name: &str| State::from_parts(name, None, None);
        Some(match body {
            StoredBody::State(from, to) => Body::StateChanged {
                from: match from {
                    Some(from) => Some(state(&from)?),
                    None => None,
                },
                to: state(&to)?,
            },
            StoredBody::Begun(message) => Body::MessageCreated(Arc::new(message)),
            StoredBody::Added(id) => Body::MessageCreated(message(id)?),
            StoredBody::Text(message, text) => Body::TextDelta { message, text },
            StoredBody::Refusal(message, text) => Body::RefusalDelta { message, text },
            StoredBody::Reasoning(message, text) => Body::ReasoningDelta { message, text },
            StoredBody::Whole(id) => Body::MessageCompleted(message(id)?),
            StoredBody::Empty(message) => Body::MessageCompleted(Arc::new(message)),
            StoredBody::Call(message, call, tool) => Body::ToolCallStarted { message, call, tool },
            StoredBody::Arguments(call, json) => Body::ToolCallArgumentsDelta { call, json },
            StoredBody::Progress(call, progress, total, message) => Body::ToolCallProgress {
                call,
                progress: Progress {
                    progress,
                    total,
                    message,
                },
            },
            StoredBody::Output(call) => {
                let (ToolCall { tool, arguments, .. }, output, duration) = self.outputs.get(&call)?.clone();
                Body::ToolCallCompleted {
                    call,
                    tool,
                    arguments,
                    output,
                    duration,
                }
            }
            StoredBody::Note(call, tool, output) => Body::ToolCallCompleted {
                call,
                tool,
                arguments: String::new(),
                output: Arc::new(output),
                duration: Duration::ZERO,
            },
            StoredBody::Restarted(first_void) => Body::TurnRestarted { first_void },
            StoredBody::Asked(action) => Body::ActionRequired(action),
            StoredBody::Resolved(action, resolution) => Body::ActionResolved { action, resolution },
            StoredBody::Usage(usage) => Body::UsageUpdated(usage),
            StoredBody::Ended => Body::Ended(self.record.clone()?),
        })
    }
}

fn body(body: &Body, steps: &[Arc<Step>]) -> StoredBody {
    match body {
        Body::StateChanged { from, to } => StoredBody::State(
            from.as_ref().map(|from| from.name().to_owned()),
            to.name().to_owned(),
        ),
        Body::MessageCreated(message) if message.content.is_empty() => StoredBody::Begun((**message).clone()),
        Body::MessageCreated(message) => StoredBody::Added(message.id.clone()),
        Body::TextDelta { message, text } => StoredBody::Text(message.clone(), text.clone()),
        Body::RefusalDelta { message, text } => StoredBody::Refusal(message.clone(), text.clone()),
        Body::ReasoningDelta { message, text } => StoredBody::Reasoning(message.clone(), text.clone()),
        Body::MessageCompleted(message) if message.content.is_empty() => {
            StoredBody::Empty((**message).clone())
        }
        Body::MessageCompleted(message) => StoredBody::Whole(message.id.clone()),
        Body::ToolCallStarted { message, call, tool } => {
            StoredBody::Call(message.clone(), call.clone(), tool.clone())
        }
        Body::ToolCallArgumentsDelta { call, json } => StoredBody::Arguments(call.clone(), json.clone()),
        Body::ToolCallProgress { call, progress } => StoredBody::Progress(
            call.clone(),
            progress.progress,
            progress.total,
            progress.message.clone(),
        ),
        Body::ToolCallCompleted {
            call, tool, output, ..
        } => match has_output(steps, call) {
            true => StoredBody::Output(call.clone()),
            false => StoredBody::Note(call.clone(), tool.clone(), (**output).clone()),
        },
        Body::TurnRestarted { first_void } => StoredBody::Restarted(*first_void),
        Body::ActionRequired(action) => StoredBody::Asked(Arc::clone(action)),
        Body::ActionResolved { action, resolution } => StoredBody::Resolved(action.clone(), *resolution),
        Body::UsageUpdated(usage) => StoredBody::Usage(*usage),
        Body::Ended(_) => StoredBody::Ended,
    }
}

fn has_output(steps: &[Arc<Step>], of: &CallId) -> bool {
    steps
        .iter()
        .any(|step| matches!(&step.work, Work::ToolCall { call, output: Some(_), .. } if call.id == *of))
}
