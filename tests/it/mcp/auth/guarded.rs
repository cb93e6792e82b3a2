//! An MCP server that wants a token, and the authorization server that gives them, on one port.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How the two behave, and what they have seen.
#[derive(Default)]
pub struct State {
    /// What differs in the metadata of the resource and of the authorization server; null for what is left out.
    pub resource: Value,
    pub server: Value,
    /// What is answered at a path instead: status, `Location`, body.
    pub instead: HashMap<&'static str, (u16, String, Value)>,
    /// The header of a 401, instead of the usual one.
    pub challenge: Option<String>,
    /// The scope that a call needs.
    pub needs: Option<&'static str>,
    /// How long tokens are good for.
    pub expires_in: Option<u64>,
    /// The tokens that are good, with their scopes.
    pub good: HashMap<String, String>,
    /// No token is good.
    pub takes_none: bool,
    /// The scopes of the code that was given.
    pub code_scope: String,
    /// What was asked of the authorization server, path and form; and how many tokens were given.
    pub asked: Vec<(String, HashMap<String, String>)>,
    pub given: usize,
    /// The method of each message of MCP, who is said to call, and the token that came with it.
    pub heard: Vec<(String, String, String)>,
    /// Calls are answered when so many of them are here.
    pub together: Option<Arc<Barrier>>,
    /// Calls that were executed.
    pub calls: usize,
    /// Anything at all that was asked.
    pub requests: usize,
}

/// Both, until it is dropped.
pub struct Guarded {
    pub origin: String,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Guarded {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let mut tasks = JoinSet::new();
        let (shared, at) = (state.clone(), origin.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, origin) = (shared.clone(), at.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, state.clone(), origin.clone()));
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            origin,
            state,
            _tasks: tasks,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The forms that came to a path.
    pub fn forms(&self, path: &str) -> Vec<HashMap<String, String>> {
        let state = self.state();
        let asked = state.asked.iter().filter(|(asked, _)| asked == path);
        asked.map(|(_, form)| form.clone()).collect()
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    origin: String,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let (answer, together) = answered(&head, &body, &mut state.lock().unwrap(), &origin);
    if let Some(together) = together {
        together.wait().await;
    }
    Ok(answer)
}

/// The answer, and who has to be there before it is given.
fn answered(head: &Parts, body: &[u8], state: &mut State, origin: &str) -> (Answer, Option<Arc<Barrier>>) {
    state.requests += 1;
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let path = head.uri.path();
    if let Some((status, location, body)) = state.instead.get(path) {
        return (respond(*status, "location", location, body), None);
    }
    let well_known = "/.well-known/oauth-protected-resource/mcp";
    let mut together = None;
    let answer = match path {
        "/mcp" => {
            let sent = head.headers.get_all("authorization").iter();
            let sent: Vec<&str> = sent.filter_map(|value| value.to_str().ok()).collect();
            let token = sent.join(" and ").replacen("Bearer ", "", 1);
            let message: Value = serde_json::from_slice(body).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let method = text(&message["method"]);
            let who = text(&message["params"]["arguments"]["who"]);
            state.heard.push((method.clone(), who, token.clone()));
            if method == "tools/call" {
                together.clone_from(&state.together);
            }
            mcp(state, origin, &token, body)
        }
        path if path == well_known => {
            let document = json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin]});
            respond(200, "x", "", &patched(document, &state.resource))
        }
        "/.well-known/oauth-authorization-server" => {
            let document = json!({
                "issuer": origin,
                "authorization_endpoint": format!("{origin}/authorize"),
                "token_endpoint": format!("{origin}/token"),
                "registration_endpoint": format!("{origin}/register"),
                "revocation_endpoint": format!("{origin}/revoke"),
                "code_challenge_methods_supported": ["S256"],
            });
            respond(200, "x", "", &patched(document, &state.server))
        }
        "/register" => respond(201, "x", "", &json!({"client_id": "registered"})),
        "/token" | "/revoke" => {
            let mut form = fields(&String::from_utf8_lossy(body));
            form.insert("authorization".to_owned(), header("authorization"));
            state.asked.push((path.to_owned(), form.clone()));
            match path {
                "/token" => token(state, &form),
                _ => respond(200, "x", "", &Value::Null),
            }
        }
        _ => respond(404, "x", "", &Value::Null),
    };
    (answer, together)
}

/// Gives a token, and with a person's a refresh token, each good once.
fn token(state: &mut State, form: &HashMap<String, String>) -> Answer {
    if let Some(subject) = form.get("subject_token") {
        if subject == "nobody" {
            let refused = json!({"error": "invalid_grant", "error_description": "not nobody"});
            return respond(400, "x", "", &refused);
        }
        let token = format!("for-{subject}");
        state.good.insert(token.clone(), String::new());
        let mut body = json!({"access_token": token, "token_type": "Bearer"});
        if let Some(lifetime) = state.expires_in {
            body["expires_in"] = lifetime.into();
        }
        return respond(200, "x", "", &body);
    }
    state.given += 1;
    let token = format!("token-{}", state.given);
    let scope = match form["grant_type"].as_str() {
        "client_credentials" => form.get("scope").cloned().unwrap_or_default(),
        _ => state.code_scope.clone(),
    };
    state.good.insert(token.clone(), scope);
    let mut body = json!({"access_token": token, "token_type": "bearer"});
    if let Some(lifetime) = state.expires_in {
        body["expires_in"] = lifetime.into();
    }
    if form["grant_type"] != "client_credentials" {
        body["refresh_token"] = json!(format!("refresh-{}", state.given));
    }
    respond(200, "x", "", &body)
}

fn mcp(state: &mut State, origin: &str, token: &str, body: &[u8]) -> Answer {
    let scopes = state.good.get(token).filter(|_| !state.takes_none).cloned();
    let place = format!("{origin}/.well-known/oauth-protected-resource/mcp");
    let Some(scopes) = scopes else {
        let usual = format!(r#"Bearer resource_metadata="{place}""#);
        let challenge = state.challenge.clone().unwrap_or(usual);
        return respond(401, "www-authenticate", &challenge, &Value::Null);
    };
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let result = match request["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "guarded", "version": "1"},
        }),
        "tools/list" => json!({"tools": [{"name": "work", "inputSchema": {"type": "object"}}]}),
        "tools/call" => {
            if let Some(scope) = state.needs
                && !scopes.split(' ').any(|one| one == scope)
            {
                let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
                return respond(403, "www-authenticate", &challenge, &Value::Null);
            }
            state.calls += 1;
            json!({"content": [{"type": "text", "text": "done"}]})
        }
        _ if request["id"].is_null() => return respond(202, "x", "", &Value::Null),
        _ => json!({}),
    };
    respond(
        200,
        "x",
        "",
        &json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
    )
}

fn patched(mut document: Value, patch: &Value) -> Value {
    for (name, value) in patch.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    document
}

fn respond(status: u16, header: &str, value: &str, body: &Value) -> Answer {
    let body = match body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header(header, value);
    response.body(Full::from(body)).unwrap()
}

/// The fields of a form or a query.
pub fn fields(text: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("form:?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}
