//! How many connections to a model the service needs for many requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assistd::api::pb;
use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::measure::figures::{Figures, Goal};
use crate::measure::load::Load;
use crate::measure::process::{self, Process};

const IN_FLIGHT: usize = 64;

pub async fn measure(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let mut model = process::simulator(None);
    let (url, connections) = counted(&model.url).await;
    model.url = url;
    let mut serve = process::service(&model, &json!({}), files.path());
    serve.args(["--store", "sqlite::memory:"]);
    let service = Process::start(serve, " on ");
    let client = AssistantServiceClient::new(process::channel(&service.url).await);
    let ran = Load::new(IN_FLIGHT)
        .run(|| async {
            let request = pb::ChatRequest {
                message: "hello".to_owned(),
                ..pb::ChatRequest::default()
            };
            client.clone().chat(request).await.unwrap();
        })
        .await;
    let connections = connections.load(Ordering::Relaxed);
    figures.add(
        format!("Connections to the model for {} requests", ran.count),
        connections as f64,
        "",
        Goal::AtMost(2.0 * IN_FLIGHT as f64),
    );
    figures.add(
        "Requests on each",
        ran.count as f64 / connections as f64,
        "",
        Goal::None,
    );
}

/// Counts the connections to a server: the address to use instead of its own, and how many there have been.
async fn counted(url: &str) -> (String, Arc<AtomicU64>) {
    let (server, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (server, count) = (server.to_owned(), Arc::new(AtomicU64::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut server = TcpStream::connect(&server).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (format!("http://{address}/{path}"), count)
}
