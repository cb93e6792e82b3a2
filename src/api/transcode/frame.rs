//! Messages out of the body of a gRPC response, one by one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use tonic::body::Body;
use tonic::{Code, Status};

/// A flag and a length come before each message.
pub const PREFIX_BYTES: usize = 5;

/// The messages of a response, then its status. Dropping it ends the call.
pub struct Messages {
    body: Body,
    pending: Bytes,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl Messages {
    /// The messages of this body. `trailers` are those that came with the head, if any.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self {
            body,
            pending: Bytes::new(),
            trailers: None,
            is_over: false,
        }
    }

    /// The trailers, once the messages are over.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// How much has come that no message was taken from yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// The next message; nothing after the last one of a call that went well.
    ///
    /// # Errors
    /// The call's status when it is not OK, or one that says how the body was broken.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            if let Some(message) = self.take_message().transpose() {
                return Poll::Ready(Some(message));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => self.append(chunk),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        return Poll::Ready(self.end().map(Err));
                    }
                },
                Some(Err(status)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(status)));
                }
                None => return Poll::Ready(self.end().map(Err)),
            }
        }
    }

    /// The next message, as [`Messages::poll_next`] gives it.
    ///
    /// # Errors
    /// As for [`Messages::poll_next`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn append(&mut self, chunk: Bytes) {
        if self.pending.is_empty() {
            self.pending = chunk;
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let mut whole = pending
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&*shared));
        whole.extend_from_slice(&chunk);
        self.pending = whole.freeze();
    }

    fn take_message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = self.pending.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let [flag, length @ ..] = *prefix;
        if flag != 0 {
            self.is_over = true;
            self.pending.clear();
            return Err(Status::internal("compressed message that was not asked for"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if self.pending.len() - PREFIX_BYTES < length {
            return Ok(None);
        }
        self.pending.advance(PREFIX_BYTES);
        Ok(Some(self.pending.split_to(length)))
    }

    fn end(&mut self) -> Option<Status> {
        self.is_over = true;
        if !self.pending.is_empty() {
            self.pending.clear();
            return Some(Status::internal("response ended inside a message"));
        }
        match self.trailers.as_ref().and_then(Status::from_header_map) {
            Some(status) if status.code() == Code::Ok => None,
            Some(status) => Some(status),
            None => Some(Status::internal("response ended without a status")),
        }
    }
}
