//! Identifiers: a prefix that tells the kind, then a UUIDv7, so that they sort by time.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::Error;

/// The longest identifier that is accepted from outside, in bytes.
const LENGTH_LIMIT_BYTES: usize = 64;

/// Makes new identifiers. The only source of randomness in the heart, so that tests can replace it.
#[derive(Debug)]
pub enum Mint {
    /// UUIDv7 from the system's clock and randomness.
    System,
    /// `…0001`, `…0002`, …: the same in every test run.
    Sequential(u128),
}

impl Mint {
    fn uuid(&mut self) -> Uuid {
        match self {
            Mint::System => Uuid::now_v7(),
            Mint::Sequential(last) => {
                *last += 1;
                Uuid::from_u128(*last)
            }
        }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// A new identifier.
            pub fn new(mint: &mut Mint) -> Self {
                let mut buffer = [0; uuid::fmt::Simple::LENGTH];
                let uuid = mint.uuid();
                Self(Arc::from(format!(concat!($prefix, "_{}"), uuid.simple().encode_lower(&mut buffer))))
            }

            /// Reads an identifier from outside.
            ///
            /// Any text of letters, digits, `-` and `_` up to 64 bytes is taken, not only our own form, so
            /// that imported conversations keep their names.
            ///
            /// # Errors
            /// `VALIDATION_FAILED`, naming the field, for anything else.
            pub fn parse(text: &str) -> Result<Self, Error> {
                if is_valid(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(Error::invalid($field, format!("not a valid id: expected 1 to {LENGTH_LIMIT_BYTES} letters, digits, '-' or '_'")))
                }
            }

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/// Names a thread: `thread_…`.
    ThreadId, "thread", "thread");
id!(/// Names a message: `msg_…`.
    MessageId, "msg", "message");
id!(/// Names a run: `run_…`.
    RunId, "run", "run");
id!(/// Names one step of a run: `step_…`.
    StepId, "step", "step");
id!(/// Names one call of a tool: `call_…`. Minted here, never the provider's, which may be missing or repeated.
    CallId, "call", "call");

id!(/// Names an assistant: `asst_…`.
    AssistantId, "asst", "assistant");
id!(/// Names something that a run waits for: `act_…`.
    ActionId, "act", "action_id");

fn is_valid(text: &str) -> bool {
    (1..=LENGTH_LIMIT_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_prefix_and_sort_by_time() {
        let first = RunId::new(&mut Mint::System);
        let second = RunId::new(&mut Mint::System);
        assert!(first.as_str().starts_with("run_"));
        assert!(first < second);
    }

    #[test]
    fn ids_from_outside_are_letters_digits_dashes_and_underscores() {
        for good in ["thread_abc123", "T-1", &"x".repeat(64)] {
            assert_eq!(ThreadId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "../models?x=", "a b", "é", &"x".repeat(65)] {
            assert!(ThreadId::parse(bad).is_err(), "{bad}");
        }
    }
}
