//! What several requests ask in the same way, and how errors name what they are about.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::assistant::AssistantRecord;
use crate::run::catalogue::{Catalogue, ClientTool, Selection};
use crate::run::engine::{OnBusy, OnDisconnect};
use crate::run::error::{Error, Reason, Violation};
use crate::run::id::{RunId, ThreadId};
use crate::run::message::Part;
use crate::run::options::{ModelOptions, ToolChoice};
use crate::run::ports::RequestKey;

/// The longest name of a model, in bytes.
const MODEL_NAME_LIMIT_BYTES: usize = 256;

/// What makes a request safe to repeat: its id, the RPC's name, and the request without its id, which a
/// replay must equal.
///
/// # Errors
/// `VALIDATION_FAILED` for an id that is no UUID.
pub(super) fn request_key(
    id: &str,
    rpc: &str,
    request: &impl prost::Message,
) -> Result<Option<RequestKey>, Error> {
    if id.is_empty() {
        return Ok(None);
    }
    let uuid = uuid::Uuid::try_parse(id).map_err(|_| Error::invalid("request_id", "must be a UUID"))?;
    let digest = Sha256::new()
        .chain_update(rpc)
        .chain_update([0])
        .chain_update(request.encode_to_vec());
    Ok(Some(RequestKey {
        id: uuid.to_string(),
        digest: digest.finalize().into(),
    }))
}

/// What becomes of a run on a busy thread.
pub(super) fn on_busy(on_busy: i32) -> Result<OnBusy, Error> {
    match pb::OnBusy::try_from(on_busy) {
        Ok(pb::OnBusy::Unspecified | pb::OnBusy::Reject) => Ok(OnBusy::Reject),
        Ok(pb::OnBusy::Enqueue) => Ok(OnBusy::Enqueue),
        Ok(pb::OnBusy::Interrupt) => Ok(OnBusy::Interrupt),
        Err(_) => Err(Error::invalid(
            "on_busy",
            "must be ON_BUSY_REJECT, ON_BUSY_ENQUEUE or ON_BUSY_INTERRUPT",
        )),
    }
}

/// What becomes of a run when its client goes away.
pub(super) fn on_disconnect(on_disconnect: i32, otherwise: OnDisconnect) -> Result<OnDisconnect, Error> {
    match pb::OnDisconnect::try_from(on_disconnect) {
        Ok(pb::OnDisconnect::Unspecified) => Ok(otherwise),
        Ok(pb::OnDisconnect::Cancel) => Ok(OnDisconnect::Cancel),
        Ok(pb::OnDisconnect::Continue) => Ok(OnDisconnect::GoOn),
        Err(_) => Err(Error::invalid(
            "on_disconnect",
            "must be ON_DISCONNECT_CANCEL or ON_DISCONNECT_CONTINUE",
        )),
    }
}

/// The model that a run is to use, if it names one.
pub(super) fn model(field: &str, model: String) -> Result<Option<String>, Error> {
    if model.len() > MODEL_NAME_LIMIT_BYTES {
        let description = format!("must be at most {MODEL_NAME_LIMIT_BYTES} bytes");
        return Err(Error::invalid(field, description));
    }
    Ok(present(model))
}

/// How the model is to answer a run of this assistant.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit, and a tool that must be called and that the run is
/// not offered.
pub(super) fn options(
    field: &str,
    options: Option<pb::ModelOptions>,
    assistant: Option<&AssistantRecord>,
    client_tools: &[ClientTool],
    catalogue: &Arc<Catalogue>,
) -> Result<ModelOptions, Error> {
    let options = convert::options::from_pb(field, options)?;
    let Some(ToolChoice::Tool(tool)) = &options.tool_choice else {
        return Ok(options);
    };
    let profile = assistant.map(|assistant| &assistant.profile);
    let selection = Selection {
        allowed: profile.and_then(|profile| profile.allowed_tools.clone()),
        rules: profile
            .map(|profile| profile.policies.clone())
            .unwrap_or_default(),
        client_tools: client_tools.to_vec(),
    };
    match catalogue.selected(&selection).get(tool) {
        Some(_) => Ok(options),
        None => Err(Error::invalid(
            format!("{field}.tool_choice.tool"),
            format!("the run is offered no tool named {tool:?}"),
        )),
    }
}

/// What a caller says, part by part.
///
/// # Errors
/// `VALIDATION_FAILED` naming every part that does not fit.
pub(super) fn parts(field: &str, parts: Vec<pb::ContentPart>) -> Result<Vec<Part>, Error> {
    let mut said = Vec::with_capacity(parts.len());
    let mut violations: Vec<Violation> = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        match convert::message::said_from_pb(&format!("{field}[{index}]"), part) {
            Ok(part) => said.push(part),
            Err(error) => violations.extend_from_slice(error.violations()),
        }
    }
    if violations.is_empty() {
        Ok(said)
    } else {
        Err(Error::invalid_fields(violations))
    }
}

/// A text, if there is any.
pub(super) fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Names the thread that is not there, or the run that keeps it busy, as the contract does.
pub(super) fn named(error: Error, thread: &ThreadId) -> Error {
    match error.reason() {
        Reason::ThreadNotFound | Reason::EtagMismatch => error.with("thread", name::thread(thread)),
        Reason::ThreadBusy => {
            let active = about(&error, "run").and_then(|id| RunId::parse(id).ok());
            match active {
                Some(run) => Error::new(error.reason(), error.message()).with("run", name::run(thread, &run)),
                None => error,
            }
        }
        _ => error,
    }
}

/// Names the thread that is not there as the contract does, when the error knows its id.
pub(super) fn renamed(error: Error) -> Error {
    match about(&error, "thread").and_then(|id| ThreadId::parse(id).ok()) {
        Some(thread) => named(error, &thread),
        None => error,
    }
}

fn about<'a>(error: &'a Error, key: &str) -> Option<&'a str> {
    let metadata = error.metadata().iter();
    metadata
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.as_str())
        .next()
}

/// Names the run that is not there, or not fit for what was asked, as the contract does.
pub(super) fn of_run(error: Error, thread: &ThreadId, run: &RunId) -> Error {
    match error.reason() {
        Reason::RunNotFound | Reason::RunNotCancellable => error.with("run", name::run(thread, run)),
        _ => error,
    }
}
