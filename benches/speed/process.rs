//! The processes under test, and what the kernel says of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use super::echo;

/// The kernel's clock for CPU time, in ticks per second (`getconf CLK_TCK`, 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

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

/// A process that ends with its handle, and the address that it said.
pub struct Process {
    child: Child,
    pub url: String,
    files: Option<tempfile::TempDir>,
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

impl Process {
    /// The service as a stranger starts it: with nothing configured.
    pub fn service_alone() -> Self {
        let files = tempfile::tempdir().unwrap();
        let mut serve = assistd();
        serve
            .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"])
            .arg(files.path().join("data"));
        let mut process = Self::start(serve, " on ");
        process.files = Some(files);
        process
    }

    /// Starts a program, and waits until it says its address behind `before`.
    fn start(mut command: Command, before: &str) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let (_, rest) = line.split_once(&format!("{before}http"))?;
            Some(format!("http{}", rest.split_whitespace().next()?))
        });
        let url = said.expect("it says where it listens");
        // Whatever else it says must be read, or it would wait for a reader.
        thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            url,
            files: None,
        }
    }

    /// CPU time used so far, by user and system.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }

    /// Resident memory.
    pub fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assistd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assistd"));
    for name in [
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
    ] {
        command.env_remove(name);
    }
    command
}
