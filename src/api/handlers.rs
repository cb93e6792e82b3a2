//! What the RPCs do, on the contract's types and without a protocol: every door ends here.

mod asked;
mod assistants;
mod chat;
mod events;
mod health;
mod messages;
mod runs;
mod threads;
mod tools;

use std::time::SystemTime;

pub use self::events::Events;
use self::health::StoreCheck;
use self::tools::ListedTools;
use crate::run::engine::Engine;
use crate::run::ports::Store;

/// The service behind every door.
pub struct Handlers {
    engine: Engine,
    started: SystemTime,
    store_check: StoreCheck,
    listed_tools: ListedTools,
}

impl Handlers {
    /// Handlers on this engine; `started` is what Health says of the service's start.
    pub fn new(engine: Engine, started: SystemTime) -> Self {
        Self {
            engine,
            started,
            store_check: StoreCheck::default(),
            listed_tools: ListedTools::default(),
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
