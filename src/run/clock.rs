//! The time, as fine as every store keeps it: what is shown live and what is read back later are the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in whole microseconds.
pub fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
