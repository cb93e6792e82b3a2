//! What a text refers to, as providers write it.

use serde_json::Value;

use crate::run::message::{Annotation, Cited};

/// Reads an annotation of any dialect: Responses has its fields flat, Chat Completions in an object under the name of its
/// type, Assistants there too, but the place beside it. None for one of a type that is not known, or that refers to
/// nothing.
pub(super) fn read(annotation: &Value) -> Option<Annotation> {
    let kind = annotation.get("type")?.as_str()?;
    let fields = annotation.get(kind).filter(|fields| fields.is_object());
    let fields = fields.unwrap_or(annotation);
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let place = |name: &str| {
        let place = fields.get(name).or_else(|| annotation.get(name));
        place.and_then(Value::as_u64)
    };
    let source = match kind {
        "url_citation" => Cited::Url {
            url: text("url"),
            title: text("title"),
        },
        "file_citation" | "container_file_citation" | "file_path" => Cited::File {
            id: text("file_id"),
            name: text("filename"),
            container: text("container_id"),
        },
        _ => return None,
    };
    let (Cited::Url { url: named, .. } | Cited::File { id: named, .. }) = &source;
    (!named.is_empty()).then_some(())?;
    // Of a file that is cited, `index` is its place among files, or the one place in the text that refers to it.
    Some(Annotation {
        source,
        start: place("start_index"),
        end: place("end_index"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_of_every_dialect_are_read_and_unknown_ones_passed_over() {
        let url = |start, end| {
            Some(Annotation {
                source: Cited::Url {
                    url: "https://a.example".into(),
                    title: "A".into(),
                },
                start,
                end,
            })
        };
        let file = |name: &str, container: &str| {
            Some(Annotation {
                source: Cited::File {
                    id: "file-1".into(),
                    name: name.into(),
                    container: container.into(),
                },
                start: None,
                end: None,
            })
        };
        let table = [
            (
                json!({"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 1, "end_index": 4}),
                url(Some(1), Some(4)),
            ),
            (
                json!({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", "start_index": -1}}),
                url(None, None),
            ),
            (
                json!({"type": "file_citation", "file_id": "file-1", "index": 7, "filename": "a.pdf"}),
                file("a.pdf", ""),
            ),
            (
                json!({"type": "container_file_citation", "file_id": "file-1", "container_id": "c"}),
                file("", "c"),
            ),
            (json!({"type": "file_path", "file_id": "file-1"}), file("", "")),
            (
                json!({"type": "file_path", "text": "[1]", "start_index": 1, "end_index": 4, "file_path": {"file_id": "file-1"}}),
                file("", "").map(|file| Annotation {
                    start: Some(1),
                    end: Some(4),
                    ..file
                }),
            ),
            (json!({"type": "file_path"}), None),
            (
                json!({"type": "file_citation", "file_citation": {}, "index": 0}),
                None,
            ),
            (json!({"type": "new", "url": "https://a.example"}), None),
            (json!("url_citation"), None),
        ];
        for (json, expected) in table {
            assert_eq!(read(&json), expected, "{json}");
        }
    }
}
