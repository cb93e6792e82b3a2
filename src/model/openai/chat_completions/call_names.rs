//! What calls are named at servers that take few names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest, Sha256};

use crate::run::id::CallId;

/// Mistral's API takes ids of calls of exactly nine letters and digits
/// (<https://docs.mistral.ai/capabilities/function_calling>), and so do the chat templates of its models, whoever serves them.
/// Others take these too.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 9;

/// The names of the calls in one request. A call has the same in every request, so that what a server remembers of a
/// conversation fits the next one.
#[derive(Debug, Default)]
pub(super) struct CallNames {
    given: HashMap<String, CallId>,
}

impl CallNames {
    /// The name of this call, which no other has.
    pub(super) fn of(&mut self, call: &CallId) -> String {
        let mut attempt = 0;
        loop {
            let name = short(call, attempt);
            match self.given.entry(name) {
                Entry::Occupied(given) if given.get() == call => return given.key().clone(),
                // As good as never.
                Entry::Occupied(_) => attempt += 1,
                Entry::Vacant(free) => {
                    let name = free.key().clone();
                    free.insert(call.clone());
                    return name;
                }
            }
        }
    }
}

/// A digest of the id.
fn short(call: &CallId, attempt: u32) -> String {
    let mut hasher = Sha256::new();
    hasher.update(attempt.to_le_bytes());
    hasher.update(call.as_str());
    let digest = hasher.finalize();
    let letters = digest.iter().take(LENGTH);
    letters
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::id::Mint;

    #[test]
    fn a_call_has_the_same_nine_letters_and_digits_in_every_request() {
        let mut mint = Mint::Sequential(0);
        let ours: Vec<CallId> = (0..100).map(|_| CallId::new(&mut mint)).collect();
        let imported = ["c", "call_1", "toolu_01-x"].map(|id| CallId::parse(id).unwrap());
        let (mut first, mut second) = (CallNames::default(), CallNames::default());
        for call in ours.iter().chain(&imported) {
            let name = first.of(call);
            assert!(
                name.len() == 9 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{name}"
            );
            assert_eq!(first.of(call), name);
        }
        for call in ours.iter().rev() {
            assert_eq!(second.of(call), first.of(call));
        }
        assert_eq!(first.given.len(), 103);
    }

    #[test]
    fn a_name_that_another_call_has_is_not_given_twice() {
        let [one, other] = ["one", "other"].map(|id| CallId::parse(id).unwrap());
        let mut names = CallNames::default();
        names.given.insert(short(&one, 0), other.clone());
        let name = names.of(&one);
        assert_eq!(name, short(&one, 1));
        assert_eq!(names.of(&one), name);
        assert_ne!(names.of(&other), name);
    }
}
