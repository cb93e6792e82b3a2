//! Images, files and sounds that callers give, by address or by value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::run::error::Error;
use crate::run::message::MediaSource;

/// Reads the address of an image or file, which the model's provider fetches.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field for anything but an `https:` URL with a host.
pub fn address(field: &str, url: String) -> Result<MediaSource, Error> {
    if is_https(&url) {
        Ok(MediaSource::Url(url))
    } else {
        Err(Error::invalid(format!("{field}.url"), "must be an https: URL"))
    }
}

fn is_https(url: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let has_host = !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']);
    scheme.eq_ignore_ascii_case("https") && has_host && !url.contains(is_odd)
}

/// Reads what is given by value, as base64.
///
/// # Errors
/// `VALIDATION_FAILED` naming the field for no data, or a media type that is none.
pub fn data(field: &str, data: &[u8], mime_type: &str) -> Result<String, Error> {
    if data.is_empty() {
        return Err(Error::invalid(format!("{field}.data"), "must not be empty"));
    }
    if !is_media_type(mime_type) {
        let description = "must be a media type such as image/png, since there is data";
        return Err(Error::invalid(format!("{field}.mime_type"), description));
    }
    Ok(STANDARD.encode(data))
}

/// Whether the text is a media type of RFC 9110, one type rather than a range of them.
fn is_media_type(text: &str) -> bool {
    text.parse::<mime::Mime>()
        .is_ok_and(|media| media.type_() != mime::STAR && media.subtype() != mime::STAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_https_url() {
        for url in ["https://a.example/b.png?c=d", "HTTPS://a", "https://[::1]/"] {
            assert!(address("image", url.to_owned()).is_ok(), "{url}");
        }
        for url in [
            "",
            "http://x/a",
            "ftp:x",
            "https:",
            "https:x",
            "https://",
            "https:///a",
            "https://a b",
            "data:image/png;base64,AA==",
        ] {
            let error = address("image", url.to_owned()).unwrap_err();
            assert_eq!(error.violations()[0].field, "image.url", "{url}");
        }
    }

    #[test]
    fn data_has_a_media_type() {
        for mime_type in ["image/png", "text/plain; charset=utf-8", "application/vnd.a+json"] {
            assert_eq!(data("file", b"x", mime_type).unwrap(), "eA==");
        }
        for (bytes, mime_type, field) in [
            (&b""[..], "image/png", "file.data"),
            (b"x", "", "file.mime_type"),
            (b"x", "nonsense", "file.mime_type"),
            (b"x", "image/*", "file.mime_type"),
            (b"x", "*/*", "file.mime_type"),
            (b"x", "image/png,", "file.mime_type"),
        ] {
            let error = data("file", bytes, mime_type).unwrap_err();
            assert_eq!(error.violations()[0].field, field, "{mime_type}");
        }
    }
}
