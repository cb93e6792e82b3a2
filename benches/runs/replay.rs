//! A run of 10,000 events that is over, told again: by the store, by the engine, and over gRPC.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assistd::model::tokens::O200k;
use assistd::run::catalogue::{Catalogue, Tool};
use assistd::run::engine::{Engine, Ports, Settings};
use assistd::run::error::Error;
use assistd::run::id::{RunId, ThreadId};
use assistd::run::message::ToolOutput;
use assistd::run::options::ModelOptions;
use assistd::run::ports::{Caller, Model, ModelRequest, ModelStatus, ModelStream, ServerStatus, Toolbox};
use assistd::run::record::Limits;
use assistd::run::truncation::Truncation;
use assistd::store::{Config, Location, open};
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::service::{Service, in_file, talker};
use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;

const PIECES: usize = 10_000;
const ROUNDS: usize = 9;
/// Longer than the benchmark.
const LONG: Duration = Duration::from_secs(3_600);

pub async fn measure(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("assistd.db");
    let service = Service::with_model(&in_file(&path), &talker(PIECES, 0));
    let client = service.client().await;
    let (_, name) = client.chat("").await;
    let [_, thread, _, run] = name.split('/').collect::<Vec<_>>().try_into().unwrap();
    let (thread, run) = (ThreadId::parse(thread).unwrap(), RunId::parse(run).unwrap());

    let location = Location::File(path);
    let opened = open(&Config { location }).await.unwrap();
    let mut speeds = Vec::new();
    for _ in 0..ROUNDS {
        let (started, mut last) = (Instant::now(), 0);
        while let Some(event) = opened.store.events(&run, last).await.unwrap().last() {
            last = event.sequence;
        }
        assert!(last > PIECES as u64);
        speeds.push(last as f64 / started.elapsed().as_secs_f64());
    }
    figures.add(
        "replay of 10,000 events by the store, in process",
        median(speeds),
        "/s",
        Goal::AtLeast(200_000.0),
    );

    let engine = Engine::new(
        Ports {
            model: Arc::new(Nothing),
            tokenizer: Arc::new(O200k),
            toolbox: Arc::new(Nothing),
            store: opened.store,
            ownership: opened.ownership,
            news: opened.news,
            observer: Arc::new(()),
        },
        settings(),
    );
    let mut speeds = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut watch = engine.watch(&thread, &run, 0).await.unwrap();
        let mut count = 0;
        while watch.next().await.unwrap().is_some() {
            count += 1;
        }
        assert!(count > PIECES);
        speeds.push(count as f64 / started.elapsed().as_secs_f64());
    }
    figures.add(
        "replay of 10,000 events by the engine, in process",
        median(speeds),
        "/s",
        Goal::AtLeast(200_000.0),
    );

    let (mut speeds, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (started, cpu) = (Instant::now(), service.process.cpu());
        let events = client.watch(&name).await.events;
        assert!(events > PIECES);
        speeds.push(events as f64 / started.elapsed().as_secs_f64());
        costs.push((service.process.cpu() - cpu).as_secs_f64() * 1e6 / events as f64);
    }
    figures.add(
        "replay of 10,000 events over gRPC, client included",
        median(speeds),
        "/s",
        Goal::None,
    );
    figures.add(
        "CPU of the service per event replayed over gRPC",
        costs.iter().sum::<f64>() / costs.len() as f64,
        "µs",
        Goal::None,
    );
}

fn settings() -> Settings {
    Settings {
        model: String::new(),
        instructions: String::new(),
        options: ModelOptions::default(),
        limits: Limits::default(),
        truncation: Truncation::default(),
        summary_model: None,
        execution_limit: LONG,
        waiting_limit: LONG,
        call_timeout: LONG,
        parallel_calls: 1,
        tool_output_limit: 64 << 10,
        lease: LONG,
    }
}

/// A model that is never asked, and tools that nobody calls.
struct Nothing;

#[async_trait]
impl Model for Nothing {
    async fn stream(&self, _: ModelRequest) -> Result<ModelStream, Error> {
        Err(Error::internal("there is no model"))
    }

    fn status(&self) -> ModelStatus {
        ModelStatus {
            model: String::new(),
            endpoint: String::new(),
            dialect: "",
            simulated: false,
            trouble: None,
        }
    }
}

#[async_trait]
impl Toolbox for Nothing {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::default()
    }

    async fn call(&self, _: &Tool, _: Map<String, Value>, _: Arc<dyn Caller>) -> Result<ToolOutput, Error> {
        Err(Error::internal("there are no tools"))
    }

    fn servers(&self) -> Vec<ServerStatus> {
        Vec::new()
    }
}
