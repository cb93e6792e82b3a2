//! Whatever there may be in a thread: into lines and back, into a store and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assistd::archive::export::export;
use assistd::archive::line::{Line, VERSION, of_thread};
use assistd::archive::reader::Reader;
use assistd::run::action::{Action, Answer, Reply, Request};
use assistd::run::error::{Error, Reason};
use assistd::run::id::{ActionId, AssistantId, CallId, MessageId, RunId, StepId, ThreadId};
use assistd::run::message::{
    CallOutput, Content, Media, MediaSource, Message, Part, Role, ToolCall, ToolOutput, Usage,
};
use assistd::run::ports::{Restore, Restored, WholeRun, WholeThread};
use assistd::run::record::{IncompleteReason, Limits, Outcome, RunRecord, Snapshot, State, ThreadRecord};
use assistd::run::step::{Inquiry, SampledRequest, Step, StepState, Work};
use assistd::run::truncation::ContextUse;
use assistd::store::{Config, Location, open};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use serde_json::json;

/// Microseconds after some moment.
fn time(micros: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000) + Duration::from_micros(micros.into())
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}|[ \\n\"\\\\]{0,3}"
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,5}", text(), 0..3)
}

fn call(number: u32, arguments: String) -> ToolCall {
    ToolCall {
        id: CallId::parse(&format!("call_{number}")).unwrap(),
        tool: "echo".to_owned(),
        arguments,
    }
}

fn output() -> impl Strategy<Value = ToolOutput> {
    (text(), any::<i64>(), any::<bool>()).prop_map(|(text, number, is_error)| ToolOutput {
        content: vec![
            Content::Text(text),
            Content::ResourceLink {
                uri: "file:///a".to_owned(),
                name: "a".to_owned(),
                mime_type: String::new(),
                title: "A".to_owned(),
                description: "what it is".to_owned(),
                size_bytes: Some(7),
            },
        ],
        structured: Some(json!({"whole": number, "part": 3.0})),
        is_error,
    })
}

fn part() -> impl Strategy<Value = Part> {
    let media = |source| Media {
        detail: None,
        source,
        mime_type: "image/png".to_owned(),
        name: String::new(),
    };
    prop_oneof![
        text().prop_map(Part::Text),
        text().prop_map(Part::Refusal),
        text().prop_map(move |url| Part::Image(media(MediaSource::Url(url)))),
        text().prop_map(move |data| Part::File(media(MediaSource::Base64(data)))),
        (any::<u32>(), text()).prop_map(|(number, text)| Part::ToolCall(call(number, text))),
        (any::<u32>(), output(), any::<bool>()).prop_map(|(number, output, truncated)| Part::ToolOutput(
            CallOutput {
                call: call(number, String::new()).id,
                tool: "echo".to_owned(),
                output,
                truncated,
            }
        )),
    ]
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Cancelled),
        text().prop_map(Outcome::Expired),
        Just(Outcome::Incomplete(IncompleteReason::Budget)),
        text().prop_map(|text| Outcome::Failed(Error::new(Reason::RateLimited, text))),
    ]
    .prop_map(State::Ended)
}

use proptest::prelude::Just;

fn work(number: u32) -> impl Strategy<Value = Work> {
    let turn = any::<bool>().prop_map(move |wrote| Work::ModelTurn {
        model: "m".to_owned(),
        message: wrote.then(|| MessageId::parse("msg_0").unwrap()),
        usage: Usage::default(),
        context: ContextUse {
            messages: 3,
            omitted: number,
        },
        attempts: Vec::new(),
        unknown_events: number,
    });
    let action = (any::<u32>(), text()).prop_map(move |(micros, text)| {
        Arc::new(Action {
            id: ActionId::parse("act_1").unwrap(),
            call: call(number, text),
            request: Request::UnknownOutcome {
                server: "files".to_owned(),
                call_time: time(micros),
            },
            digest: "0f".to_owned(),
            create_time: time(micros / 2),
            expire_time: time(micros),
        })
    });
    let called = (
        text(),
        prop::option::of(action),
        prop::option::of(output()),
        any::<u64>(),
    );
    let called = called.prop_map(move |(arguments, action, output, nanos)| Work::ToolCall {
        call: call(number, arguments),
        server: "files".to_owned(),
        answer: action.as_ref().map(|_| Answer::Reject("no".to_owned())),
        questions: action
            .iter()
            .map(|action| Inquiry {
                action: action.clone(),
                reply: Some(Answer::Reply(Reply::Decline)),
            })
            .collect(),
        sampled: action
            .iter()
            .map(|action| SampledRequest {
                model: "m".to_owned(),
                usage: Usage::default(),
                attempts: Vec::new(),
                state: StepState::Cancelled,
                start_time: action.create_time,
                end_time: action.expire_time,
            })
            .collect(),
        action,
        output: output.map(Arc::new),
        duration: Duration::from_nanos(nanos),
    });
    prop_oneof![turn, called]
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        Just(StepState::Completed),
        Just(StepState::Cancelled),
        text().prop_map(|message| StepState::Failed {
            reason: "X".to_owned(),
            message,
            facts: BTreeMap::from([("provider_status".to_owned(), "429".to_owned())]),
            retry_after: Some(Duration::from_secs(5)),
        }),
    ];
    (any::<u32>().prop_flat_map(work), state, any::<u32>()).prop_map(|(work, state, micros)| Step {
        id: StepId::parse("step_0").unwrap(),
        place: 0,
        turn: 1,
        work,
        state,
        create_time: time(micros),
        start_time: None,
        end_time: Some(time(micros)),
    })
}

fn run() -> impl Strategy<Value = WholeRun> {
    let steps = prop::collection::vec(step(), 0..3);
    let numbers = (any::<u32>(), any::<u64>(), any::<u32>());
    (state(), labels(), text(), steps, numbers).prop_map(|(state, metadata, instructions, steps, numbers)| {
        let (micros, nanos, tokens) = numbers;
        let steps = steps
            .into_iter()
            .zip(0..)
            .map(|(step, place)| Step { place, ..step });
        WholeRun {
            record: RunRecord {
                id: RunId::parse("run_0").unwrap(),
                thread: ThreadId::parse("thread_1").unwrap(),
                snapshot: Snapshot {
                    instructions,
                    metadata,
                    assistant: Some(AssistantId::parse("asst_1").unwrap()),
                    limits: Limits {
                        max_duration: Some(Duration::from_nanos(nanos)),
                        ..Limits::default()
                    },
                    ..Snapshot::default()
                },
                state,
                usage: Usage {
                    input_tokens: tokens.into(),
                    ..Usage::default()
                },
                last_sequence: tokens.into(),
                reserved_sequence: tokens.into(),
                fence: RunRecord::FIRST_FENCE,
                create_time: time(micros),
                start_time: Some(time(micros)),
                expire_time: None,
                pending: Vec::new(),
                waited: Duration::from_micros(tokens.into()),
                waits_since: None,
                end_time: Some(time(micros)),
            },
            first_message: None,
            steps: steps.map(Arc::new).collect(),
        }
    })
}

fn message() -> impl Strategy<Value = Message> {
    let role = prop_oneof![
        Just(Role::User),
        Just(Role::Assistant),
        Just(Role::Tool),
        Just(Role::System)
    ];
    let content = prop::collection::vec(part(), 0..4);
    (role, content, any::<bool>(), any::<u32>(), labels()).prop_map(
        |(role, content, incomplete, micros, metadata)| Message {
            id: MessageId::parse("msg_0").unwrap(),
            role,
            content,
            run: None,
            incomplete,
            create_time: time(micros),
            metadata,
        },
    )
}

/// A thread whose runs each have a message of the user and the messages after it, up to the next.
fn thread() -> impl Strategy<Value = WholeThread> {
    let runs = prop::collection::vec((run(), prop::collection::vec(message(), 1..4)), 0..4);
    (text(), labels(), runs, 1..9_u64).prop_map(|(title, metadata, runs, version)| {
        let (mut whole_runs, mut messages) = (Vec::new(), Vec::new());
        let mut newest = time(0);
        for ((mut run, of_run), number) in runs.into_iter().zip(0_u32..) {
            run.record.id = RunId::parse(&format!("run_{number}")).unwrap();
            // In the order in which they were asked for.
            run.record.create_time = time(number);
            for mut message in of_run {
                message.id = MessageId::parse(&format!("msg_{}", messages.len())).unwrap();
                message.run = Some(run.record.id.clone());
                newest = newest.max(message.create_time);
                run.first_message.get_or_insert_with(|| message.id.clone());
                messages.push(Arc::new(message));
            }
            newest = newest.max(run.record.create_time);
            whole_runs.push(run);
        }
        let mut whole = WholeThread {
            record: ThreadRecord {
                id: ThreadId::parse("thread_1").unwrap(),
                title,
                metadata,
                version,
                active_run: None,
                create_time: time(0),
                update_time: newest,
                usage: Usage::default(),
            },
            messages,
            runs: whole_runs,
        };
        whole.record.usage = whole.used();
        whole
    })
}

/// The file of one thread.
fn file(whole: &WholeThread) -> String {
    let mut counts = assistd::archive::Counts::default();
    counts.add(&Restore::Thread(whole.clone()));
    let lines = [Line::Header(VERSION)].into_iter().chain(of_thread(whole));
    lines
        .chain([Line::End(counts)])
        .map(|line| line.text().unwrap() + "\n")
        .collect()
}

async fn through_a_store(item: &Restore) -> String {
    let config = Config {
        location: Location::Memory,
    };
    let store = open(&config).await.unwrap().store;
    assert_eq!(store.restore(item).await.unwrap(), Restored::Added);
    let mut text = String::new();
    let mut write = |line: &str| {
        text.push_str(line);
        Ok(())
    };
    export(&*store, &[], &mut write, &mut |_| {}).await.unwrap();
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_thread_comes_back_whole(whole in thread()) {
        let file = file(&whole);
        let read: Vec<_> = Reader::new(file.as_bytes()).collect();
        let item = Restore::Thread(whole);
        prop_assert_eq!(&read, &[Ok(item.clone())]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert_eq!(runtime.block_on(through_a_store(&item)), file);
    }
}
