//! Characters to tokens, by Python's lexical rules.

use super::ArithmeticError;
use super::literal;
use super::number::Number;

/// A binary operator; `Add` and `Subtract` are signs where an operand is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug)]
pub(super) enum Token<'a> {
    Number(Number),
    Name(&'a str),
    Operator(Operator),
    Open,
    Close,
}

/// What is left of an expression.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Where the next token begins, in bytes.
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and where it begins, in bytes; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Token<'a>, usize)>, ArithmeticError> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let start = self.text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            self.at = start;
            return Ok(None);
        };
        let (token, length) = match first {
            '0'..='9' | '.' => {
                let (number, length) = literal::read(rest).map_err(|wrong| self.wrong(start, wrong))?;
                (Token::Number(number), length)
            }
            '_' => self.name(rest),
            letter if letter.is_alphabetic() => self.name(rest),
            _ => symbol(rest).ok_or_else(|| self.error(start, format!("{first:?} is not arithmetic")))?,
        };
        self.at = start + length;
        Ok(Some((token, start)))
    }

    /// A syntax error at byte `at`.
    pub(super) fn error(&self, at: usize, problem: impl Into<String>) -> ArithmeticError {
        let column = self.text[..at].chars().count() + 1;
        ArithmeticError::Syntax {
            problem: problem.into(),
            column,
        }
    }

    fn wrong(&self, start: usize, wrong: literal::Wrong) -> ArithmeticError {
        match wrong {
            literal::Wrong::Syntax(problem) => self.error(start, problem),
            literal::Wrong::TooLarge(problem) => ArithmeticError::TooLarge(problem),
        }
    }

    fn name(&self, rest: &'a str) -> (Token<'a>, usize) {
        let end = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        (Token::Name(&rest[..end]), end)
    }
}

/// The operator or parenthesis at the start of `rest` and its length; longer ones first.
fn symbol(rest: &str) -> Option<(Token<'static>, usize)> {
    let bytes = rest.as_bytes();
    let operator = match (bytes[0], bytes.get(1)) {
        (b'*', Some(b'*')) => return Some((Token::Operator(Operator::Power), 2)),
        (b'/', Some(b'/')) => return Some((Token::Operator(Operator::FloorDivide), 2)),
        (b'+', _) => Operator::Add,
        (b'-', _) => Operator::Subtract,
        (b'*', _) => Operator::Multiply,
        (b'/', _) => Operator::Divide,
        (b'%', _) => Operator::Modulo,
        (b'(', _) => return Some((Token::Open, 1)),
        (b')', _) => return Some((Token::Close, 1)),
        _ => return None,
    };
    Some((Token::Operator(operator), 1))
}
