//! ListTools, GetTool and CallTool.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Handlers;
use crate::api::convert::{self, name, structure};
use crate::api::pb;
use crate::run::catalogue::Catalogue;
use crate::run::error::{Error, Reason};

/// Tools on a page when the caller does not say, and at most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_LIMIT: usize = 1_000;

/// The catalogue as the contract has it, kept until it changes.
#[derive(Default)]
pub(super) struct ListedTools {
    newest: Mutex<Option<(u64, Arc<[pb::Tool]>)>>,
}

impl Handlers {
    /// Every tool of every connected server, page by page, in the order of the configuration.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for a negative page size, `PAGE_TOKEN_INVALID`.
    pub fn list_tools(&self, request: &pb::ListToolsRequest) -> Result<pb::ListToolsResponse, Error> {
        let page_size = match usize::try_from(request.page_size) {
            Ok(0) => PAGE_SIZE,
            Ok(page_size) => page_size.min(PAGE_SIZE_LIMIT),
            Err(_) => return Err(Error::invalid("page_size", "must not be negative")),
        };
        let catalogue = self.engine.ports().toolbox.catalogue();
        let tools = self.listed_tools.of(&catalogue);
        let start = match request.page_token.as_str() {
            "" => 0,
            token => after(&tools, token, &request.server)?,
        };
        let mut matching = tools[start..]
            .iter()
            .filter(|tool| request.server.is_empty() || tool.server == request.server);
        let page: Vec<pb::Tool> = matching.by_ref().take(page_size).cloned().collect();
        let next_page_token = match (matching.next(), page.last()) {
            (Some(_), Some(last)) => page_token(&request.server, &last.name),
            _ => String::new(),
        };
        let catalogue_version = catalogue.version().to_string();
        Ok(pb::ListToolsResponse {
            tools: page,
            next_page_token,
            catalogue_version,
        })
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
        Ok(convert::tool::to_pb(found))
    }

    /// Calls one tool directly. A tool that fails is an answer, not an error.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` and those of [`Engine::call_tool`](crate::run::engine::Engine::call_tool).
    pub async fn call_tool(&self, request: pb::CallToolRequest) -> Result<pb::CallToolResponse, Error> {
        let tool = name::parse_tool("name", &request.name)?;
        let arguments = request.arguments.map(structure::to_json).unwrap_or_default();
        let timeout: Option<Duration> = request
            .timeout
            .as_ref()
            .map(|timeout| convert::positive_duration("timeout", timeout))
            .transpose()?;
        let started = Instant::now();
        let output = self.engine.call_tool(tool, arguments, timeout).await?;
        Ok(pb::CallToolResponse {
            structured_content: convert::message::structured_to_pb(&output),
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
    fn of(&self, catalogue: &Catalogue) -> Arc<[pb::Tool]> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match newest.as_ref() {
            Some((version, tools)) if *version == catalogue.version() => Arc::clone(tools),
            _ => {
                let tools: Arc<[pb::Tool]> = catalogue
                    .tools()
                    .iter()
                    .map(|tool| convert::tool::to_pb(tool))
                    .collect();
                *newest = Some((catalogue.version(), Arc::clone(&tools)));
                tools
            }
        }
    }
}

/// A page token names the last tool of the page before and the filter that it was made for.
fn page_token(server: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{server}\0{last}"))
}

/// Where the page behind the token starts. A tool that is gone since has left its place to nobody.
fn after(tools: &[pb::Tool], token: &str, server: &str) -> Result<usize, Error> {
    let invalid =
        |description: &str| Error::new(Reason::PageTokenInvalid, format!("page_token: {description}"));
    let text = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let (token_server, last) = match text.as_deref().and_then(|text| text.split_once('\0')) {
        Some(parts) => parts,
        None => return Err(invalid("not a token of this service")),
    };
    if token_server != server {
        return Err(invalid("was made for another filter"));
    }
    let place = tools.iter().position(|tool| tool.name == last);
    place
        .map(|place| place + 1)
        .ok_or_else(|| invalid("the tools have changed since; start again"))
}
