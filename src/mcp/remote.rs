//! The transport to a server at an address: streamable HTTP, with bounds.

use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::config::Remote;

/// Requests to one server that may be under way at once; rmcp's own default is 16.
const CONCURRENT_REQUESTS: usize = 256;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept: less than the five seconds after which common servers close theirs, so
/// that a call does not meet a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
const REDIRECTS: usize = 5;

/// Makes the transport; nothing is sent yet.
///
/// # Errors
/// When the HTTP client cannot be made: TLS cannot be set up.
pub(super) fn transport(remote: &Remote) -> Result<StreamableHttpClientTransport<Client>, String> {
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(Policy::custom(redirect))
        .build()
        .map_err(|error| format!("cannot set up the HTTP client: {error}"))?;
    let config = StreamableHttpClientTransportConfig::with_uri(remote.url.as_str())
        .custom_headers(remote.headers.iter().cloned().collect())
        .max_concurrent_requests(CONCURRENT_REQUESTS);
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
