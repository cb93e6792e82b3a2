//! The assistants as MCP tools, over `/mcp`, in both eras of the protocol, with a client that knows nothing of this
//! service.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use assistd::api::pb;
use assistd::simulator::{Script, Turn};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, ErrorCode, ErrorData, Implementation, ProgressNotificationParam,
    ProtocolVersion, SubscriptionFilter,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, RequestContext, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::actions::asking;
use crate::mcp::peer::{Listening, Seen};
use crate::world::{self, PATIENCE, World};

/// Somebody else's client.
#[derive(Clone, Default)]
struct Editor {
    /// What its user answers, null for one who closes the form; a client without can ask nobody.
    answer: Option<Value>,
    asked: Arc<Mutex<Vec<String>>>,
    progress: Arc<Mutex<Vec<String>>>,
    /// Notified with every report.
    reported: Arc<Notify>,
    tools_changed: Arc<Notify>,
}

type Client = RunningService<RoleClient, Editor>;

impl ClientHandler for Editor {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.answer {
            Some(_) => ClientCapabilities::builder().enable_elicitation().build(),
            None => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, Implementation::new("editor", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        if let ElicitRequestParams::FormElicitationParams { message, .. } = request {
            self.asked.lock().unwrap().push(message);
        }
        let answer = self.answer.clone().unwrap_or_default();
        if answer.is_null() {
            return Ok(ElicitResult::new(ElicitationAction::Cancel));
        }
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(answer))
    }

    async fn on_progress(
        &self,
        report: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.progress
            .lock()
            .unwrap()
            .push(report.message.unwrap_or_default());
        self.reported.notify_one();
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.tools_changed.notify_one();
    }
}

/// Both ways to begin.
fn eras() -> [ClientLifecycleMode; 2] {
    let stateless = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    [ClientLifecycleMode::Initialize, stateless]
}

fn served(config: &mut assistd::config::Config) {
    config.mcp.serve = true;
}

fn served_and_asking(config: &mut assistd::config::Config) {
    asking(config);
    config.mcp.serve = true;
}

async fn connected(world: &World, editor: &Editor, era: ClientLifecycleMode) -> Client {
    let config = StreamableHttpClientTransportConfig::with_uri(world.url("/mcp"));
    let transport = StreamableHttpClientTransport::with_client(reqwest::Client::new(), config);
    let connecting = editor.clone().serve_with_lifecycle(transport, era);
    timeout(PATIENCE, connecting).await.expect("in time").unwrap()
}

fn request(tool: &str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)
}

async fn call(client: &Client, tool: &str, arguments: Value) -> CallToolResult {
    let calling = client.call_tool(request(tool, arguments));
    timeout(PATIENCE, calling).await.expect("in time").unwrap()
}

fn text(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    texts
        .map(|text| text.text.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

async fn tool_names(client: &Client) -> Vec<String> {
    let tools = timeout(PATIENCE, client.list_all_tools())
        .await
        .expect("in time")
        .unwrap();
    tools.into_iter().map(|tool| tool.name.into_owned()).collect()
}

async fn assistant(world: &World, display_name: &str) -> String {
    let request = pb::CreateAssistantRequest {
        assistant: Some(pb::Assistant {
            display_name: display_name.to_owned(),
            description: format!("Knows {display_name}"),
            ..pb::Assistant::default()
        }),
        ..pb::CreateAssistantRequest::default()
    };
    let created = world.grpc().await.create_assistant(request).await.unwrap();
    created.into_inner().name
}

#[tokio::test]
async fn an_assistant_is_talked_to_in_both_eras() {
    for era in eras() {
        let turns = [
            Turn::call("echo", &json!({"text": "ping"})),
            Turn::text("first"),
            Turn::text("second"),
            Turn::text("third"),
        ];
        let world = World::with(Script::turns(turns), served).await;
        assistant(&world, "Code Reviewer").await;
        let editor = Editor::default();
        let client = connected(&world, &editor, era).await;
        assert_eq!(tool_names(&client).await, ["chat", "code_reviewer"]);

        let first = call(&client, "chat", json!({"message": "hello"})).await;
        assert_eq!((text(&first).as_str(), first.is_error), ("first", Some(false)));
        let whole = first.structured_content.unwrap();
        assert_eq!(
            (&whole["response"], &whole["state"]),
            (&json!("first"), &json!("COMPLETED"))
        );
        let thread = whole["thread"].as_str().unwrap().to_owned();
        assert!(
            whole["run"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{thread}/runs/")),
            "{whole}"
        );
        assert!(whole["usage"]["totalTokens"].is_u64(), "{whole}");
        let told = editor.progress.lock().unwrap().clone();
        for expected in [
            "the run is running",
            "the tool echo has answered",
            "the run is completed",
        ] {
            assert!(told.iter().any(|line| line == expected), "{told:?}");
        }

        let second = call(
            &client,
            "code_reviewer",
            json!({"message": "go on", "thread": thread}),
        )
        .await;
        assert_eq!(text(&second), "second");
        assert_eq!(second.structured_content.unwrap()["thread"], json!(thread));
        let status = world.post(&format!("/v1/{thread}/messages"), &json!({})).await.0;
        assert_ne!(status, 404, "the thread is the service's own");

        let unfit = call(&client, "code_reviewer", json!({"massage": "hi"})).await;
        assert_eq!(unfit.is_error, Some(true));
        assert!(text(&unfit).contains("VALIDATION_FAILED"), "{}", text(&unfit));
        let nobody = call(
            &client,
            "chat",
            json!({"message": "hi", "assistant": "assistants/asst_0"}),
        )
        .await;
        assert!(text(&nobody).contains("ASSISTANT_NOT_FOUND"), "{}", text(&nobody));
        match client.call_tool(request("nope", json!({}))).await {
            Err(ServiceError::McpError(error)) => assert_eq!(error.code, ErrorCode::INVALID_PARAMS),
            other => panic!("an unknown tool was answered with {other:?}"),
        }
        client.cancel().await.unwrap();
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_client_hears_of_a_new_assistant() {
    let world = World::with(Script::turns([]), served).await;
    let [session, stateless] = eras();
    let in_session = Editor::default();
    let with_session = connected(&world, &in_session, session).await;
    let without = connected(&world, &Editor::default(), stateless).await;
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let mut listening = timeout(PATIENCE, without.listen(filter))
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(tool_names(&with_session).await, ["chat"]);
    assistant(&world, "Helper").await;
    let both_hear = async {
        in_session.tools_changed.notified().await;
        listening.next().await.unwrap().expect("there is news");
    };
    timeout(PATIENCE, both_hear).await.expect("both hear of it");
    assert_eq!(tool_names(&with_session).await, ["chat", "helper"]);
    with_session.cancel().await.unwrap();
    drop(listening);
    without.cancel().await.unwrap();
    world.stopped().await;
}

#[tokio::test]
async fn a_clients_user_decides_about_a_call() {
    let cases = [
        (json!({"approve": true}), false),
        (json!({"approve": false, "reason": "too loud"}), true),
    ];
    for era in eras() {
        for (answer, is_rejected) in &cases {
            let turns = [Turn::call("echo", &json!({"text": "hello"})), Turn::text("done")];
            let world = World::with(Script::turns(turns), served_and_asking).await;
            let editor = Editor {
                answer: Some(answer.clone()),
                ..Editor::default()
            };
            let client = connected(&world, &editor, era.clone()).await;
            let result = call(&client, "chat", json!({"message": "say hello"})).await;
            assert_eq!(text(&result), "done");
            let asked = editor.asked.lock().unwrap().clone();
            assert!(
                asked.len() == 1 && asked[0].contains("echo") && asked[0].contains("hello"),
                "{asked:?}"
            );
            let requests = world.simulator.requests();
            let last = requests.last().expect("the model was asked").body.to_string();
            assert_eq!(last.contains("too loud"), *is_rejected, "{last}");
            assert_eq!(last.contains("Echo: hello"), !*is_rejected, "{last}");
            client.cancel().await.unwrap();
            world.stopped().await;
        }
    }
}

#[tokio::test]
async fn a_form_that_is_closed_leaves_the_run_waiting() {
    for era in eras() {
        let turns = [Turn::call("echo", &json!({"text": "hello"}))];
        let world = World::with(Script::turns(turns), served_and_asking).await;
        let editor = Editor {
            answer: Some(Value::Null),
            ..Editor::default()
        };
        let client = connected(&world, &editor, era).await;
        let result = call(&client, "chat", json!({"message": "say hello"})).await;
        let whole = result.structured_content.unwrap();
        assert_eq!(whole["state"], "REQUIRES_ACTION", "{whole}");
        assert_eq!(
            whole["pendingActions"].as_array().map(Vec::len),
            Some(1),
            "{whole}"
        );
        assert_eq!(editor.asked.lock().unwrap().len(), 1, "nobody is asked again");
        client.cancel().await.unwrap();
        world.stopped().await;
    }
}

/// A service whose model calls a tool of a server that asks a person, and the server.
async fn asked_by_a_server() -> (World, Listening) {
    let seen = Arc::<Seen>::default();
    seen.has_asking.store(true, Ordering::SeqCst);
    let server = Listening::start(([127, 0, 0, 1], 0).into(), &seen).await;
    let servers = json!({"mcpServers": {"a": {"url": server.url()}}});
    let script = Script::turns([Turn::call("a__ask", &json!({})), Turn::text("done")]);
    let world = World::with(script, |config| {
        config.mcp = world::mcp(&servers);
        config.mcp.serve = true;
    });
    (world.await, server)
}

#[tokio::test]
async fn what_a_server_asks_is_put_to_the_clients_user() {
    for era in eras() {
        let (world, _server) = asked_by_a_server().await;
        let editor = Editor {
            answer: Some(json!({"name": "Ada"})),
            ..Editor::default()
        };
        let client = connected(&world, &editor, era).await;
        let result = call(&client, "chat", json!({"message": "who am I?"})).await;
        assert_eq!(text(&result), "done");
        assert_eq!(*editor.asked.lock().unwrap(), ["The server a asks: who are you?"]);
        let requests = world.simulator.requests();
        let last = requests.last().unwrap().body.to_string();
        assert!(last.contains("accept") && last.contains("Ada"), "{last}");
        client.cancel().await.unwrap();
        world.stopped().await;
    }
}

#[tokio::test]
async fn what_a_server_asks_is_named_to_a_client_that_can_ask_nobody() {
    for era in eras() {
        let (world, _server) = asked_by_a_server().await;
        let client = connected(&world, &Editor::default(), era).await;
        let result = call(&client, "chat", json!({"message": "who am I?"})).await;
        let whole = result.structured_content.clone().unwrap();
        let action = &whole["pendingActions"][0];
        assert_eq!(action["question"]["message"], "who are you?");
        assert!(
            text(&result).contains("the server a asks: who are you?"),
            "{}",
            text(&result)
        );
        let run = whole["run"].as_str().unwrap();
        let reply = json!({"action": "ELICITATION_ACTION_ACCEPT", "content": {"name": "Ada"}});
        let answers = json!({"answers": [{"actionId": action["id"], "elicitation": reply}]});
        let (status, answered) = world.post(&format!("/v1/{run}:submitActions"), &answers).await;
        assert_eq!(status, 200, "{answered}");
        client.cancel().await.unwrap();
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_client_that_can_ask_nobody_is_told_how_to_answer() {
    for era in eras() {
        let script = Script::turns([Turn::call("echo", &json!({"text": "hello"})), Turn::text("done")]);
        let world = World::with(script, served_and_asking).await;
        let client = connected(&world, &Editor::default(), era).await;
        let result = call(&client, "chat", json!({"message": "say hello"})).await;
        let whole = result.structured_content.clone().unwrap();
        assert_eq!(
            (&whole["state"], result.is_error),
            (&json!("REQUIRES_ACTION"), Some(false))
        );
        assert_eq!(whole["pendingActions"][0]["tool"], json!("echo"));
        let run = whole["run"].as_str().unwrap();
        assert!(
            text(&result).contains(&format!("POST /v1/{run}:submitActions")),
            "{}",
            text(&result)
        );
        // The run waits on, though the client has its answer.
        client.cancel().await.unwrap();
        let answers = json!({"answers": [{"actionId": whole["pendingActions"][0]["id"], "approve": {}}]});
        let (status, answered) = world.post(&format!("/v1/{run}:submitActions"), &answers).await;
        assert_eq!(status, 200, "{answered}");
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_state_that_names_no_run_is_refused() {
    let world = World::with(Script::turns([]), served).await;
    let [_, stateless] = eras();
    let client = connected(&world, &Editor::default(), stateless).await;
    for state in ["", "threads/thread_1", "threads/thread_1/runs/run_1"] {
        let mut forged = request("chat", json!({"message": "hi"}));
        forged.request_state = Some(state.to_owned());
        match timeout(PATIENCE, client.peer().call_tool_once(forged))
            .await
            .expect("in time")
        {
            Err(ServiceError::McpError(error)) => assert_eq!(error.code, ErrorCode::INVALID_PARAMS),
            other => panic!("{state}: {other:?}"),
        }
    }
    client.cancel().await.unwrap();
    world.stopped().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_calls_its_run_off() {
    for era in eras() {
        let world = World::with(Script::turns([Turn::hang()]), served).await;
        let editor = Editor::default();
        let client = connected(&world, &editor, era).await;
        // Dropped, the client tells the server that it does not wait any more.
        let calling = client.call_tool(request("chat", json!({"message": "hi"})));
        tokio::select! {
            result = calling => panic!("{result:?}"),
            begun = timeout(PATIENCE, editor.reported.notified()) => begun.expect("the run goes on"),
        }
        let events = watched(&world).await;
        assert!(events.contains("event: run_cancelled"), "{events}");
        client.cancel().await.unwrap();
        world.stopped().await;
    }
}

/// All events of the only run, to its end.
async fn watched(world: &World) -> String {
    let (_, threads) = get(world, "/v1/threads").await;
    let thread = threads["threads"][0]["name"].as_str().unwrap();
    let (_, runs) = get(world, &format!("/v1/{thread}/runs")).await;
    let run = runs["runs"][0]["name"].as_str().unwrap();
    let watching = reqwest::Client::new()
        .get(world.url(&format!("/v1/{run}:watch")))
        .header("accept", "text/event-stream");
    let events = watching.send().await.unwrap().text();
    timeout(PATIENCE, events).await.expect("it ends").unwrap()
}

async fn get(world: &World, path: &str) -> (u16, Value) {
    let response = reqwest::get(world.url(path)).await.unwrap();
    (
        response.status().as_u16(),
        response.json().await.unwrap_or(Value::Null),
    )
}

/// The numbers of the events in a stream, and what they say.
fn events(stream: &str) -> Vec<(String, Value)> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let events = stream
        .split("\n\n")
        .map(|event| (field(event, "id:"), field(event, "data:")));
    let events = events.filter(|(id, _)| !id.is_empty());
    events
        .map(|(id, data)| (id, serde_json::from_str(&data).unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn an_answer_waits_for_a_client_whose_connection_broke() {
    for comes_back_late in [false, true] {
        let seen = Arc::<Seen>::default();
        let server = Listening::start(([127, 0, 0, 1], 0).into(), &seen).await;
        let servers = json!({"mcpServers": {"a": {"url": server.url()}}});
        let script = Script::turns([Turn::call("a__wait", &json!({})), Turn::text("done")]);
        let world = World::with(script, |config| {
            config.mcp = world::mcp(&servers);
            config.mcp.serve = true;
        })
        .await;
        let send = async |session: &str, message: Value| {
            let mut request = reqwest::Client::new()
                .post(world.url("/mcp"))
                .header("accept", "application/json, text/event-stream")
                .header("mcp-protocol-version", "2025-11-25")
                .json(&message);
            if !session.is_empty() {
                request = request.header("mcp-session-id", session);
            }
            request.send().await.unwrap()
        };
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "train", "version": "1"},
        }});
        let begun = send("", hello).await;
        let session = begun.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        send(
            &session,
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        )
        .await;
        let chat = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "chat", "arguments": {"message": "hi"},
        }});
        let mut answer = send(&session, chat).await;
        let mut heard = String::new();
        while events(&heard).is_empty() {
            let piece = timeout(PATIENCE, answer.chunk()).await.expect("in time").unwrap();
            heard.push_str(std::str::from_utf8(&piece.expect("a first event")).unwrap());
        }
        let (last, first) = &events(&heard)[0];
        assert_eq!(first, &Value::Null, "it says only where the client is");
        timeout(PATIENCE, seen.waiting.notified())
            .await
            .expect("the run goes on");
        drop(answer);

        let ends = async || {
            seen.release.notify_waiters();
            let events = watched(&world).await;
            assert!(events.contains("event: run_completed"), "{events}");
        };
        if comes_back_late {
            ends().await;
        }
        let back = reqwest::Client::new()
            .get(world.url("/mcp"))
            .header("accept", "text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", &session)
            .header("last-event-id", last);
        let back = timeout(PATIENCE, back.send()).await.expect("in time").unwrap();
        assert_eq!(back.status(), 200);
        if !comes_back_late {
            ends().await;
        }
        let missed = timeout(PATIENCE, back.text()).await.expect("it ends").unwrap();
        let (_, answer) = events(&missed).pop().expect("an answer");
        assert_eq!(answer["id"], 2, "{missed}");
        assert_eq!(answer["result"]["content"][0]["text"], "done", "{missed}");
        world.stopped().await;
    }
}

#[tokio::test]
async fn pages_from_elsewhere_and_rebound_names_are_refused() {
    let world = World::with(Script::turns([]), served).await;
    let ask = |headers: &[(&str, &str)]| {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "page", "version": "1"},
        }});
        let mut request = reqwest::Client::new()
            .post(world.url("/mcp"))
            .header("accept", "application/json, text/event-stream")
            .json(&hello);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let cases: [(&[(&str, &str)], u16); 6] = [
        (&[], 200),
        (&[("origin", "http://localhost:5173")], 200),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("host", "evil.example")], 403),
        (&[("host", "localhost")], 200),
    ];
    for (headers, expected) in cases {
        assert_eq!(ask(headers).await, expected, "{headers:?}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn there_is_no_mcp_server_unless_it_is_asked_for() {
    let world = World::new(Script::turns([])).await;
    assert_eq!(world.post("/mcp", &json!({})).await.0, 404);
    world.stopped().await;
}
