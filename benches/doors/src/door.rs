//! The doors: how one and the same service is reached.

use std::convert::Infallible;

use axum::Json;
use http::{Request, Response};
use prost_reflect::DescriptorPool;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use crate::api::listener::{self, Bounds};
use crate::api::transcode::{Options, Transcoder};
use crate::echo::pb::__rest_over_grpc_bridge_Echo::EchoRestBridge;
use crate::echo::pb::echo_server::EchoServer;
use crate::echo::{DESCRIPTORS, Echo, rest};

/// The names of the doors, as they stand on the command line.
pub const DOORS: [&str; 4] = ["grpc", "transcoder", "axum", "rest_over_grpc"];

const BOUNDS: Bounds = Bounds {
    max_connections: 1024,
    max_streams: 1024,
};

/// Serves the echo behind the named door for as long as the process lives, and says where.
pub async fn serve(door: &str) {
    match door {
        "grpc" => listen(grpc()).await,
        "transcoder" => listen(transcoder()).await,
        "axum" => listen(by_hand()).await,
        "rest_over_grpc" => listen(rest_over_grpc()).await,
        other => panic!("there is no door {other}"),
    }
}

async fn listen<S>(service: S)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    eprintln!("{}", listener.local_addr().unwrap());
    let never = CancellationToken::new();
    listener::serve(listener, service, BOUNDS, never.clone(), never).await;
}

/// gRPC as tonic serves it.
#[must_use]
pub fn grpc() -> EchoServer<Echo> {
    EchoServer::new(Echo)
}

/// Our transcoder in front of that.
#[must_use]
pub fn transcoder() -> Transcoder<EchoServer<Echo>> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    Transcoder::new(&pool, grpc(), Options::default()).unwrap()
}

/// Microsoft's transcoder, which calls the service's trait by generated code.
#[must_use]
pub fn rest_over_grpc()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = impl Send> + Clone + Send
{
    let transcoder = rest::Transcoder::new(EchoRestBridge::externally_authenticated(Echo));
    let service = rest_over_grpc::serving::RestService::new(transcoder);
    ServiceExt::<Request<Body>>::map_response(service, |response: Response<_>| response.map(Body::new))
}

/// What somebody writes by hand who needs only this one method.
#[must_use]
pub fn by_hand()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = impl Send> + Clone + Send
{
    let say = |Json(said): Json<Said>| async move { Json(said) };
    let router: axum::Router = axum::Router::new().route("/v1/say", axum::routing::post(say));
    ServiceExt::<Request<Body>>::map_response(router, |response: Response<_>| response.map(Body::new))
}

/// The message as a handler of one's own would have it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Said {
    thread: String,
    text: String,
    role: String,
    sequence: String,
    temperature: f64,
    streamed: bool,
    create_time: String,
    tools: Vec<String>,
    metadata: std::collections::HashMap<String, String>,
    parts: Vec<Part>,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Part {
    Text(String),
    Call(Call),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    name: String,
    output: String,
    duration_ms: i32,
}
