//! A calculator with Python's arithmetic: the same numbers, precedence, rounding and printing.
//!
//! An expression is made of integer and float literals, `+ - * / // % **`, unary signs and
//! parentheses, as in the expressions of Python 3 (<https://docs.python.org/3/reference/expressions.html>).
//! Nothing else is ever evaluated: a name, a call, a string or a comparison is an error. Line breaks
//! count as blanks everywhere, which Python allows only inside parentheses.
//!
//! Work and size are bounded. An expression has at most [`MAX_EXPRESSION_BYTES`]; an integer on the way
//! at most [`MAX_INTEGER_BITS`]; a printed integer at most [`MAX_PRINTED_DIGITS`] digits, the limit that
//! Python itself has; and one evaluation may spend [`MAX_WORK`] steps on long integers. No input makes
//! it recurse.

mod division;
mod float;
mod integer;
mod literal;
mod number;
mod postfix;
mod token;

#[cfg(test)]
mod tests;

pub(super) use float::printed as printed_float;

use number::{Number, Work};
use postfix::{Step, Unary};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 * 1024;

/// The largest integer that may occur while an expression is evaluated, in bits.
pub const MAX_INTEGER_BITS: u64 = 65_536;

/// The longest integer that is printed or written as a decimal literal, in digits.
pub const MAX_PRINTED_DIGITS: usize = 4_300;

/// How much one evaluation may cost, in products of two 64-bit words: some ten milliseconds.
pub const MAX_WORK: u64 = 10_000_000;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArithmeticError {
    /// The text is not an arithmetic expression.
    #[error("invalid syntax: {problem} at column {column}")]
    Syntax {
        /// What is wrong there.
        problem: String,
        /// Where, in characters, counted from 1.
        column: usize,
    },
    /// The expression uses a name; there are none.
    #[error("name '{0}' is not defined")]
    Name(String),
    /// `/`, `//` or `%` by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The value lies outside the numbers that there are: too large for a float, or not real.
    #[error("{0}")]
    Domain(&'static str),
    /// The expression or a number on the way is larger than the calculator accepts.
    #[error("{0}")]
    TooLarge(String),
}

/// The value of `expression`, printed as Python prints it.
///
/// # Errors
///
/// See [`ArithmeticError`]; its `Display` is what a user should read. Syntax is checked before anything
/// is computed.
pub fn evaluate(expression: &str) -> Result<String, ArithmeticError> {
    if expression.len() > MAX_EXPRESSION_BYTES {
        return Err(ArithmeticError::TooLarge(format!(
            "the expression is longer than {MAX_EXPRESSION_BYTES} bytes"
        )));
    }
    let steps = postfix::parse(expression)?;
    run(steps)?.printed()
}

fn run(steps: Vec<Step<'_>>) -> Result<Number, ArithmeticError> {
    let mut work = Work::new(MAX_WORK);
    let mut stack: Vec<Number> = Vec::new();
    for step in steps {
        let value = match step {
            Step::Number(number) => number,
            Step::Name(name) => return Err(ArithmeticError::Name(name.to_owned())),
            Step::Unary(sign) => {
                let operand = popped(&mut stack);
                match sign {
                    Unary::Plus => operand,
                    Unary::Minus => operand.negated(),
                }
            }
            Step::Binary(operator) => {
                let right = popped(&mut stack);
                let left = popped(&mut stack);
                number::apply(operator, left, right, &mut work)?
            }
        };
        stack.push(value);
    }
    Ok(popped(&mut stack))
}

fn popped(stack: &mut Vec<Number>) -> Number {
    stack.pop().expect("the parser gives every operator its operands")
}
