//! An answer as it arrives: from the connection through the decoders to the heart.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use reqwest::Response;
use tokio::time::Instant;

use crate::run::message::{Continuation, Reasoning};
use crate::run::ports::{Finish, ModelEvent};

use super::allowance::Allowance;
use super::assistants::events;
use super::decode::{Decoder, Events};
use super::error::Failure;
use super::responses::conversation::Bond;
use super::sse;
use super::tools::Offer;
use super::upstream::Upstream;

/// The longest answer that may come in one piece, in bytes.
const PIECE_LIMIT_BYTES: usize = 32 << 20;
/// How long to wait for the end of the body behind a complete answer, so that its connection can be used
/// again. Mostly it is there already.
const DRAIN: Duration = Duration::from_millis(10);

/// Reads one answer. Dropping it closes the connection.
pub(super) struct Reader {
    response: Response,
    framing: Framing,
    decoder: Decoder,
    events: Events,
    /// A first event has been given out.
    has_begun: bool,
    /// Events that nobody here knows, and that are told once the answer has begun: they are none themselves.
    unknown: u32,
    state: State,
    /// It was cut here: whatever else comes is not heard.
    is_cut: bool,
    source: Source,
}

/// Whose answer it is.
pub(super) struct Source {
    pub(super) upstream: Arc<Upstream>,
    /// The tools that were offered.
    pub(super) offer: Option<Arc<Offer>>,
    /// The upstream and its model.
    pub(super) identity: String,
    /// Whether the provider keeps the answer, and can go on behind it.
    pub(super) is_kept: bool,
    /// The conversation there that it is said in, if it is in one.
    pub(super) bond: Option<Bond>,
    /// What the model may write, if that is less than the API takes for a limit.
    pub(super) allowance: Option<Allowance>,
}

/// How the body is cut into pieces. Its first character tells more reliably than its content type.
enum Framing {
    Unknown,
    Stream(sse::Decoder),
    Piece(Vec<u8>),
}

enum State {
    Reading,
    /// Over, with what went wrong if something did; to be told after the events before it.
    Ended(Result<(), Failure>),
    Told,
}

impl Reader {
    /// Reads this answer.
    pub(super) fn new(response: Response, decoder: Decoder, source: Source) -> Self {
        Self {
            response,
            framing: Framing::Unknown,
            decoder,
            events: Events::new(),
            has_begun: false,
            unknown: 0,
            state: State::Reading,
            is_cut: false,
            source,
        }
    }

    /// The HTTP status of the answer.
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The next event; none after the last one or an error.
    pub(super) async fn next(&mut self) -> Option<Result<ModelEvent, Failure>> {
        // Since when an event is waited for: not while somebody else is at work on the one before.
        let mut since = None;
        loop {
            if self.has_begun && self.unknown > 0 {
                return Some(Ok(ModelEvent::Unknown(std::mem::take(&mut self.unknown))));
            }
            match self.events.pop_front() {
                Some(ModelEvent::Unknown(count)) => {
                    self.unknown = self.unknown.saturating_add(count);
                    continue;
                }
                // The last event is the last.
                Some(end @ ModelEvent::Finished(_)) if self.unknown > 0 => {
                    self.events.push_front(end);
                    return Some(Ok(ModelEvent::Unknown(std::mem::take(&mut self.unknown))));
                }
                Some(event) => match self.named(event) {
                    Some(event) => {
                        self.has_begun = true;
                        return Some(Ok(self.allowed(event)));
                    }
                    None => continue,
                },
                None => {}
            }
            match std::mem::replace(&mut self.state, State::Told) {
                State::Reading => {
                    let since = *since.get_or_insert_with(Instant::now);
                    self.state = self.read(since).await;
                }
                State::Ended(Err(failure)) => return Some(Err(failure)),
                State::Ended(Ok(())) | State::Told => return None,
            }
        }
    }

    /// Whether the answer was cut here. Its end is told like any other, but the provider may still be at work on it.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What the model may still write of an event. Where that is less, the end is behind it, or in its place.
    fn allowed(&mut self, mut event: ModelEvent) -> ModelEvent {
        let allowance = self.source.allowance.as_mut();
        let Some(is_empty) = allowance.and_then(|allowance| allowance.cuts(&mut event)) else {
            return event;
        };
        self.is_cut = true;
        self.state = State::Told;
        self.events.clear();
        let end = ModelEvent::Finished(Finish::Length);
        if is_empty {
            return end;
        }
        self.events.push_back(end);
        event
    }

    /// The decoder, if this is a run of the Assistants dialect.
    pub(super) fn assistants(&self) -> Option<&events::Decoder> {
        match &self.decoder {
            Decoder::Assistants(decoder) => Some(decoder),
            _ => None,
        }
    }

    /// The same, to be told what was learned elsewhere.
    pub(super) fn assistants_mut(&mut self) -> Option<&mut events::Decoder> {
        match &mut self.decoder {
            Decoder::Assistants(decoder) => Some(decoder),
            _ => None,
        }
    }

    /// Adds events that did not come with the answer.
    pub(super) fn give(&mut self, events: Events) {
        self.events.extend(events);
    }

    async fn read(&mut self, since: Instant) -> State {
        let taken = match self.source.upstream.chunk_since(&mut self.response, since).await {
            Ok(Some(bytes)) => self.take(&bytes),
            Ok(None) => return State::Ended(self.end().map_err(|failure| self.of_type(failure))),
            // A server that cuts the connection behind a complete answer has done its work.
            Err(failure) => {
                let ended = self.decoder.end(&mut self.events);
                return State::Ended(ended.map_err(|_| failure));
            }
        };
        match taken {
            Err(failure) => State::Ended(Err(self.of_type(failure))),
            Ok(()) if self.decoder.is_done() => {
                self.drain().await;
                State::Ended(Ok(()))
            }
            Ok(()) => State::Reading,
        }
    }

    /// What is told of an answer that could not be read from its beginning on.
    fn of_type(&self, failure: Failure) -> Failure {
        let headers = self.response.headers();
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match self.has_begun {
            true => failure,
            false => failure.of_type(content_type),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if matches!(self.framing, Framing::Unknown) {
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{' | b'[') => self.framing = Framing::Piece(Vec::new()),
                Some(_) => self.framing = Framing::Stream(sse::Decoder::default()),
            }
        }
        match &mut self.framing {
            Framing::Unknown => Ok(()),
            Framing::Stream(stream) => {
                stream.feed(bytes, |event| self.decoder.event(&event, &mut self.events))
            }
            Framing::Piece(piece) if piece.len() + bytes.len() > PIECE_LIMIT_BYTES => Err(Failure::broken(
                format!("the answer is longer than {PIECE_LIMIT_BYTES} bytes"),
            )),
            Framing::Piece(piece) => {
                piece.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        match &mut self.framing {
            Framing::Unknown => Err(Failure::broken("the answer is empty")),
            Framing::Stream(stream) => {
                stream.finish(|event| self.decoder.event(&event, &mut self.events))?;
                self.decoder.end(&mut self.events)
            }
            Framing::Piece(piece) => self.decoder.whole(piece, &mut self.events),
        }
    }

    async fn drain(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        // Too late is no failure: the answer is complete, only the connection is lost.
        let _ = tokio::time::timeout(DRAIN, rest).await;
    }

    /// Gives a tool its catalogue's name again, and what only this provider can use its name. None for what it
    /// cannot use after all.
    fn named(&self, event: ModelEvent) -> Option<ModelEvent> {
        let upstream = || self.source.identity.clone();
        Some(match (event, &self.source.offer) {
            (ModelEvent::ToolCallStarted { index, tool }, Some(offer)) => ModelEvent::ToolCallStarted {
                index,
                tool: offer.original(tool),
            },
            (ModelEvent::Reasoning(reasoning), _) => ModelEvent::Reasoning(Reasoning {
                upstream: upstream(),
                ..reasoning
            }),
            (ModelEvent::Continuation(_), _) if !self.source.is_kept => return None,
            (ModelEvent::Continuation(Continuation { state, .. }), _) => {
                ModelEvent::Continuation(Continuation {
                    upstream: upstream(),
                    state: match &self.source.bond {
                        Some(bond) => bond.state(&state),
                        None => state,
                    },
                })
            }
            (event, _) => event,
        })
    }
}
