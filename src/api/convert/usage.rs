//! What callers have used.

use std::time::{Duration, SystemTime};

use super::{count, run, timestamp};
use crate::api::pb;
use crate::run::error::Error;
use crate::run::spending::{Day, Spenders, Spending};

/// What a caller has used, as the contract has it.
pub fn to_pb(spending: &Spending) -> pb::CallerUsage {
    pb::CallerUsage {
        day: spending.day.start().map(timestamp),
        caller: spending.caller.clone(),
        runs: count(spending.runs),
        usage: Some(run::usage(spending.usage)),
    }
}

/// Whose usage is asked for.
///
/// # Errors
/// `VALIDATION_FAILED` for a time that cannot be, or an end before the start.
pub fn spenders(request: &pb::ListUsageRequest) -> Result<Spenders, Error> {
    let start = request
        .start_time
        .as_ref()
        .map(|time| read("start_time", time))
        .transpose()?;
    let end = request
        .end_time
        .as_ref()
        .map(|time| read("end_time", time))
        .transpose()?;
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        return Err(Error::invalid("end_time", "must not be before the start"));
    }
    Ok(Spenders {
        caller: request.caller.clone(),
        from: start.map(Day::of),
        before: end.map(|end| match Day::of(end) {
            day if day.start() == Some(end) => day,
            Day(day) => Day(day.saturating_add(1)),
        }),
    })
}

fn read(field: &str, time: &prost_types::Timestamp) -> Result<SystemTime, Error> {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = match time.seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(seconds),
        false => SystemTime::UNIX_EPOCH.checked_add(seconds),
    };
    let nanos = u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    let read = whole
        .zip(nanos)
        .and_then(|(whole, nanos)| whole.checked_add(Duration::from_nanos(nanos.into())));
    read.ok_or_else(|| Error::invalid(field, "is no time"))
}
