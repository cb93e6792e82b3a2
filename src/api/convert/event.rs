//! Events.

use super::message::{self, call_to_pb, output_to_pb};
use super::{action, count, name, run, timestamp};
use crate::api::pb::{self, run_event::Payload};
use crate::run::event::{Body, Event};
use crate::run::id::{RunId, ThreadId};
use crate::run::message::ToolCall;
use crate::run::record::{Outcome, RunRecord, State};

/// An event as the contract has it.
pub fn to_pb(thread: &ThreadId, run: &RunId, event: &Event) -> pb::RunEvent {
    pb::RunEvent {
        sequence: count(event.sequence),
        event_time: Some(timestamp(event.time)),
        run: name::run(thread, run),
        payload: Some(payload(thread, run, &event.body)),
    }
}

fn payload(thread: &ThreadId, run_id: &RunId, body: &Body) -> Payload {
    match body {
        Body::StateChanged { from, to } => Payload::RunStateChanged(pb::RunStateChanged {
            previous_state: from.as_ref().map_or(pb::RunState::Unspecified, run::state).into(),
            state: run::state(to).into(),
        }),
        Body::MessageCreated(created) => {
            // The model's message begins empty; any other is there at once.
            let is_whole = !created.content.is_empty();
            Payload::MessageCreated(pb::MessageCreated {
                message: Some(message::to_pb(thread, created, is_whole)),
            })
        }
        Body::TextDelta { message, text } => Payload::TextDelta(pb::TextDelta {
            message: name::message(thread, message),
            text: text.clone(),
        }),
        Body::RefusalDelta { message, text } => Payload::RefusalDelta(pb::RefusalDelta {
            message: name::message(thread, message),
            text: text.clone(),
        }),
        Body::ReasoningDelta { message, text } => Payload::ReasoningDelta(pb::ReasoningDelta {
            message: name::message(thread, message),
            text: text.clone(),
        }),
        Body::MessageCompleted(completed) => Payload::MessageCompleted(pb::MessageCompleted {
            message: Some(message::to_pb(thread, completed, true)),
        }),
        Body::ToolCallStarted { message, call, tool } => Payload::ToolCallStarted(pb::ToolCallStarted {
            message: name::message(thread, message),
            tool_call: Some(tool_call(call.as_str(), tool)),
        }),
        Body::ToolCallArgumentsDelta { call, json } => {
            Payload::ToolCallArgumentsDelta(pb::ToolCallArgumentsDelta {
                tool_call_id: call.to_string(),
                arguments_json: json.clone(),
            })
        }
        Body::ToolCallProgress { call, progress } => Payload::ToolCallProgress(pb::ToolCallProgress {
            tool_call_id: call.to_string(),
            progress: progress.progress,
            total: progress.total,
            message: progress.message.clone(),
        }),
        Body::ToolCallCompleted {
            call,
            tool,
            arguments,
            output,
            duration,
        } => Payload::ToolCallCompleted(pb::ToolCallCompleted {
            tool_call: Some(call_to_pb(&ToolCall {
                id: call.clone(),
                tool: tool.clone(),
                arguments: arguments.clone(),
            })),
            output: Some(output_to_pb(call.as_str(), tool, output, *duration)),
        }),
        Body::TurnRestarted { first_void } => Payload::TurnRestarted(pb::TurnRestarted {
            first_void_sequence: count(*first_void),
        }),
        Body::ActionRequired(action) => Payload::ActionRequired(pb::ActionRequired {
            action: Some(action::to_pb(thread, run_id, action)),
        }),
        Body::ActionResolved { action, resolution } => Payload::ActionResolved(pb::ActionResolved {
            action_id: action.to_string(),
            outcome: action::outcome(*resolution).into(),
        }),
        Body::UsageUpdated(usage) => Payload::UsageUpdated(pb::UsageUpdated {
            usage: Some(run::usage(*usage)),
        }),
        Body::Ended(record) => ended(record),
    }
}

fn tool_call(call: &str, tool: &str) -> pb::ToolCall {
    pb::ToolCall {
        id: call.to_owned(),
        tool: tool.to_owned(),
        ..pb::ToolCall::default()
    }
}

fn ended(record: &RunRecord) -> Payload {
    let run = Some(run::to_pb(record));
    match &record.state {
        State::Ended(Outcome::Failed(_)) => Payload::RunFailed(Box::new(pb::RunFailed { run })),
        State::Ended(Outcome::Cancelled) => Payload::RunCancelled(Box::new(pb::RunCancelled { run })),
        State::Ended(Outcome::Expired(_)) => Payload::RunExpired(Box::new(pb::RunExpired { run })),
        State::Ended(Outcome::Incomplete(_)) => Payload::RunIncomplete(Box::new(pb::RunIncomplete { run })),
        // A run that is not over has no terminal event.
        State::Ended(Outcome::Completed)
        | State::Queued
        | State::Running
        | State::RequiresAction
        | State::Cancelling => Payload::RunCompleted(Box::new(pb::RunCompleted { run })),
    }
}
