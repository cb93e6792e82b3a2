//! Performs what the state machine decides: the asynchronous part of the heart.
//!
//! One task per run. It alone feeds the run's inputs and performs its effects, in order; watchers read the
//! run's log. However the task ends, its thread is freed and the terminal event is out.

mod call;
mod performance;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::error::{Error, Reason};
use super::id::{MessageId, Mint, RunId, ThreadId};
use super::log::{EventLog, Watch};
use super::message::{Message, Part, Role, ToolOutput, Usage};
use super::ports::{Model, OnProgress, Opened, Opening, RequestKey, Store, Toolbox};
use super::record::{Limits, RunRecord, Snapshot, State};

/// How long a run may take to end itself once it is told to.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Opens runs and carries them out.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Ports,
    settings: Settings,
    active: Mutex<HashMap<RunId, Arc<LiveRun>>>,
    tasks: TaskTracker,
    /// No new runs are taken.
    draining: CancellationToken,
    /// Every run ends now.
    stopping: CancellationToken,
}

/// What the engine works with.
#[derive(Clone)]
pub struct Ports {
    /// The model.
    pub model: Arc<dyn Model>,
    /// The tools.
    pub toolbox: Arc<dyn Toolbox>,
    /// The store.
    pub store: Arc<dyn Store>,
}

/// The operator's choices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model of a run that names none.
    pub model: String,
    /// The default assistant's instructions; empty for none.
    pub instructions: String,
    /// The bounds of a run that gives none.
    pub limits: Limits,
    /// How long a run may take, whatever its own bounds are; then it is EXPIRED.
    pub execution_limit: Duration,
    /// How long a tool may take to answer or to report progress.
    pub call_timeout: Duration,
    /// How many calls of one run may go on at once; at least 1.
    pub parallel_calls: usize,
}

/// A run as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewRun {
    /// The thread to go on with; a new one if there is none.
    pub thread: Option<ThreadId>,
    /// What the caller says.
    pub content: Vec<Part>,
    /// The model; the operator's if there is none.
    pub model: Option<String>,
    /// Instructions for this run, after the operator's.
    pub instructions: Option<String>,
    /// The bounds; the operator's if there are none.
    pub limits: Option<Limits>,
    /// The caller's request id.
    pub request: Option<RequestKey>,
    /// The caller's notes.
    pub metadata: BTreeMap<String, String>,
}

/// What becomes of a run when the caller that asked for it goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It is cancelled.
    Cancel,
    /// It goes on.
    GoOn,
}

/// A run that was asked for.
#[derive(Debug)]
pub enum Begun {
    /// It goes on in this process.
    Live(RunHandle),
    /// The request id has been seen, and the run that it started is over.
    Past(Finished),
}

/// A hold on a run that goes on. Dropping it cancels the run if it was begun so.
#[derive(Debug)]
pub struct RunHandle {
    live: Arc<LiveRun>,
    _cancels: Option<DropGuard>,
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The run as it ended.
    pub record: Arc<RunRecord>,
    /// The text of the last message that the model wrote; empty if it wrote none.
    pub response: String,
}

#[derive(Debug)]
struct LiveRun {
    id: RunId,
    thread: ThreadId,
    log: Arc<EventLog>,
    cancel: CancellationToken,
    finished: watch::Sender<Option<Finished>>,
}

impl Engine {
    /// An engine without runs.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let shared = Shared {
            ports,
            settings,
            active: Mutex::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What it works with.
    pub fn ports(&self) -> &Ports {
        &self.shared.ports
    }

    /// What a run gets that does not say otherwise.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Opens a run and starts it. When this returns, the run and the caller's message are durable.
    ///
    /// Dropping the future is like dropping the handle: nothing is left open.
    ///
    /// # Errors
    /// `SHUTTING_DOWN`, and those of [`Store::open_run`].
    pub async fn begin(&self, new: NewRun, on_disconnect: OnDisconnect) -> Result<Begun, Error> {
        if self.shared.draining.is_cancelled() {
            return Err(Error::new(Reason::ShuttingDown, "the service is going down"));
        }
        let opening = self.opening(new);
        let live = Arc::new(LiveRun::new(&opening.record));
        let cancels = (on_disconnect == OnDisconnect::Cancel).then(|| live.cancel.clone().drop_guard());
        let (opened, is_open) = oneshot::channel();
        let (shared, run) = (Arc::clone(&self.shared), Arc::clone(&live));
        self.shared
            .tasks
            .spawn(performance::open_and_perform(shared, run, opening, opened));
        match is_open
            .await
            .map_err(|_| Error::internal("the run's task is gone"))??
        {
            None => Ok(Begun::Live(RunHandle {
                live,
                _cancels: cancels,
            })),
            Some(record) => self.begun_before(record).await,
        }
    }

    /// Calls a tool outside any run.
    ///
    /// Arguments that do not fit the tool's schema are the tool's failure, as they are in a run.
    ///
    /// # Errors
    /// `TOOL_NOT_FOUND`, `DEADLINE_EXCEEDED` and those of [`Toolbox::call`].
    pub async fn call_tool(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<ToolOutput, Error> {
        let toolbox = &self.shared.ports.toolbox;
        let catalogue = toolbox.catalogue();
        let tool = catalogue.get(name).ok_or_else(|| {
            Error::new(Reason::ToolNotFound, format!("there is no tool named {name:?}")).with("tool", name)
        })?;
        let arguments = match tool.check_arguments(arguments) {
            Ok(arguments) => arguments,
            Err(text) => return Ok(ToolOutput::failure(text)),
        };
        let limit = self.shared.settings.call_timeout;
        let timeout = timeout.map_or(limit, |timeout| timeout.min(limit));
        let ignore_progress: OnProgress = Box::new(|_| {});
        call::bounded(toolbox.as_ref(), tool, arguments, timeout, ignore_progress).await
    }

    /// Takes no new runs, lets those that go on finish for as long as `grace`, then ends them.
    pub async fn drain(&self, grace: Duration) {
        let shared = &self.shared;
        shared.draining.cancel();
        shared.tasks.close();
        if tokio::time::timeout(grace, shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                runs = shared.tasks.len(),
                "ending runs that did not finish in time"
            );
            shared.stopping.cancel();
            if tokio::time::timeout(LAST_WORDS, shared.tasks.wait())
                .await
                .is_err()
            {
                tracing::error!(runs = shared.tasks.len(), "runs are left open");
            }
        }
    }

    fn opening(&self, new: NewRun) -> Opening {
        let settings = &self.shared.settings;
        let mut mint = Mint::System;
        let now = SystemTime::now();
        let creates_thread = new.thread.is_none();
        let instructions = match new.instructions {
            Some(more) if settings.instructions.is_empty() => more,
            Some(more) => format!("{}\n\n{more}", settings.instructions),
            None => settings.instructions.clone(),
        };
        let record = RunRecord {
            id: RunId::new(&mut mint),
            thread: new.thread.unwrap_or_else(|| ThreadId::new(&mut mint)),
            snapshot: Snapshot {
                model: new.model.unwrap_or_else(|| settings.model.clone()),
                instructions,
                limits: new.limits.unwrap_or(settings.limits),
                catalogue_version: 0,
                metadata: new.metadata,
            },
            state: State::Running,
            usage: Usage::default(),
            last_sequence: 0,
            create_time: now,
            end_time: None,
        };
        let message = Arc::new(Message {
            id: MessageId::new(&mut mint),
            role: Role::User,
            content: new.content,
            run: Some(record.id.clone()),
            incomplete: false,
            create_time: now,
        });
        Opening {
            record,
            creates_thread,
            message,
            request: new.request,
        }
    }

    /// The run that an earlier request with this id started.
    async fn begun_before(&self, record: RunRecord) -> Result<Begun, Error> {
        if let Some(live) = self.shared.live(&record.id) {
            return Ok(Begun::Live(RunHandle { live, _cancels: None }));
        }
        // It may have ended between the two looks.
        let record = self.shared.ports.store.run(&record.id).await?;
        if record.state.outcome().is_none() {
            let error = Error::new(Reason::RunInterrupted, "the run goes on in another process");
            return Err(error
                .with("run", record.id.as_str())
                .retry_after(Duration::from_secs(1)));
        }
        let messages = self.shared.ports.store.run_messages(&record.id).await?;
        let answer = messages
            .iter()
            .rev()
            .find(|message| message.role == Role::Assistant);
        let response = answer.map(|message| message.text()).unwrap_or_default();
        Ok(Begun::Past(Finished {
            record: Arc::new(record),
            response,
        }))
    }
}

impl Shared {
    fn live(&self, run: &RunId) -> Option<Arc<LiveRun>> {
        self.active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(run)
            .cloned()
    }

    fn enter(&self, live: &Arc<LiveRun>) {
        self.active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(live.id.clone(), Arc::clone(live));
    }

    fn leave(&self, live: &LiveRun) {
        self.active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&live.id);
    }
}

impl RunHandle {
    /// The run's name.
    pub fn id(&self) -> &RunId {
        &self.live.id
    }

    /// The thread that it answers.
    pub fn thread(&self) -> &ThreadId {
        &self.live.thread
    }

    /// Every event of the run, from the first on.
    pub fn watch(&self) -> Watch {
        self.live.log.watch()
    }

    /// Waits for the end. A run ends by its execution limit, so this does too.
    ///
    /// # Errors
    /// `INTERNAL` if the run's task is gone without a word, which is a defect.
    pub async fn finished(&self) -> Result<Finished, Error> {
        let mut finished = self.live.finished.subscribe();
        let finished = finished
            .wait_for(Option::is_some)
            .await
            .map_err(Error::internal)?;
        finished
            .clone()
            .ok_or_else(|| Error::internal("a finished run without an end"))
    }
}

impl LiveRun {
    fn new(record: &RunRecord) -> Self {
        Self {
            id: record.id.clone(),
            thread: record.thread.clone(),
            log: Arc::new(EventLog::new()),
            cancel: CancellationToken::new(),
            finished: watch::Sender::new(None),
        }
    }
}

impl Shared {
    /// Opens the run in the store, or finds the one that the request id started before.
    async fn open(&self, opening: Opening) -> Result<Opened, Error> {
        self.ports.store.open_run(opening).await
    }
}
