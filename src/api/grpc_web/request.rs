//! The body of a gRPC-Web request: bytes whatever its form, and no more messages than the method takes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use super::media::Form;
use super::text::{Decoder, Malformed};
use crate::api::request_id::RequestId;
use crate::api::status;
use crate::run::error::{Error, Reason};

/// A flag and a length come before each message.
const PREFIX_BYTES: usize = 5;

/// The one kind of method here that takes a stream: reflection's. The contract has none.
const TAKES_A_STREAM: &str = "/ServerReflectionInfo";

/// How many messages a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// One: it is unary, or streams from the server only.
    One,
    /// Any number.
    Many,
}

/// How many messages the method at that path takes.
pub fn messages(path: &str) -> Messages {
    if path.ends_with(TAKES_A_STREAM) {
        Messages::Many
    } else {
        Messages::One
    }
}

/// A request's body in binary.
pub struct RequestBody {
    body: Body,
    /// For a body in text, until that is over.
    text: Option<Decoder>,
    /// For a method that takes one message.
    only: Option<OneMessage>,
    id: RequestId,
}

impl RequestBody {
    /// This body, that comes in that form.
    pub fn new(body: Body, form: Form, messages: Messages, id: RequestId) -> Self {
        Self {
            body,
            text: (form == Form::Text).then(Decoder::default),
            only: (messages == Messages::One).then(OneMessage::default),
            id,
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        let bytes = match &mut self.text {
            Some(decoder) => decoder.take(&piece).map(Bytes::from).map_err(not_base64)?,
            None => piece,
        };
        self.count(bytes)
    }

    fn finish(&mut self) -> Result<Bytes, Error> {
        match self.text.take() {
            Some(mut decoder) => {
                let rest = decoder.finish().map_err(not_base64)?;
                self.count(rest.into())
            }
            None => Ok(Bytes::new()),
        }
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, Error> {
        if self.only.as_mut().is_none_or(|only| only.take(&bytes)) {
            return Ok(bytes);
        }
        Err(Error::new(
            Reason::Unimplemented,
            "this method takes one message, and there is another",
        ))
    }
}

fn not_base64(_: Malformed) -> Error {
    Error::new(Reason::ValidationFailed, "the body is not base64")
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            let bytes = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => self.take(piece),
                    // HTTP's own trailers say nothing in gRPC-Web.
                    Err(_) => continue,
                },
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => match self.finish() {
                    Ok(rest) if rest.is_empty() => return Poll::Ready(None),
                    rest => rest,
                },
            };
            let bytes = bytes.map_err(|error| status::of(&error, self.id.as_str()));
            // What is less than a letter's worth of bytes has to wait.
            if !bytes.as_ref().is_ok_and(Bytes::is_empty) {
                return Poll::Ready(Some(bytes.map(Frame::data)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && self.body.is_end_stream()
    }
}

/// Sees that one message comes, and nothing after it.
#[derive(Debug, Default)]
struct OneMessage {
    prefix: Vec<u8>,
    /// How much of the message is missing, in bytes, once its prefix is there.
    missing: Option<u64>,
}

impl OneMessage {
    /// Whether these bytes still belong to it.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        if self.missing.is_none() {
            let (prefix, rest) = bytes.split_at(bytes.len().min(PREFIX_BYTES - self.prefix.len()));
            self.prefix.extend_from_slice(prefix);
            bytes = rest;
            self.missing = match *self.prefix {
                [_, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
                _ => None,
            };
        }
        let missing = self.missing.unwrap_or_default();
        match missing.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.missing = self.missing.map(|_| left);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn one_message_is_one_however_it_comes() {
        let cases: [(&[u8], bool); 5] = [
            (b"", true),
            (b"\0\0\0\0\x02ab", true),
            (b"\0\0\0\0\0", true),
            (b"\0\0\0\0\x02abc", false),
            (b"\0\0\0\0\0\0", false),
        ];
        for (bytes, expected) in cases {
            for piece in 1..=bytes.len().max(1) {
                let mut only = OneMessage::default();
                let is_one = bytes.chunks(piece).all(|piece| only.take(piece));
                assert_eq!(is_one, expected, "{bytes:?} in {piece}");
            }
        }
    }

    #[test]
    fn the_contract_takes_no_streams() {
        let pool = DescriptorPool::decode(crate::api::pb::DESCRIPTOR_SET).unwrap();
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let expected = if method.is_client_streaming() {
                    Messages::Many
                } else {
                    Messages::One
                };
                assert_eq!(messages(&path), expected, "{path}");
            }
        }
        assert_eq!(
            messages("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            Messages::Many
        );
    }
}
