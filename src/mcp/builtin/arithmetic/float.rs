//! Floats as Python divides, raises and prints them.

use super::ArithmeticError;

/// `left // right`; `right` is not zero.
pub(super) fn floor_division(left: f64, right: f64) -> f64 {
    let rest = left % right;
    let mut quotient = (left - rest) / right;
    if rest != 0.0 && (rest < 0.0) != (right < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0_f64.copysign(left / right);
    }
    // `quotient` is a whole number up to rounding, which may have gone either way.
    let floor = quotient.floor();
    if quotient - floor > 0.5 {
        floor + 1.0
    } else {
        floor
    }
}

/// `left % right`, with the divisor's sign; `right` is not zero.
pub(super) fn modulo(left: f64, right: f64) -> f64 {
    let rest = left % right;
    if rest == 0.0 {
        0.0_f64.copysign(right)
    } else if (rest < 0.0) != (right < 0.0) {
        rest + right
    } else {
        rest
    }
}

/// `base ** exponent`.
pub(super) fn power(base: f64, exponent: f64) -> Result<f64, ArithmeticError> {
    if base == 0.0 && exponent < 0.0 {
        return Err(ArithmeticError::Domain("zero to a negative power"));
    }
    let finite = base.is_finite() && exponent.is_finite();
    if finite && base < 0.0 && exponent.fract() != 0.0 {
        return Err(ArithmeticError::Domain(
            "a negative number to a fractional power is not a real number",
        ));
    }
    let value = base.powf(exponent);
    if finite && !value.is_finite() {
        return Err(ArithmeticError::Domain("the result is too large for a float"));
    }
    Ok(value)
}

/// The shortest text that reads back as `value`, in the form of Python's `repr`: an exponent from 1e+16
/// up and below 1e-04, otherwise digits with a point.
pub(in super::super) fn printed(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let scientific = shortest(value.abs());
    let (significand, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = significand.replace('.', "");
    match usize::try_from(exponent) {
        Ok(above @ 0..16) => {
            let point = above + 1;
            let whole = format!("{digits:0<point$}");
            let (whole, fraction) = whole.split_at(point);
            format!(
                "{sign}{whole}.{}",
                if fraction.is_empty() { "0" } else { fraction }
            )
        }
        Err(_) if exponent >= -4 => {
            let zeros = exponent.unsigned_abs() as usize - 1;
            format!("{sign}0.{:0<zeros$}{digits}", "")
        }
        _ => {
            let direction = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{significand}e{direction}{:02}", exponent.unsigned_abs())
        }
    }
}

/// The shortest digits that read back as `value`, as `d.ddde-n`; of two that are equally near the even
/// one, where Rust's own printing takes the upper.
fn shortest(value: f64) -> String {
    let upper = format!("{value:e}");
    let digits = upper
        .bytes()
        .take_while(|&byte| byte != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    let even = format!("{value:.*e}", digits - 1);
    if even.parse() == Ok(value) { even } else { upper }
}
