//! Where and why a text is not JSON, in the words and positions of CPython's `json` module (3.11), which
//! clients of the legacy paths have learned to read. Only asked when the real parser has refused the text.
//!
//! Python reads three things that no JSON has room for further on: `NaN` and `Infinity`, lone surrogates, and
//! numbers of any size. They are faults here, in Python's nearest words, and the rest of the text is searched
//! for one of Python's own first.

/// Nesting that is followed; the real parser gives up at this depth too.
const DEPTH_LIMIT: usize = 128;

const VALUE: &str = "Expecting value";
const ESCAPE: &str = "Invalid \\escape";
const UNICODE_ESCAPE: &str = "Invalid \\uXXXX escape";
const UNTERMINATED: &str = "Unterminated string starting at";

/// What is wrong with a text, and at which of its characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Python's words.
    pub message: &'static str,
    /// Characters before it.
    pub position: usize,
}

/// The first fault of the text; none when it is JSON, or nested too deep to tell.
pub fn fault(text: &str) -> Option<Fault> {
    let mut reader = Reader {
        text,
        place: 0,
        beyond_json: None,
    };
    let mark = match reader.document() {
        Ok(()) => reader.beyond_json?,
        Err(Stop::At(mark)) => mark,
        Err(Stop::TooDeep) => return None,
    };
    let before = text.get(..mark.place).unwrap_or(text);
    Some(Fault {
        message: mark.message,
        position: before.chars().count(),
    })
}

/// A fault by its byte, which is cheap; characters are counted once.
#[derive(Clone, Copy)]
struct Mark {
    message: &'static str,
    place: usize,
}

enum Stop {
    At(Mark),
    TooDeep,
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte; always at the start of a character.
    place: usize,
    /// The first thing that Python reads and JSON does not have.
    beyond_json: Option<Mark>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Stop> {
        self.skip_space();
        self.value(0)?;
        self.skip_space();
        match self.peek() {
            Some(_) => self.stop("Extra data"),
            None => Ok(()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        if depth > DEPTH_LIMIT {
            return Err(Stop::TooDeep);
        }
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            _ if ["null", "true", "false"].into_iter().any(|word| self.takes(word)) => Ok(()),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Stop> {
        self.place += 1;
        self.skip_space();
        if self.takes("}") {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.stop("Expecting property name enclosed in double quotes");
            }
            self.string()?;
            self.skip_space();
            if !self.takes(":") {
                return self.stop("Expecting ':' delimiter");
            }
            self.skip_space();
            self.value(depth + 1)?;
            if self.is_last("}")? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Stop> {
        self.place += 1;
        self.skip_space();
        if self.takes("]") {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.is_last("]")? {
                return Ok(());
            }
        }
    }

    /// After an item: whether the container ends here or another item follows.
    fn is_last(&mut self, end: &str) -> Result<bool, Stop> {
        self.skip_space();
        if self.takes(end) {
            return Ok(true);
        }
        if !self.takes(",") {
            return self.stop("Expecting ',' delimiter");
        }
        self.skip_space();
        Ok(false)
    }

    fn number(&mut self) -> Result<(), Stop> {
        let start = self.place;
        if ["NaN", "Infinity", "-Infinity"]
            .into_iter()
            .any(|word| self.takes(word))
        {
            self.note(VALUE, start);
            return Ok(());
        }
        let length = number_length(&self.text.as_bytes()[start..]);
        if length == 0 {
            return self.stop(VALUE);
        }
        self.place += length;
        if !fits(&self.text[start..self.place]) {
            self.note("Number out of range", start);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Stop> {
        let start = self.place;
        self.place += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.place += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(start)?,
                Some(..0x20) => return self.stop("Invalid control character at"),
                Some(_) => self.place += 1,
                None => return stop_at(UNTERMINATED, start),
            }
        }
    }

    /// One escape of the string that began at `start`.
    fn escape(&mut self, start: usize) -> Result<(), Stop> {
        let backslash = self.place;
        self.place += 1;
        match self.peek() {
            None => stop_at(UNTERMINATED, start),
            Some(b'u') => self.unicode_escape(),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.place += 1;
                Ok(())
            }
            Some(_) => stop_at(ESCAPE, backslash),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), Stop> {
        let start = self.place;
        let Some(unit) = self.unit_after(start) else {
            return self.stop(UNICODE_ESCAPE);
        };
        self.place += 5;
        match unit {
            0xD800..0xDC00 => self.low_surrogate(start),
            0xDC00..0xE000 => {
                self.note(UNICODE_ESCAPE, start);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What follows a high surrogate, whose `u` is at `high`. Python takes anything; only a low one makes a character.
    fn low_surrogate(&mut self, high: usize) -> Result<(), Stop> {
        let rest = &self.text[self.place..];
        // Python looks for a pair only where there is room for it and one character more.
        if !rest.starts_with("\\u") || rest.chars().nth(6).is_none() {
            self.note(UNICODE_ESCAPE, high);
            return Ok(());
        }
        match self.unit_after(self.place + 1) {
            None => stop_at(UNICODE_ESCAPE, self.place + 1),
            Some(0xDC00..0xE000) => {
                self.place += 6;
                Ok(())
            }
            Some(_) => {
                self.note(UNICODE_ESCAPE, high);
                Ok(())
            }
        }
    }

    /// The four hexadecimal digits after the `u` at `place`. Python wants one character more behind them.
    fn unit_after(&self, place: usize) -> Option<u32> {
        let rest = &self.text[place + 1..];
        let digits = rest.get(..4)?;
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !are_digits || rest.len() == 4 {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_there = self.text.as_bytes()[self.place..].starts_with(word.as_bytes());
        if is_there {
            self.place += word.len();
        }
        is_there
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.place += 1;
        }
    }

    fn note(&mut self, message: &'static str, place: usize) {
        self.beyond_json.get_or_insert(Mark { message, place });
    }

    fn stop<T>(&self, message: &'static str) -> Result<T, Stop> {
        stop_at(message, self.place)
    }
}

fn stop_at<T>(message: &'static str, place: usize) -> Result<T, Stop> {
    Err(Stop::At(Mark { message, place }))
}

/// The bytes of the number that the text starts with; 0 when it starts with none. A fraction or an exponent
/// without digits does not belong to it.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| {
        text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let sign = usize::from(text.first() == Some(&b'-'));
    let mut end = match text.get(sign) {
        Some(b'0') => sign + 1,
        Some(b'1'..=b'9') => sign + digits(sign),
        _ => return 0,
    };
    if text.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let signed = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        if digits(signed) > 0 {
            end = signed + digits(signed);
        }
    }
    end
}

/// Whether a number reaches a tool as it was written, but for a fraction's last digits.
fn fits(number: &str) -> bool {
    if number.contains(['.', 'e', 'E']) {
        number.parse::<f64>().is_ok_and(f64::is_finite)
    } else {
        number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, fault};

    /// The expected answers are CPython 3.11's own.
    #[test]
    fn faults_are_python_s_in_words_and_position() {
        let cases = [
            ("", "Expecting value", 0),
            (" \n", "Expecting value", 2),
            ("hello", "Expecting value", 0),
            ("nul", "Expecting value", 0),
            ("-", "Expecting value", 0),
            ("[", "Expecting value", 1),
            ("[1,]", "Expecting value", 3),
            ("[1 2]", "Expecting ',' delimiter", 3),
            ("[1", "Expecting ',' delimiter", 2),
            ("01", "Extra data", 1),
            ("1.", "Extra data", 1),
            ("1e+", "Extra data", 1),
            ("{} x", "Extra data", 3),
            ("{", "Expecting property name enclosed in double quotes", 1),
            ("{'a':1}", "Expecting property name enclosed in double quotes", 1),
            (
                r#"{"a":1,}"#,
                "Expecting property name enclosed in double quotes",
                7,
            ),
            (r#"{"a" 1}"#, "Expecting ':' delimiter", 5),
            (r#"{"a":}"#, "Expecting value", 5),
            (r#"{"a":1 "b":2}"#, "Expecting ',' delimiter", 7),
            (r#"{"é": "ü"#, "Unterminated string starting at", 6),
            (r#"["\"#, "Unterminated string starting at", 1),
            ("[\"a\nb\"]", "Invalid control character at", 3),
            (r#"["é\x"]"#, "Invalid \\escape", 3),
            (r#"["\u12"]"#, "Invalid \\uXXXX escape", 3),
            (r#"["\u12é4"]"#, "Invalid \\uXXXX escape", 3),
            (r#"["\u1234"#, "Invalid \\uXXXX escape", 3),
            (r#"["\ud83d\u12"]"#, "Invalid \\uXXXX escape", 9),
        ];
        for (text, message, position) in cases {
            assert_eq!(fault(text), Some(Fault { message, position }), "{text}");
        }
    }

    #[test]
    fn what_python_reads_and_json_does_not_have_is_a_fault_behind_python_s_own() {
        let cases = [
            (r#"{"a": NaN}"#, "Expecting value", 6),
            ("[-Infinity]", "Expecting value", 1),
            (r#"["\ud800"]"#, "Invalid \\uXXXX escape", 3),
            (r#"["\udc00"]"#, "Invalid \\uXXXX escape", 3),
            (r#"["\ud800\u0041"]"#, "Invalid \\uXXXX escape", 3),
            ("[1e999]", "Number out of range", 1),
            ("[18446744073709551616]", "Number out of range", 1),
            ("[NaN", "Expecting ',' delimiter", 4),
        ];
        for (text, message, position) in cases {
            assert_eq!(fault(text), Some(Fault { message, position }), "{text}");
        }
    }

    #[test]
    fn json_has_no_fault_and_depth_is_bounded() {
        for text in [
            r#" {"a": [1, -0.5e-3, "\ud83d\ude00\n", null, true, false], "b": {}} "#,
            "18446744073709551615",
            "-9223372036854775808",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
        assert_eq!(fault(&"[".repeat(100_000)), None);
    }
}
