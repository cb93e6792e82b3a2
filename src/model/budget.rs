//! The retry budget: a storm of failures must not be multiplied by retries. Pure: the time is passed in.

use tokio::time::Instant;

/// Counted in hundredths, so that a percent of a request is a whole number.
const RETRY: u64 = 100;
/// What a quiet upstream has at hand, and what comes back at one retry a second.
const FLOOR: u64 = 10 * RETRY;
/// The most that can be saved up.
const CEILING: u64 = 100 * RETRY;

/// A bucket of retries. Every request adds a part of one, every retry takes one.
#[derive(Debug)]
pub(super) struct Budget {
    part: u64,
    left: u64,
    counted: Option<Instant>,
}

impl Budget {
    /// With `percent` of the requests, over time.
    pub(super) fn new(percent: u32) -> Self {
        Self {
            part: u64::from(percent),
            left: FLOOR,
            counted: None,
        }
    }

    /// A request is sent for the first time.
    pub(super) fn add(&mut self) {
        self.left = (self.left + self.part).min(CEILING);
    }

    /// Takes a retry, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = self.counted.replace(now).unwrap_or(now);
        if self.left < FLOOR {
            let millis = now.saturating_duration_since(since).as_millis();
            let grown = u64::try_from(millis).unwrap_or(u64::MAX) / 10;
            self.left = self.left.saturating_add(grown).min(FLOOR);
        }
        let has_one = self.left >= RETRY;
        if has_one {
            self.left -= RETRY;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many of so many retries are granted at one moment.
    fn granted(budget: &mut Budget, tries: u32, now: Instant) -> usize {
        (0..tries).filter(|_| budget.take(now)).count()
    }

    #[test]
    fn retries_are_a_part_of_the_requests_and_a_few_more() {
        let now = Instant::now();
        for (requests, expected) in [(0, 10), (10, 12), (100, 30), (10_000, 100)] {
            let mut budget = Budget::new(20);
            for _ in 0..requests {
                budget.add();
            }
            assert_eq!(granted(&mut budget, 1_000, now), expected, "{requests}");
        }
    }

    #[test]
    fn a_budget_that_is_used_up_comes_back_with_time_but_no_further_than_its_floor() {
        let now = Instant::now();
        for (seconds, expected) in [(0, 0), (3, 3), (100, 10)] {
            let mut budget = Budget::new(0);
            assert_eq!(granted(&mut budget, 100, now), 10);
            let later = now + Duration::from_secs(seconds);
            assert_eq!(granted(&mut budget, 100, later), expected, "{seconds}");
        }
    }
}
