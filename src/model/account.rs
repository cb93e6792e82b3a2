//! What models share that go to one address with one key: the provider sees one customer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::run::error::{Error, Reason};
use crate::run::places::{NoPlace, Place, Places};

use super::Config;
use super::breaker::{BreakerSettings, Verdict};
use super::circuit::{Circuit, Leaves};

/// See the [module](self).
#[derive(Debug)]
struct Account {
    /// Their places, if anything bounds them.
    places: Option<Places>,
    max_concurrency: Option<u32>,
    /// Never locked across a wait.
    circuit: Mutex<Circuit>,
}

/// One model's part of its account.
#[derive(Debug)]
pub(crate) struct Share {
    account: Arc<Account>,
    /// Which of the account's models it is.
    model: usize,
    /// How many of the places are this model's, and how many wait for one.
    at_work: Arc<AtomicUsize>,
    waiting: AtomicUsize,
}

/// Leave and a place to send one request, until its answer is over.
#[derive(Debug)]
pub(super) struct Pass {
    leaves: Leaves,
    _place: Option<Held>,
}

/// A place that a model has.
#[derive(Debug)]
struct Held {
    at_work: Arc<AtomicUsize>,
    _place: Place,
}

/// Counts one that waits for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Share {
    /// The shares of all these models, in their order.
    pub(super) fn of_all(configs: &[Config]) -> Vec<Self> {
        let mut accounts: Vec<(&Config, Vec<&Config>)> = Vec::new();
        let mut places = Vec::with_capacity(configs.len());
        for config in configs {
            let known = accounts.iter().position(|(first, _)| is_same(first, config));
            let place = known.unwrap_or_else(|| {
                accounts.push((config, Vec::new()));
                accounts.len() - 1
            });
            places.push((place, accounts[place].1.len()));
            accounts[place].1.push(config);
        }
        let accounts = accounts.iter().map(|(_, models)| Arc::new(Account::of(models)));
        let accounts: Vec<_> = accounts.collect();
        let share = |(account, model): (usize, usize)| Self {
            account: Arc::clone(&accounts[account]),
            model,
            at_work: Arc::default(),
            waiting: AtomicUsize::new(0),
        };
        places.into_iter().map(share).collect()
    }

    /// The whole account, of a model that has no neighbours.
    pub(super) fn whole(config: &Config) -> Self {
        Self {
            account: Arc::new(Account::of(&[config])),
            model: 0,
            at_work: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Requests to all of its models that may go on at once; none for any number.
    pub(super) fn max_concurrency(&self) -> Option<u32> {
        self.account.max_concurrency
    }

    /// How long nothing is sent to this model; none when a request may be.
    pub(super) fn open_for(&self) -> Option<Duration> {
        self.circuit().open_for(self.model, Instant::now())
    }

    /// How many requests to this model have a place. Zero where nothing bounds them.
    pub(super) fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// How many wait for one.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A pass, if there is one now.
    pub(super) fn enter_at_once(&self) -> Option<Pass> {
        let place = match &self.account.places {
            None => None,
            Some(places) => Some(self.held(places.enter_at_once()?)),
        };
        let leaves = self.circuit().leave(self.model, Instant::now()).ok()?;
        Some(Pass {
            leaves,
            _place: place,
        })
    }

    /// A pass for a request of this caller, once there is one.
    ///
    /// # Errors
    /// `MODEL_UNAVAILABLE` while too much fails; `OVERLOADED` when too many wait, or it takes too long.
    pub(super) async fn enter(&self, caller: &str, patience: Option<Duration>) -> Result<Pass, Error> {
        let place = match &self.account.places {
            None => None,
            Some(places) => {
                // Nobody waits for a turn that could not be used.
                self.open_for().map_or(Ok(()), |left| Err(left_alone(left)))?;
                let _waiting = Waiting::new(&self.waiting);
                let place = places.enter(caller, patience).await.map_err(overloaded)?;
                Some(self.held(place))
            }
        };
        let leaves = self.circuit().leave(self.model, Instant::now());
        Ok(Pass {
            leaves: leaves.map_err(left_alone)?,
            _place: place,
        })
    }

    /// Takes note of how a request went that had this pass.
    pub(super) fn note(&self, pass: &Pass, verdict: Verdict) {
        self.circuit()
            .note(self.model, pass.leaves, verdict, Instant::now());
    }

    fn held(&self, place: Place) -> Held {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Held {
            at_work: Arc::clone(&self.at_work),
            _place: place,
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.account
            .circuit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Whether how it goes decides whether others are sent.
    pub(super) fn is_trial(&self) -> bool {
        self.leaves.is_trial()
    }

    /// What it was to try has been seen.
    pub(super) fn end_trial(&mut self) {
        self.leaves = Leaves::ORDINARY;
    }
}

impl Account {
    /// Where the models want different bounds, the smallest hold.
    fn of(models: &[&Config]) -> Self {
        let bounds = models.iter().map(|config| &config.resilience);
        let max_concurrency = bounds.clone().filter_map(|bounds| bounds.max_concurrency).min();
        let max_waiting = bounds.map(|bounds| bounds.max_waiting).min().unwrap_or_default();
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let breakers: Vec<BreakerSettings> = models.iter().map(|config| config.resilience.breaker).collect();
        Self {
            places: max_concurrency.map(|places| Places::new(size(places), size(max_waiting))),
            max_concurrency,
            circuit: Mutex::new(Circuit::new(&breakers)),
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a provider cannot tell the requests of these models apart, but for the model.
fn is_same(one: &Config, other: &Config) -> bool {
    let customer = |config: &Config| {
        let Config {
            api_key,
            api_key_file,
            api_key_header,
            organization,
            project,
            headers,
            ..
        } = config;
        (
            api_key.clone(),
            api_key_file.clone(),
            api_key_header.clone(),
            organization.clone(),
            project.clone(),
            headers.clone(),
        )
    };
    one.address() == other.address() && customer(one) == customer(other)
}

fn overloaded(why: NoPlace) -> Error {
    let text = match why {
        NoPlace::Crowded => "too many requests wait for the model",
        NoPlace::Late => "the model had no place for the request in time",
    };
    Error::new(Reason::Overloaded, text)
}

/// Nothing is sent to it for this long.
fn left_alone(left: Duration) -> Error {
    Error::new(
        Reason::ModelUnavailable,
        "the model provider has failed too often and is left alone for a while",
    )
    .retry_after(left)
}

#[cfg(test)]
mod tests {
    use crate::model::{Resilience, Secret};

    use super::*;

    #[test]
    fn models_with_one_address_and_one_key_share_an_account() {
        let model = |base_url: &str, key: &str, max_concurrency| Config {
            base_url: Some(base_url.to_owned()),
            api_key: Some(Secret::new(key)),
            resilience: Resilience {
                max_concurrency,
                ..Resilience::default()
            },
            ..Config::default()
        };
        let shares = Share::of_all(&[
            model("http://one/v1", "k", Some(7)),
            model("http://one/v1/", "k", None),
            model("http://one/v1", "other", Some(9)),
            model("http://two/v1", "k", None),
            model("http://one/v1", "k", Some(3)),
            Config {
                headers: vec![("x-team".to_owned(), "blue".to_owned())],
                ..model("http://one/v1", "k", Some(1))
            },
        ]);
        let accounts: Vec<_> = shares.iter().map(|share| Arc::as_ptr(&share.account)).collect();
        let firsts: Vec<_> = accounts
            .iter()
            .map(|account| accounts.iter().position(|other| other == account).unwrap())
            .collect();
        assert_eq!(firsts, [0, 0, 2, 3, 0, 5]);
        let bounds: Vec<_> = shares.iter().map(Share::max_concurrency).collect();
        assert_eq!(bounds, [Some(3), Some(3), Some(9), None, Some(3), Some(1)]);
        let models: Vec<_> = shares.iter().map(|share| share.model).collect();
        assert_eq!(models, [0, 1, 0, 0, 2, 0]);
    }

    #[tokio::test]
    async fn each_model_counts_what_is_its_own_of_what_they_share() {
        let config = Config {
            resilience: Resilience {
                max_concurrency: Some(2),
                ..Resilience::default()
            },
            ..Config::default()
        };
        let shares = Share::of_all(&[config.clone(), config]);
        let first = shares[0].enter("", None).await.unwrap();
        let second = shares[1].enter("", None).await.unwrap();
        assert_eq!((shares[0].at_work(), shares[1].at_work()), (1, 1));
        let mut third = Box::pin(shares[0].enter("", None));
        assert!(futures::poll!(&mut third).is_pending());
        assert_eq!((shares[0].waiting(), shares[1].waiting()), (1, 0));
        drop(second);
        let third = third.await.unwrap();
        assert_eq!((shares[0].at_work(), shares[0].waiting()), (2, 0));
        drop((first, third));
        assert_eq!((shares[0].at_work(), shares[1].at_work()), (0, 0));
    }
}
