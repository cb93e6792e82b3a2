//! What every store owes the heart: one suite, written against the port and run on each kind of store.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assistd::run::error::{Error, Reason};
use assistd::run::id::{CallId, MessageId, Mint, RunId, ThreadId};
use assistd::run::message::{CallOutput, Content, Message, Part, Role, ToolCall, ToolOutput, Usage};
use assistd::run::ports::{Opened, Opening, RequestKey, Store};
use assistd::run::record::{IncompleteReason, Limits, Outcome, RunRecord, Snapshot, State};
use assistd::store::{Config, Location, open};
use tokio::task::JoinSet;

/// Runs every case on every kind of store.
macro_rules! contract {
    ($($case:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::open(&super::Config { location: super::Location::Memory }).await.unwrap()).await;
            })*
        }

        mod in_a_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let directory = tempfile::tempdir().unwrap();
                super::$case(super::file(&directory).await).await;
            })*
        }
    };
}

contract! {
    a_new_thread_starts_without_history,
    a_thread_continues_with_everything_before_in_order,
    a_thread_that_is_not_there_cannot_be_continued,
    a_busy_thread_names_the_run_that_holds_it,
    every_terminal_state_frees_the_thread_and_reads_back,
    a_run_reads_back_as_it_was_written,
    a_request_id_gives_back_its_run_for_a_day,
    a_request_id_with_another_digest_is_refused,
    a_save_that_is_repeated_changes_nothing,
    an_ended_run_does_not_become_another,
    a_run_that_was_never_opened_cannot_be_saved,
    the_messages_of_a_run_are_its_own_and_the_one_it_answers,
    names_that_nobody_knows_are_not_found,
    active_runs_are_those_that_have_not_ended,
    many_at_once_are_answered_each_for_itself,
    of_many_openings_of_one_thread_one_wins,
    threads_that_grow_at_the_same_time_keep_their_order,
    a_large_message_comes_back_whole,
}

async fn file(directory: &tempfile::TempDir) -> Arc<dyn Store> {
    let location = Location::File(directory.path().join("data/assistd.db"));
    open(&Config { location }).await.unwrap()
}

/// A time with microseconds, which is as fine as a store keeps it.
fn time(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000 + second) + Duration::from_micros(123_456)
}

fn message(role: Role, run: &RunId, content: Vec<Part>) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::new(&mut Mint::System),
        role,
        content,
        run: Some(run.clone()),
        incomplete: false,
        create_time: time(1),
    })
}

fn says(role: Role, run: &RunId, text: &str) -> Arc<Message> {
    message(role, run, vec![Part::Text(text.to_owned())])
}

fn thread() -> ThreadId {
    ThreadId::new(&mut Mint::System)
}

fn opening(thread: &ThreadId, creates_thread: bool) -> Opening {
    let id = RunId::new(&mut Mint::System);
    Opening {
        message: says(Role::User, &id, "hello"),
        record: RunRecord {
            id,
            thread: thread.clone(),
            snapshot: Snapshot::default(),
            state: State::Running,
            usage: Usage::default(),
            last_sequence: 0,
            create_time: time(0),
            end_time: None,
        },
        creates_thread,
        request: None,
    }
}

fn ended(record: &RunRecord, outcome: Outcome) -> RunRecord {
    RunRecord {
        state: State::Ended(outcome),
        end_time: Some(time(9)),
        ..record.clone()
    }
}

async fn started(store: &Arc<dyn Store>, opening: &Opening) -> Vec<Arc<Message>> {
    match store.open_run(opening.clone()).await.unwrap() {
        Opened::Started(history) => history,
        Opened::Replayed(record) => panic!("replayed {record:?}"),
    }
}

/// Opens a run, answers, ends it; what was added to the thread.
async fn chat(store: &Arc<dyn Store>, opening: &Opening) -> Vec<Arc<Message>> {
    started(store, opening).await;
    let answer = says(Role::Assistant, &opening.record.id, "hi");
    let record = ended(&opening.record, Outcome::Completed);
    store.save(&record, &[Arc::clone(&answer)]).await.unwrap();
    vec![Arc::clone(&opening.message), answer]
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason()
}

async fn a_new_thread_starts_without_history(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    assert_eq!(started(&store, &opening).await, []);
    let messages = store.messages(&opening.record.thread).await.unwrap();
    assert_eq!(messages, std::slice::from_ref(&opening.message));
    store.check().await.unwrap();
    assert_eq!(store.kind(), "sqlite");
}

async fn a_thread_continues_with_everything_before_in_order(store: Arc<dyn Store>) {
    let thread = thread();
    let mut expected = Vec::new();
    for turn in 0..5 {
        let opening = opening(&thread, turn == 0);
        assert_eq!(started(&store, &opening).await, expected);
        let run = &opening.record.id;
        let [call, answer] = [
            says(Role::Assistant, run, "let me see"),
            says(Role::Assistant, run, "here"),
        ];
        store.save(&opening.record, &[Arc::clone(&call)]).await.unwrap();
        let record = ended(&opening.record, Outcome::Completed);
        store.save(&record, &[Arc::clone(&answer)]).await.unwrap();
        expected.extend([Arc::clone(&opening.message), call, answer]);
        assert_eq!(store.messages(&thread).await.unwrap(), expected);
    }
}

async fn a_thread_that_is_not_there_cannot_be_continued(store: Arc<dyn Store>) {
    let opening = opening(&thread(), false);
    assert_eq!(
        reason(store.open_run(opening.clone()).await),
        Reason::ThreadNotFound
    );
    assert_eq!(reason(store.run(&opening.record.id).await), Reason::RunNotFound);
}

async fn a_busy_thread_names_the_run_that_holds_it(store: Arc<dyn Store>) {
    let first = opening(&thread(), true);
    started(&store, &first).await;
    let second = opening(&first.record.thread, false);
    let error = store.open_run(second.clone()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ThreadBusy);
    assert_eq!(error.metadata(), [("run", first.record.id.to_string())]);
    assert_eq!(store.messages(&first.record.thread).await.unwrap().len(), 1);
    let cancelling = RunRecord {
        state: State::Cancelling,
        ..first.record.clone()
    };
    store.save(&cancelling, &[]).await.unwrap();
    assert_eq!(reason(store.open_run(second).await), Reason::ThreadBusy);
}

async fn every_terminal_state_frees_the_thread_and_reads_back(store: Arc<dyn Store>) {
    let thread = thread();
    let outcomes = [
        Outcome::Completed,
        Outcome::Incomplete(IncompleteReason::MaxTurns),
        Outcome::Failed(Error::new(Reason::RateLimited, "slow down")),
        Outcome::Cancelled,
        Outcome::Expired,
    ];
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let opening = opening(&thread, index == 0);
        started(&store, &opening).await;
        let record = ended(&opening.record, outcome);
        store.save(&record, &[]).await.unwrap();
        assert_eq!(store.run(&record.id).await.unwrap(), record);
    }
}

async fn a_run_reads_back_as_it_was_written(store: Arc<dyn Store>) {
    let mut opening = opening(&thread(), true);
    opening.record.snapshot = Snapshot {
        model: "gpt-é".into(),
        instructions: "be \"brief\"\n\0".into(),
        limits: Limits {
            max_output_tokens: Some(u64::MAX),
            max_duration: Some(Duration::from_millis(1_500)),
            ..Limits::default()
        },
        catalogue_version: 7,
        metadata: [("key".to_owned(), "välue".to_owned())].into(),
    };
    opening.record.state = State::Queued;
    started(&store, &opening).await;
    assert_eq!(store.run(&opening.record.id).await.unwrap(), opening.record);
    let record = RunRecord {
        state: State::Running,
        usage: Usage {
            input_tokens: 1,
            cached_tokens: 2,
            output_tokens: 3,
            reasoning_tokens: 4,
            turns: 5,
            tool_calls: 6,
        },
        last_sequence: 99,
        ..opening.record
    };
    store.save(&record, &[]).await.unwrap();
    assert_eq!(store.run(&record.id).await.unwrap(), record);
}

fn requested(id: &str, digest: u8, create_time: SystemTime) -> Opening {
    let mut opening = opening(&thread(), true);
    opening.record.create_time = create_time;
    opening.request = Some(RequestKey {
        id: id.to_owned(),
        digest: [digest; 32],
    });
    opening
}

async fn a_request_id_gives_back_its_run_for_a_day(store: Arc<dyn Store>) {
    const DAY: u64 = 24 * 60 * 60;
    let first = requested("one", 1, time(0));
    chat(&store, &first).await;
    let stored = store.run(&first.record.id).await.unwrap();
    let again = requested("one", 1, time(DAY - 1));
    let opened = store.open_run(again.clone()).await.unwrap();
    assert_eq!(opened, Opened::Replayed(Box::new(stored)));
    assert_eq!(
        reason(store.messages(&again.record.thread).await),
        Reason::ThreadNotFound
    );
    let later = requested("one", 2, time(DAY));
    assert_eq!(started(&store, &later).await, []);
    let replay = store.open_run(requested("one", 2, time(DAY + 1))).await.unwrap();
    assert_eq!(replay, Opened::Replayed(Box::new(later.record)));
}

async fn a_request_id_with_another_digest_is_refused(store: Arc<dyn Store>) {
    started(&store, &requested("one", 1, time(0))).await;
    let other = requested("one", 2, time(1));
    assert_eq!(reason(store.open_run(other).await), Reason::RequestIdReused);
    started(&store, &requested("two", 2, time(1))).await;
}

async fn a_save_that_is_repeated_changes_nothing(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    started(&store, &opening).await;
    let run = &opening.record.id;
    let [one, two, three] = ["1", "2", "3"].map(|text| says(Role::Assistant, run, text));
    for _ in 0..2 {
        store
            .save(&opening.record, &[Arc::clone(&one), Arc::clone(&two)])
            .await
            .unwrap();
    }
    let record = ended(&opening.record, Outcome::Completed);
    let all = [one, two, three];
    for _ in 0..3 {
        store.save(&record, &all).await.unwrap();
    }
    let next = self::opening(&record.thread, false);
    let mut expected = vec![Arc::clone(&opening.message)];
    expected.extend(all.iter().cloned());
    assert_eq!(started(&store, &next).await, expected);
    store.save(&record, &all).await.unwrap();
    assert_eq!(store.run_messages(&record.id).await.unwrap(), expected);
    assert_eq!(store.run(&next.record.id).await.unwrap(), next.record);
}

async fn an_ended_run_does_not_become_another(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    chat(&store, &opening).await;
    assert_eq!(reason(store.save(&opening.record, &[]).await), Reason::Internal);
    let other = ended(&opening.record, Outcome::Cancelled);
    assert_eq!(reason(store.save(&other, &[]).await), Reason::Internal);
    let stored = store.run(&opening.record.id).await.unwrap();
    assert_eq!(stored.state, State::Ended(Outcome::Completed));
}

async fn a_run_that_was_never_opened_cannot_be_saved(store: Arc<dyn Store>) {
    let known = opening(&thread(), true);
    started(&store, &known).await;
    for thread in [thread(), known.record.thread.clone()] {
        let never = opening(&thread, false);
        let saved = store.save(&never.record, &[never.message]).await;
        assert_eq!(reason(saved), Reason::Internal);
    }
    assert_eq!(store.messages(&known.record.thread).await.unwrap().len(), 1);
}

async fn the_messages_of_a_run_are_its_own_and_the_one_it_answers(store: Arc<dyn Store>) {
    let thread = thread();
    let [first, second] = [opening(&thread, true), opening(&thread, false)];
    let before = chat(&store, &first).await;
    started(&store, &second).await;
    let run = &second.record.id;
    let (call, tool) = (CallId::new(&mut Mint::System), "echo".to_owned());
    let asks = Part::ToolCall(ToolCall {
        id: call.clone(),
        tool: tool.clone(),
        arguments: "{\"text\":".into(),
    });
    let gets = Part::ToolOutput(CallOutput {
        call,
        tool,
        output: ToolOutput {
            content: vec![Content::Text("é\u{0}".into())],
            structured: Some(serde_json::json!({"b": 1, "a": [null, 1.5]})),
            is_error: true,
        },
    });
    let asks = message(Role::Assistant, run, vec![Part::Text(String::new()), asks]);
    let gets = message(Role::Tool, run, vec![gets]);
    let broken = Arc::new(Message {
        incomplete: true,
        ..(*says(Role::Assistant, run, "I th")).clone()
    });
    store
        .save(&second.record, &[Arc::clone(&asks), Arc::clone(&gets)])
        .await
        .unwrap();
    let record = ended(&second.record, Outcome::Cancelled);
    store.save(&record, &[Arc::clone(&broken)]).await.unwrap();
    chat(&store, &opening(&thread, false)).await;
    assert_eq!(store.run_messages(&first.record.id).await.unwrap(), before);
    assert_eq!(
        store.run_messages(run).await.unwrap(),
        [second.message, asks, gets, broken]
    );
}

async fn names_that_nobody_knows_are_not_found(store: Arc<dyn Store>) {
    let run = RunId::new(&mut Mint::System);
    assert_eq!(reason(store.run(&run).await), Reason::RunNotFound);
    assert_eq!(reason(store.messages(&thread()).await), Reason::ThreadNotFound);
    assert_eq!(store.run_messages(&run).await.unwrap(), []);
}

async fn active_runs_are_those_that_have_not_ended(store: Arc<dyn Store>) {
    let mut expected = Vec::new();
    for state in [State::Queued, State::Running, State::Cancelling] {
        let mut opening = opening(&thread(), true);
        opening.record.state = state;
        started(&store, &opening).await;
        chat(&store, &self::opening(&thread(), true)).await;
        expected.push(opening.record);
    }
    assert_eq!(store.active_runs().await.unwrap(), expected);
}

async fn many_at_once_are_answered_each_for_itself(store: Arc<dyn Store>) {
    let busy = opening(&thread(), true);
    started(&store, &busy).await;
    let mut tasks = JoinSet::new();
    for index in 0..200 {
        let store = Arc::clone(&store);
        let busy = busy.record.thread.clone();
        tasks.spawn(async move {
            match index % 4 {
                0 => assert_eq!(
                    reason(store.open_run(opening(&busy, false)).await),
                    Reason::ThreadBusy
                ),
                1 => assert_eq!(
                    reason(store.open_run(opening(&thread(), false)).await),
                    Reason::ThreadNotFound
                ),
                2 => assert_eq!(
                    reason(store.save(&opening(&busy, false).record, &[]).await),
                    Reason::Internal
                ),
                _ => {
                    let opening = opening(&thread(), true);
                    let added = chat(&store, &opening).await;
                    assert_eq!(store.messages(&opening.record.thread).await.unwrap(), added);
                }
            }
        });
    }
    finish(tasks).await;
    assert_eq!(store.active_runs().await.unwrap(), [busy.record]);
}

async fn of_many_openings_of_one_thread_one_wins(store: Arc<dyn Store>) {
    let thread = thread();
    chat(&store, &opening(&thread, true)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (store, opening) = (Arc::clone(&store), opening(&thread, false));
        tasks.spawn(async move {
            match store.open_run(opening.clone()).await {
                Ok(_) => Ok(opening.record.id),
                Err(error) => Err((error.reason(), error.metadata().to_vec())),
            }
        });
    }
    let (winners, losers): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((winners.len(), losers.len()), (1, 49));
    let winner = winners[0].clone().unwrap().to_string();
    for loser in losers {
        assert_eq!(loser, Err((Reason::ThreadBusy, vec![("run", winner.clone())])));
    }
}

async fn threads_that_grow_at_the_same_time_keep_their_order(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let thread = thread();
            let mut expected = Vec::new();
            for turn in 0..10 {
                let opening = opening(&thread, turn == 0);
                assert_eq!(started(&store, &opening).await, expected);
                let run = &opening.record.id;
                let answers: Vec<_> = (0..turn)
                    .map(|index| says(Role::Assistant, run, &index.to_string()))
                    .collect();
                let record = ended(&opening.record, Outcome::Completed);
                store.save(&record, &answers).await.unwrap();
                expected.push(opening.message);
                expected.extend(answers);
            }
            assert_eq!(store.messages(&thread).await.unwrap(), expected);
        });
    }
    finish(tasks).await;
}

async fn a_large_message_comes_back_whole(store: Arc<dyn Store>) {
    let mut opening = opening(&thread(), true);
    let run = opening.record.id.clone();
    opening.message = says(Role::User, &run, &"x".repeat(3 << 20));
    started(&store, &opening).await;
    let many: Vec<_> = (0..150)
        .map(|index| says(Role::Tool, &run, &index.to_string()))
        .collect();
    store.save(&opening.record, &many).await.unwrap();
    let messages = store.run_messages(&run).await.unwrap();
    assert_eq!(messages[0], opening.message);
    assert_eq!(messages[1..], many);
}

async fn finish(mut tasks: JoinSet<impl Sized + Send + 'static>) {
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn stores_in_memory_are_strangers() {
    let [one, two] = [(); 2].map(|()| {
        open(&Config {
            location: Location::Memory,
        })
    });
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    let opening = opening(&thread(), true);
    chat(&one, &opening).await;
    assert_eq!(
        reason(two.messages(&opening.record.thread).await),
        Reason::ThreadNotFound
    );
}

#[tokio::test]
async fn a_file_that_is_opened_again_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = [opening(&thread(), true), requested("one", 1, time(0))];
    let store = file(&directory).await;
    let mut expected = chat(&store, &first).await;
    started(&store, &second).await;
    drop(store);

    let store = file(&directory).await;
    assert_eq!(
        store.active_runs().await.unwrap(),
        std::slice::from_ref(&second.record)
    );
    let opened = store.open_run(requested("one", 1, time(5))).await.unwrap();
    assert_eq!(opened, Opened::Replayed(Box::new(second.record)));
    let next = opening(&first.record.thread, false);
    assert_eq!(started(&store, &next).await, expected);
    expected.push(next.message);
    assert_eq!(store.messages(&first.record.thread).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_share_threads_and_their_rule() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(file(&directory), file(&directory));
    let thread = thread();
    let added = chat(&one, &opening(&thread, true)).await;
    let next = opening(&thread, false);
    assert_eq!(started(&two, &next).await, added);
    let refused = one.open_run(opening(&thread, false)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ThreadBusy);
    assert_eq!(refused.metadata(), [("run", next.record.id.to_string())]);
    two.save(&ended(&next.record, Outcome::Cancelled), &[])
        .await
        .unwrap();
    started(&one, &opening(&thread, false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_create_one_file_at_once_and_write_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/assistd.db");
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let location = Location::File(path.clone());
        tasks.spawn(async move {
            let store = open(&Config { location }).await.unwrap();
            for _ in 0..5 {
                chat(&store, &opening(&thread(), true)).await;
            }
        });
    }
    finish(tasks).await;
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    std::fs::write(&blocked, "this is not a database, nor is it a directory").unwrap();
    for path in [blocked.join("assistd.db"), blocked, directory.path().to_owned()] {
        let location = Location::File(path.clone());
        let error = open(&Config { location }).await.err().unwrap();
        assert_eq!(error.reason(), Reason::StoreUnavailable);
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openings_whose_callers_go_away_leave_no_thread_busy() {
    let directory = tempfile::tempdir().unwrap();
    let store = file(&directory).await;
    for patience in 0..200 {
        let opening = opening(&thread(), true);
        let mut call = store.open_run(opening.clone());
        let mut is_opened = futures::poll!(&mut call).is_ready();
        // Goes away somewhere between asking and being answered.
        for _ in 0..patience * 20 {
            std::hint::spin_loop();
        }
        if !is_opened && patience % 2 == 0 {
            is_opened = futures::poll!(&mut call).is_ready();
        }
        drop(call);
        if is_opened {
            let record = ended(&opening.record, Outcome::Completed);
            store.save(&record, &[]).await.unwrap();
        }
    }
    // A later write follows all of them, and whatever had to be called off.
    for _ in 0..2 {
        chat(&store, &opening(&thread(), true)).await;
    }
    assert_eq!(store.active_runs().await.unwrap(), []);
}
