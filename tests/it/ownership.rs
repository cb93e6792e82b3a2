//! Several processes on one store: what every store that can be shared owes them.

use std::time::Duration;

use assistd::run::error::{Error, Reason};
use assistd::run::event::Body;
use assistd::run::id::{Mint, RunId, ThreadId};
use assistd::run::ports::{Append, Letter, Topic};
use assistd::run::record::{Outcome, RunRecord, State};
use assistd::store::{Config, Location, Opened, open};
use tokio::sync::watch;

use crate::store::place::Postgres;
use crate::store::{event, opening, save};

/// Longer than any of these tests.
const LEASE: Duration = Duration::from_secs(600);

/// Runs every case with two processes on every kind of store that can be shared.
macro_rules! shared {
    ($($case:ident,)*) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $case() {
                let directory = tempfile::tempdir().unwrap();
                let place = super::Location::File(directory.path().join("assistd.db"));
                super::$case(super::two(place).await).await;
            })*
        }

        mod in_postgres {
            $(#[tokio::test]
            async fn $case() {
                if let Some(place) = super::Postgres::new().await {
                    super::$case(super::two(place.location()).await).await;
                }
            })*
        }
    };
}

shared! {
    a_run_belongs_to_the_process_that_opened_it,
    a_process_that_never_said_that_it_is_there_is_gone,
    what_a_process_leaves_is_given_to_one_other_only,
    who_has_lost_a_run_writes_nothing,
    a_queued_run_is_taken_over_too,
    letters_go_to_the_owner_once_and_in_their_order,
    a_letter_needs_a_run,
}

async fn two(location: Location) -> [Opened; 2] {
    let config = Config { location };
    let opened = [open(&config).await.unwrap(), open(&config).await.unwrap()];
    for one in &opened {
        one.ownership.renew(LEASE).await.unwrap();
    }
    opened
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason()
}

/// Opens a run on a thread of its own.
async fn opened(process: &Opened) -> RunRecord {
    let opening = opening(&ThreadId::new(&mut Mint::System), true);
    process.store.open_run(opening.clone()).await.unwrap();
    opening.record
}

async fn a_run_belongs_to_the_process_that_opened_it([one, other]: [Opened; 2]) {
    let record = opened(&one).await;
    assert_eq!(one.ownership.claim(10).await.unwrap(), []);
    assert_eq!(other.ownership.claim(10).await.unwrap(), []);
    assert_eq!(record.fence, RunRecord::FIRST_FENCE);
    assert_eq!(other.store.run(&record.id).await.unwrap(), record);
}

async fn a_process_that_never_said_that_it_is_there_is_gone([one, other]: [Opened; 2]) {
    one.ownership.release().await.unwrap();
    let record = opened(&one).await;
    let claimed = other.ownership.claim(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].id, record.id);
    // It is there again, and finds that it owns nothing.
    one.ownership.renew(LEASE).await.unwrap();
    assert_eq!(one.ownership.claim(10).await.unwrap(), []);
}

async fn what_a_process_leaves_is_given_to_one_other_only([one, other]: [Opened; 2]) {
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(opened(&one).await.id);
    }
    let over = opened(&one).await;
    let ended = RunRecord {
        state: State::Ended(Outcome::Completed),
        ..over
    };
    one.store.save(&save(&ended, &[])).await.unwrap();
    one.ownership.release().await.unwrap();
    let (some, more) = tokio::join!(other.ownership.claim(3), other.ownership.claim(3));
    let mut claimed = some.unwrap();
    claimed.extend(more.unwrap());
    assert!(claimed.iter().all(|record| record.fence == 2), "{claimed:?}");
    let mut claimed: Vec<RunId> = claimed.into_iter().map(|record| record.id).collect();
    claimed.sort();
    assert_eq!(claimed, expected);
    assert_eq!(other.ownership.claim(3).await.unwrap(), []);
}

async fn who_has_lost_a_run_writes_nothing([one, other]: [Opened; 2]) {
    let lost = opened(&one).await;
    one.ownership.release().await.unwrap();
    let owned = other.ownership.claim(10).await.unwrap().remove(0);
    one.ownership.renew(LEASE).await.unwrap();
    let kept = opened(&one).await;

    let cancelling = RunRecord {
        state: State::Cancelling,
        ..lost.clone()
    };
    let refused = one.store.save(&save(&cancelling, &[])).await;
    assert_eq!(reason(refused), Reason::RunInterrupted);
    let started = Body::StateChanged {
        from: None,
        to: State::Running,
    };
    let append = |record: &RunRecord| Append {
        run: record.id.clone(),
        events: vec![event(1, started.clone())],
        reserved_sequence: 9_000,
        fence: record.fence,
    };
    let appends = [&lost, &kept, &owned].map(append).to_vec();
    let refused = one.store.append(appends).await.unwrap();
    assert_eq!(refused, std::slice::from_ref(&lost.id), "the others are written");
    let [of_lost, of_kept] = [&lost, &kept].map(|record| one.store.run(&record.id));
    let (of_lost, of_kept) = (of_lost.await.unwrap(), of_kept.await.unwrap());
    assert_eq!(of_lost.state, State::Running);
    assert_eq!(of_lost.reserved_sequence, 9_000, "by its owner");
    assert_eq!(of_kept.reserved_sequence, 9_000);

    let ended = RunRecord {
        state: State::Ended(Outcome::Completed),
        ..owned
    };
    other.store.save(&save(&ended, &[])).await.unwrap();
    let refused = one.store.save(&save(&cancelling, &[])).await;
    assert_eq!(reason(refused), Reason::RunInterrupted);
}

async fn a_queued_run_is_taken_over_too([one, other]: [Opened; 2]) {
    let active = opened(&one).await;
    let mut queued = opening(&active.thread, false);
    queued.record.state = State::Queued;
    one.store.open_run(queued.clone()).await.unwrap();
    one.ownership.release().await.unwrap();
    let claimed = other.ownership.claim(10).await.unwrap();
    let states: Vec<&State> = claimed.iter().map(|record| &record.state).collect();
    assert_eq!(states, [&State::Running, &State::Queued]);
    assert_eq!(
        other.store.queued_message(&queued.record.id).await.unwrap(),
        queued.message
    );
}

async fn letters_go_to_the_owner_once_and_in_their_order([one, other]: [Opened; 2]) {
    let record = opened(&one).await;
    let sent = [Letter::Answers(Vec::new()), Letter::Cancel];
    for letter in &sent {
        other.ownership.post(&record.id, letter).await.unwrap();
    }
    assert_eq!(other.ownership.letters().await.unwrap(), []);
    let received = one.ownership.letters().await.unwrap();
    let expected = sent.map(|letter| (record.id.clone(), letter));
    assert_eq!(received, expected);
    assert_eq!(one.ownership.letters().await.unwrap(), []);

    // What is not read is for whoever takes the run over.
    one.ownership.post(&record.id, &Letter::Cancel).await.unwrap();
    one.ownership.release().await.unwrap();
    other.ownership.claim(10).await.unwrap();
    let received = other.ownership.letters().await.unwrap();
    assert_eq!(received, [(record.id, Letter::Cancel)]);
}

async fn a_letter_needs_a_run([one, _]: [Opened; 2]) {
    let nobody = RunId::new(&mut Mint::System);
    let refused = one.ownership.post(&nobody, &Letter::Cancel).await;
    assert_eq!(reason(refused), Reason::RunNotFound);
}

#[tokio::test]
async fn what_is_written_elsewhere_is_told_at_once_where_the_store_can() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let [one, other] = two(place.location()).await;
    let record = opened(&one).await;
    let mut news = other.news.listen(&Topic::Run(record.id.clone()));
    let mut letters = other.news.listen(&Topic::Letters);
    let started = Body::StateChanged {
        from: None,
        to: State::Running,
    };
    let append = Append {
        run: record.id.clone(),
        events: vec![event(1, started)],
        reserved_sequence: 10,
        fence: record.fence,
    };
    // From when on this process listens is not known: what is written before is not told.
    let mut tries = 0;
    while !hears(&mut news).await {
        one.store.append(vec![append.clone()]).await.unwrap();
        tries += 1;
        assert!(tries < 100, "it is never told");
    }
    letters.mark_unchanged();
    one.ownership.post(&record.id, &Letter::Cancel).await.unwrap();
    letters.changed().await.unwrap();
}

/// Whether there is news within a moment.
async fn hears(news: &mut watch::Receiver<()>) -> bool {
    tokio::time::timeout(Duration::from_millis(100), news.changed())
        .await
        .is_ok_and(|changed| changed.is_ok())
}

#[tokio::test]
async fn a_lease_that_is_over_frees_what_it_held_and_can_be_had_again() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let [one, other] = two(place.location()).await;
    let record = opened(&one).await;
    one.ownership.renew(Duration::ZERO).await.unwrap();
    one.ownership.renew(LEASE).await.unwrap();
    assert_eq!(other.ownership.claim(10).await.unwrap(), [], "it is there again");
    one.ownership.renew(Duration::ZERO).await.unwrap();
    let claimed = other.ownership.claim(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].id, record.id);
}

#[tokio::test]
async fn a_run_that_is_left_is_told_of_and_can_be_had_at_once() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let [one, other] = two(place.location()).await;
    let (kept, left) = (opened(&one).await, opened(&one).await);
    let mut news = other.news.listen(&Topic::Left);
    // It is heard that one may have missed some until one listens.
    news.changed().await.unwrap();
    news.mark_unchanged();
    other.ownership.leave(&kept.id).await.unwrap();
    assert_eq!(
        other.ownership.claim(10).await.unwrap(),
        [],
        "it is not its own to leave"
    );
    one.ownership.leave(&left.id).await.unwrap();
    news.changed().await.unwrap();
    let claimed = other.ownership.claim(10).await.unwrap();
    let claimed: Vec<_> = claimed.iter().map(|record| &record.id).collect();
    assert_eq!(claimed, [&left.id]);
    news.mark_unchanged();
    one.ownership.release().await.unwrap();
    news.changed().await.unwrap();
    let claimed = other.ownership.claim(10).await.unwrap();
    assert_eq!(claimed[0].id, kept.id);
}
