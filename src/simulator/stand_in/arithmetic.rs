//! Finds arithmetic in prose. It does not calculate: that is the tool's work.

/// How many brackets and dashes before an expression are looked past: bounds the work.
const MOST_STARTS: usize = 64;

/// The longest arithmetic expression in `text`: numbers, `+ - * / // % **` and parentheses, with at
/// least one operator between two operands, standing apart from words. A date such as 2026-11-22 is
/// not taken for a subtraction.
pub(super) fn find(text: &str) -> Option<&str> {
    let mut best: Option<&str> = None;
    let mut at = 0;
    while at < text.len() {
        let run = run_at(text, at);
        if run.is_empty() {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        if stands_apart(text, at, at + run.len())
            && let Some(expression) = expression_in(run)
            && best.is_none_or(|best| best.len() < expression.len())
        {
            best = Some(expression);
        }
        at += run.len();
    }
    best
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Sign,
    Operator,
    Open,
    Close,
}

#[derive(Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

/// The tokens and spaces from `at` on.
fn run_at(text: &str, at: usize) -> &str {
    let mut end = at;
    while let Some(length) = token_length(&text[end..]).map(|(_, length)| length) {
        end += length;
        end += text[end..].len() - text[end..].trim_start_matches(' ').len();
    }
    text[at..end].trim_end()
}

fn token_length(text: &str) -> Option<(Kind, usize)> {
    let bytes = text.as_bytes();
    let kind = match bytes.first()? {
        b'(' => (Kind::Open, 1),
        b')' => (Kind::Close, 1),
        b'+' | b'-' => (Kind::Sign, 1),
        b'*' if bytes.get(1) == Some(&b'*') => (Kind::Operator, 2),
        b'/' if bytes.get(1) == Some(&b'/') => (Kind::Operator, 2),
        b'*' | b'/' | b'%' => (Kind::Operator, 1),
        _ => (Kind::Number, number_length(bytes)?),
    };
    Some(kind)
}

/// Digits with `_` between them, a fraction, an exponent. A dot that ends a sentence is not part of it.
fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'_')
            .count()
    };
    let mut end = if bytes.first()?.is_ascii_digit() {
        digits(0)
    } else {
        0
    };
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1 + digits(end + 1);
    }
    if end > 0 && matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end += 1 + sign + digits(end + 1 + sign);
        }
    }
    (end > 0).then_some(end)
}

/// Whether the run is not a part of a word such as `gpt-4-1`, `x2+3` or `foo()`.
fn stands_apart(text: &str, start: usize, end: usize) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text[..start].chars().next_back();
    // With a space in between, a following word only makes the last tokens prose.
    let after = text[end..].chars().next();
    !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
}

/// The expression within a run: without the dashes and brackets of the sentence around it.
fn expression_in(run: &str) -> Option<&str> {
    let tokens = tokens(run);
    // The first start that works gives the longest expression.
    let mut starts = (0..tokens.len()).take(MOST_STARTS);
    let best = starts.find_map(|first| longest_from(run, &tokens[first..]));
    best.filter(|text| !is_date(text))
}

fn tokens(run: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < run.len() {
        match token_length(&run[at..]) {
            Some((kind, length)) => {
                tokens.push(Token {
                    kind,
                    start: at,
                    end: at + length,
                });
                at += length;
            }
            None => at += 1,
        }
    }
    tokens
}

/// The longest well-formed expression with an operator that begins with the first token.
fn longest_from<'a>(run: &'a str, tokens: &[Token]) -> Option<&'a str> {
    let start = tokens.first()?.start;
    let (mut depth, mut operand_next, mut operators, mut end) = (0_usize, true, 0_usize, None);
    for token in tokens {
        match (token.kind, operand_next) {
            (Kind::Number, true) => operand_next = false,
            (Kind::Sign, true) => {}
            (Kind::Open, true) => depth += 1,
            (Kind::Close, false) if depth > 0 => depth -= 1,
            (Kind::Sign | Kind::Operator, false) => {
                operators += 1;
                operand_next = true;
            }
            _ => break,
        }
        if depth == 0 && !operand_next && operators > 0 {
            end = Some(token.end);
        }
    }
    end.map(|end| &run[start..end])
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let has_digits = |part: Option<&str>, digits: usize| {
        part.is_some_and(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    has_digits(parts.next(), 4)
        && has_digits(parts.next(), 2)
        && has_digits(parts.next(), 2)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn arithmetic_is_found_in_prose() {
        for (text, expected) in [
            ("what is 2+2*3?", Some("2+2*3")),
            ("calculate 7/2", Some("7/2")),
            ("Calculate -7//2 + -7%3.", Some("-7//2 + -7%3")),
            ("2**100", Some("2**100")),
            ("(what is (1+2)*3)", Some("(1+2)*3")),
            ("what is (1+2)*(3-4)) now", Some("(1+2)*(3-4)")),
            ("0.1+0.2", Some("0.1+0.2")),
            (".5 * 1e-3 is?", Some(".5 * 1e-3")),
            ("I have 2 - maybe 3 - apples", None),
            ("- 1 + 1 - really", Some("- 1 + 1")),
            ("1/0", Some("1/0")),
            ("was it 2026-11-22?", None),
            ("use gpt-4-1 please", None),
            ("room 5", None),
            ("a/b + c", None),
            ("x2+3", None),
            ("2+", None),
            ("((((", None),
            ("", None),
            ("größer als 1+1 — oder?", Some("1+1")),
            ("1+1 or 22*33*44", Some("22*33*44")),
        ] {
            assert_eq!(find(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_run_of_brackets_takes_bounded_work() {
        let brackets = "(".repeat(20_000);
        assert_eq!(find(&brackets), None);
    }
}
