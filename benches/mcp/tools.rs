//! An MCP server over streamable HTTP with as many tools as it is told, and as slow.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rmcp::model::{ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// What makes this program the server: behind it stand how many tools, and milliseconds.
const ARGUMENT: &str = "--tools";

/// How the server is.
#[derive(Clone, Copy)]
pub struct Options {
    count: usize,
    delay: Duration,
}

/// The arguments that [`Options::of`] reads.
pub fn arguments(count: usize, delay_ms: u64) -> Vec<String> {
    vec![ARGUMENT.to_owned(), count.to_string(), delay_ms.to_string()]
}

impl Options {
    /// None where the program is not to be the server.
    pub fn of(arguments: &[String]) -> Option<Self> {
        let place = arguments.iter().position(|argument| argument == ARGUMENT)?;
        let number = |index: usize| arguments.get(place + index)?.parse().ok();
        Some(Self {
            count: usize::try_from(number(1)?).ok()?,
            delay: Duration::from_millis(number(2)?),
        })
    }
}

#[derive(Clone)]
struct Server(Options);

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = (0..self.0.count).map(|number| {
            let schema = json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "Where it is"},
                    "limit": {"type": "integer", "description": "How many lines at most", "minimum": 1},
                },
                "required": ["path"],
            });
            let schema = schema.as_object().cloned().unwrap_or_default();
            Tool::new(
                format!("tool_{number}"),
                "Reads a file from the beginning to its end.",
                schema,
            )
        });
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }
}

pub fn serve(options: Options) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("listening on http://{}/mcp", listener.local_addr().unwrap());
        let service = StreamableHttpService::new(
            move || Ok(Server(options)),
            LocalSessionManager::default().into(),
            StreamableHttpServerConfig::default(),
        );
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            let slow = tower::service_fn(move |request| {
                let service = service.clone();
                async move {
                    tokio::time::sleep(options.delay).await;
                    service.oneshot(request).await
                }
            });
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(slow))
                    .await;
            });
        }
    });
}
