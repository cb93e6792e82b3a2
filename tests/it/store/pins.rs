//! What keeps which tools are approved, on each kind of store.

use std::sync::Arc;

use assistd::run::catalogue::{Annotations, Policy, ToolDescription};
use assistd::run::pin::Fingerprint;
use assistd::run::ports::{Pinned, Pins};
use assistd::store::{Config, Location, open};
use serde_json::json;

use super::place::Postgres;

fn fingerprint(description: &str) -> Fingerprint {
    Fingerprint::of(&ToolDescription {
        name: String::new(),
        server: String::new(),
        remote_name: String::new(),
        title: String::new(),
        description: description.into(),
        input_schema: Arc::new(json!({})),
        output_schema: None,
        annotations: Annotations::default(),
        policy: Policy::Allow,
        timeout: None,
    })
}

fn tools<const N: usize>(tools: [(&str, &str); N]) -> Pinned {
    let tools = tools.map(|(name, description)| (name.to_owned(), fingerprint(description)));
    tools.into()
}

async fn check(pins: Arc<dyn Pins>) {
    assert_eq!(pins.pinned("a").await.unwrap(), tools([]));
    assert_eq!(pins.pin("a", &tools([])).await.unwrap(), tools([]));
    let odd = "it's \"odd\" \\ ☃";
    let first = tools([("read", "one"), (odd, "one")]);
    assert_eq!(pins.pin("a", &first).await.unwrap(), first);
    let second = tools([("read", "two"), ("write", "two")]);
    let both = tools([("read", "one"), (odd, "one"), ("write", "two")]);
    assert_eq!(pins.pin("a", &second).await.unwrap(), both, "the first stays");
    assert_eq!(
        pins.pinned("b").await.unwrap(),
        tools([]),
        "another server's are its own"
    );
    let accepted = tools([("read", "two"), ("new", "two")]);
    pins.accept("a", &accepted).await.unwrap();
    let all = tools([("read", "two"), (odd, "one"), ("write", "two"), ("new", "two")]);
    assert_eq!(pins.pinned("a").await.unwrap(), all);
    // Many at once, each with something of its own and something that all have.
    let pinning = (0..16).map(|number| {
        let pins = Arc::clone(&pins);
        tokio::spawn(async move {
            let own = number.to_string();
            let pinned = pins
                .pin("c", &tools([("all", &own), (&own, &own)]))
                .await
                .unwrap();
            pinned["all"].clone()
        })
    });
    let seen = futures::future::try_join_all(pinning).await.unwrap();
    assert!(seen.iter().all(|one| *one == seen[0]), "one has won");
    assert_eq!(pins.pinned("c").await.unwrap().len(), 17);
}

async fn at(location: Location) -> Arc<dyn Pins> {
    open(&Config { location }).await.unwrap().pins
}

#[tokio::test]
async fn approvals_are_kept_in_memory() {
    check(at(Location::Memory).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_are_kept_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::File(directory.path().join("assistd.db"));
    check(at(location.clone()).await).await;
    assert_eq!(at(location).await.pinned("c").await.unwrap().len(), 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_are_kept_in_postgres() {
    if let Some(place) = Postgres::new().await {
        check(at(place.location()).await).await;
        assert_eq!(at(place.location()).await.pinned("c").await.unwrap().len(), 17);
    }
}
