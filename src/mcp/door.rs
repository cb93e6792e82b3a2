//! Streamable HTTP for the MCP servers that are ours, in both eras of the protocol: with sessions for clients that begin
//! with `initialize`, without for those of 2026-07-28.

mod listener;
mod sessions;
mod streams;

pub use listener::{Body, serve};
pub use streams::CallStream;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::sessions::Sessions;

/// Where an MCP server is served.
pub const PATH: &str = "/mcp";

/// How long a client may take to send the body of a request.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The names of this machine for itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Who may come in, and how much is taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names that a request's `Host` may have; any if there are none.
    pub hosts: Vec<String>,
    /// Origins whose web pages may call, as in `https://app.example:443` or `http://localhost:*`. All others are
    /// refused; a request that has no `Origin` does not come from a page.
    pub origins: Vec<String>,
    /// Whether clients that begin with `initialize` are given a session: then the server can ask them something, and
    /// can tell them of changes.
    pub sessions: bool,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Requests at once that have no answer yet; more wait.
    pub max_in_flight: usize,
    /// How long the server may take until it begins to answer.
    pub answer_within: Option<Duration>,
    /// Ends every session and every stream.
    pub stop: CancellationToken,
}

impl Options {
    /// For a server at this address. On a loopback address only requests to a loopback name are taken, and pages from
    /// loopback origins: a page elsewhere cannot come in by rebinding DNS.
    pub fn at(address: SocketAddr) -> Self {
        let is_local = address.ip().is_loopback();
        let origin = |host: &str| match host.contains(':') {
            true => format!("http://[{host}]:*"),
            false => format!("http://{host}:*"),
        };
        Self {
            hosts: LOOPBACK
                .iter()
                .filter(|_| is_local)
                .map(ToString::to_string)
                .collect(),
            origins: LOOPBACK
                .iter()
                .filter(|_| is_local)
                .map(|host| origin(host))
                .collect(),
            sessions: true,
            max_body_bytes: super::builtin::MAX_MESSAGE_BYTES,
            max_in_flight: super::builtin::MAX_IN_FLIGHT,
            answer_within: None,
            stop: CancellationToken::new(),
        }
    }

    /// Lets the pages of one more origin call: of its scheme, host and port, and of no other port.
    pub fn allow_origin(&mut self, origin: &str) {
        let default_port = match origin.split_once("://") {
            Some(("https", host)) if !has_port(host) => ":443",
            Some(("http", host)) if !has_port(host) => ":80",
            _ => "",
        };
        self.origins.push(format!("{origin}{default_port}"));
    }
}

/// An MCP server as an HTTP service. Cheap to clone.
pub struct Door<S> {
    service: StreamableHttpService<S, Sessions>,
    in_flight: Arc<Semaphore>,
    max_body_bytes: usize,
    answer_within: Option<Duration>,
}

impl<S> Clone for Door<S> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            in_flight: Arc::clone(&self.in_flight),
            max_body_bytes: self.max_body_bytes,
            answer_within: self.answer_within,
        }
    }
}

impl<S: ServerHandler> Door<S> {
    /// A door to servers that `server` makes: one for each session, and one for each request that belongs to none.
    pub fn new(server: impl Fn() -> S + Send + Sync + 'static, options: Options) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(options.sessions)
            .with_json_response(true)
            .with_max_request_body_bytes(options.max_body_bytes)
            .with_allowed_hosts(options.hosts)
            .with_allowed_origins(options.origins)
            .with_cancellation_token(options.stop)
            .enforce_origin_validation();
        Self {
            service: StreamableHttpService::new(move || Ok(server()), Arc::new(Sessions::new()), config),
            in_flight: Arc::new(Semaphore::new(options.max_in_flight.min(Semaphore::MAX_PERMITS))),
            max_body_bytes: options.max_body_bytes,
            answer_within: options.answer_within,
        }
    }

    /// Answers a request for the server's address.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Display,
    {
        let (head, body) = request.into_parts();
        let body = match timeout(BODY_DEADLINE, Limited::new(body, self.max_body_bytes).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
            }
            Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body cannot be read"),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "request timeout"),
        };
        let answered = async {
            let _place = self.in_flight.acquire().await;
            let request = Request::from_parts(head, Full::new(body));
            self.service.handle(request).await
        };
        match self.answer_within {
            None => answered.await,
            Some(limit) => timeout(limit, answered)
                .await
                .unwrap_or_else(|_| plain(StatusCode::REQUEST_TIMEOUT, "request timeout")),
        }
    }
}

/// Whether a host has a port behind it; the colons of an IPv6 address are in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(']').map_or(host, |(_, rest)| rest).contains(':')
}

/// A text as an answer.
fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = status;
    response
}
