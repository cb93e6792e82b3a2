//! Servers that send more than anybody can use, as data: the memory of the whole service stays within what its limits say, and
//! meanwhile another server answers.

#[cfg(not(target_os = "linux"))]
#[test]
fn the_memory_of_a_service_is_bounded() {
    crate::skip::skipped("the most memory that a process has had is read from Linux");
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use assistd::mcp::MESSAGE_LIMIT_BYTES;
    use futures::{StreamExt, stream};
    use serde_json::{Value, json};
    use tokio::time::{interval, timeout};

    use super::super::slow::{Stream, slow};
    use super::super::{PATIENCE, child, faults};
    use crate::process::Service;

    /// What sends too much.
    enum Server {
        /// A child process with this fault.
        Child(&'static str),
        /// A server over HTTP that answers a call so.
        Remote(Stream),
    }

    use Server::{Child, Remote};

    /// A message is read until it is too large: into a buffer that doubles as it grows, with the old half beside the new one
    /// for a moment.
    const ONE_MESSAGE: usize = 3 * MESSAGE_LIMIT_BYTES;
    /// Of many that are small, or of what is no message, none is kept: all of it needs less than one message may have.
    const NONE_KEPT: usize = MESSAGE_LIMIT_BYTES;
    /// A bound beyond what the servers send would hold whatever became of it.
    const _: () = assert!(ONE_MESSAGE < faults::HUGE_BYTES && NONE_KEPT < faults::FLOOD_BYTES);

    /// How long a server is waited for that goes on until it is done, in milliseconds.
    const PATIENT_MS: u64 = 25_000;
    /// How long the other server has for an answer.
    const GOOD_MS: u64 = 5_000;
    /// How much of an answer that is not the expected one is shown.
    const SHOWN_BYTES: usize = 500;
    /// Services at once, so that none waits long for the others.
    const AT_ONCE: usize = 2;

    struct Row {
        server: Server,
        /// How long a call may be silent.
        timeout_ms: u64,
        tool: &'static str,
        /// The status of CallTool, and what its answer says.
        call: (u16, &'static str),
        /// The status of the server in Health, and what its message says.
        health: (&'static str, &'static str),
        /// How much more memory the service may have used at any time, in bytes.
        most: usize,
    }

    const WELL: (&str, &str) = ("HEALTH_STATUS_HEALTHY", "");
    const TOO_LARGE: (u16, &str) = (200, "answer is larger than");
    const DONE: (u16, &str) = (200, "done");

    fn rows() -> Vec<Row> {
        let row = |server, call, health, most| Row {
            server,
            timeout_ms: PATIENT_MS,
            tool: "work",
            call,
            health,
            most,
        };
        vec![
            row(Child("sends too much"), TOO_LARGE, WELL, ONE_MESSAGE),
            row(Remote(Stream::IsTooLarge), TOO_LARGE, WELL, ONE_MESSAGE),
            row(Remote(Stream::IsTooLargeAsJson), TOO_LARGE, WELL, ONE_MESSAGE),
            row(
                Child("lists too much"),
                (503, "MCP_UNAVAILABLE"),
                ("HEALTH_STATUS_UNHEALTHY", "its answer is larger than"),
                ONE_MESSAGE,
            ),
            row(Child("floods at length"), DONE, WELL, NONE_KEPT),
            row(Remote(Stream::FloodsAtLength), DONE, WELL, NONE_KEPT),
            Row {
                timeout_ms: 2_000,
                ..row(
                    Child("prints without end"),
                    (504, "was silent for 2000 ms"),
                    ("HEALTH_STATUS_DEGRADED", "was silent for 2000 ms"),
                    ONE_MESSAGE,
                )
            },
            row(Child("complains without end"), DONE, WELL, NONE_KEPT),
            Row {
                tool: "look",
                ..row(
                    Child("bomb"),
                    DONE,
                    (
                        "HEALTH_STATUS_DEGRADED",
                        "work is left out: its input schema stands for more than",
                    ),
                    NONE_KEPT,
                )
            },
        ]
    }

    /// The most memory that a process has had, in bytes.
    fn peak(pid: u32) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    fn write_servers(directory: &Path, servers: Value) {
        let (new, file) = (directory.join("mcp.new"), directory.join("mcp.json"));
        std::fs::write(&new, json!({"mcpServers": servers}).to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Waits until Health says something of the server, and gives it.
    async fn told(service: &Service, server: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut ticks = interval(Duration::from_millis(20));
        let mut last = Value::Null;
        let waiting = async {
            loop {
                ticks.tick().await;
                last = service.get("/v1/health").await;
                let servers = last["mcpServers"].as_array().cloned().unwrap_or_default();
                if let Some(one) = servers.into_iter().find(|one| one["name"] == server)
                    && holds(&one)
                {
                    return one;
                }
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{server}: {last}"))
    }

    async fn good_answers(service: &Service, what: &str) {
        let (status, answer) = service
            .answered("/v1/tools/good__echo:call", &json!({"arguments": {}}))
            .await;
        assert_eq!(status, 200, "{what}: {answer}");
    }

    async fn play(row: Row) {
        let began = Instant::now();
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("mark");
        let mut good = child();
        good["timeout_ms"] = json!(GOOD_MS);
        write_servers(place.path(), json!({"good": good}));
        // To log what a server complains of would take the most time.
        let arguments = ["--mcp-config", "mcp.json", "--log", "warn"];
        let service = Service::start(place.path(), &arguments).await;
        let is_well = |server: &Value| server["status"] == WELL.0;
        told(&service, "good", is_well).await;

        let (what, bad, _listening) = match &row.server {
            Child(fault) => ((*fault).to_owned(), faults::faulty(fault, &mark), None),
            Remote(stream) => {
                let (url, listening) = slow(*stream).await;
                (format!("{stream:?}"), json!({"url": url}), Some(listening))
            }
        };
        let mut bad = bad;
        bad["timeout_ms"] = json!(row.timeout_ms);
        bad["connect_timeout_ms"] = json!(PATIENT_MS);
        good_answers(&service, &what).await;
        let before = peak(service.pid());

        write_servers(place.path(), json!({"bad": bad, "good": good}));
        let is_settled = |server: &Value| server["status"] != "HEALTH_STATUS_CONNECTING";
        told(&service, "bad", is_settled).await;
        let path = format!("/v1/tools/bad__{}:call", row.tool);
        let arguments = json!({"arguments": {}});
        let (status, answer) = {
            let mut calling = std::pin::pin!(service.answered(&path, &arguments));
            loop {
                tokio::select! {
                    called = &mut calling => break called,
                    () = good_answers(&service, &what) => {}
                }
            }
        };
        good_answers(&service, &what).await;
        if what == "prints without end" {
            // It goes on while nobody waits for it any more.
            let printed = async {
                let mut ticks = interval(Duration::from_millis(5));
                while !mark.exists() {
                    ticks.tick().await;
                }
            };
            timeout(PATIENCE, printed).await.expect("it is read to the end");
        }
        // Before what it says: whatever that is, its memory is bounded.
        let grown = peak(service.pid()) - before;
        eprintln!(
            "{what}: {grown} bytes more, of {} at most, in {:?}",
            row.most,
            began.elapsed()
        );
        assert!(
            grown < row.most,
            "{what}: {grown} bytes more, of {} at most",
            row.most
        );
        let answer = answer.to_string();
        let shown = &answer[..answer.floor_char_boundary(SHOWN_BYTES)];
        assert_eq!(status, row.call.0, "{what}: {shown}");
        assert!(answer.contains(row.call.1), "{what}: {shown}");
        let says = |server: &Value| {
            let message = server["message"].as_str().unwrap_or_default();
            server["status"] == row.health.0 && message.contains(row.health.1)
        };
        told(&service, "bad", says).await;
        told(&service, "good", is_well).await;
        service.stop().await;
    }

    #[tokio::test]
    async fn whatever_a_server_sends_the_memory_of_the_service_is_bounded() {
        // Each in a task of its own: one that fails hides no other.
        let played = stream::iter(rows()).map(|row| tokio::spawn(play(row)));
        let played: Vec<_> = played.buffer_unordered(AT_ONCE).collect().await;
        assert!(played.iter().all(Result::is_ok), "{played:?}");
    }
}
