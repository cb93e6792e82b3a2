//! What this service is to a server that asks something of its own.

// Roots and sampling are going out of the protocol, and the servers of today still ask for them.
#![expect(
    deprecated,
    reason = "the newest revision deprecates roots and sampling; servers of today use them"
)]

use std::sync::Arc;

use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, ElicitationCapability, ErrorCode, ErrorData, FormElicitationCapability, Implementation,
    ListRootsResult, ProtocolVersion, RequestId, RootsCapabilities, SamplingCapability,
    UrlElicitationCapability,
};
use rmcp::service::{InboundStreamOrigin, RequestContext};
use rmcp::{ClientHandler, RoleClient};

use super::config::{Consent, ServerConfig};
use super::desk::Desk;

/// Which request of ours a request of the server belongs to, where the transport tells: over streamable HTTP it comes on
/// the answer to that request.
fn origin(context: &RequestContext<RoleClient>) -> Option<&RequestId> {
    match context.extensions.get::<InboundStreamOrigin>() {
        Some(InboundStreamOrigin::OutboundRequest(id)) => Some(id),
        Some(InboundStreamOrigin::Unassociated) | None => None,
    }
}

/// What a request for a model's answer is refused with (MCP 2025-11-25, Sampling, Error Handling).
const REJECTED: ErrorCode = ErrorCode(-1);

/// The handler of what a server asks.
pub(super) struct Client {
    desk: Arc<Desk>,
    has_roots: bool,
    samples: bool,
    /// The revision that a session is asked for, when it is not the newest.
    session_version: Option<ProtocolVersion>,
}

impl Client {
    /// For a server of this configuration.
    pub(super) fn new(desk: Arc<Desk>, server: &ServerConfig) -> Self {
        Self {
            desk,
            has_roots: !server.roots.is_empty(),
            samples: server.sampling.allow != Consent::Deny,
            session_version: server.protocol.session_version().cloned(),
        }
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
        // Neither tools nor context: a model that a server asks has what the server says.
        capabilities.sampling = self.samples.then(SamplingCapability::default);
        let config = ClientConfig::new(capabilities, implementation);
        match &self.session_version {
            Some(version) => config.with_protocol_version(version.clone()),
            None => config,
        }
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let given_up = || ErrorData::new(ErrorCode::INTERNAL_ERROR, "given up by the server", None);
        let asked = context
            .ct
            .run_until_cancelled(self.desk.elicit(origin(&context), request));
        asked.await.ok_or_else(given_up)
    }

    async fn create_message(
        &self,
        request: CreateMessageRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let asked = context
            .ct
            .run_until_cancelled(self.desk.sample(origin(&context), request))
            .await;
        let sampled = asked.unwrap_or_else(|| Err("given up by the server".to_owned()));
        sampled.map_err(|reason| ErrorData::new(REJECTED, reason, None))
    }

    async fn list_roots(&self, _context: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(self.desk.roots())
    }
}
