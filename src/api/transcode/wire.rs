//! Protobuf's wire format: just what is needed to write and read messages field by field.

/// The wire types that proto3 uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// Varints: integers, booleans, enums.
    Varint,
    /// Eight bytes, little endian.
    Fixed64,
    /// A length and that many bytes.
    Delimited,
    /// Four bytes, little endian.
    Fixed32,
}

impl WireType {
    fn code(self) -> u64 {
        match self {
            WireType::Varint => 0,
            WireType::Fixed64 => 1,
            WireType::Delimited => 2,
            WireType::Fixed32 => 5,
        }
    }
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field's tag.
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire: WireType) {
    put_varint(out, u64::from(number) << 3 | wire.code());
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Opens a length-delimited part whose length is not known yet; give the result to [`close`].
#[must_use]
pub fn open(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Closes what [`open`] opened: writes the length in front, and moves the bytes when it needs more
/// than the one byte that was set aside.
pub fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    // A varint holds seven bits to a byte.
    let extra = length.ilog2() as usize / 7;
    out.resize(out.len() + extra, 0);
    out.copy_within(start..start + length, start + extra);
    let (mut rest, last) = (length, start - 1 + extra);
    for byte in &mut out[start - 1..last] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[last] = rest as u8;
}

/// Zigzag encoding of signed integers.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf message")]
pub struct Malformed;

/// Reads a varint at `at` and moves it on.
///
/// # Errors
/// [`Malformed`] when the bytes end or the varint has more than ten of them.
pub fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).ok_or(Malformed)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift.min(63);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// One field as it stands on the wire: a scalar's bits, or where the bytes of a delimited one are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The field's number.
    pub number: u32,
    /// The wire type.
    pub wire: WireType,
    /// The bits of a varint or fixed value; 0 for a delimited one.
    pub bits: u64,
    /// Where a delimited value's bytes begin.
    pub start: usize,
    /// Where they end.
    pub end: usize,
}

/// Reads the record at `at` and moves it on; `None` at the end of the message.
///
/// # Errors
/// [`Malformed`] for anything but the four wire types of proto3, and for a message cut short.
pub fn record(bytes: &[u8], at: &mut usize) -> Result<Option<Record>, Malformed> {
    if *at == bytes.len() {
        return Ok(None);
    }
    let tag = varint(bytes, at)?;
    let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
    let mut record = Record {
        number,
        wire: WireType::Varint,
        bits: 0,
        start: *at,
        end: *at,
    };
    match tag & 7 {
        0 => record.bits = varint(bytes, at)?,
        1 => {
            record.wire = WireType::Fixed64;
            record.bits = u64::from_le_bytes(take(bytes, at)?);
        }
        2 => {
            record.wire = WireType::Delimited;
            let length = usize::try_from(varint(bytes, at)?).map_err(|_| Malformed)?;
            record.start = *at;
            record.end = at
                .checked_add(length)
                .filter(|end| *end <= bytes.len())
                .ok_or(Malformed)?;
            *at = record.end;
        }
        5 => {
            record.wire = WireType::Fixed32;
            record.bits = u64::from(u32::from_le_bytes(take(bytes, at)?));
        }
        _ => return Err(Malformed),
    }
    Ok(Some(record))
}

/// Takes a fixed number of bytes at `at` and moves it on.
///
/// # Errors
/// [`Malformed`] when there are not that many.
pub fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> Result<[u8; N], Malformed> {
    let taken = bytes
        .get(*at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .ok_or(Malformed)?;
    *at += N;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::{Malformed, close, open, put_bytes, put_tag, put_varint, record, unzigzag, varint, zigzag};
    use crate::api::transcode::wire::WireType;

    #[test]
    fn varints_survive_the_trip() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut at = 0;
            assert_eq!(varint(&bytes, &mut at), Ok(value));
            assert_eq!(at, bytes.len());
        }
    }

    #[test]
    fn a_varint_without_end_is_malformed() {
        assert_eq!(varint(&[0x80; 11], &mut 0), Err(Malformed));
        assert_eq!(varint(&[0x80], &mut 0), Err(Malformed));
    }

    #[test]
    fn zigzag_is_its_own_mirror() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn a_part_of_any_length_gets_its_length_in_front() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let content = vec![7; length];
            let (mut late, mut early) = (Vec::new(), Vec::new());
            put_tag(&mut late, 3, WireType::Delimited);
            let start = open(&mut late);
            late.extend_from_slice(&content);
            close(&mut late, start);
            put_tag(&mut early, 3, WireType::Delimited);
            put_bytes(&mut early, &content);
            assert!(late == early, "length {length}");
        }
    }

    #[test]
    fn a_record_cut_short_is_malformed() {
        assert_eq!(record(&[0x0a, 5, 1, 2], &mut 0), Err(Malformed));
        assert_eq!(record(&[0x0d, 5, 1, 2], &mut 0), Err(Malformed));
        assert_eq!(
            record(&[0x0b], &mut 0),
            Err(Malformed),
            "groups are not of proto3"
        );
        assert_eq!(record(&[], &mut 0), Ok(None));
    }
}
