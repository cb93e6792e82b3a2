//! What came of an import or an export, in words.

use super::Counts;
use super::import::Imported;

/// How many of what: `2 assistants, 1 thread with 4 messages, 2 runs and 5 steps`.
pub fn counted(counts: &Counts) -> String {
    let of = |count: u64, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    format!(
        "{}, {} with {}, {} and {}",
        of(counts.assistants, "assistant"),
        of(counts.threads, "thread"),
        of(counts.messages, "message"),
        of(counts.runs, "run"),
        of(counts.steps, "step")
    )
}

/// What came of an import, or would come of it.
pub fn told(imported: &Imported, dry_run: bool) -> String {
    let verb = if dry_run { "would import" } else { "imported" };
    let mut text = format!("{verb} {}\n", counted(&imported.added));
    for (counts, why) in [
        (&imported.same, "there already"),
        (&imported.skipped, "something else of the same name is there"),
    ] {
        if *counts != Counts::default() {
            text.push_str(&format!("skipped, {why}: {}\n", counted(counts)));
        }
    }
    if !imported.notes.is_empty() {
        text.push_str("not carried over as it was:\n");
        for line in imported.notes.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_came_what_was_there_and_what_is_lost() {
        let mut imported = Imported {
            added: Counts {
                threads: 1,
                messages: 3,
                ..Counts::default()
            },
            ..Imported::default()
        };
        assert_eq!(
            told(&imported, true),
            "would import 0 assistants, 1 thread with 3 messages, 0 runs and 0 steps\n"
        );
        imported.same.assistants = 1;
        for message in ["msg_1", "msg_2", "msg_3", "msg_4"] {
            imported.notes.add("attached file", message);
        }
        assert_eq!(
            told(&imported, false),
            "imported 0 assistants, 1 thread with 3 messages, 0 runs and 0 steps\n\
             skipped, there already: 1 assistant, 0 threads with 0 messages, 0 runs and 0 steps\n\
             not carried over as it was:\n  4 × attached file (msg_1, msg_2, msg_3, …)\n"
        );
    }
}
