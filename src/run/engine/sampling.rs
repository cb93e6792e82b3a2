//! Answers of a model for the server of a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;

use crate::run::clock;
use crate::run::error::{Error, Reason};
use crate::run::id::{MessageId, Mint, RunId};
use crate::run::message::{Message, Usage};
use crate::run::model::AttemptResult;
use crate::run::options::ModelOptions;
use crate::run::ports::{Model, ModelEvent, ModelRequest};
use crate::run::sampling::{Sampled, Sampling};

/// What answers servers.
#[derive(Clone)]
pub(super) struct Sampler {
    pub(super) model: Arc<dyn Model>,
    /// The model of requests that name none.
    pub(super) default_model: String,
    /// For whom the run asks; empty when nobody said.
    pub(super) caller: String,
}

impl Sampler {
    /// Asks the model. Dropping the future aborts the request. What was used is said also where the answer fails.
    ///
    /// # Errors
    /// Those of [`Model::stream`].
    pub(super) async fn sample(&self, run: &RunId, sampling: Sampling) -> (Result<Sampled, Error>, Usage) {
        let model = match sampling.model.as_str() {
            "" => self.default_model.clone(),
            model => model.to_owned(),
        };
        let (mut usage, mut answerer) = (Usage::default(), model.clone());
        let request = request(run, &self.caller, model, sampling);
        let answered = self.answer(request, &mut usage, &mut answerer).await;
        let card = self.model.card(&answerer);
        usage.cost = card
            .and_then(|card| card.prices)
            .map(|prices| prices.cost(&usage));
        (answered, usage)
    }

    async fn answer(
        &self,
        request: ModelRequest,
        usage: &mut Usage,
        answerer: &mut String,
    ) -> Result<Sampled, Error> {
        let (mut text, mut model) = (String::new(), request.model.clone());
        let mut events = self.model.stream(request).await?;
        while let Some(event) = events.next().await {
            match event? {
                ModelEvent::TextDelta(more) | ModelEvent::RefusalDelta(more) => text.push_str(&more),
                ModelEvent::Usage(used) => *usage = used,
                ModelEvent::Attempt(attempt) if attempt.result == AttemptResult::Answered => {
                    model = attempt.provider_model;
                    *answerer = attempt.model;
                }
                ModelEvent::Finished(finish) => return Ok(Sampled { text, model, finish }),
                _ => {}
            }
        }
        Err(Error::new(
            Reason::ModelUnavailable,
            "the model's answer broke off",
        ))
    }
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
        caller: caller.to_owned(),
        model,
        instructions: sampling.system_prompt,
        messages: messages.collect(),
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
