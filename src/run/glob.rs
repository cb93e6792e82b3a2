//! Patterns for names, in which `*` stands for any text.

/// Whether the pattern fits the whole name. `*` stands for any text, also for none; every other character stands for
/// itself, so that a name without `*` fits only itself.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        // The earliest place leaves the most for what follows.
        match rest.find(piece) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("read", "read", true),
            ("read", "reads", false),
            ("read", "rea", false),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("*", "anything", true),
            ("read_*", "read_file", true),
            ("read_*", "read_", true),
            ("read_*", "thread_x", false),
            ("*_file", "read_file", true),
            ("*_file", "read_files", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
            ("*\u{e9}*", "caf\u{e9}s", true),
            ("?", "x", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
