//! Reading resources and filling in prompts.

use std::collections::BTreeMap;

use rmcp::model::{
    ClientRequest, ErrorCode, ErrorData, GetPromptRequest, GetPromptRequestParams, InputRequiredResult,
    InputResponses, ReadResourceRequest, ReadResourceRequestParams, ServerResult,
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Failure, Patience, ROUND_PAUSE, ROUNDS, Session};
use crate::mcp::convert;
use crate::mcp::reason;
use crate::mcp::session::did_no_harm;
use crate::run::error::{Error, Reason};
use crate::run::library::{FilledPrompt, Prompt};
use crate::run::message::ResourceContents;

/// What a server has been given before it answers, and what it wants to be told again.
type More = (Option<InputResponses>, Option<String>);

/// The most that is passed on of one resource or one prompt, in bytes before any encoding.
const SIZE_LIMIT_BYTES: usize = 8 * 1024 * 1024;

impl Session {
    /// Reads a resource; see [`Library::read`](crate::run::ports::Library::read).
    pub(in crate::mcp) async fn read(&self, uri: &str) -> Result<Vec<ResourceContents>, Error> {
        if !self.has_resources() {
            return Err(no_resource(&self.server, uri));
        }
        let request = |more: More| {
            let mut params = ReadResourceRequestParams::new(uri);
            (params.input_responses, params.request_state) = more;
            ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params))
        };
        let result = match self.ask_in_rounds(request).await {
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
        let request = |more: More| {
            let params = GetPromptRequestParams::new(&prompt.about.name);
            let mut params = params.with_arguments(arguments.clone());
            (params.input_responses, params.request_state) = more;
            ClientRequest::GetPromptRequest(GetPromptRequest::new(params))
        };
        let result = match self.ask_in_rounds(request).await {
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

    /// Asks for something that reports no progress. A server of the stateless revision may want something first: it is
    /// given what needs nobody's leave, and asked again.
    async fn ask_in_rounds(&self, request: impl Fn(More) -> ClientRequest) -> Result<ServerResult, Failure> {
        let began = Instant::now();
        let silence = self.timeouts.longest_silence();
        let mut more = More::default();
        for _ in 0..ROUNDS {
            let (_, reports) = mpsc::channel(1);
            let left = silence.saturating_sub(began.elapsed());
            let patience = Patience {
                silence: left,
                total: left,
                visit: None,
                does_no_harm: true,
            };
            let wants = match self.ask(request(more), patience, reports, &|_| {}).await {
                Ok(ServerResult::InputRequiredResult(wants)) => wants,
                Err(Failure::Lost(error)) if is_theirs(&error) => {
                    // To read does no harm: it only has to be done again.
                    return Err(Failure::Lost(did_no_harm(&self.server, error)));
                }
                answer => return answer,
            };
            more = self.given(wants).await.map_err(Failure::Lost)?;
        }
        let text = format!(
            "MCP server '{}' wanted something {ROUNDS} times before it answered, and was given up",
            self.server
        );
        Err(Failure::Lost(self.refusal(text)))
    }

    /// What the server wants before it answers, as far as nobody has to be asked for it.
    async fn given(&self, wants: InputRequiredResult) -> Result<More, Error> {
        let requests = wants.input_requests.unwrap_or_default();
        if requests.is_empty() {
            sleep(ROUND_PAUSE).await;
            return Ok((None, wants.request_state));
        }
        let mut responses = InputResponses::new();
        for (key, request) in requests {
            let response = self.desk.fulfil_alone(request).map_err(|want| {
                let text = format!("MCP server '{}' {want}", self.server);
                self.refusal(text)
            })?;
            responses.insert(key, response);
        }
        Ok((Some(responses), wants.request_state))
    }

    fn refusal(&self, text: String) -> Error {
        Error::new(Reason::McpRequestRejected, text).with("server", &self.server)
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
        self.refusal(text)
    }

    /// An answer of another kind.
    fn unexpected(&self) -> Error {
        self.refusal(format!(
            "MCP server '{}' does not answer what it was asked",
            self.server
        ))
    }
}

/// Whether the server has broken off, or was silent.
fn is_theirs(error: &Error) -> bool {
    matches!(error.reason(), Reason::OutcomeUnknown | Reason::DeadlineExceeded)
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
