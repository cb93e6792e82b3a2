//! Performs what the state machine decides: the asynchronous part of the heart.
//!
//! One task per run. It alone feeds the run's inputs and performs its effects, in order; watchers read the
//! run's log. However the task ends, its thread is freed and the terminal event is out.

mod asked;
mod call;
mod elsewhere;
mod flush;
mod ownership;
mod performance;
mod queue;
mod retention;
mod sampling;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::action::Submission;
use super::answer::AnswerCheck;
use super::assistant::{AssistantRecord, Profile};
use super::catalogue::{ClientTool, Policy, Selection};
use super::clock;
use super::context::Bounds;
use super::credentials::Credentials;
use super::error::{Error, Reason};
use super::event::Event;
use super::id::{MessageId, Mint, RunId, ThreadId};
use super::log::EventLog;
use super::message::{Message, Part, Role, ToolOutput, Usage};
use super::options::ModelOptions;
use super::page::{Order, Page};
use super::ports::{
    Call, CallOutcome, Happening, Model, News, Observer, Opening, Ownership, RequestKey, Store, Tokenizer,
    Toolbox,
};
use super::record::{Limits, LimitsPatch, Outcome, RunRecord, Snapshot, State};
use super::state::{Run, SummaryModel, Terms, not_pending};
use super::step::Step;
use super::truncation::{Reach, Truncation};

use self::call::OutsideRuns;
pub use self::watch::Watch;

/// Answers that may wait for a run to look at them.
const ANSWERS_QUEUE: usize = 16;

/// Steps that are read at once.
const STEPS_AT_ONCE: u32 = 1_000;

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
    /// There are events that the store does not have yet.
    unwritten: Arc<Notify>,
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
    /// What estimates how long a conversation is.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// The tools.
    pub toolbox: Arc<dyn Toolbox>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Which of the processes on the store carries out which run.
    pub ownership: Arc<dyn Ownership>,
    /// What the other processes have written.
    pub news: Arc<dyn News>,
    /// Who is told of what happened.
    pub observer: Arc<dyn Observer>,
}

/// The operator's choices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model of a run that names none.
    pub model: String,
    /// The default assistant's instructions; empty for none.
    pub instructions: String,
    /// How the model answers in runs that do not say otherwise.
    pub options: ModelOptions,
    /// The bounds of a run that gives none.
    pub limits: Limits,
    /// What becomes of a conversation that is too long, where neither the run nor its assistant says.
    pub truncation: Truncation,
    /// The model that sums up what the model of a run is not given any more; none for the run's own.
    pub summary_model: Option<String>,
    /// How long a run may take, whatever its own bounds are; then it is EXPIRED.
    pub execution_limit: Duration,
    /// How long a run may wait for an answer from outside; then it is EXPIRED.
    pub waiting_limit: Duration,
    /// How long a tool may take to answer or to report progress.
    pub call_timeout: Duration,
    /// How many calls of one run may go on at once; at least 1.
    pub parallel_calls: usize,
    /// How many bytes of text of one tool's output the model is given.
    pub tool_output_limit: usize,
    /// How long a process that says nothing still counts as alive where several share a store.
    pub lease: Duration,
}

/// A run as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewRun {
    /// The thread to go on with; a new one if there is none.
    pub thread: Option<ThreadId>,
    /// What the caller says; nothing for a run that answers the thread as it stands.
    pub content: Vec<Part>,
    /// The model; the operator's if there is none.
    pub model: Option<String>,
    /// Instructions for this run, after the operator's and the assistant's; empty for none.
    pub instructions: String,
    /// Bounds that hold instead of the assistant's and the operator's.
    pub limits: LimitsPatch,
    /// What becomes of a conversation that is too long; none for what the assistant or the operator says.
    pub truncation: Option<Truncation>,
    /// How the model is to answer, instead of what the assistant and the operator say.
    pub options: ModelOptions,
    /// The assistant that answers; the operator's default if there is none.
    pub assistant: Option<AssistantRecord>,
    /// Functions that the client carries out itself.
    pub client_tools: Vec<ClientTool>,
    /// What becomes of it when the thread is busy.
    pub on_busy: OnBusy,
    /// Who asks, if somebody says so; empty for nobody.
    pub caller: String,
    /// The token with which the request came, for tools whose servers are given it. It is never stored.
    pub credentials: Option<Credentials>,
    /// The caller's request id.
    pub request: Option<RequestKey>,
    /// The caller's notes.
    pub metadata: BTreeMap<String, String>,
}

/// What becomes of a new run when its thread already has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBusy {
    /// It is refused.
    #[default]
    Reject,
    /// It waits until the thread is free.
    Enqueue,
    /// The other is called off, and whatever waits for the thread too.
    Interrupt,
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
pub enum Begun {
    /// It goes on in this process.
    Live(RunHandle),
    /// The request id has been seen, and the run that it started goes on in another process.
    Elsewhere(Box<RunRecord>),
    /// The request id has been seen, and the run that it started is over.
    Past(Finished),
}

/// How many runs a process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Those that wait for their thread.
    pub queued: usize,
    /// Those that work.
    pub working: usize,
    /// Those that wait for answers from outside.
    pub waiting: usize,
}

/// A hold on a run that goes on. Dropping it cancels the run if it was begun so.
pub struct RunHandle {
    shared: Arc<Shared>,
    live: Arc<LiveRun>,
    cancels: Option<DropGuard>,
}

/// A run that is over, or waits for answers from outside.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The run as it is.
    pub record: Arc<RunRecord>,
    /// The last message that the model wrote, if it wrote any.
    pub answer: Option<Arc<Message>>,
}

impl Finished {
    /// The text of the last message that the model wrote; empty if it wrote none.
    pub fn response(&self) -> String {
        self.answer
            .as_ref()
            .map(|message| message.text())
            .unwrap_or_default()
    }
}

#[derive(Debug)]
struct LiveRun {
    id: RunId,
    thread: ThreadId,
    log: EventLog,
    /// See [`RunRecord::reserved_sequence`], as the store has it.
    reserved: AtomicU64,
    /// See [`RunRecord::fence`].
    fence: u64,
    /// See [`Snapshot::caller`].
    caller: String,
    /// See [`NewRun::credentials`]; none for a run that was taken over.
    credentials: Option<Credentials>,
    /// Another process has taken it over.
    lost: CancellationToken,
    cancel: CancellationToken,
    /// Nobody who goes away calls it off.
    outlives_its_caller: AtomicBool,
    standing: tokio::sync::watch::Sender<Standing>,
    commands: Mutex<Option<mpsc::Receiver<Command>>>,
    answers: mpsc::Sender<Command>,
}

/// Where a run of this process is, for those who wait for it.
#[derive(Clone, Debug)]
enum Standing {
    /// It waits for its thread.
    Queued,
    AtWork,
    /// It waits for answers from outside.
    Waiting(Finished),
    Over(Finished),
    /// Its end cannot be written for now, for this reason.
    Stuck(Error),
    /// This process does not carry it on: the next one will.
    Left,
    /// Another process carries it on.
    Lost,
}

/// Answers for a run that waits.
#[derive(Debug)]
struct Command {
    submissions: Vec<Submission>,
    /// Hears when they are durable.
    reply: oneshot::Sender<Result<(), Error>>,
}

impl Engine {
    /// An engine without runs. To be called on a runtime: it writes events behind in a task of its own.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let shared = Arc::new(Shared {
            ports,
            settings,
            active: Mutex::default(),
            unwritten: Arc::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        });
        let unwritten = Arc::clone(&shared.unwritten);
        tokio::spawn(flush::write_behind(Arc::downgrade(&shared), unwritten));
        Self { shared }
    }

    /// What it works with.
    pub fn ports(&self) -> &Ports {
        &self.shared.ports
    }

    /// What a run gets that does not say otherwise.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// How many runs this process has now.
    pub fn activity(&self) -> Activity {
        let mut activity = Activity::default();
        for live in self.shared.active().values() {
            match *live.standing.borrow() {
                Standing::Queued => activity.queued += 1,
                Standing::AtWork | Standing::Stuck(_) => activity.working += 1,
                Standing::Waiting(_) => activity.waiting += 1,
                Standing::Over(_) | Standing::Left | Standing::Lost => {}
            }
        }
        activity
    }

    /// Opens a run and starts it. When this returns, the run and the caller's message are durable.
    ///
    /// Dropping the future is like dropping the handle: nothing is left open.
    ///
    /// # Errors
    /// `SHUTTING_DOWN`, `VALIDATION_FAILED` for a bound on the cost of a model without prices, and those of
    /// [`Store::open_run`].
    pub async fn begin(&self, mut new: NewRun, on_disconnect: OnDisconnect) -> Result<Begun, Error> {
        if self.shared.draining.is_cancelled() {
            return Err(Error::new(Reason::ShuttingDown, "the service is going down"));
        }
        let (on_busy, credentials) = (new.on_busy, new.credentials.take());
        let opening = self.opening(new)?;
        let live = Arc::new(LiveRun {
            credentials,
            ..LiveRun::new(&opening.record, 0, on_disconnect)
        });
        let cancels = (on_disconnect == OnDisconnect::Cancel).then(|| live.cancel.clone().drop_guard());
        let (opened, is_open) = oneshot::channel();
        let (shared, run) = (Arc::clone(&self.shared), Arc::clone(&live));
        self.shared.tasks.spawn(performance::open_and_perform(
            shared, run, opening, on_busy, opened,
        ));
        match is_open
            .await
            .map_err(|_| Error::internal("the run's task is gone"))??
        {
            None => Ok(Begun::Live(RunHandle {
                shared: Arc::clone(&self.shared),
                live,
                cancels,
            })),
            Some(record) => self.begun_before(record).await,
        }
    }

    /// Shows the events of a run that come strictly after this sequence, those that have happened first. Of a
    /// run that is over and whose events are not kept any more, `after` 0 shows a snapshot.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`; `VALIDATION_FAILED` for a sequence that the run has not come to; `EVENTS_EXPIRED`;
    /// `STORE_UNAVAILABLE`.
    pub async fn watch(&self, thread: &ThreadId, run: &RunId, after: u64) -> Result<Watch, Error> {
        let shared = &self.shared;
        if let Some(live) = shared.live(run).filter(|live| live.thread == *thread) {
            if after > live.log.last_sequence() {
                // What is written can be read a moment before it is shown.
                check_reached(after, self.run(thread, run).await?.last_sequence)?;
            }
            return Ok(Watch::of_live(shared, live, after));
        }
        let record = self.run(thread, run).await?;
        let is_over = record.state.outcome().is_some();
        let last_sequence = if is_over {
            record.last_sequence
        } else {
            record.reserved_sequence
        };
        check_reached(after, last_sequence)?;
        Watch::of_record(shared, &record, after).await
    }

    /// A run, as it was last written.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`, also for a run of another thread; `STORE_UNAVAILABLE`.
    pub async fn run(&self, thread: &ThreadId, run: &RunId) -> Result<RunRecord, Error> {
        let record = self.shared.ports.store.run(run).await?;
        if record.thread == *thread {
            Ok(record)
        } else {
            Err(Error::new(Reason::RunNotFound, "no such run"))
        }
    }

    /// The sequence of the newest event of a run, shown or written.
    pub fn last_sequence(&self, record: &RunRecord) -> u64 {
        let live = self.shared.live(&record.id);
        live.map_or(0, |live| live.log.last_sequence())
            .max(record.last_sequence)
    }

    /// Calls a run off and waits until it is over. A run that was called off before stays as it is.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`; `RUN_NOT_CANCELLABLE` when it has ended otherwise; `STORE_UNAVAILABLE`.
    pub async fn cancel(&self, thread: &ThreadId, run: &RunId) -> Result<Arc<RunRecord>, Error> {
        let live = self.shared.live(run).filter(|live| live.thread == *thread);
        let record = match live {
            Some(live) => {
                live.cancel.cancel();
                live.finished().await?.record
            }
            None => {
                let record = self.run(thread, run).await?;
                Arc::new(match record.state.outcome() {
                    Some(_) => record,
                    None => self.shared.call_off_elsewhere(&record).await?,
                })
            }
        };
        match &record.state {
            State::Ended(Outcome::Cancelled) => Ok(record),
            State::Ended(_) => Err(Error::new(
                Reason::RunNotCancellable,
                format!("the run is {} already", record.state.name()),
            )),
            _ => Err(elsewhere::elsewhere(&record)),
        }
    }

    /// Answers what a run waits for: all of it or nothing. The same answers again change nothing. When this
    /// returns, the answers are durable.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND`; `ACTION_NOT_PENDING`; `VALIDATION_FAILED` for an answer that does not fit its action;
    /// `STORE_UNAVAILABLE`.
    pub async fn submit(
        &self,
        thread: &ThreadId,
        run: &RunId,
        submissions: Vec<Submission>,
    ) -> Result<(), Error> {
        let record = self.run(thread, run).await?;
        let submissions = self.unanswered(run, submissions).await?;
        let Some(first) = submissions.first() else {
            return Ok(());
        };
        let refused = not_pending(&first.action);
        let Some(live) = self.shared.live(run) else {
            return match record.state.outcome() {
                Some(_) => Err(refused),
                None => self.shared.answer_elsewhere(&record, submissions).await,
            };
        };
        if record.state == State::Queued {
            return Err(refused);
        }
        let (reply, is_durable) = oneshot::channel();
        let command = Command { submissions, reply };
        let answered = async {
            live.answers.send(command).await.ok()?;
            is_durable.await.ok()
        };
        tokio::select! {
            biased;
            Some(answered) = answered => answered,
            error = live.broken_off() => Err(error),
            _ = live.finished() => Err(refused),
        }
    }

    /// The submissions without those that are in force already.
    async fn unanswered(
        &self,
        run: &RunId,
        mut submissions: Vec<Submission>,
    ) -> Result<Vec<Submission>, Error> {
        let steps = self.shared.all_steps(run).await?;
        submissions.retain(|submission| !steps.iter().any(|step| has_answer(step, submission)));
        Ok(submissions)
    }

    /// Calls a tool outside any run, for a request that came with this token.
    ///
    /// Arguments that do not fit the tool's schema are the tool's failure, as they are in a run.
    ///
    /// # Errors
    /// `TOOL_NOT_FOUND`, `TOOL_NOT_ALLOWED`, `TOOL_QUARANTINED`, `DEADLINE_EXCEEDED` and those of [`Toolbox::call`]. Nobody can be asked
    /// here: a question of the tool's server is put away.
    pub async fn call_tool(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        timeout: Option<Duration>,
        caller: String,
        credentials: Option<Credentials>,
    ) -> Result<ToolOutput, Error> {
        let toolbox = &self.shared.ports.toolbox;
        let catalogue = toolbox.catalogue();
        let tool = catalogue.get(name).ok_or_else(|| {
            toolbox.missing(name).unwrap_or_else(|| {
                Error::new(Reason::ToolNotFound, format!("there is no tool named {name:?}"))
                    .with("tool", name)
            })
        })?;
        if catalogue.policy(tool) == Policy::Deny {
            let denied = Error::new(
                Reason::ToolNotAllowed,
                format!("the tool {name:?} may not be called"),
            );
            return Err(denied.with("tool", name));
        }
        if let Some(quarantine) = catalogue.held().get(name) {
            return Err(quarantine.refusal(tool));
        }
        let limit = call::patience(tool, self.shared.settings.call_timeout);
        let timeout = timeout.map_or(limit, |timeout| timeout.min(limit));
        let started = Instant::now();
        let called = match tool.check_arguments(arguments) {
            Ok(arguments) => {
                let caller = Arc::new(OutsideRuns {
                    name: caller,
                    credentials,
                });
                call::bounded(toolbox.as_ref(), tool, arguments, timeout, caller).await
            }
            Err(text) => Ok(ToolOutput::failure(text)),
        };
        self.shared.ports.observer.observe(&Happening::Call(Call {
            server: &tool.description().server,
            tool: name,
            outcome: CallOutcome::of_result(&called),
            duration: started.elapsed(),
        }));
        called
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

    fn opening(&self, new: NewRun) -> Result<Opening, Error> {
        let settings = &self.shared.settings;
        let mut mint = Mint::System;
        let now = clock::now();
        let creates_thread = new.thread.is_none();
        let (assistant, profile) = match new.assistant {
            Some(assistant) => (Some((assistant.id, assistant.version)), assistant.profile),
            None => (None, Profile::default()),
        };
        let instructions = [&settings.instructions, &profile.instructions, &new.instructions];
        let instructions: Vec<&str> = instructions
            .into_iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
            .collect();
        let assistants = Some(profile.model).filter(|model| !model.is_empty());
        let model = new.model.or(assistants).unwrap_or_else(|| settings.model.clone());
        let models = &self.shared.ports.model;
        let prices = models.card(&model).and_then(|card| card.prices);
        if new.limits.max_cost.is_some() && prices.is_none() {
            let description = format!("has no meaning for the model {model:?}, which has no prices");
            return Err(Error::invalid("limits.max_cost_micros", description));
        }
        let mut others = models.fallbacks(&model);
        if let Some(summary_model) = &settings.summary_model {
            others.extend(models.card(summary_model));
            others.extend(models.fallbacks(summary_model));
        }
        let other_prices = others.into_iter();
        let other_prices = other_prices.filter_map(|card| Some((card.name.clone(), card.prices?)));
        let record = RunRecord {
            id: RunId::new(&mut mint),
            thread: new.thread.unwrap_or_else(|| ThreadId::new(&mut mint)),
            snapshot: Snapshot {
                model,
                instructions: instructions.join("\n\n"),
                limits: new.limits.over(profile.limits.over(settings.limits)),
                truncation: new
                    .truncation
                    .or(profile.truncation)
                    .unwrap_or(settings.truncation),
                prices,
                other_prices: Arc::new(other_prices.collect()),
                caller: new.caller,
                options: Arc::new(
                    new.options
                        .over(Arc::unwrap_or_clone(profile.options).over(settings.options.clone())),
                ),
                assistant_version: assistant.as_ref().map(|(_, version)| *version),
                assistant: assistant.map(|(id, _)| id),
                catalogue_version: 0,
                selection: Selection {
                    allowed: profile.allowed_tools,
                    rules: profile.policies,
                    client_tools: new.client_tools,
                },
                metadata: new.metadata,
            },
            state: State::Running,
            usage: Usage::default(),
            last_sequence: 0,
            reserved_sequence: 0,
            fence: RunRecord::FIRST_FENCE,
            create_time: now,
            start_time: Some(now),
            expire_time: now.checked_add(settings.execution_limit),
            pending: Vec::new(),
            waited: Duration::ZERO,
            waits_since: None,
            end_time: None,
        };
        let message = (!new.content.is_empty()).then(|| Message {
            id: MessageId::new(&mut mint),
            role: Role::User,
            content: new.content,
            run: Some(record.id.clone()),
            incomplete: false,
            create_time: now,
            metadata: BTreeMap::new(),
        });
        Ok(Opening {
            record,
            creates_thread,
            message: message.map(Arc::new),
            events: Vec::new(),
            request: new.request,
            reach: Reach::All,
        })
    }

    /// What this request has begun before, if it was made before.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED`; `RUN_NOT_FOUND` when what it began is deleted; `STORE_UNAVAILABLE`.
    pub async fn begun_by(&self, request: &RequestKey) -> Result<Option<Begun>, Error> {
        let store = &self.shared.ports.store;
        let Some(run) = store.brought(request).await? else {
            return Ok(None);
        };
        let run = RunId::parse(&run).map_err(Error::internal)?;
        self.begun_before(store.run(&run).await?).await.map(Some)
    }

    /// The run that an earlier request with this id started.
    async fn begun_before(&self, record: RunRecord) -> Result<Begun, Error> {
        if let Some(live) = self.shared.live(&record.id) {
            return Ok(Begun::Live(RunHandle {
                shared: Arc::clone(&self.shared),
                live,
                cancels: None,
            }));
        }
        // It may have ended between the two looks.
        let record = self.shared.ports.store.run(&record.id).await?;
        Ok(match record.state.outcome() {
            Some(_) => Begun::Past(self.shared.told(record).await?),
            None => Begun::Elsewhere(Box::new(record)),
        })
    }

    /// Waits until a run of another process is over or waits for answers from outside.
    ///
    /// # Errors
    /// `RUN_NOT_FOUND` when it is deleted meanwhile; `STORE_UNAVAILABLE`.
    pub async fn answered_elsewhere(&self, run: &RunId) -> Result<Finished, Error> {
        self.shared.answered_elsewhere(run).await
    }
}

/// A run that waits for people, while this process goes down.
fn left() -> Error {
    Error::new(
        Reason::ShuttingDown,
        "the service is going down; the run waits, and goes on after the next start",
    )
}

fn has_answer(step: &Step, submission: &Submission) -> bool {
    let mut asked = step.asked();
    asked.any(|(action, answer)| submission.is_about(action) && answer == Some(&submission.answer))
}

fn check_reached(after: u64, last_sequence: u64) -> Result<(), Error> {
    if after <= last_sequence {
        return Ok(());
    }
    let description = format!("must not be beyond the run's newest event, {last_sequence}");
    Err(Error::invalid("after_sequence", description))
}

impl Shared {
    fn active(&self) -> MutexGuard<'_, HashMap<RunId, Arc<LiveRun>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, run: &RunId) -> Option<Arc<LiveRun>> {
        self.active().get(run).cloned()
    }

    fn enter(&self, live: &Arc<LiveRun>) {
        self.active().insert(live.id.clone(), Arc::clone(live));
    }

    fn leave(&self, live: &LiveRun) {
        let mut active = self.active();
        // It may be there again, taken back from the process that took it over.
        if active
            .get(&live.id)
            .is_some_and(|there| std::ptr::eq(&**there, live))
        {
            active.remove(&live.id);
        }
    }

    /// What sums up conversations, if the operator says so, by its name and no alias.
    fn summary_model(&self) -> Option<SummaryModel> {
        let name = self.settings.summary_model.as_ref()?;
        let card = self.ports.model.card(name);
        Some(SummaryModel {
            name: card.as_ref().map_or(name, |card| &card.name).clone(),
            provider_model: card.as_ref().map_or(name, |card| &card.provider_model).clone(),
            context_tokens: card.and_then(|card| card.context_tokens),
        })
    }

    /// What a run that was started with this may use.
    fn terms(&self, snapshot: &Snapshot) -> Terms {
        let settings = &self.settings;
        let card = self.ports.model.card(&snapshot.model);
        // A name that is not listed is the provider's own.
        let provider_model = card.as_ref().map_or(&snapshot.model, |card| &card.provider_model);
        Terms {
            provider_model: provider_model.clone(),
            catalogue: self.ports.toolbox.catalogue().selected(&snapshot.selection),
            answer: snapshot
                .options
                .output_format
                .as_ref()
                .and_then(AnswerCheck::of)
                .map(Arc::new),
            parallel_calls: settings.parallel_calls,
            tool_output_limit: settings.tool_output_limit,
            execution_limit: settings.execution_limit,
            waiting_limit: settings.waiting_limit,
            bounds: Bounds {
                context_tokens: card.as_ref().and_then(|card| card.context_tokens),
                max_output_tokens: card.as_ref().and_then(|card| card.max_output_tokens),
                tokenizer: Arc::clone(&self.ports.tokenizer),
            },
            summary_model: self.summary_model(),
        }
    }

    /// Everything that a run has done.
    async fn all_steps(&self, run: &RunId) -> Result<Vec<Arc<Step>>, Error> {
        let mut steps = Vec::new();
        let mut page = Page {
            after: None,
            limit: STEPS_AT_ONCE,
            order: Order::OldestFirst,
        };
        loop {
            let listed = self.ports.store.run_steps(run, page).await?;
            steps.extend(listed.items);
            if listed.next.is_none() {
                return Ok(steps);
            }
            page.after = listed.next;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The task that writes behind finds that there is nothing left to write for.
        self.unwritten.notify_one();
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

    /// Leaves the run to itself, however it was begun.
    pub fn let_go(self) {
        if let Some(cancels) = self.cancels {
            cancels.disarm();
        }
        self.live.outlives_its_caller.store(true, Ordering::Relaxed);
    }

    /// Every event of the run, from the first on.
    pub fn watch(&self) -> Watch {
        Watch::of_live(&self.shared, Arc::clone(&self.live), 0)
    }

    /// Waits for the end. A run ends by its execution limit and its limit on waiting, so this does too.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` when the end cannot be written, which is tried again; `SHUTTING_DOWN` when the run waits
    /// for people and this process does not; `INTERNAL` if the run's task is gone without a word, which is a
    /// defect.
    pub async fn finished(&self) -> Result<Finished, Error> {
        self.live.finished().await
    }

    /// Waits until the run is over or waits for answers from outside, wherever it goes on.
    ///
    /// # Errors
    /// As [`finished`](Self::finished).
    pub async fn answered(&self) -> Result<Finished, Error> {
        match self.live.answered().await {
            Err(error) if error.reason() == Reason::RunInterrupted => {
                self.shared.answered_elsewhere(&self.live.id).await
            }
            answered => answered,
        }
    }
}

impl LiveRun {
    /// A run that begins, or goes on, behind this sequence.
    fn new(record: &RunRecord, before: u64, on_disconnect: OnDisconnect) -> Self {
        let (answers, commands) = mpsc::channel(ANSWERS_QUEUE);
        Self {
            id: record.id.clone(),
            thread: record.thread.clone(),
            log: EventLog::new(before),
            reserved: AtomicU64::new(before),
            fence: record.fence,
            caller: record.snapshot.caller.clone(),
            credentials: None,
            lost: CancellationToken::new(),
            cancel: CancellationToken::new(),
            outlives_its_caller: AtomicBool::new(on_disconnect == OnDisconnect::GoOn),
            standing: tokio::sync::watch::Sender::new(match record.state {
                State::Queued => Standing::Queued,
                _ => Standing::AtWork,
            }),
            commands: Mutex::new(Some(commands)),
            answers,
        }
    }

    /// Whether the run goes on without the caller that began it.
    fn outlives_its_caller(&self) -> bool {
        self.outlives_its_caller.load(Ordering::Relaxed)
    }

    /// The end at which answers arrive; for the run's task, which takes it once.
    fn commands(&self) -> mpsc::Receiver<Command> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Says whether the run is at work or waits.
    fn stand(&self, run: &Run) {
        let waits = run.record().state == State::RequiresAction;
        let has_changed = match &*self.standing.borrow() {
            Standing::Queued => true,
            // What it waits for may be less than before.
            Standing::Waiting(earlier) => !waits || earlier.record.pending != run.record().pending,
            _ => waits,
        };
        if has_changed {
            self.standing.send_replace(match waits {
                true => Standing::Waiting(performance::finished(run)),
                false => Standing::AtWork,
            });
        }
    }

    async fn finished(&self) -> Result<Finished, Error> {
        let goes_on = |standing: &Standing| {
            matches!(
                standing,
                Standing::Queued | Standing::AtWork | Standing::Waiting(_)
            )
        };
        self.until(|standing| !goes_on(standing)).await
    }

    async fn answered(&self) -> Result<Finished, Error> {
        self.until(|standing| !matches!(standing, Standing::Queued | Standing::AtWork))
            .await
    }

    /// Waits until nothing follows here for now although the run is not over, and says why.
    async fn broken_off(&self) -> Error {
        let is_broken_off =
            |standing: &Standing| matches!(standing, Standing::Left | Standing::Lost | Standing::Stuck(_));
        match self.until(is_broken_off).await {
            Err(error) => error,
            Ok(_) => Error::internal("a run that is left has ended"),
        }
    }

    async fn until(&self, is_met: impl FnMut(&Standing) -> bool) -> Result<Finished, Error> {
        let mut standing = self.standing.subscribe();
        let standing = standing.wait_for(is_met).await.map_err(Error::internal)?;
        match &*standing {
            Standing::Waiting(finished) | Standing::Over(finished) => Ok(finished.clone()),
            Standing::Stuck(error) => Err(error.clone()),
            Standing::Queued | Standing::AtWork | Standing::Left => Err(left()),
            Standing::Lost => Err(Error::new(
                Reason::RunInterrupted,
                "another process has taken the run over",
            )),
        }
    }

    fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// The store has every event up to this sequence, and holds the numbers up to the other one back.
    fn mark_written(&self, sequence: u64, reserved: u64) {
        self.log.mark_written(sequence);
        self.reserved.fetch_max(reserved, Ordering::Relaxed);
    }

    /// Shows events that the store has, and with them all that came before.
    fn show_written(&self, events: &[Arc<Event>], reserved: u64) {
        self.log.append(events.iter().cloned());
        let last = events.last().map_or(0, |event| event.sequence);
        self.mark_written(last, reserved);
    }
}
