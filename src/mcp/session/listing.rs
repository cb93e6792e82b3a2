//! The lists of a server, page by page, up to bounds.

use std::future::Future;

use rmcp::model::{ErrorCode, PaginatedRequestParams, Prompt, Resource, ResourceTemplate, Tool};
use rmcp::service::ServiceError;

use super::Session;

/// The most pages of a list that are asked for.
const PAGES: usize = 200;
/// The most that is taken of each list.
const TOOLS: usize = 2_000;
const RESOURCES: usize = 5_000;
const TEMPLATES: usize = 1_000;
const PROMPTS: usize = 1_000;

/// What is taken of a list.
pub(in crate::mcp) struct Listed<T> {
    pub(in crate::mcp) items: Vec<T>,
    /// That there is more, if so, in words for operators.
    pub(in crate::mcp) cut: Option<String>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            cut: None,
        }
    }
}

impl Session {
    /// Every tool that the server has, up to a bound.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub(in crate::mcp) async fn tools(&self) -> Result<Listed<Tool>, ServiceError> {
        self.all("tools", TOOLS, async |params| {
            let page = self.peer.list_tools(Some(params)).await?;
            Ok((page.tools, page.next_cursor))
        })
        .await
    }

    /// Every resource that the server lists, up to a bound; none when it says that it has none.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub(in crate::mcp) async fn resources(&self) -> Result<Listed<Resource>, ServiceError> {
        if !self.has_resources() {
            return Ok(Listed::default());
        }
        self.all("resources", RESOURCES, async |params| {
            let page = self.peer.list_resources(Some(params)).await?;
            Ok((page.resources, page.next_cursor))
        })
        .await
    }

    /// Every template for resources that the server has, up to a bound; none when it says that it has none.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub(in crate::mcp) async fn templates(&self) -> Result<Listed<ResourceTemplate>, ServiceError> {
        if !self.has_resources() {
            return Ok(Listed::default());
        }
        self.all("resource templates", TEMPLATES, async |params| {
            let page = self.peer.list_resource_templates(Some(params)).await?;
            Ok((page.resource_templates, page.next_cursor))
        })
        .await
    }

    /// Every prompt that the server has, up to a bound; none when it says that it has none.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub(in crate::mcp) async fn prompts(&self) -> Result<Listed<Prompt>, ServiceError> {
        let info = self.peer.peer_info();
        if info.is_none_or(|info| info.capabilities.prompts.is_none()) {
            return Ok(Listed::default());
        }
        self.all("prompts", PROMPTS, async |params| {
            let page = self.peer.list_prompts(Some(params)).await?;
            Ok((page.prompts, page.next_cursor))
        })
        .await
    }

    /// Whether the server says that it has resources.
    pub(super) fn has_resources(&self) -> bool {
        let info = self.peer.peer_info();
        info.is_some_and(|info| info.capabilities.resources.is_some())
    }

    /// Goes through the pages of a list until there are no more, or `most` has been taken. A server that does not
    /// know the list has an empty one.
    async fn all<T, F>(
        &self,
        list: &str,
        most: usize,
        page: impl Fn(PaginatedRequestParams) -> F,
    ) -> Result<Listed<T>, ServiceError>
    where
        F: Future<Output = Result<(Vec<T>, Option<String>), ServiceError>>,
    {
        let mut all = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES {
            let params = PaginatedRequestParams::default().with_cursor(cursor.take());
            let (items, next) = match page(params).await {
                Err(ServiceError::McpError(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => break,
                page => page?,
            };
            all.extend(items);
            cursor = next.filter(|_| all.len() < most);
            if cursor.is_none() {
                break;
            }
        }
        let mut cut = None;
        if cursor.is_some() || all.len() > most {
            all.truncate(most);
            let taken = all.len();
            cut = Some(format!("it has more {list} than are taken: the first {taken}"));
            tracing::warn!(server = self.server, taken, "the list of {list} is cut");
        }
        Ok(Listed { items: all, cut })
    }
}
