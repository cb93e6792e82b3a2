//! The simulator: an OpenAI-compatible HTTP server, for the first run, the tests and the benchmarks.
//!
//! It speaks the Responses and the Chat Completions API, streamed or whole, with function tools, and
//! answers every mistake in OpenAI's error form. It imports no other room: to the service it is a
//! model provider like any other.
//!
//! One request goes through the files like this: `server` takes it from the socket and routes it;
//! the dialect (`responses` or `chat_completions`) reads its body into an [`Ask`](ask::Ask), the
//! little that matters for an answer; the [`Script`] or else the `stand_in` decides what to say;
//! the dialect writes that as JSON or as server-sent events; `playback` sends the bytes at the pace
//! and with the faults that the script wants.
//!
//! Without a script it knows nothing and invents nothing: it calls the tools that the message asks
//! for, quotes what they answered, and says `Mock reply to: <message>` to all else. What a script can
//! say, and its JSON form, is described at [`Script`] and in `docs/simulator.md`.

mod ask;
mod assistants;
mod chat_completions;
mod fault;
mod pace;
mod playback;
mod record;
mod refusal;
mod responses;
mod script;
mod server;
mod shelf;
mod sse;
mod stand_in;
mod storm;
mod turn;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use fault::{At, Fault};
pub use pace::{Delay, Pace};
pub use record::Recorded;
pub use script::{Said, Script};
pub use storm::{Span, Storm};
pub use turn::{Answer, Call, Finish, Item, Pieces, RawAnswer, Speech, Turn, When};

/// A running simulator. Dropping it closes its port and every connection at once.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    desk: Arc<server::Desk>,
    acceptor: JoinSet<()>,
}

impl Simulator {
    /// Binds `addr` (port 0 takes a free one) and serves `script` in the background until the handle
    /// is dropped.
    ///
    /// # Errors
    /// Whatever the operating system says when the address cannot be bound.
    pub async fn bind(addr: SocketAddr, script: Script) -> std::io::Result<Simulator> {
        let listener = TcpListener::bind(addr).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(server::Desk::new(script));
        let mut acceptor = JoinSet::new();
        acceptor.spawn(server::accept(listener, Arc::clone(&desk)));
        Ok(Simulator {
            address,
            desk,
            acceptor,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client takes as its base URL: `http://HOST:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The last requests (at most 1,000), oldest first. Empty unless the script is
    /// [recording](Script::recording).
    #[must_use]
    pub fn requests(&self) -> Vec<Arc<Recorded>> {
        self.desk.record().requests()
    }

    /// What the [validator](Script::validating) said about the requests that it refused, and the
    /// [reviewer](Script::reviewing) about the answers (at most the last 1,000), oldest first.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.desk.record().violations()
    }

    /// Serves until `shutdown` resolves, then closes the port and every connection.
    pub async fn serve_until(mut self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.acceptor.shutdown().await;
    }
}
