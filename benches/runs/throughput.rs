//! Runs of one turn: how many in a second, and what is written for each.

use std::sync::Arc;
use std::time::Duration;

use super::postgres::{self, Place};
use super::proxy::{self, Counts};
use super::service::{Client, Service, in_file};
use super::sqlite::Log;
use crate::measure::figures::{Figures, Goal};
use crate::measure::load::{Load, median};

/// Runs at once.
const IN_FLIGHT: usize = 64;
/// Turns of the load; the first warms up.
const ROUNDS: usize = 5;
/// Runs one after the other where what they write is counted.
const ONE_BY_ONE: usize = 300;
/// The server tells what it has committed a little late.
const STATISTICS_DELAY: Duration = Duration::from_millis(1_500);

pub async fn on_sqlite(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("assistd.db");
    let service = Service::start(&in_file(&path));
    let client = service.client().await;
    speed(figures, "SQLite", &service, &client, Goal::AtLeast(1_500.0)).await;
    let log = Log::hold(&path).await;
    // What starts the log over is not to be counted.
    client.chat("").await;
    for in_flight in [1, IN_FLIGHT] {
        let before = log.written();
        let count = some(&client, in_flight).await;
        let after = log.written();
        let each = |before: u64, after: u64| (after - before) as f64 / count;
        let (transactions, bytes) = (
            each(before.transactions, after.transactions),
            each(before.bytes, after.bytes),
        );
        let name = |what: &str| format!("SQLite: {what} per run, {in_flight} in flight");
        figures.add(name("write transactions"), transactions, "", Goal::AtMost(3.0));
        figures.add(name("bytes of the log"), bytes / 1024.0, "KiB", Goal::None);
    }
}

pub async fn on_postgres(figures: &mut Figures) {
    let Some(place) = Place::create().await else {
        let (host, port) = Place::address();
        println!("\n!!! no PostgreSQL server answers at {host}:{port}: its figures are MISSING !!!\n");
        return;
    };
    let service = Service::start(&place.url(Place::address().1));
    let client = service.client().await;
    speed(figures, "PostgreSQL", &service, &client, Goal::None).await;
    drop(service);
    let counts = Arc::<Counts>::default();
    let port = proxy::start(Place::address(), Arc::clone(&counts)).await;
    let service = Service::start(&place.url(port));
    let client = service.client().await;
    let mut server = place.connect().await;
    client.chat("").await;
    for in_flight in [1, IN_FLIGHT] {
        tokio::time::sleep(STATISTICS_DELAY).await;
        let (before, asked_before) = (postgres::written(&mut server).await, counts.asked());
        let count = some(&client, in_flight).await;
        let asked = counts.asked();
        tokio::time::sleep(STATISTICS_DELAY).await;
        let after = postgres::written(&mut server).await;
        let name = |what: &str| format!("PostgreSQL: {what} per run, {in_flight} in flight");
        let mut add = |what, before, after, unit| {
            figures.add(
                name(what),
                (after as f64 - before as f64) / count,
                unit,
                Goal::None,
            );
        };
        add(
            "write transactions",
            asked_before.commits as i64,
            asked.commits as i64,
            "",
        );
        add(
            "round trips",
            asked_before.round_trips as i64,
            asked.round_trips as i64,
            "",
        );
        add(
            "transactions as the server counts them",
            before.transactions,
            after.transactions,
            "",
        );
        add(
            "bytes of the server's log",
            before.bytes / 1024,
            after.bytes / 1024,
            "KiB",
        );
    }
    drop(service);
    place.drop_schema().await;
}

/// Runs in a second, and what one costs the service.
async fn speed(figures: &mut Figures, store: &str, service: &Service, client: &Client, goal: Goal) {
    let load = Load::new(IN_FLIGHT);
    let (mut speeds, mut costs) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let cpu = service.process.cpu();
        let ran = load.run(|| one(client)).await;
        if round > 0 {
            speeds.push(ran.per_second());
            costs.push((service.process.cpu() - cpu).as_secs_f64() * 1e3 / ran.count as f64);
        }
    }
    figures.add(
        format!("{store}: runs per second, {IN_FLIGHT} in flight"),
        median(speeds),
        "/s",
        goal,
    );
    figures.add(
        format!("{store}: CPU of the service per run"),
        median(costs),
        "ms",
        Goal::None,
    );
}

/// Some runs, so many at once; how many there were.
async fn some(client: &Client, in_flight: usize) -> f64 {
    if in_flight > 1 {
        return Load::new(in_flight).run(|| one(client)).await.count as f64;
    }
    for _ in 0..ONE_BY_ONE {
        one(client).await;
    }
    ONE_BY_ONE as f64
}

async fn one(client: &Client) {
    client.chat("").await;
}
