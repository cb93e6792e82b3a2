//! What is measured: the service, and a bare rmcp client.

use std::process::Stdio;
use std::time::Duration;

use assistd::api::pb;
use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use prost::Message;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService, ServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::json;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::measure::process::channel;

/// The most tools of one page.
const PAGE: i32 = 1_000;
/// Pages may be larger than tonic takes unasked.
const PAGE_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// A client of the service.
pub struct Service {
    client: AssistantServiceClient<Channel>,
}

impl Service {
    pub async fn connect(url: &str) -> Self {
        let client = AssistantServiceClient::new(channel(url).await);
        Self {
            client: client.max_decoding_message_size(PAGE_LIMIT_BYTES),
        }
    }

    pub async fn call(&self, tool: &str) {
        let text = prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue("hello".to_owned())),
        };
        let request = pb::CallToolRequest {
            name: format!("tools/{tool}"),
            arguments: Some(prost_types::Struct {
                fields: [("text".to_owned(), text)].into(),
            }),
            timeout: None,
        };
        let answer = self.client.clone().call_tool(request).await.unwrap().into_inner();
        assert!(!answer.is_error);
    }

    async fn page(&self, page_token: String) -> pb::ListToolsResponse {
        let request = pb::ListToolsRequest {
            page_size: PAGE,
            page_token,
            server: String::new(),
        };
        self.client
            .clone()
            .list_tools(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// Waits until so many tools are there.
    pub async fn has_tools(&self, count: usize) {
        loop {
            let (mut seen, mut token) = (0, String::new());
            loop {
                let page = self.page(token).await;
                seen += page.tools.len();
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            if seen == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn page_bytes(&self) -> usize {
        self.page(String::new()).await.encoded_len()
    }

    pub async fn list_tools(&self) {
        let page = self.page(String::new()).await;
        assert!(!page.tools.is_empty());
    }
}

/// A bare rmcp client of the same tool.
pub struct Bare {
    client: RunningService<RoleClient, ()>,
    #[expect(dead_code, reason = "the server lives as long as who uses it")]
    child: Option<Child>,
}

impl Bare {
    pub async fn over_http(url: &str) -> Self {
        let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
        Self {
            client: ().serve(transport).await.unwrap(),
            child: None,
        }
    }

    pub async fn over_stdio() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assistd"))
            .arg("mcp-server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let streams = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        Self {
            client: ().serve(streams).await.unwrap(),
            child: Some(child),
        }
    }

    /// The tool's text.
    pub async fn call(&self) -> String {
        let arguments = json!({"text": "hello"}).as_object().cloned().unwrap_or_default();
        let request = CallToolRequestParams::new("echo").with_arguments(arguments);
        let result = self.client.call_tool(request).await.unwrap();
        result.content[0].as_text().unwrap().text.clone()
    }
}
