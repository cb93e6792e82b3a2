//! What a turn costs in a long thread and in a new one, beside what the model costs that is sent the same.

use std::time::Instant;

use serde_json::{Value, json};

use super::crowd_file::MESSAGES;
use super::service::{Client, Service};
use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;

const ROUNDS: usize = 200;

/// Turns of a thread that a model is given when it is not given all.
const LAST_TURNS: u8 = 5;

pub async fn measure(figures: &mut Figures, service: &Service, client: &Client, thread: &str) {
    let http = reqwest::Client::new();
    let history = history(client, thread).await;
    // The turn that is asked for is one of them.
    let newest = &history[history.len() - 2 * usize::from(LAST_TURNS - 1)..];
    let last_turns = Some(LAST_TURNS.into());
    for (name, messages, thread, last_turns) in [
        (format!("after {MESSAGES} messages"), &history[..], thread, None),
        (
            format!("after {MESSAGES} messages, of which the model is given {LAST_TURNS} turns"),
            newest,
            thread,
            last_turns,
        ),
        ("in a new thread".to_owned(), &[], "", None),
    ] {
        let (mut turns, mut directs, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let mut cpu = 0.0;
        for _ in 0..ROUNDS {
            let (started, used) = (Instant::now(), service.process.cpu());
            client.chat_about(thread, last_turns).await;
            let turn = started.elapsed().as_secs_f64() * 1e3;
            cpu += (service.process.cpu() - used).as_secs_f64() * 1e3;
            let started = Instant::now();
            ask(&http, &service.model_url(), messages).await;
            let direct = started.elapsed().as_secs_f64() * 1e3;
            turns.push(turn);
            directs.push(direct);
            added.push(turn - direct);
        }
        println!(
            "    {name}: {:.2} ms a turn, {:.2} ms the model asked directly",
            median(turns),
            median(directs)
        );
        figures.add(
            format!("turn {name}, added over the model asked the same"),
            median(added),
            "ms",
            Goal::None,
        );
        figures.add(
            format!("CPU of the service per turn {name}"),
            cpu / ROUNDS as f64,
            "ms",
            Goal::None,
        );
    }
}

/// The messages of a thread as a model is sent them.
async fn history(client: &Client, thread: &str) -> Vec<Value> {
    let mut messages = Vec::new();
    let mut token = String::new();
    loop {
        let request = assistd::api::pb::ListMessagesRequest {
            parent: thread.to_owned(),
            page_size: 1_000,
            page_token: token,
            order_by: String::new(),
        };
        let page = client
            .threads
            .clone()
            .list_messages(request)
            .await
            .unwrap()
            .into_inner();
        messages.extend(page.messages.iter().map(|message| {
            let role = if message.run.is_empty() {
                "user"
            } else {
                "assistant"
            };
            let Some(assistd::api::pb::content_part::Part::Text(text)) = &message.content[0].part else {
                panic!("the threads hold text only");
            };
            json!({"role": role, "content": text})
        }));
        token = page.next_page_token;
        if token.is_empty() {
            return messages;
        }
    }
}

/// Asks the model itself, and reads its answer to the end.
async fn ask(http: &reqwest::Client, url: &str, history: &[Value]) {
    let mut messages = history.to_vec();
    messages.push(json!({"role": "user", "content": "hello"}));
    let body = json!({
        "model": "simulator",
        "stream": true,
        "stream_options": {"include_usage": true},
        "messages": messages,
    });
    let answer = http
        .post(url)
        .json(&body)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(answer.ends_with(b"data: [DONE]\n\n"));
}
