//! Number literals as Python reads them: `7`, `1_000`, `0x1f`, `0b11`, `0o17`, `.5`, `1.`, `3e2`.
//! <https://docs.python.org/3/reference/lexical_analysis.html#numeric-literals>

use num_bigint::BigInt;

use super::number::Number;
use super::{MAX_INTEGER_BITS, MAX_PRINTED_DIGITS};

/// Why the text is not a literal.
pub(super) enum Wrong {
    Syntax(&'static str),
    TooLarge(String),
}

/// The literal at the start of `text`, which begins with a digit or a point, and its length in bytes.
pub(super) fn read(text: &str) -> Result<(Number, usize), Wrong> {
    let bytes = text.as_bytes();
    let radix = match bytes {
        [b'0', b'x' | b'X', ..] => Some(16),
        [b'0', b'o' | b'O', ..] => Some(8),
        [b'0', b'b' | b'B', ..] => Some(2),
        _ => None,
    };
    let (number, end) = match radix {
        Some(radix) => prefixed(text, radix)?,
        None => decimal(text)?,
    };
    // `1x`, `0b12`, `1_`, `2.real` and `5j` are one wrong literal, not a number and a name.
    match text[end..].chars().next() {
        Some('_') => Err(Wrong::Syntax("misplaced underscore in a number")),
        Some('j' | 'J') => Err(Wrong::Syntax("imaginary numbers are not supported")),
        Some(next) if next.is_alphanumeric() => Err(Wrong::Syntax("malformed number")),
        _ => Ok((number, end)),
    }
}

fn prefixed(text: &str, radix: u32) -> Result<(Number, usize), Wrong> {
    let bytes = text.as_bytes();
    // One underscore may follow the prefix.
    let start = if bytes.get(2) == Some(&b'_') { 3 } else { 2 };
    let end = digits(bytes, start, radix);
    if end == start {
        return Err(Wrong::Syntax("malformed number"));
    }
    let value = integer(&text[start..end], radix)?;
    if value.bits() > MAX_INTEGER_BITS {
        return Err(Wrong::TooLarge(format!(
            "an integer has more than {MAX_INTEGER_BITS} bits"
        )));
    }
    Ok((Number::Integer(value), end))
}

fn decimal(text: &str) -> Result<(Number, usize), Wrong> {
    let bytes = text.as_bytes();
    let whole = digits(bytes, 0, 10);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1, 10);
        if end == 1 {
            return Err(Wrong::Syntax("a point without digits"));
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let start = end + 1 + signed;
        let stop = digits(bytes, start, 10);
        if stop == start {
            return Err(Wrong::Syntax("an exponent without digits"));
        }
        end = stop;
    }
    if end > whole {
        let plain = without_underscores(&text[..end]);
        let value = plain.parse().map_err(|_| Wrong::Syntax("malformed number"))?;
        return Ok((Number::Float(value), end));
    }
    let zeros = |byte: &u8| matches!(byte, b'0' | b'_');
    if bytes[0] == b'0' && !bytes[..whole].iter().all(zeros) {
        return Err(Wrong::Syntax("leading zeros in an integer"));
    }
    if whole - bytes[..whole].iter().filter(|&&byte| byte == b'_').count() > MAX_PRINTED_DIGITS {
        return Err(Wrong::TooLarge(format!(
            "a number has more than {MAX_PRINTED_DIGITS} digits"
        )));
    }
    Ok((Number::Integer(integer(&text[..whole], 10)?), whole))
}

/// Where the run of digits that begins at `start` ends; a single underscore may stand between two.
fn digits(bytes: &[u8], start: usize, radix: u32) -> usize {
    let is_digit = |at: usize| {
        bytes
            .get(at)
            .is_some_and(|&byte| char::from(byte).is_digit(radix))
    };
    let mut end = start;
    while is_digit(end) || (end > start && bytes.get(end) == Some(&b'_') && is_digit(end + 1)) {
        end += 1;
    }
    end
}

fn integer(digits: &str, radix: u32) -> Result<BigInt, Wrong> {
    let plain = without_underscores(digits);
    BigInt::parse_bytes(plain.as_bytes(), radix).ok_or(Wrong::Syntax("malformed number"))
}

fn without_underscores(digits: &str) -> std::borrow::Cow<'_, str> {
    if digits.contains('_') {
        digits.replace('_', "").into()
    } else {
        digits.into()
    }
}
