//! Writes the events of turns that are not over, right behind: those of all runs together, a few times a second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::{LiveRun, Shared};
use crate::run::error::Error;
use crate::run::ports::Append;
use crate::run::state::RESERVE;

/// How long events wait for others before they are written.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait after the store could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Writes behind, for as long as there is an engine.
pub(super) async fn write_behind(shared: Weak<Shared>, unwritten: Arc<Notify>) {
    loop {
        unwritten.notified().await;
        tokio::time::sleep(INTERVAL).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.flush().await {
            // They stay in the logs; the next round, or the run's next step, takes them along.
            tracing::warn!(%error, "events could not be written yet");
            unwritten.notify_one();
            drop(shared);
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

impl Shared {
    async fn flush(&self) -> Result<(), Error> {
        let runs: Vec<_> = self.active().values().cloned().collect();
        let (flushed, appends) = pending(&runs);
        if appends.is_empty() {
            return Ok(());
        }
        let lost = self.ports.store.append(appends).await?;
        for (run, sequence) in flushed {
            if lost.contains(&run.id) {
                run.lost.cancel();
            } else {
                run.mark_written(sequence, sequence + RESERVE);
            }
        }
        Ok(())
    }
}

/// What is to be written, and up to where each run's events are written then.
fn pending(runs: &[Arc<LiveRun>]) -> (Vec<(&Arc<LiveRun>, u64)>, Vec<Append>) {
    let pending = runs.iter().filter_map(|run| {
        let events = run.log.unwritten();
        let last = events.last()?.sequence;
        let append = Append {
            run: run.id.clone(),
            events,
            reserved_sequence: last + RESERVE,
            fence: run.fence,
        };
        Some(((run, last), append))
    });
    pending.unzip()
}
