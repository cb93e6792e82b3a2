//! A service of its own process.

use std::path::Path;
use std::process::Stdio;

use assistd::simulator::Script;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::description::Provider;
use crate::world::{PATIENCE, program};

/// The program, on a directory, with a simulator as its model, which judges what it is asked.
pub struct Service {
    child: Child,
    /// Whoever drops it hears whether everything was as OpenAI describes it.
    pub simulator: Provider,
    /// Where it is.
    pub base: String,
}

impl Service {
    /// Starts it with these arguments.
    pub async fn start(directory: &Path, arguments: &[&str]) -> Service {
        Service::heard(directory, arguments, |_| {}).await
    }

    /// The same; each line of its log is heard.
    pub async fn heard(
        directory: &Path,
        arguments: &[&str],
        mut hear: impl FnMut(&str) + Send + 'static,
    ) -> Service {
        // The client wants a TLS provider even where no TLS is spoken; a second one is refused.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let simulator = Provider::new(Script::stand_in()).await;
        let mut child = Command::new(program())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory)
            .args(["--base-url", &simulator.base_url()])
            .args(arguments)
            .env_clear()
            .current_dir(directory)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let base = loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line());
            let line = line.await.unwrap().unwrap().expect("it says where it is");
            hear(&line);
            if let Some((_, address)) = line.split_once(" on http://") {
                break format!("http://{address}");
            }
        };
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                hear(&line);
            }
        });
        Service {
            child,
            simulator,
            base,
        }
    }

    /// The process.
    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = reqwest::get(format!("{}{path}", self.base)).await.unwrap();
        response.json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.answered(path, body).await.1
    }

    /// The same, with the status.
    pub async fn answered(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = reqwest::Client::new()
            .post(format!("{}{path}", self.base))
            .json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}
