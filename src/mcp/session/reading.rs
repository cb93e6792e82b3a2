//! Reading resources and filling in prompts.

use std::collections::BTreeMap;

use rmcp::model::{
    ClientRequest, ErrorCode, ErrorData, GetPromptRequest, GetPromptRequestParams, ReadResourceRequest,
    ReadResourceRequestParams, ServerResult,
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::{Failure, Patience, Session};
use crate::mcp::convert;
use crate::mcp::reason;
use crate::mcp::session::unavailable;
use crate::run::error::{Error, Reason};
use crate::run::library::{FilledPrompt, Prompt};
use crate::run::message::ResourceContents;

/// The most that is passed on of one resource or one prompt, in bytes before any encoding.
const SIZE_LIMIT_BYTES: usize = 8 * 1024 * 1024;

impl Session {
    /// Reads a resource; see [`Library::read`](crate::run::ports::Library::read).
    pub(in crate::mcp) async fn read(&self, uri: &str) -> Result<Vec<ResourceContents>, Error> {
        if !self.has_resources() {
            return Err(no_resource(&self.server, uri));
        }
        let request = ReadResourceRequest::new(ReadResourceRequestParams::new(uri));
        let result = match self.ask_once(ClientRequest::ReadResourceRequest(request)).await {
            Ok(result) => result,
            Err(Failure::Lost(error)) => return Err(error),
            Err(Failure::Refused(error)) => {
                return Err(match error.code {
                    // The newest revision says that an unknown resource is an invalid parameter.
                    ErrorCode::RESOURCE_NOT_FOUND
                    | ErrorCode::INVALID_PARAMS
                    | ErrorCode::METHOD_NOT_FOUND => no_resource(&self.server, uri),
                    _ => self.rejected(&error),
                });
            }
        };
        let contents = match result {
            ServerResult::ReadResourceResult(result) => result.contents,
            _ => return Err(self.unexpected()),
        };
        let contents: Vec<ResourceContents> = contents.into_iter().filter_map(convert::contents).collect();
        self.bounded(contents.iter().map(ResourceContents::size_bytes))?;
        Ok(contents)
    }

    /// Fills in a prompt whose arguments have been checked; see [`Library::fill`](crate::run::ports::Library::fill).
    pub(in crate::mcp) async fn fill(
        &self,
        prompt: &Prompt,
        arguments: BTreeMap<String, String>,
    ) -> Result<FilledPrompt, Error> {
        let arguments: Map<String, Value> = arguments
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        let params = GetPromptRequestParams::new(&prompt.about.name).with_arguments(arguments);
        let request = ClientRequest::GetPromptRequest(GetPromptRequest::new(params));
        let result = match self.ask_once(request).await {
            Ok(result) => result,
            Err(Failure::Lost(error)) => return Err(error),
            Err(Failure::Refused(error)) => {
                return Err(match error.code {
                    ErrorCode::INVALID_PARAMS => Error::invalid("arguments", reason::short(&error.message)),
                    ErrorCode::METHOD_NOT_FOUND => no_prompt(&prompt.name),
                    _ => self.rejected(&error),
                });
            }
        };
        let filled = match result {
            ServerResult::GetPromptResult(result) => convert::filled(result),
            _ => return Err(self.unexpected()),
        };
        self.bounded(filled.messages.iter().map(|message| message.content.size_bytes()))?;
        Ok(filled)
    }

    /// Asks for something that reports no progress.
    async fn ask_once(&self, request: ClientRequest) -> Result<ServerResult, Failure> {
        let (_, reports) = mpsc::channel(1);
        let silence = self.timeouts.longest_silence();
        let patience = Patience {
            silence,
            total: silence,
            visit: None,
        };
        let answer = self.ask(request, patience, reports, &|_| {}).await;
        answer.map_err(|failure| match failure {
            // To read does no harm: it only has to be done again.
            Failure::Lost(error) if error.reason() == Reason::OutcomeUnknown => {
                Failure::Lost(unavailable(&self.server, error.message().to_owned()).caused_by(error))
            }
            failure => failure,
        })
    }

    fn bounded(&self, sizes: impl Iterator<Item = usize>) -> Result<(), Error> {
        let size_bytes: usize = sizes.sum();
        if size_bytes <= SIZE_LIMIT_BYTES {
            return Ok(());
        }
        let text = format!(
            "MCP server '{}' gave {size_bytes} bytes, more than the {SIZE_LIMIT_BYTES} that are passed on",
            self.server
        );
        Err(Error::new(Reason::ContentTooLarge, text).with("server", &self.server))
    }

    fn rejected(&self, error: &ErrorData) -> Error {
        let text = format!(
            "MCP server '{}' refuses: {}",
            self.server,
            reason::short(&error.message)
        );
        Error::new(Reason::McpRequestRejected, text).with("server", &self.server)
    }

    /// An answer of another kind: also one that asks for input from a person, which this client has not offered.
    fn unexpected(&self) -> Error {
        let text = format!("MCP server '{}' does not answer what it was asked", self.server);
        Error::new(Reason::McpRequestRejected, text).with("server", &self.server)
    }
}

/// `RESOURCE_NOT_FOUND`, naming the resource and the server.
pub(in crate::mcp) fn no_resource(server: &str, uri: &str) -> Error {
    let text = format!("MCP server {server:?} has no resource {uri:?}");
    Error::new(Reason::ResourceNotFound, text)
        .with("resource", uri)
        .with("server", server)
}

/// `PROMPT_NOT_FOUND`, naming the prompt.
pub(in crate::mcp) fn no_prompt(prompt: &str) -> Error {
    Error::new(
        Reason::PromptNotFound,
        format!("there is no prompt named {prompt:?}"),
    )
    .with("prompt", prompt)
}
