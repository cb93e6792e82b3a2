//! The heart's errors as the doors show them: the one table of codes, and the details of every error.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::run::error::{Error, Kind, Reason};

/// The domain of every `google.rpc.ErrorInfo`: the service's name.
pub const DOMAIN: &str = "assistd";

/// The code of a kind. HTTP statuses follow from the code by `google/rpc/code.proto`, in the transcoder.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    }
}

/// The name of a code, as gRPC writes it.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// An error with its details: exactly one `ErrorInfo`, and what else fits its kind.
///
/// A defect shows a fixed text and the request's id; what it really was goes to the log under that id.
pub fn of(error: &Error, request_id: &str) -> Status {
    let mut details = ErrorDetails::new();
    let metadata: HashMap<String, String> = error
        .metadata()
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    details.set_error_info(error.reason().as_str(), DOMAIN, metadata);
    if !error.violations().is_empty() {
        let violations = error.violations().iter();
        details.set_bad_request(
            violations
                .map(|one| FieldViolation::new(&one.field, &one.description))
                .collect::<Vec<_>>(),
        );
    }
    if let Some(delay) = retry_delay(error) {
        details.set_retry_info(Some(delay));
    }
    if let Some((kind, name)) = resource(error) {
        details.set_resource_info(kind, name, "", error.message());
    }
    if let Some(kind) = precondition(error.reason()) {
        let subject = error.metadata().first().map_or("", |(_, value)| value.as_str());
        details.add_precondition_failure_violation(kind, subject, error.message());
    }
    if error.reason() == Reason::QuotaExceeded {
        details.add_quota_failure_violation("model provider", error.message());
    }
    if error.kind() == Kind::Internal {
        details.set_request_info(request_id, "");
        tracing::error!(request_id, cause = ?std::error::Error::source(error), "internal error");
    }
    Status::with_error_details(code(error.kind()), error.message(), details)
}

/// An error as the contract's messages carry it.
pub fn to_pb(error: &Error) -> Option<tonic_types::pb::Status> {
    tonic_types::pb::Status::decode(of(error, "").details()).ok()
}

/// When a later try may work, if there is any sense in one.
pub fn retry_delay(error: &Error) -> Option<Duration> {
    error.retry_delay().or_else(|| retry_hint(error.reason()))
}

/// When to try again where nothing better is known.
fn retry_hint(reason: Reason) -> Option<Duration> {
    match reason {
        Reason::Overloaded | Reason::ShuttingDown | Reason::RateLimited => Some(Duration::from_secs(1)),
        Reason::StoreUnavailable | Reason::McpUnavailable => Some(Duration::from_secs(5)),
        _ => None,
    }
}

/// What was not found, for `ResourceInfo`: its type and its name.
fn resource(error: &Error) -> Option<(&'static str, &str)> {
    let kind = match error.reason() {
        Reason::AssistantNotFound => "assistd/Assistant",
        Reason::ThreadNotFound => "assistd/Thread",
        Reason::MessageNotFound => "assistd/Message",
        Reason::RunNotFound => "assistd/Run",
        Reason::ToolNotFound => "assistd/Tool",
        Reason::ResourceNotFound => "assistd/McpResource",
        Reason::ModelNotFound => "assistd/Model",
        Reason::PromptNotFound => "assistd/Prompt",
        _ => return None,
    };
    let name = error.metadata().first().map_or("", |(_, value)| value.as_str());
    Some((kind, name))
}

/// The type of the precondition that does not hold, for `PreconditionFailure`.
fn precondition(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::ThreadBusy => Some("ACTIVE_RUN"),
        Reason::RunNotCancellable => Some("RUN_STATE"),
        Reason::ActionNotPending => Some("ACTION_STATE"),
        Reason::ModelNotConfigured | Reason::ModelCredentialsRejected => Some("CONFIGURATION"),
        Reason::ContextLengthExceeded => Some("CONTEXT_LENGTH"),
        Reason::ModelRequestRejected => Some("PROVIDER"),
        Reason::McpRequestRejected | Reason::McpAuthorizationRequired | Reason::ContentTooLarge => {
            Some("MCP_SERVER")
        }
        Reason::ToolQuarantined => Some("TOOL_APPROVAL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_error_info_with_its_reason() {
        for reason in Reason::ALL {
            let status = of(&Error::new(*reason, "text").with("run", "run_1"), "req");
            let info = status.get_error_details().error_info().cloned().unwrap();
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (reason.as_str(), DOMAIN)
            );
            assert_eq!(info.metadata["run"], "run_1");
            assert_eq!(status.code(), code(reason.kind()));
        }
    }

    #[test]
    fn a_defect_says_nothing_but_the_request_id() {
        let status = of(&Error::internal("the secret cause"), "req-7");
        assert_eq!(status.message(), "internal error");
        let shown = format!("{status:?}{:?}", status.get_error_details());
        assert!(!shown.contains("secret"));
        assert_eq!(
            status
                .get_error_details()
                .request_info()
                .map(|info| info.request_id.as_str()),
            Some("req-7")
        );
    }
}
