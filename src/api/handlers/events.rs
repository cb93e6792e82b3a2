//! The events of a run on their way to a client, with heartbeats between them.
//!
//! A stream does nothing that its client does not ask for. So one whose client reads nothing holds a place in the
//! run's log and no events; when it has not asked for more for too long, it is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use futures::stream::{self, Stream, StreamExt};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::engine::{RunHandle, Watch};
use crate::run::error::{Error, Reason};
use crate::run::event::Event;

/// How long a stream may be silent before it says that it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Events, to the terminal one or an error.
pub type Events = Pin<Box<dyn Stream<Item = Result<pb::RunEvent, Error>> + Send>>;

/// Every event of a run. Holds the handle: who drops the stream leaves the run.
pub(super) fn of_handle(handle: RunHandle, limit: Duration) -> Events {
    let watch = handle.watch();
    watched(watch, Some(handle), limit)
}

/// The events that a watcher sees.
pub(super) fn of_watch(watch: Watch, limit: Duration) -> Events {
    watched(watch, None, limit)
}

/// What a stream reads from.
struct Source {
    watch: Watch,
    /// Held for as long as the client is there.
    _handle: Option<RunHandle>,
}

/// Where a stream is.
enum Place {
    /// The client asks for what comes next.
    Asked,
    /// The client has not asked for more since then.
    Given(Box<Source>, Instant),
    /// The client has not asked for too long. This was the last sequence that it was given.
    Dropped(u64),
    Over,
}

fn watched(watch: Watch, handle: Option<RunHandle>, limit: Duration) -> Events {
    let source = Source {
        watch,
        _handle: handle,
    };
    let place = Arc::new(Mutex::new(Place::Given(Box::new(source), Instant::now())));
    let watchman = AbortOnDropHandle::new(tokio::spawn(drop_when_left(Arc::downgrade(&place), limit)));
    stream::unfold((place, watchman), |(place, watchman)| async {
        let asked = std::mem::replace(&mut *lock(&place), Place::Asked);
        let (event, now) = match asked {
            Place::Given(source, _) => next(source).await,
            Place::Dropped(last_sequence) => (Some(Err(slow_consumer(last_sequence))), Place::Over),
            Place::Asked | Place::Over => (None, Place::Over),
        };
        *lock(&place) = now;
        Some((event?, (place, watchman)))
    })
    .boxed()
}

/// What the stream gives next, and where it is then.
async fn next(mut source: Box<Source>) -> (Option<Result<pb::RunEvent, Error>>, Place) {
    match next_or_heartbeat(&mut source.watch).await {
        Ok(Some(event)) => {
            let (thread, run) = (source.watch.thread(), source.watch.run());
            let shown = match &event {
                Some(event) => convert::event::to_pb(thread, run, event),
                None => heartbeat(name::run(thread, run)),
            };
            (Some(Ok(shown)), Place::Given(source, Instant::now()))
        }
        Ok(None) => (None, Place::Over),
        Err(error) => (Some(Err(error)), Place::Over),
    }
}

/// Lets go of what a stream holds when its client has not asked for more for as long as `limit`.
async fn drop_when_left(place: Weak<Mutex<Place>>, limit: Duration) {
    let mut wake = Instant::now() + limit;
    loop {
        tokio::time::sleep_until(wake).await;
        let Some(place) = place.upgrade() else {
            return;
        };
        let mut place = lock(&place);
        wake = match &*place {
            Place::Asked => Instant::now() + limit,
            Place::Given(source, since) if since.elapsed() >= limit => {
                let last_sequence = source.watch.last_sequence();
                *place = Place::Dropped(last_sequence);
                return;
            }
            Place::Given(_, since) => *since + limit,
            Place::Dropped(_) | Place::Over => return,
        };
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slow_consumer(last_sequence: u64) -> Error {
    Error::new(
        Reason::SlowConsumer,
        "the events were not read for too long; watch again after the last one",
    )
    .with("last_sequence", last_sequence.to_string())
}

/// The next event, `Some(None)` when it is time to say that the stream is alive, `None` at the end.
async fn next_or_heartbeat(watch: &mut Watch) -> Result<Option<Option<Arc<Event>>>, Error> {
    match tokio::time::timeout(HEARTBEAT_INTERVAL, watch.next()).await {
        Ok(event) => Ok(event?.map(Some)),
        Err(_) => Ok(Some(None)),
    }
}

fn heartbeat(run: String) -> pb::RunEvent {
    pb::RunEvent {
        run,
        event_time: Some(convert::timestamp(SystemTime::now())),
        payload: Some(pb::run_event::Payload::Heartbeat(pb::Heartbeat {})),
        ..pb::RunEvent::default()
    }
}
