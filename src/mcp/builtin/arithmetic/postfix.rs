//! Tokens to postfix order, with Python's precedence. A stack on the heap takes the place of recursion,
//! so that ten thousand parentheses cost no more than ten thousand digits.

use super::ArithmeticError;
use super::number::Number;
use super::token::{Operator, Token, Tokens};

/// One step of an evaluation: a number is pushed, an operator takes its operands from the stack.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Number(Number),
    Name(&'a str),
    Unary(Unary),
    Binary(Operator),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Unary {
    Plus,
    Minus,
}

/// What waits for its right operand or for its closing parenthesis.
enum Pending {
    Open(usize),
    Unary(Unary),
    Binary(Operator),
}

/// The steps that compute `text`; each operator is preceded by its operands, and one value remains.
pub(super) fn parse(text: &str) -> Result<Vec<Step<'_>>, ArithmeticError> {
    let mut tokens = Tokens::new(text);
    let mut steps = Vec::new();
    let mut pending = Vec::new();
    // Whether the text so far ends with a complete operand, so that an operator must follow.
    let mut complete = false;
    while let Some((token, at)) = tokens.next()? {
        match (token, complete) {
            (Token::Number(number), false) => {
                steps.push(Step::Number(number));
                complete = true;
            }
            (Token::Name(name), false) => {
                steps.push(Step::Name(name));
                complete = true;
            }
            (Token::Open, false) => pending.push(Pending::Open(at)),
            (Token::Operator(Operator::Add), false) => pending.push(Pending::Unary(Unary::Plus)),
            (Token::Operator(Operator::Subtract), false) => pending.push(Pending::Unary(Unary::Minus)),
            (Token::Operator(operator), true) => {
                release(&mut pending, &mut steps, |waiting| goes_before(waiting, operator));
                pending.push(Pending::Binary(operator));
                complete = false;
            }
            (Token::Close, true) => {
                release(&mut pending, &mut steps, |_| true);
                if pending.pop().is_none() {
                    return Err(tokens.error(at, "unmatched ')'"));
                }
            }
            (Token::Operator(_) | Token::Close, false) => return Err(tokens.error(at, "expected a number")),
            (Token::Open, true) => return Err(tokens.error(at, "calls are not arithmetic")),
            (_, true) => return Err(tokens.error(at, "expected an operator")),
        }
    }
    if !complete {
        return Err(tokens.error(text.len(), "expected a number"));
    }
    release(&mut pending, &mut steps, |_| true);
    match pending.pop() {
        Some(Pending::Open(at)) => Err(tokens.error(at, "'(' was never closed")),
        _ => Ok(steps),
    }
}

/// Moves operators from the top of `pending` to `steps`, down to a parenthesis or to the first for which
/// `goes` is false.
fn release(pending: &mut Vec<Pending>, steps: &mut Vec<Step<'_>>, goes: impl Fn(&Pending) -> bool) {
    while let Some(top) = pending.pop_if(|top| !matches!(top, Pending::Open(_)) && goes(top)) {
        steps.push(match top {
            Pending::Unary(sign) => Step::Unary(sign),
            Pending::Binary(operator) => Step::Binary(operator),
            Pending::Open(_) => unreachable!("an open parenthesis is never released"),
        });
    }
}

/// Whether `waiting` is computed before the operator that follows its operand. A sign binds looser than
/// the `**` to its right (`-2**2` is -4), and `**` groups to the right.
fn goes_before(waiting: &Pending, next: Operator) -> bool {
    let waiting = match waiting {
        Pending::Open(_) => return false,
        Pending::Unary(_) => 3,
        Pending::Binary(operator) => precedence(*operator),
    };
    waiting >= precedence(next) && next != Operator::Power
}

fn precedence(operator: Operator) -> u8 {
    match operator {
        Operator::Add | Operator::Subtract => 1,
        Operator::Multiply | Operator::Divide | Operator::FloorDivide | Operator::Modulo => 2,
        Operator::Power => 4,
    }
}
