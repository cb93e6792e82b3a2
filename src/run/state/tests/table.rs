//! The whole table: where a run can be, everything that can happen to it there, and what comes of it.

mod rows;

use self::rows::{
    ASKED_BY_SERVER, BROKE, CALLING, CALLING_AND_ASKED, CALLING_LAST, CALLS_STOP, ENDED, LANDED_STOP,
    NOT_ASKED, NOT_ASKING, NOT_CALLING, Row, SILENT, SILENT_STOP, SPEAKING, SPEAKING_TO_A_SCHEMA, SPENT,
    SUMMED_STOP, SUMMING, SUMMING_STOP, WAITING, WANTING, WRONG_AGAIN_STOP, WRONG_STOP,
};
use super::*;

/// Names every variant: one that is added has no name until it has a line here, and no rows until it has them.
macro_rules! names {
    ($all:ident, $name:ident, $of:ty, { $($pattern:pat => $word:literal,)* }) => {
        const $all: &[&str] = &[$($word),*];

        fn $name(of: &$of) -> &'static str {
            match of {
                $($pattern => $word,)*
            }
        }
    };
}

names!(PHASES, phase_name, Phase, {
    Phase::Summing(_) => "summing",
    Phase::Asking(_) => "asking",
    Phase::Calling(_) => "calling",
    Phase::Over => "over",
});

names!(INPUTS, input_name, Input, {
    Input::Model(ModelEvent::TextDelta(_)) => "text",
    Input::Model(ModelEvent::RefusalDelta(_)) => "refusal",
    Input::Model(ModelEvent::ReasoningDelta(_)) => "reasoning",
    Input::Model(ModelEvent::Reasoning(_)) => "reasoned",
    Input::Model(ModelEvent::Annotation(_)) => "annotation",
    Input::Model(ModelEvent::Continuation(_)) => "continuation",
    Input::Model(ModelEvent::ToolCallStarted { .. }) => "call",
    Input::Model(ModelEvent::ToolCallArgumentsDelta { .. }) => "arguments",
    Input::Model(ModelEvent::Sent(_)) => "sent",
    Input::Model(ModelEvent::Attempt(_)) => "attempt",
    Input::Model(ModelEvent::Unknown(_)) => "unknown",
    Input::Model(ModelEvent::Usage(_)) => "usage",
    Input::Model(ModelEvent::Finished(Finish::Stop)) => "stop",
    Input::Model(ModelEvent::Finished(Finish::Length)) => "length",
    Input::Model(ModelEvent::Finished(Finish::ContentFilter)) => "filter",
    Input::ModelFailed(_) => "model failed",
    Input::CallProgress { .. } => "progress",
    Input::CallDone { .. } => "done",
    Input::CallAsks { .. } => "asks",
    Input::CallAsksNoMore { .. } => "asks no more",
    Input::CallLost { .. } => "lost",
    Input::CallSamples { .. } => "samples",
    Input::CallSampling { .. } => "sampling",
    Input::CallSampled { .. } => "sampled",
    Input::Cancel => "cancel",
    Input::Deadline => "deadline",
    Input::Expire => "expire",
    Input::Fail(_) => "fail",
    Input::SaveFailed { called_off: false, .. } => "save failed",
    Input::SaveFailed { .. } => "save failed, called off",
});

names!(ANSWERS, answer_name, Answer, {
    Answer::Approve(None) => "approve",
    Answer::Approve(Some(_)) => "edit",
    Answer::Reject(_) => "reject",
    Answer::Output(_) => "output",
    Answer::Reply(_) => "reply",
});

names!(STATES, state_name, State, {
    State::Queued => "queued",
    State::Running => "running",
    State::RequiresAction => "requires_action",
    State::Cancelling => "cancelling",
    State::Ended(Outcome::Completed) => "completed",
    State::Ended(Outcome::Incomplete(IncompleteReason::MaxTurns)) => "incomplete:max_turns",
    State::Ended(Outcome::Incomplete(IncompleteReason::MaxToolCalls)) => "incomplete:max_tool_calls",
    State::Ended(Outcome::Incomplete(IncompleteReason::MaxTokens)) => "incomplete:max_tokens",
    State::Ended(Outcome::Incomplete(IncompleteReason::Deadline)) => "incomplete:deadline",
    State::Ended(Outcome::Incomplete(IncompleteReason::ContentFilter)) => "incomplete:content_filter",
    State::Ended(Outcome::Incomplete(IncompleteReason::Budget)) => "incomplete:budget",
    State::Ended(Outcome::Failed(_)) => "failed",
    State::Ended(Outcome::Cancelled) => "cancelled",
    State::Ended(Outcome::Expired(_)) => "expired",
});

/// Where a run can be.
struct Place {
    name: &'static str,
    limits: fn() -> Limits,
    options: fn() -> ModelOptions,
    begin: fn(Limits, ModelOptions) -> Stage,
    reach: fn(&mut Stage),
    phase: &'static str,
    state: &'static str,
    rows: &'static [&'static [Row]],
}

fn one_turn() -> Limits {
    Limits {
        max_turns: 1,
        ..Limits::default()
    }
}

fn no_calls() -> Limits {
    Limits {
        max_tool_calls: 0,
        ..Limits::default()
    }
}

fn one_call() -> Limits {
    Limits {
        max_tool_calls: 1,
        ..Limits::default()
    }
}

fn thirty_tokens() -> Limits {
    Limits {
        max_total_tokens: Some(30),
        ..Limits::default()
    }
}

fn thirty_micros() -> Limits {
    Limits {
        max_cost: Some(30),
        ..Limits::default()
    }
}

fn ask_for(stage: &mut Stage, tools: &[&str]) {
    let asked = tools.iter().enumerate();
    stage.say(asked.flat_map(|(index, tool)| call(index, tool, r#"{"text":"x"}"#)));
}

#[rustfmt::skip]
fn places() -> Vec<Place> {
    let asking = |name, limits, reach, rows| Place { name, limits, options: ModelOptions::default, begin: Stage::with, reach, phase: "asking", state: "running", rows };
    let calling = |name, limits, reach, state, rows| Place { name, limits, options: ModelOptions::default, begin: Stage::with, reach, phase: "calling", state, rows };
    let over = |name, reach, state| Place {
        name, limits: Limits::default, options: ModelOptions::default, begin: Stage::with, reach, phase: "over", state, rows: ENDED,
    };
    let summing = |name, reach, rows| Place {
        name, limits: Limits::default, options: ModelOptions::default, begin: Stage::long, reach, phase: "summing", state: "running", rows,
    };
    vec![
        summing("summing up", |_| {}, &[SUMMING, SUMMING_STOP, NOT_CALLING, NOT_ASKED]),
        summing("having summed up", |stage: &mut Stage| stage.say([text("a")]), &[SUMMED_STOP, SUMMING, NOT_CALLING, NOT_ASKED]),
        asking("silent", Limits::default, |_| {}, &[SILENT, SILENT_STOP, NOT_CALLING, NOT_ASKED]),
        asking("speaking", Limits::default, |stage| stage.say([text("a")]), &[SPEAKING, NOT_CALLING, NOT_ASKED]),
        asking("wanting", Limits::default, |stage| ask_for(stage, &["echo"]), &[WANTING, NOT_CALLING, NOT_ASKED]),
        asking("spent", thirty_tokens, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([ModelEvent::Usage(usage(30)), text("abcdefg")]);
        }, &[SPENT, NOT_CALLING, NOT_ASKED]),
        asking("broke", thirty_micros, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([ModelEvent::Usage(usage(30)), text("abcdefg")]);
        }, &[BROKE, NOT_CALLING, NOT_ASKED]),
        asking("last turn", one_turn, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([STOP]);
            stage.answer("x");
        }, &[SILENT, LANDED_STOP, NOT_CALLING, NOT_ASKED]),
        asking("out of calls", no_calls, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([STOP]);
        }, &[SILENT, CALLS_STOP, NOT_CALLING, NOT_ASKED]),
        Place {
            options: || a_number(1),
            ..asking("wrong", Limits::default, |stage| stage.say([text("a")]), &[WRONG_STOP, SPEAKING_TO_A_SCHEMA, NOT_CALLING, NOT_ASKED])
        },
        Place {
            options: || a_number(0),
            ..asking("wrong again", Limits::default, |stage| stage.say([text("a")]), &[WRONG_AGAIN_STOP, SPEAKING_TO_A_SCHEMA, NOT_CALLING, NOT_ASKED])
        },
        calling("calling", Limits::default, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([STOP]);
        }, "running", &[CALLING, NOT_ASKING, NOT_ASKED]),
        calling("calling for the last time", one_turn, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([STOP]);
        }, "running", &[CALLING_LAST, CALLING, NOT_ASKING, NOT_ASKED]),
        calling("calling the only one", one_call, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([STOP]);
        }, "running", &[CALLING_LAST, CALLING, NOT_ASKING, NOT_ASKED]),
        calling("calling and asked", Limits::default, |stage| {
            ask_for(stage, &["echo", "risky"]);
            stage.say([STOP]);
        }, "running", &[CALLING_AND_ASKED, NOT_ASKING]),
        calling("waiting", Limits::default, |stage| {
            ask_for(stage, &["risky"]);
            stage.say([STOP]);
        }, "requires_action", &[WAITING, NOT_ASKING, NOT_CALLING]),
        calling("asked by a server", Limits::default, |stage| {
            ask_for(stage, &["echo"]);
            stage.say([STOP]);
            let call = stage.open[0].clone();
            stage.feed(Input::CallAsks { call, asking: Asking::Question(question()) });
        }, "requires_action", &[ASKED_BY_SERVER, NOT_ASKING]),
        over("completed", |stage| stage.say([STOP]), "completed"),
        over("incomplete", |stage| stage.feed(Input::Deadline), "incomplete:deadline"),
        over("failed", |stage| stage.feed(input("model failed", None)), "failed"),
        over("cancelled", |stage| stage.feed(Input::Cancel), "cancelled"),
        over("expired", |stage| stage.feed(Input::Expire), "expired"),
    ]
}

/// The input of this name; about this call, if it is about one.
fn input(name: &str, of: Option<CallId>) -> Input {
    let call = of.unwrap_or_else(|| CallId::new(&mut Mint::System));
    let error = |reason| Error::new(reason, "as told");
    let input = match name {
        "text" => Input::Model(text("b")),
        "refusal" => Input::Model(ModelEvent::RefusalDelta("no".into())),
        "reasoning" => Input::Model(ModelEvent::ReasoningDelta("hm".into())),
        "reasoned" => Input::Model(ModelEvent::Reasoning(Reasoning {
            encrypted: "0x".into(),
            upstream: "here".into(),
            ..Reasoning::default()
        })),
        "annotation" => Input::Model(ModelEvent::Annotation(annotation())),
        "continuation" => Input::Model(ModelEvent::Continuation(Continuation {
            upstream: "here".into(),
            state: json!("resp"),
        })),
        "call" => Input::Model(ModelEvent::ToolCallStarted {
            index: 7,
            tool: "look".into(),
        }),
        "arguments" => Input::Model(ModelEvent::ToolCallArgumentsDelta {
            index: 0,
            json: "{}".into(),
        }),
        "sent" => Input::Model(ModelEvent::Sent(attempt(AttemptResult::Abandoned))),
        "attempt" => Input::Model(ModelEvent::Attempt(attempt(AttemptResult::Answered))),
        "unknown" => Input::Model(ModelEvent::Unknown(1)),
        "usage" => Input::Model(ModelEvent::Usage(usage(5))),
        "stop" => Input::Model(STOP),
        "length" => Input::Model(ModelEvent::Finished(Finish::Length)),
        "filter" => Input::Model(ModelEvent::Finished(Finish::ContentFilter)),
        "model failed" => Input::ModelFailed(error(Reason::ModelUnavailable)),
        "progress" => Input::CallProgress {
            call,
            progress: Progress::default(),
        },
        "done" => Input::CallDone {
            call,
            output: says("x"),
            duration: Duration::ZERO,
        },
        "asks" => Input::CallAsks {
            call,
            asking: Asking::Question(question()),
        },
        "asks no more" => Input::CallAsksNoMore { call },
        "lost" => Input::CallLost { call },
        "samples" => Input::CallSamples {
            call,
            request: 0,
            wanted: Wanted::default(),
        },
        "sampling" => Input::CallSampling {
            call,
            request: 0,
            event: ModelEvent::Usage(usage(5)),
        },
        "sampled" => Input::CallSampled {
            call,
            request: 0,
            failure: None,
        },
        "cancel" => Input::Cancel,
        "deadline" => Input::Deadline,
        "expire" => Input::Expire,
        "fail" => Input::Fail(error(Reason::ShuttingDown)),
        "save failed" | "save failed, called off" => Input::SaveFailed {
            error: error(Reason::StoreUnavailable),
            undone: Vec::new(),
            called_off: name != "save failed",
        },
        other => panic!("no input is named {other}"),
    };
    assert_eq!(input_name(&input), name);
    input
}

fn answer(name: &str) -> Answer {
    let answer = match name {
        "approve" => Answer::Approve(None),
        "edit" => Answer::Approve(Some(Map::from_iter([("text".to_owned(), json!("y"))]))),
        "reject" => Answer::Reject(String::new()),
        "output" => Answer::Output(says("given")),
        "reply" => Answer::Reply(Reply::Decline),
        other => panic!("no answer is named {other}"),
    };
    assert_eq!(answer_name(&answer), name);
    answer
}

/// What an effect reads like.
fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Save(save) => {
            let words: Vec<String> = save.events.iter().map(|event| word(&event.body)).collect();
            format!("save({})", words.join(" "))
        }
        Effect::Emit(event) => word(&event.body),
        Effect::CallModel(ModelRequest { tools: Some(_), .. }) => "ask".to_owned(),
        Effect::CallModel(_) => "ask without tools".to_owned(),
        Effect::CallTool { tool, .. } => format!("call:{}", tool.name()),
        Effect::Reply { reply, .. } => format!("tell:{reply:?}").to_lowercase(),
        Effect::Sample { verdict: Ok(_), .. } => "let".to_owned(),
        Effect::Sample { .. } => "refuse".to_owned(),
        Effect::Abort => "abort".to_owned(),
    }
}

/// Lets one thing happen: what came of it, and the states that the run has told of.
fn happen(stage: &mut Stage, name: &str) -> (String, Vec<&'static str>) {
    let mut effects = Vec::new();
    if INPUTS.contains(&name) {
        let input = input(name, stage.open.front().cloned());
        stage.run.on(input, NOW, &mut effects);
    } else {
        let asked = stage
            .pending()
            .first()
            .map(|action| submission(action, answer(name)));
        let submitted = asked.unwrap_or_else(|| Submission {
            action: ActionId::new(&mut Mint::System),
            digest: String::new(),
            answer: answer(name),
        });
        if let Err(error) = stage.run.submit(vec![submitted], NOW, &mut effects) {
            assert!(effects.is_empty(), "a refusal changes nothing");
            return (error.reason().as_str().to_owned(), Vec::new());
        }
    }
    let saved = effects.iter().filter_map(|effect| match effect {
        Effect::Save(save) => Some(&save.events),
        _ => None,
    });
    let told = saved.flatten().filter_map(|event| match &event.body {
        Body::StateChanged { to, .. } => Some(state_name(to)),
        _ => None,
    });
    let told = told.collect();
    let words: Vec<String> = effects.iter().map(effect).collect();
    (words.join(" "), told)
}

#[test]
fn everything_that_can_happen_does_what_the_table_says() {
    for place in places() {
        // Of two rows, the first counts.
        let mut seen = BTreeSet::new();
        for &(name, effects, after) in place.rows.iter().copied().flatten() {
            if !seen.insert(name) {
                continue;
            }
            let mut stage = (place.begin)((place.limits)(), (place.options)());
            (place.reach)(&mut stage);
            let what = format!("{name} while {}", place.name);
            assert_eq!(phase_name(&stage.run.phase), place.phase, "{what}");
            assert_eq!(state_name(&stage.run.record().state), place.state, "{what}");
            assert_eq!(happen(&mut stage, name).0, effects, "{what}");
            let after = if after.is_empty() { place.state } else { after };
            let state = &stage.run.record().state;
            assert_eq!(state_name(state), after, "{what}");
            assert_eq!(stage.run.is_over(), state.outcome().is_some(), "{what}");
        }
    }
}

#[test]
fn the_table_has_a_row_for_everything() {
    let everything: BTreeSet<&str> = INPUTS.iter().chain(ANSWERS).copied().collect();
    let mut phases = BTreeSet::new();
    let mut states = BTreeSet::new();
    for place in places() {
        let rows = place.rows.iter().copied().flatten();
        let happenings: BTreeSet<&str> = rows.clone().map(|(name, ..)| *name).collect();
        assert_eq!(happenings, everything, "while {}", place.name);
        phases.insert(place.phase);
        states.insert(place.state);
        states.extend(rows.map(|(.., after)| *after).filter(|after| !after.is_empty()));
        // What is passed on the way.
        for name in &everything {
            let mut stage = (place.begin)((place.limits)(), (place.options)());
            (place.reach)(&mut stage);
            states.extend(happen(&mut stage, name).1);
        }
    }
    states.extend(QUEUE.iter().map(|_| state_name(&State::Queued)));
    assert_eq!(phases, PHASES.iter().copied().collect());
    assert_eq!(states, STATES.iter().copied().collect());
}

/// What can become of a run in the queue: none is that it starts.
type QueueRow = (fn() -> Option<Outcome>, &'static str, &'static str);

const QUEUE: &[QueueRow] = &[
    (|| None, "running +user", "running"),
    (|| Some(Outcome::Cancelled), "cancelling =cancelled", "cancelled"),
    (|| Some(Outcome::Expired(String::new())), "=expired", "expired"),
    (
        || Some(Outcome::Failed(Error::new(Reason::RunNotFound, "gone"))),
        "=failed",
        "failed",
    ),
];

#[test]
fn a_run_in_the_queue_starts_or_ends() {
    for (outcome, expected, after) in QUEUE {
        let stage = Stage::new(Limits::default());
        let message = Some(&stage.saved[0]);
        let mut record = stage.record.clone();
        record.state = State::Queued;
        record.last_sequence = 0;
        let opened = opening_events(&mut record, None, NOW);
        assert_eq!(words(&opened), "queued");
        let events = match outcome() {
            Some(outcome) => ending_events(&mut record, outcome, NOW),
            None => starting_events(&mut record, message, Duration::from_secs(1), NOW),
        };
        assert_eq!(words(&events), *expected);
        assert_eq!(state_name(&record.state), *after);
        let all: Vec<_> = opened.into_iter().chain(events).collect();
        rules::check_sequences(&all).unwrap();
        assert_eq!(record.last_sequence, all.len() as u64);
        assert_eq!(record.end_time.is_some(), record.state.outcome().is_some());
    }
}

fn words(events: &[Arc<Event>]) -> String {
    let words: Vec<String> = events.iter().map(|event| word(&event.body)).collect();
    words.join(" ")
}
