//! Several sessions with one server, and sessions that the server forgets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use assistd::mcp::Pool;
use assistd::run::ports::{Connection, Toolbox};
use serde_json::{Map, json};

use super::peer::{Listening, Seen};
use super::{call, loopback, pool, tool_of, until};

/// A server of the era that knows sessions.
async fn old() -> (Arc<Seen>, Listening) {
    let seen = Arc::<Seen>::default();
    seen.is_old.store(true, Ordering::SeqCst);
    let server = Listening::start(loopback(), &seen).await;
    (seen, server)
}

fn calls_by_session(seen: &Seen) -> HashMap<String, usize> {
    seen.by_session.lock().unwrap().clone()
}

/// So many calls of `wait`, until all of them have reached the server; then they are let go.
async fn wait_at_once(pool: &Arc<Pool>, seen: &Arc<Seen>, count: usize) {
    let before = seen.calls.load(Ordering::SeqCst);
    let mut calls = Vec::new();
    for number in 1..=count {
        let (pool, tool) = (pool.clone(), tool_of(pool, "a__wait"));
        calls.push(tokio::spawn(async move {
            pool.call(&tool, Map::new(), Arc::new(|_| {})).await
        }));
        // One after the other: each sees how busy the sessions are.
        until("it waits", || {
            seen.calls.load(Ordering::SeqCst) == before + number
        })
        .await;
    }
    seen.release.notify_waiters();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().text(), "released");
    }
}

/// The server forgets a session.
async fn forget(server: &Listening, session: &str) {
    let client = reqwest::Client::new();
    let told = client
        .delete(server.url())
        .header("mcp-session-id", session)
        .send()
        .await
        .unwrap();
    assert!(told.status().is_success(), "{told:?}");
}

#[tokio::test]
async fn calls_go_to_the_session_with_the_fewest_and_a_lost_one_comes_back() {
    let (seen, server) = old().await;
    let pool = Arc::new(pool(json!({"a": {"url": server.url(), "connections": 3}})).await);
    until("three sessions", || seen.sessions.load(Ordering::SeqCst) == 3).await;
    until("all are open", || {
        pool.servers()[0].connection == Connection::Ready
    })
    .await;
    let version = pool.catalogue().version();
    wait_at_once(&pool, &seen, 6).await;
    let by_session = calls_by_session(&seen);
    assert_eq!(by_session.values().copied().collect::<Vec<_>>(), [2, 2, 2]);
    assert!(call(&pool, "a__grow", json!({})).await.is_ok());
    until("it is heard", || pool.catalogue().get("a__late").is_some()).await;
    assert_ne!(pool.catalogue().version(), version, "it is another catalogue");
    for session in by_session.keys() {
        forget(&server, session).await;
        wait_at_once(&pool, &seen, 3).await;
    }
    until("all are open again", || {
        pool.servers()[0].connection == Connection::Ready
    })
    .await;
    assert_eq!(pool.servers()[0].tool_count, 7);
    pool.shutdown().await;
}

#[tokio::test]
async fn several_sessions_go_down_and_come_back_with_their_server() {
    let (seen, server) = old().await;
    let address = server.address;
    let pool = Arc::new(pool(json!({"a": {"url": server.url(), "connections": 2}})).await);
    until("two sessions", || seen.sessions.load(Ordering::SeqCst) == 2).await;
    drop(server);
    until("down", || {
        matches!(pool.servers()[0].connection, Connection::Down(_))
    })
    .await;
    assert!(pool.catalogue().tools().is_empty());
    seen.sessions.store(0, Ordering::SeqCst);
    let _server = Listening::start(address, &seen).await;
    until("up", || {
        seen.sessions.load(Ordering::SeqCst) >= 2 && pool.servers()[0].connection == Connection::Ready
    })
    .await;
    wait_at_once(&pool, &seen, 2).await;
    pool.shutdown().await;
}

#[tokio::test]
async fn a_session_that_the_server_forgets_is_begun_anew_and_the_call_is_made_once() {
    let (seen, server) = old().await;
    let pool = Arc::new(pool(json!({"a": {"url": server.url()}})).await);
    wait_at_once(&pool, &seen, 1).await;
    let by_session = calls_by_session(&seen);
    for session in by_session.keys() {
        forget(&server, session).await;
    }
    wait_at_once(&pool, &seen, 1).await;
    assert_eq!(calls_by_session(&seen).len(), 2, "another session");
    assert_eq!(seen.calls.load(Ordering::SeqCst), 2, "each call was made once");
    pool.shutdown().await;
}
