mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::UNIX_EPOCH;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::*;
use crate::run::action::{Action, Answer, Question, Reply, SamplingPrompt};
use crate::run::catalogue::{Annotations, ClientTool, Policy, Rule, Selection, Target, ToolDescription};
use crate::run::context;
use crate::run::id::{ActionId, MessageId, RunId, ThreadId};
use crate::run::message::{Annotation, CallOutput, Cited, Continuation, Part, Reasoning, ToolCall, Usage};
use crate::run::model::{Attempt, AttemptResult};
use crate::run::money::Prices;
use crate::run::options::{ModelOptions, OutputFormat, OutputSchema, ToolChoice};
use crate::run::record::{Limits, Snapshot};
use crate::run::rules;
use crate::run::step::{SampledRequest, Work};
use crate::run::truncation::Truncation;

const NOW: SystemTime = UNIX_EPOCH;

/// How many calls of a run go on at once.
const PARALLEL_CALLS: usize = 2;

/// Drives a run and keeps what a store and a watcher would have.
struct Stage {
    run: Run,
    effects: Vec<Effect>,
    /// What watchers have seen.
    events: Vec<Arc<Event>>,
    /// The run, its messages and its steps, as the store has them.
    record: RunRecord,
    saved: Vec<Arc<Message>>,
    steps: BTreeMap<u32, Arc<Step>>,
    requests: Vec<ModelRequest>,
    open: VecDeque<CallId>,
    /// Every call that was made, by its tool.
    made: Vec<(String, CallId)>,
    crashes: u32,
    /// Turns that were asked once more, with less.
    shortened: usize,
    /// What servers were told that had asked.
    replies: Vec<(CallId, Reply)>,
    /// What servers that want to ask a model are told.
    verdicts: Vec<(u64, Result<Allowance, Error>)>,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        Self::with(limits, ModelOptions::default())
    }

    fn with(limits: Limits, options: ModelOptions) -> Self {
        Self::behind(Vec::new(), Truncation::default(), limits, options)
    }

    /// A run behind a conversation that is too long, where that is summed up.
    fn long(limits: Limits, options: ModelOptions) -> Self {
        Self::behind(conversation(), summing(), limits, options)
    }

    /// A run that answers behind this.
    fn behind(
        earlier: Vec<Arc<Message>>,
        truncation: Truncation,
        limits: Limits,
        options: ModelOptions,
    ) -> Self {
        let mut mint = Mint::Sequential((earlier.len() as u128) << 32);
        let mut record = RunRecord {
            id: RunId::new(&mut mint),
            thread: ThreadId::new(&mut mint),
            snapshot: Snapshot {
                limits,
                prices: limits.max_cost.map(|_| prices()),
                options: Arc::new(options),
                truncation,
                ..Snapshot::default()
            },
            state: State::Running,
            usage: Usage::default(),
            last_sequence: 0,
            reserved_sequence: 0,
            fence: RunRecord::FIRST_FENCE,
            create_time: NOW,
            start_time: Some(NOW),
            expire_time: None,
            pending: Vec::new(),
            waited: Duration::ZERO,
            waits_since: None,
            end_time: None,
        };
        let message = Arc::new(Message {
            id: MessageId::new(&mut mint),
            role: Role::User,
            content: vec![Part::Text("hi".into())],
            run: Some(record.id.clone()),
            incomplete: false,
            create_time: NOW,
            metadata: BTreeMap::new(),
        });
        let events = opening_events(&mut record, Some(&message), NOW);
        let mut effects = Vec::new();
        let history: Vec<_> = earlier.into_iter().chain([message]).collect();
        let beginning = Beginning {
            unread: 0,
            unasked: 1,
            record: record.clone(),
            history: history.clone(),
            steps: Vec::new(),
            terms: terms_of(&record),
        };
        let run = Run::start(beginning, mint, NOW, &mut effects);
        let mut stage = Self {
            run,
            effects,
            events,
            record,
            saved: history,
            steps: BTreeMap::new(),
            requests: Vec::new(),
            open: VecDeque::new(),
            made: Vec::new(),
            crashes: 0,
            shortened: 0,
            replies: Vec::new(),
            verdicts: Vec::new(),
        };
        stage.perform(false);
        stage
    }

    /// The process dies, and another goes on from what the store has.
    fn crash(&mut self) {
        self.crash_onto(terms_of(&self.record));
    }

    /// The process dies, and what another goes on with has changed.
    fn crash_onto(&mut self, terms: Terms) {
        if self.run.is_over() {
            return;
        }
        self.crashes += 1;
        self.open.clear();
        let beginning = Beginning {
            unread: 0,
            unasked: 0,
            record: self.record.clone(),
            history: self.saved.clone(),
            steps: self.steps.values().cloned().collect(),
            terms,
        };
        let mint = Mint::Sequential(u128::from(self.crashes) << 64);
        self.run = Run::resume(beginning, mint, NOW, &mut self.effects);
        self.perform(false);
    }

    fn feed(&mut self, input: Input) {
        self.feed_to_store(input, false);
    }

    fn feed_to_store(&mut self, input: Input, save_fails: bool) {
        self.run.on(input, NOW, &mut self.effects);
        self.perform(save_fails);
    }

    fn perform(&mut self, save_fails: bool) {
        let mut effects = std::mem::take(&mut self.effects).into_iter();
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Save(ref save) if save_fails && save.record.state.outcome().is_none() => {
                    let undone = std::iter::once(effect).chain(effects).collect();
                    let error = Error::new(Reason::StoreUnavailable, "full");
                    return self.feed(Input::SaveFailed {
                        error,
                        undone,
                        called_off: false,
                    });
                }
                Effect::Save(save) => {
                    self.record = (*save.record).clone();
                    self.saved.extend(save.messages);
                    self.steps
                        .extend(save.steps.into_iter().map(|step| (step.place, step)));
                    self.events.extend(save.events);
                }
                Effect::Emit(event) => self.events.push(Arc::new(event)),
                Effect::CallModel(request) => self.requests.push(request),
                Effect::CallTool { call, tool, .. } => {
                    self.made.push((tool.name().to_owned(), call.clone()));
                    self.open.push_back(call);
                }
                Effect::Reply { call, reply } => self.replies.push((call, reply)),
                Effect::Sample { request, verdict } => self.verdicts.push((request, verdict)),
                Effect::Abort => self.open.clear(),
            }
        }
    }

    fn say(&mut self, events: impl IntoIterator<Item = ModelEvent>) {
        for event in events {
            self.feed(Input::Model(event));
        }
    }

    fn answer(&mut self, text: &str) {
        if let Some(call) = self.open.pop_front() {
            let output = ToolOutput {
                content: vec![crate::run::message::Content::Text(text.into())],
                ..Default::default()
            };
            self.feed(Input::CallDone {
                call,
                output,
                duration: Duration::ZERO,
            });
        }
    }

    /// The first call that is open breaks off.
    fn lose(&mut self) {
        if let Some(call) = self.open.pop_front() {
            self.feed(Input::CallLost { call });
        }
    }

    fn pending(&self) -> Vec<Arc<Action>> {
        self.run.record().pending.clone()
    }

    fn submit(&mut self, submissions: Vec<Submission>) -> Result<(), Error> {
        let submitted = self.run.submit(submissions, NOW, &mut self.effects);
        self.perform(false);
        submitted
    }

    /// The server of the first open call wants to ask a model.
    fn samples(&mut self, request: u64, wanted: Wanted) {
        let call = self.open[0].clone();
        self.feed(Input::CallSamples {
            call,
            request,
            wanted,
        });
    }

    /// A model says this to the server of the first open call.
    fn tell(&mut self, request: u64, event: ModelEvent) {
        let call = self.open[0].clone();
        self.feed(Input::CallSampling { call, request, event });
    }

    /// What the server of the first open call has asked is over.
    fn sampled(&mut self, request: u64, failure: Option<Error>) {
        let call = self.open[0].clone();
        self.feed(Input::CallSampled {
            call,
            request,
            failure,
        });
    }

    /// What servers have asked models, as the steps have it.
    fn sampled_requests(&self) -> Vec<SampledRequest> {
        let of = |step: &Arc<Step>| match &step.work {
            Work::ToolCall { sampled, .. } => sampled.clone(),
            _ => Vec::new(),
        };
        self.steps.values().flat_map(of).collect()
    }

    /// Answers the first thing that the run waits for.
    fn decide(&mut self, answer: Answer) -> Result<(), Error> {
        let action = self.pending()[0].clone();
        self.submit(vec![submission(&action, answer)])
    }

    fn response(&self) -> String {
        self.run
            .answer()
            .map(|message| message.text())
            .unwrap_or_default()
    }

    fn outcome(&self) -> Option<&Outcome> {
        self.run.record().state.outcome()
    }

    /// One word an event: what a watcher's log would read like.
    fn transcript(&self) -> String {
        self.events
            .iter()
            .map(|event| word(&event.body))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn word(body: &Body) -> String {
    match body {
        Body::StateChanged { to, .. } => to.name().to_owned(),
        Body::MessageCreated(message) => format!("+{:?}", message.role).to_lowercase(),
        Body::TextDelta { text, .. } => format!("'{text}'"),
        Body::RefusalDelta { .. } => "refuses".to_owned(),
        Body::ReasoningDelta { .. } => "thinks".to_owned(),
        Body::MessageCompleted(message) if message.incomplete => "partial".to_owned(),
        Body::MessageCompleted(_) => "message".to_owned(),
        Body::ToolCallStarted { tool, .. } => format!("calls:{tool}"),
        Body::ToolCallArgumentsDelta { json, .. } => json.clone(),
        Body::ToolCallProgress { .. } => "progress".to_owned(),
        Body::ToolCallCompleted { output, .. } => format!("[{}]", output.text()),
        Body::TurnRestarted { first_void } => format!("void>={first_void}"),
        Body::ActionRequired(action) => format!("ask:{}", action.call.tool),
        Body::ActionResolved { resolution, .. } => format!("{resolution:?}").to_lowercase(),
        Body::UsageUpdated(usage) => format!("{}tok", usage.total_tokens()),
        Body::Ended(record) => format!("={}", record.state.name()),
    }
}

/// The tokens that a run's first request is expected to have, behind nothing.
fn expected_input() -> u64 {
    context::bytes_of(&Stage::new(Limits::default()).requests[0]) / 8
}

#[test]
fn what_another_run_was_told_of_its_answers_is_not_given_again() {
    let mut mint = Mint::Sequential(1 << 96);
    let runs = [RunId::new(&mut mint), RunId::new(&mut mint)];
    let mut earlier = Vec::new();
    for (role, run, text) in [
        (Role::System, None, "a rule of the thread"),
        (Role::User, Some(&runs[0]), "in JSON, please"),
        (Role::Assistant, Some(&runs[0]), "{\"wrong\": 1}"),
        (Role::System, Some(&runs[0]), "this does not fit"),
        (Role::Assistant, Some(&runs[0]), "{}"),
        (Role::User, Some(&runs[1]), "once more"),
        (Role::Assistant, Some(&runs[1]), "no JSON"),
        (Role::System, Some(&runs[1]), "nor does this"),
        (
            Role::Assistant,
            Some(&runs[1]),
            "no JSON either, and the end of the run",
        ),
    ] {
        earlier.push(Arc::new(Message {
            id: MessageId::new(&mut mint),
            role,
            content: vec![Part::Text(text.into())],
            run: run.cloned(),
            incomplete: false,
            create_time: NOW,
            metadata: BTreeMap::new(),
        }));
    }
    let stage = Stage::behind(
        earlier,
        Truncation::default(),
        Limits::default(),
        ModelOptions::default(),
    );
    let given: Vec<String> = stage.requests[0]
        .messages
        .iter()
        .map(|message| message.text())
        .collect();
    let expected = [
        "a rule of the thread",
        "in JSON, please",
        "{}",
        "once more",
        "no JSON either, and the end of the run",
        "hi",
    ];
    assert_eq!(given, expected);
}

/// Ten questions with their answers, the last with a call.
fn conversation() -> Vec<Arc<Message>> {
    let mut mint = Mint::Sequential(1 << 96);
    let run = RunId::new(&mut mint);
    let mut messages = Vec::new();
    for turn in 0..10 {
        let mut say = |role, content| {
            messages.push(Arc::new(Message {
                id: MessageId::new(&mut mint),
                role,
                content,
                run: Some(run.clone()),
                incomplete: false,
                create_time: NOW,
                metadata: BTreeMap::new(),
            }));
        };
        say(
            Role::User,
            vec![Part::Text(format!("question {turn} {}", "x".repeat(100)))],
        );
        if turn == 9 {
            let call = CallId::new(&mut Mint::Sequential(1 << 97));
            let asked = ToolCall {
                id: call.clone(),
                tool: "echo".into(),
                arguments: "{}".into(),
            };
            say(Role::Assistant, vec![Part::ToolCall(asked)]);
            let output = CallOutput {
                call,
                tool: "echo".into(),
                output: says("x"),
                truncated: false,
            };
            say(Role::Tool, vec![Part::ToolOutput(output)]);
        }
        say(
            Role::Assistant,
            vec![Part::Text(format!("answer {turn} {}", "x".repeat(100)))],
        );
    }
    messages
}

fn summing() -> Truncation {
    Truncation {
        strategy: crate::run::truncation::Strategy::Summarize,
        last_turns: None,
        max_tokens: Some(400),
    }
}

/// Whether a model is asked to sum up.
fn is_of_summary(request: &ModelRequest) -> bool {
    request.instructions == crate::run::summary::INSTRUCTIONS
}

/// What a run that was started so may use.
fn terms_of(record: &RunRecord) -> Terms {
    let format = record.snapshot.options.output_format.as_ref();
    Terms {
        answer: format.and_then(AnswerCheck::of).map(Arc::new),
        ..terms()
    }
}

/// A number, asked for again so many times.
fn a_number(max_corrections: u32) -> ModelOptions {
    ModelOptions {
        output_format: Some(OutputFormat::JsonSchema(OutputSchema {
            name: "number".into(),
            description: String::new(),
            schema: json!({"type": "number"}),
            strict: None,
            max_corrections,
        })),
        ..ModelOptions::default()
    }
}

fn terms() -> Terms {
    Terms {
        provider_model: "big-1".into(),
        catalogue: catalogue(),
        answer: None,
        parallel_calls: PARALLEL_CALLS,
        tool_output_limit: 64,
        execution_limit: Duration::from_secs(600),
        waiting_limit: Duration::from_secs(86_400),
        bounds: Bounds {
            context_tokens: None,
            max_output_tokens: None,
            tokenizer: Arc::new(rules::Quarters),
        },
        summary_model: None,
    }
}

/// A million tokens cost a unit, read or written: a token is a micro-unit.
fn prices() -> Prices {
    Prices {
        currency: "USD".parse().unwrap(),
        input: 1_000_000,
        cached_input: 1_000_000,
        output: 1_000_000,
        reasoning: None,
    }
}

/// `echo` may do harm when it is called twice, `look` may not.
fn catalogue() -> Arc<Catalogue> {
    let look = Annotations {
        read_only: Some(true),
        ..Annotations::default()
    };
    let tools = [
        tool("echo", Annotations::default()),
        tool("look", look),
        tool("risky", Annotations::default()),
    ];
    let catalogue = Arc::new(Catalogue::new(1, tools.map(Arc::new)));
    let client_tools = vec![ClientTool {
        name: "mine".to_owned(),
        description: String::new(),
        input_schema: Arc::new(json!({"type": "object"})),
    }];
    catalogue.selected(&Selection {
        client_tools,
        ..Selection::default()
    })
}

fn tool(name: &str, annotations: Annotations) -> Tool {
    Tool::new(ToolDescription {
        name: name.into(),
        server: "builtin".into(),
        remote_name: name.into(),
        title: String::new(),
        description: String::new(),
        input_schema: Arc::new(json!({"type": "object", "required": ["text"]})),
        output_schema: None,
        annotations,
        timeout: None,
        policy: if name == "risky" {
            Policy::Ask
        } else {
            Policy::Allow
        },
    })
}

fn annotation() -> Annotation {
    Annotation {
        source: Cited::Url {
            url: "https://example.com".into(),
            title: String::new(),
        },
        start: Some(0),
        end: Some(1),
    }
}

fn text(text: &str) -> ModelEvent {
    ModelEvent::TextDelta(text.into())
}

fn attempt(result: AttemptResult) -> Attempt {
    Attempt {
        model: "big".into(),
        provider_model: "big-1".into(),
        endpoint: "http://one".into(),
        result,
        status: None,
        wait: Duration::ZERO,
        latency: Duration::ZERO,
        usage: None,
    }
}

fn call(index: usize, tool: &str, json: &str) -> [ModelEvent; 2] {
    [
        ModelEvent::ToolCallStarted {
            index,
            tool: tool.into(),
        },
        ModelEvent::ToolCallArgumentsDelta {
            index,
            json: json.into(),
        },
    ]
}

fn submission(action: &Action, answer: Answer) -> Submission {
    Submission {
        action: action.id.clone(),
        digest: action.digest.clone(),
        answer,
    }
}

fn says(text: &str) -> ToolOutput {
    ToolOutput {
        content: vec![crate::run::message::Content::Text(text.into())],
        ..ToolOutput::default()
    }
}

/// What a server asks a person.
fn question() -> Question {
    Question {
        server: "builtin".into(),
        message: "who are you?".into(),
        requested_schema: Some(Arc::new(json!({
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
        }))),
        url: String::new(),
    }
}

const STOP: ModelEvent = ModelEvent::Finished(Finish::Stop);

const OUT_OF_TOKENS: Outcome = Outcome::Incomplete(IncompleteReason::MaxTokens);

#[test]
fn a_run_answers() {
    let mut stage = Stage::new(Limits::default());
    stage.say([text("a"), text("b"), ModelEvent::Usage(usage(5)), STOP]);
    assert_eq!(
        stage.transcript(),
        "running +user +assistant 'a' 'b' message 5tok =completed"
    );
    assert_eq!(stage.response(), "ab");
    assert_eq!(stage.run.record().last_sequence, 8);
}

#[test]
fn a_step_keeps_the_requests_that_its_turn_took_and_names_the_model_that_answered() {
    let mut stage = Stage::new(Limits::default());
    let limited = attempt(AttemptResult::Failed("RATE_LIMITED".into()));
    let answered = Attempt {
        provider_model: "small-1".into(),
        ..attempt(AttemptResult::Answered)
    };
    for event in [limited.clone(), answered.clone()] {
        stage.say([ModelEvent::Attempt(event)]);
    }
    stage.say([ModelEvent::Unknown(2), text("a"), ModelEvent::Unknown(1), STOP]);
    let Work::ModelTurn {
        model,
        attempts,
        unknown_events,
        ..
    } = &stage.steps[&0].work
    else {
        panic!("the first step is a turn");
    };
    assert_eq!(model, "small-1");
    assert_eq!(attempts, &[limited, answered]);
    assert_eq!(*unknown_events, 3);
}

#[test]
fn a_step_whose_turn_nobody_answered_names_the_model_that_was_asked_as_its_provider_does() {
    let failed = attempt(AttemptResult::Failed("RATE_LIMITED".into()));
    let elsewhere = Attempt {
        provider_model: "small-1".into(),
        ..failed.clone()
    };
    // A fallback that was tried changes nothing, and neither does it that nothing was told at all.
    for attempts in [vec![failed, elsewhere], Vec::new()] {
        let mut stage = Stage::new(Limits::default());
        stage.say(attempts.into_iter().map(ModelEvent::Attempt));
        stage.feed(Input::ModelFailed(Error::new(Reason::RateLimited, "too much")));
        let Work::ModelTurn { model, .. } = &stage.steps[&0].work else {
            panic!("the first step is a turn");
        };
        assert_eq!(model, "big-1");
    }
}

/// It counts for the limits before the model is asked again.
#[test]
fn what_an_attempt_used_that_failed_ends_a_run_beyond_its_limit() {
    let failed = |tokens| Attempt {
        usage: Some(usage(tokens)),
        ..attempt(AttemptResult::Failed("MODEL_UNAVAILABLE".into()))
    };
    let mut stage = Stage::new(Limits {
        max_total_tokens: Some(1_000),
        ..Limits::default()
    });
    stage.say([ModelEvent::Attempt(failed(600))]);
    assert_eq!(stage.outcome(), None);
    stage.say([ModelEvent::Attempt(failed(500))]);
    assert_eq!(
        stage.outcome(),
        Some(&Outcome::Incomplete(IncompleteReason::MaxTokens))
    );
    assert_eq!(stage.run.record().usage.input_tokens, 1_100);
}

/// Two of them go on at once, and the first has failed.
#[test]
fn a_request_of_which_nothing_is_heard_is_given_up_with_its_run() {
    let sent = || ModelEvent::Sent(attempt(AttemptResult::Abandoned));
    let failed = attempt(AttemptResult::Failed("MODEL_UNAVAILABLE".into()));
    let not_sent = attempt(AttemptResult::NotSent("OVERLOADED".into()));
    let mut stage = Stage::new(Limits::default());
    stage.say([ModelEvent::Attempt(not_sent.clone()), sent(), sent()]);
    stage.say([ModelEvent::Attempt(failed.clone())]);
    stage.feed(Input::Cancel);
    let Work::ModelTurn { attempts, .. } = &stage.steps[&0].work else {
        panic!("the first step is a turn");
    };
    let mut attempts = attempts.clone();
    attempts[2].latency = Duration::ZERO;
    assert_eq!(attempts, [not_sent, failed, attempt(AttemptResult::Abandoned)]);
}

#[test]
fn a_turn_that_was_written_without_its_requests_can_be_read() {
    let written = json!({"model_turn": {"model": "m", "message": null, "usage": Usage::default()}});
    let Work::ModelTurn { attempts, .. } = serde_json::from_value(written).unwrap() else {
        panic!("it is a turn");
    };
    assert!(attempts.is_empty());
}

#[test]
fn a_run_calls_tools_and_goes_on() {
    let mut stage = Stage::new(Limits::default());
    stage.say(
        call(0, "echo", r#"{"text":"x"}"#)
            .into_iter()
            .chain(call(1, "echo", r#"{"text":"y"}"#)),
    );
    stage.say([STOP]);
    stage.open.rotate_left(1);
    stage.answer("second");
    stage.answer("first");
    stage.say([text("done"), STOP]);
    assert_eq!(
        stage.transcript(),
        r#"running +user +assistant calls:echo {"text":"x"} calls:echo {"text":"y"} message 23tok [second] [first] +tool +assistant 'done' message 69tok =completed"#
    );
    let outputs: Vec<String> = stage.saved[2].content.iter().map(output_text).collect();
    assert_eq!(outputs, ["first", "second"], "outputs stand in the model's order");
}

#[test]
fn the_model_reads_the_beginning_of_a_long_output_and_the_step_keeps_the_whole() {
    for crashes in [false, true] {
        let mut stage = Stage::new(Limits::default());
        let asked = ["look", "look"].into_iter().enumerate();
        stage.say(asked.flat_map(|(index, tool)| call(index, tool, r#"{"text":"x"}"#)));
        stage.say([STOP]);
        let whole = "long ".repeat(16);
        stage.answer(&whole);
        if crashes {
            stage.crash();
        }
        stage.answer("short");
        let told = &stage.requests.last().unwrap().messages[2];
        assert_eq!(*told, stage.saved[2]);
        let told = told.content.iter().map(|part| match part {
            Part::ToolOutput(told) => (told.output.text(), told.truncated),
            other => panic!("{other:?}"),
        });
        let cut = format!("{}\n[cut: 64 bytes of 80 bytes are shown]", &whole[..64]);
        assert_eq!(told.collect::<Vec<_>>(), [(cut, true), ("short".into(), false)]);
        let kept = stage.steps.values().filter_map(|step| match &step.work {
            Work::ToolCall { output, .. } => output.as_ref().map(|output| output.text()),
            Work::ModelTurn { .. } | Work::Summary { .. } => None,
        });
        assert_eq!(kept.collect::<Vec<_>>(), [whole, "short".into()]);
    }
}

#[test]
fn a_call_that_cannot_be_made_is_answered_to_the_model() {
    for (tool, arguments, expected) in [
        ("nope", "{}", "there is no tool named nope"),
        (
            "echo",
            "{}",
            "Input validation error: 'text' is a required property",
        ),
        ("echo", "[]", "arguments are not a JSON object"),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, tool, arguments));
        stage.say([STOP]);
        assert_eq!(output_text(&stage.saved[2].content[0]), expected);
        assert_eq!(stage.requests.len(), 2, "the model is asked again");
    }
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_again() {
    let mut stage = Stage::with(Limits::default(), a_number(2));
    stage.say([text("seven"), STOP]);
    stage.say([text("7, I think"), STOP]);
    stage.say([text("7"), STOP]);
    assert_eq!(
        stage.transcript(),
        "running +user +assistant 'seven' message 23tok +system +assistant '7, I think' message 68tok +system +assistant '7' message 134tok =completed"
    );
    assert_eq!(stage.response(), "7");
    assert_eq!(stage.run.record().usage.turns, 3);
    let asked = stage.requests.last().unwrap();
    let roles: Vec<Role> = asked.messages.iter().map(|message| message.role).collect();
    assert_eq!(
        roles,
        [
            Role::User,
            Role::Assistant,
            Role::System,
            Role::Assistant,
            Role::System
        ]
    );
    assert!(asked.messages[2].text().contains("it is not valid JSON"));
}

#[test]
fn an_answer_that_never_fits_fails_the_run() {
    // By the number of corrections, also across a crash, or by the turns.
    for (corrections, max_turns, crashes) in [(1, 9, false), (1, 9, true), (8, 2, false)] {
        let limits = Limits {
            max_turns,
            ..Limits::default()
        };
        let mut stage = Stage::with(limits, a_number(corrections));
        stage.say([text("one"), STOP]);
        if crashes {
            stage.crash();
        }
        stage.say([text(r#""two""#), STOP]);
        let Some(Outcome::Failed(error)) = stage.outcome() else {
            panic!("{:?}", stage.outcome());
        };
        assert_eq!(error.reason(), Reason::OutputSchemaViolated);
        assert_eq!(
            error.message(),
            "the model's answer does not fit what was asked for: value is not of type \"number\""
        );
        assert_eq!(stage.response(), r#""two""#, "the answer is kept");
    }
}

#[test]
fn what_is_no_whole_answer_is_not_checked() {
    let refusal = ModelEvent::RefusalDelta("no".into());
    let cut = ModelEvent::Finished(Finish::Length);
    let table = [
        (vec![refusal, STOP], "completed"),
        (vec![text("1, 2, "), cut], "incomplete"),
        (vec![text("1"), STOP], "completed"),
    ];
    for (events, expected) in table {
        let mut stage = Stage::with(Limits::default(), a_number(0));
        stage.say(events);
        assert_eq!(stage.run.record().state.name(), expected);
    }
}

#[test]
fn what_a_message_carries_is_about_all_of_it() {
    let continuation = || Continuation {
        upstream: "here".into(),
        state: json!("resp_1"),
    };
    let reasoning = |summary: &str| Reasoning {
        summary: summary.into(),
        encrypted: "0x".into(),
        id: "rs_1".into(),
        upstream: "here".into(),
    };
    let say = |stage: &mut Stage, last: ModelEvent| {
        stage.say([
            ModelEvent::ReasoningDelta("hm".into()),
            ModelEvent::Reasoning(reasoning("")),
            ModelEvent::Reasoning(reasoning("unheard")),
            text("a"),
            ModelEvent::Annotation(annotation()),
            text("b"),
            ModelEvent::Continuation(continuation()),
            last,
        ]);
    };
    let mut stage = Stage::new(Limits::default());
    say(&mut stage, STOP);
    let whole = stage.run.answer().unwrap();
    assert_eq!(
        whole.content,
        [
            Part::Reasoning(reasoning("hm")),
            Part::Reasoning(reasoning("unheard")),
            Part::Text("ab".into()),
            Part::Annotations(vec![annotation()]),
            Part::Continuation(continuation()),
        ]
    );
    assert_eq!(whole.continuation("here"), Some(&json!("resp_1")));
    assert_eq!(whole.continuation("there"), None);
    assert_eq!(
        stage.transcript(),
        "running +user +assistant thinks thinks 'a' 'b' message 20tok =completed"
    );
    // What the provider has is not what is kept of an answer that was cut off.
    let mut stage = Stage::new(Limits::default());
    say(&mut stage, ModelEvent::Finished(Finish::Length));
    assert_eq!(stage.run.answer().unwrap().continuation("here"), None);
}

/// What a request says of how many of its messages are new, turn by turn; nobody knows it of what a process has left.
#[test]
fn what_no_request_had_before_is_counted_and_nothing_where_that_is_not_known() {
    let asked = |stage: &Stage| stage.requests.last().unwrap().unasked;
    let mut stage = Stage::new(Limits::default());
    assert_eq!(asked(&stage), 1);
    assert_eq!(stage.requests[0].thread, Some(stage.record.thread.clone()));
    // It may have been asked.
    stage.crash();
    assert_eq!(asked(&stage), 0);
    stage.say(call(0, "look", r#"{"text":"x"}"#));
    stage.say([STOP]);
    // The call is made again; what comes of it has not been told.
    stage.crash();
    stage.answer("out");
    assert_eq!(asked(&stage), 1);
    stage.say(call(0, "echo", r#"{"text":"y"}"#));
    stage.say([STOP]);
    stage.answer("out");
    // What the model has said, and what came of it.
    assert_eq!(asked(&stage), 2);
}

#[test]
fn a_call_that_must_be_made_is_asked_for_once() {
    let options = ModelOptions {
        tool_choice: Some(ToolChoice::Required),
        seed: Some(7),
        ..ModelOptions::default()
    };
    let mut stage = Stage::with(Limits::default(), options);
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([STOP]);
    stage.answer("out");
    stage.say([text("done"), STOP]);
    let asked: Vec<_> = stage.requests.iter().map(|request| &request.options).collect();
    assert_eq!(asked[0].tool_choice, Some(ToolChoice::Required));
    assert_eq!(asked[1].tool_choice, Some(ToolChoice::Auto));
    assert_eq!(asked[1].seed, Some(7));
}

#[test]
fn the_last_turn_has_no_tools() {
    let mut stage = Stage::new(Limits {
        max_turns: 1,
        ..Limits::default()
    });
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([STOP]);
    stage.answer("x");
    assert!(stage.requests[0].tools.is_some());
    assert!(stage.requests[1].tools.is_none());
    stage.say([text("all I have"), STOP]);
    assert_eq!(
        stage.outcome(),
        Some(&Outcome::Incomplete(IncompleteReason::MaxTurns))
    );
    assert_eq!(stage.response(), "all I have");
}

#[test]
fn calls_beyond_the_limit_are_not_made() {
    let mut stage = Stage::new(Limits {
        max_tool_calls: 1,
        ..Limits::default()
    });
    stage.say(
        call(0, "echo", r#"{"text":"x"}"#)
            .into_iter()
            .chain(call(1, "echo", r#"{"text":"y"}"#)),
    );
    stage.say([STOP]);
    assert_eq!(stage.open.len(), 1);
    stage.answer("x");
    stage.say(call(0, "echo", "{}"));
    stage.say([STOP]);
    assert_eq!(
        stage.outcome(),
        Some(&Outcome::Incomplete(IncompleteReason::MaxToolCalls))
    );
}

#[test]
fn a_run_that_breaks_off_keeps_what_was_said() {
    let unavailable = || Error::new(Reason::ModelUnavailable, "gone");
    for (input, state) in [
        (Input::Cancel, "cancelled"),
        (Input::Deadline, "incomplete"),
        (Input::Expire, "expired"),
        (Input::ModelFailed(unavailable()), "failed"),
        (Input::Fail(unavailable()), "failed"),
        (Input::Model(ModelEvent::Finished(Finish::Length)), "incomplete"),
        (
            Input::Model(ModelEvent::Finished(Finish::ContentFilter)),
            "incomplete",
        ),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say([text("par")]);
        stage.say(call(0, "echo", "{\"te"));
        stage.feed(input);
        assert_eq!(stage.run.record().state.name(), state);
        let partial = &stage.saved[1];
        assert!(partial.incomplete);
        assert_eq!(
            partial.content,
            [Part::Text("par".into())],
            "a call that was never made is not kept"
        );
        assert_eq!(stage.response(), "par");
    }
}

#[test]
fn the_token_budget_ends_a_run_before_its_calls() {
    let mut stage = Stage::new(Limits {
        max_total_tokens: Some(30),
        ..Limits::default()
    });
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([ModelEvent::Usage(usage(31)), STOP]);
    assert_eq!(stage.outcome(), Some(&OUT_OF_TOKENS));
    assert!(stage.open.is_empty());
}

#[test]
fn an_end_behind_what_could_not_be_written_is_written_with_it() {
    let mut stage = Stage::new(Limits {
        max_total_tokens: Some(expected_input()),
        ..Limits::default()
    });
    // A call without arguments is answered here, and the turn that would read that cannot be paid for.
    stage.say(call(0, "echo", ""));
    stage.feed_to_store(Input::Model(STOP), true);
    assert!(stage.run.is_over());
    assert_eq!(stage.record.state, State::Ended(OUT_OF_TOKENS));
    assert!(matches!(stage.events.last().unwrap().body, Body::Ended(_)));
    assert_eq!(stage.saved.len(), 3, "with the call and its output");
    rules::check_sequences(&stage.events).unwrap();
    rules::check_events(&stage.events, &stage.saved).unwrap();
}

#[test]
fn a_token_limit_ends_a_run_while_the_model_writes() {
    let output = |tokens| Usage {
        output_tokens: tokens,
        ..Usage::default()
    };
    let eight = "eight by";
    // What is read counts too.
    let total = Limits {
        max_total_tokens: Some(expected_input() + 10),
        ..Limits::default()
    };
    let written = Limits {
        max_output_tokens: Some(10),
        ..Limits::default()
    };
    for (limits, events) in [
        // What is written counts before the provider has counted it.
        (total, vec![text(&eight.repeat(10)), text("and more")]),
        (written, vec![text(&eight.repeat(10)), text("and more")]),
        (written, vec![ModelEvent::ReasoningDelta(eight.repeat(12))]),
        (
            written,
            call(0, "echo", &format!("{{\"text\":\"{}\"}}", eight.repeat(12))).into(),
        ),
        // The provider's own count stands in its place, however large the estimate was.
        (
            written,
            vec![
                text(&eight.repeat(10)),
                ModelEvent::Usage(output(2)),
                text(&eight.repeat(8)),
                text("and more"),
            ],
        ),
        (
            total,
            vec![text("a"), ModelEvent::Usage(usage(expected_input() + 11))],
        ),
        (written, vec![text("a"), ModelEvent::Usage(output(11))]),
    ] {
        let mut stage = Stage::new(limits);
        let (last, earlier) = events.split_last().unwrap();
        stage.say(earlier.to_vec());
        assert_eq!(stage.outcome(), None, "before {last:?}");
        stage.say([last.clone()]);
        assert_eq!(stage.outcome(), Some(&OUT_OF_TOKENS), "after {last:?}");
        assert!(stage.saved[1..].iter().all(|message| message.incomplete));
        rules::check_events(&stage.events, &stage.saved).unwrap();
    }
}

#[test]
fn what_cannot_be_paid_for_is_not_sent() {
    let read = expected_input();
    let tokens = |limit| Limits {
        max_total_tokens: Some(limit),
        ..Limits::default()
    };
    // A token is a micro-unit.
    let money = |limit| Limits {
        max_cost: Some(limit),
        ..Limits::default()
    };
    let out_of_money = Outcome::Incomplete(IncompleteReason::Budget);
    for (limits, outcome) in [
        (tokens(read), None),
        (tokens(read - 1), Some(&OUT_OF_TOKENS)),
        (money(read), None),
        (money(read - 1), Some(&out_of_money)),
    ] {
        let stage = Stage::new(limits);
        assert_eq!(stage.outcome(), outcome, "{limits:?}");
        assert_eq!(stage.requests.len(), usize::from(outcome.is_none()), "{limits:?}");
        let turns = stage.run.record().usage.turns;
        assert_eq!(turns, u32::from(outcome.is_none()), "what is not sent is no turn");
    }
    // A call brings more than what is left pays for: it is kept, and the model is not told.
    let mut stage = Stage::new(money(read + 100));
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([ModelEvent::Usage(usage(90)), STOP]);
    stage.answer(&"x".repeat(8 * 100));
    assert_eq!(stage.outcome(), Some(&out_of_money));
    assert_eq!(stage.requests.len(), 1);
    assert_eq!(stage.saved.last().unwrap().role, Role::Tool);
}

#[test]
fn all_that_a_model_reads_is_expected_to_be_paid_for() {
    let base = expected_input();
    let mut stage = Stage::new(Limits::default());
    let read = |request: &ModelRequest| context::bytes_of(request);
    let request = stage.requests.pop().unwrap();
    let plain = read(&request);
    assert_eq!(plain / 8, base);
    for (request, more) in [
        (
            ModelRequest {
                instructions: "be brief".into(),
                ..request.clone()
            },
            8,
        ),
        (
            ModelRequest {
                options: Arc::new(a_number(1)),
                ..request.clone()
            },
            r#"number{"type":"number"}"#.len(),
        ),
    ] {
        assert_eq!(read(&request), plain + more as u64);
    }
    let without_tools = ModelRequest {
        tools: None,
        ..request.clone()
    };
    let tools = request.tools.unwrap().size_bytes();
    assert!(tools > 0);
    assert_eq!(read(&without_tools), plain - tools);
}

#[test]
fn a_conversation_that_its_provider_finds_too_long_is_asked_with_half_of_it_once() {
    let too_long = || Error::new(Reason::ContextLengthExceeded, "too long").with("provider_status", "400");
    let failed = || Attempt {
        status: Some(400),
        ..attempt(AttemptResult::Failed("CONTEXT_LENGTH_EXCEEDED".into()))
    };
    let behind = |strategy| {
        let truncation = Truncation {
            strategy,
            ..Truncation::default()
        };
        Stage::behind(
            conversation(),
            truncation,
            Limits::default(),
            ModelOptions::default(),
        )
    };
    use crate::run::truncation::Strategy::{Auto, Disabled, Summarize};
    for strategy in [Auto, Summarize] {
        let mut stage = behind(strategy);
        stage.say([ModelEvent::Attempt(failed())]);
        stage.feed(Input::ModelFailed(too_long()));
        let [whole, half] = &stage.requests[..] else {
            panic!("{:?}", stage.outcome());
        };
        assert!(half.messages.len() < whole.messages.len());
        let ratio = context::bytes_of(half) * 100 / context::bytes_of(whole);
        assert!((35..=60).contains(&ratio), "{ratio}%");
        assert!(whole.messages.ends_with(&half.messages));
        assert_eq!(half.messages[0].role, Role::User, "a turn is left out as a whole");
        let given = half.messages.len();
        stage.say([
            ModelEvent::Attempt(attempt(AttemptResult::Answered)),
            text("b"),
            STOP,
        ]);
        assert_eq!(stage.outcome(), Some(&Outcome::Completed));
        assert_eq!(stage.record.usage.turns, 1, "it is one turn");
        let Work::ModelTurn {
            context, attempts, ..
        } = &stage.steps[&0].work
        else {
            panic!("{:?}", stage.steps[&0]);
        };
        assert_eq!(context.messages as usize, given);
        assert_eq!(context.omitted as usize, conversation().len() + 1 - given);
        assert_eq!(attempts.len(), 2, "both are told");
        assert_eq!(attempts[0], failed());
    }

    // Not twice, not once something was said, and not where nothing may be left out.
    let mut again = behind(Auto);
    again.feed(Input::ModelFailed(too_long()));
    again.feed(Input::ModelFailed(too_long()));
    let mut spoken = behind(Auto);
    spoken.say([ModelEvent::Attempt(attempt(AttemptResult::Answered)), text("b")]);
    spoken.feed(Input::ModelFailed(too_long()));
    let mut whole = behind(Disabled);
    whole.feed(Input::ModelFailed(too_long()));
    let truncation = Truncation {
        strategy: Auto,
        ..Truncation::default()
    };
    let mut alone = Stage::behind(Vec::new(), truncation, Limits::default(), ModelOptions::default());
    alone.feed(Input::ModelFailed(too_long()));
    for (stage, requests) in [(again, 2), (spoken, 1), (whole, 1), (alone, 1)] {
        let Some(Outcome::Failed(error)) = stage.outcome() else {
            panic!("{:?}", stage.outcome());
        };
        assert_eq!(error.reason(), Reason::ContextLengthExceeded);
        assert_eq!(stage.requests.len(), requests);
    }
}

#[test]
fn what_was_left_out_for_a_provider_stays_out_and_a_later_turn_may_be_shortened_again() {
    let too_long = || Input::ModelFailed(Error::new(Reason::ContextLengthExceeded, "too long"));
    let truncation = Truncation {
        strategy: crate::run::truncation::Strategy::Auto,
        ..Truncation::default()
    };
    let mut stage = Stage::behind(
        conversation(),
        truncation,
        Limits::default(),
        ModelOptions::default(),
    );
    stage.feed(too_long());
    stage.say(call(0, "look", r#"{"text":"x"}"#));
    stage.say([STOP]);
    stage.answer("seen");
    stage.feed(too_long());
    stage.say([text("b"), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
    let given: Vec<usize> = stage
        .requests
        .iter()
        .map(|request| request.messages.len())
        .collect();
    let [whole, half, on, quarter] = given[..] else {
        panic!("{given:?}");
    };
    assert!(half < whole && quarter < on, "{given:?}");
    assert_eq!(on, half + 2, "with the call and its output");
}

#[test]
fn an_answer_within_its_tokens_is_whole() {
    let limits = Limits {
        max_output_tokens: Some(10),
        ..Limits::default()
    };
    let mut stage = Stage::new(limits);
    let exactly = Usage {
        output_tokens: 10,
        ..Usage::default()
    };
    stage.say([text(&"word".repeat(20)), ModelEvent::Usage(exactly), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
}

#[test]
fn what_a_run_may_write_is_one_limit_for_all_its_turns() {
    let written = |tokens| {
        ModelEvent::Usage(Usage {
            output_tokens: tokens,
            ..Usage::default()
        })
    };
    let mut stage = Stage::new(Limits {
        max_output_tokens: Some(50),
        ..Limits::default()
    });
    for tokens in [20, 10, 20] {
        stage.say(call(0, "look", r#"{"text":"x"}"#));
        stage.say([written(tokens), STOP]);
        stage.answer("seen");
        stage.crash();
    }
    let asked: Vec<_> = stage
        .requests
        .iter()
        .map(|request| request.max_output_tokens)
        .collect();
    assert_eq!(
        asked,
        [50, 30, 30, 20, 20].map(Some),
        "after each crash, once more"
    );
    assert_eq!(
        stage.outcome(),
        Some(&OUT_OF_TOKENS),
        "nothing is left to ask for"
    );
}

#[test]
fn a_crash_voids_the_unfinished_turn_and_nothing_else() {
    let mut stage = Stage::new(Limits::default());
    stage.say([text("half")]);
    stage.crash();
    stage.say([text("whole"), STOP]);
    assert_eq!(
        stage.transcript(),
        "running +user +assistant 'half' void>=3 +assistant 'whole' message 20tok =completed"
    );
    let restarted = &stage.events[4];
    assert_eq!(
        restarted.sequence,
        2 + RESERVE + 1,
        "beyond all that anybody can have seen"
    );
    assert_eq!(stage.response(), "whole");
    assert_eq!(
        stage.record.usage.turns, 1,
        "the turn that is void does not count"
    );
}

#[test]
fn a_crash_during_calls_repeats_only_what_does_no_harm() {
    let mut stage = Stage::new(Limits::default());
    let asked = ["echo", "look", "echo", "echo"].into_iter().enumerate();
    stage.say(asked.flat_map(|(index, tool)| call(index, tool, r#"{"text":"x"}"#)));
    stage.say([STOP]);
    // Two at once: the first echo is answered, look and the second echo are at work, the third waits.
    stage.answer("first");
    assert_eq!(stage.made.len(), 3);
    stage.crash();
    let made: Vec<&str> = stage.made.iter().map(|(tool, _)| tool.as_str()).collect();
    assert_eq!(made, ["echo", "look", "echo", "look", "echo"]);
    let unknown = stage.pending();
    assert!(matches!(
        unknown[0].request,
        crate::run::action::Request::UnknownOutcome { .. }
    ));
    stage.decide(Answer::Reject("leave it".into())).unwrap();
    stage.answer("seen");
    stage.answer("third");
    let outputs: Vec<String> = stage.saved[2].content.iter().map(output_text).collect();
    assert_eq!(outputs[0], "first");
    assert_eq!(outputs[1], "seen");
    assert_eq!(outputs[2], "not called: the call was rejected: leave it");
    assert_eq!(outputs[3], "third");
    stage.say([text("done"), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
}

#[test]
fn the_last_turn_has_no_tools_after_a_crash_either() {
    // More than may be called, or just as many.
    for (crashes_while_calling, max_tool_calls) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
        let mut stage = Stage::new(Limits {
            max_tool_calls,
            ..Limits::default()
        });
        let asked = ["look", "look"].into_iter().enumerate();
        stage.say(asked.flat_map(|(index, tool)| call(index, tool, r#"{"text":"x"}"#)));
        stage.say([STOP]);
        if crashes_while_calling {
            stage.crash();
        }
        for _ in 0..max_tool_calls {
            stage.answer("seen");
        }
        stage.crash();
        assert!(stage.requests.last().unwrap().tools.is_none());
        stage.say([text("all I have"), STOP]);
        assert_eq!(
            stage.outcome(),
            Some(&Outcome::Incomplete(IncompleteReason::MaxToolCalls))
        );
    }
}

#[test]
fn what_a_run_has_used_counts_from_its_beginning() {
    let mut stage = Stage::new(Limits {
        max_turns: 2,
        max_total_tokens: Some(100),
        ..Limits::default()
    });
    for _ in 0..2 {
        stage.say(call(0, "look", r#"{"text":"x"}"#));
        stage.say([ModelEvent::Usage(usage(30)), STOP]);
        stage.crash();
        stage.answer("seen");
        stage.crash();
    }
    let used = stage.record.usage;
    assert_eq!((used.turns, used.tool_calls, used.input_tokens), (2, 2, 60));
    assert!(
        stage.requests.last().unwrap().tools.is_none(),
        "the turns are used up"
    );
    stage.say([text("done"), ModelEvent::Usage(usage(50))]);
    assert_eq!(stage.outcome(), Some(&OUT_OF_TOKENS));
    assert_eq!(stage.record.usage.total_tokens(), 110);
}

#[test]
fn a_call_cut_off_whose_tool_is_gone_is_for_a_person_to_decide() {
    let nothing_left = || Terms {
        catalogue: Arc::new(Catalogue::new(2, [])),
        ..terms()
    };
    let given = Answer::Output(says("I looked"));
    let rejected = Answer::Reject("leave it".into());
    for (tool, answer, expected) in [
        ("echo", given.clone(), "I looked"),
        ("look", given, "I looked"),
        ("echo", rejected, "not called: the call was rejected: leave it"),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, tool, r#"{"text":"x"}"#));
        stage.say([STOP]);
        stage.crash_onto(nothing_left());
        let [unknown] = <[_; 1]>::try_from(stage.pending()).expect("somebody is asked");
        let crate::run::action::Request::UnknownOutcome { server, .. } = &unknown.request else {
            panic!("{:?}", unknown.request)
        };
        assert_eq!(server, "builtin");
        let refused = stage.decide(Answer::Approve(None)).unwrap_err();
        assert_eq!(refused.reason(), Reason::ValidationFailed);
        assert_eq!(stage.pending(), [unknown], "it is asked still");
        stage.decide(answer).unwrap();
        assert_eq!(output_text(&stage.saved[2].content[0]), expected);
    }
}

#[test]
fn an_approval_of_a_call_whose_tool_is_denied_by_now_says_so() {
    let denying = Selection {
        rules: vec![Rule {
            target: Target::Tool("risky".into()),
            policy: Policy::Deny,
        }],
        ..Selection::default()
    };
    let gone = Arc::new(Catalogue::new(2, []));
    for (catalogue, expected) in [
        (
            catalogue().selected(&denying),
            "the tool risky is denied by its policy now",
        ),
        (gone, "there is no tool named risky now"),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, "risky", r#"{"text":"x"}"#));
        stage.say([STOP]);
        stage.crash_onto(Terms { catalogue, ..terms() });
        let refused = stage.decide(Answer::Approve(None)).unwrap_err();
        let [violation] = refused.violations() else {
            panic!("{refused:?}");
        };
        assert_eq!(
            (violation.field.as_str(), violation.description.as_str()),
            ("answers[0].approve", expected)
        );
    }
}

#[test]
fn a_run_waits_for_people_and_for_its_client() {
    let mut stage = Stage::new(Limits::default());
    let asked = ["risky", "echo", "mine"].into_iter().enumerate();
    stage.say(asked.flat_map(|(index, tool)| call(index, tool, r#"{"text":"x"}"#)));
    stage.say([STOP]);
    assert_eq!(stage.run.record().state, State::Running, "the echo is at work");
    stage.answer("echoed");
    assert_eq!(stage.run.record().state, State::RequiresAction);
    let [risky, mine] = <[_; 2]>::try_from(stage.pending()).unwrap();
    assert_eq!(
        (risky.call.tool.as_str(), mine.call.tool.as_str()),
        ("risky", "mine")
    );
    assert_ne!(risky.digest, mine.digest);

    let wrong = Submission {
        digest: "0".repeat(64),
        ..submission(&risky, Answer::Approve(None))
    };
    let unfit = submission(&mine, Answer::Approve(None));
    let bad_edit = Answer::Approve(Some(Map::new()));
    let unknown = Submission {
        action: ActionId::new(&mut Mint::System),
        ..submission(&risky, Answer::Approve(None))
    };
    for (submission, reason) in [
        (wrong, Reason::ActionNotPending),
        (unknown, Reason::ActionNotPending),
        (unfit.clone(), Reason::ValidationFailed),
        (submission(&risky, bad_edit), Reason::ValidationFailed),
    ] {
        assert_eq!(stage.submit(vec![submission]).unwrap_err().reason(), reason);
    }
    // All of them or none.
    let both = vec![submission(&risky, Answer::Approve(None)), unfit];
    assert!(stage.submit(both).is_err());
    assert_eq!(stage.pending().len(), 2);

    let edited = Answer::Approve(Some(Map::from_iter([("text".to_owned(), json!("y"))])));
    let approval = submission(&risky, edited);
    stage.submit(vec![approval.clone()]).unwrap();
    stage.submit(vec![approval.clone()]).unwrap();
    let unseen = Submission {
        digest: "0".repeat(64),
        ..approval
    };
    assert_eq!(
        stage.submit(vec![unseen]).unwrap_err().reason(),
        Reason::ActionNotPending,
        "the same answer to something else"
    );
    let other = submission(&risky, Answer::Reject(String::new()));
    assert_eq!(
        stage.submit(vec![other]).unwrap_err().reason(),
        Reason::ActionNotPending
    );
    assert_eq!(stage.made.last().unwrap().0, "risky");
    assert_eq!(
        stage.run.record().state,
        State::RequiresAction,
        "mine is still missing"
    );
    stage.decide(Answer::Output(says("my own"))).unwrap();
    assert_eq!(stage.run.record().state, State::Running);
    stage.answer("risked");
    stage.say([text("done"), STOP]);
    assert_eq!(
        stage.transcript(),
        "running +user +assistant calls:risky {\"text\":\"x\"} calls:echo {\"text\":\"x\"} calls:mine {\"text\":\"x\"} message 24tok ask:risky ask:mine [echoed] requires_action edited answered [my own] running [risked] +tool +assistant 'done' message 82tok =completed"
    );
}

#[test]
fn a_wait_survives_a_crash_and_ends_with_its_run() {
    for (input, resolution, state) in [
        (Input::Expire, "expired", "=expired"),
        (Input::Cancel, "cancelled", "=cancelled"),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, "risky", r#"{"text":"x"}"#));
        stage.say([STOP]);
        let before = stage.pending();
        stage.crash();
        assert_eq!(stage.pending(), before, "the same is asked, under the same name");
        assert_eq!(stage.run.record().state, State::RequiresAction);
        assert_eq!(stage.run.alarm(), Some((before[0].expire_time, Alarm::Expiry)));
        stage.feed(input);
        let transcript = stage.transcript();
        assert!(transcript.contains(&format!(" {resolution} [")), "{transcript}");
        assert!(transcript.ends_with(state), "{transcript}");
        assert!(stage.pending().is_empty());
        if let Some(Outcome::Expired(text)) = stage.outcome() {
            let asked = format!("{} (risky)", before[0].id);
            assert_eq!(*text, format!("the run waited too long for an answer to {asked}"));
        }
    }
}

#[test]
fn a_question_of_a_server_is_asked_while_its_call_goes_on() {
    let name = |name: Value| Answer::Reply(Reply::Accept(Map::from_iter([("name".to_owned(), name)])));
    let mut stage = Stage::new(Limits::default());
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([STOP]);
    let asking = stage.open[0].clone();
    stage.feed(Input::CallAsks {
        call: asking.clone(),
        asking: Asking::Question(question()),
    });
    assert_eq!(stage.run.record().state, State::RequiresAction);
    for (unfit, field) in [
        (Answer::Approve(None), "answers[0]"),
        (Answer::Reject(String::new()), "answers[0]"),
        (name(json!(7)), "answers[0].elicitation.content"),
        (
            Answer::Reply(Reply::Accept(Map::new())),
            "answers[0].elicitation.content",
        ),
    ] {
        let error = stage.decide(unfit).unwrap_err();
        assert_eq!(error.violations()[0].field, field);
    }
    let action = stage.pending()[0].clone();
    stage.decide(name(json!("Ada"))).unwrap();
    assert_eq!(stage.run.record().state, State::Running);
    stage
        .submit(vec![submission(&action, name(json!("Ada")))])
        .unwrap();
    let other = stage.submit(vec![submission(&action, Answer::Reply(Reply::Decline))]);
    assert_eq!(other.unwrap_err().reason(), Reason::ActionNotPending);
    let Answer::Reply(reply) = name(json!("Ada")) else {
        unreachable!()
    };
    assert_eq!(stage.replies, [(asking, reply)]);
    stage.answer("hello Ada");
    stage.say([STOP]);
    assert_eq!(
        stage.transcript(),
        r#"running +user +assistant calls:echo {"text":"x"} message 21tok ask:echo requires_action answered running [hello Ada] +tool =completed"#
    );
}

fn prompt() -> SamplingPrompt {
    SamplingPrompt {
        server: "fake".into(),
        model: String::new(),
        system_prompt: "Be kind.".into(),
        prompt: "user: hello".into(),
        max_tokens: 10,
    }
}

#[test]
fn a_person_decides_whether_a_server_may_ask_the_model() {
    let reply = Answer::Reply(Reply::Accept(Map::new()));
    for (answer, expected) in [
        (Answer::Approve(None), Ok(Reply::Accept(Map::new()))),
        (Answer::Reject("no".into()), Ok(Reply::Decline)),
        (Answer::Approve(Some(Map::new())), Err(())),
        (Answer::Output(says("x")), Err(())),
        (reply, Err(())),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, "echo", r#"{"text":"x"}"#));
        stage.say([STOP]);
        let call = stage.open[0].clone();
        let asking = Asking::Sampling(Arc::new(prompt()));
        stage.feed(Input::CallAsks { call, asking });
        assert_eq!(stage.run.record().state, State::RequiresAction);
        let mut effects = Vec::new();
        let submission = submission(&stage.pending()[0], answer);
        let submitted = stage.run.submit(vec![submission], NOW, &mut effects);
        match expected {
            Ok(expected) => {
                submitted.unwrap();
                let told = effects.iter().find_map(|effect| match effect {
                    Effect::Reply { reply, .. } => Some(reply.clone()),
                    _ => None,
                });
                assert_eq!(told, Some(expected));
                assert_eq!(stage.run.record().state, State::Running);
            }
            Err(()) => assert_eq!(submitted.unwrap_err().reason(), Reason::ValidationFailed),
        }
    }
}

#[test]
fn what_a_server_uses_of_the_model_counts_for_the_run() {
    let mut stage = Stage::new(Limits {
        max_total_tokens: Some(30),
        ..Limits::default()
    });
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([STOP]);
    let before = stage.run.record().usage;
    stage.samples(0, Wanted::default());
    stage.tell(0, ModelEvent::Usage(usage(31)));
    stage.sampled(0, None);
    let used = stage.run.record().usage;
    assert_eq!(used.total_tokens(), before.total_tokens() + 31);
    assert_eq!(used.turns, before.turns, "it is no turn of the run's own");
    let asked = stage.requests.len();
    stage.answer("x");
    let outcome = Outcome::Incomplete(IncompleteReason::MaxTokens);
    assert_eq!(stage.run.record().state, State::Ended(outcome));
    assert_eq!(stage.requests.len(), asked, "there is nothing left to ask for");
    let last = stage.saved.last().unwrap();
    assert_eq!(last.role, Role::Tool, "what the call brought is kept");
}

#[test]
fn what_a_server_asks_a_model_is_not_sent_when_it_cannot_be_paid_for_and_stopped_when_it_is_too_much() {
    let mut stage = Stage::new(Limits {
        max_total_tokens: Some(30),
        max_output_tokens: Some(20),
        ..Limits::default()
    });
    stage.say(call(0, "echo", r#"{"text":"x"}"#));
    stage.say([STOP]);
    let used = stage.run.record().usage;
    let much = Wanted {
        bytes: 8 * 31,
        ..Wanted::default()
    };
    stage.samples(0, much);
    stage.samples(1, Wanted::default());
    let verdicts = std::mem::take(&mut stage.verdicts);
    let [(0, Err(refused)), (1, Ok(allowance))] = verdicts.as_slice() else {
        panic!("{verdicts:?}")
    };
    assert_eq!(refused.reason(), Reason::RunLimitReached);
    assert_eq!(allowance.output_tokens, Some(20 - used.output_tokens));
    // Nobody has counted, so bytes are.
    stage.tell(1, text(&"x".repeat(8 * 21)));
    assert!(
        matches!(stage.verdicts.as_slice(), [(1, Err(_))]),
        "{:?}",
        stage.verdicts
    );
    stage.sampled(1, Some(Error::new(Reason::RunLimitReached, "too much")));
    let kept = stage.sampled_requests();
    assert_eq!(kept.len(), 1, "what was not sent is not kept: {kept:?}");
    assert_eq!(kept[0].usage.output_tokens, 21);
    assert!(matches!(kept[0].state, StepState::Failed { .. }));
    stage.answer("x");
    let outcome = Outcome::Incomplete(IncompleteReason::MaxTokens);
    assert_eq!(stage.run.record().state, State::Ended(outcome));
    assert_eq!(stage.run.record().usage.output_tokens, used.output_tokens + 21);
}

#[test]
fn what_a_server_asks_a_model_ends_with_its_call_and_is_paid_for_once() {
    for (ends, crashes) in [
        ("answers", false),
        ("answers", true),
        ("lost", false),
        ("cancel", false),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, "echo", r#"{"text":"x"}"#));
        stage.say([STOP]);
        let used = stage.run.record().usage;
        stage.samples(0, Wanted::default());
        stage.samples(1, Wanted::default());
        stage.tell(
            0,
            ModelEvent::Attempt(attempt(AttemptResult::Failed("RATE_LIMITED".into()))),
        );
        stage.tell(0, ModelEvent::Attempt(attempt(AttemptResult::Answered)));
        stage.tell(0, ModelEvent::Usage(usage(5)));
        stage.sampled(0, None);
        stage.tell(1, text(&"x".repeat(8 * 3)));
        if crashes {
            let running = stage.record.usage;
            assert_eq!(running.total_tokens(), used.total_tokens() + 5, "it is written");
            stage.crash();
            stage.decide(Answer::Approve(None)).unwrap();
        }
        match ends {
            "answers" => stage.answer("x"),
            "lost" => stage.lose(),
            _ => stage.feed(Input::Cancel),
        }
        let kept = stage.sampled_requests();
        let states: Vec<_> = kept.iter().map(|kept| kept.state.clone()).collect();
        let expected = match crashes {
            true => vec![StepState::Completed],
            false => vec![StepState::Completed, StepState::Cancelled],
        };
        assert_eq!(states, expected, "{ends}");
        assert_eq!(kept[0].attempts.len(), 2, "{ends}");
        let sum = kept.iter().map(|kept| kept.usage.total_tokens()).sum::<u64>();
        assert_eq!(sum, if crashes { 5 } else { 8 }, "{ends}");
        assert_eq!(
            stage.run.record().usage.total_tokens(),
            used.total_tokens() + sum,
            "{ends}"
        );
    }
}

#[test]
fn a_question_ends_with_its_call() {
    // The server gives up asking; the process dies, and the call may have had its effect; or it does no harm.
    for (tool, happens, expected) in [
        ("echo", "answers", "cancelled [x] running +tool"),
        ("echo", "dies", "void>=10 cancelled ask:echo"),
        ("echo", "breaks off", "cancelled ask:echo"),
        ("look", "dies", "void>=10 cancelled running"),
    ] {
        let mut stage = Stage::new(Limits::default());
        stage.say(call(0, tool, r#"{"text":"x"}"#));
        stage.say([STOP]);
        let asking = stage.open[0].clone();
        let question = question();
        stage.feed(Input::CallAsks {
            call: asking,
            asking: Asking::Question(question),
        });
        let before = stage.events.len();
        match happens {
            "answers" => stage.answer("x"),
            "dies" => stage.crash(),
            _ => stage.lose(),
        }
        let after: Vec<_> = stage.events[before..]
            .iter()
            .map(|event| word(&event.body))
            .collect();
        assert_eq!(after.join(" "), expected, "{tool} {happens}");
    }
}

#[test]
fn a_call_that_breaks_off_is_for_a_person_to_decide_with_the_arguments_that_were_approved() {
    let mut stage = Stage::new(Limits::default());
    stage.say(call(0, "risky", r#"{"text":"x"}"#));
    stage.say([STOP]);
    let edited = Map::from_iter([("text".to_owned(), json!("y"))]);
    stage.decide(Answer::Approve(Some(edited))).unwrap();
    stage.lose();
    let action = stage.pending()[0].clone();
    assert!(matches!(
        action.request,
        crate::run::action::Request::UnknownOutcome { .. }
    ));
    assert_eq!(action.call.arguments, r#"{"text":"y"}"#);
    stage.decide(Answer::Approve(None)).unwrap();
    assert_eq!(stage.made.len(), 2);
    stage.crash();
    assert_eq!(stage.pending()[0].call.arguments, r#"{"text":"y"}"#);
    stage.decide(Answer::Reject("leave it".into())).unwrap();
    assert_eq!(
        output_text(&stage.saved[2].content[0]),
        "not called: the call was rejected: leave it"
    );
}

#[test]
fn time_in_which_a_run_waits_is_not_its_own() {
    let limits = Limits {
        max_duration: Some(Duration::from_secs(60)),
        ..Limits::default()
    };
    let mut stage = Stage::new(limits);
    let at = |seconds| NOW + Duration::from_secs(seconds);
    assert_eq!(stage.run.alarm(), Some((at(60), Alarm::Deadline)));
    stage.say(call(0, "mine", "{}"));
    stage.run.on(Input::Model(STOP), at(10), &mut stage.effects);
    stage.perform(false);
    assert_eq!(stage.run.alarm(), Some((at(10 + 86_400), Alarm::Expiry)));
    let answer = submission(&stage.pending()[0], Answer::Output(says("x")));
    stage
        .run
        .submit(vec![answer], at(1_010), &mut stage.effects)
        .unwrap();
    stage.perform(false);
    assert_eq!(stage.run.alarm(), Some((at(1_060), Alarm::Deadline)));
    assert_eq!(stage.run.record().expire_time, Some(at(1_600)));
}

fn usage(tokens: u64) -> Usage {
    Usage {
        input_tokens: tokens,
        ..Usage::default()
    }
}

fn output_text(part: &Part) -> String {
    match part {
        Part::ToolOutput(output) => output.output.text(),
        _ => String::new(),
    }
}

#[test]
fn what_a_model_is_not_given_is_summed_up_once_and_for_later_runs_too() {
    let mut stage = Stage::long(Limits::default(), ModelOptions::default());
    let asked = &stage.requests[0];
    assert!(is_of_summary(asked) && asked.tools.is_none());
    assert_eq!(asked.max_output_tokens, Some(50), "an eighth of what is allowed");
    let told = asked.messages[0].text();
    assert!(
        told.starts_with("User: question 0 ") && told.contains("Assistant: answer 1 "),
        "{told}"
    );
    stage.say([
        ModelEvent::Attempt(attempt(AttemptResult::Answered)),
        text(" they met "),
        ModelEvent::Usage(usage(7)),
        STOP,
    ]);
    assert_eq!(stage.transcript(), "running +user 7tok +system");
    let summary = stage.saved.last().unwrap().clone();
    let summarized = summary.summarized().unwrap();
    assert_eq!(summary.text(), "they met");
    let Work::Summary {
        message,
        messages,
        usage: used,
        attempts,
        ..
    } = &stage.steps[&0].work
    else {
        panic!("{:?}", stage.steps[&0]);
    };
    assert_eq!(
        (message.as_ref(), *messages),
        (Some(&summary.id), summarized.messages)
    );
    assert_eq!(
        (used.total_tokens(), attempts.len(), stage.steps[&0].turn),
        (7, 1, 1)
    );
    // The model is given it in place of what it tells of.
    let given = stage.requests[1].messages.clone();
    assert!(given[0].text().ends_with("\n\nthey met"), "{}", given[0].text());
    let left_out = stage
        .saved
        .iter()
        .position(|message| message.id == summarized.last)
        .unwrap()
        + 1;
    assert_eq!(left_out, summarized.messages as usize);
    assert_eq!(given[1..], stage.saved[left_out..stage.saved.len() - 1]);
    stage.say([text("b"), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
    assert_eq!(stage.response(), "b");
    let used = stage.run.record().usage;
    assert_eq!((used.total_tokens(), used.turns), (79, 1), "it is no turn");

    let later = Stage::behind(stage.saved, summing(), Limits::default(), ModelOptions::default());
    let asked = &later.requests[0];
    assert!(!is_of_summary(asked), "there is room for one more turn");
    assert!(asked.messages[0].text().ends_with("\n\nthey met"));
    assert!(
        asked.messages[1..]
            .iter()
            .all(|message| message.summarized().is_none())
    );
}

#[test]
fn a_summary_is_cut_where_its_model_has_not_kept_to_its_length() {
    let mut stage = Stage::long(Limits::default(), ModelOptions::default());
    stage.say([text(&"ä".repeat(1_000)), STOP]);
    let summary = stage.saved.last().unwrap();
    assert!(summary.summarized().is_some());
    // Fifty tokens of four bytes.
    assert_eq!(summary.text(), "ä".repeat(100));
    stage.say([text("b"), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
}

#[test]
fn a_summary_that_fails_leaves_a_note_and_the_run_goes_on_without() {
    for failure in [
        Input::ModelFailed(Error::new(Reason::RateLimited, "slow down")),
        Input::Model(STOP),
        Input::Model(ModelEvent::Finished(Finish::ContentFilter)),
    ] {
        let mut stage = Stage::long(Limits::default(), ModelOptions::default());
        stage.feed(failure);
        assert!(
            matches!(stage.steps[&0].state, StepState::Failed { .. }),
            "{:?}",
            stage.steps[&0]
        );
        assert_eq!(
            stage
                .saved
                .iter()
                .filter(|message| message.summarized().is_some())
                .count(),
            0
        );
        stage.say(call(0, "look", r#"{"text":"x"}"#));
        stage.say([STOP]);
        stage.answer("x");
        stage.say([text("b"), STOP]);
        assert_eq!(stage.outcome(), Some(&Outcome::Completed));
        let summaries = stage
            .requests
            .iter()
            .filter(|request| is_of_summary(request))
            .count();
        assert_eq!(summaries, 1, "it is not tried again in the run");
    }
}

#[test]
fn a_summary_begins_again_where_the_process_died() {
    let mut stage = Stage::long(Limits::default(), ModelOptions::default());
    stage.say([text("they")]);
    stage.crash();
    assert_eq!(
        stage
            .requests
            .iter()
            .filter(|request| is_of_summary(request))
            .count(),
        2
    );
    stage.say([text("they met"), STOP]);
    // And a second time behind the summary.
    stage.crash();
    assert!(!is_of_summary(stage.requests.last().unwrap()), "it is there");
    stage.say([text("b"), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
    assert_eq!(
        stage
            .saved
            .iter()
            .filter(|message| message.summarized().is_some())
            .count(),
        1
    );
}

#[test]
fn a_summary_that_cannot_be_paid_for_is_left_out() {
    // To read what is to be summed up costs more than the rest of the conversation.
    let limits = Limits {
        max_cost: Some(150),
        ..Limits::default()
    };
    let mut stage = Stage::long(limits, ModelOptions::default());
    assert!(!is_of_summary(&stage.requests[0]));
    stage.say([text("b"), ModelEvent::Usage(usage(90)), STOP]);
    assert_eq!(stage.outcome(), Some(&Outcome::Completed));
}

#[test]
fn a_summary_is_paid_from_the_runs_budget_at_the_price_of_its_model() {
    let limits = Limits {
        max_cost: Some(1_000),
        ..Limits::default()
    };
    let mut stage = Stage::long(limits, ModelOptions::default());
    stage.say([ModelEvent::Usage(usage(1_001))]);
    let outcome = Outcome::Incomplete(IncompleteReason::Budget);
    assert_eq!(stage.outcome(), Some(&outcome));
    let Work::Summary { usage: used, .. } = &stage.steps[&0].work else {
        panic!("{:?}", stage.steps[&0]);
    };
    assert_eq!(used.cost.map(|cost| cost.micros), Some(1_001));
    assert_eq!(stage.run.record().usage.cost, used.cost);
}

/// What the world may do to a run.
#[derive(Clone, Debug)]
enum Move {
    Say(ModelEvent),
    Answer { which: usize },
    AnswerAndFail,
    AnswerTwice,
    Progress,
    Asks { which: usize, asking: Asking },
    AsksNoMore { which: usize },
    Samples { request: u64 },
    Sampling { request: u64, tokens: u64 },
    Sampled { request: u64 },
    Lost { which: usize },
    StrayAnswer,
    ModelFails,
    TooLong,
    Cancel,
    Deadline,
    Expire,
    SaveFails(ModelEvent),
    Crash,
    Decide { which: usize, answer: Answer },
}

fn model_event() -> impl Strategy<Value = ModelEvent> {
    let index = 0..4usize;
    prop_oneof![
        4 => "[a-z]{0,3}|[0-9]".prop_map(ModelEvent::TextDelta),
        1 => "[a-z]{0,3}".prop_map(ModelEvent::RefusalDelta),
        1 => "[a-z]{0,3}".prop_map(ModelEvent::ReasoningDelta),
        1 => "[a-z]{0,3}".prop_map(|summary| ModelEvent::Reasoning(Reasoning {
            summary,
            encrypted: "0x".into(),
            upstream: "here".into(),
            ..Reasoning::default()
        })),
        1 => Just(ModelEvent::Annotation(annotation())),
        1 => Just(ModelEvent::Continuation(Continuation {
            upstream: "here".into(),
            state: json!("resp"),
        })),
        4 => (index.clone(), prop_oneof![Just("echo"), Just("look"), Just("risky"), Just("mine"), Just("nope")])
            .prop_map(|(index, tool)| ModelEvent::ToolCallStarted { index, tool: tool.into() }),
        4 => (index, prop_oneof![Just(r#"{"text":1}"#), Just("{"), Just("")])
            .prop_map(|(index, json)| ModelEvent::ToolCallArgumentsDelta { index, json: json.into() }),
        1 => (0..9u64).prop_map(|tokens| ModelEvent::Usage(usage(tokens))),
        1 => Just(ModelEvent::Sent(attempt(AttemptResult::Abandoned))),
        1 => Just(ModelEvent::Attempt(attempt(AttemptResult::Answered))),
        1 => Just(ModelEvent::Unknown(1)),
        3 => Just(STOP),
        1 => prop_oneof![Just(Finish::Length), Just(Finish::ContentFilter)].prop_map(ModelEvent::Finished),
    ]
}

fn an_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Approve(None)),
        Just(Answer::Approve(Some(Map::from_iter([(
            "text".to_owned(),
            json!(1)
        )])))),
        Just(Answer::Approve(Some(Map::new()))),
        Just(Answer::Reject(String::new())),
        Just(Answer::Output(says("given"))),
        Just(Answer::Reply(Reply::Decline)),
        Just(Answer::Reply(Reply::Accept(Map::from_iter([(
            "name".to_owned(),
            json!("Ada")
        )])))),
        Just(Answer::Reply(Reply::Accept(Map::new()))),
    ]
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        30 => model_event().prop_map(Move::Say),
        8 => any::<usize>().prop_map(|which| Move::Answer { which }),
        2 => Just(Move::AnswerTwice),
        1 => Just(Move::AnswerAndFail),
        2 => Just(Move::Progress),
        3 => (any::<usize>(), an_asking()).prop_map(|(which, asking)| Move::Asks { which, asking }),
        1 => any::<usize>().prop_map(|which| Move::AsksNoMore { which }),
        1 => (0..3u64).prop_map(|request| Move::Samples { request }),
        1 => (0..3u64, 0..9u64).prop_map(|(request, tokens)| Move::Sampling { request, tokens }),
        1 => (0..3u64).prop_map(|request| Move::Sampled { request }),
        2 => any::<usize>().prop_map(|which| Move::Lost { which }),
        1 => Just(Move::StrayAnswer),
        1 => Just(Move::ModelFails),
        1 => Just(Move::TooLong),
        1 => Just(Move::Cancel),
        1 => Just(Move::Deadline),
        1 => Just(Move::Expire),
        1 => model_event().prop_map(Move::SaveFails),
        2 => Just(Move::Crash),
        6 => (any::<usize>(), an_answer()).prop_map(|(which, answer)| Move::Decide { which, answer }),
    ]
}

fn an_asking() -> impl Strategy<Value = Asking> {
    prop_oneof![
        2 => Just(Asking::Question(question())),
        1 => Just(Asking::Sampling(Arc::new(prompt()))),
    ]
}

fn play(stage: &mut Stage, step: Move) {
    let done = |call| Input::CallDone {
        call,
        output: ToolOutput::default(),
        duration: Duration::ZERO,
    };
    match step {
        Move::Say(event) => stage.feed(Input::Model(event)),
        Move::Answer { which } if !stage.open.is_empty() => {
            let which = which % stage.open.len();
            stage.open.rotate_left(which);
            stage.answer("x");
        }
        Move::AnswerTwice if !stage.open.is_empty() => {
            let call = stage.open[0].clone();
            stage.answer("x");
            stage.feed(done(call));
        }
        Move::Progress if !stage.open.is_empty() => {
            let call = stage.open[0].clone();
            stage.feed(Input::CallProgress {
                call,
                progress: Progress::default(),
            });
        }
        Move::Asks { which, asking } if !stage.open.is_empty() => {
            let call = stage.open[which % stage.open.len()].clone();
            stage.feed(Input::CallAsks { call, asking });
        }
        Move::AsksNoMore { which } if !stage.open.is_empty() => {
            let call = stage.open[which % stage.open.len()].clone();
            stage.feed(Input::CallAsksNoMore { call });
        }
        Move::Samples { request } if !stage.open.is_empty() => stage.samples(request, Wanted::default()),
        Move::Sampling { request, tokens } if !stage.open.is_empty() => {
            stage.tell(request, ModelEvent::Usage(usage(tokens)));
        }
        Move::Sampled { request } if !stage.open.is_empty() => stage.sampled(request, None),
        Move::Lost { which } if !stage.open.is_empty() => {
            let which = which % stage.open.len();
            stage.open.rotate_left(which);
            stage.lose();
        }
        Move::StrayAnswer => stage.feed(done(CallId::new(&mut Mint::System))),
        Move::ModelFails => stage.feed(Input::ModelFailed(Error::new(Reason::ModelUnavailable, "gone"))),
        Move::TooLong => {
            let so_far = |stage: &Stage| (stage.requests.len(), stage.run.record().usage.turns);
            let (requests, turns) = so_far(stage);
            let error = Error::new(Reason::ContextLengthExceeded, "too long");
            stage.feed(Input::ModelFailed(error));
            let is_the_same_turn = so_far(stage).1 == turns;
            stage.shortened += usize::from(is_the_same_turn) * (so_far(stage).0 - requests);
        }
        Move::Cancel => stage.feed(Input::Cancel),
        Move::Deadline => stage.feed(Input::Deadline),
        Move::Expire => stage.feed(Input::Expire),
        Move::AnswerAndFail if !stage.open.is_empty() => {
            let call = stage.open.swap_remove_front(0).unwrap();
            stage.feed_to_store(done(call), true);
        }
        Move::Crash => stage.crash(),
        Move::Decide { which, answer } => {
            let pending = stage.pending();
            if !pending.is_empty() {
                let action = &pending[which % pending.len()];
                // An answer that does not fit is refused, and changes nothing.
                let before = stage.events.len();
                let refused = stage.submit(vec![submission(action, answer)]).is_err();
                assert!(!refused || stage.events.len() == before);
            }
        }
        Move::SaveFails(event) => stage.feed_to_store(Input::Model(event), true),
        Move::Answer { .. }
        | Move::AnswerTwice
        | Move::AnswerAndFail
        | Move::Progress
        | Move::Asks { .. }
        | Move::AsksNoMore { .. }
        | Move::Samples { .. }
        | Move::Sampling { .. }
        | Move::Sampled { .. }
        | Move::Lost { .. } => {}
    }
}

fn check(stage: &Stage, limits: Limits) -> Result<(), TestCaseError> {
    rules::check_sequences(&stage.events)?;
    rules::check_events(&stage.events, &stage.saved)?;
    check_history(stage)?;
    // What is asked once more.
    let again = stage.crashes as usize + stage.shortened;
    let (summaries, turns): (Vec<_>, Vec<_>) =
        stage.requests.iter().partition(|request| is_of_summary(request));
    prop_assert!(
        turns.len() <= limits.max_turns as usize + 1 + again,
        "the turn limit is kept"
    );
    prop_assert!(
        summaries.len() <= turns.len() + 1 + again,
        "a turn waits for one summary at most"
    );
    for message in &stage.saved {
        let Some(summarized) = message.summarized() else {
            continue;
        };
        let place = |id: &MessageId| stage.saved.iter().position(|message| message.id == *id).unwrap();
        let (first, last) = (place(&summarized.first), place(&summarized.last));
        prop_assert_eq!(first, 0, "from the beginning");
        prop_assert!(last < stage.saved.iter().position(|saved| saved == message).unwrap());
        rules::check_answered(&stage.saved[..=last])?;
    }
    let landings = turns.iter().filter(|request| request.tools.is_none()).count();
    prop_assert!(landings <= 1 + again, "there is one turn without tools");
    for request in &stage.requests {
        rules::check_answered(&request.messages)?;
    }
    let mut made = BTreeSet::new();
    for (_, call) in stage
        .made
        .iter()
        .filter(|(tool, _)| tool == "echo" || tool == "risky")
    {
        let is_first = made.insert(call);
        prop_assert!(
            is_first || was_approved_again(stage, call),
            "a call that may do harm is made once"
        );
    }
    prop_assert!(
        stage.made.iter().all(|(tool, _)| tool != "mine"),
        "the client's own are the client's"
    );
    Ok(())
}

/// Whether somebody had a call made again whose outcome a crash had left unknown.
fn was_approved_again(stage: &Stage, call: &CallId) -> bool {
    stage.events.iter().any(|event| match &event.body {
        Body::ActionRequired(action) => {
            action.call.id == *call
                && matches!(action.request, crate::run::action::Request::UnknownOutcome { .. })
        }
        _ => false,
    })
}

fn check_history(stage: &Stage) -> Result<(), TestCaseError> {
    rules::check_answered(&stage.saved)?;
    let last = stage.events.last().map(|event| event.sequence);
    prop_assert_eq!(Some(stage.record.last_sequence), last);
    prop_assert!(stage.record.end_time.is_some());
    let is_over = |state: &StepState| !matches!(state, StepState::Waiting | StepState::Running);
    prop_assert!(
        stage.steps.values().all(|step| is_over(&step.state)),
        "no step is left open"
    );
    Ok(())
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(512))]

    #[test]
    fn whatever_happens_in_whatever_order_the_rules_hold(
        moves in prop::collection::vec(a_move(), 0..60),
        max_turns in 1..4u32,
        max_tool_calls in 0..4u32,
        max_total_tokens in prop::option::of(0..90u64),
        max_output_tokens in prop::option::of(1..9u64),
        options in prop::option::of((0..3u32).prop_map(a_number)),
        is_long in any::<bool>(),
    ) {
        let limits = Limits {
            max_turns,
            max_tool_calls,
            max_total_tokens,
            max_output_tokens,
            ..Limits::default()
        };
        let begin = if is_long { Stage::long } else { Stage::with };
        let mut stage = begin(limits, options.unwrap_or_default());
        for step in moves {
            play(&mut stage, step);
        }
        stage.feed(Input::Cancel);
        prop_assert!(stage.run.is_over());
        check(&stage, limits)?;
    }
}
