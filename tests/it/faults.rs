//! What can go wrong at a provider: every fault, in every dialect, before, during and after the first token, with
//! and without a tool that was called before. Each time the run ends as it should, what was said is kept, and
//! the next question on the thread is answered.

use std::time::Duration;

use assistd::api::pb::{self, run_event::Payload};
use assistd::config::Dialect;
use assistd::simulator::{Answer, At, Fault, Finish, RawAnswer, Script, Turn};
use futures::future::join_all;
use tonic_types::RpcStatusExt;

use crate::world::{PATIENCE, World};

/// How long a model may be silent here. Long enough for a machine that is busy.
const SILENCE: Duration = Duration::from_secs(3);
const SAID: [&str; 3] = ["one ", "two ", "three"];

/// A place in an answer of three pieces, and what has been said there.
const PLACES: [(&str, At, &str); 3] = [
    ("before the first token", At::Deltas(0), ""),
    ("during the answer", At::Deltas(1), "one "),
    ("after the last token", At::Deltas(3), "one two three"),
];

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Incomplete(pb::IncompleteReason),
    Failed(&'static str),
}

/// One fault, as the turn that has it.
#[derive(Clone)]
struct Case {
    name: String,
    turn: Turn,
    end: End,
    /// What is kept of the answer.
    said: &'static str,
}

fn case(name: &str, turn: Turn, end: End, said: &'static str) -> Case {
    Case {
        name: name.to_owned(),
        turn,
        end,
        said,
    }
}

/// An error in the stream, as each dialect writes it.
fn error_event(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Responses => {
            "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}\n\n"
        }
        Dialect::ChatCompletions => {
            "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}\n\n"
        }
        Dialect::Assistants => "event: error\ndata: {\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}\n\n",
    }
}

/// The whole matrix for a dialect.
fn cases(dialect: Dialect) -> Vec<Case> {
    let unavailable = End::Failed("MODEL_UNAVAILABLE");
    let said = || Turn::text(SAID);
    let mut cases = vec![
        case("nothing", said(), End::Completed, "one two three"),
        case("status 500", Turn::status(500), unavailable, ""),
        case(
            "status 401",
            Turn::status(401),
            End::Failed("MODEL_CREDENTIALS_REJECTED"),
            "",
        ),
        case(
            "status 429 for long",
            Turn::status(429).header("retry-after", "60"),
            End::Failed("RATE_LIMITED"),
            "",
        ),
        case("no answer", Turn::hang(), unavailable, ""),
        case("a closed connection", Turn::disconnect(), unavailable, ""),
        case(
            "a page",
            Turn::raw(200, "text/html", "<html>hi</html>"),
            unavailable,
            "",
        ),
        case(
            "an empty answer",
            Turn::raw(200, "text/event-stream", ""),
            unavailable,
            "",
        ),
        case(
            "a trickle",
            said().fault(Fault::Trickle {
                bytes: std::num::NonZeroUsize::new(64).unwrap(),
                ms: 0,
            }),
            End::Completed,
            "one two three",
        ),
        case(
            "the token limit",
            said().finish(Finish::Length),
            End::Incomplete(pb::IncompleteReason::MaxTokens),
            "one two three",
        ),
        case(
            "the filter",
            said().finish(Finish::ContentFilter),
            End::Incomplete(pb::IncompleteReason::ContentFilter),
            "one two three",
        ),
        case(
            "a failure there",
            said().finish(Finish::Failed),
            unavailable,
            "one two three",
        ),
    ];
    for (place, at, kept) in PLACES {
        let insert = |raw: &str| Fault::Insert {
            at,
            raw: raw.to_owned(),
        };
        let faults = [
            ("cut", Fault::Cut(at), unavailable, kept),
            ("stop", Fault::Stop(at), unavailable, kept),
            ("silence", Fault::Hang(at), unavailable, kept),
            ("garbage", insert("data: {broken\n\n"), unavailable, kept),
            (
                "an error",
                insert(error_event(dialect)),
                End::Failed("RATE_LIMITED"),
                kept,
            ),
            (
                "an unknown event",
                insert("event: brand.new\ndata: {\"type\":\"brand.new\",\"object\":\"brand.new\"}\n\n"),
                End::Completed,
                "one two three",
            ),
            ("a comment", insert(": ping\n\n"), End::Completed, "one two three"),
        ];
        for (name, fault, end, kept) in faults {
            cases.push(case(&format!("{name} {place}"), said().fault(fault), end, kept));
        }
    }
    cases
}

/// A refusal that may be tried again would be answered by the stand-in.
fn times(turn: &Turn) -> u32 {
    match &turn.answer {
        Answer::Raw(RawAnswer { status: 429.., .. }) => 3,
        _ => 1,
    }
}

/// What a caller saw of a run.
struct Seen {
    end: End,
    thread: String,
    deltas: String,
    completed: Option<pb::Message>,
    usage: pb::Usage,
}

async fn ask(world: &World, message: &str, thread: &str) -> Seen {
    let request = pb::ChatRequest {
        message: message.to_owned(),
        thread: thread.to_owned(),
        ..pb::ChatRequest::default()
    };
    let mut stream = world
        .grpc()
        .await
        .stream_chat(request)
        .await
        .unwrap()
        .into_inner();
    let (mut deltas, mut completed, mut last) = (String::new(), None, None);
    let mut sequence = 0;
    while let Some(event) = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
    {
        sequence += 1;
        assert_eq!(event.sequence, sequence, "{message}");
        assert!(last.is_none(), "{message}: an event behind the last one");
        match event.payload.unwrap() {
            Payload::TextDelta(delta) => deltas.push_str(&delta.text),
            Payload::MessageCompleted(done) => completed = done.message,
            Payload::RunCompleted(end) => last = end.run,
            Payload::RunFailed(end) => last = end.run,
            Payload::RunIncomplete(end) => last = end.run,
            _ => {}
        }
    }
    let run = last.expect("a last event");
    let end = match run.state() {
        pb::RunState::Completed => End::Completed,
        pb::RunState::Incomplete => End::Incomplete(run.incomplete_reason()),
        pb::RunState::Failed => {
            let details = RpcStatusExt::get_error_details(run.error.as_ref().unwrap());
            End::Failed(known(&details.error_info().unwrap().reason))
        }
        other => panic!("{message}: {other:?}"),
    };
    Seen {
        end,
        thread: run.name.split_once("/runs/").unwrap().0.to_owned(),
        deltas,
        completed,
        usage: run.usage.unwrap(),
    }
}

fn known(reason: &str) -> &'static str {
    let reasons = ["MODEL_UNAVAILABLE", "MODEL_CREDENTIALS_REJECTED", "RATE_LIMITED"];
    reasons
        .into_iter()
        .find(|known| *known == reason)
        .unwrap_or_else(|| panic!("an unexpected reason {reason}"))
}

fn text(message: &pb::Message) -> String {
    let texts = message.content.iter().filter_map(|part| match &part.part {
        Some(pb::content_part::Part::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// Plays a case, and the question after it.
async fn play(world: &World, dialect: Dialect, case: &Case, with_tool: bool, message: String) {
    let what = format!("{dialect:?}, {}, tool: {with_tool}", case.name);
    let seen = ask(world, &message, "").await;
    assert_eq!(seen.end, case.end, "{what}");
    assert_eq!(seen.deltas, case.said, "{what}");
    let is_whole = matches!(case.end, End::Completed);
    if let Some(message) = seen.completed.filter(|message| !text(message).is_empty()) {
        assert_eq!(text(&message), case.said, "{what}");
        let status = match is_whole || matches!(case.end, End::Incomplete(_)) {
            true => message.status() != pb::MessageStatus::Unspecified,
            false => message.status() == pb::MessageStatus::Incomplete,
        };
        assert!(status, "{what}: {:?}", message.status());
    } else {
        assert_eq!(case.said, "", "{what}");
    }
    let calls = i32::from(with_tool);
    assert_eq!(
        (seen.usage.tool_calls, seen.usage.turns),
        (calls, calls + 1),
        "{what}"
    );
    if is_whole {
        assert!(seen.usage.output_tokens > 0, "{what}");
    }
    let next = ask(world, "and now?", &seen.thread).await;
    assert_eq!(
        (next.end, next.deltas.as_str()),
        (End::Completed, "Mock reply to: and now?"),
        "{what}"
    );
}

async fn matrix(dialect: Dialect) {
    let (mut turns, mut played) = (Vec::new(), Vec::new());
    for (index, case) in cases(dialect).into_iter().enumerate() {
        for with_tool in [false, true] {
            // The bracket keeps one number from being found in another.
            let message = format!("case [{index}-{with_tool}]");
            if with_tool {
                let arguments = serde_json::json!({"text": "before"});
                turns.push(Turn::call("echo", &arguments).when_user(&message).times(1));
            }
            let uses = times(&case.turn);
            turns.push(case.turn.clone().when_user(&message).times(uses));
            played.push((case.clone(), with_tool, message));
        }
    }
    let world = World::with(Script::turns(turns), |config| {
        config.model.dialect = Some(dialect);
        config.model.timeouts.first_byte = SILENCE;
        config.model.timeouts.idle = SILENCE;
    })
    .await;
    join_all(played.into_iter().map(|(case, with_tool, message)| {
        let world = &world;
        async move { play(world, dialect, &case, with_tool, message).await }
    }))
    .await;
    world.stopped().await;
}

#[tokio::test]
async fn every_fault_of_responses_ends_as_it_should() {
    matrix(Dialect::Responses).await;
}

#[tokio::test]
async fn every_fault_of_chat_completions_ends_as_it_should() {
    matrix(Dialect::ChatCompletions).await;
}

#[tokio::test]
async fn every_fault_of_assistants_ends_as_it_should() {
    matrix(Dialect::Assistants).await;
}
