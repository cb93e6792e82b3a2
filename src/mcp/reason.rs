//! rmcp's errors in words for operators: short, and without addresses, headers or bodies, since Health shows them.

use std::error::Error as StdError;

use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

const MESSAGE_LIMIT_BYTES: usize = 200;

type HttpError = StreamableHttpError<reqwest::Error>;

/// Why a server could not be connected.
pub(super) fn of_start(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => of_transport(error),
        ClientInitializeError::JsonRpcError(error) => {
            format!("the server refuses to start a session: {}", short(&error.message))
        }
        ClientInitializeError::ConnectionClosed(_) => "the server closed the connection".to_owned(),
        ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
            format!("no common protocol version: the server has {server_supported:?}")
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_start(fallback),
        _ => "the server does not speak MCP as expected".to_owned(),
    }
}

/// Whether a server has answered that it does not begin.
pub(super) fn is_refusal_of_start(error: &ClientInitializeError) -> bool {
    match error {
        ClientInitializeError::JsonRpcError(_) => true,
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => is_refusal_of_start(fallback),
        _ => false,
    }
}

/// Whether the connection was lost before anything came of it, which does not say why.
pub(super) fn is_broken_start(error: &ClientInitializeError) -> bool {
    match error {
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. } => true,
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => is_broken_start(fallback),
        _ => false,
    }
}

/// Why a request to a connected server failed.
pub(super) fn of_request(error: &ServiceError) -> String {
    match error {
        ServiceError::McpError(error) => format!("the server refuses: {}", short(&error.message)),
        ServiceError::TransportSend(error) => of_transport(error),
        ServiceError::TransportClosed => "the connection is closed".to_owned(),
        ServiceError::Timeout { timeout } => format!("no answer within {} ms", timeout.as_millis()),
        _ => "the server does not speak MCP as expected".to_owned(),
    }
}

/// Whether a request that failed so may have reached the server and done its work there.
pub(super) fn may_have_arrived(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else {
        return !matches!(error, ServiceError::McpError(_));
    };
    match error.error.downcast_ref::<HttpError>() {
        Some(HttpError::Client(error)) => !error.is_connect(),
        // What is refused so has not been begun; see RFC 9110, 15.6.4, and RFC 6585, 4.
        Some(HttpError::HttpStatus(error)) => !matches!(error.status, 400..=499 | 503),
        Some(HttpError::AuthRequired(_) | HttpError::InsufficientScope(_) | HttpError::SessionExpired) => {
            false
        }
        _ => true,
    }
}

/// Whether there was an answer, and it was larger than is taken.
pub(super) fn is_too_large(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else {
        return false;
    };
    matches!(
        error.error.downcast_ref::<HttpError>(),
        Some(HttpError::ResponseBodyTooLarge { .. })
    )
}

/// Whether a server has turned a request away for want of authorization: it was not begun.
pub(super) fn is_refusal_of_access(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else {
        return false;
    };
    matches!(
        error.error.downcast_ref::<HttpError>(),
        Some(HttpError::AuthRequired(_))
    )
}

/// Whether a server refuses the way in which streamable HTTP begins, as one does that knows only the transport before
/// it.
pub(super) fn is_refusal_of_post(error: &ClientInitializeError) -> bool {
    let error = match error {
        ClientInitializeError::TransportError { error, .. } => error,
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => return is_refusal_of_post(fallback),
        _ => return false,
    };
    match error.error.downcast_ref::<HttpError>() {
        Some(HttpError::HttpStatus(error)) => matches!(error.status, 400 | 404 | 405),
        Some(HttpError::SessionExpired) => true,
        Some(HttpError::UnexpectedServerResponse(text)) => ["HTTP 400", "HTTP 404", "HTTP 405"]
            .iter()
            .any(|status| text.starts_with(status)),
        Some(HttpError::Client(error)) => error
            .status()
            .is_some_and(|status| matches!(status.as_u16(), 400 | 404 | 405)),
        _ => false,
    }
}

fn of_transport(error: &DynamicTransportError) -> String {
    match error.error.downcast_ref::<HttpError>() {
        Some(HttpError::Client(error)) => of_client(error),
        Some(HttpError::HttpStatus(error)) => of_status(&format!("HTTP {}", error.status)),
        Some(HttpError::AuthRequired(error)) => match error.www_authenticate_header.as_str() {
            "" => "the server asks for authorization (HTTP 401)".to_owned(),
            // Not the server's header: what is to be done about it, as `auth::transport` says.
            want => want.to_owned(),
        },
        Some(HttpError::InsufficientScope(_)) => "the server denies access (HTTP 403)".to_owned(),
        Some(HttpError::SessionExpired) => "the server has forgotten the session (HTTP 404)".to_owned(),
        Some(HttpError::UnexpectedServerResponse(text)) => match text.split_once(':') {
            Some((status, _)) if status.starts_with("HTTP ") => of_status(status),
            _ => "the server does not speak MCP as expected".to_owned(),
        },
        Some(HttpError::UnexpectedContentType(_)) => {
            "the address does not speak MCP: unexpected content type".to_owned()
        }
        Some(HttpError::ResponseBodyTooLarge { max_size }) => {
            format!("the server's answer is larger than {max_size} bytes")
        }
        _ => "the connection broke".to_owned(),
    }
}

/// Why a request was answered with this status, such as `HTTP 500 Internal Server Error`. A redirect that is left is one that is
/// not followed; see [`remote`](super::remote).
fn of_status(status: &str) -> String {
    match status.strip_prefix("HTTP ").and_then(|status| status.get(..3)) {
        Some(code) if code.starts_with('3') => format!("the server sends us elsewhere (HTTP {code})"),
        _ => format!("the server answers with {status}"),
    }
}

/// Why a request over HTTP had no answer.
pub(super) fn of_client(error: &reqwest::Error) -> String {
    let mut root: &dyn StdError = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match () {
        () if error.is_timeout() => "the server cannot be reached in time".to_owned(),
        () if error.is_connect() => format!("cannot connect: {}", short(&root.to_string())),
        () => "the connection broke".to_owned(),
    }
}

/// As much of what a server says as is shown.
pub(super) fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MESSAGE_LIMIT_BYTES)]
}
