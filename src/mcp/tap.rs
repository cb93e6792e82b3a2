//! A transport around another one that takes the notifications out of the stream, in their order and at once.
//!
//! rmcp handles each notification in a task of its own, so that they may overtake one another and the answer of
//! their call, and a server that floods them costs a task and a log line each. Here a progress report goes to its
//! call before anything that the server said later, and the rest is a flag or a log line.

#![expect(
    deprecated,
    reason = "the newest revision deprecates logging; older servers use it"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{
    ClientRequest, JsonRpcMessage, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
    ProgressToken, RequestMetaObject, ServerNotification,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::config::LogLevel;
use super::desk::{Desk, Visit};
use crate::run::event::Progress;

/// Where the progress reports of a call go, and what it asks; travels with the request to the transport. Reports that
/// do not find room are dropped: a newer one says more.
#[derive(Clone)]
pub(super) struct ProgressSink {
    pub(super) reports: mpsc::Sender<Progress>,
    pub(super) visit: Arc<Visit>,
}

/// Notified when the server says that one of its lists has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// The tools.
    pub(super) tools: Arc<Notify>,
    /// The resources, their templates, or the prompts.
    pub(super) library: Arc<Notify>,
    /// Not a list: the session itself is another one.
    pub(super) session: Arc<Notify>,
}

impl Changes {
    /// Any list may have changed, and nobody was told.
    pub(super) fn missed(&self) {
        self.tools.notify_one();
        self.library.notify_one();
    }

    /// The session was begun anew: what the server was told in the one before it does not know, and any list may have changed.
    pub(super) fn begun_anew(&self) {
        self.missed();
        self.session.notify_one();
    }
}

/// The transport.
pub(super) struct Tap<T> {
    inner: T,
    server: String,
    changes: Changes,
    desk: Arc<Desk>,
    sinks: HashMap<ProgressToken, mpsc::Sender<Progress>>,
    /// At this many sinks those of finished calls are thrown out.
    sweep_at: usize,
    /// Since when the server's own log lines are counted, and how many there were.
    log_window: Instant,
    logged: u32,
}

/// A person has done what they were sent to an address for (MCP 2025-11-25, Elicitation, Completion Notifications for URL
/// Mode Elicitation).
const VISIT_COMPLETE: &str = "notifications/elicitation/complete";
const SWEEP_AT_LEAST: usize = 64;
const LOG_LIMIT_BYTES: usize = 1024;
/// The most lines of a server's own log that are kept in one window.
const LOGGED_PER_WINDOW: u32 = 100;
const LOG_WINDOW: Duration = Duration::from_secs(10);

impl<T> Tap<T> {
    /// Around `inner`.
    pub(super) fn new(inner: T, server: String, changes: Changes, desk: Arc<Desk>) -> Self {
        Self {
            inner,
            server,
            changes,
            desk,
            sinks: HashMap::new(),
            sweep_at: SWEEP_AT_LEAST,
            log_window: Instant::now(),
            logged: 0,
        }
    }

    fn register(&mut self, message: &TxJsonRpcMessage<RoleClient>) {
        let JsonRpcMessage::Request(request) = message else {
            return;
        };
        let ClientRequest::CallToolRequest(call) = &request.request else {
            return;
        };
        let token = call
            .extensions
            .get::<RequestMetaObject>()
            .and_then(RequestMetaObject::get_progress_token);
        if let (Some(token), Some(sink)) = (token, call.extensions.get::<ProgressSink>()) {
            sink.visit.sent_as(request.id.clone());
            if self.sinks.len() >= self.sweep_at {
                self.sinks.retain(|_, reports| !reports.is_closed());
                self.sweep_at = SWEEP_AT_LEAST.max(2 * self.sinks.len());
            }
            self.sinks.insert(token, sink.reports.clone());
        }
    }

    /// Takes a notification; gives back what rmcp has to handle itself.
    fn take(&mut self, message: RxJsonRpcMessage<RoleClient>) -> Option<RxJsonRpcMessage<RoleClient>> {
        let JsonRpcMessage::Notification(notification) = &message else {
            return Some(message);
        };
        match &notification.notification {
            ServerNotification::CancelledNotification(_)
            | ServerNotification::SubscriptionsAcknowledgedNotification(_) => return Some(message),
            ServerNotification::ProgressNotification(progress) => self.report(&progress.params),
            ServerNotification::ToolListChangedNotification(_) => self.changes.tools.notify_one(),
            ServerNotification::ResourceListChangedNotification(_)
            | ServerNotification::PromptListChangedNotification(_) => self.changes.library.notify_one(),
            ServerNotification::LoggingMessageNotification(entry) => self.log(&entry.params),
            ServerNotification::CustomNotification(other) if other.method == VISIT_COMPLETE => {
                let id = other
                    .params
                    .as_ref()
                    .and_then(|params| params.get("elicitationId"));
                if let Some(id) = id.and_then(Value::as_str) {
                    self.desk.completed(id);
                }
            }
            _ => {}
        }
        None
    }

    fn report(&self, progress: &ProgressNotificationParam) {
        if let Some(sink) = self.sinks.get(&progress.progress_token) {
            let _ = sink.try_send(Progress {
                progress: progress.progress,
                total: progress.total,
                message: progress.message.clone().unwrap_or_default(),
            });
        }
    }

    /// Logs what the server itself wants logged, as much of it as a log can bear.
    fn log(&mut self, entry: &LoggingMessageNotificationParam) {
        let server = &self.server;
        if self.log_window.elapsed() >= LOG_WINDOW {
            if let Some(dropped) = self
                .logged
                .checked_sub(LOGGED_PER_WINDOW)
                .filter(|dropped| *dropped > 0)
            {
                tracing::warn!(server, dropped, "the server logs more than is kept");
            }
            self.log_window = Instant::now();
            self.logged = 0;
        }
        self.logged += 1;
        if self.logged > LOGGED_PER_WINDOW {
            return;
        }
        let mut text = match &entry.data {
            Value::String(text) => text.clone(),
            data => data.to_string(),
        };
        text.truncate(text.floor_char_boundary(LOG_LIMIT_BYTES));
        let text = text.trim_end();
        let logger = entry.logger.as_deref().unwrap_or_default();
        match entry.level {
            LoggingLevel::Debug => tracing::debug!(server, logger, "{text}"),
            LoggingLevel::Info | LoggingLevel::Notice => tracing::info!(server, logger, "{text}"),
            LoggingLevel::Warning => tracing::warn!(server, logger, "{text}"),
            _ => tracing::error!(server, logger, "{text}"),
        }
    }
}

/// The least severe messages of servers that our own log takes.
pub(super) fn log_level() -> LogLevel {
    match () {
        () if tracing::enabled!(tracing::Level::DEBUG) => LogLevel::Debug,
        () if tracing::enabled!(tracing::Level::INFO) => LogLevel::Info,
        () if tracing::enabled!(tracing::Level::WARN) => LogLevel::Warning,
        () => LogLevel::Error,
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Tap<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.register(&item);
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message = self.inner.receive().await?;
            if let Some(message) = self.take(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
