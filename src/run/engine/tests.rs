//! The engine with ports that do as they are told, on paused time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::run::catalogue::{Annotations, Catalogue, Tool, ToolDescription};
use crate::run::event::{Body, Event, Progress};
use crate::run::message::Content;
use crate::run::ports::{Finish, ModelEvent, ModelRequest, ModelStatus, ModelStream, ServerStatus};
use crate::run::record::Outcome;

/// What the model does in one turn.
enum Turn {
    Says(Vec<ModelEvent>),
    /// Says this and then nothing, for ever.
    Hangs(&'static str),
    BreaksOff,
}

#[derive(Default)]
struct World {
    turns: Mutex<VecDeque<Turn>>,
    /// Requests and calls that go on; one that is dropped is no longer here.
    going_on: Arc<AtomicUsize>,
    saves_to_fail: AtomicUsize,
    /// Messages and the newest record, as they were written.
    written: Mutex<(Vec<Arc<Message>>, Option<RunRecord>)>,
    open_waits: AtomicBool,
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
        let tools = ["echo", "slow", "hang", "panic"].map(|name| Arc::new(tool(name)));
        Arc::new(Catalogue::new(7, tools))
    }

    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        on_progress: OnProgress,
    ) -> Result<ToolOutput, Error> {
        let _going_on = GoesOn::new(self);
        match tool.name() {
            "slow" => {
                for step in 1..=3 {
                    tokio::time::sleep(Duration::from_secs(40)).await;
                    on_progress(Progress {
                        progress: f64::from(step),
                        ..Progress::default()
                    });
                }
            }
            "hang" => std::future::pending().await,
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
        Vec::new()
    }
}

#[async_trait]
impl Store for World {
    async fn open_run(&self, opening: Opening) -> Result<Opened, Error> {
        if self.open_waits.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.written.lock().unwrap().1 = Some(opening.record);
        Ok(Opened::Started(Vec::new()))
    }

    async fn save(&self, record: &RunRecord, messages: &[Arc<Message>]) -> Result<(), Error> {
        let fails = self
            .saves_to_fail
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(Error::new(Reason::StoreUnavailable, "disk full"));
        }
        let mut written = self.written.lock().unwrap();
        written.0.extend(messages.iter().cloned());
        written.1 = Some(record.clone());
        Ok(())
    }

    async fn run(&self, _: &RunId) -> Result<RunRecord, Error> {
        Ok(self.written.lock().unwrap().1.clone().unwrap())
    }

    async fn run_messages(&self, _: &RunId) -> Result<Vec<Arc<Message>>, Error> {
        Ok(self.written.lock().unwrap().0.clone())
    }

    async fn messages(&self, _: &ThreadId) -> Result<Vec<Arc<Message>>, Error> {
        Ok(self.written.lock().unwrap().0.clone())
    }

    async fn active_runs(&self) -> Result<Vec<RunRecord>, Error> {
        let record = self.written.lock().unwrap().1.clone();
        Ok(record
            .into_iter()
            .filter(|record| record.state.outcome().is_none())
            .collect())
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "fake"
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
    })
}

fn engine(turns: impl IntoIterator<Item = Turn>) -> (Engine, Arc<World>) {
    let world = Arc::new(World {
        turns: Mutex::new(turns.into_iter().collect()),
        ..World::default()
    });
    let ports = Ports {
        model: world.clone(),
        toolbox: world.clone(),
        store: world.clone(),
    };
    let settings = Settings {
        model: "m".into(),
        instructions: String::new(),
        limits: Limits::default(),
        execution_limit: Duration::from_secs(600),
        call_timeout: Duration::from_secs(60),
        parallel_calls: 2,
    };
    (Engine::new(ports, settings), world)
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
        Begun::Past(_) => panic!("a new run is live"),
    }
}

async fn events(mut watch: Watch) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Some(event) = watch.next().await {
        events.push(event);
    }
    events
}

fn outcome(finished: &Finished) -> Outcome {
    finished.record.state.outcome().unwrap().clone()
}

/// The outputs of the run's calls, as they were written.
fn outputs(world: &World) -> Vec<String> {
    let written = world.written.lock().unwrap();
    let parts = written.0.iter().flat_map(|message| &message.content);
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
    assert_eq!(finished.response, "done");
    assert_eq!(finished.record.snapshot.catalogue_version, 7);
    assert_eq!(seen.last().unwrap().sequence, finished.record.last_sequence);
    assert_eq!(
        world.written.lock().unwrap().1.as_ref(),
        Some(finished.record.as_ref())
    );
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_cancels_the_run_down_to_the_model() {
    let (engine, world) = engine([Turn::Hangs("par")]);
    let handle = begin(&engine).await;
    let mut watch = handle.watch();
    while !matches!(watch.next().await.unwrap().body, Body::TextDelta { .. }) {}
    assert_eq!(world.going_on.load(Ordering::SeqCst), 1);
    drop(handle);
    let seen = events(watch).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "cancelled"));
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
    let written = world.written.lock().unwrap();
    assert!(written.0[0].incomplete);
    assert_eq!(written.0[0].text(), "par");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_while_the_run_is_opened_leaves_nothing_open() {
    let (engine, world) = engine([Turn::Hangs("x")]);
    world.open_waits.store(true, Ordering::SeqCst);
    let begin = engine.begin(NewRun::default(), OnDisconnect::Cancel);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), begin)
            .await
            .is_err()
    );
    engine.drain(Duration::from_secs(5)).await;
    let record = world.written.lock().unwrap().1.clone().unwrap();
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
    assert_eq!(outputs[1], "the tool hang did not answer within 60s");
    let progress = seen
        .iter()
        .filter(|event| matches!(event.body, Body::ToolCallProgress { .. }))
        .count();
    assert!(progress >= 2, "{progress}");
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
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
    assert_eq!(outcome(&finished), Outcome::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_incomplete_at_its_own_deadline() {
    let (engine, _) = engine([Turn::Hangs("x")]);
    let limits = Limits {
        max_duration: Some(Duration::from_secs(3)),
        ..Limits::default()
    };
    let new = NewRun {
        limits: Some(limits),
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
    assert_eq!(finished.response, "x");
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
    world.saves_to_fail.store(3, Ordering::SeqCst);
    let finished = begin(&engine).await.finished().await.unwrap();
    assert_eq!(outcome(&finished), Outcome::Completed);
    assert_eq!(world.written.lock().unwrap().0[0].text(), "kept");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_fails_the_run_and_says_so() {
    let (engine, world) = engine([calls(&["echo"]), says("never")]);
    world.saves_to_fail.store(usize::MAX, Ordering::SeqCst);
    let handle = begin(&engine).await;
    let seen = events(handle.watch()).await;
    let sequences: Vec<u64> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=seen.len() as u64).collect::<Vec<_>>());
    let finished = handle.finished().await.unwrap();
    assert!(
        matches!(outcome(&finished), Outcome::Failed(error) if error.reason() == Reason::StoreUnavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_that_run_alone() {
    let (engine, world) = engine([calls(&["panic"]), says("the next")]);
    let handle = begin(&engine).await;
    let seen = events(handle.watch()).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "failed"));
    assert!(
        world
            .written
            .lock()
            .unwrap()
            .1
            .as_ref()
            .unwrap()
            .state
            .outcome()
            .is_some(),
        "the thread is free"
    );
    assert_eq!(
        begin(&engine).await.finished().await.unwrap().response,
        "the next"
    );
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
        .unwrap_err();
    assert_eq!(refused.reason(), Reason::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_dead_process_left_is_ended_and_its_calls_answered() {
    let (engine, world) = engine([calls(&["hang"])]);
    let handle = begin(&engine).await;
    let mut watch = handle.watch();
    while !matches!(watch.next().await.unwrap().body, Body::MessageCompleted(_)) {}
    let (dead, after) = (world.written.lock().unwrap().clone(), super::tests::engine([]).1);
    *after.written.lock().unwrap() = dead;
    let ports = Ports {
        model: after.clone(),
        toolbox: after.clone(),
        store: after.clone(),
    };
    let next = Engine::new(ports, engine.settings().clone());
    assert_eq!(next.recover().await.unwrap(), 1);
    assert_eq!(
        outputs(&after),
        ["the outcome is not known: the process died during the call"]
    );
    let record = after.written.lock().unwrap().1.clone().unwrap();
    assert_eq!(record.state.detail(), Some("RUN_INTERRUPTED"));
    assert_eq!(next.recover().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tool_can_be_called_without_a_run() {
    let (engine, world) = engine([]);
    let arguments = Map::from_iter([("text".to_owned(), json!("hi"))]);
    let output = engine.call_tool("echo", arguments, None).await.unwrap();
    assert_eq!(output.text(), "\"hi\"");
    let missing = engine.call_tool("nope", Map::new(), None).await.unwrap_err();
    assert_eq!(missing.reason(), Reason::ToolNotFound);
    let late = engine
        .call_tool("hang", Map::new(), Some(Duration::from_secs(1)))
        .await
        .unwrap_err();
    assert_eq!(late.reason(), Reason::DeadlineExceeded);
    assert_eq!(world.going_on.load(Ordering::SeqCst), 0);
}
