//! Between the contract's types and the heart's. Nothing here decides anything but whether a field fits.

pub mod action;
pub mod assistant;
pub mod event;
pub mod library;
pub mod media;
pub mod message;
pub mod model;
pub mod name;
pub mod options;
pub mod page;
pub mod run;
pub mod step;
pub mod structure;
pub mod thread;
pub mod tool;
pub mod truncation;
pub mod usage;

use std::time::{Duration, SystemTime};

use crate::run::error::Error;

/// A moment, as the contract has it.
pub fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// A count, as the contract has it: its integers are signed.
pub fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A span, as the contract has it. One beyond the range of `google.protobuf.Duration` is cut to its end.
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}

/// A span that a caller gives: more than nothing.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field.
pub fn positive_duration(field: &str, value: &prost_types::Duration) -> Result<Duration, Error> {
    Duration::try_from(*value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| Error::invalid(field, "must be more than 0 s"))
}
