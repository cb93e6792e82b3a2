//! Readings while the entry of their server changes. Calls are beside it, in [`super`].

use std::sync::Arc;

use assistd::mcp::Config;
use assistd::run::error::Reason;
use assistd::run::message::ResourceBody;
use assistd::run::ports::{Library, Toolbox};
use serde_json::{Value, json};

use super::peer::{Listening, Seen};
use super::{call, child, loopback, pool, until};

#[tokio::test]
async fn a_reading_comes_to_its_end_while_the_entry_of_its_server_changes() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let was = json!({"url": server.url(), "max_concurrency": 1});
    for changed in [json!({"a": {"url": server.url()}}), json!({"b": child()})] {
        let pool = Arc::new(pool(json!({"a": was})).await);
        let read = || {
            let pool = pool.clone();
            tokio::spawn(async move { pool.read("a", "note://wait").await })
        };
        let reading = read();
        seen.waiting.notified().await;
        let late = read();
        until("it waits for its turn", || pool.servers()[0].waiting_calls == 1).await;
        let config = json!({"mcpServers": changed}).to_string();
        pool.reconfigure(Config::parse(&config, |_| None).expect("a configuration"));
        // Whoever is to be ended without being waited for would be by now.
        let (name, _): (&String, &Value) = changed
            .as_object()
            .and_then(|all| all.iter().next())
            .expect("one");
        until("the changed one is there", || {
            pool.catalogue().get(&format!("{name}__echo")).is_some()
        })
        .await;
        assert!(call(&pool, &format!("{name}__echo"), json!({})).await.is_ok());
        seen.release.notify_waiters();
        let contents = reading.await.expect("a task").expect("contents");
        assert!(
            matches!(&contents[0].body, ResourceBody::Text(text) if text == "released"),
            "{contents:?}"
        );
        let error = late.await.expect("a task").expect_err("it is gone");
        assert_eq!(error.reason(), Reason::McpUnavailable, "{error}");
        assert!(error.message().contains("the configuration"), "{error}");
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn a_reading_that_is_cut_has_done_nothing() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = Arc::new(pool(json!({"a": {"url": server.url()}})).await);
    let reading = tokio::spawn({
        let pool = pool.clone();
        async move { pool.read("a", "note://wait").await }
    });
    seen.waiting.notified().await;
    pool.shutdown().await;
    let error = reading.await.expect("a task").expect_err("it is cut");
    assert_eq!(error.reason(), Reason::McpUnavailable, "{error}");
    assert!(!error.message().contains("it is not known"), "{error}");
}
