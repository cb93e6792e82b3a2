//! What a legacy client is told when it does not get what it asked for: `{"detail": …}`, as FastAPI says it.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::syntax::Fault;
use crate::api::status;
use crate::run::error::{Error, Kind, Reason};

/// An answer that is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// A text, or the list of what does not fit.
    pub detail: Value,
    /// When a later try may work.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with this text.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: Value::String(detail.into()),
            retry_after: None,
        }
    }

    /// 422: these fields do not fit.
    pub fn fields(misfits: Vec<Value>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail: Value::Array(misfits),
            retry_after: None,
        }
    }

    /// 422: the body is not JSON.
    pub fn not_json(fault: Fault) -> Self {
        Self::fields(vec![json!({
            "type": "json_invalid",
            "loc": ["body", fault.position],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": fault.message},
        })])
    }

    /// 400: the body cannot be read at all.
    pub fn unreadable() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "There was an error parsing the body")
    }

    /// 503: no MCP server is connected.
    pub fn no_mcp() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "MCP session not available")
    }

    /// Why there is no answer to a chat: the run failed, or there was none. The provider's part in it is never told.
    pub fn of_chat(error: &Error) -> Self {
        let run = error.metadata().iter().find(|(key, _)| *key == "run");
        if run.is_none() || error.reason() == Reason::ThreadBusy {
            return Self::of(error);
        }
        tracing::info!(%error, run = run.map(|(_, name)| name), "assistant run failed");
        let provider_failed = error
            .metadata()
            .iter()
            .any(|(key, value)| *key == "provider_status" && value == "500");
        let status = match status_of(error) {
            // The provider is there: it is the run that failed, as clients of the original knew it.
            _ if provider_failed => StatusCode::INTERNAL_SERVER_ERROR,
            kept @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => kept,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            retry_after: status::retry_delay(error),
            ..Self::new(status, "Assistant run failed")
        }
    }

    /// Any other error. A defect shows a fixed text; what it really was goes to the log.
    pub fn of(error: &Error) -> Self {
        if error.kind() == Kind::Internal {
            tracing::error!(cause = ?std::error::Error::source(error), "internal error");
        }
        Self {
            retry_after: status::retry_delay(error),
            ..Self::new(status_of(error), error.message())
        }
    }
}

/// The status of an error, where `google/rpc/code.proto` would say 400 for much that is not the caller's fault.
fn status_of(error: &Error) -> StatusCode {
    match error.kind() {
        Kind::InvalidArgument | Kind::OutOfRange => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::FailedPrecondition if error.reason() == Reason::ThreadBusy => StatusCode::CONFLICT,
        Kind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::FailedPrecondition | Kind::Aborted | Kind::Cancelled | Kind::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Error, Reason, Refusal};

    #[test]
    fn a_failed_run_keeps_what_a_client_can_act_on_and_nothing_else() {
        let cases = [
            (Reason::RateLimited, 429, Some(1)),
            (Reason::QuotaExceeded, 429, None),
            (Reason::ModelUnavailable, 503, None),
            (Reason::RunExpired, 504, None),
            (Reason::ModelCredentialsRejected, 500, None),
            (Reason::ModelRequestRejected, 500, None),
            (Reason::RunCancelled, 500, None),
            (Reason::Internal, 500, None),
        ];
        for (reason, status, seconds) in cases {
            let refusal = Refusal::of_chat(&Error::new(reason, "its text").with("run", "run_1"));
            assert_eq!(refusal.status, status, "{reason:?}");
            assert_eq!(refusal.detail, "Assistant run failed");
            assert_eq!(
                refusal.retry_after,
                seconds.map(Duration::from_secs),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_provider_that_fails_is_told_from_one_that_is_not_there() {
        for (provider_status, status) in [("500", 500), ("502", 503), ("503", 503)] {
            let error =
                Error::new(Reason::ModelUnavailable, "its text").with("provider_status", provider_status);
            assert_eq!(
                Refusal::of_chat(&error.with("run", "run_1")).status,
                status,
                "{provider_status}"
            );
        }
    }

    #[test]
    fn what_is_wrong_before_there_is_a_run_is_said() {
        let cases = [
            (Reason::ThreadNotFound, 404),
            (Reason::AssistantNotFound, 404),
            (Reason::ThreadBusy, 409),
            (Reason::StoreUnavailable, 503),
            (Reason::ShuttingDown, 503),
            (Reason::ToolNotAllowed, 403),
        ];
        for (reason, status) in cases {
            let mut error = Error::new(reason, "its text");
            if reason == Reason::ThreadBusy {
                error = error.with("run", "run_1");
            }
            let refusal = Refusal::of_chat(&error);
            assert_eq!(
                (refusal.status.as_u16(), refusal.detail),
                (status, "its text".into())
            );
        }
    }
}
