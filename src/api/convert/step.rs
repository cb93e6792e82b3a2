//! Steps of runs.

use super::message::{call_to_pb, output_to_pb};
use super::model::attempt_to_pb;
use super::run::usage;
use super::{name, structure, timestamp};
use crate::api::pb::{self, run_step::Details};
use crate::api::status;
use crate::run::action::Answer;
use crate::run::id::{RunId, ThreadId};
use crate::run::message::Usage;
use crate::run::step::{SampledRequest, Step, StepState, Work};

/// A step as the contract has it.
pub fn to_pb(thread: &ThreadId, run: &RunId, step: &Step) -> pb::RunStep {
    let turn = i32::try_from(step.turn).unwrap_or(i32::MAX);
    let details = match &step.work {
        Work::ModelTurn {
            model,
            message,
            usage: used,
            context,
            attempts,
            unknown_events,
        } => Details::ModelTurn(pb::ModelTurnStep {
            turn,
            model: model.clone(),
            message: message
                .as_ref()
                .map(|message| name::message(thread, message))
                .unwrap_or_default(),
            usage: (*used != Usage::default()).then(|| usage(*used)),
            context_messages: i32::try_from(context.messages).unwrap_or(i32::MAX),
            omitted_messages: i32::try_from(context.omitted).unwrap_or(i32::MAX),
            attempts: attempts.iter().map(attempt_to_pb).collect(),
            unknown_events: i32::try_from(*unknown_events).unwrap_or(i32::MAX),
        }),
        Work::Summary {
            model,
            message,
            messages,
            usage: used,
            attempts,
        } => Details::Summary(pb::SummaryStep {
            turn,
            model: model.clone(),
            message: message
                .as_ref()
                .map(|message| name::message(thread, message))
                .unwrap_or_default(),
            summarized_messages: i32::try_from(*messages).unwrap_or(i32::MAX),
            usage: (*used != Usage::default()).then(|| usage(*used)),
            attempts: attempts.iter().map(attempt_to_pb).collect(),
        }),
        Work::ToolCall {
            call,
            server,
            answer,
            sampled,
            output,
            duration,
            ..
        } => Details::ToolCall(Box::new(pb::ToolCallStep {
            turn,
            tool_call: Some(call_to_pb(call)),
            edited_tool_call: match answer {
                Some(Answer::Approve(Some(arguments))) => Some(pb::ToolCall {
                    id: call.id.to_string(),
                    tool: call.tool.clone(),
                    arguments: Some(structure::from_json(arguments)),
                    arguments_json: String::new(),
                }),
                _ => None,
            },
            server: server.clone(),
            sampled_requests: sampled.iter().map(sampled_to_pb).collect(),
            output: output
                .as_ref()
                .map(|output| output_to_pb(call.id.as_str(), &call.tool, output, *duration)),
        })),
    };
    pb::RunStep {
        name: name::step(thread, run, &step.id),
        state: state(&step.state).into(),
        details: Some(details),
        error: step.state.error().as_ref().and_then(status::to_pb),
        create_time: Some(timestamp(step.create_time)),
        start_time: step.start_time.map(timestamp),
        end_time: step.end_time.map(timestamp),
    }
}

fn sampled_to_pb(sampled: &SampledRequest) -> pb::SampledRequest {
    pb::SampledRequest {
        model: sampled.model.clone(),
        usage: (sampled.usage != Usage::default()).then(|| usage(sampled.usage)),
        attempts: sampled.attempts.iter().map(attempt_to_pb).collect(),
        state: state(&sampled.state).into(),
        error: sampled.state.error().as_ref().and_then(status::to_pb),
        start_time: Some(timestamp(sampled.start_time)),
        end_time: Some(timestamp(sampled.end_time)),
    }
}

fn state(state: &StepState) -> pb::StepState {
    match state {
        StepState::Waiting => pb::StepState::Waiting,
        StepState::Running => pb::StepState::Running,
        StepState::Completed => pb::StepState::Completed,
        StepState::Failed { .. } => pb::StepState::Failed,
        StepState::Cancelled => pb::StepState::Cancelled,
    }
}
