//! What a provider says when it refuses, and what the heart is told of it.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::model::retry;
use crate::run::error::{Error, Reason};

use super::sse::TooLong;
use super::way::LimitName;

/// How much of a provider's text is kept for the log, in bytes.
const TEXT_LIMIT_BYTES: usize = 500;

/// The longest path of a field that is told, in bytes.
const FIELD_LIMIT_BYTES: usize = 100;

/// The longest half of a media type that is told, in bytes.
const MEDIA_TYPE_LIMIT_BYTES: usize = 40;

/// Codes of content filters: OpenAI's, Azure's, Alibaba Cloud's, and those of gateways.
const FILTER_CODES: [&str; 6] = [
    "content_filter",
    "content_policy_violation",
    "ResponsibleAIPolicyViolation",
    "moderation_blocked",
    "DataInspectionFailed",
    "data_inspection_failed",
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
    /// What more callers are told, in our own words: which time is over, or what came in place of an answer.
    detail: Option<String>,
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
        let body = match body {
            Value::Array(list) => list.first().unwrap_or(body),
            // FastAPI's, around an object of whoever uses it.
            _ => body
                .get("detail")
                .filter(|detail| detail.is_object())
                .unwrap_or(body),
        };
        let object = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let word = |key: &str| match object.get(key) {
            Some(Value::String(word)) if !word.is_empty() => Some(word.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let mut codes: Vec<String> = ["code", "type", "status"].into_iter().filter_map(word).collect();
        // Azure keeps the cause one level deeper, and LiteLLM what Azure said another one.
        let inner = [
            "/innererror",
            "/inner_error",
            "/provider_specific_fields/innererror",
        ]
        .iter()
        .find_map(|place| object.pointer(place)?.get("code")?.as_str());
        codes.extend(inner.map(str::to_owned));
        // OpenRouter's own, which says more than those of the Responses API.
        let precise = body.get("error_type").and_then(Value::as_str);
        if let Some(precise) = precise {
            codes.insert(0, precise.to_owned());
        }
        // OpenRouter's moderation.
        let is_flagged = object
            .get("metadata")
            .is_some_and(|metadata| metadata.get("flagged_input").is_some());
        let is_filtered = is_flagged || codes.iter().any(|code| FILTER_CODES.contains(&code.as_str()));
        let text = ["message", "detail", "msg", "error"]
            .into_iter()
            .find_map(|key| object.get(key))
            .unwrap_or(object);
        let failure = Self {
            status: codes
                .iter()
                .find_map(|code| code.parse().ok().filter(|code| (400..600).contains(code))),
            field: field(object),
            is_filtered: is_filtered || text.as_str().is_some_and(|text| text.contains(LITELLM_FILTER)),
            codes,
            text: text.as_str().map_or_else(|| text.to_string(), str::to_owned),
            retry_after: object.get("metadata").and_then(retry_after),
            ..Self::default()
        };
        match object.pointer("/metadata/raw") {
            Some(raw) => failure.with_cause(raw),
            None => failure,
        }
    }

    /// The same with what a gateway's provider said (OpenRouter): an error of any shape, as JSON or as a text that may
    /// hold it. Of what it means only that goes further which is about the request; whose key or quota it is about is not
    /// said.
    fn with_cause(mut self, raw: &Value) -> Self {
        let cause = match raw {
            Value::String(raw) => match serde_json::from_str::<Value>(raw) {
                Ok(raw) if raw.is_object() || raw.is_array() => Self::from_body(&raw),
                _ => Self::broken(raw),
            },
            raw => Self::from_body(raw),
        };
        self.text = format!("{}: {}", self.text, cause.text);
        self.is_filtered |= cause.is_filtered;
        self.field = self.field.or(cause.field);
        let of_length = cause.codes.into_iter().filter(|code| is_of_length(code));
        self.codes.extend(of_length);
        self
    }

    /// A connection that does not come about, for which this long was waited, or one that breaks.
    pub(super) fn from_transport(error: reqwest::Error, connect: Duration) -> Self {
        let is_late = error.is_connect() && error.is_timeout();
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
            detail: is_late.then(|| format!("no connection within {connect:?} (connect_timeout)")),
            ..Self::broken(text)
        }
    }

    /// No head of an answer has come for this long.
    pub(super) fn headless(limit: Duration) -> Self {
        Self::late(format!(
            "no head of an answer within {limit:?} (first_byte_timeout)"
        ))
    }

    /// A connection that has been silent for this long.
    pub(super) fn silent(limit: Duration) -> Self {
        Self::late(format!("nothing came for {limit:?} (idle_timeout)"))
    }

    /// A connection on which bytes came, and for this long nothing that says anything.
    pub(super) fn speechless(limit: Duration) -> Self {
        Self::late(format!("no event came for {limit:?} (event_timeout)"))
    }

    fn late(detail: String) -> Self {
        Self {
            stage: Stage::Waiting,
            detail: Some(detail.clone()),
            ..Self::broken(detail)
        }
    }

    /// The same of an answer that says to be of this media type, before anything of it was understood. Only one that is
    /// neither JSON nor a stream of events is told: that a web page came, say, of a proxy or a wrong address.
    pub(super) fn of_type(mut self, content_type: Option<&str>) -> Self {
        let essence = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        let is_usual = essence.contains("json") || essence == "text/event-stream";
        let is_ours = self.stage == Stage::Answering && self.status.is_none() && self.codes.is_empty();
        if is_ours && !is_usual && is_media_type(&essence) {
            self.detail = Some(format!(
                "what came is {essence}, and neither JSON nor a stream of events"
            ));
        }
        self
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

    /// Whether the provider certainly has not made anything of the request: it refused whoever asked, or at once.
    pub(super) fn has_left_nothing(&self) -> bool {
        self.was_never_taken() || matches!(self.status, Some(401..=403))
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

    /// Whether what was asked is refused, which says nothing of how the provider is. That the address is wrong does, and so
    /// does it that it does not know the model, if `is_configured`: if its name is not one that the request gave.
    pub(super) fn is_of_request(&self, is_configured: bool) -> bool {
        if self.is_about_a_lost_conversation() {
            return true;
        }
        let is_misplaced = match self.status {
            Some(300..=399 | 405) => true,
            Some(404) => is_configured && !self.is_about_a_lost_response(),
            _ => false,
        };
        match self.reason() {
            Reason::ContextLengthExceeded => true,
            Reason::ModelRequestRejected => !is_misplaced,
            _ => false,
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

    /// Whether the provider does not know the token limit under this name. Of the older one it has to say the newer one
    /// too: the newer one is nothing to try at servers that never heard of it.
    pub(super) fn is_about_limit(&self, name: LimitName) -> bool {
        const SIGNS: [&str; 6] = [
            "unsupported",
            "not supported",
            "unrecognized",
            "unknown",
            // Pydantic's (Mistral, vLLM where it is strict).
            "extra_forbidden",
            "extra inputs are not permitted",
        ];
        let text = self.text.to_ascii_lowercase();
        let is_named =
            |name: LimitName| self.field.as_deref() == Some(name.as_str()) || text.contains(name.as_str());
        matches!(self.status, Some(400 | 422))
            && self.reason() == Reason::ModelRequestRejected
            && is_named(name)
            && is_named(LimitName::MaxCompletionTokens)
            && SIGNS.iter().any(|sign| text.contains(sign))
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

    /// Whether the provider cannot go on with the conversation that the request names: it is gone there, or somebody else
    /// is at work on it.
    pub(super) fn is_about_a_lost_conversation(&self) -> bool {
        let has_code = self.codes.iter().any(|code| code.starts_with("conversation_"));
        let says_so = self.text.to_ascii_lowercase().contains("conversation");
        matches!(self.status, Some(400 | 404 | 409 | 422))
            && self.reason() != Reason::ContextLengthExceeded
            && !self.is_filtered
            && (has_code || says_so)
    }

    /// The reason that callers are given.
    pub(super) fn reason(&self) -> Reason {
        if self.stage == Stage::Lost {
            return Reason::ModelUnavailable;
        }
        // Whatever the status is: neither the provider nor its key is at fault.
        if self.is_filtered {
            return Reason::ModelRequestRejected;
        }
        self.reason_by_code()
            .or_else(|| self.status.map(reason_by_status))
            .unwrap_or(Reason::ModelUnavailable)
    }

    /// Codes say more than the status: a used-up quota and a rate limit are both 429.
    fn reason_by_code(&self) -> Option<Reason> {
        let by_code = self.codes.iter().find_map(|code| match code.as_str() {
            code if is_of_length(code) => Some(Reason::ContextLengthExceeded),
            "insufficient_quota"
            | "billing_hard_limit_reached"
            | "insufficient_credits"
            | "billing_not_active"
            | "budget_exceeded"
            | "payment_required"
            | "Arrearage"
            | "QuotaExceeded" => Some(Reason::QuotaExceeded),
            "rate_limit_exceeded"
            | "rate_limit_error"
            | "RESOURCE_EXHAUSTED"
            | "RateLimitReached"
            | "too_many_requests"
            | "throttling_error" => Some(Reason::RateLimited),
            code if code.starts_with("Throttling") => Some(Reason::RateLimited),
            "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "auth_error"
            | "account_deactivated"
            | "token_not_found_in_db"
            | "expired_key"
            | "InvalidApiKey"
            | "PermissionDenied" => Some(Reason::ModelCredentialsRejected),
            // A server that still loads its model, or has none to give.
            "unavailable_error" | "overloaded_error" | "provider_overloaded" | "ServiceUnavailable" => {
                Some(Reason::ModelUnavailable)
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
        const SIGNS: [&str; 10] = [
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
            // Alibaba Cloud.
            "range of input length",
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
            (Reason::ModelRequestRejected, Some(status @ 300..=399)) => format!(
                "the model provider sends requests elsewhere (status {status}), where they do not follow: its API is \
                 not at this base URL"
            ),
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
        let detail = self.detail.as_ref().filter(|detail| conceal(detail) == **detail);
        let message = match detail {
            Some(detail) if reason == Reason::ModelUnavailable => format!("{message}: {detail}"),
            _ => message,
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

/// `text/html`: two short tokens, and nothing that could be words of the provider.
fn is_media_type(text: &str) -> bool {
    let is_token = |token: &str| {
        let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        (1..=MEDIA_TYPE_LIMIT_BYTES).contains(&token.len()) && token.bytes().all(is_of_one)
    };
    text.split_once('/')
        .is_some_and(|(kind, of_kind)| is_token(kind) && is_token(of_kind))
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

/// Codes of a conversation that is too long.
fn is_of_length(code: &str) -> bool {
    matches!(
        code,
        "context_length_exceeded" | "exceed_context_size_error" | "string_above_max_length"
    )
}

/// When OpenRouter wants to be asked again: it says so itself, or passes on the headers of the limit.
fn retry_after(metadata: &Value) -> Option<Duration> {
    let said = metadata.get("retry_after_seconds").and_then(seconds);
    said.or_else(|| retry::retry_after_in_body(metadata.get("headers")?, SystemTime::now()))
}

/// A time to wait, if it is one.
fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
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
mod tests;
