//! A transport that stops reading while too many requests are in work.
//!
//! rmcp starts a task for every request it reads. When a client sends requests and does not read the
//! answers, those tasks and answers would pile up; here the client's own pipe fills instead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Open = Arc<Mutex<HashMap<RequestId, OwnedSemaphorePermit>>>;

/// `inner`, with a bound on the requests that are read and not yet answered.
pub(super) struct Backpressure<T> {
    inner: T,
    permits: Arc<Semaphore>,
    open: Open,
}

impl<T> Backpressure<T> {
    pub(super) fn new(inner: T, max_in_flight: usize) -> Self {
        Self {
            inner,
            permits: Arc::new(Semaphore::new(max_in_flight)),
            open: Open::default(),
        }
    }
}

fn close(open: &Open, id: &RequestId) {
    open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Backpressure<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let answered = match &item {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            _ => None,
        };
        let open = self.open.clone();
        let sent = self.inner.send(item);
        async move {
            let result = sent.await;
            if let Some(id) = answered {
                close(&open, &id);
            }
            result
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        // Cancel-safe: a permit that is dropped before a message came is free again.
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        let message = self.inner.receive().await?;
        match &message {
            JsonRpcMessage::Request(request) => {
                self.open
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(request.id.clone(), permit);
            }
            // A cancelled request gets no answer.
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    close(&self.open, id);
                }
            }
            _ => {}
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
