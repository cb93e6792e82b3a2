//! What follows a request that failed before its answer began: pure arithmetic, the waiting is done elsewhere.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::run::error::Reason;

/// The longest wait that a provider can ask for; one that asks for more is not asked again.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// The longest delay that is passed on to callers.
const DELAY_LIMIT: Duration = Duration::from_secs(3600);
/// The most that is waited before the first retry when the provider says nothing; twice that before the next.
const BACKOFF: Duration = Duration::from_millis(400);

/// The longest wait before a retry where another model can be asked at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// What follows a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The same again, after this wait.
    Again(Duration),
    /// Another model.
    Elsewhere,
    /// The failure is told.
    GiveUp,
}

/// A request that failed before its answer began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// Why.
    pub(super) reason: Reason,
    /// Whether the provider had not begun to work on it, so that it may be sent again.
    pub(super) is_before_work: bool,
    /// When the provider wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// How often it has been sent again already.
    pub(super) retries: u32,
    /// How often it may be.
    pub(super) max_retries: u32,
    /// The time that the run has left.
    pub(super) time_left: Option<Duration>,
    /// Whether there is another model that may manage it.
    pub(super) has_other: bool,
}

/// What follows. `random` is from 0 to 1: the clients of a provider that stumbles must not come back all at once.
/// `has_budget` is only asked where a retry makes sense otherwise.
pub(super) fn next(failed: &Failed, random: f64, has_budget: impl FnOnce() -> bool) -> Next {
    let is_late = |wait: Duration| failed.time_left.is_some_and(|left| wait >= left);
    let is_slow = |wait: Duration| failed.has_other && wait > PATIENCE;
    let wait = (failed.is_before_work && failed.retries < failed.max_retries)
        .then(|| wait(failed.retries, failed.retry_after, random))
        .flatten()
        .filter(|&wait| !is_late(wait) && !is_slow(wait));
    match wait {
        Some(wait) if has_budget() => Next::Again(wait),
        _ if failed.has_other && is_of_the_upstream(failed.reason) => Next::Elsewhere,
        _ => Next::GiveUp,
    }
}

/// Whether it is about the provider, and another one may do better; not about the request.
fn is_of_the_upstream(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ModelUnavailable
            | Reason::RateLimited
            | Reason::QuotaExceeded
            | Reason::ModelCredentialsRejected
            | Reason::Overloaded
            // Another model with more room has been looked for.
            | Reason::ContextLengthExceeded
    )
}

/// How long to wait before retry `retry` (from 0), or none when that is too long.
fn wait(retry: u32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
    match retry_after {
        Some(asked) if asked > WAIT_LIMIT => None,
        Some(asked) => Some(asked + asked.mul_f64(random / 4.0)),
        None => Some(
            (BACKOFF * 2_u32.saturating_pow(retry))
                .min(WAIT_LIMIT)
                .mul_f64(random),
        ),
    }
}

/// When the provider wants to be asked again: `retry-after-ms`, or `Retry-After` in seconds, which may have a
/// fraction, or as a date (RFC 9110 §10.2.3); where there is none, when the limits that are used up are reset
/// (`x-ratelimit-reset-requests` and `-tokens`, as OpenAI sends them, or without a suffix, as OpenRouter does).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number: f64 = text.parse().ok()?;
        (number >= 0.0).then(|| Duration::from_secs_f64((number * unit).min(DELAY_LIMIT.as_secs_f64())))
    };
    let in_ms = text("retry-after-ms").and_then(|text| seconds(text, 0.001));
    in_ms
        .or_else(|| {
            let text = text(RETRY_AFTER.as_str())?;
            seconds(text, 1.0).or_else(|| {
                let date = httpdate::parse_http_date(text).ok()?;
                Some(date.duration_since(now).unwrap_or_default().min(DELAY_LIMIT))
            })
        })
        .or_else(|| {
            let resets = ["-requests", "-tokens", ""].into_iter().filter_map(|what| {
                let left = text(&format!("x-ratelimit-remaining{what}"))?;
                let reset = text(&format!("x-ratelimit-reset{what}"))?;
                (left == "0").then(|| until(reset, now)).flatten()
            });
            resets.max()
        })
}

/// The same of headers that stand in a body: an object of texts or numbers by their names, in any case.
pub(super) fn retry_after_in_body(headers: &Value, now: SystemTime) -> Option<Duration> {
    let header = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(text).ok()?,
        ))
    };
    let headers: HeaderMap = headers.as_object()?.iter().filter_map(header).collect();
    retry_after(&headers, now)
}

/// The time until a limit is reset, which is said as a [span], or as the seconds or milliseconds since 1970; by its
/// size a number can only be one of them. A moment that has passed says nothing: clocks differ.
fn until(text: &str, now: SystemTime) -> Option<Duration> {
    /// No span is so many seconds, 31 years, and all that are since 1970 are more since 2001.
    const LEAST_SECONDS: f64 = 1e9;
    /// No moment is so many seconds since 1970, and all that are milliseconds are more since 1973.
    const LEAST_MILLISECONDS: f64 = 1e11;
    let number = text.parse::<f64>().ok().filter(|number| *number >= LEAST_SECONDS);
    let Some(number) = number else {
        return span(text);
    };
    let seconds = match number >= LEAST_MILLISECONDS {
        true => number / 1_000.0,
        false => number,
    };
    let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
    let left = moment.duration_since(now).ok()?;
    Some(left.min(DELAY_LIMIT))
}

/// A span such as `1s`, `6m0s`, `120ms` or `2m59.56s`, or a plain number of seconds.
fn span(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "ms" => 0.001,
            "s" | "" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_secs_f64(seconds.min(DELAY_LIMIT.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_failure_depends_on_whose_it_is_and_on_what_is_left() {
        use Next::{Again, Elsewhere, GiveUp};
        let ms = Duration::from_millis;
        let limited = || Failed {
            reason: Reason::RateLimited,
            is_before_work: true,
            retry_after: Some(ms(500)),
            retries: 0,
            max_retries: 2,
            time_left: None,
            has_other: false,
        };
        let has_other = true;
        let slow = Some(ms(2_000));
        let of = |reason, is_before_work| Failed {
            reason,
            is_before_work,
            ..limited()
        };
        let table = [
            (limited(), true, Again(ms(500))),
            (limited(), false, GiveUp),
            (
                Failed {
                    retries: 1,
                    ..limited()
                },
                true,
                Again(ms(500)),
            ),
            (
                Failed {
                    retries: 2,
                    ..limited()
                },
                true,
                GiveUp,
            ),
            (
                Failed {
                    max_retries: 0,
                    ..limited()
                },
                true,
                GiveUp,
            ),
            (
                Failed {
                    time_left: Some(ms(501)),
                    ..limited()
                },
                true,
                Again(ms(500)),
            ),
            (
                Failed {
                    time_left: Some(ms(500)),
                    ..limited()
                },
                true,
                GiveUp,
            ),
            (
                Failed {
                    retry_after: Some(ms(10_001)),
                    ..limited()
                },
                true,
                GiveUp,
            ),
            (
                Failed {
                    has_other,
                    ..limited()
                },
                true,
                Again(ms(500)),
            ),
            (
                Failed {
                    has_other,
                    ..limited()
                },
                false,
                Elsewhere,
            ),
            (
                Failed {
                    has_other,
                    retry_after: slow,
                    ..limited()
                },
                true,
                Elsewhere,
            ),
            (
                Failed {
                    retry_after: slow,
                    ..limited()
                },
                true,
                Again(ms(2_000)),
            ),
            (
                Failed {
                    has_other,
                    ..of(Reason::ModelUnavailable, false)
                },
                true,
                Elsewhere,
            ),
            (
                Failed {
                    has_other,
                    ..of(Reason::QuotaExceeded, false)
                },
                true,
                Elsewhere,
            ),
            (
                Failed {
                    has_other,
                    ..of(Reason::ModelCredentialsRejected, false)
                },
                true,
                Elsewhere,
            ),
            (
                Failed {
                    has_other,
                    ..of(Reason::Overloaded, false)
                },
                true,
                Elsewhere,
            ),
            (
                Failed {
                    has_other,
                    ..of(Reason::ContextLengthExceeded, false)
                },
                true,
                Elsewhere,
            ),
            (
                Failed {
                    has_other,
                    ..of(Reason::ModelRequestRejected, false)
                },
                true,
                GiveUp,
            ),
            (of(Reason::ModelUnavailable, false), true, GiveUp),
        ];
        for (failed, has_budget, expected) in table {
            assert_eq!(next(&failed, 0.0, || has_budget), expected, "{failed:?}");
        }
    }

    #[test]
    fn the_budget_is_not_touched_where_nothing_is_sent_again() {
        let failed = Failed {
            reason: Reason::ModelRequestRejected,
            is_before_work: false,
            retry_after: None,
            retries: 0,
            max_retries: 2,
            time_left: None,
            has_other: false,
        };
        assert_eq!(next(&failed, 0.0, || panic!("it is not asked")), Next::GiveUp);
    }

    #[test]
    fn waits_are_bounded_and_spread() {
        let ms = Duration::from_millis;
        let table = [
            (0, None, 0.0, Some(ms(0))),
            (0, None, 1.0, Some(ms(400))),
            (1, None, 1.0, Some(ms(800))),
            (60, None, 1.0, Some(ms(10_000))),
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
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "120ms"),
                ],
                Some(120),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                Some(360_000),
            ),
            // What is left is no reason to wait.
            (
                &[
                    ("x-ratelimit-remaining-tokens", "7"),
                    ("x-ratelimit-reset-tokens", "1s"),
                ],
                None,
            ),
            (
                &[
                    ("retry-after", "2"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "9s"),
                ],
                Some(2000),
            ),
            (
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "2m59.5s"),
                ],
                Some(179_500),
            ),
            (
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "1 fortnight"),
                ],
                None,
            ),
            // OpenRouter: in milliseconds since 1970, and others in seconds. It is 784111777 now.
            (
                &[
                    ("X-RateLimit-Limit", "20"),
                    ("X-RateLimit-Remaining", "0"),
                    ("X-RateLimit-Reset", "784111779500"),
                ],
                Some(2_500),
            ),
            (
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")],
                Some(7_000),
            ),
            (
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1s")],
                Some(1_000),
            ),
            // Tomorrow, and never.
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "784198177000"),
                ],
                Some(3_600_000),
            ),
            (
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1e300")],
                None,
            ),
            (
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "inf")],
                None,
            ),
            // It has passed.
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "784111776000"),
                ],
                None,
            ),
            (
                &[
                    ("x-ratelimit-remaining", "3"),
                    ("x-ratelimit-reset", "784111779500"),
                ],
                None,
            ),
            (&[("x-ratelimit-reset", "784111779500")], None),
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
