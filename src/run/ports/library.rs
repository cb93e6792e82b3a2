//! Resources and prompts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::run::error::Error;
use crate::run::library::{FilledPrompt, Holdings};
use crate::run::message::ResourceContents;

/// What MCP servers have besides tools.
#[async_trait]
pub trait Library: Send + Sync {
    /// Every resource, template and prompt of every connected server now, from memory: MUST NOT wait.
    fn holdings(&self) -> Arc<Holdings>;

    /// Reads a resource, which need not be listed: its address may come from a template or from a tool. Callers, by their
    /// names, take turns; the empty name is nobody's in particular.
    ///
    /// Dropping the future MUST abort the request and tell the server so. What is read MUST be bounded in size.
    ///
    /// # Errors
    /// `RESOURCE_NOT_FOUND` when there is no such server or it has no such resource; `MCP_UNAVAILABLE` when the
    /// server is not connected, breaks off or is silent; `MCP_REQUEST_REJECTED` when it answers that it cannot;
    /// `CONTENT_TOO_LARGE`.
    async fn read(&self, server: &str, uri: &str, caller: &str) -> Result<Vec<ResourceContents>, Error>;

    /// Fills in a prompt, by its name in the holdings, for this caller. Arguments that are missing or unknown MUST be refused before
    /// anything is sent.
    ///
    /// Dropping the future MUST abort the request and tell the server so. What comes back MUST be bounded in size.
    ///
    /// # Errors
    /// `PROMPT_NOT_FOUND`; `VALIDATION_FAILED` naming the arguments that do not fit; `MCP_UNAVAILABLE` also when
    /// the prompt would belong to a server that is not connected; `MCP_REQUEST_REJECTED`, `CONTENT_TOO_LARGE`.
    async fn fill(
        &self,
        prompt: &str,
        arguments: BTreeMap<String, String>,
        caller: &str,
    ) -> Result<FilledPrompt, Error>;
}
