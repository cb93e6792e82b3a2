//! What is outside `/v1` and no other door takes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use tonic::body::Body;

use super::handlers::Handlers;

/// The door of the service that this one replaces.
pub struct Legacy;

impl Legacy {
    /// The door to these handlers.
    pub fn new(_: Arc<Handlers>, _: usize, _: Duration) -> Self {
        Self
    }

    /// There is nothing yet.
    pub async fn answer(&self, _: Request<Body>) -> Response<Body> {
        let mut response = Response::new(Body::new(http_body_util::Full::from(r#"{"detail":"Not Found"}"#)));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
