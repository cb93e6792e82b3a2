//! Conversations: what a run does, seen through gRPC and HTTP/JSON.

use std::time::Duration;

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::api::pb::{self, run_event::Payload};
use assistd::config::StoreSection;
use assistd::simulator::{At, Fault, Script, Turn};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::{RpcStatusExt, StatusExt};

use crate::world::{PATIENCE, World};

fn ask(message: &str) -> pb::ChatRequest {
    pb::ChatRequest {
        message: message.to_owned(),
        ..pb::ChatRequest::default()
    }
}

fn again(message: &str, thread: &str) -> pb::ChatRequest {
    pb::ChatRequest {
        thread: thread.to_owned(),
        ..ask(message)
    }
}

fn reason(status: &tonic::Status) -> String {
    status
        .get_error_details()
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// The answer, as soon as the thread is free.
async fn once_free(
    client: &mut AssistantServiceClient<Channel>,
    request: pb::ChatRequest,
) -> pb::ChatResponse {
    let answer = async {
        loop {
            match client.chat(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                Err(busy) => assert_eq!(reason(&busy), "THREAD_BUSY"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap()
}

async fn events(world: &World, request: pb::ChatRequest) -> Vec<pb::RunEvent> {
    let mut stream = world
        .grpc()
        .await
        .stream_chat(request)
        .await
        .unwrap()
        .into_inner();
    let mut events = Vec::new();
    while let Some(event) = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
    {
        events.push(event);
    }
    events
}

/// The conversation that the model was last asked to go on with: role and text of each message.
fn last_conversation(world: &World) -> Vec<(String, String)> {
    let requests = world.simulator.requests();
    let messages = requests.last().unwrap().body["messages"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        other => other[0]["text"].as_str().unwrap_or_default().to_owned(),
    };
    messages
        .iter()
        .map(|one| (one["role"].as_str().unwrap().to_owned(), text(&one["content"])))
        .collect()
}

#[tokio::test]
async fn an_answer_uses_what_the_tool_really_said() {
    let world = World::new(Script::stand_in()).await;
    let answer = world
        .grpc()
        .await
        .chat(ask("what is 2**100?"))
        .await
        .unwrap()
        .into_inner();
    assert!(
        answer.response.contains("1267650600228229401496703205376"),
        "{}",
        answer.response
    );
    assert_eq!(answer.state(), pb::RunState::Completed);
    let usage = answer.usage.unwrap();
    assert_eq!((usage.turns, usage.tool_calls), (2, 1));
    world.stopped().await;
}

#[tokio::test]
async fn a_conversation_goes_on_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = || StoreSection::Directory(directory.path().to_owned());
    let world = World::with(Script::stand_in(), |config| config.store = on_disk()).await;
    let first = world
        .grpc()
        .await
        .chat(ask("I am Ada"))
        .await
        .unwrap()
        .into_inner();
    world
        .grpc()
        .await
        .chat(again("echo hello", &first.thread))
        .await
        .unwrap();
    world.stopped().await;

    let world = World::with(Script::stand_in(), |config| config.store = on_disk()).await;
    world
        .grpc()
        .await
        .chat(again("who am I?", &first.thread))
        .await
        .unwrap();
    let said = last_conversation(&world);
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(
        roles,
        [
            "system",
            "user",
            "assistant",
            "user",
            "assistant",
            "tool",
            "assistant",
            "user"
        ]
    );
    assert_eq!(said[1].1, "I am Ada");
    assert_eq!(said[5].1, "Echo: hello");
    world.stopped().await;
}

#[tokio::test]
async fn a_stream_tells_everything_in_order_and_ends_once() {
    let world = World::new(Script::stand_in()).await;
    let events = events(&world, ask("echo one two three")).await;
    let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=events.len() as i64).collect::<Vec<_>>());
    let mut deltas = String::new();
    let mut completed = String::new();
    for event in &events {
        match event.payload.as_ref().unwrap() {
            Payload::TextDelta(delta) => deltas.push_str(&delta.text),
            Payload::MessageCompleted(done) => {
                let parts = &done.message.as_ref().unwrap().content;
                completed.extend(parts.iter().filter_map(|part| match &part.part {
                    Some(pb::content_part::Part::Text(text)) => Some(text.as_str()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    assert_eq!(deltas, "The tool answered: Echo: one two three");
    assert_eq!(completed, deltas);
    assert!(matches!(
        events.last().unwrap().payload,
        Some(Payload::RunCompleted(_))
    ));
    world.stopped().await;
}

#[tokio::test]
async fn a_thread_takes_one_run_at_a_time() {
    let world = World::new(Script::turns([Turn::text("first"), Turn::hang()])).await;
    let mut client = world.grpc().await;
    let first = client.chat(ask("hi")).await.unwrap().into_inner();
    let mut open = client
        .stream_chat(again("and?", &first.thread))
        .await
        .unwrap()
        .into_inner();
    let active = open.message().await.unwrap().unwrap().run;

    let refused = client.chat(again("me too", &first.thread)).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "THREAD_BUSY")
    );
    let info = refused.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.metadata["run"], active);

    // A client that goes away cancels its run, and the thread is free again.
    drop(open);
    let answer = once_free(&mut client, again("now?", &first.thread)).await;
    // What it was cancelled at is a question still.
    assert_eq!(answer.response, "Mock reply to: and?\n\nnow?");
    world.stopped().await;
}

#[tokio::test]
async fn a_deadline_bounds_the_request_and_frees_the_thread() {
    let world = World::new(Script::turns([
        Turn::text("first"),
        Turn::hang(),
        Turn::text("after"),
    ]))
    .await;
    let mut client = world.grpc().await;
    let first = client.chat(ask("hi")).await.unwrap().into_inner();

    let response = reqwest::Client::new()
        .post(world.url("/v1/chat"))
        .header("x-server-timeout", "0.2")
        .json(&json!({"message": "slow", "thread": first.thread}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 504);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["status"], "DEADLINE_EXCEEDED");

    let answer = once_free(&mut client, again("still there?", &first.thread)).await;
    assert_eq!(answer.response, "after");
    world.stopped().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_deadline_that_its_caller_set() {
    let world = World::new(Script::turns([Turn::hang()])).await;
    let mut request = tonic::Request::new(ask("slow"));
    request
        .metadata_mut()
        .insert("grpc-timeout", "200m".parse().unwrap());
    let mut stream = world
        .grpc()
        .await
        .stream_chat(request)
        .await
        .unwrap()
        .into_inner();
    let mut seen = 0;
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("a stream that is cut off says so"),
            Err(status) => break status,
        }
    };
    assert!(seen >= 2, "what had happened was told");
    assert_eq!(
        (end.code(), reason(&end).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    world.stopped().await;
}

#[tokio::test]
async fn what_goes_wrong_at_the_provider_is_told_in_our_words() {
    let raw = |status: u16, body: &str| Turn::raw(status, "application/json", body).times(3);
    let cases: [(Turn, Code, &str, u16); 8] = [
        (
            Turn::status(429).header("retry-after", "11"),
            Code::ResourceExhausted,
            "RATE_LIMITED",
            429,
        ),
        (
            raw(
                429,
                r#"{"error":{"code":"insufficient_quota","message":"sk-secret"}}"#,
            ),
            Code::ResourceExhausted,
            "QUOTA_EXCEEDED",
            429,
        ),
        (
            raw(401, r#"{"error":"bad key sk-secret"}"#),
            Code::FailedPrecondition,
            "MODEL_CREDENTIALS_REJECTED",
            400,
        ),
        (
            raw(400, r#"{"object":"error","message":"sk-secret"}"#),
            Code::FailedPrecondition,
            "MODEL_REQUEST_REJECTED",
            400,
        ),
        (
            raw(
                400,
                r#"{"error":{"code":"context_length_exceeded","message":"sk-secret"}}"#,
            ),
            Code::FailedPrecondition,
            "CONTEXT_LENGTH_EXCEEDED",
            400,
        ),
        (
            Turn::raw(500, "text/html", "<html>sk-secret</html>"),
            Code::Unavailable,
            "MODEL_UNAVAILABLE",
            503,
        ),
        (
            Turn::raw(200, "text/event-stream", "data: {nonsense\n\n"),
            Code::Unavailable,
            "MODEL_UNAVAILABLE",
            503,
        ),
        (
            Turn::text("half an answer").fault(Fault::Cut(At::Deltas(1))),
            Code::Unavailable,
            "MODEL_UNAVAILABLE",
            503,
        ),
    ];
    for (turn, code, expected, http) in cases {
        let world = World::new(Script::turns([turn.clone(), turn.clone()])).await;
        let status = world.grpc().await.chat(ask("hi")).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (code, expected),
            "{turn:?}"
        );
        assert!(!format!("{status:?}").contains("secret"));
        let (status, body) = world.post("/v1/chat", &json!({"message": "hi"})).await;
        assert_eq!(status, http, "{body}");
        let details = body["error"]["details"].as_array().unwrap();
        let run = details
            .iter()
            .find_map(|detail| detail["metadata"]["run"].as_str());
        assert!(run.is_some_and(|run| run.starts_with("threads/")), "{body}");
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_the_failure_and_keeps_the_part() {
    let world = World::new(Script::turns([
        Turn::text("one two three").fault(Fault::Cut(At::Deltas(2)))
    ]))
    .await;
    let events = events(&world, ask("hi")).await;
    let Some(Payload::RunFailed(failed)) = &events.last().unwrap().payload else {
        panic!("{events:?}")
    };
    let run = failed.run.as_ref().unwrap();
    let error = run.error.as_ref().unwrap();
    assert_eq!(error.code, i32::from(Code::Unavailable));
    let details = RpcStatusExt::get_error_details(error);
    assert_eq!(details.error_info().unwrap().metadata["run"], run.name);
    let partial = events.iter().find_map(|event| match &event.payload {
        Some(Payload::MessageCompleted(done)) => done.message.clone(),
        _ => None,
    });
    assert_eq!(partial.unwrap().status(), pb::MessageStatus::Incomplete);
    world.stopped().await;
}

#[tokio::test]
async fn a_tool_that_fails_does_not_fail_the_run() {
    let call = |name: &str, arguments| Turn::call(name, &arguments);
    let script = Script::turns([
        call("calculate", json!({"expression": "1/0"})),
        call("echo", json!({"nothing": true})),
        call("missing", json!({})),
        Turn::raw_call("echo", "{broken"),
    ]);
    let world = World::new(script).await;
    let answer = world
        .grpc()
        .await
        .chat(ask("try everything"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.incomplete_reason(),
        pb::IncompleteReason::MaxTurns,
        "four turns are the limit here"
    );
    let outputs: Vec<String> = last_conversation(&world)
        .into_iter()
        .filter(|(role, _)| role == "tool")
        .map(|(_, text)| text)
        .collect();
    assert_eq!(outputs[0], "Error: division by zero");
    assert_eq!(
        outputs[1],
        "Input validation error: 'text' is a required property"
    );
    assert_eq!(outputs[2], "there is no tool named missing");
    assert!(
        outputs[3].starts_with("arguments are not valid JSON"),
        "{}",
        outputs[3]
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_request_id_is_answered_once() {
    let world = World::new(Script::turns([Turn::text("the only answer")])).await;
    let mut client = world.grpc().await;
    let request = |message: &str| pb::ChatRequest {
        request_id: "0191d3a0-0000-7000-8000-00000000000a".to_owned(),
        ..ask(message)
    };
    let first = client.chat(request("hi")).await.unwrap().into_inner();
    assert_eq!(client.chat(request("hi")).await.unwrap().into_inner(), first);
    let told = events(&world, request("hi")).await;
    assert!(matches!(
        told.last().unwrap().payload,
        Some(Payload::RunCompleted(_))
    ));
    assert_eq!(world.simulator.requests().len(), 1, "the model was asked once");

    let other = client.chat(request("something else")).await.unwrap_err();
    assert_eq!(
        (other.code(), reason(&other).as_str()),
        (Code::InvalidArgument, "REQUEST_ID_REUSED")
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_run_may_go_on_without_its_caller() {
    let world = World::new(Script::turns([
        Turn::text("slow answer").pace(300, 0),
        Turn::text("next"),
    ]))
    .await;
    let mut client = world.grpc().await;
    let request_id = "0191d3a0-0000-7000-8000-00000000000b".to_owned();
    let request = pb::ChatRequest {
        on_disconnect: pb::OnDisconnect::Continue.into(),
        request_id: request_id.clone(),
        ..ask("take your time")
    };
    let gone = tokio::time::timeout(Duration::from_millis(100), client.chat(request.clone())).await;
    assert!(gone.is_err());
    let answer = client.chat(request).await.unwrap().into_inner();
    assert_eq!(answer.response, "slow answer");
    world.stopped().await;
}

#[tokio::test]
async fn stopping_ends_every_stream_with_a_terminal_event() {
    let world = World::new(Script::turns([Turn::hang()])).await;
    let mut stream = world
        .grpc()
        .await
        .stream_chat(ask("hi"))
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap();
    world.tell_to_stop();
    let mut last = None;
    while let Some(event) = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
    {
        last = event.payload;
    }
    assert!(matches!(last, Some(Payload::RunFailed(_))), "{last:?}");
    world.stopped().await;
}
