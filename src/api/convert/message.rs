//! Messages and their parts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{count, duration, media, name, structure, timestamp};
use crate::api::pb;
use crate::run::error::Error;
use crate::run::id::{RunId, ThreadId};
use crate::run::message::{
    Annotation, AttachedResource, CallOutput, Cited, Content, Detail, Media, MediaSource, Message, Part,
    ResourceBody, ResourceContents, Role, ToolCall, ToolOutput,
};

/// A message as the contract has it. One that has only begun says so.
pub fn to_pb(thread: &ThreadId, message: &Message, is_whole: bool) -> pb::Message {
    let status = match (is_whole, message.incomplete) {
        (false, _) => pb::MessageStatus::InProgress,
        (true, false) => pb::MessageStatus::Complete,
        (true, true) => pb::MessageStatus::Incomplete,
    };
    pb::Message {
        name: name::message(thread, &message.id),
        role: role(message.role).into(),
        content: message.content.iter().filter_map(part_to_pb).collect(),
        run: writer(message)
            .map(|run| name::run(thread, run))
            .unwrap_or_default(),
        status: status.into(),
        create_time: Some(timestamp(message.create_time)),
        metadata: message.metadata.clone(),
        annotations: annotations_to_pb(message),
        summary: message.summarized().map(|summarized| pb::MessageSummary {
            first_message: name::message(thread, &summarized.first),
            last_message: name::message(thread, &summarized.last),
            messages: i32::try_from(summarized.messages).unwrap_or(i32::MAX),
        }),
    }
}

/// The run that wrote a message: what a caller says starts a run, but comes from none.
fn writer(message: &Message) -> Option<&RunId> {
    message.run.as_ref().filter(|_| message.role != Role::User)
}

/// A call as the contract has it: its arguments as an object, with their text where the object would not say
/// the same, or only their text if they are no object.
pub fn call_to_pb(call: &ToolCall) -> pb::ToolCall {
    let (arguments, arguments_json) = match serde_json::from_str(&call.arguments) {
        Ok(Value::Object(object)) => {
            let is_exact = object.values().all(structure::is_exact);
            let text = if is_exact {
                String::new()
            } else {
                call.arguments.clone()
            };
            (Some(structure::from_json(&object)), text)
        }
        _ => (None, call.arguments.clone()),
    };
    pb::ToolCall {
        id: call.id.to_string(),
        tool: call.tool.clone(),
        arguments,
        arguments_json,
    }
}

/// A call's whole output as the contract has it.
pub fn output_to_pb(
    call: &str,
    tool: &str,
    output: &ToolOutput,
    took: std::time::Duration,
) -> pb::ToolOutput {
    let (structured_content, structured_content_json) = structured_to_pb(output);
    pb::ToolOutput {
        tool_call_id: call.to_owned(),
        tool: tool.to_owned(),
        content: output.content.iter().map(content_to_pb).collect(),
        structured_content,
        structured_content_json,
        is_error: output.is_error,
        duration: (!took.is_zero()).then(|| duration(took)),
        truncated: false,
    }
}

/// A call's output that a caller gives.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field for content that is not set, media without data or type, or data that is no JSON.
pub fn output_from_pb(field: &str, output: pb::ToolOutput) -> Result<ToolOutput, Error> {
    let content = output.content.into_iter().enumerate().map(|(index, content)| {
        let field = format!("{field}.content[{index}]");
        content_from_pb(&field, content)
    });
    let structured = match output.structured_content_json.as_str() {
        "" => output
            .structured_content
            .map(|structured| Value::Object(structure::to_json(structured))),
        text => Some(serde_json::from_str(text).map_err(|error| {
            Error::invalid(
                format!("{field}.structured_content_json"),
                format!("is not JSON: {error}"),
            )
        })?),
    };
    Ok(ToolOutput {
        content: content.collect::<Result<_, _>>()?,
        structured,
        is_error: output.is_error,
    })
}

fn content_from_pb(field: &str, content: pb::ToolContent) -> Result<Content, Error> {
    use pb::tool_content::Content as Pb;
    let is_empty = || Error::invalid(field, "must not be empty");
    Ok(match content.content.ok_or_else(is_empty)? {
        Pb::Text(text) => Content::Text(text),
        Pb::Image(image) => Content::Image {
            data: media::data(&format!("{field}.image"), &image.data, &image.mime_type)?,
            mime_type: image.mime_type,
        },
        Pb::Audio(audio) => Content::Audio {
            data: media::data(&format!("{field}.audio"), &audio.data, &audio.mime_type)?,
            mime_type: audio.mime_type,
        },
        Pb::ResourceLink(link) => Content::ResourceLink {
            uri: link.uri,
            name: link.display_name,
            mime_type: link.mime_type,
            title: link.title,
            description: link.description,
            size_bytes: link.size_bytes.and_then(|size| u64::try_from(size).ok()),
        },
        Pb::Resource(resource) => Content::Resource(ResourceContents {
            uri: resource.uri,
            mime_type: resource.mime_type,
            body: match resource.contents.ok_or_else(is_empty)? {
                pb::resource_contents::Contents::Text(text) => ResourceBody::Text(text),
                pb::resource_contents::Contents::Blob(blob) => ResourceBody::Base64(STANDARD.encode(blob)),
            },
        }),
    })
}

/// The structured content of an output as the contract has it: as an object, and as text where an object would not
/// say the same. Any JSON value may be one since MCP's revision of 2026-07-28, before that only objects.
pub fn structured_to_pb(output: &ToolOutput) -> (Option<prost_types::Struct>, String) {
    let Some(value) = &output.structured else {
        return (None, String::new());
    };
    let object = value.as_object().map(structure::from_json);
    let text = if object.is_some() && structure::is_exact(value) {
        String::new()
    } else {
        value.to_string()
    };
    (object, text)
}

/// A piece of a tool's answer as the contract has it.
pub fn content_to_pb(content: &Content) -> pb::ToolContent {
    use pb::tool_content::Content as Pb;
    let media = |data: &str, mime_type: &str| pb::MediaContent {
        data: decode(data),
        mime_type: mime_type.to_owned(),
    };
    let content = match content {
        Content::Text(text) => Pb::Text(text.clone()),
        Content::Image { data, mime_type } => Pb::Image(media(data, mime_type)),
        Content::Audio { data, mime_type } => Pb::Audio(media(data, mime_type)),
        Content::ResourceLink {
            uri,
            name,
            mime_type,
            title,
            description,
            size_bytes,
        } => Pb::ResourceLink(pb::ResourceLink {
            uri: uri.clone(),
            display_name: name.clone(),
            title: title.clone(),
            description: description.clone(),
            mime_type: mime_type.clone(),
            size_bytes: size_bytes.and_then(|size| i64::try_from(size).ok()),
        }),
        Content::Resource(contents) => Pb::Resource(contents_to_pb(contents)),
    };
    pb::ToolContent {
        content: Some(content),
    }
}

/// What a resource holds, as the contract has it.
pub fn contents_to_pb(contents: &ResourceContents) -> pb::ResourceContents {
    pb::ResourceContents {
        uri: contents.uri.clone(),
        mime_type: contents.mime_type.clone(),
        contents: Some(match &contents.body {
            ResourceBody::Text(text) => pb::resource_contents::Contents::Text(text.clone()),
            ResourceBody::Base64(data) => pb::resource_contents::Contents::Blob(decode(data)),
        }),
    }
}

/// A part that a caller says: text, an image, a file or a resource, which is still to be read.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field for any other part, and for one without its source, an address that is no
/// `https:` URL, or data without a media type.
pub fn said_from_pb(field: &str, part: pb::ContentPart) -> Result<Part, Error> {
    use pb::content_part::Part as Pb;
    let attached = |source, mime_type, name| Media {
        detail: None,
        source,
        mime_type,
        name,
    };
    match part.part {
        Some(Pb::Text(text)) if text.is_empty() => {
            Err(Error::invalid(format!("{field}.text"), "must not be empty"))
        }
        Some(Pb::Text(text)) => Ok(Part::Text(text)),
        Some(Pb::Image(image)) => {
            let source = match image.source {
                Some(pb::image_part::Source::Url(url)) => media::address(&format!("{field}.image"), url)?,
                Some(pb::image_part::Source::Data(data)) => {
                    let data = media::data(&format!("{field}.image"), &data, &image.mime_type)?;
                    MediaSource::Base64(data)
                }
                None => {
                    return Err(Error::invalid(
                        format!("{field}.image"),
                        "must have a url or data",
                    ));
                }
            };
            Ok(Part::Image(Media {
                detail: detail_from_pb(&format!("{field}.image"), image.detail)?,
                ..attached(source, image.mime_type, String::new())
            }))
        }
        Some(Pb::File(file)) => {
            let source = match file.source {
                Some(pb::file_part::Source::Url(url)) => media::address(&format!("{field}.file"), url)?,
                Some(pb::file_part::Source::Data(data)) => {
                    let data = media::data(&format!("{field}.file"), &data, &file.mime_type)?;
                    MediaSource::Base64(data)
                }
                None => return Err(Error::invalid(format!("{field}.file"), "must have a url or data")),
            };
            Ok(Part::File(attached(source, file.mime_type, file.name)))
        }
        Some(Pb::Resource(pb::ResourcePart { server, uri, .. })) => {
            Error::if_empty([
                (format!("{field}.resource.server"), server.as_str()),
                (format!("{field}.resource.uri"), uri.as_str()),
            ])?;
            Ok(Part::Resource(AttachedResource {
                server,
                uri,
                contents: Vec::new(),
            }))
        }
        Some(_) => Err(Error::invalid(
            field,
            "must be text, an image, a file or a resource",
        )),
        None => Err(Error::invalid(field, "must not be empty")),
    }
}

/// What the text of a message refers to.
pub fn annotations_to_pb(message: &Message) -> Vec<pb::Annotation> {
    use pb::annotation::Source;
    let to_pb = |annotation: &Annotation| pb::Annotation {
        source: Some(match annotation.source.clone() {
            Cited::Url { url, title } => Source::Url(pb::UrlCitation { url, title }),
            Cited::File { id, name, container } => Source::File(pb::FileCitation {
                file_id: id,
                name,
                container_id: container,
            }),
        }),
        start: annotation.start.map(count),
        end: annotation.end.map(count),
    };
    message.annotations().map(to_pb).collect()
}

/// How closely a model is to look at an image.
fn detail_from_pb(field: &str, detail: i32) -> Result<Option<Detail>, Error> {
    match pb::ImageDetail::try_from(detail) {
        Ok(pb::ImageDetail::Unspecified) => Ok(None),
        Ok(pb::ImageDetail::Low) => Ok(Some(Detail::Low)),
        Ok(pb::ImageDetail::High) => Ok(Some(Detail::High)),
        Ok(pb::ImageDetail::Original) => Ok(Some(Detail::Original)),
        Err(_) => Err(Error::invalid(format!("{field}.detail"), "is not a known value")),
    }
}

fn detail_to_pb(detail: Option<Detail>) -> pb::ImageDetail {
    match detail {
        None => pb::ImageDetail::Unspecified,
        Some(Detail::Low) => pb::ImageDetail::Low,
        Some(Detail::High) => pb::ImageDetail::High,
        Some(Detail::Original) => pb::ImageDetail::Original,
    }
}

/// A part as the contract has it; none for what callers are not shown, or in another place.
fn part_to_pb(part: &Part) -> Option<pb::ContentPart> {
    use pb::content_part::Part as Pb;
    let part = match part {
        Part::Text(text) => Pb::Text(text.clone()),
        Part::Refusal(text) => Pb::Refusal(text.clone()),
        Part::Image(media) => Pb::Image(pb::ImagePart {
            mime_type: media.mime_type.clone(),
            detail: detail_to_pb(media.detail).into(),
            source: Some(match &media.source {
                MediaSource::Url(url) => pb::image_part::Source::Url(url.clone()),
                MediaSource::Base64(data) => pb::image_part::Source::Data(decode(data)),
            }),
        }),
        Part::File(media) => Pb::File(pb::FilePart {
            name: media.name.clone(),
            mime_type: media.mime_type.clone(),
            source: Some(match &media.source {
                MediaSource::Url(url) => pb::file_part::Source::Url(url.clone()),
                MediaSource::Base64(data) => pb::file_part::Source::Data(decode(data)),
            }),
        }),
        Part::Resource(attached) => Pb::Resource(pb::ResourcePart {
            server: attached.server.clone(),
            uri: attached.uri.clone(),
            contents: attached.contents.iter().map(contents_to_pb).collect(),
        }),
        Part::ToolCall(call) => Pb::ToolCall(call_to_pb(call)),
        Part::ToolOutput(CallOutput {
            call,
            tool,
            output,
            truncated,
        }) => Pb::ToolOutput(pb::ToolOutput {
            truncated: *truncated,
            ..output_to_pb(call.as_str(), tool, output, std::time::Duration::ZERO)
        }),
        Part::Reasoning(reasoning) if !reasoning.summary.is_empty() => {
            Pb::ReasoningSummary(reasoning.summary.clone())
        }
        Part::Reasoning(_) | Part::Annotations(_) | Part::Continuation(_) | Part::Summarized(_) => {
            return None;
        }
    };
    Some(pb::ContentPart { part: Some(part) })
}

fn role(role: Role) -> pb::Role {
    match role {
        Role::System => pb::Role::System,
        Role::User => pb::Role::User,
        Role::Assistant => pb::Role::Assistant,
        Role::Tool => pb::Role::Tool,
    }
}

/// The bytes of base64 that came from a tool; text that is none is kept as it is, so that nothing is lost.
fn decode(data: &str) -> Vec<u8> {
    STANDARD.decode(data).unwrap_or_else(|_| data.as_bytes().to_vec())
}
