//! Values whose fields no schema names (`Struct`, `ListValue`, `Value`) and those that name their own
//! schema (`Any`).

use super::{Decoder, Unknown};
use crate::api::transcode::scalar;
use crate::api::transcode::schema::{Kind, MessageId, Shape};
use crate::api::transcode::text::Problem;
use crate::api::transcode::wire::{self, WireType};

impl Decoder<'_> {
    pub(super) fn structure(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        let depth = self.deeper(self.deeper(depth)?)?;
        self.reader.expect(b'{', "an object")?;
        if self.reader.takes(b'}') {
            return Ok(());
        }
        loop {
            let key = self.reader.string()?;
            self.reader.expect(b':', "a colon")?;
            wire::put_tag(out, 1, WireType::Delimited);
            let entry = wire::open(out);
            wire::put_tag(out, 1, WireType::Delimited);
            wire::put_bytes(out, key.as_bytes());
            wire::put_tag(out, 2, WireType::Delimited);
            let value = wire::open(out);
            self.value(out, depth).map_err(|problem| problem.within(&*key))?;
            wire::close(out, value);
            wire::close(out, entry);
            if !self.reader.takes(b',') {
                return self.reader.expect(b'}', "a comma or the end of the object");
            }
        }
    }

    pub(super) fn list(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        let depth = self.deeper(depth)?;
        self.reader.expect(b'[', "an array")?;
        if self.reader.takes(b']') {
            return Ok(());
        }
        for index in 0.. {
            wire::put_tag(out, 1, WireType::Delimited);
            let value = wire::open(out);
            self.value(out, depth)
                .map_err(|problem| problem.within(format!("[{index}]")))?;
            wire::close(out, value);
            if !self.reader.takes(b',') {
                break;
            }
        }
        self.reader.expect(b']', "a comma or the end of the array")
    }

    pub(super) fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        match self.reader.peek() {
            b'n' if self.reader.takes_word("null") => {
                wire::put_tag(out, 1, WireType::Varint);
                out.push(0);
            }
            b'"' => {
                let text = self.reader.string()?;
                wire::put_tag(out, 3, WireType::Delimited);
                wire::put_bytes(out, text.as_bytes());
            }
            b't' if self.reader.takes_word("true") => out.extend_from_slice(&[4 << 3, 1]),
            b'f' if self.reader.takes_word("false") => out.extend_from_slice(&[4 << 3, 0]),
            b'{' => {
                wire::put_tag(out, 5, WireType::Delimited);
                let start = wire::open(out);
                let depth = self.deeper(depth)?;
                self.structure(out, depth)?;
                wire::close(out, start);
            }
            b'[' => {
                wire::put_tag(out, 6, WireType::Delimited);
                let start = wire::open(out);
                let depth = self.deeper(depth)?;
                self.list(out, depth)?;
                wire::close(out, start);
            }
            _ => {
                let number = self.reader.number()?;
                self.exact(number)?;
                wire::put_tag(out, 2, WireType::Fixed64);
                scalar::put_number(Kind::Double, number, out)
                    .map_err(|reason| self.reader.problem(reason))?;
            }
        }
        Ok(())
    }

    /// A `Struct` holds doubles: an integer that a double would change is refused, not changed.
    fn exact(&self, number: &str) -> Result<(), Problem> {
        const LIMIT: u64 = 1 << 53;
        if number.contains(['.', 'e', 'E']) {
            return Ok(());
        }
        match number.parse::<i64>() {
            Ok(value) if value.unsigned_abs() <= LIMIT => Ok(()),
            _ => Err(self
                .reader
                .problem("integers beyond 2^53 cannot be kept exactly here; use a string")),
        }
    }

    pub(super) fn any(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        let depth = self.deeper(depth)?;
        let Some(url) = self.type_url(depth)? else {
            self.reader.expect(b'{', "an object")?;
            return self.reader.expect(b'}', "@type in the object");
        };
        let name = url.rsplit_once('/').map_or("", |(_, name)| name);
        let Some(id) = self.schema.find(name) else {
            return Err(self
                .reader
                .problem(format!("unknown type {url:?}"))
                .within("@type"));
        };
        wire::put_tag(out, 1, WireType::Delimited);
        wire::put_bytes(out, url.as_bytes());
        let before = out.len();
        wire::put_tag(out, 2, WireType::Delimited);
        let start = wire::open(out);
        if self.schema.message(id).shape == Shape::Object {
            self.object(id, out, depth, true)?;
        } else {
            self.any_value(id, out, depth)?;
        }
        if out.len() == start {
            out.truncate(before);
        } else {
            wire::close(out, start);
        }
        Ok(())
    }

    /// Looks ahead for `@type`, wherever it stands in the object; `None` in an empty object.
    fn type_url(&mut self, depth: usize) -> Result<Option<String>, Problem> {
        let mut ahead = self.reader.clone();
        ahead.expect(b'{', "an object")?;
        if ahead.takes(b'}') {
            return Ok(None);
        }
        loop {
            let name = ahead.string()?;
            ahead.expect(b':', "a colon")?;
            if name == "@type" {
                return Ok(Some(ahead.string()?.into_owned()));
            }
            ahead.skip(depth)?;
            if !ahead.takes(b',') {
                return Err(ahead.problem("an Any without @type"));
            }
        }
    }

    /// `{"@type": …, "value": …}`: the form for types that are not objects in JSON.
    fn any_value(&mut self, id: MessageId, out: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
        self.reader.expect(b'{', "an object")?;
        let mut found = false;
        loop {
            let name = self.reader.string()?;
            self.reader.expect(b':', "a colon")?;
            match &*name {
                "@type" => self.reader.skip(depth)?,
                "value" if found => return Err(self.reader.problem("given twice").within("value")),
                "value" => {
                    found = true;
                    self.message(id, out, depth)
                        .map_err(|problem| problem.within("value"))?;
                }
                _ if self.unknown == Unknown::Ignore => self.reader.skip(depth)?,
                _ => return Err(self.reader.problem("unknown field").within(&*name)),
            }
            if !self.reader.takes(b',') {
                self.reader.expect(b'}', "a comma or the end of the object")?;
                return if found {
                    Ok(())
                } else {
                    Err(self.reader.problem("an Any of this type needs a value"))
                };
            }
        }
    }
}
