//! gRPC-Web by hand: a request as it is written on the wire, and an answer taken apart.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::world::World;

/// An answer, whatever it was.
#[derive(Debug)]
pub struct WebAnswer {
    /// The HTTP status.
    pub http: u16,
    headers: HeaderMap,
    /// The messages, if the body has any.
    pub messages: Vec<Vec<u8>>,
    trailers: BTreeMap<String, String>,
}

impl WebAnswer {
    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What stands in the trailers, or in the headers of an answer that is nothing but trailers.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let trailer = self.trailers.get(name).map(String::as_str);
        trailer.or_else(|| self.headers.get(name).map(|value| value.to_str().unwrap()))
    }

    /// The call's status.
    pub fn code(&self) -> Option<i64> {
        self.trailer("grpc-status").map(|code| code.parse().unwrap())
    }
}

/// Sends a request over HTTP/1.1.
pub async fn send(
    world: &World,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> WebAnswer {
    let method: Method = method.parse().unwrap();
    let mut request = reqwest::Client::new().request(method, world.url(path)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (http, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.unwrap();
    let content_type = headers
        .get("content-type")
        .map_or("", |value| value.to_str().unwrap());
    let body = match content_type {
        of_text if of_text.starts_with("application/grpc-web-text") => bytes(&body),
        of_web if of_web.starts_with("application/grpc-web") => body.to_vec(),
        _ => Vec::new(),
    };
    let (messages, trailers) = frames(&body);
    WebAnswer {
        http,
        headers,
        messages,
        trailers,
    }
}

/// Base64 in chunks, each with its own padding.
fn bytes(text: &[u8]) -> Vec<u8> {
    text.chunks(4)
        .flat_map(|quantum| BASE64_STANDARD.decode(quantum).unwrap())
        .collect()
}

/// The messages of a body, and its trailers.
pub fn frames(mut body: &[u8]) -> (Vec<Vec<u8>>, BTreeMap<String, String>) {
    let (mut messages, mut trailers) = (Vec::new(), BTreeMap::new());
    while let Some(([flag, length @ ..], rest)) = body.split_first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let (frame, rest) = rest.split_at(length);
        body = rest;
        if *flag < 0x80 {
            messages.push(frame.to_vec());
            continue;
        }
        let lines = std::str::from_utf8(frame).unwrap().lines();
        trailers.extend(
            lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())),
        );
    }
    assert!(body.is_empty(), "half a frame: {body:?}");
    (messages, trailers)
}
