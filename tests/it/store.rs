//! What every store owes the heart: one suite, written against the port and run on each kind of store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assistd::run::action::{Action, Request, Resolution};
use assistd::run::assistant::{AssistantRecord, Profile};
use assistd::run::catalogue::{Policy, Rule, Selection, Target};
use assistd::run::error::{Error, Reason};
use assistd::run::event::{Body, Event, Progress};
use assistd::run::id::{ActionId, AssistantId, CallId, MessageId, Mint, RunId, StepId, ThreadId};
use assistd::run::message::{CallOutput, Content, Message, Part, Role, ToolCall, ToolOutput, Usage};
use assistd::run::money::{Cost, Prices};
use assistd::run::options::ModelOptions;
use assistd::run::page::{Order, Page};
use assistd::run::ports::{
    Append, NewThread, Opened, Opening, RequestKey, Save, Start, Started, Store, ThreadChange,
};
use assistd::run::record::{
    IncompleteReason, Limits, LimitsPatch, Outcome, RunRecord, Snapshot, State, ThreadRecord,
};
use assistd::run::spending::{Day, Spenders, Spending};
use assistd::run::step::{Step, StepState, Work};
use assistd::run::truncation::{Reach, Strategy, Truncation};
use tokio::task::JoinSet;

mod pins;
pub mod place;
mod postgres;
mod restore;
mod sqlite;

use restore::{
    a_long_thread_is_put_back_in_one_step, a_thread_is_put_back_whole, an_assistant_is_put_back,
    what_is_there_is_not_written_over,
};

/// Runs every case on every kind of store.
macro_rules! contract {
    ($($case:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::place::memory().await).await;
            })*
        }

        mod in_a_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let directory = tempfile::tempdir().unwrap();
                super::$case(super::place::file(&directory).await).await;
            })*
        }

        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(place) = super::place::Postgres::new().await {
                    super::$case(place.store().await).await;
                }
            })*
        }
    };
}

contract! {
    a_new_thread_starts_without_history,
    a_thread_continues_with_everything_before_in_order,
    a_run_reads_no_more_of_a_thread_than_it_reaches,
    a_thread_that_is_not_there_cannot_be_continued,
    a_busy_thread_names_the_run_that_holds_it,
    every_terminal_state_frees_the_thread_and_reads_back,
    a_thread_has_used_what_its_runs_have,
    callers_have_used_what_their_runs_have_day_by_day,
    a_run_reads_back_as_it_was_written,
    a_request_id_gives_back_its_run_for_a_day,
    a_request_id_with_another_digest_is_refused,
    a_save_that_is_repeated_changes_nothing,
    an_ended_run_does_not_become_another,
    a_run_that_was_never_opened_cannot_be_saved,
    the_messages_of_a_run_are_its_own_and_the_one_it_answers,
    names_that_nobody_knows_are_not_found,
    many_at_once_are_answered_each_for_itself,
    of_many_openings_of_one_thread_one_wins,
    threads_that_grow_at_the_same_time_keep_their_order,
    a_large_message_comes_back_whole,
    a_thread_is_kept_changed_and_deleted_with_everything,
    threads_are_listed_page_by_page_while_more_come,
    a_deleted_thread_takes_its_runs_along,
    messages_are_added_read_and_listed,
    a_request_id_stands_for_whatever_it_brought,
    runs_are_listed_by_their_state,
    a_run_without_a_message_answers_what_is_there,
    steps_are_written_over_and_listed_in_their_order,
    events_read_back_as_they_were_shown,
    events_of_a_turn_that_is_not_over_are_kept_too,
    what_is_past_retention_is_swept_little_by_little,
    what_runs_wait_for_is_listed_across_threads,
    queued_runs_start_one_after_the_other,
    a_queue_is_bounded_and_can_be_left,
    assistants_are_kept_changed_listed_and_deleted,
    a_thread_is_put_back_whole,
    what_is_there_is_not_written_over,
    an_assistant_is_put_back,
    a_long_thread_is_put_back_in_one_step,
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
        metadata: BTreeMap::new(),
    })
}

fn says(role: Role, run: &RunId, text: &str) -> Arc<Message> {
    message(role, run, vec![Part::Text(text.to_owned())])
}

fn thread() -> ThreadId {
    ThreadId::new(&mut Mint::System)
}

pub fn opening(thread: &ThreadId, creates_thread: bool) -> Opening {
    let id = RunId::new(&mut Mint::System);
    Opening {
        message: Some(says(Role::User, &id, "hello")),
        record: RunRecord {
            id,
            thread: thread.clone(),
            snapshot: Snapshot::default(),
            state: State::Running,
            usage: Usage::default(),
            last_sequence: 0,
            reserved_sequence: 0,
            fence: RunRecord::FIRST_FENCE,
            create_time: time(0),
            start_time: Some(time(0)),
            expire_time: Some(time(600)),
            pending: Vec::new(),
            waited: Duration::ZERO,
            waits_since: None,
            end_time: None,
        },
        creates_thread,
        events: Vec::new(),
        request: None,
        reach: Reach::All,
    }
}

/// What the caller of a run said.
fn said(opening: &Opening) -> Arc<Message> {
    Arc::clone(opening.message.as_ref().unwrap())
}

/// A write of a run that brings these messages.
pub fn save(record: &RunRecord, messages: &[Arc<Message>]) -> Save {
    Save {
        record: Arc::new(record.clone()),
        messages: messages.to_vec(),
        steps: Vec::new(),
        events: Vec::new(),
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
        Opened::Started(history) => {
            assert_eq!(history.unread, 0);
            history.messages
        }
        Opened::Replayed(record) => panic!("replayed {record:?}"),
    }
}

/// Opens a run, answers, ends it; what was added to the thread.
async fn chat(store: &Arc<dyn Store>, opening: &Opening) -> Vec<Arc<Message>> {
    started(store, opening).await;
    let answer = says(Role::Assistant, &opening.record.id, "hi");
    let record = ended(&opening.record, Outcome::Completed);
    store.save(&save(&record, &[Arc::clone(&answer)])).await.unwrap();
    vec![said(opening), answer]
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason()
}

async fn a_new_thread_starts_without_history(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    assert_eq!(started(&store, &opening).await, []);
    let messages = store.history(&opening.record.thread).await.unwrap();
    assert_eq!(messages, [said(&opening)]);
    store.check().await.unwrap();
    assert!(["sqlite", "postgres"].contains(&store.kind()));
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
        store
            .save(&save(&opening.record, &[Arc::clone(&call)]))
            .await
            .unwrap();
        let record = ended(&opening.record, Outcome::Completed);
        store.save(&save(&record, &[Arc::clone(&answer)])).await.unwrap();
        expected.extend([said(&opening), call, answer]);
        assert_eq!(store.history(&thread).await.unwrap(), expected);
    }
}

/// Who speaks, a letter each; how far a run reaches; what it reads, and how much it does not.
async fn a_run_reads_no_more_of_a_thread_than_it_reaches(store: Arc<dyn Store>) {
    for (script, reach, expected, unread) in [
        ("uaua", Reach::All, "uaua", 0),
        ("uaua", Reach::Turns(1), "ua", 2),
        ("uaua", Reach::Turns(2), "uaua", 0),
        ("uaua", Reach::Turns(9), "uaua", 0),
        ("uauuaa", Reach::Turns(1), "uuaa", 2),
        ("uauuaa", Reach::Turns(2), "uauuaa", 0),
        ("auau", Reach::Turns(2), "uau", 1),
        ("suasua", Reach::Turns(1), "ssua", 2),
        ("susua", Reach::Turns(1), "ssua", 1),
        ("aaa", Reach::Turns(1), "aaa", 0),
        ("uaua", Reach::Messages(1), "ua", 2),
        ("uaua", Reach::Messages(2), "ua", 2),
        ("uaua", Reach::Messages(3), "uaua", 0),
        ("uauuaa", Reach::Messages(3), "uuaa", 2),
        ("sauuaa", Reach::Messages(3), "suuaa", 1),
        ("aua", Reach::Messages(3), "aua", 0),
        ("uaua", Reach::Messages(u64::MAX), "uaua", 0),
    ] {
        let record = created(&store, "").await;
        for letter in script.chars() {
            let role = match letter {
                'u' => Role::User,
                's' => Role::System,
                _ => Role::Assistant,
            };
            let message = Message {
                id: MessageId::new(&mut Mint::System),
                role,
                content: vec![Part::Text("x".to_owned())],
                run: None,
                incomplete: false,
                create_time: time(1),
                metadata: Default::default(),
            };
            let added = store.add_message(&record.id, Arc::new(message), None).await;
            added.unwrap();
        }
        let opening = Opening {
            reach,
            ..opening(&record.id, false)
        };
        let Opened::Started(history) = store.open_run(opening).await.unwrap() else {
            panic!("{script} {reach:?}: replayed");
        };
        let letter = |message: &Arc<Message>| match message.role {
            Role::User => 'u',
            Role::System => 's',
            _ => 'a',
        };
        let read: String = history.messages.iter().map(letter).collect();
        assert_eq!(
            (read.as_str(), history.unread),
            (expected, unread),
            "{script} {reach:?}"
        );
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
    assert_eq!(store.history(&first.record.thread).await.unwrap().len(), 1);
    let cancelling = RunRecord {
        state: State::Cancelling,
        ..first.record.clone()
    };
    store.save(&save(&cancelling, &[])).await.unwrap();
    assert_eq!(reason(store.open_run(second).await), Reason::ThreadBusy);
}

async fn every_terminal_state_frees_the_thread_and_reads_back(store: Arc<dyn Store>) {
    let thread = thread();
    let outcomes = [
        Outcome::Completed,
        Outcome::Incomplete(IncompleteReason::MaxTurns),
        Outcome::Failed(Error::new(Reason::Internal, "internal error")),
        // With all that its caller was told.
        Outcome::Failed(
            Error::new(Reason::RateLimited, "slow down")
                .with("provider_status", "429")
                .retry_after(Duration::from_secs(17)),
        ),
        Outcome::Cancelled,
        Outcome::Expired("it waited".into()),
    ];
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let opening = opening(&thread, index == 0);
        started(&store, &opening).await;
        let record = ended(&opening.record, outcome);
        store.save(&save(&record, &[])).await.unwrap();
        assert_eq!(store.run(&record.id).await.unwrap(), record);
    }
}

async fn a_run_reads_back_as_it_was_written(store: Arc<dyn Store>) {
    let mut opening = opening(&thread(), true);
    opening.record.snapshot = Snapshot {
        options: Arc::new(ModelOptions {
            temperature: Some(0.25),
            stop: vec!["\n".into()],
            ..ModelOptions::default()
        }),
        model: "gpt-é".into(),
        instructions: "be \"brief\"\n\0".into(),
        limits: Limits {
            max_output_tokens: Some(u64::MAX),
            max_duration: Some(Duration::from_millis(1_500)),
            max_cost: Some(u64::MAX),
            ..Limits::default()
        },
        assistant: Some(AssistantId::new(&mut Mint::System)),
        assistant_version: Some(3),
        catalogue_version: 7,
        selection: Selection {
            allowed: Some(vec!["echo".to_owned()]),
            rules: vec![Rule {
                target: Target::Server("files".to_owned()),
                policy: Policy::Ask,
            }],
            client_tools: Vec::new(),
        },
        truncation: Truncation {
            strategy: Strategy::Auto,
            last_turns: Some(3),
            max_tokens: Some(u64::MAX),
        },
        prices: Some(Prices {
            currency: "EUR".parse().unwrap(),
            input: 1,
            cached_input: 2,
            output: u64::MAX,
            reasoning: Some(3),
        }),
        caller: "Zoë".to_owned(),
        other_prices: Arc::new(
            [(
                "other".to_owned(),
                Prices {
                    currency: "USD".parse().unwrap(),
                    input: 4,
                    cached_input: 5,
                    output: 6,
                    reasoning: None,
                },
            )]
            .into(),
        ),
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
            cost: Some(cost("EUR", 7)),
        },
        last_sequence: 99,
        ..opening.record
    };
    store.save(&save(&record, &[])).await.unwrap();
    assert_eq!(store.run(&record.id).await.unwrap(), record);
}

fn cost(currency: &str, micros: u64) -> Cost {
    Cost {
        currency: currency.parse().unwrap(),
        micros,
    }
}

fn used(tokens: u64, cost: Option<Cost>) -> Usage {
    Usage {
        input_tokens: tokens,
        output_tokens: tokens * 2,
        turns: 1,
        cost,
        ..Usage::default()
    }
}

async fn callers_have_used_what_their_runs_have_day_by_day(store: Arc<dyn Store>) {
    let of = |caller: &str, day: u64, usage: Usage| (caller.to_owned(), day, usage);
    let most = i64::MAX.unsigned_abs();
    let runs = [
        of("ann", 1, used(10, Some(cost("USD", 5)))),
        of("ann", 1, used(1, Some(cost("USD", 7)))),
        of("ann", 1, used(2, Some(cost("EUR", 11)))),
        of("ann", 2, used(most, None)),
        of("ann", 2, used(most, None)),
        of("", 2, used(3, None)),
        of("bob, ø", 3, used(4, None)),
    ];
    let day_of = |day: u64| UNIX_EPOCH + Duration::from_secs(86_400 * (20_000 + day) + 86_399);
    for (caller, day, usage) in runs {
        let thread = thread();
        let mut opening = opening(&thread, true);
        opening.record.snapshot.caller = caller;
        started(&store, &opening).await;
        let mut over = ended(
            &RunRecord {
                usage,
                ..opening.record
            },
            Outcome::Completed,
        );
        over.end_time = Some(day_of(day));
        // Once more, by somebody who did not hear of it.
        for _ in 0..2 {
            store.save(&save(&over, &[])).await.unwrap();
        }
        // What was used was used, whatever becomes of the thread.
        store.delete_thread(&thread, None).await.unwrap();
    }
    let spent = async |spenders: Spenders, limit: u32, order: Order| {
        let mut all = Vec::new();
        let mut page = page(limit, order);
        loop {
            let listed = store.spendings(&spenders, page).await.unwrap();
            assert!(listed.items.len() <= limit as usize);
            all.extend(listed.items.into_iter().map(|spending| {
                let Spending {
                    day,
                    caller,
                    runs,
                    usage,
                } = spending;
                let cost = usage
                    .cost
                    .map(|cost| format!("{} {}", cost.micros, cost.currency));
                assert_eq!(u64::from(usage.turns), runs);
                (day.0 - 20_000, caller, runs, usage.input_tokens, cost)
            }));
            page.after = listed.next;
            if page.after.is_none() {
                return all;
            }
        }
    };
    let cost = |text: &str| Some(text.to_owned());
    let expected = [
        (1, "ann".to_owned(), 2, 11, cost("12 USD")),
        (1, "ann".to_owned(), 1, 2, cost("11 EUR")),
        (2, "ann".to_owned(), 2, most, None),
        (2, String::new(), 1, 3, None),
        (3, "bob, ø".to_owned(), 1, 4, None),
    ];
    let everything = Spenders::default();
    for limit in [1, 2, 100] {
        assert_eq!(
            spent(everything.clone(), limit, Order::OldestFirst).await,
            expected
        );
    }
    let mut newest = spent(everything, 2, Order::NewestFirst).await;
    newest.reverse();
    assert_eq!(newest, expected);
    let day = |day: i64| Some(Day(20_000 + day));
    let by = |caller: Option<&str>, from, before| Spenders {
        caller: caller.map(str::to_owned),
        from,
        before,
    };
    for (spenders, range) in [
        (by(Some("ann"), None, None), 0..3),
        (by(Some(""), None, None), 3..4),
        (by(None, day(2), None), 2..5),
        (by(None, day(2), day(3)), 2..4),
        (by(Some("ann"), day(2), day(3)), 2..3),
        (by(Some("eve"), None, None), 0..0),
    ] {
        let found = spent(spenders.clone(), 100, Order::OldestFirst).await;
        assert_eq!(found, expected[range], "{spenders:?}");
    }
}

async fn a_thread_has_used_what_its_runs_have(store: Arc<dyn Store>) {
    let thread = thread();
    let mut expected = Usage::default();
    let usages = [
        used(10, None),
        used(1, Some(cost("USD", 5))),
        used(2, Some(cost("USD", 7))),
        used(3, Some(cost("EUR", 11))),
    ];
    for (index, usage) in usages.into_iter().enumerate() {
        let opening = opening(&thread, index == 0);
        started(&store, &opening).await;
        let running = RunRecord {
            usage: used(1, usage.cost),
            ..opening.record.clone()
        };
        store.save(&save(&running, &[])).await.unwrap();
        let so_far = expected.plus(running.usage);
        assert_eq!(
            store.thread(&thread).await.unwrap().usage,
            so_far,
            "while it runs"
        );
        let over = ended(&RunRecord { usage, ..running }, Outcome::Completed);
        expected = expected.plus(usage);
        // Once more, by somebody who did not hear of it.
        for _ in 0..2 {
            store.save(&save(&over, &[])).await.unwrap();
            assert_eq!(store.thread(&thread).await.unwrap().usage, expected);
        }
    }
    assert_eq!(expected.input_tokens, 16);
    assert_eq!(expected.cost, Some(cost("EUR", 11)), "the currency has changed");
    let listed = store.threads(page(10, Order::NewestFirst)).await.unwrap();
    let listed = listed.items.iter().find(|listed| listed.id == thread).unwrap();
    assert_eq!(listed.usage, expected);
    // Of several in one batch, each counts.
    let threads: Vec<_> = (0..8).map(|_| self::thread()).collect();
    let mut tasks = JoinSet::new();
    for thread in threads.clone() {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for turn in 0..3 {
                let opening = opening(&thread, turn == 0);
                started(&store, &opening).await;
                let record = RunRecord {
                    usage: used(1, None),
                    ..opening.record
                };
                store
                    .save(&save(&ended(&record, Outcome::Cancelled), &[]))
                    .await
                    .unwrap();
            }
        });
    }
    finish(tasks).await;
    for thread in threads {
        assert_eq!(store.thread(&thread).await.unwrap().usage.turns, 3);
    }
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
        reason(store.history(&again.record.thread).await),
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
            .save(&save(&opening.record, &[Arc::clone(&one), Arc::clone(&two)]))
            .await
            .unwrap();
    }
    let record = ended(&opening.record, Outcome::Completed);
    let all = [one, two, three];
    for _ in 0..3 {
        store.save(&save(&record, &all)).await.unwrap();
    }
    let next = self::opening(&record.thread, false);
    let mut expected = vec![said(&opening)];
    expected.extend(all.iter().cloned());
    assert_eq!(started(&store, &next).await, expected);
    store.save(&save(&record, &all)).await.unwrap();
    assert_eq!(store.run_messages(&record.id).await.unwrap(), expected);
    assert_eq!(store.run(&next.record.id).await.unwrap(), next.record);
}

async fn an_ended_run_does_not_become_another(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    chat(&store, &opening).await;
    assert_eq!(
        reason(store.save(&save(&opening.record, &[])).await),
        Reason::Internal
    );
    let other = ended(&opening.record, Outcome::Cancelled);
    assert_eq!(reason(store.save(&save(&other, &[])).await), Reason::Internal);
    let stored = store.run(&opening.record.id).await.unwrap();
    assert_eq!(stored.state, State::Ended(Outcome::Completed));
}

async fn a_run_that_was_never_opened_cannot_be_saved(store: Arc<dyn Store>) {
    let known = opening(&thread(), true);
    started(&store, &known).await;
    let never = opening(&known.record.thread, false);
    let saved = store.save(&save(&never.record, &[said(&never)])).await;
    assert_eq!(reason(saved), Reason::Internal);
    assert_eq!(store.history(&known.record.thread).await.unwrap().len(), 1);
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
        truncated: true,
    });
    let asks = message(Role::Assistant, run, vec![Part::Text(String::new()), asks]);
    let gets = message(Role::Tool, run, vec![gets]);
    let broken = Arc::new(Message {
        incomplete: true,
        ..(*says(Role::Assistant, run, "I th")).clone()
    });
    store
        .save(&save(&second.record, &[Arc::clone(&asks), Arc::clone(&gets)]))
        .await
        .unwrap();
    let record = ended(&second.record, Outcome::Cancelled);
    store.save(&save(&record, &[Arc::clone(&broken)])).await.unwrap();
    chat(&store, &opening(&thread, false)).await;
    assert_eq!(store.run_messages(&first.record.id).await.unwrap(), before);
    assert_eq!(
        store.run_messages(run).await.unwrap(),
        [said(&second), asks, gets, broken]
    );
}

async fn names_that_nobody_knows_are_not_found(store: Arc<dyn Store>) {
    let run = RunId::new(&mut Mint::System);
    assert_eq!(reason(store.run(&run).await), Reason::RunNotFound);
    assert_eq!(reason(store.history(&thread()).await), Reason::ThreadNotFound);
    assert_eq!(store.run_messages(&run).await.unwrap(), []);
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
                    reason(store.save(&save(&opening(&busy, false).record, &[])).await),
                    Reason::Internal
                ),
                _ => {
                    let opening = opening(&thread(), true);
                    let added = chat(&store, &opening).await;
                    assert_eq!(store.history(&opening.record.thread).await.unwrap(), added);
                }
            }
        });
    }
    finish(tasks).await;
    assert_eq!(self::busy(&store).await, [busy.record.id]);
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
                store.save(&save(&record, &answers)).await.unwrap();
                expected.push(said(&opening));
                expected.extend(answers);
            }
            assert_eq!(store.history(&thread).await.unwrap(), expected);
        });
    }
    finish(tasks).await;
}

async fn a_large_message_comes_back_whole(store: Arc<dyn Store>) {
    let mut opening = opening(&thread(), true);
    let run = opening.record.id.clone();
    opening.message = Some(says(Role::User, &run, &"x".repeat(3 << 20)));
    started(&store, &opening).await;
    let many: Vec<_> = (0..150)
        .map(|index| says(Role::Tool, &run, &index.to_string()))
        .collect();
    store.save(&save(&opening.record, &many)).await.unwrap();
    let messages = store.run_messages(&run).await.unwrap();
    assert_eq!(messages[0], said(&opening));
    assert_eq!(messages[1..], many);
}

fn thread_record(title: &str) -> ThreadRecord {
    ThreadRecord {
        id: thread(),
        title: title.to_owned(),
        metadata: [("key".to_owned(), "välue".to_owned())].into(),
        version: 1,
        active_run: None,
        create_time: time(0),
        update_time: time(0),
        usage: Usage::default(),
    }
}

async fn created(store: &Arc<dyn Store>, title: &str) -> ThreadRecord {
    let record = thread_record(title);
    let new = NewThread {
        record,
        request: None,
    };
    store.create_thread(new).await.unwrap()
}

/// The runs that keep threads busy.
pub async fn busy(store: &Arc<dyn Store>) -> Vec<RunId> {
    let mut page = page(1_000, Order::OldestFirst);
    let mut runs = Vec::new();
    loop {
        let threads = store.threads(page).await.unwrap();
        runs.extend(threads.items.into_iter().filter_map(|thread| thread.active_run));
        page.after = threads.next;
        if page.after.is_none() {
            return runs;
        }
    }
}

fn page(limit: u32, order: Order) -> Page {
    Page {
        after: None,
        limit,
        order,
    }
}

async fn a_thread_is_kept_changed_and_deleted_with_everything(store: Arc<dyn Store>) {
    let record = created(&store, "first").await;
    assert_eq!(store.thread(&record.id).await.unwrap(), record);
    let change = |title: &str| ThreadChange {
        title: Some(title.to_owned()),
        metadata: None,
    };
    let changed = store
        .update_thread(&record.id, change("second"), Some(1))
        .await
        .unwrap();
    assert_eq!((changed.title.as_str(), changed.version), ("second", 2));
    assert_eq!(changed.metadata, record.metadata, "what is not changed stays");
    assert!(changed.update_time > record.update_time);
    let stale = store.update_thread(&record.id, change("third"), Some(1)).await;
    assert_eq!(reason(stale), Reason::EtagMismatch);
    let clear = ThreadChange {
        title: None,
        metadata: Some(BTreeMap::new()),
    };
    let cleared = store.update_thread(&record.id, clear, None).await.unwrap();
    assert_eq!((cleared.title.as_str(), cleared.metadata.len()), ("second", 0));
    assert_eq!(
        reason(store.delete_thread(&record.id, Some(2)).await),
        Reason::EtagMismatch
    );
    store.delete_thread(&record.id, Some(3)).await.unwrap();
    for gone in [
        store.thread(&record.id).await.map(drop),
        store.update_thread(&record.id, change("x"), None).await.map(drop),
        store.delete_thread(&record.id, None).await,
        store
            .messages(&record.id, page(1, Order::OldestFirst))
            .await
            .map(drop),
        store
            .runs(&record.id, &[], page(1, Order::OldestFirst))
            .await
            .map(drop),
    ] {
        assert_eq!(reason(gone), Reason::ThreadNotFound);
    }
}

async fn threads_are_listed_page_by_page_while_more_come(store: Arc<dyn Store>) {
    let mut names = Vec::new();
    for index in 0..7 {
        names.push(created(&store, &index.to_string()).await.id);
    }
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut seen = Vec::new();
        let mut next = page(3, order);
        loop {
            let listed = store.threads(next).await.unwrap();
            assert!(listed.items.len() <= 3);
            seen.extend(listed.items.into_iter().map(|thread| thread.id));
            let Some(after) = listed.next else { break };
            next.after = Some(after);
            if order == Order::NewestFirst {
                created(&store, "later").await;
            }
        }
        if order == Order::NewestFirst {
            seen.reverse();
        }
        assert_eq!(seen, names, "{order:?}");
    }
}

async fn a_deleted_thread_takes_its_runs_along(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    started(&store, &opening).await;
    let (id, run) = (&opening.record.thread, &opening.record.id);
    assert_eq!(store.thread(id).await.unwrap().active_run.as_ref(), Some(run));
    let busy = store.delete_thread(id, None).await.unwrap_err();
    assert_eq!(busy.reason(), Reason::ThreadBusy);
    assert_eq!(busy.metadata(), [("run", run.to_string())]);
    let record = ended(&opening.record, Outcome::Cancelled);
    store.save(&save(&record, &[])).await.unwrap();
    assert_eq!(store.thread(id).await.unwrap().active_run, None);
    store.delete_thread(id, None).await.unwrap();
    assert_eq!(reason(store.run(run).await), Reason::RunNotFound);
    assert_eq!(reason(store.events(run, 0).await), Reason::RunNotFound);
    store.save(&save(&record, &[])).await.unwrap();
    assert_eq!(
        reason(store.run(run).await),
        Reason::RunNotFound,
        "nothing is kept of it"
    );
}

async fn messages_are_added_read_and_listed(store: Arc<dyn Store>) {
    let record = created(&store, "").await;
    let mut added = Vec::new();
    for index in 0..5 {
        let message = Arc::new(Message {
            id: MessageId::new(&mut Mint::System),
            role: if index % 2 == 0 {
                Role::User
            } else {
                Role::Assistant
            },
            content: vec![Part::Text(index.to_string())],
            run: None,
            incomplete: false,
            create_time: time(index),
            metadata: [("n".to_owned(), index.to_string())].into(),
        });
        let kept = store
            .add_message(&record.id, Arc::clone(&message), None)
            .await
            .unwrap();
        assert_eq!(kept, message);
        added.push(message);
    }
    assert_eq!(store.history(&record.id).await.unwrap(), added);
    for message in &added {
        assert_eq!(&store.message(&record.id, &message.id).await.unwrap(), message);
    }
    let elsewhere = created(&store, "").await;
    let stranger = store.message(&elsewhere.id, &added[0].id).await;
    assert_eq!(reason(stranger), Reason::MessageNotFound);
    let first = store
        .messages(&record.id, page(2, Order::NewestFirst))
        .await
        .unwrap();
    assert_eq!(first.items, [Arc::clone(&added[4]), Arc::clone(&added[3])]);
    let rest = Page {
        after: first.next,
        limit: 9,
        order: Order::NewestFirst,
    };
    let rest = store.messages(&record.id, rest).await.unwrap();
    assert_eq!(rest.items.len(), 3);
    assert_eq!(rest.next, None);
    assert!(store.thread(&record.id).await.unwrap().update_time >= time(4));
    let next = opening(&record.id, false);
    assert_eq!(started(&store, &next).await, added);
    let busy = store
        .add_message(&record.id, says(Role::User, &next.record.id, "x"), None)
        .await;
    assert_eq!(reason(busy), Reason::ThreadBusy);
}

async fn a_request_id_stands_for_whatever_it_brought(store: Arc<dyn Store>) {
    let key = |id: &str, digest| RequestKey {
        id: id.to_owned(),
        digest: [digest; 32],
    };
    let new = |digest| NewThread {
        record: thread_record("once"),
        request: Some(key("thread", digest)),
    };
    let record = store.create_thread(new(1)).await.unwrap();
    assert_eq!(store.create_thread(new(1)).await.unwrap(), record);
    assert_eq!(reason(store.create_thread(new(2)).await), Reason::RequestIdReused);
    let say = |text: &str| {
        Arc::new(Message {
            run: None,
            ..(*says(Role::User, &RunId::new(&mut Mint::System), text)).clone()
        })
    };
    let first = store
        .add_message(&record.id, say("hi"), Some(key("message", 1)))
        .await
        .unwrap();
    let again = store
        .add_message(&record.id, say("hi"), Some(key("message", 1)))
        .await
        .unwrap();
    assert_eq!(again, first);
    let other = store
        .add_message(&record.id, say("hi"), Some(key("thread", 1)))
        .await;
    assert!(other.is_err(), "a thread's request id does not bring a message");
    assert_eq!(store.history(&record.id).await.unwrap(), [first]);
}

async fn runs_are_listed_by_their_state(store: Arc<dyn Store>) {
    let thread = thread();
    let mut runs = Vec::new();
    for (index, outcome) in [Outcome::Completed, Outcome::Cancelled, Outcome::Completed]
        .into_iter()
        .enumerate()
    {
        let opening = opening(&thread, index == 0);
        started(&store, &opening).await;
        store
            .save(&save(&ended(&opening.record, outcome), &[]))
            .await
            .unwrap();
        runs.push(opening.record.id);
    }
    let cases: [(&[&'static str], &[usize]); 4] = [
        (&[], &[0, 1, 2]),
        (&["completed"], &[0, 2]),
        (&["cancelled", "failed"], &[1]),
        (&["queued"], &[]),
    ];
    for (states, expected) in cases {
        let listed = store
            .runs(&thread, states, page(9, Order::OldestFirst))
            .await
            .unwrap();
        let listed: Vec<_> = listed.items.into_iter().map(|record| record.id).collect();
        let expected: Vec<_> = expected.iter().map(|&index| runs[index].clone()).collect();
        assert_eq!(listed, expected, "{states:?}");
    }
    let newest = store
        .runs(&thread, &[], page(1, Order::NewestFirst))
        .await
        .unwrap();
    assert_eq!(newest.items[0].id, runs[2]);
}

async fn a_run_without_a_message_answers_what_is_there(store: Arc<dyn Store>) {
    let record = created(&store, "").await;
    let mut first = opening(&record.id, false);
    first.message = None;
    assert_eq!(
        reason(store.open_run(first.clone()).await),
        Reason::ValidationFailed,
        "there is nothing to answer"
    );
    let message = Arc::new(Message {
        run: None,
        ..(*said(&opening(&record.id, false))).clone()
    });
    store
        .add_message(&record.id, Arc::clone(&message), None)
        .await
        .unwrap();
    assert_eq!(started(&store, &first).await, std::slice::from_ref(&message));
    let answer = says(Role::Assistant, &first.record.id, "hi");
    let ended = ended(&first.record, Outcome::Completed);
    store
        .save(&save(&ended, std::slice::from_ref(&answer)))
        .await
        .unwrap();
    assert_eq!(
        store.run_messages(&first.record.id).await.unwrap(),
        [message, answer]
    );
}

fn step(place: u32, call: &ToolCall, output: Option<&str>) -> Arc<Step> {
    let output = output.map(|text| {
        Arc::new(ToolOutput {
            content: vec![Content::Text(text.to_owned())],
            ..ToolOutput::default()
        })
    });
    Arc::new(Step {
        id: StepId::new(&mut Mint::System),
        place,
        turn: 1,
        state: match output {
            Some(_) => StepState::Completed,
            None => StepState::Running,
        },
        work: Work::ToolCall {
            call: call.clone(),
            server: "builtin".to_owned(),
            action: None,
            answer: None,
            questions: Vec::new(),
            sampled: Vec::new(),
            output,
            duration: Duration::from_millis(7),
        },
        create_time: time(1),
        start_time: Some(time(2)),
        end_time: None,
    })
}

fn call() -> ToolCall {
    ToolCall {
        id: CallId::new(&mut Mint::System),
        tool: "echo".to_owned(),
        arguments: "{}".to_owned(),
    }
}

async fn steps_are_written_over_and_listed_in_their_order(store: Arc<dyn Store>) {
    let opening = opening(&thread(), true);
    started(&store, &opening).await;
    let calls = [call(), call(), call()];
    let begun: Vec<_> = (0..)
        .zip(&calls)
        .map(|(place, call)| step(place, call, None))
        .collect();
    let with = |steps: &[Arc<Step>]| Save {
        steps: steps.to_vec(),
        ..save(&opening.record, &[])
    };
    store.save(&with(&begun)).await.unwrap();
    let done = step(1, &calls[1], Some("done"));
    for _ in 0..2 {
        store.save(&with(std::slice::from_ref(&done))).await.unwrap();
    }
    let run = &opening.record.id;
    let first = store.run_steps(run, page(2, Order::OldestFirst)).await.unwrap();
    assert_eq!(first.items, [Arc::clone(&begun[0]), done]);
    let rest = Page {
        after: first.next,
        limit: 2,
        order: Order::OldestFirst,
    };
    let rest = store.run_steps(run, rest).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&begun[2..], None));
}

pub fn event(sequence: u64, body: Body) -> Arc<Event> {
    Arc::new(Event {
        sequence,
        time: time(sequence),
        body,
    })
}

/// Every kind of event, in an order in which a run could show them; with what a run saves along with them.
fn all_events(opening: &Opening) -> (Vec<Body>, Save) {
    let run = &opening.record.id;
    let answer = says(Role::Assistant, run, "hi");
    let begun = Arc::new(Message {
        content: Vec::new(),
        ..(*answer).clone()
    });
    let silent = Arc::new(Message {
        id: MessageId::new(&mut Mint::System),
        incomplete: true,
        ..(*begun).clone()
    });
    let (made, asked) = (call(), action(1));
    // Nothing keeps the arguments of a call that was not asked for to the end.
    let unmade = ToolCall {
        arguments: String::new(),
        ..call()
    };
    let step = step(0, &made, Some("done"));
    let Work::ToolCall {
        output: Some(output), ..
    } = &step.work
    else {
        panic!("it has an output")
    };
    let completed = |call: &ToolCall, output: &Arc<ToolOutput>, duration| Body::ToolCallCompleted {
        call: call.id.clone(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        output: Arc::clone(output),
        duration,
    };
    let record = RunRecord {
        last_sequence: 19,
        reserved_sequence: 1_043,
        ..ended(&opening.record, Outcome::Completed)
    };
    let bodies = vec![
        Body::StateChanged {
            from: None,
            to: State::Running,
        },
        Body::MessageCreated(said(opening)),
        Body::MessageCreated(begun),
        Body::ReasoningDelta {
            message: answer.id.clone(),
            text: "hm".to_owned(),
        },
        Body::TextDelta {
            message: answer.id.clone(),
            text: "h\"i\n".to_owned(),
        },
        Body::ToolCallStarted {
            message: answer.id.clone(),
            call: made.id.clone(),
            tool: made.tool.clone(),
        },
        Body::ToolCallArgumentsDelta {
            call: made.id.clone(),
            json: "{}".to_owned(),
        },
        Body::MessageCompleted(Arc::clone(&answer)),
        Body::MessageCompleted(silent),
        Body::ToolCallProgress {
            call: made.id.clone(),
            progress: Progress {
                progress: 0.5,
                total: Some(1.0),
                message: "half".to_owned(),
            },
        },
        completed(&made, output, Duration::from_millis(7)),
        completed(
            &unmade,
            &Arc::new(ToolOutput::failure("not called")),
            Duration::ZERO,
        ),
        Body::TurnRestarted { first_void: 3 },
        Body::ActionRequired(Arc::clone(&asked)),
        Body::ActionResolved {
            action: asked.id.clone(),
            resolution: Resolution::Edited,
        },
        Body::UsageUpdated(Usage {
            input_tokens: 7,
            ..Usage::default()
        }),
        Body::StateChanged {
            from: Some(State::Running),
            to: State::Cancelling,
        },
        Body::UsageUpdated(Usage::default()),
        Body::Ended(Arc::new(record.clone())),
    ];
    let save = Save {
        messages: vec![answer],
        steps: vec![step],
        ..save(&record, &[])
    };
    (bodies, save)
}

async fn events_read_back_as_they_were_shown(store: Arc<dyn Store>) {
    let mut opening = opening(&thread(), true);
    let (bodies, mut save) = all_events(&opening);
    let events: Vec<_> = (1..)
        .zip(bodies)
        .map(|(sequence, body)| event(sequence, body))
        .collect();
    opening.events = events[..2].to_vec();
    started(&store, &opening).await;
    save.events = events[2..].to_vec();
    for _ in 0..2 {
        store.save(&save).await.unwrap();
    }
    let run = &opening.record.id;
    for after in 0..=events.len() {
        let read = store.events(run, after as u64).await.unwrap();
        let read: Vec<_> = read.into_iter().map(Arc::new).collect();
        assert_eq!(read, events[after..], "after {after}");
    }
}

async fn events_of_a_turn_that_is_not_over_are_kept_too(store: Arc<dyn Store>) {
    let mut runs = Vec::new();
    for _ in 0..3 {
        let mut opening = opening(&thread(), true);
        let (bodies, _) = all_events(&opening);
        let events: Vec<_> = (1..)
            .zip(bodies)
            .map(|(sequence, body)| event(sequence, body))
            .collect();
        opening.events = events[..2].to_vec();
        started(&store, &opening).await;
        runs.push((opening.record.id, events));
    }
    let gone = RunId::new(&mut Mint::System);
    let append = |from: usize, to: usize, reserved_sequence: u64| {
        let known = runs.iter().map(|(run, events)| (run.clone(), events));
        let stranger = (gone.clone(), &runs[0].1);
        known
            .chain([stranger])
            .map(|(run, events)| Append {
                run,
                events: events[from..to].to_vec(),
                reserved_sequence,
                fence: RunRecord::FIRST_FENCE,
            })
            .collect()
    };
    // The second overlaps the first, as a write that is tried again may.
    for (from, to) in [(2, 5), (2, 5), (3, 7)] {
        store.append(append(from, to, 5_000)).await.unwrap();
    }
    for (run, events) in &runs {
        let read = store.events(run, 1).await.unwrap();
        let read: Vec<_> = read.into_iter().map(Arc::new).collect();
        assert_eq!(read, events[1..7]);
        let record = store.run(run).await.unwrap();
        assert_eq!((record.reserved_sequence, record.last_sequence), (5_000, 7));
    }
}

async fn what_is_past_retention_is_swept_little_by_little(store: Arc<dyn Store>) {
    let mut runs = Vec::new();
    for index in 0..40 {
        let mut opening = opening(&thread(), true);
        let body = Body::StateChanged {
            from: None,
            to: State::Running,
        };
        opening.events = vec![event(1, body)];
        started(&store, &opening).await;
        let record = RunRecord {
            last_sequence: 2,
            ..ended(&opening.record, Outcome::Completed)
        };
        let last = event(2, Body::Ended(Arc::new(record.clone())));
        // The last one goes on.
        if index < 39 {
            let save = Save {
                events: vec![last],
                ..save(&record, &[])
            };
            store.save(&save).await.unwrap();
        }
        runs.push(record.id);
    }
    assert_eq!(store.sweep(time(8)).await.unwrap(), 0, "none has ended before");
    let mut swept = 0;
    loop {
        let count = store.sweep(time(10)).await.unwrap();
        if count == 0 {
            break;
        }
        swept += count;
    }
    assert_eq!(swept, 39);
    let expired = store.events(&runs[0], 0).await.unwrap_err();
    assert_eq!(expired.reason(), Reason::EventsExpired);
    assert_eq!(expired.metadata(), [("oldest_sequence", "3".to_owned())]);
    assert_eq!(
        store.events(&runs[0], 2).await.unwrap(),
        [],
        "nothing is missing after the end"
    );
    assert_eq!(store.events(&runs[39], 0).await.unwrap().len(), 1);
    let record = store.run(&runs[0]).await.unwrap();
    assert_eq!(record.state, State::Ended(Outcome::Completed), "records are kept");
}

fn action(second: u64) -> Arc<Action> {
    Arc::new(Action {
        id: ActionId::new(&mut Mint::System),
        call: call(),
        request: Request::ClientTool,
        digest: "d1".to_owned(),
        create_time: time(second),
        expire_time: time(second + 60),
    })
}

async fn what_runs_wait_for_is_listed_across_threads(store: Arc<dyn Store>) {
    let mut waiting = Vec::new();
    // Two in each run, the runs interleaved in time.
    for index in 0..3 {
        let opening = opening(&thread(), true);
        started(&store, &opening).await;
        let record = RunRecord {
            state: State::RequiresAction,
            pending: vec![action(index), action(index + 10)],
            waited: Duration::from_micros(1_234_567),
            waits_since: Some(time(index)),
            ..opening.record
        };
        store.save(&save(&record, &[])).await.unwrap();
        assert_eq!(store.run(&record.id).await.unwrap(), record);
        waiting.push(record);
    }
    let expected: Vec<_> = (0..2)
        .flat_map(|place| waiting.iter().map(move |record| (record, place)))
        .map(|(record, place)| (record.id.clone(), (*record.pending[place]).clone()))
        .collect();
    let mut seen = Vec::new();
    let mut next = page(2, Order::OldestFirst);
    loop {
        let listed = store.pending_actions(next).await.unwrap();
        seen.extend(
            listed
                .items
                .into_iter()
                .map(|pending| (pending.run, pending.action)),
        );
        next.after = listed.next;
        if next.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    for record in waiting {
        let record = RunRecord {
            pending: Vec::new(),
            ..ended(&record, Outcome::Expired(String::new()))
        };
        store.save(&save(&record, &[])).await.unwrap();
    }
    let none = store.pending_actions(page(9, Order::OldestFirst)).await.unwrap();
    assert_eq!(none.items, []);
}

fn queued(thread: &ThreadId) -> Opening {
    let mut opening = opening(thread, false);
    opening.record.state = State::Queued;
    opening.record.start_time = None;
    opening
}

fn start(opening: &Opening) -> Start {
    Start {
        record: RunRecord {
            state: State::Running,
            start_time: Some(time(3)),
            ..opening.record.clone()
        },
        message: opening.message.clone(),
        events: Vec::new(),
        reach: opening.reach,
    }
}

async fn queued_runs_start_one_after_the_other(store: Arc<dyn Store>) {
    let first = opening(&thread(), true);
    let thread = first.record.thread.clone();
    started(&store, &first).await;
    let [second, third] = [queued(&thread), queued(&thread)];
    for opening in [&second, &third] {
        assert_eq!(started(&store, opening).await, [said(&first)]);
        assert_eq!(store.run(&opening.record.id).await.unwrap(), opening.record);
    }
    assert_eq!(
        store.history(&thread).await.unwrap(),
        [said(&first)],
        "they have said nothing yet"
    );
    let message = store.queued_message(&third.record.id).await.unwrap();
    assert_eq!(message, third.message);
    assert_eq!(busy(&store).await, std::slice::from_ref(&first.record.id));
    let states = [State::Queued.name()];
    let waiting = store.runs(&thread, &states, page(9, Order::OldestFirst)).await;
    assert_eq!(
        waiting.unwrap().items,
        [second.record.clone(), third.record.clone()]
    );

    let (one, two) = (first.record.id.clone(), second.record.id.clone());
    assert_eq!(
        store.start_run(start(&second)).await.unwrap(),
        Started::Behind(one)
    );
    let answer = says(Role::Assistant, &first.record.id, "hi");
    let done = save(
        &ended(&first.record, Outcome::Completed),
        std::slice::from_ref(&answer),
    );
    store.save(&done).await.unwrap();
    assert_eq!(
        store.start_run(start(&third)).await.unwrap(),
        Started::Behind(two.clone())
    );
    let busy = store.open_run(opening(&thread, false)).await.unwrap_err();
    assert_eq!(
        busy.metadata(),
        [("run", two.to_string())],
        "who is queued was there before"
    );
    let before = vec![said(&first), answer];
    assert_eq!(
        store.start_run(start(&second)).await.unwrap(),
        Started::Now(before.clone().into())
    );
    assert_eq!(store.run(&two).await.unwrap(), start(&second).record);
    assert_eq!(
        store.start_run(start(&second)).await.unwrap(),
        Started::Now(before.clone().into()),
        "who did not hear of it may try again"
    );
    let mut stranger = start(&second);
    stranger.record.fence += 1;
    assert_eq!(reason(store.start_run(stranger).await), Reason::RunInterrupted);
    assert_eq!(reason(store.queued_message(&two).await), Reason::RunNotFound);
    let expected: Vec<_> = before.into_iter().chain([said(&second)]).collect();
    assert_eq!(store.history(&thread).await.unwrap(), expected);
    assert_eq!(store.run_messages(&two).await.unwrap(), [said(&second)]);
}

async fn a_queue_is_bounded_and_can_be_left(store: Arc<dyn Store>) {
    let first = opening(&thread(), true);
    let thread = first.record.thread.clone();
    started(&store, &first).await;
    let waiting: Vec<_> = (0..64).map(|_| queued(&thread)).collect();
    for opening in &waiting {
        started(&store, opening).await;
    }
    assert_eq!(reason(store.open_run(queued(&thread)).await), Reason::Overloaded);
    for opening in &waiting {
        let record = ended(&opening.record, Outcome::Cancelled);
        for _ in 0..2 {
            store.save(&save(&record, &[])).await.unwrap();
        }
        assert_eq!(store.run(&record.id).await.unwrap(), record);
    }
    store
        .save(&save(&ended(&first.record, Outcome::Completed), &[]))
        .await
        .unwrap();
    started(&store, &opening(&thread, false)).await;
    assert_eq!(
        store.history(&thread).await.unwrap().len(),
        2,
        "who left has said nothing"
    );
}

async fn assistants_are_kept_changed_listed_and_deleted(store: Arc<dyn Store>) {
    let profile = |name: &str| Profile {
        display_name: name.to_owned(),
        allowed_tools: Some(Vec::new()),
        policies: vec![Rule {
            target: Target::Tool("echo".to_owned()),
            policy: Policy::Ask,
        }],
        limits: LimitsPatch {
            max_turns: Some(3),
            ..LimitsPatch::default()
        },
        ..Profile::default()
    };
    let record = |name: &str| AssistantRecord {
        id: AssistantId::new(&mut Mint::System),
        profile: profile(name),
        version: 1,
        create_time: time(0),
        update_time: time(0),
    };
    let key = || {
        Some(RequestKey {
            id: "one".to_owned(),
            digest: [1; 32],
        })
    };
    let first = store.create_assistant(record("first"), key()).await.unwrap();
    assert_eq!(
        store.create_assistant(record("first"), key()).await.unwrap(),
        first
    );
    assert_eq!(store.assistant(&first.id).await.unwrap(), first);
    let second = store.create_assistant(record("second"), None).await.unwrap();
    let listed = store.assistants(page(1, Order::NewestFirst)).await.unwrap();
    assert_eq!(listed.items, [second]);
    assert!(listed.next.is_some());

    let changed = store
        .update_assistant(&first.id, profile("new"), 1)
        .await
        .unwrap();
    assert_eq!(
        (changed.profile.display_name.as_str(), changed.version),
        ("new", 2)
    );
    let stale = store.update_assistant(&first.id, profile("x"), 1).await;
    assert_eq!(reason(stale), Reason::EtagMismatch);
    let stale = store.delete_assistant(&first.id, Some(1)).await;
    assert_eq!(reason(stale), Reason::EtagMismatch);
    store.delete_assistant(&first.id, Some(2)).await.unwrap();
    for gone in [
        store.assistant(&first.id).await.map(drop),
        store.delete_assistant(&first.id, None).await,
        store.update_assistant(&first.id, profile("x"), 2).await.map(drop),
        store.create_assistant(record("first"), key()).await.map(drop),
    ] {
        assert_eq!(reason(gone), Reason::AssistantNotFound);
    }
}

async fn finish(mut tasks: JoinSet<impl Sized + Send + 'static>) {
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
