//! An MCP server for the tests: over streamable HTTP in this process, or over stdio in a child.

#![expect(
    deprecated,
    reason = "the newest revision deprecates logging; servers of today use it"
)]

mod addresses;
mod library;
mod sampling;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ElicitRequest,
    ElicitRequestParams, GetPromptRequestParams, GetPromptResponse, InputRequest, InputRequests,
    InputRequiredResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, LoggingLevel, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, ServerRequest,
    SetLevelRequestParams, SubscriptionFilter, Tool,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// What the server has seen, and how it is to behave.
#[derive(Default)]
pub struct Seen {
    /// The tool `wait` has been called, or the resource `note://wait` is being read.
    pub waiting: Notify,
    /// That has been cancelled.
    pub cancelled: Notify,
    /// The tool `late` and the resource `note://late` are there.
    pub has_late: AtomicBool,
    /// Calls of `wait` so far, and those that were cancelled.
    pub calls: AtomicUsize,
    pub cancels: AtomicUsize,
    /// Sessions that were begun, and the calls of `wait` by session.
    pub sessions: AtomicUsize,
    pub by_session: Mutex<HashMap<String, usize>>,
    /// Lets every call of `wait` and every reading of `note://wait` go.
    pub release: Notify,
    /// The tools `ask` and `sample` are there.
    pub has_asking: AtomicBool,
    /// How the tools `echo` and `count` are described, after their first words.
    pub describes: Mutex<String>,
    /// It speaks only the revisions before 2026-07-28.
    pub is_old: AtomicBool,
    /// Somebody has been at the address that the tool `visit` sends people to.
    pub is_visited: AtomicBool,
    /// What it was told to log, in the order in which it was told.
    pub log_levels: Mutex<Vec<String>>,
    /// The clients of sessions that were begun, and how many listen without one.
    pub clients: Mutex<Vec<rmcp::Peer<RoleServer>>>,
    pub listeners: AtomicUsize,
    /// The addresses of the resources that were read, in the order of the readings.
    pub reads: Mutex<Vec<String>>,
    /// The tools have changed: whoever listens is told.
    pub changed: watch::Sender<()>,
}

impl Seen {
    /// Tells everybody that the tools have changed, in the way of their era.
    pub async fn tell(&self) {
        self.changed.send_replace(());
        let clients = self.clients.lock().expect("a lock").clone();
        for client in clients {
            let _ = client.notify_tool_list_changed().await;
        }
    }

    /// Whether there is anybody to tell.
    pub fn is_listened_to(&self) -> bool {
        self.listeners.load(Ordering::SeqCst) > 0 || !self.clients.lock().expect("a lock").is_empty()
    }
}

impl Seen {
    fn note_session(&self, context: &RequestContext<RoleServer>) {
        let head = context.extensions.get::<http::request::Parts>();
        let session = head.and_then(|head| head.headers.get("mcp-session-id")?.to_str().ok());
        if let Some(session) = session {
            let mut by_session = self.by_session.lock().expect("a lock");
            *by_session.entry(session.to_owned()).or_default() += 1;
        }
    }
}

impl Seen {
    fn note_log_level(&self, level: LoggingLevel) {
        let level = serde_json::to_value(level).expect("JSON");
        let level = level.as_str().unwrap_or_default().to_owned();
        self.log_levels.lock().expect("a lock").push(level);
    }
}

/// The server.
#[derive(Clone)]
pub struct Peer(pub Arc<Seen>);

impl ServerHandler for Peer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_prompts()
            .enable_logging()
            .build();
        ServerConfig::new(capabilities)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        if self.0.is_old.load(Ordering::SeqCst) {
            Cow::Owned(vec![ProtocolVersion::V_2025_06_18])
        } else {
            Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS)
        }
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.0.sessions.fetch_add(1, Ordering::SeqCst);
        self.0.clients.lock().expect("a lock").push(context.peer);
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changed = self.0.changed.subscribe();
        self.0.listeners.fetch_add(1, Ordering::SeqCst);
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                Ok(()) = changed.changed() => {
                    let _ = context.sink().notify_tool_list_changed().await;
                }
            }
        }
    }

    /// One tool on each page.
    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({"type": "object"}).as_object().cloned().unwrap_or_default();
        let mut names = vec!["echo", "wait", "count", "die", "refuse", "grow"];
        if self.0.has_late.load(Ordering::SeqCst) {
            names.push("late");
        }
        if self.0.has_asking.load(Ordering::SeqCst) {
            names.extend(["ask", "sample", "visit", "complete"]);
        }
        let page: usize = request
            .and_then(|request| request.cursor)
            .and_then(|cursor| cursor.parse().ok())
            .unwrap_or(0);
        let mut description = "a tool of the test".to_owned();
        if ["echo", "count"].contains(&names[page]) {
            description.push_str(&self.0.describes.lock().expect("a lock"));
        }
        let tool = Tool::new(names[page], description, schema);
        let mut result = ListToolsResult::with_all_items(vec![tool]);
        result.next_cursor = (page + 1 < names.len()).then(|| (page + 1).to_string());
        Ok(result)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(library::resources(&self.0, request))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(library::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if let Some(wants) = library::wants(&request) {
            return Ok(wants.into());
        }
        let read = library::read(&self.0, &request, context.ct.cancelled()).await;
        read.map(ReadResourceResponse::from)
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.note_log_level(request.level);
        Ok(())
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(library::prompts(request))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        library::prompt(&request).map(GetPromptResponse::from)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(level) = context.meta.log_level() {
            self.0.note_log_level(level);
        }
        let text = match request.name.as_ref() {
            "visit" => return addresses::visit(&self.0),
            "complete" => addresses::complete(&self.0, &context).await,
            "echo" => serde_json::to_string(&request.arguments).unwrap_or_default(),
            "wait" => {
                self.0.note_session(&context);
                let released = self.0.release.notified();
                self.0.calls.fetch_add(1, Ordering::SeqCst);
                self.0.waiting.notify_one();
                match context.ct.run_until_cancelled(released).await {
                    Some(()) => "released".to_owned(),
                    None => {
                        self.0.cancels.fetch_add(1, Ordering::SeqCst);
                        self.0.cancelled.notify_one();
                        "cancelled".to_owned()
                    }
                }
            }
            "ask" => return ask(&request, &context).await,
            "sample" => return sampling::sample(&request, &context).await,
            "count" => count(&context).await,
            "die" => std::process::exit(3),
            "grow" => {
                if let Some(text) = described(&request) {
                    text.clone_into(&mut self.0.describes.lock().expect("a lock"));
                }
                self.0.has_late.store(true, Ordering::SeqCst);
                let _ = context.peer.notify_tool_list_changed().await;
                let _ = context.peer.notify_resource_list_changed().await;
                "grown".to_owned()
            }
            name => return Err(ErrorData::invalid_params(format!("'{name}' is refused"), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// Asks who is there: in the old way by a request of its own, in the new way before it goes on.
async fn ask(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    let form = json!({"mode": "form", "message": "who are you?", "requestedSchema": schema});
    let params: ElicitRequestParams = serde_json::from_value(form).expect("a form");
    let is_stateless = context.protocol_version() == Some(ProtocolVersion::V_2026_07_28);
    let said = match &request.input_responses {
        Some(responses) => responses["name"].clone(),
        None if is_stateless => {
            let asked = InputRequest::Elicitation(ElicitRequest::new(params));
            let requests = InputRequests::from([("name".to_owned(), asked)]);
            return Ok(InputRequiredResult::new(Some(requests), Some("state".to_owned())).into());
        }
        None => {
            let request = ServerRequest::ElicitRequest(ElicitRequest::new(params));
            let result = context.peer.send_request(request).await;
            let result = result.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            serde_json::to_value(result).expect("JSON")
        }
    };
    let text = format!(
        "{} {}",
        said["action"].as_str().unwrap_or_default(),
        said["content"]
    );
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
}

/// What the tools are to say of themselves from now on, if a call says it.
fn described(request: &CallToolRequestParams) -> Option<&str> {
    request.arguments.as_ref()?.get("describes")?.as_str()
}

async fn count(context: &RequestContext<RoleServer>) -> String {
    let Some(token) = context.meta.get_progress_token() else {
        return "no progress token".to_owned();
    };
    for step in 1..=3_u8 {
        let params = ProgressNotificationParam::new(token.clone(), f64::from(step))
            .with_total(3.0)
            .with_message(format!("step {step}"));
        let _ = context.peer.notify_progress(params).await;
    }
    "counted".to_owned()
}

/// The server on a port of its own, until it is dropped: then every connection breaks.
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    sessions: Arc<LocalSessionManager>,
    _tasks: JoinSet<()>,
}

impl Listening {
    /// Starts it; port 0 for a free port.
    pub async fn start(address: SocketAddr, seen: &Arc<Seen>) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind");
        let address = listener.local_addr().expect("address");
        let peer = Peer(seen.clone());
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(
            move || Ok(peer.clone()),
            sessions.clone(),
            StreamableHttpServerConfig::default(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            sessions,
            _tasks: tasks,
        }
    }

    /// Forgets every session, as a server does that is started anew behind its proxy.
    pub async fn forget(&self) {
        self.sessions.sessions.write().await.clear();
    }

    /// Its address for clients.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}
