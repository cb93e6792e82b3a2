//! The true division of two integers: the float nearest to the exact quotient, ties to even, as Python
//! has it, also where neither integer fits into a float.

use num_bigint::{BigInt, Sign};
use num_traits::{Euclid, ToPrimitive, Zero};

use super::ArithmeticError;
use super::integer::words;
use super::number::Work;

/// Bits of a float's significand.
const SIGNIFICAND_BITS: i64 = 53;
/// The exponent of the smallest positive float, 2 ** -1074.
const LEAST_EXPONENT: i64 = -1074;

/// `left / right`; `right` is not zero.
pub(super) fn quotient(left: &BigInt, right: &BigInt, work: &mut Work) -> Result<f64, ArithmeticError> {
    let negative = (left.sign() == Sign::Minus) != (right.sign() == Sign::Minus);
    let magnitude = if let (Some(left), Some(right)) = (exact(left), exact(right)) {
        // Both are floats exactly, so that one division rounds once.
        left / right
    } else {
        work.spend(4 * words(left).max(words(right)))?;
        rounded(left, right)?
    };
    Ok(if negative { -magnitude } else { magnitude })
}

/// The magnitude as a float when it has no more bits than a significand.
fn exact(value: &BigInt) -> Option<f64> {
    if value.bits() > SIGNIFICAND_BITS.unsigned_abs() {
        return None;
    }
    value.magnitude().to_f64()
}

fn rounded(left: &BigInt, right: &BigInt) -> Result<f64, ArithmeticError> {
    let (left, right) = (left.magnitude(), right.magnitude());
    // Scaled so that the integer quotient has 66 or 67 bits: more than a significand, less than 128.
    let shift = 66 + right.bits() as i64 - left.bits() as i64;
    let distance = shift.unsigned_abs() as usize;
    let (quotient, rest) = if shift >= 0 {
        (left << distance).div_rem_euclid(right)
    } else {
        left.div_rem_euclid(&(right << distance))
    };
    // The last bit says whether anything was lost below it: enough to round correctly further up.
    let quotient = quotient.to_u128().unwrap_or(u128::MAX) | u128::from(!rest.is_zero());
    nearest(quotient, -shift).ok_or(ArithmeticError::Domain(
        "integer division result too large for a float",
    ))
}

/// The float nearest to `value * 2 ** exponent`, ties to even; `None` when that is infinite.
fn nearest(value: u128, exponent: i64) -> Option<f64> {
    let bits = i64::from(128 - value.leading_zeros());
    let dropped = (bits - SIGNIFICAND_BITS).max(LEAST_EXPONENT - exponent).max(0);
    if dropped > bits {
        return Some(0.0);
    }
    let kept = value.checked_shr(dropped as u32).unwrap_or(0);
    let lost = value - kept.checked_shl(dropped as u32).unwrap_or(0);
    let half = if dropped == 0 { 0 } else { 1_u128 << (dropped - 1) };
    let up = dropped > 0 && (lost > half || (lost == half && kept & 1 == 1));
    let significand = (kept + u128::from(up)) as f64;
    let exponent = exponent + dropped;
    if exponent > 1023 {
        return None;
    }
    // The product is exact: the significand has at most 53 bits and the exponent is not below the least.
    let product = significand * power_of_two(exponent);
    product.is_finite().then_some(product)
}

/// `2 ** exponent` for an exponent from -1074 to 1023.
fn power_of_two(exponent: i64) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent - LEAST_EXPONENT))
    }
}
