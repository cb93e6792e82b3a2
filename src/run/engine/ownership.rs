//! Owning runs: saying that this process is there, taking over what others left, and following their letters.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::queue::Queued;
use super::{Command, Engine, LiveRun, OnDisconnect, Shared, performance};
use crate::run::error::{Error, Reason};
use crate::run::id::RunId;
use crate::run::ports::{Connection, Letter, ServerStatus, Topic};
use crate::run::record::{RunRecord, State};
use crate::run::state::Beginning;

/// How often a lease is renewed within its time. What a process is given lasts one part less, so that who looks as
/// often takes over within the time.
const RENEWALS: u32 = 4;

/// Runs that are taken over at once.
const CLAIM_LIMIT: u32 = 32;

/// How often to look for letters of which no news came, as a store's news are but hints.
const LETTERS_INTERVAL: Duration = Duration::from_secs(15);

/// How long runs that go on wait for MCP servers that have not answered yet: without their tools, a call that can be made
/// again would not be, and a model would be told that there are none.
const TOOLS_PATIENCE: Duration = Duration::from_secs(60);

/// How often they look.
const TOOLS_INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait before what a run needs to go on is read again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What a run needs to go on.
pub(super) enum Inheritance {
    /// It is at work, or waits for people.
    Begun(Beginning),
    /// It waits for its thread.
    Queued(Queued),
}

impl Engine {
    /// Goes on with the runs that dead processes left, each from the last step that was written: how many there
    /// are. To be called once, before the first new run and when the tools are there.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn recover(&self) -> Result<usize, Error> {
        let ownership = &self.shared.ports.ownership;
        ownership.renew(self.shared.lease()).await?;
        self.take_over().await
    }

    /// Keeps this process's runs its own and goes on with those of processes that die, until it is stopped; then it
    /// leaves what it still has to the others.
    pub async fn own(&self, stopped: CancellationToken) {
        let ports = &self.shared.ports;
        let mut renewals = tokio::time::interval(self.shared.settings.lease / RENEWALS);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval_at(Instant::now() + LETTERS_INTERVAL, LETTERS_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut letters = ports.news.listen(&Topic::Letters);
        let mut left = ports.news.listen(&Topic::Left);
        loop {
            tokio::select! {
                () = stopped.cancelled() => break,
                _ = renewals.tick() => self.renew().await,
                // Without news, the next renewal looks.
                Ok(()) = left.changed() => self.take_over_if_staying().await,
                Ok(()) = letters.changed() => self.follow_letters().await,
                _ = looks.tick() => self.follow_letters().await,
            }
        }
        if let Err(error) = ports.ownership.release().await {
            tracing::warn!(%error, "other processes will only see later that this one is gone");
        }
    }

    async fn renew(&self) {
        if let Err(error) = self.shared.ports.ownership.renew(self.shared.lease()).await {
            tracing::warn!(%error, "the lease could not be renewed: other processes may take runs over");
            return;
        }
        self.take_over_if_staying().await;
    }

    async fn take_over_if_staying(&self) {
        if self.shared.draining.is_cancelled() {
            return;
        }
        if let Err(error) = self.take_over().await {
            tracing::warn!(%error, "runs could not be taken over");
        }
    }

    async fn take_over(&self) -> Result<usize, Error> {
        let shared = &self.shared;
        let mut count = 0;
        loop {
            let runs = shared.ports.ownership.claim(CLAIM_LIMIT).await?;
            if runs.is_empty() {
                if count > 0 {
                    // What was asked of the processes that are gone is asked of this one now.
                    self.follow_letters().await;
                }
                return Ok(count);
            }
            count += runs.len();
            for record in runs {
                shared.inherit(record);
            }
        }
    }

    async fn follow_letters(&self) {
        match self.shared.ports.ownership.letters().await {
            Ok(letters) => {
                for (run, letter) in letters {
                    self.shared.follow(&run, letter);
                }
            }
            Err(error) => tracing::warn!(%error, "letters could not be read"),
        }
    }
}

impl Shared {
    /// How long this process counts as alive after it has said so.
    fn lease(&self) -> Duration {
        self.settings.lease / RENEWALS * (RENEWALS - 1)
    }

    /// Goes on with a run, in a task of its own.
    fn inherit(self: &Arc<Self>, record: RunRecord) {
        tracing::warn!(run = %record.id, thread = %record.thread, "going on with a run that another process left");
        if let Some(lost) = self.live(&record.id) {
            // It was taken away from this process once, which has not noticed yet.
            lost.lost.cancel();
        }
        // Of a queued run, nothing has been shown that was not written.
        let before = match record.state {
            State::Queued => record.last_sequence,
            _ => record.reserved_sequence,
        };
        let live = Arc::new(LiveRun::new(&record, before, OnDisconnect::GoOn));
        self.enter(&live);
        let task = performance::inherit_and_perform(Arc::clone(self), live, record);
        self.tasks.spawn(task);
    }

    /// What the run needs to go on; waits for the store as long as it takes. None when this process goes down
    /// meanwhile.
    pub(super) async fn inheritance(
        &self,
        live: &LiveRun,
        record: &RunRecord,
    ) -> Option<Result<Inheritance, Error>> {
        let tools = tokio::time::timeout(TOOLS_PATIENCE, self.tools_are_there());
        tokio::select! {
            _ = tools => {}
            () = live.cancel.cancelled() => {}
            () = self.draining.cancelled() => return None,
        }
        self.once_read(&record.id, || self.read_inheritance(record)).await
    }

    /// Waits until every MCP server has been connected, or could not be.
    async fn tools_are_there(&self) {
        let is_on_its_way = |server: &ServerStatus| server.connection == Connection::Connecting;
        while self.ports.toolbox.servers().iter().any(is_on_its_way) {
            tokio::time::sleep(TOOLS_INTERVAL).await;
        }
    }

    /// What was written last of a run of this process; waits for the store as [`inheritance`](Self::inheritance)
    /// does.
    pub(super) async fn last_written(&self, run: &RunId) -> Option<Result<Inheritance, Error>> {
        let read = || async {
            let record = self.ports.store.run(run).await?;
            self.read_inheritance(&record).await
        };
        self.once_read(run, read).await
    }

    async fn once_read<F>(&self, run: &RunId, read: impl Fn() -> F) -> Option<Result<Inheritance, Error>>
    where
        F: Future<Output = Result<Inheritance, Error>>,
    {
        loop {
            let error = match read().await {
                Err(error) if error.reason() == Reason::StoreUnavailable => error,
                inheritance => return Some(inheritance),
            };
            tracing::warn!(%run, %error, "a run cannot go on yet");
            tokio::select! {
                () = self.draining.cancelled() => return None,
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
            }
        }
    }

    async fn read_inheritance(&self, record: &RunRecord) -> Result<Inheritance, Error> {
        let store = &self.ports.store;
        let terms = self.terms(&record.snapshot);
        let mut record = record.clone();
        record.snapshot.catalogue_version = terms.catalogue.version();
        Ok(if record.state == State::Queued {
            Inheritance::Queued(Queued {
                message: store.queued_message(&record.id).await?,
                terms,
                record,
            })
        } else {
            Inheritance::Begun(Beginning {
                history: store.history(&record.thread).await?,
                unread: 0,
                // What the other process has asked, nobody knows.
                unasked: 0,
                steps: self.all_steps(&record.id).await?,
                terms,
                record,
            })
        })
    }

    /// Does what another process asks, if the run is still there. That one sees from the run what came of it.
    fn follow(&self, run: &RunId, letter: Letter) {
        let Some(live) = self.live(run) else {
            return;
        };
        match letter {
            Letter::Cancel => live.cancel.cancel(),
            Letter::Answers(submissions) => {
                let (reply, _) = oneshot::channel();
                let command = Command { submissions, reply };
                if live.answers.try_send(command).is_err() {
                    tracing::warn!(%run, "answers from another process came too fast");
                }
            }
        }
    }
}
