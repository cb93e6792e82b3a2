//! Runs that go on in a process whose tools come later, or that is about to go.

use super::*;

fn approve(action: &ActionId) -> Submission {
    Submission {
        action: action.clone(),
        digest: String::new(),
        answer: Answer::Approve(None),
    }
}

/// The process after this one, whose server is in this state.
fn with_absent_server(world: &World, absence: Connection, turns: &[Turn]) -> (Engine, Arc<World>) {
    let (next, after) = after_death(world, turns.iter().cloned());
    *after.absence.lock().unwrap() = Some(absence);
    (next, after)
}

fn arrive(world: &World) {
    *world.absence.lock().unwrap() = None;
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_when_the_servers_have_answered() {
    let (engine, world) = engine([Turn::Hangs("half")]);
    let handle = begin(&engine).await;
    let (thread, run) = (handle.thread().clone(), handle.id().clone());
    tokio::time::sleep(Duration::from_secs(1)).await;

    let turns = [calls(&["echo"]), says("done")];
    let (next, after) = with_absent_server(&world, Connection::Connecting, &turns);
    assert_eq!(next.recover().await.unwrap(), 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(
        after.turns.lock().unwrap().len(),
        2,
        "nothing is asked without the tools"
    );
    arrive(&after);
    let seen = events(next.watch(&thread, &run, 0).await.unwrap()).await;
    let output = seen.iter().find_map(|event| match &event.body {
        Body::ToolCallCompleted { output, .. } => Some(output),
        _ => None,
    });
    assert!(!output.unwrap().is_error, "{output:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_holds_up_a_run_for_a_while_and_no_cancel() {
    for is_called_off in [true, false] {
        let (engine, world) = engine([Turn::Hangs("half")]);
        let handle = begin(&engine).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (next, _) = with_absent_server(&world, Connection::Connecting, &[says("done")]);
        next.recover().await.unwrap();
        let started = Instant::now();
        if is_called_off {
            let record = next.cancel(handle.thread(), handle.id()).await.unwrap();
            assert_eq!(record.state, State::Ended(Outcome::Cancelled));
            assert!(started.elapsed() < Duration::from_millis(100));
        } else {
            events(next.watch(handle.thread(), handle.id(), 0).await.unwrap()).await;
            assert_eq!(started.elapsed().as_secs(), 60);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_can_be_approved_once_the_server_is_back() {
    let (engine, world) = engine([calls(&["risky"])]);
    let handle = begin(&engine).await;
    let waiting = handle.answered().await.unwrap();
    let (thread, run) = (handle.thread().clone(), handle.id().clone());
    engine.drain(Duration::ZERO).await;

    let down = Connection::Down("gone".into());
    let (next, after) = with_absent_server(&world, down, &[says("done")]);
    next.recover().await.unwrap();
    let answer = approve(&waiting.record.pending[0].id);
    let refused = next
        .submit(&thread, &run, vec![answer.clone()])
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Reason::ValidationFailed);
    arrive(&after);
    next.submit(&thread, &run, vec![answer]).await.unwrap();
    let seen = events(next.watch(&thread, &run, 0).await.unwrap()).await;
    assert!(matches!(&seen.last().unwrap().body, Body::Ended(record) if record.state.name() == "completed"));
}

#[tokio::test(start_paused = true)]
async fn what_is_at_work_beside_a_question_keeps_the_bounds_of_work() {
    let (engine, world) = engine([calls(&["stuck", "risky"])]);
    let handle = begin(&engine).await;
    let waiting = handle.answered().await.unwrap();
    // Waiting for people takes none of the time to work.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let started = Instant::now();
    let answer = approve(&waiting.record.pending[0].id);
    engine
        .submit(handle.thread(), handle.id(), vec![answer])
        .await
        .unwrap();
    let record = world.written().record;
    assert_eq!(record.state, State::RequiresAction);
    let left = record.expire_time.unwrap().duration_since(clock::now()).unwrap();
    assert!(left <= settings().execution_limit, "{left:?}");
    let finished = handle.finished().await.unwrap();
    // The call is given up before the run is: then it only waits again.
    let Outcome::Expired(why) = outcome(&finished) else {
        panic!("{:?}", finished.record.state)
    };
    assert!(why.contains("waited too long"), "{why}");
    assert!(
        started.elapsed() >= Duration::from_hours(22),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_approved_is_let_finish_when_the_process_goes() {
    let (engine, _) = engine([calls(&["stuck", "risky"])]);
    let handle = begin(&engine).await;
    let waiting = handle.answered().await.unwrap();
    let answer = approve(&waiting.record.pending[0].id);
    engine
        .submit(handle.thread(), handle.id(), vec![answer])
        .await
        .unwrap();
    let started = Instant::now();
    engine.drain(Duration::from_secs(10)).await;
    assert_eq!(started.elapsed().as_secs(), 10);
    // What waits is never failed by a shutdown.
    assert_eq!(
        handle.finished().await.unwrap_err().reason(),
        Reason::ShuttingDown
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_caller_does_not_wait_goes_on_in_the_next_process() {
    let (engine, world) = engine([Turn::Hangs("half")]);
    let Begun::Live(handle) = engine.begin(NewRun::default(), OnDisconnect::GoOn).await.unwrap() else {
        panic!("a new run is live")
    };
    let (thread, run) = (handle.thread().clone(), handle.id().clone());
    engine.drain(Duration::from_secs(10)).await;
    assert_eq!(
        handle.finished().await.unwrap_err().reason(),
        Reason::ShuttingDown
    );

    let (next, after) = after_death(&world, [says("done")]);
    assert_eq!(next.recover().await.unwrap(), 1);
    events(next.watch(&thread, &run, 0).await.unwrap()).await;
    assert_eq!(after.written().record.state, State::Ended(Outcome::Completed));
}
