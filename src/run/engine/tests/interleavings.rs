//! The engine under everything that can happen to it, in any order, and dying in between: what
//! `rules.rs` says of a run holds for every watcher, across any number of processes.
//!
//! A process is a runtime of its own with paused time. It dies when its runtime is dropped: every task is gone
//! where it stands, as with `kill -9`. What is left is what the store has and what the watchers have seen.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::{Config, TestCaseError};

use super::archive::Archive;
use super::players::{OF_CLIENT, Players};
use super::*;
use crate::run::action::{Action, Reply, Request};
use crate::run::rules;
use crate::run::step::StepState;

/// In which everything that is asked of an engine is answered, whatever happens.
const PATIENCE: Duration = Duration::from_secs(300);

/// In which every run is over: longer than any may work and wait, and than those before it on its thread may.
const END: Duration = Duration::from_hours(48);

/// What happens, and how many milliseconds after what came before.
type Moves = Vec<(u64, Move)>;

#[derive(Clone, Debug)]
enum Move {
    Begin {
        thread: usize,
        on_busy: OnBusy,
        on_disconnect: OnDisconnect,
    },
    /// A caller that holds on to a run goes away.
    Leave {
        which: usize,
    },
    /// A watcher comes: it has seen so much of the run, in percent, and takes an event every so many milliseconds.
    Watch {
        run: usize,
        seen: u64,
        pace: u64,
    },
    Cancel {
        run: usize,
    },
    Answer {
        which: usize,
        word: Word,
    },
    StoreAway {
        millis: u64,
    },
    Die,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Approve,
    Edit,
    Reject,
    Output,
    /// The same thing twice, at once.
    Twice,
    WrongDigest,
    /// One that fits and one that nobody has asked for.
    HalfUnknown,
}

fn a_move() -> impl Strategy<Value = Move> {
    let on_busy = prop_oneof![
        3 => Just(OnBusy::Reject),
        2 => Just(OnBusy::Enqueue),
        1 => Just(OnBusy::Interrupt)
    ];
    let on_disconnect = prop_oneof![Just(OnDisconnect::Cancel), Just(OnDisconnect::GoOn)];
    let word = prop_oneof![
        4 => Just(Word::Approve),
        1 => Just(Word::Edit),
        1 => Just(Word::Reject),
        1 => Just(Word::Output),
        1 => Just(Word::Twice),
        1 => Just(Word::WrongDigest),
        1 => Just(Word::HalfUnknown),
    ];
    let pace = prop_oneof![4 => Just(0u64), 1 => 1..400u64];
    prop_oneof![
        6 => (0..2usize, on_busy, on_disconnect).prop_map(|(thread, on_busy, on_disconnect)| Move::Begin {
            thread, on_busy, on_disconnect,
        }),
        1 => any::<usize>().prop_map(|which| Move::Leave { which }),
        6 => (any::<usize>(), 0..=100u64, pace).prop_map(|(run, seen, pace)| Move::Watch { run, seen, pace }),
        1 => any::<usize>().prop_map(|run| Move::Cancel { run }),
        6 => (any::<usize>(), word).prop_map(|(which, word)| Move::Answer { which, word }),
        2 => prop_oneof![2 => 1..1_500u64, 1 => 1_500..40_000u64].prop_map(|millis| Move::StoreAway { millis }),
        3 => Just(Move::Die),
    ]
}

fn moves() -> impl Strategy<Value = Moves> {
    let pause = prop_oneof![1 => Just(0u64), 4 => 0..60u64, 1 => 60..2_000u64];
    vec((pause, a_move()), 1..40)
}

/// What outlives every process.
struct Scene {
    archive: Arc<Archive>,
    players: Arc<Players>,
    threads: [ThreadId; 2],
    /// What was begun, and its caller knows of.
    runs: Mutex<Vec<RunId>>,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    cancelled: Mutex<Vec<RunId>>,
    offences: Mutex<Vec<String>>,
}

/// One who watches a run, and comes back when its stream breaks off.
struct Watcher {
    thread: ThreadId,
    run: RunId,
    /// What it had seen when it came.
    after: u64,
    pace: u64,
    seen: Mutex<Vec<Arc<Event>>>,
    has_seen_all: std::sync::atomic::AtomicBool,
}

impl Scene {
    fn new(seed: u64) -> Arc<Self> {
        let archive = Arc::new(Archive::slow(seed));
        let threads = [0; 2].map(|_| ThreadId::new(&mut Mint::System));
        threads.iter().for_each(|thread| archive.add_thread(thread));
        Arc::new(Self {
            players: Arc::new(Players::new(seed ^ 1, Arc::clone(&archive))),
            archive,
            threads,
            runs: Mutex::default(),
            watchers: Mutex::default(),
            cancelled: Mutex::default(),
            offences: Mutex::default(),
        })
    }

    fn offend(&self, offence: impl Into<String>) {
        self.offences.lock().unwrap().push(offence.into());
    }

    fn engine(&self) -> Engine {
        let ports = Ports {
            model: self.players.clone(),
            tokenizer: Arc::new(Quarters),
            toolbox: self.players.clone(),
            store: self.archive.clone(),
            ownership: self.archive.clone(),
            news: self.archive.clone(),
            observer: Arc::new(()),
        };
        let settings = Settings {
            waiting_limit: Duration::from_hours(1),
            ..settings()
        };
        Engine::new(ports, settings)
    }

    fn run(&self, which: usize) -> Option<(ThreadId, RunId)> {
        let runs = self.runs.lock().unwrap();
        let run = runs.get(which.checked_rem(runs.len())?)?;
        let thread = self.archive.kept().runs[run].record.thread.clone();
        Some((thread, run.clone()))
    }

    /// Everything that any run waits for.
    fn pending(&self) -> Vec<(ThreadId, RunId, Arc<Action>)> {
        let kept = self.archive.kept();
        let records = kept.runs.values().map(|volume| &volume.record);
        let pending = records.flat_map(|record| {
            let named = |action: &Arc<Action>| (record.thread.clone(), record.id.clone(), Arc::clone(action));
            record.pending.iter().map(named).collect::<Vec<_>>()
        });
        pending.collect()
    }

    fn all_over(&self) -> bool {
        let kept = self.archive.kept();
        kept.runs
            .values()
            .all(|volume| volume.record.state.outcome().is_some())
    }
}

/// Waits for an answer of the engine, which has to come.
async fn answer<T>(scene: &Scene, what: &str, answer: impl Future<Output = T>) -> Option<T> {
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    if answer.is_err() {
        scene.offend(format!("{what} hangs"));
    }
    answer.ok()
}

/// One process, from its start to its death.
struct Process {
    scene: Arc<Scene>,
    engine: Engine,
    handles: Arc<Mutex<Vec<RunHandle>>>,
}

impl Process {
    async fn start(scene: &Arc<Scene>) -> Self {
        scene.archive.is_away.store(false, Ordering::SeqCst);
        // Whoever owned what is left is dead.
        scene.archive.is_owned.store(false, Ordering::SeqCst);
        let engine = scene.engine();
        engine.recover().await.unwrap();
        let watchers = scene.watchers.lock().unwrap().clone();
        for watcher in watchers {
            tokio::spawn(follow(Arc::clone(scene), engine.clone(), watcher));
        }
        Self {
            scene: Arc::clone(scene),
            engine,
            handles: Arc::default(),
        }
    }

    fn play(&self, step: Move) {
        let (scene, engine) = (Arc::clone(&self.scene), self.engine.clone());
        match step {
            Move::Begin {
                thread,
                on_busy,
                on_disconnect,
            } => {
                let thread = scene.threads[thread].clone();
                let handles = Arc::clone(&self.handles);
                tokio::spawn(async move {
                    let begun = engine.begin(new_run(thread, on_busy), on_disconnect);
                    match answer(&scene, "a begin", begun).await {
                        Some(Ok(Begun::Live(handle))) => {
                            scene.runs.lock().unwrap().push(handle.id().clone());
                            if !scene.archive.kept().runs.contains_key(handle.id()) {
                                scene.offend("a run was begun that is not written");
                            }
                            handles.lock().unwrap().push(handle);
                        }
                        Some(Ok(Begun::Elsewhere(_) | Begun::Past(_))) => {
                            scene.offend("a new run is a past one")
                        }
                        Some(Err(error)) => expect(
                            &scene,
                            "a begin",
                            &error,
                            &[
                                Reason::ThreadBusy,
                                Reason::StoreUnavailable,
                                Reason::RunInterrupted,
                            ],
                        ),
                        None => {}
                    }
                });
            }
            Move::Leave { which } => {
                let mut handles = self.handles.lock().unwrap();
                if let Some(which) = which.checked_rem(handles.len()) {
                    drop(handles.swap_remove(which));
                }
            }
            Move::Watch { run, seen, pace } => {
                let Some((thread, run)) = scene.run(run) else {
                    return;
                };
                let last = scene.archive.kept().runs[&run].record.last_sequence;
                let watcher = Arc::new(Watcher::new(thread, run, last * seen / 100, pace));
                scene.watchers.lock().unwrap().push(Arc::clone(&watcher));
                tokio::spawn(follow(scene, engine, watcher));
            }
            Move::Cancel { run } => {
                let Some((thread, run)) = scene.run(run) else {
                    return;
                };
                tokio::spawn(async move {
                    match answer(&scene, "a cancel", engine.cancel(&thread, &run)).await {
                        Some(Ok(_)) => scene.cancelled.lock().unwrap().push(run),
                        Some(Err(error)) => expect(
                            &scene,
                            "a cancel",
                            &error,
                            &[
                                Reason::RunNotCancellable,
                                Reason::StoreUnavailable,
                                Reason::RunInterrupted,
                            ],
                        ),
                        None => {}
                    }
                });
            }
            Move::Answer { which, word } => {
                let pending = scene.pending();
                if let Some(which) = which.checked_rem(pending.len()) {
                    let (thread, run, action) = pending[which].clone();
                    tokio::spawn(submit(scene, engine, thread, run, action, word));
                }
            }
            Move::StoreAway { millis } => {
                scene.archive.is_away.store(true, Ordering::SeqCst);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    scene.archive.is_away.store(false, Ordering::SeqCst);
                });
            }
            Move::Die => {}
        }
    }
}

fn expect(scene: &Scene, what: &str, error: &Error, expected: &[Reason]) {
    if !expected.contains(&error.reason()) {
        scene.offend(format!("{what} fails: {error}"));
    }
}

fn new_run(thread: ThreadId, on_busy: OnBusy) -> NewRun {
    NewRun {
        thread: Some(thread),
        content: vec![Part::Text("hi".into())],
        limits: LimitsPatch {
            max_turns: Some(3),
            ..LimitsPatch::default()
        },
        client_tools: vec![ClientTool {
            name: OF_CLIENT.to_owned(),
            description: String::new(),
            input_schema: Arc::new(json!({"type": "object"})),
        }],
        on_busy,
        ..NewRun::default()
    }
}

/// Answers an action. What is accepted is written by then.
async fn submit(
    scene: Arc<Scene>,
    engine: Engine,
    thread: ThreadId,
    run: RunId,
    action: Arc<Action>,
    word: Word,
) {
    let given = given(&action, word);
    let submission = Submission {
        action: action.id.clone(),
        digest: match word {
            Word::WrongDigest => "0".repeat(64),
            _ => action.digest.clone(),
        },
        answer: given,
    };
    let mut submissions = vec![submission.clone()];
    if let Word::HalfUnknown = word {
        submissions.push(Submission {
            action: ActionId::new(&mut Mint::System),
            ..submission.clone()
        });
    }
    let once = engine.submit(&thread, &run, submissions.clone());
    let submitted = match word {
        Word::Twice => {
            let both = futures::future::join(once, engine.submit(&thread, &run, submissions));
            answer(&scene, "an answer", both)
                .await
                .map(|(one, two)| one.and(two))
        }
        _ => answer(&scene, "an answer", once).await,
    };
    let is_written = scene.archive.kept().runs[&run].steps.values().any(|step| {
        step.asked()
            .any(|(asked, given)| asked.id == action.id && given == Some(&submission.answer))
    });
    match submitted {
        Some(Ok(())) if matches!(word, Word::HalfUnknown) => scene.offend("half of the answers were taken"),
        Some(Ok(())) if !is_written => scene.offend("an answer was taken and is not written"),
        Some(Err(error)) => expect(
            &scene,
            "an answer",
            &error,
            &[
                Reason::ActionNotPending,
                Reason::ValidationFailed,
                Reason::StoreUnavailable,
                Reason::RunInterrupted,
            ],
        ),
        _ => {}
    }
}

/// What a person answers to an action, for this word.
fn given(action: &Action, word: Word) -> Answer {
    let edited = Map::from_iter([
        ("text".to_owned(), text_of(action)),
        ("edited".to_owned(), json!(true)),
    ]);
    if let Request::Elicitation(_) = &action.request {
        return Answer::Reply(match word {
            Word::Approve | Word::Twice | Word::WrongDigest | Word::HalfUnknown => {
                Reply::Accept(Map::from_iter([("name".to_owned(), json!("Ada"))]))
            }
            // The form asks for something else.
            Word::Edit => Reply::Accept(edited),
            Word::Reject => Reply::Decline,
            Word::Output => Reply::Cancel,
        });
    }
    match word {
        Word::Approve | Word::Twice | Word::WrongDigest | Word::HalfUnknown => Answer::Approve(None),
        Word::Edit => Answer::Approve(Some(edited)),
        Word::Reject => Answer::Reject("no".to_owned()),
        Word::Output => Answer::Output(ToolOutput::failure("by hand")),
    }
}

fn text_of(action: &Action) -> Value {
    let arguments: Value = serde_json::from_str(&action.call.arguments).unwrap();
    arguments["text"].clone()
}

impl Watcher {
    fn new(thread: ThreadId, run: RunId, after: u64, pace: u64) -> Self {
        Self {
            thread,
            run,
            after,
            pace,
            seen: Mutex::default(),
            has_seen_all: std::sync::atomic::AtomicBool::default(),
        }
    }

    fn place(&self) -> u64 {
        let seen = self.seen.lock().unwrap();
        seen.last().map_or(self.after, |event| event.sequence)
    }
}

/// Watches a run to its end as a client does that comes back behind what it has seen when its stream breaks off.
async fn follow(scene: Arc<Scene>, engine: Engine, watcher: Arc<Watcher>) {
    while !watcher.has_seen_all.load(Ordering::SeqCst) {
        let error = match engine.watch(&watcher.thread, &watcher.run, watcher.place()).await {
            Ok(watch) => match read(&scene, &watcher, watch).await {
                Ok(()) => return watcher.has_seen_all.store(true, Ordering::SeqCst),
                Err(error) => error,
            },
            Err(error) => error,
        };
        expect(&scene, "a watch", &error, &[Reason::StoreUnavailable]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn read(scene: &Scene, watcher: &Watcher, mut watch: Watch) -> Result<(), Error> {
    while let Some(event) = watch.next().await? {
        let kept = scene.archive.kept().runs[&watcher.run]
            .events
            .get(&event.sequence)
            .cloned();
        if is_written_first(&event.body) && kept.as_deref() != Some(&*event) {
            scene.offend(format!("{event:?} was shown, and is not written: {kept:?}"));
        }
        watcher.seen.lock().unwrap().push(event);
        if watcher.pace > 0 {
            tokio::time::sleep(Duration::from_millis(watcher.pace)).await;
        }
    }
    Ok(())
}

/// Whether an event is written before it is shown: all but those of a turn that is not over.
fn is_written_first(body: &Body) -> bool {
    match body {
        Body::MessageCreated(message) => message.role != Role::Assistant,
        Body::TextDelta { .. }
        | Body::RefusalDelta { .. }
        | Body::ReasoningDelta { .. }
        | Body::ToolCallStarted { .. }
        | Body::ToolCallArgumentsDelta { .. }
        | Body::ToolCallProgress { .. } => false,
        Body::StateChanged { .. }
        | Body::MessageCompleted(_)
        | Body::ToolCallCompleted { .. }
        | Body::TurnRestarted { .. }
        | Body::ActionRequired(_)
        | Body::ActionResolved { .. }
        | Body::UsageUpdated(_)
        | Body::Ended(_) => true,
    }
}

/// Lets a process live for as long as this takes.
fn live<T>(life: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(life)
}

/// Plays the moves, a process after the other; the last one lives until everything is over.
fn play(scene: &Arc<Scene>, moves: Moves, are_people_there: bool) {
    let mut moves = moves.into_iter().peekable();
    while moves.peek().is_some() {
        live(async {
            let process = Process::start(scene).await;
            for (pause, step) in moves.by_ref() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if let Move::Die = step {
                    return;
                }
                process.play(step);
            }
        });
    }
    live(async {
        let process = Process::start(scene).await;
        let runs: Vec<_> = scene.archive.kept().runs.keys().cloned().collect();
        for (run, _) in runs.iter().zip(0..) {
            let thread = scene.archive.kept().runs[run].record.thread.clone();
            let watcher = Arc::new(Watcher::new(thread, run.clone(), 0, 0));
            scene.watchers.lock().unwrap().push(Arc::clone(&watcher));
            tokio::spawn(follow(Arc::clone(scene), process.engine.clone(), watcher));
        }
        let over = async {
            while !scene.all_over() {
                tokio::time::sleep(Duration::from_secs(20)).await;
                for (thread, run, action) in scene.pending().into_iter().filter(|_| are_people_there) {
                    let (scene, engine) = (Arc::clone(scene), process.engine.clone());
                    submit(scene, engine, thread, run, action, Word::Reject).await;
                }
            }
        };
        if tokio::time::timeout(END, over).await.is_err() {
            scene.offend("a run does not end");
        }
        // Every watcher hears the end, also a slow one.
        let watchers = scene.watchers.lock().unwrap().clone();
        let have_seen = || {
            watchers
                .iter()
                .all(|watcher| watcher.has_seen_all.load(Ordering::SeqCst))
        };
        let seen = async {
            while !have_seen() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        if tokio::time::timeout(Duration::from_hours(2), seen).await.is_err() {
            scene.offend("a watcher does not hear of the end");
        }
    });
}

fn check(scene: &Scene) -> Result<(), TestCaseError> {
    let none: Vec<String> = Vec::new();
    prop_assert_eq!(&*scene.offences.lock().unwrap(), &none);
    prop_assert_eq!(&*scene.players.offences.lock().unwrap(), &none);
    let kept = scene.archive.kept();
    prop_assert_eq!(&kept.offences, &none);
    for shelf in kept.threads.values() {
        rules::check_answered(&shelf.messages)?;
    }
    for (run, volume) in &kept.runs {
        let is_over = |step: &Arc<Step>| !matches!(step.state, StepState::Waiting | StepState::Running);
        prop_assert!(volume.steps.values().all(is_over), "no step is left open");
        let cancelled = scene.cancelled.lock().unwrap();
        let is_cancelled = volume.record.state == State::Ended(Outcome::Cancelled);
        prop_assert!(
            is_cancelled || !cancelled.contains(run),
            "what was called off is called off"
        );
        let shelf = &kept.threads[&volume.record.thread];
        check_watchers(scene, run, &shelf.messages)?;
    }
    check_effects(scene, &kept.runs)
}

/// All who watched a run have seen the same, and those who saw all of it have seen what a run is.
fn check_watchers(scene: &Scene, run: &RunId, messages: &[Arc<Message>]) -> Result<(), TestCaseError> {
    let mut shown: BTreeMap<u64, Arc<Event>> = BTreeMap::new();
    let watchers = scene.watchers.lock().unwrap();
    for watcher in watchers.iter().filter(|watcher| watcher.run == *run) {
        let seen = watcher.seen.lock().unwrap();
        let mut last = watcher.after;
        for event in seen.iter() {
            let is_restart = matches!(event.body, Body::TurnRestarted { .. });
            prop_assert!(
                event.sequence == last + 1 || is_restart && event.sequence > last,
                "a gap after {}: {:?}",
                last,
                event
            );
            last = event.sequence;
            let same = shown.entry(last).or_insert_with(|| Arc::clone(event));
            prop_assert_eq!(same, event, "a number is used twice");
        }
        let ends = seen
            .iter()
            .filter(|event| matches!(event.body, Body::Ended(_)))
            .count();
        let is_last = matches!(seen.last().map(|event| &event.body), Some(Body::Ended(_)));
        prop_assert!(
            seen.is_empty() || ends == 1 && is_last,
            "one terminal event, the last"
        );
        if watcher.after == 0 {
            rules::check_sequences(&seen)?;
            rules::check_events(&seen, messages)?;
        }
    }
    Ok(())
}

/// A call that may do harm is made once, and again only if a person says so.
fn check_effects(scene: &Scene, runs: &BTreeMap<RunId, super::archive::Volume>) -> Result<(), TestCaseError> {
    for (text, &times) in scene.players.effects.lock().unwrap().iter() {
        let mut allowed = 1;
        for event in runs.values().flat_map(|volume| volume.events.values()) {
            if let Body::ActionRequired(action) = &event.body
                && matches!(action.request, Request::UnknownOutcome { .. })
                && text_of(action).as_str() == Some(text.as_str())
            {
                allowed += 1;
            }
        }
        prop_assert!(times <= allowed, "{text} happened {times} times");
    }
    Ok(())
}

/// As many cases as usual, or as `PROPTEST_CASES` says.
fn config() -> Config {
    Config {
        max_shrink_iters: 2_000,
        // What fails is printed, with its seed.
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_and_whoever_dies_the_rules_hold(
        seed in any::<u64>(),
        moves in moves(),
        are_people_there in any::<bool>(),
    ) {
        let scene = Scene::new(seed);
        play(&scene, moves, are_people_there);
        check(&scene)?;
    }
}
