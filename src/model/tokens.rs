//! Token estimates with a vocabulary of OpenAI's.

use crate::run::ports::Tokenizer;

/// Counts as OpenAI's newer models do, which is near enough to most others. The vocabulary is in the binary, and is
/// unpacked when somebody first asks.
#[derive(Debug)]
pub struct O200k;

impl Tokenizer for O200k {
    fn count(&self, text: &str) -> u64 {
        bpe_openai::o200k_base().count(text) as u64
    }
}

/// The longest beginning of a text that has no more than so many tokens, and ends between characters.
pub(super) fn beginning(text: &str, tokens: usize) -> &str {
    let all = bpe_openai::o200k_base().encode(text);
    if all.len() <= tokens {
        return text;
    }
    // Not every token ends where a character does.
    let fitting = (0..=tokens).rev().find_map(|count| {
        let beginning = bpe_openai::o200k_base().decode(&all[..count])?;
        text.get(..beginning.len())
    });
    fitting.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_tokens_that_the_vocabulary_gives_them() {
        for (text, tokens) in [("", 0), ("hello world", 2), ("Hello, world!", 4)] {
            assert_eq!(O200k.count(text), tokens, "{text}");
        }
    }

    #[test]
    fn a_text_begins_with_its_first_tokens_and_whole_characters() {
        let table = [
            ("hello world again", 2, "hello world"),
            ("hello world", 2, "hello world"),
            ("hello", 0, ""),
            ("", 3, ""),
        ];
        for (text, tokens, expected) in table {
            assert_eq!(beginning(text, tokens), expected, "{text}");
        }
        let crabs = "\u{1f980}".repeat(9);
        for tokens in 0..20 {
            let beginning = beginning(&crabs, tokens);
            assert!(crabs.starts_with(beginning) && O200k.count(beginning) <= tokens as u64);
        }
    }

    #[test]
    fn no_text_has_more_tokens_than_bytes_or_takes_long() {
        // A text without a place to split at, which takes others a time that grows with its square.
        for text in [
            "a".repeat(1 << 20),
            "\u{1f980}".repeat(1 << 16),
            "\0\u{1}".repeat(1 << 10),
        ] {
            assert!(O200k.count(&text) <= text.len() as u64);
        }
    }
}
