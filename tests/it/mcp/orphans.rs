//! What becomes of the child processes when the service is killed.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{PATIENCE, is_alive, until};
use crate::world::program;

#[tokio::test]
async fn no_child_is_left_when_the_service_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    // A launcher that ignores SIGTERM and the end of its input, as does the process that it starts.
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $$ $! > \"$PIDS.new\"; \
                  mv \"$PIDS.new\" \"$PIDS\"; while :; do sleep 1; done";
    let stubborn = json!({"command": "/bin/sh", "args": ["-c", script], "env": {"PIDS": pids}});
    let servers = json!({"mcpServers": {"a": stubborn}}).to_string();
    std::fs::write(directory.path().join("mcp.json"), servers).expect("a list of servers");
    let mut service = Command::new(program())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--mcp-config",
            "mcp.json",
            "--data-dir",
            ".",
        ])
        .args(["--log", "debug"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the service");
    let mut lines = BufReader::new(service.stderr.take().expect("its log")).lines();
    let told = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("the watchdog is told") {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, told).await.expect("in time"));
    until("it has started", || pids.exists()).await;
    service.kill().await.expect("it is killed");
    let pids = std::fs::read_to_string(pids).expect("pids");
    for pid in pids.split_whitespace() {
        until("it is ended", || !is_alive(pid)).await;
    }
}

#[test]
fn a_watchdog_without_anybody_to_watch_ends_with_its_input() {
    let began = std::time::Instant::now();
    assistd::mcp::watch("12345678\n\n".as_bytes());
    assert!(began.elapsed() < Duration::from_secs(1));
}
