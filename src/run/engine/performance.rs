//! Carries one run out.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::call::{self, Asked, OfRun, PendingCall, Report};
use super::elsewhere::elsewhere;
use super::ownership::Inheritance;
use super::queue::{self, Queued};
use super::sampling::{Sampler, Told, Verdict};
use super::{Finished, LiveRun, OnBusy, Shared, Standing};
use crate::run::action::Reply;
use crate::run::clock;
use crate::run::context;
use crate::run::error::{Error, Reason};
use crate::run::event::{Body, Event};
use crate::run::id::{CallId, Mint, RunId};
use crate::run::page::{Order, Page};
use crate::run::ports::{Append, Happening, ModelEvent, ModelRequest, ModelStream, Opened, Opening, Save};
use crate::run::record::{Outcome, RunRecord, State};
use crate::run::state::{Alarm, Beginning, Effect, Input, RESERVE, Run, opening_events};

/// Progress reports that may wait for a run to look at them.
const PROGRESS_QUEUE: usize = 64;
/// Questions of servers that may wait for a run to look at them.
const QUESTIONS_QUEUE: usize = 16;
/// What models say to servers, and what those want to ask, that may wait for a run to look at it.
const SAMPLING_QUEUE: usize = 64;

/// How often a write is tried again before the run gives up on the store, and how long after the first try.
const SAVE_RETRIES: u32 = 5;
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Between two rounds of trying to write the end of a run.
const END_RETRY_DELAY: Duration = Duration::from_secs(1);

/// How often a thread that is busy again is tried again.
const BUSY_ATTEMPTS: usize = 128;

/// Longer than any run.
pub(super) const NEVER: Duration = Duration::from_hours(24 * 365);

/// The task of a new run. Says through `opened` when it is open, or which run the request id started before.
pub(super) async fn open_and_perform(
    shared: Arc<Shared>,
    live: Arc<LiveRun>,
    mut opening: Opening,
    on_busy: OnBusy,
    opened: oneshot::Sender<Result<Option<RunRecord>, Error>>,
) {
    let terms = shared.terms(&opening.record.snapshot);
    opening.record.snapshot.catalogue_version = terms.catalogue.version();
    opening.reach = context::reach(opening.record.snapshot.truncation, &terms.bounds);
    let now = opening.record.create_time;
    opening.events = opening_events(&mut opening.record, opening.message.as_ref(), now);
    // A caller that is gone hears nothing, and has cancelled the run if it wanted that.
    let (opening, history) = match shared.open(opening, on_busy).await {
        Ok((opening, Opened::Started(history))) => (opening, history),
        Ok((_, Opened::Replayed(record))) => {
            let _ = opened.send(Ok(Some(*record)));
            return;
        }
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let Opening {
        record,
        message,
        events,
        ..
    } = opening;
    live.show_written(&events, record.reserved_sequence);
    if record.state == State::Queued {
        live.standing.send_replace(Standing::Queued);
    }
    shared.enter(&live);
    let _ = opened.send(Ok(None));
    let last = record.clone();
    if record.state == State::Queued {
        let queued = Queued {
            record,
            message,
            terms,
        };
        return to_the_end(
            &shared,
            &live,
            last,
            queue::wait_and_perform(&shared, &live, queued),
        )
        .await;
    }
    let performance = async {
        let messages: Vec<_> = history.messages.into_iter().chain(message).collect();
        let beginning = Beginning {
            unasked: shared.unasked(&record, &messages).await,
            record,
            history: messages,
            unread: history.unread,
            steps: Vec::new(),
            terms,
        };
        perform(&shared, &live, beginning, Run::start).await
    };
    to_the_end(&shared, &live, last, performance).await;
}

impl Shared {
    /// Opens a run; on a busy thread as it says, which may change the opening.
    async fn open(&self, mut opening: Opening, on_busy: OnBusy) -> Result<(Opening, Opened), Error> {
        let store = &self.ports.store;
        for _ in 0..BUSY_ATTEMPTS {
            let busy = match store.open_run(opening.clone()).await {
                Ok(opened) => return Ok((opening, opened)),
                Err(error) if error.reason() == Reason::ThreadBusy => error,
                Err(error) => return Err(error),
            };
            match on_busy {
                OnBusy::Reject => return Err(busy),
                OnBusy::Interrupt => self.interrupt(&mut opening, busy).await?,
                OnBusy::Enqueue => self.queue(&mut opening),
            }
        }
        Err(Error::new(
            Reason::Overloaded,
            "the thread is busy again and again",
        ))
    }

    fn queue(&self, opening: &mut Opening) {
        let record = &mut opening.record;
        record.state = State::Queued;
        record.start_time = None;
        record.expire_time = record.create_time.checked_add(self.settings.waiting_limit);
        record.last_sequence = 0;
        let now = record.create_time;
        opening.events = opening_events(record, None, now);
    }

    /// Calls off the run that is active on the thread, and waits until it is over. Those that wait for the thread were
    /// there before, and the new one waits behind them: nobody's question is lost.
    async fn interrupt(&self, opening: &mut Opening, busy: Error) -> Result<(), Error> {
        let one = Page {
            after: None,
            limit: 1,
            order: Order::NewestFirst,
        };
        let (thread, queued) = (&opening.record.thread, [State::Queued.name()]);
        let waiting = self.ports.store.runs(thread, &queued, one).await?;
        let is_behind_others = !waiting.items.is_empty();
        let run = busy.metadata().iter().find(|(key, _)| *key == "run");
        let run = match run {
            Some((_, run)) => RunId::parse(run).map_err(Error::internal)?,
            None => return Err(busy),
        };
        if is_behind_others {
            self.queue(opening);
        }
        self.call_off(&run).await
    }

    /// Calls an active run off wherever it goes on, and waits until it is over.
    async fn call_off(&self, run: &RunId) -> Result<(), Error> {
        match self.ports.store.run(run).await {
            // It has ended meanwhile.
            Err(error) if error.reason() == Reason::RunNotFound => Ok(()),
            Ok(record) if record.state.outcome().is_some() || record.state == State::Queued => Ok(()),
            Ok(_) if let Some(live) = self.live(run) => {
                live.cancel.cancel();
                live.finished().await.map(drop)
            }
            Ok(record) => self.call_off_elsewhere(&record).await.map(drop),
            Err(error) => Err(error),
        }
    }
}

/// The task of a run that another process left.
pub(super) async fn inherit_and_perform(shared: Arc<Shared>, live: Arc<LiveRun>, record: RunRecord) {
    let performance = async {
        match shared.inheritance(&live, &record).await? {
            Ok(Inheritance::Begun(beginning)) => perform(&shared, &live, beginning, Run::resume).await,
            Ok(Inheritance::Queued(queued)) => queue::wait_and_perform(&shared, &live, queued).await,
            Err(error) => fail(&shared, &live, record.clone(), error).await,
        }
    };
    to_the_end(&shared, &live, record.clone(), performance).await;
}

type Begin = fn(Beginning, Mint, SystemTime, &mut Vec<Effect>) -> Run;

/// Sees to it that the run is over, or left, when this is done.
async fn to_the_end(
    shared: &Shared,
    live: &LiveRun,
    record: RunRecord,
    performance: impl Future<Output = Option<Finished>>,
) {
    let performance = AssertUnwindSafe(performance);
    let finished = match performance.catch_unwind().await {
        Ok(finished) => finished,
        Err(_) => {
            tracing::error!(run = %record.id, "a run panicked");
            let error = Error::internal("the run panicked");
            break_off(shared, live, record, error).await
        }
    };
    let standing = match finished {
        Some(finished) => Standing::Over(finished),
        None if live.lost.is_cancelled() => {
            tracing::warn!(run = %live.id, "another process has taken a run over");
            Standing::Lost
        }
        None => Standing::Left,
    };
    let is_left = matches!(standing, Standing::Left);
    live.standing.send_replace(standing);
    shared.leave(live);
    if is_left && let Err(error) = shared.ports.ownership.leave(&live.id).await {
        tracing::warn!(run = %live.id, %error, "other processes will only see later that a run was left");
    }
}

pub(super) async fn perform(
    shared: &Shared,
    live: &LiveRun,
    beginning: Beginning,
    begin: Begin,
) -> Option<Finished> {
    let mut commands = live.commands();
    let mut work = Work::new();
    let mut effects = Vec::new();
    let mut run = begin(beginning, Mint::System, clock::now(), &mut effects);
    let mut replies: Vec<oneshot::Sender<Result<(), Error>>> = Vec::new();
    let mut alarm = None;
    let mut timer = pin!(tokio::time::sleep(NEVER));
    loop {
        let done = carry_out(shared, live, &mut effects, &mut work).await;
        if live.lost.is_cancelled() {
            reply(&mut replies, Err(elsewhere(run.record())));
            return None;
        }
        match done {
            Ok(()) => {}
            Err(Halt::Unwritten { error, undone }) => {
                reply(&mut replies, Err(error.clone()));
                let called_off = live.cancel.is_cancelled();
                let failed = Input::SaveFailed {
                    error,
                    undone,
                    called_off,
                };
                run.on(failed, clock::now(), &mut effects);
                continue;
            }
            Err(Halt::Left) => return None,
        }
        // What was answered is durable now.
        reply(&mut replies, Ok(()));
        if run.is_over() {
            return Some(finished(&run));
        }
        live.stand(&run);
        if alarm != run.alarm() {
            alarm = run.alarm();
            timer.as_mut().reset(moment(alarm));
        }
        let (is_idle, is_waiting) = (
            run.record().is_idle(),
            run.record().state == State::RequiresAction,
        );
        let input = tokio::select! {
            biased;
            () = live.lost.cancelled() => return None,
            () = live.cancel.cancelled() => Input::Cancel,
            // A run that waits needs no process: the next one finds it in the store.
            () = shared.draining.cancelled(), if is_idle => return None,
            // Nor does one whose caller is not there: what is at work breaks off as if the process had died.
            () = shared.stopping.cancelled(), if is_waiting || live.outlives_its_caller() => return None,
            () = shared.stopping.cancelled() => {
                Input::Fail(Error::new(Reason::ShuttingDown, "the service is going down"))
            }
            () = &mut timer => match alarm {
                Some((_, Alarm::Deadline)) => Input::Deadline,
                _ => Input::Expire,
            },
            Some(command) = commands.recv() => {
                if run.misses_a_tool() {
                    run.renew(shared.terms(&run.record().snapshot).catalogue);
                }
                match run.submit(command.submissions, clock::now(), &mut effects) {
                    Ok(()) => replies.push(command.reply),
                    Err(error) => drop(command.reply.send(Err(error))),
                }
                continue;
            }
            input = work.next() => input,
        };
        run.on(input, clock::now(), &mut effects);
    }
}

/// The moment of an alarm, on the clock that tests can stop.
fn moment(alarm: Option<(SystemTime, Alarm)>) -> Instant {
    let left = alarm.map_or(NEVER, |(time, _)| {
        time.duration_since(clock::now()).unwrap_or_default()
    });
    Instant::now() + left.min(NEVER)
}

fn reply(replies: &mut Vec<oneshot::Sender<Result<(), Error>>>, result: Result<(), Error>) {
    for reply in replies.drain(..) {
        // Who asked may have gone; the answer counts all the same.
        let _ = reply.send(result.clone());
    }
}

/// The run as it is now.
pub(super) fn finished(run: &Run) -> Finished {
    Finished {
        answer: run.answer().cloned(),
        record: Arc::new(run.record().clone()),
    }
}

/// Why effects are not performed to the last.
enum Halt {
    /// The first of these could not be written: the run must hear of that before anything else.
    Unwritten { error: Error, undone: Vec<Effect> },
    /// This process does not carry the run on.
    Left,
}

/// Performs effects in order.
async fn carry_out(
    shared: &Shared,
    live: &LiveRun,
    effects: &mut Vec<Effect>,
    work: &mut Work,
) -> Result<(), Halt> {
    let mut remaining = effects.drain(..);
    while let Some(effect) = remaining.next() {
        let (error, effect) = match effect {
            Effect::Save(save) if save.record.state.outcome().is_some() => {
                write_end(shared, live, &save).await.ok_or(Halt::Left)?;
                continue;
            }
            Effect::Save(save) => match work.beside(live, write(shared, live, &save)).await {
                Ok(()) => continue,
                Err(error) => (error, Effect::Save(save)),
            },
            Effect::Emit(event) => match work.beside(live, show(shared, live, &event)).await {
                Ok(()) => continue,
                Err(error) => (error, Effect::Emit(event)),
            },
            Effect::CallModel(request) => {
                work.call_model(shared, request);
                continue;
            }
            Effect::CallTool {
                call,
                tool,
                arguments,
            } => {
                let pending = PendingCall {
                    run: live.id.clone(),
                    caller: live.caller.clone(),
                    credentials: live.credentials.clone(),
                    call,
                    tool,
                    arguments,
                };
                work.call_tool(shared, pending);
                continue;
            }
            Effect::Reply { call, reply } => {
                work.reply(&call, reply);
                continue;
            }
            Effect::Sample { request, verdict } => {
                work.judge(request, verdict);
                continue;
            }
            Effect::Abort => {
                work.abort();
                continue;
            }
        };
        if live.lost.is_cancelled() {
            // Nothing of it counts any more, least of all calls that are not made yet.
            return Err(Halt::Left);
        }
        log_failure(live, &error);
        let undone = std::iter::once(effect).chain(remaining).collect();
        return Err(Halt::Unwritten { error, undone });
    }
    Ok(())
}

fn log_failure(live: &LiveRun, error: &Error) {
    tracing::error!(run = %live.id, %error, cause = ?std::error::Error::source(error), "a run could not be written");
}

/// Shows an event of a turn that is not over, which is written right behind. An event that nobody may see before
/// something else is written is not shown when that fails for good.
async fn show(shared: &Shared, live: &LiveRun, event: &Event) -> Result<(), Error> {
    if event.sequence > live.reserved() {
        reserve(shared, live, event.sequence + RESERVE).await?;
    }
    if !live.lost.is_cancelled() {
        live.log.append([Arc::new(event.clone())]);
        shared.unwritten.notify_one();
    }
    Ok(())
}

/// Holds sequences back: after a crash it has to be known what nobody can have seen.
async fn reserve(shared: &Shared, live: &LiveRun, reserved_sequence: u64) -> Result<(), Error> {
    let events = live.log.unwritten();
    let last = events.last().map_or(0, |event| event.sequence);
    let append = Append {
        run: live.id.clone(),
        events,
        reserved_sequence,
        fence: live.fence,
    };
    let store = &shared.ports.store;
    let lost = patiently(&live.id, || store.append(vec![append.clone()])).await?;
    if lost.is_empty() {
        live.mark_written(last, reserved_sequence);
    } else {
        // The numbers are another process's now.
        live.lost.cancel();
    }
    Ok(())
}

/// Writes, with whatever is not written yet; then shows.
pub(super) async fn write(shared: &Shared, live: &LiveRun, save: &Save) -> Result<(), Error> {
    let mut behind = live.log.unwritten();
    let written = if behind.is_empty() {
        persist(shared, save).await
    } else {
        behind.extend(save.events.iter().cloned());
        let save = Save {
            events: behind,
            ..save.clone()
        };
        persist(shared, &save).await
    };
    if let Err(error) = &written
        && error.reason() == Reason::RunInterrupted
    {
        live.lost.cancel();
    }
    written?;
    for happening in Happening::all_of(save) {
        shared.ports.observer.observe(&happening);
    }
    live.show_written(&save.events, save.record.reserved_sequence);
    Ok(())
}

async fn persist(shared: &Shared, save: &Save) -> Result<(), Error> {
    patiently(&save.record.id, || shared.ports.store.save(save)).await
}

/// Writes, again and again for a while when the store is away.
async fn patiently<T, F>(run: &RunId, write: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut delay = FIRST_RETRY_DELAY;
    for _ in 0..SAVE_RETRIES {
        match write().await {
            Err(error) if error.reason() == Reason::StoreUnavailable => {
                tracing::warn!(%run, %error, "trying to write a run again");
                tokio::time::sleep(delay).await;
                delay *= 2;
            }
            result => return result,
        }
    }
    write().await
}

/// Writes the end of a run, then shows it; for as long as that cannot be, the run is stuck, and whoever waits for it
/// hears why. None when this process does not carry the run on: the next one brings it to its end.
pub(super) async fn write_end(shared: &Shared, live: &LiveRun, save: &Save) -> Option<()> {
    loop {
        let Err(error) = write(shared, live, save).await else {
            return Some(());
        };
        if live.lost.is_cancelled() {
            return None;
        }
        log_failure(live, &error);
        live.standing.send_replace(Standing::Stuck(error));
        tokio::select! {
            biased;
            () = live.lost.cancelled() => return None,
            () = shared.draining.cancelled() => return None,
            () = tokio::time::sleep(END_RETRY_DELAY) => {}
        }
    }
}

/// The end of a run whose task is gone, from what was written last. None when the next process is to do that.
async fn break_off(shared: &Shared, live: &LiveRun, record: RunRecord, error: Error) -> Option<Finished> {
    let beginning = match shared.last_written(&live.id).await? {
        Ok(Inheritance::Begun(beginning)) => beginning,
        Ok(Inheritance::Queued(queued)) => {
            return queue::end(shared, live, queued.record, Outcome::Failed(error)).await;
        }
        Err(_) => return fail(shared, live, record, error).await,
    };
    if beginning.record.fence != live.fence {
        live.lost.cancel();
        return None;
    }
    if beginning.record.state.outcome().is_some() {
        return shared.told(beginning.record).await.ok();
    }
    let shown = live.log.last_sequence();
    let mut effects = Vec::new();
    let run = Run::break_off(beginning, shown, error, Mint::System, clock::now(), &mut effects);
    for effect in effects {
        if let Effect::Save(save) = effect {
            write_end(shared, live, &save).await?;
        }
    }
    Some(finished(&run))
}

/// The end of a run that cannot be carried on: the thread is freed and the watchers are told. None when the next
/// process is to do that.
async fn fail(shared: &Shared, live: &LiveRun, mut record: RunRecord, error: Error) -> Option<Finished> {
    let now = clock::now();
    let sequence = live.log.last_sequence() + 1;
    record.state = State::Ended(Outcome::Failed(error));
    record.end_time = Some(now);
    record.expire_time = None;
    record.waits_since = None;
    record.pending.clear();
    record.last_sequence = sequence;
    record.reserved_sequence = sequence;
    let record = Arc::new(record);
    let end = Arc::new(Event {
        sequence,
        time: now,
        body: Body::Ended(Arc::clone(&record)),
    });
    let save = Save {
        record: Arc::clone(&record),
        messages: Vec::new(),
        steps: Vec::new(),
        events: vec![end],
    };
    write_end(shared, live, &save).await?;
    Some(Finished { record, answer: None })
}

/// What a run waits for: its model request or its calls.
struct Work {
    model: Option<ModelStream>,
    calls: FuturesUnordered<BoxFuture<'static, Input>>,
    progress: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    questions: (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
    /// What servers ask models, and what is answered.
    sampling: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    /// The number of the next request of a server to a model.
    next_request: Arc<AtomicU64>,
    /// The end of a call that is told behind what servers and models have said to each other.
    held: Option<Input>,
    /// Where it goes whether such a request may go on.
    verdicts: HashMap<u64, mpsc::Sender<Verdict>>,
    /// Where the replies to open questions go.
    replies: HashMap<CallId, oneshot::Sender<Reply>>,
}

impl Work {
    fn new() -> Self {
        Self {
            model: None,
            calls: FuturesUnordered::new(),
            progress: mpsc::channel(PROGRESS_QUEUE),
            questions: mpsc::channel(QUESTIONS_QUEUE),
            sampling: mpsc::channel(SAMPLING_QUEUE),
            next_request: Arc::default(),
            held: None,
            verdicts: HashMap::new(),
            replies: HashMap::new(),
        }
    }

    fn call_model(&mut self, shared: &Shared, request: ModelRequest) {
        let model = Arc::clone(&shared.ports.model);
        let stream = async move { model.stream(request).await };
        self.model = Some(stream.try_flatten_stream().boxed());
    }

    fn call_tool(&mut self, shared: &Shared, pending: PendingCall) {
        let toolbox = Arc::clone(&shared.ports.toolbox);
        let to = OfRun {
            progress: self.progress.0.clone(),
            questions: self.questions.0.clone(),
            sampler: Sampler {
                model: Arc::clone(&shared.ports.model),
                default_model: shared.settings.model.clone(),
                caller: pending.caller.clone(),
                next: Arc::clone(&self.next_request),
                run: self.sampling.0.clone(),
            },
        };
        let call = call::perform(toolbox, pending, shared.settings.call_timeout, to);
        self.calls.push(call.boxed());
    }

    fn reply(&mut self, call: &CallId, reply: Reply) {
        if let Some(asked) = self.replies.remove(call) {
            // Who asked may have given up.
            let _ = asked.send(reply);
        }
    }

    /// Tells a request of a server whether it may go on. One that may not is told once.
    fn judge(&mut self, request: u64, verdict: Verdict) {
        let to = match &verdict {
            Ok(_) => self.verdicts.get(&request).cloned(),
            Err(_) => self.verdicts.remove(&request),
        };
        if let Some(to) = to {
            // Who asked may have given up.
            let _ = to.try_send(verdict);
        }
    }

    /// Takes what is told of a request of a server.
    fn hear(&mut self, (input, verdict): Told) -> Input {
        match (&input, verdict) {
            (Input::CallSamples { request, .. }, Some(verdict)) => {
                self.verdicts.retain(|_, verdict| !verdict.is_closed());
                self.verdicts.insert(*request, verdict);
            }
            (Input::CallSampled { request, .. }, _) => drop(self.verdicts.remove(request)),
            _ => {}
        }
        input
    }

    /// Waits for this. The work of a run that is called off meanwhile, or that is another process's now, ends at
    /// once: the wait may be long when the store is away.
    async fn beside<T>(&mut self, live: &LiveRun, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        tokio::select! {
            biased;
            waited = &mut wait => return waited,
            () = live.cancel.cancelled() => {}
            () = live.lost.cancelled() => {}
        }
        self.abort();
        wait.await
    }

    /// Dropping a request or a call aborts it.
    fn abort(&mut self) {
        self.model = None;
        self.calls.clear();
        self.held = None;
        self.replies.clear();
        self.verdicts.clear();
    }

    /// The next thing that happens. Dropping the future loses nothing.
    async fn next(&mut self) -> Input {
        let input = match self.held.take() {
            Some(held) => held,
            None => self.happens().await,
        };
        // The end of a call may be known in the same moment as what its server heard, which comes before it.
        if matches!(input, Input::CallDone { .. } | Input::CallLost { .. })
            && let Ok(told) = self.sampling.1.try_recv()
        {
            self.held = Some(input);
            return self.hear(told);
        }
        input
    }

    async fn happens(&mut self) -> Input {
        tokio::select! {
            biased;
            Some((call, progress)) = self.progress.1.recv() => Input::CallProgress { call, progress },
            Some(told) = self.sampling.1.recv() => self.hear(told),
            // Before the next question of the same call.
            call = withdrawn(&mut self.replies) => {
                self.replies.remove(&call);
                Input::CallAsksNoMore { call }
            }
            Some(Asked { call, asking, reply }) = self.questions.1.recv() => {
                self.replies.insert(call.clone(), reply);
                Input::CallAsks { call, asking }
            }
            Some(done) = self.calls.next() => done,
            event = next_event(&mut self.model) => event,
        }
    }
}

/// Waits until whoever asked during a call waits for the reply no longer.
async fn withdrawn(replies: &mut HashMap<CallId, oneshot::Sender<Reply>>) -> CallId {
    poll_fn(|context| {
        let mut replies = replies.iter_mut();
        let gone =
            replies.find_map(|(call, reply)| reply.poll_closed(context).is_ready().then(|| call.clone()));
        gone.map_or(Poll::Pending, Poll::Ready)
    })
    .await
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
