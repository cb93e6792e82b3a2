//! A response's body until its deadline.
//!
//! A client that has stopped reading asks for nothing more, so nobody polls the body any more either. What it holds is
//! therefore let go by the timer itself: the timer wakes [`Held`], which needs no task to drop things.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::{Code, Status};

use super::panicked;
use super::tally::Tally;
use crate::api::request_id::RequestId;
use crate::api::{deadline, status};
use crate::run::error::Error;

/// Ends with an error in its trailers at its deadline, or when the body inside panics. Its permit is given back then,
/// whether anybody reads or not.
pub(super) struct GuardedBody {
    held: Arc<Held>,
    id: RequestId,
    /// Wakes `held`, not whoever reads.
    _deadline: Pin<Box<Sleep>>,
}

/// What a call holds for as long as it may last.
struct Held {
    state: Mutex<State>,
}

enum State {
    /// Nobody is at it; the waker is of whoever waits for more.
    Waiting(Box<Content>, Option<Waker>),
    /// It is being asked for more.
    Asked,
    /// The deadline passed, and nobody has heard of it yet.
    Passed,
    /// Its end is out.
    Over,
}

struct Content {
    body: Body,
    tally: Tally,
    _permit: OwnedSemaphorePermit,
}

impl Content {
    /// Takes note of how the call ends.
    fn hear(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Status>>>) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.tally.reads(trailers);
                }
            }
            Poll::Ready(Some(Err(status))) => self.tally.ends_with(status.code()),
            Poll::Ready(None) | Poll::Pending => {}
        }
    }
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is at the moment, for as long as it is asked for more.
    fn take(&self) -> State {
        let mut state = self.state();
        let asked = match *state {
            State::Waiting(..) => State::Asked,
            _ => State::Over,
        };
        std::mem::replace(&mut state, asked)
    }

    /// Puts it back, unless the deadline has passed meanwhile.
    fn put_back(&self, content: Box<Content>, reader: Option<Waker>) {
        let mut state = self.state();
        if let State::Asked = *state {
            *state = State::Waiting(content, reader);
        }
    }

    /// Whether the deadline has passed; from then on its end is out.
    fn take_passed(&self) -> bool {
        let mut state = self.state();
        let has_passed = matches!(*state, State::Passed);
        if has_passed {
            *state = State::Over;
        }
        has_passed
    }
}

/// The deadline passes.
impl Wake for Held {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        if let State::Over = *state {
            return;
        }
        let before = std::mem::replace(&mut *state, State::Passed);
        drop(state);
        if let State::Waiting(mut content, reader) = before {
            content.tally.ends_with(Code::DeadlineExceeded);
            drop(content);
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }
}

impl GuardedBody {
    pub(super) fn new(
        body: Body,
        permit: OwnedSemaphorePermit,
        tally: Tally,
        deadline: Instant,
        id: RequestId,
    ) -> Self {
        let content = Box::new(Content {
            body,
            tally,
            _permit: permit,
        });
        let held = Arc::new(Held {
            state: Mutex::new(State::Waiting(content, None)),
        });
        let waker = Waker::from(Arc::clone(&held));
        let mut deadline = Box::pin(tokio::time::sleep_until(deadline));
        if deadline
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            waker.wake();
        }
        Self {
            held,
            id,
            _deadline: deadline,
        }
    }

    /// The last frame.
    fn end(&self, error: &Error) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut trailers = HeaderMap::new();
        let status = status::of(error, self.id.as_str());
        let written = status.add_header(&mut trailers);
        Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))))
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut content = match self.held.take() {
            State::Waiting(content, _) => content,
            State::Passed => return self.end(&deadline::passed()),
            State::Asked | State::Over => return Poll::Ready(None),
        };
        let body = Pin::new(&mut content.body);
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| body.poll_frame(context)));
        match polled {
            Ok(polled) => {
                content.hear(&polled);
                let reader = polled.is_pending().then(|| context.waker().clone());
                self.held.put_back(content, reader);
                // What is there already goes out before the end.
                if polled.is_pending() && self.held.take_passed() {
                    return self.end(&deadline::passed());
                }
                polled
            }
            Err(panic) => {
                *self.held.state() = State::Over;
                content.tally.ends_with(Code::Internal);
                drop(content);
                self.end(&panicked(panic.as_ref()))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &*self.held.state() {
            State::Waiting(content, _) => content.body.is_end_stream(),
            State::Asked | State::Passed => false,
            State::Over => true,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &*self.held.state() {
            State::Waiting(content, _) => content.body.size_hint(),
            _ => http_body::SizeHint::default(),
        }
    }
}
