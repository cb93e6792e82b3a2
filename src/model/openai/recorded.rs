//! A streamed answer that is there already, such as one that was recorded.

use crate::model::Dialect;
use crate::run::error::Error;
use crate::run::ports::ModelEvent;

use super::decode::{Decoder, Events};
use super::error::Failure;
use super::sse;

/// Reads a stream of server-sent events as [`Model::stream`](crate::run::ports::Model::stream) reads one that comes,
/// piece by piece, and hands out what the model said.
///
/// # Errors
/// The provider's own, or `MODEL_UNAVAILABLE` for a stream that cannot be read or does not end as it should.
pub fn replay<'a>(
    dialect: Dialect,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut on_event: impl FnMut(ModelEvent),
) -> Result<(), Error> {
    let (mut stream, mut decoder) = (sse::Decoder::default(), Decoder::new(dialect));
    let mut events = Events::new();
    let read = || -> Result<(), Failure> {
        for piece in pieces {
            stream.feed(piece, |event| decoder.event(&event, &mut events))?;
            events.drain(..).for_each(&mut on_event);
        }
        decoder.end(&mut events)
    };
    let ended = read();
    events.into_iter().for_each(on_event);
    ended.map_err(|failure| failure.into_error(str::to_owned))
}
