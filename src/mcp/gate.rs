//! How many calls and readings a server is given at once, and whose turn it is.

use crate::run::error::{Error, Reason};
use crate::run::places::{Place, Places};

/// Calls that may wait for one server. Beyond that, whoever has the most waiting is told that there are too many.
const WAITING: usize = 1024;

/// Lets so many calls through at once: each caller's in the order in which they came, and callers in turn.
pub(super) struct Gate(Places);

impl Gate {
    pub(super) fn new(at_once: usize) -> Self {
        Self(Places::new(at_once, WAITING))
    }

    /// Waits for room, for this caller. Dropping the place makes room again.
    ///
    /// # Errors
    /// `OVERLOADED` when too many wait already.
    pub(super) async fn pass(&self, server: &str, caller: &str) -> Result<Place, Error> {
        self.0.enter(caller, None).await.map_err(|_| {
            let text =
                format!("MCP server '{server}' has {WAITING} calls waiting, and takes no more for now");
            Error::new(Reason::Overloaded, text).with("server", server)
        })
    }

    /// How many calls wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// Whether nothing goes on or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.0.taken() == 0 && self.0.waiting() == 0
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn calls_pass_in_their_order_and_beyond_the_queue_they_are_refused() {
        let gate = Gate::new(1);
        let first = gate.pass("a", "").await.unwrap();
        let mut queue: Vec<_> = (0..WAITING).map(|_| Box::pin(gate.pass("a", ""))).collect();
        assert!(queue.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let refused = gate.pass("a", "").await.err().unwrap();
        assert_eq!(refused.reason(), Reason::Overloaded);
        assert_eq!(refused.metadata(), [("server", "a".to_owned())]);
        // Somebody else finds room all the same, and is next but one.
        let mut other = Box::pin(gate.pass("a", "other"));
        assert!((&mut other).now_or_never().is_none());
        let last = queue.pop().unwrap().now_or_never().unwrap();
        assert_eq!(last.err().unwrap().reason(), Reason::Overloaded);
        drop(first);
        assert!((&mut other).now_or_never().is_none(), "it is not its turn");
        drop(queue[0].as_mut().now_or_never().unwrap().unwrap());
        drop((&mut other).now_or_never().unwrap().unwrap());
        drop(queue);
        assert!(gate.is_idle());
    }
}
