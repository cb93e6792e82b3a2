//! Tools and what they answer, in MCP's JSON form. What has no value is left out.

use serde::Serialize;
use serde_json::Value;

use crate::run::catalogue;
use crate::run::message::{self, ResourceBody, ResourceContents};

/// A tool, as MCP's `tools/list` has it, with the keys that clients of the service before know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations<'a>>,
}

/// The hints of a tool.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotations<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only_hint: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destructive_hint: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotent_hint: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_world_hint: Option<bool>,
}

/// One piece of what a tool answers, as MCP's `tools/call` has it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Content<'a> {
    /// Plain text.
    Text {
        /// The text.
        text: &'a str,
    },
    /// An image.
    Image {
        /// Base64.
        data: &'a str,
        /// Its media type.
        mime_type: &'a str,
    },
    /// A sound.
    Audio {
        /// Base64.
        data: &'a str,
        /// Its media type.
        mime_type: &'a str,
    },
    /// Where a resource is.
    ResourceLink {
        /// Its address.
        uri: &'a str,
        /// Its name.
        name: &'a str,
        /// Its media type.
        #[serde(skip_serializing_if = "str::is_empty")]
        mime_type: &'a str,
    },
    /// A resource itself.
    Resource {
        /// The resource.
        resource: Resource<'a>,
    },
}

/// A resource with what it holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<'a> {
    uri: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mime_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<&'a str>,
}

impl<'a> From<&'a catalogue::Tool> for Tool<'a> {
    fn from(tool: &'a catalogue::Tool) -> Self {
        let described = tool.description();
        let hints = &described.annotations;
        Self {
            name: &described.name,
            description: &described.description,
            input_schema: &described.input_schema,
            annotations: (*hints != catalogue::Annotations::default()).then_some(Annotations {
                title: &hints.title,
                read_only_hint: hints.read_only,
                destructive_hint: hints.destructive,
                idempotent_hint: hints.idempotent,
                open_world_hint: hints.open_world,
            }),
        }
    }
}

impl<'a> From<&'a message::Content> for Content<'a> {
    fn from(content: &'a message::Content) -> Self {
        match content {
            message::Content::Text(text) => Content::Text { text },
            message::Content::Image { data, mime_type } => Content::Image { data, mime_type },
            message::Content::Audio { data, mime_type } => Content::Audio { data, mime_type },
            message::Content::ResourceLink {
                uri, name, mime_type, ..
            } => Content::ResourceLink { uri, name, mime_type },
            message::Content::Resource(ResourceContents { uri, mime_type, body }) => {
                let (text, blob) = match body {
                    ResourceBody::Text(text) => (Some(text.as_str()), None),
                    ResourceBody::Base64(data) => (None, Some(data.as_str())),
                };
                Content::Resource {
                    resource: Resource {
                        uri,
                        mime_type,
                        text,
                        blob,
                    },
                }
            }
        }
    }
}
