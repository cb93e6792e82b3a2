//! The client pool against real MCP servers: in this process over HTTP, and as child processes over stdio.

mod asking;
mod auth;
mod connections;
mod faults;
mod hanging;
mod memory;
mod names;
#[cfg(target_os = "linux")]
mod orphans;
pub mod peer;
mod pins;
mod reload;
mod roads;
mod sampling;
mod slow;
mod told;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistd::mcp::{Config, Pacing, Pool};
use assistd::run::catalogue::Tool;
use assistd::run::error::{Error, Reason};
use assistd::run::message::{ResourceBody, ToolOutput};
use assistd::run::ports::{Connection, Library, Pins, Toolbox};
use assistd::store;
use peer::{Listening, Peer, Seen};
use rmcp::ServiceExt;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long enough for a busy machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

const PACING: Pacing = Pacing {
    retry_first: Duration::from_millis(10),
    retry_longest: Duration::from_millis(100),
    probe_every: Duration::from_millis(100),
    probe_limit: PATIENCE,
};

/// Not a test of its own: the server of the others, when they start this binary as their child.
#[tokio::test]
#[ignore = "is the child process of other tests"]
async fn child_server() {
    if std::env::var_os("ASSISTD_TEST_CHILD").is_some() {
        // The test runner has left its own line open.
        println!();
        let server = Peer(Arc::new(Seen::default()))
            .serve(rmcp::transport::stdio())
            .await
            .expect("a client");
        let _ = server.waiting().await;
    }
}

/// A server of this kind, over stdio, as the configuration has it.
pub fn child() -> Value {
    json!({
        "command": std::env::current_exe().expect("own path"),
        "args": ["--exact", "mcp::child_server", "--ignored", "--nocapture", "--test-threads", "1"],
        "env": {"ASSISTD_TEST_CHILD": "1"},
    })
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Approvals that nobody else has a part in.
async fn no_pins() -> Arc<dyn Pins> {
    let location = store::Location::Memory;
    store::open(&store::Config { location })
        .await
        .expect("a store")
        .pins
}

async fn pool(servers: Value) -> Pool {
    pool_with(servers, no_pins().await).await
}

async fn pool_with(servers: Value, pins: Arc<dyn Pins>) -> Pool {
    paced(servers, PACING, pins).await
}

async fn paced(servers: Value, pacing: Pacing, pins: Arc<dyn Pins>) -> Pool {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let json = json!({"mcpServers": servers}).to_string();
    let config = Config::parse(&json, |name| (name == "PATH").then(|| "/usr/bin:/bin".to_owned()));
    let pool = Pool::start(config.expect("a configuration"), pacing, pins);
    assert!(pool.settled(PATIENCE).await, "not settled: {:?}", pool.servers());
    pool
}

async fn call(pool: &Pool, tool: &str, arguments: Value) -> Result<ToolOutput, Error> {
    call_tool(pool, &tool_of(pool, tool), arguments).await
}

async fn call_tool(pool: &Pool, tool: &Tool, arguments: Value) -> Result<ToolOutput, Error> {
    let arguments: Map<String, Value> = serde_json::from_value(arguments).expect("an object");
    tokio::time::timeout(PATIENCE, pool.call(tool, arguments, Arc::new(|_| {})))
        .await
        .expect("an answer in time")
}

fn tool_of(pool: &Pool, name: &str) -> Arc<Tool> {
    let catalogue = pool.catalogue();
    catalogue
        .get(name)
        .unwrap_or_else(|| panic!("no tool {name}: {:?}", pool.servers()))
        .clone()
}

/// Waits until something holds that no signal tells of.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds() {
            ticks.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
        "never: {what}"
    );
}

#[tokio::test]
async fn tools_are_listed_page_by_page_in_the_order_of_the_configuration() {
    let seen = Arc::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = pool(json!({"b": child(), "a": {"url": server.url(), "prefix": "x-"}})).await;
    let names: Vec<String> = pool
        .catalogue()
        .tools()
        .iter()
        .map(|tool| tool.name().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "b__echo",
            "b__wait",
            "b__count",
            "b__die",
            "b__refuse",
            "b__grow",
            "x-echo",
            "x-wait",
            "x-count",
            "x-die",
            "x-refuse",
            "x-grow"
        ]
    );
    assert_eq!(pool.servers()[1].transport, "streamable_http");
    assert_eq!(pool.servers()[1].tool_count, 6);
    pool.shutdown().await;
}

#[tokio::test]
async fn integers_stay_integers_over_both_transports_and_both_eras() {
    let (new, old) = (Arc::default(), Arc::<Seen>::default());
    old.is_old.store(true, Ordering::SeqCst);
    let new = Listening::start(loopback(), &new).await;
    let old = Listening::start(loopback(), &old).await;
    let pool = pool(json!({"new": {"url": new.url()}, "old": {"url": old.url()}, "child": child()})).await;
    for server in ["new", "old", "child"] {
        let output = call(
            &pool,
            &format!("{server}__echo"),
            json!({"n": 9007199254740993_i64, "one": 1}),
        )
        .await;
        assert_eq!(
            output.expect("an output").text(),
            r#"{"n":9007199254740993,"one":1}"#,
            "{server}"
        );
    }
    pool.shutdown().await;
}

#[tokio::test]
async fn progress_is_reported_in_order_before_the_answer() {
    let seen = Arc::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = pool(json!({"remote": {"url": server.url()}, "child": child()})).await;
    for tool in ["child__count", "remote__count"] {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let heard = reports.clone();
        let on_progress = Arc::new(move |report: assistd::run::event::Progress| {
            heard
                .lock()
                .unwrap()
                .push((report.progress, report.total, report.message));
        });
        let output = pool.call(&tool_of(&pool, tool), Map::new(), on_progress).await;
        assert_eq!(output.expect("an output").text(), "counted");
        let expected = [1.0, 2.0, 3.0].map(|step| (step, Some(3.0), format!("step {step}")));
        assert_eq!(*reports.lock().unwrap(), expected, "{tool}");
    }
    pool.shutdown().await;
}

#[tokio::test]
async fn dropping_a_call_or_a_reading_cancels_it_on_the_server_in_both_eras() {
    for is_old in [false, true] {
        let seen = Arc::<Seen>::default();
        seen.is_old.store(is_old, Ordering::SeqCst);
        let server = Listening::start(loopback(), &seen).await;
        let pool = pool(json!({"a": {"url": server.url()}})).await;
        let tool = tool_of(&pool, "a__wait");
        tokio::select! {
            output = pool.call(&tool, Map::new(), Arc::new(|_| {})) => panic!("answered: {output:?}"),
            () = seen.waiting.notified() => {}
        }
        let cancelled = tokio::time::timeout(PATIENCE, seen.cancelled.notified()).await;
        assert!(cancelled.is_ok(), "old: {is_old}");
        tokio::select! {
            read = pool.read("a", "note://wait", "") => panic!("read: {read:?}"),
            () = seen.waiting.notified() => {}
        }
        let cancelled = tokio::time::timeout(PATIENCE, seen.cancelled.notified()).await;
        assert!(cancelled.is_ok(), "old: {is_old}");
        assert_eq!(pool.servers()[0].connection, Connection::Ready);
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn a_refusal_of_the_server_is_an_output_that_the_model_can_read() {
    let pool = pool(json!({"a": child()})).await;
    let output = call(&pool, "a__refuse", json!({})).await.expect("an output");
    assert!(output.is_error);
    assert_eq!(output.text(), "'refuse' is refused");
    pool.shutdown().await;
}

#[tokio::test]
async fn a_child_that_dies_in_a_call_fails_it_and_is_started_again() {
    let pool = pool(json!({"a": child()})).await;
    let version = pool.catalogue().version();
    let error = call(&pool, "a__die", json!({})).await.expect_err("no answer");
    assert_eq!(error.reason(), Reason::OutcomeUnknown);
    assert_eq!(error.metadata(), [("server", "a".to_owned())]);
    until("down and up again", || {
        let server = &pool.servers()[0];
        server.last_error_time.is_some() && server.connection == Connection::Ready
    })
    .await;
    assert_eq!(pool.catalogue().version(), version, "it has the same tools");
    assert!(call(&pool, "a__echo", json!({})).await.is_ok());
    pool.shutdown().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_started_is_down_with_the_reason_and_the_others_work() {
    let pool = pool(json!({
        "missing": {"command": "/no/such/command"},
        "quick": {"command": "/bin/sh", "args": ["-c", "exit 7"]},
        "closed": {"url": "http://127.0.0.1:1/mcp"},
        "good": child(),
    }))
    .await;
    let servers = pool.servers();
    let down = |text: &str| Connection::Down(text.to_owned());
    assert_eq!(
        servers[0].connection,
        down("cannot start /no/such/command: no such command")
    );
    assert_eq!(servers[1].connection, down("the process exited with code 7"));
    assert!(
        matches!(&servers[2].connection, Connection::Down(reason) if reason.starts_with("cannot connect")),
        "{:?}",
        servers[2]
    );
    assert_eq!(servers[3].connection, Connection::Ready);
    assert!(call(&pool, "good__echo", json!({})).await.is_ok());
    pool.shutdown().await;
}

#[tokio::test]
async fn a_server_that_has_only_the_oldest_remote_transport_is_told_so() {
    let listener = tokio::net::TcpListener::bind(loopback()).await.expect("bind");
    let address = listener.local_addr().expect("address");
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let answer: &[u8] = match head[..read].starts_with(b"GET ") {
                true => b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: endpoint\ndata: /messages\n\n",
                false => b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            };
            let _ = stream.write_all(answer).await;
            open.push(stream);
        }
    });
    let pool = pool(json!({"old": {"url": format!("http://{address}/sse")}})).await;
    let Connection::Down(reason) = &pool.servers()[0].connection else {
        panic!("{:?}", pool.servers());
    };
    assert!(
        reason.starts_with("the server speaks only the HTTP+SSE transport of 2024"),
        "{reason}"
    );
    pool.shutdown().await;
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_configured_to_be_of_the_oldest_remote_transport_is_down_and_the_others_work() {
    for key in ["type", "transport"] {
        let pool = pool(json!({"old": {"url": "http://127.0.0.1:1/sse", key: "sse"}, "good": child()})).await;
        let old = &pool.servers()[0];
        assert!(
            matches!(&old.connection, Connection::Down(reason)
                if reason.starts_with("the HTTP+SSE transport of 2024 is not supported")),
            "{old:?}"
        );
        assert!(old.last_error_time.is_some());
        let error = pool.missing("old__echo").expect("a reason");
        assert_eq!(error.reason(), Reason::McpUnavailable);
        assert!(call(&pool, "good__echo", json!({})).await.is_ok());
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_over_http_that_goes_away_is_noticed_and_found_again() {
    let seen = Arc::default();
    let server = Listening::start(loopback(), &seen).await;
    let address = server.address;
    let pool = pool(json!({"a": {"url": server.url()}})).await;
    let tool = tool_of(&pool, "a__echo");
    drop(server);
    until("down", || {
        matches!(pool.servers()[0].connection, Connection::Down(_))
    })
    .await;
    assert!(pool.catalogue().tools().is_empty());
    assert!(pool.holdings().resources.is_empty() && pool.holdings().prompts().is_empty());
    let error = call_tool(&pool, &tool, json!({}))
        .await
        .expect_err("nobody there");
    assert_eq!(error.reason(), Reason::McpUnavailable);
    let _server = Listening::start(address, &seen).await;
    until("up", || pool.servers()[0].connection == Connection::Ready).await;
    assert!(call_tool(&pool, &tool, json!({})).await.is_ok());
    pool.shutdown().await;
}

#[tokio::test]
async fn changed_lists_are_read_anew_and_make_a_new_version_of_the_catalogue() {
    let seen = Arc::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = pool(json!({"child": child(), "remote": {"url": server.url()}})).await;
    let before = pool.catalogue();
    assert!(call(&pool, "child__grow", json!({})).await.is_ok());
    until("a late tool", || pool.catalogue().get("child__late").is_some()).await;
    let has_late = |server: &str| {
        let holdings = pool.holdings();
        let mut resources = holdings.resources.iter();
        resources.any(|one| one.server == server && one.uri == "note://late")
    };
    until("a late resource", || has_late("child")).await;
    assert_ne!(pool.catalogue().version(), before.version());
    // The server over HTTP does not tell: its tools are listed from time to time.
    seen.has_late.store(true, Ordering::SeqCst);
    until("another late tool", || {
        pool.catalogue().get("remote__late").is_some()
    })
    .await;
    until("another late resource", || has_late("remote")).await;
    assert!(before.get("child__late").is_none());
    pool.shutdown().await;
}

#[tokio::test]
async fn of_two_tools_with_one_name_the_first_stays() {
    let mut first = child();
    first["prefix"] = json!("");
    let pool = pool(json!({"first": first, "second": first})).await;
    let catalogue = pool.catalogue();
    assert_eq!(catalogue.tools().len(), 6);
    assert_eq!(tool_of(&pool, "echo").description().server, "first");
    let counts: Vec<usize> = pool.servers().iter().map(|server| server.tool_count).collect();
    assert_eq!(counts, [6, 0]);
    let Connection::Degraded(reason) = &pool.servers()[1].connection else {
        panic!("not told: {:?}", pool.servers());
    };
    assert!(
        reason.starts_with("second/echo is left out: first/echo has the name echo; "),
        "{reason}"
    );
    assert_eq!(pool.servers()[0].connection, Connection::Ready);
    pool.shutdown().await;
}

#[tokio::test]
async fn lists_of_allowed_and_denied_tools_hold() {
    let mut some = child();
    some["allowed_tools"] = json!(["e*", "w*", "grow"]);
    some["denied_tools"] = json!(["*t"]);
    let pool = pool(json!({"some": some})).await;
    let catalogue = pool.catalogue();
    let names: Vec<&str> = catalogue.tools().iter().map(|tool| tool.name()).collect();
    assert_eq!(names, ["some__echo", "some__grow"]);
    assert_eq!(pool.servers()[0].connection, Connection::Ready);
    pool.shutdown().await;
}

#[tokio::test]
async fn servers_come_and_go_while_the_others_and_their_calls_go_on() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let remote = json!({"url": server.url()});
    let pool = Arc::new(pool(json!({"kept": remote, "gone": remote})).await);
    let (kept, gone) = (tool_of(&pool, "kept__wait"), tool_of(&pool, "gone__wait"));
    let calls = [kept, gone].map(|tool| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call(&tool, Map::new(), Arc::new(|_| {})).await })
    });
    until("both wait", || seen.calls.load(Ordering::SeqCst) == 2).await;
    let changed = json!({"mcpServers": {"new": child(), "kept": remote, "off": {"url": "http://127.0.0.1:1", "disabled": true}}});
    let config = Config::parse(&changed.to_string(), |_| None).expect("a configuration");
    pool.reconfigure(config);
    until("the new one is there", || {
        pool.catalogue().get("new__echo").is_some()
    })
    .await;
    assert!(pool.catalogue().get("gone__echo").is_none());
    let states: Vec<_> = pool
        .servers()
        .into_iter()
        .map(|server| (server.name, server.connection))
        .collect();
    let named = |name: &str, connection| (name.to_owned(), connection);
    assert_eq!(
        states,
        [
            named("new", Connection::Ready),
            named("kept", Connection::Ready),
            named("off", Connection::Disabled)
        ]
    );
    assert_eq!(seen.cancels.load(Ordering::SeqCst), 0, "no call was touched");
    seen.release.notify_waiters();
    for call in calls {
        let output = call.await.expect("a task").expect("an output");
        assert_eq!(output.text(), "released");
    }
    pool.keep_configuration("mcp.json: not valid JSON".to_owned());
    assert_eq!(pool.trouble().as_deref(), Some("mcp.json: not valid JSON"));
    pool.shutdown().await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_server_that_is_taken_away_is_told_so() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = Arc::new(pool(json!({"gone": {"url": server.url(), "max_concurrency": 1}})).await);
    let tool = tool_of(&pool, "gone__wait");
    let calls = [(); 2].map(|()| {
        let (pool, tool) = (pool.clone(), tool.clone());
        tokio::spawn(async move { pool.call(&tool, Map::new(), Arc::new(|_| {})).await })
    });
    until("one goes on and one waits", || {
        seen.calls.load(Ordering::SeqCst) == 1 && pool.servers()[0].waiting_calls == 1
    })
    .await;
    pool.reconfigure(Config::default());
    seen.release.notify_waiters();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.expect("a task"));
    }
    results.sort_by_key(Result::is_err);
    assert_eq!(results[0].as_ref().expect("an output").text(), "released");
    let error = results[1].as_ref().expect_err("it is gone");
    assert_eq!(error.reason(), Reason::McpUnavailable);
    assert!(
        error.message().contains("taken out of the configuration"),
        "{error}"
    );
    let error = call_tool(&pool, &tool, json!({})).await.expect_err("it is gone");
    assert_eq!(error.reason(), Reason::McpUnavailable);
    pool.shutdown().await;
}

#[tokio::test]
async fn a_server_is_told_what_to_log_in_both_eras() {
    for is_old in [true, false] {
        let seen = Arc::<Seen>::default();
        seen.is_old.store(is_old, Ordering::SeqCst);
        let server = Listening::start(loopback(), &seen).await;
        let pool = pool(json!({"a": {"url": server.url(), "log_level": "notice"}})).await;
        assert!(call(&pool, "a__echo", json!({})).await.is_ok());
        until("it is told", || *seen.log_levels.lock().unwrap() == ["notice"]).await;
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn what_a_server_wants_before_it_gives_a_resource_is_given_or_refused() {
    let seen = Arc::<Seen>::default();
    let server = Listening::start(loopback(), &seen).await;
    let pool = pool(json!({"a": {"url": server.url(), "roots": ["/srv"]}})).await;
    let read = pool.read("a", "note://in-a-root", "").await.expect("it is read");
    let ResourceBody::Text(text) = &read[0].body else {
        panic!("{read:?}");
    };
    assert_eq!(text, r#"[{"it":{"roots":[{"uri":"file:///srv"}]}},"state"]"#);
    let error = pool
        .read("a", "note://private", "")
        .await
        .expect_err("nobody is there");
    assert_eq!(error.reason(), Reason::McpRequestRejected);
    assert!(
        error.message().contains("wants to ask a person something first"),
        "{error}"
    );
    assert_eq!(pool.servers()[0].connection, Connection::Ready);
    pool.shutdown().await;
}

#[tokio::test]
async fn a_silent_server_does_not_hold_a_call_or_the_start() {
    let mut quiet = child();
    quiet["timeout_ms"] = json!(100);
    let mut mute = json!({"command": "/bin/sh", "args": ["-c", "cat >/dev/null"]});
    mute["connect_timeout_ms"] = json!(100);
    let pool = pool(json!({"quiet": quiet, "mute": mute})).await;
    let error = call(&pool, "quiet__wait", json!({})).await.expect_err("silence");
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert!(error.message().contains("was silent for 100 ms"), "{error}");
    assert!(
        error.message().contains("not known what the call has done"),
        "{error}"
    );
    let error = pool.read("quiet", "note://wait", "").await.expect_err("silence");
    assert_eq!(error.reason(), Reason::McpUnavailable);
    assert_eq!(
        pool.servers()[1].connection,
        Connection::Down("not connected within 100 ms".to_owned())
    );
    pool.shutdown().await;
}

/// Whether a process runs.
#[cfg(target_os = "linux")]
pub fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_that_a_child_has_started_is_left_after_shutdown() {
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    // A launcher that ignores SIGTERM and the end of its input, as does the process that it starts.
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $$ $! > \"$PIDS.new\"; \
                  mv \"$PIDS.new\" \"$PIDS\"; while :; do sleep 1; done";
    let stubborn = json!({"command": "/bin/sh", "args": ["-c", script], "env": {"PIDS": pids}});
    let json = json!({"mcpServers": {"a": stubborn}}).to_string();
    let config = Config::parse(&json, |name| (name == "PATH").then(|| "/usr/bin:/bin".to_owned()));
    let pool = Pool::start(config.expect("a configuration"), PACING, no_pins().await);
    until("started", || pids.exists()).await;
    pool.shutdown().await;
    let pids = std::fs::read_to_string(pids).expect("pids");
    for pid in pids.split_whitespace() {
        until("ended", || !is_alive(pid)).await;
    }
}
