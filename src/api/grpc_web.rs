//! gRPC-Web in front of gRPC. `tonic_web` turns answers, and the heads of requests once they are as it takes them: here
//! their media types are read as media types, text is made bytes, whatever chunks it was written in, and what cannot be
//! served is told so in the words of the protocol.

pub mod media;
mod request;
mod text;

use std::convert::Infallible;

use http::{HeaderValue, Request, Response, header};
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::util::MapRequest;
use tower::{Layer, Service, ServiceExt};

use self::media::{Codec, Form, Media};
use self::request::RequestBody;
use super::request_id::RequestId;
use super::status;
use crate::run::error::{Error, Reason};

/// What `tonic_web` calls the two forms.
const BINARY: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
const TEXT: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");

/// gRPC services for callers of both kinds.
#[derive(Clone)]
pub struct GrpcWeb<S> {
    bare: S,
    translated: GrpcWebService<MapRequest<S, Reading>>,
}

/// What is done to a request behind `tonic_web`, which would give errors of the body another meaning.
type Reading = fn(Request<Body>) -> Request<Body>;

impl<S> GrpcWeb<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    /// These services, for gRPC-Web too.
    pub fn new(services: S) -> Self {
        Self {
            bare: services.clone(),
            translated: GrpcWebLayer::new().layer(services.map_request(read_body as Reading)),
        }
    }

    /// Answers a POST of that media type.
    pub async fn answer(self, media: Media, request: Request<Body>) -> Response<Body> {
        if media.codec == Codec::Unknown {
            return unknown_codec(media, &request);
        }
        let answer = match media.form {
            Form::Native => self.bare.oneshot(request).await,
            Form::Binary | Form::Text => self.translated.oneshot(plain(media.form, request)).await,
        };
        match answer {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The request as `tonic_web` takes it: said to be in binary, so that it leaves the body alone, and with the answer's
/// form under the one name that it knows.
fn plain(form: Form, mut request: Request<Body>) -> Request<Body> {
    let answer = media::answer_form(form, request.headers());
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, BINARY);
    headers.insert(header::ACCEPT, content_type(answer));
    request.extensions_mut().insert(form);
    request
}

/// The request with its body in binary, and no longer than its method takes it.
fn read_body(request: Request<Body>) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    let form = head.extensions.remove::<Form>().unwrap_or(Form::Binary);
    let id = RequestId::of(&head.extensions);
    let body = RequestBody::new(body, form, request::messages(head.uri.path()), id);
    Request::from_parts(head, Body::new(body))
}

fn content_type(form: Form) -> HeaderValue {
    match form {
        Form::Native => HeaderValue::from_static("application/grpc"),
        Form::Binary => BINARY,
        Form::Text => TEXT,
    }
}

/// An error without a body, which a client reads from the headers.
fn unknown_codec(media: Media, request: &Request<Body>) -> Response<Body> {
    let error = Error::new(Reason::Unimplemented, "messages are taken as protobuf only");
    let id = RequestId::of(request.extensions());
    let mut response = status::of(&error, id.as_str()).into_http();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type(media.form));
    response
}
