//! What others write meanwhile, and what an import left unfinished.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use assistd::archive::Counts;
use assistd::archive::export::{Exported, export};
use assistd::archive::fault::Failure;
use assistd::archive::import::{OnConflict, Options, import};
use assistd::archive::source::Source;
use assistd::run::error::Reason;
use assistd::run::id::{MessageId, RunId, ThreadId};
use assistd::run::message::{Message, Part, Role, Usage};
use assistd::run::ports::{Opening, Store};
use assistd::run::record::{Outcome, RunRecord, Snapshot, State};
use assistd::run::truncation::Reach;
use assistd::store::{Config, Location, open};

use super::SAVED;

const OPTIONS: Options = Options {
    on_conflict: OnConflict::Fail,
    dry_run: false,
};

async fn store() -> Arc<dyn Store> {
    let location = Location::Memory;
    open(&Config { location }).await.unwrap().store
}

async fn exported(store: &dyn Store, threads: &[ThreadId]) -> Result<(String, Exported), Failure> {
    let mut text = String::new();
    let mut write = |line: &str| {
        text.push_str(line);
        Ok(())
    };
    let exported = export(store, threads, &mut write, &mut |_| {}).await?;
    Ok((text, exported))
}

async fn imported(store: &dyn Store, text: &str) -> Result<Counts, Failure> {
    let source = Source::of_text(text.into(), None)?;
    let imported = import(store, &source, OPTIONS, &mut |_| {}).await?;
    Ok(imported.added)
}

/// A run that has just been asked for.
fn opening(thread: &str, run: &str, state: State) -> Opening {
    let id = RunId::parse(run).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let message = Message {
        id: MessageId::parse(&format!("msg_of_{run}")).unwrap(),
        role: Role::User,
        content: vec![Part::Text("wait".to_owned())],
        run: Some(id.clone()),
        incomplete: false,
        create_time: time,
        metadata: std::collections::BTreeMap::new(),
    };
    Opening {
        record: RunRecord {
            id,
            thread: ThreadId::parse(thread).unwrap(),
            snapshot: Snapshot::default(),
            state,
            usage: Usage::default(),
            last_sequence: 0,
            reserved_sequence: 0,
            fence: RunRecord::FIRST_FENCE,
            create_time: time,
            start_time: None,
            expire_time: None,
            pending: Vec::new(),
            waited: Duration::ZERO,
            waits_since: None,
            end_time: None,
        },
        creates_thread: false,
        message: Some(Arc::new(message)),
        events: Vec::new(),
        request: None,
        reach: Reach::All,
    }
}

#[tokio::test]
async fn a_run_that_is_not_over_is_left_out_with_what_it_brought() {
    let store = store().await;
    imported(&*store, SAVED).await.unwrap();
    let (_, before) = exported(&*store, &[]).await.unwrap();
    store
        .open_run(opening("thread_beds", "run_new", State::Running))
        .await
        .unwrap();
    let queued = opening("thread_beds", "run_behind", State::Queued);
    store.open_run(queued.clone()).await.unwrap();
    // Called off in the queue: it is over, and stands behind the message of a run that is not.
    let record = RunRecord {
        state: State::Ended(Outcome::Cancelled),
        end_time: Some(queued.record.create_time),
        ..queued.record
    };
    let save = assistd::run::ports::Save {
        record: Arc::new(record),
        messages: Vec::new(),
        steps: Vec::new(),
        events: Vec::new(),
    };
    store.save(&save).await.unwrap();
    let (text, after) = exported(&*store, &[]).await.unwrap();
    assert_eq!((before.unfinished, after.unfinished), (0, 1));
    assert_eq!(after.counts.messages, before.counts.messages);
    assert_eq!(after.counts.runs, before.counts.runs + 1);
    assert!(!text.contains("run_new"), "{text}");

    let elsewhere = self::store().await;
    assert_eq!(imported(&*elsewhere, &text).await.unwrap(), after.counts);
    assert_eq!(exported(&*elsewhere, &[]).await.unwrap().0, text);
    assert_eq!(crate::store::busy(&elsewhere).await, []);
}

#[tokio::test]
async fn an_import_that_was_cut_off_is_completed_by_another() {
    let store = store().await;
    imported(&*store, SAVED).await.unwrap();
    let more = SAVED
        .replace("_beds", "_pots")
        .replace("msg_", "msg_p")
        .replace("run_", "run_p");
    // The `run_id` fields and the names of states begin the same.
    let more = more
        .replace("run_pid", "run_id")
        .replace("run_pcancelled", "run_cancelled");
    imported(&*store, &more).await.unwrap();
    let (text, all) = exported(&*store, &[]).await.unwrap();
    let beds = ThreadId::parse("thread_beds").unwrap();

    let part = self::store().await;
    let (one, _) = exported(&*store, &[beds]).await.unwrap();
    imported(&*part, &one).await.unwrap();
    let rest = imported(&*part, &text).await.unwrap();
    assert_eq!((rest.assistants, rest.threads), (1, 1));
    let again = imported(&*part, &text).await.unwrap();
    assert_eq!(again, Counts::default());
    let (_, both) = exported(&*part, &[]).await.unwrap();
    assert_eq!(both.counts, all.counts);

    let missing = exported(&*part, &[ThreadId::parse("thread_none").unwrap()]).await;
    match missing {
        Err(Failure::Store(error)) => assert_eq!(error.reason(), Reason::ThreadNotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_belongs_to_another_thread_is_named() {
    let store = store().await;
    imported(&*store, SAVED).await.unwrap();
    let other = SAVED.replace("thread_beds", "thread_pots");
    let failure = imported(&*store, &other).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Elsewhere { kind: "message", id } if &**id == "msg_1"),
        "{failure}"
    );
    let pots = ThreadId::parse("thread_pots").unwrap();
    assert_eq!(
        store.thread(&pots).await.unwrap_err().reason(),
        Reason::ThreadNotFound
    );
}
