//! A stream of the service beside the model's own: the first text, and each piece after it.

use std::process::Command;
use std::time::Instant;

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::api::pb::{self, run_event::Payload};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use memchr::memmem;
use serde_json::json;
use tonic::transport::Channel;

use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;
use crate::measure::process::{self, Process};

/// Pieces of an answer that comes as fast as it can.
const PIECES: usize = 2_000;
const ROUNDS: usize = 100;

/// Pieces of an answer whose first one is waited for, and the time between them, in milliseconds.
const FEW_PIECES: usize = 5;
const PACE_MS: u64 = 3;

/// When the first text of a stream was there, and when it was over, in milliseconds.
struct Times {
    first: f64,
    end: f64,
}

/// A model that talks, and the service that asks it.
struct Pair {
    pieces: usize,
    model: Process,
    service: Process,
    client: AssistantServiceClient<Channel>,
    #[expect(dead_code, reason = "the proxy lives as long as who asks it")]
    proxy: Process,
    proxy_client: AssistantServiceClient<Channel>,
    http: reqwest::Client,
    #[expect(dead_code, reason = "the folder lives as long as who uses it")]
    files: tempfile::TempDir,
}

pub async fn measure(figures: &mut Figures) {
    let slow = Pair::start(FEW_PIECES, PACE_MS).await;
    let (mut first, mut least) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + ROUNDS / 10 {
        let (direct, proxied, ours) = (slow.direct().await, slow.proxied().await, slow.ours().await);
        // The first ones only warm up.
        if round >= ROUNDS / 10 {
            first.push(ours.first - direct.first);
            least.push(proxied.first - direct.first);
        }
    }
    figures.add(
        "Time to the first text added to the model's",
        median(first),
        "ms",
        Goal::AtMost(0.5),
    );
    figures.add(
        "Time to the first text added by the least proxy",
        median(least),
        "ms",
        Goal::None,
    );
    drop(slow);

    let fast = Pair::start(PIECES, 0).await;
    let (mut each, mut cpu) = (Vec::new(), 0.0);
    for round in 0..ROUNDS + ROUNDS / 10 {
        let direct = fast.direct().await;
        let before = fast.service.cpu();
        let ours = fast.ours().await;
        if round >= ROUNDS / 10 {
            cpu += (fast.service.cpu() - before).as_secs_f64() * 1e6;
            each.push((ours.end - direct.end) * 1e3 / PIECES as f64);
        }
    }
    figures.add(
        format!("Time added for each of {PIECES} pieces"),
        median(each),
        "us",
        Goal::AtMost(20.0),
    );
    figures.add(
        "CPU of the service per piece",
        cpu / (ROUNDS * PIECES) as f64,
        "us",
        Goal::None,
    );
}

impl Pair {
    async fn start(pieces: usize, pace_ms: u64) -> Self {
        let files = tempfile::tempdir().unwrap();
        let script = files.path().join("script.json");
        let talk = json!({
            "pace": {"first_ms": 0, "token_ms": pace_ms},
            "turns": [{"when": {"user": ""}, "answer": {"say": {"items": [{"text": vec!["word "; pieces]}]}}}],
        });
        std::fs::write(&script, talk.to_string()).unwrap();
        let model = process::simulator(Some(&script));
        let mut serve = process::service(&model, &json!({}), files.path());
        serve.args(["--store", "sqlite::memory:"]);
        let service = Process::start(serve, " on ");
        let client = AssistantServiceClient::new(process::channel(&service.url).await);
        let mut proxy = Command::new(std::env::current_exe().unwrap());
        proxy.arg(format!(
            "{}{}/chat/completions",
            super::proxy::ARGUMENT,
            model.url
        ));
        let proxy = Process::start(proxy, "listening on ");
        let proxy_client = AssistantServiceClient::new(process::channel(&proxy.url).await);
        Self {
            pieces,
            model,
            service,
            client,
            proxy,
            proxy_client,
            http: reqwest::Client::new(),
            files,
        }
    }

    async fn ours(&self) -> Times {
        let (times, pieces) = ours(self.client.clone()).await;
        assert_eq!(pieces, self.pieces);
        times
    }

    async fn proxied(&self) -> Times {
        let (times, pieces) = ours(self.proxy_client.clone()).await;
        assert_eq!(pieces, self.pieces);
        times
    }

    async fn direct(&self) -> Times {
        let url = format!("{}/chat/completions", self.model.url);
        let (times, pieces) = direct(&self.http, &url).await;
        assert_eq!(pieces, self.pieces);
        times
    }
}

async fn ours(mut client: AssistantServiceClient<Channel>) -> (Times, usize) {
    let request = pb::ChatRequest {
        message: "talk".to_owned(),
        ..pb::ChatRequest::default()
    };
    let started = Instant::now();
    let mut events = client.stream_chat(request).await.unwrap().into_inner();
    let (mut first, mut pieces) = (None, 0);
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Payload::TextDelta(_)) = event.payload {
            first.get_or_insert_with(|| started.elapsed());
            pieces += 1;
        }
    }
    (times(started, first), pieces)
}

async fn direct(http: &reqwest::Client, url: &str) -> (Times, usize) {
    let started = Instant::now();
    let (mut body, mut first) = (ask(http, url).await, None);
    let (mut seen, mut pieces) = (Vec::new(), 0);
    while let Some(bytes) = body.next().await {
        seen.extend_from_slice(&bytes);
        pieces += whole_events(&mut seen);
        if pieces > 0 {
            first.get_or_insert_with(|| started.elapsed());
        }
    }
    (times(started, first), pieces)
}

/// What the model says to a message, as it comes.
pub async fn ask(http: &reqwest::Client, url: &str) -> impl Stream<Item = Bytes> + use<> {
    let body = json!({
        "model": "simulator",
        "stream": true,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "talk"}],
    });
    let answer = http.post(url).json(&body).send().await.unwrap();
    answer.bytes_stream().map(Result::unwrap)
}

/// Takes the whole events out, as any client does, and says how many pieces of text are among them.
pub fn whole_events(seen: &mut Vec<u8>) -> usize {
    let (mut place, mut pieces) = (0, 0);
    while let Some(end) = memmem::find(&seen[place..], b"\n\n") {
        pieces += usize::from(memmem::find(&seen[place..place + end], b"word ").is_some());
        place += end + 2;
    }
    seen.drain(..place);
    pieces
}

fn times(started: Instant, first: Option<std::time::Duration>) -> Times {
    Times {
        first: first.unwrap().as_secs_f64() * 1e3,
        end: started.elapsed().as_secs_f64() * 1e3,
    }
}
