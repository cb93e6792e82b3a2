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
    if let Some((kind, fact)) = precondition(error.reason()) {
        details.add_precondition_failure_violation(kind, named(error, fact), error.message());
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
    let (kind, fact) = match error.reason() {
        Reason::AssistantNotFound => ("assistd/Assistant", "assistant"),
        Reason::ThreadNotFound => ("assistd/Thread", "thread"),
        Reason::MessageNotFound => ("assistd/Message", "message"),
        Reason::RunNotFound => ("assistd/Run", "run"),
        Reason::ToolNotFound => ("assistd/Tool", "tool"),
        Reason::McpServerNotFound => ("assistd/McpServer", "server"),
        Reason::ResourceNotFound => ("assistd/McpResource", "resource"),
        Reason::ModelNotFound => ("assistd/Model", "model"),
        Reason::PromptNotFound => ("assistd/Prompt", "prompt"),
        _ => return None,
    };
    Some((kind, named(error, fact)))
}

/// The type of the precondition that does not hold, for `PreconditionFailure`, and the fact that names what it is to hold
/// of.
fn precondition(reason: Reason) -> Option<(&'static str, &'static str)> {
    match reason {
        Reason::ThreadBusy => Some(("ACTIVE_RUN", "run")),
        Reason::RunNotCancellable => Some(("RUN_STATE", "run")),
        Reason::ActionNotPending => Some(("ACTION_STATE", "action")),
        Reason::ModelNotConfigured | Reason::ModelCredentialsRejected => Some(("CONFIGURATION", "model")),
        Reason::ContextLengthExceeded => Some(("CONTEXT_LENGTH", "model")),
        Reason::ModelRequestRejected => Some(("PROVIDER", "model")),
        Reason::OutputSchemaViolated => Some(("OUTPUT_SCHEMA", "run")),
        Reason::McpRequestRejected | Reason::McpAuthorizationRequired | Reason::ContentTooLarge => {
            Some(("MCP_SERVER", "server"))
        }
        Reason::ToolQuarantined => Some(("TOOL_APPROVAL", "tool")),
        _ => None,
    }
}

/// The fact of this name; empty where nobody has said it.
fn named<'a>(error: &'a Error, fact: &str) -> &'a str {
    let found = error.metadata().iter().find(|(name, _)| *name == fact);
    found.map_or("", |(_, value)| value.as_str())
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
    fn every_failed_precondition_names_what_it_is_of() {
        let facts = [
            ("provider_status", "400"),
            ("run", "run_1"),
            ("action", "call_1"),
            ("tool", "wiki__edit"),
            ("server", "wiki"),
            ("model", "big"),
        ];
        for reason in Reason::ALL {
            if reason.kind() != Kind::FailedPrecondition {
                continue;
            }
            let error = Error::new(*reason, "text");
            let error = facts
                .iter()
                .fold(error, |error, (name, value)| error.with(name, *value));
            let details = of(&error, "req").get_error_details();
            let failure = details
                .precondition_failure()
                .unwrap_or_else(|| panic!("{reason:?} names nothing"));
            let [violation] = failure.violations.as_slice() else {
                panic!("{failure:?}");
            };
            let of = facts
                .iter()
                .find(|(_, value)| *value == violation.subject)
                .unwrap()
                .0;
            let expected = match violation.r#type.as_str() {
                "ACTIVE_RUN" | "RUN_STATE" | "OUTPUT_SCHEMA" => "run",
                "ACTION_STATE" => "action",
                "TOOL_APPROVAL" => "tool",
                "MCP_SERVER" => "server",
                _ => "model",
            };
            assert_eq!(of, expected, "{reason:?}");
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
