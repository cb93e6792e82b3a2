//! Images, files and resources, as the dialects write them.

use std::borrow::Cow;

use async_openai::types::chat::ImageDetail;

use crate::model::Dialect;
use crate::run::error::{Error, Reason};
use crate::run::message::{Detail, Media, MediaSource, Part, Role};
use crate::run::ports::ModelRequest;

/// Whether this dialect can tell the question. Who asks about what it has no field for would be answered by a model that has
/// not seen it. In older messages that is named in words, so that the conversation can go on.
///
/// # Errors
/// `MODEL_REQUEST_REJECTED`, naming the part of the newest message of the user.
pub(super) fn check(request: &ModelRequest, dialect: Dialect) -> Result<(), Error> {
    let mut messages = request.messages.iter().rev();
    let question = messages.find(|message| message.role == Role::User);
    let parts = question.iter().flat_map(|question| &question.content);
    for (place, part) in parts.enumerate() {
        let parts = spelled_out(std::slice::from_ref(part));
        if let Some(lack) = parts.iter().find_map(|part| lack(part, dialect)) {
            let field = format!("content[{place}]");
            let message = format!("{field}: the model is spoken to in the {lack}");
            return Err(Error::new(Reason::ModelRequestRejected, message).with("field", field));
        }
    }
    Ok(())
}

/// What the dialect has no field for, and what it has one for instead; none where it can tell the part. Chat Completions has
/// none for the address of a file, and Assistants takes images by address alone, and files where they were uploaded before.
fn lack(part: &Part, dialect: Dialect) -> Option<&'static str> {
    let is_by_value = |media: &Media| matches!(media.source, MediaSource::Base64(_));
    match (dialect, part) {
        (Dialect::Assistants, Part::Image(image)) if is_by_value(image) => {
            Some("Assistants dialect, which takes no images by value, only by address")
        }
        (Dialect::Assistants, Part::File(_)) => {
            Some("Assistants dialect, which takes no files, only images by address")
        }
        (Dialect::ChatCompletions, Part::File(file)) if !is_by_value(file) => {
            Some("Chat Completions dialect, which takes no files by address, only by value")
        }
        _ => None,
    }
}

/// The parts of a message, with those of attached resources in place of the resources.
pub(super) fn spelled_out(content: &[Part]) -> Vec<Cow<'_, Part>> {
    let mut parts = Vec::with_capacity(content.len());
    for part in content {
        match part {
            Part::Resource(attached) => parts.extend(attached.parts().map(Cow::Owned)),
            part => parts.push(Cow::Borrowed(part)),
        }
    }
    parts
}

/// The text of parts that are nothing but text.
pub(super) fn only_text(parts: &[Cow<'_, Part>]) -> Option<String> {
    let texts = parts.iter().map(|part| match &**part {
        Part::Image(_) | Part::File(_) => None,
        Part::Text(text) => Some(text.as_str()),
        _ => Some(""),
    });
    texts.collect()
}

/// The address of an image or file: its own, or a `data:` URL that holds it (RFC 2397).
///
/// `mime_type` is for one that has none.
pub(super) fn address(media: &Media, mime_type: &str) -> String {
    match &media.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Base64(data) => {
            let mime_type = match media.mime_type.as_str() {
                "" => mime_type,
                known => known,
            };
            format!("data:{mime_type};base64,{data}")
        }
    }
}

/// A name, which providers want with every file.
pub(super) fn name(media: &Media) -> String {
    match media.name.as_str() {
        "" => "file".to_owned(),
        name => name.to_owned(),
    }
}

/// How closely an image is to be looked at, where it cannot be had as it is: that is as closely as possible.
pub(super) fn closeness(detail: Detail) -> ImageDetail {
    match detail {
        Detail::Low => ImageDetail::Low,
        Detail::High | Detail::Original => ImageDetail::High,
    }
}

/// How closely an image is to be looked at. Only the Responses API knows the original.
pub(super) fn detail(detail: Detail) -> ImageDetail {
    match detail {
        Detail::Low => ImageDetail::Low,
        Detail::High => ImageDetail::High,
        Detail::Original => ImageDetail::Original,
    }
}
