//! Errors: the same code, reason, words and details at every door.

use std::time::Duration;

use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};
use tonic::Code;

use super::conversations::check_order;
use super::door::{Door, Form};
use crate::world::World;

over_every_door! {
    requests_that_do_not_fit_are_told_which_field_and_why,
    what_is_not_there_is_not_found,
    a_deadline_bounds_a_request,
    a_deadline_ends_a_stream_in_its_middle,
    too_large_a_request_is_refused,
    more_requests_than_allowed_are_told_when_to_come_back,
    what_the_provider_refuses_is_told_with_the_run,
    what_is_not_served_says_so,
}

/// Fields, each with what is wrong.
type Violations = &'static [(&'static str, &'static str)];

/// Less than anybody waits, more than a busy machine needs to begin.
const SOON: Duration = Duration::from_millis(400);

async fn requests_that_do_not_fit_are_told_which_field_and_why(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let chat = "AssistantService.Chat";
    let cases: [(&str, Value, Violations); 10] = [
        (chat, json!({}), &[("message", "must not be empty")]),
        (
            chat,
            json!({"message": "x", "thread": "nonsense"}),
            &[("thread", "must be of the form threads/{thread}")],
        ),
        (
            chat,
            json!({"message": "x", "requestId": "7"}),
            &[("request_id", "must be a UUID")],
        ),
        (
            chat,
            json!({"message": "x", "limits": {"maxTurns": 0}}),
            &[("limits.max_turns", "must be at least 1")],
        ),
        (
            chat,
            json!({"message": "x", "limits": {"maxDuration": "-1s", "maxTurns": -1}}),
            &[
                ("limits.max_turns", "must be at least 1"),
                ("limits.max_duration", "must be more than 0 s"),
            ],
        ),
        (
            chat,
            json!({"message": "x", "parts": [{"image": {}}]}),
            &[("parts[0].image", "must have a url or data")],
        ),
        (
            chat,
            json!({"message": "x", "clientTools": [{"name": "a"}, {"name": "a"}]}),
            &[("client_tools[1].name", "there is a tool named a already")],
        ),
        (
            "ThreadService.CreateThread",
            json!({"thread": {"metadata": {"k": "x".repeat(600)}}}),
            &[("thread.metadata[\"k\"]", "must be at most 512 characters")],
        ),
        (
            "ThreadService.ListThreads",
            json!({"orderBy": "title"}),
            &[("order_by", "must be `create_time` or `create_time desc`")],
        ),
        (
            "RunService.SubmitActions",
            json!({"name": "threads/thread_1/runs/run_1"}),
            &[("answers", "must have at least one")],
        ),
    ];
    for (rpc, request, expected) in cases {
        let refusal = door.refusal(rpc, request.clone()).await;
        assert_eq!(
            refusal.why(),
            (Code::InvalidArgument, "VALIDATION_FAILED"),
            "{request}"
        );
        assert_eq!(refusal.violations(), expected, "{request}");
        let (field, description) = expected[0];
        assert!(
            refusal.message.contains(&format!("{field}: {description}")),
            "{refusal:?}"
        );
    }
    let (events, refusal) = door
        .open("AssistantService.StreamChat", json!({}))
        .await
        .rest()
        .await;
    assert_eq!(events, [] as [Value; 0]);
    assert_eq!(refusal.unwrap().violations(), [("message", "must not be empty")]);
    world.stopped().await;
}

async fn what_is_not_there_is_not_found(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let thread = door
        .call("ThreadService.CreateThread", json!({"thread": {}}))
        .await
        .unwrap();
    let thread = thread["name"].as_str().unwrap();
    let nobody = "0191d3a000007000800000000000000a";
    let (message, run) = (
        format!("{thread}/messages/msg_{nobody}"),
        format!("{thread}/runs/run_{nobody}"),
    );
    let (nowhere, nobody) = (
        format!("threads/thread_{nobody}"),
        format!("assistants/asst_{nobody}"),
    );
    for (rpc, request, reason, resource) in [
        (
            "ThreadService.GetThread",
            json!({"name": nowhere}),
            "THREAD_NOT_FOUND",
            &nowhere,
        ),
        (
            "ThreadService.DeleteThread",
            json!({"name": nowhere}),
            "THREAD_NOT_FOUND",
            &nowhere,
        ),
        (
            "ThreadService.ListMessages",
            json!({"parent": nowhere}),
            "THREAD_NOT_FOUND",
            &nowhere,
        ),
        (
            "ThreadService.GetMessage",
            json!({"name": message}),
            "MESSAGE_NOT_FOUND",
            &message,
        ),
        ("RunService.GetRun", json!({"name": run}), "RUN_NOT_FOUND", &run),
        (
            "RunService.CancelRun",
            json!({"name": run}),
            "RUN_NOT_FOUND",
            &run,
        ),
        ("RunService.WatchRun", json!({"name": run}), "RUN_NOT_FOUND", &run),
        (
            "RunService.ListRunSteps",
            json!({"parent": run}),
            "RUN_NOT_FOUND",
            &run,
        ),
        (
            "AssistantService.GetAssistant",
            json!({"name": nobody}),
            "ASSISTANT_NOT_FOUND",
            &nobody,
        ),
        (
            "AssistantService.Chat",
            json!({"message": "x", "thread": nowhere}),
            "THREAD_NOT_FOUND",
            &nowhere,
        ),
        (
            "AssistantService.Chat",
            json!({"message": "x", "assistant": nobody}),
            "ASSISTANT_NOT_FOUND",
            &nobody,
        ),
        (
            "AssistantService.CallTool",
            json!({"name": "tools/a b%2Fc:d"}),
            "TOOL_NOT_FOUND",
            &"a b%2Fc:d".to_owned(),
        ),
    ] {
        let (events, refusal) = door.open(rpc, request.clone()).await.rest().await;
        let refusal = refusal.unwrap();
        assert_eq!(
            (events.len(), refusal.why()),
            (0, (Code::NotFound, reason)),
            "{rpc} {request}"
        );
        assert_eq!(
            refusal.detail("ResourceInfo")["resourceName"],
            **resource,
            "{rpc}"
        );
    }
    world.stopped().await;
}

async fn a_deadline_bounds_a_request(form: Form) {
    let world = World::new(Script::turns([Turn::hang()])).await;
    let door = Door::to(&world, form);
    let late = door.call_within(SOON, "AssistantService.Chat", json!({"message": "slow"}));
    let late = late.await.unwrap_err();
    assert_eq!(late.why(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    world.stopped().await;
}

async fn a_deadline_ends_a_stream_in_its_middle(form: Form) {
    let world =
        World::new(Script::turns([Turn::text("one two").fault(
            assistd::simulator::Fault::Hang(assistd::simulator::At::Deltas(1)),
        )]))
        .await;
    let door = Door::to(&world, form);
    let request = json!({"message": "slow", "onDisconnect": "ON_DISCONNECT_CONTINUE"});
    let opened = door.open_within(SOON, "AssistantService.StreamChat", request);
    let (events, refusal) = opened.await.rest().await;
    assert!(events.len() >= 2, "what had happened was told");
    assert_eq!(
        refusal.expect("a stream that is cut off says so").why(),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    let run = json!({"name": events[0]["run"]});
    let cancelled = door.call("RunService.CancelRun", run.clone()).await.unwrap();
    assert_eq!(cancelled["state"], "RUN_STATE_CANCELLED");
    let all = door.open("RunService.WatchRun", run).await.all().await;
    check_order(&all, 0);
    assert_eq!(
        all[..events.len()],
        events,
        "a watcher sees what the cut stream had told"
    );
    world.stopped().await;
}

async fn too_large_a_request_is_refused(form: Form) {
    let world = World::with(Script::stand_in(), |config| config.api.body_limit_bytes = 1_000).await;
    let door = Door::to(&world, form);
    let large = json!({"message": "x".repeat(2_000)});
    let refusal = door.refusal("AssistantService.Chat", large).await;
    assert_eq!(refusal.why(), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    let fits = json!({"message": "x".repeat(900)});
    let answer = door.call("AssistantService.Chat", fits).await.unwrap();
    assert_eq!(answer["state"], "RUN_STATE_COMPLETED");
    world.stopped().await;
}

async fn more_requests_than_allowed_are_told_when_to_come_back(form: Form) {
    let world = World::with(Script::turns([Turn::hang()]), |config| {
        config.api.max_concurrent_requests = 1
    })
    .await;
    let door = Door::to(&world, form);
    let mut open = door
        .open("AssistantService.StreamChat", json!({"message": "hi"}))
        .await;
    open.next().await.unwrap().unwrap();
    let refusal = door.refusal("AssistantService.Health", json!({})).await;
    assert_eq!(refusal.why(), (Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(refusal.detail("RetryInfo")["retryDelay"], "1s");
    drop(open);
    world.stopped().await;
}

async fn what_the_provider_refuses_is_told_with_the_run(form: Form) {
    let limited = Turn::status(429).header("retry-after", "11").times(3);
    let world = World::new(Script::turns([limited])).await;
    let door = Door::to(&world, form);
    let refusal = door
        .refusal("AssistantService.Chat", json!({"message": "hi"}))
        .await;
    assert_eq!(refusal.why(), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert_eq!(refusal.detail("RetryInfo")["retryDelay"], "11s");
    assert!(refusal.fact("run").starts_with("threads/thread_"), "{refusal:?}");
    world.stopped().await;
}

async fn what_is_not_served_says_so(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let refusal = door.refusal("FutureService.Dream", json!({"of": "sheep"})).await;
    // A path says nothing of an RPC that is not bound to it.
    let expected = if form.is_json() {
        (Code::NotFound, "PATH_NOT_FOUND")
    } else {
        (Code::Unimplemented, "UNIMPLEMENTED")
    };
    assert_eq!(refusal.why(), expected);
    world.stopped().await;
}
