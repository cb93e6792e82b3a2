//! What the RPCs do, on the contract's types and without a protocol: every door ends here.

mod asked;
mod assistants;
mod attached;
mod chat;
mod events;
mod health;
mod library;
mod messages;
mod models;
mod runs;
mod threads;
mod tools;
mod usage;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::events::Events;
use self::health::StoreCheck;
use self::tools::ListedTools;
use crate::run::engine::Engine;
use crate::run::ports::{Library, Store};

/// The service behind every door.
pub struct Handlers {
    engine: Engine,
    library: Arc<dyn Library>,
    started: SystemTime,
    store_check: StoreCheck,
    listed_tools: ListedTools,
    slow_watcher_limit: Duration,
}

impl Handlers {
    /// Handlers on this engine and this library; `started` is what Health says of the service's start. A client that
    /// leaves the events of a run unread for as long as the limit is dropped.
    pub fn new(
        engine: Engine,
        library: Arc<dyn Library>,
        started: SystemTime,
        slow_watcher_limit: Duration,
    ) -> Self {
        Self {
            engine,
            library,
            started,
            store_check: StoreCheck::default(),
            listed_tools: ListedTools::default(),
            slow_watcher_limit,
        }
    }

    /// The engine that they work on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn store(&self) -> &dyn Store {
        self.engine.ports().store.as_ref()
    }
}
