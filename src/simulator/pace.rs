//! How fast tokens come: waits that are always the same, or drawn from a distribution.

use std::time::Duration;

use fastrand::Rng;
use serde::Deserialize;

/// The longest wait for one token, in milliseconds: what a distribution gives beyond it is cut.
const LONGEST_MS: f64 = 600_000.0;

/// How fast tokens come. A whole (not streamed) answer comes when the last token would have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// The wait before the first token, in milliseconds.
    pub first_ms: Delay,
    /// The wait before each further token, in milliseconds.
    pub token_ms: Delay,
    /// Where the random numbers begin: with the same one, the n-th answer always has the same waits.
    pub seed: u64,
}

/// One wait, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// Anything from the least to the most, equally often.
    Uniform {
        /// The shortest.
        least: f64,
        /// The longest.
        most: f64,
    },
    /// Mostly short, now and then long: the waits between independent events.
    Exponential {
        /// The mean.
        mean: f64,
    },
    /// Around the median, with a long tail: how servers under load are measured to be.
    Lognormal {
        /// Half of the waits are shorter.
        median: f64,
        /// The standard deviation of the logarithm: 0.5 is lively, 1 is wild.
        sigma: f64,
    },
    /// Always the same: written as a number.
    #[serde(untagged)]
    Constant(f64),
}

impl Default for Delay {
    fn default() -> Self {
        Delay::Constant(0.0)
    }
}

impl Delay {
    fn draw(self, random: &mut Rng) -> Duration {
        let ms = match self {
            Delay::Constant(ms) => ms,
            Delay::Uniform { least, most } => least + (most - least) * random.f64(),
            // From 1 downwards, since the logarithm of zero is no wait.
            Delay::Exponential { mean } => -mean * (1.0 - random.f64()).ln(),
            Delay::Lognormal { median, sigma } => median * (sigma * normal(random)).exp(),
        };
        if ms.is_nan() {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(ms.clamp(0.0, LONGEST_MS) / 1000.0)
    }
}

/// From the standard normal distribution, by the method of Box and Muller.
fn normal(random: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

impl Delay {
    /// What no wait can be.
    fn check(self) -> Result<(), &'static str> {
        let numbers = match self {
            Delay::Constant(ms) => [ms, 0.0],
            Delay::Uniform { least, most } => [least, most],
            Delay::Exponential { mean } => [mean, 0.0],
            Delay::Lognormal { median, sigma } => [median, sigma],
        };
        match self {
            _ if numbers.iter().any(|number| *number < 0.0) => Err("a number below zero"),
            Delay::Uniform { least, most } if least > most => Err("`least` is more than `most`"),
            _ => Ok(()),
        }
    }
}

impl Pace {
    /// What cannot be, behind its key.
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, delay) in [("first_ms", self.first_ms), ("token_ms", self.token_ms)] {
            delay.check().map_err(|what| format!("{key}: {what}"))?;
        }
        Ok(())
    }

    /// Always the same waits.
    #[must_use]
    pub fn constant(first_ms: u64, token_ms: u64) -> Self {
        Pace {
            first_ms: Delay::Constant(first_ms as f64),
            token_ms: Delay::Constant(token_ms as f64),
            seed: 0,
        }
    }

    /// The waits of one answer; `serial` tells the answers apart.
    pub(super) fn waits(self, serial: u64) -> Waits {
        Waits {
            pace: self,
            random: Rng::with_seed(self.seed.wrapping_add(serial)),
            is_first: true,
        }
    }
}

/// The waits of one answer, token by token.
#[derive(Debug)]
pub(super) struct Waits {
    pace: Pace,
    random: Rng,
    is_first: bool,
}

impl Waits {
    /// Whether nothing is ever waited for.
    pub fn is_none(&self) -> bool {
        self.pace.first_ms == Delay::default() && self.pace.token_ms == Delay::default()
    }

    /// The wait before the next token.
    pub fn next(&mut self) -> Duration {
        let delay = match std::mem::take(&mut self.is_first) {
            true => self.pace.first_ms,
            false => self.pace.token_ms,
        };
        delay.draw(&mut self.random)
    }

    /// The wait for all of `tokens`; for the first one, if there is none.
    pub fn total(mut self, tokens: usize) -> Duration {
        if self.is_none() {
            return Duration::ZERO;
        }
        (0..tokens.max(1)).fold(Duration::ZERO, |total, _| total.saturating_add(self.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_ms(delay: Delay) -> f64 {
        const DRAWS: u32 = 20_000;
        let pace = Pace {
            first_ms: delay,
            token_ms: delay,
            seed: 7,
        };
        pace.waits(0).total(DRAWS as usize).as_secs_f64() * 1000.0 / f64::from(DRAWS)
    }

    #[test]
    fn waits_are_drawn_from_what_the_script_says() {
        let table = [
            ("5", 5.0),
            (r#"{"uniform": {"least": 10, "most": 30}}"#, 20.0),
            (r#"{"exponential": {"mean": 5}}"#, 5.0),
            // The mean of a lognormal distribution is exp(sigma² / 2) times its median.
            (r#"{"lognormal": {"median": 10, "sigma": 0.5}}"#, 11.33),
            (r#"{"exponential": {"mean": -1}}"#, 0.0),
            ("1e300", LONGEST_MS),
        ];
        for (json, mean) in table {
            let found = mean_ms(serde_json::from_str(json).unwrap());
            assert!((found - mean).abs() <= mean * 0.03, "{json}: {found}");
        }
        assert!(serde_json::from_str::<Delay>(r#"{"gamma": {"mean": 5}}"#).is_err());
    }

    #[test]
    fn the_same_seed_gives_the_same_waits_to_the_same_answer() {
        let pace = |seed| Pace {
            first_ms: Delay::Exponential { mean: 1.0 },
            token_ms: Delay::Exponential { mean: 1.0 },
            seed,
        };
        let waits = |seed, serial| {
            let mut waits = pace(seed).waits(serial);
            [waits.next(), waits.next()]
        };
        assert_eq!(waits(1, 0), waits(1, 0));
        assert_ne!(waits(1, 0), waits(1, 1));
        assert_ne!(waits(1, 0), waits(9, 0));
    }
}
