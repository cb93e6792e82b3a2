//! The breakers of one upstream and of its models. Pure: the time is passed in.
//!
//! What fails for one model is likely to fail for all of its upstream, so they share a breaker. But a model may be in
//! trouble by itself, and another one there may be what answers in its place: so each has a breaker of its own too, and
//! its failures do not count for the others while one of these works.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, BreakerSettings, Leave, Verdict};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Circuit {
    shared: Breaker,
    /// How far back a model that works speaks for its upstream.
    window: Duration,
    models: Vec<OfModel>,
}

#[derive(Debug)]
struct OfModel {
    breaker: Breaker,
    /// The operator wants it to be asked whatever happens.
    is_off: bool,
    /// When it last did its part.
    worked: Option<Instant>,
}

/// Leave to send a request, of both breakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaves {
    shared: Leave,
    own: Leave,
}

impl Leaves {
    /// Whether how it goes decides whether others may be sent.
    pub(super) fn is_trial(self) -> bool {
        self.shared == Leave::Trial || self.own == Leave::Trial
    }

    /// The trial is over: what follows is as always.
    pub(super) const ORDINARY: Leaves = Leaves {
        shared: Leave::Ordinary,
        own: Leave::Ordinary,
    };
}

impl Circuit {
    /// Of models with these settings. What they share opens as soon as the most careful of them says.
    pub(super) fn new(models: &[BreakerSettings]) -> Self {
        let is_on = |settings: &&BreakerSettings| settings.failures > 0;
        let careful = models
            .iter()
            .filter(is_on)
            .min_by_key(|settings| settings.failures);
        let careful = careful.or(models.first()).copied().unwrap_or_default();
        let of_model = |settings: &BreakerSettings| OfModel {
            breaker: Breaker::new(*settings),
            is_off: settings.failures == 0,
            worked: None,
        };
        Self {
            shared: Breaker::new(careful),
            window: careful.window,
            models: models.iter().map(of_model).collect(),
        }
    }

    /// How long nothing is sent to this model; none when a request may be.
    pub(super) fn open_for(&self, model: usize, now: Instant) -> Option<Duration> {
        let of_model = &self.models[model];
        if of_model.is_off {
            return None;
        }
        self.shared.open_for(now).max(of_model.breaker.open_for(now))
    }

    /// Leave to send one request to this model, or how long there is none.
    pub(super) fn leave(&mut self, model: usize, now: Instant) -> Result<Leaves, Duration> {
        if self.models[model].is_off {
            return Ok(Leaves::ORDINARY);
        }
        match self.open_for(model, now) {
            Some(left) => Err(left),
            None => Ok(Leaves {
                shared: self.shared.leave(now)?,
                own: self.models[model].breaker.leave(now)?,
            }),
        }
    }

    /// Takes note of how a request to this model went.
    pub(super) fn note(&mut self, model: usize, leaves: Leaves, verdict: Verdict, now: Instant) {
        let of_model = &mut self.models[model];
        of_model.breaker.note(leaves.own, verdict, now);
        if verdict == Verdict::Works {
            of_model.worked = Some(now);
        }
        let is_its_own = verdict == Verdict::Fails
            && leaves.shared == Leave::Ordinary
            && (of_model.is_off || self.has_working_neighbour(model, now));
        let verdict = if is_its_own { Verdict::Unknown } else { verdict };
        self.shared.note(leaves.shared, verdict, now);
    }

    fn has_working_neighbour(&self, model: usize, now: Instant) -> bool {
        let others = self
            .models
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != model);
        let mut worked = others.filter_map(|(_, other)| other.worked);
        worked.any(|worked| now.saturating_duration_since(worked) < self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings(failures: u32) -> BreakerSettings {
        BreakerSettings {
            failures,
            failure_percent: 50,
            window: 10 * SECOND,
            cooldown: 5 * SECOND,
        }
    }

    /// Plays a script on two models, of which the first is left alone after three failures, the second after so many: a
    /// letter for the model, and what came of it: `x` a failure, `.` what works; a number that many seconds. For how
    /// many seconds each is left alone then.
    fn played(script: &str, second: u32) -> (u64, u64) {
        let mut circuit = Circuit::new(&[settings(3), settings(second)]);
        let mut now = Instant::now();
        for step in script.split_whitespace() {
            if let Ok(seconds) = step.parse::<u32>() {
                now += seconds * SECOND;
                continue;
            }
            let (model, verdict) = match step {
                "ax" => (0, Verdict::Fails),
                "bx" => (1, Verdict::Fails),
                "a." => (0, Verdict::Works),
                _ => (1, Verdict::Works),
            };
            if let Ok(leaves) = circuit.leave(model, now) {
                circuit.note(model, leaves, verdict, now);
            }
        }
        let left = |model| circuit.open_for(model, now).map_or(0, |left| left.as_secs());
        (left(0), left(1))
    }

    #[test]
    fn failures_are_the_upstreams_unless_another_model_there_works() {
        for (script, expected) in [
            ("", (0, 0)),
            ("ax ax", (0, 0)),
            // Nobody knows of any that works.
            ("ax ax ax", (5, 5)),
            ("ax bx ax", (5, 5)),
            ("ax b. ax ax", (5, 0)),
            ("b. ax ax ax", (5, 0)),
            ("b. ax ax ax bx bx bx", (5, 5)),
            // It worked too long ago.
            ("b. 10 ax ax ax", (5, 5)),
            // One that works again lets all of them in; the one that failed tries for itself.
            ("ax ax ax 5 b. ", (0, 0)),
            ("ax ax ax 5 b. ax", (5, 0)),
            ("ax ax ax 5 bx", (5, 5)),
            ("ax ax ax 5 a. bx bx", (0, 0)),
        ] {
            assert_eq!(played(script, 3), expected, "{script}");
        }
    }

    #[test]
    fn the_most_careful_counts_and_one_that_is_never_left_alone_is_not() {
        assert_eq!(played("ax ax ax", 9), (5, 5));
        assert_eq!(played("bx bx bx", 9), (5, 5));
        assert_eq!(played("ax ax ax", 0), (5, 0));
        assert_eq!(played("bx bx bx bx bx", 0), (0, 0));
    }
}
