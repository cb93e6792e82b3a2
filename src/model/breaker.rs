//! The circuit breaker: what has failed too often is left alone for a while. Pure: the time is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// Fewer answers than this in the window say nothing about a rate.
const RATE_NEEDS: u32 = 20;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures one after the other that open it; 0 switches the breaker off.
    pub failures: u32,
    /// The share of failures in the window that opens it, in percent.
    pub failure_percent: u32,
    /// How far back the share is counted; between half of it and all of it is looked at.
    pub window: Duration,
    /// How long nothing is sent before one request may try.
    pub cooldown: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            failure_percent: 50,
            window: Duration::from_secs(60),
            cooldown: Duration::from_secs(10),
        }
    }
}

/// Counts what an upstream does wrong. Only what is the upstream's fault counts.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    consecutive: u32,
    /// The present half of the window, and the one before it.
    halves: [Tally; 2],
    half_began: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    answers: u32,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One request tries whether it works again.
    Trying,
}

/// Leave to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// As always.
    Ordinary,
    /// It is the one that tries: how it went decides.
    Trial,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The upstream did its part.
    Works,
    /// It did not.
    Fails,
    /// Nobody waited to see.
    Unknown,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed,
            consecutive: 0,
            halves: [Tally::default(); 2],
            half_began: None,
        }
    }

    /// How long it stays open; none when a request may be sent. While one tries, the others are turned away for
    /// another cooldown at most.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until } => {
                Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
            }
            State::Trying => Some(self.settings.cooldown),
        }
    }

    /// Leave to send one request, or how long there is none.
    pub(super) fn leave(&mut self, now: Instant) -> Result<Leave, Duration> {
        if let Some(left) = self.open_for(now) {
            return Err(left);
        }
        match self.state {
            State::Open { .. } => {
                self.state = State::Trying;
                Ok(Leave::Trial)
            }
            _ => Ok(Leave::Ordinary),
        }
    }

    /// Takes note of how a request went.
    pub(super) fn note(&mut self, leave: Leave, verdict: Verdict, now: Instant) {
        if self.settings.failures == 0 {
            return;
        }
        if leave == Leave::Trial && self.state == State::Trying {
            self.state = match verdict {
                Verdict::Works => State::Closed,
                Verdict::Fails => self.opened(now),
                // The next one tries.
                Verdict::Unknown => State::Open { until: now },
            };
            self.consecutive = 0;
            self.halves = [Tally::default(); 2];
            return;
        }
        if verdict == Verdict::Unknown || self.state != State::Closed {
            return;
        }
        self.turn_over(now);
        let [present, before] = &mut self.halves;
        present.answers += 1;
        self.consecutive = match verdict {
            Verdict::Fails => self.consecutive + 1,
            _ => 0,
        };
        present.failures += u32::from(verdict == Verdict::Fails);
        let answers = present.answers + before.answers;
        let failures = present.failures + before.failures;
        let share =
            u64::from(failures) * 100 >= u64::from(answers) * u64::from(self.settings.failure_percent);
        let is_too_often = answers >= RATE_NEEDS && failures > 0 && share;
        if self.consecutive >= self.settings.failures || is_too_often {
            self.state = self.opened(now);
        }
    }

    fn opened(&self, now: Instant) -> State {
        State::Open {
            until: now + self.settings.cooldown,
        }
    }

    /// Forgets what is older than the window.
    fn turn_over(&mut self, now: Instant) {
        let half = self.settings.window / 2;
        let began = *self.half_began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        if age >= self.settings.window {
            self.halves = [Tally::default(); 2];
            self.half_began = Some(now);
        } else if age >= half {
            self.halves = [Tally::default(), self.halves[0]];
            self.half_began = Some(began + half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> BreakerSettings {
        BreakerSettings {
            failures: 3,
            failure_percent: 50,
            window: 10 * SECOND,
            cooldown: 5 * SECOND,
        }
    }

    /// Plays a script on a breaker: `x` an ordinary failure, `.` a success, `-` an answer that nobody waited for,
    /// a number that many seconds. What it reads like afterwards: `closed`, or for how many seconds it is open.
    fn played(settings: BreakerSettings, script: &str) -> String {
        let mut breaker = Breaker::new(settings);
        let mut now = Instant::now();
        for step in script.split_whitespace() {
            if let Ok(seconds) = step.parse::<u32>() {
                now += seconds * SECOND;
                continue;
            }
            for letter in step.chars() {
                let verdict = match letter {
                    'x' => Verdict::Fails,
                    '.' => Verdict::Works,
                    _ => Verdict::Unknown,
                };
                if let Ok(leave) = breaker.leave(now) {
                    breaker.note(leave, verdict, now);
                }
            }
        }
        match breaker.open_for(now) {
            None => "closed".to_owned(),
            Some(left) => left.as_secs().to_string(),
        }
    }

    #[test]
    fn it_opens_on_failures_and_closes_after_one_that_works() {
        let table = [
            ("", "closed"),
            ("xx", "closed"),
            ("xx.xx", "closed"),
            ("xx-x", "5"),
            ("xxx", "5"),
            ("xxx 2", "3"),
            // What comes while it is open changes nothing.
            ("xxx 2 ...", "3"),
            ("xxx 5", "closed"),
            ("xxx 5 .", "closed"),
            ("xxx 5 . xx", "closed"),
            ("xxx 5 x", "5"),
            // A trial that nobody waited for leaves the next one to try.
            ("xxx 5 - x", "5"),
            ("xxx 5 - .", "closed"),
            // Half of twenty.
            (".x.x.x.x.x.x.x.x.x.", "closed"),
            (".x.x.x.x.x.x.x.x.x.x", "5"),
            // Those of long ago do not count.
            (".x.x.x.x.x.x.x.x.x. 10 x", "closed"),
            (".x.x.x.x.x.x.x.x.x. 5 x", "5"),
            (".x.x.x.x.x 5 .x.x.x.x 5 .x", "closed"),
        ];
        for (script, expected) in table {
            assert_eq!(played(settings(), script), expected, "{script}");
        }
    }

    #[test]
    fn one_alone_tries_and_the_others_are_turned_away() {
        let mut breaker = Breaker::new(settings());
        let now = Instant::now();
        for _ in 0..3 {
            breaker.note(Leave::Ordinary, Verdict::Fails, now);
        }
        let later = now + 5 * SECOND;
        assert_eq!(breaker.leave(later), Ok(Leave::Trial));
        assert_eq!(breaker.leave(later), Err(5 * SECOND));
        // One that was sent before it opened decides nothing.
        breaker.note(Leave::Ordinary, Verdict::Works, later);
        assert_eq!(breaker.leave(later), Err(5 * SECOND));
        breaker.note(Leave::Trial, Verdict::Works, later);
        assert_eq!(breaker.leave(later), Ok(Leave::Ordinary));
    }

    #[test]
    fn one_that_is_switched_off_never_opens() {
        let off = BreakerSettings {
            failures: 0,
            ..settings()
        };
        assert_eq!(played(off, &"x".repeat(100)), "closed");
    }
}
