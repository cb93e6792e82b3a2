//! Servers that misbehave, as data: what each does, and what the pool makes of it. Beside it, in the same pool, a server
//! that works stays usable.

use std::io::{BufRead, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use assistd::run::error::Reason;
use assistd::run::ports::{Connection, Toolbox};
use serde_json::{Value, json};

use super::{call, child, pool, until};

/// How much a server sends that sends too much.
pub const HUGE_BYTES: usize = 100 * 1024 * 1024;
/// How many notifications a server sends that floods; and of one that floods at length, how much in all and how long each is.
const FLOOD: usize = 20_000;
pub const FLOOD_BYTES: usize = 48 * 1024 * 1024;
const FLOOD_PIECE_BYTES: usize = 16 * 1024;
/// What stands before the schema that a tool is to have: of the arguments of `work`, or of the output of `lie`.
const INPUT_SCHEMA: &str = "has the input schema ";
const OUTPUT_SCHEMA: &str = "has the output schema ";

/// Not a test of its own: the server of the others, when they start this binary as their child. It does one thing
/// wrong, as `ASSISTD_TEST_FAULT` says.
#[test]
#[ignore = "is the child process of other tests"]
fn fault_server() {
    let Ok(fault) = std::env::var("ASSISTD_TEST_FAULT") else {
        return;
    };
    // The test runner has left its own line open.
    println!();
    for line in std::io::stdin().lock().lines() {
        let request: Value = line
            .ok()
            .and_then(|line| serde_json::from_str(&line).ok())
            .unwrap_or_default();
        if !request["id"].is_null() {
            answer(&fault, &request);
        } else if fault == "notes" && request["method"] == "notifications/cancelled" {
            note(&format!("cancelled {}", request["params"]["requestId"]));
        }
    }
}

/// Writes a line into the file that the test knows of.
fn note(line: &str) {
    let mark = std::env::var("ASSISTD_TEST_MARK").unwrap_or_default();
    let file = std::fs::OpenOptions::new().create(true).append(true).open(mark);
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}

/// Writes very much that has no end of a line.
fn write_on(out: &mut impl Write, bytes: usize) {
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..bytes / piece.len() {
        let _ = out.write_all(&piece);
    }
    let _ = out.flush();
}

/// Whether a server that knows no sessions goes on: it is of no use any more once it was asked for one.
fn is_asked_in_the_new_way(method: &str) -> bool {
    static IS_SPOILT: AtomicBool = AtomicBool::new(false);
    IS_SPOILT.fetch_or(method == "initialize", Ordering::Relaxed);
    !IS_SPOILT.load(Ordering::Relaxed)
}

fn say(message: &Value) {
    say_text(&message.to_string());
}

fn say_text(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn answer(fault: &str, request: &Value) {
    let method = request["method"].as_str().unwrap_or_default();
    if fault == format!("hangs at {method}") {
        return;
    }
    if fault == format!("dies at {method}") {
        std::process::exit(3);
    }
    if fault.starts_with("refuses")
        || (fault.starts_with("knows no sessions") && !is_asked_in_the_new_way(method))
    {
        let error = json!({"code": -32603, "message": "LICENSE EXPIRED"});
        say(&json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
        if fault == "refuses and ends" {
            std::process::exit(0);
        }
        return;
    }
    let told = |which: &str| Some(serde_json::from_str(fault.strip_prefix(which)?).expect("JSON"));
    let schema = match fault {
        "bomb" => bomb(),
        _ => told(INPUT_SCHEMA).unwrap_or_else(|| json!({"type": "object"})),
    };
    let output_schema: Value = told(OUTPUT_SCHEMA).unwrap_or_else(
        || json!({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}),
    );
    let result = match method {
        "initialize" => json!({
            "protocolVersion": fault.strip_prefix("speaks ").unwrap_or("2025-11-25"),
            "capabilities": {"tools": {"listChanged": true}, "logging": {}},
            "serverInfo": {"name": "fault", "version": "1"},
        }),
        "subscriptions/listen" if fault == "stops telling" => return listen(request),
        "server/discover" => json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {"listChanged": fault == "stops telling"}},
            "serverInfo": {"name": "fault", "version": "1"},
            "ttlMs": 0,
            "cacheScope": "private",
        }),
        "tools/list" if fault == "has many" => {
            let tool =
                |number: usize| json!({"name": format!("t{number}"), "inputSchema": {"type": "object"}});
            json!({"tools": (0..2001).map(tool).collect::<Vec<_>>()})
        }
        "tools/list" if fault == "stops telling" => {
            let name = if LISTENED.load(Ordering::Relaxed) > 1 {
                "late"
            } else {
                "work"
            };
            json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": [{"name": name, "inputSchema": {"type": "object"}}],
            })
        }
        "tools/list" if fault == "has titles" => json!({"tools": [
            {"name": "work", "title": "Work", "inputSchema": schema, "annotations": {"title": "Works"}},
            {"name": "look", "inputSchema": schema, "annotations": {"title": "Looks"}},
            {"name": "rest", "title": "Rest", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
        ]}),
        "tools/list" => json!({"tools": [
            {"name": "work", "inputSchema": schema},
            {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            {"name": "lie", "inputSchema": {"type": "object"}, "outputSchema": output_schema},
        ]}),
        "tools/call" if fault == "knows no sessions, gives a list" => {
            json!({"resultType": "complete", "content": [], "structuredContent": [1, "two"]})
        }
        "tools/call" if fault == "gives a large number" => {
            json!({"content": [], "structuredContent": {"id": 9_007_199_254_740_993_u64}})
        }
        "tools/call" => json!({
            "content": [{"type": "text", "text": "done"}],
            "structuredContent": {"sum": "three"},
        }),
        _ => json!({}),
    };
    let whole = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
    match (fault, method) {
        ("floods", "tools/call") => {
            let params = json!({"level": "error", "data": "too much"});
            let noise = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
            for _ in 0..FLOOD {
                say(&noise);
            }
        }
        ("floods at length", "tools/call") => {
            let token = &request["params"]["_meta"]["progressToken"];
            let data = "too much ".repeat(FLOOD_PIECE_BYTES / 9);
            let (log, report) = ("notifications/message", "notifications/progress");
            for number in 0..FLOOD_BYTES / FLOOD_PIECE_BYTES {
                say(&match number % 2 {
                    0 => json!({"jsonrpc": "2.0", "method": log, "params": {"level": "error", "data": data}}),
                    _ => json!({"jsonrpc": "2.0", "method": report, "params": {
                        "progressToken": token, "progress": number, "message": data,
                    }}),
                });
            }
        }
        ("sends too much", "tools/call") | ("lists too much", "tools/list") => {
            let mut out = std::io::stdout().lock();
            let _ = write!(
                out,
                "{{\"jsonrpc\": \"2.0\", \"id\": {}, \"result\": {{\"content\": [\"",
                request["id"]
            );
            write_on(&mut out, HUGE_BYTES);
            let _ = writeln!(out, "\"]}}}}");
            let _ = out.flush();
            return;
        }
        // The next answer is on the same line, and lost with it.
        ("prints without end", "tools/call") => {
            write_on(&mut std::io::stdout().lock(), HUGE_BYTES);
            note("printed");
            return;
        }
        ("complains", "tools/call") => eprintln!("PAPER JAM"),
        ("complains without end", "tools/call") => write_on(&mut std::io::stderr().lock(), FLOOD_BYTES),
        ("notes", "tools/call") => {
            note(&format!("called {}", request["id"]));
            return;
        }
        ("sends nonsense", _) => {
            say_text("{\"jsonrpc\": \"2.0\", \"id\": ");
            say(&json!({"jsonrpc": "2.0", "id": request["id"], "outcome": 7}));
            say(&json!([7]));
        }
        ("answers others", "tools/list" | "tools/call") => {
            say(&json!({"jsonrpc": "2.0", "id": 4711, "result": {"content": []}}));
            say(&json!({"jsonrpc": "2.0", "id": "x", "result": {"content": []}}));
        }
        ("prints", _) => say_text("starting up, please wait"),
        ("stops once", "tools/call") => {
            let mark = std::env::var("ASSISTD_TEST_MARK").unwrap_or_default();
            if !std::path::Path::new(&mark).exists() {
                let _ = std::fs::write(mark, std::process::id().to_string());
                let stop = ["-c", "kill -STOP $PPID"];
                let _ = std::process::Command::new("/bin/sh").args(stop).status();
                // Another thread may be the one that takes the signal, and be late: this one says nothing more.
                loop {
                    std::thread::park();
                }
            }
        }
        ("dies once", "tools/call") => {
            let mark = std::env::var("ASSISTD_TEST_MARK").unwrap_or_default();
            if !std::path::Path::new(&mark).exists() {
                let _ = std::fs::write(mark, "");
                std::process::exit(3);
            }
        }
        _ => {}
    }
    say(&whole);
    if fault == "stops telling" && method == "tools/list" {
        HAS_LISTED.store(true, Ordering::Relaxed);
        stop_telling();
    }
    if fault == "dies after" && method == "tools/call" {
        std::process::exit(3);
    }
}

/// How often it was asked to tell of changes, which request of those it is to end, and whether it has listed its tools.
static LISTENED: AtomicUsize = AtomicUsize::new(0);
static TO_END: Mutex<Option<Value>> = Mutex::new(None);
static HAS_LISTED: AtomicBool = AtomicBool::new(false);

/// Begins to tell of changes; the first time that ends as soon as the tools have been listed.
fn listen(request: &Value) {
    let meta = json!({"io.modelcontextprotocol/subscriptionId": request["id"]});
    say(
        &json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
            "_meta": meta, "notifications": request["params"]["notifications"],
        }}),
    );
    if LISTENED.fetch_add(1, Ordering::Relaxed) == 0 {
        let end = json!({"jsonrpc": "2.0", "id": request["id"], "result": {"resultType": "complete", "_meta": meta}});
        *TO_END.lock().unwrap() = Some(end);
        if HAS_LISTED.load(Ordering::Relaxed) {
            stop_telling();
        }
    }
}

fn stop_telling() {
    if let Some(end) = TO_END.lock().unwrap().take() {
        say(&end);
    }
}

/// A short schema that takes forever to check against.
pub fn bomb() -> Value {
    let mut bomb = json!({"type": "object", "$defs": {"0": {"type": "string"}}, "$ref": "#/$defs/40"});
    for level in 1..=40 {
        let below = json!({"$ref": format!("#/$defs/{}", level - 1)});
        bomb["$defs"][level.to_string()] = json!({"allOf": [below, below]});
    }
    bomb
}

/// A server that does this wrong, as the configuration has it. What it does once, it has done when there is a file at `mark`.
pub fn faulty(fault: &str, mark: &std::path::Path) -> Value {
    // Only what hangs is waited for to the end; all else may take its time on a busy machine.
    let limit_ms = |hangs: bool| if hangs { 2_000 } else { 25_000 };
    let never_connects = ["hangs at initialize", "hangs at tools/list"].contains(&fault);
    json!({
        "command": std::env::current_exe().expect("own path"),
        "args": ["--exact", "mcp::faults::fault_server", "--ignored", "--nocapture", "--test-threads", "1"],
        "env": {"ASSISTD_TEST_FAULT": fault, "ASSISTD_TEST_MARK": mark},
        "timeout_ms": limit_ms(fault == "hangs at tools/call"),
        "connect_timeout_ms": limit_ms(never_connects),
    })
}

/// What a call brings.
#[derive(Debug, PartialEq)]
enum Brings {
    /// This text.
    Text(&'static str),
    /// This failure, whose text holds this.
    Failure(Reason, &'static str),
    /// There is nothing to call: the server is not connected, for a reason that holds this.
    Down(&'static str),
}

#[tokio::test]
async fn whatever_a_server_does_the_pool_says_so_and_the_others_work() {
    use Brings::{Down, Failure, Text};
    let cases = [
        ("nothing", "work", Text("done")),
        ("speaks 2024-11-05", "work", Text("done")),
        ("speaks 2025-03-26", "work", Text("done")),
        ("speaks 2025-06-18", "work", Text("done")),
        (
            "hangs at initialize",
            "work",
            Down("not connected within 2000 ms"),
        ),
        (
            "hangs at tools/list",
            "work",
            Down("the tools were not listed within 2000 ms"),
        ),
        (
            "hangs at tools/call",
            "work",
            Failure(
                Reason::DeadlineExceeded,
                "was silent for 2000 ms; it is not known what the call has done",
            ),
        ),
        (
            "hangs at tools/call",
            "look",
            Failure(Reason::DeadlineExceeded, "was silent for 2000 ms"),
        ),
        (
            "dies at initialize",
            "work",
            Down("the process exited with code 3"),
        ),
        (
            "refuses",
            "work",
            Down("the server refuses to start a session: LICENSE EXPIRED"),
        ),
        (
            "refuses and ends",
            "work",
            Down("the server refuses to start a session: LICENSE EXPIRED"),
        ),
        ("knows no sessions", "work", Text("done")),
        (
            "dies at tools/list",
            "work",
            Down("the process exited with code 3"),
        ),
        (
            "dies at tools/call",
            "work",
            Failure(Reason::OutcomeUnknown, "it is not known what the call has done"),
        ),
        ("dies after", "work", Text("done")),
        ("dies once", "look", Text("done")),
        (
            "dies once",
            "work",
            Failure(Reason::OutcomeUnknown, "it is not known what the call has done"),
        ),
        ("floods", "work", Text("done")),
        (
            "sends too much",
            "work",
            Text("its answer is larger than the 16777216 bytes that are taken"),
        ),
        ("sends nonsense", "work", Text("done")),
        ("answers others", "work", Text("done")),
        ("prints", "work", Text("done")),
    ];
    for (fault, tool, expected) in cases {
        let place = tempfile::tempdir().expect("a directory");
        let pool = pool(json!({"bad": faulty(fault, &place.path().join("mark")), "good": child()})).await;
        let what = format!("{fault}, {tool}");
        let began = Instant::now();
        match expected {
            Down(reason) => {
                let Connection::Down(said) = &pool.servers()[0].connection else {
                    panic!("{what}: {:?}", pool.servers());
                };
                assert!(said.contains(reason), "{what}: {said}");
            }
            Text(text) => {
                let output = call(&pool, &format!("bad__{tool}"), json!({})).await;
                assert_eq!(output.expect(&what).text(), text, "{what}");
            }
            Failure(reason, text) => {
                let error = call(&pool, &format!("bad__{tool}"), json!({}))
                    .await
                    .expect_err(&what);
                assert_eq!(error.reason(), reason, "{what}: {error}");
                assert!(error.message().contains(text), "{what}: {error}");
                let is_told = |connection: &Connection| !matches!(connection, Connection::Ready);
                until("it is told", || {
                    is_told(&pool.servers()[0].connection) || reason == Reason::OutcomeUnknown
                })
                .await;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        assert!(call(&pool, "good__echo", json!({})).await.is_ok(), "{what}");
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_that_the_newest_revisions_question_kills_is_started_again_and_asked_in_the_old_way() {
    let place = tempfile::tempdir().expect("a directory");
    let mut old = faulty("dies at server/discover", &place.path().join("mark"));
    old["protocol"] = json!("auto");
    let pool = pool(json!({"old": old})).await;
    assert_eq!(pool.servers()[0].connection, Connection::Ready);
    let output = call(&pool, "old__work", json!({})).await;
    assert_eq!(output.expect("an output").text(), "done");
    pool.shutdown().await;
}

#[tokio::test]
async fn a_tool_with_a_schema_that_blows_up_is_left_out_and_said_to_be() {
    let place = tempfile::tempdir().expect("a directory");
    let pool = pool(json!({"bad": faulty("bomb", place.path()), "good": child()})).await;
    assert!(pool.catalogue().get("bad__work").is_none());
    assert!(call(&pool, "bad__look", json!({})).await.is_ok());
    let Connection::Degraded(reason) = &pool.servers()[0].connection else {
        panic!("not told: {:?}", pool.servers());
    };
    assert!(
        reason.starts_with("work is left out: its input schema stands for more than"),
        "{reason}"
    );
    assert_eq!(pool.servers()[1].connection, Connection::Ready);
    pool.shutdown().await;
}

#[tokio::test]
async fn a_tool_whose_schema_cannot_be_used_is_there_and_said_not_to_be_checked() {
    let unusable = [
        (
            json!({"$ref": "https://elsewhere.example/schema"}),
            "it refers to https://elsewhere.example/schema, and other documents are not fetched",
        ),
        (
            json!({"$schema": "https://elsewhere.example/meta", "type": "object"}),
            "",
        ),
        (
            json!({"type": "object", "properties": {"a": {"pattern": "("}}}),
            "",
        ),
        (json!({"type": "nothing"}), ""),
    ];
    for (schema, problem) in unusable {
        for (which, tool, name) in [(INPUT_SCHEMA, "work", "input"), (OUTPUT_SCHEMA, "lie", "output")] {
            let place = tempfile::tempdir().expect("a directory");
            let fault = format!("{which}{schema}");
            let pool = pool(json!({"bad": faulty(&fault, place.path())})).await;
            let Connection::Degraded(reason) = &pool.servers()[0].connection else {
                panic!("{fault}: {:?}", pool.servers());
            };
            let told = format!("{tool} is not checked: its {name} schema cannot be used: {problem}");
            assert!(reason.starts_with(&told), "{fault}: {reason}");
            let output = call(&pool, &format!("bad__{tool}"), json!({"any": 1})).await;
            assert_eq!(output.expect("an output").text(), "done", "{fault}");
            pool.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_list_that_is_cut_is_said_to_be() {
    let place = tempfile::tempdir().expect("a directory");
    let pool = pool(json!({"many": faulty("has many", place.path())})).await;
    let server = &pool.servers()[0];
    assert_eq!(server.tool_count, 2000);
    assert_eq!(
        server.connection,
        Connection::Degraded("it has more tools than are taken: the first 2000".to_owned())
    );
    pool.shutdown().await;
}
