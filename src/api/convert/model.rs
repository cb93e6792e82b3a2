//! Models and the requests to them.

use super::run::usage;
use super::{count, duration, name, timestamp};
use crate::api::pb;
use crate::run::model::{Attempt, AttemptResult, Condition, ModelCard};
use crate::run::money::Prices;

/// A model as the contract has it.
pub fn card_to_pb(card: &ModelCard, condition: Condition) -> pb::Model {
    let state = match (&condition.closed_until, &condition.trouble) {
        (Some(_), _) => pb::ModelState::LeftAlone,
        (None, Some(_)) => pb::ModelState::Troubled,
        (None, None) => pb::ModelState::Available,
    };
    pb::Model {
        name: name::model(&card.name),
        provider_model: card.provider_model.clone(),
        aliases: card.aliases.clone(),
        is_default: card.is_default,
        dialect: dialect(card.dialect).into(),
        endpoint: card.endpoint.clone(),
        simulator: card.simulated,
        fallbacks: card
            .fallbacks
            .iter()
            .map(|fallback| name::model(fallback))
            .collect(),
        context_tokens: card.context_tokens.map(count),
        max_output_tokens: card.max_output_tokens.map(count),
        max_concurrency: card.max_concurrency.map(i64::from),
        state: state.into(),
        message: condition.trouble.unwrap_or_default(),
        left_alone_until: condition.closed_until.map(timestamp),
        prices: card.prices.as_ref().map(prices_to_pb),
    }
}

fn prices_to_pb(prices: &Prices) -> pb::ModelPrices {
    pb::ModelPrices {
        currency_code: prices.currency.code().to_owned(),
        input_micros: count(prices.input),
        cached_input_micros: count(prices.cached_input),
        output_micros: count(prices.output),
        reasoning_micros: count(prices.reasoning.unwrap_or(prices.output)),
    }
}

/// How a provider is spoken to.
pub fn dialect(dialect: &str) -> pb::ModelDialect {
    match dialect {
        "responses" => pb::ModelDialect::Responses,
        "chat_completions" => pb::ModelDialect::ChatCompletions,
        "assistants" => pb::ModelDialect::Assistants,
        _ => pb::ModelDialect::Unspecified,
    }
}

/// A request to a model as the contract has it.
pub fn attempt_to_pb(attempt: &Attempt) -> pb::ModelAttempt {
    let (result, reason) = match &attempt.result {
        AttemptResult::Answered => (pb::ModelAttemptResult::Answered, String::new()),
        AttemptResult::Failed(reason) => (pb::ModelAttemptResult::Failed, reason.clone()),
        AttemptResult::Overtaken => (pb::ModelAttemptResult::Overtaken, String::new()),
        AttemptResult::Abandoned => (pb::ModelAttemptResult::Abandoned, String::new()),
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
        usage: attempt.usage.map(usage),
    }
}
