//! Refusals that come over a provider for a while.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::turn::RawAnswer;

/// A time in which every request for an answer is refused. Turns are not used up meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// How much there is before it, from the start of the simulator on.
    #[serde(default)]
    pub after: Span,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub length: Span,
    /// The HTTP status of the refusals.
    #[serde(default = "too_many_requests")]
    pub status: u16,
    /// When clients are told to try again, in milliseconds: as `retry-after`, in whole seconds rounded up,
    /// and as `retry-after-ms`.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// A stretch of requests or of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// So many requests for an answer.
    Requests(u64),
    /// So many milliseconds.
    Ms(u64),
}

impl Default for Span {
    fn default() -> Self {
        Span::Requests(0)
    }
}

fn too_many_requests() -> u16 {
    429
}

impl Storm {
    /// The next `requests` are refused with 429.
    #[must_use]
    pub fn of_requests(requests: u64) -> Self {
        Storm {
            after: Span::default(),
            length: Span::Requests(requests),
            status: too_many_requests(),
            retry_after_ms: None,
        }
    }

    /// What cannot be, behind its key.
    pub(super) fn check(&self) -> Result<(), String> {
        if matches!(self.length, Span::Requests(0) | Span::Ms(0)) {
            return Err("for: nothing is refused".to_owned());
        }
        match self.status {
            400..=599 => Ok(()),
            status => Err(format!("status: {status} is no refusal, from 400 to 599")),
        }
    }

    fn refusal(self) -> RawAnswer {
        let mut headers = Vec::new();
        if let Some(ms) = self.retry_after_ms {
            headers.push(("retry-after".to_owned(), ms.div_ceil(1000).to_string()));
            headers.push(("retry-after-ms".to_owned(), ms.to_string()));
        }
        RawAnswer {
            status: self.status,
            headers,
            body: None,
        }
    }
}

/// A moment, as spans count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub requests: u64,
    pub time: Instant,
}

impl Span {
    fn is_over(self, since: Moment, now: Moment) -> bool {
        match self {
            Span::Requests(requests) => now.requests - since.requests >= requests,
            Span::Ms(ms) => now.time.duration_since(since.time) >= Duration::from_millis(ms),
        }
    }
}

/// The storms of a script and which of them have begun.
#[derive(Debug)]
pub(super) struct Weather {
    start: Moment,
    requests: u64,
    storms: Vec<(Storm, Option<Moment>)>,
}

impl Weather {
    pub fn new(storms: &[Storm], time: Instant) -> Self {
        Weather {
            start: Moment { requests: 0, time },
            requests: 0,
            storms: storms.iter().map(|storm| (*storm, None)).collect(),
        }
    }

    /// The refusal of the request that comes now, if there is a storm.
    pub fn refuse(&mut self, time: Instant) -> Option<RawAnswer> {
        let now = Moment {
            requests: self.requests,
            time,
        };
        self.requests += 1;
        let mut refusal = None;
        for (storm, begun) in &mut self.storms {
            if begun.is_none() && storm.after.is_over(self.start, now) {
                *begun = Some(now);
            }
            if refusal.is_none() && begun.is_some_and(|begun| !storm.length.is_over(begun, now)) {
                refusal = Some(storm.refusal());
            }
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storms_are_counted_in_requests_or_in_time() {
        let storms: Vec<Storm> = serde_json::from_str(
            r#"[{"after": {"requests": 1}, "for": {"requests": 2}, "retry_after_ms": 1500},
                {"after": {"ms": 100}, "for": {"ms": 50}, "status": 503}]"#,
        )
        .unwrap();
        let start = Instant::now();
        let mut weather = Weather::new(&storms, start);
        let mut at = |ms| weather.refuse(start + Duration::from_millis(ms));
        let status = |answer: Option<RawAnswer>| answer.map(|answer| answer.status);
        assert_eq!(status(at(0)), None);
        let limited = at(1).unwrap();
        assert_eq!(limited.status, 429);
        assert_eq!(limited.headers[0], ("retry-after".to_owned(), "2".to_owned()));
        assert_eq!(
            limited.headers[1],
            ("retry-after-ms".to_owned(), "1500".to_owned())
        );
        let later = [2, 3, 99, 100, 149, 150, 1000].map(|ms| status(at(ms)));
        assert_eq!(later, [Some(429), None, None, Some(503), Some(503), None, None]);
    }
}
