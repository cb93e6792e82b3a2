//! What is measured: one request each.

use std::time::{Duration, Instant};

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::api::pb::{self, run_event::Payload};
use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService, ServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};
use tonic::Streaming;
use tonic::transport::Channel;

use super::echo;
use super::stack::Stack;
use crate::measure::process::{Process, channel};

/// Clients of everything that is compared.
pub struct Subjects {
    service: AssistantServiceClient<Channel>,
    service_url: String,
    bare: Channel,
    http: reqwest::Client,
    model_url: String,
    tools: RunningService<RoleClient, ()>,
}

impl Subjects {
    pub async fn connect(stack: &Stack) -> Self {
        let transport = StreamableHttpClientTransport::from_uri(stack.tools.url.clone());
        Self {
            service: AssistantServiceClient::new(channel(&stack.service.url).await),
            service_url: stack.service.url.clone(),
            bare: channel(&stack.echo.url).await,
            http: reqwest::Client::new(),
            model_url: format!("{}/chat/completions", stack.simulator.url),
            tools: ().serve(transport).await.unwrap(),
        }
    }

    pub async fn health_bytes(&self) -> usize {
        self.service
            .clone()
            .health(pb::HealthRequest {})
            .await
            .unwrap()
            .into_inner()
            .encoded_len()
    }

    pub async fn tools_bytes(&self) -> usize {
        let request = pb::ListToolsRequest::default();
        self.service
            .clone()
            .list_tools(request)
            .await
            .unwrap()
            .into_inner()
            .encoded_len()
    }

    pub async fn health(&self) {
        self.service.clone().health(pb::HealthRequest {}).await.unwrap();
    }

    pub async fn list_tools(&self) {
        self.service
            .clone()
            .list_tools(pb::ListToolsRequest::default())
            .await
            .unwrap();
    }

    pub async fn bare(&self, bytes: usize) {
        static ZEROS: [u8; 65_536] = [0; 65_536];
        echo::call(self.bare.clone(), Bytes::from_static(&ZEROS[..bytes])).await;
    }

    pub async fn chat(&self, message: &str) {
        let answer = self
            .service
            .clone()
            .chat(chat_request(message))
            .await
            .unwrap()
            .into_inner();
        assert!(answer.response.contains("hello"));
    }

    pub async fn json_chat(&self, message: &str) {
        let request = self
            .http
            .post(format!("{}/v1/chat", self.service_url))
            .json(&json!({"message": message}));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer["response"].as_str().unwrap().contains("hello"));
    }

    /// The same question to the model itself, its stream read to the end.
    pub async fn direct(&self, message: &str) {
        let mut body = self.ask_directly(message).await;
        let mut seen = Vec::new();
        while let Some(piece) = body.next().await {
            seen.extend_from_slice(&piece.unwrap());
        }
        assert!(
            seen.ends_with(b"data: [DONE]\n\n"),
            "{}",
            String::from_utf8_lossy(&seen)
        );
    }

    pub async fn direct_first_text(&self, message: &str) -> Duration {
        let started = Instant::now();
        let mut body = self.ask_directly(message).await;
        let mut seen = Vec::new();
        while !contains(&seen, br#""content":"M"#) {
            seen.extend_from_slice(&body.next().await.unwrap().unwrap());
        }
        let elapsed = started.elapsed();
        body.for_each(|_| async {}).await;
        elapsed
    }

    pub async fn first_text(&self, message: &str) -> Duration {
        let started = Instant::now();
        let mut events = self
            .service
            .clone()
            .stream_chat(chat_request(message))
            .await
            .unwrap()
            .into_inner();
        let mut first = None;
        while let Some(event) = events.message().await.unwrap() {
            if matches!(event.payload, Some(Payload::TextDelta(_))) {
                first.get_or_insert_with(|| started.elapsed());
            }
        }
        first.unwrap()
    }

    pub async fn bare_tool_call(&self) {
        let arguments = json!({"text": "hello"}).as_object().cloned().unwrap_or_default();
        let request = CallToolRequestParams::new("echo").with_arguments(arguments);
        self.tools.call_tool(request).await.unwrap();
    }

    async fn ask_directly(
        &self,
        message: &str,
    ) -> impl futures::Stream<Item = reqwest::Result<Bytes>> + Unpin + use<> {
        let body = json!({
            "model": "simulator",
            "stream": true,
            "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": message}],
        });
        let response = self.http.post(&self.model_url).json(&body).send().await.unwrap();
        Box::pin(response.bytes_stream())
    }
}

/// Opens streams, each with a first text, over as many connections as their number asks for.
pub async fn open_streams(stack: &Stack, count: usize) -> Vec<Streaming<pb::RunEvent>> {
    let mut streams = Vec::new();
    while streams.len() < count {
        let mut client = AssistantServiceClient::new(channel(&stack.service.url).await);
        for _ in 0..500.min(count - streams.len()) {
            let mut stream = client
                .stream_chat(chat_request("hello"))
                .await
                .unwrap()
                .into_inner();
            while !matches!(
                stream.message().await.unwrap().unwrap().payload,
                Some(Payload::TextDelta(_))
            ) {}
            streams.push(stream);
        }
    }
    streams
}

/// Waits for the answer to a Chat of a service that has just been started.
pub async fn first_answer(service: &Process) {
    let mut client = AssistantServiceClient::new(channel(&service.url).await);
    client.chat(chat_request("hello")).await.unwrap();
}

fn chat_request(message: &str) -> pb::ChatRequest {
    pb::ChatRequest {
        message: message.to_owned(),
        ..pb::ChatRequest::default()
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
