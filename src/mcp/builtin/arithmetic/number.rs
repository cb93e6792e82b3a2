//! A Python number, and the operators on two of them.

use num_bigint::BigInt;
use num_traits::{ToPrimitive, Zero};

use super::token::Operator;
use super::{ArithmeticError, MAX_PRINTED_DIGITS, division, float, integer};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Integer(BigInt),
    Float(f64),
}

impl Number {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Integer(value) => Self::Integer(-value),
            Self::Float(value) => Self::Float(-value),
        }
    }

    /// As Python prints it.
    pub(super) fn printed(&self) -> Result<String, ArithmeticError> {
        let value = match self {
            Self::Float(value) => return Ok(float::printed(*value)),
            Self::Integer(value) => value.to_string(),
        };
        if value.trim_start_matches('-').len() > MAX_PRINTED_DIGITS {
            return Err(ArithmeticError::TooLarge(format!(
                "the result has more than {MAX_PRINTED_DIGITS} digits"
            )));
        }
        Ok(value)
    }

    fn into_float(self) -> Result<f64, ArithmeticError> {
        match self {
            Self::Integer(value) => float_of(&value),
            Self::Float(value) => Ok(value),
        }
    }
}

/// The float nearest to an integer, ties to even.
pub(super) fn float_of(value: &BigInt) -> Result<f64, ArithmeticError> {
    let float = value.to_f64().unwrap_or(f64::INFINITY);
    if float.is_finite() {
        Ok(float)
    } else {
        Err(ArithmeticError::Domain("int too large to convert to float"))
    }
}

/// What is left of an evaluation's allowance, in products of two 64-bit words.
pub(super) struct Work {
    left: u64,
}

impl Work {
    pub(super) fn new(left: u64) -> Self {
        Self { left }
    }

    /// Pays for an operation before it is done.
    pub(super) fn spend(&mut self, cost: u64) -> Result<(), ArithmeticError> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ArithmeticError::TooLarge(
                "the expression takes too much work".to_owned(),
            )),
        }
    }
}

/// `left operator right`.
pub(super) fn apply(
    operator: Operator,
    left: Number,
    right: Number,
    work: &mut Work,
) -> Result<Number, ArithmeticError> {
    match (left, right) {
        (Number::Integer(left), Number::Integer(right)) => integers(operator, &left, &right, work),
        (left, right) => floats(operator, left.into_float()?, right.into_float()?).map(Number::Float),
    }
}

fn divides(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Divide | Operator::FloorDivide | Operator::Modulo
    )
}

fn integers(
    operator: Operator,
    left: &BigInt,
    right: &BigInt,
    work: &mut Work,
) -> Result<Number, ArithmeticError> {
    if divides(operator) && right.is_zero() {
        return Err(ArithmeticError::DivisionByZero);
    }
    let value = match operator {
        Operator::Add => integer::sum(left, right, work)?,
        Operator::Subtract => integer::difference(left, right, work)?,
        Operator::Multiply => integer::product(left, right, work)?,
        Operator::FloorDivide => integer::floor_division(left, right, work)?.0,
        Operator::Modulo => integer::floor_division(left, right, work)?.1,
        Operator::Divide => return division::quotient(left, right, work).map(Number::Float),
        Operator::Power if right.sign() == num_bigint::Sign::Minus => {
            return float::power(float_of(left)?, float_of(right)?).map(Number::Float);
        }
        Operator::Power => integer::power(left, right, work)?,
    };
    Ok(Number::Integer(value))
}

fn floats(operator: Operator, left: f64, right: f64) -> Result<f64, ArithmeticError> {
    if divides(operator) && right == 0.0 {
        return Err(ArithmeticError::DivisionByZero);
    }
    Ok(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::FloorDivide => float::floor_division(left, right),
        Operator::Modulo => float::modulo(left, right),
        Operator::Power => return float::power(left, right),
    })
}
