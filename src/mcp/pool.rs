//! All servers together: the heart's toolbox; see [`library`](super::library) for what else they have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::library::open;
use super::roster::Roster;
use super::supervise::{Pacing, Supervisor};
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::error::{Error, Reason};
use crate::run::message::ToolOutput;
use crate::run::ports::{OnProgress, ServerStatus, Toolbox};

/// The connections to all configured servers.
///
/// Must be [shut down](Pool::shutdown): a pool that is only dropped stops its tasks, but does not wait for the child
/// processes to end.
pub struct Pool {
    roster: Arc<Roster>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: tokio_util::sync::DropGuard,
}

impl Pool {
    /// Begins to connect to every server that is not disabled, each in a task of its own, and returns at once.
    /// Must be called within a tokio runtime; TLS needs the process's default provider of rustls.
    pub fn start(config: Config, pacing: Pacing) -> Self {
        let enabled = config.servers.into_iter().filter(|server| !server.disabled);
        let roster = Arc::new(Roster::new(enabled.collect()));
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        for link in roster.links() {
            let supervisor = Supervisor {
                link: link.clone(),
                roster: roster.clone(),
                pacing,
                stop: stop.clone(),
                tasks: tasks.clone(),
                known: Vec::new(),
            };
            tasks.spawn(supervisor.run());
        }
        Self {
            roster,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }
    }

    /// What is known of the servers.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Waits until the first attempt to connect to each server is over, with everything listed, or `limit` has passed; says which.
    pub async fn settled(&self, limit: Duration) -> bool {
        timeout(limit, self.roster.settled()).await.is_ok()
    }

    /// Closes every connection and ends every child process. Bounded: a child that does not end by itself is killed
    /// after a few seconds. Calls that are under way fail with `MCP_UNAVAILABLE`.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[async_trait]
impl Toolbox for Pool {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.roster.catalogue()
    }

    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        on_progress: OnProgress,
    ) -> Result<ToolOutput, Error> {
        let description = tool.description();
        let server = description.server.as_str();
        let Some(link) = self.roster.links().iter().find(|link| link.config.name == server) else {
            return Err(not_found(tool));
        };
        let session = open(link)?;
        let catalogue = self.roster.catalogue();
        let offered = catalogue.get(&description.name).map(|tool| tool.description());
        if !offered.is_some_and(|offered| {
            offered.server == description.server && offered.remote_name == description.remote_name
        }) {
            return Err(not_found(tool));
        }
        session
            .call(&description.remote_name, arguments, on_progress)
            .await
    }

    fn servers(&self) -> Vec<ServerStatus> {
        self.roster.links().iter().map(|link| link.status()).collect()
    }
}

fn not_found(tool: &Tool) -> Error {
    let description = tool.description();
    Error::new(
        Reason::ToolNotFound,
        format!("tool '{}' is not offered any more", description.name),
    )
    .with("tool", &description.name)
    .with("server", &description.server)
}
