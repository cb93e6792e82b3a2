//! Tools that change after they were approved.

use std::sync::Arc;

use assistd::mcp::Pool;
use assistd::run::error::{Error, Reason};
use assistd::run::ports::{Connection, Pins, Toolbox};
use assistd::store;
use serde_json::{Map, Value, json};

use super::peer::{Listening, Seen};
use super::{call, call_tool, loopback, no_pins, pool_with, tool_of, until};

const HELD: [&str; 2] = ["a__count", "a__echo"];

fn pinned(server: &Listening, pin_tools: &Value) -> Value {
    json!({"a": {"url": server.url(), "pin_tools": pin_tools}})
}

fn held(pool: &Pool) -> Vec<String> {
    let mut held: Vec<String> = pool.catalogue().held().keys().cloned().collect();
    held.sort();
    held
}

fn state(pool: &Pool) -> Connection {
    pool.servers()[0].connection.clone()
}

fn change(seen: &Seen, text: &str) {
    text.clone_into(&mut seen.describes.lock().unwrap());
}

async fn accept(pool: &Pool, server: &str, tools: &[&str], digests: &[&str]) -> Result<Vec<String>, Error> {
    let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let accepted = pool.accept(server, &owned(tools), &owned(digests)).await?;
    Ok(accepted.iter().map(|tool| tool.name().to_owned()).collect())
}

#[tokio::test]
async fn a_changed_tool_is_held_back_until_it_is_accepted() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = pool_with(pinned(&server, &json!(true)), no_pins().await).await;
    let (of_before, version) = (tool_of(&pool, "a__echo"), pool.catalogue().version());
    assert_eq!(state(&pool), Connection::Ready);
    change(&seen, ", and tell nobody");
    until("both are held back", || held(&pool) == HELD).await;
    assert_ne!(pool.catalogue().version(), version);
    let Connection::Quarantined(reason) = state(&pool) else {
        panic!("not told: {:?}", pool.servers());
    };
    assert_eq!(
        reason,
        "a__echo is held back until it is accepted: its description changed; \
         a__count is held back until it is accepted: its description changed"
    );
    assert_eq!(pool.servers()[0].tool_count, 4);
    let selected = pool.catalogue().selected(&Default::default());
    assert!(selected.get("a__echo").is_none() && selected.get("a__wait").is_some());
    let refused = call(&pool, "a__echo", json!({})).await.expect_err("held back");
    assert_eq!(refused.reason(), Reason::ToolQuarantined);
    let metadata = [("tool", "a__echo".to_owned()), ("server", "a".to_owned())];
    assert_eq!(refused.metadata(), metadata);
    assert!(call(&pool, "a__refuse", json!({})).await.is_ok());

    let digest = pool.catalogue().held()["a__echo"].now.digest();
    for (server, tools, digests, expected) in [
        ("b", &["a__echo"] as &[_], &[] as &[_], Reason::ValidationFailed),
        ("a", &["a__nope"], &[], Reason::ToolNotFound),
        ("a", &["a__echo"], &["other"], Reason::ToolChanged),
        ("a", &[], &["other", "another"], Reason::ToolChanged),
    ] {
        let refused = accept(&pool, server, tools, digests).await.expect_err("refused");
        assert_eq!(refused.reason(), expected, "{tools:?} {digests:?}");
    }
    assert_eq!(held(&pool), HELD);
    assert_eq!(accept(&pool, "a", &["a__wait"], &[]).await.unwrap(), [""; 0]);
    assert_eq!(
        accept(&pool, "a", &["a__echo"], &[&digest]).await.unwrap(),
        ["a__echo"]
    );
    assert_eq!(held(&pool), ["a__count"]);
    assert!(call(&pool, "a__echo", json!({})).await.is_ok());
    // A run that began before has seen another tool.
    let refused = call_tool(&pool, &of_before, json!({}))
        .await
        .expect_err("changed");
    assert_eq!(refused.reason(), Reason::ToolChanged);
    assert_eq!(accept(&pool, "a", &[], &[]).await.unwrap(), ["a__count"]);
    assert_eq!(state(&pool), Connection::Ready);
    assert_eq!(pool.servers()[0].tool_count, 6);
    pool.shutdown().await;
}

#[tokio::test]
async fn what_was_approved_is_known_after_a_restart_and_to_every_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = async || -> Arc<dyn Pins> {
        let location = store::Location::File(directory.path().join("assistd.db"));
        store::open(&store::Config { location })
            .await
            .expect("a store")
            .pins
    };
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let servers = pinned(&server, &json!(true));
    let pool = pool_with(servers.clone(), open().await).await;
    pool.shutdown().await;
    change(&seen, "!");
    let first = pool_with(servers.clone(), open().await).await;
    let second = pool_with(servers, open().await).await;
    assert_eq!(
        (held(&first), held(&second)),
        (HELD.map(str::to_owned).into(), HELD.map(str::to_owned).into())
    );
    accept(&first, "a", &[], &[]).await.unwrap();
    until("the other one has heard", || held(&second).is_empty()).await;
    assert_eq!(state(&second), Connection::Ready);
    // As it was at first is a change, too.
    change(&seen, "");
    until("both are held back again", || {
        held(&first) == HELD && held(&second) == HELD
    })
    .await;
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn tools_that_are_not_pinned_change_freely_and_new_ones_are_approved() {
    for (pin_tools, expected) in [(false, &[] as &[&str]), (true, &HELD)] {
        let seen = Arc::<Seen>::default();
        let server = Listening::start(loopback(), &seen).await;
        let pool = pool_with(pinned(&server, &json!(pin_tools)), no_pins().await).await;
        let of_before = tool_of(&pool, "a__echo");
        change(&seen, "!");
        seen.has_late.store(true, std::sync::atomic::Ordering::SeqCst);
        until("it is read anew", || pool.catalogue().get("a__late").is_some()).await;
        assert_eq!(held(&pool), expected);
        let called = pool.call(&of_before, Map::new(), Arc::new(|_| {})).await;
        assert_eq!(called.is_ok(), !pin_tools);
        pool.shutdown().await;
    }
}
