//! Health.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Handlers;
use crate::api::convert;
use crate::api::pb::{self, HealthStatus, McpServerState};
use crate::run::ports::{Connection, Model, ModelStatus, ServerStatus};

/// How long a look at the store is good for: probes may come often, the store need not hear of each.
const STORE_CHECK_AGE: Duration = Duration::from_secs(1);

/// The newest look at the store: when, and what was wrong.
#[derive(Default)]
pub(super) struct StoreCheck {
    newest: Mutex<Option<(Instant, Option<String>)>>,
}

impl Handlers {
    /// How the model, the store and each MCP server are.
    pub async fn health(&self) -> pb::HealthResponse {
        let ports = self.engine.ports();
        let model = model(ports.model.status());
        let troubled_models = troubled(ports.model.as_ref());
        let store_trouble = self.store_trouble().await;
        let store = pb::StoreHealth {
            kind: ports.store.kind().to_owned(),
            status: if store_trouble.is_none() {
                HealthStatus::Healthy
            } else {
                HealthStatus::Unhealthy
            }
            .into(),
            message: store_trouble.unwrap_or_default(),
        };
        let mcp_servers: Vec<_> = ports.toolbox.servers().into_iter().map(server).collect();
        let mcp_configuration_problem = ports.toolbox.trouble().unwrap_or_default();
        let status = match overall(&model, &troubled_models, &store, &mcp_servers) {
            HealthStatus::Healthy if !mcp_configuration_problem.is_empty() => HealthStatus::Degraded,
            status => status,
        };
        pb::HealthResponse {
            status: status.into(),
            model: Some(model),
            store: Some(store),
            mcp_servers,
            mcp_configuration_problem,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            start_time: Some(convert::timestamp(self.started)),
            troubled_models,
        }
    }

    /// Whether at least one MCP server can be used now.
    pub fn mcp_connected(&self) -> bool {
        let servers = self.engine.ports().toolbox.servers();
        servers.iter().any(|server| server.connection.is_open())
    }

    /// What is wrong with the store, if anything.
    pub async fn store_trouble(&self) -> Option<String> {
        if let Some((time, trouble)) = self.store_check.newest()
            && time.elapsed() < STORE_CHECK_AGE
        {
            return trouble;
        }
        let result = self.engine.ports().store.check().await;
        let trouble = result.err().map(|error| error.message().to_owned());
        self.store_check.keep(trouble.clone());
        trouble
    }
}

impl StoreCheck {
    fn newest(&self) -> Option<(Instant, Option<String>)> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, trouble: Option<String>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), trouble));
    }
}

/// Without its store the service can do nothing; without a model or a tool server it can do something.
fn overall(
    model: &pb::ModelHealth,
    troubled_models: &[pb::ModelHealth],
    store: &pb::StoreHealth,
    servers: &[pb::McpServerHealth],
) -> HealthStatus {
    let healthy = i32::from(HealthStatus::Healthy);
    if store.status != healthy {
        return HealthStatus::Unhealthy;
    }
    let is_off = |server: &pb::McpServerHealth| server.state == i32::from(McpServerState::Disabled);
    let mut servers = servers.iter();
    let are_models_healthy = model.status == healthy && troubled_models.is_empty();
    let all_healthy = are_models_healthy && servers.all(|server| server.status == healthy || is_off(server));
    if all_healthy {
        HealthStatus::Healthy
    } else {
        HealthStatus::Degraded
    }
}

fn model(status: ModelStatus) -> pb::ModelHealth {
    let dialect = convert::model::dialect(status.dialect);
    let is_configured = dialect != pb::ModelDialect::Unspecified;
    let health = match (&status.trouble, is_configured) {
        (None, true) => HealthStatus::Healthy,
        (Some(_), true) => HealthStatus::Degraded,
        (_, false) => HealthStatus::Unhealthy,
    };
    pb::ModelHealth {
        name: status.model,
        base_url_host: host(&status.endpoint),
        dialect: dialect.into(),
        simulator: status.simulated,
        status: health.into(),
        message: match (status.trouble, status.simulated) {
            (Some(trouble), _) => trouble,
            (None, true) => "answers come from the built-in simulator, not from a model".to_owned(),
            (None, false) => String::new(),
        },
    }
}

/// The models besides the default that are in trouble.
fn troubled(models: &dyn Model) -> Vec<pb::ModelHealth> {
    let others = models.models().into_iter().filter(|card| !card.is_default);
    let troubled = others.filter_map(|card| {
        let trouble = models.condition(&card.name).trouble?;
        Some(model(ModelStatus {
            model: card.name.clone(),
            endpoint: card.endpoint.clone(),
            dialect: card.dialect,
            simulated: card.simulated,
            trouble: Some(trouble),
        }))
    });
    troubled.collect()
}

/// The host and port of an origin such as `https://api.example:8443`.
fn host(endpoint: &str) -> String {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host)
        .to_owned()
}

fn server(status: ServerStatus) -> pb::McpServerHealth {
    let transport = match status.transport {
        "stdio" => pb::McpTransport::Stdio,
        _ => pb::McpTransport::StreamableHttp,
    };
    use McpServerState as State;
    let (health, state, message) = match status.connection {
        Connection::Connecting => (HealthStatus::Connecting, State::Connecting, String::new()),
        Connection::Ready => (HealthStatus::Healthy, State::Ready, String::new()),
        Connection::Degraded(reason) => (HealthStatus::Degraded, State::Degraded, reason),
        Connection::Quarantined(reason) => (HealthStatus::Degraded, State::Quarantined, reason),
        Connection::Unauthorized(want) => (HealthStatus::Unhealthy, State::Unauthorized, want),
        Connection::Down(reason) => (HealthStatus::Unhealthy, State::Down, reason),
        Connection::Disabled => (HealthStatus::Unspecified, State::Disabled, String::new()),
    };
    pb::McpServerHealth {
        name: status.name,
        transport: transport.into(),
        status: health.into(),
        state: state.into(),
        tool_count: i32::try_from(status.tool_count).unwrap_or(i32::MAX),
        message,
        last_error_time: status.last_error_time.map(convert::timestamp),
    }
}
