//! The connection to a running service.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::api::pb;
use crate::config::Settings;
use crate::config::table::SERVER;

use super::error::Error;

/// The contract's client, over one connection.
pub type Client = pb::assistant_service_client::AssistantServiceClient<Channel>;

/// The client for runs, over the same connection.
pub type Runs = pb::run_service_client::RunServiceClient<Channel>;

pub use pb::model_service_client::ModelServiceClient as Models;
pub use pb::prompt_service_client::PromptServiceClient as Prompts;
pub use pb::resource_service_client::ResourceServiceClient as Resources;
pub use pb::usage_service_client::UsageServiceClient as Usage;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A silent connection is asked for a sign of life, so that no wait outlives the service.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The service may send more than a client sends to it: a page of tools with all their schemas.
const LARGEST_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Connects to the service that the settings name.
///
/// # Errors
/// Nobody answers there.
pub async fn connect(settings: &Settings) -> Result<Client, Error> {
    channel(settings).await.map(client)
}

/// The contract's client on a connection.
pub fn client(channel: Channel) -> Client {
    Client::new(channel).max_decoding_message_size(LARGEST_ANSWER_BYTES)
}

/// The client for runs on a connection.
pub fn runs(channel: Channel) -> Runs {
    Runs::new(channel).max_decoding_message_size(LARGEST_ANSWER_BYTES)
}

/// The client for resources on a connection.
pub fn resources(channel: Channel) -> Resources<Channel> {
    Resources::new(channel).max_decoding_message_size(LARGEST_ANSWER_BYTES)
}

/// The client for models on a connection.
pub fn models(channel: Channel) -> Models<Channel> {
    Models::new(channel).max_decoding_message_size(LARGEST_ANSWER_BYTES)
}

/// The client for what callers have used on a connection.
pub fn usage(channel: Channel) -> Usage<Channel> {
    Usage::new(channel).max_decoding_message_size(LARGEST_ANSWER_BYTES)
}

/// The client for prompts on a connection.
pub fn prompts(channel: Channel) -> Prompts<Channel> {
    Prompts::new(channel).max_decoding_message_size(LARGEST_ANSWER_BYTES)
}

/// A connection to the service that the settings name.
///
/// # Errors
/// Nobody answers there.
pub async fn channel(settings: &Settings) -> Result<Channel, Error> {
    let server = settings.require(&SERVER)?;
    if server.starts_with("https:") {
        return Err(Error::Usage(format!(
            "cannot use {server}: the command line speaks to http:// only"
        )));
    }
    let unreachable = |error: tonic::transport::Error| Error::Unreachable {
        server: server.clone(),
        reason: root_cause(&error),
    };
    Endpoint::from_shared(server.clone())
        .map_err(unreachable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .connect()
        .await
        .map_err(unreachable)
}

/// The innermost cause: "connection refused" says more than "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
