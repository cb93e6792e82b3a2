//! Calls with the token of whoever caused them, through every door.

use std::sync::Arc;

use assistd::api::pb;
use assistd::config::StoreSection;
use assistd::simulator::{Script, Turn};
use futures::future::join_all;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tonic::Request;

use super::guarded::Guarded;
use super::own;
use crate::world::{self, World};

const REASON: &str = "MCP_AUTHORIZATION_REQUIRED";

/// A service whose only server is this one.
async fn service(server: &Guarded, script: Script, key: &str, more: &Value) -> World {
    let mut entry = own(server, more);
    entry["caller_token"] = key.into();
    let servers = json!({"mcpServers": {"a": entry}});
    World::with(script, |config| {
        config.mcp = world::mcp(&servers);
        config.mcp.serve = true;
    })
    .await
}

async fn post(world: &World, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(world.url(path)).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn over_http(world: &World, token: Option<&str>) -> (u16, Value) {
    let arguments = json!({"arguments": {"who": token}});
    post(world, "/v1/tools/a__work:call", token, &arguments).await
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn over_grpc(world: &World, token: &str) {
    let kind = prost_types::value::Kind::StringValue(token.to_owned());
    let who = prost_types::Value { kind: Some(kind) };
    let call = pb::CallToolRequest {
        name: "tools/a__work".to_owned(),
        arguments: Some(prost_types::Struct {
            fields: [("who".to_owned(), who)].into(),
        }),
        ..pb::CallToolRequest::default()
    };
    let mut client = world.grpc().await;
    client.call_tool(with_token(call, token)).await.unwrap();
}

fn chat() -> pb::ChatRequest {
    pb::ChatRequest {
        message: "work".to_owned(),
        ..pb::ChatRequest::default()
    }
}

async fn over_mcp(world: &World, token: &str) {
    let config = StreamableHttpClientTransportConfig::with_uri(world.url("/mcp")).auth_header(token);
    let transport = StreamableHttpClientTransport::with_client(reqwest::Client::new(), config);
    let client = ().serve(transport).await.unwrap();
    let arguments = json!({"message": "work"}).as_object().cloned().unwrap();
    let call = CallToolRequestParams::new("chat").with_arguments(arguments);
    client.call_tool(call).await.unwrap();
    client.cancel().await.unwrap();
}

/// Who called, and with which token; everything else came with the service's own.
fn calls(server: &Guarded) -> Vec<(String, String)> {
    let mut calls = Vec::new();
    for (method, who, token) in &server.state().heard {
        if method == "tools/call" {
            calls.push((who.clone(), token.clone()));
        } else {
            assert!(
                token.is_empty() || token.starts_with("token-"),
                "{method}: {token}"
            );
        }
    }
    calls
}

fn lets_in(server: &Guarded, tokens: &[String]) {
    let good = tokens.iter().map(|token| (token.clone(), String::new()));
    server.state().good.extend(good);
}

#[tokio::test]
async fn every_door_passes_the_token_of_its_caller() {
    let doors = ["http", "grpc", "legacy", "http-chat", "grpc-chat", "mcp"];
    let turns = ["http-chat", "grpc-chat", "mcp"];
    let turns = turns.map(|who| [Turn::call("a__work", &json!({"who": who})), Turn::text("done")]);
    let server = Guarded::start().await;
    lets_in(&server, &doors.map(str::to_owned));
    let world = service(&server, Script::turns(turns.concat()), "pass", &json!({})).await;
    assert_eq!(over_http(&world, Some("http")).await.0, 200);
    over_grpc(&world, "grpc").await;
    let legacy = json!({"tool_name": "a__work", "arguments": {"who": "legacy"}});
    assert_eq!(post(&world, "/mcp/call", Some("legacy"), &legacy).await.0, 200);
    let said = json!({"message": "work"});
    assert_eq!(post(&world, "/v1/chat", Some("http-chat"), &said).await.0, 200);
    let mut client = world.grpc().await;
    client.chat(with_token(chat(), "grpc-chat")).await.unwrap();
    over_mcp(&world, "mcp").await;
    assert_eq!(
        calls(&server),
        doors.map(|door| (door.to_owned(), door.to_owned()))
    );
    world.stopped().await;
}

#[tokio::test]
async fn callers_at_once_on_one_session_never_have_each_others_token() {
    const CALLERS: usize = 24;
    let server = Guarded::start().await;
    for key in ["pass", "exchange"] {
        let callers: Vec<String> = (0..CALLERS).map(|number| format!("{key}-{number}")).collect();
        lets_in(&server, &callers);
        server.state().together = Some(Arc::new(Barrier::new(CALLERS)));
        let world = service(&server, Script::stand_in(), key, &json!({})).await;
        server.state().heard.clear();
        let (grpc, http) = callers.split_at(CALLERS / 2);
        let grpc = join_all(grpc.iter().map(|caller| over_grpc(&world, caller)));
        let http = join_all(http.iter().map(|caller| over_http(&world, Some(caller))));
        let (_, answers) = tokio::join!(grpc, http);
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        let prefix = if key == "pass" { "" } else { "for-" };
        let heard = calls(&server);
        assert_eq!(heard.len(), CALLERS);
        for (who, token) in heard {
            assert_eq!(token, format!("{prefix}{who}"));
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_token_in_the_configured_headers_makes_way_for_that_of_the_caller() {
    let server = Guarded::start().await;
    lets_in(&server, &["token-of-ours".to_owned(), "caller".to_owned()]);
    let servers = json!({"mcpServers": {"a": {
        "url": format!("{}/mcp", server.origin),
        "headers": {"Authorization": "Bearer token-of-ours"},
        "protocol": "legacy",
        "caller_token": "pass",
    }}});
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
    assert_eq!(over_http(&world, Some("caller")).await.0, 200);
    assert_eq!(calls(&server), [("caller".to_owned(), "caller".to_owned())]);
    world.stopped().await;
}

#[tokio::test]
async fn without_a_token_that_is_good_no_call_is_made_and_the_server_stays_as_it_is() {
    let server = Guarded::start().await;
    let world = service(&server, Script::stand_in(), "pass", &json!({})).await;
    for (token, expected) in [
        (None, "token of the caller's own request, and there is none"),
        (Some("stranger"), "the server refuses the caller's token"),
    ] {
        let (status, answer) = over_http(&world, token).await;
        let answer = answer.to_string();
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains(REASON) && answer.contains(expected), "{answer}");
        assert!(!answer.contains("stranger"), "{answer}");
    }
    assert_eq!(server.state().calls, 0);
    let health = reqwest::get(world.url("/v1/health")).await.unwrap();
    let health = health.text().await.unwrap();
    assert!(
        health.contains("READY") && !health.contains("caller's token"),
        "{health}"
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_token_is_exchanged_once_until_it_is_refused_or_at_its_end() {
    let server = Guarded::start().await;
    let audience = json!({"audience": "shop"});
    let world = service(&server, Script::stand_in(), "exchange", &audience).await;
    let exchanges = || {
        let mut forms = server.forms("/token");
        forms.retain(|form| form.contains_key("subject_token"));
        forms
    };
    for caller in ["one", "two", "one", "two"] {
        assert_eq!(over_http(&world, Some(caller)).await.0, 200);
    }
    let forms = exchanges();
    assert_eq!(forms.len(), 2);
    for (key, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "one"),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("audience", "shop"),
        ("resource", &format!("{}/mcp", server.origin)),
        ("authorization", "Basic d2U6czNjcmV0JTJGJTJC"),
    ] {
        assert_eq!(forms[0][key], value, "{key}");
    }
    server.state().good.remove("for-one");
    let (status, answer) = over_http(&world, Some("one")).await;
    assert!(status == 400 && answer.to_string().contains(REASON), "{answer}");
    assert_eq!(over_http(&world, Some("one")).await.0, 200);
    assert_eq!(exchanges().len(), 3);
    let (status, answer) = over_http(&world, Some("nobody")).await;
    let answer = answer.to_string();
    assert!(status == 400 && answer.contains(REASON), "{answer}");
    // What it says repeats the token, and is not shown.
    assert!(
        answer.contains("invalid_grant") && !answer.contains("nobody"),
        "{answer}"
    );
    server.state().expires_in = Some(0);
    let before = exchanges().len();
    for _ in 0..2 {
        assert_eq!(over_http(&world, Some("three")).await.0, 200);
    }
    assert_eq!(exchanges().len(), before + 2);
    assert_eq!(over_http(&world, None).await.0, 400);
    assert_eq!(server.state().calls, 7);
    world.stopped().await;
}

#[tokio::test]
async fn a_run_that_goes_on_after_a_restart_has_no_token_any_more() {
    const TOKEN: &str = "known-to-the-caller-alone";
    let directory = tempfile::tempdir().unwrap();
    let server = Guarded::start().await;
    lets_in(&server, &[TOKEN.to_owned()]);
    let mut entry = own(&server, &json!({}));
    entry["caller_token"] = "pass".into();
    entry["policy"] = "ask".into();
    let servers = json!({"mcpServers": {"a": entry}});
    let place = |config: &mut assistd::config::Config| {
        config.mcp = world::mcp(&servers);
        config.store = StoreSection::Directory(directory.path().to_owned());
    };
    let world = World::with(Script::turns([Turn::call("a__work", &json!({}))]), place).await;
    let mut client = world.grpc().await;
    let waiting = client.chat(with_token(chat(), TOKEN)).await.unwrap().into_inner();
    world.stopped().await;
    let files = std::fs::read_dir(directory.path()).unwrap();
    let files = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file());
    let stored: Vec<u8> = files.flat_map(|path| std::fs::read(path).unwrap()).collect();
    let holds = |text: &str| stored.windows(text.len()).any(|found| found == text.as_bytes());
    assert!(holds("a__work") && !holds(TOKEN));
    let world = World::with(Script::turns([Turn::text("after all")]), place).await;
    let action = &waiting.pending_actions[0];
    let answer = json!({"actionId": action.id, "digest": action.digest, "approve": {}});
    let path = format!("/v1/{}:submitActions", waiting.run);
    // Nor does that of whoever decides stand in for it.
    let (status, run) = post(&world, &path, Some(TOKEN), &json!({"answers": [answer]})).await;
    assert_eq!(status, 200, "{run}");
    let watched = reqwest::get(world.url(&format!("/v1/{}:watch", waiting.run)))
        .await
        .unwrap();
    assert!(watched.text().await.unwrap().contains("after all"));
    let told = world.simulator.requests()[0].body.to_string();
    assert!(told.contains("and there is none"), "{told}");
    assert_eq!(calls(&server), []);
    world.stopped().await;
}
