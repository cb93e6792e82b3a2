//! The one error of the service: a closed set of reasons, each of one kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What went wrong, for a caller to act on.
///
/// The message is for people and safe to show: it never holds a provider's text, a key or an internal detail.
/// What only operators may see is the [`cause`](Error::caused_by).
#[derive(Clone, Debug)]
pub struct Error {
    reason: Reason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// One field of a request that does not fit, by its path in the request (`limits.max_turns`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// The class of an error. Doors map it to their codes by one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong, whatever the state of the service.
    InvalidArgument,
    /// Something that the request names does not exist.
    NotFound,
    /// The request is right, the state is not.
    FailedPrecondition,
    /// It broke off half way, or somebody else was quicker: to be looked at before it is tried again.
    Aborted,
    /// A position that is not kept any more.
    OutOfRange,
    /// A quota, a rate or a capacity is used up.
    ResourceExhausted,
    /// Something that the service needs is away; a later try may work.
    Unavailable,
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// Time ran out.
    DeadlineExceeded,
    /// The caller, or somebody else, called it off.
    Cancelled,
    /// The contract has it, this build does not.
    Unimplemented,
    /// A defect of the service.
    Internal,
}

/// What is stored of an error beside its reason and its text. The serialised form is the stored one: rename with care.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// [Facts](Error::metadata) that a program can act on, as far as errors of model turns have them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// When a later try may work, if that was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
}

/// The names of the facts that errors of model turns have.
const STORED_FACTS: [&str; 6] = [
    "model",
    "provider_status",
    "provider_field",
    "field",
    "estimated_tokens",
    "allowed_tokens",
];

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $kind:ident,)*) => {
        /// Why, in the words of the contract: each is stable, and belongs to exactly one [`Kind`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The contract's name, `UPPER_SNAKE`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The class that it belongs to.
            pub fn kind(self) -> Kind {
                match self { $(Reason::$name => Kind::$kind,)* }
            }

            /// The reason of that name, if there is one.
            pub fn parse(text: &str) -> Option<Reason> {
                match text { $($text => Some(Reason::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// A field of the request does not fit.
    ValidationFailed = "VALIDATION_FAILED" => InvalidArgument,
    /// The request is larger than the service takes.
    RequestTooLarge = "REQUEST_TOO_LARGE" => ResourceExhausted,
    /// The page token is not one of ours, or belongs to another request.
    PageTokenInvalid = "PAGE_TOKEN_INVALID" => InvalidArgument,
    /// The request id was used for another request.
    RequestIdReused = "REQUEST_ID_REUSED" => InvalidArgument,
    /// No such assistant.
    AssistantNotFound = "ASSISTANT_NOT_FOUND" => NotFound,
    /// No such thread.
    ThreadNotFound = "THREAD_NOT_FOUND" => NotFound,
    /// No such message.
    MessageNotFound = "MESSAGE_NOT_FOUND" => NotFound,
    /// No such run.
    RunNotFound = "RUN_NOT_FOUND" => NotFound,
    /// No such model is listed.
    ModelNotFound = "MODEL_NOT_FOUND" => NotFound,
    /// No such tool, or its server is not connected.
    ToolNotFound = "TOOL_NOT_FOUND" => NotFound,
    /// No such MCP server is configured.
    McpServerNotFound = "MCP_SERVER_NOT_FOUND" => NotFound,
    /// No such MCP server, or it has no such resource.
    ResourceNotFound = "RESOURCE_NOT_FOUND" => NotFound,
    /// No connected MCP server has such a prompt.
    PromptNotFound = "PROMPT_NOT_FOUND" => NotFound,
    /// Another run is active on the thread; metadata `run` names it.
    ThreadBusy = "THREAD_BUSY" => FailedPrecondition,
    /// The run has ended otherwise, and cannot be cancelled any more.
    RunNotCancellable = "RUN_NOT_CANCELLABLE" => FailedPrecondition,
    /// No such action waits for an answer: it never did, has another answer already, or the run is over.
    ActionNotPending = "ACTION_NOT_PENDING" => FailedPrecondition,
    /// What is to be changed is not of the version that the request names.
    EtagMismatch = "ETAG_MISMATCH" => Aborted,
    /// The events after that sequence are not kept any more; metadata `oldest_sequence` says which are.
    EventsExpired = "EVENTS_EXPIRED" => OutOfRange,
    /// The provider refuses for now; `retry_after` says how long.
    RateLimited = "RATE_LIMITED" => ResourceExhausted,
    /// The provider's account has used up its quota.
    QuotaExceeded = "QUOTA_EXCEEDED" => ResourceExhausted,
    /// The service has as much to do as it can.
    Overloaded = "OVERLOADED" => ResourceExhausted,
    /// A limit of the run leaves nothing for what a server asks a model during one of its calls.
    RunLimitReached = "RUN_LIMIT_REACHED" => ResourceExhausted,
    /// A watcher did not take its events for too long; metadata `last_sequence` says which it was given last.
    SlowConsumer = "SLOW_CONSUMER" => ResourceExhausted,
    /// The model cannot be reached, or broke off.
    ModelUnavailable = "MODEL_UNAVAILABLE" => Unavailable,
    /// The MCP server of the tool cannot be reached.
    McpUnavailable = "MCP_UNAVAILABLE" => Unavailable,
    /// The MCP server of the tool wants to be authorized, or for more than it is.
    McpAuthorizationRequired = "MCP_AUTHORIZATION_REQUIRED" => FailedPrecondition,
    /// The tool's MCP server broke off while the call was at work: nobody knows whether it had its effect.
    OutcomeUnknown = "OUTCOME_UNKNOWN" => Aborted,
    /// The store cannot be read or written.
    StoreUnavailable = "STORE_UNAVAILABLE" => Unavailable,
    /// The service is going down and takes no new work.
    ShuttingDown = "SHUTTING_DOWN" => Unavailable,
    /// No model is configured.
    ModelNotConfigured = "MODEL_NOT_CONFIGURED" => FailedPrecondition,
    /// The provider does not take the configured key.
    ModelCredentialsRejected = "MODEL_CREDENTIALS_REJECTED" => FailedPrecondition,
    /// The conversation is longer than the model takes.
    ContextLengthExceeded = "CONTEXT_LENGTH_EXCEEDED" => FailedPrecondition,
    /// The provider refused the request itself.
    ModelRequestRejected = "MODEL_REQUEST_REJECTED" => FailedPrecondition,
    /// The model's answer has not the form that was asked for, however often it was asked again.
    OutputSchemaViolated = "OUTPUT_SCHEMA_VIOLATED" => FailedPrecondition,
    /// The MCP server answered that it cannot do what it was asked.
    McpRequestRejected = "MCP_REQUEST_REJECTED" => FailedPrecondition,
    /// The resource or prompt is larger than the service passes on.
    ContentTooLarge = "CONTENT_TOO_LARGE" => FailedPrecondition,
    /// The caller is not known.
    Unauthenticated = "UNAUTHENTICATED" => Unauthenticated,
    /// The caller may not do this.
    PermissionDenied = "PERMISSION_DENIED" => PermissionDenied,
    /// The tool may not be called.
    ToolNotAllowed = "TOOL_NOT_ALLOWED" => PermissionDenied,
    /// The tool changed after it was approved, and is held back until an operator accepts it.
    ToolQuarantined = "TOOL_QUARANTINED" => FailedPrecondition,
    /// The tool is not the one that was looked at: it has changed meanwhile.
    ToolChanged = "TOOL_CHANGED" => Aborted,
    /// Time ran out.
    DeadlineExceeded = "DEADLINE_EXCEEDED" => DeadlineExceeded,
    /// The run was called off before it had an answer.
    RunCancelled = "RUN_CANCELLED" => Cancelled,
    /// The run outlived its execution limit.
    RunExpired = "RUN_EXPIRED" => DeadlineExceeded,
    /// Another process has taken the run over, or works on it.
    RunInterrupted = "RUN_INTERRUPTED" => Unavailable,
    /// The contract has it, this build does not.
    Unimplemented = "UNIMPLEMENTED" => Unimplemented,
    /// A defect of the service.
    Internal = "INTERNAL" => Internal,
}

impl Error {
    /// An error of this reason; `message` is safe to show, lower case, without a full stop.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// `VALIDATION_FAILED` for one field, by its path in the request.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = Violation {
            field: field.into(),
            description: description.into(),
        };
        let message = format!("{}: {}", violation.field, violation.description);
        Self {
            violations: vec![violation],
            ..Self::new(Reason::ValidationFailed, message)
        }
    }

    /// `VALIDATION_FAILED` for several fields; there must be at least one.
    pub fn invalid_fields(violations: Vec<Violation>) -> Self {
        let message = violations
            .iter()
            .map(|violation| format!("{}: {}", violation.field, violation.description))
            .collect::<Vec<_>>()
            .join("; ");
        Self {
            violations,
            ..Self::new(Reason::ValidationFailed, message)
        }
    }

    /// `VALIDATION_FAILED` for those of these fields that are empty, if any is.
    ///
    /// # Errors
    /// That error.
    pub fn if_empty<'a>(fields: impl IntoIterator<Item = (String, &'a str)>) -> Result<(), Self> {
        let empty = fields.into_iter().filter(|(_, value)| value.is_empty());
        let violations: Vec<Violation> = empty
            .map(|(field, _)| Violation {
                field,
                description: "must not be empty".to_owned(),
            })
            .collect();
        match violations.is_empty() {
            true => Ok(()),
            false => Err(Self::invalid_fields(violations)),
        }
    }

    /// A defect: callers see a fixed text, operators the cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "internal error").caused_by(cause)
    }

    /// Adds a fact that a program can act on. A fact of the same name gives way to it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.retain(|(name, _)| *name != key);
        self.metadata.push((key, value.into()));
        self
    }

    /// What is to be stored beside its reason and its text.
    pub fn facts(&self) -> Facts {
        let is_stored = |(key, _): &&(&str, String)| STORED_FACTS.contains(key);
        let facts = self.metadata.iter().filter(is_stored);
        Facts {
            facts: facts
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
            retry_after: self.retry_after,
        }
    }

    /// Adds what was stored. A fact of a name that this build does not know is passed over.
    #[must_use]
    pub fn with_facts(self, stored: &Facts) -> Self {
        let known = STORED_FACTS
            .iter()
            .filter_map(|known| Some((known, stored.facts.get(*known)?)));
        let error = known.fold(self, |error, (known, value)| error.with(known, value));
        Self {
            retry_after: stored.retry_after.or(error.retry_after),
            ..error
        }
    }

    /// Says when a later try may work.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Keeps what led to it, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The contract's reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The class of the reason.
    pub fn kind(&self) -> Kind {
        self.reason.kind()
    }

    /// What to tell people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Facts that a program can act on.
    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.metadata
    }

    /// The fields that do not fit; empty unless the reason is `VALIDATION_FAILED`.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// When a later try may work, if that is known.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
    }
}
