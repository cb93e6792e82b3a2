//! Watching a run: what has happened, from the store, then what happens.

use std::collections::VecDeque;
use std::sync::Arc;

use super::elsewhere::POLL_INTERVAL;
use super::{LiveRun, Shared};
use crate::run::error::{Error, Reason};
use crate::run::event::{Body, Event};
use crate::run::id::{RunId, ThreadId};
use crate::run::log::Next;
use crate::run::message::{Message, Role};
use crate::run::ports::Topic;
use crate::run::record::RunRecord;

/// A watcher's place in a run.
pub struct Watch {
    shared: Arc<Shared>,
    run: RunId,
    thread: ThreadId,
    /// The run, as long as it goes on in this process.
    live: Option<Arc<LiveRun>>,
    /// The sequence of the last event that was given out.
    after: u64,
    /// Events that were read and not given out.
    read: VecDeque<Arc<Event>>,
    is_over: bool,
}

impl Watch {
    pub(super) fn of_live(shared: &Arc<Shared>, live: Arc<LiveRun>, after: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            run: live.id.clone(),
            thread: live.thread.clone(),
            live: Some(live),
            after,
            read: VecDeque::new(),
            is_over: false,
        }
    }

    /// Reads the first events, so that what is wrong is known before anything is shown.
    pub(super) async fn of_record(
        shared: &Arc<Shared>,
        record: &RunRecord,
        after: u64,
    ) -> Result<Self, Error> {
        let mut watch = Self {
            shared: Arc::clone(shared),
            run: record.id.clone(),
            thread: record.thread.clone(),
            live: None,
            after,
            read: VecDeque::new(),
            is_over: record.state.outcome().is_some() && after >= record.last_sequence,
        };
        if !watch.is_over {
            watch.read = watch.stored_or_snapshot().await?;
        }
        Ok(watch)
    }

    /// The run that is watched.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Its thread.
    pub fn thread(&self) -> &ThreadId {
        &self.thread
    }

    /// The sequence of the last event that was given out, or after which the watch began.
    pub fn last_sequence(&self) -> u64 {
        self.after
    }

    /// The next event: waits for it if it has not happened yet. Nothing follows the terminal event.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, also when the run's end cannot be written; `EVENTS_EXPIRED`; `RUN_NOT_FOUND` when the
    /// run was deleted meanwhile; `SHUTTING_DOWN` when this process leaves the run to the next one.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, Error> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(Some(self.give(event)));
            }
            if self.is_over {
                return Ok(None);
            }
            let Some(live) = self.live.clone() else {
                self.read_stored().await?;
                continue;
            };
            let mut news = live.log.subscribe();
            news.mark_unchanged();
            match live.log.next(self.after) {
                Next::Event(event) => return Ok(Some(self.give(event))),
                Next::Stored => {
                    self.read = self.stored().await?;
                    if !self.read.is_empty() {
                        continue;
                    }
                    // What follows is not there yet: the run is about to go on behind a gap.
                }
                Next::Nothing => {}
            }
            tokio::select! {
                biased;
                // The sender lives in the log that this watch holds on to, so it cannot be gone.
                changed = news.changed() => changed.map_err(Error::internal)?,
                error = live.broken_off() => match error.reason() {
                    // The store has what follows, sooner or later.
                    Reason::RunInterrupted => self.live = None,
                    _ => return Err(error),
                },
            }
        }
    }

    fn give(&mut self, event: Arc<Event>) -> Arc<Event> {
        self.after = self.after.max(event.sequence);
        self.is_over = matches!(event.body, Body::Ended(_));
        event
    }

    /// Reads on in a run that does not go on here: it is over, or another process carries it out.
    async fn read_stored(&mut self) -> Result<(), Error> {
        let mut news = self.shared.ports.news.listen(&Topic::Run(self.run.clone()));
        news.mark_unchanged();
        self.read = self.stored_or_snapshot().await?;
        if self.read.is_empty() {
            self.live = self.shared.live(&self.run);
            if self.live.is_none() {
                // News are but a hint.
                let _ = tokio::time::timeout(POLL_INTERVAL, news.changed()).await;
            }
        }
        Ok(())
    }

    async fn stored_or_snapshot(&self) -> Result<VecDeque<Arc<Event>>, Error> {
        match self.stored().await {
            Err(error) if error.reason() == Reason::EventsExpired && self.after == 0 => {
                self.shared.snapshot(&self.run).await
            }
            events => events,
        }
    }

    async fn stored(&self) -> Result<VecDeque<Arc<Event>>, Error> {
        let events = self.shared.ports.store.events(&self.run, self.after).await?;
        Ok(events.into_iter().map(Arc::new).collect())
    }
}

impl Shared {
    /// A run that is over and whose events are not kept, told from its records: these events have no sequence,
    /// the terminal one has its own.
    async fn snapshot(&self, run: &RunId) -> Result<VecDeque<Arc<Event>>, Error> {
        let store = &self.ports.store;
        let record = store.run(run).await?;
        let messages = store.run_messages(run).await?;
        let told = messages.into_iter().map(|message| Event {
            sequence: 0,
            time: message.create_time,
            body: told(message),
        });
        let end = Event {
            sequence: record.last_sequence,
            time: record.end_time.unwrap_or(record.create_time),
            body: Body::Ended(Arc::new(record)),
        };
        Ok(told.chain([end]).map(Arc::new).collect())
    }
}

fn told(message: Arc<Message>) -> Body {
    match message.role {
        Role::Assistant => Body::MessageCompleted(message),
        _ => Body::MessageCreated(message),
    }
}
