//! Content codings: bodies that come in gzip or zstd, and answers that go out so where it is asked for and worth it.
//!
//! Streams are never compressed, so that nothing holds an event back; gRPC's doors have compression of their own.

mod accept;

use std::convert::Infallible;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body as _;
use tonic::body::Body;
use tower::{Layer, ServiceExt};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompression;

pub use self::accept::Accepted;

/// The codings that bodies may have, as `Accept-Encoding` lists them.
pub const TAKEN: HeaderValue = HeaderValue::from_static("gzip, zstd");

/// Less than this is sent as it is, in bytes: the coding would cost more than it saves.
const WORTHWHILE_BYTES: u64 = 1024;

/// A way of writing a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            _ if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                Some(Coding::Gzip)
            }
            _ if name.eq_ignore_ascii_case("zstd") => Some(Coding::Zstd),
            _ => None,
        }
    }
}

/// A body that nothing here can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The coding of a request's body, if it has one.
///
/// # Errors
/// [`Unreadable`] for any other than the two, and for one on top of another.
pub fn of(request: &Request<Body>) -> Result<Option<Coding>, Unreadable> {
    let mut values = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next().filter(|_| !request.body().is_end_stream()) else {
        return Ok(None);
    };
    let name = value.to_str().map_err(|_| Unreadable)?.trim();
    if values.next().is_some() {
        return Err(Unreadable);
    }
    match Coding::named(name) {
        None if name.eq_ignore_ascii_case("identity") => Ok(None),
        None => Err(Unreadable),
        coding => Ok(coding),
    }
}

/// Hands a request on with its body decoded piece by piece, as it is read: whoever reads it bounds it.
pub async fn decoded<F>(
    mut request: Request<Body>,
    coding: Coding,
    answer: impl FnOnce(Request<Body>) -> F + Clone,
) -> Response<Body>
where
    F: Future<Output = Response<Body>>,
{
    let name = HeaderValue::from_static(coding.name());
    request.headers_mut().insert(header::CONTENT_ENCODING, name);
    let service = tower::service_fn(move |request: Request<_>| {
        let answer = answer.clone()(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    match RequestDecompression::new(service).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// The answer in the coding that its client likes best, if it is whole, of a kind that gets smaller, and not tiny.
pub async fn encoded(mut response: Response<Body>, accepted: Accepted) -> Response<Body> {
    let Some(length) = length(&response) else {
        return response;
    };
    let is_worthwhile = length >= WORTHWHILE_BYTES;
    let coding = accepted.best(is_worthwhile).filter(|_| length > 0);
    if !(is_worthwhile || coding.is_some()) || !is_compressible(response.headers()) {
        return response;
    }
    if is_worthwhile {
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, vary);
    }
    match coding {
        Some(coding) => compressed(response, coding).await,
        None => response,
    }
}

/// How long an answer is, in bytes; none for a stream. That to HEAD is as long as that to GET would be.
fn length(response: &Response<Body>) -> Option<u64> {
    let said = response.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
    said.or_else(|| response.body().size_hint().exact())
}

/// Whether an answer is of a kind that gets smaller. Images, archives and the like are compressed already.
fn is_compressible(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let Some(content_type) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let is_text = match essence.split_once('/') {
        Some(("text", subtype)) => subtype != "event-stream",
        Some((_, subtype)) => {
            matches!(subtype, "json" | "xml" | "javascript" | "yaml")
                || subtype.ends_with("+json")
                || subtype.ends_with("+xml")
        }
        None => false,
    };
    is_text && !headers.contains_key(header::CONTENT_ENCODING)
}

async fn compressed(mut response: Response<Body>, coding: Coding) -> Response<Body> {
    let etag = response.headers().get(header::ETAG).and_then(weak);
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    // The layer compresses what it is told to; whether that is worth it shows only when the answer is there.
    let layer = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(|_, _, _: &HeaderMap, _: &http::Extensions| true);
    let mut request = Request::new(());
    let name = HeaderValue::from_static(coding.name());
    request.headers_mut().insert(header::ACCEPT_ENCODING, name);
    let mut answer = Some(response);
    let answer = tower::service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(answer.take().unwrap_or_default()))
    });
    match layer.layer(answer).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// The same tag, but not for every byte: an answer in a coding has other bytes.
fn weak(etag: &HeaderValue) -> Option<HeaderValue> {
    let etag = etag.to_str().ok().filter(|etag| !etag.starts_with("W/"))?;
    HeaderValue::from_str(&format!("W/{etag}")).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    fn request(codings: &[&'static str], body: &'static str) -> Request<Body> {
        let mut request = Request::new(Body::new(Full::new(Bytes::from_static(body.as_bytes()))));
        for coding in codings {
            let coding = HeaderValue::from_static(coding);
            request.headers_mut().append(header::CONTENT_ENCODING, coding);
        }
        request
    }

    #[test]
    fn a_body_has_one_known_coding_or_none() {
        type Read = Result<Option<Coding>, Unreadable>;
        let cases: [(&[&str], &str, Read); 10] = [
            (&[], "x", Ok(None)),
            (&["identity"], "x", Ok(None)),
            (&["gzip"], "x", Ok(Some(Coding::Gzip))),
            (&[" X-GZIP "], "x", Ok(Some(Coding::Gzip))),
            (&["Zstd"], "x", Ok(Some(Coding::Zstd))),
            (&["br"], "x", Err(Unreadable)),
            (&["br"], "", Ok(None)),
            (&["gzip, zstd"], "x", Err(Unreadable)),
            (&["gzip", "gzip"], "x", Err(Unreadable)),
            (&[""], "x", Err(Unreadable)),
        ];
        for (codings, body, expected) in cases {
            assert_eq!(of(&request(codings, body)), expected, "{codings:?} {body}");
        }
    }

    #[test]
    fn only_text_gets_smaller() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("image/svg+xml", true),
            ("text/html", true),
            ("text/event-stream", false),
            ("application/x-ndjson", false),
            ("application/grpc-web+proto", false),
            ("image/png", false),
            ("application/zip", false),
            ("application/octet-stream", false),
            ("nonsense", false),
        ];
        for (content_type, expected) in cases {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(is_compressible(&headers), expected, "{content_type}");
        }
        assert!(!is_compressible(&HeaderMap::new()));
    }
}
