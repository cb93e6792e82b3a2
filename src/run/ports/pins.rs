//! Which tools were approved, and how they were then.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::run::error::Error;
use crate::run::pin::Fingerprint;

/// Tools by their names on their server.
pub type Pinned = BTreeMap<String, Fingerprint>;

/// Keeps how the tools of MCP servers were when they were approved, for every process on the store.
///
/// Every method may fail with `STORE_UNAVAILABLE`; only the other errors are named.
#[async_trait]
pub trait Pins: Send + Sync {
    /// Every tool of a server that is approved.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn pinned(&self, server: &str) -> Result<Pinned, Error>;

    /// Approves those of these tools that have never been seen, and gives every tool of the server that is approved.
    /// Of several processes that do so at once the first MUST win.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn pin(&self, server: &str, tools: &Pinned) -> Result<Pinned, Error>;

    /// Approves these tools as they are now, whatever they were before.
    ///
    /// # Errors
    /// None but `STORE_UNAVAILABLE`.
    async fn accept(&self, server: &str, tools: &Pinned) -> Result<(), Error>;
}
