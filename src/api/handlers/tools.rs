//! ListTools, GetTool and CallTool.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;

use super::Handlers;
use crate::api::caller::Requester;
use crate::api::convert::page::{self, Question};
use crate::api::convert::{self, name, structure};
use crate::api::pb;
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::error::{Error, Reason};
use crate::run::page::Cursor;
use crate::run::pin::Quarantine;

/// How many servers are named to who asks for one that is not there.
const SERVERS_TOLD: usize = 20;

/// The catalogue as ListTools answers with it, kept until it changes.
#[derive(Default)]
pub(super) struct ListedTools {
    newest: Mutex<Option<(u64, Arc<[ListedTool]>)>>,
}

struct ListedTool {
    server: String,
    place: Cursor,
    /// The tool as the contract has it, encoded.
    bytes: Bytes,
}

impl Handlers {
    /// Every tool of every connected server, page by page, in the order of the configuration.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for a negative page size, `PAGE_TOKEN_INVALID`, `MCP_SERVER_NOT_FOUND`.
    pub fn list_tools(&self, request: &pb::ListToolsRequest) -> Result<pb::ListToolsResponse, Error> {
        self.check_server(&request.server)?;
        let catalogue = self.engine.ports().toolbox.catalogue();
        let tools = self.listed_tools.of(&catalogue);
        let matching = tools
            .iter()
            .filter(|tool| request.server.is_empty() || tool.server == request.server);
        let question = Question::new(&["ListTools", &request.server]);
        let (page, next_page_token) =
            question.of_memory(request.page_size, &request.page_token, matching, |tool| {
                tool.place
            })?;
        Ok(pb::ListToolsResponse {
            tools: page.into_iter().map(|tool| tool.bytes.clone()).collect(),
            next_page_token,
            catalogue_version: catalogue.version().to_string(),
        })
    }

    /// Refuses the name of a server that is not configured; an empty one stands for all of them.
    ///
    /// # Errors
    /// `MCP_SERVER_NOT_FOUND`, with the names that there are.
    pub(super) fn check_server(&self, server: &str) -> Result<(), Error> {
        if server.is_empty() {
            return Ok(());
        }
        let servers = self.engine.ports().toolbox.servers();
        if servers.iter().any(|known| known.name == server) {
            return Ok(());
        }
        let names: Vec<&str> = servers.iter().map(|known| known.name.as_str()).collect();
        let there = match names.as_slice() {
            [] => "there are none".to_owned(),
            names if names.len() > SERVERS_TOLD => {
                let (told, others) = names.split_at(SERVERS_TOLD);
                format!("there are: {} and {} more", told.join(", "), others.len())
            }
            names => format!("there are: {}", names.join(", ")),
        };
        let text = format!("there is no MCP server named {server:?}; {there}");
        Err(Error::new(Reason::McpServerNotFound, text).with("server", server))
    }

    /// One tool.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `TOOL_NOT_FOUND`.
    pub fn get_tool(&self, request: &pb::GetToolRequest) -> Result<pb::Tool, Error> {
        let tool = name::parse_tool("name", &request.name)?;
        let catalogue = self.engine.ports().toolbox.catalogue();
        let found = catalogue.get(tool).ok_or_else(|| {
            Error::new(Reason::ToolNotFound, format!("there is no tool named {tool:?}")).with("tool", tool)
        })?;
        Ok(convert::tool::to_pb(found, catalogue.held().get(tool)))
    }

    /// Approves tools that are held back, as they are now.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` and those of [`Toolbox::accept`](crate::run::ports::Toolbox::accept).
    pub async fn accept_tools(
        &self,
        request: &pb::AcceptToolsRequest,
    ) -> Result<pb::AcceptToolsResponse, Error> {
        let parse = |(index, tool): (usize, &String)| {
            name::parse_tool(&format!("tools[{index}]"), tool).map(str::to_owned)
        };
        let tools: Vec<String> = request
            .tools
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        let toolbox = &self.engine.ports().toolbox;
        let accepted = toolbox.accept(&request.server, &tools, &request.digests).await?;
        Ok(pb::AcceptToolsResponse {
            tools: accepted
                .iter()
                .map(|tool| convert::tool::to_pb(tool, None))
                .collect(),
        })
    }

    /// Calls one tool directly. A tool that fails is an answer, not an error.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` and those of [`Engine::call_tool`](crate::run::engine::Engine::call_tool).
    pub async fn call_tool(
        &self,
        request: pb::CallToolRequest,
        requester: Requester,
    ) -> Result<pb::CallToolResponse, Error> {
        let tool = name::parse_tool("name", &request.name)?;
        let arguments = request.arguments.map(structure::to_json).unwrap_or_default();
        let timeout: Option<Duration> = request
            .timeout
            .as_ref()
            .map(|timeout| convert::positive_duration("timeout", timeout))
            .transpose()?;
        let started = Instant::now();
        let output = self
            .engine
            .call_tool(tool, arguments, timeout, requester.name, requester.credentials)
            .await?;
        let (structured_content, structured_content_json) = convert::message::structured_to_pb(&output);
        Ok(pb::CallToolResponse {
            structured_content,
            structured_content_json,
            content: output
                .content
                .iter()
                .map(convert::message::content_to_pb)
                .collect(),
            is_error: output.is_error,
            duration: Some(convert::duration(started.elapsed())),
        })
    }
}

impl ListedTools {
    fn of(&self, catalogue: &Catalogue) -> Arc<[ListedTool]> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match newest.as_ref() {
            Some((version, tools)) if *version == catalogue.version() => Arc::clone(tools),
            _ => {
                let tools: Arc<[ListedTool]> = catalogue
                    .tools()
                    .iter()
                    .map(|tool| ListedTool::new(tool, catalogue.held().get(tool.name())))
                    .collect();
                *newest = Some((catalogue.version(), Arc::clone(&tools)));
                tools
            }
        }
    }
}

impl ListedTool {
    fn new(tool: &Tool, held: Option<&Quarantine>) -> Self {
        let tool = convert::tool::to_pb(tool, held);
        Self {
            place: page::place_of(&[&tool.name]),
            bytes: tool.encode_to_vec().into(),
            server: tool.server,
        }
    }
}
