//! What becomes of a conversation that is too long.

use super::count;
use crate::api::pb;
use crate::run::error::{Error, Violation};
use crate::run::truncation::{Strategy, Truncation};

/// As the contract has it.
pub fn to_pb(truncation: &Truncation) -> pb::Truncation {
    let strategy = match truncation.strategy {
        Strategy::Disabled => pb::TruncationStrategy::Disabled,
        Strategy::Auto => pb::TruncationStrategy::Auto,
        Strategy::Summarize => pb::TruncationStrategy::Summarize,
    };
    pb::Truncation {
        strategy: strategy.into(),
        last_turns: truncation
            .last_turns
            .map(|turns| i32::try_from(turns).unwrap_or(i32::MAX)),
        max_tokens: truncation.max_tokens.map(count),
    }
}

/// A caller's choice, if it has made one.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit.
pub fn from_pb(field: &str, truncation: Option<&pb::Truncation>) -> Result<Option<Truncation>, Error> {
    use pb::TruncationStrategy as Pb;
    let Some(truncation) = truncation else {
        return Ok(None);
    };
    let mut violations = Vec::new();
    let mut report = |name: &str, description: &str| {
        violations.push(Violation {
            field: format!("{field}.{name}"),
            description: description.to_owned(),
        });
    };
    let strategy = match Pb::try_from(truncation.strategy) {
        Ok(Pb::Unspecified | Pb::Auto) => Some(Strategy::Auto),
        Ok(Pb::Disabled) => Some(Strategy::Disabled),
        Ok(Pb::Summarize) => Some(Strategy::Summarize),
        Err(_) => {
            report("strategy", "is not a known strategy");
            None
        }
    };
    if truncation.last_turns.is_some_and(|turns| turns < 1) {
        report("last_turns", "must be at least 1");
    }
    if truncation.max_tokens.is_some_and(|tokens| tokens < 1) {
        report("max_tokens", "must be at least 1");
    }
    if strategy == Some(Strategy::Disabled) && truncation.last_turns.is_some() {
        report(
            "last_turns",
            "leaves turns out, which the strategy does not allow",
        );
    }
    if !violations.is_empty() {
        return Err(Error::invalid_fields(violations));
    }
    Ok(strategy.map(|strategy| Truncation {
        strategy,
        last_turns: truncation.last_turns.and_then(|turns| u32::try_from(turns).ok()),
        max_tokens: truncation
            .max_tokens
            .and_then(|tokens| u64::try_from(tokens).ok()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        use pb::TruncationStrategy as Pb;
        type Case = (Pb, Option<i32>, Option<i64>, &'static [&'static str]);
        let cases: [Case; 6] = [
            (Pb::Unspecified, None, None, &[]),
            (Pb::Auto, Some(1), Some(1), &[]),
            (Pb::Disabled, None, Some(10), &[]),
            (Pb::Summarize, Some(2), Some(10), &[]),
            (Pb::Disabled, Some(3), None, &["t.last_turns"]),
            (Pb::Auto, Some(0), Some(-1), &["t.last_turns", "t.max_tokens"]),
        ];
        for (strategy, last_turns, max_tokens, fields) in cases {
            let asked = pb::Truncation {
                strategy: strategy.into(),
                last_turns,
                max_tokens,
            };
            match from_pb("t", Some(&asked)) {
                Ok(read) => {
                    assert!(fields.is_empty(), "{asked:?}");
                    let read = read.map(|read| to_pb(&read)).unwrap();
                    assert_eq!((read.last_turns, read.max_tokens), (last_turns, max_tokens));
                }
                Err(error) => {
                    let named: Vec<&str> = error
                        .violations()
                        .iter()
                        .map(|each| each.field.as_str())
                        .collect();
                    assert_eq!(named, fields, "{asked:?}");
                }
            }
        }
        let unknown = pb::Truncation {
            strategy: 99,
            ..pb::Truncation::default()
        };
        let error = from_pb("t", Some(&unknown)).unwrap_err();
        assert_eq!(error.violations()[0].field, "t.strategy");
    }
}
