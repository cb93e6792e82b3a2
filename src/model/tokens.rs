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
