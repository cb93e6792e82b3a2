//! Runs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::archive::fault::{Fault, of_id};
use crate::archive::note::Notes;
use crate::run::catalogue::Selection;
use crate::run::error::{Error, Reason};
use crate::run::id::{AssistantId, RunId, ThreadId};
use crate::run::message;
use crate::run::record::{IncompleteReason, Limits, Outcome, RunRecord, Snapshot, State};
use crate::run::truncation::{Strategy, Truncation};

use super::assistant::functions;
use super::label::{Labels, optional_time, time};
use super::options::options;
use super::shape::{Details, LastError, Run, Settings, Usage};

/// How long a run could go on before OpenAI's API gave it up.
const EXPIRY: Duration = Duration::from_mins(10);

/// A run of ours, as it was when it was saved; one that was not over then has expired since.
pub(super) fn run(run: Run, thread: &ThreadId, notes: &mut Notes) -> Result<RunRecord, Fault> {
    let id = of_id("id", RunId::parse(&run.id))?;
    let create_time = time("created_at", run.created_at)?;
    let start_time = optional_time("started_at", run.started_at)?;
    let expiry = optional_time("expires_at", run.expires_at)?.unwrap_or(create_time + EXPIRY);
    let completed = optional_time("completed_at", run.completed_at)?;
    let failed = optional_time("failed_at", run.failed_at)?;
    let cancelled = optional_time("cancelled_at", run.cancelled_at)?;
    let ended = completed.or(failed).or(cancelled);
    let (outcome, end_time) = match run.status.as_str() {
        "completed" => (Outcome::Completed, ended),
        "failed" => (Outcome::Failed(failure(run.last_error)), ended),
        "cancelled" => (Outcome::Cancelled, ended),
        "incomplete" => (
            Outcome::Incomplete(incomplete_reason(run.incomplete_details.as_ref())),
            ended,
        ),
        "expired" => (Outcome::Expired(String::new()), ended.or(Some(expiry))),
        "queued" | "in_progress" | "requires_action" | "cancelling" => {
            notes.add(
                "run that was not over when it was saved: kept as expired",
                &run.id,
            );
            (Outcome::Expired(String::new()), Some(expiry))
        }
        other => return Err(Fault::of("status", format!("{other:?} is not known"))),
    };
    let assistant = run
        .assistant_id
        .as_deref()
        .map(|assistant| of_id("assistant_id", AssistantId::parse(assistant)))
        .transpose()?;
    let allowed = functions(&run.tools);
    let mut labels = Labels::of(&run.id, run.metadata);
    if !run.tools.is_empty() {
        labels.keep_tools(&run.tools, notes);
    }
    let (options, mut carried) = options(&run.settings);
    let truncation = truncation(&run.settings);
    carried.extend(truncation.map(|_| "truncation_strategy"));
    let max_output_tokens = run
        .settings
        .max_completion_tokens
        .as_ref()
        .and_then(Value::as_u64);
    carried.extend(max_output_tokens.map(|_| "max_completion_tokens"));
    labels.keep_settings(&run.settings, &carried, notes);
    Ok(RunRecord {
        id,
        thread: thread.clone(),
        snapshot: Snapshot {
            model: run.model,
            instructions: run.instructions.unwrap_or_default(),
            assistant,
            selection: Selection {
                allowed: Some(allowed),
                ..Selection::default()
            },
            options: Arc::new(options),
            truncation: truncation.unwrap_or_default(),
            limits: Limits {
                max_output_tokens,
                ..Limits::default()
            },
            metadata: labels.into_map(),
            ..Snapshot::default()
        },
        state: State::Ended(outcome),
        usage: usage(run.usage),
        // Its terminal event: whoever watches it is told that it is over.
        last_sequence: 1,
        reserved_sequence: 1,
        fence: RunRecord::FIRST_FENCE,
        create_time,
        start_time,
        expire_time: None,
        pending: Vec::new(),
        waited: Duration::ZERO,
        waits_since: None,
        end_time: end_time.or(start_time).or(Some(create_time)),
    })
}

/// What became of a long conversation, where there is a word for it here. The newest of it is counted in messages
/// there and in turns here, which is the same for one alone.
fn truncation(settings: &Settings) -> Option<Truncation> {
    let strategy = settings.truncation_strategy.as_ref()?;
    let kind = strategy.get("type").and_then(Value::as_str)?;
    let messages = strategy.get("last_messages").and_then(Value::as_u64);
    let last_turns = match (kind, messages) {
        ("auto", None) => None,
        ("last_messages", Some(1)) => Some(1),
        _ => return None,
    };
    Some(Truncation {
        strategy: Strategy::Auto,
        last_turns,
        max_tokens: None,
    })
}

/// What was used; turns and calls are counted from the steps.
pub(super) fn usage(usage: Option<Usage>) -> message::Usage {
    let usage = usage.unwrap_or_default();
    message::Usage {
        input_tokens: usage.prompt_tokens,
        cached_tokens: usage.prompt_token_details.unwrap_or_default().cached_tokens,
        output_tokens: usage.completion_tokens,
        ..message::Usage::default()
    }
}

fn incomplete_reason(details: Option<&Details>) -> IncompleteReason {
    match details.and_then(|details| details.reason.as_deref()) {
        Some("content_filter") => IncompleteReason::ContentFilter,
        _ => IncompleteReason::MaxTokens,
    }
}

fn failure(error: Option<LastError>) -> Error {
    let LastError { code, message } = error.unwrap_or(LastError {
        code: String::new(),
        message: "the run failed".to_owned(),
    });
    let reason = match code.as_str() {
        "rate_limit_exceeded" => Reason::RateLimited,
        "invalid_prompt" => Reason::ModelRequestRejected,
        _ => Reason::ModelUnavailable,
    };
    Error::new(reason, message)
}
