//! Errors over HTTP: the status, the headers, and the JSON body that AIP-193 gives them.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::code;
use super::print;
use super::schema::Schema;
use super::text::{Problem, put, put_string};
use super::wire::{self, Malformed, WireType};

/// What a client is told of an answer that breaks the rules.
pub(super) const UNUSABLE_ANSWER: &str = "the service's answer cannot be passed on";

/// A request that gets an error for an answer.
#[derive(Debug)]
pub struct Refusal {
    http: StatusCode,
    status: Box<Status>,
    headers: HeaderMap,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self {
            http: code::http_status(status.code()),
            status: Box::new(status),
            headers: HeaderMap::new(),
        }
    }
}

/// The words for errors that arise before an RPC is called. `domain` is that of their `ErrorInfo`.
#[derive(Clone, Debug)]
pub struct Refusals {
    /// The service's name, as `ErrorInfo.domain` has it.
    pub domain: String,
}

impl Refusals {
    fn build(&self, http: StatusCode, code: Code, reason: &str, message: impl Into<String>) -> Refusal {
        self.detailed(http, code, message, self.details(reason))
    }

    fn details(&self, reason: &str) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, &*self.domain, HashMap::new());
        details
    }

    fn detailed(
        &self,
        http: StatusCode,
        code: Code,
        message: impl Into<String>,
        details: ErrorDetails,
    ) -> Refusal {
        let status = Status::with_error_details(code, message, details);
        Refusal {
            http,
            status: Box::new(status),
            headers: HeaderMap::new(),
        }
    }

    /// 404: no route leads there.
    #[must_use]
    pub fn unknown_path(&self) -> Refusal {
        self.build(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            "PATH_NOT_FOUND",
            "no method is bound to this path",
        )
    }

    /// 405: routes lead there, but for other methods.
    #[must_use]
    pub fn other_method(&self, allow: HeaderValue) -> Refusal {
        let mut refusal = self.build(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unimplemented,
            "METHOD_NOT_ALLOWED",
            "this path does not take this http method",
        );
        refusal.headers.insert(header::ALLOW, allow);
        refusal
    }

    /// 406: no media type that the client accepts can be made.
    #[must_use]
    pub fn not_acceptable(&self, offered: &str) -> Refusal {
        let message = format!("this method answers with {offered}");
        self.build(
            StatusCode::NOT_ACCEPTABLE,
            Code::InvalidArgument,
            "NOT_ACCEPTABLE",
            message,
        )
    }

    /// 415: the body is of a media type or an encoding that is not taken.
    #[must_use]
    pub fn unsupported_media_type(&self, message: &str) -> Refusal {
        let code = Code::InvalidArgument;
        self.build(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code,
            "UNSUPPORTED_MEDIA_TYPE",
            message,
        )
    }

    /// 415: the body is in a coding that is not taken; `taken` lists those that are.
    #[must_use]
    pub fn unsupported_encoding(&self, taken: HeaderValue) -> Refusal {
        let mut refusal = self.unsupported_media_type("the body is in a coding that is not taken");
        refusal.headers.insert(header::ACCEPT_ENCODING, taken);
        refusal
    }

    /// 413: the body is larger than the limit.
    #[must_use]
    pub fn too_large(&self, limit_bytes: usize) -> Refusal {
        let message = format!("the body is larger than {limit_bytes} bytes");
        self.build(
            StatusCode::PAYLOAD_TOO_LARGE,
            // What gRPC itself calls a message beyond the limit.
            Code::ResourceExhausted,
            "REQUEST_TOO_LARGE",
            message,
        )
    }

    /// 414: the path with its query is longer than the limit.
    #[must_use]
    pub fn uri_too_long(&self, limit_bytes: usize) -> Refusal {
        let message = format!("the path and the query are longer than {limit_bytes} bytes");
        self.build(
            StatusCode::URI_TOO_LONG,
            Code::InvalidArgument,
            "URI_TOO_LONG",
            message,
        )
    }

    /// 400: the body did not arrive whole, or is not in the coding that it says. Why is the log's business.
    #[must_use]
    pub fn unreadable(&self, cause: &dyn std::fmt::Display) -> Refusal {
        tracing::debug!(%cause, "a request's body that cannot be read");
        let message = "the body cannot be read: it broke off, or is not in the coding that it says";
        self.build(
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
            "BODY_UNREADABLE",
            message,
        )
    }

    /// 501: the client would have to stream.
    #[must_use]
    pub fn client_streaming(&self) -> Refusal {
        let message = "this method streams from the client: use grpc";
        self.build(
            StatusCode::NOT_IMPLEMENTED,
            Code::Unimplemented,
            "CLIENT_STREAMING_UNSUPPORTED",
            message,
        )
    }

    /// 400: fields that are not as they should be.
    #[must_use]
    pub fn violations(&self, violations: Vec<Violation>) -> Refusal {
        let message = match &*violations {
            [one] if one.field.is_empty() => one.description.clone(),
            [one] => format!("{}: {}", one.field, one.description),
            many => format!("{} fields are not valid", many.len()),
        };
        let mut details = self.details("VALIDATION_FAILED");
        for violation in violations {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        self.detailed(StatusCode::BAD_REQUEST, Code::InvalidArgument, message, details)
    }

    /// 400: a header that should hold bytes does not.
    #[must_use]
    pub fn not_bytes(&self, header: &HeaderName) -> Refusal {
        self.violations(vec![Violation {
            field: header.as_str().to_owned(),
            description: "not base64".to_owned(),
        }])
    }

    /// 400: the JSON body is not as it should be.
    #[must_use]
    pub fn problem(&self, json: &str, problem: &Problem) -> Refusal {
        let before = json.get(..problem.offset).unwrap_or(json);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        let description = format!("{} (line {line}, column {column})", problem.text);
        self.violations(vec![Violation {
            field: problem.field(),
            description,
        }])
    }

    /// 500: the RPC's answer is not one, which is the log's business and not the client's.
    #[must_use]
    pub fn internal(&self, rpc: &str, cause: &dyn std::fmt::Display) -> Refusal {
        tracing::error!(rpc, %cause, "answer that cannot be passed on");
        self.build(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Internal,
            "INTERNAL",
            UNUSABLE_ANSWER,
        )
    }

    /// The response for a refusal.
    #[must_use]
    pub fn response(&self, schema: &Schema, refusal: Refusal) -> Response<Body> {
        let mut json = Vec::with_capacity(256);
        self.put_json(schema, &refusal.status, refusal.http, &mut json);
        let mut response = Response::new(Body::new(Full::new(Bytes::from(json))));
        *response.status_mut() = refusal.http;
        let headers = response.headers_mut();
        super::headers::copy_metadata(refusal.status.metadata().as_ref(), headers);
        headers.extend(refusal.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if refusal.http == StatusCode::UNAUTHORIZED {
            headers
                .entry(header::WWW_AUTHENTICATE)
                .or_insert(HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after(refusal.status.details()) {
            headers.entry(header::RETRY_AFTER).or_insert(seconds);
        }
        headers.insert(NO_SNIFF.0, NO_SNIFF.1);
        response
    }

    /// Appends the JSON of a status: `{"error": {"code", "message", "status", "details"}}`.
    pub fn put_json(&self, schema: &Schema, status: &Status, http: StatusCode, out: &mut Vec<u8>) {
        put(
            out,
            format_args!("{{\"error\":{{\"code\":{},\"message\":", http.as_u16()),
        );
        put_string(out, status.message());
        put(
            out,
            format_args!(",\"status\":\"{}\",\"details\":[", code::name(status.code())),
        );
        let mut has_reason = false;
        for any in details(status.details()) {
            has_reason |= type_url(any).is_some_and(|url| url.ends_with("/google.rpc.ErrorInfo"));
            put_detail(schema, any, out);
            out.push(b',');
        }
        if has_reason {
            out.pop();
        } else {
            // Every error has a reason; one that comes from below the handlers has its code for one.
            put(
                out,
                format_args!(
                    "{{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"{}\"",
                    code::name(status.code())
                ),
            );
            out.extend_from_slice(b",\"domain\":");
            put_string(out, &self.domain);
            out.extend_from_slice(b",\"metadata\":{}}");
        }
        out.extend_from_slice(b"]}}");
    }
}

const NO_SNIFF: (HeaderName, HeaderValue) = (
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, or the name of the parameter or header; empty for the whole.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// The encoded `Any`s in an encoded `google.rpc.Status`. What is malformed is left out.
fn details(status: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || wire::record(status, &mut at).ok().flatten())
        .filter(|record| record.number == 3 && record.wire == WireType::Delimited)
        .map(|record| &status[record.start..record.end])
}

fn part(message: &[u8], number: u32) -> Result<Option<&[u8]>, Malformed> {
    let (mut at, mut found) = (0, None);
    while let Some(record) = wire::record(message, &mut at)? {
        if record.number == number && record.wire == WireType::Delimited {
            found = Some(&message[record.start..record.end]);
        }
    }
    Ok(found)
}

fn type_url(any: &[u8]) -> Option<&str> {
    std::str::from_utf8(part(any, 1).ok()??).ok()
}

fn put_detail(schema: &Schema, any: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    let printed = schema
        .find("google.protobuf.Any")
        .map(|id| print::message(schema, id, any, out));
    if matches!(printed, Some(Ok(()))) {
        return;
    }
    out.truncate(before);
    out.extend_from_slice(b"{\"@type\":");
    put_string(out, type_url(any).unwrap_or_default());
    out.extend_from_slice(b",\"value\":\"");
    super::scalar::encode_base64(out, part(any, 2).ok().flatten().unwrap_or_default());
    out.extend_from_slice(b"\"}");
}

/// The `Retry-After` that a `RetryInfo` asks for: whole seconds, rounded up.
fn retry_after(status: &[u8]) -> Option<HeaderValue> {
    let any = details(status)
        .find(|any| type_url(any).is_some_and(|url| url.ends_with("/google.rpc.RetryInfo")))?;
    let delay = part(part(any, 2).ok()??, 1).ok()??;
    let (mut at, mut seconds, mut nanos) = (0, 0, 0);
    while let Some(record) = wire::record(delay, &mut at).ok()? {
        match record.number {
            1 => seconds = record.bits,
            2 => nanos = record.bits,
            _ => {}
        }
    }
    i64::try_from(seconds).ok()?;
    Some(HeaderValue::from(seconds + u64::from(nanos > 0)))
}
