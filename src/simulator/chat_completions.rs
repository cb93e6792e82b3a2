//! The Chat Completions API: `POST /v1/chat/completions`.

mod messages;
mod wire;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ask::{Ask, Offer, size_of};
use super::refusal::Refusal;
use super::server::Stamp;
use super::sse::Events;
use super::turn::{Finish, Item, Speech};
use wire::{
    Choice, Chunk, ChunkChoice, Completion, Delta, FunctionDelta, Message, ToolCall, ToolCallDelta, Usage,
};

#[derive(Deserialize)]
struct Request<'a> {
    model: Option<String>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// A request, read: what it says about the form of its answer.
pub(super) struct Exchange {
    include_usage: bool,
}

impl Exchange {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Result<(Self, Ask), Refusal> {
        let request: Request<'_> = serde_json::from_slice(body)?;
        let model = request.model.ok_or_else(|| Refusal::missing("model"))?;
        let raw_messages = request.messages.ok_or_else(|| Refusal::missing("messages"))?;
        let stream = request.stream.unwrap_or(false);
        if request.stream_options.is_some() && !stream {
            let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            return Err(Refusal::invalid(Some("stream_options"), None, message));
        }
        if request.n.is_some_and(|n| n != 1) {
            let message = "This model gives one choice only: 'n' must be 1.";
            return Err(Refusal::invalid(Some("n"), Some("unsupported_value"), message));
        }
        let said = messages::read(raw_messages)?;
        let tools = Offer::new(messages::tool_names(request.tools)?, request.tool_choice)?;
        let input_bytes = size_of(request.messages) + size_of(request.tools);
        let include_usage = request
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false);
        let ask = Ask {
            model,
            message: said.message,
            outputs: said.outputs,
            tools,
            stream,
            input_bytes,
        };
        Ok((Exchange { include_usage }, ask))
    }

    /// The whole answer; `None` when the model fails, for which this API has no form but an HTTP error.
    pub fn whole(&self, ask: &Ask, speech: &Speech, stamp: &Stamp) -> serde_json::Result<Option<Vec<u8>>> {
        let Some(finish_reason) = finish_reason(speech) else {
            return Ok(None);
        };
        let id = stamp.id("chatcmpl-", 0);
        let completion = Completion {
            id: &id,
            object: "chat.completion",
            created: stamp.created_s,
            model: &ask.model,
            choices: [Choice {
                index: 0,
                message: message(speech, stamp),
                logprobs: None,
                finish_reason,
            }],
            usage: Usage::of(ask, speech),
            service_tier: "default",
        };
        serde_json::to_vec(&completion).map(Some)
    }

    /// The stream of the answer.
    pub fn stream(&self, ask: &Ask, speech: &Speech, stamp: &Stamp) -> serde_json::Result<Events> {
        let id = stamp.id("chatcmpl-", 0);
        let mut writer = Writer {
            events: Events::new(),
            id: &id,
            created: stamp.created_s,
            model: &ask.model,
            include_usage: self.include_usage,
        };
        writer.chunk(
            Delta {
                role: Some("assistant"),
                content: Some(""),
                ..Delta::default()
            },
            None,
        )?;
        let mut calls = 0;
        for (index, item) in speech.items.iter().enumerate() {
            match item {
                Item::Text(pieces) => {
                    for piece in pieces.deltas() {
                        writer.delta(Delta {
                            content: Some(piece),
                            ..Delta::default()
                        })?;
                    }
                }
                Item::Cited(cited) => {
                    for piece in cited.text.deltas() {
                        writer.delta(Delta {
                            content: Some(piece),
                            ..Delta::default()
                        })?;
                    }
                    let delta = Delta {
                        annotations: wire::annotations(&cited.annotations),
                        ..Delta::default()
                    };
                    writer.chunk(delta, None)?;
                }
                Item::Reasoning(pieces) => {
                    for piece in pieces.deltas() {
                        writer.delta(Delta {
                            reasoning_content: Some(piece),
                            ..Delta::default()
                        })?;
                    }
                }
                Item::Refusal(pieces) => {
                    for piece in pieces.deltas() {
                        writer.delta(Delta {
                            refusal: Some(piece),
                            ..Delta::default()
                        })?;
                    }
                }
                Item::Call(call) => {
                    let call_id = call.id.clone().unwrap_or_else(|| stamp.id("call_", index));
                    let head = FunctionDelta {
                        name: Some(&call.name),
                        arguments: "",
                    };
                    let (id, kind) = (Some(call_id.as_str()), Some("function"));
                    writer.chunk(
                        Delta::call(ToolCallDelta {
                            index: calls,
                            id,
                            kind,
                            function: head,
                        }),
                        None,
                    )?;
                    for piece in call.arguments.deltas() {
                        let function = FunctionDelta {
                            name: None,
                            arguments: piece,
                        };
                        writer.delta(Delta::call(ToolCallDelta {
                            index: calls,
                            id: None,
                            kind: None,
                            function,
                        }))?;
                    }
                    calls += 1;
                }
            }
        }
        writer.end(ask, speech)
    }
}

/// `None` when the model has failed.
fn finish_reason(speech: &Speech) -> Option<&'static str> {
    match speech.finish {
        Finish::Stop if speech.calls().next().is_some() => Some("tool_calls"),
        Finish::Stop => Some("stop"),
        Finish::Length => Some("length"),
        Finish::ContentFilter => Some("content_filter"),
        Finish::Failed => None,
    }
}

fn message<'a>(speech: &'a Speech, stamp: &Stamp) -> Message<'a> {
    let mut message = Message {
        role: "assistant",
        ..Message::default()
    };
    for (index, item) in speech.items.iter().enumerate() {
        match item {
            Item::Text(pieces) => message.content.get_or_insert_default().push_str(&pieces.text()),
            Item::Cited(cited) => {
                let text = cited.text.text();
                message.content.get_or_insert_default().push_str(&text);
                message.annotations.extend(wire::annotations(&cited.annotations));
            }
            Item::Refusal(pieces) => message.refusal.get_or_insert_default().push_str(&pieces.text()),
            Item::Reasoning(pieces) => {
                message
                    .reasoning_content
                    .get_or_insert_default()
                    .push_str(&pieces.text());
            }
            Item::Call(call) => {
                let id = call.id.clone().unwrap_or_else(|| stamp.id("call_", index));
                message
                    .tool_calls
                    .push(ToolCall::new(id, &call.name, call.arguments.text()));
            }
        }
    }
    message
}

/// Writes the chunks of one completion.
struct Writer<'a> {
    events: Events,
    id: &'a str,
    created: u64,
    model: &'a str,
    include_usage: bool,
}

impl Writer<'_> {
    fn send(&mut self, choices: &[ChunkChoice<'_>], usage: Option<Usage>) -> serde_json::Result<()> {
        let chunk = Chunk {
            id: self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model,
            choices,
            service_tier: "default",
            // Asked for, it is null in every chunk but the last.
            usage: self.include_usage.then_some(usage),
        };
        self.events.unnamed(&chunk)
    }

    fn chunk(&mut self, delta: Delta<'_>, finish_reason: Option<&'static str>) -> serde_json::Result<()> {
        self.send(
            &[ChunkChoice {
                index: 0,
                delta,
                finish_reason,
            }],
            None,
        )
    }

    fn delta(&mut self, delta: Delta<'_>) -> serde_json::Result<()> {
        let start = self.events.bytes.len();
        self.chunk(delta, None)?;
        self.events.mark_delta(start);
        Ok(())
    }

    fn end(mut self, ask: &Ask, speech: &Speech) -> serde_json::Result<Events> {
        match finish_reason(speech) {
            Some(reason) => self.chunk(Delta::default(), Some(reason))?,
            None => {
                self.events
                    .unnamed(&Refusal::with_status(http::StatusCode::INTERNAL_SERVER_ERROR).wire())?;
                return Ok(self.events);
            }
        }
        if self.include_usage {
            self.send(&[], Some(Usage::of(ask, speech)))?;
        }
        self.events.done();
        Ok(self.events)
    }
}
