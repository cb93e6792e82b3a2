//! A whole service in this process, on free ports, with the simulator as its model.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::app::App;
use assistd::config::{
    ApiSection, Config, Environment, McpSection, McpSource, ModelEndpoint, ModelResilience, ModelSection,
    ModelState, ModelTimeouts, Origins, PinnedTools, RunLimits, RunSection, StoreSection, TruncationSection,
    TruncationStrategy,
};
use assistd::simulator::Script;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::description::Provider;

/// The longest that anything in these tests may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A service that runs.
pub struct World {
    /// Its model. Whoever drops it hears whether everything was as OpenAI describes it.
    pub simulator: Provider,
    pub address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl World {
    /// A service with its built-in tools, whose model follows this script.
    pub async fn new(script: Script) -> World {
        World::with(script, |_| {}).await
    }

    /// The same, with its configuration changed.
    pub async fn with(script: Script, change: impl FnOnce(&mut Config)) -> World {
        let simulator = Provider::new(script).await;
        let mut config = config(&simulator.base_url());
        change(&mut config);
        let app = App::bind(config).await.unwrap();
        let (address, stop) = (app.address(), CancellationToken::new());
        let running = tokio::spawn(app.run(stop.clone().cancelled_owned()));
        World {
            simulator,
            address,
            stop,
            running,
        }
    }

    /// A gRPC client.
    pub async fn grpc(&self) -> AssistantServiceClient<Channel> {
        AssistantServiceClient::connect(format!("http://{}", self.address))
            .await
            .unwrap()
    }

    /// The address of a path, for HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Posts JSON, and gives the status and the JSON that comes back.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = reqwest::Client::new()
            .post(self.url(path))
            .json(body)
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json().await.unwrap_or(Value::Null),
        )
    }

    /// Tells the service to stop, without waiting for it.
    pub fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the service has stopped.
    pub async fn stopped(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .expect("it stops in time")
            .unwrap();
    }
}

fn config(base_url: &str) -> Config {
    let servers =
        json!({"mcpServers": {"builtin": {"command": program(), "args": ["mcp-server"], "prefix": ""}}});
    Config {
        api: ApiSection {
            listen: ([127, 0, 0, 1], 0).into(),
            cors_origins: Origins::Any,
            body_limit_bytes: 4 << 20,
            max_concurrent_requests: 1_000,
            request_timeout: PATIENCE,
            slow_watcher_limit: PATIENCE,
            drain_grace: Duration::from_millis(200),
            caller_header: None,
            metrics: true,
            metrics_callers: 0,
        },
        store: StoreSection::Memory,
        model: ModelSection {
            name: "test-model".to_owned(),
            endpoint: ModelEndpoint {
                base_url: Some(base_url.to_owned()),
                api_key: None,
                organization: None,
                project: None,
                headers: Vec::new(),
                ..ModelEndpoint::default()
            },
            dialect: None,
            state: ModelState::Stateless,
            reasoning_back: Default::default(),
            timeouts: ModelTimeouts {
                connect: PATIENCE,
                first_byte: PATIENCE,
                idle: PATIENCE,
                event: PATIENCE,
            },
            resilience: ModelResilience {
                max_retries: 2,
                retry_percent: 20,
                breaker_failures: 0,
                breaker_failure_percent: 100,
                breaker_window: PATIENCE,
                breaker_cooldown: PATIENCE,
                max_concurrency: None,
                max_waiting: 100,
                hedge_after: None,
            },
            fallbacks: Vec::new(),
            context_tokens: None,
            max_output_tokens: None,
            prices: None,
            idempotency_keys: None,
            listed: Vec::new(),
            only_listed: false,
            no_simulator: false,
        },
        mcp: mcp(&servers),
        run: RunSection {
            instructions: "Be brief.".to_owned(),
            options: None,
            limits: RunLimits {
                max_turns: 4,
                max_tool_calls: 8,
                max_output_tokens: None,
                max_total_tokens: None,
                max_duration: None,
                max_cost: None,
            },
            truncation: TruncationSection {
                strategy: TruncationStrategy::Disabled,
                last_turns: None,
                max_tokens: None,
            },
            summary_model: None,
            execution_limit: PATIENCE,
            waiting_limit: PATIENCE,
            lease: PATIENCE,
            event_retention: PATIENCE,
            call_timeout: PATIENCE,
            parallel_calls: 4,
            tool_output_limit_bytes: 64 << 10,
        },
    }
}

/// MCP servers as a file would list them.
pub fn mcp(servers: &Value) -> McpSection {
    let source = McpSource::File {
        path: PathBuf::from("mcp.json"),
        text: servers.to_string(),
    };
    McpSection {
        source,
        environment: Environment::default(),
        ask_before_destruction: false,
        pin_tools: PinnedTools::Remote,
        serve: false,
        token_file: None,
        token_key: assistd::config::TokenKey::Beside,
    }
}

/// The program under test.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_assistd")
}
