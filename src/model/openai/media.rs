//! Images and files, as both dialects write them.

use crate::run::message::{Media, MediaSource};

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
