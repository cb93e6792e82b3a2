//! Answers of a model for the server of a call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use tokio::sync::mpsc;

use crate::run::clock;
use crate::run::context;
use crate::run::error::{Error, Reason};
use crate::run::id::{CallId, MessageId, Mint, RunId};
use crate::run::message::Message;
use crate::run::model::{AttemptResult, ModelCard};
use crate::run::options::ModelOptions;
use crate::run::ports::{Model, ModelEvent, ModelRequest};
use crate::run::sampling::{Allowance, Sampled, Sampling, Wanted};
use crate::run::state::Input;

/// What is told of a request of a server; and where the run's verdicts on it go, if it begins.
pub(super) type Told = (Input, Option<mpsc::Sender<Verdict>>);

/// What a run leaves for a request, or why it may not go on.
pub(super) type Verdict = Result<Allowance, Error>;

/// What answers servers.
#[derive(Clone)]
pub(super) struct Sampler {
    pub(super) model: Arc<dyn Model>,
    /// The model of requests that name none.
    pub(super) default_model: String,
    /// For whom the run asks; empty when nobody said.
    pub(super) caller: String,
    /// The number of the run's next request.
    pub(super) next: Arc<AtomicU64>,
    /// Where the run hears of it.
    pub(super) run: mpsc::Sender<Told>,
}

/// A request that the run hears of.
struct OfRequest<'a> {
    to: &'a mpsc::Sender<Told>,
    call: &'a CallId,
    request: u64,
}

impl Sampler {
    /// Asks the model, within what the run leaves. Dropping the future aborts the request.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` when the call is over, `RUN_LIMIT_REACHED` when the tokens or the money of its run are used up;
    /// those of [`Model::stream`].
    pub(super) async fn sample(
        &self,
        run: &RunId,
        call: &CallId,
        sampling: Sampling,
    ) -> Result<Sampled, Error> {
        let model = match sampling.model.as_str() {
            "" => self.default_model.clone(),
            model => model.to_owned(),
        };
        let mut request = request(run, &self.caller, model, sampling);
        let of = OfRequest {
            to: &self.run,
            call,
            request: self.next.fetch_add(1, Ordering::Relaxed),
        };
        let (verdict, mut verdicts) = mpsc::channel(1);
        of.begin(self.wanted(&request), verdict).await;
        let allowance = verdicts.recv().await.unwrap_or_else(|| Err(gone()))?;
        request.deadline = allowance.deadline;
        request.max_output_tokens = [request.max_output_tokens, allowance.output_tokens]
            .into_iter()
            .flatten()
            .min();
        let answered = tokio::select! {
            biased;
            stopped = verdicts.recv() => Err(stopped.and_then(Result::err).unwrap_or_else(gone)),
            answered = self.answer(request, &of) => answered,
        };
        of.end(answered.as_ref().err().cloned()).await;
        answered
    }

    fn wanted(&self, request: &ModelRequest) -> Wanted {
        let prices = |card: Arc<ModelCard>| Some((card.name.clone(), card.prices?));
        let others = self.model.fallbacks(&request.model).into_iter();
        let card = self.model.card(&request.model);
        Wanted {
            provider_model: card
                .as_ref()
                .map_or(&request.model, |card| &card.provider_model)
                .clone(),
            bytes: context::bytes_of(request),
            prices: card.and_then(|card| card.prices),
            other_prices: Arc::new(others.filter_map(prices).collect()),
        }
    }

    async fn answer(&self, request: ModelRequest, of: &OfRequest<'_>) -> Result<Sampled, Error> {
        let (mut text, mut model) = (String::new(), request.model.clone());
        let mut events = self.model.stream(request).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            match &event {
                ModelEvent::TextDelta(more) | ModelEvent::RefusalDelta(more) => text.push_str(more),
                ModelEvent::Attempt(attempt) if attempt.result == AttemptResult::Answered => {
                    model.clone_from(&attempt.provider_model);
                }
                &ModelEvent::Finished(finish) => return Ok(Sampled { text, model, finish }),
                _ => {}
            }
            of.say(event).await;
        }
        Err(Error::new(
            Reason::ModelUnavailable,
            "the model's answer broke off",
        ))
    }
}

impl OfRequest<'_> {
    async fn begin(&self, wanted: Wanted, verdict: mpsc::Sender<Verdict>) {
        let (call, request) = (self.call.clone(), self.request);
        let input = Input::CallSamples {
            call,
            request,
            wanted,
        };
        self.tell(input, Some(verdict)).await;
    }

    async fn say(&self, event: ModelEvent) {
        let (call, request) = (self.call.clone(), self.request);
        let input = Input::CallSampling { call, request, event };
        self.tell(input, None).await;
    }

    async fn end(&self, failure: Option<Error>) {
        let (call, request) = (self.call.clone(), self.request);
        let input = Input::CallSampled {
            call,
            request,
            failure,
        };
        self.tell(input, None).await;
    }

    async fn tell(&self, input: Input, verdict: Option<mpsc::Sender<Verdict>>) {
        // The run's task may have gone.
        let _ = self.to.send((input, verdict)).await;
    }
}

fn gone() -> Error {
    Error::new(Reason::PermissionDenied, "the call is over")
}

fn request(run: &RunId, caller: &str, model: String, sampling: Sampling) -> ModelRequest {
    let messages = sampling.messages.into_iter().map(|(role, content)| {
        Arc::new(Message {
            id: MessageId::new(&mut Mint::System),
            role,
            content,
            run: None,
            incomplete: false,
            create_time: clock::now(),
            metadata: BTreeMap::new(),
        })
    });
    ModelRequest {
        run: run.clone(),
        thread: None,
        caller: caller.to_owned(),
        model,
        instructions: sampling.system_prompt,
        messages: messages.collect(),
        unasked: 0,
        tools: None,
        max_output_tokens: Some(sampling.max_tokens),
        estimated_tokens: None,
        deadline: None,
        options: Arc::new(ModelOptions {
            temperature: sampling.temperature,
            stop: sampling.stop,
            ..ModelOptions::default()
        }),
    }
}
