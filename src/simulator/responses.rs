//! The Responses API: `POST /v1/responses`, what it keeps, and the conversations that it is spoken in.

mod conversations;
mod input;
mod kept;
mod wire;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::ask::{Ask, Offer, size_of};
use super::refusal::Refusal;
use super::server::Stamp;
use super::sse::Events;
use super::turn::{Call, Finish, Item, Pieces, Speech};
pub(super) use conversations::Conversations;
use conversations::{Named, Said};
use input::Input;
pub(super) use kept::Kept;
use wire::{Event, OutputItem, Part, Reason, Repeated, Resource, Usage, Whereabouts};

/// A request body: what decides about the answer, and what the answer repeats.
#[derive(Deserialize)]
struct Request<'a> {
    model: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    include: Option<Vec<String>>,
    stream: Option<bool>,
    parallel_tool_calls: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_output_tokens: Option<u64>,
    previous_response_id: Option<String>,
    conversation: Option<Named>,
    store: Option<bool>,
}

/// A request, read: what its answer repeats.
pub(super) struct Exchange<'a> {
    request: Request<'a>,
    tools: Repeated<'a>,
    input: Input,
}

impl<'a> Exchange<'a> {
    /// Reads a body, which may go on from a response that was kept, or in a conversation.
    pub fn read(body: &'a [u8], kept: &Kept, conversations: &Conversations) -> Result<(Self, Ask), Refusal> {
        let mut request: Request<'a> = serde_json::from_slice(body)?;
        let (before, bytes_before) = match (&request.previous_response_id, &request.conversation) {
            (Some(_), Some(_)) => {
                let message = "Mutually exclusive parameters: 'previous_response_id' and 'conversation'.";
                let code = Some("mutually_exclusive_parameters");
                return Err(Refusal::invalid(Some("conversation"), code, message));
            }
            (Some(id), None) => kept.conversation(id)?,
            (None, Some(conversation)) => conversations.before(conversation.id())?,
            (None, None) => (Input::default(), 0),
        };
        let model = request.model.take().ok_or_else(|| Refusal::missing("model"))?;
        let raw_input = request.input.ok_or_else(|| Refusal::missing("input"))?;
        let input = input::read(raw_input, before)?;
        let (names, repeated) = input::tools(request.tools)?;
        let tools = Offer::new(names, request.tool_choice)?;
        let new_bytes = size_of(request.input) + size_of(request.instructions) + size_of(request.tools);
        let ask = Ask {
            model,
            message: input.message.clone(),
            outputs: input.outputs.clone(),
            tools,
            stream: request.stream.unwrap_or(false),
            input_bytes: bytes_before + new_bytes,
        };
        let exchange = Exchange {
            request,
            tools: repeated,
            input,
        };
        Ok((exchange, ask))
    }

    /// Keeps the answer, unless the request says not to: like OpenAI, it is kept by default. In a conversation it stands
    /// whatever becomes of it on its way, unless it is none.
    pub fn keep(
        &self,
        ask: &Ask,
        speech: &Speech,
        stamp: &Stamp,
        kept: &Kept,
        conversations: &Conversations,
    ) -> serde_json::Result<()> {
        let ids = self.ids(speech, stamp);
        let mut read = self.input.clone();
        for call in ids.calls.iter().filter(|id| !id.is_empty()) {
            read.called(call.clone());
        }
        if let Some(conversation) = &self.request.conversation
            && let Some(input) = self.request.input
            && speech.finish != Finish::Failed
        {
            let output = serde_json::to_value(self.end(ask, speech, &ids, stamp).output)?;
            let said = Said {
                input,
                bytes: ask.input_bytes + output.to_string().len(),
                output,
                read: read.clone(),
            };
            conversations.add(conversation.id(), said, stamp)?;
        }
        if self.request.store != Some(false) {
            let body = self.whole(ask, speech, stamp)?;
            kept.keep(ids.response, body, read, ask.input_bytes);
        }
        Ok(())
    }

    /// The whole answer.
    pub fn whole(&self, ask: &Ask, speech: &Speech, stamp: &Stamp) -> serde_json::Result<Vec<u8>> {
        let ids = self.ids(speech, stamp);
        let resource = self.end(ask, speech, &ids, stamp);
        serde_json::to_vec(&resource)
    }

    /// The stream of the answer.
    pub fn stream(&self, ask: &Ask, speech: &Speech, stamp: &Stamp) -> serde_json::Result<Events> {
        let ids = self.ids(speech, stamp);
        let mut writer = Writer {
            events: Events::new(),
            sequence_number: 0,
        };
        let begun = self.resource(ask, &ids, stamp);
        writer.event(Event {
            kind: "response.created",
            response: Some(&begun),
            ..Event::default()
        })?;
        writer.event(Event {
            kind: "response.in_progress",
            response: Some(&begun),
            ..Event::default()
        })?;
        for (index, item) in speech.items.iter().enumerate() {
            let status = last_status(speech, index);
            match item {
                Item::Call(call) => writer.call(index, &ids, call, status)?,
                Item::Reasoning(pieces) => writer.reasoning(index, &ids, pieces, status)?,
                Item::Text(pieces) => writer.message(index, &ids, Spoken::Text(pieces, &[]), status)?,
                Item::Cited(cited) => {
                    let spoken = Spoken::Text(&cited.text, &cited.annotations);
                    writer.message(index, &ids, spoken, status)?;
                }
                Item::Refusal(pieces) => writer.message(index, &ids, Spoken::Refusal(pieces), status)?,
            }
        }
        let ended = self.end(ask, speech, &ids, stamp);
        let kind = match speech.finish {
            Finish::Stop => "response.completed",
            Finish::Length | Finish::ContentFilter => "response.incomplete",
            Finish::Failed => "response.failed",
        };
        writer.event(Event {
            kind,
            response: Some(&ended),
            ..Event::default()
        })?;
        Ok(writer.events)
    }

    fn ids(&self, speech: &Speech, stamp: &Stamp) -> Ids {
        let include = self.request.include.iter().flatten();
        let encrypts = include
            .into_iter()
            .any(|name| name == "reasoning.encrypted_content");
        Ids::new(speech, stamp, encrypts)
    }

    /// The response as it begins.
    fn resource<'r>(&'r self, ask: &'r Ask, ids: &'r Ids, stamp: &Stamp) -> Resource<'r> {
        let request = &self.request;
        Resource {
            id: &ids.response,
            object: "response",
            created_at: stamp.created_s,
            status: "in_progress",
            completed_at: None,
            error: None,
            incomplete_details: None,
            instructions: request.instructions,
            max_output_tokens: request.max_output_tokens,
            model: &ask.model,
            output: Vec::new(),
            parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
            previous_response_id: request.previous_response_id.as_deref(),
            conversation: request
                .conversation
                .as_ref()
                .map(|named| Whereabouts { id: named.id() }),
            reasoning: request.reasoning,
            temperature: request.temperature.unwrap_or(1.0),
            text: wire::text(request.text),
            tool_choice: wire::tool_choice(request.tool_choice),
            tools: &self.tools,
            top_p: request.top_p.unwrap_or(1.0),
            truncation: "disabled",
            usage: None,
            metadata: wire::metadata(request.metadata),
        }
    }

    /// The response as it ends.
    fn end<'r>(&'r self, ask: &'r Ask, speech: &'r Speech, ids: &'r Ids, stamp: &Stamp) -> Resource<'r> {
        let mut resource = self.resource(ask, ids, stamp);
        let items = speech.items.iter().enumerate();
        resource.output = items
            .map(|(index, item)| ids.item(index, item, last_status(speech, index)))
            .collect();
        resource.usage = Some(Usage::of(ask, speech));
        match speech.finish {
            Finish::Stop => {
                resource.status = "completed";
                resource.completed_at = Some(stamp.created_s);
            }
            Finish::Length => {
                resource.status = "incomplete";
                resource.incomplete_details = Some(Reason {
                    reason: "max_output_tokens",
                });
            }
            Finish::ContentFilter => {
                resource.status = "incomplete";
                resource.incomplete_details = Some(Reason {
                    reason: "content_filter",
                });
            }
            Finish::Failed => {
                resource.status = "failed";
                resource.error = Some(wire::Failure {
                    code: "server_error",
                    message: "The model failed to generate a response (simulated).",
                });
            }
        }
        resource
    }
}

/// What the last item is when the answer does not end well; all others are complete.
fn last_status(speech: &Speech, index: usize) -> &'static str {
    let last = index + 1 == speech.items.len();
    if last && speech.finish != Finish::Stop {
        "incomplete"
    } else {
        "completed"
    }
}

/// The ids of a response and of everything in it.
struct Ids {
    response: String,
    items: Vec<String>,
    calls: Vec<String>,
    /// What stands for the encrypted reasoning of each item, where that is asked for.
    encrypted: Vec<Option<String>>,
}

impl Ids {
    fn new(speech: &Speech, stamp: &Stamp, encrypts: bool) -> Self {
        let items = speech.items.iter().enumerate().map(|(index, item)| {
            let prefix = match item {
                Item::Text(_) | Item::Cited(_) | Item::Refusal(_) => "msg_",
                Item::Reasoning(_) => "rs_",
                Item::Call(_) => "fc_",
            };
            stamp.id(prefix, index)
        });
        let calls = speech.items.iter().enumerate().map(|(index, item)| match item {
            Item::Call(call) => call.id.clone().unwrap_or_else(|| stamp.id("call_", index)),
            _ => String::new(),
        });
        let encrypted = speech.items.iter().enumerate().map(|(index, item)| {
            let is_encrypted = encrypts && matches!(item, Item::Reasoning(_));
            is_encrypted.then(|| stamp.id(input::ENCRYPTED, index))
        });
        Ids {
            encrypted: encrypted.collect(),
            response: stamp.id("resp_", 0),
            items: items.collect(),
            calls: calls.collect(),
        }
    }

    fn item<'r>(&'r self, index: usize, item: &'r Item, status: &'static str) -> OutputItem<'r> {
        let id = &self.items[index];
        match item {
            Item::Text(pieces) => OutputItem::message(id, status, vec![Part::text(pieces.text(), &[])]),
            Item::Cited(cited) => {
                let part = Part::text(cited.text.text(), &cited.annotations);
                OutputItem::message(id, status, vec![part])
            }
            Item::Refusal(pieces) => OutputItem::message(id, status, vec![Part::refusal(pieces.text())]),
            Item::Reasoning(pieces) => {
                let encrypted = self.encrypted[index].as_deref();
                OutputItem::reasoning(id, status, vec![Part::summary(pieces.text())], encrypted)
            }
            Item::Call(call) => {
                OutputItem::call(id, status, &self.calls[index], &call.name, call.arguments.text())
            }
        }
    }
}

/// What a message item says.
#[derive(Clone, Copy)]
enum Spoken<'a> {
    Text(&'a Pieces, &'a [Value]),
    Refusal(&'a Pieces),
}

impl<'a> Spoken<'a> {
    fn pieces(self) -> &'a Pieces {
        match self {
            Spoken::Text(pieces, _) | Spoken::Refusal(pieces) => pieces,
        }
    }

    fn annotations(self) -> &'a [Value] {
        match self {
            Spoken::Text(_, annotations) => annotations,
            Spoken::Refusal(_) => &[],
        }
    }

    /// The part, with this much of it said.
    fn part(self, text: std::borrow::Cow<'a, str>, annotations: &'a [Value]) -> Part<'a> {
        match self {
            Spoken::Text(..) => Part::text(text, annotations),
            Spoken::Refusal(_) => Part::refusal(text),
        }
    }
}

/// Writes events and numbers them.
struct Writer {
    events: Events,
    sequence_number: u64,
}

impl Writer {
    fn event(&mut self, mut event: Event<'_>) -> serde_json::Result<()> {
        event.sequence_number = self.sequence_number;
        self.sequence_number += 1;
        self.events.named(event.kind, &event)
    }

    fn delta(&mut self, event: Event<'_>) -> serde_json::Result<()> {
        let start = self.events.bytes.len();
        self.event(event)?;
        self.events.mark_delta(start);
        Ok(())
    }

    fn item_event(
        &mut self,
        kind: &'static str,
        index: usize,
        item: OutputItem<'_>,
    ) -> serde_json::Result<()> {
        self.event(Event {
            kind,
            output_index: Some(index),
            item: Some(item),
            ..Event::default()
        })
    }

    fn message(
        &mut self,
        index: usize,
        ids: &Ids,
        spoken: Spoken<'_>,
        status: &'static str,
    ) -> serde_json::Result<()> {
        let id = &ids.items[index];
        let at = || Event {
            output_index: Some(index),
            item_id: Some(id),
            content_index: Some(0),
            ..Event::default()
        };
        let (delta, done, logprobs) = match spoken {
            Spoken::Text(..) => (
                "response.output_text.delta",
                "response.output_text.done",
                Some([]),
            ),
            Spoken::Refusal(_) => ("response.refusal.delta", "response.refusal.done", None),
        };
        self.item_event(
            "response.output_item.added",
            index,
            OutputItem::message(id, "in_progress", Vec::new()),
        )?;
        let part = Some(spoken.part("".into(), &[]));
        self.event(Event {
            kind: "response.content_part.added",
            part,
            ..at()
        })?;
        for piece in spoken.pieces().deltas() {
            self.delta(Event {
                kind: delta,
                delta: Some(piece),
                logprobs,
                ..at()
            })?;
        }
        for (annotation_index, annotation) in spoken.annotations().iter().enumerate() {
            self.event(Event {
                kind: "response.output_text.annotation.added",
                annotation_index: Some(annotation_index),
                annotation: Some(annotation),
                ..at()
            })?;
        }
        let whole = spoken.pieces().text();
        let (text, refusal) = match spoken {
            Spoken::Text(..) => (Some(&*whole), None),
            Spoken::Refusal(_) => (None, Some(&*whole)),
        };
        self.event(Event {
            kind: done,
            text,
            refusal,
            logprobs,
            ..at()
        })?;
        let part = Some(spoken.part(whole.clone(), spoken.annotations()));
        self.event(Event {
            kind: "response.content_part.done",
            part,
            ..at()
        })?;
        let part = spoken.part(whole.clone(), spoken.annotations());
        let item = OutputItem::message(id, status, vec![part]);
        self.item_event("response.output_item.done", index, item)
    }

    fn reasoning(
        &mut self,
        index: usize,
        ids: &Ids,
        pieces: &Pieces,
        status: &'static str,
    ) -> serde_json::Result<()> {
        let id = &ids.items[index];
        let at = || Event {
            output_index: Some(index),
            item_id: Some(id),
            summary_index: Some(0),
            ..Event::default()
        };
        self.item_event(
            "response.output_item.added",
            index,
            OutputItem::reasoning(id, "in_progress", Vec::new(), None),
        )?;
        let part = Some(Part::summary("".into()));
        self.event(Event {
            kind: "response.reasoning_summary_part.added",
            part,
            ..at()
        })?;
        for piece in pieces.deltas() {
            let kind = "response.reasoning_summary_text.delta";
            self.delta(Event {
                kind,
                delta: Some(piece),
                ..at()
            })?;
        }
        let whole = pieces.text();
        let kind = "response.reasoning_summary_text.done";
        self.event(Event {
            kind,
            text: Some(&whole),
            ..at()
        })?;
        let part = Some(Part::summary(whole.clone()));
        self.event(Event {
            kind: "response.reasoning_summary_part.done",
            part,
            ..at()
        })?;
        let encrypted = ids.encrypted[index].as_deref();
        let item = OutputItem::reasoning(id, status, vec![Part::summary(whole.clone())], encrypted);
        self.item_event("response.output_item.done", index, item)
    }

    fn call(&mut self, index: usize, ids: &Ids, call: &Call, status: &'static str) -> serde_json::Result<()> {
        let (id, call_id, name) = (&ids.items[index], &ids.calls[index], call.name.as_str());
        let at = || Event {
            output_index: Some(index),
            item_id: Some(id),
            ..Event::default()
        };
        let added = OutputItem::call(id, "in_progress", call_id, name, "".into());
        self.item_event("response.output_item.added", index, added)?;
        for piece in call.arguments.deltas() {
            let kind = "response.function_call_arguments.delta";
            self.delta(Event {
                kind,
                delta: Some(piece),
                ..at()
            })?;
        }
        let whole = call.arguments.text();
        let kind = "response.function_call_arguments.done";
        self.event(Event {
            kind,
            name: Some(name),
            arguments: Some(&whole),
            ..at()
        })?;
        let done = OutputItem::call(id, status, call_id, name, whole.clone());
        self.item_event("response.output_item.done", index, done)
    }
}
