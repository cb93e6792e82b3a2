//! What can only be seen from inside: a disk that is full, a file from the future, rows that make no sense.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};

use crate::run::id::{MessageId, Mint};
use crate::run::message::{Part, Role, Usage};
use crate::run::record::{Outcome, Snapshot, State};

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::run::error::{Error, Reason};
use crate::run::id::{RunId, ThreadId};
use crate::run::message::Message;
use crate::run::page::{Order, Page};
use crate::run::ports::{History, Opened, Opening, Save, Store};
use crate::run::record::RunRecord;
use crate::run::truncation::Reach;
use crate::store::database::Database;
use crate::store::query::{NEWEST_MESSAGES, NEWEST_TURNS, THREAD};

use super::ownership::STATEMENTS;
use super::{Location, Readers, connect, over};

type Sqlite = Database<Arc<Readers>>;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("assistd.db")
    }

    fn location(&self) -> Location {
        Location::File(self.path())
    }

    async fn store(&self) -> (Sqlite, Arc<Mutex<SqliteConnection>>) {
        on(&self.location()).await
    }

    /// A connection of somebody else.
    async fn stranger(&self) -> SqliteConnection {
        connect::writing(&self.location()).connect().await.unwrap()
    }
}

/// A store, with its own connection to play tricks on.
async fn on(location: &Location) -> (Sqlite, Arc<Mutex<SqliteConnection>>) {
    let connection = Arc::new(Mutex::new(connect::open(location).await.unwrap()));
    (over(Arc::clone(&connection), location).0, connection)
}

fn opening(text: &str) -> Opening {
    let run = RunId::new(&mut Mint::System);
    Opening {
        message: Some(Arc::new(Message {
            id: MessageId::new(&mut Mint::System),
            role: Role::User,
            content: vec![Part::Text(text.to_owned())],
            run: Some(run.clone()),
            incomplete: false,
            create_time: UNIX_EPOCH,
            metadata: BTreeMap::new(),
        })),
        record: RunRecord {
            id: run,
            thread: ThreadId::new(&mut Mint::System),
            snapshot: Snapshot::default(),
            state: State::Running,
            usage: Usage::default(),
            last_sequence: 0,
            reserved_sequence: 0,
            fence: RunRecord::FIRST_FENCE,
            create_time: UNIX_EPOCH,
            start_time: Some(UNIX_EPOCH),
            expire_time: None,
            pending: Vec::new(),
            waited: Duration::ZERO,
            waits_since: None,
            end_time: None,
        },
        creates_thread: true,
        events: Vec::new(),
        request: None,
        reach: Reach::All,
    }
}

fn save(record: &RunRecord) -> Save {
    Save {
        record: Arc::new(record.clone()),
        messages: Vec::new(),
        steps: Vec::new(),
        events: Vec::new(),
    }
}

async fn pragma(connection: &Mutex<SqliteConnection>, pragma: &'static str) {
    connection.lock().await.execute(pragma).await.unwrap();
}

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, Error>, trouble: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreUnavailable, "{error:?}");
    assert!(error.message().ends_with(trouble), "{error}");
}

/// The runs that keep threads busy.
async fn busy(store: &Sqlite) -> Vec<RunId> {
    let page = Page {
        after: None,
        limit: 1_000,
        order: Order::OldestFirst,
    };
    let threads = store.threads(page).await.unwrap().items;
    threads
        .into_iter()
        .filter_map(|thread| thread.active_run)
        .collect()
}

#[tokio::test]
async fn a_full_disk_refuses_everything_until_there_is_room() {
    let place = Place::new();
    let (store, connection) = place.store().await;
    let before = opening("before");
    store.open_run(before.clone()).await.unwrap();
    pragma(&connection, "PRAGMA max_page_count = 1").await;
    let large = "x".repeat(100_000);
    let refused = opening(&large);
    assert_unavailable(store.open_run(refused.clone()).await, "the disk is full");
    assert_eq!(store.writer.trouble(), Some("the disk is full"));
    pragma(&connection, "PRAGMA max_page_count = 100000").await;
    store.check().await.unwrap();
    assert_eq!(store.writer.trouble(), None);
    assert_eq!(busy(&store).await, [before.record.id]);
    store.open_run(refused).await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so_until_it_can() {
    for location in [Location::Memory, Place::new().location()] {
        if let Location::File(path) = &location {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let (store, connection) = on(&location).await;
        let opening = opening("hello");
        pragma(&connection, "PRAGMA query_only = on").await;
        assert_unavailable(store.open_run(opening.clone()).await, "it is read-only");
        // A file is opened anew, since it is the connection that may be read-only; memory has but one.
        if let Location::Memory = location {
            assert_unavailable(store.check().await, "it is read-only");
            pragma(&connection, "PRAGMA query_only = off").await;
        }
        store.check().await.unwrap();
        store.open_run(opening.clone()).await.unwrap();
        let mut record = opening.record;
        record.state = State::Ended(Outcome::Completed);
        store.save(&save(&record)).await.unwrap();
        assert_eq!(store.run(&record.id).await.unwrap(), record);
    }
}

#[tokio::test]
async fn a_write_that_cannot_be_does_not_harm_those_beside_it() {
    let (store, connection) = on(&Location::Memory).await;
    let opening = opening("hello");
    store.open_run(opening.clone()).await.unwrap();
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON messages WHEN new.content LIKE '%poison%' \
                BEGIN SELECT raise(ABORT, 'no'); END";
    pragma(&connection, trap).await;
    let good: Vec<Opening> = (0..20).map(|_| self::opening("good")).collect();
    let bad = self::opening("poison");
    // The writer cannot begin before all of them wait.
    let held = connection.lock().await;
    let mut calls: Vec<_> = good
        .iter()
        .map(|opening| store.open_run(opening.clone()))
        .collect();
    calls.insert(10, store.open_run(bad.clone()));
    let release = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    let (outcomes, ()) = tokio::join!(futures::future::join_all(calls), release);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match index {
            10 => assert_eq!(outcome.unwrap_err().reason(), Reason::Internal),
            _ => assert_eq!(outcome.unwrap(), Opened::Started(History::default())),
        }
    }
    assert_eq!(
        store.run(&bad.record.id).await.unwrap_err().reason(),
        Reason::RunNotFound
    );
    assert_eq!(busy(&store).await.len(), 21);
    assert_eq!(store.writer.trouble(), None);
}

#[tokio::test]
async fn a_run_whose_caller_has_gone_does_not_hold_its_thread() {
    let (store, connection) = on(&Location::Memory).await;
    let [queued, written] = ["queued", "written"].map(opening);
    let held = connection.lock().await;
    // The first is in the writer's hands when its caller goes, the second still waits.
    let mut call = store.open_run(written.clone());
    assert!(futures::poll!(&mut call).is_pending());
    tokio::task::yield_now().await;
    let mut waiting = store.open_run(queued.clone());
    assert!(futures::poll!(&mut waiting).is_pending());
    drop((call, waiting));
    drop(held);
    store.open_run(opening("later")).await.unwrap();
    let record = store.run(&written.record.id).await.unwrap();
    assert_eq!(record.state, State::Ended(Outcome::Cancelled));
    assert_eq!(
        store.run(&queued.record.id).await.unwrap_err().reason(),
        Reason::RunNotFound
    );
}

#[tokio::test]
async fn rows_that_make_no_sense_are_named_and_harm_nobody_else() {
    let place = Place::new();
    let (store, _connection) = place.store().await;
    let [odd, fine] = ["odd", "fine"].map(opening);
    store.open_run(odd.clone()).await.unwrap();
    store.open_run(fine.clone()).await.unwrap();
    let mut stranger = place.stranger().await;
    for (table, change) in [
        ("runs", "snapshot = '{'"),
        ("runs", "state = 'dancing'"),
        ("runs", "last_sequence = -1"),
        ("messages", "content = '[{\"song\": 1}]'"),
        ("messages", "role = 'robot'"),
        ("messages", "create_time = -9223372036854775808"),
        ("messages", "run = ''"),
    ] {
        let id = match table {
            "runs" => odd.record.id.as_str(),
            _ => odd.message.as_ref().unwrap().id.as_str(),
        };
        let sql = format!("BEGIN; UPDATE {table} SET {change} WHERE id = '{id}'; COMMIT");
        stranger.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        let error = match table {
            "runs" => store.run(&odd.record.id).await.unwrap_err(),
            _ => store.history(&odd.record.thread).await.unwrap_err(),
        };
        assert_eq!(error.reason(), Reason::Internal, "{change}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(id), "{cause}");
    }
    assert_eq!(store.run(&fine.record.id).await.unwrap(), fine.record);
}

#[tokio::test]
async fn the_database_itself_holds_off_a_second_active_run() {
    let place = Place::new();
    let (store, _connection) = place.store().await;
    store.open_run(opening("hello")).await.unwrap();
    let copy = "INSERT INTO runs SELECT number + 1, id || 'x', thread, state, detail, message, active, \
                snapshot, usage, last_sequence, reserved_sequence, create_time, start_time, expire_time, \
                end_time, pending, waited, waits_since, first_position, last_position, queued, has_events, owner, fence \
                FROM runs";
    let error = place.stranger().await.execute(copy).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("UNIQUE constraint failed: runs.thread"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.store().await);
    let mut stranger = place.stranger().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', true, x'00', 0)";
    stranger.execute(newer).await.unwrap();
    stranger.close().await.unwrap();
    let error = connect::open(&place.location()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreUnavailable);
    assert!(error.message().contains("newer version"), "{error}");
    assert!(
        error.message().contains(place.path().to_str().unwrap()),
        "{error}"
    );
}

/// A migration that users' files have been through is never edited, only followed by another: the checksum that
/// such a file keeps would differ, and it would not open.
#[test]
fn released_migrations_are_as_they_were_released() {
    let released = [
        "4d4c1ec4379c8cf1b6b598c7ddefb77c1dd797ebeb03f0bdcaf47b61b82574be",
        "3333b9151fb4c337a0065776694f84c45d395d91d899d2d67edcb5d7316bdde8",
        "6568613296ba4ad3b101f32ffb6495c5883df5c50d8ac322e2e120fde4979afa",
        "dd60f9df35e9e9e4ed2f1dae229bfd8b6419f2467a0ecf053b52bc59cb493445",
        "097d85a24dfe164d3cc3923c2cc4bb0e553731302f43b3e81a38f8f556838129",
        "fe75cb0ea751675f06358211aef0c4587617025d4b7b0096ac4ab1a59d9e7fc7",
        "0efdf3bd7d60facc341b62b3020369da5863b3661561a75ec22f0ab5566d0acb",
    ];
    let current = connect::MIGRATIONS.iter().map(|(_, _, text)| {
        let bytes = Sha256::digest(text);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    assert_eq!(current.collect::<Vec<_>>(), released);
}

/// What each version of the schema was written to with, by the service of its time.
const WRITTEN: [&str; 7] = [
    include_str!("../../../tests/fixtures/store/sqlite_1.sql"),
    include_str!("../../../tests/fixtures/store/sqlite_2.sql"),
    include_str!("../../../tests/fixtures/store/sqlite_3.sql"),
    include_str!("../../../tests/fixtures/store/sqlite_4.sql"),
    // The fifth only has one more index.
    include_str!("../../../tests/fixtures/store/sqlite_4.sql"),
    include_str!("../../../tests/fixtures/store/sqlite_6.sql"),
    include_str!("../../../tests/fixtures/store/sqlite_7.sql"),
];

#[tokio::test]
async fn files_of_every_older_version_open_with_what_they_hold() {
    for version in 1..=connect::MIGRATIONS.len() {
        let place = Place::new();
        let mut old = connect::writing(&place.location())
            .create_if_missing(true)
            .connect()
            .await
            .unwrap();
        connect::migrate(&mut old, &connect::MIGRATIONS[..version])
            .await
            .unwrap();
        old.execute(WRITTEN[version - 1]).await.unwrap();
        old.close().await.unwrap();
        let (store, _connection) = place.store().await;
        let (thread, run) = (
            ThreadId::parse("thread_1").unwrap(),
            RunId::parse("run_1").unwrap(),
        );
        let history = store.history(&thread).await.unwrap();
        let texts: Vec<String> = history.iter().map(|message| message.text()).collect();
        let expected = ["what is 6*7?", "", "", "The tool answered: Result: 42"];
        assert_eq!(texts, expected, "version {version}");
        assert_eq!(history[1].tool_calls().count(), 1);
        let record = store.run(&run).await.unwrap();
        assert_eq!(record.state, State::Ended(Outcome::Completed));
        assert_eq!(record.usage.total_tokens(), 371);
        let used = store.thread(&thread).await.unwrap().usage;
        assert_eq!(used.total_tokens(), 371, "version {version}");
        assert_eq!(record.snapshot.metadata["from"], "old");
        let everything = Page {
            after: None,
            limit: 100,
            order: Order::OldestFirst,
        };
        let steps = store.run_steps(&run, everything).await.unwrap().items;
        let pending = store.pending_actions(everything).await.unwrap().items;
        if version == 1 {
            assert_eq!((steps.len(), pending.len()), (0, 0), "there were none then");
            assert_eq!(
                store.events(&run, 0).await.unwrap_err().reason(),
                Reason::EventsExpired
            );
        } else {
            assert_eq!((steps.len(), pending.len()), (3, 1), "version {version}");
            assert_eq!(store.events(&run, 0).await.unwrap().len(), 18);
        }
        let mut opening = opening("hello");
        opening.record.thread = thread;
        opening.creates_thread = false;
        assert_eq!(
            store.open_run(opening).await.unwrap(),
            Opened::Started(history.into())
        );
    }
}

#[tokio::test]
async fn a_thread_of_an_older_version_has_used_what_its_runs_had() {
    let place = Place::new();
    let mut old = connect::writing(&place.location())
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    connect::migrate(&mut old, &connect::MIGRATIONS[..3])
        .await
        .unwrap();
    old.execute(
        "INSERT INTO threads (number, id, create_time) VALUES (1, 'thread_used', 0), (2, 'thread_new', 0); \
         INSERT INTO runs (id, thread, state, active, snapshot, usage, last_sequence, reserved_sequence, create_time, \
             waited, first_position, last_position, has_events) \
         VALUES ('run_1', 1, 'completed', 0, '{}', '{\"input_tokens\":3,\"turns\":1}', 1, 1, 0, 0, 0, 0, 0), \
             ('run_2', 1, 'cancelled', 0, '{}', '{\"input_tokens\":4,\"output_tokens\":5,\"turns\":2}', 1, 1, 0, 0, 0, 0, 0), \
             ('run_3', 1, 'running', 1, '{}', '{\"output_tokens\":6}', 1, 1, 0, 0, 0, 0, 0)",
    )
    .await
    .unwrap();
    old.close().await.unwrap();
    let (store, _connection) = place.store().await;
    let used = Usage {
        input_tokens: 7,
        output_tokens: 11,
        turns: 3,
        ..Usage::default()
    };
    for (thread, expected) in [("thread_used", used), ("thread_new", Usage::default())] {
        let thread = store.thread(&ThreadId::parse(thread).unwrap()).await.unwrap();
        assert_eq!(thread.usage, expected);
    }
}

#[tokio::test]
async fn a_thread_is_read_without_reading_all_its_runs() {
    let place = Place::new();
    let (_store, connection) = place.store().await;
    let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {THREAD}"));
    let query = sqlx::query(plan).bind("thread_1");
    let rows = query.fetch_all(&mut *connection.lock().await).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    let runs: Vec<_> = steps.iter().filter(|step| step.contains(" runs ")).collect();
    let expected = [
        "SEARCH runs USING COVERING INDEX runs_in_time (thread=?)",
        "SEARCH runs USING INDEX runs_active (thread=?)",
        "SEARCH runs USING INDEX runs_queued (thread=?)",
        "SEARCH runs USING INDEX runs_active (thread=?)",
    ];
    assert_eq!(runs, expected);
}

/// SQLite chooses the order of a join itself, and without statistics now and then the one that reads everything.
#[tokio::test]
async fn what_is_asked_again_and_again_looks_through_no_table() {
    let place = Place::new();
    drop(place.store().await);
    let mut stranger = place.stranger().await;
    for statement in STATEMENTS.into_iter().chain([NEWEST_TURNS, NEWEST_MESSAGES]) {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let rows = stranger.fetch_all(AssertSqlSafe(explain)).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(!plan.is_empty(), "{statement}");
        for step in plan {
            let scanned = step.strip_prefix("SCAN ").unwrap_or_default();
            let is_whole = ["runs", "r", "threads", "t", "messages", "m", "p"].contains(&scanned);
            assert!(!is_whole, "{statement}: {step}");
        }
    }
}
