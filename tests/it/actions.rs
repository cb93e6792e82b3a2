//! Runs that wait: for people who approve tool calls, and for clients with functions of their own.

use assistd::api::pb;
use assistd::api::pb::action_answer::Answer;
use assistd::api::pb::pending_action::Request;
use assistd::api::pb::run_event::Payload;
use assistd::api::pb::run_service_client::RunServiceClient;
use assistd::simulator::{Item, Script, Turn};
use futures::StreamExt;
use serde_json::json;
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::world::{self, PATIENCE, World};

/// The built-in tools, about which somebody is to be asked.
pub fn asking(config: &mut assistd::config::Config) {
    config.mcp = world::mcp(&json!({"mcpServers": {"builtin": {
        "command": world::program(),
        "args": ["mcp-server"],
        "prefix": "",
        "policy": "ask",
        "tool_policies": {"calculate": "deny"},
    }}}));
}

async fn runs(world: &World) -> RunServiceClient<Channel> {
    let channel = Channel::from_shared(world.url(""))
        .unwrap()
        .connect()
        .await
        .unwrap();
    RunServiceClient::new(channel)
}

fn submit(run: &str, answers: Vec<pb::ActionAnswer>) -> pb::SubmitActionsRequest {
    pb::SubmitActionsRequest {
        name: run.to_owned(),
        answers,
    }
}

fn answer(action: &pb::PendingAction, answer: Answer) -> pb::ActionAnswer {
    pb::ActionAnswer {
        action_id: action.id.clone(),
        digest: action.digest.clone(),
        answer: Some(answer),
    }
}

fn approve() -> Answer {
    Answer::Approve(pb::ApproveCall::default())
}

async fn ended(world: &World, run: &str) -> (String, pb::Run) {
    let request = pb::WatchRunRequest {
        name: run.to_owned(),
        after_sequence: 0,
    };
    let events = runs(world).await.watch_run(request).await.unwrap().into_inner();
    let events: Vec<pb::RunEvent> = tokio::time::timeout(PATIENCE, events.map(Result::unwrap).collect())
        .await
        .expect("it ends");
    let mut text = String::new();
    for event in events {
        match event.payload.unwrap() {
            Payload::TextDelta(delta) => text.push_str(&delta.text),
            Payload::RunCompleted(end) => return (text, end.run.unwrap()),
            _ => {}
        }
    }
    panic!("it did not complete")
}

#[tokio::test]
async fn a_call_is_made_when_somebody_has_approved_it() {
    let script = Script::turns([Turn::call("echo", &json!({"text": "first"})), Turn::text("said")]);
    let world = World::with(script, asking).await;
    let request = pb::ChatRequest {
        message: "say first".to_owned(),
        ..pb::ChatRequest::default()
    };
    let waiting = world.grpc().await.chat(request).await.unwrap().into_inner();
    assert_eq!(waiting.state(), pb::RunState::RequiresAction);
    let [action] = waiting.pending_actions.as_slice() else {
        panic!("{waiting:?}")
    };
    let Some(Request::ToolApproval(approval)) = &action.request else {
        panic!("{action:?}")
    };
    assert_eq!(
        (
            approval.server.as_str(),
            approval.tool_call.as_ref().unwrap().tool.as_str()
        ),
        ("builtin", "echo")
    );
    assert_eq!(action.run, waiting.run);
    assert!(action.expire_time.unwrap().seconds > action.create_time.unwrap().seconds);

    let mut client = runs(&world).await;
    let listed = client
        .list_pending_actions(pb::ListPendingActionsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.pending_actions, waiting.pending_actions);

    let unfit = Answer::Elicitation(pb::ElicitationAnswer::default());
    let other_digest = pb::ActionAnswer {
        digest: "0".repeat(64),
        ..answer(action, approve())
    };
    let edited = Answer::Approve(pb::ApproveCall {
        arguments: Some(prost_types::Struct::default()),
    });
    for (answers, code, reason) in [
        (vec![], Code::InvalidArgument, "VALIDATION_FAILED"),
        (
            vec![answer(action, unfit)],
            Code::InvalidArgument,
            "VALIDATION_FAILED",
        ),
        (
            vec![answer(action, edited)],
            Code::InvalidArgument,
            "VALIDATION_FAILED",
        ),
        (vec![other_digest], Code::FailedPrecondition, "ACTION_NOT_PENDING"),
        (
            vec![answer(action, approve()); 2],
            Code::InvalidArgument,
            "VALIDATION_FAILED",
        ),
    ] {
        let refused = client
            .submit_actions(submit(&waiting.run, answers))
            .await
            .unwrap_err();
        let info = refused.get_error_details().error_info().cloned().unwrap();
        assert_eq!(
            (refused.code(), info.reason.as_str()),
            (code, reason),
            "{refused:?}"
        );
    }

    let approval = submit(&waiting.run, vec![answer(action, approve())]);
    client.submit_actions(approval.clone()).await.unwrap();
    let (text, run) = ended(&world, &waiting.run).await;
    assert_eq!((text.as_str(), run.usage.unwrap().tool_calls), ("said", 1));
    let again = client.submit_actions(approval).await.unwrap().into_inner();
    assert_eq!(
        again.state(),
        pb::RunState::Completed,
        "the same answer changes nothing"
    );
    let reject = Answer::Reject(pb::RejectCall::default());
    let late = client
        .submit_actions(submit(&waiting.run, vec![answer(action, reject)]))
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    let listed = client
        .list_pending_actions(pb::ListPendingActionsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.pending_actions, []);
    world.stopped().await;
}

#[tokio::test]
async fn a_tool_that_is_denied_is_offered_to_nobody() {
    let world = World::with(Script::turns([Turn::text("no tools")]), asking).await;
    let mut client = world.grpc().await;
    let tool = client
        .get_tool(pb::GetToolRequest {
            name: "tools/calculate".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(tool.policy(), pb::ToolPolicy::Deny);
    let call = pb::CallToolRequest {
        name: tool.name,
        ..pb::CallToolRequest::default()
    };
    let refused = client.call_tool(call).await.unwrap_err();
    let info = refused.get_error_details().error_info().cloned().unwrap();
    assert_eq!(
        (refused.code(), info.reason.as_str()),
        (Code::PermissionDenied, "TOOL_NOT_ALLOWED")
    );
    let request = pb::ChatRequest {
        message: "hi".to_owned(),
        ..pb::ChatRequest::default()
    };
    client.chat(request).await.unwrap();
    let offered = world.simulator.requests()[0].body["tools"].to_string();
    assert!(
        offered.contains("echo") && !offered.contains("calculate"),
        "{offered}"
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_client_carries_out_its_own_functions() {
    let script = Script::turns([
        Turn::say([
            Item::call("locate", json!({"city": "Bonn"}).to_string().as_str()),
            Item::call("echo", json!({"text": "meanwhile"}).to_string().as_str()),
        ]),
        Turn::text("found"),
    ]);
    let world = World::new(script).await;
    let locate = json!({
        "name": "locate",
        "description": "Finds a city.",
        "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    });
    let body = json!({"message": "where is Bonn?", "clientTools": [locate]});
    let (status, waiting) = world.post("/v1/chat", &body).await;
    assert_eq!(status, 200, "{waiting}");
    assert_eq!(waiting["state"], "RUN_STATE_REQUIRES_ACTION");
    let action = &waiting["pendingActions"][0];
    let call = &action["clientTool"]["toolCall"];
    assert_eq!(
        (&call["tool"], &call["arguments"]["city"]),
        (&json!("locate"), &json!("Bonn"))
    );
    let run = waiting["run"].as_str().unwrap();
    let answers = |call: &serde_json::Value| {
        json!({"answers": [{
            "actionId": action["id"],
            "digest": action["digest"],
            "output": {"toolCallId": call, "content": [{"text": "50.7 N, 7.1 E"}]},
        }]})
    };
    let submit = format!("/v1/{run}:submitActions");
    let (status, refused) = world.post(&submit, &answers(&json!("call_of_another"))).await;
    let violation = &refused["error"]["details"][1]["fieldViolations"][0]["field"];
    assert_eq!(
        (status, violation),
        (400, &json!("answers[0].output.tool_call_id")),
        "{refused}"
    );
    let (status, answered) = world.post(&submit, &answers(&call["id"])).await;
    assert_eq!(status, 200, "{answered}");
    let (text, _) = ended(&world, run).await;
    assert_eq!(text, "found");
    let second = world.simulator.requests()[1].body.to_string();
    assert!(
        second.contains("50.7 N, 7.1 E") && second.contains("meanwhile"),
        "{second}"
    );

    for (tools, field) in [
        (json!([{"name": "echo"}]), "client_tools[0].name"),
        (json!([{"name": "a b"}]), "client_tools[0].name"),
        (json!([{"name": "a"}, {"name": "a"}]), "client_tools[1].name"),
        (
            json!([{"name": "a", "inputSchema": {"type": "nonsense"}}]),
            "client_tools[0].input_schema",
        ),
    ] {
        let (status, error) = world
            .post("/v1/chat", &json!({"message": "x", "clientTools": tools}))
            .await;
        let details = error["error"]["details"].to_string();
        assert!(status == 400 && details.contains(field), "{field}: {error}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_wait_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let place = |config: &mut assistd::config::Config| {
        asking(config);
        config.store = assistd::config::StoreSection::Directory(directory.path().to_owned());
    };
    let world = World::with(Script::turns([Turn::call("echo", &json!({"text": "x"}))]), place).await;
    let request = pb::ChatRequest {
        message: "hi".to_owned(),
        ..pb::ChatRequest::default()
    };
    let waiting = world.grpc().await.chat(request).await.unwrap().into_inner();
    world.stopped().await;

    let world = World::with(Script::turns([Turn::text("after all")]), place).await;
    let mut client = runs(&world).await;
    let listed = client
        .list_pending_actions(pb::ListPendingActionsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.pending_actions, waiting.pending_actions);
    let reject = Answer::Reject(pb::RejectCall {
        reason: "too late".to_owned(),
    });
    let answers = vec![answer(&waiting.pending_actions[0], reject)];
    client
        .submit_actions(submit(&waiting.run, answers))
        .await
        .unwrap();
    let (text, run) = ended(&world, &waiting.run).await;
    assert_eq!(
        (text.as_str(), run.state()),
        ("after all", pb::RunState::Completed)
    );
    let told = world.simulator.requests()[0].body.to_string();
    assert!(told.contains("rejected: too late"), "{told}");
    world.stopped().await;
}

/// What `assistd chat` says, given these lines.
async fn chatted(world: &World, arguments: &[&str], lines: &str) -> std::process::Output {
    let mut child = tokio::process::Command::new(world::program())
        .args(["chat", "--server", &world.url("")])
        .args(arguments)
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, lines.as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let said = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    said.expect("it waits for nobody").unwrap()
}

#[tokio::test]
async fn without_a_person_the_command_line_leaves_the_run_to_be_answered() {
    for (arguments, input) in [(&["sign"][..], "y\n"), (&[], "sign\n")] {
        let script = Script::turns([Turn::call("echo", &json!({"text": "x"})), Turn::text("signed")]);
        let world = World::with(script, asking).await;
        let output = chatted(&world, arguments, input).await;
        let notes = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{notes}");
        let mut client = runs(&world).await;
        let listed = client
            .list_pending_actions(pb::ListPendingActionsRequest::default())
            .await
            .unwrap()
            .into_inner();
        let [action] = listed.pending_actions.as_slice() else {
            panic!("{listed:?}")
        };
        assert!(
            notes.contains(&action.id) && notes.contains(&action.run),
            "{notes}"
        );
        let answers = vec![answer(action, approve())];
        client.submit_actions(submit(&action.run, answers)).await.unwrap();
        let (text, _) = ended(&world, &action.run).await;
        assert_eq!(text, "signed");
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_person_decides_on_the_command_line() {
    for (line, expected) in [
        ("y", "calls are made"),
        ("no, it is late", "rejected: it is late"),
    ] {
        let script = Script::turns([
            Turn::call("echo", &json!({"text": "calls are made"})),
            Turn::text("so be it"),
        ]);
        let world = World::with(script, asking).await;
        let output = chatted(&world, &[], &format!("say something\n{line}\n")).await;
        let [out, notes] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{out}{notes}");
        assert_eq!(out, "so be it\n");
        assert!(notes.contains("? echo {\"text\":\"calls are made\"}"), "{notes}");
        let told = world.simulator.requests()[1].body.to_string();
        assert!(told.contains(expected), "{told}");
        world.stopped().await;
    }
}
