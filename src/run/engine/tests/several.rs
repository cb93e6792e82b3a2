//! Several processes on one store.

use super::*;

/// Two processes on one store, which share what the model says too.
fn two(turns: impl IntoIterator<Item = Turn>) -> (Engine, Engine, Arc<World>) {
    let (first, world) = engine(turns);
    world.archive.is_owned.store(true, Ordering::SeqCst);
    let second = Engine::new(first.ports().clone(), first.settings().clone());
    (first, second, world)
}

/// Does what a process does beside carrying out runs, until the guard is dropped.
fn owning(engine: &Engine) -> DropGuard {
    let stopped = CancellationToken::new();
    let engine = engine.clone();
    tokio::spawn({
        let stopped = stopped.clone();
        async move { engine.own(stopped).await }
    });
    stopped.drop_guard()
}

fn texts(events: &[Arc<Event>]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match &event.body {
            Body::TextDelta { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_taken_over_is_let_go_and_its_watchers_see_the_rest() {
    let (slow, quick, world) = two([Turn::Hangs("half"), says("whole")]);
    let handle = begin(&slow).await;
    let mut watch = handle.watch();
    let mut seen = Vec::new();
    while !matches!(
        seen.last(),
        Some(Event {
            body: Body::TextDelta { .. },
            ..
        })
    ) {
        seen.push((*watch.next().await.unwrap().unwrap()).clone());
    }
    assert_eq!(quick.recover().await.unwrap(), 0, "the first one is there");
    world.archive.is_owned.store(false, Ordering::SeqCst);
    assert_eq!(quick.recover().await.unwrap(), 1);
    let rest = events(watch).await;
    // Whoever asked for it hears the answer, and who asked was no client of the second process.
    let finished = handle.answered().await.unwrap();
    assert_eq!(finished.record.state, State::Ended(Outcome::Completed));
    assert_eq!(finished.record.fence, RunRecord::FIRST_FENCE + 1);
    assert_eq!(texts(&rest), ["whole"]);
    let sequences: Vec<u64> = seen
        .iter()
        .map(|event| event.sequence)
        .chain(rest.iter().map(|event| event.sequence))
        .collect();
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
    assert!(
        rest.iter()
            .any(|event| matches!(event.body, Body::TurnRestarted { .. }))
    );
    assert_eq!(
        world.going_on.load(Ordering::SeqCst),
        0,
        "the first one has let its request go"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_of_another_process_is_called_off_by_letter() {
    let (owner, other, _) = two([Turn::Hangs("half")]);
    let handle = begin(&owner).await;
    let _owning = owning(&owner);
    let record = other.cancel(handle.thread(), handle.id()).await.unwrap();
    assert_eq!(record.state, State::Ended(Outcome::Cancelled));
    let again = other.cancel(handle.thread(), handle.id()).await.unwrap();
    assert_eq!(again, record);
}

#[tokio::test(start_paused = true)]
async fn answers_reach_the_process_that_waits_for_them() {
    let (owner, other, world) = two([calls(&["risky"]), says("done")]);
    let handle = begin(&owner).await;
    let _owning = owning(&owner);
    let waiting = handle.answered().await.unwrap();
    let action = waiting.record.pending[0].id.clone();
    let (thread, run) = (handle.thread(), handle.id());
    let answer = |digest: &str, answer| {
        vec![Submission {
            action: action.clone(),
            digest: digest.to_owned(),
            answer,
        }]
    };
    let stale = answer("of something else", Answer::Approve(None));
    let refused = other.submit(thread, run, stale).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ActionNotPending);
    other
        .submit(thread, run, answer("", Answer::Approve(None)))
        .await
        .unwrap();
    other
        .submit(thread, run, answer("", Answer::Approve(None)))
        .await
        .unwrap();
    let late = answer("", Answer::Reject(String::new()));
    let refused = other.submit(thread, run, late).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ActionNotPending);
    let finished = other.answered_elsewhere(run).await.unwrap();
    assert_eq!(finished.response(), "done");
    assert_eq!(outputs(&world).len(), 1, "the call was made once");
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_nobody_follows_is_not_taken_for_done() {
    let (owner, other, _) = two([Turn::Hangs("half")]);
    let handle = begin(&owner).await;
    // The owner does not look for letters.
    let unheard = other.cancel(handle.thread(), handle.id()).await.unwrap_err();
    assert_eq!(unheard.reason(), Reason::RunInterrupted);
    assert!(unheard.retry_delay().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_goes_down_leaves_what_waits_before_it_is_gone() {
    let (leaving, other, world) = two([calls(&["risky"]), Turn::Hangs("half"), says("done")]);
    let waiting = begin(&leaving).await;
    waiting.answered().await.unwrap();
    let _at_work = begin(&leaving).await;
    let grace = Duration::from_hours(1);
    tokio::spawn({
        let leaving = leaving.clone();
        async move { leaving.drain(grace).await }
    });
    let is_left = async {
        while world.archive.is_owned.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), is_left)
        .await
        .unwrap();
    let _owning = owning(&other);
    let record = other.cancel(waiting.thread(), waiting.id()).await.unwrap();
    assert_eq!(record.state, State::Ended(Outcome::Cancelled));
}
