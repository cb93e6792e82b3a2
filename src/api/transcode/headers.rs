//! HTTP headers to gRPC metadata and back.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::scalar;

/// Headers that reach the RPC under their own names. Everything else a client can send is either the
/// transport's business or needs the prefix.
const PASSED: [&str; 12] = [
    "authorization",
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "accept-language",
    "user-agent",
    "x-server-timeout",
    "grpc-timeout",
    "x-forwarded-for",
    "forwarded",
    "origin",
];

/// Metadata that leaves under its own name.
const RETURNED: [&str; 9] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "etag",
    "location",
    "cache-control",
    "retry-after",
    "www-authenticate",
    "content-language",
];

const PREFIX: &str = "grpc-metadata-";

/// What the names of metadata end with that holds bytes, in base64.
const BINARY: &str = "-bin";

/// The headers of the gRPC request that an HTTP request becomes.
///
/// # Errors
/// The name of a header that should hold bytes, and does not.
pub fn to_grpc(headers: &HeaderMap) -> Result<HeaderMap, HeaderName> {
    let mut metadata = HeaderMap::with_capacity(headers.len() + 2);
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    for (name, value) in headers {
        if PASSED.contains(&name.as_str()) {
            metadata.append(name.clone(), value.clone());
        } else if let Some(key) = prefixed(name) {
            let value = if key.as_str().ends_with(BINARY) {
                binary(value).ok_or_else(|| name.clone())?
            } else {
                value.clone()
            };
            metadata.append(key, value);
        }
    }
    Ok(metadata)
}

/// Bytes as gRPC writes them in headers: whichever base64 the client has written, and each of several values for
/// itself.
fn binary(value: &HeaderValue) -> Option<HeaderValue> {
    let mut written = String::with_capacity(value.len());
    for (index, part) in value.to_str().ok()?.split(',').enumerate() {
        if index > 0 {
            written.push(',');
        }
        let mut bytes = Vec::new();
        scalar::decode_base64(&mut bytes, part.trim()).ok()?;
        STANDARD_NO_PAD.encode_string(bytes, &mut written);
    }
    HeaderValue::try_from(written).ok()
}

/// The metadata key behind the prefix; none for keys that are not the caller's to set.
fn prefixed(name: &HeaderName) -> Option<HeaderName> {
    let key = name.as_str().strip_prefix(PREFIX)?;
    let is_reserved = key.starts_with("grpc-") || PASSED.contains(&key) || is_transport(key);
    if is_reserved {
        None
    } else {
        HeaderName::from_bytes(key.as_bytes()).ok()
    }
}

fn is_transport(key: &str) -> bool {
    matches!(
        key,
        "" | "te"
            | "host"
            | "connection"
            | "keep-alive"
            | "transfer-encoding"
            | "upgrade"
            | "trailer"
            | "date"
    ) || key.starts_with("content-")
        || key.starts_with("proxy-")
        || key.starts_with("access-control-")
}

/// Adds response metadata (headers or trailers of the gRPC response) to an HTTP response's headers:
/// some under their own names, the others behind the prefix, gRPC's own not at all.
pub fn copy_metadata(metadata: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in metadata {
        let key = name.as_str();
        if RETURNED.contains(&key) {
            headers.append(name.clone(), value.clone());
        } else if !key.starts_with("grpc-")
            && !is_transport(key)
            && let Ok(name) = HeaderName::try_from([PREFIX, key].concat())
        {
            headers.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{copy_metadata, to_grpc};
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_listed_and_prefixed_headers_reach_the_rpc() {
        let metadata = to_grpc(&map(&[
            ("authorization", "Bearer x"),
            ("cookie", "secret"),
            ("grpc-metadata-team", "red"),
            ("grpc-metadata-key-bin", "AQI="),
            ("grpc-metadata-grpc-status", "0"),
            ("grpc-metadata-authorization", "Bearer y"),
            ("grpc-metadata-content-type", "text/plain"),
            ("grpc-encoding", "gzip"),
        ]))
        .unwrap();
        let expected = map(&[
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", "Bearer x"),
            ("team", "red"),
            ("key-bin", "AQI"),
        ]);
        assert_eq!(metadata, expected);
    }

    #[test]
    fn bytes_are_read_in_any_base64_and_nothing_else() {
        for (written, expected) in [
            ("AQI=", Some("AQI")),
            ("AQI", Some("AQI")),
            ("-_8=", Some("+/8")),
            ("AQI=, AwQ=", Some("AQI,AwQ")),
            ("", Some("")),
            ("A", None),
            ("a b", None),
            ("{}", None),
        ] {
            let metadata = to_grpc(&map(&[("grpc-metadata-key-bin", written)]));
            let read = metadata.map(|metadata| metadata["key-bin"].clone());
            let name = HeaderName::from_static("grpc-metadata-key-bin");
            assert_eq!(
                read,
                expected.map(HeaderValue::from_static).ok_or(name),
                "{written}"
            );
        }
    }

    #[test]
    fn metadata_comes_back_behind_the_prefix() {
        let mut headers = HeaderMap::new();
        copy_metadata(
            &map(&[
                ("etag", "1"),
                ("team", "red"),
                ("grpc-status", "0"),
                ("content-type", "application/grpc"),
            ]),
            &mut headers,
        );
        assert_eq!(headers, map(&[("etag", "1"), ("grpc-metadata-team", "red")]));
    }
}
