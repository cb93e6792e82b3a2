//! The tonic services: nothing but the way to the handlers.

mod assistant;
mod model;
mod prompt;
mod resource;
mod run;
mod thread;
mod usage;

use std::pin::Pin;

use futures::stream::{Stream, StreamExt};
use prost::Message;
use tonic::{Response, Status};

pub use self::assistant::Assistant;
pub use self::model::Models;
pub use self::prompt::Prompts;
pub use self::resource::Resources;
pub use self::run::Runs;
pub use self::thread::Threads;
pub use self::usage::Usage;
use super::handlers::Events;
use super::request_id::RequestId;
use super::{pb, status};
use crate::run::error::Error;

/// The events of a run, as tonic has streams.
type EventStream = Pin<Box<dyn Stream<Item = Result<pb::RunEvent, Status>> + Send>>;

/// Messages below this are sent as they are also to clients that take compressed ones, in bytes. Many do by default, and
/// setting a compressor up costs more than it saves.
const WORTHWHILE_BYTES: usize = 1024;

fn streamed(events: Result<Events, Error>, id: RequestId) -> Result<Response<EventStream>, Status> {
    let events = events.map_err(|error| status::of(&error, id.as_str()))?;
    let events = events.map(move |event| event.map_err(|error| status::of(&error, id.as_str())));
    let mut response = Response::new(events.boxed());
    // Nearly all events are small, and tonic decides for a stream as a whole.
    response.disable_compression();
    Ok(response)
}

fn answered<T: Message>(result: Result<T, Error>, id: &RequestId) -> Result<Response<T>, Status> {
    let message = result.map_err(|error| status::of(&error, id.as_str()))?;
    let is_small = message.encoded_len() < WORTHWHILE_BYTES;
    let mut response = Response::new(message);
    if is_small {
        response.disable_compression();
    }
    Ok(response)
}
