//! Which model a request goes to, by the name that it says.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use strsim::normalized_damerau_levenshtein;

use crate::model::Config;
use crate::model::account::Share;
use crate::model::openai::{Deployment, Route};
use crate::run::error::{Error, Reason};
use crate::run::model::{Condition, ModelCard};
use crate::run::ports::{Model, ModelRequest, ModelStatus, ModelStream};

/// Names less alike than this are no suggestion.
const ALIKE: f64 = 0.5;

/// The models of a service.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The models that have names.
    pub listed: Vec<Config>,
    /// The upstream that requests go to which name none of them, with the name as it is.
    pub unlisted: Option<Config>,
    /// The name or alias of the model that answers when a request names none.
    pub default: String,
    /// Whether the upstream for all other names answers to its own name alone.
    pub only_listed: bool,
    /// Whether that upstream is the built-in simulator.
    pub simulated: bool,
}

/// Any number of models, each by its name and aliases.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    /// Names and aliases, with the places of their routes.
    places: HashMap<String, usize>,
    default: usize,
    /// Takes every other name.
    unlisted: Option<usize>,
}

impl Router {
    /// The models of this listing. Nothing is asked of them yet.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, naming the key of the configuration: for what [`OpenAi::new`](super::OpenAi::new)
    /// refuses, for a fallback or default that no model has as its name, and for a name that two have.
    pub fn new(listing: Listing) -> Result<Self, Error> {
        let mut configs = listing.listed;
        let is_default =
            |config: &Config| config.name() == listing.default || config.aliases.contains(&listing.default);
        let is_listed = configs.iter().any(is_default);
        let named = configs.len();
        configs.extend(listing.unlisted);
        let mut models = Vec::with_capacity(configs.len());
        let mut places = HashMap::new();
        for (place, (config, share)) in configs.iter().zip(Share::of_all(&configs)).enumerate() {
            let is_unlisted = place == named;
            let simulated = is_unlisted && listing.simulated;
            let answers_by_default = is_default(config) && (!is_unlisted || !is_listed);
            models.push(Arc::new(Deployment::new(
                config,
                share,
                answers_by_default,
                simulated,
            )?));
            if is_unlisted && is_listed {
                // Its name means the one in the list.
                continue;
            }
            for name in std::iter::once(config.name()).chain(config.aliases.iter().map(String::as_str)) {
                if places.insert(name.to_owned(), place).is_some() {
                    let what = format!("{name:?} is the name of another model too");
                    return Err(Error::invalid(config.field("aliases"), what));
                }
            }
        }
        let mut routes = Vec::with_capacity(models.len());
        for (config, first) in configs.iter().zip(&models) {
            let fallback = |name: &String| {
                let place = places.get(name).copied().ok_or_else(|| {
                    Error::invalid(config.field("fallbacks"), format!("no model is called {name:?}"))
                })?;
                Ok(Arc::clone(&models[place]))
            };
            routes.push(Route {
                first: Arc::clone(first),
                fallbacks: config
                    .fallbacks
                    .iter()
                    .map(fallback)
                    .collect::<Result<_, Error>>()?,
            });
        }
        let default = places.get(&listing.default).copied().ok_or_else(|| {
            Error::invalid("model.name", format!("no model is called {:?}", listing.default))
        })?;
        let unlisted = (named < routes.len() && !listing.only_listed).then_some(named);
        Ok(Self {
            routes,
            places,
            default,
            unlisted,
        })
    }

    /// The route of a name, and what the provider calls the model when that is not on its card.
    fn route(&self, name: &str) -> Option<&Route> {
        let place = match name {
            "" => Some(self.default),
            name => self.place(name).or(self.unlisted),
        };
        place.and_then(|place| self.routes.get(place))
    }

    fn has(&self, name: &str) -> bool {
        name.is_empty() || self.place(name).is_some()
    }

    /// Where a known name or alias leads to. A resource's name, `models/…`, means what it is the name of, unless a
    /// provider's own name begins like that.
    fn place(&self, name: &str) -> Option<usize> {
        let resource = || self.places.get(name.strip_prefix("models/")?);
        self.places.get(name).or_else(resource).copied()
    }

    fn nearest(&self, name: &str) -> Option<&str> {
        let alike = |known: &str| normalized_damerau_levenshtein(known, name);
        let near = self.places.keys().filter(|known| alike(known) >= ALIKE);
        near.max_by(|one, two| alike(one).total_cmp(&alike(two)).then_with(|| two.cmp(one)))
            .map(String::as_str)
    }
}

#[async_trait]
impl Model for Router {
    async fn stream(&self, mut request: ModelRequest) -> Result<ModelStream, Error> {
        let Some(route) = self.route(&request.model) else {
            let message = self.refusal(&request.model).unwrap_or_default();
            return Err(Error::new(Reason::ModelNotConfigured, message).with("model", request.model));
        };
        if self.has(&request.model) {
            request.model.clear();
        }
        route.stream(request)
    }

    fn status(&self) -> ModelStatus {
        self.routes[self.default].first.status()
    }

    fn models(&self) -> Vec<Arc<ModelCard>> {
        let listed = |place: &usize| {
            let card = self.routes[*place].first.card();
            self.places.get(&card.name) == Some(place)
        };
        let others = (0..self.routes.len()).filter(|place| *place != self.default);
        std::iter::once(self.default)
            .chain(others.filter(listed))
            .map(|place| Arc::clone(self.routes[place].first.card()))
            .collect()
    }

    fn card(&self, name: &str) -> Option<Arc<ModelCard>> {
        let route = self.has(name).then(|| self.route(name)).flatten()?;
        Some(Arc::clone(route.first.card()))
    }

    fn fallbacks(&self, name: &str) -> Vec<Arc<ModelCard>> {
        let fallbacks = self.route(name).map(|route| &*route.fallbacks);
        let fallbacks = fallbacks.unwrap_or_default().iter();
        fallbacks.map(|model| Arc::clone(model.card())).collect()
    }

    fn condition(&self, name: &str) -> Condition {
        let route = self.route(name);
        route.map(|route| route.first.condition()).unwrap_or_default()
    }

    fn holds_conversations(&self, name: &str) -> bool {
        self.route(name).is_some_and(Route::holds_conversations)
    }

    fn refusal(&self, name: &str) -> Option<String> {
        if self.route(name).is_some() {
            return None;
        }
        let nearest = self.nearest(name);
        let nearest = nearest.map_or(String::new(), |known| {
            format!("; the nearest known name is {known:?}")
        });
        Some(format!("no model is called {name:?}{nearest}"))
    }
}
