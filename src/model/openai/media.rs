//! Images, files and resources, as both dialects write them.

use std::borrow::Cow;

use async_openai::types::chat::ImageDetail;

use crate::run::message::{Detail, Media, MediaSource, Part};

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
