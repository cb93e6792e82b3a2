//! When a refused request is sent again: pure arithmetic, the waiting is done elsewhere.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// How often a request is sent again, before its first byte of answer only.
const RETRIES: u32 = 2;
/// The longest wait that a provider can ask for; one that asks for more is not asked again.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// The longest delay that is passed on to callers.
const DELAY_LIMIT: Duration = Duration::from_secs(3600);
/// The most that is waited before the first retry when the provider says nothing; twice that before the next.
const BACKOFF: Duration = Duration::from_millis(400);

/// How long to wait before retry `retry` (from 0), or none for giving up. `random` is from 0 to 1: the
/// clients of a provider that stumbles must not come back all at once.
pub(super) fn wait(retry: u32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
    if retry >= RETRIES || retry_after > Some(WAIT_LIMIT) {
        return None;
    }
    Some(match retry_after {
        Some(asked) => asked + asked.mul_f64(random / 4.0),
        None => (BACKOFF * 2_u32.pow(retry)).mul_f64(random),
    })
}

/// When the provider wants to be asked again: `retry-after-ms`, or `Retry-After` in seconds, which may have a
/// fraction, or as a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number: f64 = text.parse().ok()?;
        (number >= 0.0).then(|| Duration::from_secs_f64((number * unit).min(DELAY_LIMIT.as_secs_f64())))
    };
    let in_ms = text("retry-after-ms").and_then(|text| seconds(text, 0.001));
    in_ms.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        seconds(text, 1.0).or_else(|| {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default().min(DELAY_LIMIT))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_and_spread() {
        let ms = Duration::from_millis;
        let table = [
            (0, None, 0.0, Some(ms(0))),
            (0, None, 1.0, Some(ms(400))),
            (1, None, 1.0, Some(ms(800))),
            (2, None, 1.0, None),
            (0, Some(ms(30)), 0.0, Some(ms(30))),
            (0, Some(ms(40)), 1.0, Some(ms(50))),
            (0, Some(ms(10_000)), 0.0, Some(ms(10_000))),
            (0, Some(ms(10_001)), 0.0, None),
        ];
        for (retry, asked, random, expected) in table {
            assert_eq!(wait(retry, asked, random), expected, "{retry} {asked:?} {random}");
        }
    }

    #[test]
    fn every_form_of_retry_after_is_read() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let table: &[(Headers<'_>, Option<u64>)] = &[
            (&[("retry-after", "2")], Some(2000)),
            (&[("retry-after", "0.03")], Some(30)),
            (&[("retry-after-ms", "30"), ("retry-after", "1")], Some(30)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], Some(3000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT")], Some(0)),
            (&[("retry-after", "1e300")], Some(3_600_000)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ];
        for (pairs, expected) in table {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            let read = retry_after(&headers, now).map(|delay| delay.as_millis() as u64);
            assert_eq!(read, *expected, "{pairs:?}");
        }
    }
}
