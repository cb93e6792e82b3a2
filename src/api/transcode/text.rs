//! JSON text: a reader that keeps a number's own spelling, and the writing of strings and numbers.
//!
//! A ready-made parser turns numbers into `f64` before protobuf's rules can be applied: it cannot
//! tell `1e20` from an integer that would be changed, nor refuse what does not fit.

use std::borrow::Cow;
use std::io::Write;

/// What is wrong with a piece of JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in lower case, without a full stop.
    pub text: Cow<'static, str>,
    /// The byte at which it was noticed.
    pub offset: usize,
    steps: Vec<String>,
}

impl Problem {
    /// A problem at a byte offset.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>, offset: usize) -> Self {
        Self {
            text: text.into(),
            offset,
            steps: Vec::new(),
        }
    }

    /// Says in which field, index or key the problem lies; called from the inside out.
    #[must_use]
    pub fn within(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// Says that the whole text is no JSON, of which this is where it was noticed.
    #[must_use]
    pub fn in_no_json(self) -> Self {
        Self {
            text: format!("the body is not valid JSON: {}", self.text).into(),
            ..self
        }
    }

    /// The path of the field, such as `parts[2].text`; empty for the message as a whole.
    #[must_use]
    pub fn field(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }
}

/// Reads JSON token by token. The caller keeps the depth.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of the text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where the reader stands, in bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// A problem at the place where the reader stands.
    #[must_use]
    pub fn problem(&self, text: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(text, self.at)
    }

    /// The next byte that is not white space, without taking it; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Takes the byte if it is the next one.
    pub fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && self.at < self.text.len();
        self.at += usize::from(found);
        found
    }

    /// Takes the byte.
    ///
    /// # Errors
    /// When something else comes next.
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Problem> {
        if self.takes(byte) {
            Ok(())
        } else {
            Err(self.problem(format!("expected {what}")))
        }
    }

    /// Takes the word (`true`, `false`, `null`) if it comes next.
    pub fn takes_word(&mut self, word: &str) -> bool {
        self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |byte: Option<&u8>| !byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let found = rest.starts_with(word.as_bytes()) && ends(rest.get(word.len()));
        if found {
            self.at += word.len();
        }
        found
    }

    /// Nothing but white space is left.
    ///
    /// # Errors
    /// When something is.
    pub fn finish(&mut self) -> Result<(), Problem> {
        self.peek();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.problem("text after the end of the value"))
        }
    }

    /// Takes a number, as it is spelled.
    ///
    /// # Errors
    /// When the next token is not a number of JSON's grammar.
    pub fn number(&mut self) -> Result<&'a str, Problem> {
        self.peek();
        let length = number_length(&self.text.as_bytes()[self.at..]);
        if length == 0 {
            return Err(self.problem("expected a number"));
        }
        let number = &self.text[self.at..self.at + length];
        self.at += length;
        match self.text.as_bytes().get(self.at) {
            Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'.' => {
                Err(self.problem("malformed number"))
            }
            _ => Ok(number),
        }
    }

    /// Takes a string; borrowed when it has no escapes.
    ///
    /// # Errors
    /// When the next token is not a string, or has a control character or a bad escape in it.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Problem> {
        self.expect(b'"', "a string")?;
        let plain = self.plain()?;
        if self.takes_quote() {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = Vec::with_capacity(plain.len() * 2);
        text.extend_from_slice(plain.as_bytes());
        self.escaped(&mut text)?;
        let text = String::from_utf8(text).map_err(|_| self.problem("unpaired surrogate in a string"))?;
        Ok(Cow::Owned(text))
    }

    /// Takes a string and appends its text.
    ///
    /// # Errors
    /// As for [`Reader::string`]. `out` may have been written to by then.
    pub fn string_into(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        self.expect(b'"', "a string")?;
        out.extend_from_slice(self.plain()?.as_bytes());
        if self.takes_quote() {
            return Ok(());
        }
        self.escaped(out)
    }

    /// Takes what stands in a string up to its next escape or its end.
    fn plain(&mut self) -> Result<&'a str, Problem> {
        let start = self.at;
        self.at += plain_length(&self.text.as_bytes()[start..]);
        match self.text.as_bytes().get(self.at) {
            None => Err(self.problem("unterminated string")),
            Some(0..0x20) => Err(self.problem("control character in a string")),
            Some(_) => Ok(&self.text[start..self.at]),
        }
    }

    fn takes_quote(&mut self) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&b'"');
        self.at += usize::from(found);
        found
    }

    /// Appends the rest of a string from an escape on.
    fn escaped(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        loop {
            let letter = self.escape()?;
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            out.extend_from_slice(self.plain()?.as_bytes());
            if self.takes_quote() {
                return Ok(());
            }
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let escape = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match escape {
            Some(b'u') => return self.unicode(),
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.problem("unknown escape in a string")),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, Problem> {
        let unit = self.unit()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit).ok_or_else(|| self.problem("unpaired surrogate in a string"));
        }
        let low = self
            .unit()
            .map_err(|_| self.problem("unpaired surrogate in a string"))?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(self.problem("unpaired surrogate in a string"));
        }
        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        char::from_u32(code).ok_or_else(|| self.problem("unpaired surrogate in a string"))
    }

    fn unit(&mut self) -> Result<u32, Problem> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at..self.at + 6)
            .filter(|unit| unit.starts_with(b"\\u"));
        let mut unit = 0;
        for digit in digits.map_or(&[][..], |unit| &unit[2..]) {
            let Some(value) = char::from(*digit).to_digit(16) else {
                return Err(self.problem("malformed \\u escape"));
            };
            unit = unit * 16 + value;
        }
        if digits.is_none() {
            return Err(self.problem("malformed \\u escape"));
        }
        self.at += 6;
        Ok(unit)
    }

    /// Skips one value of any type, `depth` levels deep at most.
    ///
    /// # Errors
    /// When it is not valid JSON or nested deeper.
    pub fn skip(&mut self, depth: usize) -> Result<(), Problem> {
        if depth == 0 {
            return Err(self.problem("nested too deeply"));
        }
        match self.peek() {
            b'{' => self.skip_all(b'{', b'}', depth),
            b'[' => self.skip_all(b'[', b']', depth),
            b'"' => self.string().map(drop),
            b't' if self.takes_word("true") => Ok(()),
            b'f' if self.takes_word("false") => Ok(()),
            b'n' if self.takes_word("null") => Ok(()),
            _ => self.number().map(drop),
        }
    }

    fn skip_all(&mut self, open: u8, close: u8, depth: usize) -> Result<(), Problem> {
        self.expect(open, "an object or an array")?;
        if self.takes(close) {
            return Ok(());
        }
        loop {
            if open == b'{' {
                self.string()?;
                self.expect(b':', "a colon")?;
            }
            self.skip(depth - 1)?;
            if !self.takes(b',') {
                return self.expect(close, "a comma or the end");
            }
        }
    }
}

/// How many of the bytes form a number of JSON's grammar: 0 when they do not begin with one.
#[must_use]
pub fn number_length(bytes: &[u8]) -> usize {
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match digits(at) {
        0 => return 0,
        _ if bytes[at] == b'0' => 1,
        count => count,
    };
    if bytes.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return 0,
            count => at += 1 + count,
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return 0,
            count => at += 1 + sign + count,
        }
    }
    at
}

/// How many of the bytes may stand in a JSON string as they are: those before the first quote, backslash or control
/// character. Looks at eight at once.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES * 0x80;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is less than the number. A borrow spoils only bytes that come after one found.
        let less = |bytes: u64, than: u64| bytes.wrapping_sub(ONES * than) & !bytes & HIGH;
        let equal = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
        let found = less(word, 0x20) | equal(b'"') | equal(b'\\');
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    bytes.len() - rest.len() + rest.iter().position(special).unwrap_or(rest.len())
}

/// Appends a JSON string.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, from) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = from.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => put(out, format_args!("\\u{byte:04x}")),
        }
        rest = after;
    }
    out.push(b'"');
}

/// Appends formatted text. Writing to a `Vec` does not fail.
pub fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// Appends a whole number.
pub fn put_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    put_unsigned(out, value.unsigned_abs());
}

/// Appends a whole number. The formatter that could do it costs as much as the rest of a short message.
pub fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    // As many as `u64::MAX` has.
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Appends a finite number: an integral one within 2^53 as an integer, so that `3` stays `3`.
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT && (value != 0.0 || value.is_sign_positive()) {
        put_integer(out, value as i64);
    } else {
        put(out, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, number_length, plain_length, put_double, put_integer, put_string, put_unsigned};
    use proptest::collection;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    #[test]
    fn numbers_follow_the_grammar() {
        for (text, length) in [
            ("0", 1),
            ("-0", 2),
            ("01", 1),
            ("-", 0),
            ("1.", 0),
            (".5", 0),
            ("1.5e+10,", 7),
            ("1e", 0),
            ("+1", 0),
            ("12 ", 2),
            ("0x1", 1),
        ] {
            assert_eq!(number_length(text.as_bytes()), length, "{text}");
        }
    }

    #[test]
    fn integral_doubles_are_printed_as_integers() {
        for (value, text) in [
            (3.0, "3"),
            (-3.0, "-3"),
            (0.0, "0"),
            (-0.0, "-0.0"),
            (0.5, "0.5"),
            (1e300, "1e300"),
            (9_007_199_254_740_992.0, "9007199254740992"),
        ] {
            let mut out = Vec::new();
            put_double(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn whole_numbers_are_printed_in_full() {
        for value in [0, 7, 10, -1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_integer(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), value.to_string());
        }
        let mut out = Vec::new();
        put_unsigned(&mut out, u64::MAX);
        assert_eq!(String::from_utf8_lossy(&out), u64::MAX.to_string());
    }

    fn judge(text: &str) -> bool {
        let mut reader = Reader::new(text);
        reader.skip(100).and_then(|()| reader.finish()).is_ok()
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "nul",
            "truex",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "1 2",
        ] {
            assert!(!judge(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_string_survives_the_trip(text in any::<String>()) {
            let mut out = Vec::new();
            put_string(&mut out, &text);
            let out = String::from_utf8_lossy(&out).into_owned();
            prop_assert_eq!(&*Reader::new(&out).string().unwrap(), &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn plain_text_ends_where_the_first_special_byte_stands(bytes in collection::vec(any::<u8>(), 0..40), ascii in "[ -~\u{7f}\t]{0,40}") {
            for bytes in [&*bytes, ascii.as_bytes()] {
                let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
                let expected = bytes.iter().position(special).unwrap_or(bytes.len());
                prop_assert_eq!(plain_length(bytes), expected, "{:?}", bytes);
            }
        }

        #[test]
        fn the_reader_accepts_what_serde_json_accepts(text in r#"[\[\]{},:"\\ue0-9.+\-tfn rals\t]{0,24}"#) {
            let other = serde_json::from_str::<serde_json::Value>(&text);
            let out_of_range = other.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
            prop_assert_eq!(judge(&text), other.is_ok() || out_of_range, "{}", text);
        }
    }
}
