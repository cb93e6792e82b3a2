//! The MCP server that is built into the binary: `echo` and `calculate`, over stdio or streamable HTTP.
//!
//! It speaks every protocol version that rmcp knows: those that begin with `initialize` and the
//! stateless 2026-07-28. It keeps no state, so every connection is served alike.

pub mod arithmetic;

mod backpressure;
mod stdio;
mod tools;

#[cfg(test)]
mod tests;

pub use stdio::{serve, serve_stdio};

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use tokio::net::TcpListener;

use super::door::{self, Door};

/// The longest message that is read, in bytes: a line on stdio, a body over HTTP.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// How many requests of one stdio connection, or of all HTTP connections, are in work at a time; the
/// next ones wait unread.
pub const MAX_IN_FLIGHT: usize = 32;

/// How long a request over HTTP may wait for a free place and for its answer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

const INSTRUCTIONS: &str = "`echo` returns its text; `calculate` evaluates an arithmetic expression with \
     + - * / // % ** and parentheses, exactly as Python does.";

/// Why the server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket or a signal handler failed.
    #[error("the mcp server failed: {0}")]
    Io(#[from] std::io::Error),
    /// The client did not begin as the protocol asks.
    #[error("the mcp handshake failed: {0}")]
    Handshake(String),
    /// The task that serves a connection ended abnormally.
    #[error("the mcp server's task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Serves streamable HTTP on `listener`, at [`door::PATH`], until `shutdown` resolves; requests in work are finished
/// first. There are no sessions, since nothing is kept: a POST is answered by one JSON body.
///
/// A listener on a loopback address answers only requests whose `Host` is a loopback name, and of web pages only those
/// from a loopback origin, so that no other page can reach it by rebinding DNS.
///
/// # Errors
///
/// When the listener has no address.
pub async fn serve_http(listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let options = door::Options {
        sessions: false,
        answer_within: Some(REQUEST_DEADLINE),
        ..door::Options::at(listener.local_addr()?)
    };
    let server = Server::new();
    Ok(door::serve(listener, Door::new(move || server.clone(), options), shutdown).await?)
}

/// The protocol's view of the tools. Cheap to clone: over HTTP there is one per request.
#[derive(Debug, Clone)]
struct Server {
    tools: Arc<[Tool]>,
}

impl Server {
    fn new() -> Self {
        Self {
            tools: tools::all().into(),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("assistd", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(&request.name, &request.arguments.unwrap_or_default())
            .map(CallToolResponse::from)
            .ok_or_else(|| ErrorData::invalid_params(format!("unknown tool: {}", request.name), None))
    }
}
