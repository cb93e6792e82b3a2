//! Authorization at MCP servers, against servers that want it in right and in wrong ways.

mod guarded;
mod passing;

use std::path::Path;
use std::sync::Arc;

use assistd::mcp::auth::{KeySource, Login, Redirect, Vault, logout};
use assistd::mcp::{Config, Pool};
use assistd::run::error::Reason;
use assistd::run::ports::{Connection, Toolbox};
use assistd::simulator::Script;
use serde_json::{Value, json};

use super::{PACING, PATIENCE, call, no_pins, until};
use crate::world::{self, World};
use guarded::{Guarded, fields};

const SECRET: &str = "s3cret/+";

/// A server that the service is authorized at by its own credentials.
fn own(server: &Guarded, oauth: &Value) -> Value {
    let mut all = json!({"grant": "client_credentials", "client_id": "we", "client_secret": SECRET});
    for (key, value) in oauth.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    json!({"url": format!("{}/mcp", server.origin), "protocol": "legacy", "oauth": all})
}

/// Every HTTP client needs it.
fn set_up_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn config(server: &Value) -> Config {
    set_up_tls();
    let json = json!({"mcpServers": {"a": server}}).to_string();
    Config::parse(&json, |_| None).unwrap()
}

async fn pool(server: &Value, vault: Vault) -> (Pool, Arc<Vault>) {
    let vault = Arc::new(vault);
    let pool = Pool::with_logins(config(server), PACING, no_pins().await, vault.clone());
    assert!(pool.settled(PATIENCE).await, "not settled: {:?}", pool.servers());
    (pool, vault)
}

fn want(pool: &Pool) -> String {
    match &pool.servers()[0].connection {
        Connection::Unauthorized(want) => want.clone(),
        other => panic!("expected to be turned away: {other:?}"),
    }
}

async fn until_ready(pool: &Pool) {
    until("ready", || pool.servers()[0].connection == Connection::Ready).await;
}

#[tokio::test]
async fn the_service_gets_its_own_tokens_and_renews_them() {
    let server = Guarded::start().await;
    server.state().resource = json!({"scopes_supported": ["basic"]});
    let (pool, _) = pool(&own(&server, &json!({})), Vault::in_memory()).await;
    until_ready(&pool).await;
    let form = &server.forms("/token")[0];
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "basic");
    assert_eq!(form["resource"], format!("{}/mcp", server.origin));
    // In base64: we:s3cret%2F%2B
    assert_eq!(form["authorization"], "Basic d2U6czNjcmV0JTJGJTJC");
    assert!(call(&pool, "a__work", json!({})).await.is_ok());
    server.state().needs = Some("more");
    assert!(
        call(&pool, "a__work", json!({})).await.is_ok(),
        "more scopes are asked for"
    );
    let scopes: Vec<String> = server
        .forms("/token")
        .iter()
        .map(|form| form["scope"].clone())
        .collect();
    assert_eq!(scopes, ["basic", "basic more"]);
    assert_eq!(server.state().calls, 2, "no call was made twice");
    pool.shutdown().await;
}

#[tokio::test]
async fn a_token_at_its_end_is_exchanged_before_it_is_sent() {
    let server = Guarded::start().await;
    server.state().expires_in = Some(0);
    let (pool, _) = pool(&own(&server, &json!({})), Vault::in_memory()).await;
    until_ready(&pool).await;
    let before = server.state().given;
    assert!(call(&pool, "a__work", json!({})).await.is_ok());
    assert!(server.state().given > before);
    pool.shutdown().await;
}

/// What is wrong with a server, and what is said of it. Nothing must be sent to `elsewhere`.
#[tokio::test]
async fn whatever_is_wrong_is_said_and_nothing_is_sent_elsewhere() {
    let elsewhere = Guarded::start().await;
    let other = elsewhere.origin.clone();
    let host = other.trim_start_matches("http://");
    let not_named = format!("is at {host}, which the configuration does not name");
    let moved = |status| (status, format!("{other}/token"), Value::Null);
    type Fault<'a> = Box<dyn Fn(&mut guarded::State) + 'a>;
    let resource = |patch: Value| -> Fault<'_> { Box::new(move |state| state.resource = patch.clone()) };
    let metadata = |patch: Value| -> Fault<'_> { Box::new(move |state| state.server = patch.clone()) };
    let instead = |path, answer: (u16, String, Value)| -> Fault<'_> {
        Box::new(move |state| drop(state.instead.insert(path, answer.clone())))
    };
    let well_known = "/.well-known/oauth-authorization-server";
    let of_token = |status, body: Value| instead("/token", (status, String::new(), body));
    let cases: Vec<(Fault<'_>, &str)> = vec![
        (
            resource(json!({"resource": "https://evil.example/mcp"})),
            "that of another resource",
        ),
        (
            resource(json!({"resource": null})),
            "cannot be used: missing field `resource`",
        ),
        (
            resource(json!({"authorization_servers": []})),
            "names no authorization server",
        ),
        (resource(json!({"authorization_servers": [other]})), &not_named),
        (
            resource(json!({"authorization_servers": ["http://169.254.169.254"]})),
            "does not name",
        ),
        (
            resource(json!({"authorization_servers": ["file:///etc/passwd"]})),
            "not an address of http",
        ),
        (
            metadata(json!({"issuer": "https://evil.example"})),
            "is that of another issuer",
        ),
        (metadata(json!({"token_endpoint": null})), "has no token endpoint"),
        (
            metadata(json!({"token_endpoint": format!("{other}/token")})),
            &not_named,
        ),
        (
            metadata(json!({"registration_endpoint": format!("{other}/register")})),
            &not_named,
        ),
        (
            instead(well_known, (404, String::new(), Value::Null)),
            "publishes no metadata",
        ),
        (
            instead(well_known, (200, String::new(), json!("<html>"))),
            "it is not JSON",
        ),
        (instead(well_known, moved(302)), "it redirects (HTTP 302)"),
        (instead("/token", moved(307)), "it redirects (HTTP 307)"),
        (instead("/token", moved(308)), "it redirects (HTTP 308)"),
        (
            instead(well_known, (200, String::new(), json!("x".repeat(300_000)))),
            "sends more than",
        ),
        (of_token(503, Value::Null), "does not answer: HTTP 503"),
        (
            of_token(
                400,
                json!({"error": "invalid_client", "error_description": "gone"}),
            ),
            "refuses: invalid_client (gone)",
        ),
        (
            of_token(
                401,
                json!({"error": "invalid_client", "error_description": SECRET}),
            ),
            "refuses: invalid_client",
        ),
        (
            of_token(200, json!({"access_token": "x", "token_type": "mac"})),
            "is not a bearer token",
        ),
        (
            of_token(200, json!({"access_token": "a\nb", "token_type": "bearer"})),
            "cannot be sent",
        ),
        (
            of_token(200, json!({"token_type": "bearer"})),
            "answers without a token",
        ),
        (
            Box::new(|state| state.challenge = Some(format!(r#"Bearer resource_metadata="{other}/x""#))),
            &not_named,
        ),
        (
            Box::new(|state| state.challenge = Some(r#"Bearer resource_metadata="/x""#.to_owned())),
            "is not a URL",
        ),
        (Box::new(|state| state.takes_none = true), "refuses the token"),
        (
            Box::new(|state| drop(state.instead.insert("/mcp", (401, String::new(), Value::Null)))),
            "refuses the token",
        ),
    ];
    for (fault, expected) in cases {
        let server = Guarded::start().await;
        fault(&mut server.state());
        let (pool, _) = pool(&own(&server, &json!({})), Vault::in_memory()).await;
        let said = want(&pool);
        assert!(said.contains(expected), "{said} instead of {expected}");
        assert!(!said.contains(SECRET), "{said}");
        pool.shutdown().await;
    }
    assert_eq!(elsewhere.state().requests, 0, "something was sent elsewhere");
}

#[tokio::test]
async fn credentials_are_only_for_the_issuers_that_the_configuration_has() {
    let server = Guarded::start().await;
    let configured = json!({"authorization_servers": ["https://auth.example"]});
    let (pool, _) = pool(&own(&server, &configured), Vault::in_memory()).await;
    let said = want(&pool);
    assert!(said.contains("is not in `oauth.authorization_servers`"), "{said}");
    assert_eq!(server.state().given, 0);
    pool.shutdown().await;
}

/// A server that people log in to.
fn theirs(server: &Guarded) -> Value {
    json!({"url": format!("{}/mcp", server.origin), "protocol": "legacy"})
}

async fn begin(server: &Guarded, vault: &Arc<Vault>) -> Result<Login, String> {
    let config = config(&theirs(server));
    let login = Login::begin(
        &config.servers[0],
        vault.clone(),
        "http://127.0.0.1:1/callback".to_owned(),
    );
    login.await.map_err(|error| error.to_string())
}

/// What a browser would bring back.
fn answer(login: &Login, more: &str) -> String {
    let query = login.url().split_once('?').unwrap().1;
    format!("state={}&{more}", fields(query)["state"])
}

async fn log_in(server: &Guarded, vault: &Arc<Vault>) {
    let login = begin(server, vault).await.unwrap();
    let asked = fields(login.url().split_once('?').unwrap().1);
    server.state().code_scope = asked.get("scope").cloned().unwrap_or_default();
    let answer = answer(&login, "code=c0de");
    login.finish(&answer).await.unwrap();
}

#[tokio::test]
async fn somebody_logs_in_while_the_service_runs() {
    let server = Guarded::start().await;
    server.state().challenge = Some(r#"Bearer scope="read""#.to_owned());
    let (pool, vault) = pool(&theirs(&server), Vault::in_memory()).await;
    assert_eq!(
        want(&pool),
        "the server asks for authorization: run `assistd mcp login a`"
    );
    let login = begin(&server, &vault).await.unwrap();
    let asked = fields(login.url().split_once('?').unwrap().1);
    let is = |name: &str, value: &str| assert_eq!(asked[name], value, "{name}");
    is("response_type", "code");
    is("client_id", "registered");
    is("redirect_uri", "http://127.0.0.1:1/callback");
    is("code_challenge_method", "S256");
    is("resource", &format!("{}/mcp", server.origin));
    is("scope", "read");
    server.state().code_scope = "read".to_owned();
    let brought = answer(&login, "code=c0de");
    login.finish(&brought).await.unwrap();
    until_ready(&pool).await;
    let form = &server.forms("/token")[0];
    assert_eq!(
        (form["code"].as_str(), form["resource"].as_str()),
        ("c0de", asked["resource"].as_str())
    );
    assert_eq!(form["client_id"], "registered");

    // The token is refused: it is refreshed, once, and the call made once.
    server.state().good.clear();
    assert!(call(&pool, "a__work", json!({})).await.is_ok());
    assert_eq!(server.forms("/token")[1]["refresh_token"], "refresh-1");
    assert_eq!(server.state().calls, 1);

    // More rights than the login has: a person has to give them.
    server.state().needs = Some("write");
    let error = call(&pool, "a__work", json!({})).await.unwrap_err();
    assert_eq!(error.reason(), Reason::McpAuthorizationRequired);
    assert_eq!(
        error.message(),
        "MCP server 'a': the server asks for more rights (write): run `assistd mcp login a`"
    );
    log_in(&server, &vault).await;
    assert!(call(&pool, "a__work", json!({})).await.is_ok());
    assert_eq!(server.state().code_scope, "read write");

    // The login is over.
    let over = (400, String::new(), json!({"error": "invalid_grant"}));
    server.state().instead.insert("/token", over);
    server.state().good.clear();
    let error = call(&pool, "a__work", json!({})).await.unwrap_err();
    assert_eq!(error.reason(), Reason::McpAuthorizationRequired);
    until("turned away", || {
        matches!(pool.servers()[0].connection, Connection::Unauthorized(_))
    })
    .await;
    pool.shutdown().await;
}

#[tokio::test]
async fn a_login_outlives_the_process_and_ends_with_a_logout() {
    let directory = tempfile::tempdir().unwrap();
    let vault = || Vault::in_file(directory.path().join("tokens"), KeySource::Beside);
    let server = Guarded::start().await;
    log_in(&server, &Arc::new(vault())).await;
    let (pool, kept) = pool(&theirs(&server), vault()).await;
    until_ready(&pool).await;
    assert_no_token_is_readable(directory.path());
    let config = config(&theirs(&server));
    assert!(logout(&config.servers[0], &Arc::new(vault())).await.unwrap());
    assert_eq!(server.forms("/revoke")[0]["token"], "refresh-1");
    until("logged out", || {
        matches!(pool.servers()[0].connection, Connection::Unauthorized(_))
    })
    .await;
    assert!(!logout(&config.servers[0], &kept).await.unwrap());
    pool.shutdown().await;
}

fn assert_no_token_is_readable(directory: &Path) {
    for file in std::fs::read_dir(directory).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("token-") && !text.contains("refresh-"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_login_brings_no_token() {
    let server = Guarded::start().await;
    let vault = Arc::new(Vault::in_memory());
    let issuer = server.origin.clone();
    let cases = [
        (false, "code=x&state=other".to_owned(), "is not of this login"),
        (
            false,
            "{}&code=x&iss=https://evil.example".to_owned(),
            "is of another authorization server",
        ),
        (
            false,
            format!("{{}}&code=x&iss={issuer}/"),
            "is of another authorization server",
        ),
        (
            false,
            "{}&error=access_denied&error_description=no&iss=https://evil.example".to_owned(),
            "is of another authorization server",
        ),
        (
            false,
            "{}&error=access_denied&error_description=no".to_owned(),
            "refuses: access_denied (no)",
        ),
        (false, "{}".to_owned(), "has no code"),
        (true, "{}&code=x".to_owned(), "does not say whose it is"),
    ];
    for (says_issuer, query, expected) in cases {
        server.state().server = json!({"authorization_response_iss_parameter_supported": says_issuer});
        let login = begin(&server, &vault).await.unwrap();
        let query = query.replace("{}", answer(&login, "").trim_end_matches('&'));
        let said = login.finish(&query).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(server.state().given, 0);
    server.state().server = json!({"authorization_response_iss_parameter_supported": true});
    let login = begin(&server, &vault).await.unwrap();
    let answer = answer(&login, &format!("code=x&iss={issuer}"));
    assert!(
        login
            .finish(&format!("http://127.0.0.1:1/callback?{answer}"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn nobody_is_sent_to_a_server_where_a_login_is_not_safe() {
    let elsewhere = Guarded::start().await;
    let other = &elsewhere.origin;
    let cases = [
        (json!({"code_challenge_methods_supported": null}), "PKCE"),
        (json!({"code_challenge_methods_supported": ["plain"]}), "PKCE"),
        (
            json!({"authorization_endpoint": null}),
            "no authorization endpoint",
        ),
        (
            json!({"authorization_endpoint": format!("{other}/authorize")}),
            "does not name",
        ),
        (
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            "not an address of http",
        ),
        (json!({"registration_endpoint": null}), "set `oauth.client_id`"),
    ];
    for (patch, expected) in cases {
        let server = Guarded::start().await;
        server.state().server = patch;
        let said = begin(&server, &Arc::new(Vault::in_memory())).await.unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(elsewhere.state().requests, 0);
}

#[tokio::test]
async fn a_browser_is_led_back_to_this_machine() {
    set_up_tls();
    let redirect = Redirect::bind(0).await.unwrap();
    let uri = redirect.uri().to_owned();
    let browser = tokio::spawn(async move {
        let get = async |url: String| reqwest::get(url).await.unwrap().status().as_u16();
        let base = uri.trim_end_matches("/callback").to_owned();
        let strays = [
            get(format!("{base}/favicon.ico")).await,
            get(format!("{uri}?x=y")).await,
        ];
        (strays, get(format!("{uri}?state=s&code=c")).await)
    });
    let answer = tokio::time::timeout(PATIENCE, redirect.answer()).await.unwrap();
    assert_eq!(answer.unwrap(), "state=s&code=c");
    assert_eq!(browser.await.unwrap(), ([404, 404], 200));
}

#[tokio::test]
async fn the_whole_service_calls_a_tool_that_wants_authorization() {
    let (server, closed) = (Guarded::start().await, Guarded::start().await);
    let servers = json!({"mcpServers": {"a": own(&server, &json!({})), "b": theirs(&closed)}});
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
    let (status, answer) = world
        .post("/v1/tools/a__work:call", &json!({"arguments": {}}))
        .await;
    assert_eq!(
        (status, &answer["content"][0]["text"]),
        (200, &json!("done")),
        "{answer}"
    );
    let health = reqwest::get(world.url("/v1/health"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let read: Value = serde_json::from_str(&health).unwrap();
    assert_eq!(
        read["mcpServers"][0]["state"], "MCP_SERVER_STATE_READY",
        "{health}"
    );
    assert_eq!(
        read["mcpServers"][1]["state"], "MCP_SERVER_STATE_UNAUTHORIZED",
        "{health}"
    );
    assert!(health.contains("run `assistd mcp login b`"), "{health}");
    assert!(
        !health.contains("s3cret") && !health.contains("token-1"),
        "{health}"
    );
    world.stopped().await;
}
