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
use chat_completions::LimitName;
use decode::Decoder;
use reader::{Reader, Source};
use tools::Offers;
use upstream::Upstream;

mod assistants;
mod calls;
mod chat_completions;
mod decode;
mod error;
mod loose;
mod media;
mod reader;
mod responses;
mod sse;
mod tools;
mod upstream;

/// A model at one provider.
#[derive(Debug)]
pub struct OpenAi {
    upstream: Arc<Upstream>,
    dialect: Dialect,
    limit_name: LimitName,
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
            limit_name: if is_openai {
                LimitName::MaxCompletionTokens
            } else {
                LimitName::MaxTokens
            },
            offers: Offers::default(),
            model: config.model,
            simulated,
        })
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
        let offer = match &request.tools {
            // An empty list of tools is refused by some servers.
            Some(catalogue) if !catalogue.tools().is_empty() => {
                Some(self.offers.of(catalogue, self.dialect).map_err(Error::internal)?)
            }
            _ => None,
        };
        let body = match self.dialect {
            Dialect::Responses => responses::body(&request, offer.as_deref()),
            Dialect::ChatCompletions => chat_completions::body(&request, offer.as_deref(), self.limit_name),
            Dialect::Assistants => return self.assistants.stream(request, offer).await,
        };
        let body = body.map(Bytes::from).map_err(Error::internal)?;
        let response = match self.upstream.send(body).await {
            Ok(response) => response,
            Err(failure) => return Err(self.upstream.failed(failure)),
        };
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            offer,
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
