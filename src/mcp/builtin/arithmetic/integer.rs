//! Integers of bounded size. Every operation is paid for, and its size known, before it is done.

use num_bigint::BigInt;
use num_traits::{Euclid, One, Signed, ToPrimitive, Zero};

use super::number::Work;
use super::{ArithmeticError, MAX_INTEGER_BITS};

/// The length of an integer in 64-bit words.
pub(super) fn words(value: &BigInt) -> u64 {
    value.bits() / 64 + 1
}

pub(super) fn sum(left: &BigInt, right: &BigInt, work: &mut Work) -> Result<BigInt, ArithmeticError> {
    work.spend(words(left).max(words(right)))?;
    bounded(left + right)
}

pub(super) fn difference(left: &BigInt, right: &BigInt, work: &mut Work) -> Result<BigInt, ArithmeticError> {
    work.spend(words(left).max(words(right)))?;
    bounded(left - right)
}

pub(super) fn product(left: &BigInt, right: &BigInt, work: &mut Work) -> Result<BigInt, ArithmeticError> {
    // A product is at most one bit shorter than its factors together.
    if (left.bits() + right.bits()).saturating_sub(1) > MAX_INTEGER_BITS {
        return Err(too_large());
    }
    work.spend(words(left) * words(right))?;
    bounded(left * right)
}

/// The quotient rounded down and the rest, which has the divisor's sign. The divisor is not zero.
pub(super) fn floor_division(
    left: &BigInt,
    right: &BigInt,
    work: &mut Work,
) -> Result<(BigInt, BigInt), ArithmeticError> {
    let quotient_words = words(left).saturating_sub(words(right)) + 1;
    work.spend(2 * quotient_words * words(right))?;
    if right.is_positive() {
        // A rest that is not negative is the floor's for a positive divisor.
        return Ok(left.div_rem_euclid(right));
    }
    let (quotient, rest) = (-left).div_rem_euclid(&-right);
    Ok((quotient, -rest))
}

/// `base ** exponent`; the exponent is not negative.
pub(super) fn power(base: &BigInt, exponent: &BigInt, work: &mut Work) -> Result<BigInt, ArithmeticError> {
    if exponent.is_zero() {
        return Ok(BigInt::one());
    }
    if base.magnitude().is_one() || base.is_zero() {
        let even = !exponent.bit(0);
        return Ok(if even { base.abs() } else { base.clone() });
    }
    // The base is at least 2 ** (bits - 1), so this is the least that the result can have.
    let exponent = exponent.to_u32().ok_or_else(too_large)?;
    if (base.bits() - 1).saturating_mul(u64::from(exponent)) >= MAX_INTEGER_BITS {
        return Err(too_large());
    }
    let result_words = base.bits() * u64::from(exponent) / 64 + 1;
    work.spend(result_words * result_words)?;
    bounded(base.pow(exponent))
}

fn bounded(value: BigInt) -> Result<BigInt, ArithmeticError> {
    if value.bits() > MAX_INTEGER_BITS {
        Err(too_large())
    } else {
        Ok(value)
    }
}

fn too_large() -> ArithmeticError {
    ArithmeticError::TooLarge(format!(
        "the result is too large: more than {MAX_INTEGER_BITS} bits"
    ))
}
