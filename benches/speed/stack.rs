//! The service with everything that its speed is compared with.

use std::fs;
use std::process::Command;

use super::echo;
use crate::measure::process::{self, Process, assistd};

/// A model that begins to answer and goes no further.
const HANGING: &str = r#"{"turns":[{"when":{"user":""},"answer":{"say":{"items":[{"text":["one ","two"]}],"faults":[{"hang":{"deltas":1}}]}}}]}"#;

/// The service with all that it works with.
pub struct Stack {
    pub service: Process,
    pub simulator: Process,
    pub tools: Process,
    pub echo: Process,
    #[expect(dead_code, reason = "the folder lives as long as who uses it")]
    files: tempfile::TempDir,
}

impl Stack {
    pub fn start() -> Self {
        Self::with_model(None)
    }

    pub fn start_hanging() -> Self {
        Self::with_model(Some(HANGING))
    }

    fn with_model(script: Option<&str>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let script = script.map(|script| {
            let file = files.path().join("script.json");
            fs::write(&file, script).unwrap();
            file
        });
        let simulator = process::simulator(script.as_deref());
        let mut serve_tools = assistd();
        serve_tools.args(["mcp-server", "--listen", "127.0.0.1:0"]);
        let tools = Process::start(serve_tools, "listening on ");
        let servers = serde_json::json!({"tools": {"url": tools.url, "prefix": ""}});
        let service = Process::start(process::service(&simulator, &servers, files.path()), " on ");
        let mut bare = Command::new(std::env::current_exe().unwrap());
        bare.arg(echo::ARGUMENT);
        Self {
            service,
            simulator,
            tools,
            echo: Process::start(bare, "listening on "),
            files,
        }
    }
}

/// The service as a stranger starts it: with nothing configured. Its files go with the second.
pub fn service_alone() -> (Process, tempfile::TempDir) {
    let files = tempfile::tempdir().unwrap();
    let mut serve = assistd();
    serve
        .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"])
        .arg(files.path().join("data"));
    (Process::start(serve, " on "), files)
}
