//! What only a PostgreSQL server owes: many processes, and connections that break.

use std::sync::Arc;

use assistd::run::error::Reason;
use assistd::run::id::{RunId, ThreadId};
use assistd::run::page::{Order, Page};
use assistd::run::ports::Opened;
use assistd::run::record::{Outcome, State};
use assistd::store::{Config, Location, Url, open};
use sqlx::{AssertSqlSafe, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::place::Postgres;
use super::{busy, chat, ended, finish, opening, reason, requested, said, save, started, thread, time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_start_at_once_on_an_empty_database_and_write_to_it() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let location = place.location();
        tasks.spawn(async move {
            let store = open(&Config { location }).await.unwrap().store;
            for _ in 0..5 {
                chat(&store, &opening(&thread(), true)).await;
            }
        });
    }
    finish(tasks).await;
    let mut stranger = place.stranger().await;
    let count = "SELECT count(*) FROM threads";
    let count: i64 = sqlx::query_scalar(count).fetch_one(&mut stranger).await.unwrap();
    assert_eq!(count, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_on_one_thread_exactly_one_wins() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let (one, two) = tokio::join!(place.store(), place.store());
    for round in 0..20 {
        let thread = thread();
        if round % 2 == 0 {
            chat(&one, &opening(&thread, true)).await;
        }
        // In the other rounds both of them also create it.
        let [left, right] = [(); 2].map(|()| opening(&thread, round % 2 == 1));
        let (a, b) = tokio::join!(one.open_run(left.clone()), two.open_run(right.clone()));
        let (winner, refusal) = match (a, b) {
            (Ok(Opened::Started(_)), Err(refusal)) => (left, refusal),
            (Err(refusal), Ok(Opened::Started(_))) => (right, refusal),
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal.reason(), Reason::ThreadBusy, "{refusal:?}");
        assert_eq!(refusal.metadata(), [("run", winner.record.id.to_string())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_brings_one_thing_whichever_process_sees_it() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let (one, two) = tokio::join!(place.store(), place.store());
    for round in 0..20 {
        let id = format!("request-{round}");
        let [left, right] = [(); 2].map(|()| requested(&id, 1, time(0)));
        let (a, b) = tokio::join!(one.open_run(left.clone()), two.open_run(right.clone()));
        match (a.unwrap(), b.unwrap()) {
            (Opened::Started(_), Opened::Replayed(run)) => assert_eq!(run.id, left.record.id),
            (Opened::Replayed(run), Opened::Started(_)) => assert_eq!(run.id, right.record.id),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_write_to_the_same_threads_do_not_trip_over_one_another() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let stores = [place.store().await, place.store().await, place.store().await];
    let threads: Vec<_> = (0..4).map(|_| thread()).collect();
    for thread in &threads {
        chat(&stores[0], &opening(thread, true)).await;
    }
    let mut tasks = JoinSet::new();
    for store in &stores {
        for thread in threads.clone() {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                let mut won = 0;
                while won < 5 {
                    let opening = opening(&thread, false);
                    match store.open_run(opening.clone()).await {
                        Ok(_) => {
                            won += 1;
                            let record = ended(&opening.record, Outcome::Completed);
                            store.save(&save(&record, &[])).await.unwrap();
                        }
                        Err(error) => assert_eq!(error.reason(), Reason::ThreadBusy, "{error:?}"),
                    }
                }
            });
        }
    }
    finish(tasks).await;
    for thread in &threads {
        assert_eq!(stores[1].history(thread).await.unwrap().len(), 2 + 3 * 5);
    }
    assert_eq!(busy(&stores[2]).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_between_calls_are_replaced() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let store = place.store().await;
    let thread = thread();
    let mut expected = chat(&store, &opening(&thread, true)).await;
    for _ in 0..3 {
        // Several readers, so that more than one is broken.
        let reads = futures::future::join_all((0..8).map(|_| store.history(&thread))).await;
        assert!(reads.iter().all(Result::is_ok), "{reads:?}");
        assert!(place.cut().await > 1);
        store.check().await.unwrap();
        assert_eq!(store.history(&thread).await.unwrap(), expected);
        expected.extend(chat(&store, &opening(&thread, false)).await);
    }
    assert_eq!(store.history(&thread).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_though_connections_break_at_work() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let store = place.store().await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut done = Vec::new();
            while done.len() < 20 {
                let opening = opening(&thread(), true);
                if store.open_run(opening.clone()).await.is_ok() {
                    let record = ended(&opening.record, Outcome::Completed);
                    // As the heart does: the same again, until it is told that it is written.
                    while store.save(&save(&record, &[])).await.is_err() {}
                    done.push(record);
                }
            }
            done
        });
    }
    let mut done = Vec::new();
    while !tasks.is_empty() {
        tokio::select! {
            Some(records) = tasks.join_next() => done.extend(records.unwrap()),
            _ = place.cut() => {}
        }
    }
    for record in done {
        assert_eq!(store.run(&record.id).await.unwrap(), record);
    }
    chat(&store, &opening(&thread(), true)).await;
    assert_eq!(busy(&store).await, []);
}

/// A way to the server that can be told to swallow the answer to the next commit.
struct Detour {
    port: u16,
    swallow: mpsc::Sender<()>,
}

impl Detour {
    async fn to((host, port): (String, u16)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let detour_port = listener.local_addr().unwrap().port();
        let (swallow, orders) = mpsc::channel(1);
        let orders = Arc::new(tokio::sync::Mutex::new(orders));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&orders)));
            }
        });
        let port = detour_port;
        Self { port, swallow }
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    orders: Arc<tokio::sync::Mutex<mpsc::Receiver<()>>>,
) -> std::io::Result<()> {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            count = client.read(&mut from_client) => {
                let sent = &from_client[..count?];
                if sent.is_empty() {
                    return Ok(());
                }
                server.write_all(sent).await?;
                let is_commit = sent.windows(6).any(|letters| letters == b"COMMIT");
                if is_commit && orders.lock().await.try_recv().is_ok() {
                    // The server's answer, to know that it has one, and then nothing any more.
                    return server.read(&mut from_server).await.map(drop);
                }
            }
            count = server.read(&mut from_server) => {
                let answered = &from_server[..count?];
                if answered.is_empty() {
                    return Ok(());
                }
                client.write_all(answered).await?;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let detour = Detour::to(place.address()).await;
    let location = place.location_by("127.0.0.1", detour.port, "&sslmode=disable");
    let store = open(&Config { location }).await.unwrap().store;
    let opening = opening(&thread(), true);
    detour.swallow.send(()).await.unwrap();
    assert_eq!(started(&store, &opening).await, []);
    // The order has been carried out: there is room for the next.
    assert_eq!(detour.swallow.capacity(), 1);
    assert_eq!(
        store.history(&opening.record.thread).await.unwrap(),
        [said(&opening)]
    );
    let record = ended(&opening.record, Outcome::Completed);
    detour.swallow.send(()).await.unwrap();
    store.save(&save(&record, &[])).await.unwrap();
    assert_eq!(store.run(&record.id).await.unwrap(), record);
    detour.swallow.send(()).await.unwrap();
    let change = assistd::run::ports::ThreadChange {
        title: Some("new\0".to_owned()),
        ..Default::default()
    };
    let changed = store
        .update_thread(&record.thread, change, Some(1))
        .await
        .unwrap();
    assert_eq!((changed.version, changed.title.as_str()), (2, "new\u{fffd}"));
    assert_eq!(detour.swallow.capacity(), 1);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    drop(place.store().await);
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', true, ''::bytea, 0)";
    place.stranger().await.execute(newer).await.unwrap();
    let location = place.location();
    let error = open(&Config { location }).await.err().unwrap();
    assert_eq!(error.reason(), Reason::StoreUnavailable);
    assert!(error.message().contains("newer version"), "{error}");
}

#[tokio::test]
async fn the_database_itself_holds_off_a_second_active_run() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let store = place.store().await;
    started(&store, &opening(&thread(), true)).await;
    let columns = "thread, state, detail, message, active, snapshot, usage, last_sequence, reserved_sequence, \
                   create_time, start_time, expire_time, end_time, pending, waited, waits_since, first_position, \
                   last_position, queued, has_events, owner, fence";
    let copy = format!("INSERT INTO runs (id, {columns}) SELECT id || 'x', {columns} FROM runs");
    let error = place
        .stranger()
        .await
        .execute(sqlx::AssertSqlSafe(copy))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("runs_active"), "{error}");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_without_its_password() {
    // Nobody listens on a port that has just been given back.
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    for (url, named) in [
        ("postgres://db/x?passwd=secret".to_owned(), "not known".to_owned()),
        (
            format!("postgres://me:secret@127.0.0.1:{port}/x"),
            format!("127.0.0.1:{port}"),
        ),
        (
            "postgres://me:sec ret@:/x?sslmode=secret".to_owned(),
            "not a postgres:// URL".to_owned(),
        ),
    ] {
        let location = Location::Postgres(Url::new(url));
        assert!(!format!("{location:?}").contains("secret"));
        let error = open(&Config { location }).await.err().unwrap();
        assert_eq!(error.reason(), Reason::StoreUnavailable);
        assert!(error.message().contains(&named), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so_until_it_can() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    let (host, port) = place.address();
    let location = place.location_by(&host, port, "&options[lock_timeout]=50ms");
    let store = open(&Config { location }).await.unwrap().store;
    let mut stranger = place.stranger().await;
    // Whoever holds the table holds up the others.
    stranger
        .execute("BEGIN; LOCK TABLE threads IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let opening = opening(&thread(), true);
    assert_eq!(
        reason(store.open_run(opening.clone()).await),
        Reason::StoreUnavailable
    );
    assert_eq!(reason(store.check().await), Reason::StoreUnavailable);
    stranger.execute("ROLLBACK").await.unwrap();
    store.check().await.unwrap();
    started(&store, &opening).await;
}

/// A migration that databases have been through is never edited, only followed by another: the checksum that they keep
/// would differ, and they would not open.
#[tokio::test]
async fn a_database_of_the_first_version_opens_with_what_it_holds() {
    let Some(place) = Postgres::new().await else {
        return;
    };
    drop(place.store().await);
    let mut stranger = place.stranger().await;
    let checksums = "SELECT encode(checksum, 'hex') FROM _sqlx_migrations ORDER BY version";
    let checksums: Vec<String> = sqlx::query_scalar(checksums)
        .fetch_all(&mut stranger)
        .await
        .unwrap();
    let released = "ee4051116ef2ac7d8843d0b6f5288d53666c236307475108\
                    81fa97b1aaf2e10b1b57b72e7a136c2e1511bec1e0b21ad1";
    let second = "8fd2204163234ddd78cdd735aa77bb26cbbaadb14cbbf3da\
                  67bc02d831599b407a780f4d7f0cf9c4d2355004788cf736";
    let third = "76ff28bb84e22be5f717b812f28af487a6a03788537b772f\
                 cff3b4abc025bbc16d1f3faac004f9bfe95e96aec56fd055";
    let fourth = "f449b49536f759c84a227726c0d2aef5de8a569bc6809f0e\
                  c8900062fc2eba56fe5a206a210d57bd00968551d74a4bb5";
    let fifth = "ddd0073ba373a6d797caf243d9e489fa89fc356f8d4f9126\
                 efe8c07321071f8fff0df874b594fba7011ca9a194c78911";
    assert_eq!(checksums, [released, second, third, fourth, fifth]);
    // The tables of the first version, what it wrote, and what it knew of itself.
    let schema: String = sqlx::query_scalar("SELECT current_schema()")
        .fetch_one(&mut stranger)
        .await
        .unwrap();
    let keep = "CREATE TEMP TABLE kept AS SELECT * FROM _sqlx_migrations WHERE version = 1".to_owned();
    let empty = format!("DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}");
    let tables = include_str!("../../../migrations/postgres/0001_threads_runs_events.sql").to_owned();
    let known = "CREATE TABLE _sqlx_migrations AS SELECT * FROM kept".to_owned();
    let written = include_str!("../../fixtures/store/postgres_1.sql").to_owned();
    for step in [keep, empty, tables, known, written] {
        stranger.execute(AssertSqlSafe(step)).await.unwrap();
    }
    let store = place.store().await;
    let (thread, run) = (
        ThreadId::parse("thread_1").unwrap(),
        RunId::parse("run_1").unwrap(),
    );
    let history = store.history(&thread).await.unwrap();
    let texts: Vec<String> = history.iter().map(|message| message.text()).collect();
    assert_eq!(texts, ["what is 6*7?", "", "", "The tool answered: Result: 42"]);
    let record = store.run(&run).await.unwrap();
    assert_eq!(record.state, State::Ended(Outcome::Completed));
    assert_eq!(record.usage.total_tokens(), 371);
    let everything = Page {
        after: None,
        limit: 100,
        order: Order::OldestFirst,
    };
    assert_eq!(store.run_steps(&run, everything).await.unwrap().items.len(), 3);
    assert_eq!(store.events(&run, 0).await.unwrap().len(), 18);
    assert_eq!(store.pending_actions(everything).await.unwrap().items.len(), 1);
    let mut next = opening(&thread, false);
    next.record.thread = thread;
    assert_eq!(started(&store, &next).await, history);
}
