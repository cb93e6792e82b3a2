//! HTTP/JSON in front of a small gRPC service that answers with what it was asked.

mod bodies;
mod sockets;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use assistd::api::transcode::bind::BuildError;
use assistd::api::transcode::decode::{self, Unknown};
use assistd::api::transcode::query::{self, Plus};
use assistd::api::transcode::schema::Schema;
use assistd::api::transcode::template::Template;
use assistd::api::transcode::wire::{self, WireType};
use assistd::api::transcode::{Options, Transcoder, print};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Service, ServiceExt as _};

fn pool(file: &str) -> DescriptorPool {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let folders = [format!("{root}tests/fixtures/proto"), format!("{root}proto")];
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.include_imports(true).open_file(file).unwrap();
    DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
}

/// The service: it echoes the message, and does what the message's texts tell it to do.
#[derive(Clone, Default)]
struct Shelf {
    /// How many response bodies are being held.
    open: Arc<AtomicUsize>,
    /// How many frames have been asked for.
    asked: Arc<AtomicUsize>,
    /// Told when a response body is let go.
    left: Arc<Notify>,
}

/// Frames that are given one by one; counts itself as long as it lives.
struct Script {
    frames: Box<dyn Iterator<Item = Frame<Bytes>> + Send>,
    hangs: bool,
    shelf: Shelf,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.shelf.asked.fetch_add(1, Ordering::SeqCst);
        match self.frames.next() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.hangs => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.shelf.open.fetch_sub(1, Ordering::SeqCst);
        self.shelf.left.notify_one();
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    trailers.insert("shelf-time", HeaderValue::from_static("1ms"));
    Frame::trailers(trailers)
}

fn event(sequence: u8, text: &str) -> Frame<Bytes> {
    let mut message = vec![8, sequence, 0x12, u8::try_from(text.len()).unwrap()];
    message.extend_from_slice(text.as_bytes());
    Frame::data(framed(&message))
}

fn overloaded() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("OVERLOADED", "shelf.example", std::collections::HashMap::new());
    details.set_retry_info(Some(Duration::from_millis(1500)));
    Status::with_error_details(Code::ResourceExhausted, "too many \"readers\"", details)
}

impl Shelf {
    fn answer(&self, path: &str, headers: &HeaderMap, message: &Bytes) -> Response<Body> {
        let has = |text: &str| message.windows(text.len()).any(|part| part == text.as_bytes());
        let mut hangs = false;
        let frames = match path {
            _ if has("refuse-at-once") => return overloaded().into_http(),
            _ if has("who-are-you") => return Status::unauthenticated("no token").into_http(),
            _ if has("unknown-detail") => {
                let any = b"\x0a\x0etype.test/Nope\x12\x02\x01\x02";
                let status = [
                    &[8, 13, 0x12, 1, b'x', 0x1a, u8::try_from(any.len()).unwrap()],
                    &any[..],
                ]
                .concat();
                return Status::with_details(Code::Internal, "x", status.into()).into_http();
            }
            _ if has("refuse-late") => vec![trailers(&overloaded())],
            "/shelf.v1.Shelf/Watch" if has("fail-after-two") => {
                vec![event(1, "a"), event(2, "b\n"), trailers(&overloaded())]
            }
            "/shelf.v1.Shelf/Watch" if has("cut") => vec![event(1, "a")],
            "/shelf.v1.Shelf/Watch" if has("nothing") => vec![trailers(&Status::ok(""))],
            "/shelf.v1.Shelf/Watch" if has("silent") => {
                hangs = true;
                Vec::new()
            }
            "/shelf.v1.Shelf/Watch" if has("hang") => {
                hangs = true;
                vec![event(1, "a")]
            }
            "/shelf.v1.Shelf/Watch" if has("flood") => {
                let frames = Box::new(std::iter::repeat_with(|| event(1, &"x".repeat(100))));
                return self.streamed(frames, false);
            }
            "/shelf.v1.Shelf/Download" => {
                // Each is an HttpBody: its content type is field 1, its data field 2.
                let data = |text: &str| Frame::data(framed(text.as_bytes()));
                let mut frames = vec![data("\n\x08text/csv\x12\x04a,b\n"), data("\x12\x04c,d\n")];
                frames.extend((!has("cut")).then(|| trailers(&Status::ok(""))));
                frames
            }
            "/shelf.v1.Shelf/Watch" if has("echo") => {
                vec![Frame::data(framed(message)), trailers(&Status::ok(""))]
            }
            "/shelf.v1.Shelf/Watch" => vec![
                event(1, "a"),
                event(2, "b"),
                event(0, "c"),
                trailers(&Status::ok("")),
            ],
            _ => vec![Frame::data(framed(message)), trailers(&Status::ok(""))],
        };
        let mut response = self.streamed(Box::new(frames.into_iter()), hangs);
        for name in ["authorization", "team", "cookie", "key-bin"] {
            if let Some(value) = headers.get(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }

    fn streamed(&self, frames: Box<dyn Iterator<Item = Frame<Bytes>> + Send>, hangs: bool) -> Response<Body> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let body = Script {
            frames,
            hangs,
            shelf: self.clone(),
        };
        let mut response = Response::new(Body::new(body));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }
}

impl Service<Request<Body>> for Shelf {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shelf = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            assert_eq!(
                usize::try_from(u32::from_be_bytes(body[1..5].try_into().unwrap())).unwrap(),
                body.len() - 5
            );
            Ok(shelf.answer(head.uri.path(), &head.headers, &body.slice(5..)))
        })
    }
}

fn transcoder(shelf: Shelf) -> Transcoder<Shelf> {
    let options = Options {
        body_limit_bytes: 1000,
        error_domain: "shelf.example".to_owned(),
        ..Options::default()
    };
    Transcoder::new(&pool("shelf.proto"), shelf, options).unwrap()
}

async fn send(request: Request<Full<Bytes>>) -> Response<Body> {
    transcoder(Shelf::default()).oneshot(request).await.unwrap()
}

fn request(line: &str, body: &str) -> Request<Full<Bytes>> {
    let (method, uri) = line.split_once(' ').unwrap();
    let builder = Request::builder().method(method).uri(uri);
    let builder = if body.is_empty() {
        builder
    } else {
        builder.header("content-type", "application/json")
    };
    builder.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The status and the JSON of an answer; of an answer that is a book, only what was set.
async fn exchange(line: &str, body: &str) -> (u16, Value) {
    let response = send(request(line, body)).await;
    let status = response.status().as_u16();
    let mut json: Value = serde_json::from_str(&text(response).await).unwrap();
    if let Some(fields) = json
        .as_object_mut()
        .filter(|fields| fields.contains_key("coverImage"))
    {
        let defaults = [
            json!(""),
            json!("0"),
            json!([]),
            json!({}),
            json!("COVER_UNSPECIFIED"),
        ];
        fields.retain(|_, value| !defaults.contains(value));
    }
    (status, json)
}

#[tokio::test]
async fn every_way_of_binding_reaches_the_request() {
    for (line, body, expected) in [
        (
            "GET /v1/shelves/a/books/b%2Fc",
            "",
            json!({"name": "shelves/a/books/b%2Fc"}),
        ),
        ("GET /v1/books/b%2Fc%20d", "", json!({"name": "b/c d"})),
        (
            "GET /v1/by-author/Ann/7",
            "",
            json!({"author": {"name": "Ann", "languages": []}, "count": "7"}),
        ),
        ("GET /v1/files/a/b", "", json!({"name": "a/b"})),
        ("GET /v1/files", "", json!({})),
        (
            "GET /v1/books/b?tags=x&tags=y+z&author.languages=en&cover=COVER_HARD&rating=0&count=-5",
            "",
            json!({"name": "b", "tags": ["x", "y z"], "author": {"name": "", "languages": ["en"]},
                   "cover": "COVER_HARD", "rating": 0, "count": "-5"}),
        ),
        (
            "GET /v1/books/b?publishedAt=2024-01-02T03:04:05%2B01:00&loan=1.5s&updateMask=author.name,tags&note=n",
            "",
            json!({"name": "b", "publishedAt": "2024-01-02T02:04:05Z", "loan": "1.500s",
                   "updateMask": "author.name,tags", "note": "n"}),
        ),
        (
            "GET /v1/books/b?stock[a%2Eb]=3&update_mask=cover_image",
            "",
            json!({"name": "b", "stock": {"a.b": 3}, "updateMask": "coverImage"}),
        ),
        (
            "GET /v1/books/b?covers=1&covers=COVER_HARD",
            "",
            json!({"name": "b", "covers": ["COVER_HARD", "COVER_HARD"]}),
        ),
        (
            "POST /v1/books",
            r#"{"name":"n","extra":{"q":3,"r":1.5,"big":9007199254740992},"box":0}"#,
            json!({"name": "n", "extra": {"q": 3, "r": 1.5, "big": 9_007_199_254_740_992_i64}, "box": 0}),
        ),
        ("POST /v1/books", "", json!({})),
        (
            "PATCH /v1/shelves/a?count=2",
            r#"{"name":"Ann"}"#,
            json!({"name": "shelves/a", "author": {"name": "Ann", "languages": []}, "count": "2"}),
        ),
        (
            "POST /v1/shelves/a:return?room=r",
            "",
            json!({"name": "shelves/a", "room": "r"}),
        ),
        ("GET /v1/authors/Ann", "", json!({"name": "Ann", "languages": []})),
    ] {
        assert_eq!(exchange(line, body).await, (200, expected), "{line}");
    }
}

#[tokio::test]
async fn what_is_not_as_it_should_be_is_refused_with_the_field() {
    for (line, body, field) in [
        ("GET /v1/books/b?nope=1", "", "nope"),
        ("GET /v1/books/b?count=1&count=2", "", "count"),
        ("GET /v1/books/b?room=a&box=1", "", "box"),
        ("GET /v1/books/b?count=1.5", "", "count"),
        ("GET /v1/books/b?note=%zz", "", "note"),
        ("GET /v1/books/%ff", "", "name"),
        ("GET /v1/by-author/Ann/many", "", "count"),
        ("POST /v1/books?count=1", "{}", "count"),
        ("POST /v1/books?publishedAt=1&Nope=2", "{}", "published_at"),
        ("GET /v1/books/b?publishedAt=now", "", "published_at"),
        ("GET /v1/books/b?publishedAt=%zz", "", "published_at"),
        ("GET /v1/books/b?publishedAt.Nope=1", "", "published_at.Nope"),
        ("GET /v1/books/b?stock[publishedAt]=x", "", "stock[publishedAt]"),
        ("POST /v1/books", r#"{"publishedAt":"now"}"#, "published_at"),
        ("POST /v1/books", r#"{"author":{"nam":"x"}}"#, "author.nam"),
        ("POST /v1/books", r#"{"tags":["a",1]}"#, "tags[1]"),
        ("POST /v1/books", r#"{"room":"a","box":1}"#, "box"),
        ("POST /v1/books", r#"{"extra":{"n":9007199254740993}}"#, "extra.n"),
        ("POST /v1/books", r#"{"stock":{"a":1.5}}"#, "stock[a]"),
        ("POST /v1/books", "{", ""),
        ("POST /v1/books", "null", ""),
        ("PATCH /v1/shelves/a", r#"{"nam":1}"#, "author.nam"),
        ("POST /v1/shelves/a:return", "{}", ""),
    ] {
        let (status, json) = exchange(line, body).await;
        let details = &json["error"]["details"];
        assert_eq!(
            (status, &json["error"]["status"]),
            (400, &json!("INVALID_ARGUMENT")),
            "{line} {body}: {json}"
        );
        assert_eq!(details[0]["reason"], "VALIDATION_FAILED", "{json}");
        assert_eq!(details[0]["domain"], "shelf.example", "{json}");
        assert_eq!(
            details[1]["@type"], "type.googleapis.com/google.rpc.BadRequest",
            "{json}"
        );
        assert_eq!(
            details[1]["fieldViolations"][0]["field"], field,
            "{line} {body}: {json}"
        );
    }
}

#[tokio::test]
async fn http_has_its_own_errors_with_their_own_statuses() {
    for (line, content_type, accept, body, expected) in [
        ("GET /v1/nowhere", "", "", "", (404, "PATH_NOT_FOUND")),
        ("GET /v1/books/b/", "", "", "", (404, "PATH_NOT_FOUND")),
        ("DELETE /v1/books/b", "", "", "", (405, "METHOD_NOT_ALLOWED")),
        ("POST /shelf.v1.Shelf/Hidden", "", "", "", (404, "PATH_NOT_FOUND")),
        (
            "POST /v1/collect",
            "",
            "",
            "",
            (501, "CLIENT_STREAMING_UNSUPPORTED"),
        ),
        ("POST /v1/talk", "", "", "", (501, "CLIENT_STREAMING_UNSUPPORTED")),
        (
            "POST /v1/talk",
            "application/json",
            "text/event-stream",
            "{}",
            (501, "CLIENT_STREAMING_UNSUPPORTED"),
        ),
        (
            "POST /v1/books",
            "text/plain",
            "",
            "{}",
            (415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        (
            "POST /v1/books",
            "application/json",
            "text/html",
            "{}",
            (406, "NOT_ACCEPTABLE"),
        ),
        (
            "GET /v1/events",
            "",
            "application/json",
            "",
            (406, "NOT_ACCEPTABLE"),
        ),
    ] {
        let mut request = request(line, body);
        for (name, value) in [("content-type", content_type), ("accept", accept)] {
            if !value.is_empty() {
                request
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
        }
        let response = send(request).await;
        let (status, allow) = (
            response.status().as_u16(),
            response.headers().get("allow").cloned(),
        );
        let json: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(
            (status, json["error"]["details"][0]["reason"].as_str().unwrap()),
            expected,
            "{line}: {json}"
        );
        assert_eq!(json["error"]["code"], status);
        assert_eq!(allow.is_some(), status == 405);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_or_not_its_length_is_known() {
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1000));
    let known = send(request("POST /v1/books", &large)).await;
    assert_eq!(known.status(), 413);
    let chunks = large
        .into_bytes()
        .chunks(100)
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>();
    let stream = tokio_stream::iter(
        chunks
            .into_iter()
            .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk)))),
    );
    let request = Request::post("/v1/books")
        .body(http_body_util::StreamBody::new(stream))
        .unwrap();
    let unknown = transcoder(Shelf::default()).oneshot(request).await.unwrap();
    assert_eq!(unknown.status(), 413);
}

#[tokio::test]
async fn head_and_options_are_answered_for_what_is_bound() {
    let head = send(request("HEAD /v1/books/b", "")).await;
    assert_eq!(head.status(), 200);
    assert!(head.headers()["content-length"] != "0");
    assert_eq!(text(head).await, "");
    let options = send(request("OPTIONS /v1/shelves/a/books/b", "")).await;
    assert_eq!(
        (options.status().as_u16(), &options.headers()["allow"]),
        (204, &HeaderValue::from_static("GET, HEAD, OPTIONS"))
    );
    assert_eq!(send(request("OPTIONS /v1/nowhere", "")).await.status(), 404);
}

#[tokio::test]
async fn raw_bodies_pass_as_they_are() {
    let request = Request::post("/v1/blobs")
        .header("content-type", "image/png")
        .header("accept", "image/png")
        .body(Full::new(Bytes::from_static(&[0xff, 0, 1])))
        .unwrap();
    let response = send(request).await;
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        &[0xff, 0, 1][..]
    );
}

#[tokio::test]
async fn an_error_of_the_service_keeps_its_details() {
    for how in ["refuse-at-once", "refuse-late"] {
        for line in [
            format!("GET /v1/books/{how}"),
            format!("GET /v1/events?how={how}"),
        ] {
            let response = send(request(&line, "")).await;
            assert_eq!(response.status(), 429, "{line}");
            assert_eq!(response.headers()["retry-after"], "2", "{line}");
            assert_eq!(response.headers()["content-type"], "application/json");
            let json: Value = serde_json::from_str(&text(response).await).unwrap();
            let details = json["error"]["details"].as_array().unwrap();
            let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str());
            assert_eq!(delay, Some("1.500s"), "{json}");
            assert_eq!(
                details
                    .iter()
                    .filter(|detail| detail["reason"] == "OVERLOADED")
                    .count(),
                1
            );
            assert_eq!(json["error"]["message"], "too many \"readers\"");
        }
    }
}

#[tokio::test]
async fn a_detail_of_an_unknown_type_keeps_its_bytes() {
    let (status, json) = exchange("GET /v1/books/unknown-detail", "").await;
    assert_eq!(status, 500);
    assert_eq!(
        json["error"]["details"][0],
        json!({"@type": "type.test/Nope", "value": "AQI="}),
        "{json}"
    );
    assert_eq!(
        json["error"]["details"][1]["reason"], "INTERNAL",
        "every error has a reason: {json}"
    );
}

#[tokio::test]
async fn an_answer_without_a_json_form_tells_the_client_nothing_of_why() {
    let (status, json) = exchange("GET /v1/books/b?update_mask=part_3", "").await;
    assert_eq!(
        (status, &json["error"]["status"]),
        (500, &json!("INTERNAL")),
        "{json}"
    );
    assert_eq!(
        json["error"]["message"],
        "the service's answer cannot be passed on"
    );
    assert_eq!(json["error"]["details"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn metadata_passes_both_ways() {
    let mut request = request("GET /v1/books/b", "");
    for (name, value) in [
        ("authorization", "Bearer t"),
        ("grpc-metadata-team", "red"),
        ("grpc-metadata-key-bin", "-_8="),
        ("cookie", "c=1"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let response = send(request).await;
    let headers = response.headers();
    assert_eq!(
        headers["grpc-metadata-authorization"], "Bearer t",
        "the service saw it and sent it back"
    );
    assert_eq!(headers["grpc-metadata-team"], "red");
    assert_eq!(
        headers["grpc-metadata-key-bin"], "+/8",
        "bytes are written as grpc writes them"
    );
    assert_eq!(
        headers["grpc-metadata-shelf-time"], "1ms",
        "trailers come back too"
    );
    assert!(!headers.contains_key("grpc-metadata-cookie") && !headers.contains_key("grpc-status"));
}

#[tokio::test]
async fn metadata_that_is_no_bytes_but_should_be_is_refused() {
    let mut request = request("GET /v1/books/b", "");
    let headers = request.headers_mut();
    headers.insert("grpc-metadata-key-bin", HeaderValue::from_static("a b"));
    let response = send(request).await;
    assert_eq!(response.status(), 400);
    let json: Value = serde_json::from_str(&text(response).await).unwrap();
    let violation = &json["error"]["details"][1]["fieldViolations"][0];
    assert_eq!(violation["field"], "grpc-metadata-key-bin", "{json}");
}

#[tokio::test]
async fn who_is_not_known_is_told_how_to_say_who_it_is() {
    let response = send(request("GET /v1/books/who-are-you", "")).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let json: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(json["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn the_method_is_the_one_of_the_request_line() {
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-http-method", "GET"),
        ("x-method-override", "GET"),
    ] {
        let mut request = request("POST /v1/books/b", "");
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        assert_eq!(send(request).await.status(), 405, "{name}");
    }
    assert_eq!(
        send(request("POST /v1/books/b?_method=GET", "")).await.status(),
        405
    );
}

#[tokio::test]
async fn a_path_of_nothing_but_slashes_leads_nowhere() {
    for path in ["/".repeat(64_000), "/v1".to_owned() + &"/".repeat(64_000)] {
        let response = send(request(&format!("GET {path}"), "")).await;
        assert_eq!(response.status(), 404);
    }
    let many = format!("GET /v1/files{}", "/a".repeat(30_000));
    assert_eq!(
        send(request(&many, "")).await.status(),
        200,
        "but many segments may"
    );
}

async fn watch(how: &str, accept: &'static str) -> Response<Body> {
    let mut request = request(&format!("GET /v1/events?how={how}"), "");
    request
        .headers_mut()
        .insert("accept", HeaderValue::from_static(accept));
    send(request).await
}

#[tokio::test]
async fn a_stream_is_events_with_ids_and_names() {
    let response = watch("well", "*/*").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let expected = "retry: 2000\n\n\
        id: 1\nevent: text_delta\ndata: {\"sequence\":\"1\",\"textDelta\":\"a\"}\n\n\
        id: 2\nevent: text_delta\ndata: {\"sequence\":\"2\",\"textDelta\":\"b\"}\n\n\
        event: text_delta\ndata: {\"sequence\":\"0\",\"textDelta\":\"c\"}\n\n";
    assert_eq!(text(response).await, expected);
}

#[tokio::test]
async fn a_stream_is_lines_for_those_who_ask() {
    let response = watch("well", "application/x-ndjson").await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = text(response).await;
    assert_eq!(text.lines().next(), Some(r#"{"sequence":"1","textDelta":"a"}"#));
    assert_eq!(text.lines().count(), 3);
}

#[tokio::test]
async fn a_stream_that_fails_late_says_so_at_its_end() {
    for how in ["fail-after-two", "cut"] {
        let events = text(watch(how, "*/*").await).await;
        let last = events.trim_end().rsplit("\n\n").next().unwrap();
        let data = last.strip_prefix("event: error\ndata: ").unwrap();
        let error: Value = serde_json::from_str(data).unwrap();
        let code = if how == "cut" { 500 } else { 429 };
        assert_eq!(error["error"]["code"], code, "{how}: {events}");
        let lines = text(watch(how, "application/x-ndjson").await).await;
        let error: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(error["error"]["code"], code, "{how}: {lines}");
    }
}

#[tokio::test]
async fn the_last_event_id_becomes_the_cursor() {
    let mut request = request("GET /v1/events?how=echo&after_sequence=3", "");
    request
        .headers_mut()
        .insert("last-event-id", HeaderValue::from_static("5"));
    let body = text(send(request).await).await;
    assert!(
        body.contains("id: 5\nevent: text_delta\ndata: {\"sequence\":\"5\",\"textDelta\":\"echo\"}"),
        "{body}"
    );
    let mut request = self::request("GET /v1/events", "");
    request
        .headers_mut()
        .insert("last-event-id", HeaderValue::from_static("five"));
    let response = send(request).await;
    assert_eq!(response.status(), 400);
    let json: Value = serde_json::from_str(&text(response).await).unwrap();
    let violation = &json["error"]["details"][1]["fieldViolations"][0];
    assert_eq!(violation["field"], "after_sequence", "{json}");
}

#[tokio::test]
async fn a_stream_that_is_over_for_who_resumes_it_is_no_content() {
    for accept in ["text/event-stream", "application/x-ndjson"] {
        for (how, cursor, expected) in [
            ("nothing", "5", 204),
            ("nothing", "", 200),
            ("well", "5", 200),
            ("refuse-late", "5", 429),
        ] {
            let mut request = request(&format!("GET /v1/events?how={how}"), "");
            let headers = request.headers_mut();
            headers.insert("accept", HeaderValue::from_static(accept));
            if !cursor.is_empty() {
                headers.insert("last-event-id", HeaderValue::from_static(cursor));
            }
            let response = send(request).await;
            assert_eq!(response.status(), expected, "{accept} {how} {cursor}");
            let is_empty = text(response).await.is_empty();
            assert!(is_empty || expected != 204, "{accept} {how} {cursor}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_begins_after_a_short_grace_and_for_head_at_once() {
    for (method, seconds) in [("GET", 1), ("HEAD", 0)] {
        let before = tokio::time::Instant::now();
        let response = send(request(&format!("{method} /v1/events?how=silent"), "")).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(before.elapsed().as_secs(), seconds, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_sends_comments_and_ends_with_its_reader() {
    let shelf = Shelf::default();
    let response = transcoder(shelf.clone())
        .oneshot(request("GET /v1/events?how=hang", ""))
        .await
        .unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"retry: 2000\n\nid: 1\n"), "{first:?}");
    let before = tokio::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), ":\n\n");
    }
    assert_eq!(before.elapsed().as_secs(), 30);
    assert!(!body.is_end_stream());
    assert_eq!(shelf.open.load(Ordering::SeqCst), 1);
    drop(body);
    assert_eq!(shelf.open.load(Ordering::SeqCst), 0);
}

#[test]
fn the_routes_can_be_listed_and_looked_up() {
    let transcoder = transcoder(Shelf::default());
    let first = transcoder.routes().next().unwrap();
    assert_eq!(
        (first.method.as_str(), first.template),
        ("GET", "/v1/{name=shelves/*/books/*}")
    );
    assert_eq!((first.rpc, first.body), ("shelf.v1.Shelf.GetBook", ""));
    assert_eq!(transcoder.routes().count(), 14);
    assert!(transcoder.contains_path("/v1/collect") && !transcoder.contains_path("/healthz"));
}

fn refused(rules: &[&str]) -> String {
    use std::fmt::Write as _;
    let mut source = String::from(
        "syntax = \"proto3\"; package bad; import \"google/api/annotations.proto\";
         message M { string a = 1; repeated string list = 2; M m = 3; } service S {",
    );
    for (index, rule) in rules.iter().enumerate() {
        write!(
            source,
            "rpc R{index}(M) returns (M) {{ option (google.api.http) = {{ {rule} }}; }}"
        )
        .unwrap();
    }
    source.push('}');
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.proto"), source).unwrap();
    let folders = [
        folder.path().to_owned(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into(),
    ];
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.include_imports(true).open_file("bad.proto").unwrap();
    let pool = DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap();
    match Transcoder::new(&pool, Shelf::default(), Options::default()) {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_rule_that_cannot_be_served_names_its_rpc() {
    for (rules, expected) in [
        (
            &["get: \"/a/{a=**}/b\""][..],
            "bad.S.R0: \"/a/{a=**}/b\": ** is not the last segment",
        ),
        (&["get: \"a\""], "bad.S.R0: \"a\": "),
        (&["get: \"/a//b\""], "bad.S.R0: \"/a//b\": "),
        (&["get: \"/a/\""], "bad.S.R0: \"/a/\": "),
        (&["get: \"/a/{a\""], "bad.S.R0: \"/a/{a\": "),
        (&["get: \"/a/{a=}\""], "bad.S.R0: \"/a/{a=}\": "),
        (&["get: \"/a/x{a}\""], "bad.S.R0: \"/a/x{a}\": "),
        (&["get: \"/a/{a={m.a=*}}\""], "bad.S.R0: \"/a/{a={m.a=*}}\": "),
        (&["get: \"/{a}/{a}\""], "bad.S.R0: \"/{a}/{a}\": "),
        (
            &["get: \"/a\" additional_bindings { get: \"/b/**/c\" }"],
            "bad.S.R0: \"/b/**/c\": ** is not the last segment",
        ),
        (
            &["get: \"/a/{list}\""],
            "bad.S.R0: field \"list\": a path variable must be",
        ),
        (
            &["get: \"/a/{m}\""],
            "bad.S.R0: field \"m\": a path variable must be",
        ),
        (&["get: \"/a/{a.b}\""], "bad.S.R0: field \"a.b\": a has no fields"),
        (&["get: \"/a/{nope}\""], "bad.S.R0: field \"nope\": unknown field"),
        (
            &["post: \"/a\" body: \"nope\""],
            "bad.S.R0: field \"nope\": unknown field",
        ),
        (&["get: \"/a\" body: \"*\""], "bad.S.R0: a body with GET"),
        (&["body: \"*\""], "bad.S.R0: a rule without a method"),
        (
            &["get: \"/x/{a}\"", "get: \"/{m.a=x/*}\""],
            "bad.S.R1 and bad.S.R0 are both bound to GET /{m.a=x/*}",
        ),
        (&[], "no rpc carries google.api.http"),
    ] {
        let error = refused(rules);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn options_that_were_lost_are_noticed() {
    let mut compiler = protox::Compiler::new([concat!(env!("CARGO_MANIFEST_DIR"), "/proto")]).unwrap();
    compiler
        .include_imports(true)
        .open_file("google/rpc/status.proto")
        .unwrap();
    let pool = DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap();
    let built = Transcoder::new(&pool, Shelf::default(), Options::default());
    assert!(matches!(built.err(), Some(BuildError::NoRules)));
}

/// The routes of the contract, which clients rely on: a change here is a change for them.
#[test]
fn the_contract_has_these_routes() {
    let pool = DescriptorPool::decode(assistd::api::pb::DESCRIPTOR_SET).unwrap();
    let transcoder = Transcoder::new(&pool, Shelf::default(), Options::default()).unwrap();
    let mut routes: Vec<_> = transcoder
        .routes()
        .map(|route| {
            let body = if route.body.is_empty() { "-" } else { route.body };
            format!("{} {} -> {} {body}", route.method, route.template, route.rpc)
        })
        .collect();
    routes.sort();
    assert_eq!(routes.join("\n") + "\n", include_str!("routes.golden"));
}

/// Records of every wire type, for fields that exist and some that do not.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let record = (
        1..19_u32,
        0..4_u8,
        any::<u64>(),
        proptest::collection::vec(any::<u8>(), 0..12),
    );
    proptest::collection::vec(record, 0..8).prop_map(|records| {
        let mut out = Vec::new();
        for (number, wire_type, bits, bytes) in records {
            let wire_type = [
                WireType::Varint,
                WireType::Fixed64,
                WireType::Delimited,
                WireType::Fixed32,
            ][usize::from(wire_type)];
            wire::put_tag(&mut out, number, wire_type);
            match wire_type {
                WireType::Varint => wire::put_varint(&mut out, bits),
                WireType::Fixed64 => out.extend_from_slice(&bits.to_le_bytes()),
                WireType::Delimited => wire::put_bytes(&mut out, &bytes),
                WireType::Fixed32 => out.extend_from_slice(&bits.to_le_bytes()[..4]),
            }
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_can_be_printed_can_be_read_and_means_the_same(message in records()) {
        let schema = Schema::new(&pool_of_books());
        let book = schema.find("shelf.v1.Book").unwrap();
        let mut json = Vec::new();
        if print::message(&schema, book, &message, &mut json).is_ok() {
            let mut again = (Vec::new(), Vec::new());
            let text = String::from_utf8(json).unwrap();
            decode::message(&schema, book, &text, Unknown::Refuse, &mut again.0).unwrap();
            print::message(&schema, book, &again.0, &mut again.1).unwrap();
            prop_assert_eq!(String::from_utf8(again.1).unwrap(), text);
        }
    }

    #[test]
    fn nothing_that_a_client_sends_is_a_panic(
        json in r#"[{}\[\]",:a-z0-9.eE\\u+ -]{0,40}"#,
        name in "[a-z._\\[\\]]{0,12}",
        text in any::<String>(),
    ) {
        let schema = Schema::new(&pool_of_books());
        let book = schema.find("shelf.v1.Book").unwrap();
        let _ = decode::message(&schema, book, &json, Unknown::Refuse, &mut Vec::new());
        let _ = query::bind(&schema, book, [(&*name, &*text), ("extra", &*json), ("loan", &*json)], &[], &mut Vec::new());
        let _ = query::pairs(&text, Plus::Space);
        let _ = Template::parse(&text);
    }
}

/// The pool, compiled once.
fn pool_of_books() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| pool("shelf.proto"));
    POOL.clone()
}
