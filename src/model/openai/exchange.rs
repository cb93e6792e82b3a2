//! One turn: from the request, by as many attempts as it takes, to the end of the answer.
//!
//! Until an answer begins, a request that failed is sent again or given to another model; what follows is decided
//! in `retry.rs`. From the first piece of an answer on, whatever happens is told.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use crate::model::retry::{self, Failed, Next};
use crate::model::tokens::O200k;
use crate::run::clock;
use crate::run::context;
use crate::run::error::{Error, Reason};
use crate::run::model::{Attempt, AttemptResult};
use crate::run::ports::{Finish, ModelEvent, ModelRequest};

use super::error::Failure;
use super::upstream::Place;
use super::{Answer, Deployment};
use leg::{Begun, Failing, Leg};

mod leg;

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
    teller: Teller,
    /// What is to be told next.
    told: mpsc::UnboundedReceiver<Told>,
}

type Told = Result<ModelEvent, Error>;

/// Tells of attempts, while they are made too, and of the first piece of an answer.
#[derive(Clone)]
struct Teller(mpsc::UnboundedSender<Told>);

enum Stage {
    /// Attempts are made, until one is answered or no other is made.
    Asking(BoxFuture<'static, Stage>),
    Answering {
        answer: Answer,
        place: Place,
        /// What requests call the model that answers.
        model: Box<str>,
        /// Kept for as long as the provider has to be asked after its answer.
        asking: Option<Box<Asking>>,
        /// What is waited before it is asked after its answer again.
        pause: Duration,
    },
    Over,
}

/// Who is asked, and who else may be.
struct Asking {
    route: Route,
    request: ModelRequest,
    /// How many of the fallbacks have been passed over or tried.
    passed: usize,
    leg: Leg,
    /// What the model that was asked for failed with.
    first_error: Option<Error>,
    /// The tokens of the request, once somebody had to know.
    tokens: Option<u64>,
}

impl Teller {
    fn tell(&self, told: Told) {
        // The turn that hears it may have been given up.
        let _ = self.0.unbounded_send(told);
    }

    fn attempt(&self, attempt: Attempt) {
        self.tell(Ok(ModelEvent::Attempt(attempt)));
    }
}

impl Exchange {
    /// Begins a turn. A request that names no model is for the route's own.
    ///
    /// # Errors
    /// `INTERNAL` when the request cannot be written down; `MODEL_REQUEST_REJECTED` when the model's dialect has no
    /// words for it.
    pub(super) fn new(route: Route, mut request: ModelRequest) -> Result<Self, Error> {
        if request.model.is_empty() {
            request.model.clone_from(&route.first.card.provider_model);
        }
        let leg = Leg::new(Arc::clone(&route.first), &request);
        let leg = leg.map_err(|error| error.with("model", route.first.called(&request.model)))?;
        let (teller, told) = mpsc::unbounded();
        let teller = Teller(teller);
        let asking = Box::new(Asking {
            route,
            request,
            passed: 0,
            leg,
            first_error: None,
            tokens: None,
        });
        Ok(Self {
            stage: Stage::Asking(ask(asking, teller.clone()).boxed()),
            teller,
            told,
        })
    }

    /// The next event; none after the last one or an error.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(Some(told)) = self.told.next().now_or_never() {
                return Some(told);
            }
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Answering {
                    answer, place, pause, ..
                } => {
                    if !pause.is_zero() {
                        tokio::time::sleep(std::mem::take(pause)).await;
                    }
                    match answer.next().await {
                        Some(Ok(event)) => {
                            // Nobody has to ask for what is behind the last event.
                            if matches!(event, ModelEvent::Finished(_)) {
                                place.succeeded();
                            }
                            return Some(Ok(event));
                        }
                        Some(Err(failure)) => self.stumble(failure),
                        None => self.end(None),
                    }
                }
                Stage::Asking(asking) => tokio::select! {
                    biased;
                    // An attempt is told of when it is sent, too.
                    Some(told) = self.told.next() => return Some(told),
                    stage = asking => self.stage = stage,
                },
            }
        }
    }

    /// Something went wrong within the answer. That is its end, unless the provider works on and only could not be
    /// asked after it: then it is asked again, as often as any request.
    fn stumble(&mut self, failure: Failure) {
        if let Stage::Answering {
            answer,
            asking: Some(asking),
            pause,
            ..
        } = &mut self.stage
        {
            if answer.was_heard_of() {
                asking.leg.forgive();
            }
            if let Some((wait, attempt)) = asking.again(&failure) {
                self.teller.attempt(attempt);
                *pause = wait;
                return;
            }
        }
        self.end(Some(failure));
    }

    /// The answer is over.
    fn end(&mut self, failure: Option<Failure>) {
        let Stage::Answering { mut place, model, .. } = std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return;
        };
        let Some(failure) = failure else {
            place.succeeded();
            return;
        };
        let is_filtered = failure.is_filtered();
        let error = place.failed(failure, true);
        self.teller.tell(match is_filtered {
            true => Ok(ModelEvent::Finished(Finish::ContentFilter)),
            false => Err(error.with("model", model)),
        });
    }
}

/// Makes attempts, until an answer begins or no other attempt is made.
async fn ask(mut asking: Box<Asking>, teller: Teller) -> Stage {
    loop {
        let time_left = asking.time_left();
        let failing = match asking.leg.attempt(time_left, &teller).await {
            Ok(begun) => return begin(begun, asking, &teller),
            Err(failing) => failing,
        };
        if let Some(end) = asking.after(failing, &teller).await {
            teller.tell(end);
            return Stage::Over;
        }
        // Whoever hears of it may want no other.
        tokio::task::yield_now().await;
    }
}

fn begin(begun: Begun, asking: Box<Asking>, teller: &Teller) -> Stage {
    let Begun {
        events,
        answer,
        mut place,
    } = begun;
    if matches!(events.last(), Some(ModelEvent::Finished(_))) {
        place.succeeded();
    }
    // Most answers come by themselves: what was asked need not stay in memory beside them.
    let model = asking.leg.name().into();
    let asking = (events.is_empty() && answer.is_asked_after()).then_some(asking);
    for event in events {
        teller.tell(Ok(event));
    }
    Stage::Answering {
        answer,
        place,
        model,
        asking,
        pause: Duration::ZERO,
    }
}

impl Asking {
    fn time_left(&self) -> Option<Duration> {
        let deadline = self.request.deadline?;
        Some(deadline.duration_since(clock::now()).unwrap_or_default())
    }

    /// Sees to what follows an attempt that failed; what is told when nothing does.
    async fn after(&mut self, mut failing: Failing, teller: &Teller) -> Option<Told> {
        failing.error = failing.error.with("model", self.leg.name());
        if failing.error.reason() == Reason::ModelCredentialsRejected
            && let Some(key) = &failing.key
            && self.leg.takes_another_key(key).await
        {
            return None;
        }
        if let Some(way) = failing.other_way {
            tracing::debug!(
                model = self.leg.model.name(),
                ?way,
                "asking the model in another way"
            );
            return self.leg.go(way, &self.request).err().map(Err);
        }
        if failing.is_filtered {
            return Some(Ok(ModelEvent::Finished(Finish::ContentFilter)));
        }
        let reason = failing.error.reason();
        let mut failed = Failed {
            reason,
            is_before_work: failing.is_before_work,
            retry_after: failing.error.retry_delay(),
            retries: self.leg.retries,
            max_retries: self.leg.model.upstream.max_retries(),
            time_left: self.time_left(),
            has_other: self.other(reason).is_some(),
        };
        let mut next = self.next(&failed);
        if next == Next::Elsewhere {
            if self.go_elsewhere(reason, &failing.error, teller) {
                return None;
            }
            failed.has_other = false;
            next = self.next(&failed);
        }
        if let Next::Again(wait) = next {
            let model = self.leg.model.name();
            tracing::debug!(model, ?reason, ?wait, "asking the model again");
            self.leg.retries += 1;
            self.leg.rest(wait);
            return None;
        }
        Some(Err(self.first_error.take().unwrap_or(failing.error)))
    }

    fn next(&self, failed: &Failed) -> Next {
        let upstream = &self.leg.model.upstream;
        retry::next(failed, fastrand::f64(), || upstream.may_retry())
    }

    /// Turns to the next model that may manage what this one could not. One whose dialect has no words for the request,
    /// or that does not take so long a conversation, is told as an attempt that was not made, and passed over; false when
    /// there is no other.
    fn go_elsewhere(&mut self, reason: Reason, error: &Error, teller: &Teller) -> bool {
        while let Some((place, fallback)) = self.other(reason) {
            self.passed = place + 1;
            let model = fallback.card.provider_model.clone();
            let before = std::mem::replace(&mut self.request.model, model);
            let leg = match self.fits(&fallback) {
                true => Leg::new(Arc::clone(&fallback), &self.request),
                false => Err(Error::new(
                    Reason::ContextLengthExceeded,
                    "the conversation is longer than the model takes",
                )),
            };
            match leg {
                Ok(leg) => {
                    tracing::info!(
                        model = self.leg.model.name(),
                        ?reason,
                        fallback = fallback.name(),
                        "asking another model"
                    );
                    self.first_error.get_or_insert_with(|| error.clone());
                    self.leg = leg;
                    return true;
                }
                Err(refusal) => {
                    let refused = refusal.reason().as_str();
                    let attempt =
                        fallback.attempt(&self.request.model, AttemptResult::NotSent(refused.to_owned()));
                    tracing::info!(
                        fallback = fallback.name(),
                        error = %refusal,
                        "another model cannot be asked for this"
                    );
                    teller.attempt(attempt);
                    self.request.model = before;
                }
            }
        }
        false
    }

    /// Whether the conversation and as much of an answer as was asked for have room in this model, as far as is known.
    fn fits(&mut self, model: &Deployment) -> bool {
        let Some(room) = model.context_tokens() else {
            return true;
        };
        let request = &self.request;
        let can = model.card.max_output_tokens.unwrap_or(u64::MAX);
        let answer = request.max_output_tokens.map_or(0, |asked| asked.min(can));
        let room = room.saturating_sub(answer);
        let is_below = |tokens: u64| tokens <= room;
        // Only a conversation that is near the bound is counted.
        request.estimated_tokens.is_some_and(is_below)
            || is_below(context::bytes_of(request))
            || is_below(
                *self
                    .tokens
                    .get_or_insert_with(|| context::tokens_of(request, &O200k)),
            )
    }

    /// How long to wait before the provider is asked after its answer again, and what is told of the question that
    /// failed; none where there is no use in another.
    fn again(&mut self, failure: &Failure) -> Option<(Duration, Attempt)> {
        let reason = failure.reason();
        let failed = Failed {
            reason,
            is_before_work: failure.is_before_work(),
            retry_after: failure.retry_after,
            retries: self.leg.retries,
            max_retries: self.leg.model.upstream.max_retries(),
            time_left: self.time_left(),
            has_other: false,
        };
        let Next::Again(wait) = self.next(&failed) else {
            return None;
        };
        self.leg.retries += 1;
        let result = AttemptResult::Failed(reason.as_str().to_owned());
        let attempt = Attempt {
            status: failure.status,
            ..self.leg.told(result, Duration::ZERO, Duration::ZERO)
        };
        Some((wait, attempt))
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
