//! One turn: from the request, by as many attempts as it takes, to the end of the answer.
//!
//! Until an answer begins, a request that failed is sent again or given to another model; what follows is decided
//! in `retry.rs`. From the first piece of an answer on, whatever happens is told.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::model::Secret;
use crate::model::retry::{self, Failed, Next};
use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::model::{Attempt, AttemptResult};
use crate::run::ports::{Finish, ModelEvent, ModelRequest};

use super::error::Failure;
use super::upstream::Place;
use super::way::Way;
use super::{Answer, Deployment, Prepared};

/// Where a request goes, and where it goes then.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The model that was asked for.
    pub(crate) first: Arc<Deployment>,
    /// Those that answer instead, the first choice first.
    pub(crate) fallbacks: Arc<[Arc<Deployment>]>,
}

/// A turn that goes on. Dropping it gives everything up.
pub(super) struct Exchange {
    stage: Stage,
    /// What is to be told next: the last attempt, and the first piece of its answer.
    told: [Option<Result<ModelEvent, Error>>; 2],
}

enum Stage {
    Asking(Box<Asking>),
    Answering { answer: Answer, place: Place },
    Over,
}

/// No answer has begun.
struct Asking {
    route: Route,
    request: ModelRequest,
    /// How many of the fallbacks have been passed over or tried.
    passed: usize,
    leg: Leg,
    /// What the model that was asked for failed with.
    first_error: Option<Error>,
}

/// The attempts at one model.
struct Leg {
    model: Arc<Deployment>,
    prepared: Prepared,
    idempotency_key: Option<HeaderValue>,
    retries: u32,
    has_renewed_key: bool,
    /// What is waited before the next attempt, and since when.
    pause: Duration,
    since: Instant,
}

/// An attempt that failed.
struct Failing {
    error: Error,
    status: Option<u16>,
    is_before_work: bool,
    is_filtered: bool,
    /// The way to ask again when this one was refused for its way.
    other_way: Option<Way>,
    was_sent: bool,
    /// The key that it was sent with, when that is in a file.
    key: Option<Secret>,
    wait: Duration,
    latency: Duration,
}

impl Exchange {
    /// Begins a turn. A request that names no model is for the route's own.
    ///
    /// # Errors
    /// `INTERNAL` when the request cannot be written down.
    pub(super) fn new(route: Route, mut request: ModelRequest) -> Result<Self, Error> {
        if request.model.is_empty() {
            request.model.clone_from(&route.first.card.provider_model);
        }
        let leg = Leg::new(Arc::clone(&route.first), &request)?;
        Ok(Self {
            stage: Stage::Asking(Box::new(Asking {
                route,
                request,
                passed: 0,
                leg,
                first_error: None,
            })),
            told: [None, None],
        })
    }

    /// The next event; none after the last one or an error.
    pub(super) async fn next(&mut self) -> Option<Result<ModelEvent, Error>> {
        loop {
            if let Some(told) = self.told.iter_mut().find_map(Option::take) {
                return Some(told);
            }
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Answering { answer, place } => match answer.next().await {
                    Some(Ok(event)) => {
                        // Nobody has to ask for what is behind the last event.
                        if matches!(event, ModelEvent::Finished(_)) {
                            place.succeeded();
                        }
                        return Some(Ok(event));
                    }
                    end => return self.end(end),
                },
                // In a box, so that what is awaited for every piece of an answer stays small.
                Stage::Asking(_) => Box::pin(self.ask()).await,
            }
        }
    }

    /// The answer is over.
    fn end(&mut self, end: Option<Result<ModelEvent, Failure>>) -> Option<Result<ModelEvent, Error>> {
        let Stage::Answering { mut place, .. } = std::mem::replace(&mut self.stage, Stage::Over) else {
            return None;
        };
        let Some(Err(failure)) = end else {
            place.succeeded();
            return None;
        };
        let is_filtered = failure.is_filtered();
        let error = place.error(failure);
        place.failed(&error);
        Some(match is_filtered {
            true => Ok(ModelEvent::Finished(Finish::ContentFilter)),
            false => Err(error),
        })
    }

    /// Makes one attempt.
    async fn ask(&mut self) {
        let Stage::Asking(mut asking) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return;
        };
        match asking.leg.attempt(asking.time_left()).await {
            Ok(mut begun) => {
                if matches!(begun.event, ModelEvent::Finished(_)) {
                    begun.place.succeeded();
                }
                self.told = [Some(Ok(begun.attempt)), Some(Ok(begun.event))];
                self.stage = Stage::Answering {
                    answer: begun.answer,
                    place: begun.place,
                };
            }
            Err(failing) => {
                let attempt = Some(Ok(ModelEvent::Attempt(asking.leg.attempted(&failing))));
                self.told = match asking.after(failing).await {
                    None => {
                        self.stage = Stage::Asking(asking);
                        [attempt, None]
                    }
                    Some(end) => [attempt, Some(end)],
                };
            }
        }
    }
}

impl Asking {
    fn time_left(&self) -> Option<Duration> {
        let deadline = self.request.deadline?;
        Some(deadline.duration_since(clock::now()).unwrap_or_default())
    }

    /// Sees to what follows an attempt that failed; what is told when nothing does.
    async fn after(&mut self, failing: Failing) -> Option<Result<ModelEvent, Error>> {
        let leg = &mut self.leg;
        if failing.error.reason() == Reason::ModelCredentialsRejected
            && !leg.has_renewed_key
            && let Some(key) = &failing.key
            && leg.model.upstream.has_other_key(key).await
        {
            leg.has_renewed_key = true;
            leg.rest(Duration::ZERO);
            return None;
        }
        if let Some(way) = failing.other_way {
            tracing::debug!(model = leg.model.name(), ?way, "asking the model in another way");
            leg.rest(Duration::ZERO);
            return match leg.model.prepare_otherwise(&leg.prepared, way, &self.request) {
                Ok(prepared) => {
                    leg.prepared = prepared;
                    None
                }
                Err(error) => Some(Err(error)),
            };
        }
        if failing.is_filtered {
            return Some(Ok(ModelEvent::Finished(Finish::ContentFilter)));
        }
        let reason = failing.error.reason();
        let other = self.other(reason);
        let failed = Failed {
            reason,
            is_before_work: failing.is_before_work,
            retry_after: failing.error.retry_delay(),
            retries: self.leg.retries,
            max_retries: self.leg.model.upstream.max_retries(),
            time_left: self.time_left(),
            has_other: other.is_some(),
        };
        let upstream = &self.leg.model.upstream;
        match (
            retry::next(&failed, fastrand::f64(), || upstream.may_retry()),
            other,
        ) {
            (Next::Again(wait), _) => {
                tracing::debug!(
                    model = self.leg.model.name(),
                    ?reason,
                    ?wait,
                    "asking the model again"
                );
                self.leg.retries += 1;
                self.leg.rest(wait);
                None
            }
            (Next::Elsewhere, Some((place, model))) => {
                tracing::info!(
                    model = self.leg.model.name(),
                    ?reason,
                    fallback = model.name(),
                    "asking another model"
                );
                self.first_error.get_or_insert(failing.error);
                self.passed = place + 1;
                self.request.model.clone_from(&model.card.provider_model);
                match Leg::new(model, &self.request) {
                    Ok(leg) => {
                        self.leg = leg;
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
            _ => Some(Err(self.first_error.take().unwrap_or(failing.error))),
        }
    }

    /// The next model that may manage what this one could not.
    fn other(&self, reason: Reason) -> Option<(usize, Arc<Deployment>)> {
        let room = self.leg.model.context_tokens();
        let may_manage = |model: &Deployment| {
            reason != Reason::ContextLengthExceeded
                || room.is_some_and(|room| model.context_tokens().is_some_and(|other| other > room))
        };
        let fallbacks = self.route.fallbacks.iter().enumerate().skip(self.passed);
        let mut others = fallbacks.filter(|(_, model)| may_manage(model));
        others.next().map(|(place, model)| (place, Arc::clone(model)))
    }
}

/// An answer that has begun.
struct Begun {
    attempt: ModelEvent,
    event: ModelEvent,
    answer: Answer,
    place: Place,
}

impl Leg {
    fn new(model: Arc<Deployment>, request: &ModelRequest) -> Result<Self, Error> {
        let prepared = model.prepare(request)?;
        model.upstream.count();
        Ok(Self {
            idempotency_key: model.upstream.idempotency_key(),
            model,
            prepared,
            retries: 0,
            has_renewed_key: false,
            pause: Duration::ZERO,
            since: Instant::now(),
        })
    }

    /// Waits that long before the next attempt.
    fn rest(&mut self, pause: Duration) {
        self.pause = pause;
        self.since = Instant::now();
    }

    /// Sends the request, as soon as it may be sent, and waits for the first piece of the answer.
    async fn attempt(&mut self, time_left: Option<Duration>) -> Result<Begun, Failing> {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        let upstream = &self.model.upstream;
        let patience = time_left.map(|left| left.saturating_sub(self.pause));
        let entered = upstream.enter(patience).await;
        let sent = Instant::now();
        let wait = sent.saturating_duration_since(self.since);
        let failing = |error, was_sent, latency| Failing {
            error,
            status: None,
            is_before_work: false,
            is_filtered: false,
            other_way: None,
            was_sent,
            key: None,
            wait,
            latency,
        };
        let mut place = entered.map_err(|error| failing(error, false, Duration::ZERO))?;
        let key = upstream.key().await;
        let failure = match self.first_piece(key.as_ref()).await {
            Ok((answer, event)) => {
                place.begun();
                let attempt = Attempt {
                    status: Some(answer.status()),
                    ..self.told(AttemptResult::Answered, wait, sent.elapsed())
                };
                return Ok(Begun {
                    attempt: ModelEvent::Attempt(attempt),
                    event,
                    answer,
                    place,
                });
            }
            Err(failure) => failure,
        };
        let status = failure.status;
        let is_before_work = failure.is_before_work() && !self.model.repeats_by_itself();
        let other_way = self.model.other_way(&self.prepared, &failure);
        let is_filtered = failure.is_filtered();
        let error = upstream.error(failure);
        place.failed(&error);
        Err(Failing {
            status,
            is_before_work,
            is_filtered,
            other_way,
            key,
            ..failing(error, true, sent.elapsed())
        })
    }

    async fn first_piece(&self, key: Option<&Secret>) -> Result<(Answer, ModelEvent), Failure> {
        let prepared = &self.prepared;
        let key_of_request = self.idempotency_key.as_ref();
        let mut answer = self.model.open(prepared, key, key_of_request).await?;
        match answer.next().await {
            Some(Ok(event)) => Ok((answer, event)),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::broken("the answer is empty")),
        }
    }

    /// What is told of an attempt that failed.
    fn attempted(&self, failing: &Failing) -> Attempt {
        let reason = failing.error.reason().as_str().to_owned();
        let result = match failing.was_sent {
            true => AttemptResult::Failed(reason),
            false => AttemptResult::NotSent(reason),
        };
        Attempt {
            status: failing.status,
            ..self.told(result, failing.wait, failing.latency)
        }
    }

    fn told(&self, result: AttemptResult, wait: Duration, latency: Duration) -> Attempt {
        let card = &self.model.card;
        let is_its_own = self.prepared.model == card.provider_model;
        let name = if is_its_own {
            &card.name
        } else {
            &self.prepared.model
        };
        Attempt {
            model: name.clone(),
            provider_model: self.prepared.model.clone(),
            endpoint: self.model.upstream.endpoint(),
            result,
            status: None,
            wait,
            latency,
        }
    }
}
