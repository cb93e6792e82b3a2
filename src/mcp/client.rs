//! What this service is to a server that asks something of its own.

// Roots are going out of the protocol, and the servers of today still ask for them.
#![expect(
    deprecated,
    reason = "the newest revision deprecates roots; older servers use them"
)]

use std::sync::Arc;

use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationCapability, ErrorCode,
    ErrorData, FormElicitationCapability, Implementation, ListRootsResult, RootsCapabilities,
    UrlElicitationCapability,
};
use rmcp::service::RequestContext;
use rmcp::{ClientHandler, RoleClient};

use super::desk::Desk;

/// The handler of what a server asks.
pub(super) struct Client {
    desk: Arc<Desk>,
    has_roots: bool,
}

impl Client {
    /// `has_roots` when the server is told where to work.
    pub(super) fn new(desk: Arc<Desk>, has_roots: bool) -> Self {
        Self { desk, has_roots }
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let implementation = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let mut capabilities = ClientCapabilities::default();
        let form = FormElicitationCapability::new().with_schema_validation(true);
        let elicitation = ElicitationCapability::new()
            .with_form(form)
            .with_url(UrlElicitationCapability::new());
        capabilities.elicitation = Some(elicitation);
        capabilities.roots = self.has_roots.then(RootsCapabilities::default);
        ClientConfig::new(capabilities, implementation)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let given_up = || ErrorData::new(ErrorCode::INTERNAL_ERROR, "given up by the server", None);
        let asked = context.ct.run_until_cancelled(self.desk.elicit(request));
        asked.await.ok_or_else(given_up)
    }

    async fn list_roots(&self, _context: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(self.desk.roots())
    }
}
