//! What runs wait for, and the answers to it.

use std::sync::Arc;

use serde_json::Value;

use super::message::{call_to_pb, output_from_pb};
use super::tool::annotations;
use super::{name, structure, timestamp};
use crate::api::pb::{self, action_answer, pending_action};
use crate::run::action::{Action, Answer, Reply, Request, Resolution, Submission};
use crate::run::error::{Error, Violation};
use crate::run::id::{ActionId, RunId, ThreadId};
use crate::run::record::RunRecord;

/// Something that a run waits for, as the contract has it.
pub fn to_pb(thread: &ThreadId, run: &RunId, action: &Action) -> pb::PendingAction {
    let tool_call = Some(call_to_pb(&action.call));
    let request = match &action.request {
        Request::Approval {
            server,
            annotations: says,
        } => pending_action::Request::ToolApproval(pb::ToolApprovalRequest {
            tool_call,
            server: server.clone(),
            annotations: annotations(says),
        }),
        Request::ClientTool => pending_action::Request::ClientTool(pb::ClientToolRequest { tool_call }),
        Request::Elicitation(question) => {
            let schema = question.requested_schema.as_deref().and_then(Value::as_object);
            pending_action::Request::Elicitation(pb::ElicitationRequest {
                server: question.server.clone(),
                message: question.message.clone(),
                requested_schema: schema.map(structure::from_json),
                url: question.url.clone(),
                tool_call_id: action.call.id.to_string(),
            })
        }
        Request::Sampling(prompt) => pending_action::Request::Sampling(pb::SamplingRequest {
            server: prompt.server.clone(),
            model: prompt.model.clone(),
            system_prompt: prompt.system_prompt.clone(),
            prompt: prompt.prompt.clone(),
            max_tokens: i64::try_from(prompt.max_tokens).unwrap_or(i64::MAX),
            tool_call_id: action.call.id.to_string(),
        }),
        Request::UnknownOutcome { server, call_time } => {
            pending_action::Request::UnknownOutcome(pb::UnknownOutcomeRequest {
                tool_call,
                server: server.clone(),
                call_time: Some(timestamp(*call_time)),
            })
        }
    };
    pb::PendingAction {
        id: action.id.to_string(),
        run: name::run(thread, run),
        digest: action.digest.clone(),
        request: Some(request),
        create_time: Some(timestamp(action.create_time)),
        expire_time: Some(timestamp(action.expire_time)),
    }
}

/// Everything that a run waits for.
pub fn all_to_pb(record: &RunRecord) -> Vec<pb::PendingAction> {
    let pending = record.pending.iter();
    pending
        .map(|action| to_pb(&record.thread, &record.id, action))
        .collect()
}

/// How an action came to its end, as the contract has it.
pub fn outcome(resolution: Resolution) -> pb::ActionOutcome {
    match resolution {
        Resolution::Approved => pb::ActionOutcome::Approved,
        Resolution::Edited => pb::ActionOutcome::Edited,
        Resolution::Rejected => pb::ActionOutcome::Rejected,
        Resolution::Answered => pb::ActionOutcome::Answered,
        Resolution::Expired => pb::ActionOutcome::Expired,
        Resolution::Cancelled => pb::ActionOutcome::Cancelled,
    }
}

/// Reads answers.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit.
pub fn submissions(answers: Vec<pb::ActionAnswer>) -> Result<Vec<Submission>, Error> {
    if answers.is_empty() {
        return Err(Error::invalid("answers", "must have at least one"));
    }
    let mut submissions: Vec<Submission> = Vec::with_capacity(answers.len());
    let mut violations: Vec<Violation> = Vec::new();
    for (index, answer) in answers.into_iter().enumerate() {
        match submission(&format!("answers[{index}]"), answer) {
            Ok(submission) => {
                if submissions.iter().any(|other| other.action == submission.action) {
                    violations.push(Violation {
                        field: format!("answers[{index}].action_id"),
                        description: "is answered twice".to_owned(),
                    });
                }
                submissions.push(submission);
            }
            Err(error) => violations.extend_from_slice(error.violations()),
        }
    }
    if violations.is_empty() {
        Ok(submissions)
    } else {
        Err(Error::invalid_fields(violations))
    }
}

/// Checks that an output is that of the call which its action is about, if it says which call it is of. An action
/// that is not there is not judged.
///
/// # Errors
/// `VALIDATION_FAILED` naming every output of another call.
pub fn check_calls(pending: &[Arc<Action>], answers: &[pb::ActionAnswer]) -> Result<(), Error> {
    let violations: Vec<Violation> = answers
        .iter()
        .enumerate()
        .filter_map(|(index, answer)| {
            let call = call_of(answer)?;
            let action = pending
                .iter()
                .find(|action| action.id.as_str() == answer.action_id)?;
            (action.call.id.as_str() != call).then(|| Violation {
                field: format!("answers[{index}].output.tool_call_id"),
                description: format!("must be that of the action's call, {}", action.call.id),
            })
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid_fields(violations))
    }
}

/// The call that an answer says it is the output of.
pub fn call_of(answer: &pb::ActionAnswer) -> Option<&str> {
    match &answer.answer {
        Some(action_answer::Answer::Output(output)) if !output.tool_call_id.is_empty() => {
            Some(&output.tool_call_id)
        }
        _ => None,
    }
}

fn reply(field: &str, answer: pb::ElicitationAnswer) -> Result<Reply, Error> {
    let content = answer.content.map(structure::to_json).unwrap_or_default();
    let action = pb::ElicitationAction::try_from(answer.action);
    let reply = match action {
        Ok(pb::ElicitationAction::Accept) => return Ok(Reply::Accept(content)),
        Ok(pb::ElicitationAction::Decline) => Reply::Decline,
        Ok(pb::ElicitationAction::Cancel) => Reply::Cancel,
        Ok(pb::ElicitationAction::Unspecified) | Err(_) => {
            return Err(Error::invalid(format!("{field}.action"), "is not a known action"));
        }
    };
    match content.is_empty() {
        true => Ok(reply),
        false => Err(Error::invalid(
            format!("{field}.content"),
            "goes only with ELICITATION_ACTION_ACCEPT",
        )),
    }
}

fn submission(field: &str, answer: pb::ActionAnswer) -> Result<Submission, Error> {
    let action = ActionId::parse(&answer.action_id)
        .map_err(|_| Error::invalid(format!("{field}.action_id"), "must be the id of a pending action"))?;
    let given = match answer.answer {
        Some(action_answer::Answer::Approve(approve)) => {
            Answer::Approve(approve.arguments.map(structure::to_json))
        }
        Some(action_answer::Answer::Reject(reject)) => Answer::Reject(reject.reason),
        Some(action_answer::Answer::Output(output)) => {
            let field = format!("{field}.output");
            let output = output_from_pb(&field, output)?;
            if output.content.is_empty() && output.structured.is_none() && !output.is_error {
                let what =
                    "must have `content` or `structured_content`: what the call is taken to have given";
                return Err(Error::invalid(field, what));
            }
            Answer::Output(output)
        }
        Some(action_answer::Answer::Elicitation(answer)) => {
            Answer::Reply(reply(&format!("{field}.elicitation"), answer)?)
        }
        None => return Err(Error::invalid(field, "must have an answer")),
    };
    Ok(Submission {
        action,
        digest: answer.digest,
        answer: given,
    })
}
