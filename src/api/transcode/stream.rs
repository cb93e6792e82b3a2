//! A server stream as server-sent events or as lines of JSON.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::Shared;
use super::bind::Payload;
use super::code;
use super::error::UNUSABLE_ANSWER;
use super::frame::Messages;
use super::media::StreamForm;
use super::print;
use super::raw;
use super::schema::{Kind, Label, MessageId, Schema};
use super::wire;

/// How much is gathered from messages that are there already, before it is handed on.
const GATHER_BYTES: usize = 16 * 1024;

/// How much longer a short message is in text than on the wire, its names included: what room is made for.
const GROWTH: usize = 4;

/// What of a message an event's `id:` and `event:` lines are made of.
#[derive(Debug, Default)]
pub struct EventPlan {
    sequence: Option<u32>,
    /// The line of each case.
    cases: Vec<(u32, Box<str>)>,
}

impl EventPlan {
    /// The plan for a message: its field `sequence` if it is an integer, and its first oneof.
    #[must_use]
    pub fn new(schema: &Schema, id: MessageId) -> Self {
        let message = schema.message(id);
        let sequence = message
            .by_name("sequence")
            .map(|(_, field)| field)
            .filter(|field| {
                matches!(field.label, Label::Implicit | Label::Optional)
                    && matches!(
                        field.kind,
                        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64
                    )
            });
        let first = message.fields.iter().filter_map(|field| field.oneof).min();
        let of_first = message
            .fields
            .iter()
            .filter(|field| first.is_some() && field.oneof == first);
        let cases = of_first.map(|field| (field.number, format!("event: {}\n", field.name).into()));
        Self {
            sequence: sequence.map(|field| field.number),
            cases: cases.collect(),
        }
    }

    fn read(&self, message: &[u8]) -> (u64, Option<&str>) {
        let (mut sequence, mut case, mut at) = (0, None, 0);
        // A malformed message is noticed where it is printed.
        while let Ok(Some(record)) = wire::record(message, &mut at) {
            if Some(record.number) == self.sequence {
                sequence = record.bits;
            } else if let Some((_, line)) = self.cases.iter().find(|(number, _)| *number == record.number) {
                case = Some(&**line);
            }
        }
        (sequence, case)
    }
}

/// How the messages of one call are written.
pub struct Writer {
    /// The schema, the options and the words for errors.
    pub shared: Arc<Shared>,
    /// The binding's position.
    pub binding: usize,
    /// The form.
    pub form: StreamForm,
}

impl Writer {
    fn put(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
        let binding = &self.shared.bindings[self.binding];
        let before = out.len();
        if self.form == StreamForm::Events {
            let (sequence, case) = self.shared.events[self.binding].read(message);
            if sequence != 0 {
                out.extend_from_slice(b"id: ");
                super::text::put_unsigned(out, sequence);
                out.push(b'\n');
            }
            if let Some(case) = case {
                out.extend_from_slice(case.as_bytes());
            }
            out.extend_from_slice(b"data: ");
        }
        let schema = &self.shared.schema;
        let printed = match binding.response {
            Payload::Field(position) => {
                let field = &schema.message(binding.rpc.output).fields[position];
                print::field(schema, field, message, out)
            }
            Payload::Whole | Payload::None => print::message(schema, binding.rpc.output, message, out),
        };
        if let Err(error) = printed {
            out.truncate(before);
            tracing::error!(rpc = binding.rpc.name, %error, "answer that cannot be passed on");
            return Err(Status::internal(UNUSABLE_ANSWER));
        }
        self.end_of_message(out);
        Ok(())
    }

    fn put_error(&self, status: &Status, out: &mut Vec<u8>) {
        if self.form == StreamForm::Events {
            out.extend_from_slice(b"event: error\ndata: ");
        }
        let http = code::http_status(status.code());
        self.shared
            .refusals
            .put_json(&self.shared.schema, status, http, out);
        self.end_of_message(out);
    }

    fn end_of_message(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.form == StreamForm::Events {
            b"\n\n"
        } else {
            b"\n"
        });
    }
}

/// The body of a streamed answer. It reads from the call only when it is read from itself, and
/// dropping it drops the call.
pub struct StreamBody {
    writer: Writer,
    messages: Messages,
    /// What is to be sent before anything else.
    waiting: Vec<u8>,
    beat: Pin<Box<Sleep>>,
    is_over: bool,
}

impl StreamBody {
    /// A body that begins with `first`, if the first message has come already.
    #[must_use]
    pub fn new(writer: Writer, messages: Messages, first: Option<&Bytes>) -> Self {
        let mut waiting = Vec::with_capacity(512);
        if writer.form == StreamForm::Events {
            super::text::put(
                &mut waiting,
                format_args!("retry: {}\n\n", writer.shared.options.retry_ms),
            );
        }
        let beat = Box::pin(tokio::time::sleep(writer.shared.options.heartbeat));
        let mut body = Self {
            writer,
            messages,
            waiting,
            beat,
            is_over: false,
        };
        if let Some(message) = first {
            let mut out = std::mem::take(&mut body.waiting);
            body.take(Some(Ok(message.clone())), &mut out);
            body.waiting = out;
        }
        body
    }

    /// Writes what the call gave.
    fn take(&mut self, given: Option<Result<Bytes, Status>>, out: &mut Vec<u8>) {
        let written = match given {
            Some(Ok(message)) => {
                if out.is_empty() {
                    // Room for all that is there already, and little for a message that is alone.
                    let there = message.len() + self.messages.pending_bytes();
                    out.reserve((there * GROWTH).min(GATHER_BYTES + GATHER_BYTES / 8));
                }
                self.writer.put(&message, out)
            }
            Some(Err(status)) => Err(status),
            None => {
                self.is_over = true;
                Ok(())
            }
        };
        if let Err(status) = written {
            self.writer.put_error(&status, out);
            self.is_over = true;
        }
    }

    fn beat(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        let every = self.writer.shared.options.heartbeat;
        if self.writer.form == StreamForm::Lines || every == Duration::ZERO {
            return;
        }
        while self.beat.as_mut().poll(cx).is_ready() {
            if out.is_empty() {
                out.extend_from_slice(b":\n\n");
            }
            self.beat.as_mut().reset(Instant::now() + every);
        }
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut out = std::mem::take(&mut self.waiting);
        while !self.is_over && out.len() < GATHER_BYTES {
            match self.messages.poll_next(cx) {
                Poll::Ready(given) => self.take(given, &mut out),
                Poll::Pending => break,
            }
        }
        if out.is_empty() && !self.is_over {
            self.beat(cx, &mut out);
        } else if !out.is_empty() {
            let next = Instant::now() + self.writer.shared.options.heartbeat;
            self.beat.as_mut().reset(next);
        }
        match (out.is_empty(), self.is_over) {
            (false, _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(out))))),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.waiting.is_empty()
    }
}

/// The body of a streamed `google.api.HttpBody`: the data of the messages, one after the other. An
/// error can only end it short, since raw bytes have no room for one.
pub struct RawBody {
    /// Where the messages' plan is.
    pub shared: Arc<Shared>,
    /// The binding's position.
    pub binding: usize,
    /// The data of the first message, if it has come already.
    pub first: Option<Bytes>,
    /// The rest of the messages.
    pub messages: Messages,
}

impl http_body::Body for RawBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let given = std::task::ready!(self.messages.poll_next(cx));
        let binding = &self.shared.bindings[self.binding];
        Poll::Ready(given.map(|given| {
            let message = given?;
            let held = raw::held(
                &self.shared.schema,
                binding.rpc.output,
                binding.response,
                &message,
            );
            Ok(Frame::data(raw::data(&held)))
        }))
    }
}
