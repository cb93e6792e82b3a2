//! Models behind OpenAI's APIs, of OpenAI or of anybody who is compatible.
//!
//! Requests are built of async-openai's types. Answers are read by our own decoders, pure state machines from
//! bytes to the heart's events, because the crate's are strict where servers are not
//! (`docs/adr/0002-model-wire.md`).

use std::sync::Arc;

use async_openai::config::OPENAI_API_BASE;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::HeaderValue;
use reqwest::Url;

use crate::model::{Config, Dialect, Secret};
use crate::run::error::Error;
use crate::run::model::{Condition, ModelCard};
use crate::run::ports::{Model, ModelRequest, ModelStatus, ModelStream};

use chat_completions::LimitName;
use decode::Decoder;
use error::Failure;
use exchange::Exchange;
use reader::{Reader, Source};
use tools::{Offer, Offers};
use upstream::Upstream;

pub(crate) use exchange::Route;

mod calls;
mod chat_completions;
mod decode;
mod error;
mod exchange;
mod loose;
mod media;
mod reader;
mod responses;
mod sse;
mod tools;
mod upstream;

/// One model at one provider, alone: nothing else answers in its place.
#[derive(Debug)]
pub struct OpenAi {
    route: Route,
}

/// A model at a provider.
#[derive(Debug)]
pub(crate) struct Deployment {
    card: Arc<ModelCard>,
    upstream: Arc<Upstream>,
    dialect: Dialect,
    limit_name: LimitName,
    offers: Offers,
}

/// A request as it is sent.
struct Prepared {
    /// What the provider calls the model.
    model: String,
    body: Bytes,
    offer: Option<Arc<Offer>>,
}

impl OpenAi {
    /// The model of this configuration. Nothing is asked of it yet.
    ///
    /// `simulated` is only told on in [`Model::status`].
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, naming the key of the configuration, for an address, a key or a header that cannot
    /// be used; `INTERNAL` when an `https` address is given and the system has no certificates.
    pub fn new(config: Config, simulated: bool) -> Result<Self, Error> {
        let deployment = Deployment::new(&config, true, simulated)?;
        Ok(Self {
            route: Route {
                first: Arc::new(deployment),
                fallbacks: Arc::default(),
            },
        })
    }
}

impl Deployment {
    /// The model of this configuration; see [`OpenAi::new`].
    ///
    /// # Errors
    /// Those of [`OpenAi::new`].
    pub(crate) fn new(config: &Config, is_default: bool, simulated: bool) -> Result<Self, Error> {
        let base = upstream::base_url(config)?;
        let is_openai = base.host_str() == openai_host().as_deref();
        let dialect = config.dialect.unwrap_or(if is_openai {
            Dialect::Responses
        } else {
            Dialect::ChatCompletions
        });
        let path: &[&str] = match dialect {
            Dialect::Responses => &["responses"],
            Dialect::ChatCompletions => &["chat", "completions"],
        };
        let upstream = Upstream::new(config, base, path)?;
        let card = ModelCard {
            name: config.name().to_owned(),
            provider_model: config.model.clone(),
            aliases: config.aliases.clone(),
            endpoint: upstream.endpoint(),
            dialect: dialect.as_str(),
            is_default,
            simulated,
            fallbacks: config.fallbacks.clone(),
            context_tokens: config.context_tokens,
            max_output_tokens: config.max_output_tokens,
            max_concurrency: config.resilience.max_concurrency,
        };
        Ok(Self {
            card: Arc::new(card),
            upstream: Arc::new(upstream),
            dialect,
            limit_name: if is_openai {
                LimitName::MaxCompletionTokens
            } else {
                LimitName::MaxTokens
            },
            offers: Offers::default(),
        })
    }

    pub(crate) fn card(&self) -> &Arc<ModelCard> {
        &self.card
    }

    pub(crate) fn condition(&self) -> Condition {
        self.upstream.condition()
    }

    pub(crate) fn status(&self) -> ModelStatus {
        ModelStatus {
            model: self.card.name.clone(),
            endpoint: self.card.endpoint.clone(),
            dialect: self.card.dialect,
            simulated: self.card.simulated,
            trouble: self.condition().trouble,
        }
    }

    fn name(&self) -> &str {
        &self.card.name
    }

    fn context_tokens(&self) -> Option<u64> {
        self.card.context_tokens
    }

    /// Writes a request down.
    fn prepare(&self, request: &ModelRequest) -> Result<Prepared, Error> {
        let offer = match &request.tools {
            // An empty list of tools is refused by some servers.
            Some(catalogue) if !catalogue.tools().is_empty() => {
                Some(self.offers.of(catalogue, self.dialect).map_err(Error::internal)?)
            }
            _ => None,
        };
        Ok(Prepared {
            model: request.model.clone(),
            body: self.body(request, offer.as_deref())?,
            offer,
        })
    }

    fn body(&self, request: &ModelRequest, offer: Option<&Offer>) -> Result<Bytes, Error> {
        let body = match self.dialect {
            Dialect::Responses => responses::body(request, offer),
            Dialect::ChatCompletions => chat_completions::body(request, offer, self.limit_name),
        };
        body.map(Bytes::from).map_err(Error::internal)
    }

    /// Sends a request once; the answer is there, though nothing of it has been read.
    async fn open(
        &self,
        prepared: &Prepared,
        key: Option<&Secret>,
        idempotency_key: Option<&HeaderValue>,
    ) -> Result<Reader, Failure> {
        let body = prepared.body.clone();
        let response = self.upstream.send(body, key, idempotency_key).await?;
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            offer: prepared.offer.clone(),
        };
        Ok(Reader::new(response, Decoder::new(self.dialect), source))
    }
}

impl Route {
    /// Asks for one turn.
    ///
    /// # Errors
    /// `INTERNAL` when the request cannot be written down; what goes wrong later is in the stream.
    pub(crate) fn stream(&self, request: ModelRequest) -> Result<ModelStream, Error> {
        let exchange = Box::new(Exchange::new(self.clone(), request)?);
        let events = stream::unfold(exchange, |mut exchange| async move {
            let event = exchange.next().await?;
            Some((event, exchange))
        });
        Ok(events.fuse().boxed())
    }
}

fn openai_host() -> Option<String> {
    Url::parse(OPENAI_API_BASE).ok()?.host_str().map(str::to_owned)
}

#[async_trait]
impl Model for OpenAi {
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream, Error> {
        self.route.stream(request)
    }

    fn status(&self) -> ModelStatus {
        self.route.first.status()
    }

    fn models(&self) -> Vec<Arc<ModelCard>> {
        vec![Arc::clone(self.route.first.card())]
    }

    fn condition(&self, _: &str) -> Condition {
        self.route.first.condition()
    }
}
