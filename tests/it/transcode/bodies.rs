//! `google.api.HttpBody`: bodies that are not JSON, in and out.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};

use super::{request, send, text};

#[tokio::test]
async fn a_raw_body_may_be_one_field_of_the_message() {
    for (content_type, bytes) in [("image/png", &[0xff, 0, 1][..]), ("text/plain", b""), ("", b"x")] {
        let builder = Request::post("/v1/shelves/a:attach");
        let builder = if content_type.is_empty() {
            builder
        } else {
            builder.header("content-type", content_type)
        };
        let request = builder.body(Full::new(Bytes::copy_from_slice(bytes))).unwrap();
        let response = send(request).await;
        assert_eq!(response.status(), 200, "{content_type}");
        let expected = if content_type.is_empty() {
            "application/octet-stream"
        } else {
            content_type
        };
        assert_eq!(response.headers()["content-type"], expected);
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, bytes, "{content_type}");
    }
}

#[tokio::test]
async fn a_stream_of_raw_bodies_is_one_body() {
    let response = send(request("GET /v1/download", "")).await;
    assert_eq!(response.headers()["content-type"], "text/csv");
    assert_eq!(text(response).await, "a,b\nc,d\n");
    let refused = send(request("GET /v1/download?how=refuse-late", "")).await;
    assert_eq!(refused.status(), 429);
}

#[tokio::test]
async fn a_raw_stream_that_breaks_off_does_not_look_whole() {
    let response = send(request("GET /v1/download?how=cut", "")).await;
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_body_in_a_coding_is_refused_here() {
    for path in ["/v1/books", "/v1/blobs"] {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(Full::new(Bytes::from_static(b"{}")))
            .unwrap();
        let response = send(request).await;
        assert_eq!(response.status(), 415, "{path}");
        assert_eq!(response.headers()["accept-encoding"], "identity");
    }
}
