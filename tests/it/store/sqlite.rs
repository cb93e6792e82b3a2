//! What only files and memory owe.

use assistd::run::error::Reason;
use assistd::run::ports::Opened;
use assistd::run::record::Outcome;
use assistd::store::{Config, Location, open};
use tokio::task::JoinSet;

use super::place::{file, memory};
use super::{busy, chat, ended, finish, opening, reason, requested, said, save, started, thread, time};

#[tokio::test]
async fn stores_in_memory_are_strangers() {
    let (one, two) = (memory().await, memory().await);
    let opening = opening(&thread(), true);
    chat(&one, &opening).await;
    assert_eq!(
        reason(two.history(&opening.record.thread).await),
        Reason::ThreadNotFound
    );
}

#[tokio::test]
async fn a_file_that_is_opened_again_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = [opening(&thread(), true), requested("one", 1, time(0))];
    let store = file(&directory).await;
    let mut expected = chat(&store, &first).await;
    started(&store, &second).await;
    drop(store);

    let store = file(&directory).await;
    assert_eq!(busy(&store).await, std::slice::from_ref(&second.record.id));
    let opened = store.open_run(requested("one", 1, time(5))).await.unwrap();
    assert_eq!(opened, Opened::Replayed(Box::new(second.record)));
    let next = opening(&first.record.thread, false);
    assert_eq!(started(&store, &next).await, expected);
    expected.push(said(&next));
    assert_eq!(store.history(&first.record.thread).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_share_threads_and_their_rule() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(file(&directory), file(&directory));
    let thread = thread();
    let added = chat(&one, &opening(&thread, true)).await;
    let next = opening(&thread, false);
    assert_eq!(started(&two, &next).await, added);
    let refused = one.open_run(opening(&thread, false)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ThreadBusy);
    assert_eq!(refused.metadata(), [("run", next.record.id.to_string())]);
    two.save(&save(&ended(&next.record, Outcome::Cancelled), &[]))
        .await
        .unwrap();
    started(&one, &opening(&thread, false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_create_one_file_at_once_and_write_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/assistd.db");
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let location = Location::File(path.clone());
        tasks.spawn(async move {
            let store = open(&Config { location }).await.unwrap().store;
            for _ in 0..5 {
                chat(&store, &opening(&thread(), true)).await;
            }
        });
    }
    finish(tasks).await;
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    std::fs::write(&blocked, "this is not a database, nor is it a directory").unwrap();
    for path in [blocked.join("assistd.db"), blocked, directory.path().to_owned()] {
        let location = Location::File(path.clone());
        let error = open(&Config { location }).await.err().unwrap();
        assert_eq!(error.reason(), Reason::StoreUnavailable);
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openings_whose_callers_go_away_leave_no_thread_busy() {
    let directory = tempfile::tempdir().unwrap();
    let store = file(&directory).await;
    for patience in 0..200 {
        let opening = opening(&thread(), true);
        let mut call = store.open_run(opening.clone());
        let mut is_opened = futures::poll!(&mut call).is_ready();
        // Goes away somewhere between asking and being answered.
        for _ in 0..patience * 20 {
            std::hint::spin_loop();
        }
        if !is_opened && patience % 2 == 0 {
            is_opened = futures::poll!(&mut call).is_ready();
        }
        drop(call);
        if is_opened {
            let record = ended(&opening.record, Outcome::Completed);
            store.save(&save(&record, &[])).await.unwrap();
        }
    }
    // A later write follows all of them, and whatever had to be called off.
    for _ in 0..2 {
        chat(&store, &opening(&thread(), true)).await;
    }
    assert_eq!(busy(&store).await, []);
}
