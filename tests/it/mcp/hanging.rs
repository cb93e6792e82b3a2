//! Child processes that hang: they neither answer nor end.

use std::time::Duration;

use assistd::mcp::Pacing;
use assistd::run::error::Reason;
use assistd::run::ports::{Connection, Toolbox};
use serde_json::json;

use super::faults::faulty;
use super::{PACING, call, no_pins, paced, pool, until};

/// Impatient: whoever does not answer for so long is taken to hang.
const IMPATIENT: Pacing = Pacing {
    probe_limit: Duration::from_secs(2),
    ..PACING
};

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_that_stops_is_ended_and_started_again() {
    let place = tempfile::tempdir().expect("a directory");
    let mark = place.path().join("mark");
    let mut server = faulty("stops once", &mark);
    server["timeout_ms"] = json!(2_000);
    let pool = paced(json!({"bad": server}), IMPATIENT, no_pins().await).await;
    let error = call(&pool, "bad__work", json!({})).await.expect_err("silence");
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert!(
        error
            .message()
            .ends_with("it is not known what the call has done"),
        "{error}"
    );
    let pid = std::fs::read_to_string(&mark).expect("a process");
    until("it is gone", || !super::is_alive(&pid)).await;
    until("another one is there", || {
        let server = &pool.servers()[0];
        server.last_error_time.is_some() && server.connection == Connection::Ready
    })
    .await;
    let output = call(&pool, "bad__work", json!({})).await;
    assert_eq!(output.expect("an output").text(), "done");
    pool.shutdown().await;
}

#[tokio::test]
async fn a_child_that_knows_of_no_pings_and_answers_is_kept() {
    let place = tempfile::tempdir().expect("a directory");
    let server = faulty("hangs at ping", &place.path().join("mark"));
    let pool = paced(json!({"bad": server}), IMPATIENT, no_pins().await).await;
    until("it is missed", || {
        matches!(&pool.servers()[0].connection, Connection::Degraded(reason) if reason.starts_with("no sign of life"))
    })
    .await;
    until("it is found to answer", || {
        pool.servers()[0].connection == Connection::Ready
    })
    .await;
    assert!(
        pool.servers()[0].last_error_time.is_none(),
        "it was not started again"
    );
    assert!(call(&pool, "bad__work", json!({})).await.is_ok());
    pool.shutdown().await;
}

#[tokio::test]
async fn the_limits_of_an_entry_and_of_its_tools_hold() {
    let place = tempfile::tempdir().expect("a directory");
    for (key, limit, text) in [
        ("timeout_ms", json!(300), "was silent for 300 ms"),
        ("tool_timeouts_ms", json!({"wo*": 300}), "was silent for 300 ms"),
        (
            "call_limit_ms",
            json!(300),
            "did not come to an end within 300 ms",
        ),
    ] {
        let mut server = faulty("hangs at tools/call", &place.path().join("mark"));
        server["timeout_ms"] = json!(50_000);
        server[key] = limit;
        let pool = pool(json!({"bad": server})).await;
        let error = call(&pool, "bad__work", json!({})).await.expect_err(key);
        assert_eq!(error.reason(), Reason::DeadlineExceeded, "{key}: {error}");
        assert!(error.message().contains(text), "{key}: {error}");
        pool.shutdown().await;
    }
}
