//! Bodies in gzip and zstd, both ways, over every door.

use std::io::{Read as _, Write as _};

use assistd::api::pb;
use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::simulator::{Script, Turn};
use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::world::{PATIENCE, World};

const CODINGS: [&str; 2] = ["gzip", "zstd"];

fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    if coding == "zstd" {
        return zstd::encode_all(bytes, 1).unwrap();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One body, of which there is always more.
fn endless(coding: &str) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let mut encoder: Box<dyn Encoder> = match coding {
        "zstd" => Box::new(zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap()),
        _ => Box::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        )),
    };
    futures::stream::repeat_with(move || {
        encoder.write_all(&[b' '; 50_000])?;
        encoder.flush()?;
        Ok(Bytes::from(encoder.taken()))
    })
}

trait Encoder: std::io::Write + Send {
    /// What has been encoded since the last time.
    fn taken(&mut self) -> Vec<u8>;
}

impl Encoder for flate2::write::GzEncoder<Vec<u8>> {
    fn taken(&mut self) -> Vec<u8> {
        std::mem::take(self.get_mut())
    }
}

impl Encoder for zstd::stream::write::Encoder<'static, Vec<u8>> {
    fn taken(&mut self) -> Vec<u8> {
        std::mem::take(self.get_mut())
    }
}

fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "zstd" => zstd::decode_all(bytes).unwrap(),
        "gzip" => {
            let mut decoded = Vec::new();
            flate2::read::GzDecoder::new(bytes)
                .read_to_end(&mut decoded)
                .unwrap();
            decoded
        }
        _ => bytes.to_vec(),
    }
}

async fn post(world: &World, path: &str, coding: &'static str, body: impl Into<Body>) -> Response {
    let request = reqwest::Client::new()
        .post(world.url(path))
        .header("content-type", "application/json")
        .header("content-encoding", coding);
    request.body(body).send().await.unwrap()
}

async fn ask(world: &World, method: Method, path: &str, accept: &'static str) -> Response {
    let request = reqwest::Client::new().request(method, world.url(path));
    let request = if accept.is_empty() {
        request
    } else {
        request.header("accept-encoding", accept)
    };
    request.send().await.unwrap()
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_request_may_come_in_either_coding() {
    let world = World::new(Script::stand_in()).await;
    let body = json!({"message": "hi"}).to_string();
    for coding in CODINGS {
        for (path, field) in [("/v1/chat", "response"), ("/assistant/chat", "response")] {
            let response = post(&world, path, coding, encode(coding, body.as_bytes())).await;
            assert_eq!(response.status(), 200, "{path} {coding}");
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer[field], "Mock reply to: hi", "{path} {coding}");
        }
    }
    for path in ["/v1/chat", "/assistant/chat"] {
        let response = post(&world, path, "br", body.clone()).await;
        assert_eq!(response.status(), 415, "{path}");
        assert_eq!(header(response.headers(), "accept-encoding"), "gzip, zstd");
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["details"][0]["reason"], "UNSUPPORTED_MEDIA_TYPE");
        for coding in CODINGS {
            let broken = post(&world, path, coding, body.clone()).await;
            assert_eq!(broken.status(), 400, "{path} {coding}");
            let told = broken.text().await.unwrap();
            let is_plain = ["code:", "Custom", "InvalidData"]
                .iter()
                .all(|word| !told.contains(word));
            assert!(is_plain, "what a decoder says of itself is for nobody: {told}");
            let mut cut = encode(coding, body.as_bytes());
            cut.truncate(cut.len() - 3);
            assert_eq!(
                post(&world, path, coding, cut).await.status(),
                400,
                "{path} {coding}"
            );
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_body_that_never_stops_growing_is_refused_at_the_limit() {
    let world = World::with(Script::stand_in(), |config| config.api.body_limit_bytes = 100_000).await;
    let large = json!({"message": "x".repeat(200_000)}).to_string();
    for coding in CODINGS {
        for path in ["/v1/chat", "/assistant/chat"] {
            let response = post(&world, path, coding, encode(coding, large.as_bytes())).await;
            assert_eq!(response.status(), 413, "{path} {coding}");
            // There is no end to it: whoever wanted to see the whole would wait for ever.
            let response = post(&world, path, coding, Body::wrap_stream(endless(coding)));
            let response = tokio::time::timeout(PATIENCE, response);
            assert_eq!(response.await.unwrap().status(), 413, "{path} {coding}");
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn an_answer_comes_in_the_coding_that_is_liked_best() {
    let world = World::new(Script::stand_in()).await;
    for path in ["/openapi.json", "/docs"] {
        let plain = ask(&world, Method::GET, path, "").await;
        assert_eq!(header(plain.headers(), "content-encoding"), "");
        let varies = plain.headers().get_all("vary").iter();
        assert!(varies.into_iter().any(|value| value == "accept-encoding"));
        let whole = plain.bytes().await.unwrap();
        for (accept, coding) in [
            ("gzip", "gzip"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("zstd;q=0.1, gzip", "gzip"),
            ("*", "zstd"),
            ("gzip;q=0", ""),
            ("br", ""),
            ("identity, gzip;q=0.5", ""),
        ] {
            let response = ask(&world, Method::GET, path, accept).await;
            let headers = response.headers().clone();
            assert_eq!(header(&headers, "content-encoding"), coding, "{path} {accept}");
            let body = response.bytes().await.unwrap();
            assert!(decode(coding, &body) == whole, "{path} {accept}");
            assert!(
                coding.is_empty() || body.len() < whole.len() / 2,
                "{path} {accept}"
            );

            let head = ask(&world, Method::HEAD, path, accept).await;
            assert_eq!(header(head.headers(), "content-encoding"), coding);

            let tag = header(&headers, "etag");
            let request = reqwest::Client::new().get(world.url(path));
            let again = request.header("if-none-match", tag).send().await.unwrap();
            assert_eq!(again.status(), 304, "{path} {accept} {tag}");
        }
    }
    let long = json!({"message": "x".repeat(5_000)});
    let request = reqwest::Client::new()
        .post(world.url("/v1/chat"))
        .header("accept-encoding", "zstd");
    let response = request.json(&long).send().await.unwrap();
    assert_eq!(header(response.headers(), "content-encoding"), "zstd");
    let answer: Value = serde_json::from_slice(&decode("zstd", &response.bytes().await.unwrap())).unwrap();
    assert!(answer["response"].as_str().unwrap().ends_with("xxx"));
    world.stopped().await;
}

#[tokio::test]
async fn what_is_tiny_is_left_alone_unless_it_must_not_be() {
    let world = World::new(Script::stand_in()).await;
    for (accept, status, coding) in [
        ("gzip", 200, ""),
        ("gzip, identity;q=0", 200, "gzip"),
        ("zstd, *;q=0", 200, "zstd"),
        ("identity;q=0", 406, ""),
        ("br, *;q=0", 406, ""),
    ] {
        for path in ["/v1/threads", "/health"] {
            let response = ask(&world, Method::GET, path, accept).await;
            assert_eq!(response.status(), status, "{path} {accept}");
            assert_eq!(
                header(response.headers(), "content-encoding"),
                coding,
                "{path} {accept}"
            );
            let body = decode(coding, &response.bytes().await.unwrap());
            serde_json::from_slice::<Value>(&body).unwrap();
        }
    }
    let options = ask(&world, Method::OPTIONS, "/v1/chat", "gzip, identity;q=0").await;
    assert_eq!(options.status(), 204);
    assert_eq!(header(options.headers(), "content-encoding"), "");
    world.stopped().await;
}

#[tokio::test]
async fn a_stream_is_never_held_back_by_a_coding() {
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let world = World::new(Script::turns([Turn::hang()])).await;
        let request = reqwest::Client::new()
            .post(world.url("/v1/chat:stream"))
            .header("accept", accept)
            .header("accept-encoding", "gzip, zstd, identity;q=0");
        let request = request.json(&json!({"message": "hi"}));
        let response = request.send().await.unwrap();
        assert_eq!(header(response.headers(), "content-encoding"), "");
        let mut body = response.bytes_stream();
        let first = tokio::time::timeout(PATIENCE, body.next()).await.unwrap();
        let first = first.unwrap().unwrap();
        let first = std::str::from_utf8(&first).unwrap();
        assert!(first.contains("\"sequence\":\"1\""), "{first}");
        drop(body);
        world.stopped().await;
    }
}

async fn client(world: &World, coding: CompressionEncoding) -> AssistantServiceClient<Channel> {
    world
        .grpc()
        .await
        .send_compressed(coding)
        .accept_compressed(coding)
}

fn chat(text: String) -> pb::ChatRequest {
    pb::ChatRequest {
        message: text,
        ..Default::default()
    }
}

#[tokio::test]
async fn grpc_compresses_messages_both_ways_and_bounds_them_decoded() {
    let world = World::with(Script::stand_in(), |config| config.api.body_limit_bytes = 100_000).await;
    for (coding, name) in [
        (CompressionEncoding::Gzip, "gzip"),
        (CompressionEncoding::Zstd, "zstd"),
    ] {
        let mut client = client(&world, coding).await;
        for length in [2, 50_000] {
            let text = "x".repeat(length);
            let answer = client.chat(chat(text.clone())).await.unwrap();
            assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), name);
            assert!(answer.into_inner().response.ends_with(&text));
        }
        let mut events = client
            .stream_chat(chat("hi".to_owned()))
            .await
            .unwrap()
            .into_inner();
        let mut last = None;
        while let Some(event) = events.message().await.unwrap() {
            last = Some(event);
        }
        assert!(last.unwrap().sequence > 3);

        let refused = client.chat(chat("x".repeat(300_000))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(
            refused.get_error_details().error_info().unwrap().reason,
            "REQUEST_TOO_LARGE"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_coding_of_messages_that_is_not_known_is_refused_with_those_that_are() {
    let world = World::new(Script::stand_in()).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let request = client
        .post(world.url("/assistant.v1.AssistantService/Chat"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "snappy");
    let response = request.body(vec![0; 5]).send().await.unwrap();
    let headers = response.headers();
    assert_eq!(header(headers, "grpc-status"), "12");
    assert!(header(headers, "grpc-message").contains("snappy"), "{headers:?}");
    let accepted = header(headers, "grpc-accept-encoding");
    assert!(
        accepted.contains("gzip") && accepted.contains("zstd"),
        "{accepted}"
    );
    world.stopped().await;
}
