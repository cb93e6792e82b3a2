//! Whether a connected server is still alive: one that hangs says nothing of it.

use std::sync::Arc;
use std::time::Duration;

use rmcp::service::ServiceError;

use super::config::Endpoint;
use super::reason;
use super::session::{Probe, Session};

/// How often a child process may miss being asked before it is given up: what it keeps in memory is lost with it. A
/// session at an address costs nothing.
const MISSES_OF_A_CHILD: u32 = 2;

/// What is known of the signs of life on one session.
pub(super) struct Pulse {
    is_child: bool,
    limit: Duration,
    probe: Probe,
    missed: u32,
}

impl Pulse {
    /// Of a session that has just been opened; `limit` is how long a sign of life may take.
    pub(super) fn of(endpoint: &Endpoint, limit: Duration) -> Self {
        Self {
            is_child: !endpoint.is_remote(),
            limit,
            probe: Probe::Ping,
            missed: 0,
        }
    }

    /// Asks for a sign of life. Without one, gives what is to be said of the server for now.
    ///
    /// # Errors
    /// Why the session is lost.
    pub(super) async fn feel(&mut self, session: &Arc<Session>) -> Result<Option<String>, String> {
        let error = match session.ping(self.probe, self.limit).await {
            Ok(()) => {
                self.missed = 0;
                return Ok(None);
            }
            Err(error) => error,
        };
        let reason = reason::of_request(&error);
        if !matches!(error, ServiceError::Timeout { .. }) {
            return Err(reason);
        }
        let reason = format!("no sign of life: {reason}");
        if session.may_be_busy() {
            return Ok(Some(reason));
        }
        self.missed += 1;
        if !self.is_child || self.missed >= MISSES_OF_A_CHILD {
            return Err(reason);
        }
        // Not every server knows of pings; and whoever has listed its tools can do so again.
        self.probe = Probe::List;
        Ok(Some(reason))
    }
}
