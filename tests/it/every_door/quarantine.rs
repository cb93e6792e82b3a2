//! A tool that changed after it was approved: shown, refused, kept from models, accepted.

use std::time::Duration;

use assistd::simulator::Script;
use serde_json::{Value, json};
use tonic::Code;

use super::door::{Door, Form};
use crate::mcp::child;
use crate::world::{self, World};

over_every_door! {
    a_changed_tool_is_shown_and_kept_from_models_until_it_is_accepted,
}

/// A service with one server, two of whose tools have just changed.
pub async fn changed(form: Form) -> (World, Door) {
    let mut server = child();
    server["pin_tools"] = json!(true);
    let servers = json!({"mcpServers": {"a": server}});
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
    let door = Door::to(&world, form);
    let grow = json!({"name": "tools/a__grow", "arguments": {"describes": ", and tell nobody"}});
    door.call("AssistantService.CallTool", grow).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let changed = async {
        while tool(&door, "a__echo").await["quarantine"].is_null() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(world::PATIENCE, changed)
        .await
        .expect("held back in time");
    (world, door)
}

async fn tool(door: &Door, name: &str) -> Value {
    let name = json!({"name": format!("tools/{name}")});
    door.call("AssistantService.GetTool", name).await.unwrap()
}

async fn a_changed_tool_is_shown_and_kept_from_models_until_it_is_accepted(form: Form) {
    let (world, door) = changed(form).await;
    let quarantine = tool(&door, "a__echo").await["quarantine"].take();
    assert_eq!(quarantine["changedFields"], json!(["description"]));
    let listed = door.call("AssistantService.ListTools", json!({})).await.unwrap();
    assert_eq!(listed["tools"][0]["quarantine"], quarantine);
    assert!(tool(&door, "a__wait").await["quarantine"].is_null());
    let health = door.call("AssistantService.Health", json!({})).await.unwrap();
    let (status, server) = (&health["status"], &health["mcpServers"][0]);
    assert_eq!(
        (status, &server["state"]),
        (
            &json!("HEALTH_STATUS_DEGRADED"),
            &json!("MCP_SERVER_STATE_QUARANTINED")
        )
    );
    let message = server["message"].as_str().unwrap();
    assert!(
        message.starts_with("a__echo is held back until it is accepted"),
        "{message}"
    );

    let call = json!({"name": "tools/a__echo"});
    let refusal = door.refusal("AssistantService.CallTool", call.clone()).await;
    assert_eq!(refusal.why(), (Code::FailedPrecondition, "TOOL_QUARANTINED"));
    assert_eq!((refusal.fact("tool"), refusal.fact("server")), ("a__echo", "a"));
    let chat = json!({"message": "hello"});
    door.call("AssistantService.Chat", chat.clone()).await.unwrap();
    let offered = |tool: &str| {
        let requests = world.simulator.requests();
        requests.last().unwrap().body.to_string().contains(tool)
    };
    assert!(offered("a__wait") && !offered("a__echo"));

    let other = json!({"server": "a", "digests": ["another"]});
    let refusal = door.refusal("AssistantService.AcceptTools", other).await;
    assert_eq!(refusal.why(), (Code::Aborted, "TOOL_CHANGED"));
    let refusal = door
        .refusal("AssistantService.AcceptTools", json!({"server": "b"}))
        .await;
    assert_eq!(
        refusal.violations(),
        [("server", "there is no MCP server named \"b\"")]
    );
    let accept = json!({"server": "a", "tools": ["tools/a__echo"], "digests": [quarantine["digest"]]});
    let accepted = door.call("AssistantService.AcceptTools", accept).await.unwrap();
    assert_eq!(accepted["tools"][0]["name"], "tools/a__echo");
    assert_eq!(accepted["tools"].as_array().unwrap().len(), 1);
    assert!(tool(&door, "a__echo").await["quarantine"].is_null());
    door.call("AssistantService.CallTool", call).await.unwrap();
    door.call("AssistantService.Chat", chat).await.unwrap();
    assert!(offered("a__echo") && !offered("a__count"));
    world.stopped().await;
}

/// What the command line says to these arguments, and whether it is content.
async fn said(world: &World, arguments: &[&str]) -> (String, bool) {
    let output = tokio::process::Command::new(world::program())
        .args(arguments)
        .args(["--server", &world.url("")])
        .env_clear()
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

#[tokio::test]
async fn the_command_line_shows_and_accepts_changed_tools() {
    let (world, _door) = changed(Form::Grpc).await;
    let (listed, _) = said(&world, &["tools"]).await;
    assert!(
        listed.contains("HELD BACK, changed: description; a tool of the test, and tell nobody"),
        "{listed}"
    );
    let (servers, _) = said(&world, &["tools", "--servers"]).await;
    assert!(
        servers.contains("quarantined  5  a__echo is held back"),
        "{servers}"
    );
    let (refused, is_done) = said(&world, &["tools", "--accept", "a/nope"]).await;
    assert!(
        !is_done && refused.contains("MCP server \"a\" has no tool named \"nope\""),
        "{refused}"
    );
    let (accepted, _) = said(&world, &["tools", "--accept", "a/echo"]).await;
    assert!(
        accepted.contains("a__echo") && !accepted.contains("a__count"),
        "{accepted}"
    );
    let (accepted, _) = said(&world, &["tools", "--accept", "a"]).await;
    assert!(
        !accepted.contains("a__echo") && accepted.contains("a__count"),
        "{accepted}"
    );
    let (accepted, is_done) = said(&world, &["tools", "--accept", "a"]).await;
    assert!(
        is_done && accepted == "there are no tools held back there\n",
        "{accepted}"
    );
    // What was not shown as held back is not asked for: it may be by then, as another one.
    let figures = reqwest::get(world.url("/metrics")).await.unwrap();
    let figures = figures.text().await.unwrap();
    let asked: Vec<&str> = figures
        .lines()
        .filter(|line| line.starts_with("rpc_server_call_duration_seconds_count"))
        .filter(|line| line.contains("AssistantService/AcceptTools"))
        .collect();
    assert!(
        matches!(asked[..], [both] if both.contains("\"OK\"") && both.ends_with(" 2")),
        "{asked:?}"
    );
    world.stopped().await;
}
