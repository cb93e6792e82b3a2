//! What goes over the way to a server besides calls and their answers: that a call is given up, that lists have changed, and
//! where a server says that it has moved to.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assistd::api::pb;
use assistd::mcp::Pacing;
use assistd::run::ports::{Connection, Library, Toolbox};
use assistd::simulator::Script;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::faults::faulty;
use super::peer::{Listening, Seen};
use super::{PACING, call, child, loopback, no_pins, paced, until};
use crate::process::Service;
use crate::world::{self, World};

/// Nobody looks by themselves.
const RARELY: Pacing = Pacing {
    retry_first: Duration::from_secs(3_600),
    retry_longest: Duration::from_secs(3_600),
    probe_every: Duration::from_secs(3_600),
    ..PACING
};

/// What the server has noted: the requests that it got as calls, and those that it was told were given up.
fn noted(mark: &Path, what: &str) -> Vec<String> {
    let notes = std::fs::read_to_string(mark).unwrap_or_default();
    let lines = notes.lines().filter_map(|line| line.strip_prefix(what));
    lines.map(|id| id.trim().to_owned()).collect()
}

/// Who gives a call up.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// Somebody who cancels its run.
    Canceller,
    /// The service: the server is silent.
    Silence,
    /// Whoever called the tool: its deadline is over.
    Deadline,
    /// Whoever called the tool: it has hung up.
    Caller,
}

#[tokio::test]
async fn a_child_is_told_which_call_nobody_waits_for_any_more() {
    for who in [Who::Canceller, Who::Silence, Who::Deadline, Who::Caller] {
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("mark");
        let mut bad = faulty("notes", &mark);
        bad["timeout_ms"] = match who {
            Who::Silence => json!(300),
            _ => json!(60_000),
        };
        let servers = json!({"mcpServers": {"bad": bad, "good": child()}});
        let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
        let arrives = async || until("the call is there", || !noted(&mark, "called").is_empty()).await;
        match who {
            Who::Canceller => {
                let body = json!({"message": "call bad__work {}"});
                let asking = reqwest::Client::new().post(world.url("/v1/chat")).json(&body);
                let asking = tokio::spawn(asking.send());
                arrives().await;
                let (_, threads) = get(&world, "/v1/threads").await;
                let thread = threads["threads"][0]["name"].as_str().unwrap();
                let (_, runs) = get(&world, &format!("/v1/{thread}/runs")).await;
                let run = runs["runs"][0]["name"].as_str().unwrap();
                let (status, answer) = world.post(&format!("/v1/{run}:cancel"), &json!({})).await;
                assert_eq!(status, 200, "{answer}");
                asking.abort();
            }
            Who::Silence => {
                let (status, answer) = world.post("/v1/tools/bad__work:call", &json!({})).await;
                assert_eq!(status, 504, "{answer}");
            }
            Who::Deadline => {
                let mut tools = world.grpc().await;
                let mut request = tonic::Request::new(pb::CallToolRequest {
                    name: "tools/bad__work".to_owned(),
                    ..pb::CallToolRequest::default()
                });
                request.set_timeout(Duration::from_secs(2));
                let refused = tools.call_tool(request).await.unwrap_err();
                assert!(
                    matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled),
                    "{refused:?}"
                );
            }
            Who::Caller => {
                let calling = reqwest::Client::new()
                    .post(world.url("/v1/tools/bad__work:call"))
                    .json(&json!({}));
                let calling = tokio::spawn(calling.send());
                arrives().await;
                calling.abort();
            }
        }
        until("it is told", || !noted(&mark, "cancelled").is_empty()).await;
        assert_eq!(noted(&mark, "cancelled"), noted(&mark, "called"), "{who:?}");
        let (status, answer) = world.post("/v1/tools/good__echo:call", &json!({})).await;
        assert_eq!(status, 200, "{who:?}: {answer}");
        world.stopped().await;
    }
}

async fn get(world: &World, path: &str) -> (u16, Value) {
    let response = reqwest::get(world.url(path)).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn what_a_child_writes_to_standard_error_is_logged_with_its_name() {
    let place = tempfile::tempdir().unwrap();
    let servers = json!({"mcpServers": {"printer": faulty("complains", &place.path().join("mark"))}});
    std::fs::write(place.path().join("mcp.json"), servers.to_string()).unwrap();
    let log = Arc::new(Mutex::new(Vec::<String>::new()));
    let heard = log.clone();
    let hear = move |line: &str| heard.lock().unwrap().push(line.to_owned());
    let arguments = ["--mcp-config", "mcp.json", "--log-format", "json"];
    let service = Service::heard(place.path(), &arguments, hear).await;
    let called = service.answered("/v1/tools/printer__work:call", &json!({})).await;
    assert_eq!(called.0, 200, "{called:?}");
    let complaint = || {
        let log = log.lock().unwrap();
        log.iter().find(|line| line.contains("PAPER JAM")).cloned()
    };
    until("it is logged", || complaint().is_some()).await;
    let line: Value = serde_json::from_str(&complaint().unwrap()).unwrap();
    assert_eq!(line["server"], "printer", "{line}");
    service.stop().await;
}

/// Where a server says that it has moved to.
#[derive(Clone, Copy, Debug)]
enum To {
    /// Another path of the same address.
    Path,
    /// Another port: what is there is somebody else's.
    Port,
    /// Another name of the same machine.
    Name,
}

/// What was asked for at a place: the first line of each request.
type Asked = Arc<Mutex<Vec<String>>>;

/// A place that answers everything with this.
async fn place(answer: String, asked: Asked) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let head = head(&mut socket).await;
            let line = head.lines().next().unwrap_or_default().to_owned();
            asked.lock().unwrap().push(line);
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (port, tasks)
}

async fn head(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_redirect_is_followed_to_no_other_place_and_told() {
    for status in ["307 Temporary Redirect", "308 Permanent Redirect", "302 Found"] {
        for to in [To::Path, To::Port, To::Name] {
            let what = format!("{status}, {to:?}");
            let answer = |status: &str, location: &str| {
                format!("HTTP/1.1 {status}\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n")
            };
            let (elsewhere, asked) = (Asked::default(), Asked::default());
            let (other, _other) = place(answer("500 Internal Server Error", ""), elsewhere.clone()).await;
            let location = match to {
                To::Path => "/elsewhere".to_owned(),
                To::Port => format!("http://127.0.0.1:{other}/mcp"),
                To::Name => format!("http://localhost:{other}/mcp"),
            };
            let moved = answer(status, &format!("location: {location}\r\n"));
            let (port, _moved) = place(moved, asked.clone()).await;
            let url = format!("http://127.0.0.1:{port}/mcp");
            let servers = json!({"moved": {"url": url, "headers": {"X-Key": "secret"}}, "good": child()});
            let pool = paced(servers, RARELY, no_pins().await).await;
            let Connection::Down(said) = &pool.servers()[0].connection else {
                panic!("{what}: {:?}", pool.servers());
            };
            let expected = format!("the server sends us elsewhere (HTTP {})", &status[..3]);
            assert_eq!(*said, expected, "{what}");
            assert_eq!(
                *elsewhere.lock().unwrap(),
                [""; 0],
                "{what}: nobody else is asked"
            );
            let is_followed = asked
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.starts_with("POST /elsewhere "));
            let keeps_the_request = !status.starts_with("302");
            assert_eq!(is_followed, matches!(to, To::Path) && keeps_the_request, "{what}");
            assert!(call(&pool, "good__echo", json!({})).await.is_ok(), "{what}");
            pool.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_list_that_a_server_over_http_says_has_changed_is_another_catalogue_in_both_eras() {
    for is_old in [true, false] {
        let seen = Arc::<Seen>::default();
        seen.is_old.store(is_old, Ordering::SeqCst);
        let server = Listening::start(loopback(), &seen).await;
        let pool = paced(json!({"a": {"url": server.url()}}), RARELY, no_pins().await).await;
        let before = pool.catalogue().version();
        until("somebody listens", || seen.is_listened_to()).await;
        seen.has_late.store(true, Ordering::SeqCst);
        seen.tell().await;
        until("a late tool", || pool.catalogue().get("a__late").is_some()).await;
        assert_ne!(pool.catalogue().version(), before, "old: {is_old}");
        pool.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_that_has_forgotten_its_session_is_listed_and_told_what_to_log_again() {
    let seen = Arc::<Seen>::default();
    seen.is_old.store(true, Ordering::SeqCst);
    let server = Listening::start(loopback(), &seen).await;
    let entry = json!({"url": server.url(), "log_level": "error"});
    let pool = paced(json!({"a": entry}), RARELY, no_pins().await).await;
    let levels = || seen.log_levels.lock().unwrap().clone();
    until("it is told what to log", || levels() == ["error"]).await;
    seen.has_late.store(true, Ordering::SeqCst);
    server.forget().await;
    // The call itself does not notice.
    let called = call(&pool, "a__echo", json!({"n": 1})).await;
    assert_eq!(called.expect("an output").text(), r#"{"n":1}"#);
    assert_eq!(seen.sessions.load(Ordering::SeqCst), 2);
    until("a late tool", || pool.catalogue().get("a__late").is_some()).await;
    let has_late = || {
        pool.holdings()
            .resources
            .iter()
            .any(|one| one.uri == "note://late")
    };
    until("a late resource", has_late).await;
    until("it is told again", || levels() == ["error", "error"]).await;
    assert_eq!(pool.servers()[0].connection, Connection::Ready);
    pool.shutdown().await;
}

/// It stops telling of changes when it has listed its tools, and has another one when it is asked to tell again.
#[tokio::test]
async fn what_changed_while_a_child_told_nobody_is_listed_when_it_tells_again() {
    let place = tempfile::tempdir().unwrap();
    let mut deaf = faulty("stops telling", &place.path().join("mark"));
    deaf["protocol"] = json!("stateless");
    let pool = paced(json!({"a": deaf}), PACING, no_pins().await).await;
    until("a late tool", || pool.catalogue().get("a__late").is_some()).await;
    pool.shutdown().await;
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_the_service_up() {
    let place = tempfile::tempdir().unwrap();
    let mut mute = faulty("hangs at initialize", &place.path().join("mark"));
    // As long as nobody is to wait: the service goes on after three seconds.
    mute["connect_timeout_ms"] = json!(600_000);
    let servers = json!({"mcpServers": {"mute": mute, "good": child()}});
    let began = Instant::now();
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&servers)).await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    let channel = tonic::transport::Channel::from_shared(world.url("")).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let asked = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(asked.into_inner().status, 1, "it serves");
    let (_, health) = get(&world, "/v1/health").await;
    assert_eq!(
        health["mcpServers"][0]["status"], "HEALTH_STATUS_CONNECTING",
        "{health}"
    );
    let (status, answer) = world.post("/v1/tools/good__echo:call", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    world.stopped().await;
}
