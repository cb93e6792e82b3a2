//! The processes under test, and what the kernel says of them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

/// The kernel's clock for CPU time, in ticks per second (`getconf CLK_TCK`, 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that ends with its handle, and the address that it said.
pub struct Process {
    child: Child,
    pub url: String,
}

impl Process {
    /// Starts a program, and waits until it says its address behind `before`.
    pub fn start(mut command: Command, before: &str) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let url = lines.by_ref().map(Result::unwrap).find_map(|line| {
            if let Some((_, rest)) = line.split_once(&format!("{before}http")) {
                return Some(format!("http{}", rest.split_whitespace().next()?));
            }
            said += &line;
            said.push('\n');
            None
        });
        let Some(url) = url else {
            panic!("{command:?} did not say where it listens; it said:\n{said}");
        };
        // Whatever else it says must be read, or it would wait for a reader.
        thread::spawn(move || lines.for_each(drop));
        Self { child, url }
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

/// The program under test, with none of this machine's choices of a model.
pub fn assistd() -> Command {
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

/// The simulator, with this script or its own behaviour. Its address is what the service is given.
pub fn simulator(script: Option<&Path>) -> Process {
    let mut simulate = assistd();
    simulate.args(["simulate", "--listen", "127.0.0.1:0"]);
    if let Some(script) = script {
        simulate.arg("--script").arg(script);
    }
    Process::start(simulate, "base url ")
}

/// The service as it is started when it asks this model and these MCP servers, with its files in this directory.
pub fn service(model: &Process, servers: &Value, files: &Path) -> Command {
    let config = files.join("mcp.json");
    fs::write(&config, json!({"mcpServers": servers}).to_string()).unwrap();
    let mut serve = assistd();
    serve
        .env("OPENAI_BASE_URL", &model.url)
        .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"])
        .arg(files.join("data"))
        .arg("--mcp-config")
        .arg(&config);
    serve
}

/// A connection to a service, or to a server beside it.
pub async fn channel(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}
