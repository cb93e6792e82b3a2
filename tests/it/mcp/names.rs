//! Names of tools that several servers have.

use std::time::Duration;

use assistd::mcp::Pacing;
use assistd::run::error::Reason;
use assistd::run::ports::{Connection, Toolbox};
use serde_json::json;

use super::{PACING, call, child, no_pins, paced, tool_of, until};

#[tokio::test]
async fn a_name_stays_with_its_server_while_that_is_away_and_a_server_that_is_hurried_is_tried_at_once() {
    let mut bare = child();
    bare["prefix"] = json!("");
    // Nobody tries again by themselves.
    let pacing = Pacing {
        retry_first: Duration::from_secs(3600),
        ..PACING
    };
    let pool = paced(json!({"first": bare, "second": bare}), pacing, no_pins().await).await;
    assert_eq!(tool_of(&pool, "echo").description().server, "first");
    assert!(call(&pool, "die", json!({})).await.is_err());
    until("it is away", || {
        matches!(pool.servers()[0].connection, Connection::Down(_))
    })
    .await;
    assert!(pool.catalogue().tools().is_empty(), "nobody else has its names");
    let missing = pool.missing("echo").expect("it is known why");
    assert_eq!(missing.reason(), Reason::McpUnavailable, "{missing}");
    assert!(missing.message().contains("'first'"), "{missing}");
    let Connection::Degraded(reason) = &pool.servers()[1].connection else {
        panic!("not told: {:?}", pool.servers());
    };
    assert!(
        reason.starts_with("second/echo is left out: first/echo has the name echo; "),
        "{reason}"
    );
    assert!(
        reason.contains("second/look is left out: first/look has the name look"),
        "{reason}"
    );
    until("it is back", || {
        pool.hurry();
        pool.servers()[0].connection == Connection::Ready
    })
    .await;
    assert_eq!(tool_of(&pool, "echo").description().server, "first");
    pool.shutdown().await;
}
