//! The HTTP side: connections, routes, bodies.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use super::ask::Ask;
use super::assistants::{self, Assistants, Reply};
use super::pace::Waits;
use super::playback::{LONGEST_HANG, Playback};
use super::record::{Record, Recorded};
use super::refusal::Refusal;
use super::review::Review;
use super::script::{Prompter, Script};
use super::turn::{Answer, Speech};
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
    record: Arc<Record>,
    responses: responses::Kept,
    conversations: responses::Conversations,
    assistants: Assistants,
    /// Makes ids differ between simulators, and the serial between requests.
    seed: u64,
    serial: AtomicU64,
}

/// What makes one answer unlike any other: its ids and its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub created_s: u64,
    seed: u64,
    pub serial: u64,
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
pub(super) struct Disconnected;

/// Whatever answers requests.
pub(super) trait Answering: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error = io::Error> + Send + 'static;

    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Disconnected>> + Send;
}

impl Answering for Desk {
    type Body = Playback;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Playback>, Disconnected> {
        answer(request, self).await
    }
}

impl Desk {
    pub fn new(script: Script) -> Self {
        Desk {
            prompter: Prompter::new(script),
            record: Arc::default(),
            responses: responses::Kept::default(),
            conversations: responses::Conversations::default(),
            assistants: Assistants::default(),
            seed: fastrand::u64(..),
            serial: AtomicU64::new(0),
        }
    }

    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record)
    }

    /// Whether the answer to this comes as a stream.
    fn streams(&self, ask: &Ask) -> bool {
        ask.stream && self.prompter.script().streams()
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

    pub fn script(&self) -> &Script {
        self.prompter.script()
    }

    /// Notes a request, and lets the validator see it.
    fn inspect(&self, head: &http::request::Parts, body: &[u8]) -> Result<(), Refusal> {
        let script = self.script();
        if !script.is_recording() && script.validator().is_none() {
            return Ok(());
        }
        let request = Recorded {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        };
        let verdict = script.validator().map_or(Ok(()), |validator| validator(&request));
        let verdict = verdict.map_err(|violation| {
            self.record
                .note_violation(format!("{}: {violation}", request.path));
            let param = violation.param.as_deref();
            Refusal::invalid(param, Some("does_not_validate"), violation.text.as_str())
        });
        if script.is_recording() {
            self.record.note_request(request);
        }
        verdict
    }
}

/// Accepts connections until it is dropped, and all of them with it.
pub(super) async fn accept(listener: TcpListener, desk: Arc<impl Answering>) {
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

async fn serve(stream: TcpStream, desk: Arc<impl Answering>) {
    // Without it a token may wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "simulator cannot set nodelay");
    }
    let service = service_fn(|request| desk.answer(request));
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
    let path = head.uri.path();
    let review = Review {
        desk,
        method: head.method.as_str(),
        path,
    };
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refusal) => return Ok(review.refused(&refusal)),
    };
    if let Err(refusal) = desk.inspect(&head, &body) {
        return Ok(review.refused(&refusal));
    }
    let route = path.strip_prefix("/v1").unwrap_or(path);
    let segments: Vec<&str> = route.split('/').skip(1).collect();
    let call = assistants::Call {
        method: &head.method,
        segments: &segments,
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body: &body,
    };
    if call.is_for_assistants() {
        return assist(&review, &call).await;
    }
    match (&head.method, segments.as_slice()) {
        (&Method::POST, ["responses"]) => respond(&review, &body).await,
        (&Method::POST, ["chat", "completions"]) => complete(&review, &body).await,
        (&Method::GET, ["responses", id]) => Ok(review.either(desk.responses.fetch(id))),
        (&Method::DELETE, ["responses", id]) => Ok(review.either(desk.responses.delete(id))),
        (method, ["conversations", rest @ ..]) => {
            let query = head.uri.query().unwrap_or_default();
            let answer = desk
                .conversations
                .handle(method, rest, query, &body, &desk.stamp());
            Ok(match (answer, rest) {
                (Some(answer), _) => review.either(answer),
                (None, []) => not_allowed(&review, "POST"),
                (None, [_]) => not_allowed(&review, "GET, DELETE"),
                (None, [_, "items"]) => not_allowed(&review, "GET"),
                (None, _) => review.refused(&no_such_url(&head.method, path)),
            })
        }
        (&Method::GET, ["models"]) => Ok(review.whole(models(), &[])),
        (_, ["responses"] | ["chat", "completions"]) => Ok(not_allowed(&review, "POST")),
        (_, ["responses", _]) => Ok(not_allowed(&review, "GET, DELETE")),
        (_, ["models"]) => Ok(not_allowed(&review, "GET")),
        _ => Ok(review.refused(&no_such_url(&head.method, path))),
    }
}

fn no_such_url(method: &Method, path: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        kind: "invalid_request_error",
        code: None,
        param: None,
        message: format!("Invalid URL ({method} {path})"),
    }
}

pub(super) async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
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

async fn respond(review: &Review<'_>, body: &[u8]) -> Result<Response<Playback>, Disconnected> {
    let desk = review.desk;
    let (exchange, ask) = match responses::Exchange::read(body, &desk.responses, &desk.conversations) {
        Ok(read) => read,
        Err(refusal) => return Ok(review.refused(&refusal)),
    };
    let (answer, pace) = desk.prompter.cue(&ask);
    let speech = match unless_speech(review, answer).await? {
        Cue::Speech(speech) => speech,
        Cue::Raw(raw) => return Ok(raw),
    };
    let stamp = desk.stamp();
    let waits = pace.waits(stamp.serial);
    if let Err(error) = exchange.keep(&ask, &speech, &stamp, &desk.responses, &desk.conversations) {
        return Ok(review.refused(&cannot_write(&error)));
    }
    if desk.streams(&ask) {
        return Ok(review.stream(exchange.stream(&ask, &speech, &stamp), &speech, waits));
    }
    wait_for_tokens(&speech, waits).await;
    Ok(review.written(exchange.whole(&ask, &speech, &stamp), &speech))
}

async fn complete(review: &Review<'_>, body: &[u8]) -> Result<Response<Playback>, Disconnected> {
    let desk = review.desk;
    let (exchange, ask) = match chat_completions::Exchange::read(body) {
        Ok(read) => read,
        Err(refusal) => return Ok(review.refused(&refusal)),
    };
    let (answer, pace) = desk.prompter.cue(&ask);
    let speech = match unless_speech(review, answer).await? {
        Cue::Speech(speech) => speech,
        Cue::Raw(raw) => return Ok(raw),
    };
    let stamp = desk.stamp();
    let waits = pace.waits(stamp.serial);
    if desk.streams(&ask) {
        return Ok(review.stream(exchange.stream(&ask, &speech, &stamp), &speech, waits));
    }
    wait_for_tokens(&speech, waits).await;
    match exchange.whole(&ask, &speech, &stamp).transpose() {
        Some(body) => Ok(review.written(body, &speech)),
        None => Ok(review.refused(&Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR))),
    }
}

async fn assist(
    review: &Review<'_>,
    call: &assistants::Call<'_>,
) -> Result<Response<Playback>, Disconnected> {
    let desk = review.desk;
    let stamp = desk.stamp();
    let (exchange, ask) = match desk.assistants.handle(call, &stamp) {
        Ok(Reply::Object(object)) => return Ok(review.whole(object.to_string().into_bytes(), &[])),
        Ok(Reply::Answer(exchange, ask)) => (exchange, ask),
        Err(refusal) => return Ok(review.refused(&refusal)),
    };
    let (answer, pace) = desk.prompter.cue(&ask);
    let speech = match unless_speech(review, answer).await? {
        Cue::Speech(speech) => speech,
        Cue::Raw(raw) => return Ok(raw),
    };
    let told = match exchange.tell(&ask, &speech, &stamp) {
        Ok(told) => told,
        Err(error) => return Ok(review.refused(&cannot_write(&error))),
    };
    let waits = pace.waits(stamp.serial);
    let hangs = speech
        .faults
        .iter()
        .any(|fault| matches!(fault, fault::Fault::Hang(_)));
    let duration = match hangs {
        true => LONGEST_HANG,
        false => pace.waits(stamp.serial).total(speech.deltas()),
    };
    let queued = desk.assistants.begin(*exchange, &told, duration);
    if desk.streams(&ask) {
        return Ok(review.stream(Ok(told.events), &speech, waits));
    }
    Ok(review.written(serde_json::to_vec(&queued), &speech))
}

/// What is left to do for an answer.
enum Cue {
    Speech(Speech),
    Raw(Response<Playback>),
}

/// Does everything that is not a speech, which is the same for each dialect.
async fn unless_speech(review: &Review<'_>, answer: Answer) -> Result<Cue, Disconnected> {
    match answer {
        Answer::Say(speech) => Ok(Cue::Speech(speech)),
        Answer::Raw(raw) => Ok(Cue::Raw(review.scripted(raw))),
        Answer::Disconnect => Err(Disconnected),
        Answer::Hang => {
            tokio::time::sleep(LONGEST_HANG).await;
            Err(Disconnected)
        }
    }
}

/// A whole answer comes when its last token would have.
async fn wait_for_tokens(speech: &Speech, waits: Waits) {
    // A sleep of zero would still wait for the timer's next millisecond.
    if !waits.is_none() {
        tokio::time::sleep(waits.total(speech.deltas())).await;
    }
}

pub(super) fn cannot_write(error: &serde_json::Error) -> Refusal {
    let mut refusal = Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR);
    refusal.message = format!("The simulator cannot write this answer: {error}");
    refusal
}

pub(super) fn whole(body: Vec<u8>, faults: &[fault::Fault]) -> Response<Playback> {
    typed("application/json", Playback::whole(body, faults))
}

pub(super) fn typed(content_type: &'static str, body: Playback) -> Response<Playback> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn refused(refusal: &Refusal) -> Response<Playback> {
    let mut response = whole(refusal.body(), &[]);
    *response.status_mut() = refusal.status;
    response
}

fn not_allowed(review: &Review<'_>, allowed: &'static str) -> Response<Playback> {
    let mut refusal = Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED);
    refusal.message = format!("Not allowed to {} on {}.", review.method, review.path);
    let mut response = review.refused(&refusal);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn models() -> Vec<u8> {
    let model = serde_json::json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "assistd"});
    serde_json::json!({"object": "list", "data": [model]})
        .to_string()
        .into_bytes()
}
