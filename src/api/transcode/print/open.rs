//! Values whose fields no schema names (`Struct`, `ListValue`, `Value`) and those that name their own
//! schema (`Any`).

use super::{Printer, Unprintable, close, delimited, utf8};
use crate::api::transcode::scalar;
use crate::api::transcode::schema::Shape;
use crate::api::transcode::text::{put_double, put_string};
use crate::api::transcode::wire::{self, Malformed, WireType};

impl Printer<'_> {
    pub(super) fn structure(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unprintable> {
        out.push(b'{');
        let mut at = 0;
        while let Some(record) = wire::record(bytes, &mut at)? {
            if record.number != 1 {
                continue;
            }
            let entry = delimited(record, bytes)?;
            let (mut key, mut value, mut inner) = (&[][..], &[][..], 0);
            while let Some(record) = wire::record(entry, &mut inner)? {
                match record.number {
                    1 => key = delimited(record, entry)?,
                    2 => value = delimited(record, entry)?,
                    _ => {}
                }
            }
            put_string(out, utf8(key)?);
            out.push(b':');
            self.value(value, out, depth)?;
            out.push(b',');
        }
        close(out, b'}');
        Ok(())
    }

    pub(super) fn list(&mut self, bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Unprintable> {
        out.push(b'[');
        let mut at = 0;
        while let Some(record) = wire::record(bytes, &mut at)? {
            if record.number == 1 {
                self.value(delimited(record, bytes)?, out, depth)?;
                out.push(b',');
            }
        }
        close(out, b']');
        Ok(())
    }

    pub(super) fn value(&mut self, bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Unprintable> {
        let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
        let (mut at, mut last) = (0, None);
        while let Some(record) = wire::record(bytes, &mut at)? {
            if (1..=6).contains(&record.number) {
                last = Some(record);
            }
        }
        let Some(record) = last else {
            return Err("a Value without a value".into());
        };
        match (record.number, record.wire) {
            (1, WireType::Varint) => out.extend_from_slice(b"null"),
            (2, WireType::Fixed64) => match f64::from_bits(record.bits) {
                number if number.is_finite() => put_double(out, number),
                _ => return Err("a Value cannot be infinite or not a number".into()),
            },
            (3, _) => put_string(out, utf8(delimited(record, bytes)?)?),
            (4, WireType::Varint) => {
                out.extend_from_slice(if record.bits == 0 { b"false" } else { b"true" });
            }
            (5, _) => self.structure(delimited(record, bytes)?, out, depth)?,
            (6, _) => self.list(delimited(record, bytes)?, out, depth)?,
            _ => return Err(Malformed.into()),
        }
        Ok(())
    }

    pub(super) fn any(&mut self, bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Unprintable> {
        let (mut url, mut value, mut at) = (&[][..], &[][..], 0);
        while let Some(record) = wire::record(bytes, &mut at)? {
            match record.number {
                1 => url = delimited(record, bytes)?,
                2 => value = delimited(record, bytes)?,
                _ => {}
            }
        }
        let url = utf8(url)?;
        out.push(b'{');
        if url.is_empty() && value.is_empty() {
            out.push(b'}');
            return Ok(());
        }
        out.extend_from_slice(b"\"@type\":");
        put_string(out, url);
        out.push(b',');
        let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
        match self.schema.find(name) {
            Some(id) if self.schema.message(id).shape == Shape::Object => {
                self.members(id, value, out, depth)?
            }
            Some(id) => {
                out.extend_from_slice(b"\"value\":");
                self.message(id, value, out, depth)?;
            }
            None => {
                // A type that nobody here knows: its bytes are better than no answer.
                out.extend_from_slice(b"\"value\":\"");
                scalar::encode_base64(out, value);
                out.push(b'"');
            }
        }
        close(out, b'}');
        Ok(())
    }
}
