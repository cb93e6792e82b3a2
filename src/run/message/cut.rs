//! Tool output that is too long for a model.

use super::{Content, ResourceBody, ResourceContents, ToolOutput};

impl ToolOutput {
    /// What a model is given of an output with more than `limit` bytes of text: the beginning, and a note that says
    /// how much of it is shown. None for an output that fits.
    ///
    /// Pictures, sounds and links are kept. Structured content goes: beside texts it says the same, and without
    /// them it is the text that is cut.
    pub fn cut(&self, limit: usize) -> Option<ToolOutput> {
        let structured = match &self.structured {
            Some(structured) if self.content.is_empty() => vec![Content::Text(structured.to_string())],
            _ => Vec::new(),
        };
        let pieces = || self.content.iter().chain(&structured);
        let size: usize = pieces().filter_map(text).map(str::len).sum();
        if size <= limit {
            return None;
        }
        let mut left = limit;
        let mut content: Vec<Content> = pieces().filter_map(|piece| shorten(piece, &mut left)).collect();
        let shown = content.iter().filter_map(text).map(str::len).sum();
        let (shown, whole) = (bytes(shown), bytes(size));
        content.push(Content::Text(format!("[cut: {shown} of {whole} are shown]")));
        Some(ToolOutput {
            content,
            structured: None,
            is_error: self.is_error,
        })
    }
}

/// The text that a model reads of a piece, if it is one.
fn text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text)
        | Content::Resource(ResourceContents {
            body: ResourceBody::Text(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

/// The piece with as much of its text as is left; none when nothing is.
fn shorten(piece: &Content, left: &mut usize) -> Option<Content> {
    let Some(whole) = text(piece) else {
        return Some(piece.clone());
    };
    let shown = &whole[..whole.floor_char_boundary(*left)];
    if shown.len() < whole.len() {
        // Nothing follows a text that is cut, however short it is.
        *left = 0;
    } else {
        *left -= shown.len();
    }
    let shown = (!shown.is_empty()).then(|| shown.to_owned())?;
    Some(match piece {
        Content::Resource(contents) => Content::Resource(ResourceContents {
            body: ResourceBody::Text(shown),
            ..contents.clone()
        }),
        _ => Content::Text(shown),
    })
}

/// A size for people and models, in the largest unit of which there is at least one.
fn bytes(size: usize) -> String {
    const UNITS: [(&str, usize); 2] = [("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.into_iter().find(|(_, unit)| size >= *unit);
    unit.map_or_else(
        || format!("{size} bytes"),
        |(name, unit)| match (size / unit, size % unit * 10 / unit) {
            (whole, 0) => format!("{whole} {name}"),
            (whole, tenths) => format!("{whole}.{tenths} {name}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(text: &str) -> Content {
        Content::Resource(ResourceContents {
            uri: "file:///a".into(),
            mime_type: "text/plain".into(),
            body: ResourceBody::Text(text.into()),
        })
    }

    fn image() -> Content {
        Content::Image {
            data: "aWI=".into(),
            mime_type: "image/png".into(),
        }
    }

    #[test]
    fn a_long_output_is_cut_between_characters_and_says_so() {
        let text = |text: &str| Content::Text(text.into());
        for (content, expected) in [
            (vec![text("12345678")], None),
            (
                vec![text("123456789")],
                Some(vec![
                    text("12345678"),
                    text("[cut: 8 bytes of 9 bytes are shown]"),
                ]),
            ),
            (
                vec![text("1234567\u{e9}")],
                Some(vec![text("1234567"), text("[cut: 7 bytes of 9 bytes are shown]")]),
            ),
            (
                vec![text("1234"), resource("56789"), image(), text("more")],
                Some(vec![
                    text("1234"),
                    resource("5678"),
                    image(),
                    text("[cut: 8 bytes of 13 bytes are shown]"),
                ]),
            ),
        ] {
            let output = ToolOutput {
                content,
                is_error: true,
                ..ToolOutput::default()
            };
            let cut = output.cut(8);
            assert!(cut.iter().all(|cut| cut.is_error));
            assert_eq!(cut.map(|cut| cut.content), expected);
        }
    }

    #[test]
    fn structured_content_alone_is_cut_as_its_text() {
        let output = ToolOutput {
            structured: Some(json!({"a": "bc"})),
            ..ToolOutput::default()
        };
        assert_eq!(output.cut(10), None);
        let cut = output.cut(6).unwrap();
        assert_eq!(cut.structured, None);
        assert_eq!(cut.text(), "{\"a\":\"\n[cut: 6 bytes of 10 bytes are shown]");
    }

    #[test]
    fn sizes_read_well() {
        for (size, expected) in [
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (64 << 10, "64 KiB"),
            (3 << 20, "3 MiB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
    }
}
