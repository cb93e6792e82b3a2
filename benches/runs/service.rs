//! The service without tools, on a store, with a model that follows a script; and its client.

use std::fs;
use std::path::Path;

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::api::pb::run_service_client::RunServiceClient;
use assistd::api::pb::thread_service_client::ThreadServiceClient;
use assistd::api::pb::{self, run_event::Payload};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::measure::process::{self, Process};

/// A service that runs.
pub struct Service {
    pub process: Process,
    simulator: Process,
    #[expect(dead_code, reason = "the folder lives as long as who uses it")]
    files: tempfile::TempDir,
}

/// A store in this file, as the configuration names it.
pub fn in_file(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// A model that says so many pieces of text, without a pause once it has begun.
pub fn talker(pieces: usize, first_ms: u64) -> Value {
    let text = vec!["word "; pieces];
    json!({
        "pace": {"first_ms": first_ms, "token_ms": 0},
        "turns": [{"when": {"user": ""}, "answer": {"say": {"items": [{"text": text}]}}}],
    })
}

impl Service {
    /// With the model that needs no script: it answers at once.
    pub fn start(store: &str) -> Self {
        Self::with_model(store, &json!({}))
    }

    pub fn with_model(store: &str, script: &Value) -> Self {
        let files = tempfile::tempdir().unwrap();
        let script_file = files.path().join("script.json");
        fs::write(&script_file, script.to_string()).unwrap();
        let simulator = process::simulator(Some(&script_file));
        let mut serve = process::service(&simulator, &json!({}), files.path());
        serve.args(["--store", store]);
        Self {
            process: Process::start(serve, " on "),
            simulator,
            files,
        }
    }

    /// Where the model is asked.
    pub fn model_url(&self) -> String {
        format!("{}/chat/completions", self.simulator.url)
    }

    pub async fn client(&self) -> Client {
        let channel = process::channel(&self.process.url).await;
        Client {
            assistants: AssistantServiceClient::new(channel.clone()),
            threads: ThreadServiceClient::new(channel.clone()),
            runs: RunServiceClient::new(channel),
        }
    }
}

/// One connection to a service.
#[derive(Clone)]
pub struct Client {
    assistants: AssistantServiceClient<Channel>,
    pub threads: ThreadServiceClient<Channel>,
    pub runs: RunServiceClient<Channel>,
}

impl Client {
    /// One turn, in a new thread when none is named. The names of the thread and the run.
    pub async fn chat(&self, thread: &str) -> (String, String) {
        self.chat_about(thread, None).await
    }

    /// One turn whose model is given so many turns of the thread.
    pub async fn chat_about(&self, thread: &str, last_turns: Option<i32>) -> (String, String) {
        let request = pb::ChatRequest {
            message: "hello".to_owned(),
            thread: thread.to_owned(),
            truncation: last_turns.map(|turns| pb::Truncation {
                strategy: pb::TruncationStrategy::Auto.into(),
                last_turns: Some(turns),
                ..pb::Truncation::default()
            }),
            ..pb::ChatRequest::default()
        };
        let answer = self.assistants.clone().chat(request).await.unwrap().into_inner();
        assert!(!answer.response.is_empty());
        (answer.thread, answer.run)
    }

    /// Starts a run in a thread of its own.
    pub async fn start_run(&self) -> String {
        let mut threads = self.threads.clone();
        let request = pb::CreateThreadRequest {
            thread: Some(pb::Thread::default()),
            ..pb::CreateThreadRequest::default()
        };
        let thread = threads.create_thread(request).await.unwrap().into_inner().name;
        let message = pb::Message {
            content: vec![pb::ContentPart {
                part: Some(pb::content_part::Part::Text("hello".to_owned())),
            }],
            ..pb::Message::default()
        };
        let request = pb::CreateMessageRequest {
            parent: thread.clone(),
            message: Some(message),
            ..pb::CreateMessageRequest::default()
        };
        threads.create_message(request).await.unwrap();
        let request = pb::CreateRunRequest {
            parent: thread,
            run: Some(pb::Run::default()),
            ..pb::CreateRunRequest::default()
        };
        self.runs
            .clone()
            .create_run(request)
            .await
            .unwrap()
            .into_inner()
            .name
    }

    /// Watches a run from its beginning to its end: how many events there were, and when the first text came.
    pub async fn watch(&self, run: &str) -> Watched {
        let request = pb::WatchRunRequest {
            name: run.to_owned(),
            after_sequence: 0,
        };
        let mut events = self.runs.clone().watch_run(request).await.unwrap().into_inner();
        let mut watched = Watched::default();
        let mut is_over = false;
        while let Some(event) = events.message().await.unwrap() {
            match event.payload {
                Some(Payload::Heartbeat(_)) => continue,
                Some(Payload::TextDelta(_)) => {
                    watched.first_text.get_or_insert_with(std::time::Instant::now);
                }
                Some(Payload::RunCompleted(_)) => is_over = true,
                _ => {}
            }
            watched.events += 1;
        }
        assert!(is_over);
        watched
    }
}

/// What a watcher saw.
#[derive(Default)]
pub struct Watched {
    pub events: usize,
    pub first_text: Option<std::time::Instant>,
}
