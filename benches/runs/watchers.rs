//! A run that says much, and those who watch it while it goes on.

use std::time::Instant;

use futures::future::join_all;

use super::service::{Service, in_file, talker};
use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;

/// Pieces of text that the model says, and how long it waits before, so that everybody is there.
const PIECES: usize = 10_000;
const FIRST_MS: u64 = 500;
/// Watchers over one connection.
const PER_CONNECTION: usize = 10;
const ROUNDS: usize = 3;

pub async fn measure(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let store = in_file(&files.path().join("assistd.db"));
    let service = Service::with_model(&store, &talker(PIECES, FIRST_MS));
    for watchers in [1, 10, 100] {
        let mut speeds = Vec::new();
        for _ in 0..ROUNDS {
            speeds.push(round(&service, watchers).await);
        }
        figures.add(
            format!("events per second to {watchers} watchers of one run, together"),
            median(speeds),
            "/s",
            Goal::None,
        );
    }
}

/// Events per second, to all together, from the first text that anybody saw to when all had seen the end.
async fn round(service: &Service, watchers: usize) -> f64 {
    let run = service.client().await.start_run().await;
    let mut tasks = Vec::new();
    for _ in 0..watchers.div_ceil(PER_CONNECTION) {
        let client = service.client().await;
        for _ in 0..PER_CONNECTION.min(watchers) {
            let (client, run) = (client.clone(), run.clone());
            tasks.push(tokio::spawn(async move { client.watch(&run).await }));
        }
    }
    let seen: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let end = Instant::now();
    let events: usize = seen.iter().map(|watched| watched.events).sum();
    let start = seen
        .iter()
        .filter_map(|watched| watched.first_text)
        .min()
        .unwrap();
    assert!(events > watchers * PIECES);
    events as f64 / (end - start).as_secs_f64()
}
