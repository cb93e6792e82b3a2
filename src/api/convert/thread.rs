//! Threads, and what callers may say of them.

use std::collections::BTreeMap;

use super::run::usage;
use super::{name, timestamp};
use crate::api::pb;
use crate::run::error::{Error, Violation};
use crate::run::ports::ThreadChange;
use crate::run::record::ThreadRecord;

/// The longest title, in characters.
const TITLE_LIMIT: usize = 256;

/// How many labels there may be, and the longest key and value, in characters.
const LABELS_LIMIT: usize = 16;
const KEY_LIMIT: usize = 64;
const VALUE_LIMIT: usize = 512;

/// A thread as the contract has it.
pub fn to_pb(record: &ThreadRecord) -> pb::Thread {
    let active_run = record.active_run.as_ref();
    pb::Thread {
        name: name::thread(&record.id),
        title: record.title.clone(),
        metadata: record.metadata.clone(),
        active_run: active_run
            .map(|run| name::run(&record.id, run))
            .unwrap_or_default(),
        create_time: Some(timestamp(record.create_time)),
        update_time: Some(timestamp(record.update_time)),
        etag: name::etag(record.version),
        usage: Some(usage(record.usage)),
    }
}

/// What an update changes: the fields of the mask, or without one those that are set.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit and every path that cannot be changed.
pub fn change(thread: pb::Thread, mask: Option<&prost_types::FieldMask>) -> Result<ThreadChange, Error> {
    let (mut changes_title, mut changes_metadata) = (!thread.title.is_empty(), !thread.metadata.is_empty());
    let mut violations = Vec::new();
    let paths = mask.map_or(&[] as &[String], |mask| &mask.paths);
    if !paths.is_empty() {
        (changes_title, changes_metadata) = (false, false);
    }
    for path in paths {
        match path.as_str() {
            "title" => changes_title = true,
            "metadata" => changes_metadata = true,
            "*" => (changes_title, changes_metadata) = (true, true),
            path => violations.push(Violation {
                field: "update_mask".to_owned(),
                description: format!("{path:?} is not a field that can be changed: title, metadata"),
            }),
        }
    }
    violations.extend(title_violation("thread.title", &thread.title));
    violations.extend(label_violations("thread.metadata", &thread.metadata));
    if !violations.is_empty() {
        return Err(Error::invalid_fields(violations));
    }
    Ok(ThreadChange {
        title: changes_title.then_some(thread.title),
        metadata: changes_metadata.then_some(thread.metadata),
    })
}

/// Checks a title.
fn title_violation(field: &str, title: &str) -> Option<Violation> {
    (title.chars().count() > TITLE_LIMIT).then(|| Violation {
        field: field.to_owned(),
        description: format!("must be at most {TITLE_LIMIT} characters"),
    })
}

/// Checks labels.
///
/// # Errors
/// `VALIDATION_FAILED` naming every label that does not fit.
pub fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
    match label_violations(field, labels) {
        violations if violations.is_empty() => Ok(()),
        violations => Err(Error::invalid_fields(violations)),
    }
}

fn label_violations(field: &str, labels: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |field: String, description: String| violations.push(Violation { field, description });
    if labels.len() > LABELS_LIMIT {
        report(
            field.to_owned(),
            format!("must have at most {LABELS_LIMIT} entries"),
        );
    }
    for (key, value) in labels {
        if key.is_empty() || key.chars().count() > KEY_LIMIT {
            report(
                field.to_owned(),
                format!("keys must have 1 to {KEY_LIMIT} characters"),
            );
        }
        if value.chars().count() > VALUE_LIMIT {
            let description = format!("must be at most {VALUE_LIMIT} characters");
            report(format!("{field}[{key:?}]"), description);
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> prost_types::FieldMask {
        prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn the_mask_says_what_changes() {
        let titled = pb::Thread {
            title: "new".into(),
            ..pb::Thread::default()
        };
        let cases: &[(Option<prost_types::FieldMask>, Option<&str>, bool)] = &[
            (None, Some("new"), false),
            (Some(mask(&[])), Some("new"), false),
            (Some(mask(&["title"])), Some("new"), false),
            (Some(mask(&["metadata"])), None, true),
            (Some(mask(&["*"])), Some("new"), true),
        ];
        for (mask, title, clears_metadata) in cases {
            let change = change(titled.clone(), mask.as_ref()).unwrap();
            assert_eq!(change.title.as_deref(), *title, "{mask:?}");
            assert_eq!(change.metadata.is_some(), *clears_metadata, "{mask:?}");
        }
        for path in [
            "name",
            "active_run",
            "create_time",
            "nonsense",
            "metadata.key",
            "",
        ] {
            let error = change(titled.clone(), Some(&mask(&[path]))).unwrap_err();
            assert_eq!(error.violations()[0].field, "update_mask", "{path}");
        }
    }

    #[test]
    fn titles_and_labels_are_bounded() {
        let labels = |count: usize, key: usize, value: usize| {
            (0..count)
                .map(|index| (format!("{index:é>key$}"), "é".repeat(value)))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(check_labels("metadata", &labels(16, 64, 512)).is_ok());
        for bad in [
            labels(17, 2, 1),
            labels(1, 65, 1),
            labels(1, 1, 513),
            BTreeMap::from([(String::new(), String::new())]),
        ] {
            assert!(check_labels("metadata", &bad).is_err(), "{bad:?}");
        }
        let long = pb::Thread {
            title: "x".repeat(257),
            ..pb::Thread::default()
        };
        assert_eq!(
            change(long, None).unwrap_err().violations()[0].field,
            "thread.title"
        );
    }
}
