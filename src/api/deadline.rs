//! When a request must be answered: the least of what the caller and the operator allow.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::run::error::{Error, Reason};

/// The gRPC deadline: digits and a unit, as the gRPC protocol over HTTP/2 has it.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The HTTP deadline: decimal seconds.
const SERVER_TIMEOUT: HeaderName = HeaderName::from_static("x-server-timeout");

/// The longest count in a `grpc-timeout` by its specification, in digits.
const GRPC_TIMEOUT_DIGITS: usize = 8;

/// How long the request may take: the least of `grpc-timeout`, `X-Server-Timeout` and `limit`.
///
/// # Errors
/// `VALIDATION_FAILED` naming the header that cannot be read.
pub fn timeout(headers: &HeaderMap, limit: Duration) -> Result<Duration, Error> {
    let grpc = read(headers, &GRPC_TIMEOUT, grpc_timeout)?;
    let server = read(headers, &SERVER_TIMEOUT, server_timeout)?;
    Ok([grpc, server].into_iter().flatten().fold(limit, Duration::min))
}

/// The error of a request whose time is over.
pub fn passed() -> Error {
    Error::new(Reason::DeadlineExceeded, "the deadline has passed")
}

fn read(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Option<Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(parse);
    parsed
        .map(Some)
        .ok_or_else(|| Error::invalid(name.as_str(), "is not a valid timeout"))
}

fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // Eight digits of nanoseconds are not a tenth of a second, and there are clients that write nothing else.
    let is_too_long = digits.len() > GRPC_TIMEOUT_DIGITS && unit != "n";
    if digits.is_empty() || is_too_long || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Decimal seconds, without a sign; more than a duration holds is its most.
fn server_timeout(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_decimal = text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    let seconds: f64 = text.parse().ok().filter(|_| is_decimal)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_least_timeout_counts() {
        let cases = [
            (None, None, Some(10_000_000)),
            (Some("300m"), None, Some(300_000)),
            (Some("2S"), Some("0.5"), Some(500_000)),
            (Some("1H"), Some("3600"), Some(10_000_000)),
            (Some("99999999n"), None, Some(99_999)),
            (Some("5u"), None, Some(5)),
            (Some("1M"), Some("1"), Some(1_000_000)),
            (Some("123456789S"), None, None),
            (Some("S"), None, None),
            (Some("-1S"), None, None),
            (Some("1s"), None, None),
            (Some(""), None, None),
            (None, Some("-1"), None),
            (Some("100000007n"), None, Some(100_000)),
            (Some("99999999999999999999n"), None, None),
            (None, Some("2e-1"), Some(200_000)),
            (None, Some("1e400"), Some(10_000_000)),
            (None, Some("1e"), None),
            (None, Some("NaN"), None),
            (None, Some("+1"), None),
            (None, Some("inf"), None),
            (None, Some("."), None),
        ];
        for (grpc, server, expected_us) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [(GRPC_TIMEOUT, grpc), (SERVER_TIMEOUT, server)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let timeout = timeout(&headers, Duration::from_secs(10)).ok();
            assert_eq!(
                timeout.map(|timeout| timeout.as_micros()),
                expected_us,
                "{grpc:?} {server:?}"
            );
        }
    }
}
