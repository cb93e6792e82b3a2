//! gRPC-Web, framed by hand.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName};
use prost_reflect::MessageDescriptor;
use tonic::{Code, Status};

use super::door::{Call, Form, Messages, Refusal};
use super::grpc;

/// The bit of a frame that is not a message but the trailers.
const TRAILERS: u8 = 0x80;
const HEAD_BYTES: usize = 5;

/// Asks, and waits for the answer to begin.
pub async fn open(address: SocketAddr, form: Form, call: &Call) -> Messages {
    let message = grpc::encoded(call);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0], &length[..], &message].concat();
    let is_text = form == Form::GrpcWebText;
    let (content_type, body) = if is_text {
        (
            "application/grpc-web-text+proto",
            STANDARD.encode(frame).into_bytes(),
        )
    } else {
        ("application/grpc-web+proto", frame)
    };
    let client = reqwest::Client::builder().http1_only().build().unwrap();
    let mut request = client
        .post(format!("http://{address}{}", grpc::path(call)))
        .header("content-type", content_type)
        .header("accept", content_type)
        .header("x-grpc-web", "1");
    if let Some(timeout) = grpc::timeout(call) {
        request = request.header("grpc-timeout", timeout);
    }
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(response.headers()["content-type"], content_type);
    if let Some(status) = Status::from_header_map(response.headers()) {
        return futures::stream::iter([Err(grpc::refusal(&status))]).boxed();
    }
    let reader = Reader {
        bytes: response.bytes_stream().boxed(),
        is_text,
        coded: Vec::new(),
        buffer: BytesMut::new(),
        output: call.method.output(),
        is_over: false,
    };
    futures::stream::unfold(reader, Reader::next).boxed()
}

/// An answer's body, read frame by frame.
struct Reader {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    is_text: bool,
    /// What of a text is not decoded yet.
    coded: Vec<u8>,
    buffer: BytesMut,
    output: MessageDescriptor,
    is_over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<prost_reflect::DynamicMessage, Refusal>, Self)> {
        if self.is_over {
            return None;
        }
        let (flags, payload) = self.frame().await;
        if flags & TRAILERS == 0 {
            return Some((Ok(grpc::decoded(&self.output, &payload)), self));
        }
        self.is_over = true;
        let status = Status::from_header_map(&trailers(&payload)).expect("trailers have a status");
        assert!(
            self.buffer.is_empty() && self.bytes.next().await.is_none(),
            "trailers are last"
        );
        (status.code() != Code::Ok).then(|| (Err(grpc::refusal(&status)), self))
    }

    async fn frame(&mut self) -> (u8, Bytes) {
        loop {
            if let Some(&[flags, a, b, c, d]) = self.buffer.first_chunk() {
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
                if self.buffer.len() >= HEAD_BYTES + length {
                    self.buffer.advance(HEAD_BYTES);
                    return (flags, self.buffer.split_to(length).freeze());
                }
            }
            let chunk = self
                .bytes
                .next()
                .await
                .expect("the body ends with trailers")
                .unwrap();
            self.take(&chunk);
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        if !self.is_text {
            return self.buffer.extend_from_slice(chunk);
        }
        // Each piece of a text may have its own padding, so four letters are decoded at a time.
        self.coded.extend_from_slice(chunk);
        let whole = self.coded.len() / 4 * 4;
        for letters in self.coded.drain(..whole).collect::<Vec<_>>().chunks(4) {
            self.buffer.extend_from_slice(&STANDARD.decode(letters).unwrap());
        }
    }
}

fn trailers(payload: &[u8]) -> HeaderMap {
    let text = std::str::from_utf8(payload).unwrap();
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap())
        })
        .collect()
}
