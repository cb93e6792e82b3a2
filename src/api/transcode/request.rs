//! An HTTP request into the message that the RPC takes.

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::Shared;
use super::bind::{Binding, Payload};
use super::decode::{self, Unknown};
use super::error::{Refusal, Violation};
use super::frame::PREFIX_BYTES;
use super::media;
use super::query::{self, FieldPath};
use super::schema::Schema;
use super::{raw, route};

/// The name of the field that a client's `Last-Event-ID` goes to.
pub const CURSOR_FIELD: &str = "after_sequence";
const LAST_EVENT_ID: &str = "last-event-id";

/// What of an HTTP request goes into the message.
pub struct Parts<'a> {
    /// The raw segments of the path.
    pub segments: &'a [&'a str],
    /// The raw query.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// Reads a body, up to the limit.
///
/// # Errors
/// A refusal when it is larger or cannot be read.
pub async fn read<B>(shared: &Shared, body: B) -> Result<Bytes, Refusal>
where
    B: Body,
    B::Error: std::fmt::Display,
{
    let limit_bytes = shared.options.body_limit_bytes;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(shared.refusals.too_large(limit_bytes));
    }
    let mut body = std::pin::pin!(body);
    let (mut first, mut whole) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| shared.refusals.unreadable(&error))?;
        let Ok(mut chunk) = frame.into_data() else {
            continue;
        };
        if first.len().max(whole.len()) + chunk.remaining() > limit_bytes {
            return Err(shared.refusals.too_large(limit_bytes));
        }
        if first.is_empty() && whole.is_empty() {
            // Most bodies come in one piece, which need not be copied.
            first = chunk.copy_to_bytes(chunk.remaining());
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        while chunk.has_remaining() {
            let piece = chunk.chunk();
            whole.extend_from_slice(piece);
            let taken = piece.len();
            chunk.advance(taken);
        }
    }
    Ok(if whole.is_empty() {
        first
    } else {
        Bytes::from(whole)
    })
}

/// The request's message with gRPC's prefix before it. Later parts win where they meet: the body,
/// then the path, then the query, then the cursor.
///
/// # Errors
/// A refusal that says which field is not as it should be.
pub fn message(shared: &Shared, binding: &Binding, parts: &Parts<'_>) -> Result<Bytes, Refusal> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + parts.body.len() + 64);
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    put_body(shared, binding, parts, &mut out)?;
    put_path(shared, binding, parts, &mut out)?;
    put_query(shared, binding, parts, &mut out)?;
    put_cursor(shared, binding, parts, &mut out)?;
    let length = u32::try_from(out.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
    out[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(Bytes::from(out))
}

fn put_body(shared: &Shared, binding: &Binding, parts: &Parts<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let (schema, refusals, input) = (&shared.schema, &shared.refusals, binding.rpc.input);
    if !parts.body.is_empty() && media::is_encoded(parts.headers) {
        return Err(refusals.unsupported_encoding(HeaderValue::from_static("identity")));
    }
    if binding.body.is_raw(schema, input) {
        let content_type = parts.headers.get(http::header::CONTENT_TYPE);
        raw::put(schema, input, binding.body, content_type, parts.body, out);
        return Ok(());
    }
    if parts.body.is_empty() {
        return Ok(());
    }
    if binding.body == Payload::None {
        return Err(refusals.violations(vec![violation("", "this method takes no body")]));
    }
    if let Some(problem) = media::refused_json(parts.headers) {
        return Err(refusals.unsupported_media_type(problem));
    }
    let Ok(json) = std::str::from_utf8(parts.body) else {
        return Err(refusals.violations(vec![violation("", "the body is not utf-8")]));
    };
    let decoded = match binding.body {
        Payload::Field(position) => {
            let field = &schema.message(input).fields[position];
            decode::field(schema, field, json, Unknown::Refuse, out)
        }
        Payload::Whole | Payload::None => decode::message(schema, input, json, Unknown::Refuse, out),
    };
    decoded.map_err(|problem| {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
        refusals.problem(json, &if is_json { problem } else { problem.in_no_json() })
    })
}

fn violation(field: &str, description: &str) -> Violation {
    Violation {
        field: field.to_owned(),
        description: description.to_owned(),
    }
}

fn put_path(shared: &Shared, binding: &Binding, parts: &Parts<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    for (variable, path) in binding.template.variables.iter().zip(&binding.variables) {
        let put = match route::capture(variable, &binding.template, parts.segments) {
            Ok(text) => path.put(&shared.schema, &text, out),
            Err(error) => Err(error.to_string().into()),
        };
        if let Err(reason) = put {
            return Err(shared
                .refusals
                .violations(vec![violation(&variable.path.join("."), &reason)]));
        }
    }
    Ok(())
}

fn put_query(
    shared: &Shared,
    binding: &Binding,
    parts: &Parts<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let Some(query) = parts.query.filter(|query| !query.is_empty()) else {
        return Ok(());
    };
    let refuse = |mut violations: Vec<Violation>| {
        for violation in &mut violations {
            violation.field = query::proto_name(&shared.schema, binding.rpc.input, &violation.field);
        }
        shared.refusals.violations(violations)
    };
    let pairs = query::pairs(query, shared.options.plus).map_err(|violation| refuse(vec![violation]))?;
    if binding.body == Payload::Whole {
        let only_body = "this method takes its fields from the body only";
        return Err(refuse(
            pairs.iter().map(|pair| violation(&pair.0, only_body)).collect(),
        ));
    }
    let body = match binding.body {
        Payload::Field(position) => Some([shared.schema.message(binding.rpc.input).fields[position].number]),
        Payload::None | Payload::Whole => None,
    };
    let variables = binding.variables.iter().map(|path| &*path.numbers);
    let bound: Vec<&[u32]> = variables.chain(body.as_ref().map(|number| &number[..])).collect();
    let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
    query::bind(&shared.schema, binding.rpc.input, pairs, &bound, out).map_err(refuse)
}

/// Whether a client can go on after an event that it has seen.
pub(super) fn resumes(schema: &Schema, binding: &Binding) -> bool {
    binding.rpc.server_streams && FieldPath::resolve(schema, binding.rpc.input, CURSOR_FIELD).is_ok()
}

/// Whether the client goes on after an event that it has seen.
pub(super) fn is_resumed(schema: &Schema, binding: &Binding, headers: &HeaderMap) -> bool {
    headers.contains_key(LAST_EVENT_ID) && resumes(schema, binding)
}

fn put_cursor(
    shared: &Shared,
    binding: &Binding,
    parts: &Parts<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let Some(id) = parts
        .headers
        .get(LAST_EVENT_ID)
        .filter(|_| binding.rpc.server_streams)
    else {
        return Ok(());
    };
    let Ok(path) = FieldPath::resolve(&shared.schema, binding.rpc.input, CURSOR_FIELD) else {
        return Ok(());
    };
    let text = id.to_str().unwrap_or_default();
    path.put(&shared.schema, text, out)
        .map_err(|reason| shared.refusals.violations(vec![violation(CURSOR_FIELD, &reason)]))
}
