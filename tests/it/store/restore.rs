//! What every store owes to whoever brings threads and assistants from elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use assistd::run::assistant::{AssistantRecord, Profile};
use assistd::run::id::{AssistantId, Mint, StepId, ThreadId};
use assistd::run::message::{Message, Role, Usage};
use assistd::run::ports::{Restore, Restored, Store, WholeRun, WholeThread};
use assistd::run::record::{Outcome, ThreadRecord};
use assistd::run::step::{Step, StepState, Work};
use assistd::run::truncation::ContextUse;

use super::{Order, Reason, ended, opening, page, reason, says, started, thread, time};

/// A thread with two messages of a run, and one before and one after it.
fn whole() -> WholeThread {
    let thread = thread();
    let record = ended(&opening(&thread, true).record, Outcome::Completed);
    let run = &record.id;
    let alone = |text| {
        let said = says(Role::User, run, text);
        Arc::new(Message {
            run: None,
            ..(*said).clone()
        })
    };
    let messages = vec![
        alone("before"),
        says(Role::User, run, "question"),
        says(Role::Assistant, run, "answer"),
        alone("after"),
    ];
    let step = Step {
        id: StepId::new(&mut Mint::System),
        place: 0,
        turn: 1,
        work: Work::ModelTurn {
            model: "m".to_owned(),
            message: Some(messages[2].id.clone()),
            usage: Usage::default(),
            context: ContextUse::default(),
            attempts: Vec::new(),
            unknown_events: 0,
        },
        state: StepState::Completed,
        create_time: time(1),
        start_time: None,
        end_time: Some(time(2)),
    };
    let run = WholeRun {
        first_message: Some(messages[1].id.clone()),
        record: assistd::run::record::RunRecord {
            expire_time: None,
            last_sequence: 7,
            reserved_sequence: 7,
            ..record
        },
        steps: vec![Arc::new(step)],
    };
    WholeThread {
        record: ThreadRecord {
            id: thread,
            title: "A trip".to_owned(),
            metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            version: 3,
            active_run: None,
            create_time: time(0),
            update_time: time(50),
            usage: record.usage,
        },
        messages,
        runs: vec![run],
    }
}

fn restore(whole: &WholeThread) -> Restore {
    Restore::Thread(whole.clone())
}

fn taken(kind: &'static str, id: &str) -> Restored {
    Restored::Taken { kind, id: id.into() }
}

pub(super) async fn a_thread_is_put_back_whole(store: Arc<dyn Store>) {
    let whole = whole();
    assert_eq!(store.restore(&restore(&whole)).await.unwrap(), Restored::Added);
    let id = &whole.record.id;
    assert_eq!(store.thread(id).await.unwrap(), whole.record);
    assert_eq!(store.history(id).await.unwrap(), whole.messages);
    let run = &whole.runs[0];
    assert_eq!(store.run(&run.record.id).await.unwrap(), run.record);
    assert_eq!(
        store.run_messages(&run.record.id).await.unwrap(),
        &whole.messages[1..3]
    );
    let steps = store
        .run_steps(&run.record.id, page(10, Order::OldestFirst))
        .await
        .unwrap();
    assert_eq!(steps.items, run.steps);
    let expired = store.events(&run.record.id, 0).await;
    assert_eq!(reason(expired), Reason::EventsExpired);

    // It goes on as any other, and goes whole.
    let next = opening(id, false);
    assert_eq!(started(&store, &next).await, whole.messages);
    assert_eq!(store.history(id).await.unwrap().len(), 5);
    let over = ended(&next.record, Outcome::Completed);
    store.save(&super::save(&over, &[])).await.unwrap();
    store.delete_thread(id, Some(3)).await.unwrap();
    assert_eq!(store.restore(&restore(&whole)).await.unwrap(), Restored::Added);
}

pub(super) async fn what_is_there_is_not_written_over(store: Arc<dyn Store>) {
    let whole = whole();
    let [one, two] = [restore(&whole), restore(&whole)];
    let both = tokio::join!(store.restore(&one), store.restore(&two));
    let both = [both.0.unwrap(), both.1.unwrap()];
    let id = &whole.record.id;
    assert!(both.contains(&Restored::Added), "{both:?}");
    assert!(both.contains(&taken("thread", id.as_str())), "{both:?}");

    let elsewhere = |mut whole: WholeThread| {
        whole.record.id = ThreadId::new(&mut Mint::System);
        whole
    };
    let mut other = elsewhere(self::whole());
    other.messages[0] = Arc::clone(&whole.messages[0]);
    let refused = store.restore(&restore(&other)).await.unwrap();
    assert_eq!(refused, taken("message", whole.messages[0].id.as_str()));
    let mut other = elsewhere(self::whole());
    other.runs[0].record.id = whole.runs[0].record.id.clone();
    let refused = store.restore(&restore(&other)).await.unwrap();
    assert_eq!(refused, taken("run", whole.runs[0].record.id.as_str()));
    // Nothing is left of what was refused.
    assert_eq!(
        reason(store.thread(&other.record.id).await),
        Reason::ThreadNotFound
    );

    let mut twice = elsewhere(self::whole());
    twice.messages[1] = Arc::clone(&twice.messages[0]);
    let refused = store.restore(&restore(&twice)).await.unwrap();
    assert_eq!(refused, taken("message", twice.messages[0].id.as_str()));
    assert_eq!(store.history(id).await.unwrap(), whole.messages);
}

pub(super) async fn an_assistant_is_put_back(store: Arc<dyn Store>) {
    let record = AssistantRecord {
        id: AssistantId::parse("asst_old-1").unwrap(),
        profile: Profile {
            display_name: "Clerk".to_owned(),
            ..Profile::default()
        },
        version: 4,
        create_time: time(1),
        update_time: time(9),
    };
    let item = Restore::Assistant(record.clone());
    assert_eq!(store.restore(&item).await.unwrap(), Restored::Added);
    assert_eq!(store.assistant(&record.id).await.unwrap(), record);
    let again = store.restore(&item).await.unwrap();
    assert_eq!(again, taken("assistant", "asst_old-1"));
    let changed = store.update_assistant(&record.id, Profile::default(), 4).await;
    assert_eq!(changed.unwrap().version, 5);
}

pub(super) async fn a_long_thread_is_put_back_in_one_step(store: Arc<dyn Store>) {
    let mut long = whole();
    let run = long.runs[0].record.id.clone();
    for index in 0..1_000 {
        long.messages
            .push(says(Role::Assistant, &run, &format!("line {index}")));
    }
    assert_eq!(store.restore(&restore(&long)).await.unwrap(), Restored::Added);
    assert_eq!(store.history(&long.record.id).await.unwrap(), long.messages);
    assert_eq!(store.run_messages(&run).await.unwrap().len(), 1_002);
}
