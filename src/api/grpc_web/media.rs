//! The media types of gRPC and gRPC-Web.

use http::{HeaderMap, HeaderValue, header};

/// How the frames of a call travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// gRPC itself, with trailers in HTTP's own.
    Native,
    /// gRPC-Web, with trailers in the body.
    Binary,
    /// The same, in base64.
    Text,
}

/// How the messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Protobuf, by name or by default.
    Protobuf,
    /// Some other way.
    Unknown,
}

/// A media type of gRPC's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// How frames travel.
    pub form: Form,
    /// How messages are written.
    pub codec: Codec,
}

impl Media {
    /// The media type of the body that these headers speak of, if it is of the family.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(header::CONTENT_TYPE).and_then(Self::read)
    }

    /// Reads a media type: its letters may be of any case, and its parameters say nothing here.
    fn read(value: &HeaderValue) -> Option<Self> {
        let essence = value.as_bytes().split(|byte| *byte == b';').next()?;
        Self::named(essence.trim_ascii())
    }

    fn named(essence: &[u8]) -> Option<Self> {
        const FAMILY: &[u8] = b"application/grpc";
        let (family, rest) = essence.split_at_checked(FAMILY.len())?;
        if !family.eq_ignore_ascii_case(FAMILY) {
            return None;
        }
        let (form, suffix) = match rest.iter().position(|byte| *byte == b'+') {
            Some(plus) => (&rest[..plus], &rest[plus..]),
            None => (rest, &rest[..0]),
        };
        let form = match form {
            b"" => Form::Native,
            _ if form.eq_ignore_ascii_case(b"-web") => Form::Binary,
            _ if form.eq_ignore_ascii_case(b"-web-text") => Form::Text,
            _ => return None,
        };
        let codec = match suffix {
            b"" => Codec::Protobuf,
            _ if suffix.eq_ignore_ascii_case(b"+proto") => Codec::Protobuf,
            _ => Codec::Unknown,
        };
        Some(Self { form, codec })
    }
}

/// The form of the answer to a gRPC-Web request: the first that the client names, or else the request's own.
pub fn answer_form(asked: Form, headers: &HeaderMap) -> Form {
    let values = headers.get_all(header::ACCEPT).iter();
    let ranges = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    ranges
        .filter_map(|range| range.split(|byte| *byte == b';').next())
        .filter_map(|range| Media::named(range.trim_ascii()))
        .map(|media| media.form)
        .find(|form| *form != Form::Native)
        .unwrap_or(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_as_media_types() {
        let protobuf = |form| {
            Some(Media {
                form,
                codec: Codec::Protobuf,
            })
        };
        let unknown = |form| {
            Some(Media {
                form,
                codec: Codec::Unknown,
            })
        };
        let cases = [
            ("application/grpc", protobuf(Form::Native)),
            ("application/grpc+proto", protobuf(Form::Native)),
            ("Application/gRPC;charset=utf-8", protobuf(Form::Native)),
            ("application/grpc+json", unknown(Form::Native)),
            ("application/grpc-web", protobuf(Form::Binary)),
            (
                "Application/gRPC-Web+Proto ; charset=utf-8",
                protobuf(Form::Binary),
            ),
            ("application/grpc-web+foo", unknown(Form::Binary)),
            ("application/grpc-web+", unknown(Form::Binary)),
            ("application/grpc-web-text", protobuf(Form::Text)),
            ("application/grpc-web-text+proto;a=\"b;c\"", protobuf(Form::Text)),
            ("application/grpc-web-text+thrift", unknown(Form::Text)),
            ("application/grpcweb", None),
            ("application/grpc-websocket", None),
            ("application/grpc/web", None),
            ("application/gr", None),
            ("text/application/grpc", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
            assert_eq!(Media::of(&headers), expected, "{text}");
        }
        assert_eq!(Media::of(&HeaderMap::new()), None);
    }

    #[test]
    fn the_answer_has_the_form_that_is_accepted_or_the_requests() {
        let cases = [
            (Form::Text, "", Form::Text),
            (Form::Binary, "", Form::Binary),
            (Form::Text, "*/*", Form::Text),
            (
                Form::Binary,
                "text/html, APPLICATION/grpc-web-text;q=0.9",
                Form::Text,
            ),
            (Form::Text, "application/grpc-web+proto", Form::Binary),
            (Form::Text, "application/grpc", Form::Text),
        ];
        for (asked, accept, expected) in cases {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(answer_form(asked, &headers), expected, "{asked:?} {accept}");
        }
    }
}
