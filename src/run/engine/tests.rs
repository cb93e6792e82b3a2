//! The engine with ports that do as they are told, on paused time.

mod archive;
mod interleavings;
mod late;
mod players;
mod several;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use self::archive::Archive;
use super::*;
use crate::run::action::{Answer, Question, Reply, Request};
use crate::run::catalogue::{Annotations, Catalogue, Tool, ToolDescription};
use crate::run::event::{Body, Progress};
use crate::run::id::ActionId;
use crate::run::message::Content;
use crate::run::ports::{
    Caller, Connection, Finish, ModelEvent, ModelRequest, ModelStatus, ModelStream, ServerStatus,
};
use crate::run::rules::{self, Quarters};
use crate::run::state::RESERVE;
use crate::run::truncation::Truncation;

/// What the model does in one turn.
#[derive(Clone)]
enum Turn {
    Says(Vec<ModelEvent>),
    /// Says this and then nothing, for ever.
    Hangs(&'static str),
    /// Says this and panics.
    Panics(&'static str),
    BreaksOff,
}

#[derive(Default)]
struct World {
    turns: Mutex<VecDeque<Turn>>,
    /// Requests and calls that go on; one that is dropped is no longer here.
    going_on: Arc<AtomicUsize>,
    archive: Arc<Archive>,
    /// How its MCP server is, if it is not there.
    absence: Mutex<Option<Connection>>,
}

/// What the store has.
struct Written {
    record: RunRecord,
    messages: Vec<Arc<Message>>,
}

struct GoesOn(Arc<AtomicUsize>);

impl GoesOn {
    fn new(world: &World) -> Self {
        world.going_on.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&world.going_on))
    }
}

impl Drop for GoesOn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Model for World {
    async fn stream(&self, _: ModelRequest) -> Result<ModelStream, Error> {
        let turn = self.turns.lock().unwrap().pop_front().unwrap_or(Turn::BreaksOff);
        let going_on = GoesOn::new(self);
        Ok(match turn {
            Turn::Says(events) => futures::stream::iter(events.into_iter().map(Ok)).boxed(),
            Turn::BreaksOff => futures::stream::empty().boxed(),
            Turn::Panics(said) => {
                let said = futures::stream::iter([Ok(ModelEvent::TextDelta(said.into()))]);
                said.chain(futures::stream::once(async { panic!("as asked") }))
                    .boxed()
            }
            Turn::Hangs(said) => {
                let said = futures::stream::iter([Ok(ModelEvent::TextDelta(said.into()))]);
                said.chain(futures::stream::pending().inspect(move |_: &Result<_, _>| {
                    let _ = &going_on;
                }))
                .boxed()
            }
        })
    }

    fn status(&self) -> ModelStatus {
        unreachable!("the engine does not ask")
    }
}

#[async_trait]
impl Toolbox for World {
    fn catalogue(&self) -> Arc<Catalogue> {
        if self.absence.lock().unwrap().is_some() {
            return Arc::default();
        }
        let names = [
            "echo", "slow", "hang", "queue", "panic", "risky", "stuck", "asks", "asks off", "breaks",
        ];
        Arc::new(Catalogue::new(7, names.map(|name| Arc::new(tool(name)))))
    }

    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        caller: Arc<dyn Caller>,
    ) -> Result<ToolOutput, Error> {
        let _going_on = GoesOn::new(self);
        match tool.name() {
            "slow" => {
                for step in 1..=3 {
                    tokio::time::sleep(Duration::from_secs(40)).await;
                    caller.progress(Progress {
                        progress: f64::from(step),
                        ..Progress::default()
                    });
                }
            }
            "hang" => {
                caller.begins();
                std::future::pending().await
            }
            "queue" => {
                tokio::time::sleep(Duration::from_secs(50)).await;
                caller.begins();
                tokio::time::sleep(Duration::from_secs(50)).await;
            }
            "stuck" => std::future::pending().await,
            "asks" => {
                let question = Question {
                    server: "fake".into(),
                    message: "who are you?".into(),
                    requested_schema: None,
                    url: "https://login.example".into(),
                };
                let (first, second) = tokio::join!(caller.ask(question.clone()), caller.ask(question));
                return Ok(ToolOutput {
                    content: vec![Content::Text(format!("{first:?} {second:?}"))],
                    ..ToolOutput::default()
                });
            }
            "asks off" => {
                let question = |message: &str| Question {
                    server: "fake".into(),
                    message: message.into(),
                    requested_schema: None,
                    url: "https://login.example".into(),
                };
                let asked = caller.ask(question("who are you?"));
                let _ = tokio::time::timeout(Duration::from_secs(5), asked).await;
                let second = caller.ask(question("where are you?")).await;
                return Ok(ToolOutput {
                    content: vec![Content::Text(format!("{second:?}"))],
                    ..ToolOutput::default()
                });
            }
            "breaks" => return Err(Error::new(Reason::OutcomeUnknown, "broke off")),
            "panic" => panic!("as asked"),
            _ => {}
        }
        let text = arguments.get("text").map(ToString::to_string).unwrap_or_default();
        Ok(ToolOutput {
            content: vec![Content::Text(text)],
            ..ToolOutput::default()
        })
    }

    fn servers(&self) -> Vec<ServerStatus> {
        let absence = self.absence.lock().unwrap().clone();
        vec![ServerStatus {
            name: "fake".into(),
            transport: "stdio",
            connection: absence.unwrap_or(Connection::Ready),
            tool_count: 0,
            waiting_calls: 0,
            last_error_time: None,
        }]
    }
}

impl World {
    /// What the store has of the only run.
    fn written(&self) -> Written {
        let kept = self.archive.kept();
        let volume = kept.runs.values().next_back().unwrap().clone();
        let messages = &kept.threads[&volume.record.thread].messages;
        Written {
            messages: messages.clone(),
            record: volume.record,
        }
    }
}

fn tool(name: &str) -> Tool {
    Tool::new(ToolDescription {
        name: name.into(),
        server: "fake".into(),
        remote_name: name.into(),
        title: String::new(),
        description: String::new(),
        input_schema: Arc::new(json!({"type": "object"})),
        output_schema: None,
        annotations: Annotations::default(),
        timeout: None,
        policy: match name {
            "risky" | "stuck" => Policy::Ask,
            _ => Policy::Allow,
        },
    })
}

fn engine(turns: impl IntoIterator<Item = Turn>) -> (Engine, Arc<World>) {
    engine_on(&Arc::default(), turns)
}

fn engine_on(archive: &Arc<Archive>, turns: impl IntoIterator<Item = Turn>) -> (Engine, Arc<World>) {
    let world = Arc::new(World {
        turns: Mutex::new(turns.into_iter().collect()),
        archive: Arc::clone(archive),
        ..World::default()
    });
    let ports = Ports {
        model: world.clone(),
        tokenizer: Arc::new(Quarters),
        toolbox: world.clone(),
        store: world.archive.clone(),
        ownership: world.archive.clone(),
        news: world.archive.clone(),
        observer: Arc::new(()),
    };
    (Engine::new(ports, settings()), world)
}

fn settings() -> Settings {
    Settings {
        options: Default::default(),
        model: "m".into(),
        instructions: String::new(),
        limits: Limits::default(),
        truncation: Truncation::default(),
        summary_model: None,
        execution_limit: Duration::from_secs(600),
        waiting_limit: Duration::from_secs(86_400),
        call_timeout: Duration::from_secs(60),
        parallel_calls: 2,
        tool_output_limit: 64 << 10,
        lease: Duration::from_secs(15),
    }
}

fn says(text: &str) -> Turn {
    Turn::Says(vec![
        ModelEvent::TextDelta(text.into()),
        ModelEvent::Finished(Finish::Stop),
    ])
}

fn calls(tools: &[&str]) -> Turn {
    let started = |(index, tool): (usize, &&str)| ModelEvent::ToolCallStarted {
        index,
        tool: (*tool).into(),
    };
    let mut events: Vec<ModelEvent> = tools.iter().enumerate().map(started).collect();
    events.push(ModelEvent::Finished(Finish::Stop));
    Turn::Says(events)
}

async fn begin(engine: &Engine) -> RunHandle {
    match engine
        .begin(NewRun::default(), OnDisconnect::Cancel)
        .await
        .unwrap()
    {
        Begun::Live(handle) => handle,
        Begun::Elsewhere(_) | Begun::Past(_) => panic!("a new run is live"),
    }
}

async fn events(mut watch: Watch) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Some(event) = watch.next().await.unwrap() {
        events.push(event);
    }
    events
}

fn outcome(finished: &Finished) -> Outcome {
    finished.record.state.outcome().unwrap().clone()
}

/// The outputs of the run's calls, as they were written.
fn outputs(world: &World) -> Vec<String> {
    let written = world.written();
    let parts = written.messages.iter().flat_map(|message| &message.content);
    parts
        .filter_map(|part| match part {
            Part::ToolOutput(output) => Some(output.output.text()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_through_tools_to_its_answer() {
    let (engine, world) = engine([calls(&["echo", "nope"]), says("done")]);
    let handle = begin(&engine).await;
    let seen = events(handle.watch()).await;
    let finished = handle.finished().await.unwrap();
    assert_eq!(outcome(&finished), Outcome::Completed);
    assert_eq!(finished.response(), "done");
    assert_eq!(finished.record.snapshot.catalogue_version, 7);
    assert_eq!(seen.last().unwrap().sequence, finished.record.last_sequence);
    assert_eq!(world.written().record, *finished.record);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_cancels_the_run_down_to_the_model() {
    let (engine, world) = engine([Turn::Hangs("par")]);
    let handle = begin(&engine).await;
    let mut watch = handle.watch();
    while !matches!(watch.next().await.unwrap().unwrap().body, Body::TextDelta { .. }) {}
    assert_eq!(world.going_on.load(Ordering::SeqCst), 1);
    drop(handle);
    let seen = events(watch).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "cancelled"));
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
    let written = world.written();
    assert!(written.messages[0].incomplete);
    assert_eq!(written.messages[0].text(), "par");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_while_the_run_is_opened_leaves_nothing_open() {
    let (engine, world) = engine([Turn::Hangs("x")]);
    world.archive.open_waits.store(true, Ordering::SeqCst);
    let begin = engine.begin(NewRun::default(), OnDisconnect::Cancel);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), begin)
            .await
            .is_err()
    );
    engine.drain(Duration::from_secs(5)).await;
    let record = world.written().record;
    assert_eq!(record.state, State::Ended(Outcome::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_long_as_long_as_it_moves() {
    let (engine, world) = engine([calls(&["slow", "hang"]), says("done")]);
    let started = Instant::now();
    let handle = begin(&engine).await;
    let seen = events(handle.watch()).await;
    assert_eq!(
        started.elapsed().as_secs(),
        120,
        "the slow call reports progress; the hung one is given up"
    );
    let outputs = outputs(&world);
    assert_eq!(
        outputs[1],
        "the tool hang did not answer within 60s; it is not known what the call has done"
    );
    let progress = seen
        .iter()
        .filter(|event| matches!(event.body, Body::ToolCallProgress { .. }))
        .count();
    assert!(progress >= 2, "{progress}");
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_its_time_from_when_it_has_its_turn() {
    let (engine, _) = engine([]);
    let call = async |tool: &str| {
        engine
            .call_tool(tool, Map::new(), None, String::new(), None)
            .await
    };
    let (queued, stuck) = tokio::join!(call("queue"), call("stuck"));
    assert!(queued.is_ok(), "50 of 60 seconds waiting, and as many at work");
    let error = stuck.unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert_eq!(
        error.message(),
        "the tool stuck did not get its turn within 60s; it was not called"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_turn_go_on_side_by_side_but_not_all_at_once() {
    let (engine, _) = engine([calls(&["slow", "slow", "slow"]), says("done")]);
    let started = Instant::now();
    begin(&engine).await.finished().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 240, "two at a time");
}

#[tokio::test(start_paused = true)]
async fn a_run_expires_at_the_execution_limit() {
    let (engine, _) = engine([Turn::Hangs("x")]);
    let finished = begin(&engine).await.finished().await.unwrap();
    let worked = "the run worked for longer than the service allows";
    assert_eq!(outcome(&finished), Outcome::Expired(worked.into()));
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_incomplete_at_its_own_deadline() {
    let (engine, _) = engine([Turn::Hangs("x")]);
    let limits = LimitsPatch {
        max_duration: Some(Duration::from_secs(3)),
        ..LimitsPatch::default()
    };
    let new = NewRun {
        limits,
        ..NewRun::default()
    };
    let Begun::Live(handle) = engine.begin(new, OnDisconnect::GoOn).await.unwrap() else {
        panic!("live")
    };
    let finished = handle.finished().await.unwrap();
    assert_eq!(
        outcome(&finished),
        Outcome::Incomplete(crate::run::record::IncompleteReason::Deadline)
    );
    assert_eq!(finished.response(), "x");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_fails_the_run() {
    let (engine, _) = engine([Turn::BreaksOff]);
    let finished = begin(&engine).await.finished().await.unwrap();
    assert!(
        matches!(outcome(&finished), Outcome::Failed(error) if error.reason() == Reason::ModelUnavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_loses_nothing() {
    let (engine, world) = engine([says("kept")]);
    world.archive.writes_to_fail.store(3, Ordering::SeqCst);
    let finished = begin(&engine).await.finished().await.unwrap();
    assert_eq!(outcome(&finished), Outcome::Completed);
    assert_eq!(world.written().messages[0].text(), "kept");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_called_off_while_a_write_fails_is_cancelled() {
    let (engine, world) = engine([calls(&["slow"]), says("never")]);
    let handle = begin(&engine).await;
    world.archive.is_away.store(true, Ordering::SeqCst);
    let cancelling = tokio::spawn({
        let (engine, thread, run) = (engine.clone(), handle.thread().clone(), handle.id().clone());
        async move { engine.cancel(&thread, &run).await }
    });
    assert_eq!(
        cancelling.await.unwrap().unwrap_err().reason(),
        Reason::StoreUnavailable
    );
    world.archive.is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let finished = handle.finished().await.unwrap();
    assert_eq!(outcome(&finished), Outcome::Cancelled);
    let cancelled = engine.cancel(handle.thread(), handle.id()).await.unwrap();
    assert_eq!(cancelled.state, State::Ended(Outcome::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_fails_the_run_once_that_can_be_written() {
    let (engine, world) = engine([calls(&["slow"]), says("never")]);
    let handle = begin(&engine).await;
    world.archive.is_away.store(true, Ordering::SeqCst);
    let mut watch = handle.watch();
    let told = loop {
        match watch.next().await {
            Ok(event) => assert!(
                !matches!(event.unwrap().body, Body::Ended(_)),
                "it is not written"
            ),
            Err(error) => break error,
        }
    };
    assert_eq!(told.reason(), Reason::StoreUnavailable);
    assert_eq!(
        handle.finished().await.unwrap_err().reason(),
        Reason::StoreUnavailable
    );
    let cancelled = engine.cancel(handle.thread(), handle.id()).await;
    assert_eq!(cancelled.unwrap_err().reason(), Reason::StoreUnavailable);

    world.archive.is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seen = events(engine.watch(handle.thread(), handle.id(), 0).await.unwrap()).await;
    let sequences: Vec<u64> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=seen.len() as u64).collect::<Vec<_>>());
    let finished = handle.finished().await.unwrap();
    assert!(
        matches!(outcome(&finished), Outcome::Failed(error) if error.reason() == Reason::StoreUnavailable)
    );
    assert_eq!(world.archive.active(handle.thread()), None, "the thread is free");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_end_cannot_be_written_is_left_to_the_next_process() {
    let (engine, world) = engine([Turn::Hangs("unheard")]);
    let handle = begin(&engine).await;
    world.archive.is_away.store(true, Ordering::SeqCst);
    engine.drain(Duration::from_secs(60)).await;
    assert_eq!(
        handle.finished().await.unwrap_err().reason(),
        Reason::ShuttingDown
    );
    world.archive.is_away.store(false, Ordering::SeqCst);
    let (next, _) = after_death(&world, [says("whole")]);
    next.recover().await.unwrap();
    let seen = events(next.watch(handle.thread(), handle.id(), 0).await.unwrap()).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "completed"));
}

#[tokio::test(start_paused = true)]
async fn no_number_is_shown_that_is_not_reserved() {
    let flood = (0..2 * RESERVE).map(|_| ModelEvent::TextDelta("x".into()));
    let (engine, world) = engine([Turn::Says(flood.collect())]);
    let handle = begin(&engine).await;
    world.archive.is_away.store(true, Ordering::SeqCst);
    let mut watch = handle.watch();
    while let Ok(Some(event)) = watch.next().await {
        let reserved = world.written().record.reserved_sequence;
        assert!(event.sequence <= reserved, "{} of {reserved}", event.sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_takes_no_answers() {
    let (engine, _) = engine([Turn::Hangs("x")]);
    let first = begin(&engine).await;
    let second = NewRun {
        thread: Some(first.thread().clone()),
        on_busy: OnBusy::Enqueue,
        ..NewRun::default()
    };
    let Begun::Live(second) = engine.begin(second, OnDisconnect::GoOn).await.unwrap() else {
        panic!("a new run is live")
    };
    let submission = Submission {
        action: ActionId::new(&mut Mint::System),
        digest: String::new(),
        answer: Answer::Approve(None),
    };
    let submitted = engine.submit(second.thread(), second.id(), vec![submission]);
    let submitted = tokio::time::timeout(Duration::from_secs(1), submitted)
        .await
        .unwrap();
    assert_eq!(submitted.unwrap_err().reason(), Reason::ActionNotPending);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_that_run_alone() {
    let (engine, world) = engine([calls(&["panic"]), says("the next")]);
    let handle = begin(&engine).await;
    let seen = events(handle.watch()).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "failed"));
    assert!(
        world.written().record.state.outcome().is_some(),
        "the thread is free"
    );
    assert_eq!(
        begin(&engine).await.finished().await.unwrap().response(),
        "the next"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_no_call_unanswered_and_no_message_unfinished() {
    let unfinished = "not finished: the run failed";
    for (turns, expected) in [
        (vec![calls(&["panic", "hang"])], vec![unfinished, unfinished]),
        (
            vec![calls(&["risky", "panic"])],
            vec!["not called: the run failed", unfinished],
        ),
        (vec![calls(&["echo"]), calls(&["panic"])], vec!["", unfinished]),
        (vec![Turn::Panics("half")], vec![]),
        (vec![calls(&["echo"]), Turn::Panics("half")], vec![""]),
    ] {
        let turns_taken = u32::try_from(turns.len()).unwrap();
        let (engine, world) = engine(turns);
        let handle = begin(&engine).await;
        let seen = events(handle.watch()).await;
        let written = world.written();
        rules::check_sequences(&seen).unwrap();
        rules::check_events(&seen, &written.messages).unwrap();
        rules::check_answered(&written.messages).unwrap();
        assert_eq!(written.record.state.name(), "failed");
        assert_eq!(outputs(&world), expected);
        let steps = engine.shared.all_steps(handle.id()).await.unwrap();
        assert!(steps.iter().all(|step| step.end_time.is_some()), "{steps:?}");
        assert!(
            written.record.usage.turns + 1 >= turns_taken,
            "what was used counts"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_the_work_at_once_though_the_store_is_away() {
    let (engine, world) = engine([calls(&["slow", "hang"])]);
    let handle = begin(&engine).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.archive.is_away.store(true, Ordering::SeqCst);
    // One call is given up a little after a minute, which cannot be written; the other still moves.
    tokio::time::sleep(Duration::from_millis(64_300)).await;
    assert_eq!(world.going_on.load(Ordering::SeqCst), 1);
    handle.live.cancel.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
    world.archive.is_away.store(false, Ordering::SeqCst);
    assert_eq!(outcome(&handle.finished().await.unwrap()), Outcome::Cancelled);
    rules::check_answered(&world.written().messages).unwrap();
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_runs_then_ends_them_and_takes_no_more() {
    let (engine, _) = engine([Turn::Hangs("x")]);
    let handle = begin(&engine).await;
    let started = Instant::now();
    engine.drain(Duration::from_secs(10)).await;
    assert_eq!(started.elapsed().as_secs(), 10);
    let finished = handle.finished().await.unwrap();
    assert!(matches!(outcome(&finished), Outcome::Failed(error) if error.reason() == Reason::ShuttingDown));
    let refused = engine
        .begin(NewRun::default(), OnDisconnect::Cancel)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.reason(), Reason::ShuttingDown);
}

/// Another process that finds what this one has written, and plays these turns.
fn after_death(world: &World, turns: impl IntoIterator<Item = Turn>) -> (Engine, Arc<World>) {
    engine_on(&world.archive, turns)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_dead_process_left_goes_on_from_its_last_step() {
    let (engine, world) = engine([calls(&["hang"])]);
    let handle = begin(&engine).await;
    let mut watch = handle.watch();
    while !matches!(
        watch.next().await.unwrap().unwrap().body,
        Body::MessageCompleted(_)
    ) {}
    let (next, after) = after_death(&world, [says("never mind")]);
    assert_eq!(next.recover().await.unwrap(), 1);
    let mut watch = next.watch(handle.thread(), handle.id(), 0).await.unwrap();
    let mut seen = Vec::new();
    let asked = loop {
        let event = watch.next().await.unwrap().unwrap();
        seen.push(Arc::clone(&event));
        if let Body::ActionRequired(action) = &event.body {
            break action.id.clone();
        }
    };
    let submission = Submission {
        action: asked,
        digest: String::new(),
        answer: Answer::Reject("nobody knows".into()),
    };
    next.submit(handle.thread(), handle.id(), vec![submission])
        .await
        .unwrap();
    seen.extend(events(watch).await);
    assert_eq!(
        outputs(&after),
        ["not called: the call was rejected: nobody knows"]
    );
    let record = after.written().record;
    assert_eq!(record.state, State::Ended(Outcome::Completed));
    let gaps: Vec<_> = seen
        .windows(2)
        .filter(|pair| pair[1].sequence != pair[0].sequence + 1)
        .collect();
    assert!(
        matches!(gaps.as_slice(), [gap] if matches!(gap[1].body, Body::TurnRestarted { .. })),
        "{gaps:?}"
    );
    assert_eq!(next.recover().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_is_left_to_the_next_process_and_answered_there() {
    let (engine, world) = engine([calls(&["risky"])]);
    let handle = begin(&engine).await;
    let waiting = handle.answered().await.unwrap();
    assert_eq!(waiting.record.state, State::RequiresAction);
    let watch = handle.watch();
    engine.drain(Duration::from_secs(60)).await;
    let mut watch = watch;
    let told = loop {
        match watch.next().await {
            Ok(event) => assert!(event.is_some(), "a stream does not end silently"),
            Err(error) => break error,
        }
    };
    assert_eq!(told.reason(), Reason::ShuttingDown);
    assert_eq!(
        handle.finished().await.unwrap_err().reason(),
        Reason::ShuttingDown
    );

    let (next, after) = after_death(&world, [says("done")]);
    assert_eq!(next.recover().await.unwrap(), 1);
    let (thread, run) = (handle.thread(), handle.id());
    let submission = Submission {
        action: waiting.record.pending[0].id.clone(),
        digest: String::new(),
        answer: Answer::Approve(None),
    };
    next.submit(thread, run, vec![submission.clone()]).await.unwrap();
    let seen = events(next.watch(thread, run, 0).await.unwrap()).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "completed"));
    assert_eq!(after.written().record.usage.tool_calls, 1);
    next.submit(thread, run, vec![submission.clone()]).await.unwrap();
    let other = Submission {
        answer: Answer::Reject(String::new()),
        ..submission.clone()
    };
    let unseen = Submission {
        digest: "0".repeat(64),
        ..submission.clone()
    };
    for late in [other, unseen] {
        let late = next.submit(thread, run, vec![late]).await.unwrap_err();
        assert_eq!(late.reason(), Reason::ActionNotPending);
        assert_eq!(late.metadata(), [("action", submission.action.to_string())]);
    }
}

#[tokio::test(start_paused = true)]
async fn questions_of_a_server_are_asked_one_by_one_and_the_call_waits_for_as_long_as_it_takes() {
    let (engine, world) = engine([calls(&["asks"]), says("done")]);
    let handle = begin(&engine).await;
    for reply in [Reply::Accept(Map::new()), Reply::Decline] {
        let waiting = handle.answered().await.unwrap();
        assert_eq!(waiting.record.state, State::RequiresAction);
        let [action] = waiting.record.pending.as_slice() else {
            panic!("one at a time: {:?}", waiting.record.pending)
        };
        assert!(matches!(action.request, Request::Elicitation(_)));
        // Far longer than any call may be silent.
        tokio::time::sleep(Duration::from_secs(7_200)).await;
        let submission = Submission {
            action: action.id.clone(),
            digest: action.digest.clone(),
            answer: Answer::Reply(reply),
        };
        engine
            .submit(handle.thread(), handle.id(), vec![submission.clone()])
            .await
            .unwrap();
        engine
            .submit(handle.thread(), handle.id(), vec![submission])
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(handle.finished().await.unwrap().response(), "done");
    assert_eq!(outputs(&world), ["Accept({}) Decline"]);
    let nobody = engine
        .call_tool("asks", Map::new(), None, String::new(), None)
        .await
        .unwrap();
    assert_eq!(nobody.text(), "Cancel Cancel");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_a_server_takes_back_makes_room_for_its_next() {
    let (engine, world) = engine([calls(&["asks off"]), says("done")]);
    let handle = begin(&engine).await;
    let first = handle.answered().await.unwrap().record.pending[0].clone();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let waiting = handle.answered().await.unwrap();
    let [action] = waiting.record.pending.as_slice() else {
        panic!("one at a time: {:?}", waiting.record.pending)
    };
    let Request::Elicitation(question) = &action.request else {
        panic!("{action:?}")
    };
    assert_eq!(question.message, "where are you?");
    let answer = |action: &crate::run::action::Action| Submission {
        action: action.id.clone(),
        digest: String::new(),
        answer: Answer::Reply(Reply::Decline),
    };
    let submit = |action| engine.submit(handle.thread(), handle.id(), vec![answer(action)]);
    let late = submit(&first).await.unwrap_err();
    assert_eq!(late.reason(), Reason::ActionNotPending);
    submit(action).await.unwrap();
    assert_eq!(handle.finished().await.unwrap().response(), "done");
    assert_eq!(outputs(&world), ["Decline"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_breaks_off_is_for_a_person_to_decide_and_outside_a_run_an_error() {
    let (engine, world) = engine([calls(&["breaks"]), says("done")]);
    let handle = begin(&engine).await;
    let waiting = handle.answered().await.unwrap();
    let action = &waiting.record.pending[0];
    assert!(matches!(action.request, Request::UnknownOutcome { .. }));
    let submission = Submission {
        action: action.id.clone(),
        digest: String::new(),
        answer: Answer::Reject("it was".into()),
    };
    engine
        .submit(handle.thread(), handle.id(), vec![submission])
        .await
        .unwrap();
    assert_eq!(handle.finished().await.unwrap().response(), "done");
    assert_eq!(outputs(&world), ["not called: the call was rejected: it was"]);
    let error = engine
        .call_tool("breaks", Map::new(), None, String::new(), None)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::OutcomeUnknown);
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_before_a_crash_stays_and_is_void() {
    let (engine, world) = engine([Turn::Hangs("half")]);
    let handle = begin(&engine).await;
    let mut watch = handle.watch();
    while !matches!(watch.next().await.unwrap().unwrap().body, Body::TextDelta { .. }) {}
    // Long enough for it to be written behind.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (next, _) = after_death(&world, [says("whole")]);
    next.recover().await.unwrap();
    let seen = events(next.watch(handle.thread(), handle.id(), 0).await.unwrap()).await;
    let texts: Vec<&str> = seen
        .iter()
        .filter_map(|event| match &event.body {
            Body::TextDelta { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["half", "whole"]);
    let restarted = seen.iter().find_map(|event| match event.body {
        Body::TurnRestarted { first_void } => Some(first_void),
        _ => None,
    });
    let half = seen
        .iter()
        .find(|event| matches!(event.body, Body::TextDelta { .. }))
        .unwrap();
    assert!(restarted.unwrap() <= half.sequence);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_resumes_strictly_after_what_it_has_seen() {
    let (engine, world) = engine([says("done")]);
    let handle = begin(&engine).await;
    let (thread, run) = (handle.thread().clone(), handle.id().clone());
    let all = events(handle.watch()).await;
    handle.finished().await.unwrap();
    tokio::task::yield_now().await;
    let sequences = |events: &[Arc<Event>]| events.iter().map(|event| event.sequence).collect::<Vec<_>>();
    let last = all.last().unwrap().sequence;
    for after in 0..=last {
        let seen = events(engine.watch(&thread, &run, after).await.unwrap()).await;
        assert_eq!(sequences(&seen), (after + 1..=last).collect::<Vec<_>>());
    }
    let beyond = engine.watch(&thread, &run, last + 1).await.err().unwrap();
    assert_eq!(beyond.reason(), Reason::ValidationFailed);
    let stranger = ThreadId::new(&mut Mint::System);
    let elsewhere = engine.watch(&stranger, &run, 0).await.err().unwrap();
    assert_eq!(elsewhere.reason(), Reason::RunNotFound);

    world.archive.events_expired.store(true, Ordering::SeqCst);
    let snapshot = events(engine.watch(&thread, &run, 0).await.unwrap()).await;
    assert!(matches!(&snapshot[0].body, Body::MessageCompleted(message) if message.text() == "done"));
    assert_eq!(snapshot.last().unwrap().sequence, last);
    let late = engine.watch(&thread, &run, 1).await.err().unwrap();
    assert_eq!(late.reason(), Reason::EventsExpired);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_called_off_by_its_name_once() {
    let (engine, _) = engine([Turn::Hangs("par"), says("whole")]);
    let handle = begin(&engine).await;
    let cancelled = engine.cancel(handle.thread(), handle.id()).await.unwrap();
    assert_eq!(cancelled.state, State::Ended(Outcome::Cancelled));
    let again = engine.cancel(handle.thread(), handle.id()).await.unwrap();
    assert_eq!(again, cancelled);
    let other = begin(&engine).await;
    other.finished().await.unwrap();
    tokio::task::yield_now().await;
    let late = engine.cancel(other.thread(), other.id()).await.unwrap_err();
    assert_eq!(late.reason(), Reason::RunNotCancellable);
}

#[tokio::test(start_paused = true)]
async fn a_tool_can_be_called_without_a_run() {
    let (engine, world) = engine([]);
    let arguments = Map::from_iter([("text".to_owned(), json!("hi"))]);
    let output = engine
        .call_tool("echo", arguments, None, String::new(), None)
        .await
        .unwrap();
    assert_eq!(output.text(), "\"hi\"");
    let missing = engine
        .call_tool("nope", Map::new(), None, String::new(), None)
        .await
        .unwrap_err();
    assert_eq!(missing.reason(), Reason::ToolNotFound);
    let late = engine
        .call_tool(
            "hang",
            Map::new(),
            Some(Duration::from_secs(1)),
            String::new(),
            None,
        )
        .await
        .unwrap_err();
    assert_eq!(late.reason(), Reason::DeadlineExceeded);
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
}
