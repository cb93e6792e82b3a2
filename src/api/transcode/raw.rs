//! `google.api.HttpBody`: bodies that are raw bytes and not JSON.

use bytes::Bytes;
use http::HeaderValue;

use super::bind::Payload;
use super::schema::{MessageId, Schema};
use super::wire::{self, WireType};

const CONTENT_TYPE: u32 = 1;
const DATA: u32 = 2;

/// Appends a raw body to a request, as the whole of it or as one of its fields.
pub fn put(
    schema: &Schema,
    message: MessageId,
    payload: Payload,
    content_type: Option<&HeaderValue>,
    data: &[u8],
    out: &mut Vec<u8>,
) {
    let start = match payload {
        Payload::Field(position) => {
            wire::put_tag(
                out,
                schema.message(message).fields[position].number,
                WireType::Delimited,
            );
            Some(wire::open(out))
        }
        Payload::Whole | Payload::None => None,
    };
    if let Some(content_type) = content_type.and_then(|value| value.to_str().ok()) {
        wire::put_tag(out, CONTENT_TYPE, WireType::Delimited);
        wire::put_bytes(out, content_type.as_bytes());
    }
    wire::put_tag(out, DATA, WireType::Delimited);
    wire::put_bytes(out, data);
    if let Some(start) = start {
        wire::close(out, start);
    }
}

/// The `HttpBody` in a response.
#[must_use]
pub fn held(schema: &Schema, message: MessageId, payload: Payload, bytes: &Bytes) -> Bytes {
    match payload {
        Payload::Field(position) => part(bytes, schema.message(message).fields[position].number),
        Payload::Whole | Payload::None => bytes.clone(),
    }
}

/// The data of an `HttpBody`.
#[must_use]
pub fn data(body: &Bytes) -> Bytes {
    part(body, DATA)
}

/// The content type of an `HttpBody`, if it names one.
#[must_use]
pub fn content_type(body: &Bytes) -> HeaderValue {
    let named = Some(part(body, CONTENT_TYPE)).filter(|named| !named.is_empty());
    named
        .and_then(|named| HeaderValue::from_maybe_shared(named).ok())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn part(message: &Bytes, number: u32) -> Bytes {
    let (mut at, mut found) = (0, Bytes::new());
    while let Ok(Some(record)) = wire::record(message, &mut at) {
        if record.number == number && record.wire == WireType::Delimited {
            found = message.slice(record.start..record.end);
        }
    }
    found
}
