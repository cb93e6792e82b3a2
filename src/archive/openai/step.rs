//! Steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::archive::fault::{Fault, of_id};
use crate::archive::note::Notes;
use crate::run::id::{CallId, MessageId, StepId};
use crate::run::message::{Content, ToolCall, ToolOutput};
use crate::run::step::{self, StepState, Work};
use crate::run::truncation::ContextUse;

use super::label::{optional_time, time};
use super::run::usage;
use super::shape::{Call, CodeInterpreter, Step};

/// Steps of ours: one for a message, one for each call. The step stands for one request to the model.
pub(super) fn steps(
    step: Step,
    turn: u32,
    model: &str,
    next_place: &mut u32,
    notes: &mut Notes,
) -> Result<Vec<Arc<step::Step>>, Fault> {
    let id = of_id("id", StepId::parse(&step.id))?;
    let create_time = time("created_at", step.created_at)?;
    if step.metadata.is_some_and(|labels| !labels.is_empty()) {
        notes.add("labels of a step: not kept", &step.id);
    }
    let end_time = [
        optional_time("completed_at", step.completed_at)?,
        optional_time("failed_at", step.failed_at)?,
        optional_time("cancelled_at", step.cancelled_at)?,
        optional_time("expired_at", step.expired_at)?,
    ];
    let end_time = end_time.into_iter().flatten().next().unwrap_or(create_time);
    let mut works = Vec::new();
    match step.step_details.kind.as_str() {
        "message_creation" => {
            let creation = step.step_details.message_creation;
            let message = creation.map(|creation| {
                let field = "step_details.message_creation.message_id";
                of_id(field, MessageId::parse(&creation.message_id))
            });
            works.push(Work::ModelTurn {
                model: model.to_owned(),
                message: message.transpose()?,
                usage: usage(step.usage),
                context: ContextUse::default(),
                attempts: Vec::new(),
                unknown_events: 0,
            });
        }
        "tool_calls" => {
            let calls = step.step_details.tool_calls.unwrap_or_default();
            for (call, index) in calls.into_iter().zip(0..) {
                let work = work(call, &step.id, notes);
                let field = format!("step_details.tool_calls[{index}]");
                works.push(work.map_err(|fault| fault.within(&field))?);
            }
        }
        other => {
            let description = format!("{other:?} is not known");
            return Err(Fault::of("step_details.type", description));
        }
    }
    let state = match step.status.as_str() {
        "completed" => StepState::Completed,
        "failed" => {
            let error = step.last_error;
            let (reason, message) = error.map(|error| (error.code, error.message)).unwrap_or_default();
            StepState::Failed {
                reason,
                message,
                facts: BTreeMap::new(),
                retry_after: None,
            }
        }
        // Whatever was going on then was given up with its run.
        _ => StepState::Cancelled,
    };
    let mut steps = Vec::with_capacity(works.len());
    for (work, index) in works.into_iter().zip(1_u32..) {
        steps.push(Arc::new(step::Step {
            id: match index {
                1 => id.clone(),
                _ => of_id("id", StepId::parse(&format!("{id}_{index}")))?,
            },
            place: *next_place,
            turn,
            work,
            state: state.clone(),
            create_time,
            start_time: Some(create_time),
            end_time: Some(end_time),
        }));
        *next_place += 1;
    }
    Ok(steps)
}

fn work(call: Call, step: &str, notes: &mut Notes) -> Result<Work, Fault> {
    let id = of_id("id", CallId::parse(&call.id))?;
    let (tool, arguments, output) = match call.kind.as_str() {
        "function" => {
            let function = call.function.ok_or_else(|| Fault::of("function", "is missing"))?;
            let output = function.output.map(|text| vec![Content::Text(text)]);
            (function.name, function.arguments, output)
        }
        "code_interpreter" => {
            let code = call.code_interpreter;
            let code = code.ok_or_else(|| Fault::of("code_interpreter", "is missing"))?;
            let arguments = json!({"input": code.input}).to_string();
            (call.kind, arguments, Some(outputs(code, step, notes)))
        }
        _ => {
            // A search: what it was asked for and what it found, as it stands there.
            let search = call.file_search.or(call.retrieval).unwrap_or(Value::Null);
            (call.kind, search.to_string(), Some(Vec::new()))
        }
    };
    let output = output.map(|content| {
        Arc::new(ToolOutput {
            content,
            ..ToolOutput::default()
        })
    });
    Ok(Work::ToolCall {
        call: ToolCall { id, tool, arguments },
        server: String::new(),
        action: None,
        answer: None,
        questions: Vec::new(),
        sampled: Vec::new(),
        output,
        duration: Duration::ZERO,
    })
}

fn outputs(code: CodeInterpreter, step: &str, notes: &mut Notes) -> Vec<Content> {
    let content = code
        .outputs
        .into_iter()
        .map(|output| match (output.logs, output.image) {
            (Some(logs), _) => Content::Text(logs),
            (None, Some(image)) => {
                let note =
                    "image of the code interpreter: named in the step, its content was not in the file";
                notes.add(note, step);
                Content::Text(format!("[image file {}, not imported]", image.file_id))
            }
            (None, None) => Content::Text("[output of an unknown kind, not imported]".to_owned()),
        });
    content.collect()
}
