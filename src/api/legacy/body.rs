//! A request's body, bounded, and what FastAPI makes of one.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::refusal::Refusal;
use super::syntax;

/// Integers from here on are not told apart by the double that the parser makes of them.
const DOUBLES_FROM: f64 = 9_223_372_036_854_775_808.0;

/// A body that has been received.
pub struct Body {
    bytes: Bytes,
    is_json: bool,
}

impl Body {
    /// Receives a body of at most `limit_bytes`.
    ///
    /// # Errors
    /// 413 when it is longer; 400 when it breaks off.
    pub async fn receive(
        headers: &HeaderMap,
        body: tonic::body::Body,
        limit_bytes: usize,
    ) -> Result<Self, Refusal> {
        let is_announced_too_long =
            usize::try_from(body.size_hint().lower()).is_ok_and(|size| size > limit_bytes);
        if is_announced_too_long {
            return Err(too_long(limit_bytes));
        }
        match Limited::new(body, limit_bytes).collect().await {
            Ok(collected) => Ok(Self {
                bytes: collected.to_bytes(),
                is_json: is_json(headers),
            }),
            Err(error) if error.is::<LengthLimitError>() => Err(too_long(limit_bytes)),
            Err(_) => Err(Refusal::unreadable()),
        }
    }

    /// Its value; none when it is empty. A body that does not say that it is JSON is a string.
    ///
    /// # Errors
    /// 422 when it is not JSON; 400 when it is not UTF-8, or nested too deep.
    pub fn value(&self) -> Result<Option<Value>, Refusal> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        if !self.is_json {
            let text = String::from_utf8_lossy(&self.bytes);
            return Ok(Some(Value::String(text.into_owned())));
        }
        let text = self.text()?;
        serde_json::from_str(text)
            .map(Some)
            .map_err(|_| syntax::fault(text).map_or_else(Refusal::unreadable, Refusal::not_json))
    }

    /// Checks that this part of its value holds no integer but those that were written: one that is too large
    /// was read as the nearest double.
    ///
    /// # Errors
    /// 422 at the first such integer.
    pub fn check_integers(&self, part: &Value) -> Result<(), Refusal> {
        if !holds_large_double(part) {
            return Ok(());
        }
        syntax::fault(self.text()?).map_or(Ok(()), |fault| Err(Refusal::not_json(fault)))
    }

    fn text(&self) -> Result<&str, Refusal> {
        let text = str::from_utf8(&self.bytes).map_err(|_| Refusal::unreadable())?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

fn too_long(limit_bytes: usize) -> Refusal {
    let detail = format!("the body is longer than {limit_bytes} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// `application/json`, any `application/…+json`, or nothing said: FastAPI's releases do not agree on the last,
/// and the lenient ones came first.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let essence = content_type.to_str().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default();
    let Some((kind, subtype)) = essence.trim().split_once('/') else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application")
        && !subtype.contains('/')
        && (subtype == "json" || subtype.ends_with("+json"))
}

fn holds_large_double(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() && number.as_f64().is_some_and(|number| number.abs() >= DOUBLES_FROM)
        }
        Value::Array(items) => items.iter().any(holds_large_double),
        Value::Object(fields) => fields.values().any(holds_large_double),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Body, CONTENT_TYPE, is_json};

    fn json(text: &str) -> Body {
        Body {
            bytes: text.to_owned().into(),
            is_json: true,
        }
    }

    #[test]
    fn only_json_media_types_are_json() {
        let cases = [
            ("application/json", true),
            (" Application/JSON; charset=utf-8", true),
            ("application/problem+JSON ; a=b", true),
            ("application/jsonx", false),
            ("application/json/x", false),
            ("text/json", false),
            ("json", false),
            ("", false),
        ];
        for (content_type, expected) in cases {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(is_json(&headers), expected, "{content_type}");
        }
        assert!(is_json(&HeaderMap::new()));
    }

    #[test]
    fn integers_are_kept_or_refused_but_doubles_may_be_large() {
        let cases = [
            (r#"{"a":9007199254740993,"b":18446744073709551615}"#, true),
            (r#"{"a":1e30,"b":-9223372036854775808}"#, true),
            (r#"{"a":[{"b":18446744073709551616}]}"#, false),
            (r#"{"a":-9223372036854775809}"#, false),
        ];
        for (text, expected) in cases {
            let body = json(text);
            let value = body.value().unwrap().unwrap();
            assert_eq!(body.check_integers(&value).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_at_all_is_400() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let not_utf8 = Body {
            bytes: b"{\"a\":\"\xff\"}".as_slice().into(),
            is_json: true,
        };
        for body in [json(&deep), not_utf8] {
            assert_eq!(body.value().unwrap_err().status, 400);
        }
        assert_eq!(json("\u{feff}1").value().unwrap(), Some(1.into()));
    }
}
