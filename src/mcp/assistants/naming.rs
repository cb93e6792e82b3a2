//! What the tools are called: after the assistants' names, and never two alike.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::tools::CHAT;
use crate::run::assistant::AssistantRecord;

/// As much of an assistant's name as is used: with what may follow it, a name stays below the 64 bytes that models take.
const NAME_BYTES: usize = 40;
/// What tells assistants of one name apart, in hexadecimal digits.
const SHORT_DIGITS: usize = 8;
const LONG_DIGITS: usize = 32;
/// How many names an assistant has.
const NAMES: usize = 3;

/// The names of their tools, in their order.
///
/// An assistant's tool has its name alone where no other one has the same; all those who share it have something of
/// their ids behind it. So a name never passes from one assistant to another while both are there.
pub(super) fn names(assistants: &[AssistantRecord]) -> Vec<String> {
    let mut ranks = vec![0; assistants.len()];
    loop {
        let names: Vec<String> = assistants
            .iter()
            .zip(&ranks)
            .map(|(assistant, rank)| name(assistant, *rank))
            .collect();
        let mut count: HashMap<&str, usize> = HashMap::from([(CHAT, 1)]);
        for name in &names {
            *count.entry(name).or_default() += 1;
        }
        let mut is_clear = true;
        for (name, rank) in names.iter().zip(&mut ranks) {
            if count[name.as_str()] > 1 && *rank + 1 < NAMES {
                *rank += 1;
                is_clear = false;
            }
        }
        if is_clear {
            return names;
        }
    }
}

/// The assistant whose tool has this name: it answers also to those that it has had, or may yet have, as long as they
/// are nobody else's.
pub(super) fn find<'a>(assistants: &'a [AssistantRecord], asked: &str) -> Option<&'a AssistantRecord> {
    let named = names(assistants).iter().position(|name| name == asked);
    named.map(|index| &assistants[index]).or_else(|| {
        assistants
            .iter()
            .find(|assistant| (1..NAMES).any(|rank| name(assistant, rank) == asked))
    })
}

/// An assistant's names, the first one first.
fn name(assistant: &AssistantRecord, rank: usize) -> String {
    let plain = plain(&assistant.profile.display_name);
    match (plain.is_empty(), rank) {
        (false, 0) => plain,
        (false, 1) => format!("{plain}_{}", digest(assistant, SHORT_DIGITS)),
        (true, 0 | 1) => format!("assistant_{}", digest(assistant, SHORT_DIGITS)),
        _ => format!("assistant_{}", digest(assistant, LONG_DIGITS)),
    }
}

/// A name for people in small letters, digits and `_`.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            plain.push(letter.to_ascii_lowercase());
        } else if !plain.is_empty() && !plain.ends_with('_') {
            plain.push('_');
        }
    }
    plain.truncate(NAME_BYTES);
    plain.truncate(plain.trim_end_matches('_').len());
    plain
}

fn digest(assistant: &AssistantRecord, digits: usize) -> String {
    let digest = Sha256::digest(assistant.id.as_str());
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    hex.take(digits / 2).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::run::assistant::Profile;
    use crate::run::id::{AssistantId, Mint};

    fn assistants(names: &[&str]) -> Vec<AssistantRecord> {
        let mut mint = Mint::Sequential(0);
        let records = names.iter().map(|name| AssistantRecord {
            id: AssistantId::new(&mut mint),
            profile: Profile {
                display_name: (*name).to_owned(),
                ..Profile::default()
            },
            version: 1,
            create_time: SystemTime::UNIX_EPOCH,
            update_time: SystemTime::UNIX_EPOCH,
        });
        records.collect()
    }

    #[test]
    fn a_tool_has_its_assistants_name_in_plain_letters() {
        let long = "x".repeat(100);
        let assistants = assistants(&["Code Reviewer", " Ärzte & Co. ", "v2", &long]);
        let expected = ["code_reviewer", "rzte_co", "v2", &"x".repeat(NAME_BYTES)];
        assert_eq!(names(&assistants), expected);
    }

    #[test]
    fn no_two_tools_are_called_alike() {
        let first = assistants(&["Helper", "helper!", "Chat", "", "日本", "Helper"]);
        let same = names(&first);
        let short = digest(&first[0], SHORT_DIGITS);
        let imitation = format!("helper {short}");
        let second = assistants(&["Helper", "helper!", "Chat", "", "日本", "Helper", &imitation]);
        for names in [same, names(&second)] {
            let distinct: std::collections::HashSet<&String> = names.iter().collect();
            assert_eq!(distinct.len(), names.len(), "{names:?}");
            assert!(!distinct.contains(&CHAT.to_owned()), "{names:?}");
            assert!(
                names.iter().all(|name| name.len() <= 64 && !name.is_empty()),
                "{names:?}"
            );
        }
    }

    #[test]
    fn an_assistant_is_found_by_the_name_that_it_has_beside_others_also_when_it_is_alone() {
        let two = assistants(&["Helper", "Helper"]);
        let name = &names(&two)[1];
        assert_eq!(find(&two, "helper"), None);
        assert_eq!(find(&two[1..], "helper").unwrap().id, two[1].id);
        assert_eq!(find(&two[1..], name).unwrap().id, two[1].id);
        assert_eq!(find(&two[..1], name), None);
    }
}
