//! The service's assistants as an MCP server: one tool to talk to any of them, and one for each that is stored.
//!
//! It is a door to the same [`Engine`] as the others: a call of a tool is a run.

mod approval;
mod naming;
mod result;
mod roll;
mod talk;
mod tools;

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use self::roll::Roll;
use super::door::{Door, Options};
use crate::run::engine::Engine;
use crate::run::error::Error;

/// Clients without a session that are told of changes at once.
const MAX_LISTENERS: usize = 256;

const INSTRUCTIONS: &str = "Talks to the assistants of an assistd service. `chat` sends a message to the default \
     assistant, or to the one that `assistant` names; every other tool is one assistant. The answer names its `thread`: \
     give it with the next message to go on with the conversation. Without one a new conversation begins.";

/// The assistants, ready to be served. Dropping it ends what watches them.
pub struct Assistants {
    shared: Arc<Shared>,
    _watching: AbortOnDropHandle<()>,
}

/// Who makes a request, by what the front door has put beside it; empty if nobody is named, and an error for a name that cannot
/// be used.
pub type CallerOf = fn(&http::Extensions) -> Result<String, Error>;

struct Shared {
    engine: Engine,
    caller_of: CallerOf,
    roll: Arc<Roll>,
    talks: Semaphore,
    listeners: Semaphore,
}

impl Assistants {
    /// The assistants of this engine's store; so many calls go on at once, each for the caller of its request. To be called on
    /// a runtime.
    pub fn new(engine: Engine, max_talks: usize, caller_of: CallerOf) -> Self {
        let roll = Arc::new(Roll::new(Arc::clone(&engine.ports().store)));
        let watching = tokio::spawn(Arc::clone(&roll).watch());
        let shared = Shared {
            engine,
            caller_of,
            roll,
            talks: Semaphore::new(max_talks.min(Semaphore::MAX_PERMITS)),
            listeners: Semaphore::new(MAX_LISTENERS),
        };
        Self {
            shared: Arc::new(shared),
            _watching: AbortOnDropHandle::new(watching),
        }
    }

    /// An HTTP door to them.
    pub fn door(&self, options: Options) -> Door<Server> {
        let shared = Arc::clone(&self.shared);
        Door::new(move || Server::new(Arc::clone(&shared)), options)
    }
}

/// One client's view of the assistants.
pub struct Server {
    shared: Arc<Shared>,
    /// The news since this client came.
    changes: watch::Receiver<()>,
    /// Tells the client of a session what changes; ends with the session.
    telling: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Server {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            changes: shared.roll.changes(),
            shared,
            telling: Mutex::new(None),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("assistd", env!("CARGO_PKG_VERSION")).with_title("assistd assistants"),
            )
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let assistants = self.shared.roll.read().await.map_err(|error| refused(&error))?;
        Ok(ListToolsResult::with_all_items(tools::all(&assistants)))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Ok(_place) = self.shared.talks.try_acquire() else {
            return Ok(failure("too many conversations go on at once; try again later"));
        };
        let assistants = self.shared.roll.read().await.map_err(|error| refused(&error))?;
        let Some(addressee) = tools::find(&assistants, &request.name) else {
            return Err(ErrorData::invalid_params(
                format!("unknown tool: {}", request.name),
                None,
            ));
        };
        let caller = talk::caller(self.shared.caller_of, &context);
        talk::answer(&self.shared.engine, addressee, request, caller, context).await
    }

    /// A client that has begun a session hears from now on when there are other tools.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let mut changes = self.changes.clone();
        let telling = tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                if context.peer.notify_tool_list_changed().await.is_err() {
                    return;
                }
            }
        });
        *self.telling.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(telling));
    }

    fn accepted_subscription_filter(&self, _requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    /// The same for a client without a session, as long as it listens.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let Ok(_place) = self.shared.listeners.try_acquire() else {
            return Err(ErrorData::internal_error("too many clients listen", None));
        };
        let mut changes = self.changes.clone();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                changed = changes.changed() => {
                    if changed.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// What a tool says that could not do what it was asked.
fn failure(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}

/// An error of the service that is not the tool's.
fn refused(error: &Error) -> ErrorData {
    ErrorData::internal_error(error.message().to_owned(), None)
}
