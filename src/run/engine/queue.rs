//! Runs that wait for their thread: each in its own task, in the order in which they came.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::elsewhere::POLL_INTERVAL;
use super::performance::{NEVER, perform, write_end};
use super::{Finished, LiveRun, Shared};
use crate::run::clock;
use crate::run::context;
use crate::run::error::{Error, Reason};
use crate::run::id::RunId;
use crate::run::message::Message;
use crate::run::ports::{Save, Start, Started, Topic};
use crate::run::record::{Outcome, RunRecord};
use crate::run::state::{Beginning, Run, Terms, ending_events, starting_events};

/// A run in the queue.
pub(super) struct Queued {
    pub(super) record: RunRecord,
    /// What it was opened with.
    pub(super) message: Option<Arc<Message>>,
    pub(super) terms: Terms,
}

/// What keeps a queued run waiting.
enum Obstacle {
    Run(RunId),
    Store,
}

/// Waits for the thread, then carries the run out. None when the run is left to the next process.
pub(super) async fn wait_and_perform(shared: &Shared, live: &LiveRun, queued: Queued) -> Option<Finished> {
    loop {
        let obstacle = match start(shared, live, &queued).await {
            Ok(Ok(beginning)) => return perform(shared, live, beginning, Run::start).await,
            Ok(Err(obstacle)) => obstacle,
            Err(error) if error.reason() == Reason::RunInterrupted => {
                live.lost.cancel();
                return None;
            }
            Err(error) => return end(shared, live, queued.record, Outcome::Failed(error)).await,
        };
        let expires = queued.record.expire_time.map_or(NEVER, until);
        let outcome = tokio::select! {
            biased;
            () = live.lost.cancelled() => return None,
            () = live.cancel.cancelled() => Outcome::Cancelled,
            () = shared.draining.cancelled() => return None,
            () = tokio::time::sleep(expires) => Outcome::Expired("the run waited too long for its thread".to_owned()),
            () = shared.passes(obstacle) => continue,
        };
        return end(shared, live, queued.record, outcome).await;
    }
}

/// Starts the run, or says what is in its way.
async fn start(
    shared: &Shared,
    live: &LiveRun,
    queued: &Queued,
) -> Result<Result<Beginning, Obstacle>, Error> {
    let mut record = queued.record.clone();
    let message = queued.message.clone();
    let events = starting_events(
        &mut record,
        message.as_ref(),
        queued.terms.execution_limit,
        clock::now(),
    );
    let start = Start {
        record: record.clone(),
        message: message.clone(),
        events: events.clone(),
        reach: context::reach(record.snapshot.truncation, &queued.terms.bounds),
    };
    let mut history = match shared.ports.store.start_run(start).await {
        Ok(Started::Now(history)) => history,
        Ok(Started::Behind(run)) => return Ok(Err(Obstacle::Run(run))),
        Err(error) if error.reason() == Reason::StoreUnavailable => {
            tracing::warn!(run = %record.id, %error, "a queued run cannot be started yet");
            return Ok(Err(Obstacle::Store));
        }
        Err(error) => return Err(error),
    };
    live.show_written(&events, record.reserved_sequence);
    history.messages.extend(message);
    Ok(Ok(Beginning {
        unasked: shared.unasked(&record, &history.messages).await,
        record,
        history: history.messages,
        unread: history.unread,
        steps: Vec::new(),
        terms: queued.terms.clone(),
    }))
}

/// Ends a run that never began. None when the next process is to do that.
pub(super) async fn end(
    shared: &Shared,
    live: &LiveRun,
    mut record: RunRecord,
    outcome: Outcome,
) -> Option<Finished> {
    let events = ending_events(&mut record, outcome, clock::now());
    let record = Arc::new(record);
    let save = Save {
        record: Arc::clone(&record),
        messages: Vec::new(),
        steps: Vec::new(),
        events,
    };
    write_end(shared, live, &save).await?;
    Some(Finished { record, answer: None })
}

fn until(time: SystemTime) -> Duration {
    time.duration_since(clock::now()).unwrap_or_default()
}

impl Shared {
    /// Waits until it is worth trying again.
    async fn passes(&self, obstacle: Obstacle) {
        let Obstacle::Run(run) = obstacle else {
            return tokio::time::sleep(POLL_INTERVAL).await;
        };
        match self.live(&run) {
            Some(live) => {
                if live.finished().await.is_err() {
                    // It has not ended.
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
            // It goes on elsewhere, if it does.
            None => {
                let mut news = self.ports.news.listen(&Topic::Run(run));
                let _ = tokio::time::timeout(POLL_INTERVAL, news.changed()).await;
            }
        }
    }
}
