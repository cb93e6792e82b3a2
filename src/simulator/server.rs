//! The HTTP side: connections, routes, bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use super::playback::{LONGEST_HANG, Playback};
use super::record::{Record, Recorded};
use super::refusal::Refusal;
use super::script::{Pace, Prompter, Script};
use super::turn::{Answer, RawAnswer, Speech};
use super::{chat_completions, fault, responses};

const MOST_CONNECTIONS: usize = 20_000;
const BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Also bounds how long a kept-alive connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(600);
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const MODEL: &str = "simulator";

/// What all connections share.
#[derive(Debug)]
pub(super) struct Desk {
    prompter: Prompter,
    record: Record,
    /// Makes ids differ between simulators, and the serial between requests.
    seed: u64,
    serial: AtomicU64,
}

/// What makes one answer unlike any other: its ids and its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub created_s: u64,
    seed: u64,
    serial: u64,
}

impl Stamp {
    /// An id that is used only once: for the thing with this prefix and index in this answer.
    pub fn id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}{:016x}{:012x}{index:04x}", self.seed, self.serial)
    }
}

/// Why there is no answer: the connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("connection closed as scripted")]
struct Disconnected;

impl Desk {
    pub fn new(script: Script) -> Self {
        Desk {
            prompter: Prompter::new(script),
            record: Record::default(),
            seed: fastrand::u64(..),
            serial: AtomicU64::new(0),
        }
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    fn stamp(&self) -> Stamp {
        let created_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Stamp {
            created_s,
            seed: self.seed,
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Notes a request, and lets the validator see it.
    fn inspect(&self, method: &Method, path: &str, headers: HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let script = self.prompter.script();
        if !script.is_recording() && script.validator().is_none() {
            return Ok(());
        }
        let body = serde_json::from_slice(body).unwrap_or_default();
        let verdict = match script.validator() {
            Some(validator) if method == Method::POST => validator(path, &body),
            _ => Ok(()),
        };
        if script.is_recording() {
            let (method, path) = (method.to_string(), path.to_owned());
            self.record.note_request(Recorded {
                method,
                path,
                headers,
                body,
            });
        }
        verdict.map_err(|violation| {
            self.record.note_violation(format!("{path}: {violation}"));
            Refusal::invalid(None, Some("does_not_validate"), violation)
        })
    }
}

/// Accepts connections until it is dropped, and all of them with it.
pub(super) async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&desk)));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: some will be closed.
                    debug!(%error, "simulator cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    // Without it a token may wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "simulator cannot set nodelay");
    }
    let service = service_fn(|request| answer(request, &desk));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "simulator connection ended");
    }
}

async fn answer(request: Request<Incoming>, desk: &Desk) -> Result<Response<Playback>, Disconnected> {
    let (head, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let path = head.uri.path();
    if let Err(refusal) = desk.inspect(&head.method, path, head.headers, &body) {
        return Ok(refused(&refusal));
    }
    let route = path.strip_prefix("/v1").unwrap_or(path);
    match (&head.method, route) {
        (&Method::POST, "/responses") => respond(desk, &body).await,
        (&Method::POST, "/chat/completions") => complete(desk, &body).await,
        (&Method::GET, "/models") => Ok(whole(models(), &[])),
        (_, "/responses" | "/chat/completions") => Ok(not_allowed(&head.method, path, "POST")),
        (_, "/models") => Ok(not_allowed(&head.method, path, "GET")),
        _ => Ok(refused(&Refusal {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: format!("Invalid URL ({} {path})", head.method),
        })),
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    let collected = Limited::new(body, BODY_LIMIT_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal::with_status(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(error)) => Err(Refusal::invalid(
            None,
            None,
            format!("Could not read the body: {error}"),
        )),
        Err(_) => Err(Refusal::with_status(StatusCode::REQUEST_TIMEOUT)),
    }
}

async fn respond(desk: &Desk, body: &[u8]) -> Result<Response<Playback>, Disconnected> {
    let (exchange, ask) = match responses::Exchange::read(body) {
        Ok(read) => read,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let (answer, pace) = desk.prompter.cue(&ask);
    let speech = match unless_speech(answer).await? {
        Cue::Speech(speech) => speech,
        Cue::Raw(raw) => return Ok(raw),
    };
    let stamp = desk.stamp();
    if ask.stream {
        return Ok(stream(exchange.stream(&ask, &speech, &stamp), &speech, pace));
    }
    wait_for_tokens(&speech, pace).await;
    Ok(written(exchange.whole(&ask, &speech, &stamp), &speech))
}

async fn complete(desk: &Desk, body: &[u8]) -> Result<Response<Playback>, Disconnected> {
    let (exchange, ask) = match chat_completions::Exchange::read(body) {
        Ok(read) => read,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let (answer, pace) = desk.prompter.cue(&ask);
    let speech = match unless_speech(answer).await? {
        Cue::Speech(speech) => speech,
        Cue::Raw(raw) => return Ok(raw),
    };
    let stamp = desk.stamp();
    if ask.stream {
        return Ok(stream(exchange.stream(&ask, &speech, &stamp), &speech, pace));
    }
    wait_for_tokens(&speech, pace).await;
    match exchange.whole(&ask, &speech, &stamp).transpose() {
        Some(body) => Ok(written(body, &speech)),
        None => Ok(refused(&Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR))),
    }
}

/// What is left to do for an answer.
enum Cue {
    Speech(Speech),
    Raw(Response<Playback>),
}

/// Does everything that is not a speech, which is the same for each dialect.
async fn unless_speech(answer: Answer) -> Result<Cue, Disconnected> {
    match answer {
        Answer::Say(speech) => Ok(Cue::Speech(speech)),
        Answer::Raw(raw) => Ok(Cue::Raw(scripted(raw))),
        Answer::Disconnect => Err(Disconnected),
        Answer::Hang => {
            tokio::time::sleep(LONGEST_HANG).await;
            Err(Disconnected)
        }
    }
}

/// A whole answer comes when its last token would have.
async fn wait_for_tokens(speech: &Speech, pace: Pace) {
    // A sleep of zero would still wait for the timer's next millisecond.
    if pace != Pace::default() {
        tokio::time::sleep(pace.total(speech.deltas())).await;
    }
}

fn stream(events: serde_json::Result<super::sse::Events>, speech: &Speech, pace: Pace) -> Response<Playback> {
    match events.and_then(|events| fault::rewrite_events(events, &speech.faults)) {
        Ok(events) => typed(
            "text/event-stream; charset=utf-8",
            Playback::stream(events, &speech.faults, pace),
        ),
        Err(error) => refused(&cannot_write(&error)),
    }
}

fn written(body: serde_json::Result<Vec<u8>>, speech: &Speech) -> Response<Playback> {
    match body.and_then(|body| fault::rewrite_whole(body, &speech.faults)) {
        Ok(body) => whole(body, &speech.faults),
        Err(error) => refused(&cannot_write(&error)),
    }
}

fn cannot_write(error: &serde_json::Error) -> Refusal {
    let mut refusal = Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR);
    refusal.message = format!("The simulator cannot write this answer: {error}");
    refusal
}

fn whole(body: Vec<u8>, faults: &[fault::Fault]) -> Response<Playback> {
    typed("application/json", Playback::whole(body, faults))
}

fn typed(content_type: &'static str, body: Playback) -> Response<Playback> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refused(refusal: &Refusal) -> Response<Playback> {
    let mut response = whole(refusal.body(), &[]);
    *response.status_mut() = refusal.status;
    response
}

fn not_allowed(method: &Method, path: &str, allowed: &'static str) -> Response<Playback> {
    let mut refusal = Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED);
    refusal.message = format!("Not allowed to {method} on {path}.");
    let mut response = refused(&refusal);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A scripted HTTP answer; a status or header that HTTP does not allow becomes a 500 that says so.
fn scripted(raw: RawAnswer) -> Response<Playback> {
    let Ok(status) = StatusCode::from_u16(raw.status) else {
        return refused(&bad_script(&format!("status {} does not exist", raw.status)));
    };
    let body = raw
        .body
        .map_or_else(|| Refusal::with_status(status).body(), String::into_bytes);
    let mut response = whole(body, &[]);
    *response.status_mut() = status;
    for (name, value) in &raw.headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().insert(name, value);
            }
            _ => return refused(&bad_script(&format!("header {name:?} cannot be sent"))),
        }
    }
    response
}

fn bad_script(problem: &str) -> Refusal {
    let mut refusal = Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR);
    refusal.message = format!("The script is wrong: {problem}");
    refusal
}

fn models() -> Vec<u8> {
    let model = serde_json::json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "assistd"});
    serde_json::json!({"object": "list", "data": [model]})
        .to_string()
        .into_bytes()
}
