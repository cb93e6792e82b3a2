//! Durations as people write them: `250ms`, `30s`, `1h30m`.

use std::time::Duration;

const UNITS_MS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads whole numbers with their units, `ms`, `s`, `m`, `h` or `d`, one after the other. A number without a
/// unit is refused: whoever writes `30` may mean anything.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let &(_, unit_ms) = UNITS_MS.iter().find(|(name, _)| *name == unit)?;
        let part_ms = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        total_ms = total_ms.checked_add(part_ms)?;
        rest = tail;
    }
    Some(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_durations_and_nothing_else_is() {
        let cases = [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            (" 10m ", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("10 s", None),
            ("1w", None),
            ("1h30", None),
            ("18446744073709551615d", None),
        ];
        for (text, expected_ms) in cases {
            assert_eq!(parse(text), expected_ms.map(Duration::from_millis), "{text:?}");
        }
    }
}
