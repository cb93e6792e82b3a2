//! The text forms of `Timestamp`, `Duration` and `FieldMask`.

use super::scalar::Reason;
use super::text::put;

const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const DURATION_SECONDS: i64 = 315_576_000_000;

/// Seconds since 1970 and nanoseconds of an RFC 3339 text.
///
/// # Errors
/// When it is not one, or outside the years 1 to 9999.
pub fn parse_timestamp(text: &str) -> Result<(i64, i32), Reason> {
    timestamp(text.as_bytes()).ok_or(Reason::Borrowed(
        "expected an RFC 3339 time between the years 1 and 9999",
    ))
}

fn timestamp(text: &[u8]) -> Option<(i64, i32)> {
    let (date, rest) = text.split_at_checked(19)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| date[*at] != *mark) {
        return None;
    }
    let year = number(&date[0..4])?;
    let (month, day) = (number(&date[5..7])?, number(&date[8..10])?);
    let (hour, minute, second) = (
        number(&date[11..13])?,
        number(&date[14..16])?,
        number(&date[17..19])?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = seconds - offset(zone)?;
    TIMESTAMP_SECONDS.contains(&seconds).then_some((seconds, nanos))
}

fn number(digits: &[u8]) -> Option<i64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| {
        digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Nanoseconds of an optional fraction of at most nine digits, and what follows it.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count > 9 {
        return None;
    }
    let scale = 10_i64.pow(9 - u32::try_from(count).ok()?);
    Some((
        i32::try_from(number(&rest[..count])? * scale).ok()?,
        &rest[count..],
    ))
}

fn offset(zone: &[u8]) -> Option<i64> {
    if zone == b"Z" {
        return Some(0);
    }
    let sign = match zone.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if zone.len() != 6 || zone[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&zone[1..3])?, number(&zone[4..6])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends a timestamp as a JSON string in UTC.
///
/// # Errors
/// When it is outside the years 1 to 9999 or the nanoseconds are not between 0 and 999,999,999.
pub fn put_timestamp(out: &mut Vec<u8>, seconds: i64, nanos: i64) -> Result<(), Reason> {
    if !TIMESTAMP_SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err("timestamp out of range".into());
    }
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let time = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    put(
        out,
        format_args!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
    );
    put_fraction(out, nanos);
    out.extend_from_slice(b"Z\"");
    Ok(())
}

fn put_fraction(out: &mut Vec<u8>, nanos: i64) {
    match nanos {
        0 => {}
        _ if nanos % 1_000_000 == 0 => put(out, format_args!(".{:03}", nanos / 1_000_000)),
        _ if nanos % 1_000 == 0 => put(out, format_args!(".{:06}", nanos / 1_000)),
        _ => put(out, format_args!(".{nanos:09}")),
    }
}

/// Seconds and nanoseconds (of the same sign) of a text such as `-1.5s`.
///
/// # Errors
/// When it is not one, or beyond about 10,000 years.
pub fn parse_duration(text: &str) -> Result<(i64, i32), Reason> {
    duration(text).ok_or(Reason::Borrowed("expected seconds with an s, such as 1.5s"))
}

fn duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let split = text.find('.').unwrap_or(text.len());
    let (whole, rest) = text.as_bytes().split_at(split);
    let seconds = if whole.len() > 12 {
        return None;
    } else {
        number(whole)?
    };
    let (nanos, rest) = fraction(rest)?;
    let fits = seconds < DURATION_SECONDS || (seconds == DURATION_SECONDS && nanos == 0);
    (rest.is_empty() && fits).then_some((i64::from(sign) * seconds, sign * nanos))
}

/// Appends a duration as a JSON string.
///
/// # Errors
/// When it is out of range or the signs of seconds and nanoseconds differ.
pub fn put_duration(out: &mut Vec<u8>, seconds: i64, nanos: i64) -> Result<(), Reason> {
    let in_range = seconds.unsigned_abs() <= DURATION_SECONDS as u64 && nanos.unsigned_abs() < 1_000_000_000;
    if !in_range || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0) {
        return Err("duration out of range".into());
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    put(out, format_args!("\"{sign}{}", seconds.unsigned_abs()));
    put_fraction(out, nanos.abs());
    out.extend_from_slice(b"s\"");
    Ok(())
}

/// Which spellings of a field mask's paths are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskSpelling {
    /// Camel case only, as in a JSON body.
    Json,
    /// Snake case too: in a query, people write the names of the `.proto` file.
    Any,
}

/// The mask that asks for a full replacement (AIP-134). It stands alone.
const EVERYTHING: &str = "*";

/// The paths of a mask in snake case.
///
/// # Errors
/// When a path has a character that is not of a field path.
pub fn parse_mask(text: &str, spelling: MaskSpelling) -> Result<Vec<String>, Reason> {
    match text {
        "" => return Ok(Vec::new()),
        EVERYTHING => return Ok(vec![EVERYTHING.to_owned()]),
        _ => {}
    }
    text.split(',').map(|path| snake(path, spelling)).collect()
}

fn snake(path: &str, spelling: MaskSpelling) -> Result<String, Reason> {
    let mut snake = String::with_capacity(path.len() + 4);
    for letter in path.chars() {
        match letter {
            'A'..='Z' => snake.extend(['_', letter.to_ascii_lowercase()]),
            'a'..='z' | '0'..='9' | '.' => snake.push(letter),
            '_' if spelling == MaskSpelling::Any => snake.push('_'),
            _ => return Err(format!("unexpected {letter:?} in a field mask").into()),
        }
    }
    if path.split('.').any(str::is_empty) {
        return Err("empty name in a field mask".into());
    }
    Ok(snake)
}

/// Appends one path of a mask in camel case, without quotes.
///
/// # Errors
/// When reading it again would give another path.
pub fn put_mask_path(out: &mut Vec<u8>, path: &str) -> Result<(), Reason> {
    if path == EVERYTHING {
        out.extend_from_slice(EVERYTHING.as_bytes());
        return Ok(());
    }
    let mut after_underscore = false;
    for byte in path.bytes() {
        match (byte, after_underscore) {
            (b'a'..=b'z', true) => out.push(byte.to_ascii_uppercase()),
            (b'_', false) => {}
            (b'a'..=b'z' | b'0'..=b'9' | b'.', false) => out.push(byte),
            _ => return Err("a field mask's path has no JSON form".into()),
        }
        after_underscore = byte == b'_';
    }
    if after_underscore {
        Err("a field mask's path has no JSON form".into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        MaskSpelling, parse_duration, parse_mask, parse_timestamp, put_duration, put_mask_path, put_timestamp,
    };
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn days_match_known_dates() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            ("1970-01-01T01:00:00+01:00", 0),
        ] {
            assert_eq!(parse_timestamp(text).ok(), Some((seconds, 0)), "{text}");
        }
        for text in [
            "",
            "1970-01-01",
            "1900-02-29T00:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_keep_one_sign() {
        assert_eq!(parse_duration("-0.5s").ok(), Some((0, -500_000_000)));
        assert_eq!(parse_duration("-1.25s").ok(), Some((-1, -250_000_000)));
        for text in [
            "",
            "s",
            "1",
            "1.s",
            ".5s",
            "1e3s",
            "+1s",
            "--1s",
            "1h",
            "315576000000.1s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(put_duration(&mut Vec::new(), 1, -1).is_err());
    }

    #[test]
    fn masks_change_case_both_ways() {
        assert_eq!(
            parse_mask("a,fooBar.baz", MaskSpelling::Json).unwrap(),
            ["a", "foo_bar.baz"]
        );
        assert_eq!(parse_mask("foo_bar", MaskSpelling::Any).unwrap(), ["foo_bar"]);
        assert!(parse_mask("foo_bar", MaskSpelling::Json).is_err());
        assert_eq!(parse_mask("*", MaskSpelling::Json).unwrap(), ["*"]);
        let mut everything = Vec::new();
        put_mask_path(&mut everything, "*").unwrap();
        assert_eq!(everything, b"*");
        for text in ["a,,b", "a,*", "a.*", "**"] {
            assert!(parse_mask(text, MaskSpelling::Json).is_err(), "{text}");
        }
        for path in ["fooBar", "foo__bar", "foo_3_bar", "foo_"] {
            assert!(put_mask_path(&mut Vec::new(), path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_timestamp_survives_the_trip(seconds in -62_135_596_800_i64..=253_402_300_799, nanos in 0..1_000_000_000_i32) {
            let mut out = Vec::new();
            put_timestamp(&mut out, seconds, i64::from(nanos)).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(parse_timestamp(text.trim_matches('"')), Ok((seconds, nanos)));
        }
    }
}
