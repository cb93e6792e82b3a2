//! One call of a tool, bounded in time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::run::action::{Asking, Question, Reply};
use crate::run::catalogue::Tool;
use crate::run::credentials::Credentials;
use crate::run::error::{Error, Reason};
use crate::run::event::Progress;
use crate::run::id::{CallId, RunId};
use crate::run::message::ToolOutput;
use crate::run::ports::{Caller, Toolbox};
use crate::run::sampling::{Sampled, Sampling};
use crate::run::state::Input;

use super::sampling::Sampler;

/// What the server of one call may ask; further questions are put away.
const QUESTIONS: usize = 32;

/// How much longer than a call may be silent it is waited for: whoever makes it knows when it was sent, and says so.
const LAST_WORD: Duration = Duration::from_secs(5);

/// How far a call is.
pub(super) type Report = (CallId, Progress);

/// What the server of a call asks a person, and where the reply goes.
pub(super) struct Asked {
    pub(super) call: CallId,
    pub(super) asking: Asking,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// A call that a run wants made.
pub(super) struct PendingCall {
    pub(super) run: RunId,
    /// For whom the run asks; empty when nobody said.
    pub(super) caller: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) call: CallId,
    pub(super) tool: Arc<Tool>,
    pub(super) arguments: Map<String, Value>,
}

/// A run, as the tools that it calls know it.
pub(super) struct OfRun {
    pub(super) progress: mpsc::Sender<Report>,
    pub(super) questions: mpsc::Sender<Asked>,
    /// Answers servers that ask a model.
    pub(super) sampler: Sampler,
}

/// The caller of one call of a run.
struct OfCall {
    run: RunId,
    name: String,
    credentials: Option<Credentials>,
    call: CallId,
    to: OfRun,
    /// How much has been asked; held while a person is asked: a call asks one thing at a time.
    asked: Mutex<usize>,
}

#[async_trait]
impl Caller for OfCall {
    fn progress(&self, progress: Progress) {
        // A report that finds no room is dropped: the next one says more.
        let _ = self.to.progress.try_send((self.call.clone(), progress));
    }

    fn run(&self) -> Option<&RunId> {
        Some(&self.run)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    async fn ask(&self, question: Question) -> Reply {
        self.put(Asking::Question(question)).await
    }

    async fn sample(&self, sampling: Sampling) -> Result<Sampled, Error> {
        if sampling.asks_first
            && !matches!(
                self.put(Asking::Sampling(sampling.prompt())).await,
                Reply::Accept(_)
            )
        {
            let text = format!("MCP server '{}' may not ask a model", sampling.server);
            return Err(Error::new(Reason::PermissionDenied, text).with("server", sampling.server));
        }
        self.to.sampler.sample(&self.run, &self.call, sampling).await
    }
}

/// The caller of a call outside any run: nothing can be asked there.
pub(super) struct OutsideRuns {
    pub(super) name: String,
    pub(super) credentials: Option<Credentials>,
}

#[async_trait]
impl Caller for OutsideRuns {
    fn progress(&self, _: Progress) {}

    fn name(&self) -> &str {
        &self.name
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

impl OfCall {
    /// Puts something to a person.
    async fn put(&self, asking: Asking) -> Reply {
        let mut asked = self.asked.lock().await;
        if *asked == QUESTIONS {
            return Reply::Cancel;
        }
        *asked += 1;
        let (reply, replied) = oneshot::channel();
        let inquiry = Asked {
            call: self.call.clone(),
            asking,
            reply,
        };
        if self.to.questions.send(inquiry).await.is_err() {
            return Reply::Cancel;
        }
        replied.await.unwrap_or(Reply::Cancel)
    }
}

/// How long a tool may be silent: what the operator says of it, or else of all.
pub(super) fn patience(tool: &Tool, of_all: Duration) -> Duration {
    tool.description().timeout.unwrap_or(of_all)
}

/// Makes a call of a run. Whatever goes wrong is an output that the model can read, but for a call that may have had
/// its effect.
pub(super) async fn perform(
    toolbox: Arc<dyn Toolbox>,
    pending: PendingCall,
    timeout: Duration,
    to: OfRun,
) -> Input {
    let PendingCall {
        run,
        caller: name,
        credentials,
        call,
        tool,
        arguments,
    } = pending;
    let caller = Arc::new(OfCall {
        run,
        name,
        credentials,
        call: call.clone(),
        to,
        asked: Mutex::new(0),
    });
    let timeout = patience(&tool, timeout);
    let started = Instant::now();
    let output = match bounded(toolbox.as_ref(), &tool, arguments, timeout, caller).await {
        Ok(output) => output,
        Err(error) => {
            tracing::info!(%call, tool = tool.name(), %error, "a tool call failed");
            if error.reason() == Reason::OutcomeUnknown {
                return Input::CallLost { call };
            }
            ToolOutput::failure(error.message())
        }
    };
    Input::CallDone {
        call,
        output,
        duration: started.elapsed(),
    }
}

/// Calls a tool, giving up when it neither answers nor reports progress for as long as `timeout`, and checks its
/// output. While its server waits for a person, it is not silent. The toolbox knows of that bound and can say more when
/// it passes, so that it has the first word once the call has begun.
pub(super) async fn bounded(
    toolbox: &dyn Toolbox,
    tool: &Tool,
    arguments: Map<String, Value>,
    timeout: Duration,
    caller: Arc<dyn Caller>,
) -> Result<ToolOutput, Error> {
    let watched = Arc::new(Watched {
        caller,
        timeout,
        moved: Notify::new(),
        has_begun: AtomicBool::new(false),
        asking: AtomicUsize::new(0),
    });
    let watching: Arc<dyn Caller> = watched.clone();
    let mut call = pin!(toolbox.call(tool, arguments, watching));
    let mut patience = pin!(tokio::time::sleep(timeout));
    loop {
        tokio::select! {
            biased;
            result = &mut call => return result.map(|output| tool.checked(output)),
            () = watched.moved.notified() => patience.as_mut().reset(Instant::now() + watched.longest()),
            () = &mut patience, if watched.asking.load(Ordering::Relaxed) == 0 => {
                let (name, has_begun) = (tool.name(), watched.has_begun.load(Ordering::Relaxed));
                let message = match (has_begun, tool.is_repeatable()) {
                    (false, _) => format!("the tool {name} did not get its turn within {timeout:?}; it was not called"),
                    (true, true) => format!("the tool {name} did not answer within {timeout:?}"),
                    (true, false) => format!(
                        "the tool {name} did not answer within {timeout:?}; it is not known what the call has done"
                    ),
                };
                return Err(Error::new(Reason::DeadlineExceeded, message).with("tool", tool.name()));
            }
        }
    }
}

/// A caller, and the signs of life that pass through to it.
struct Watched {
    caller: Arc<dyn Caller>,
    /// How long the call may be silent.
    timeout: Duration,
    /// It began, there was progress, or a question began or ended.
    moved: Notify,
    has_begun: AtomicBool,
    /// Questions that wait for a person or a model.
    asking: AtomicUsize,
}

impl Watched {
    /// How long nothing may be heard of the call until it is given up here.
    fn longest(&self) -> Duration {
        match self.has_begun.load(Ordering::Relaxed) {
            true => self.timeout + LAST_WORD,
            false => self.timeout,
        }
    }
}

#[async_trait]
impl Caller for Watched {
    fn begins(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.moved.notify_one();
        self.caller.begins();
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.timeout)
    }

    fn progress(&self, progress: Progress) {
        self.moved.notify_one();
        self.caller.progress(progress);
    }

    fn run(&self) -> Option<&RunId> {
        self.caller.run()
    }

    fn name(&self) -> &str {
        self.caller.name()
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.caller.credentials()
    }

    async fn ask(&self, question: Question) -> Reply {
        let _standstill = Standstill::new(self);
        self.caller.ask(question).await
    }

    async fn sample(&self, sampling: Sampling) -> Result<Sampled, Error> {
        let _standstill = Standstill::new(self);
        self.caller.sample(sampling).await
    }
}

/// Time that is not the tool's: a person or a model is asked.
struct Standstill<'a>(&'a Watched);

impl<'a> Standstill<'a> {
    fn new(watched: &'a Watched) -> Self {
        watched.asking.fetch_add(1, Ordering::Relaxed);
        watched.moved.notify_one();
        Self(watched)
    }
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
        self.0.moved.notify_one();
    }
}
