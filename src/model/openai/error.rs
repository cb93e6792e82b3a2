//! What a provider says when it refuses, and what the heart is told of it.

use std::time::Duration;

use serde_json::Value;

use crate::run::error::{Error, Reason};

use super::sse::TooLong;

/// How much of a provider's text is kept for the log, in bytes.
const TEXT_LIMIT_BYTES: usize = 500;

/// The longest path of a field that is told, in bytes.
const FIELD_LIMIT_BYTES: usize = 100;

/// Codes of content filters: OpenAI's, Azure's, and those of gateways.
const FILTER_CODES: [&str; 4] = [
    "content_filter",
    "content_policy_violation",
    "ResponsibleAIPolicyViolation",
    "moderation_blocked",
];

/// What LiteLLM says of the content filter of a provider behind it.
const LITELLM_FILTER: &str = "ContentPolicyViolationError";

/// Where it went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// No connection came about.
    Connecting,
    /// Nothing came for too long.
    Waiting,
    /// The provider does not have any more what it was to go on with.
    Lost,
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
    /// The field of the request that is refused, if the provider says so by a plain path.
    pub(super) field: Option<String>,
    /// Whether the provider's content filter refuses what was said.
    is_filtered: bool,
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
        let mut codes: Vec<String> = ["code", "type", "status"].into_iter().filter_map(word).collect();
        // Azure keeps the cause one level deeper.
        let inner = object.get("innererror").or_else(|| object.get("inner_error"));
        let inner = inner.and_then(|inner| inner.get("code")).and_then(Value::as_str);
        codes.extend(inner.map(str::to_owned));
        // OpenRouter's moderation.
        let is_flagged = object
            .get("metadata")
            .is_some_and(|metadata| metadata.get("flagged_input").is_some());
        let is_filtered = is_flagged || codes.iter().any(|code| FILTER_CODES.contains(&code.as_str()));
        let text = ["message", "detail", "msg", "error"]
            .into_iter()
            .find_map(|key| object.get(key))
            .unwrap_or(object);
        Self {
            status: codes
                .iter()
                .find_map(|code| code.parse().ok().filter(|code| (400..600).contains(code))),
            field: field(object),
            is_filtered: is_filtered || text.as_str().is_some_and(|text| text.contains(LITELLM_FILTER)),
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

    /// A connection on which bytes came, and for this long nothing that says anything.
    pub(super) fn speechless(limit: Duration) -> Self {
        Self {
            stage: Stage::Waiting,
            ..Self::broken(format!("no event came for {limit:?}"))
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

    /// Whether the provider certainly has not taken the request, so that it cannot have had any effect.
    pub(super) fn was_never_taken(&self) -> bool {
        self.status == Some(429) || (self.status.is_none() && self.stage == Stage::Connecting)
    }

    /// Whether the provider of an Assistants API refuses to go on with what it had: it is gone, over, or busy.
    pub(super) fn is_about_a_lost_thread(&self) -> bool {
        matches!(self.status, Some(400 | 404 | 409))
    }

    /// The same failure, now that it is known to mean a run that was to go on.
    pub(super) fn of_a_lost_run(self) -> Self {
        Self {
            stage: Stage::Lost,
            ..self
        }
    }

    /// Whether the provider's content filter refuses what was said: no failure, but the end of the turn.
    pub(super) fn is_filtered(&self) -> bool {
        self.is_filtered
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
        if self.stage == Stage::Lost {
            return Reason::ModelUnavailable;
        }
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
            "insufficient_quota"
            | "billing_hard_limit_reached"
            | "insufficient_credits"
            | "billing_not_active"
            | "budget_exceeded"
            | "QuotaExceeded" => Some(Reason::QuotaExceeded),
            "rate_limit_exceeded"
            | "rate_limit_error"
            | "RESOURCE_EXHAUSTED"
            | "RateLimitReached"
            | "throttling_error" => Some(Reason::RateLimited),
            "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "auth_error"
            | "account_deactivated"
            | "token_not_found_in_db"
            | "expired_key"
            | "PermissionDenied" => Some(Reason::ModelCredentialsRejected),
            // A server that still loads its model, or has none to give.
            "unavailable_error" | "overloaded_error" | "ServiceUnavailable" => Some(Reason::ModelUnavailable),
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
        const SIGNS: [&str; 9] = [
            "maximum context length",
            // LiteLLM, before whatever the provider behind it said.
            "contextwindowexceedederror",
            // Ollama, and runners of llama.cpp before it had a code.
            "exceeds the context",
            "input length exceeds",
            // vLLM, of the limit that it was started with.
            "max_model_len",
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
        // A path cannot look like a secret, unless it is one.
        let field = self.field.clone().filter(|field| conceal(field) == *field);
        let message = match (reason, self.status) {
            (Reason::RateLimited, _) => "the model provider is limiting the rate of requests".to_owned(),
            (Reason::QuotaExceeded, _) => "the quota at the model provider is used up".to_owned(),
            (Reason::ModelCredentialsRejected, _) => "the model provider rejects the credentials".to_owned(),
            (Reason::ContextLengthExceeded, _) => {
                "the conversation is longer than the model takes".to_owned()
            }
            (Reason::ModelRequestRejected, _) if field.is_some() => {
                let field = field.as_deref().unwrap_or_default();
                format!("the model provider rejected the request: it does not take {field:?}")
            }
            (Reason::ModelRequestRejected, Some(404)) => {
                "the model provider does not know the model or the address".to_owned()
            }
            (Reason::ModelRequestRejected, _) => "the model provider rejected the request".to_owned(),
            (_, Some(status)) if self.stage != Stage::Lost => {
                format!("the model provider failed with status {status}")
            }
            _ => match self.stage {
                Stage::Lost => {
                    "the model provider has lost the run that waited for the outputs of its calls; asked anew, it \
                     might make calls again that may do harm"
                }
                Stage::Connecting => "the model provider cannot be reached",
                Stage::Waiting => "the model provider did not answer in time",
                Stage::Answering => "the model provider failed or broke off its answer",
            }
            .to_owned(),
        };
        let said = self.said(conceal);
        let error = Error::new(reason, message).caused_by(Said(said));
        let error = match self.status {
            Some(status) => error.with("provider_status", status.to_string()),
            None => error,
        };
        let error = match field {
            Some(field) => error.with("provider_field", field),
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

/// The field that is refused: OpenAI's `param`, or the place that FastAPI gives (vLLM, LiteLLM, Mistral). Only a plain path
/// is told: anything else may be the provider's own words.
fn field(object: &Value) -> Option<String> {
    let param = object.get("param").and_then(Value::as_str);
    let path = param.map(str::to_owned).or_else(|| {
        let place = ["/detail/0/loc", "/message/detail/0/loc"]
            .iter()
            .find_map(|place| object.pointer(place)?.as_array())?;
        let mut path = String::new();
        for step in place.iter().skip_while(|step| *step == "body") {
            match (step.as_str(), step.as_u64()) {
                (Some(name), _) if path.is_empty() => path.push_str(name),
                (Some(name), _) => path.push_str(&format!(".{name}")),
                (None, Some(index)) => path.push_str(&format!("[{index}]")),
                (None, None) => return None,
            }
        }
        Some(path)
    })?;
    // LiteLLM is written in Python.
    (is_plain_path(&path) && path != "None").then_some(path)
}

/// `a`, `a.b`, `a[0].b`.
fn is_plain_path(path: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let is_index = |rest: &str| {
        let index = rest.strip_suffix(']');
        index.is_some_and(|index| !index.is_empty() && index.bytes().all(|digit| digit.is_ascii_digit()))
    };
    path.len() <= FIELD_LIMIT_BYTES
        && path.split('.').all(|step| {
            let mut parts = step.split('[');
            parts.next().is_some_and(is_name) && parts.all(is_index)
        })
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
        // What it does not implement it will not implement on another try.
        501 => Reason::ModelRequestRejected,
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
            // Azure OpenAI.
            (
                401,
                r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}"#,
                ModelCredentialsRejected,
            ),
            (
                401,
                r#"{"statusCode":401,"message":"Unauthorized. Access token is missing"}"#,
                ModelCredentialsRejected,
            ),
            (
                404,
                r#"{"error":{"code":"DeploymentNotFound","message":"…"}}"#,
                ModelRequestRejected,
            ),
            (
                429,
                r#"{"error":{"code":"429","message":"have exceeded token rate limit"}}"#,
                RateLimited,
            ),
            // vLLM.
            (
                400,
                r#"{"error":{"message":"The prompt (total length 9000) is longer than max_model_len 4096","type":"BadRequestError","param":null,"code":400}}"#,
                ContextLengthExceeded,
            ),
            (
                404,
                r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}}"#,
                ModelRequestRejected,
            ),
            (401, r#"{"error":"Unauthorized"}"#, ModelCredentialsRejected),
            // llama.cpp.
            (
                503,
                r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
                ModelUnavailable,
            ),
            (
                401,
                r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#,
                ModelCredentialsRejected,
            ),
            (
                501,
                r#"{"error":{"message":"not supported","type":"not_supported_error","code":501}}"#,
                ModelRequestRejected,
            ),
            // Ollama.
            (
                404,
                r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
                ModelRequestRejected,
            ),
            (
                503,
                r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
                ModelUnavailable,
            ),
            (
                400,
                r#"{"error":{"message":"the input length exceeds the context length","type":"api_error"}}"#,
                ContextLengthExceeded,
            ),
            // LiteLLM.
            (
                400,
                r#"{"error":{"message":"Budget has been exceeded!","type":"budget_exceeded","param":null,"code":"400"}}"#,
                QuotaExceeded,
            ),
            (
                400,
                r#"{"error":{"message":"litellm.ContextWindowExceededError: x","type":null,"param":null,"code":"400"}}"#,
                ContextLengthExceeded,
            ),
            (
                401,
                r#"{"error":{"message":"Authentication Error","type":"auth_error","param":"None","code":"401"}}"#,
                ModelCredentialsRejected,
            ),
            (
                429,
                r#"{"error":{"message":"No deployments available for selected model","type":"None","param":"None","code":"429"}}"#,
                RateLimited,
            ),
            // OpenRouter.
            (
                402,
                r#"{"error":{"code":402,"message":"Insufficient credits"}}"#,
                QuotaExceeded,
            ),
            (
                502,
                r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"x"}}}"#,
                ModelUnavailable,
            ),
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
    fn a_content_filter_is_told_from_other_refusals() {
        let table = [
            (
                400,
                r#"{"error":{"message":"…","param":"prompt","code":"content_filter","status":400,
                    "innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}"#,
                true,
            ),
            (
                400,
                r#"{"error":{"message":"…","code":"400","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                true,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"…","metadata":{"reasons":["violence"],"flagged_input":"…"}}}"#,
                true,
            ),
            (
                400,
                r#"{"error":{"message":"litellm.ContentPolicyViolationError: x","code":"400"}}"#,
                true,
            ),
            (403, r#"{"error":{"code":403,"message":"key limit"}}"#, false),
            (
                400,
                r#"{"error":{"message":"content_filter is no field"}}"#,
                false,
            ),
        ];
        for (status, body, is_filtered) in table {
            let failure = Failure::from_response(status, body.as_bytes());
            assert_eq!(failure.is_filtered(), is_filtered, "{body}");
        }
    }

    #[test]
    fn the_field_of_a_rejected_request_is_told_if_it_is_a_plain_path() {
        let param = |param: &str| format!(r#"{{"error":{{"message":"…","param":{param:?}}}}}"#);
        let table = [
            (param("tools[0].function.name"), Some("tools[0].function.name")),
            (param("temperature"), Some("temperature")),
            (param("None"), None),
            (param("key sk-secret"), None),
            (param("sk_secret"), None),
            (param("a..b"), None),
            (param("a[]"), None),
            (param(&"a".repeat(101)), None),
            (
                r#"{"detail":[{"loc":["body","messages",0,"content"],"msg":"field required"}]}"#.to_owned(),
                Some("messages[0].content"),
            ),
            (
                r#"{"object":"error","message":{"detail":[{"loc":["body","stop"],"msg":"no"}]}}"#.to_owned(),
                Some("stop"),
            ),
            (r#"{"detail":"x"}"#.to_owned(), None),
        ];
        for (body, expected) in table {
            let failure = Failure::from_response(400, body.as_bytes());
            let error = failure.into_error(|text| text.replace("sk_secret", "***"));
            let told = error.metadata().iter().find(|(key, _)| *key == "provider_field");
            assert_eq!(told.map(|(_, field)| field.as_str()), expected, "{body}");
            assert_eq!(error.message().contains("does not take"), expected.is_some());
            assert!(!error.message().contains("secret"));
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
