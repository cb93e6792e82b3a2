//! Runs: watched, called off, left, and those that wait for people.

use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};
use tonic::Code;

use super::conversations::{case, check_order, text};
use super::door::{Door, Form};
use crate::actions::asking;
use crate::world::World;

over_every_door! {
    a_watch_goes_on_after_any_sequence,
    a_run_is_called_off,
    a_run_whose_client_leaves_is_called_off,
    a_busy_thread_names_its_run,
    a_run_waits_until_somebody_has_decided,
}

async fn watched(door: &Door, run: &Value, after: usize) -> Vec<Value> {
    let request = json!({"name": run, "afterSequence": after.to_string()});
    door.open("RunService.WatchRun", request).await.all().await
}

/// Begins to stream an answer that never comes, and gives the run's first event.
async fn hanging(door: &Door, request: Value) -> (super::door::Answers, Value) {
    let mut answers = door.open("AssistantService.StreamChat", request).await;
    let first = answers.next().await.unwrap().unwrap();
    (answers, first)
}

async fn a_watch_goes_on_after_any_sequence(form: Form) {
    let script = Script::turns([Turn::call("echo", &json!({"text": "ping"})), Turn::text("pong")]);
    let world = World::new(script).await;
    let door = Door::to(&world, form);
    let thread = door
        .call("ThreadService.CreateThread", json!({"thread": {}}))
        .await
        .unwrap();
    let message = json!({"parent": thread["name"], "message": {"content": [{"text": "hi"}]}});
    door.call("ThreadService.CreateMessage", message).await.unwrap();
    let run = json!({"parent": thread["name"], "run": {"metadata": {"a": "b"}}});
    let run = door.call("RunService.CreateRun", run).await.unwrap();
    let all = watched(&door, &run["name"], 0).await;
    check_order(&all, 0);
    assert_eq!(text(&all), "pong");
    for after in [1, all.len() / 2, all.len() - 1, all.len()] {
        assert_eq!(
            watched(&door, &run["name"], after).await,
            all[after..],
            "after {after}"
        );
    }
    for after in ["-1".to_owned(), (all.len() + 1).to_string()] {
        let request = json!({"name": run["name"], "afterSequence": after});
        let refused = door.open("RunService.WatchRun", request).await.rest().await;
        let (events, Some(refusal)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((events.len(), refusal.code), (0, Code::InvalidArgument));
        assert_eq!(refusal.violations()[0].0, "after_sequence");
    }
    let completed = json!({"parent": thread["name"], "states": ["RUN_STATE_COMPLETED", "RUN_STATE_FAILED"]});
    let listed = door.call("RunService.ListRuns", completed).await.unwrap();
    let done = door
        .call("RunService.GetRun", json!({"name": run["name"]}))
        .await
        .unwrap();
    assert_eq!(listed["runs"], json!([done]));
    let steps = json!({"parent": run["name"], "pageSize": 1_000});
    let steps = door.call("RunService.ListRunSteps", steps).await.unwrap();
    assert_eq!(steps["steps"].as_array().unwrap().len(), 3);
    world.stopped().await;
}

async fn a_run_is_called_off(form: Form) {
    let world = World::new(Script::turns([Turn::hang()])).await;
    let door = Door::to(&world, form);
    let (answers, first) = hanging(&door, json!({"message": "hi"})).await;
    let run = json!({"name": first["run"]});
    let cancelled = door.call("RunService.CancelRun", run.clone()).await.unwrap();
    assert_eq!(cancelled["state"], "RUN_STATE_CANCELLED");
    let mut events = vec![first];
    events.extend(answers.all().await);
    check_order(&events, 0);
    assert_eq!(case(events.last().unwrap()), "runCancelled");
    assert_eq!(door.call("RunService.CancelRun", run).await, Ok(cancelled));

    let done = door
        .call("AssistantService.Chat", json!({"message": "hi"}))
        .await
        .unwrap();
    let late = door
        .refusal("RunService.CancelRun", json!({"name": done["run"]}))
        .await;
    assert_eq!(late.why(), (Code::FailedPrecondition, "RUN_NOT_CANCELLABLE"));
    world.stopped().await;
}

async fn a_run_whose_client_leaves_is_called_off(form: Form) {
    let world = World::new(Script::turns([Turn::hang()])).await;
    let door = Door::to(&world, form);
    let (answers, first) = hanging(&door, json!({"message": "hi"})).await;
    drop(answers);
    let events = watched(&door, &first["run"], 0).await;
    check_order(&events, 0);
    assert_eq!(case(events.last().unwrap()), "runCancelled");
    world.stopped().await;
}

async fn a_busy_thread_names_its_run(form: Form) {
    let world = World::new(Script::turns([Turn::text("first"), Turn::hang()])).await;
    let door = Door::to(&world, form);
    let first = door
        .call("AssistantService.Chat", json!({"message": "hi"}))
        .await
        .unwrap();
    let again = json!({"message": "and?", "thread": first["thread"]});
    let (_answers, begun) = hanging(&door, again.clone()).await;
    let chat = door.refusal("AssistantService.Chat", again.clone()).await;
    let stream = door.open("AssistantService.StreamChat", again).await.rest().await;
    let delete = door
        .refusal("ThreadService.DeleteThread", json!({"name": first["thread"]}))
        .await;
    assert_eq!(stream, (vec![], Some(chat.clone())));
    for refusal in [chat, delete] {
        assert_eq!(refusal.why(), (Code::FailedPrecondition, "THREAD_BUSY"));
        assert_eq!(refusal.fact("run"), begun["run"]);
        assert_eq!(
            refusal.detail("PreconditionFailure")["violations"][0]["type"],
            "ACTIVE_RUN"
        );
    }
    let forced = json!({"name": first["thread"], "force": true});
    assert_eq!(
        door.call("ThreadService.DeleteThread", forced).await,
        Ok(json!({}))
    );
    world.stopped().await;
}

async fn a_run_waits_until_somebody_has_decided(form: Form) {
    let script = Script::turns([Turn::call("echo", &json!({"text": "first"})), Turn::text("said")]);
    let world = World::with(script, asking).await;
    let door = Door::to(&world, form);
    let chat = door.call("AssistantService.Chat", json!({"message": "say first"}));
    let waiting = chat.await.unwrap();
    assert_eq!(waiting["state"], "RUN_STATE_REQUIRES_ACTION");
    let action = &waiting["pendingActions"][0];
    assert_eq!(
        action["toolApproval"]["toolCall"]["arguments"],
        json!({"text": "first"})
    );
    let listed = door
        .call("RunService.ListPendingActions", json!({}))
        .await
        .unwrap();
    assert_eq!(listed["pendingActions"], waiting["pendingActions"]);

    let submit = |answer: Value| json!({"name": waiting["run"], "answers": [answer]});
    let approve = json!({"actionId": action["id"], "digest": action["digest"], "approve": {}});
    let other = json!({"actionId": action["id"], "digest": "0".repeat(64), "approve": {}});
    let unfit = json!({"actionId": action["id"], "approve": {"arguments": {}}});
    for (answer, code, reason) in [
        (other, Code::FailedPrecondition, "ACTION_NOT_PENDING"),
        (unfit, Code::InvalidArgument, "VALIDATION_FAILED"),
        (
            json!({"actionId": "nobody", "approve": {}}),
            Code::FailedPrecondition,
            "ACTION_NOT_PENDING",
        ),
        (
            json!({"actionId": action["id"]}),
            Code::InvalidArgument,
            "VALIDATION_FAILED",
        ),
    ] {
        let refused = door
            .refusal("RunService.SubmitActions", submit(answer.clone()))
            .await;
        assert_eq!(refused.why(), (code, reason), "{answer}");
    }
    door.call("RunService.SubmitActions", submit(approve.clone()))
        .await
        .unwrap();
    let events = watched(&door, &waiting["run"], 0).await;
    check_order(&events, 0);
    assert_eq!(
        (&*text(&events), case(events.last().unwrap())),
        ("said", "runCompleted")
    );
    let resolved = events
        .iter()
        .find(|event| case(event) == "actionResolved")
        .unwrap();
    assert_eq!(resolved["actionResolved"]["outcome"], "ACTION_OUTCOME_APPROVED");
    let again = door
        .call("RunService.SubmitActions", submit(approve))
        .await
        .unwrap();
    assert_eq!(
        again["state"], "RUN_STATE_COMPLETED",
        "the same answer changes nothing"
    );
    world.stopped().await;
}
