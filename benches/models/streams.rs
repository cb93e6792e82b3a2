//! A stream of the service beside the model's own: the first text, and each piece after it.

use std::time::Instant;

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::api::pb::{self, run_event::Payload};
use futures::StreamExt;
use memchr::memmem;
use serde_json::json;
use tonic::transport::Channel;

use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;
use crate::measure::process::{self, Process};

/// Pieces of one answer.
const PIECES: usize = 2_000;
const ROUNDS: usize = 100;

/// When the first text of a stream was there, and when it was over, in milliseconds.
struct Times {
    first: f64,
    end: f64,
}

pub async fn measure(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let script = files.path().join("script.json");
    let talk = json!({
        "pace": {"first_ms": 0, "token_ms": 0},
        "turns": [{"when": {"user": ""}, "answer": {"say": {"items": [{"text": vec!["word "; PIECES]}]}}}],
    });
    std::fs::write(&script, talk.to_string()).unwrap();
    let model = process::simulator(Some(&script));
    let mut serve = process::service(&model, &json!({}), files.path());
    serve.args(["--store", "sqlite::memory:"]);
    let service = Process::start(serve, " on ");
    let client = AssistantServiceClient::new(process::channel(&service.url).await);
    let http = reqwest::Client::new();
    let url = format!("{}/chat/completions", model.url);

    let (mut first, mut each) = (Vec::new(), Vec::new());
    let mut cpu = 0.0;
    for round in 0..ROUNDS + ROUNDS / 10 {
        let direct = direct(&http, &url).await;
        let before = service.cpu();
        let ours = ours(client.clone()).await;
        // The first ones only warm up.
        if round >= ROUNDS / 10 {
            cpu += (service.cpu() - before).as_secs_f64() * 1e6;
            first.push(ours.first - direct.first);
            let (ours, direct) = (ours.end - ours.first, direct.end - direct.first);
            each.push((ours - direct) * 1e3 / PIECES as f64);
        }
    }
    figures.add(
        "Time to the first text added to the model's",
        median(first),
        "ms",
        Goal::AtMost(0.5),
    );
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

async fn ours(mut client: AssistantServiceClient<Channel>) -> Times {
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
    assert_eq!(pieces, PIECES);
    times(started, first)
}

async fn direct(http: &reqwest::Client, url: &str) -> Times {
    let body = json!({
        "model": "simulator",
        "stream": true,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "talk"}],
    });
    let started = Instant::now();
    let answer = http.post(url).json(&body).send().await.unwrap();
    let (mut body, mut first) = (answer.bytes_stream(), None);
    let (mut seen, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = body.next().await {
        seen.extend_from_slice(&piece.unwrap());
        // Whole events are looked at as they come, as any client does.
        let mut place = 0;
        while let Some(end) = memmem::find(&seen[place..], b"\n\n") {
            if memmem::find(&seen[place..place + end], b"word ").is_some() {
                first.get_or_insert_with(|| started.elapsed());
                pieces += 1;
            }
            place += end + 2;
        }
        seen.drain(..place);
    }
    assert_eq!(pieces, PIECES);
    times(started, first)
}

fn times(started: Instant, first: Option<std::time::Duration>) -> Times {
    Times {
        first: first.unwrap().as_secs_f64() * 1e3,
        end: started.elapsed().as_secs_f64() * 1e3,
    }
}
