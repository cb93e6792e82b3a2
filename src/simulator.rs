//! The simulator: an OpenAI-compatible HTTP server, for the first run, the tests and the benchmarks.
//!
//! It speaks the Responses, the Chat Completions and the Assistants API, streamed or whole, with function
//! tools, and answers every mistake in OpenAI's error form. It imports no other room: to the service it is a
//! model provider like any other.
//!
//! One request goes through the files like this: `server` takes it from the socket and routes it;
//! the dialect (`responses`, `chat_completions` or `assistants`) reads its body into an [`Ask`](ask::Ask), the
//! little that matters for an answer; the [`Script`] or else the `stand_in` decides what to say;
//! the dialect writes that as JSON or as server-sent events; `playback` sends the bytes at the pace
//! and with the faults that the script wants. What a real provider says can be recorded and answered
//! again (`tape`).
//! What goes either way can be judged by OpenAI's description of its API (`description`, `review`).
//!
//! Without a script it knows nothing and invents nothing: it calls the tools that the message asks
//! for, quotes what they answered, and says `Mock reply to: <message>` to all else. What a script can
//! say, and its JSON form, is described at [`Script`] and in `docs/simulator.md`.

mod ask;
mod assistants;
mod chat_completions;
mod description;
mod fault;
mod objection;
mod pace;
mod page;
mod playback;
mod record;
mod refusal;
mod responses;
mod review;
mod script;
mod server;
mod shelf;
mod sse;
mod stand_in;
mod storm;
mod tape;
mod turn;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use description::{Description, DescriptionError};
pub use fault::{At, Fault};
pub use objection::Objection;
pub use pace::{Delay, Pace};
pub use record::Recorded;
pub use script::{Said, Script};
pub use storm::{Span, Storm};
pub use tape::{Player, Recorder, RecorderError, Timing};
pub use turn::{Answer, Call, Cited, Finish, Item, Pieces, RawAnswer, Speech, Turn, When};

/// A running simulator. Dropping it closes its port and every connection at once.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    record: Arc<record::Record>,
    acceptor: JoinSet<()>,
}

impl Simulator {
    /// Binds `addr` (port 0 takes a free one) and serves `script` in the background until the handle
    /// is dropped.
    ///
    /// # Errors
    /// Whatever the operating system says when the address cannot be bound.
    pub async fn bind(addr: SocketAddr, script: Script) -> std::io::Result<Simulator> {
        let desk = server::Desk::new(script);
        let record = desk.record();
        Self::serving(addr, desk, record).await
    }

    /// The same, but what is answered was recorded from a real provider.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn replay(addr: SocketAddr, player: Player) -> std::io::Result<Simulator> {
        Self::serving(addr, player, Arc::default()).await
    }

    /// The same, but requests are passed on to a real provider, and what it says is recorded. The clients' keys
    /// are passed on too, and not written.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn record(addr: SocketAddr, recorder: Recorder) -> std::io::Result<Simulator> {
        Self::serving(addr, recorder, Arc::default()).await
    }

    async fn serving(
        addr: SocketAddr,
        answering: impl server::Answering,
        record: Arc<record::Record>,
    ) -> std::io::Result<Simulator> {
        let listener = TcpListener::bind(addr).await?;
        let address = listener.local_addr()?;
        let mut acceptor = JoinSet::new();
        acceptor.spawn(server::accept(listener, Arc::new(answering)));
        Ok(Simulator {
            address,
            record,
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
        self.record.requests()
    }

    /// What the [validator](Script::validating) said about the requests that it refused, and the
    /// [reviewer](Script::reviewing) about the answers (at most the last 1,000), oldest first.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.record.violations()
    }

    /// Serves until `shutdown` resolves, then closes the port and every connection.
    pub async fn serve_until(mut self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.acceptor.shutdown().await;
    }
}
