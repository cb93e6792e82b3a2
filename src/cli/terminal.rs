//! Text for a terminal that others wrote: models, tools, servers.

use std::borrow::Cow;

/// The text without control characters other than line ends and tabs: a tool's output must not move the
/// cursor or set the title of whoever reads it.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(is_harmless) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter(|&c| is_harmless(c)).collect())
    }
}

/// The first line, without control characters, cut to so many characters.
pub fn brief(text: &str, most_chars: usize) -> String {
    let text = plain(text.trim());
    let first = text.lines().next().unwrap_or_default().replace('\t', " ");
    if first.chars().count() > most_chars {
        let cut: String = first.chars().take(most_chars.saturating_sub(1)).collect();
        format!("{cut}…")
    } else if first.len() < text.len() {
        format!("{first} …")
    } else {
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_lose_their_teeth() {
        assert_eq!(plain("a\x1b[2Jb\r\n\tc\x07"), "a[2Jb\n\tc");
        assert!(matches!(plain("as it is\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_brief_text_is_one_line_of_bounded_length() {
        let cases = [
            ("short", "short"),
            ("  first\nsecond", "first …"),
            ("0123456789abc", "012345678…"),
            ("ääääääääää", "ääääääääää"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(brief(text, 10), expected);
        }
    }
}
