//! The Assistants dialect in whole conversations: a thread there is bound to a thread here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistd::api::pb;
use assistd::config::{Dialect, StoreSection};
use assistd::simulator::{At, Cited, Fault, Finish, Item, Recorded, Script, Turn};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::description::Provider;
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
    let simulator = Provider::new(Script::stand_in()).await;
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

/// A run there has its messages of all turns. Each is told once, also behind a turn that only calls.
#[tokio::test]
async fn every_turn_of_a_run_says_what_is_its_own() {
    let call = |text: &str| Item::call("echo", json!({"text": text}).to_string());
    for streams in [true, false] {
        let script = Script::turns([
            Turn::say([Item::text("Let me see."), call("one")]).times(1),
            Turn::say([call("two")]).times(1),
            Turn::text("Well.").times(1),
        ]);
        let world = world(if streams { script } else { script.never_streaming() }).await;
        let answer = chat(&world, "hello", "").await;
        assert_eq!(answer.response, "Well.", "{streams}");
        assert_eq!(answer.usage.unwrap().turns, 3, "{streams}");
        world.stopped().await;
    }
}

/// A provider counts a run when it is over, with all of its turns, and says nothing while it waits for outputs.
#[tokio::test]
async fn the_turns_of_a_run_are_counted_as_its_provider_counts_the_run() {
    let call = |text: &str| Item::call("echo", json!({"text": text}).to_string());
    for streams in [true, false] {
        let script = Script::turns([
            Turn::say([Item::text("Let me see. ".repeat(9)), call("one")]).times(1),
            Turn::say([call("two")]).times(1),
            Turn::text("Well.").times(1),
        ]);
        let world = world(if streams { script } else { script.never_streaming() }).await;
        let answer = chat(&world, "hello", "").await;
        let usage = answer.usage.unwrap();
        let requests = world.simulator.requests();
        let submitted = requests
            .iter()
            .find_map(|request| request.path.strip_suffix("/submit_tool_outputs"));
        let path = submitted.unwrap().strip_prefix("/v1").unwrap();
        let run = reqwest::Client::new()
            .get(format!("{}{path}", world.simulator.base_url()))
            .header("openai-beta", "assistants=v2");
        let run: serde_json::Value = run.send().await.unwrap().json().await.unwrap();
        let counted = json!({
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        });
        assert_eq!(run["usage"], counted, "{streams}");
        world.stopped().await;
    }
}

/// Files that an answer cites come with their places in all of its text, whether it is streamed or asked after.
#[tokio::test]
async fn files_that_an_answer_cites_come_with_their_places() {
    for streams in [true, false] {
        let cited = Item::Cited(Cited {
            text: "It rains[1].[2]".into(),
            annotations: vec![
                json!({"type": "file_citation", "file_id": "file-1", "filename": "a.pdf", "start_index": 8, "end_index": 11}),
                json!({"type": "file_path", "file_id": "file-2", "start_index": 12, "end_index": 15}),
                // Not in the words of this API.
                json!({"type": "url_citation", "url": "https://a.example/", "start_index": 0, "end_index": 2}),
            ],
        });
        let script = Script::turns([Turn::say([Item::text("Well. "), cited])]);
        let world = world(if streams { script } else { script.never_streaming() }).await;
        let (status, answer) = world.post("/v1/chat", &json!({"message": "hello"})).await;
        assert_eq!(
            (status, &answer["response"]),
            (200, &json!("Well. It rains[1].[2]"))
        );
        let place = |id: &str, start: u64, end: u64| {
            let file = json!({"fileId": id, "name": "", "containerId": ""});
            json!({"file": file, "start": start.to_string(), "end": end.to_string()})
        };
        assert_eq!(
            answer["annotations"],
            json!([place("file-1", 14, 17), place("file-2", 18, 21)]),
            "{answer}"
        );
        world.stopped().await;
    }
}

/// The API has no words for an image by value, and for any file. A question about it would be answered by a model that has
/// not seen it. Nor has Chat Completions for a file by address.
#[tokio::test]
async fn what_an_api_has_no_field_for_is_refused_in_a_question_and_named_in_what_was_said_before() {
    let world = world(Script::stand_in()).await;
    let in_chat = World::new(Script::stand_in()).await;
    let (_, thread) = world.post("/v1/threads", &json!({})).await;
    let (_, thread_in_chat) = in_chat.post("/v1/threads", &json!({})).await;
    let ask_in = |thread: &serde_json::Value, message: &str, part: &serde_json::Value| json!({"message": message, "thread": thread["name"], "parts": [part]});
    let image = json!({"image": {"data": "aGk=", "mimeType": "image/png"}});
    let file = json!({"file": {"data": "aGk=", "mimeType": "text/plain", "name": "a.txt"}});
    let address = json!({"file": {"url": "https://a.example/b.txt", "name": "b.txt"}});
    for (world, thread, part, words) in [
        (&world, &thread, &image, "no images by value, only by address"),
        (&world, &thread, &file, "no files, only images by address"),
        (&world, &thread, &address, "no files, only images by address"),
        (
            &in_chat,
            &thread_in_chat,
            &address,
            "no files by address, only by value",
        ),
    ] {
        let (status, refusal) = world.post("/v1/chat", &ask_in(thread, "what is it?", part)).await;
        let text = refusal.to_string();
        assert!((400..500).contains(&status), "{status} {text}");
        for word in ["MODEL_REQUEST_REJECTED", "content[1]", words] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(world.simulator.requests().is_empty(), "nothing is sent");
    }

    let asked_in_chat = ask_in(&thread_in_chat, "and this?", &file);
    let (status, answer) = in_chat.post("/v1/chat", &asked_in_chat).await;
    assert_eq!(status, 200, "{answer}");
    let said = |text: &str| json!({"type": "text", "text": text});
    let requests = in_chat.simulator.requests();
    let messages = requests.last().unwrap().body["messages"].as_array().unwrap();
    let content = [
        said("what is it?"),
        said("[file b.txt: https://a.example/b.txt]"),
        said("\n\nand this?"),
        json!({"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}}),
    ];
    assert_eq!(messages.last().unwrap()["content"], json!(content));
    in_chat.stopped().await;
    let ask = |message: &str, part| ask_in(&thread, message, &part);

    let image = json!({"image": {"url": "https://a.example/b.png", "detail": "IMAGE_DETAIL_ORIGINAL"}});
    let (status, answer) = world.post("/v1/chat", &ask("and this?", image)).await;
    assert_eq!(
        (status, &answer["response"]),
        (200, &json!("Mock reply to: and this?"))
    );
    let requests = world.simulator.requests();
    let messages = &requests.last().unwrap().body["thread"]["messages"];
    let address = json!({"url": "https://a.example/b.png", "detail": "high"});
    let expected = json!([
        {"role": "user", "content": [said("what is it?"), said("[image file]")]},
        {"role": "user", "content": [said("what is it?"), said("[file a.txt]")]},
        {"role": "user", "content": [said("what is it?"), said("[file b.txt: https://a.example/b.txt]")]},
        {"role": "user", "content": [said("and this?"), {"type": "image_url", "image_url": address}]},
    ]);
    assert_eq!(messages, &expected);
    world.stopped().await;
}

/// The API takes no limit below 256 tokens. A lower one is kept here, and the run there is not left at work.
#[tokio::test]
async fn a_limit_that_the_api_does_not_take_cuts_the_answer_and_cancels_the_run() {
    for streams in [true, false] {
        let script = Script::turns([
            Turn::text(["one two", " three four five", " six"]),
            Turn::text("well"),
        ]);
        let world = world(if streams { script } else { script.never_streaming() }).await;
        let request = json!({"message": "count", "limits": {"maxOutputTokens": "4"}});
        let (status, answer) = world.post("/v1/chat", &request).await;
        assert_eq!((status, &answer["response"]), (200, &json!("one two three four")));
        assert_eq!(answer["incompleteReason"], "INCOMPLETE_REASON_MAX_TOKENS");
        let limit = |request: &Arc<Recorded>| request.body["max_completion_tokens"].as_u64();
        assert_eq!(world.simulator.requests().iter().find_map(limit), Some(256));
        let cancelled = async {
            while !asked(&world).iter().any(|request| request.ends_with("cancel")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, cancelled).await.unwrap();
        // What fits is whole.
        let request =
            json!({"message": "and?", "thread": answer["thread"], "limits": {"maxOutputTokens": "4"}});
        let (_, answer) = world.post("/v1/chat", &request).await;
        assert_eq!(
            (&answer["response"], &answer["state"]),
            (&json!("well"), &json!("RUN_STATE_COMPLETED"))
        );
        world.stopped().await;
    }
}

/// A filter that cuts a call, of which this API has no word, in any dialect.
#[tokio::test]
async fn a_call_that_the_filter_cuts_ends_the_run_as_filtered() {
    for dialect in [Dialect::Assistants, Dialect::Responses, Dialect::ChatCompletions] {
        let cut = Turn::raw_call("echo", ["{\"te"]).finish(Finish::ContentFilter);
        let world = World::with(Script::turns([cut]), |config| {
            config.model.dialect = Some(dialect)
        })
        .await;
        let (status, answer) = world.post("/v1/chat", &json!({"message": "hello"})).await;
        assert_eq!(
            (status, &answer["state"], &answer["incompleteReason"]),
            (
                200,
                &json!("RUN_STATE_INCOMPLETE"),
                &json!("INCOMPLETE_REASON_CONTENT_FILTER")
            ),
            "{dialect:?}: {answer}"
        );
        world.stopped().await;
    }
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
    for is_harmless in [true, false] {
        let tool = if is_harmless { "echo" } else { "remember" };
        let call = Turn::call(tool, &json!({"text": "milk"}));
        let before = Provider::new(Script::turns([call])).await;
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
        before.close().await;
        let after = Provider::new(Script::stand_in()).await;
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
