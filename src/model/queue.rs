//! Who may speak to an upstream now, and who waits for a turn: first come, first served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::run::error::{Error, Reason};

/// So many requests at once, and so many more that wait.
#[derive(Debug)]
pub(super) struct Queue {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    size: usize,
}

/// Counts one that waits for as long as it does.
struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(places: u32, max_waiting: u32) -> Self {
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let places = size(places).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            max_waiting: size(max_waiting),
            size: places,
        }
    }

    /// How many have a place.
    pub(super) fn at_work(&self) -> usize {
        self.size.saturating_sub(self.places.available_permits())
    }

    /// How many wait for one.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place, if one is free. Those who wait come first: a place that becomes free is theirs before it can be taken
    /// here.
    pub(super) fn enter_at_once(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place, kept until it is dropped. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// `OVERLOADED` when too many wait already, or when it takes longer than this.
    pub(super) async fn enter(&self, patience: Option<Duration>) -> Result<OwnedSemaphorePermit, Error> {
        if let Some(place) = self.enter_at_once() {
            return Ok(place);
        }
        let full = || Error::new(Reason::Overloaded, "too many requests wait for the model");
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(full());
        }
        let _waiter = Waiter(&self.waiting);
        let place = Arc::clone(&self.places).acquire_owned();
        match patience {
            None => place.await.map_err(Error::internal),
            Some(patience) => match tokio::time::timeout(patience, place).await {
                Ok(place) => place.map_err(Error::internal),
                Err(_) => Err(Error::new(
                    Reason::Overloaded,
                    "the model had no place for the request in time",
                )),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn places_are_given_in_order_and_no_more_wait_than_may() {
        let queue = Queue::new(1, 2);
        let first = queue.enter(None).await.unwrap();
        let mut second = Box::pin(queue.enter(None));
        let mut third = Box::pin(queue.enter(None));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        let fourth = queue.enter(None).now_or_never().unwrap();
        assert_eq!(fourth.unwrap_err().reason(), Reason::Overloaded);

        drop(first);
        assert!((&mut third).now_or_never().is_none(), "the second is first");
        let place = (&mut second).now_or_never().unwrap().unwrap();
        // Nobody takes a place from under one who waits.
        drop(place);
        let mut fifth = Box::pin(queue.enter(None));
        assert!((&mut fifth).now_or_never().is_none());
        drop((&mut third).now_or_never().unwrap().unwrap());
        assert!((&mut fifth).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn one_that_gives_up_leaves_the_queue() {
        let queue = Queue::new(1, 1);
        let place = queue.enter(None).await.unwrap();
        for _ in 0..3 {
            let mut waiter = Box::pin(queue.enter(None));
            assert!((&mut waiter).now_or_never().is_none());
        }
        let mut last = Box::pin(queue.enter(None));
        assert!((&mut last).now_or_never().is_none());
        drop(place);
        assert!((&mut last).now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_patience() {
        let queue = Queue::new(1, 1);
        let _place = queue.enter(None).await.unwrap();
        let error = queue.enter(Some(Duration::from_secs(9))).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Overloaded);
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
    }
}
