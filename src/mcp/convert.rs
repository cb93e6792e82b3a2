//! Between rmcp's types and the heart's.

mod library;
mod sampling;

pub(super) use library::{filled, prompt, resource, template};
pub(super) use sampling::sampling;

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{
    CallToolResult, ContentBlock, ResourceContents as RemoteContents, ServerResult, Tool as RemoteTool,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::config::ServerConfig;
use crate::run::catalogue::{Annotations, ToolDescription};
use crate::run::message::{Content, ResourceBody, ResourceContents, ToolOutput};

/// The longest name of a tool that models take.
const NAME_LIMIT_BYTES: usize = 64;
/// What stands at the end of a name that had to be cut, in hexadecimal digits.
const DIGEST_DIGITS: usize = 8;
/// The longest description that is passed on.
const TITLE_LIMIT_BYTES: usize = 1024;
const DESCRIPTION_LIMIT_BYTES: usize = 16 * 1024;

/// What the heart is told of a tool. `None` for one that cannot be offered: it has no name, or none that can be kept.
pub(super) fn description(server: &ServerConfig, tool: RemoteTool) -> Option<ToolDescription> {
    if tool.name.is_empty() || tool.name.contains('\0') {
        return None;
    }
    let hints = tool.annotations.unwrap_or_default();
    let annotations = Annotations {
        title: cut(hints.title.clone().unwrap_or_default(), TITLE_LIMIT_BYTES),
        read_only: hints.read_only_hint,
        destructive: hints.destructive_hint,
        idempotent: hints.idempotent_hint,
        open_world: hints.open_world_hint,
    };
    let policy = server.policies.of(&tool.name, &annotations);
    let timeout = server.timeouts.of(&tool.name);
    let text = tool.description.map(Cow::into_owned).unwrap_or_default();
    Some(ToolDescription {
        name: tool_name(&server.prefix, &tool.name),
        server: server.name.clone(),
        remote_name: tool.name.into_owned(),
        title: cut(tool.title.or(hints.title).unwrap_or_default(), TITLE_LIMIT_BYTES),
        description: cut(text, DESCRIPTION_LIMIT_BYTES),
        input_schema: Arc::new(Value::Object(Arc::unwrap_or_clone(tool.input_schema))),
        output_schema: tool
            .output_schema
            .map(|schema| Arc::new(Value::Object(Arc::unwrap_or_clone(schema)))),
        annotations,
        policy,
        timeout,
    })
}

/// The text, or as much of it as fits.
fn cut(mut text: String, limit_bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(limit_bytes));
    text
}

/// The name of a tool or prompt here: prefix and name, in the letters and the length that models take. The same name on the
/// server always gives the same name here.
fn tool_name(prefix: &str, name: &str) -> String {
    let full = format!("{prefix}{name}");
    let mut plain: String = full
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => letter,
            _ => '_',
        })
        .collect();
    if plain.len() > NAME_LIMIT_BYTES {
        plain.truncate(NAME_LIMIT_BYTES - DIGEST_DIGITS - 1);
        plain.push('_');
        for byte in &Sha256::digest(full.as_bytes())[..DIGEST_DIGITS / 2] {
            plain.push_str(&format!("{byte:02x}"));
        }
    }
    plain
}

/// The answer to a call.
///
/// An answer that is none of MCP's own forms is given on as far as it can be read; one that asks for something that
/// this client has not offered is a failure that says so.
pub(super) fn output(result: ServerResult) -> ToolOutput {
    match result {
        ServerResult::CallToolResult(result) => call_result(result),
        ServerResult::CustomResult(result) => foreign(result.0),
        ServerResult::InputRequiredResult(_) => {
            ToolOutput::failure("the tool asks for input again and again, and was given up")
        }
        ServerResult::CreateTaskResult(_) => {
            ToolOutput::failure("the tool answers with a background task, which is not supported here")
        }
        ServerResult::EmptyResult(_) | ServerResult::TaskAckResult(_) => ToolOutput::default(),
        _ => ToolOutput::failure("the server's answer is not the result of a tool"),
    }
}

fn call_result(result: CallToolResult) -> ToolOutput {
    ToolOutput {
        content: result.content.into_iter().map(content).collect(),
        structured: result.structured_content,
        is_error: result.is_error.unwrap_or(false),
    }
}

/// A result with content of a kind that MCP does not have (yet): known pieces as they are, others as their JSON.
fn foreign(mut result: Value) -> ToolOutput {
    let content = match result.get_mut("content").map(Value::take) {
        Some(Value::Array(pieces)) => pieces.into_iter().map(foreign_content).collect(),
        Some(Value::String(text)) => vec![Content::Text(text)],
        _ => return ToolOutput::failure("the server's answer is not the result of a tool"),
    };
    ToolOutput {
        content,
        structured: result.get_mut("structuredContent").map(Value::take),
        is_error: result.get("isError").and_then(Value::as_bool).unwrap_or(false),
    }
}

fn foreign_content(piece: Value) -> Content {
    let text = piece.to_string();
    match serde_json::from_value::<ContentBlock>(piece) {
        Ok(block) => content(block),
        Err(_) => Content::Text(text),
    }
}

fn content(block: ContentBlock) -> Content {
    match block {
        ContentBlock::Text(text) => Content::Text(text.text),
        ContentBlock::Image(image) => Content::Image {
            data: image.data,
            mime_type: image.mime_type,
        },
        ContentBlock::Audio(audio) => Content::Audio {
            data: audio.data,
            mime_type: audio.mime_type,
        },
        ContentBlock::ResourceLink(link) => Content::ResourceLink {
            uri: link.uri,
            name: link.name,
            mime_type: link.mime_type.unwrap_or_default(),
            title: link.title.unwrap_or_default(),
            description: link.description.unwrap_or_default(),
            size_bytes: link.size,
        },
        ContentBlock::Resource(embedded) => library::embedded(embedded.resource),
        other => Content::Text(serde_json::to_string(&other).unwrap_or_default()),
    }
}

/// What a resource holds; `None` when it is in no form that is known.
pub(super) fn contents(contents: RemoteContents) -> Option<ResourceContents> {
    let (uri, mime_type, body) = match contents {
        RemoteContents::TextResourceContents {
            uri, mime_type, text, ..
        } => (uri, mime_type, ResourceBody::Text(text)),
        RemoteContents::BlobResourceContents {
            uri, mime_type, blob, ..
        } => (uri, mime_type, ResourceBody::Base64(blob)),
        _ => return None,
    };
    Some(ResourceContents {
        uri,
        mime_type: mime_type.unwrap_or_default(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(result: Value) -> ToolOutput {
        output(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn content_of_every_kind_is_converted_and_meta_dropped() {
        let output = read(json!({
            "content": [
                {"type": "text", "text": "hi", "_meta": {"a": 1}},
                {"type": "image", "data": "aWI=", "mimeType": "image/png"},
                {"type": "audio", "data": "YWI=", "mimeType": "audio/wav"},
                {"type": "resource_link", "uri": "file:///a", "name": "a", "title": "A", "description": "an a", "size": 3},
                {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "text/plain", "text": "b"}},
                {"type": "resource", "resource": {"uri": "file:///c", "blob": "Yw=="}},
            ],
            "structuredContent": {"big": 9007199254740993_i64, "one": 1},
            "isError": true,
            "_meta": {"x": 1},
        }));
        assert_eq!(
            output.content,
            [
                Content::Text("hi".into()),
                Content::Image {
                    data: "aWI=".into(),
                    mime_type: "image/png".into()
                },
                Content::Audio {
                    data: "YWI=".into(),
                    mime_type: "audio/wav".into()
                },
                Content::ResourceLink {
                    uri: "file:///a".into(),
                    name: "a".into(),
                    mime_type: String::new(),
                    title: "A".into(),
                    description: "an a".into(),
                    size_bytes: Some(3),
                },
                Content::Resource(ResourceContents {
                    uri: "file:///b".into(),
                    mime_type: "text/plain".into(),
                    body: ResourceBody::Text("b".into())
                }),
                Content::Resource(ResourceContents {
                    uri: "file:///c".into(),
                    mime_type: String::new(),
                    body: ResourceBody::Base64("Yw==".into())
                }),
            ]
        );
        let structured = output.structured.unwrap();
        assert_eq!(structured.to_string(), r#"{"big":9007199254740993,"one":1}"#);
        assert!(output.is_error);
    }

    #[test]
    fn content_of_an_unknown_kind_is_given_on_as_json() {
        let output = read(json!({"content": [{"type": "smell", "note": 1}, {"type": "text", "text": "x"}]}));
        assert_eq!(
            output.content,
            [
                Content::Text(r#"{"type":"smell","note":1}"#.into()),
                Content::Text("x".into())
            ]
        );
        assert!(!output.is_error);
    }

    #[test]
    fn an_answer_that_is_no_result_of_a_tool_is_a_failure() {
        assert!(read(json!({"tools": []})).is_error);
        assert!(read(json!({"surprise": 1})).is_error);
        assert_eq!(read(json!({})), ToolOutput::default());
    }

    #[test]
    fn names_keep_to_what_models_take() {
        assert_eq!(tool_name("files__", "read"), "files__read");
        assert_eq!(tool_name("", "a.b/c é"), "a_b_c__");
        let long = tool_name("files__", &"x".repeat(100));
        assert_eq!(long.len(), NAME_LIMIT_BYTES);
        assert_eq!(long, tool_name("files__", &"x".repeat(100)));
        assert_ne!(long, tool_name("files__", &"x".repeat(101)));
    }
}
