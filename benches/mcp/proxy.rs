//! The least that stands between gRPC and an MCP server: tonic, the bare rmcp client, and nothing of the service's.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use assistd::api::pb;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::subjects::Bare;

/// What makes this program the proxy; over HTTP, the URL of the MCP server follows.
pub const STDIO: &str = "--bare-proxy-stdio";
pub const HTTP: &str = "--bare-proxy-http=";

/// Answers whatever is called with what the tool `echo` says.
#[derive(Clone)]
struct Proxy(Arc<Bare>);

impl NamedService for Proxy {
    const NAME: &'static str = "assistant.v1.AssistantService";
}

impl UnaryService<pb::CallToolRequest> for Proxy {
    type Response = pb::CallToolResponse;
    type Future = BoxFuture<'static, Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<pb::CallToolRequest>) -> Self::Future {
        let bare = self.0.clone();
        Box::pin(async move {
            drop(request);
            let text = bare.call().await;
            let part = pb::tool_content::Content::Text(text);
            Ok(Response::new(pb::CallToolResponse {
                content: vec![pb::ToolContent { content: Some(part) }],
                ..Default::default()
            }))
        })
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
        Box::pin(async move {
            let codec = ProstCodec::<pb::CallToolResponse, pb::CallToolRequest>::default();
            Ok(Grpc::new(codec).unary(proxy, request).await)
        })
    }
}

/// Serves, if the arguments say so.
pub fn serve_if_asked(arguments: &[String]) -> bool {
    let url = arguments.iter().find_map(|argument| argument.strip_prefix(HTTP));
    if url.is_none() && !arguments.iter().any(|argument| argument == STDIO) {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bare = match url {
            Some(url) => Bare::over_http(url).await,
            None => Bare::over_stdio().await,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("listening on http://{}", listener.local_addr().unwrap());
        Server::builder()
            .add_service(Proxy(Arc::new(bare)))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await
            .unwrap();
    });
    true
}
