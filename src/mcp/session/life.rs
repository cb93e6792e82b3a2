//! Whether a server still answers, and what it is told when its connection is open.

// Logging is going out of the protocol, and the servers of today still log.
#![expect(
    deprecated,
    reason = "the newest revision deprecates logging; servers of today use it"
)]

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::{
    ClientRequest, DiscoverRequest, DiscoverRequestParams, ListToolsRequest, PingRequest, RequestMetaObject,
    SetLevelRequest, SetLevelRequestParams,
};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient, ServiceError};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Session, is_stateless};
use crate::mcp::config::LogLevel;

/// A request that was left alone after so long was not merely called off: it was not answered.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// How long a server may take to hear what it is to log.
const SET_LEVEL_LIMIT: Duration = Duration::from_secs(10);

/// How a server is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mcp) enum Probe {
    /// As the protocol has it.
    Ping,
    /// By the first page of its tools, which it has given before.
    List,
}

impl Session {
    /// Asks for a sign of life. An error that the server answers with is one.
    ///
    /// # Errors
    /// When there is none within `limit`.
    pub(in crate::mcp) async fn ping(&self, probe: Probe, limit: Duration) -> Result<(), ServiceError> {
        let request = match probe {
            Probe::List => ClientRequest::ListToolsRequest(ListToolsRequest::default()),
            Probe::Ping if self.is_stateless() => {
                ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
            }
            Probe::Ping => ClientRequest::PingRequest(PingRequest::default()),
        };
        let asked = async {
            self.peer
                .send_request_with_option(request, PeerRequestOptions::with_timeout(limit))
                .await?
                .await_response()
                .await
        };
        match timeout(limit * 2, asked).await {
            Ok(Ok(_) | Err(ServiceError::McpError(_))) => {
                self.heard();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ServiceError::Timeout { timeout: limit }),
        }
    }

    /// The server has given an answer.
    pub(super) fn heard(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// A request was left alone after it had waited so long for its answer.
    pub(super) fn left_alone(&self, waited: Duration) {
        if waited >= LEFT_ALONE {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it may be that the server has no time for a ping: calls go on, and none was waited for in vain since it
    /// last gave an answer.
    pub(in crate::mcp) fn may_be_busy(&self) -> bool {
        self.is_busy() && self.unanswered.load(Ordering::Relaxed) == 0
    }

    /// Says what the server is to log, if it is one that logs and hears of it so, in every session that is begun, for as long
    /// as it is polled.
    pub(in crate::mcp) async fn set_log_level(&self, begun_anew: &Notify) -> Infallible {
        loop {
            self.tell_log_level().await;
            begun_anew.notified().await;
            tracing::info!(
                server = self.server,
                "the server has forgotten its session, and another one has begun"
            );
        }
    }

    async fn tell_log_level(&self) {
        let info = self.peer.peer_info();
        let logs = info.is_some_and(|info| info.capabilities.logging.is_some());
        if logs && !self.is_stateless() {
            let level = self.log_level.into();
            let request =
                ClientRequest::SetLevelRequest(SetLevelRequest::new(SetLevelRequestParams::new(level)));
            let told = async {
                let options = PeerRequestOptions::with_timeout(SET_LEVEL_LIMIT);
                let handle = self.peer.send_request_with_option(request, options).await?;
                handle.await_response().await
            };
            if let Err(error) = told.await {
                tracing::debug!(server = self.server, %error, "the server does not hear what it is to log");
            }
        }
    }
}

/// What goes with every request of a call or a reading: in the newest revision a server logs only what the request
/// itself asks for.
pub(super) fn meta(peer: &Peer<RoleClient>, log_level: LogLevel) -> Option<RequestMetaObject> {
    is_stateless(peer).then(|| {
        let mut meta = RequestMetaObject::default();
        meta.set_log_level(log_level.into());
        meta
    })
}
