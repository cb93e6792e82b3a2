//! The Assistants dialect in whole conversations: a thread there is bound to a thread here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistd::api::pb;
use assistd::config::{Dialect, StoreSection};
use assistd::simulator::{At, Fault, Recorded, Script, Turn};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{PATIENCE, World};

async fn world(script: Script) -> World {
    World::with(script, |config| config.model.dialect = Some(Dialect::Assistants)).await
}

async fn chat(world: &World, message: &str, thread: &str) -> pb::ChatResponse {
    let request = pb::ChatRequest {
        message: message.to_owned(),
        thread: thread.to_owned(),
        ..pb::ChatRequest::default()
    };
    world.grpc().await.chat(request).await.unwrap().into_inner()
}

/// The requests that change something there, in short; ids are left out.
fn asked(world: &World) -> Vec<String> {
    let short = |request: &Arc<Recorded>| {
        let segments: Vec<&str> = request
            .path
            .split('/')
            .skip(2)
            .filter(|segment| !segment.contains('_') || *segment == "submit_tool_outputs")
            .collect();
        format!("{} {}", request.method, segments.join("/"))
    };
    world.simulator.requests().iter().map(short).collect()
}

#[tokio::test]
async fn a_conversation_stays_in_one_thread_and_sends_only_what_is_new() {
    let world = world(Script::stand_in()).await;
    let first = chat(&world, "echo hello", "").await;
    assert_eq!(first.response, "The tool answered: Echo: hello");
    assert_eq!(first.usage.unwrap().turns, 2);
    let second = chat(&world, "and now?", &first.thread).await;
    assert_eq!(second.response, "Mock reply to: and now?");
    assert_eq!(
        asked(&world),
        [
            "GET assistants",
            "POST assistants",
            "POST threads/runs",
            "POST threads/runs/submit_tool_outputs",
            "POST threads/runs"
        ]
    );
    let requests = world.simulator.requests();
    assert_eq!(
        requests[4].body["additional_messages"],
        json!([{"role": "user", "content": "and now?"}])
    );
    assert!(
        requests[4].path.starts_with("/v1/threads/thread_"),
        "{}",
        requests[4].path
    );
    assert_eq!(requests[4].body["instructions"], "Be brief.");
    world.stopped().await;
}

#[tokio::test]
async fn a_run_that_broke_off_leaves_its_thread_for_a_new_one_with_the_whole_history() {
    let broken = Turn::text(["half ", "more"]).fault(Fault::Cut(At::Deltas(1)));
    let world = world(Script::turns([
        Turn::text("first"),
        broken.when_user("two").times(1),
    ]))
    .await;
    let first = chat(&world, "one", "").await;
    let request = pb::ChatRequest {
        message: "two".into(),
        thread: first.thread.clone(),
        ..pb::ChatRequest::default()
    };
    world.grpc().await.chat(request).await.unwrap_err();
    chat(&world, "three", &first.thread).await;
    let requests = world.simulator.requests();
    let anew = requests
        .iter()
        .rfind(|request| request.path == "/v1/threads/runs")
        .unwrap();
    let texts: Vec<&str> = anew.body["thread"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["one", "first", "two", "half ", "three"]);
    world.stopped().await;
}

#[tokio::test]
async fn after_a_restart_the_thread_is_found_untouched_and_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let simulator =
        assistd::simulator::Simulator::bind(([127, 0, 0, 1], 0).into(), Script::stand_in().recording())
            .await
            .unwrap();
    let started = || {
        World::with(Script::stand_in(), |config| {
            config.model.dialect = Some(Dialect::Assistants);
            config.model.endpoint.base_url = Some(simulator.base_url());
            config.store = StoreSection::Directory(directory.path().to_owned());
        })
    };
    let world = started().await;
    let first = chat(&world, "one", "").await;
    world.stopped().await;
    let world = started().await;
    chat(&world, "two", &first.thread).await;
    world.stopped().await;
    let requests = simulator.requests();
    let paths: Vec<String> = requests
        .iter()
        .map(|one| format!("{} {}", one.method, one.path))
        .collect();
    // The assistant is found by its mark, the thread by its newest run.
    assert_eq!(
        paths.iter().filter(|path| *path == "POST /v1/assistants").count(),
        1,
        "{paths:?}"
    );
    assert_eq!(
        paths
            .iter()
            .filter(|path| *path == "POST /v1/threads/runs")
            .count(),
        1,
        "{paths:?}"
    );
    assert_eq!(
        requests.last().unwrap().body["additional_messages"][0]["content"],
        "two"
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_run_there() {
    let hanging = Turn::text(["one", "two"]).fault(Fault::Hang(At::Deltas(1)));
    let world = world(Script::turns([hanging])).await;
    let request = pb::ChatRequest {
        message: "hi".into(),
        ..pb::ChatRequest::default()
    };
    let mut stream = world
        .grpc()
        .await
        .stream_chat(request)
        .await
        .unwrap()
        .into_inner();
    while !matches!(
        stream.message().await.unwrap().unwrap().payload,
        Some(pb::run_event::Payload::TextDelta(_))
    ) {}
    drop(stream);
    let cancelled = async {
        while !asked(&world).iter().any(|request| request.ends_with("cancel")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cancelled).await.unwrap();
    world.stopped().await;
}

#[tokio::test]
async fn a_long_history_is_sent_in_parts() {
    let world = world(Script::stand_in()).await;
    let mut client = pb::thread_service_client::ThreadServiceClient::connect(world.url(""))
        .await
        .unwrap();
    let new = pb::CreateThreadRequest {
        thread: Some(pb::Thread::default()),
        ..pb::CreateThreadRequest::default()
    };
    let thread = client.create_thread(new).await.unwrap().into_inner();
    for index in 0..70 {
        let message = pb::Message {
            role: pb::Role::User.into(),
            content: vec![pb::ContentPart {
                part: Some(pb::content_part::Part::Text(format!("message {index}"))),
            }],
            ..pb::Message::default()
        };
        let request = pb::CreateMessageRequest {
            parent: thread.name.clone(),
            message: Some(message),
            ..pb::CreateMessageRequest::default()
        };
        client.create_message(request).await.unwrap();
    }
    let answer = chat(&world, "the last one", &thread.name).await;
    assert_eq!(answer.response, "Mock reply to: the last one");
    let posted = asked(&world)
        .iter()
        .filter(|one| *one == "POST threads/messages")
        .count();
    assert_eq!(posted, 71 - 64);
    world.stopped().await;
}

/// What became of each request of the first turn of a run: its result and the HTTP status.
async fn attempts(world: &World, run: &str) -> Vec<String> {
    let response = reqwest::get(world.url(&format!("/v1/{run}/steps")))
        .await
        .unwrap();
    let listed: serde_json::Value = response.json().await.unwrap();
    let attempts = listed["steps"][0]["modelTurn"]["attempts"].as_array().unwrap();
    let short = |attempt: &serde_json::Value| {
        let result = attempt["result"].as_str().unwrap();
        let result = result.strip_prefix("MODEL_ATTEMPT_RESULT_").unwrap();
        format!("{result} {}", attempt["httpStatus"])
    };
    attempts.iter().map(short).collect()
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_asked_after_its_runs() {
    let world = world(Script::stand_in().never_streaming()).await;
    let first = chat(&world, "echo hello", "").await;
    assert_eq!(first.response, "The tool answered: Echo: hello");
    assert_eq!(first.usage.unwrap().turns, 2);
    let second = chat(&world, "and now?", &first.thread).await;
    assert_eq!(second.response, "Mock reply to: and now?");
    let mut changes = asked(&world);
    let questions = changes.len();
    changes.retain(|request| request.starts_with("POST"));
    assert_eq!(
        changes,
        [
            "POST assistants",
            "POST threads/runs",
            "POST threads/runs/submit_tool_outputs",
            "POST threads/runs"
        ]
    );
    // Each turn asks after its run and for its messages.
    assert!(questions >= changes.len() + 6, "{questions}");
    assert_eq!(attempts(&world, &first.run).await, ["ANSWERED 200"]);
    world.stopped().await;
}

#[tokio::test]
async fn a_run_that_fails_where_nothing_streams_keeps_what_it_said() {
    let failing = Turn::text("half an answer").finish(assistd::simulator::Finish::Failed);
    let world = world(Script::turns([failing]).never_streaming()).await;
    let request = pb::ChatRequest {
        message: "hello".into(),
        ..pb::ChatRequest::default()
    };
    let mut stream = world
        .grpc()
        .await
        .stream_chat(request)
        .await
        .unwrap()
        .into_inner();
    let (mut said, mut has_failed) = (String::new(), false);
    while let Some(event) = stream.message().await.unwrap() {
        match event.payload.unwrap() {
            pb::run_event::Payload::TextDelta(delta) => said.push_str(&delta.text),
            pb::run_event::Payload::RunFailed(_) => has_failed = true,
            _ => {}
        }
    }
    assert_eq!((said.as_str(), has_failed), ("half an answer", true));
    world.stopped().await;
}

#[tokio::test]
async fn a_request_that_failed_before_any_work_is_sent_again_and_told() {
    let busy = Turn::status(503).header("retry-after", "0").times(2);
    let world = world(Script::turns([busy])).await;
    let answer = chat(&world, "hello", "").await;
    assert_eq!(answer.response, "Mock reply to: hello");
    assert_eq!(
        attempts(&world, &answer.run).await,
        ["FAILED 503", "FAILED 503", "ANSWERED 200"]
    );
    // The assistant was found before, and is remembered.
    let runs = asked(&world);
    assert_eq!(runs.iter().filter(|one| *one == "POST threads/runs").count(), 3);
    assert_eq!(runs.iter().filter(|one| *one == "POST assistants").count(), 1);
    world.stopped().await;
}

/// An address that stays the same, in front of a server that can be exchanged.
async fn front_of(server: SocketAddr) -> (SocketAddr, Arc<Mutex<SocketAddr>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(Mutex::new(server));
    let behind = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = *behind.lock().unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (address, server)
}

/// A provider that is started anew has lost its threads. What waited here for a person or a client goes on then.
#[tokio::test]
async fn a_run_that_is_lost_while_its_calls_are_made_is_told_anew_only_if_they_do_no_harm() {
    let simulator = async |script: Script| {
        let address = ([127, 0, 0, 1], 0).into();
        assistd::simulator::Simulator::bind(address, script.recording())
            .await
            .unwrap()
    };
    for is_harmless in [true, false] {
        let tool = if is_harmless { "echo" } else { "remember" };
        let call = Turn::call(tool, &json!({"text": "milk"}));
        let before = simulator(Script::turns([call])).await;
        let (front, behind) = front_of(before.address()).await;
        let base_url = before
            .base_url()
            .replace(&before.address().to_string(), &front.to_string());
        let world = World::with(Script::stand_in(), |config| {
            config.model.dialect = Some(Dialect::Assistants);
            config.model.endpoint.base_url = Some(base_url);
            if is_harmless {
                crate::actions::asking(config);
            }
        })
        .await;
        let own_tools = json!([{"name": "remember", "inputSchema": {"type": "object"}}]);
        let request = match is_harmless {
            true => json!({"message": "buy milk"}),
            false => json!({"message": "buy milk", "clientTools": own_tools}),
        };
        let (status, waiting) = world.post("/v1/chat", &request).await;
        assert_eq!(
            (status, &waiting["state"]),
            (200, &json!("RUN_STATE_REQUIRES_ACTION"))
        );
        before.serve_until(std::future::ready(())).await;
        let after = simulator(Script::stand_in()).await;
        *behind.lock().unwrap() = after.address();

        let action = &waiting["pendingActions"][0];
        let answer = match is_harmless {
            true => json!({"actionId": action["id"], "approve": {}}),
            false => {
                let call = &action["clientTool"]["toolCall"]["id"];
                let output = json!({"toolCallId": call, "content": [{"text": "kept"}]});
                json!({"actionId": action["id"], "output": output})
            }
        };
        let run = waiting["run"].as_str().unwrap();
        let path = format!("/v1/{run}:submitActions");
        let (status, submitted) = world.post(&path, &json!({"answers": [answer]})).await;
        assert_eq!(status, 200, "{submitted}");
        let watched = reqwest::get(world.url(&format!("/v1/{run}:watch")))
            .await
            .unwrap();
        let watched = tokio::time::timeout(PATIENCE, watched.text())
            .await
            .unwrap()
            .unwrap();
        let paths: Vec<String> = after.requests().iter().map(|one| one.path.clone()).collect();
        let is_told_anew = paths.iter().any(|path| path == "/v1/threads/runs");
        assert_eq!(is_told_anew, is_harmless, "{paths:?}");
        if is_harmless {
            assert!(watched.contains("Mock reply to: buy milk"), "{watched}");
            assert!(watched.contains("runCompleted"), "{watched}");
        } else {
            assert!(watched.contains("MODEL_UNAVAILABLE"), "{watched}");
            assert!(watched.contains("has lost the run that waited"), "{watched}");
        }
        world.stopped().await;
    }
}
