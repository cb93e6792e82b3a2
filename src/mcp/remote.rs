//! The transport to a server at an address: streamable HTTP, with bounds.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::auth::{Authorized, Authorizer};
use super::config::Remote;
use super::tap::Changes;

/// Requests to one server that may be under way at once; rmcp's own default is 16.
const CONCURRENT_REQUESTS: usize = 256;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept: less than the five seconds after which common servers close theirs, so
/// that a call does not meet a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
const REDIRECTS: usize = 5;

/// How long a server may take to begin a stream of events, and how much of it is looked at.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const PROBE_LIMIT_BYTES: usize = 4096;

/// Whether a server that refuses streamable HTTP speaks the transport before it: there, a GET opens a stream whose
/// first event names the address for messages (MCP 2024-11-05, Transports, HTTP with SSE).
pub(super) async fn speaks_only_sse(remote: &Remote) -> bool {
    tokio::time::timeout(PROBE_LIMIT, begins_with_endpoint(remote))
        .await
        .is_ok_and(|found| found.unwrap_or(false))
}

async fn begins_with_endpoint(remote: &Remote) -> Result<bool, reqwest::Error> {
    let client = client()?;
    let headers = remote.headers.iter().cloned().collect();
    let asked = client.get(&remote.url).headers(headers);
    let mut answer = asked
        .header(http::header::ACCEPT, "text/event-stream")
        .send()
        .await?;
    let mut begun = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        begun.extend_from_slice(&piece);
        if begun.len() > PROBE_LIMIT_BYTES || begun.windows(2).any(|pair| pair == b"\n\n" || pair == b"\r\n")
        {
            break;
        }
    }
    Ok(begun.starts_with(b"event: endpoint") || begun.starts_with(b"event:endpoint"))
}

/// A client with the bounds of every request to a server.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(Policy::custom(redirect))
        .build()
}

/// Makes the transport; nothing is sent yet. `changes` hear when its session is begun anew.
///
/// # Errors
/// When the HTTP client cannot be made: TLS cannot be set up.
pub(super) fn transport(
    remote: &Remote,
    authorizer: Option<Arc<Authorizer>>,
    changes: Changes,
) -> Result<StreamableHttpClientTransport<Authorized>, String> {
    let client = client().map_err(|error| format!("cannot set up the HTTP client: {error}"))?;
    let config = StreamableHttpClientTransportConfig::with_uri(remote.url.as_str())
        .custom_headers(remote.headers.iter().cloned().collect())
        .max_concurrent_requests(CONCURRENT_REQUESTS);
    let client = Authorized::new(client, authorizer, changes);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// Follows a redirect only where the request stays what it is, and never to another host, which would be given
/// the configured headers.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let keeps_the_request = matches!(
        attempt.status(),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let stays = attempt
        .previous()
        .iter()
        .all(|visited| visited.origin() == attempt.url().origin());
    if keeps_the_request && stays && attempt.previous().len() <= REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}
