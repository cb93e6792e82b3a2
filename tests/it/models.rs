//! Several models with names: which one answers, and what happens when one does not.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use assistd::config::{ModelPrices, NamedModel};
use assistd::model::{BreakerSettings, Config, Dialect, Listing, Resilience, Router};
use assistd::run::error::{Error, Reason};
use assistd::run::id::{MessageId, Mint, RunId};
use assistd::run::message::{Media, MediaSource, Message, Part, Role};
use assistd::run::model::{Attempt, AttemptResult};
use assistd::run::options::ModelOptions;
use assistd::run::ports::{Finish, Model, ModelEvent, ModelRequest, ModelStream};
use assistd::simulator::{At, Fault, Recorded, Script, Simulator, Turn};
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::description::Provider;
use crate::metrics::figures;
use crate::world::{PATIENCE, World};

/// A turn that refuses with this status and without a wait before the next try.
fn refusing(status: u16) -> Turn {
    Turn::status(status).header("retry-after", "0")
}

async fn upstream(turns: impl IntoIterator<Item = Turn>) -> Provider {
    Provider::new(Script::turns(turns)).await
}

fn named(name: &str, simulator: &Simulator) -> Config {
    Config {
        name: Some(name.to_owned()),
        model: format!("{name}-1"),
        base_url: Some(simulator.base_url()),
        ..Config::default()
    }
}

fn router(listed: Vec<Config>) -> Router {
    let listing = Listing {
        default: listed[0].name().to_owned(),
        listed,
        unlisted: None,
        only_listed: false,
        simulated: false,
    };
    Router::new(listing).unwrap()
}

fn request(model: &str) -> ModelRequest {
    let message = Message {
        id: MessageId::new(&mut Mint::System),
        role: Role::User,
        content: vec![Part::Text("hello".into())],
        run: None,
        incomplete: false,
        create_time: SystemTime::UNIX_EPOCH,
        metadata: BTreeMap::new(),
    };
    ModelRequest {
        run: RunId::new(&mut Mint::System),
        thread: None,
        caller: String::new(),
        model: model.to_owned(),
        instructions: String::new(),
        messages: vec![Arc::new(message)],
        unasked: 0,
        tools: None,
        max_output_tokens: None,
        estimated_tokens: None,
        options: Arc::default(),
        deadline: None,
    }
}

/// What came of a request: what was said, and its attempts in short.
#[derive(Debug)]
struct Told {
    text: String,
    end: Result<Finish, Error>,
    attempts: Vec<String>,
}

impl Told {
    fn reason(&self) -> Reason {
        self.end.as_ref().unwrap_err().reason()
    }
}

fn short(attempt: &Attempt) -> String {
    let model = &attempt.provider_model;
    let status = attempt
        .status
        .map_or(String::new(), |status| format!(" {status}"));
    match &attempt.result {
        AttemptResult::Answered => format!("{model} answered{status}"),
        AttemptResult::Failed(reason) => format!("{model} {reason}{status}"),
        AttemptResult::Overtaken => format!("{model} overtaken"),
        AttemptResult::Abandoned => format!("{model} abandoned"),
        AttemptResult::NotSent(reason) => format!("{model} not sent: {reason}"),
    }
}

/// Waits until the answer begins.
async fn answered(events: &mut ModelStream) {
    let begun = async {
        let sent = events.next().await;
        assert!(matches!(sent, Some(Ok(ModelEvent::Sent(_)))), "{sent:?}");
        let begun = events.next().await;
        assert!(matches!(begun, Some(Ok(ModelEvent::Attempt(_)))), "{begun:?}");
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
}

async fn ask(router: &Router, request: ModelRequest) -> Told {
    let mut told = Told {
        text: String::new(),
        end: Err(Error::internal("no end")),
        attempts: Vec::new(),
    };
    let mut events = router.stream(request).await.unwrap();
    while let Some(event) = tokio::time::timeout(PATIENCE, events.next()).await.unwrap() {
        match event {
            Ok(ModelEvent::Attempt(attempt)) => told.attempts.push(short(&attempt)),
            Ok(ModelEvent::TextDelta(text)) => told.text.push_str(&text),
            Ok(ModelEvent::Finished(finish)) => told.end = Ok(finish),
            Ok(_) => {}
            Err(error) => told.end = Err(error),
        }
    }
    told
}

#[tokio::test]
async fn a_request_goes_to_the_model_of_its_name_or_alias_and_else_to_the_default_upstream() {
    let (big, open) = (upstream([]).await, upstream([]).await);
    let listing = |only_listed| Listing {
        listed: vec![Config {
            aliases: vec!["large".into()],
            ..named("big", &big)
        }],
        unlisted: Some(Config {
            name: None,
            model: "house".to_owned(),
            ..named("", &open)
        }),
        default: "house".to_owned(),
        only_listed,
        simulated: false,
    };
    let router = Router::new(listing(false)).unwrap();
    for (name, of_big, expected) in [
        ("big", true, "big-1"),
        ("large", true, "big-1"),
        ("models/big", true, "big-1"),
        ("models/large", true, "big-1"),
        ("models/gpt-x", false, "models/gpt-x"),
        ("", false, "house"),
        ("house", false, "house"),
        ("gpt-x", false, "gpt-x"),
    ] {
        let told = ask(&router, request(name)).await;
        assert_eq!(told.end.unwrap(), Finish::Stop);
        assert_eq!(told.attempts, [format!("{expected} answered 200")], "{name}");
        let asked = if of_big { &big } else { &open };
        assert_eq!(asked.requests().last().unwrap().body["model"], expected);
    }
    let names: Vec<String> = router.models().iter().map(|card| card.name.clone()).collect();
    assert_eq!(names, ["house", "big"]);
    assert_eq!(router.card("large").unwrap().name, "big");
    assert!(router.card("gpt-x").is_none());

    let strict = Router::new(listing(true)).unwrap();
    let refusal = strict.refusal("larg").unwrap();
    assert_eq!(
        refusal,
        "no model is called \"larg\"; the nearest known name is \"large\""
    );
    assert_eq!(strict.refusal("house"), None);
    let error = strict.stream(request("larg")).await.err().unwrap();
    assert_eq!(error.reason(), Reason::ModelNotConfigured);
}

#[tokio::test]
async fn another_model_answers_where_it_may_do_better() {
    let quota = json!({"error": {"message": "x", "code": "insufficient_quota"}});
    let long = json!({"error": {"message": "x", "code": "context_length_exceeded"}});
    let table = [
        (refusing(500), "MODEL_UNAVAILABLE 500", true),
        (refusing(401), "MODEL_CREDENTIALS_REJECTED 401", true),
        (
            Turn::status(429).header("retry-after", "5"),
            "RATE_LIMITED 429",
            true,
        ),
        (
            Turn::raw(429, "application/json", quota.to_string()),
            "QUOTA_EXCEEDED 429",
            true,
        ),
        (refusing(400), "MODEL_REQUEST_REJECTED 400", false),
        // Only one with more room could take it, and that is the last of the two.
        (
            Turn::raw(400, "application/json", long.to_string()),
            "CONTEXT_LENGTH_EXCEEDED 400",
            true,
        ),
    ];
    for (refusal, expected, moves) in table {
        let first = upstream([refusal]).await;
        let (small, second) = (
            upstream([refusing(500)]).await,
            upstream([Turn::text("hi")]).await,
        );
        let with_room = |config: Config, context_tokens| Config {
            context_tokens: Some(context_tokens),
            ..config
        };
        let router = router(vec![
            Config {
                fallbacks: vec!["small".into(), "large".into()],
                ..with_room(named("first", &first), 100)
            },
            with_room(named("small", &small), 50),
            with_room(named("large", &second), 200),
        ]);
        let told = ask(&router, request("")).await;
        assert_eq!(told.attempts[0], format!("first-1 {expected}"));
        if moves {
            assert_eq!(told.text, "hi", "{expected}");
            assert_eq!(told.attempts.last().unwrap(), "large-1 answered 200");
            let is_long = expected.starts_with("CONTEXT");
            assert_eq!(small.requests().is_empty(), is_long, "{expected}");
        } else {
            assert_eq!(told.reason(), Reason::ModelRequestRejected);
            assert_eq!(told.attempts.len(), 1);
        }
    }
}

#[tokio::test]
async fn once_an_answer_has_begun_nothing_is_asked_again() {
    let first = upstream([Turn::text("one two three").fault(Fault::Cut(At::Deltas(1)))]).await;
    let second = upstream([Turn::text("hi")]).await;
    let router = router(vec![
        Config {
            fallbacks: vec!["second".into()],
            ..named("first", &first)
        },
        named("second", &second),
    ]);
    let told = ask(&router, request("")).await;
    assert_eq!(told.text, "one ");
    assert_eq!(told.reason(), Reason::ModelUnavailable);
    assert_eq!(told.attempts, ["first-1 answered 200"]);
    assert!(second.requests().is_empty());
}

#[tokio::test]
async fn a_storm_is_not_multiplied_by_retries() {
    let first = upstream([refusing(429).times(1_000)]).await;
    let router = router(vec![named("first", &first)]);
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(ask(&router, request("")).await.reason(), Reason::RateLimited);
    }
    // A fifth of them, and the few that a quiet upstream has; one comes back for every second that this takes.
    let most = 20 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let retries = first.requests().len() - 50;
    assert!((20..=most).contains(&retries), "{retries} of {most}");
}

#[tokio::test]
async fn what_fails_too_often_is_left_alone_until_one_request_finds_it_well() {
    let first = upstream([refusing(500).times(2), Turn::text("well")]).await;
    let breaker = BreakerSettings {
        failures: 2,
        // Over at once: what a cooldown does with the time is for the breaker's own tests.
        cooldown: Duration::ZERO,
        ..BreakerSettings::default()
    };
    let slow = BreakerSettings {
        cooldown: Duration::from_secs(3_600),
        ..breaker
    };
    let with = |breaker, simulator: &Simulator| Config {
        resilience: Resilience {
            breaker,
            ..Resilience::default()
        },
        ..named("first", simulator)
    };
    let quick = router(vec![with(breaker, &first)]);
    for _ in 0..2 {
        assert_eq!(ask(&quick, request("")).await.reason(), Reason::ModelUnavailable);
    }
    assert_eq!(ask(&quick, request("")).await.text, "well");
    assert_eq!(quick.condition("first").trouble, None);

    let second = upstream([refusing(500).times(9)]).await;
    let left_alone = router(vec![with(slow, &second)]);
    for _ in 0..2 {
        ask(&left_alone, request("")).await;
    }
    let told = ask(&left_alone, request("")).await;
    assert_eq!(told.attempts, ["first-1 not sent: MODEL_UNAVAILABLE"]);
    let error = told.end.unwrap_err();
    assert_eq!(error.reason(), Reason::ModelUnavailable);
    assert!(error.retry_delay() > Some(Duration::from_secs(3_000)));
    assert_eq!(second.requests().len(), 2);
    assert!(left_alone.condition("first").closed_until.is_some());
}

#[tokio::test]
async fn a_fallback_without_words_for_the_request_is_told_and_passed_over() {
    let with_stop = || ModelRequest {
        options: Arc::new(ModelOptions {
            stop: vec!["END".into()],
            ..ModelOptions::default()
        }),
        ..request("")
    };
    let with_file = || {
        let mut request = request("");
        Arc::make_mut(&mut request.messages[0])
            .content
            .push(Part::File(Media {
                name: "a.pdf".to_owned(),
                mime_type: String::new(),
                source: MediaSource::Url("https://a.example/a.pdf".to_owned()),
                detail: None,
            }));
        request
    };
    let refused = "second-1 not sent: MODEL_REQUEST_REJECTED";
    // What has words for it, and what has none; and whether there is a third model that has.
    let (responses, chat) = (Dialect::Responses, Dialect::ChatCompletions);
    for (asked, can, cannot, has_third) in [
        (with_stop(), chat, responses, true),
        (with_stop(), chat, responses, false),
        (with_file(), responses, chat, true),
        (with_file(), responses, Dialect::Assistants, true),
    ] {
        let first = upstream([refusing(500)]).await;
        let (second, third) = (upstream([]).await, upstream([Turn::text("hi")]).await);
        let speaks = |dialect, config| Config {
            dialect: Some(dialect),
            ..config
        };
        let mut listed = vec![
            Config {
                fallbacks: vec!["second".into()],
                ..speaks(can, named("first", &first))
            },
            speaks(cannot, named("second", &second)),
        ];
        if has_third {
            listed[0].fallbacks.push("third".into());
            listed.push(speaks(can, named("third", &third)));
        }
        let told = ask(&router(listed), asked).await;
        assert_eq!(told.attempts[..2], ["first-1 MODEL_UNAVAILABLE 500", refused]);
        if has_third {
            assert_eq!(told.attempts[2..], ["third-1 answered 200"]);
            assert_eq!(told.text, "hi");
        } else {
            // What went wrong is the first failure, not that nobody could stand in.
            assert_eq!(told.reason(), Reason::ModelUnavailable);
            assert_eq!(told.attempts.len(), 2);
        }
        assert!(second.requests().is_empty());
    }
}

#[tokio::test]
async fn a_fallback_that_does_not_take_so_long_a_conversation_is_told_and_passed_over() {
    let long = |estimated_tokens, max_output_tokens| {
        let mut request = request("");
        let mut message = (*request.messages[0]).clone();
        message.content = vec![Part::Text("word ".repeat(400))];
        request.messages = vec![Arc::new(message)];
        ModelRequest {
            estimated_tokens,
            max_output_tokens,
            ..request
        }
    };
    // What the small one takes, what is known of the conversation, which has some 420 tokens and 2000 bytes, and how
    // long an answer is asked for; whether the small one is asked.
    let table = [
        (None, None, None, true),
        (Some(3_000), None, None, true),
        (Some(500), None, None, true),
        (Some(400), None, None, false),
        (Some(500), None, Some(200), false),
        (Some(900), None, Some(200), true),
        (Some(500), Some(2_100), None, true),
        (Some(400), Some(390), None, true),
    ];
    for (context_tokens, estimated, answer, is_asked) in table {
        let first = upstream([refusing(500)]).await;
        let (small, large) = (
            upstream([Turn::text("small")]).await,
            upstream([Turn::text("large")]).await,
        );
        let router = router(vec![
            Config {
                fallbacks: vec!["small".into(), "large".into()],
                ..named("first", &first)
            },
            Config {
                context_tokens,
                ..named("small", &small)
            },
            named("large", &large),
        ]);
        let told = ask(&router, long(estimated, answer)).await;
        let expected: &[&str] = match is_asked {
            true => &["first-1 MODEL_UNAVAILABLE 500", "small-1 answered 200"],
            false => &[
                "first-1 MODEL_UNAVAILABLE 500",
                "small-1 not sent: CONTEXT_LENGTH_EXCEEDED",
                "large-1 answered 200",
            ],
        };
        assert_eq!(
            told.attempts, expected,
            "{context_tokens:?} {estimated:?} {answer:?}"
        );
        assert_eq!(small.requests().is_empty(), !is_asked);
    }
}

#[tokio::test]
async fn a_second_request_goes_beside_one_that_is_slow_if_there_is_leave_for_it() {
    let hedging = |resilience: Resilience, simulator: &Simulator| Config {
        resilience: Resilience {
            hedge_after: Some(Duration::from_millis(20)),
            ..resilience
        },
        idempotency_keys: Some(true),
        ..named("first", simulator)
    };
    let first = upstream([Turn::hang(), Turn::text("quick")]).await;
    let listed = vec![hedging(Resilience::default(), &first)];
    let told = ask(&router(listed), request("")).await;
    assert_eq!(told.text, "quick");
    assert_eq!(told.attempts, ["first-1 overtaken", "first-1 answered 200"]);
    let keys = idempotency_keys(&first);
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");

    // It takes a place of its own, and waits for none.
    let first = upstream([Turn::text("slow").pace(100, 0), Turn::text("quick")]).await;
    let one_place = Resilience {
        max_concurrency: Some(1),
        ..Resilience::default()
    };
    let told = ask(&router(vec![hedging(one_place, &first)]), request("")).await;
    assert_eq!(told.text, "slow");
    assert_eq!(told.attempts, ["first-1 answered 200"]);
    assert_eq!(first.requests().len(), 1);
}

/// A run asks for nothing behind the last event of an answer.
#[tokio::test]
async fn an_answer_that_is_read_to_its_last_event_ends_a_row_of_failures() {
    let first = upstream([refusing(500), Turn::text("one"), refusing(500), Turn::text("two")]).await;
    let resilience = Resilience {
        breaker: BreakerSettings {
            failures: 2,
            cooldown: Duration::from_secs(3_600),
            ..BreakerSettings::default()
        },
        ..Resilience::default()
    };
    let router = router(vec![Config {
        resilience,
        ..named("first", &first)
    }]);
    for _ in 0..2 {
        assert_eq!(ask(&router, request("")).await.reason(), Reason::ModelUnavailable);
        let mut answer = router.stream(request("")).await.unwrap();
        loop {
            let event = tokio::time::timeout(PATIENCE, answer.next()).await.unwrap();
            if let Some(Ok(ModelEvent::Finished(_))) = event {
                break;
            }
            assert!(matches!(event, Some(Ok(_))), "{event:?}");
        }
        drop(answer);
        assert_eq!(router.condition("first").trouble, None);
    }
}

#[tokio::test]
async fn a_model_is_in_trouble_over_what_others_would_meet_too_and_not_over_what_one_request_asks() {
    let said = |status, body: Value| Turn::raw(status, "application/json", body.to_string());
    let code = |status, code: &str| {
        said(
            status,
            json!({"error": {"message": "no", "type": code, "code": code}}),
        )
    };
    let cases = [
        ("invalid", code(400, "invalid_request_error"), "first", false),
        ("too long", code(400, "context_length_exceeded"), "first", false),
        ("filtered", code(400, "content_filter"), "first", false),
        ("unfit", code(422, "invalid_value"), "first", false),
        ("too large", Turn::status(413), "first", false),
        (
            "a response that is gone",
            code(404, "previous_response_not_found"),
            "first",
            false,
        ),
        (
            "a conversation that is gone",
            code(404, "conversation_not_found"),
            "first",
            false,
        ),
        (
            "a conversation in use",
            code(409, "conversation_locked"),
            "first",
            false,
        ),
        (
            "a name of the request's",
            code(404, "model_not_found"),
            "no-such",
            false,
        ),
        ("the operator's name", code(404, "model_not_found"), "first", true),
        ("elsewhere", Turn::status(307), "first", true),
        ("no key", Turn::status(401), "first", true),
        ("no money", code(402, "insufficient_quota"), "first", true),
        ("limited", Turn::status(429), "first", true),
        ("broken", Turn::status(500), "first", true),
        ("away", Turn::disconnect(), "first", true),
    ];
    for (case, turn, asked, is_trouble) in cases {
        let provider = upstream([turn, code(400, "invalid_request_error"), Turn::text("hi")]).await;
        let listing = Listing {
            listed: Vec::new(),
            unlisted: Some(Config {
                name: None,
                model: "first".to_owned(),
                resilience: Resilience {
                    max_retries: 0,
                    ..Resilience::default()
                },
                ..named("", &provider)
            }),
            default: "first".to_owned(),
            only_listed: false,
            simulated: false,
        };
        let router = Router::new(listing).unwrap();
        let trouble = || router.condition("first").trouble.is_some();
        let told = ask(&router, request(asked)).await;
        assert_eq!(trouble(), is_trouble, "{case}");
        if let Err(error) = &told.end {
            let model = error.metadata().iter().find(|(name, _)| *name == "model");
            assert_eq!(model.map(|(_, model)| model.as_str()), Some(asked), "{case}");
        }
        // What is wrong with a request does not say that the trouble is over either.
        ask(&router, request("")).await.end.unwrap_err();
        assert_eq!(trouble(), is_trouble, "{case}");
        ask(&router, request("")).await.end.unwrap();
        assert!(!trouble(), "{case}");
    }
}

#[tokio::test]
async fn requests_wait_for_their_turn_and_one_too_many_goes_elsewhere() {
    let first = upstream([Turn::text("one").times(9)]).await;
    let second = upstream([Turn::text("other").times(9)]).await;
    let limited = |fallbacks: Vec<String>| Config {
        fallbacks,
        resilience: Resilience {
            max_concurrency: Some(1),
            max_waiting: 1,
            ..Resilience::default()
        },
        ..named("first", &first)
    };
    let router = router(vec![limited(vec!["second".into()]), named("second", &second)]);
    let mut held = router.stream(request("")).await.unwrap();
    answered(&mut held).await;

    let mut waiting = Box::pin(ask(&router, request("")));
    assert!((&mut waiting).now_or_never().is_none());
    let told = ask(&router, request("")).await;
    assert_eq!(
        told.attempts,
        ["first-1 not sent: OVERLOADED", "second-1 answered 200"]
    );
    drop(held);
    let told = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!((told.text.as_str(), told.attempts.len()), ("one", 1));
}

/// Models that go to one address with one key, under these settings.
fn neighbours(simulator: &Simulator, resilience: Resilience) -> Router {
    let model = |name: &str| Config {
        resilience,
        ..named(name, simulator)
    };
    router(vec![model("first"), model("second")])
}

#[tokio::test]
async fn models_at_one_address_share_its_places() {
    let both = upstream([Turn::text("one").times(9)]).await;
    let resilience = Resilience {
        max_concurrency: Some(1),
        max_waiting: 1,
        ..Resilience::default()
    };
    let router = neighbours(&both, resilience);
    let mut held = router.stream(request("first")).await.unwrap();
    answered(&mut held).await;
    let mut waiting = Box::pin(ask(&router, request("second")));
    assert!((&mut waiting).now_or_never().is_none());
    let told = ask(&router, request("second")).await;
    assert_eq!(told.attempts, ["second-1 not sent: OVERLOADED"]);
    drop(held);
    let told = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(told.attempts, ["second-1 answered 200"]);
}

#[tokio::test]
async fn callers_take_turns_however_many_requests_one_of_them_has() {
    let first = upstream([Turn::text("one").times(9)]).await;
    let limited = Config {
        resilience: Resilience {
            max_concurrency: Some(1),
            max_waiting: 3,
            ..Resilience::default()
        },
        ..named("first", &first)
    };
    let router = router(vec![limited]);
    let of = |caller: &str| ModelRequest {
        caller: caller.to_owned(),
        ..request("")
    };
    let mut held = router.stream(of("many")).await.unwrap();
    answered(&mut held).await;
    let mut many: Vec<_> = (0..3).map(|_| Box::pin(ask(&router, of("many")))).collect();
    assert!(many.iter_mut().all(|one| one.now_or_never().is_none()));
    // There is room for one of somebody else, and it is next but one.
    let mut few = Box::pin(ask(&router, of("few")));
    assert!((&mut few).now_or_never().is_none());
    let told = tokio::time::timeout(PATIENCE, many.pop().unwrap()).await.unwrap();
    assert_eq!(told.attempts, ["first-1 not sent: OVERLOADED"]);
    drop(held);
    let told = tokio::time::timeout(PATIENCE, many.remove(0)).await.unwrap();
    assert_eq!(told.text, "one");
    assert!(many[0].as_mut().now_or_never().is_none(), "it is not its turn");
    let told = tokio::time::timeout(PATIENCE, few).await.unwrap();
    assert_eq!(told.text, "one");
    let told = tokio::time::timeout(PATIENCE, many.remove(0)).await.unwrap();
    assert_eq!(told.text, "one");
}

#[tokio::test]
async fn what_fails_for_one_model_is_left_alone_for_its_neighbours_unless_they_work() {
    let resilience = Resilience {
        breaker: BreakerSettings {
            failures: 2,
            cooldown: Duration::from_secs(3_600),
            ..BreakerSettings::default()
        },
        ..Resilience::default()
    };
    // What both answer in turn to first, first, second; whether the second is asked.
    let table = [
        (500, false),
        // What is the model's own says nothing of the upstream.
        (404, true),
        (400, true),
    ];
    for (status, is_asked) in table {
        let both = upstream([refusing(status).times(2), Turn::text("well")]).await;
        let router = neighbours(&both, resilience);
        for _ in 0..2 {
            ask(&router, request("first")).await;
        }
        let told = ask(&router, request("second")).await;
        let expected = match is_asked {
            true => "second-1 answered 200",
            false => "second-1 not sent: MODEL_UNAVAILABLE",
        };
        assert_eq!(told.attempts, [expected], "{status}");
        assert_eq!(router.condition("second").closed_until.is_none(), is_asked);
    }
    // A neighbour that works shows that it is the model's own trouble.
    let both = upstream([Turn::text("well"), refusing(500).times(2), Turn::text("well")]).await;
    let router = neighbours(&both, resilience);
    for (model, expected) in [
        ("second", "second-1 answered 200"),
        ("first", "first-1 MODEL_UNAVAILABLE 500"),
        ("first", "first-1 MODEL_UNAVAILABLE 500"),
        ("first", "first-1 not sent: MODEL_UNAVAILABLE"),
        ("second", "second-1 answered 200"),
    ] {
        assert_eq!(ask(&router, request(model)).await.attempts, [expected]);
    }
}

#[tokio::test]
async fn nothing_is_sent_again_beyond_the_deadline_of_the_run() {
    let first = upstream([Turn::status(429).header("retry-after", "9").times(9)]).await;
    let router = router(vec![named("first", &first)]);
    let told = ask(
        &router,
        ModelRequest {
            deadline: SystemTime::now().checked_add(Duration::from_secs(5)),
            ..request("")
        },
    )
    .await;
    assert_eq!(told.reason(), Reason::RateLimited);
    assert_eq!(first.requests().len(), 1);
}

#[tokio::test]
async fn a_key_that_has_changed_in_its_file_is_used_at_once_and_requests_keep_their_idempotency_key() {
    let unauthorized = || refusing(401);
    let first = upstream([
        Turn::text("one"),
        unauthorized(),
        refusing(503),
        Turn::text("two"),
    ])
    .await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "sk-old-key\n").unwrap();
    let router = router(vec![Config {
        api_key_file: Some(path.clone()),
        api_key_header: Some("api-key".into()),
        idempotency_keys: Some(true),
        ..named("first", &first)
    }]);
    assert_eq!(ask(&router, request("")).await.text, "one");
    std::fs::write(&path, "sk-new-key\n").unwrap();
    let told = ask(&router, request("")).await;
    assert_eq!(told.text, "two");
    let header = |index: usize, name: &str| {
        let requests = first.requests();
        let headers = &requests[index].headers;
        let value = headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let keys: Vec<String> = (0..4).map(|index| header(index, "api-key")).collect();
    assert_eq!(keys, ["sk-old-key", "sk-old-key", "sk-new-key", "sk-new-key"]);
    let named = |index| header(index, "idempotency-key");
    assert!(named(1) == named(2) && named(2) == named(3) && !named(1).is_empty());
    assert_ne!(named(0), named(1));
    assert!(!format!("{router:?}").contains("sk-new-key"));
}

/// The idempotency key of each request; none has no letters.
fn idempotency_keys(simulator: &Simulator) -> Vec<String> {
    let requests = simulator.requests();
    let key = |request: &Arc<Recorded>| {
        let key = request.headers.get("idempotency-key");
        key.map_or_else(String::new, |key| key.to_str().unwrap().to_owned())
    };
    requests.iter().map(key).collect()
}

#[tokio::test]
async fn another_request_has_another_idempotency_key() {
    let refusal = json!({"error": {"message": "Encrypted content is not supported with this model."}});
    let refusal = Turn::raw(400, "application/json", refusal.to_string());
    let first = upstream([refusal, refusing(503), Turn::text("hi")]).await;
    let listed = vec![Config {
        dialect: Some(Dialect::Responses),
        idempotency_keys: Some(true),
        ..named("first", &first)
    }];
    assert_eq!(ask(&router(listed), request("")).await.text, "hi");
    let keys = idempotency_keys(&first);
    assert!(
        keys.len() == 3 && keys[0] != keys[1] && keys[1] == keys[2],
        "{keys:?}"
    );
}

#[tokio::test]
async fn the_model_without_a_table_has_idempotency_keys_where_its_operator_says_so() {
    for (keys, has_keys) in [(None, false), (Some(true), true)] {
        let provider = upstream([]).await;
        let base_url = provider.base_url();
        let world = World::with(Script::default(), |config| {
            config.model.endpoint.base_url = Some(base_url);
            config.model.idempotency_keys = keys;
        })
        .await;
        let (status, _) = world.post("/v1/chat", &json!({"message": "hello"})).await;
        assert_eq!(status, 200);
        let sent = idempotency_keys(&provider);
        assert!(
            !sent.is_empty() && sent.iter().all(|key| key.is_empty() != has_keys),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn what_the_assistants_dialect_sends_again_keeps_its_idempotency_key() {
    let first = upstream([refusing(503), Turn::text("hi"), Turn::text("again")]).await;
    let listed = vec![Config {
        dialect: Some(Dialect::Assistants),
        idempotency_keys: Some(true),
        ..named("first", &first)
    }];
    let router = router(listed);
    assert_eq!(ask(&router, request("")).await.text, "hi");
    // Many messages that are alike: a thread of some, others one by one, and a run with the rest.
    let mut long = request("");
    long.messages = vec![long.messages[0].clone(); 70];
    assert_eq!(ask(&router, long).await.text, "again");
    let requests = first.requests();
    let keys = idempotency_keys(&first);
    let sent: Vec<(&str, &String)> = requests
        .iter()
        .zip(&keys)
        .filter(|(request, key)| {
            let is_post = request.method == "POST";
            assert_eq!(is_post, !key.is_empty(), "{}", request.path);
            is_post
        })
        .map(|(request, key)| (request.path.as_str(), key))
        .collect();
    assert_eq!(sent[0].0, "/v1/assistants");
    assert_eq!(sent[1], sent[2]);
    assert_eq!(sent.len(), 3 + 1 + 6 + 1, "{sent:?}");
    let distinct: HashSet<_> = sent.iter().map(|(_, key)| key).collect();
    assert_eq!(distinct.len(), sent.len() - 1, "{sent:?}");
}

#[tokio::test]
async fn a_prompt_that_a_content_filter_refuses_ends_the_turn() {
    let filtered = r#"{"error": {"message": "x", "code": "content_filter"}}"#;
    // As OpenRouter moderates.
    let flagged = r#"{"error": {"message": "x", "code": 403, "metadata": {"flagged_input": "y"}}}"#;
    let stream = |before: &str| Turn::raw(200, "text/event-stream", format!("{before}data: {filtered}\n\n"));
    let hi = "data: {\"choices\": [{\"delta\": {\"content\": \"hi\"}}]}\n\n";
    let table = [
        (
            Turn::raw(400, "application/json", filtered),
            "MODEL_REQUEST_REJECTED 400",
            "",
        ),
        (
            Turn::raw(403, "application/json", flagged),
            "MODEL_REQUEST_REJECTED 403",
            "",
        ),
        (stream(""), "MODEL_REQUEST_REJECTED", ""),
        (stream(hi), "answered 200", "hi"),
    ];
    for (refusal, attempt, said) in table {
        let first = upstream([refusal]).await;
        let second = upstream([]).await;
        let breaker = BreakerSettings {
            failures: 1,
            ..BreakerSettings::default()
        };
        let router = router(vec![
            Config {
                fallbacks: vec!["second".into()],
                resilience: Resilience {
                    breaker,
                    ..Resilience::default()
                },
                ..named("first", &first)
            },
            named("second", &second),
        ]);
        let told = ask(&router, request("")).await;
        assert_eq!(told.end.unwrap(), Finish::ContentFilter, "{attempt}");
        assert_eq!(told.attempts, [format!("first-1 {attempt}")]);
        assert_eq!(told.text, said);
        assert!(second.requests().is_empty());
        // The provider did its part.
        let condition = router.condition("first");
        assert_eq!(
            (condition.trouble, condition.closed_until),
            (None, None),
            "{attempt}"
        );
    }
}

/// Two models of a service, the first of which is its own simulator, and the second answers when it cannot.
fn first_and_second(config: &mut assistd::config::Config, second: String) -> [NamedModel; 2] {
    let first = config.model.endpoint.base_url.take().unwrap();
    let named = |name: &str, fallbacks: Vec<String>, base_url: String| NamedModel {
        name: name.to_owned(),
        provider_model: format!("{name}-1"),
        aliases: vec![format!("{name}/alias")],
        fallbacks,
        endpoint: assistd::config::ModelEndpoint {
            base_url: Some(base_url),
            ..Default::default()
        },
        dialect: None,
        state: config.model.state,
        reasoning_back: config.model.reasoning_back,
        timeouts: config.model.timeouts,
        resilience: config.model.resilience,
        context_tokens: Some(8_000),
        max_output_tokens: None,
        prices: None,
        idempotency_keys: None,
    };
    [
        named("first", vec!["second".into()], first),
        named("second", Vec::new(), second),
    ]
}

/// A provider may say what it used though nothing came of it.
#[tokio::test]
async fn what_an_attempt_used_that_failed_is_counted_once_at_the_price_of_its_model() {
    let second = upstream([Turn::text("hi")]).await;
    let base_url = second.base_url();
    let failing = Turn::say([]).finish(assistd::simulator::Finish::Failed);
    let world = World::with(Script::turns([failing]), |config| {
        // A token costs so many micro-units.
        let prices = |micros: u64| {
            Some(ModelPrices {
                currency: "USD".to_owned(),
                input: micros * 1_000_000,
                cached_input: micros * 1_000_000,
                output: micros * 1_000_000,
                reasoning: None,
            })
        };
        let [mut first, mut second] = first_and_second(config, base_url);
        first.dialect = Some(assistd::config::Dialect::Responses);
        (first.prices, second.prices) = (prices(1), prices(3));
        config.model.listed = vec![first, second];
        config.model.name = "first".to_owned();
    })
    .await;
    let (status, chat) = world.post("/v1/chat", &json!({"message": "hello"})).await;
    assert_eq!((status, &chat["response"]), (200, &json!("hi")), "{chat}");
    // Tokens, and what they cost.
    let spent = |usage: &Value| -> (i64, i64) {
        let number = |value: &Value| value.as_str().unwrap_or_default().parse().unwrap();
        (number(&usage["totalTokens"]), number(&usage["cost"]["micros"]))
    };
    let run = chat["run"].as_str().unwrap();
    let turn = &steps(&world, run).await[0]["modelTurn"];
    let lost = spent(&turn["attempts"][0]["usage"]);
    assert!(lost.0 > 0 && lost.1 == lost.0, "{turn}");
    assert_eq!(turn["attempts"][1]["usage"], Value::Null, "it is the turn's");
    let all = spent(&turn["usage"]);
    let of_second = all.0 - lost.0;
    assert!(of_second > 0, "{turn}");
    assert_eq!(all.1, lost.1 + 3 * of_second);

    let get = async |path: &str| -> Value {
        let response = reqwest::get(world.url(&format!("/v1/{path}"))).await.unwrap();
        response.json().await.unwrap()
    };
    let thread = get(chat["thread"].as_str().unwrap()).await;
    let callers = get("usage").await;
    for usage in [
        &chat["usage"],
        &get(run).await["usage"],
        &thread["usage"],
        &callers["usage"][0]["usage"],
    ] {
        assert_eq!(spent(usage), all, "{usage}");
    }
    let figures = figures(&world).await;
    for (model, (tokens, cost)) in [("first", lost), ("second", (of_second, 3 * of_second))] {
        let kinds = ["input", "output"].map(|kind| {
            let labels = format!(r#"gen_ai_token_type="{kind}",gen_ai_request_model="{model}""#);
            figures.get(&format!("gen_ai_client_token_usage_sum{{{labels}}}"))
        });
        assert_eq!(kinds.into_iter().flatten().sum::<f64>(), tokens as f64, "{model}");
        let labels = format!(r#"currency="USD",gen_ai_request_model="{model}""#);
        assert_eq!(
            figures[&format!("assistd_cost_micros_total{{{labels}}}")],
            cost as f64
        );
    }
    world.stopped().await;
}

/// Of a request of which nothing was heard is told that it was sent, and how long it was waited for.
#[tokio::test]
async fn a_request_that_is_given_up_with_its_run_is_told() {
    // How many requests go out at once, and how the run ends.
    for (requests, limits, is_cancelled) in [
        (1, json!({}), true),
        (2, json!({}), true),
        (1, json!({"maxDuration": "2s"}), false),
    ] {
        let silent = Turn::hang().times(requests);
        let world = World::with(Script::turns([silent]), |config| {
            if requests == 2 {
                config.model.resilience.hedge_after = Some(Duration::from_millis(1));
            }
        })
        .await;
        let (_, thread) = world.post("/v1/threads", &json!({})).await;
        let runs = format!("{}/runs", thread["name"].as_str().unwrap());
        let get = async |path: &str| -> Value {
            let response = reqwest::get(world.url(&format!("/v1/{path}"))).await.unwrap();
            response.json().await.unwrap()
        };
        let chat = json!({"message": "hello", "thread": thread["name"], "limits": limits});
        let chat = world.post("/v1/chat", &chat);
        let cancel = async {
            while world.simulator.requests().len() < requests as usize {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let run = get(&runs).await["runs"][0].clone();
            let cancel = format!("/v1/{}:cancel", run["name"].as_str().unwrap());
            if is_cancelled {
                world.post(&cancel, &json!({})).await;
            }
        };
        let both = futures::future::join(chat, cancel);
        tokio::time::timeout(PATIENCE, both).await.unwrap();
        let run = get(&runs).await["runs"][0].clone();
        let state = match is_cancelled {
            true => "RUN_STATE_CANCELLED",
            false => "RUN_STATE_INCOMPLETE",
        };
        assert_eq!(run["state"], state, "{run}");
        let step = &steps(&world, run["name"].as_str().unwrap()).await[0];
        assert_eq!(step["state"], "STEP_STATE_CANCELLED");
        let attempts = step["modelTurn"]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), requests as usize, "{step}");
        for attempt in attempts {
            assert_eq!(attempt["result"], "MODEL_ATTEMPT_RESULT_ABANDONED");
            assert_eq!(attempt["model"], "test-model");
            let endpoint = attempt["endpoint"].as_str().unwrap();
            assert!(world.simulator.base_url().starts_with(endpoint), "{attempt}");
            let latency = attempt["latency"].as_str().unwrap().trim_end_matches('s');
            assert!(latency.parse::<f64>().unwrap() > 0.0, "{attempt}");
        }
        let labels = r#"gen_ai_request_model="test-model",outcome="abandoned",error_type="""#;
        let counted = figures(&world).await[&format!("assistd_model_attempts_total{{{labels}}}")];
        assert_eq!(counted, f64::from(requests));
        world.stopped().await;
    }
}

#[tokio::test]
async fn callers_see_the_models_their_attempts_and_what_they_cannot_name() {
    let second = upstream([Turn::text("hi")]).await;
    let base_url = second.base_url();
    let world = World::with(Script::turns([refusing(500)]), |config| {
        config.model.listed = first_and_second(config, base_url).into();
        config.model.name = "first".to_owned();
    })
    .await;
    let (status, chat) = world.post("/v1/chat", &json!({"message": "hello"})).await;
    assert_eq!((status, &chat["response"]), (200, &json!("hi")));
    let get = async |path: &str| -> (u16, Value) {
        let response = reqwest::get(world.url(path)).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    };
    let (_, steps) = get(&format!("/v1/{}/steps", chat["run"].as_str().unwrap())).await;
    let turn = &steps["steps"][0]["modelTurn"];
    assert_eq!(turn["model"], "second-1");
    let attempts = turn["attempts"].as_array().unwrap();
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            (
                attempt["model"].clone(),
                attempt["reason"].clone(),
                attempt["httpStatus"].clone(),
            )
        })
        .collect();
    let expected = [
        (json!("first"), json!("MODEL_UNAVAILABLE"), json!(500)),
        (json!("second"), json!(""), json!(200)),
    ];
    assert_eq!(told, expected);

    let (_, list) = get("/v1/models").await;
    let models = list["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    assert_eq!(models[0]["name"], "models/first");
    assert_eq!(models[0]["isDefault"], true);
    assert_eq!(models[0]["state"], "MODEL_STATE_TROUBLED");
    assert_eq!(models[0]["fallbacks"], json!(["models/second"]));
    assert_eq!(models[1]["state"], "MODEL_STATE_AVAILABLE");
    let (_, one) = get("/v1/models/second/alias").await;
    assert_eq!(
        (&one["name"], &one["contextTokens"]),
        (&json!("models/second"), &json!("8000"))
    );
    let (status, missing) = get("/v1/models/secnd").await;
    assert_eq!(
        (status, &missing["error"]["details"][0]["reason"]),
        (404, &json!("MODEL_NOT_FOUND"))
    );
    let message = missing["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"second\""), "{message}");

    for (path, body, field) in [
        ("/v1/chat", json!({"message": "x", "model": "frist"}), "model"),
        ("/v1/assistants", json!({"model": "frist"}), "assistant.model"),
    ] {
        let (status, refused) = world.post(path, &body).await;
        assert_eq!(status, 400, "{refused}");
        let violation = &refused["error"]["details"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], field);
        let description = violation["description"].as_str().unwrap();
        assert!(
            description.contains("the nearest known name is \"first\""),
            "{description}"
        );
    }
}

/// The steps of a run, as its callers see them.
async fn steps(world: &World, run: &str) -> Vec<Value> {
    let response = reqwest::get(world.url(&format!("/v1/{run}/steps")))
        .await
        .unwrap();
    let listed: Value = response.json().await.unwrap();
    listed["steps"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_step_that_failed_says_what_the_caller_was_told() {
    let limited = Turn::status(429).header("retry-after", "17");
    let world = World::new(Script::turns([limited])).await;
    let (status, refusal) = world.post("/v1/chat", &json!({"message": "hello"})).await;
    assert_eq!(status, 429);
    let of = |details: &Value, kind: &str| {
        let details = details.as_array().unwrap().iter();
        let suffix = format!("google.rpc.{kind}");
        let mut found = details.filter(|detail| detail["@type"].as_str().unwrap().ends_with(&suffix));
        found.next().cloned().unwrap()
    };
    let details = &refusal["error"]["details"];
    let metadata = &of(details, "ErrorInfo")["metadata"];
    let told = &steps(&world, metadata["run"].as_str().unwrap()).await[0]["error"];
    assert_eq!(of(&told["details"], "RetryInfo")["retryDelay"], "17s");
    assert_eq!(of(&told["details"], "RetryInfo"), of(details, "RetryInfo"));
    let stored = &of(&told["details"], "ErrorInfo")["metadata"];
    assert_eq!(stored["provider_status"], "429");
    assert_eq!(stored["provider_status"], metadata["provider_status"]);
    world.stopped().await;
}

/// Chat templates refuse two messages of a user in a row, and one behind the output of a tool: a thread would never get
/// over a run that failed.
#[tokio::test]
async fn after_a_run_that_failed_roles_alternate_still() {
    let script = Script::turns([
        refusing(400),
        Turn::text("hi"),
        Turn::call("echo", &json!({"text": "out"})),
        refusing(400),
        Turn::text("again"),
    ]);
    let world = World::new(script).await;
    let (_, thread) = world.post("/v1/threads", &json!({})).await;
    let said = async |message: &str| {
        let chat = json!({"message": message, "thread": thread["name"]});
        world.post("/v1/chat", &chat).await.0
    };
    let last = || {
        let requests = world.simulator.requests();
        let told = requests.last().unwrap().body["messages"]
            .as_array()
            .unwrap()
            .iter();
        told.map(|message| format!("{}: {}", message["role"], message["content"]))
            .collect::<Vec<_>>()
    };
    let front = ["\"system\": \"Be brief.\"", "\"user\": \"one\\n\\ntwo\""];
    assert_ne!(said("one").await, 200);
    assert_eq!(said("two").await, 200);
    assert_eq!(last(), front);
    assert_ne!(said("three").await, 200);
    assert_eq!(said("four").await, 200);
    let since = [
        "\"assistant\": \"hi\"",
        "\"user\": \"three\"",
        "\"assistant\": null",
        "\"tool\": \"Echo: out\"",
        "\"assistant\": \"[The answer was broken off.]\"",
        "\"user\": \"four\"",
    ];
    assert_eq!(last()[2..], since);
}

#[tokio::test]
async fn events_that_nobody_knows_are_counted_in_the_step() {
    use assistd::config::Dialect;

    let unknown = |at| Fault::Insert {
        at,
        raw: "event: brand.new\ndata: {\"type\":\"brand.new\",\"object\":\"brand.new\"}\n\n".to_owned(),
    };
    for dialect in [Dialect::Responses, Dialect::ChatCompletions, Dialect::Assistants] {
        let twice = Turn::text(["one ", "two"])
            .fault(unknown(At::Deltas(0)))
            .fault(unknown(At::Deltas(1)));
        let script = Script::turns([twice, Turn::text("plain")]);
        let world = World::with(script, |config| config.model.dialect = Some(dialect)).await;
        for (said, expected) in [("one two", 2), ("plain", 0)] {
            let (status, chat) = world.post("/v1/chat", &json!({"message": "hello"})).await;
            assert_eq!((status, &chat["response"]), (200, &json!(said)));
            let turn = &steps(&world, chat["run"].as_str().unwrap()).await[0]["modelTurn"];
            assert_eq!(turn["unknownEvents"], expected, "{dialect:?}");
        }
        world.stopped().await;
    }
}

/// The reasoning that only the provider can read goes through the whole service, and back to the provider.
#[tokio::test]
async fn encrypted_reasoning_and_citations_come_through_the_service() {
    use assistd::config::Dialect;
    use assistd::simulator::{Cited, Item};

    let thinks = || Item::Reasoning("thinking it over".into());
    let cited = Item::Cited(Cited {
        text: "As they say.".into(),
        annotations: vec![json!({
            "type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 11,
        })],
    });
    let script = Script::turns([
        Turn::say([thinks(), Item::call("echo", r#"{"text": "hi"}"#)]),
        Turn::say([thinks(), cited]),
        Turn::text("again"),
    ]);
    let world = World::with(script, |config| config.model.dialect = Some(Dialect::Responses)).await;
    let (status, chat) = world.post("/v1/chat", &json!({"message": "hello"})).await;
    assert_eq!(
        (status, &chat["response"]),
        (200, &json!("As they say.")),
        "{chat}"
    );
    let annotation = &chat["annotations"][0];
    assert!(annotation.to_string().contains("https://a.example/"), "{chat}");
    let thread = &chat["thread"];
    let again = json!({"message": "and now?", "thread": thread});
    assert_eq!(world.post("/v1/chat", &again).await.1["response"], "again");

    let requests = world.simulator.requests();
    let encrypted = |index: usize| -> Vec<String> {
        let items: &Vec<Value> = requests[index].body["input"].as_array().unwrap();
        let thoughts = items.iter().filter(|item| item["type"] == "reasoning");
        thoughts
            .map(|item| item["encrypted_content"].as_str().unwrap().to_owned())
            .collect()
    };
    // The first before its call, then both, as they were; nobody else is shown them.
    assert_eq!(encrypted(0), Vec::<String>::new());
    assert_eq!(encrypted(1).len(), 1);
    assert_eq!(encrypted(2).len(), 2);
    assert_eq!(encrypted(2)[0], encrypted(1)[0]);
    let path = format!("/v1/{}/messages", thread.as_str().unwrap());
    let shown = reqwest::get(world.url(&path))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(shown.contains("thinking it over"), "{shown}");
    assert!(!shown.contains(&encrypted(1)[0]), "{shown}");
    world.stopped().await;
}
