//! Readings while the entry of their server changes, and servers in another order. Calls are beside it, in [`super`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

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
            tokio::spawn(async move { pool.read("a", "note://wait", "").await })
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
async fn servers_in_another_order_stay_connected_and_the_earlier_one_has_the_names() {
    let (of_a, of_b) = (Arc::<Seen>::default(), Arc::<Seen>::default());
    let servers = [
        Listening::start(loopback(), &of_a).await,
        Listening::start(loopback(), &of_b).await,
    ];
    let entry = |place: usize| json!({"url": servers[place].url(), "prefix": "", "protocol": "legacy"});
    let pool = pool(json!({"a": entry(0), "b": entry(1)})).await;
    let owners = || -> Vec<String> {
        let catalogue = pool.catalogue();
        let tools = catalogue.tools().iter();
        tools.map(|tool| tool.description().server.clone()).collect()
    };
    assert_eq!(owners(), ["a"; 6]);
    let config = json!({"mcpServers": {"b": entry(1), "a": entry(0)}}).to_string();
    pool.reconfigure(Config::parse(&config, |_| None).expect("a configuration"));
    assert_eq!(owners(), ["b"; 6]);
    let names: Vec<String> = pool.servers().into_iter().map(|server| server.name).collect();
    assert_eq!(names, ["b", "a"]);
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    for seen in [of_a, of_b] {
        assert_eq!(
            seen.sessions.load(Ordering::SeqCst),
            1,
            "nobody is connected anew"
        );
    }
    pool.shutdown().await;
}

#[tokio::test]
async fn a_reading_that_is_cut_has_done_nothing() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = Arc::new(pool(json!({"a": {"url": server.url()}})).await);
    let reading = tokio::spawn({
        let pool = pool.clone();
        async move { pool.read("a", "note://wait", "").await }
    });
    seen.waiting.notified().await;
    pool.shutdown().await;
    let error = reading.await.expect("a task").expect_err("it is cut");
    assert_eq!(error.reason(), Reason::McpUnavailable, "{error}");
    assert!(!error.message().contains("it is not known"), "{error}");
}
