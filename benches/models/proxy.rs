//! The least that stands between a model and gRPC: tonic, reqwest, and nothing of the service's. It keeps no thread, no
//! run and no step, and reads of the model's events only where each ends.

use std::convert::Infallible;
use std::task::{Context, Poll};

use assistd::api::pb;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::streams::{ask, whole_events};

/// What makes this program the proxy; the model's URL follows.
pub const ARGUMENT: &str = "--bare-proxy=";

/// Answers whatever is called with what the model says, piece by piece.
#[derive(Clone)]
struct Proxy {
    http: reqwest::Client,
    url: String,
}

impl NamedService for Proxy {
    const NAME: &'static str = "assistant.v1.AssistantService";
}

impl ServerStreamingService<pb::ChatRequest> for Proxy {
    type Response = pb::RunEvent;
    type ResponseStream = BoxStream<'static, Result<pb::RunEvent, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<pb::ChatRequest>) -> Self::Future {
        let proxy = self.clone();
        async move {
            let mut seen = Vec::new();
            let pieces = ask(&proxy.http, &proxy.url).await.flat_map(move |bytes| {
                seen.extend_from_slice(&bytes);
                let pieces = whole_events(&mut seen);
                stream::iter((0..pieces).map(|_| {
                    let delta = pb::TextDelta {
                        text: "word ".to_owned(),
                        ..pb::TextDelta::default()
                    };
                    Ok(pb::RunEvent {
                        payload: Some(pb::run_event::Payload::TextDelta(delta)),
                        ..pb::RunEvent::default()
                    })
                }))
            });
            Ok(Response::new(pieces.boxed()))
        }
        .boxed()
    }
}

impl Service<http::Request<Body>> for Proxy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let proxy = self.clone();
        async move {
            let codec = ProstCodec::<pb::RunEvent, pb::ChatRequest>::default();
            Ok(Grpc::new(codec).server_streaming(proxy, request).await)
        }
        .boxed()
    }
}

/// Serves, if the arguments say so.
pub fn serve_if_asked(arguments: &[String]) -> bool {
    let Some(url) = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix(ARGUMENT))
    else {
        return false;
    };
    let proxy = Proxy {
        http: reqwest::Client::new(),
        url: url.to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("listening on http://{}", listener.local_addr().unwrap());
        Server::builder()
            .add_service(proxy)
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await
            .unwrap();
    });
    true
}
