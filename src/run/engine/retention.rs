//! Deletes what is past retention, a little at a time.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::Engine;

/// How often to look for what is past retention.
const INTERVAL: Duration = Duration::from_secs(60);

impl Engine {
    /// Keeps deleting the events of runs that ended longer ago than `retention`, until it is stopped.
    pub async fn sweep(&self, retention: Duration, stopped: CancellationToken) {
        loop {
            if let Some(ended_before) = SystemTime::now().checked_sub(retention) {
                self.sweep_once(ended_before, &stopped).await;
            }
            tokio::select! {
                () = stopped.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    async fn sweep_once(&self, ended_before: SystemTime, stopped: &CancellationToken) {
        while !stopped.is_cancelled() {
            match self.shared.ports.store.sweep(ended_before).await {
                Ok(0) => return,
                Ok(count) => tracing::debug!(count, "what is past retention was deleted"),
                Err(error) => {
                    tracing::warn!(%error, "what is past retention cannot be deleted now");
                    return;
                }
            }
        }
    }
}
