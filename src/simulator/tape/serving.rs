//! The two ends of a recording as servers.

use std::io;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use futures::StreamExt;

use super::{Asked, Player, Recorder};
use crate::simulator::playback::Playback;
use crate::simulator::refusal::Refusal;
use crate::simulator::server::{Answering, Disconnected, read_body, refused};

impl Answering for Player {
    type Body = Playback;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Playback>, Disconnected> {
        let (head, body) = request.into_parts();
        let found = match read_body(body).await {
            Ok(body) => Player::answer(self, &asked(&head, &body)),
            Err(refusal) => Err(refusal),
        };
        Ok(match found {
            Ok(answered) => {
                let body = Playback::pieces(answered.pieces(self.timing), answered.broken);
                let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::BAD_GATEWAY);
                with_head(body, status, &answered.headers)
            }
            Err(refusal) => refused(&refusal),
        })
    }
}

impl Answering for Recorder {
    type Body = UnsyncBoxBody<Bytes, io::Error>;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Self::Body>, Disconnected> {
        let (head, body) = request.into_parts();
        let passed = match read_body(body).await {
            Ok(body) => self.pass_on(asked(&head, &body), &head, body).await,
            Err(refusal) => Err::<_, Refusal>(refusal),
        };
        Ok(match passed {
            Ok((status, headers, passing)) => {
                let frames = passing.map(|piece| piece.map(Frame::data));
                with_head(StreamBody::new(frames).boxed_unsync(), status, &headers)
            }
            Err(refusal) => refused(&refusal).map(BodyExt::boxed_unsync),
        })
    }
}

/// The request as it is written down.
fn asked(head: &http::request::Parts, body: &[u8]) -> Asked {
    let path = head.uri.path();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let query = head.uri.query().map(without_secrets);
    Asked {
        method: head.method.to_string(),
        path: match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        },
        body: serde_json::from_slice(body).unwrap_or_default(),
    }
}

/// The query with an asterisk in place of what may be a key, by its name.
fn without_secrets(query: &str) -> String {
    const SIGNS: [&str; 5] = ["key", "token", "secret", "password", "sig"];
    let struck_out = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        match SIGNS.iter().any(|sign| lower.contains(sign)) {
            true => format!("{name}=*"),
            false => parameter.to_owned(),
        }
    };
    query.split('&').map(struck_out).collect::<Vec<_>>().join("&")
}

/// Headers that cannot be sent were none when they were recorded.
fn with_head<B>(body: B, status: StatusCode, headers: &[(String, String)]) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
