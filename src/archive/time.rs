//! Times and spans as people read them: RFC 3339 and seconds, in place of the numbers that the records' own
//! serialised form has.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::fault::{Fault, typed};

/// Where times stand in a line of any kind.
const MOMENTS: [&str; 7] = [
    "/create_time",
    "/update_time",
    "/start_time",
    "/end_time",
    "/work/tool_call/action/create_time",
    "/work/tool_call/action/expire_time",
    "/work/tool_call/action/request/unknown_outcome/call_time",
];

/// Where spans stand.
const SPANS: [&str; 4] = [
    "/waited",
    "/snapshot/limits/max_duration",
    "/profile/limits/max_duration",
    "/work/tool_call/duration",
];

/// Writes every time of a line as text.
///
/// # Errors
/// A time cannot be told.
pub(super) fn to_text(line: &mut Value) -> Result<(), Fault> {
    each(line, &MOMENTS, |value| {
        let time: SystemTime = typed(value)?;
        Ok(prost_types::Timestamp::from(time).to_string().into())
    })?;
    each(line, &SPANS, |value| {
        let span: Duration = typed(value)?;
        let span = prost_types::Duration::try_from(span).map_err(|error| Fault::of("", error.to_string()))?;
        Ok(span.to_string().into())
    })
}

/// Reads every time of a line back, as fine as a store keeps it.
///
/// # Errors
/// One is none; the fault names its field.
pub(super) fn from_text(line: &mut Value) -> Result<(), Fault> {
    each(line, &MOMENTS, |value| {
        let time: Option<prost_types::Timestamp> = value.as_str().and_then(|text| text.parse().ok());
        let (seconds, nanos) = time
            .and_then(|time| Some((u64::try_from(time.seconds).ok()?, u32::try_from(time.nanos).ok()?)))
            .ok_or_else(|| Fault::of("", "is not a time since 1970, such as \"2026-01-02T03:04:05.5Z\""))?;
        let nanos = nanos - nanos % 1_000;
        Ok(json!({"secs_since_epoch": seconds, "nanos_since_epoch": nanos}))
    })?;
    each(line, &SPANS, |value| {
        let span: Option<prost_types::Duration> = value.as_str().and_then(|text| text.parse().ok());
        let span = span
            .and_then(|span| Duration::try_from(span).ok())
            .ok_or_else(|| Fault::of("", "is not a span in seconds, such as \"1.5s\""))?;
        Ok(json!({"secs": span.as_secs(), "nanos": span.subsec_nanos()}))
    })
}

fn each(
    line: &mut Value,
    pointers: &[&str],
    change: impl Fn(Value) -> Result<Value, Fault>,
) -> Result<(), Fault> {
    for pointer in pointers {
        let Some(place) = line.pointer_mut(pointer).filter(|place| !place.is_null()) else {
            continue;
        };
        let field = || pointer.trim_start_matches('/').replace('/', ".");
        *place = change(place.take()).map_err(|fault| fault.within(&field()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_come_back_as_they_were() {
        for (time, span) in [
            ("1970-01-01T00:00:00Z", "0s"),
            ("2026-11-27T07:09:09.123456Z", "0.000000001s"),
            ("9999-12-31T23:59:59.999999Z", "86400s"),
        ] {
            let line = json!({"create_time": time, "end_time": null, "waited": span});
            let mut read = line.clone();
            from_text(&mut read).unwrap();
            assert!(read["create_time"].is_object() && read["waited"].is_object());
            to_text(&mut read).unwrap();
            // A fraction has three, six or nine digits.
            assert_eq!(read["create_time"], line["create_time"]);
            assert_eq!(read["waited"], line["waited"]);
        }
    }

    #[test]
    fn what_is_no_time_is_named() {
        for (line, field) in [
            (json!({"create_time": "yesterday"}), "create_time"),
            (json!({"create_time": "1969-12-31T23:59:59Z"}), "create_time"),
            (json!({"start_time": 12}), "start_time"),
            (
                json!({"snapshot": {"limits": {"max_duration": "-1s"}}}),
                "snapshot.limits.max_duration",
            ),
        ] {
            assert_eq!(from_text(&mut line.clone()).unwrap_err().field, field, "{line}");
        }
    }
}
