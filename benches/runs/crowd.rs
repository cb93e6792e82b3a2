//! Many long threads in one store, and whether anybody notices.
//!
//! Two services take turns, request by request: one on a store of ten threads, one on a store of many; each thread
//! has a thousand messages and the five hundred runs that they come from.

use std::path::{Path, PathBuf};
use std::time::Instant;

use assistd::api::pb;

use super::crowd_file::{self, MESSAGES, thread_name};
use super::service::{Client, Service, in_file};
use super::turn_cost;
use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;

const FEW: u64 = 10;
const MANY: u64 = 1_000;
const FULL: u64 = 10_000;

/// Requests to each of the two.
const READS: usize = 1_000;
const CHATS: usize = 300;

/// One of the two.
struct Side {
    threads: u64,
    service: Service,
    client: Client,
}

pub async fn measure(figures: &mut Figures) {
    let many = if std::env::var_os("BENCH_FULL").is_some() {
        FULL
    } else {
        MANY
    };
    let files = tempfile::tempdir().unwrap();
    let few = Side::fill(files.path().join("few.db"), FEW).await;
    let many = Side::fill(files.path().join("many.db"), many).await;
    let titled = |what: &str| format!("{what}, {} threads / {} threads", many.threads, few.threads);

    let pairs = compare(&few, &many, READS, |side| side.list_threads()).await;
    ratios(figures, &titled("ListThreads"), pairs);
    let pairs = compare(&few, &many, READS, |side| side.get_thread()).await;
    ratios(figures, &titled("GetThread"), pairs);
    let pairs = compare(&few, &many, READS, |side| side.list_messages()).await;
    ratios(figures, &titled("ListMessages"), pairs);
    let pairs = compare(&few, &many, CHATS, |side| side.chat_and_watch()).await;
    let (chats, watches): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(few, many)| ((few.0, many.0), (few.1, many.1)))
        .unzip();
    ratios(
        figures,
        &titled(&format!("Chat after {MESSAGES} messages")),
        chats,
    );
    ratios(figures, &titled("WatchRun"), watches);
    figures.add(
        format!("resident memory of the service with {} threads", many.threads),
        many.service.process.resident_mib(),
        "MiB",
        Goal::None,
    );
    turn_cost::measure(figures, &many.service, &many.client, &many.any_thread()).await;
}

/// The times of the same request to each, by turns.
async fn compare<'s, T, F: Future<Output = T>>(
    few: &'s Side,
    many: &'s Side,
    count: usize,
    request: impl Fn(&'s Side) -> F,
) -> Vec<(T, T)> {
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count + count / 10 {
        let pair = (request(few).await, request(many).await);
        // The first ones only warm up.
        if index >= count / 10 {
            pairs.push(pair);
        }
    }
    pairs
}

fn ratios(figures: &mut Figures, name: &str, pairs: Vec<(f64, f64)>) {
    let (few, many): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    for (part, goal) in [(50, Goal::AtMost(1.3)), (99, Goal::AtMost(1.3))] {
        let (few, many) = (percentile(&few, part), percentile(&many, part));
        println!("    p{part}: {many:.3} ms against {few:.3} ms");
        figures.add(format!("{name}, p{part}"), many / few, "x", goal);
    }
}

fn percentile(values: &[f64], part: usize) -> f64 {
    if part == 50 {
        return median(values.to_vec());
    }
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() * part / 100]
}

impl Side {
    async fn fill(path: PathBuf, threads: u64) -> Self {
        let started = Instant::now();
        seed(&path).await;
        crowd_file::fill(&path, threads).await;
        let size = std::fs::metadata(&path).unwrap().len() >> 20;
        println!(
            "    {threads} threads of {MESSAGES} messages: {size} MiB, filled in {:.0} s",
            started.elapsed().as_secs_f64()
        );
        let service = Service::start(&in_file(&path));
        let client = service.client().await;
        Self {
            threads,
            service,
            client,
        }
    }

    fn any_thread(&self) -> String {
        format!("threads/{}", thread_name(fastrand::u64(0..self.threads)))
    }

    async fn list_threads(&self) -> f64 {
        // As many as both have, so that both answer with as much.
        let request = pb::ListThreadsRequest {
            page_size: i32::try_from(FEW).unwrap(),
            ..pb::ListThreadsRequest::default()
        };
        timed(self.client.threads.clone().list_threads(request)).await.0
    }

    async fn get_thread(&self) -> f64 {
        let request = pb::GetThreadRequest {
            name: self.any_thread(),
        };
        timed(self.client.threads.clone().get_thread(request)).await.0
    }

    async fn list_messages(&self) -> f64 {
        let request = pb::ListMessagesRequest {
            parent: self.any_thread(),
            ..pb::ListMessagesRequest::default()
        };
        timed(self.client.threads.clone().list_messages(request)).await.0
    }

    /// The times of a turn and of watching its run afterwards.
    async fn chat_and_watch(&self) -> (f64, f64) {
        let thread = self.any_thread();
        let started = Instant::now();
        let (_, run) = self.client.chat(&thread).await;
        let chat = started.elapsed();
        let started = Instant::now();
        assert!(self.client.watch(&run).await.events > 0);
        (chat.as_secs_f64() * 1e3, started.elapsed().as_secs_f64() * 1e3)
    }
}

/// How long an answer takes, in milliseconds.
async fn timed<T, E: std::fmt::Debug>(answer: impl Future<Output = Result<T, E>>) -> (f64, T) {
    let started = Instant::now();
    let answer = answer.await.unwrap();
    (started.elapsed().as_secs_f64() * 1e3, answer)
}

/// Has the service make the file, and one run in it.
async fn seed(path: &Path) {
    let service = Service::start(&in_file(path));
    service.client().await.chat("").await;
}
