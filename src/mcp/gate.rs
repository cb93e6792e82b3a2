//! How many calls a server is given at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::run::error::{Error, Reason};

/// Calls that may wait for one server. Whoever comes then is told that there are too many.
const WAITING: usize = 1024;

/// Lets calls through in the order in which they came, so many at once.
pub(super) struct Gate {
    room: Semaphore,
    at_once: usize,
    waiting: AtomicUsize,
}

impl Gate {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            room: Semaphore::new(at_once),
            at_once,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for room. Dropping the permit makes room again.
    ///
    /// # Errors
    /// `OVERLOADED` when too many wait already.
    pub(super) async fn pass(&self, server: &str) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(permit) = self.room.try_acquire() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(&self.waiting, server)?;
        self.room.acquire().await.map_err(Error::internal)
    }

    /// How many calls wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether no call goes on or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.room.available_permits() == self.at_once
    }
}

/// A call that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize, server: &str) -> Result<Self, Error> {
        let one = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) < WAITING {
            return Ok(one);
        }
        let text = format!("MCP server '{server}' has {WAITING} calls waiting, and takes no more for now");
        Err(Error::new(Reason::Overloaded, text).with("server", server))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn calls_pass_in_their_order_and_beyond_the_queue_they_are_refused() {
        let gate = Gate::new(1);
        let first = gate.pass("a").await.unwrap();
        let mut queue: Vec<_> = (0..WAITING).map(|_| Box::pin(gate.pass("a"))).collect();
        assert!(queue.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let refused = gate.pass("a").await.err().unwrap();
        assert_eq!(refused.reason(), Reason::Overloaded);
        assert_eq!(refused.metadata(), [("server", "a".to_owned())]);
        drop(first);
        let mut last = queue.pop().unwrap();
        assert!(last.as_mut().now_or_never().is_none(), "it is not its turn");
        let second = queue[0].as_mut().now_or_never().unwrap().unwrap();
        drop((second, last));
        drop(queue);
        assert!(gate.is_idle());
    }
}
