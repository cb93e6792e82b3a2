//! Resources and prompts of MCP servers: list, read, get.

use std::future::Future;

use super::Handlers;
use crate::api::convert::page::{Question, place_of};
use crate::api::convert::{library, message, name};
use crate::api::pb;
use crate::run::error::{Error, Reason};
use crate::run::message::ResourceContents;

impl Handlers {
    /// The resources of every connected server, a page of them, by server and in its order.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `MCP_SERVER_NOT_FOUND`.
    pub fn list_resources(
        &self,
        request: &pb::ListResourcesRequest,
    ) -> Result<pb::ListResourcesResponse, Error> {
        self.check_server(&request.server)?;
        let holdings = self.library.holdings();
        let (page, next_page_token) = Question::new(&["ListResources", &request.server]).of_memory(
            request.page_size,
            &request.page_token,
            holdings
                .resources
                .iter()
                .filter(|one| is_of(&one.server, &request.server)),
            |one| place_of(&[&one.server, &one.uri]),
        )?;
        Ok(pb::ListResourcesResponse {
            resources: page.into_iter().map(|one| library::resource_to_pb(one)).collect(),
            next_page_token,
        })
    }

    /// The templates of every connected server, a page of them, by server and in its order.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `MCP_SERVER_NOT_FOUND`.
    pub fn list_resource_templates(
        &self,
        request: &pb::ListResourceTemplatesRequest,
    ) -> Result<pb::ListResourceTemplatesResponse, Error> {
        self.check_server(&request.server)?;
        let holdings = self.library.holdings();
        let (page, next_page_token) = Question::new(&["ListResourceTemplates", &request.server]).of_memory(
            request.page_size,
            &request.page_token,
            holdings
                .templates
                .iter()
                .filter(|one| is_of(&one.server, &request.server)),
            |one| place_of(&[&one.server, &one.uri_template]),
        )?;
        Ok(pb::ListResourceTemplatesResponse {
            resource_templates: page.into_iter().map(|one| library::template_to_pb(one)).collect(),
            next_page_token,
        })
    }

    /// What one resource holds.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `DEADLINE_EXCEEDED` and those of [`Library::read`](crate::run::ports::Library::read).
    pub async fn read_resource(
        &self,
        request: &pb::ReadResourceRequest,
        caller: &str,
    ) -> Result<pb::ReadResourceResponse, Error> {
        Error::if_empty([
            ("server".to_owned(), request.server.as_str()),
            ("uri".to_owned(), request.uri.as_str()),
        ])?;
        let contents = self.resource(&request.server, &request.uri, caller).await?;
        Ok(pb::ReadResourceResponse {
            contents: contents.iter().map(message::contents_to_pb).collect(),
        })
    }

    /// The prompts of every connected server, a page of them, sorted by name.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `MCP_SERVER_NOT_FOUND`.
    pub fn list_prompts(&self, request: &pb::ListPromptsRequest) -> Result<pb::ListPromptsResponse, Error> {
        self.check_server(&request.server)?;
        let holdings = self.library.holdings();
        let (page, next_page_token) = Question::new(&["ListPrompts", &request.server]).of_memory(
            request.page_size,
            &request.page_token,
            holdings
                .prompts()
                .iter()
                .filter(|one| is_of(&one.server, &request.server)),
            |one| place_of(&[&one.name]),
        )?;
        Ok(pb::ListPromptsResponse {
            prompts: page.into_iter().map(|one| library::prompt_to_pb(one)).collect(),
            next_page_token,
        })
    }

    /// One prompt, with its arguments filled in.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `DEADLINE_EXCEEDED` and those of [`Library::fill`](crate::run::ports::Library::fill).
    pub async fn get_prompt(
        &self,
        request: pb::GetPromptRequest,
        caller: &str,
    ) -> Result<pb::GetPromptResponse, Error> {
        let prompt = name::parse_prompt("name", &request.name)?;
        let filling = self.library.fill(prompt, request.arguments, caller);
        let filled = self.in_time("the prompt", filling).await?;
        Ok(library::filled_to_pb(&filled))
    }

    /// What one resource holds, or that it takes too long.
    pub(super) async fn resource(
        &self,
        server: &str,
        uri: &str,
        caller: &str,
    ) -> Result<Vec<ResourceContents>, Error> {
        let reading = self.library.read(server, uri, caller);
        self.in_time("the resource", reading).await
    }

    /// A server has as long for an answer as a tool has for a call.
    async fn in_time<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.engine.settings().call_timeout;
        let late = |_| {
            Error::new(
                Reason::DeadlineExceeded,
                format!("{what} did not come within {limit:?}"),
            )
        };
        tokio::time::timeout(limit, answer).await.map_err(late)?
    }
}

/// Whether a thing of this server is asked for.
fn is_of(server: &str, asked: &str) -> bool {
    asked.is_empty() || server == asked
}
