//! Asking the client's user what a run asks: whether a call may be made.

use rmcp::model::{
    ClientCapabilities, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequests, InputResponses,
};
use serde_json::Value;

use crate::run::action::{Action, Answer, Request, Submission};
use crate::run::record::RunRecord;

/// The fields of the form.
const APPROVE: &str = "approve";
const REASON: &str = "reason";

/// As much of a call's arguments as a form shows.
const ARGUMENTS_SHOWN_BYTES: usize = 4096;

/// What came of a question.
pub(super) enum Decision {
    /// The user has decided.
    Made(Submission),
    /// The user has not, or what came back is no answer to the question.
    Open,
}

/// Whether the client can show a form.
pub(super) fn is_possible(capabilities: Option<&ClientCapabilities>) -> bool {
    let elicitation = capabilities.and_then(|capabilities| capabilities.elicitation.as_ref());
    // A client that names no mode shows forms (2025-11-25, Elicitation).
    elicitation.is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
}

/// Whether everything that the run waits for is a decision of this kind.
pub(super) fn is_all(record: &RunRecord) -> bool {
    !record.pending.is_empty()
        && record.pending.iter().all(|action| {
            matches!(
                action.request,
                Request::Approval { .. } | Request::UnknownOutcome { .. }
            )
        })
}

/// The question about one call.
pub(super) fn question(action: &Action) -> ElicitRequestParams {
    let call = &action.call;
    let shown = call.arguments.floor_char_boundary(ARGUMENTS_SHOWN_BYTES);
    let arguments = &call.arguments[..shown];
    let message = match &action.request {
        Request::UnknownOutcome { .. } => format!(
            "The call of the tool {} with {arguments} was cut off, and may have been carried out. Make it again?",
            call.tool
        ),
        _ => format!(
            "The assistant wants to call the tool {} with {arguments}. Allow it?",
            call.tool
        ),
    };
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema: form(),
    }
}

fn form() -> ElicitationSchema {
    ElicitationSchema::builder()
        .required_bool_property(APPROVE, |approve| {
            approve.title("Approve").description("Whether the call is made")
        })
        .string_property(REASON, |reason| {
            reason.title("Reason").description("Why not, for the assistant")
        })
        .build_unchecked()
}

/// The questions about everything that the run waits for, by the actions' names.
pub(super) fn questions(record: &RunRecord) -> InputRequests {
    let pending = record.pending.iter();
    pending
        .map(|action| {
            let request = ElicitRequest::new(question(action));
            (action.id.to_string(), InputRequest::Elicitation(request))
        })
        .collect()
}

/// The decisions about everything that the run waits for; none while one is missing.
pub(super) fn decisions(record: &RunRecord, responses: &InputResponses) -> Option<Vec<Submission>> {
    let pending = record.pending.iter();
    pending
        .map(|action| {
            let response = responses.get(action.id.as_str())?;
            let result: ElicitResult = serde_json::from_value(response.clone()).ok()?;
            match decision(action, &result) {
                Decision::Made(submission) => Some(submission),
                Decision::Open => None,
            }
        })
        .collect()
}

/// What the user has decided about one call.
pub(super) fn decision(action: &Action, result: &ElicitResult) -> Decision {
    let field = |name: &str| result.content.as_ref().and_then(|content| content.get(name));
    let answer = match (&result.action, field(APPROVE)) {
        (ElicitationAction::Accept, Some(Value::Bool(true))) => Answer::Approve(None),
        (ElicitationAction::Accept, Some(Value::Bool(false))) => {
            let reason = field(REASON).and_then(Value::as_str).unwrap_or_default();
            Answer::Reject(reason.to_owned())
        }
        (ElicitationAction::Decline, _) => Answer::Reject("the user declined".to_owned()),
        _ => return Decision::Open,
    };
    Decision::Made(Submission {
        action: action.id.clone(),
        digest: action.digest.clone(),
        answer,
    })
}
