//! The four paths of the service that this one replaces, on the same handlers as the RPCs: requests, answers
//! and errors have FastAPI's form, so that clients written for it work unchanged.

mod body;
mod fields;
mod refusal;
mod route;
mod syntax;
mod tool;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::Value;

use self::body::Body;
use self::refusal::Refusal;
use self::route::Route;
use crate::api::caller::Requester;
use crate::api::convert::name;
use crate::api::deadline;
use crate::api::handlers::Handlers;
use crate::api::pb;
use crate::run::error::{Error, Reason};
use crate::run::id::ThreadId;
use crate::run::message::ToolOutput;

/// The door for clients of the service that this one replaces.
pub struct Legacy {
    handlers: Arc<Handlers>,
    body_limit_bytes: usize,
    request_timeout: Duration,
}

type Reply = Response<Bytes>;

#[derive(Serialize)]
struct HealthAnswer {
    status: &'static str,
    mcp_connected: bool,
}

#[derive(Serialize)]
struct ChatAnswer<'a> {
    response: &'a str,
    thread_id: &'a str,
    run_id: &'a str,
}

#[derive(Serialize)]
struct ToolsAnswer<'a> {
    tools: Vec<tool::Tool<'a>>,
}

#[derive(Serialize)]
struct CallAnswer<'a> {
    result: Vec<tool::Content<'a>>,
    #[serde(rename = "isError", skip_serializing_if = "is_false")]
    is_error: bool,
}

#[derive(Serialize)]
struct RefusalAnswer<'a> {
    detail: &'a Value,
}

impl Legacy {
    /// A door to these handlers. Bodies are bounded; a request gets `request_timeout` at most.
    pub fn new(handlers: Arc<Handlers>, body_limit_bytes: usize, request_timeout: Duration) -> Self {
        Self {
            handlers,
            body_limit_bytes,
            request_timeout,
        }
    }

    /// Answers any request outside `/v1` that no other door takes: the four paths, and 404 or 405 for the rest.
    pub async fn answer(&self, request: Request<tonic::body::Body>) -> Response<tonic::body::Body> {
        let is_head = request.method() == Method::HEAD;
        let reply = match route::find(request.method(), request.uri()) {
            Route::Unknown => refused(&Refusal::new(StatusCode::NOT_FOUND, "Not Found")),
            Route::OtherMethod(allow) => other_method(allow),
            Route::Elsewhere(location) => elsewhere(&location),
            route => self.in_time(route, request).await,
        };
        finish(reply, is_head)
    }

    async fn in_time(&self, route: Route, request: Request<tonic::body::Body>) -> Reply {
        let reply = match self.time(request.headers()) {
            Ok(time) => tokio::time::timeout(time, self.perform(route, request))
                .await
                .unwrap_or_else(|_| {
                    let error = Error::new(Reason::DeadlineExceeded, "the request took longer than it may");
                    Err(Refusal::of(&error))
                }),
            Err(refusal) => Err(refusal),
        };
        reply.unwrap_or_else(|refusal| refused(&refusal))
    }

    /// How long the request may take: the least of what its caller and the operator say.
    fn time(&self, headers: &HeaderMap) -> Result<Duration, Refusal> {
        deadline::timeout(headers, self.request_timeout).map_err(|error| {
            let header = error
                .violations()
                .first()
                .map_or("", |violation| &violation.field);
            let value = headers.get(header).map_or(&b""[..], |value| value.as_bytes());
            fields::not_a_timeout(header, &String::from_utf8_lossy(value))
        })
    }

    async fn perform(&self, route: Route, request: Request<tonic::body::Body>) -> Result<Reply, Refusal> {
        match route {
            Route::Chat => self.chat(request).await,
            Route::ListTools => self.list_tools(),
            Route::CallTool => self.call_tool(request).await,
            Route::Health => Ok(self.health()),
            Route::OtherMethod(_) | Route::Elsewhere(_) | Route::Unknown => {
                Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"))
            }
        }
    }

    fn health(&self) -> Reply {
        let answer = HealthAnswer {
            status: "healthy",
            mcp_connected: self.handlers.mcp_connected(),
        };
        json(StatusCode::OK, &answer)
    }

    async fn chat(&self, request: Request<tonic::body::Body>) -> Result<Reply, Refusal> {
        let requester = Requester::of(request.extensions());
        let requester = requester.map_err(|error| Refusal::of_chat(&error))?;
        let body = self.body(request).await?;
        let chat = fields::Chat::read(body.value()?)?;
        let request = pb::ChatRequest {
            message: chat.message,
            assistant: match chat.assistant_id {
                Some(id) => format!("assistants/{id}"),
                None => String::new(),
            },
            thread: chat
                .thread_id
                .as_deref()
                .map(thread_name)
                .transpose()?
                .unwrap_or_default(),
            ..pb::ChatRequest::default()
        };
        let answer = self.handlers.chat(request, requester).await;
        let answer = answer.map_err(|error| Refusal::of_chat(&error))?;
        if answer.state() == pb::RunState::Cancelled {
            return Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Assistant run failed",
            ));
        }
        if !answer.pending_actions.is_empty() {
            // Nothing on these paths can answer it: the contract's own can.
            let detail = format!("the run {} waits for an answer to a pending action", answer.run);
            return Err(Refusal::new(StatusCode::CONFLICT, detail));
        }
        if answer.response.is_empty() {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(Refusal::new(status, "No assistant response found"));
        }
        let answer = ChatAnswer {
            response: &answer.response,
            thread_id: last_segment(&answer.thread),
            run_id: last_segment(&answer.run),
        };
        Ok(json(StatusCode::OK, &answer))
    }

    fn list_tools(&self) -> Result<Reply, Refusal> {
        if !self.handlers.mcp_connected() {
            return Err(Refusal::no_mcp());
        }
        let catalogue = self.handlers.engine().ports().toolbox.catalogue();
        // There is nothing here to say that a tool is held back.
        let offered = catalogue.tools().iter();
        let tools = offered
            .filter(|tool| !catalogue.held().contains_key(tool.name()))
            .map(|tool| tool::Tool::from(tool.as_ref()));
        let answer = ToolsAnswer {
            tools: tools.collect(),
        };
        Ok(json(StatusCode::OK, &answer))
    }

    /// Calls a tool past the contract's types: a protobuf `Struct` has only doubles.
    async fn call_tool(&self, request: Request<tonic::body::Body>) -> Result<Reply, Refusal> {
        let tool_name = request.uri().query().and_then(route::tool_name);
        let requester = Requester::of(request.extensions());
        let requester = requester.map_err(|error| Refusal::of(&error))?;
        let body = self.body(request).await?;
        let value = body.value()?;
        if let Some(value) = &value {
            body.check_integers(value)?;
        }
        let call = fields::Call::read(tool_name, value)?;
        if !self.handlers.mcp_connected() {
            return Err(Refusal::no_mcp());
        }
        let engine = self.handlers.engine();
        let output = engine
            .call_tool(
                &call.tool_name,
                call.arguments,
                None,
                requester.name,
                requester.credentials,
            )
            .await;
        let ToolOutput {
            content, is_error, ..
        } = output.map_err(|error| Refusal::of(&error))?;
        let answer = CallAnswer {
            result: content.iter().map(tool::Content::from).collect(),
            is_error,
        };
        Ok(json(StatusCode::OK, &answer))
    }

    async fn body(&self, request: Request<tonic::body::Body>) -> Result<Body, Refusal> {
        let (head, body) = request.into_parts();
        Body::receive(&head.headers, body, self.body_limit_bytes).await
    }
}

/// The contract's name of a thread; one that cannot be a thread's id is not there either.
fn thread_name(id: &str) -> Result<String, Refusal> {
    match ThreadId::parse(id) {
        Ok(id) => Ok(name::thread(&id)),
        Err(_) => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("there is no thread {id:?}"),
        )),
    }
}

/// The bare id in a resource's name.
fn last_segment(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, id)| id)
}

fn refused(refusal: &Refusal) -> Reply {
    let detail = &refusal.detail;
    let mut reply = json(refusal.status, &RefusalAnswer { detail });
    if let Some(delay) = refusal.retry_after {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        reply.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
    }
    reply
}

fn other_method(allow: &'static str) -> Reply {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let mut reply = refused(&refusal);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// FastAPI sends a client that adds a slash to where it should have gone, with the same method and body.
fn elsewhere(location: &str) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    match HeaderValue::from_str(location) {
        Ok(location) => {
            reply.headers_mut().insert(LOCATION, location);
            reply
        }
        Err(_) => refused(&Refusal::new(StatusCode::NOT_FOUND, "Not Found")),
    }
}

fn json(status: StatusCode, answer: &impl Serialize) -> Reply {
    let (status, text) = match serde_json::to_vec(answer) {
        Ok(text) => (status, Bytes::from(text)),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            let text = Bytes::from_static(br#"{"detail":"internal error"}"#);
            (StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    };
    let mut reply = Response::new(text);
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

/// The length is said here, so that HEAD says what GET would.
fn finish(mut reply: Reply, is_head: bool) -> Response<tonic::body::Body> {
    let length = HeaderValue::from(reply.body().len());
    reply.headers_mut().insert(CONTENT_LENGTH, length);
    reply.map(|body| match is_head {
        true => tonic::body::Body::empty(),
        false => tonic::body::Body::new(Full::new(body)),
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
