//! ProtoJSON into the wire format, in one pass, without a message in between.
//!
//! What is appended for a path or a query parameter after a body is merged by whoever decodes the
//! message: that is how the wire format is defined. So binding is concatenation.

mod open;

use super::scalar;
use super::schema::{Field, Kind, Label, MessageId, Schema, Shape};
use super::text::{Problem, Reader};
use super::wellknown::{MaskSpelling, parse_duration, parse_mask, parse_timestamp};
use super::wire::{self, WireType};

/// How many messages may be nested, entries of maps included: what protobuf's own decoders allow.
pub const DEPTH_LIMIT: usize = 100;

/// What to do with a field or an enum value that the schema does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is an error.
    Refuse,
    /// It is skipped.
    Ignore,
}

/// Reads one JSON text and appends the message's wire form.
///
/// # Errors
/// The first [`Problem`], with the field it lies in. `out` may have been written to by then.
pub fn message(
    schema: &Schema,
    id: MessageId,
    json: &str,
    unknown: Unknown,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let mut decoder = Decoder {
        schema,
        reader: Reader::new(json),
        unknown,
    };
    decoder.message(id, out, DEPTH_LIMIT)?;
    decoder.reader.finish()
}

/// Reads one JSON text as the value of a field, and appends it with its tag.
///
/// # Errors
/// As for [`message`].
pub fn field(
    schema: &Schema,
    field: &Field,
    json: &str,
    unknown: Unknown,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let mut decoder = Decoder {
        schema,
        reader: Reader::new(json),
        unknown,
    };
    decoder
        .field(field, out, DEPTH_LIMIT)
        .map_err(|problem| problem.within(&*field.name))?;
    decoder.reader.finish()
}

struct Decoder<'a> {
    schema: &'a Schema,
    reader: Reader<'a>,
    unknown: Unknown,
}

/// Which fields, or oneofs, have been seen: a bit each.
#[derive(Default)]
struct Seen {
    low: u64,
    high: Vec<u64>,
}

impl Seen {
    /// Marks it; false when it was marked before.
    fn first(&mut self, position: usize) -> bool {
        let word = match position / 64 {
            0 => &mut self.low,
            index => {
                if self.high.len() < index {
                    self.high.resize(index, 0);
                }
                &mut self.high[index - 1]
            }
        };
        let bit = 1 << (position % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

impl Decoder<'_> {
    fn deeper(&self, depth: usize) -> Result<usize, Problem> {
        depth
            .checked_sub(1)
            .filter(|rest| *rest > 0)
            .ok_or_else(|| self.reader.problem("nested too deeply"))
    }

    fn message(&mut self, id: MessageId, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        let schema = self.schema;
        match schema.message(id).shape {
            Shape::Object => self.object(id, out, depth, false),
            Shape::Timestamp => self.instant(out, parse_timestamp),
            Shape::Duration => self.instant(out, parse_duration),
            Shape::FieldMask => {
                let text = self.reader.string()?;
                let paths =
                    parse_mask(&text, MaskSpelling::Json).map_err(|reason| self.reader.problem(reason))?;
                put_mask(out, &paths);
                Ok(())
            }
            Shape::Wrapper => {
                let value = &schema.message(id).fields[0];
                self.singular(value, out, depth)
            }
            Shape::Struct => self.structure(out, depth),
            Shape::List => self.list(out, depth),
            Shape::Value => self.value(out, depth),
            Shape::Any => self.any(out, depth),
        }
    }

    fn instant<E: Into<std::borrow::Cow<'static, str>>>(
        &mut self,
        out: &mut Vec<u8>,
        parse: fn(&str) -> Result<(i64, i32), E>,
    ) -> Result<(), Problem> {
        let text = self.reader.string()?;
        let (seconds, nanos) = parse(&text).map_err(|reason| self.reader.problem(reason))?;
        put_instant(out, seconds, nanos);
        Ok(())
    }

    fn object(
        &mut self,
        id: MessageId,
        out: &mut Vec<u8>,
        depth: usize,
        in_any: bool,
    ) -> Result<(), Problem> {
        let schema = self.schema;
        let plan = schema.message(id);
        self.reader.expect(b'{', "an object")?;
        if self.reader.takes(b'}') {
            return Ok(());
        }
        let (mut fields, mut oneofs) = (Seen::default(), Seen::default());
        loop {
            let name = self.reader.string()?;
            self.reader.expect(b':', "a colon")?;
            match plan.by_name(&name) {
                Some((position, field)) => {
                    if !fields.first(position) {
                        return Err(self.reader.problem("given twice").within(&*field.name));
                    }
                    let is_set = self
                        .field(field, out, depth)
                        .map_err(|problem| problem.within(&*field.name))?;
                    if let Some(oneof) = field.oneof.filter(|_| is_set)
                        && !oneofs.first(usize::from(oneof))
                    {
                        return Err(self
                            .reader
                            .problem("another field of its oneof is set too")
                            .within(&*field.name));
                    }
                }
                None if in_any && name == "@type" => self.reader.skip(depth)?,
                None if self.unknown == Unknown::Ignore => self.reader.skip(depth)?,
                None => return Err(self.reader.problem("unknown field").within(&*name)),
            }
            if !self.reader.takes(b',') {
                return self.reader.expect(b'}', "a comma or the end of the object");
            }
        }
    }

    /// Reads a field's value; false when it was `null` and so is not set.
    fn field(&mut self, field: &Field, out: &mut Vec<u8>, depth: usize) -> Result<bool, Problem> {
        let single = matches!(field.label, Label::Implicit | Label::Optional);
        if self.reader.peek() == b'n'
            && !(single && self.schema.takes_null(field.kind))
            && self.reader.takes_word("null")
        {
            return Ok(false);
        }
        match field.label {
            Label::Implicit | Label::Optional => self.singular(field, out, depth)?,
            Label::Repeated { packed } => self.repeated(field, packed, out, depth)?,
            Label::Map => self.map(field, out, depth)?,
        }
        Ok(true)
    }

    fn singular(&mut self, field: &Field, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        let before = out.len();
        wire::put_tag(out, field.number, field.kind.wire());
        let start = out.len();
        let known = self.single(field.kind, out, depth)?;
        // A default is not written where nobody could tell that it was.
        if !known || (field.label == Label::Implicit && out[start..].iter().all(|byte| *byte == 0)) {
            out.truncate(before);
        }
        Ok(())
    }

    fn repeated(
        &mut self,
        field: &Field,
        packed: bool,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Problem> {
        self.reader.expect(b'[', "an array")?;
        if self.reader.takes(b']') {
            return Ok(());
        }
        let before = out.len();
        let part = packed.then(|| {
            wire::put_tag(out, field.number, WireType::Delimited);
            wire::open(out)
        });
        for index in 0.. {
            let element = out.len();
            if !packed {
                wire::put_tag(out, field.number, field.kind.wire());
            }
            let known = self
                .single(field.kind, out, depth)
                .map_err(|problem| problem.within(format!("[{index}]")))?;
            if !known {
                out.truncate(element);
            }
            if !self.reader.takes(b',') {
                break;
            }
        }
        match part {
            Some(start) if start == out.len() => out.truncate(before),
            Some(start) => wire::close(out, start),
            None => {}
        }
        self.reader.expect(b']', "a comma or the end of the array")
    }

    fn map(&mut self, field: &Field, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        let Kind::Message(entry) = field.kind else {
            return Err(self.reader.problem("not a map"));
        };
        let depth = self.deeper(depth)?;
        let schema = self.schema;
        let entry = &schema.message(entry).fields;
        self.reader.expect(b'{', "an object")?;
        if self.reader.takes(b'}') {
            return Ok(());
        }
        loop {
            let key = self.reader.string()?;
            self.reader.expect(b':', "a colon")?;
            let before = out.len();
            wire::put_tag(out, field.number, WireType::Delimited);
            let start = wire::open(out);
            wire::put_tag(out, 1, entry[0].kind.wire());
            scalar::put_text(schema, entry[0].kind, &key, out).map_err(|reason| {
                self.reader
                    .problem(format!("key: {reason}"))
                    .within(format!("[{key}]"))
            })?;
            wire::put_tag(out, 2, entry[1].kind.wire());
            let known = self
                .single(entry[1].kind, out, depth)
                .map_err(|problem| problem.within(format!("[{key}]")))?;
            if known {
                wire::close(out, start);
            } else {
                out.truncate(before);
            }
            if !self.reader.takes(b',') {
                return self.reader.expect(b'}', "a comma or the end of the object");
            }
        }
    }

    /// One value without its tag; false for an unknown enum name that is to be ignored.
    fn single(&mut self, kind: Kind, out: &mut Vec<u8>, depth: usize) -> Result<bool, Problem> {
        let quoted = self.reader.peek() == b'"';
        match kind {
            Kind::Message(id) => {
                let depth = self.deeper(depth)?;
                let start = wire::open(out);
                self.message(id, out, depth)?;
                wire::close(out, start);
            }
            Kind::Bool if self.reader.takes_word("true") => out.push(1),
            Kind::Bool if self.reader.takes_word("false") => out.push(0),
            Kind::Bool => return Err(self.reader.problem("expected true or false")),
            Kind::Enum(id) => {
                let plan = self.schema.enumeration(id);
                if plan.is_null && self.reader.takes_word("null") {
                    out.push(0);
                } else if quoted {
                    let name = self.reader.string()?;
                    match plan.number(&name) {
                        Some(number) => wire::put_varint(out, i64::from(number) as u64),
                        None if self.unknown == Unknown::Ignore => return Ok(false),
                        None => return Err(self.reader.problem(plan.unknown(&name))),
                    }
                } else {
                    let number = self.reader.number()?;
                    scalar::put_number(Kind::Int32, number, out)
                        .map_err(|reason| self.reader.problem(reason))?;
                }
            }
            Kind::String => {
                let start = wire::open(out);
                self.reader.string_into(out)?;
                wire::close(out, start);
            }
            Kind::Bytes => {
                let text = self.reader.string()?;
                scalar::put_text(self.schema, kind, &text, out)
                    .map_err(|reason| self.reader.problem(reason))?;
            }
            _ if quoted => {
                let text = self.reader.string()?;
                scalar::put_text(self.schema, kind, &text, out)
                    .map_err(|reason| self.reader.problem(reason))?;
            }
            _ => {
                let number = self.reader.number()?;
                scalar::put_number(kind, number, out).map_err(|reason| self.reader.problem(reason))?;
            }
        }
        Ok(true)
    }
}

/// Appends the content of a `Timestamp` or `Duration`.
pub(super) fn put_instant(out: &mut Vec<u8>, seconds: i64, nanos: i32) {
    if seconds != 0 {
        wire::put_tag(out, 1, WireType::Varint);
        wire::put_varint(out, seconds as u64);
    }
    if nanos != 0 {
        wire::put_tag(out, 2, WireType::Varint);
        wire::put_varint(out, i64::from(nanos) as u64);
    }
}

/// Appends the content of a `FieldMask`.
pub(super) fn put_mask(out: &mut Vec<u8>, paths: &[String]) {
    for path in paths {
        wire::put_tag(out, 1, WireType::Delimited);
        wire::put_bytes(out, path.as_bytes());
    }
}
