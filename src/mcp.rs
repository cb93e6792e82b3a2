//! Tools from MCP servers; rmcp lives only here.
//!
//! [`Config`] says which servers there are. [`Pool`] keeps each of them connected in a task of its own and is the
//! heart's [`Toolbox`](crate::run::ports::Toolbox) and [`Library`](crate::run::ports::Library): lists and the state of
//! the servers are answered from memory, a call or a reading goes straight to the server's connection.

pub mod assistants;
pub mod builtin;
pub mod door;

pub mod auth;

mod caller_tokens;
mod child;
mod client;
mod config;
mod convert;
mod desk;
mod events;
mod gate;
mod library;
mod lines;
mod link;
mod pool;
mod pulse;
mod reason;
mod remote;
mod roster;
mod schema;
mod secret;
mod session;
mod supervise;
mod tap;
mod watchdog;

pub use config::{
    CallerToken, Config, ConfigError, Credential, Endpoint, Grant, LogLevel, OAuth, Process, Protocol,
    Remote, ServerConfig,
};
pub use lines::MESSAGE_LIMIT_BYTES;
pub use pool::Pool;
pub use supervise::Pacing;
pub use watchdog::{Watchdog, watch};
