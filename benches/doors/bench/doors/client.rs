//! A door in a process of its own, and the barest client of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// What makes this program a door; its name follows.
pub const ARGUMENT: &str = "--door";

/// The kernel's clock for CPU time, in ticks per second (`getconf CLK_TCK`, 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// One connection; the door ends with it.
pub struct Client {
    process: Child,
    origin: String,
    sender: SendRequest<Full<Bytes>>,
    pub is_grpc: bool,
}

impl Client {
    pub async fn start(door: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, door])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap();
        // Whatever else it says must be read, or it would wait for a reader.
        thread::spawn(move || lines.for_each(drop));
        let stream = TcpStream::connect(&address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self {
            process,
            origin: format!("http://{address}"),
            sender,
            is_grpc: door == "grpc",
        }
    }

    pub async fn json(&self, path: &str, body: &Bytes, least: usize) {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        self.exchange(request, body, least).await;
    }

    pub async fn events(&self, count: i32, least: usize) {
        let request = self
            .request(Method::GET, &format!("/v1/events?count={count}"))
            .header("accept", "text/event-stream");
        self.exchange(request, &Bytes::new(), least).await;
    }

    pub async fn grpc(&self, path: &str, body: &Bytes, least: usize) {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let trailers = self.exchange(request, body, least).await.unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
    }

    /// Sends and reads to the end; fails if there is less than was expected.
    async fn exchange(
        &self,
        request: http::request::Builder,
        body: &Bytes,
        least: usize,
    ) -> Option<http::HeaderMap> {
        let request = request.body(Full::new(body.clone())).unwrap();
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        let (mut read, mut trailers) = (0, None);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => read += data.len(),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        assert!(read >= least, "{read} bytes where {least} were expected");
        trailers
    }

    /// CPU time that the door has used so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
