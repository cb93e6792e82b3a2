//! The events of a run on their way to a client, with heartbeats between them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::{self, Stream, StreamExt};

use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::engine::{RunHandle, Watch};
use crate::run::error::Error;
use crate::run::event::Event;

/// How long a stream may be silent before it says that it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Events, to the terminal one or an error.
pub type Events = Pin<Box<dyn Stream<Item = Result<pb::RunEvent, Error>> + Send>>;

/// Every event of a run. Holds the handle: who drops the stream leaves the run.
pub(super) fn of_handle(handle: RunHandle) -> Events {
    let watch = handle.watch();
    watched(watch, Some(handle))
}

/// The events that a watcher sees.
pub(super) fn of_watch(watch: Watch) -> Events {
    watched(watch, None)
}

fn watched(watch: Watch, handle: Option<RunHandle>) -> Events {
    stream::unfold(Some((watch, handle)), |state| async {
        let (mut watch, handle) = state?;
        match next_or_heartbeat(&mut watch).await {
            Ok(Some(event)) => {
                let (thread, run) = (watch.thread(), watch.run());
                let event = match event {
                    Some(event) => convert::event::to_pb(thread, run, &event),
                    None => heartbeat(name::run(thread, run)),
                };
                Some((Ok(event), Some((watch, handle))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
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
