//! What callers have used, day by day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::message::Usage;

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// A day in UTC, by its distance from the first of January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

/// What the runs of one caller that ended on one day have used, as far as it was paid for in one currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Spending {
    /// The day.
    pub day: Day,
    /// The caller; empty for runs of nobody.
    pub caller: String,
    /// How many runs.
    pub runs: u64,
    /// What they used. It has a cost where there were prices.
    pub usage: Usage,
}

/// Whose usage is asked for, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spenders {
    /// Of this caller alone, which may be the empty one; none for everybody.
    pub caller: Option<String>,
    /// From this day on.
    pub from: Option<Day>,
    /// Before this day.
    pub before: Option<Day>,
}

impl Day {
    /// The day of that time.
    pub fn of(time: SystemTime) -> Self {
        let days = |distance: Duration| i64::try_from(distance.as_secs() / SECONDS_OF_A_DAY);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => days(after).unwrap_or(i64::MAX),
            // The day began before the time.
            Err(before) => {
                let before =
                    before.duration() + Duration::from_secs(SECONDS_OF_A_DAY) - Duration::from_nanos(1);
                days(before).map_or(i64::MIN, |days| -days)
            }
        })
    }

    /// When it begins; none for a time that the system cannot express.
    pub fn start(self) -> Option<SystemTime> {
        let distance = Duration::from_secs(self.0.unsigned_abs().checked_mul(SECONDS_OF_A_DAY)?);
        match self.0 < 0 {
            true => UNIX_EPOCH.checked_sub(distance),
            false => UNIX_EPOCH.checked_add(distance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_on_both_sides_of_1970() {
        let day = Duration::from_secs(SECONDS_OF_A_DAY);
        let nano = Duration::from_nanos(1);
        for (time, expected) in [
            (UNIX_EPOCH, 0),
            (UNIX_EPOCH + day - nano, 0),
            (UNIX_EPOCH + day, 1),
            (UNIX_EPOCH - nano, -1),
            (UNIX_EPOCH - day, -1),
            (UNIX_EPOCH - day - nano, -2),
        ] {
            assert_eq!(Day::of(time), Day(expected), "{time:?}");
            let start = Day(expected).start().unwrap();
            assert!(start <= time && time < start + day);
        }
        assert_eq!(Day(i64::MAX).start(), None);
    }
}
