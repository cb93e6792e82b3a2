//! What a provider says when it refuses, and what the heart is told of it.

use std::time::Duration;

use serde_json::Value;

use crate::run::error::{Error, Reason};

use super::sse::TooLong;

/// How much of a provider's text is kept for the log, in bytes.
const TEXT_LIMIT_BYTES: usize = 500;

/// Where it went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// No connection came about.
    Connecting,
    /// Nothing came for too long.
    Waiting,
    /// An answer came, or a part of one.
    #[default]
    Answering,
}

/// A refusal or a breakdown, in the provider's own words. They go to the log with the secrets struck out, and
/// never to a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// The HTTP status, or an error code within the body that is one.
    pub(super) status: Option<u16>,
    /// Machine-readable codes: OpenAI's `code` and `type`.
    pub(super) codes: Vec<String>,
    /// The text for people.
    pub(super) text: String,
    /// When to try again, if the provider says so.
    pub(super) retry_after: Option<Duration>,
    /// Where it went wrong.
    pub(super) stage: Stage,
}

/// What is kept of a provider's error for operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl Failure {
    /// An answer that cannot be read, or breaks off.
    pub(super) fn broken(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A refusal with an HTTP status, and a body of any shape.
    pub(super) fn from_response(status: u16, body: &[u8]) -> Self {
        let mut failure = match serde_json::from_slice::<Value>(body) {
            Ok(body) => Self::from_body(&body),
            Err(_) => Self::broken(String::from_utf8_lossy(body)),
        };
        failure.status = Some(status);
        failure
    }

    /// An error object as providers write it: `{"error":{…}}`, `{"error":"…"}`, the object itself, one within
    /// an array, or something with a `detail`.
    pub(super) fn from_body(body: &Value) -> Self {
        let object = match body {
            Value::Array(list) => list.first().unwrap_or(body),
            _ => body,
        };
        let object = object
            .get("error")
            .filter(|error| !error.is_null())
            .unwrap_or(object);
        let word = |key: &str| match object.get(key) {
            Some(Value::String(word)) if !word.is_empty() => Some(word.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let codes: Vec<String> = ["code", "type", "status"].into_iter().filter_map(word).collect();
        let text = ["message", "detail", "msg", "error"]
            .into_iter()
            .find_map(|key| object.get(key))
            .unwrap_or(object);
        Self {
            status: codes
                .iter()
                .find_map(|code| code.parse().ok().filter(|code| (400..600).contains(code))),
            codes,
            text: text.as_str().map_or_else(|| text.to_string(), str::to_owned),
            ..Self::default()
        }
    }

    /// A connection that does not come about, breaks or falls silent.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let stage = if error.is_connect() {
            Stage::Connecting
        } else if error.is_timeout() {
            Stage::Waiting
        } else {
            Stage::Answering
        };
        // The address may hold what is not for the log.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self {
            stage,
            ..Self::broken(text)
        }
    }

    /// A connection that has been silent for this long.
    pub(super) fn silent(limit: Duration) -> Self {
        Self {
            stage: Stage::Waiting,
            ..Self::broken(format!("nothing came for {limit:?}"))
        }
    }

    /// Whether the same request may be sent again: the provider has not begun to work on it. Not after a 500,
    /// which may come after work that was done and paid for.
    pub(super) fn is_before_work(&self) -> bool {
        match self.status {
            Some(429) => self.reason() == Reason::RateLimited,
            Some(502..=504) => self.reason() == Reason::ModelUnavailable,
            Some(_) => false,
            None => self.stage == Stage::Connecting,
        }
    }

    /// Whether the provider refuses to encrypt its model's reasoning, or to read what is encrypted.
    pub(super) fn is_about_encryption(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        matches!(self.status, Some(400 | 422)) && (text.contains("encrypted") || text.contains("'include'"))
    }

    /// Whether the provider does not have the response that the request builds on, or not any more.
    pub(super) fn is_about_a_lost_response(&self) -> bool {
        let has_code = self
            .codes
            .iter()
            .any(|code| code == "previous_response_not_found");
        let text = self.text.to_ascii_lowercase();
        let says_so = text.contains("previous response") || text.contains("previous_response_id");
        matches!(self.status, Some(400 | 404 | 422)) && (has_code || says_so)
    }

    /// The reason that callers are given.
    pub(super) fn reason(&self) -> Reason {
        self.reason_by_code()
            .or_else(|| self.status.map(reason_by_status))
            .unwrap_or(Reason::ModelUnavailable)
    }

    /// Codes say more than the status: a used-up quota and a rate limit are both 429.
    fn reason_by_code(&self) -> Option<Reason> {
        let by_code = self.codes.iter().find_map(|code| match code.as_str() {
            "context_length_exceeded" | "exceed_context_size_error" | "string_above_max_length" => {
                Some(Reason::ContextLengthExceeded)
            }
            "insufficient_quota" | "billing_hard_limit_reached" | "insufficient_credits" => {
                Some(Reason::QuotaExceeded)
            }
            "rate_limit_exceeded" | "rate_limit_error" | "RESOURCE_EXHAUSTED" => Some(Reason::RateLimited),
            "invalid_api_key" | "authentication_error" | "permission_error" => {
                Some(Reason::ModelCredentialsRejected)
            }
            _ => None,
        });
        by_code
            .or_else(|| self.is_too_long().then_some(Reason::ContextLengthExceeded))
            .or_else(|| {
                self.is_rejected_in_stream()
                    .then_some(Reason::ModelRequestRejected)
            })
    }

    /// Most servers have no code for a conversation that is too long, only words.
    fn is_too_long(&self) -> bool {
        const SIGNS: [&str; 5] = [
            "maximum context length",
            "context length exceeded",
            "context window",
            "available context size",
            "prompt is too long",
        ];
        let may_be = matches!(self.status, None | Some(400 | 413 | 422 | 500));
        may_be && {
            let text = self.text.to_ascii_lowercase();
            SIGNS.iter().any(|sign| text.contains(sign))
        }
    }

    /// Once a stream has begun there is no status, only a code.
    fn is_rejected_in_stream(&self) -> bool {
        self.status.is_none()
            && self.codes.iter().any(|code| {
                code.starts_with("invalid_")
                    || code.starts_with("unsupported_")
                    || code.contains("image")
                    || code == "model_not_found"
            })
    }

    /// The heart's error. `conceal` strikes out what must not be logged.
    pub(super) fn into_error(self, conceal: impl Fn(&str) -> String) -> Error {
        let reason = self.reason();
        let message = match (reason, self.status) {
            (Reason::RateLimited, _) => "the model provider is limiting the rate of requests".to_owned(),
            (Reason::QuotaExceeded, _) => "the quota at the model provider is used up".to_owned(),
            (Reason::ModelCredentialsRejected, _) => "the model provider rejects the credentials".to_owned(),
            (Reason::ContextLengthExceeded, _) => {
                "the conversation is longer than the model takes".to_owned()
            }
            (Reason::ModelRequestRejected, Some(404)) => {
                "the model provider does not know the model or the address".to_owned()
            }
            (Reason::ModelRequestRejected, _) => "the model provider rejected the request".to_owned(),
            (_, Some(status)) => format!("the model provider failed with status {status}"),
            (_, None) => match self.stage {
                Stage::Connecting => "the model provider cannot be reached".to_owned(),
                Stage::Waiting => "the model provider did not answer in time".to_owned(),
                Stage::Answering => "the model provider failed or broke off its answer".to_owned(),
            },
        };
        let said = self.said(conceal);
        let error = Error::new(reason, message).caused_by(Said(said));
        let error = match self.status {
            Some(status) => error.with("provider_status", status.to_string()),
            None => error,
        };
        match self.retry_after {
            Some(delay) => error.retry_after(delay),
            None => error,
        }
    }

    fn said(&self, conceal: impl Fn(&str) -> String) -> String {
        let mut said = String::new();
        if let Some(status) = self.status {
            said.push_str(&format!("status {status}: "));
        }
        if !self.codes.is_empty() {
            said.push_str(&format!("[{}] ", self.codes.join(", ")));
        }
        said.push_str(&self.text);
        // Concealed first: a cut secret would not be recognised.
        let mut said = conceal(&said);
        if said.len() > TEXT_LIMIT_BYTES {
            said.truncate(said.floor_char_boundary(TEXT_LIMIT_BYTES));
            said.push('…');
        }
        said
    }
}

impl From<TooLong> for Failure {
    fn from(error: TooLong) -> Self {
        Self::broken(error.to_string())
    }
}

fn reason_by_status(status: u16) -> Reason {
    match status {
        401 | 403 => Reason::ModelCredentialsRejected,
        402 => Reason::QuotaExceeded,
        429 => Reason::RateLimited,
        408 | 409 | 425 => Reason::ModelUnavailable,
        // A redirect is not followed, since it would carry the key elsewhere: the address is wrong.
        300..=499 => Reason::ModelRequestRejected,
        _ => Reason::ModelUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_every_shape_become_reasons() {
        use Reason::{
            ContextLengthExceeded, ModelCredentialsRejected, ModelRequestRejected, ModelUnavailable,
            QuotaExceeded, RateLimited,
        };
        let table: &[(u16, &str, Reason)] = &[
            (
                429,
                r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
                RateLimited,
            ),
            (
                429,
                r#"{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                QuotaExceeded,
            ),
            (
                429,
                r#"{"error":{"message":"pay","type":"insufficient_quota","code":null}}"#,
                QuotaExceeded,
            ),
            (429, "<html>busy</html>", RateLimited),
            (
                402,
                r#"{"error":{"message":"no credits","code":402}}"#,
                QuotaExceeded,
            ),
            (
                401,
                r#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#,
                ModelCredentialsRejected,
            ),
            (403, "", ModelCredentialsRejected),
            (
                400,
                r#"{"error":{"message":"…","code":"context_length_exceeded"}}"#,
                ContextLengthExceeded,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","code":400}"#,
                ContextLengthExceeded,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
                ContextLengthExceeded,
            ),
            (400, r#"{"error":"str"}"#, ModelRequestRejected),
            (
                400,
                r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
                ModelRequestRejected,
            ),
            (
                404,
                r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
                ModelRequestRejected,
            ),
            (404, "404 page not found", ModelRequestRejected),
            (
                422,
                r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
                ModelRequestRejected,
            ),
            (301, "", ModelRequestRejected),
            (
                500,
                r#"{"error":{"message":"oops","type":"server_error","code":null}}"#,
                ModelUnavailable,
            ),
            (502, "<html>bad gateway</html>", ModelUnavailable),
            (
                503,
                r#"[{"error":{"code":503,"status":"UNAVAILABLE","message":"…"}}]"#,
                ModelUnavailable,
            ),
            (529, "\u{0}", ModelUnavailable),
        ];
        for (status, body, reason) in table {
            let failure = Failure::from_response(*status, body.as_bytes());
            assert_eq!(failure.reason(), *reason, "{status} {body}");
            assert_eq!(failure.status, Some(*status));
        }
    }

    #[test]
    fn errors_within_an_answer_go_by_their_codes() {
        let table = [
            (r#"{"error":{"code":429,"message":"…"}}"#, Reason::RateLimited),
            (
                r#"{"type":"error","code":"rate_limit_exceeded","message":"…","param":null}"#,
                Reason::RateLimited,
            ),
            (
                r#"{"code":"server_error","message":"…"}"#,
                Reason::ModelUnavailable,
            ),
            (
                r#"{"code":"invalid_prompt","message":"…"}"#,
                Reason::ModelRequestRejected,
            ),
            (
                r#"{"code":"failed_to_download_image","message":"…"}"#,
                Reason::ModelRequestRejected,
            ),
            (r#"{"error":"boom"}"#, Reason::ModelUnavailable),
            ("null", Reason::ModelUnavailable),
        ];
        for (body, reason) in table {
            let failure = Failure::from_body(&serde_json::from_str(body).unwrap());
            assert_eq!(failure.reason(), reason, "{body}");
        }
    }

    #[test]
    fn callers_never_see_the_providers_text_and_logs_never_the_key() {
        let body = format!(
            r#"{{"error":{{"message":"wrong key sk-secret {}"}}}}"#,
            "x".repeat(1000)
        );
        let error =
            Failure::from_response(401, body.as_bytes()).into_error(|text| text.replace("sk-secret", "***"));
        assert!(!error.to_string().contains("wrong key"));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("status 401: wrong key *** x"), "{cause}");
        assert!(cause.len() < 600);
    }
}
