//! What is done at start-up about runs whose process died.

use std::sync::Arc;

use super::queue::Queued;
use super::{Engine, LiveRun, performance};
use crate::run::error::Error;
use crate::run::record::State;
use crate::run::state::Beginning;

impl Engine {
    /// Goes on with the runs that a dead process left, each from the last step that was written. To be called
    /// once, before the first new run and when the tools are there.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn recover(&self) -> Result<usize, Error> {
        let shared = &self.shared;
        let store = &shared.ports.store;
        let runs = store.active_runs().await?;
        let count = runs.len();
        for record in runs {
            tracing::warn!(run = %record.id, thread = %record.thread, "going on with a run that a dead process left");
            if record.state == State::Queued {
                // Nothing has been shown of it that was not written.
                let live = Arc::new(LiveRun::new(&record, record.last_sequence));
                let queued = Queued {
                    message: store.queued_message(&record.id).await?,
                    terms: shared.terms(&record.snapshot.selection),
                    record,
                };
                shared.enter(&live);
                let task = performance::queue_and_perform(Arc::clone(shared), live, queued);
                shared.tasks.spawn(task);
                continue;
            }
            let beginning = Beginning {
                history: store.history(&record.thread).await?,
                steps: shared.all_steps(&record.id).await?,
                terms: shared.terms(&record.snapshot.selection),
                record,
            };
            let live = Arc::new(LiveRun::new(
                &beginning.record,
                beginning.record.reserved_sequence,
            ));
            shared.enter(&live);
            let task = performance::go_on_and_perform(Arc::clone(shared), live, beginning);
            shared.tasks.spawn(task);
        }
        Ok(count)
    }
}
