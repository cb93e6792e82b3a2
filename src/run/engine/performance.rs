//! Carries one run out.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::call::{self, PendingCall, Report};
use super::{Finished, LiveRun, Shared};
use crate::run::error::{Error, Reason};
use crate::run::event::{Body, Event};
use crate::run::id::Mint;
use crate::run::message::Message;
use crate::run::ports::{ModelEvent, ModelRequest, ModelStream, Opened, Opening};
use crate::run::record::{Outcome, RunRecord, State};
use crate::run::state::{Beginning, Effect, Input, Run};

/// Progress reports that may wait for a run to look at them.
const PROGRESS_QUEUE: usize = 64;

/// How often a write is tried again before the run gives up on the store, and how long after the first try.
const SAVE_RETRIES: u32 = 5;
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The task of one run. Says through `opened` when it is open, or which run the request id started before.
pub(super) async fn open_and_perform(
    shared: Arc<Shared>,
    live: Arc<LiveRun>,
    mut opening: Opening,
    opened: oneshot::Sender<Result<Option<RunRecord>, Error>>,
) {
    let catalogue = shared.ports.toolbox.catalogue();
    opening.record.snapshot.catalogue_version = catalogue.version();
    let (record, message) = (opening.record.clone(), Arc::clone(&opening.message));
    // A caller that is gone hears nothing, and has cancelled the run if it wanted that.
    let history = match shared.open(opening).await {
        Ok(Opened::Started(history)) => history,
        Ok(Opened::Replayed(record)) => {
            let _ = opened.send(Ok(Some(*record)));
            return;
        }
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    shared.enter(&live);
    let _ = opened.send(Ok(None));
    let beginning = Beginning {
        record: record.clone(),
        history,
        message,
        catalogue,
    };
    let performance = AssertUnwindSafe(perform(&shared, &live, beginning));
    let finished = match performance.catch_unwind().await {
        Ok(finished) => finished,
        Err(_) => bury(&shared, &live, record).await,
    };
    live.finished.send_replace(Some(finished));
    shared.leave(&live);
}

async fn perform(shared: &Shared, live: &LiveRun, beginning: Beginning) -> Finished {
    let started = Instant::now();
    let limits = beginning.record.snapshot.limits;
    let expiry = started + shared.settings.execution_limit;
    let deadline = limits.max_duration.map(|duration| started + duration);
    let mut timer = pin!(tokio::time::sleep_until(
        deadline.map_or(expiry, |deadline| deadline.min(expiry))
    ));

    let mut work = Work::new(shared);
    let mut effects = Vec::new();
    let mut run = Run::start(beginning, Mint::System, SystemTime::now(), &mut effects);
    loop {
        if let Some(failure) = carry_out(shared, live, &mut effects, &mut work).await {
            run.on(failure, SystemTime::now(), &mut effects);
            continue;
        }
        if run.is_over() {
            let record = Arc::new(run.record().clone());
            return Finished {
                response: run.response(),
                record,
            };
        }
        let input = tokio::select! {
            biased;
            () = live.cancel.cancelled() => Input::Cancel,
            () = shared.stopping.cancelled() => {
                Input::Fail(Error::new(Reason::ShuttingDown, "the service is going down"))
            }
            () = &mut timer => match deadline {
                Some(deadline) if deadline <= expiry => Input::Deadline,
                _ => Input::Expire,
            },
            input = work.next() => input,
        };
        run.on(input, SystemTime::now(), &mut effects);
    }
}

/// Performs effects in order. A save that fails for good stops it: the run must hear of that first.
async fn carry_out(
    shared: &Shared,
    live: &LiveRun,
    effects: &mut Vec<Effect>,
    work: &mut Work,
) -> Option<Input> {
    let mut remaining = effects.drain(..);
    while let Some(effect) = remaining.next() {
        match effect {
            Effect::Save { record, messages } => {
                let Err(error) = save(shared, &record, &messages).await else {
                    continue;
                };
                tracing::error!(run = %record.id, %error, cause = ?std::error::Error::source(&error), "a run could not be written");
                if record.state.outcome().is_none() {
                    let undone = std::iter::once(Effect::Save { record, messages })
                        .chain(remaining)
                        .collect();
                    return Some(Input::SaveFailed { error, undone });
                }
            }
            Effect::Emit(event) => live.log.append(event),
            Effect::CallModel(request) => work.call_model(shared, request),
            Effect::CallTool {
                call,
                tool,
                arguments,
            } => {
                work.call_tool(
                    shared,
                    PendingCall {
                        call,
                        tool,
                        arguments,
                    },
                );
            }
            Effect::Abort => work.abort(),
        }
    }
    None
}

async fn save(shared: &Shared, record: &RunRecord, messages: &[Arc<Message>]) -> Result<(), Error> {
    let mut delay = FIRST_RETRY_DELAY;
    for _ in 0..SAVE_RETRIES {
        match shared.ports.store.save(record, messages).await {
            Err(error) if error.reason() == Reason::StoreUnavailable => {
                tracing::warn!(run = %record.id, %error, "trying to write a run again");
                tokio::time::sleep(delay).await;
                delay *= 2;
            }
            result => return result,
        }
    }
    shared.ports.store.save(record, messages).await
}

/// The end of a run whose task panicked: the thread is freed and the watchers are told.
async fn bury(shared: &Shared, live: &LiveRun, mut record: RunRecord) -> Finished {
    tracing::error!(run = %record.id, "a run panicked");
    let now = SystemTime::now();
    let sequence = live.log.last_sequence() + 1;
    record.state = State::Ended(Outcome::Failed(Error::internal("the run panicked")));
    record.end_time = Some(now);
    record.last_sequence = sequence;
    let record = Arc::new(record);
    if let Err(error) = save(shared, &record, &[]).await {
        tracing::error!(run = %record.id, %error, "a run could not be written");
    }
    live.log.append(Event {
        sequence,
        time: now,
        body: Body::Ended(Arc::clone(&record)),
    });
    Finished {
        record,
        response: String::new(),
    }
}

/// What a run waits for: its model request or its calls.
struct Work {
    model: Option<ModelStream>,
    calls: FuturesUnordered<BoxFuture<'static, Input>>,
    waiting: VecDeque<BoxFuture<'static, Input>>,
    parallel_calls: usize,
    progress: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
}

impl Work {
    fn new(shared: &Shared) -> Self {
        Self {
            model: None,
            calls: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            parallel_calls: shared.settings.parallel_calls.max(1),
            progress: mpsc::channel(PROGRESS_QUEUE),
        }
    }

    fn call_model(&mut self, shared: &Shared, request: ModelRequest) {
        let model = Arc::clone(&shared.ports.model);
        let stream = async move { model.stream(request).await };
        self.model = Some(stream.try_flatten_stream().boxed());
    }

    fn call_tool(&mut self, shared: &Shared, pending: PendingCall) {
        let toolbox = Arc::clone(&shared.ports.toolbox);
        let call = call::perform(
            toolbox,
            pending,
            shared.settings.call_timeout,
            self.progress.0.clone(),
        );
        self.waiting.push_back(call.boxed());
        self.fill();
    }

    /// Dropping a request or a call aborts it.
    fn abort(&mut self) {
        self.model = None;
        self.waiting.clear();
        self.calls.clear();
    }

    fn fill(&mut self) {
        while self.calls.len() < self.parallel_calls
            && let Some(call) = self.waiting.pop_front()
        {
            self.calls.push(call);
        }
    }

    /// The next thing that happens. Dropping the future loses nothing.
    async fn next(&mut self) -> Input {
        tokio::select! {
            biased;
            Some((call, progress)) = self.progress.1.recv() => Input::CallProgress { call, progress },
            Some(done) = self.calls.next() => {
                self.fill();
                done
            }
            event = next_event(&mut self.model) => event,
        }
    }
}

async fn next_event(model: &mut Option<ModelStream>) -> Input {
    let Some(stream) = model else {
        return std::future::pending().await;
    };
    let event = stream.try_next().await;
    if !matches!(event, Ok(Some(ref event)) if !matches!(event, ModelEvent::Finished(_))) {
        *model = None;
    }
    match event {
        Ok(Some(event)) => Input::Model(event),
        Ok(None) => Input::ModelFailed(Error::new(
            Reason::ModelUnavailable,
            "the model's answer broke off",
        )),
        Err(error) => Input::ModelFailed(error),
    }
}
