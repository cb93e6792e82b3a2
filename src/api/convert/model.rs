//! Models and the requests to them.

use super::duration;
use crate::api::pb;
use crate::run::model::{Attempt, AttemptResult};

/// A request to a model as the contract has it.
pub fn attempt_to_pb(attempt: &Attempt) -> pb::ModelAttempt {
    let (result, reason) = match &attempt.result {
        AttemptResult::Answered => (pb::ModelAttemptResult::Answered, String::new()),
        AttemptResult::Failed(reason) => (pb::ModelAttemptResult::Failed, reason.clone()),
        AttemptResult::NotSent(reason) => (pb::ModelAttemptResult::NotSent, reason.clone()),
    };
    pb::ModelAttempt {
        model: attempt.model.clone(),
        provider_model: attempt.provider_model.clone(),
        endpoint: attempt.endpoint.clone(),
        result: result.into(),
        reason,
        http_status: attempt.status.map(i32::from),
        wait: Some(duration(attempt.wait)),
        latency: Some(duration(attempt.latency)),
    }
}
