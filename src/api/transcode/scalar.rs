//! Scalars written as text, into their wire form: JSON numbers and strings, map keys, parameters.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::schema::{Kind, Schema};
use super::text::number_length;
use super::wire;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Why a text is not a value of the kind asked for.
pub type Reason = Cow<'static, str>;

/// Appends base64 (standard or URL-safe, padded or not) as a length-delimited value.
///
/// # Errors
/// When it is not base64.
pub fn put_base64(out: &mut Vec<u8>, text: &str) -> Result<(), Reason> {
    let start = wire::open(out);
    decode_base64(out, text)?;
    wire::close(out, start);
    Ok(())
}

/// Appends the bytes of base64, standard or URL-safe, padded or not.
///
/// # Errors
/// When it is not base64.
pub fn decode_base64(out: &mut Vec<u8>, text: &str) -> Result<(), Reason> {
    let engine = if text.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    engine
        .decode_vec(text, out)
        .map_err(|_| Reason::Borrowed("not base64"))
}

/// Appends the base64 of the bytes, in the standard alphabet with padding.
pub fn encode_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.truncate(start + written.unwrap_or(0));
}

/// Appends the wire form of a scalar given as text.
///
/// # Errors
/// When the text is not a value of that kind; messages are never written as text here.
pub fn put_text(schema: &Schema, kind: Kind, text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    match kind {
        Kind::String => wire::put_bytes(out, text.as_bytes()),
        Kind::Bytes => put_base64(out, text)?,
        Kind::Bool => match text {
            "true" => out.push(1),
            "false" => out.push(0),
            _ => return Err("expected true or false".into()),
        },
        Kind::Enum(id) => match schema.enumeration(id).number(text) {
            Some(number) => wire::put_varint(out, i64::from(number) as u64),
            None if number_length(text.as_bytes()) == text.len() && !text.is_empty() => {
                put_number(Kind::Int32, text, out)?;
            }
            None => return Err(schema.enumeration(id).unknown(text).into()),
        },
        Kind::Message(_) => return Err("a message cannot be given as text".into()),
        Kind::Double | Kind::Float if matches!(text, "NaN" | "Infinity" | "-Infinity") => {
            let value: f64 = text.parse().map_err(|_| "not a number")?;
            put_real(kind, value, out);
        }
        _ if text.is_empty() || number_length(text.as_bytes()) != text.len() => {
            return Err("expected a number".into());
        }
        _ => put_number(kind, text, out)?,
    }
    Ok(())
}

fn put_real(kind: Kind, value: f64, out: &mut Vec<u8>) {
    if kind == Kind::Float {
        out.extend_from_slice(&(value as f32).to_le_bytes());
    } else {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends the wire form of a number spelled by JSON's grammar.
///
/// # Errors
/// When it does not fit the kind, or has a fraction and the kind is an integer.
pub fn put_number(kind: Kind, text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    match kind {
        Kind::Double => {
            let value: f64 = text.parse().map_err(|_| "expected a number")?;
            if value.is_infinite() {
                return Err("out of range for a double".into());
            }
            out.extend_from_slice(&value.to_le_bytes());
        }
        Kind::Float => {
            let value: f32 = text.parse().map_err(|_| "expected a number")?;
            if value.is_infinite() {
                return Err("out of range for a float".into());
            }
            out.extend_from_slice(&value.to_le_bytes());
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => {
            let value = i32::try_from(integer(text)?).map_err(|_| "out of range for 32 bits")?;
            match kind {
                Kind::Sint32 => wire::put_varint(out, wire::zigzag(i64::from(value))),
                Kind::Sfixed32 => out.extend_from_slice(&value.to_le_bytes()),
                _ => wire::put_varint(out, i64::from(value) as u64),
            }
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            let value = i64::try_from(integer(text)?).map_err(|_| "out of range for 64 bits")?;
            match kind {
                Kind::Sint64 => wire::put_varint(out, wire::zigzag(value)),
                Kind::Sfixed64 => out.extend_from_slice(&value.to_le_bytes()),
                _ => wire::put_varint(out, value as u64),
            }
        }
        Kind::Uint32 | Kind::Fixed32 => {
            let value = u32::try_from(integer(text)?).map_err(|_| "out of range for unsigned 32 bits")?;
            if kind == Kind::Fixed32 {
                out.extend_from_slice(&value.to_le_bytes());
            } else {
                wire::put_varint(out, u64::from(value));
            }
        }
        Kind::Uint64 | Kind::Fixed64 => {
            let value = u64::try_from(integer(text)?).map_err(|_| "out of range for unsigned 64 bits")?;
            if kind == Kind::Fixed64 {
                out.extend_from_slice(&value.to_le_bytes());
            } else {
                wire::put_varint(out, value);
            }
        }
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) => {
            return Err("a number is not of this field's type".into());
        }
    }
    Ok(())
}

/// The integer that a JSON number spells, exactly: `1e5` and `100000.000` are 100000.
fn integer(text: &str) -> Result<i128, Reason> {
    if let Ok(value) = text.parse::<i64>() {
        return Ok(i128::from(value));
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: String = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0').len();
    if significant == 0 {
        return Ok(0);
    }
    let dropped = digits.len() - significant;
    digits.truncate(significant);
    // An exponent that overflows is out of range in either direction.
    let exponent: i64 = exponent.parse().map_err(|_| "out of range for an integer")?;
    let scale = exponent
        .saturating_sub(fraction.len() as i64)
        .saturating_add(dropped as i64);
    let zeros = usize::try_from(scale).map_err(|_| "expected an integer")?;
    if zeros > 40 {
        return Err("out of range for an integer".into());
    }
    digits.extend(std::iter::repeat_n('0', zeros));
    let value: i128 = digits.parse().map_err(|_| "out of range for an integer")?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::{encode_base64, integer, put_base64};

    #[test]
    fn integers_are_exact_in_every_spelling() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1e5", Some(100_000)),
            ("100000.000", Some(100_000)),
            ("2.147483647e9", Some(2_147_483_647)),
            ("18446744073709551615", Some(18_446_744_073_709_551_615)),
            ("9223372036854775807.0", Some(9_223_372_036_854_775_807)),
            ("100e-2", Some(1)),
            ("0.5", None),
            ("1e-1", None),
            ("1e99999999999999999999", None),
            ("0e99", Some(0)),
            ("0.0e-5", Some(0)),
            ("1e41", None),
        ] {
            assert_eq!(integer(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn base64_comes_in_both_alphabets_padded_or_not() {
        for text in ["+/8=", "-_8=", "+/8", "-_8"] {
            let mut out = Vec::new();
            put_base64(&mut out, text).unwrap();
            assert_eq!(out, [2, 0xfb, 0xff], "{text}");
        }
        assert!(put_base64(&mut Vec::new(), "a b").is_err());
        let mut out = b"x".to_vec();
        encode_base64(&mut out, &[0xfb, 0xff]);
        assert_eq!(out, b"x+/8=");
    }
}
