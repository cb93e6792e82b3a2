//! Asking the client's user what a run asks: whether a call may be made, and what its servers want to know.

use rmcp::model::{
    ClientCapabilities, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequests, InputResponses,
};
use serde_json::{Map, Value, json};

use crate::run::action::{Action, Answer, Question, Reply, Request, Submission};
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

/// Whether the client can ask its user about everything that the run waits for.
pub(super) fn is_possible(record: &RunRecord, capabilities: Option<&ClientCapabilities>) -> bool {
    let Some(modes) = capabilities.and_then(|capabilities| capabilities.elicitation.as_ref()) else {
        return false;
    };
    // A client that names no mode shows forms (2025-11-25, Elicitation).
    let shows_forms = modes.form.is_some() || modes.url.is_none();
    !record.pending.is_empty()
        && record.pending.iter().all(|action| match question(action) {
            Some(ElicitRequestParams::UrlElicitationParams { .. }) => modes.url.is_some(),
            Some(_) => shows_forms,
            None => false,
        })
}

/// The question about one action; none for one that no user can decide about.
pub(super) fn question(action: &Action) -> Option<ElicitRequestParams> {
    let call = &action.call;
    let arguments = cut(&call.arguments);
    let message = match &action.request {
        Request::Elicitation(asked) => return passed_on(action, asked),
        Request::ClientTool => return None,
        Request::UnknownOutcome { .. } => format!(
            "The call of the tool {} with {arguments} was cut off, and may have been carried out. Make it again?",
            call.tool
        ),
        Request::Sampling(prompt) => format!(
            "The server {} wants to ask a language model: {} Allow it?",
            prompt.server,
            cut(&prompt.prompt)
        ),
        Request::Approval { .. } => format!(
            "The assistant wants to call the tool {} with {arguments}. Allow it?",
            call.tool
        ),
    };
    Some(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema: form(),
    })
}

/// What a server of the run itself asks, as it asks it, and who it is. None when its form is none of MCP's.
fn passed_on(action: &Action, asked: &Question) -> Option<ElicitRequestParams> {
    let message = format!("The server {} asks: {}", asked.server, asked.message);
    let params = match &asked.requested_schema {
        Some(schema) => json!({"mode": "form", "message": message, "requestedSchema": schema}),
        None => json!({
            "mode": "url",
            "message": message,
            "url": asked.url,
            "elicitationId": action.id.as_str(),
        }),
    };
    serde_json::from_value(params).ok()
}

/// As much as a form shows.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(ARGUMENTS_SHOWN_BYTES)]
}

fn form() -> ElicitationSchema {
    ElicitationSchema::builder()
        .required_bool_property(APPROVE, |approve| {
            approve.title("Approve").description("Whether it is done")
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
        .filter_map(|action| {
            let request = ElicitRequest::new(question(action)?);
            Some((action.id.to_string(), InputRequest::Elicitation(request)))
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

/// Whether the user has closed a form that the run waits for: it is not shown again at once.
pub(super) fn is_dismissed(record: &RunRecord, responses: &InputResponses) -> bool {
    record.pending.iter().any(|action| {
        let response = responses.get(action.id.as_str()).cloned();
        let result = response.and_then(|response| serde_json::from_value::<ElicitResult>(response).ok());
        result.is_some_and(|result| result.action == ElicitationAction::Cancel)
    })
}

/// What the user has decided about one action.
pub(super) fn decision(action: &Action, result: &ElicitResult) -> Decision {
    if let Request::Elicitation(asked) = &action.request {
        return told(action, asked, result);
    }
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
    made(action, answer)
}

/// What the user has told a server. What does not fit its form is no answer yet.
fn told(action: &Action, asked: &Question, result: &ElicitResult) -> Decision {
    let content = match &result.content {
        Some(Value::Object(content)) => content.clone(),
        _ => Map::new(),
    };
    let reply = match &result.action {
        ElicitationAction::Accept => Reply::Accept(content),
        ElicitationAction::Decline => Reply::Decline,
        _ => Reply::Cancel,
    };
    match asked.check(&reply) {
        Ok(()) => made(action, Answer::Reply(reply)),
        Err(_) => Decision::Open,
    }
}

fn made(action: &Action, answer: Answer) -> Decision {
    Decision::Made(Submission {
        action: action.id.clone(),
        digest: action.digest.clone(),
        answer,
    })
}
