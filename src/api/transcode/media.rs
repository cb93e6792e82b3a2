//! Media types: what a client sends and what it accepts.

use http::HeaderMap;
use http::header::{self, HeaderValue};
use mime::Mime;

/// How a stream's messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamForm {
    /// `text/event-stream`.
    Events,
    /// `application/x-ndjson`.
    Lines,
}

impl StreamForm {
    /// The content type.
    #[must_use]
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            StreamForm::Events => "text/event-stream",
            StreamForm::Lines => "application/x-ndjson",
        })
    }

    /// The form that the client likes best, events where it does not care; none if it takes neither.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let events = quality(headers, "text", "event-stream");
        let lines = quality(headers, "application", "x-ndjson").max(quality(headers, "application", "jsonl"));
        match (events, lines) {
            (0, 0) => None,
            (events, lines) if lines > events => Some(StreamForm::Lines),
            _ => Some(StreamForm::Events),
        }
    }
}

/// Whether the client takes JSON for an answer.
#[must_use]
pub fn accepts_json(headers: &HeaderMap) -> bool {
    quality(headers, "application", "json") > 0
}

/// How much the client likes a media type, in thousandths: by the range that fits it most closely,
/// and everything the same if it does not say.
fn quality(headers: &HeaderMap, kind: &str, subtype: &str) -> u16 {
    let mut best = None;
    let mut is_said = false;
    for range in headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        for range in range.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            is_said = true;
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let (of_kind, of_subtype) = name.split_once('/').unwrap_or((name, "*"));
            let closeness = match (of_kind, of_subtype) {
                ("*", "*") => 1,
                (of_kind, "*") if of_kind.eq_ignore_ascii_case(kind) => 2,
                _ if of_kind.eq_ignore_ascii_case(kind) && of_subtype.eq_ignore_ascii_case(subtype) => 3,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight
                .and_then(|weight| weight.parse::<f32>().ok())
                .unwrap_or(1.0);
            best = best.max(Some((closeness, (weight.clamp(0.0, 1.0) * 1000.0) as u16)));
        }
    }
    match best {
        Some((_, weight)) => weight,
        None if is_said => 0,
        None => 1000,
    }
}

/// What is wrong with the headers of a JSON body, if anything.
#[must_use]
pub fn refused_json(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let Some(media) = value.to_str().ok().and_then(parsed) else {
        return Some("malformed content-type");
    };
    let is_json = media.subtype() == mime::JSON || media.suffix() == Some(mime::JSON);
    if media.type_() != mime::APPLICATION || !is_json {
        return Some("the body must be application/json");
    }
    match media.get_param(mime::CHARSET) {
        Some(charset) if charset != mime::UTF_8 => Some("json is always utf-8"),
        _ => None,
    }
}

/// A media type. There may be blanks around its semicolons, which the parser does not take.
fn parsed(text: &str) -> Option<Mime> {
    text.parse().ok().or_else(|| {
        let parts: Vec<&str> = text.split(';').map(str::trim).collect();
        parts.join(";").parse().ok()
    })
}

/// Whether a body is in some coding, which is none of a transcoder's business.
#[must_use]
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::{StreamForm, accepts_json, refused_json};
    use http::{HeaderMap, HeaderValue, header};

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_client_chooses_the_form_of_a_stream() {
        for (value, form) in [
            ("*/*", Some(StreamForm::Events)),
            ("text/event-stream", Some(StreamForm::Events)),
            ("application/x-ndjson", Some(StreamForm::Lines)),
            (
                "application/x-ndjson, text/event-stream",
                Some(StreamForm::Events),
            ),
            (
                "text/event-stream;q=0.5, application/x-ndjson",
                Some(StreamForm::Lines),
            ),
            ("text/event-stream;q=0, */*", Some(StreamForm::Lines)),
            ("application/json", None),
            ("Text/Event-Stream", Some(StreamForm::Events)),
        ] {
            assert_eq!(StreamForm::accepted(&accept(value)), form, "{value}");
        }
        assert_eq!(StreamForm::accepted(&HeaderMap::new()), Some(StreamForm::Events));
    }

    #[test]
    fn json_is_acceptable_by_name_or_by_range() {
        for (value, expected) in [
            ("application/json", true),
            ("application/*;q=0.1", true),
            ("text/html, */*;q=0.8", true),
            ("text/html", false),
            ("application/json;q=0, */*", false),
            ("application/json; charset=utf-8", true),
        ] {
            assert_eq!(accepts_json(&accept(value)), expected, "{value}");
        }
    }

    #[test]
    fn a_json_body_says_so_in_one_of_several_ways() {
        for (value, ok) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/merge-patch+json", true),
            (" application/json ; charset=utf-8 ;", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("nonsense", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(refused_json(&headers).is_none(), ok, "{value}");
        }
        assert_eq!(refused_json(&HeaderMap::new()), None);
    }
}
