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
use crate::run::ports::{Model, ModelEvent, ModelRequest, ModelStatus, ModelStream};

use assistants::{Assistants, Order};
use chat_completions::Server;
use decode::Decoder;
use error::Failure;
use exchange::Exchange;
use reader::{Reader, Source};
use tools::{Offer, Offers};
use upstream::Upstream;
use way::{Way, Ways};

pub(crate) use exchange::Route;

mod annotation;
mod assistants;
mod calls;
mod chat_completions;
mod decode;
mod error;
mod exchange;
mod loose;
mod media;
mod options;
mod reader;
pub mod recorded;
mod responses;
mod sse;
mod tools;
mod upstream;
mod way;

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
    server: Server,
    ways: Ways,
    assistants: Arc<Assistants>,
    offers: Offers,
}

/// What is sent.
enum Content {
    /// One request.
    Body(Bytes),
    /// As many as the Assistants dialect needs.
    Order(Arc<Order>),
}

/// An answer, by what it takes to read it.
enum Answer {
    OfOne(Box<Reader>),
    OfAssistants(Box<assistants::Turn>),
}

/// A request as it is sent.
struct Prepared {
    /// What the provider calls the model.
    model: String,
    content: Content,
    offer: Option<Arc<Offer>>,
    /// Who can read what this model encrypts, and go on behind its responses.
    identity: String,
    way: Way,
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
            // Its paths are as many as its objects.
            Dialect::Assistants => &[],
        };
        let upstream = Arc::new(Upstream::new(config, base, path)?);
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
            prices: config.prices,
        };
        Ok(Self {
            card: Arc::new(card),
            assistants: Arc::new(Assistants::new(Arc::clone(&upstream))),
            upstream,
            dialect,
            server: if is_openai {
                Server::OpenAi
            } else {
                Server::Compatible
            },
            ways: Ways::new(config.state),
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

    /// Writes a request down, in the way in which the model is asked first.
    fn prepare(&self, request: &ModelRequest) -> Result<Prepared, Error> {
        options::check(&request.options, self.dialect)?;
        let offer = match &request.tools {
            // An empty list of tools is refused by some servers.
            Some(catalogue) if !catalogue.tools().is_empty() => {
                Some(self.offers.of(catalogue, self.dialect).map_err(Error::internal)?)
            }
            _ => None,
        };
        self.prepare_in(self.ways.of(&request.model), request, offer)
    }

    /// The same in another way, where the provider has refused this one for its way.
    fn prepare_otherwise(
        &self,
        prepared: &Prepared,
        way: Way,
        request: &ModelRequest,
    ) -> Result<Prepared, Error> {
        self.prepare_in(way, request, prepared.offer.clone())
    }

    fn prepare_in(
        &self,
        way: Way,
        request: &ModelRequest,
        offer: Option<Arc<Offer>>,
    ) -> Result<Prepared, Error> {
        let identity = format!("{} {}", self.upstream.endpoint(), request.model);
        let offered = offer.as_deref();
        let body = match self.dialect {
            Dialect::Responses => responses::body(request, offered, &identity, way),
            Dialect::ChatCompletions => chat_completions::body(request, offered, self.server),
            Dialect::Assistants => {
                return Ok(Prepared {
                    model: request.model.clone(),
                    content: Content::Order(Arc::new(Order::new(request.clone(), offered))),
                    offer,
                    identity,
                    way,
                });
            }
        };
        Ok(Prepared {
            model: request.model.clone(),
            content: Content::Body(body.map_err(Error::internal)?.into()),
            offer,
            identity,
            way,
        })
    }

    /// The way to ask again after this failure; none when it was not for the way.
    fn other_way(&self, prepared: &Prepared, failure: &Failure) -> Option<Way> {
        let is_of_ways = self.dialect == Dialect::Responses;
        let other = is_of_ways.then(|| self.ways.after(prepared.way, &prepared.model, failure));
        other.flatten()
    }

    /// Whether what fails before any work is sent again below, request by request.
    fn repeats_by_itself(&self) -> bool {
        self.dialect == Dialect::Assistants
    }

    /// Sends a request once; the answer is there, though nothing of it has been read.
    async fn open(
        &self,
        prepared: &Prepared,
        key: Option<&Secret>,
        idempotency_key: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let body = match &prepared.content {
            Content::Body(body) => body.clone(),
            Content::Order(order) => {
                let turn = self.assistants.open(order, prepared.offer.clone()).await?;
                return Ok(Answer::OfAssistants(Box::new(turn)));
            }
        };
        let response = self.upstream.send(body, key, idempotency_key).await?;
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            offer: prepared.offer.clone(),
            identity: prepared.identity.clone(),
            is_kept: prepared.way.keeps(),
        };
        let reader = Reader::new(response, Decoder::new(self.dialect), source);
        Ok(Answer::OfOne(Box::new(reader)))
    }
}

impl Answer {
    /// The next event; none after the last one or a failure.
    async fn next(&mut self) -> Option<Result<ModelEvent, Failure>> {
        match self {
            Answer::OfOne(reader) => reader.next().await,
            Answer::OfAssistants(turn) => Box::pin(turn.next()).await,
        }
    }

    /// The HTTP status with which it began.
    fn status(&self) -> u16 {
        match self {
            Answer::OfOne(reader) => reader.status(),
            Answer::OfAssistants(turn) => turn.status(),
        }
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
