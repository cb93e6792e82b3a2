//! The vocabulary of a conversation. What is stored is the serialised form of these types: rename with care.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{CallId, MessageId, RunId};
use super::money::Cost;

mod annotation;
mod carried;
mod cut;

pub use annotation::{Annotation, Cited};
pub use carried::{Continuation, Reasoning};

/// One message of a thread. Messages never change once they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// The run that wrote it, or that it asked for.
    pub run: Option<RunId>,
    /// Whether it was broken off: the model's message of a run that failed or was cancelled.
    pub incomplete: bool,
    /// When it was written.
    pub create_time: SystemTime,
    /// The caller's own notes.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator or developer.
    System,
    /// The caller.
    User,
    /// The model.
    Assistant,
    /// The tools: one message holds the outputs of one turn, in the order of the calls.
    Tool,
}

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Plain text.
    Text(String),
    /// The model declines to answer, in its own words.
    Refusal(String),
    /// An image for the model to look at.
    Image(Media),
    /// A file for the model to read.
    File(Media),
    /// A resource of an MCP server, as it was when the message was made.
    Resource(AttachedResource),
    /// The model wants a tool called.
    ToolCall(ToolCall),
    /// What a call brought.
    ToolOutput(CallOutput),
    /// How the model came to what follows.
    Reasoning(Reasoning),
    /// What the message's text refers to.
    Annotations(Vec<Annotation>),
    /// How the provider goes on behind the message.
    Continuation(Continuation),
    /// The message sums up others.
    Summarized(Summarized),
}

/// What a message sums up: everything in its thread up to a message, but for what the operator says there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summarized {
    /// The first message.
    pub first: MessageId,
    /// The last one.
    pub last: MessageId,
    /// How many.
    pub messages: u32,
}

/// An image or a file, by address or by value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Where the bytes are.
    pub source: MediaSource,
    /// The IANA media type, such as `image/png`; empty when unknown.
    pub mime_type: String,
    /// A name for people; empty when there is none.
    pub name: String,
    /// How closely the model looks at an image; none for as closely as the provider thinks fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// How closely a model looks at an image: the closer, the more tokens it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// At a small copy of it.
    Low,
    /// At the image in pieces.
    High,
    /// At all of its pixels.
    Original,
}

/// Where the bytes of an image or file are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// At this address; the provider fetches it.
    Url(String),
    /// Here, in base64.
    Base64(String),
}

/// A resource of an MCP server that a caller attached to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttachedResource {
    /// The server that has it.
    pub server: String,
    /// Its address there.
    pub uri: String,
    /// What was read; several pieces when the address stands for a group.
    pub contents: Vec<ResourceContents>,
}

/// A request by the model to call a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its name, minted here.
    pub id: CallId,
    /// The tool's name in the catalogue that the run saw.
    pub tool: String,
    /// The arguments as the model wrote them: JSON text, which may be malformed.
    pub arguments: String,
}

/// A tool's answer, with the call that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallOutput {
    /// The call.
    pub call: CallId,
    /// The tool that was called.
    pub tool: String,
    /// The answer, as the model is given it; the step has the whole.
    pub output: ToolOutput,
    /// Whether the answer was cut for the model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// What a tool answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// For people and models to read, in order.
    pub content: Vec<Content>,
    /// For programs to read: a JSON object, if the tool gives one.
    pub structured: Option<Value>,
    /// The tool says that it failed; the content says why.
    pub is_error: bool,
}

/// One piece of a tool's answer, as MCP has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// An image, in base64.
    Image {
        /// The bytes, in base64.
        data: String,
        /// The media type.
        mime_type: String,
    },
    /// A sound, in base64.
    Audio {
        /// The bytes, in base64.
        data: String,
        /// The media type.
        mime_type: String,
    },
    /// A resource of the server that can be read later.
    ResourceLink {
        /// Its address.
        uri: String,
        /// Its name.
        name: String,
        /// Its media type; empty when unknown.
        mime_type: String,
        /// A name for people; empty when there is none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        title: String,
        /// What it is, for people and models; empty when nobody says.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        description: String,
        /// How large it is, in bytes before any encoding, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_bytes: Option<u64>,
    },
    /// A resource with its content.
    Resource(ResourceContents),
}

/// A resource of an MCP server with its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceContents {
    /// Its address.
    pub uri: String,
    /// Its media type; empty when unknown.
    pub mime_type: String,
    /// The content.
    pub body: ResourceBody,
}

/// The content of a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceBody {
    /// As text.
    Text(String),
    /// As bytes, in base64.
    Base64(String),
}

/// What has been used of the model and the tools. A model reports tokens; the run counts turns and calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Of the tokens read, those that came from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of the tokens written, those that were reasoning.
    pub reasoning_tokens: u64,
    /// Model requests.
    pub turns: u32,
    /// Tool calls that were made.
    pub tool_calls: u32,
    /// What the tokens cost; none when there are no prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

impl Usage {
    /// What so many bytes, read and written, count as until a provider has counted their tokens. Texts have more tokens
    /// than that, mostly, so that no answer is cut short that its provider would have found within its limit.
    pub fn estimate(read_bytes: u64, written_bytes: u64) -> Usage {
        const BYTES_OF_A_TOKEN: u64 = 8;
        Usage {
            input_tokens: read_bytes / BYTES_OF_A_TOKEN,
            output_tokens: written_bytes / BYTES_OF_A_TOKEN,
            ..Usage::default()
        }
    }

    /// Tokens read and written together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            turns: self.turns.saturating_add(other.turns),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            cost: match (self.cost, other.cost) {
                (Some(cost), Some(newer)) => Some(cost.plus(newer)),
                (cost, newer) => cost.or(newer),
            },
        }
    }

    /// The tokens that are in this and not in that one; never fewer than none. What they cost is for whoever knows prices.
    #[must_use]
    pub fn tokens_beyond(self, counted: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens.saturating_sub(counted.input_tokens),
            cached_tokens: self.cached_tokens.saturating_sub(counted.cached_tokens),
            output_tokens: self.output_tokens.saturating_sub(counted.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_sub(counted.reasoning_tokens),
            ..Usage::default()
        }
    }
}

impl Message {
    /// Every text part, joined.
    pub fn text(&self) -> String {
        self.content
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Every refusal part, joined.
    pub fn refusal(&self) -> String {
        self.content
            .iter()
            .filter_map(|part| match part {
                Part::Refusal(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Every summary of its reasoning, joined.
    pub fn reasoning(&self) -> String {
        self.content
            .iter()
            .filter_map(|part| match part {
                Part::Reasoning(reasoning) => Some(reasoning.summary.as_str()),
                _ => None,
            })
            .collect()
    }

    /// What its text refers to.
    pub fn annotations(&self) -> impl Iterator<Item = &Annotation> {
        self.content.iter().flat_map(|part| match part {
            Part::Annotations(annotations) => annotations.as_slice(),
            _ => &[],
        })
    }

    /// What it sums up, if it is a summary.
    pub fn summarized(&self) -> Option<&Summarized> {
        self.content.iter().find_map(|part| match part {
            Part::Summarized(summarized) => Some(summarized),
            _ => None,
        })
    }

    /// The calls that it asks for, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}

impl AttachedResource {
    /// What a model is given: texts with their address around them, pictures as images, the rest as files.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.contents.iter().map(ResourceContents::part)
    }
}

impl ResourceContents {
    /// How large it is, in bytes before any encoding.
    pub fn size_bytes(&self) -> usize {
        match &self.body {
            ResourceBody::Text(text) => text.len(),
            ResourceBody::Base64(data) => decoded_bytes(data),
        }
    }

    fn part(&self) -> Part {
        let Self { uri, mime_type, body } = self;
        match body {
            ResourceBody::Text(text) => Part::Text(format!(
                "\n<resource uri={uri:?} type={mime_type:?}>\n{text}\n</resource>\n"
            )),
            ResourceBody::Base64(data) => {
                let name = uri.rsplit(['/', ':']).next().unwrap_or_default();
                let media = Media {
                    source: MediaSource::Base64(data.clone()),
                    mime_type: mime_type.clone(),
                    name: name.to_owned(),
                    detail: None,
                };
                match mime_type.starts_with("image/") {
                    true => Part::Image(media),
                    false => Part::File(media),
                }
            }
        }
    }
}

/// How many bytes a text in base64 stands for.
fn decoded_bytes(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// The pictures that models take, by their media types (OpenAI, Images and vision, as of 2026).
const PICTURES: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp"];

impl ToolOutput {
    /// A failed call whose only content is this text.
    pub fn failure(text: impl Into<String>) -> Self {
        Self {
            content: vec![Content::Text(text.into())],
            structured: None,
            is_error: true,
        }
    }

    /// What a model that reads only text is given: the texts, one a line, and a note for everything else.
    ///
    /// A tool that gives only structured content is read as its JSON.
    pub fn text(&self) -> String {
        let pieces: Vec<String> = self.content.iter().map(Content::text).collect();
        match &self.structured {
            Some(structured) if pieces.is_empty() => structured.to_string(),
            _ => pieces.join("\n"),
        }
    }
}

impl ToolOutput {
    /// What a model that looks at pictures is given: what [`text`](Self::text) says, and after it the pictures, in
    /// their order. None where there is no picture of a kind that models take.
    pub fn parts(&self) -> Option<Vec<Part>> {
        let pictures: Vec<Part> = self.content.iter().filter_map(Content::picture).collect();
        (!pictures.is_empty()).then(|| std::iter::once(Part::Text(self.text())).chain(pictures).collect())
    }
}

impl Content {
    /// The picture that it is, if it is one that models take.
    fn picture(&self) -> Option<Part> {
        let (data, mime_type) = match self {
            Content::Image { data, mime_type } => (data, mime_type),
            Content::Resource(ResourceContents {
                mime_type,
                body: ResourceBody::Base64(data),
                ..
            }) => (data, mime_type),
            _ => return None,
        };
        PICTURES.contains(&mime_type.as_str()).then(|| {
            Part::Image(Media {
                source: MediaSource::Base64(data.clone()),
                mime_type: mime_type.clone(),
                name: String::new(),
                detail: None,
            })
        })
    }

    fn text(&self) -> String {
        match self {
            Content::Text(text) => text.clone(),
            Content::Image { mime_type, .. } => format!("[image, {mime_type}]"),
            Content::Audio { mime_type, .. } => format!("[audio, {mime_type}]"),
            Content::ResourceLink {
                uri,
                name,
                description,
                ..
            } => match description.as_str() {
                "" => format!("[resource {name}: {uri}]"),
                description => format!("[resource {name}: {uri}, {description}]"),
            },
            Content::Resource(ResourceContents { uri, mime_type, body }) => match body {
                ResourceBody::Text(text) => text.clone(),
                ResourceBody::Base64(_) => format!("[resource {uri}, {mime_type}]"),
            },
        }
    }

    /// How large it is, in bytes before any encoding.
    pub fn size_bytes(&self) -> usize {
        match self {
            Content::Text(text) => text.len(),
            Content::Image { data, .. } | Content::Audio { data, .. } => decoded_bytes(data),
            Content::ResourceLink {
                uri,
                name,
                title,
                description,
                ..
            } => uri.len() + name.len() + title.len() + description.len(),
            Content::Resource(contents) => contents.size_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attached_resource_is_given_to_a_model_by_its_kind() {
        let contents = |uri: &str, mime_type: &str, body| ResourceContents {
            uri: uri.into(),
            mime_type: mime_type.into(),
            body,
        };
        let attached = AttachedResource {
            server: "files".into(),
            uri: "file:///a/".into(),
            contents: vec![
                contents("file:///a/b.txt", "text/plain", ResourceBody::Text("hi".into())),
                contents(
                    "file:///a/c.png",
                    "image/png",
                    ResourceBody::Base64("aWI=".into()),
                ),
                contents("urn:d", "", ResourceBody::Base64("aWI=".into())),
            ],
        };
        let media = |mime_type: &str, name: &str| Media {
            source: MediaSource::Base64("aWI=".into()),
            mime_type: mime_type.into(),
            name: name.into(),
            detail: None,
        };
        assert_eq!(
            attached.parts().collect::<Vec<_>>(),
            [
                Part::Text(
                    "\n<resource uri=\"file:///a/b.txt\" type=\"text/plain\">\nhi\n</resource>\n".into()
                ),
                Part::Image(media("image/png", "c.png")),
                Part::File(media("", "d")),
            ]
        );
    }

    #[test]
    fn a_model_that_looks_at_pictures_is_given_those_of_an_output_after_its_text() {
        let picture = |mime_type: &str| Content::Image {
            data: "aWI=".into(),
            mime_type: mime_type.into(),
        };
        let output = |content| ToolOutput {
            content,
            ..ToolOutput::default()
        };
        assert_eq!(output(vec![Content::Text("hi".into())]).parts(), None);
        assert_eq!(output(vec![picture("image/tiff")]).parts(), None);
        let embedded = Content::Resource(ResourceContents {
            uri: "file:///a".into(),
            mime_type: "image/webp".into(),
            body: ResourceBody::Base64("YWI=".into()),
        });
        let parts = output(vec![picture("image/png"), Content::Text("hi".into()), embedded]).parts();
        let shown = |data: &str, mime_type: &str| {
            Part::Image(Media {
                source: MediaSource::Base64(data.into()),
                mime_type: mime_type.into(),
                name: String::new(),
                detail: None,
            })
        };
        let text = "[image, image/png]\nhi\n[resource file:///a, image/webp]";
        let expected = [
            Part::Text(text.into()),
            shown("aWI=", "image/png"),
            shown("YWI=", "image/webp"),
        ];
        assert_eq!(parts.unwrap(), expected);
    }

    #[test]
    fn sizes_are_those_of_the_bytes_themselves() {
        let of = |body| {
            let contents = ResourceContents {
                uri: "u".into(),
                mime_type: String::new(),
                body,
            };
            Content::Resource(contents).size_bytes()
        };
        assert_eq!(of(ResourceBody::Text("é".into())), 2);
        for (base64, bytes) in [("", 0), ("YQ==", 1), ("YWI=", 2), ("YWJj", 3), ("YWJjZA==", 4)] {
            assert_eq!(of(ResourceBody::Base64(base64.into())), bytes, "{base64}");
        }
    }

    #[test]
    fn images_are_stored_as_they_were_before_unless_they_say_how_closely_to_look() {
        let stored = json!({"image": {"source": {"url": "u"}, "mime_type": "", "name": ""}});
        let part: Part = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(part).unwrap(), stored);
    }

    #[test]
    fn resources_are_stored_as_they_were_before() {
        let stored = json!({"resource": {"uri": "u", "mime_type": "m", "body": {"text": "t"}}});
        let content: Content = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(content).unwrap(), stored);
    }

    #[test]
    fn what_is_counted_in_parts_is_the_whole_unless_a_part_is_more() {
        let usage = |input_tokens, cached_tokens, output_tokens, reasoning_tokens| Usage {
            input_tokens,
            cached_tokens,
            output_tokens,
            reasoning_tokens,
            ..Usage::default()
        };
        let whole = usage(100, 60, 40, 30);
        let part = Usage::estimate(8 * 70, 8 * 15 + 7);
        assert_eq!(part, usage(70, 0, 15, 0));
        assert_eq!(part.plus(whole.tokens_beyond(part)), whole);
        let more = Usage::estimate(8 * 101, 0);
        assert_eq!(whole.tokens_beyond(more), usage(0, 60, 40, 30));
        assert_eq!(whole.tokens_beyond(Usage::default()), whole);
    }
}
