//! What goes on at the two ends of a connection: who does not read, and who leaves.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assistd::api::listener::{self, Bounds};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{Shelf, transcoder};
use crate::world::PATIENCE;

/// How soon after its client a stream ends.
const PROMPTLY: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_the_service_back() {
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let shelf = Shelf::default();
        let service = transcoder(shelf.clone());
        let service = TowerToHyperService::new(
            service.map_request(|request: Request<Incoming>| request.map(Body::new)),
        );
        let (mut client, server) = tokio::io::duplex(1024);
        let serving = tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service),
        );
        let line = format!("GET /v1/events?how=flood HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n");
        client.write_all(line.as_bytes()).await.unwrap();
        // Time that stands still goes on when there is nothing left to do.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let held_back_at = shelf.asked.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(shelf.asked.load(Ordering::SeqCst), held_back_at, "{accept}");
        assert!((1..10_000).contains(&held_back_at), "{held_back_at}");

        let mut read = vec![0; 4 << 20];
        client.read_exact(&mut read).await.unwrap();
        assert!(shelf.asked.load(Ordering::SeqCst) > held_back_at, "it goes on");
        drop(client);
        let _ = serving.await;
        assert_eq!(shelf.open.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_stream_along() {
    let (shelf, address, stop, serving) = served().await;
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let line = format!("GET /v1/events?how=hang HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n");
        client.write_all(line.as_bytes()).await.unwrap();
        let mut first = [0; 1024];
        assert!(client.read(&mut first).await.unwrap() > 0);
        leaves(&shelf, || drop(client)).await;
    }
    assistd::model::install_tls_provider();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for accept in ["text/event-stream", "application/x-ndjson"] {
        // The connection stays: one stream of it is reset.
        let request = client
            .get(format!("http://{address}/v1/events?how=hang"))
            .header("accept", accept);
        let mut response = request.send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        leaves(&shelf, || drop(response)).await;
    }
    stop.cancel();
    serving.await.unwrap();
}

/// The service behind the listener that everything comes through.
async fn served() -> (Shelf, SocketAddr, CancellationToken, JoinHandle<()>) {
    let shelf = Shelf::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let bounds = Bounds {
        max_connections: 10,
        max_streams: 10,
    };
    let serving = tokio::spawn(listener::serve(
        listener,
        transcoder(shelf.clone()),
        bounds,
        stop.clone(),
        stop.clone(),
    ));
    (shelf, address, stop, serving)
}

#[tokio::test]
async fn a_head_that_is_too_large_is_an_error_of_its_own() {
    let (_, address, stop, serving) = served().await;
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
    for (request, expected) in [
        (get(&"/".repeat(64_000), ""), "HTTP/1.1 404"),
        (get(&"/".repeat(70_000), ""), "HTTP/1.1 431"),
        (
            get("/v1/books/b", &format!("x-large: {}\r\n", "x".repeat(70_000))),
            "HTTP/1.1 431",
        ),
        (get("/v1/books/b", ""), "HTTP/1.1 200"),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        let answer = std::str::from_utf8(&answer).unwrap();
        assert_eq!(answer, expected);
    }
    stop.cancel();
    serving.await.unwrap();
}

/// The one stream of the service ends soon after its client has left.
async fn leaves(shelf: &Shelf, leave: impl FnOnce()) {
    assert_eq!(shelf.open.load(Ordering::SeqCst), 1);
    let before = Instant::now();
    leave();
    tokio::time::timeout(PATIENCE, shelf.left.notified())
        .await
        .unwrap();
    assert!(before.elapsed() < PROMPTLY, "{:?}", before.elapsed());
    assert_eq!(shelf.open.load(Ordering::SeqCst), 0);
}
