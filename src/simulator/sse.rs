//! Server-sent events, written into one buffer that remembers where each token is.

use std::ops::Range;

use serde::Serialize;

/// The events of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The bytes to send.
    pub bytes: Vec<u8>,
    /// Where the events are that carry a piece of text, reasoning or arguments: what a pace waits for
    /// and what [`At::Deltas`](super::At::Deltas) counts.
    pub deltas: Vec<Range<usize>>,
}

impl Events {
    /// An empty stream with room for a short answer.
    pub fn new() -> Self {
        Events {
            bytes: Vec::with_capacity(8 * 1024),
            deltas: Vec::new(),
        }
    }

    /// Writes an event with a name, as the Responses and the Assistants API do.
    pub fn named(&mut self, name: &str, data: &impl Serialize) -> serde_json::Result<()> {
        self.bytes.extend_from_slice(b"event: ");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'\n');
        self.unnamed(data)
    }

    /// Writes an event without a name, as Chat Completions does.
    pub fn unnamed(&mut self, data: &impl Serialize) -> serde_json::Result<()> {
        self.bytes.extend_from_slice(b"data: ");
        serde_json::to_writer(&mut self.bytes, data)?;
        self.bytes.extend_from_slice(b"\n\n");
        Ok(())
    }

    /// Notes that everything since `start` is one delta.
    pub fn mark_delta(&mut self, start: usize) {
        self.deltas.push(start..self.bytes.len());
    }

    /// Writes the event with which a stream of the Assistants API ends.
    pub fn named_done(&mut self) {
        self.bytes.extend_from_slice(b"event: done\n");
        self.done();
    }

    /// Writes the `[DONE]` with which Chat Completions ends.
    pub fn done(&mut self) {
        self.bytes.extend_from_slice(b"data: [DONE]\n\n");
    }
}
