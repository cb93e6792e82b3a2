//! `GET /openapi.json`, and `GET /docs` to read it in a browser, without anything from another host.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tonic::body::Body;

/// The page: one file, with its style and its script.
const PAGE: &str = include_str!("docs/page.html");

/// The document and the page, ready to be sent.
#[derive(Clone, Debug)]
pub struct Docs {
    document: Resource,
    page: Resource,
    policy: HeaderValue,
}

#[derive(Clone, Debug)]
struct Resource {
    bytes: Bytes,
    media_type: &'static str,
    etag: HeaderValue,
}

impl Docs {
    /// The documentation of this OpenAPI document.
    pub fn new(document: &Value) -> Self {
        Self {
            document: Resource::new(document.to_string().into(), "application/json"),
            page: Resource::new(Bytes::from_static(PAGE.as_bytes()), "text/html; charset=utf-8"),
            policy: policy(),
        }
    }

    /// Answers a GET or a HEAD for one of the two paths; none for any other.
    pub fn answer(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let resource = match request.uri().path() {
            "/openapi.json" => &self.document,
            "/docs" => &self.page,
            _ => return None,
        };
        let mut response = resource.answer(request);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        Some(response)
    }
}

impl Resource {
    fn new(bytes: Bytes, media_type: &'static str) -> Self {
        let digest = STANDARD.encode(Sha256::digest(&bytes));
        let etag =
            HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self {
            bytes,
            media_type,
            etag,
        }
    }

    /// Whether the client has it already, in whatever coding.
    fn is_known_by(&self, headers: &HeaderMap) -> bool {
        let own = opaque(self.etag.to_str().unwrap_or_default());
        let values = headers.get_all(header::IF_NONE_MATCH).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim() == "*" || opaque(tag) == own)
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        let is_known = self.is_known_by(request.headers());
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::CONTENT_LENGTH, self.bytes.len().into());
        if request.method() != Method::HEAD {
            *response.body_mut() = Body::new(Full::new(self.bytes.clone()));
        }
        response
    }
}

/// A tag without the mark of a weak one, which is all that this comparison leaves out.
fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

/// The page's own script and style, this service, and nothing else.
fn policy() -> HeaderValue {
    let digest = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inner = PAGE
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close));
        STANDARD.encode(Sha256::digest(inner.map_or("", |(inner, _)| inner)))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest("script"),
        digest("style")
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
