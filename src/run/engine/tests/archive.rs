//! A store in memory that keeps the contract of its port, and is away or slow when it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::run::assistant::{AssistantRecord, Profile};
use crate::run::error::{Error, Reason};
use crate::run::event::Event;
use crate::run::id::{AssistantId, MessageId, RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Listed, Page};
use crate::run::ports::{
    Append, Letter, NewThread, News, Opened, Opening, Ownership, Pending, RequestKey, Restore, Restored,
    Save, Start, Started, Store, ThreadChange, Topic,
};
use crate::run::record::{RunRecord, State, ThreadRecord};
use crate::run::spending::{Spenders, Spending};
use crate::run::step::Step;

/// Events that are given at once: few, so that readers have to come back.
const EVENTS_AT_ONCE: usize = 7;

#[derive(Default)]
pub(super) struct Archive {
    kept: Mutex<Kept>,
    /// Nothing can be read or written; a write that is on its way may have happened all the same.
    pub(super) is_away: AtomicBool,
    /// So many writes fail, and then no more.
    pub(super) writes_to_fail: AtomicUsize,
    /// Opening a run takes a second.
    pub(super) open_waits: AtomicBool,
    pub(super) events_expired: AtomicBool,
    /// Those who own its runs are there.
    pub(super) is_owned: AtomicBool,
    silence: tokio::sync::watch::Sender<()>,
    /// Everything takes a while.
    pub(super) latency: Option<Mutex<fastrand::Rng>>,
}

/// Everything that is written.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) threads: BTreeMap<ThreadId, Shelf>,
    pub(super) runs: BTreeMap<RunId, Volume>,
    letters: Vec<(RunId, Letter)>,
    /// What no engine may ever do to a store.
    pub(super) offences: Vec<String>,
}

/// What is kept of a thread.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) messages: Vec<Arc<Message>>,
    active: Option<RunId>,
    queue: Vec<RunId>,
}

/// What is kept of a run.
#[derive(Clone)]
pub(super) struct Volume {
    pub(super) record: RunRecord,
    message: Option<Arc<Message>>,
    pub(super) steps: BTreeMap<u32, Arc<Step>>,
    pub(super) events: BTreeMap<u64, Arc<Event>>,
}

impl Archive {
    /// One in which everything takes a few milliseconds.
    pub(super) fn slow(seed: u64) -> Self {
        Self {
            latency: Some(Mutex::new(fastrand::Rng::with_seed(seed))),
            ..Self::default()
        }
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    pub(super) fn add_thread(&self, thread: &ThreadId) {
        self.kept().threads.insert(thread.clone(), Shelf::default());
    }

    /// The run that keeps the thread busy.
    pub(super) fn active(&self, thread: &ThreadId) -> Option<RunId> {
        self.kept().threads.get(thread)?.active.clone()
    }

    async fn wait(&self) {
        let millis = match &self.latency {
            Some(rng) => rng.lock().unwrap().u64(0..4),
            None => 0,
        };
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    fn check_there(&self) -> Result<(), Error> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::new(Reason::StoreUnavailable, "disk full"));
        }
        Ok(())
    }

    fn fail_as_told(&self) -> Result<(), Error> {
        let left = &self.writes_to_fail;
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(Error::new(Reason::StoreUnavailable, "disk full")),
            Err(_) => self.check_there(),
        }
    }

    async fn read<T>(&self, read: impl FnOnce(&Kept) -> Result<T, Error>) -> Result<T, Error> {
        self.wait().await;
        self.check_there()?;
        let found = read(&self.kept());
        self.wait().await;
        found
    }

    /// Something that may be written twice: who does not hear that it is written may try again.
    async fn write<T>(&self, write: impl FnOnce(&mut Kept) -> T) -> Result<T, Error> {
        self.wait().await;
        self.fail_as_told()?;
        let written = write(&mut self.kept());
        self.wait().await;
        self.check_there()?;
        Ok(written)
    }
}

impl Kept {
    fn run(&self, run: &RunId) -> Result<&Volume, Error> {
        let missing = || Error::new(Reason::RunNotFound, "no such run");
        self.runs.get(run).ok_or_else(missing)
    }

    fn thread(&self, thread: &ThreadId) -> Result<&Shelf, Error> {
        let missing = || Error::new(Reason::ThreadNotFound, "no such thread");
        self.threads.get(thread).ok_or_else(missing)
    }

    fn open(&mut self, opening: Opening) -> Result<Opened, Error> {
        let record = opening.record;
        if opening.creates_thread {
            self.threads.entry(record.thread.clone()).or_default();
        }
        self.thread(&record.thread)?;
        let shelf = self.threads.entry(record.thread.clone()).or_default();
        let mut history = Vec::new();
        if record.state == State::Queued {
            shelf.queue.push(record.id.clone());
        } else {
            if let Some(before) = shelf.active.as_ref().or(shelf.queue.first()) {
                let busy = Error::new(Reason::ThreadBusy, "another run is active on the thread");
                return Err(busy.with("run", before.as_str()));
            }
            history.clone_from(&shelf.messages);
            shelf.messages.extend(opening.message.clone());
            shelf.active = Some(record.id.clone());
        }
        let volume = Volume {
            record: record.clone(),
            message: opening.message,
            steps: BTreeMap::new(),
            events: BTreeMap::new(),
        };
        self.runs.insert(record.id.clone(), volume);
        self.keep(&record.id, opening.events);
        Ok(Opened::Started(history.into()))
    }

    fn start(&mut self, start: Start) -> Result<Started, Error> {
        let record = start.record;
        self.check_owner(&record)?;
        let missing = || Error::new(Reason::RunNotFound, "no such run is queued");
        let shelf = self.threads.get_mut(&record.thread).ok_or_else(missing)?;
        if shelf.active.as_ref() == Some(&record.id) {
            let mut history = shelf.messages.clone();
            history.pop_if(|last| start.message.as_ref().is_some_and(|said| said.id == last.id));
            if history
                .last()
                .is_some_and(|last| last.run.as_ref() == Some(&record.id))
            {
                return Err(missing());
            }
            self.put(&record);
            self.keep(&record.id, start.events);
            return Ok(Started::Now(history.into()));
        }
        if !shelf.queue.contains(&record.id) {
            return Err(missing());
        }
        let before = shelf.active.as_ref().or(shelf.queue.first());
        if let Some(before) = before.filter(|before| **before != record.id) {
            return Ok(Started::Behind(before.clone()));
        }
        let history = shelf.messages.clone();
        shelf.messages.extend(start.message);
        shelf.queue.remove(0);
        shelf.active = Some(record.id.clone());
        self.put(&record);
        self.keep(&record.id, start.events);
        Ok(Started::Now(history.into()))
    }

    /// Refuses what a process writes that has lost the run.
    fn check_owner(&self, record: &RunRecord) -> Result<(), Error> {
        match self.runs.get(&record.id) {
            Some(kept) if kept.record.fence > record.fence => {
                Err(Error::new(Reason::RunInterrupted, "taken over"))
            }
            _ => Ok(()),
        }
    }

    fn save(&mut self, save: &Save) -> Result<(), Error> {
        let record = &save.record;
        self.check_owner(record)?;
        let Some(shelf) = self.threads.get_mut(&record.thread) else {
            return Ok(());
        };
        let is_over = record.state.outcome().is_some();
        if shelf.active.as_ref() == Some(&record.id) {
            if is_over {
                shelf.active = None;
            }
        } else if shelf.queue.contains(&record.id) {
            shelf.queue.retain(|queued| !is_over || *queued != record.id);
        } else if self
            .runs
            .get(&record.id)
            .is_none_or(|kept| kept.record.state != record.state)
        {
            let name = record.state.name();
            self.offences
                .push(format!("{} is over and becomes {name}", record.id));
            return Ok(());
        }
        for message in &save.messages {
            if !shelf.messages.iter().any(|known| known.id == message.id) {
                shelf.messages.push(Arc::clone(message));
            }
        }
        self.put(record);
        if let Some(volume) = self.runs.get_mut(&record.id) {
            let steps = save.steps.iter().map(|step| (step.place, Arc::clone(step)));
            volume.steps.extend(steps);
        }
        self.keep(&record.id, save.events.clone());
        Ok(())
    }

    fn put(&mut self, record: &RunRecord) {
        if let Some(volume) = self.runs.get_mut(&record.id) {
            volume.record = record.clone();
        }
    }

    fn keep(&mut self, run: &RunId, events: Vec<Arc<Event>>) {
        let Some(volume) = self.runs.get_mut(run) else {
            return;
        };
        for event in events {
            let sequence = event.sequence;
            if let Some(known) = volume.events.insert(sequence, Arc::clone(&event))
                && known.body != event.body
            {
                let offence = format!("{run} has number {sequence} twice: {known:?}, {event:?}");
                self.offences.push(offence);
            }
        }
    }

    /// Gives back the run if another process has taken it over.
    fn append(&mut self, append: Append) -> Option<RunId> {
        if let Some(volume) = self.runs.get_mut(&append.run) {
            if volume.record.fence > append.fence {
                return Some(append.run);
            }
            let reserved = &mut volume.record.reserved_sequence;
            *reserved = append.reserved_sequence.max(*reserved);
        }
        self.keep(&append.run, append.events);
        None
    }
}

fn whole<T>(items: Vec<T>) -> Listed<T> {
    Listed { items, next: None }
}

#[async_trait]
impl Store for Archive {
    async fn open_run(&self, opening: Opening) -> Result<Opened, Error> {
        if self.open_waits.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.wait().await;
        self.check_there()?;
        self.kept().open(opening)
    }

    async fn start_run(&self, start: Start) -> Result<Started, Error> {
        self.write(|kept| kept.start(start)).await?
    }

    async fn queued_message(&self, run: &RunId) -> Result<Option<Arc<Message>>, Error> {
        self.read(|kept| Ok(kept.run(run)?.message.clone())).await
    }

    async fn save(&self, save: &Save) -> Result<(), Error> {
        self.write(|kept| kept.save(save)).await?
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Vec<RunId>, Error> {
        self.write(|kept| {
            appends
                .into_iter()
                .filter_map(|append| kept.append(append))
                .collect()
        })
        .await
    }

    async fn run(&self, run: &RunId) -> Result<RunRecord, Error> {
        self.read(|kept| Ok(kept.run(run)?.record.clone())).await
    }

    async fn runs(
        &self,
        id: &ThreadId,
        states: &[&'static str],
        _: Page,
    ) -> Result<Listed<RunRecord>, Error> {
        let is_meant = |record: &&RunRecord| record.thread == *id && states.contains(&record.state.name());
        self.read(|kept| {
            let records = kept.runs.values().map(|volume| &volume.record);
            Ok(whole(records.filter(is_meant).cloned().collect()))
        })
        .await
    }

    async fn run_messages(&self, run: &RunId) -> Result<Vec<Arc<Message>>, Error> {
        let is_meant = |message: &&Arc<Message>| message.run.as_ref() == Some(run);
        self.read(|kept| {
            let messages = &kept.thread(&kept.run(run)?.record.thread)?.messages;
            Ok(messages.iter().filter(is_meant).cloned().collect())
        })
        .await
    }

    async fn history(&self, thread: &ThreadId) -> Result<Vec<Arc<Message>>, Error> {
        self.read(|kept| Ok(kept.thread(thread)?.messages.clone())).await
    }

    async fn run_steps(&self, run: &RunId, _: Page) -> Result<Listed<Arc<Step>>, Error> {
        self.read(|kept| Ok(whole(kept.run(run)?.steps.values().cloned().collect())))
            .await
    }

    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, Error> {
        if self.events_expired.load(Ordering::SeqCst) {
            return Err(Error::new(Reason::EventsExpired, "gone"));
        }
        self.read(|kept| {
            let later = kept.run(run)?.events.range(after + 1..).take(EVENTS_AT_ONCE);
            Ok(later.map(|(_, event)| (**event).clone()).collect())
        })
        .await
    }

    async fn pending_actions(&self, _: Page) -> Result<Listed<Pending>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn brought(&self, _: &RequestKey) -> Result<Option<String>, Error> {
        Ok(None)
    }

    async fn create_thread(&self, _: NewThread) -> Result<ThreadRecord, Error> {
        unreachable!("the engine does not ask")
    }

    async fn thread(&self, _: &ThreadId) -> Result<ThreadRecord, Error> {
        unreachable!("the engine does not ask")
    }

    async fn threads(&self, _: Page) -> Result<Listed<ThreadRecord>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn update_thread(
        &self,
        _: &ThreadId,
        _: ThreadChange,
        _: Option<u64>,
    ) -> Result<ThreadRecord, Error> {
        unreachable!("the engine does not ask")
    }

    async fn delete_thread(&self, _: &ThreadId, _: Option<u64>) -> Result<(), Error> {
        unreachable!("the engine does not ask")
    }

    async fn add_message(
        &self,
        _: &ThreadId,
        _: Arc<Message>,
        _: Option<RequestKey>,
    ) -> Result<Arc<Message>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn messages(&self, _: &ThreadId, _: Page) -> Result<Listed<Arc<Message>>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn message(&self, _: &ThreadId, _: &MessageId) -> Result<Arc<Message>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn create_assistant(
        &self,
        _: AssistantRecord,
        _: Option<RequestKey>,
    ) -> Result<AssistantRecord, Error> {
        unreachable!("the engine does not ask")
    }

    async fn assistant(&self, _: &AssistantId) -> Result<AssistantRecord, Error> {
        unreachable!("the engine does not ask")
    }

    async fn assistants(&self, _: Page) -> Result<Listed<AssistantRecord>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn update_assistant(&self, _: &AssistantId, _: Profile, _: u64) -> Result<AssistantRecord, Error> {
        unreachable!("the engine does not ask")
    }

    async fn delete_assistant(&self, _: &AssistantId, _: Option<u64>) -> Result<(), Error> {
        unreachable!("the engine does not ask")
    }

    async fn restore(&self, _: &Restore) -> Result<Restored, Error> {
        unreachable!("the engine does not ask")
    }

    async fn spendings(&self, _: &Spenders, _: Page) -> Result<Listed<Spending>, Error> {
        unreachable!("the engine does not ask")
    }

    async fn sweep(&self, _: SystemTime) -> Result<u64, Error> {
        Ok(0)
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "fake"
    }
}

#[async_trait]
impl Ownership for Archive {
    async fn renew(&self, _: Duration) -> Result<(), Error> {
        self.check_there()
    }

    async fn claim(&self, _: u32) -> Result<Vec<RunRecord>, Error> {
        if self.is_owned.swap(true, Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let mut kept = self.kept();
        let records = kept.runs.values_mut().map(|volume| &mut volume.record);
        let left = records.filter(|record| record.state.outcome().is_none());
        Ok(left
            .map(|record| {
                record.fence += 1;
                record.clone()
            })
            .collect())
    }

    async fn leave(&self, _: &RunId) -> Result<(), Error> {
        self.is_owned.store(false, Ordering::SeqCst);
        Ok(())
    }

    async fn release(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn post(&self, run: &RunId, letter: &Letter) -> Result<(), Error> {
        self.kept().letters.push((run.clone(), letter.clone()));
        Ok(())
    }

    async fn letters(&self) -> Result<Vec<(RunId, Letter)>, Error> {
        Ok(std::mem::take(&mut self.kept().letters))
    }
}

impl News for Archive {
    fn listen(&self, _: &Topic) -> tokio::sync::watch::Receiver<()> {
        self.silence.subscribe()
    }
}
