//! Threads, messages and runs over the wire: made, read, listed, changed, watched, called off, deleted.

use std::time::Duration;

use assistd::api::pb;
use assistd::api::pb::image_part::Source;
use assistd::api::pb::run_event::Payload;
use assistd::api::pb::run_service_client::RunServiceClient;
use assistd::api::pb::thread_service_client::ThreadServiceClient;
use assistd::simulator::{Script, Turn};
use futures::StreamExt;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{PATIENCE, World};

async fn channel(world: &World) -> Channel {
    Channel::from_shared(world.url(""))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn threads(world: &World) -> ThreadServiceClient<Channel> {
    ThreadServiceClient::new(channel(world).await)
}

async fn runs(world: &World) -> RunServiceClient<Channel> {
    RunServiceClient::new(channel(world).await)
}

fn reason(status: &Status) -> (Code, String) {
    let info = status.get_error_details().error_info().cloned().unwrap();
    (status.code(), info.reason)
}

fn image(source: Source) -> pb::ContentPart {
    let image = pb::ImagePart {
        source: Some(source),
        ..pb::ImagePart::default()
    };
    pb::ContentPart {
        part: Some(pb::content_part::Part::Image(image)),
    }
}

fn text(text: &str) -> pb::ContentPart {
    pb::ContentPart {
        part: Some(pb::content_part::Part::Text(text.to_owned())),
    }
}

fn say(thread: &str, words: &str) -> pb::CreateMessageRequest {
    pb::CreateMessageRequest {
        parent: thread.to_owned(),
        message: Some(pb::Message {
            content: vec![text(words)],
            ..pb::Message::default()
        }),
        ..pb::CreateMessageRequest::default()
    }
}

async fn new_thread(world: &World) -> String {
    let request = pb::CreateThreadRequest {
        thread: Some(pb::Thread::default()),
        ..pb::CreateThreadRequest::default()
    };
    let created = threads(world).await.create_thread(request).await.unwrap();
    created.into_inner().name
}

/// Starts a run on a thread that has a message to answer.
async fn start(world: &World, thread: &str) -> pb::Run {
    threads(world)
        .await
        .create_message(say(thread, "hi"))
        .await
        .unwrap();
    let request = pb::CreateRunRequest {
        parent: thread.to_owned(),
        run: Some(pb::Run::default()),
        ..pb::CreateRunRequest::default()
    };
    runs(world).await.create_run(request).await.unwrap().into_inner()
}

async fn watch(world: &World, run: &str, after_sequence: i64) -> Vec<pb::RunEvent> {
    let request = pb::WatchRunRequest {
        name: run.to_owned(),
        after_sequence,
    };
    let events = runs(world).await.watch_run(request).await.unwrap().into_inner();
    tokio::time::timeout(PATIENCE, events.map(Result::unwrap).collect())
        .await
        .expect("it ends")
}

#[tokio::test]
async fn a_thread_is_made_changed_listed_and_deleted() {
    let world = World::new(Script::stand_in()).await;
    let mut client = threads(&world).await;
    let request = pb::CreateThreadRequest {
        thread: Some(pb::Thread {
            title: "Trip".to_owned(),
            metadata: [("user".to_owned(), "7".to_owned())].into(),
            ..pb::Thread::default()
        }),
        request_id: "0191d3a0-0000-7000-8000-00000000000c".to_owned(),
    };
    let created = client.create_thread(request.clone()).await.unwrap().into_inner();
    assert!(created.name.starts_with("threads/thread_"), "{created:?}");
    assert_eq!(
        (created.title.as_str(), created.metadata["user"].as_str()),
        ("Trip", "7")
    );
    let again = client.create_thread(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, created, "the same request brings the same thread");
    let create = request;

    let change = |title: &str, etag: &str, mask: &[&str]| pb::UpdateThreadRequest {
        thread: Some(pb::Thread {
            name: created.name.clone(),
            title: title.to_owned(),
            etag: etag.to_owned(),
            ..pb::Thread::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: mask.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let update = change("Journey", &created.etag, &["title"]);
    let updated = client.update_thread(update).await.unwrap().into_inner();
    assert_eq!((updated.title.as_str(), updated.metadata.len()), ("Journey", 1));
    let stale = client.update_thread(change("x", &created.etag, &["title"])).await;
    assert_eq!(
        reason(&stale.unwrap_err()),
        (Code::Aborted, "ETAG_MISMATCH".to_owned())
    );
    let unknown = client
        .update_thread(change("x", "", &["colour"]))
        .await
        .unwrap_err();
    assert_eq!(
        reason(&unknown),
        (Code::InvalidArgument, "VALIDATION_FAILED".to_owned())
    );

    for _ in 0..3 {
        new_thread(&world).await;
    }
    let mut names = Vec::new();
    let mut request = pb::ListThreadsRequest {
        page_size: 3,
        ..pb::ListThreadsRequest::default()
    };
    loop {
        let page = client.list_threads(request.clone()).await.unwrap().into_inner();
        names.extend(page.threads.into_iter().map(|thread| thread.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        request.order_by = "create_time  desc".to_owned();
    }
    assert_eq!(
        (names.len(), names.last()),
        (4, Some(&created.name)),
        "newest first"
    );
    request.order_by = "create_time".to_owned();
    let foreign = client.list_threads(request).await.unwrap_err();
    assert_eq!(
        reason(&foreign),
        (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned())
    );

    let delete = pb::DeleteThreadRequest {
        name: created.name.clone(),
        ..pb::DeleteThreadRequest::default()
    };
    client.delete_thread(delete.clone()).await.unwrap();
    let gone = client.delete_thread(delete).await.unwrap_err();
    assert_eq!(reason(&gone), (Code::NotFound, "THREAD_NOT_FOUND".to_owned()));
    let recreated = client.create_thread(create).await.unwrap_err();
    for gone in [gone, recreated] {
        let named = gone.get_error_details().resource_info().cloned().unwrap();
        assert_eq!(named.resource_name, created.name);
        let info = gone.get_error_details().error_info().cloned().unwrap();
        assert_eq!(info.metadata["thread"], created.name);
    }
    world.stopped().await;
}

#[tokio::test]
async fn messages_are_added_and_never_change() {
    let world = World::new(Script::stand_in()).await;
    let mut client = threads(&world).await;
    let thread = new_thread(&world).await;
    let mut request = say(&thread, "first");
    request.request_id = "0191d3a0-0000-7000-8000-00000000000d".to_owned();
    let first = client.create_message(request.clone()).await.unwrap().into_inner();
    assert_eq!(client.create_message(request).await.unwrap().into_inner(), first);
    assert_eq!((first.role(), first.run.as_str()), (pb::Role::User, ""));
    let mut request = say(&thread, "second");
    request.message.as_mut().unwrap().role = pb::Role::Assistant.into();
    let second = client.create_message(request).await.unwrap().into_inner();
    let got = client
        .get_message(pb::GetMessageRequest {
            name: second.name.clone(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got, second);
    let list = pb::ListMessagesRequest {
        parent: thread.clone(),
        ..pb::ListMessagesRequest::default()
    };
    let listed = client.list_messages(list).await.unwrap().into_inner();
    assert_eq!(listed.messages, [first.clone(), second]);

    let odd = |change: fn(&mut pb::Message)| {
        let mut request = say(&thread, "odd");
        change(request.message.as_mut().unwrap());
        request
    };
    let cases = [
        (
            odd(|message| message.role = pb::Role::System.into()),
            "message.role",
        ),
        (odd(|message| message.role = 99), "message.role"),
        (odd(|message| message.content.clear()), "message.content"),
        (
            odd(|message| message.content[0].part = None),
            "message.content[0]",
        ),
        (
            odd(|message| message.content.push(text(""))),
            "message.content[1].text",
        ),
        (
            odd(|message| message.content.push(image(Source::Url("http://x/a".to_owned())))),
            "message.content[1].image.url",
        ),
        (
            odd(|message| message.content.push(image(Source::Data(vec![1])))),
            "message.content[1].image.mime_type",
        ),
        (
            odd(|message| drop(message.metadata.insert("k".repeat(65), String::new()))),
            "message.metadata",
        ),
    ];
    for (request, field) in cases {
        let refused = client.create_message(request).await.unwrap_err();
        let details = refused.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    let stranger = first.name.replace("messages/msg_", "messages/msg_0");
    let missing = client.get_message(pb::GetMessageRequest { name: stranger }).await;
    assert_eq!(
        reason(&missing.unwrap_err()),
        (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned())
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_run_goes_on_by_itself_and_can_be_watched_from_anywhere() {
    let world = World::new(Script::turns([
        Turn::call("echo", &json!({"text": "ping"})),
        Turn::text("pong"),
    ]))
    .await;
    let thread = new_thread(&world).await;
    let run = start(&world, &thread).await;
    let all = watch(&world, &run.name, 0).await;
    let sequences: Vec<i64> = all.iter().map(|event| event.sequence).collect();
    let last = i64::try_from(all.len()).unwrap();
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    assert!(matches!(
        all.last().unwrap().payload,
        Some(Payload::RunCompleted(_))
    ));
    for after in [0, 1, last / 2, last - 1, last] {
        let place = usize::try_from(after).unwrap();
        assert_eq!(
            watch(&world, &run.name, after).await,
            all[place..],
            "after {after}"
        );
    }
    let mut client = runs(&world).await;
    for (after_sequence, expected) in [(last + 1, Code::InvalidArgument), (-1, Code::InvalidArgument)] {
        let request = pb::WatchRunRequest {
            name: run.name.clone(),
            after_sequence,
        };
        assert_eq!(client.watch_run(request).await.unwrap_err().code(), expected);
    }
    let done = client
        .get_run(pb::GetRunRequest {
            name: run.name.clone(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (done.state(), done.last_sequence),
        (pb::RunState::Completed, last)
    );
    assert_ne!(done.etag, run.etag);
    let list = pb::ListRunsRequest {
        parent: thread.clone(),
        states: vec![pb::RunState::Completed.into()],
        ..pb::ListRunsRequest::default()
    };
    assert_eq!(
        client.list_runs(list.clone()).await.unwrap().into_inner().runs,
        [done]
    );
    let other = pb::ListRunsRequest {
        states: vec![pb::RunState::Running.into(), pb::RunState::Failed.into()],
        ..list
    };
    assert_eq!(client.list_runs(other).await.unwrap().into_inner().runs, []);

    let steps = pb::ListRunStepsRequest {
        parent: run.name.clone(),
        ..pb::ListRunStepsRequest::default()
    };
    let steps = client.list_run_steps(steps).await.unwrap().into_inner().steps;
    let kinds: Vec<_> = steps
        .iter()
        .map(|step| match step.details.as_ref().unwrap() {
            pb::run_step::Details::ModelTurn(turn) => format!("turn {}", turn.turn),
            pb::run_step::Details::ToolCall(call) => {
                let call = call.tool_call.as_ref().unwrap();
                format!("calls {}", call.tool)
            }
            pb::run_step::Details::Summary(_) => "summary".to_owned(),
        })
        .collect();
    assert_eq!(kinds, ["turn 1", "calls echo", "turn 2"]);
    assert!(steps.iter().all(|step| step.state() == pb::StepState::Completed));
    world.stopped().await;
}

#[tokio::test]
async fn a_run_is_called_off_by_anybody_and_its_thread_can_be_deleted_by_force() {
    let script = Turn::hang;
    let world = World::new(Script::turns([script(), script()])).await;
    let mut client = runs(&world).await;
    let thread = new_thread(&world).await;
    let empty = pb::CreateRunRequest {
        parent: thread.clone(),
        run: Some(pb::Run::default()),
        ..pb::CreateRunRequest::default()
    };
    let nothing = client.create_run(empty).await.unwrap_err();
    assert_eq!(
        reason(&nothing),
        (Code::InvalidArgument, "VALIDATION_FAILED".to_owned())
    );
    let run = start(&world, &thread).await;
    let cancel = pb::CancelRunRequest {
        name: run.name.clone(),
    };
    let cancelled = client.cancel_run(cancel.clone()).await.unwrap().into_inner();
    assert_eq!(cancelled.state(), pb::RunState::Cancelled);
    assert_eq!(client.cancel_run(cancel).await.unwrap().into_inner(), cancelled);

    let run = start(&world, &thread).await;
    let mut client = threads(&world).await;
    let busy = client.create_message(say(&thread, "wait")).await.unwrap_err();
    assert_eq!(
        reason(&busy),
        (Code::FailedPrecondition, "THREAD_BUSY".to_owned())
    );
    let info = busy.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata["run"], run.name);
    let mut delete = pb::DeleteThreadRequest {
        name: thread.clone(),
        ..pb::DeleteThreadRequest::default()
    };
    let refused = client.delete_thread(delete.clone()).await.unwrap_err();
    assert_eq!(reason(&refused).1, "THREAD_BUSY");
    delete.force = true;
    client.delete_thread(delete).await.unwrap();
    let gone = runs(&world)
        .await
        .get_run(pb::GetRunRequest { name: run.name })
        .await;
    assert_eq!(
        reason(&gone.unwrap_err()),
        (Code::NotFound, "RUN_NOT_FOUND".to_owned())
    );
    world.stopped().await;
}

fn ask(thread: &str, words: &str, on_busy: pb::OnBusy) -> pb::ChatRequest {
    pb::ChatRequest {
        message: words.to_owned(),
        thread: thread.to_owned(),
        on_busy: on_busy.into(),
        ..pb::ChatRequest::default()
    }
}

async fn history(world: &World, thread: &str) -> Vec<String> {
    let list = pb::ListMessagesRequest {
        parent: thread.to_owned(),
        ..pb::ListMessagesRequest::default()
    };
    let listed = threads(world)
        .await
        .list_messages(list)
        .await
        .unwrap()
        .into_inner();
    let texts = listed.messages.into_iter().flat_map(|message| message.content);
    texts
        .filter_map(|part| match part.part {
            Some(pb::content_part::Part::Text(text)) => Some(text),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_run_on_a_busy_thread_waits_or_takes_over() {
    let world = World::new(Script::turns([
        Turn::text("the third").when_user("third"),
        Turn::text("the second").when_user("second"),
        Turn::hang().when_user("first"),
    ]))
    .await;
    let mut client = world.grpc().await;
    let mut first = client
        .stream_chat(ask("", "first", pb::OnBusy::Reject))
        .await
        .unwrap()
        .into_inner();
    let begun = first.message().await.unwrap().unwrap();
    let (thread, _) = begun.run.split_once("/runs/").unwrap();

    let mut second = client
        .stream_chat(ask(thread, "second", pb::OnBusy::Enqueue))
        .await
        .unwrap()
        .into_inner();
    let queued = second.message().await.unwrap().unwrap();
    let Some(Payload::RunStateChanged(change)) = queued.payload else {
        panic!("{queued:?}")
    };
    assert_eq!(change.state(), pb::RunState::Queued);
    let got = runs(&world)
        .await
        .get_run(pb::GetRunRequest {
            name: queued.run.clone(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((got.state(), got.start_time), (pb::RunState::Queued, None));
    let rejected = client
        .chat(ask(thread, "no", pb::OnBusy::Reject))
        .await
        .unwrap_err();
    assert_eq!(reason(&rejected).1, "THREAD_BUSY");

    // Whoever takes over calls off the active run alone, and waits behind those that wait already.
    let third = client.chat(ask(thread, "third", pb::OnBusy::Interrupt)).await;
    assert_eq!(third.unwrap().into_inner().response, "the third");
    for (stream, is_cancelled) in [(&mut first, true), (&mut second, false)] {
        let mut last = None;
        while let Some(event) = stream.message().await.unwrap() {
            last = event.payload;
        }
        let is_it = matches!(last, Some(Payload::RunCancelled(_)));
        assert_eq!(is_it, is_cancelled, "{last:?}");
    }
    let expected = ["first", "second", "the second", "third", "the third"];
    assert_eq!(history(&world, thread).await, expected);
    world.stopped().await;
}

#[tokio::test]
async fn queued_runs_go_on_in_their_order_when_the_thread_is_free() {
    let world = World::new(Script::turns([
        Turn::text("the third").when_user("third"),
        Turn::text("the second").when_user("second"),
        Turn::hang().when_user("first"),
    ]))
    .await;
    let thread = new_thread(&world).await;
    threads(&world)
        .await
        .create_message(say(&thread, "first"))
        .await
        .unwrap();
    let create = pb::CreateRunRequest {
        parent: thread.clone(),
        run: Some(pb::Run::default()),
        ..pb::CreateRunRequest::default()
    };
    let first = runs(&world).await.create_run(create).await.unwrap().into_inner();
    let mut client = world.grpc().await;
    let mut second = client
        .stream_chat(ask(&thread, "second", pb::OnBusy::Enqueue))
        .await
        .unwrap()
        .into_inner();
    second.message().await.unwrap();
    let mut third = client
        .stream_chat(ask(&thread, "third", pb::OnBusy::Enqueue))
        .await
        .unwrap()
        .into_inner();
    third.message().await.unwrap();
    runs(&world)
        .await
        .cancel_run(pb::CancelRunRequest { name: first.name })
        .await
        .unwrap();
    for stream in [&mut second, &mut third] {
        let mut sequence = 1;
        while let Some(event) = stream.message().await.unwrap() {
            sequence += 1;
            assert_eq!(event.sequence, sequence);
        }
    }
    assert_eq!(
        history(&world, &thread).await,
        ["first", "second", "the second", "third", "the third"]
    );
    world.stopped().await;
}

/// The sequences of a stream over HTTP, from its `id:` lines.
async fn ids(world: &World, path: &str, last_event_id: Option<i64>) -> (u16, Vec<i64>) {
    let mut request = reqwest::Client::new().get(world.url(path));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let response = request.timeout(PATIENCE).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    (status, ids.map(|id| id.parse().unwrap()).collect())
}

#[tokio::test]
async fn a_stream_over_http_resumes_after_the_last_event_that_was_seen() {
    let world = World::new(Script::turns([Turn::text("pong")])).await;
    let (status, thread) = world.post("/v1/threads", &json!({})).await;
    assert_eq!(status, 200, "{thread}");
    let thread = thread["name"].as_str().unwrap();
    let message = json!({"content": [{"text": "ping"}]});
    let (status, _) = world.post(&format!("/v1/{thread}/messages"), &message).await;
    assert_eq!(status, 200);
    let (status, run) = world.post(&format!("/v1/{thread}/runs"), &json!({})).await;
    assert_eq!(status, 200, "{run}");
    let path = format!("/v1/{}:watch", run["name"].as_str().unwrap());
    let (_, all) = ids(&world, &path, None).await;
    assert!(all.len() > 4, "{all:?}");
    for seen in [1, 3] {
        let (status, rest) = ids(&world, &path, Some(seen)).await;
        let place = usize::try_from(seen).unwrap();
        assert_eq!((status, rest.as_slice()), (200, &all[place..]));
    }
    let over = ids(&world, &path, all.last().copied()).await;
    assert_eq!(over, (204, Vec::new()), "nothing follows the last event");
    let steps: Value = reqwest::get(world.url(&format!("/v1/{}/steps", run["name"].as_str().unwrap())))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(steps["steps"][0]["modelTurn"]["turn"], 1);
    world.stopped().await;
}

#[tokio::test]
async fn a_run_that_was_begun_for_nobody_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = |config: &mut assistd::config::Config| {
        config.store = assistd::config::StoreSection::Directory(directory.path().to_owned());
        config.api.drain_grace = Duration::from_secs(10);
    };
    let world = World::with(Script::turns([Turn::text("kept")]), store).await;
    let thread = new_thread(&world).await;
    let run = start(&world, &thread).await;
    let all = watch(&world, &run.name, 0).await;
    world.stopped().await;
    let world = World::with(Script::stand_in(), store).await;
    assert_eq!(watch(&world, &run.name, 0).await, all);
    let listed = threads(&world)
        .await
        .list_threads(pb::ListThreadsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.threads[0].name, thread);
    world.stopped().await;
}

#[tokio::test]
async fn a_long_output_is_cut_for_the_model_and_whole_in_the_step() {
    let long = "word ".repeat(20_000);
    let script = Script::turns([Turn::call("echo", &json!({"text": long})), Turn::text("done")]);
    let world = World::new(script).await;
    let thread = new_thread(&world).await;
    let request = ask(&thread, "go on", pb::OnBusy::Reject);
    let answer = world.grpc().await.chat(request).await.unwrap().into_inner();
    let shown = |output: pb::ToolOutput| match output.content.into_iter().next().unwrap().content {
        Some(pb::tool_content::Content::Text(text)) => (text.len(), output.truncated),
        other => panic!("{other:?}"),
    };

    let list = pb::ListMessagesRequest {
        parent: thread.clone(),
        ..pb::ListMessagesRequest::default()
    };
    let listed = threads(&world)
        .await
        .list_messages(list)
        .await
        .unwrap()
        .into_inner();
    let parts = listed.messages.into_iter().flat_map(|message| message.content);
    let told: Vec<_> = parts
        .filter_map(|part| match part.part? {
            pb::content_part::Part::ToolOutput(output) => Some(shown(output)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(64 << 10, true)]);

    let steps = pb::ListRunStepsRequest {
        parent: answer.run,
        ..pb::ListRunStepsRequest::default()
    };
    let steps = runs(&world)
        .await
        .list_run_steps(steps)
        .await
        .unwrap()
        .into_inner();
    let kept: Vec<_> = steps
        .steps
        .into_iter()
        .filter_map(|step| match step.details? {
            pb::run_step::Details::ToolCall(call) => Some(shown(call.output?)),
            pb::run_step::Details::ModelTurn(_) | pb::run_step::Details::Summary(_) => None,
        })
        .collect();
    assert_eq!(kept, [("Echo: ".len() + long.len(), false)]);
    world.stopped().await;
}
