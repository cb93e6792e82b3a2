//! Runs, their limits and what they use.

use super::{action, count, duration, name, options, positive_duration, timestamp, tool, truncation};
use crate::api::{pb, status};
use crate::run::error::{Error, Reason, Violation};
use crate::run::message::Usage;
use crate::run::record::{IncompleteReason, Limits, LimitsPatch, Outcome, RunRecord, State};

/// A run as the contract has it.
pub fn to_pb(record: &RunRecord) -> pb::Run {
    let snapshot = &record.snapshot;
    pb::Run {
        name: name::run(&record.thread, &record.id),
        assistant: name::assistant(snapshot.assistant.as_ref()),
        model: snapshot.model.clone(),
        instructions: snapshot.instructions.clone(),
        state: state(&record.state).into(),
        incomplete_reason: incomplete_reason(&record.state).into(),
        error: error(record),
        usage: Some(usage(record.usage)),
        limits: Some(limits_to_pb(&snapshot.limits)),
        options: options::to_pb(&snapshot.options),
        client_tools: snapshot
            .selection
            .client_tools
            .iter()
            .map(tool::client_to_pb)
            .collect(),
        catalogue_version: snapshot.catalogue_version.to_string(),
        pending_actions: action::all_to_pb(record),
        last_sequence: count(record.last_sequence),
        metadata: snapshot.metadata.clone(),
        create_time: Some(timestamp(record.create_time)),
        start_time: record.start_time.map(timestamp),
        end_time: record.end_time.map(timestamp),
        expire_time: record.expire_time.map(timestamp),
        // Every change of the run but its deltas comes with an event of its own.
        etag: name::etag(record.last_sequence),
        truncation: Some(truncation::to_pb(&snapshot.truncation)),
        caller: snapshot.caller.clone(),
        assistant_etag: snapshot.assistant_version.map(name::etag).unwrap_or_default(),
    }
}

/// Where a run is, as the contract has it.
pub fn state(state: &State) -> pb::RunState {
    match state {
        State::Queued => pb::RunState::Queued,
        State::Running => pb::RunState::Running,
        State::RequiresAction => pb::RunState::RequiresAction,
        State::Cancelling => pb::RunState::Cancelling,
        State::Ended(Outcome::Completed) => pb::RunState::Completed,
        State::Ended(Outcome::Incomplete(_)) => pb::RunState::Incomplete,
        State::Ended(Outcome::Failed(_)) => pb::RunState::Failed,
        State::Ended(Outcome::Cancelled) => pb::RunState::Cancelled,
        State::Ended(Outcome::Expired(_)) => pb::RunState::Expired,
    }
}

/// The bound that a run ran into; unspecified unless it is INCOMPLETE.
pub fn incomplete_reason(state: &State) -> pb::IncompleteReason {
    let State::Ended(Outcome::Incomplete(reason)) = state else {
        return pb::IncompleteReason::Unspecified;
    };
    match reason {
        IncompleteReason::MaxTurns => pb::IncompleteReason::MaxTurns,
        IncompleteReason::MaxToolCalls => pb::IncompleteReason::MaxToolCalls,
        IncompleteReason::MaxTokens => pb::IncompleteReason::MaxTokens,
        IncompleteReason::Deadline => pb::IncompleteReason::Deadline,
        IncompleteReason::ContentFilter => pb::IncompleteReason::ContentFilter,
        IncompleteReason::Budget => pb::IncompleteReason::Budget,
    }
}

/// What was used, as the contract has it.
pub fn usage(usage: Usage) -> pb::Usage {
    pb::Usage {
        input_tokens: count(usage.input_tokens),
        cached_input_tokens: count(usage.cached_tokens),
        output_tokens: count(usage.output_tokens),
        reasoning_tokens: count(usage.reasoning_tokens),
        total_tokens: count(usage.total_tokens()),
        turns: i32::try_from(usage.turns).unwrap_or(i32::MAX),
        tool_calls: i32::try_from(usage.tool_calls).unwrap_or(i32::MAX),
        cost: usage.cost.map(|cost| pb::Cost {
            currency_code: cost.currency.code().to_owned(),
            micros: count(cost.micros),
        }),
    }
}

/// The heart's name of a state that a caller asks for.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field for a value that is no state.
pub fn state_name(field: &str, state: i32) -> Result<&'static str, Error> {
    Ok(match pb::RunState::try_from(state) {
        Ok(pb::RunState::Queued) => "queued",
        Ok(pb::RunState::Running) => "running",
        Ok(pb::RunState::RequiresAction) => "requires_action",
        Ok(pb::RunState::Cancelling) => "cancelling",
        Ok(pb::RunState::Completed) => "completed",
        Ok(pb::RunState::Failed) => "failed",
        Ok(pb::RunState::Cancelled) => "cancelled",
        Ok(pb::RunState::Expired) => "expired",
        Ok(pb::RunState::Incomplete) => "incomplete",
        Ok(pb::RunState::Unspecified) | Err(_) => {
            let known = "must be a state such as RUN_STATE_RUNNING or RUN_STATE_COMPLETED";
            return Err(Error::invalid(field, known));
        }
    })
}

/// A caller's limits.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit.
pub fn limits_from_pb(field: &str, limits: Option<&pb::RunLimits>) -> Result<LimitsPatch, Error> {
    let Some(limits) = limits else {
        return Ok(LimitsPatch::default());
    };
    let mut violations = Vec::new();
    let mut at_least = |limit: &str, least: i64, value: Option<i64>| {
        let fits = value
            .filter(|value| *value >= least)
            .and_then(|value| u64::try_from(value).ok());
        if value.is_some() && fits.is_none() {
            let (field, description) = (format!("{field}.{limit}"), format!("must be at least {least}"));
            violations.push(Violation { field, description });
        }
        fits
    };
    let count = |value: Option<u64>| value.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let patch = LimitsPatch {
        max_turns: count(at_least("max_turns", 1, limits.max_turns.map(i64::from))),
        max_tool_calls: count(at_least(
            "max_tool_calls",
            0,
            limits.max_tool_calls.map(i64::from),
        )),
        max_output_tokens: at_least("max_output_tokens", 1, limits.max_output_tokens),
        max_total_tokens: at_least("max_total_tokens", 1, limits.max_total_tokens),
        max_cost: at_least("max_cost_micros", 1, limits.max_cost_micros),
        max_duration: None,
    };
    let max_duration = limits
        .max_duration
        .as_ref()
        .map(|value| positive_duration(&format!("{field}.max_duration"), value));
    if let Some(Err(error)) = &max_duration {
        violations.extend_from_slice(error.violations());
    }
    if !violations.is_empty() {
        return Err(Error::invalid_fields(violations));
    }
    Ok(LimitsPatch {
        max_duration: max_duration.transpose()?,
        ..patch
    })
}

/// Limits of which some are not set, as the contract has them.
pub fn limits_patch_to_pb(limits: &LimitsPatch) -> pb::RunLimits {
    let count = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    pb::RunLimits {
        max_turns: limits.max_turns.map(count),
        max_tool_calls: limits.max_tool_calls.map(count),
        max_output_tokens: limits.max_output_tokens.map(super::count),
        max_total_tokens: limits.max_total_tokens.map(super::count),
        max_duration: limits.max_duration.map(duration),
        max_cost_micros: limits.max_cost.map(super::count),
    }
}

/// The limits of a run, all of them.
pub fn limits_to_pb(limits: &Limits) -> pb::RunLimits {
    limits_patch_to_pb(&LimitsPatch {
        max_turns: Some(limits.max_turns),
        max_tool_calls: Some(limits.max_tool_calls),
        max_output_tokens: limits.max_output_tokens,
        max_total_tokens: limits.max_total_tokens,
        max_duration: limits.max_duration,
        max_cost: limits.max_cost,
    })
}

/// Why a run failed, with the same details that the RPC's own error has.
fn error(record: &RunRecord) -> Option<tonic_types::pb::Status> {
    let error = match &record.state {
        State::Ended(Outcome::Failed(error)) => error.clone(),
        State::Ended(Outcome::Expired(text)) => expired(text),
        _ => return None,
    };
    status::to_pb(&error.with("run", name::run(&record.thread, &record.id)))
}

/// What is wrong with a run that EXPIRED, in the text that it ended with.
pub fn expired(text: &str) -> Error {
    let text = match text {
        "" => "the run took longer than the service allows",
        text => text,
    };
    Error::new(Reason::RunExpired, text)
}
