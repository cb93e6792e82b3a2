//! Models behind OpenAI's APIs, of OpenAI or of anybody who is compatible.
//!
//! Requests are built of async-openai's types. Answers are read by our own decoders, pure state machines from
//! bytes to the heart's events, because the crate's are strict where servers are not
//! (`docs/adr/0002-model-wire.md`).

use std::sync::Arc;
use std::time::Duration;

use async_openai::config::OPENAI_API_BASE;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::HeaderValue;
use reqwest::Url;

use crate::model::account::Share;
use crate::model::{Config, Dialect, ReasoningBack, Secret, State};
use crate::run::error::Error;
use crate::run::model::{Attempt, AttemptResult, Condition, ModelCard};
use crate::run::ports::{Model, ModelEvent, ModelRequest, ModelStatus, ModelStream};

use allowance::Allowance;
use assistants::{Assistants, Order};
use chat_completions::Server;
use chat_completions::reasoned::Back;
use decode::Decoder;
use error::Failure;
use exchange::Exchange;
use reader::{Reader, Source};
use responses::conversation::Talk;
use tools::{Offer, Offers};
use upstream::Upstream;
use way::{Way, Ways};

pub(crate) use exchange::Route;

mod allowance;
mod annotation;
mod assistants;
mod calls;
mod chat_completions;
mod decode;
mod digest;
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

/// The address of OpenAI's own API.
pub(crate) const BASE: &str = OPENAI_API_BASE;

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
    reasoning_back: ReasoningBack,
    ways: Ways,
    assistants: Arc<Assistants>,
    offers: Offers,
}

/// What is sent.
enum Content {
    /// One request.
    Body(Bytes),
    /// One in a conversation there, and what it takes to have one.
    Spoken(Box<Talk>),
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
    /// What the model may write.
    max_output_tokens: Option<u64>,
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
        let deployment = Deployment::new(&config, Share::whole(&config), true, simulated)?;
        Ok(Self {
            route: Route {
                first: Arc::new(deployment),
                fallbacks: Arc::default(),
            },
        })
    }
}

impl Deployment {
    /// The model of this configuration, with its share of what it has in common with others; see [`OpenAi::new`].
    ///
    /// # Errors
    /// Those of [`OpenAi::new`].
    pub(crate) fn new(
        config: &Config,
        share: Share,
        is_default: bool,
        simulated: bool,
    ) -> Result<Self, Error> {
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
        let max_concurrency = share.max_concurrency();
        let upstream = Arc::new(Upstream::new(config, share, base, path)?);
        if dialect == Dialect::Assistants && config.resilience.hedge_after.is_some() {
            let (model, key) = (config.name(), config.field("hedge_after"));
            tracing::warn!(
                model,
                key,
                "a model in the Assistants dialect is never asked twice at once"
            );
        }
        if dialect != Dialect::Responses && config.state != State::Stateless {
            let (model, key) = (config.name(), config.field("state"));
            tracing::warn!(
                model,
                key,
                dialect = dialect.as_str(),
                "only the Responses API can keep the state of a conversation: this model's keeps none"
            );
        }
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
            max_concurrency,
            prices: config.prices,
        };
        let server = if is_openai {
            Server::OpenAi
        } else {
            Server::Compatible
        };
        let ways = match dialect {
            Dialect::ChatCompletions => Ways::limited(server.limit_name()),
            Dialect::Responses | Dialect::Assistants => Ways::new(config.state),
        };
        Ok(Self {
            card: Arc::new(card),
            assistants: Arc::new(Assistants::new(Arc::clone(&upstream))),
            upstream,
            dialect,
            server,
            reasoning_back: config.reasoning_back,
            ways,
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

    /// See [`Resilience::hedge_after`](crate::model::Resilience::hedge_after).
    fn hedge_after(&self) -> Option<Duration> {
        match self.dialect {
            Dialect::Assistants => None,
            Dialect::Responses | Dialect::ChatCompletions => self.upstream.hedge_after(),
        }
    }

    fn context_tokens(&self) -> Option<u64> {
        self.card.context_tokens
    }

    /// Writes a request down, in the way in which the model is asked first.
    fn prepare(&self, request: &ModelRequest) -> Result<Prepared, Error> {
        options::check(&request.options, self.dialect)?;
        media::check(request, self.dialect)?;
        let offer = match &request.tools {
            // An empty list of tools is refused by some servers.
            Some(catalogue) if !catalogue.tools().is_empty() => {
                Some(self.offers.of(catalogue, self.dialect).map_err(Error::internal)?)
            }
            _ => None,
        };
        let way = self.ways.of(&request.model, request.thread.is_some());
        self.prepare_in(way, request, offer)
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
        // Who can read what this model says only to itself, which each dialect writes in its own way.
        let identity = match self.dialect {
            Dialect::ChatCompletions => format!("chat {} {}", self.upstream.endpoint(), request.model),
            Dialect::Responses | Dialect::Assistants => {
                format!("{} {}", self.upstream.endpoint(), request.model)
            }
        };
        let offered = offer.as_deref();
        let max_output_tokens = self.max_output_tokens(request);
        let body = match self.dialect {
            Dialect::Responses if way.speaks_in_conversations() => {
                let request = ModelRequest {
                    max_output_tokens,
                    ..request.clone()
                };
                let model = request.model.clone();
                let talk = Talk::new(
                    Arc::clone(&self.upstream),
                    request,
                    offer.clone(),
                    identity.clone(),
                    way,
                );
                return Ok(Prepared {
                    model,
                    way: talk.way(),
                    content: Content::Spoken(Box::new(talk)),
                    max_output_tokens,
                    offer,
                    identity,
                });
            }
            Dialect::Responses => responses::body(request, max_output_tokens, offered, &identity, way, None),
            Dialect::ChatCompletions => {
                let back = Back {
                    mode: self.reasoning_back,
                    identity: &identity,
                };
                chat_completions::body(request, max_output_tokens, offered, self.server, &back, way)
            }
            Dialect::Assistants => {
                let request = ModelRequest {
                    max_output_tokens,
                    ..request.clone()
                };
                return Ok(Prepared {
                    model: request.model.clone(),
                    content: Content::Order(Arc::new(Order::new(
                        request,
                        offered,
                        self.upstream.idempotency_key(),
                    ))),
                    max_output_tokens,
                    offer,
                    identity,
                    way,
                });
            }
        };
        Ok(Prepared {
            model: request.model.clone(),
            content: Content::Body(body.map_err(Error::internal)?.into()),
            max_output_tokens,
            offer,
            identity,
            way,
        })
    }

    /// Tokens that the model may write: no more than it can. Where nobody asks for less, as many as it can, if they
    /// have room beside the conversation; some servers refuse what may not fit, so otherwise the provider decides.
    fn max_output_tokens(&self, request: &ModelRequest) -> Option<u64> {
        let can = self.card.max_output_tokens;
        if let Some(asked) = request.max_output_tokens {
            return Some(can.map_or(asked, |can| asked.min(can)));
        }
        let has_room = |can: u64| match (self.card.context_tokens, request.estimated_tokens) {
            (None, _) => true,
            (Some(context), Some(tokens)) => tokens.saturating_add(can) <= context,
            (Some(_), None) => false,
        };
        can.filter(|can| has_room(*can))
    }

    /// The way to ask again after this failure; none when it was not for the way.
    fn other_way(&self, prepared: &Prepared, failure: &Failure) -> Option<Way> {
        let is_of_ways = self.dialect != Dialect::Assistants;
        let other = is_of_ways.then(|| self.ways.after(prepared.way, &prepared.model, failure));
        other.flatten()
    }

    /// Whether its provider is told the name that the operator gave, and not one that a request did.
    fn is_its_own(&self, provider_model: &str) -> bool {
        provider_model == self.card.provider_model
    }

    /// What requests call the model of which the provider is told this name.
    fn called<'a>(&'a self, provider_model: &'a str) -> &'a str {
        match self.is_its_own(provider_model) {
            true => &self.card.name,
            false => provider_model,
        }
    }

    /// An attempt at this model under the name that its provider is told, before anything is known of its times.
    fn attempt(&self, provider_model: &str, result: AttemptResult) -> Attempt {
        let card = &self.card;
        Attempt {
            model: self.called(provider_model).to_owned(),
            provider_model: provider_model.to_owned(),
            endpoint: card.endpoint.clone(),
            result,
            status: None,
            wait: Duration::ZERO,
            latency: Duration::ZERO,
            usage: None,
        }
    }

    /// Sends a request once; the answer is there, though nothing of it has been read.
    async fn open(
        &self,
        prepared: &Prepared,
        key: Option<&Secret>,
        idempotency_key: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let (response, bond) = match &prepared.content {
            Content::Body(body) => {
                let response = self.upstream.send(body.clone(), key, idempotency_key).await?;
                (response, None)
            }
            Content::Spoken(talk) => {
                let (response, bond) = talk.say(key).await?;
                (response, Some(bond))
            }
            Content::Order(order) => {
                let turn = self.assistants.open(order, prepared.offer.clone()).await?;
                return Ok(Answer::OfAssistants(Box::new(turn)));
            }
        };
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            offer: prepared.offer.clone(),
            identity: prepared.identity.clone(),
            is_kept: prepared.way.keeps(),
            bond,
            allowance: match self.dialect {
                Dialect::Responses => Allowance::below(prepared.max_output_tokens, responses::LEAST_TOKENS),
                Dialect::ChatCompletions | Dialect::Assistants => None,
            },
        };
        let reader = Reader::new(response, Decoder::new(self.dialect), source);
        Ok(Answer::OfOne(Box::new(reader)))
    }
}

impl Answer {
    /// The first event. None where the provider has begun to work, and has to be asked after what comes of it.
    ///
    /// # Errors
    /// What went wrong before there was one.
    async fn first(&mut self) -> Result<Option<ModelEvent>, Failure> {
        match self {
            Answer::OfOne(reader) => match reader.next().await {
                Some(event) => event.map(Some),
                None => Err(Failure::broken("the answer is empty")),
            },
            Answer::OfAssistants(turn) => turn.first().await,
        }
    }

    /// Whether the provider may have to be asked after it.
    fn is_asked_after(&self) -> bool {
        matches!(self, Answer::OfAssistants(_))
    }

    /// Whether the provider was heard of since this was asked last.
    fn was_heard_of(&mut self) -> bool {
        match self {
            Answer::OfOne(_) => false,
            Answer::OfAssistants(turn) => turn.was_heard_of(),
        }
    }

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
    /// See [`Model::holds_conversations`].
    pub(crate) fn holds_conversations(&self) -> bool {
        let mut models = std::iter::once(&self.first).chain(&*self.fallbacks);
        models.any(|model| model.dialect == Dialect::Responses && model.ways.hold_conversations())
    }

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
    Url::parse(BASE).ok()?.host_str().map(str::to_owned)
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

    fn holds_conversations(&self, _: &str) -> bool {
        self.route.holds_conversations()
    }
}
