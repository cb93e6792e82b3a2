//! What runs cost, and that it stays so: `cargo bench --bench runs`.
//!
//! The service and the simulator that is its model are processes of their own, on loopback; this process is the
//! load, and reads from outside what the stores have written. `docs/benchmarks.md` says what the figures mean.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

#[path = "runs/crowd.rs"]
mod crowd;
#[path = "runs/crowd_file.rs"]
mod crowd_file;
#[expect(dead_code, reason = "the other benchmark measures more")]
mod measure;
#[path = "runs/postgres.rs"]
mod postgres;
#[path = "runs/proxy.rs"]
mod proxy;
#[path = "runs/replay.rs"]
mod replay;
#[path = "runs/service.rs"]
mod service;
#[path = "runs/sqlite.rs"]
mod sqlite;
#[path = "runs/throughput.rs"]
mod throughput;
#[path = "runs/turn_cost.rs"]
mod turn_cost;
#[path = "runs/watchers.rs"]
mod watchers;

use measure::figures::Figures;

fn main() {
    assistd::model::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    // Names of parts to measure, for whoever works on one; all of them otherwise.
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .collect();
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| wanted == name);
    let mut figures = Figures::default();
    if is_wanted("throughput") {
        throughput::on_sqlite(&mut figures).await;
        throughput::on_postgres(&mut figures).await;
    }
    if is_wanted("watchers") {
        watchers::measure(&mut figures).await;
    }
    if is_wanted("replay") {
        replay::measure(&mut figures).await;
    }
    if is_wanted("crowd") {
        crowd::measure(&mut figures).await;
    }
    println!("{figures}");
}
