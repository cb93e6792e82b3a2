//! The tonic services: nothing but the way to the handlers.

mod assistant;
mod prompt;
mod resource;
mod run;
mod thread;

use std::pin::Pin;

use futures::stream::{Stream, StreamExt};
use tonic::{Response, Status};

pub use self::assistant::Assistant;
pub use self::prompt::Prompts;
pub use self::resource::Resources;
pub use self::run::Runs;
pub use self::thread::Threads;
use super::handlers::Events;
use super::request_id::RequestId;
use super::{pb, status};
use crate::run::error::Error;

/// The events of a run, as tonic has streams.
type EventStream = Pin<Box<dyn Stream<Item = Result<pb::RunEvent, Status>> + Send>>;

fn streamed(events: Result<Events, Error>, id: RequestId) -> Result<Response<EventStream>, Status> {
    let events = events.map_err(|error| status::of(&error, id.as_str()))?;
    let events = events.map(move |event| event.map_err(|error| status::of(&error, id.as_str())));
    Ok(Response::new(events.boxed()))
}

fn answered<T>(result: Result<T, Error>, id: &RequestId) -> Result<Response<T>, Status> {
    result
        .map(Response::new)
        .map_err(|error| status::of(&error, id.as_str()))
}
