//! The service with everything that its speed is compared with.

use std::fs;
use std::io::Write;
use std::process::Command;

use super::echo;
use super::process::{Process, assistd};

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
        Self::with_model(|_| Vec::new())
    }

    pub fn start_hanging() -> Self {
        Self::with_model(|files| {
            let script = files.path().join("script.json");
            fs::write(&script, HANGING).unwrap();
            vec!["--script".to_owned(), script.to_string_lossy().into_owned()]
        })
    }

    fn with_model(arguments: impl Fn(&tempfile::TempDir) -> Vec<String>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let mut simulate = assistd();
        simulate
            .args(["simulate", "--listen", "127.0.0.1:0"])
            .args(arguments(&files));
        let simulator = Process::start(simulate, "base url ");
        let mut serve_tools = assistd();
        serve_tools.args(["mcp-server", "--listen", "127.0.0.1:0"]);
        let tools = Process::start(serve_tools, "listening on ");
        let config = files.path().join("mcp.json");
        let servers = serde_json::json!({"mcpServers": {"tools": {"url": tools.url, "prefix": ""}}});
        fs::File::create(&config)
            .unwrap()
            .write_all(servers.to_string().as_bytes())
            .unwrap();
        let mut serve = assistd();
        serve
            .env("OPENAI_BASE_URL", &simulator.url)
            .args(["--listen", "127.0.0.1:0", "--log", "warn"])
            .arg("--data-dir")
            .arg(files.path().join("data"))
            .arg("--mcp-config")
            .arg(&config);
        let service = Process::start(serve, " on ");
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
