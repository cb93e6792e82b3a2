//! Errors in OpenAI's form.

use http::StatusCode;
use serde::Serialize;

/// A request that is not answered, and why: an HTTP status with OpenAI's error body.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub kind: &'static str,
    pub code: Option<&'static str>,
    pub param: Option<String>,
    pub message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl Refusal {
    /// 400 `invalid_request_error`: the request itself is wrong.
    pub fn invalid(param: Option<&str>, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code,
            param: param.map(str::to_owned),
            message: message.into(),
        }
    }

    /// 400 for a parameter that must be there.
    pub fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Refusal::invalid(Some(param), Some("missing_required_parameter"), message)
    }

    /// The error that OpenAI sends with `status`, with a message of our own.
    pub fn with_status(status: StatusCode) -> Self {
        let (kind, code) = match status.as_u16() {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            404 => ("invalid_request_error", Some("not_found")),
            429 => ("requests", Some("rate_limit_exceeded")),
            400..=499 => ("invalid_request_error", None),
            _ => ("server_error", None),
        };
        let reason = status.canonical_reason().unwrap_or("Error");
        Refusal {
            status,
            kind,
            code,
            param: None,
            message: format!("{reason} (simulated)"),
        }
    }

    /// The JSON object.
    pub fn wire(&self) -> impl Serialize + '_ {
        Body {
            error: Fields {
                message: &self.message,
                r#type: self.kind,
                param: self.param.as_deref(),
                code: self.code,
            },
        }
    }

    /// The JSON object, written.
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.wire()).unwrap_or_default()
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        let message = format!("We could not parse the JSON body of your request: {error}");
        Refusal::invalid(None, None, message)
    }
}
