//! The wire format into ProtoJSON, in one pass, without a message in between.

mod open;

use super::scalar::{self, Reason};
use super::schema::{Field, Kind, Label, MessageId, Schema, Shape};
use super::text::{put, put_double, put_integer, put_string, put_unsigned};
use super::wellknown::{put_duration, put_mask_path, put_timestamp};
use super::wire::{self, Malformed, Record, WireType};

use super::decode::DEPTH_LIMIT;

/// Why a message has no JSON form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message has no json form: {0}")]
pub struct Unprintable(Reason);

impl From<Malformed> for Unprintable {
    fn from(_: Malformed) -> Self {
        Self("malformed protobuf message".into())
    }
}

impl From<Reason> for Unprintable {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl From<&'static str> for Unprintable {
    fn from(reason: &'static str) -> Self {
        Self(reason.into())
    }
}

/// Appends the JSON form of an encoded message: fields without presence always, those with presence
/// when they are set, in the order of their numbers.
///
/// # Errors
/// When the bytes are not such a message, or it holds a value that JSON cannot have.
pub fn message(schema: &Schema, id: MessageId, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unprintable> {
    Printer {
        schema,
        spans: Vec::new(),
    }
    .message(id, bytes, out, DEPTH_LIMIT)
}

/// Appends the JSON form of one field of an encoded message; an unset message is `null`.
///
/// # Errors
/// As for [`message`].
pub fn field(schema: &Schema, field: &Field, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unprintable> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(record) = wire::record(bytes, &mut at)? {
        if record.number == field.number {
            records.push(Span { position: 0, record });
        }
    }
    if records.is_empty() && field.label == Label::Optional {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let count = records.len();
    Printer {
        schema,
        spans: records,
    }
    .field(field, bytes, 0..count, out, DEPTH_LIMIT)
}

/// A record and the position of its field in the message's plan.
#[derive(Clone, Copy)]
struct Span {
    position: usize,
    record: Record,
}

/// The spans of all messages that are open lie in one vector, so that a message costs no allocation.
struct Printer<'a> {
    schema: &'a Schema,
    spans: Vec<Span>,
}

impl Printer<'_> {
    fn message(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
        match self.schema.message(id).shape {
            Shape::Object => {
                out.push(b'{');
                self.members(id, bytes, out, depth)?;
                if out.last() == Some(&b',') {
                    out.pop();
                }
                out.push(b'}');
                Ok(())
            }
            Shape::Timestamp => {
                let (seconds, nanos) = instant(bytes)?;
                Ok(put_timestamp(out, seconds, nanos)?)
            }
            Shape::Duration => {
                let (seconds, nanos) = instant(bytes)?;
                Ok(put_duration(out, seconds, nanos)?)
            }
            Shape::FieldMask => mask(bytes, out),
            Shape::Wrapper => {
                let schema = self.schema;
                let value = &schema.message(id).fields[0];
                field(schema, value, bytes, out)
            }
            Shape::Struct => self.structure(bytes, out, depth),
            Shape::List => self.list(bytes, out, depth),
            Shape::Value => self.value(bytes, out, depth),
            Shape::Any => self.any(bytes, out, depth),
        }
    }

    /// The members of an object, each with a comma after it.
    fn members(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        let schema = self.schema;
        let plan = schema.message(id);
        let base = self.spans.len();
        self.collect(id, bytes)?;
        let mut next = base;
        for (position, field) in plan.fields.iter().enumerate() {
            let first = next;
            while self.spans.get(next).is_some_and(|span| span.position == position) {
                next += 1;
            }
            if first == next && field.label == Label::Optional {
                continue;
            }
            out.extend_from_slice(&field.key);
            self.field(field, bytes, first..next, out, depth)?;
            out.push(b',');
        }
        self.spans.truncate(base);
        Ok(())
    }

    /// Lays out the known records by field, each field's in the order of the wire.
    fn collect(&mut self, id: MessageId, bytes: &[u8]) -> Result<(), Unprintable> {
        let plan = self.schema.message(id);
        let base = self.spans.len();
        let (mut at, mut sorted, mut last) = (0, true, 0);
        while let Some(record) = wire::record(bytes, &mut at)? {
            let Some(position) = plan.by_number(record.number) else {
                continue;
            };
            let oneof = plan.fields[position].oneof;
            if oneof.is_some() {
                // Of a oneof's fields, the last on the wire is the one that is set.
                let mut kept = base;
                for index in base..self.spans.len() {
                    let span = self.spans[index];
                    if span.position == position || plan.fields[span.position].oneof != oneof {
                        self.spans[kept] = span;
                        kept += 1;
                    }
                }
                self.spans.truncate(kept);
            }
            sorted &= position >= last;
            last = position;
            self.spans.push(Span { position, record });
        }
        if !sorted {
            self.spans[base..].sort_by_key(|span| span.position);
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        bytes: &[u8],
        spans: std::ops::Range<usize>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        match field.label {
            Label::Repeated { .. } => {
                out.push(b'[');
                for index in spans {
                    let record = self.spans[index].record;
                    self.elements(field.kind, record, bytes, out, depth)?;
                }
                close(out, b']');
                Ok(())
            }
            Label::Map => {
                out.push(b'{');
                for index in spans {
                    let record = self.spans[index].record;
                    self.entry(field.kind, delimited(record, bytes)?, out, depth)?;
                    out.push(b',');
                }
                close(out, b'}');
                Ok(())
            }
            Label::Implicit | Label::Optional => match (spans.len(), field.kind) {
                (0, kind) => self.default(kind, out, depth),
                (2.., Kind::Message(id)) => {
                    // A message that comes in parts is their merger, and merging is concatenation.
                    let mut whole = Vec::new();
                    for span in &self.spans[spans] {
                        whole.extend_from_slice(delimited(span.record, bytes)?);
                    }
                    self.message(id, &whole, out, depth)
                }
                (_, kind) => {
                    let record = self.spans[spans.end - 1].record;
                    self.single(kind, record, bytes, out, depth)
                }
            },
        }
    }

    fn elements(
        &mut self,
        kind: Kind,
        record: Record,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        if record.wire == kind.wire() {
            self.single(kind, record, bytes, out, depth)?;
            out.push(b',');
            return Ok(());
        }
        let packed = delimited(record, bytes)?;
        let mut at = 0;
        while at < packed.len() {
            let bits = match kind.wire() {
                WireType::Varint => wire::varint(packed, &mut at)?,
                WireType::Fixed64 => u64::from_le_bytes(wire::take(packed, &mut at)?),
                WireType::Fixed32 => u64::from(u32::from_le_bytes(wire::take(packed, &mut at)?)),
                WireType::Delimited => return Err(Malformed.into()),
            };
            self.bits(kind, bits, out);
            out.push(b',');
        }
        Ok(())
    }

    fn entry(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        let Kind::Message(id) = kind else {
            return Err(Malformed.into());
        };
        let schema = self.schema;
        let fields = &schema.message(id).fields;
        let base = self.spans.len();
        self.collect(id, bytes)?;
        let split = base + self.spans[base..].partition_point(|span| span.position == 0);
        let end = self.spans.len();
        let quote = fields[0].kind != Kind::String && !quoted(fields[0].kind);
        if quote {
            out.push(b'"');
        }
        self.field(&fields[0], bytes, base..split, out, depth)?;
        out.extend_from_slice(if quote { b"\":" } else { b":" });
        self.field(&fields[1], bytes, split..end, out, depth)?;
        self.spans.truncate(base);
        Ok(())
    }

    fn default(&mut self, kind: Kind, out: &mut Vec<u8>, depth: usize) -> Result<(), Unprintable> {
        match kind {
            Kind::Message(id) => self.message(id, &[], out, depth)?,
            Kind::String | Kind::Bytes => out.extend_from_slice(b"\"\""),
            _ => self.bits(kind, 0, out),
        }
        Ok(())
    }

    fn single(
        &mut self,
        kind: Kind,
        record: Record,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        if record.wire != kind.wire() {
            return Err(Malformed.into());
        }
        match kind {
            Kind::Message(id) => self.message(id, delimited(record, bytes)?, out, depth)?,
            Kind::String => put_string(out, utf8(delimited(record, bytes)?)?),
            Kind::Bytes => {
                out.push(b'"');
                scalar::encode_base64(out, delimited(record, bytes)?);
                out.push(b'"');
            }
            _ => self.bits(kind, record.bits, out),
        }
        Ok(())
    }

    fn bits(&self, kind: Kind, bits: u64, out: &mut Vec<u8>) {
        match kind {
            Kind::Double => double(out, f64::from_bits(bits)),
            Kind::Float => float(out, f32::from_bits(bits as u32)),
            Kind::Int32 | Kind::Sfixed32 => put_integer(out, i64::from(bits as i32)),
            Kind::Sint32 => put_integer(out, i64::from(wire::unzigzag(bits & 0xffff_ffff) as i32)),
            Kind::Uint32 | Kind::Fixed32 => put_unsigned(out, u64::from(bits as u32)),
            Kind::Int64 | Kind::Sfixed64 => in_quotes(out, |out| put_integer(out, bits as i64)),
            Kind::Sint64 => in_quotes(out, |out| put_integer(out, wire::unzigzag(bits))),
            Kind::Uint64 | Kind::Fixed64 => in_quotes(out, |out| put_unsigned(out, bits)),
            Kind::Bool => out.extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
            Kind::Enum(id) => {
                let plan = self.schema.enumeration(id);
                match plan.name(bits as i32) {
                    Some(_) if plan.is_null => out.extend_from_slice(b"null"),
                    Some(name) => put_string(out, name),
                    None => put_integer(out, i64::from(bits as i32)),
                }
            }
            Kind::String | Kind::Bytes | Kind::Message(_) => {}
        }
    }
}

/// Ends an array or object whose elements each left a comma.
fn close(out: &mut Vec<u8>, bracket: u8) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(bracket);
}

/// Whether numbers of this kind come in quotes of their own.
fn quoted(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64
    )
}

fn in_quotes(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn delimited(record: Record, bytes: &[u8]) -> Result<&[u8], Malformed> {
    if record.wire == WireType::Delimited {
        Ok(&bytes[record.start..record.end])
    } else {
        Err(Malformed)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Unprintable> {
    std::str::from_utf8(bytes).map_err(|_| "a string is not utf-8".into())
}

fn instant(bytes: &[u8]) -> Result<(i64, i64), Malformed> {
    let (mut seconds, mut nanos, mut at) = (0, 0, 0);
    while let Some(record) = wire::record(bytes, &mut at)? {
        match (record.number, record.wire) {
            (1, WireType::Varint) => seconds = record.bits as i64,
            (2, WireType::Varint) => nanos = i64::from(record.bits as i32),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

fn mask(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unprintable> {
    out.push(b'"');
    let mut at = 0;
    while let Some(record) = wire::record(bytes, &mut at)? {
        if record.number == 1 {
            put_mask_path(out, utf8(delimited(record, bytes)?)?)?;
            out.push(b',');
        }
    }
    close(out, b'"');
    Ok(())
}

fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        put_double(out, value);
    } else {
        put_infinite(out, value);
    }
}

fn float(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        put_infinite(out, f64::from(value));
    } else if value.fract() == 0.0 && value.abs() <= 16_777_216.0 {
        put_double(out, f64::from(value));
    } else {
        put(out, format_args!("{value:?}"));
    }
}

fn put_infinite(out: &mut Vec<u8>, value: f64) {
    let text = if value.is_nan() {
        "\"NaN\""
    } else if value > 0.0 {
        "\"Infinity\""
    } else {
        "\"-Infinity\""
    };
    out.extend_from_slice(text.as_bytes());
}
