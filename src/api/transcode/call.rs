//! One HTTP request: find the route, call the RPC, answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as HttpBody;
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

use super::Shared;
use super::bind::{Binding, Payload};
use super::error::Refusal;
use super::frame::Messages;
use super::media::{self, StreamForm};
use super::request::{self, Parts};
use super::route::Found;
use super::stream::{RawBody, StreamBody, Writer};
use super::{headers, print, raw};

/// Answers a request; every error is an answer too.
pub async fn answer<S, B>(shared: Arc<Shared>, inner: S, request: Request<B>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    B: HttpBody,
    B::Error: std::fmt::Display,
{
    let is_head = request.method() == Method::HEAD;
    let mut response = match transcode(&shared, inner, request).await {
        Ok(response) => response,
        Err(refusal) => shared.refusals.response(&shared.schema, refusal),
    };
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}

async fn transcode<S, B>(
    shared: &Arc<Shared>,
    inner: S,
    request: Request<B>,
) -> Result<Response<Body>, Refusal>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    B: HttpBody,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    let mut segments = Vec::with_capacity(8);
    // HEAD is what GET would answer, without the body.
    let is_head = head.method == Method::HEAD;
    let method = if is_head { &Method::GET } else { &head.method };
    let position = match shared.router.find(method, head.uri.path(), &mut segments) {
        Found::Route(position) => *position,
        Found::Nothing => return Err(shared.refusals.unknown_path()),
        Found::OtherMethods(methods) if *method == Method::OPTIONS => return Ok(options(&methods)),
        Found::OtherMethods(methods) => return Err(shared.refusals.other_method(allow(&methods))),
    };
    let binding = &shared.bindings[position];
    if binding.rpc.client_streams {
        return Err(shared.refusals.client_streaming());
    }
    let form = negotiate(shared, binding, &head.headers)?;
    let body = request::read(shared, body).await?;
    let parts = Parts {
        segments: &segments,
        query: head.uri.query(),
        headers: &head.headers,
        body: &body,
    };
    let message = request::message(shared, binding, &parts)?;

    let mut call = Request::new(Body::new(Full::new(message)));
    *call.method_mut() = Method::POST;
    *call.version_mut() = Version::HTTP_2;
    *call.uri_mut() = binding.rpc.path.clone().into();
    *call.headers_mut() = headers::to_grpc(&head.headers).map_err(|name| shared.refusals.not_bytes(&name))?;
    *call.extensions_mut() = head.extensions;
    let response = match inner.oneshot(call).await {
        Ok(response) => response,
        Err(never) => match never {},
    };

    let (answer, body) = response.into_parts();
    match Status::from_header_map(&answer.headers) {
        Some(status) if status.code() != Code::Ok => return Err(status.into()),
        None if answer.status != StatusCode::OK => return Err(foreign(answer.status).into()),
        Some(_) | None => {}
    }
    let messages = Messages::new(body);
    match form {
        Some(form) => {
            let grace = if is_head {
                Duration::ZERO
            } else {
                shared.options.first_message_grace
            };
            let opening = Opening {
                position,
                form,
                grace,
                is_resumed: request::is_resumed(&shared.schema, binding, &head.headers),
            };
            stream(shared, opening, &answer.headers, messages).await
        }
        None => unary(shared, binding, &answer.headers, messages).await,
    }
}

/// The form of a streamed answer; none for one that is not streamed, or is raw bytes.
fn negotiate(shared: &Shared, binding: &Binding, headers: &HeaderMap) -> Result<Option<StreamForm>, Refusal> {
    let is_raw = binding.response.is_raw(&shared.schema, binding.rpc.output);
    if binding.rpc.server_streams {
        let form = StreamForm::accepted(headers).or(is_raw.then_some(StreamForm::Events));
        let refuse = || {
            shared
                .refusals
                .not_acceptable("text/event-stream or application/x-ndjson")
        };
        return form.ok_or_else(refuse).map(Some);
    }
    if is_raw || media::accepts_json(headers) {
        return Ok(None);
    }
    Err(shared.refusals.not_acceptable("application/json"))
}

/// The status for an answer that did not come from gRPC at all, by gRPC's own table for clients.
fn foreign(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(
        code,
        format!("the service answered with http status {}", status.as_u16()),
    )
}

fn allow(methods: &[&Method]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

fn options(methods: &[&Method]) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, allow(methods));
    response
}

async fn unary(
    shared: &Shared,
    binding: &Binding,
    head: &HeaderMap,
    mut messages: Messages,
) -> Result<Response<Body>, Refusal> {
    let internal = |cause: &dyn std::fmt::Display| shared.refusals.internal(&binding.rpc.name, cause);
    let message = match messages.next().await {
        Some(message) => message?,
        None => return Err(internal(&"no message")),
    };
    match messages.next().await {
        Some(Ok(_)) => return Err(internal(&"more than one message")),
        Some(Err(status)) => return Err(status.into()),
        None => {}
    }
    let (schema, output) = (&shared.schema, binding.rpc.output);
    let (content_type, body) = if binding.response.is_raw(schema, output) {
        let held = raw::held(schema, output, binding.response, &message);
        (raw::content_type(&held), raw::data(&held))
    } else {
        let mut json = Vec::with_capacity(message.len() * 2 + 64);
        let printed = match binding.response {
            Payload::Field(position) => print::field(
                schema,
                &schema.message(output).fields[position],
                &message,
                &mut json,
            ),
            Payload::Whole | Payload::None => print::message(schema, output, &message, &mut json),
        };
        printed.map_err(|error| internal(&error))?;
        (HeaderValue::from_static("application/json"), Bytes::from(json))
    };
    let length = body.len();
    let mut response = Response::new(Body::new(Full::new(body)));
    let headers = response.headers_mut();
    headers::copy_metadata(head, headers);
    if let Some(trailers) = messages.trailers() {
        headers::copy_metadata(trailers, headers);
    }
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// What a streamed answer begins from.
struct Opening {
    /// The binding's position.
    position: usize,
    form: StreamForm,
    /// How long to wait for the first message.
    grace: Duration,
    /// The client goes on after an event that it has seen.
    is_resumed: bool,
}

async fn stream(
    shared: &Arc<Shared>,
    opening: Opening,
    head: &HeaderMap,
    mut messages: Messages,
) -> Result<Response<Body>, Refusal> {
    let Opening {
        position,
        form,
        grace,
        is_resumed,
    } = opening;
    // What goes wrong before the first message is an ordinary error. A call that has nothing to say
    // for a while has begun well, though, and its client should know.
    let first = match tokio::time::timeout(grace, messages.next()).await {
        Ok(Some(first)) => Some(first?),
        // A browser takes any other end for a break, and would ask for the rest for ever.
        Ok(None) if is_resumed => return Ok(nothing_more(head)),
        Ok(None) | Err(_) => None,
    };
    let binding = &shared.bindings[position];
    let (schema, output) = (&shared.schema, binding.rpc.output);
    let mut response = if binding.response.is_raw(schema, output) {
        let held = first.map(|message| raw::held(schema, output, binding.response, &message));
        let content_type = raw::content_type(held.as_ref().unwrap_or(&Bytes::new()));
        let first = held.as_ref().map(raw::data);
        let body = RawBody {
            shared: Arc::clone(shared),
            binding: position,
            first,
            messages,
        };
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    } else {
        let writer = Writer {
            shared: Arc::clone(shared),
            binding: position,
            form,
        };
        let body = StreamBody::new(writer, messages, first.as_ref());
        let mut response = Response::new(Body::new(body));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, form.content_type());
        response
    };
    let headers = response.headers_mut();
    headers::copy_metadata(head, headers);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// 204: a stream that is gone on with is over.
fn nothing_more(head: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers::copy_metadata(head, headers);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
