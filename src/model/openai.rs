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
use reqwest::Url;

use crate::model::{Config, Dialect};
use crate::run::error::Error;
use crate::run::ports::{Model, ModelRequest, ModelStatus, ModelStream};

use assistants::Assistants;
use chat_completions::Server;
use decode::Decoder;
use reader::{Reader, Source};
use tools::{Offer, Offers};
use upstream::Upstream;
use way::{Way, Ways};

mod annotation;
mod assistants;
mod calls;
mod chat_completions;
mod decode;
mod error;
mod loose;
mod media;
mod options;
mod reader;
mod responses;
mod sse;
mod tools;
mod upstream;
mod way;

/// A model at one provider.
#[derive(Debug)]
pub struct OpenAi {
    upstream: Arc<Upstream>,
    dialect: Dialect,
    server: Server,
    ways: Ways,
    offers: Offers,
    model: String,
    simulated: bool,
    assistants: Arc<Assistants>,
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
        let base = upstream::base_url(&config)?;
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
        let upstream = Arc::new(Upstream::new(&config, base, path)?);
        Ok(Self {
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
            model: config.model,
            simulated,
        })
    }

    /// Who can read what this model encrypts, and go on behind its responses.
    fn identity(&self, model: &str) -> String {
        format!("{} {model}", self.upstream.endpoint())
    }

    fn body(
        &self,
        request: &ModelRequest,
        offer: Option<&Offer>,
        identity: &str,
        way: Way,
    ) -> Result<Bytes, Error> {
        let body = match self.dialect {
            Dialect::Responses => responses::body(request, offer, identity, way),
            Dialect::ChatCompletions | Dialect::Assistants => {
                chat_completions::body(request, offer, self.server)
            }
        };
        body.map(Bytes::from).map_err(Error::internal)
    }
}

fn openai_host() -> Option<String> {
    Url::parse(OPENAI_API_BASE).ok()?.host_str().map(str::to_owned)
}

#[async_trait]
impl Model for OpenAi {
    async fn stream(&self, mut request: ModelRequest) -> Result<ModelStream, Error> {
        if request.model.is_empty() {
            request.model.clone_from(&self.model);
        }
        options::check(&request.options, self.dialect)?;
        let offer = match &request.tools {
            // An empty list of tools is refused by some servers.
            Some(catalogue) if !catalogue.tools().is_empty() => {
                Some(self.offers.of(catalogue, self.dialect).map_err(Error::internal)?)
            }
            _ => None,
        };
        if self.dialect == Dialect::Assistants {
            return self.assistants.stream(request, offer).await;
        }
        let identity = self.identity(&request.model);
        let mut way = self.ways.of(&request.model);
        let response = loop {
            let body = self.body(&request, offer.as_deref(), &identity, way)?;
            let failure = match self.upstream.send(body).await {
                Ok(response) => break response,
                Err(failure) => failure,
            };
            way = match self.ways.after(way, &request.model, &failure) {
                Some(way) if self.dialect == Dialect::Responses => way,
                _ => return Err(self.upstream.failed(failure)),
            };
            tracing::debug!(?way, "asking the model in another way");
        };
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            offer,
            identity,
            is_kept: way.keeps(),
        };
        let reader = Box::new(Reader::new(response, Decoder::new(self.dialect), source));
        let events = stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((event, reader))
        });
        Ok(events.fuse().boxed())
    }

    fn status(&self) -> ModelStatus {
        ModelStatus {
            model: self.model.clone(),
            endpoint: self.upstream.endpoint(),
            dialect: self.dialect.as_str(),
            simulated: self.simulated,
            trouble: self.upstream.trouble(),
        }
    }
}
