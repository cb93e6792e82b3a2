//! The attempts at one model within a turn.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::model::Secret;
use crate::model::hedge::{self, Lane};
use crate::run::error::Error;
use crate::run::message::Usage;
use crate::run::model::{Attempt, AttemptResult};
use crate::run::ports::{ModelEvent, ModelRequest};

use super::Teller;
use crate::model::openai::error::Failure;
use crate::model::openai::upstream::Place;
use crate::model::openai::way::Way;
use crate::model::openai::{Answer, Deployment, Prepared};

/// A model that is asked, as often as it takes.
pub(super) struct Leg {
    pub(super) model: Arc<Deployment>,
    /// For whom it is asked.
    caller: String,
    prepared: Prepared,
    /// What the provider knows the request by, as long as the same is sent again.
    idempotency_key: Option<HeaderValue>,
    /// How often the request was sent again, because it had failed.
    pub(super) retries: u32,
    has_renewed_key: bool,
    /// A second request was sent beside one that was slow, which happens once.
    has_hedged: bool,
    /// What is waited before the next attempt, and since when.
    pause: Duration,
    since: Instant,
}

/// An answer that has begun.
pub(super) struct Begun {
    /// Its first piece, and what came in front of it; none where the provider works on it, and has to be asked after
    /// it.
    pub(super) events: Vec<ModelEvent>,
    pub(super) answer: Answer,
    pub(super) place: Place,
}

/// An attempt that failed.
pub(super) struct Failing {
    pub(super) error: Error,
    pub(super) is_before_work: bool,
    pub(super) is_filtered: bool,
    /// The way to ask again when this one was refused for its way.
    pub(super) other_way: Option<Way>,
    /// The key that it was sent with, when that is in a file.
    pub(super) key: Option<Secret>,
}

/// What came of sending a request once, with what is told of it.
type Sent = Result<(Begun, Attempt), (Failing, Attempt)>;

impl Leg {
    /// The attempts at this model.
    ///
    /// # Errors
    /// `INTERNAL` when the request cannot be written down; `MODEL_REQUEST_REJECTED` when the model's dialect has no
    /// words for it.
    pub(super) fn new(model: Arc<Deployment>, request: &ModelRequest) -> Result<Self, Error> {
        let prepared = model.prepare(request)?;
        model.upstream.count();
        Ok(Self {
            idempotency_key: model.upstream.idempotency_key(),
            model,
            caller: request.caller.clone(),
            prepared,
            retries: 0,
            has_renewed_key: false,
            has_hedged: false,
            pause: Duration::ZERO,
            since: Instant::now(),
        })
    }

    /// Waits that long before the next attempt.
    pub(super) fn rest(&mut self, pause: Duration) {
        self.pause = pause;
        self.since = Instant::now();
    }

    /// The provider has been heard of again: what failed before does not count any more.
    pub(super) fn forgive(&mut self) {
        self.retries = 0;
    }

    /// Whether the next attempt has another key than this one, which is looked for once.
    pub(super) async fn takes_another_key(&mut self, key: &Secret) -> bool {
        if self.has_renewed_key || !self.model.upstream.has_other_key(key).await {
            return false;
        }
        self.has_renewed_key = true;
        self.rest(Duration::ZERO);
        true
    }

    /// The next attempt is made in this way.
    ///
    /// # Errors
    /// `INTERNAL` when the request cannot be written down so.
    pub(super) fn go(&mut self, way: Way, request: &ModelRequest) -> Result<(), Error> {
        self.rest(Duration::ZERO);
        self.prepared = self.model.prepare_otherwise(&self.prepared, way, request)?;
        self.idempotency_key = self.model.upstream.idempotency_key();
        Ok(())
    }

    /// Sends the request, as soon as it may be sent, and waits for the first piece of the answer. Where that is slow
    /// to come, a second request may go beside it.
    ///
    /// That goes to the same model, never to a fallback: it is the one that was asked for, what it costs is known, and
    /// it can read what it has encrypted. A fallback is for a model that fails, and one that is slow does not.
    pub(super) async fn attempt(
        &mut self,
        time_left: Option<Duration>,
        teller: &Teller,
    ) -> Result<Begun, Failing> {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        let upstream = &self.model.upstream;
        let patience = time_left.map(|left| left.saturating_sub(self.pause));
        let entered = upstream.enter(&self.caller, patience).await;
        let sent = Instant::now();
        let wait = sent.saturating_duration_since(self.since);
        let place = match entered {
            Ok(place) => place,
            Err(error) => {
                let result = AttemptResult::NotSent(error.reason().as_str().to_owned());
                teller.attempt(self.told(result, wait, Duration::ZERO));
                return Err(Failing::unsent(error));
            }
        };
        let key = upstream.key().await;
        let send = |place, idempotency_key, wait| {
            let unheard = self.told(AttemptResult::Abandoned, wait, Duration::ZERO);
            teller.tell(Ok(ModelEvent::Sent(unheard)));
            self.send(place, key.clone(), idempotency_key, wait)
        };
        let hedge_after = self.model.hedge_after().filter(|_| !self.has_hedged);
        let first = send(place, self.idempotency_key.clone(), wait);
        let raced = hedge::race(first, hedge_after, || {
            let place = upstream.enter_at_once()?;
            // Under the key of a request that is not over yet a provider would refuse it, or let it wait.
            let send = || send(place, upstream.idempotency_key(), Duration::ZERO);
            upstream.may_retry().then(send)
        })
        .await;
        let latency = sent.elapsed();
        let has_hedged = raced.second.is_some();
        let first = (raced.first, wait, latency);
        let second = raced.second.map(|lane| {
            let latency = latency.saturating_sub(hedge_after.unwrap_or_default());
            (lane, Duration::ZERO, latency)
        });
        let mut answered = None;
        let mut failed: Option<Failing> = None;
        for (lane, wait, latency) in std::iter::once(first).chain(second) {
            match lane {
                Lane::Overtaken => teller.attempt(self.told(AttemptResult::Overtaken, wait, latency)),
                Lane::Over(Ok((begun, attempt))) => {
                    teller.attempt(attempt);
                    answered = Some(begun);
                }
                Lane::Over(Err((failing, attempt))) => {
                    teller.attempt(attempt);
                    let other_is = failed.is_none_or(|failed| failed.is_before_work);
                    failed = Some(Failing {
                        is_before_work: failing.is_before_work && other_is,
                        ..failing
                    });
                }
            }
        }
        self.has_hedged |= has_hedged;
        match (answered, failed) {
            (Some(begun), _) => Ok(begun),
            (None, Some(failing)) => Err(failing),
            (None, None) => Err(Failing::unsent(Error::internal("a request came to nothing"))),
        }
    }

    /// Sends the request now, and waits for the first piece of its answer.
    async fn send(
        &self,
        mut place: Place,
        key: Option<Secret>,
        idempotency_key: Option<HeaderValue>,
        wait: Duration,
    ) -> Sent {
        let sent = Instant::now();
        let first_piece = self.first_piece(key.as_ref(), idempotency_key.as_ref());
        let (failure, usage) = match first_piece.await {
            Ok((answer, events)) => {
                place.begun();
                let attempt = Attempt {
                    status: Some(answer.status()),
                    ..self.told(AttemptResult::Answered, wait, sent.elapsed())
                };
                let begun = Begun {
                    events,
                    answer,
                    place,
                };
                return Ok((begun, attempt));
            }
            Err(failed) => failed,
        };
        let status = failure.status;
        let is_before_work = failure.is_before_work();
        let other_way = self.model.other_way(&self.prepared, &failure);
        let is_filtered = failure.is_filtered();
        let error = place.failed(failure, self.model.is_its_own(&self.prepared.model));
        let result = AttemptResult::Failed(error.reason().as_str().to_owned());
        let attempt = Attempt {
            status,
            usage,
            ..self.told(result, wait, sent.elapsed())
        };
        let failing = Failing {
            error,
            is_before_work,
            is_filtered,
            other_way,
            key,
        };
        Err((failing, attempt))
    }

    /// Where it fails, with what was used all the same, as far as the provider has said so.
    async fn first_piece(
        &self,
        key: Option<&Secret>,
        idempotency_key: Option<&HeaderValue>,
    ) -> Result<(Answer, Vec<ModelEvent>), (Failure, Option<Usage>)> {
        let opened = self.model.open(&self.prepared, key, idempotency_key).await;
        let mut answer = opened.map_err(|failure| (failure, None))?;
        let mut events = Vec::new();
        // What was used so far is no beginning of an answer.
        let mut usage = None;
        while let Some(event) = answer.first().await.map_err(|failure| (failure, usage))? {
            let so_far = match event {
                ModelEvent::Usage(so_far) => Some(so_far),
                _ => None,
            };
            events.push(event);
            if so_far.is_none() {
                break;
            }
            usage = so_far;
        }
        Ok((answer, events))
    }

    /// What requests call the model.
    pub(super) fn name(&self) -> &str {
        self.model.called(&self.prepared.model)
    }

    /// What is told of an attempt at this model.
    pub(super) fn told(&self, result: AttemptResult, wait: Duration, latency: Duration) -> Attempt {
        Attempt {
            wait,
            latency,
            ..self.model.attempt(&self.prepared.model, result)
        }
    }
}

impl Failing {
    /// Nothing was sent.
    fn unsent(error: Error) -> Self {
        Self {
            error,
            is_before_work: false,
            is_filtered: false,
            other_way: None,
            key: None,
        }
    }
}
