//! Responses: from stream events to the heart's.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::annotation;
use super::super::calls::{Calls, Mention};
use super::super::decode::{Events, failure, read, usage};
use super::super::error::Failure;
use super::super::loose::{List, Loose, Parts};
use super::kept;
use crate::run::message::{Continuation, Reasoning};
use crate::run::ports::{Finish, ModelEvent};

/// Reads the events of one answer.
#[derive(Clone, Debug, Default)]
pub(in crate::model::openai) struct Decoder {
    calls: Calls,
    /// Something has been said to the caller.
    said: bool,
    /// Some reasoning has been shown.
    reasoned: bool,
    /// The part that is being written has come in deltas, so that its `done` event brings nothing new.
    in_deltas: bool,
    /// Text has come by itself, so that whole messages bring nothing new.
    is_live: bool,
    /// Characters of text so far, and where the part that is being written begins: its annotations count from there.
    characters: u64,
    part_begins: u64,
    /// Annotations of the message that is being written that have been given out.
    cited: usize,
    done: bool,
}

/// Every field that any event of interest has. What is nested is read only where it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire<'a> {
    #[serde(borrow)]
    r#type: Loose<'a>,
    #[serde(borrow)]
    output_index: Loose<'a>,
    #[serde(borrow)]
    item_id: Loose<'a>,
    #[serde(borrow)]
    summary_index: Loose<'a>,
    #[serde(borrow)]
    delta: Loose<'a>,
    #[serde(borrow)]
    text: Loose<'a>,
    #[serde(borrow)]
    refusal: Loose<'a>,
    #[serde(borrow)]
    name: Loose<'a>,
    #[serde(borrow)]
    arguments: Loose<'a>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    id: Loose<'a>,
    #[serde(borrow)]
    status: Loose<'a>,
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<Details<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details<'a> {
    #[serde(borrow)]
    reason: Loose<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow)]
    r#type: Loose<'a>,
    #[serde(borrow)]
    id: Loose<'a>,
    #[serde(borrow)]
    call_id: Loose<'a>,
    #[serde(borrow)]
    encrypted_content: Loose<'a>,
    #[serde(borrow)]
    name: Loose<'a>,
    #[serde(borrow)]
    arguments: Loose<'a>,
    #[serde(borrow)]
    content: Parts<Part<'a>>,
    #[serde(borrow)]
    summary: Parts<Part<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    annotations: List<'a>,
    #[serde(borrow)]
    r#type: Loose<'a>,
    #[serde(borrow)]
    text: Loose<'a>,
    #[serde(borrow)]
    refusal: Loose<'a>,
}

impl From<String> for Part<'_> {
    fn from(text: String) -> Self {
        Self {
            text: Loose::Text(text.into()),
            ..Self::default()
        }
    }
}

impl Decoder {
    /// Takes one event.
    ///
    /// # Errors
    /// The provider's own, or that the event is not JSON.
    pub(in crate::model::openai) fn event(
        &mut self,
        name: &str,
        data: &str,
        out: &mut Events,
    ) -> Result<(), Failure> {
        let data = data.trim();
        if data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let Some(mut wire) = read::<Wire<'_>>(data)? else {
            out.push_back(ModelEvent::Unknown(1));
            return Ok(());
        };
        let kind = match std::mem::take(&mut wire.r#type) {
            Loose::Text(kind) => kind,
            _ => name.into(),
        };
        match &*kind {
            // The second is OpenRouter's, in its guide.
            "response.output_text.delta" | "response.content_part.delta" => {
                self.piece(wire.delta, ModelEvent::TextDelta, out);
            }
            "response.output_text.done" => self.part(wire.text, ModelEvent::TextDelta, out),
            "response.refusal.delta" => self.piece(wire.delta, ModelEvent::RefusalDelta, out),
            "response.refusal.done" => self.part(wire.refusal, ModelEvent::RefusalDelta, out),
            "response.content_part.added" => self.part_begins = self.characters,
            "response.output_text.annotation.added" => self.annotation(wire.annotation, out),
            "response.completed" | "response.done" => self.close(&wire, Some(Finish::Stop), out)?,
            "response.incomplete" => self.close(&wire, Some(Finish::Length), out)?,
            "response.failed" | "response.cancelled" => self.close(&wire, None, out)?,
            "error" | "response.error" => return Err(failure(data)),
            // An error object where an event should be, under whatever name.
            kind if wire.error.is_some() && !kind.starts_with("response.") => return Err(failure(data)),
            kind if kind.starts_with("response.reasoning") => self.reasoning(kind, wire, out),
            _ => self.call(&kind, wire, out),
        }
        Ok(())
    }

    /// Takes a whole answer.
    ///
    /// # Errors
    /// As [`event`](Self::event), or that there is no answer in it.
    pub(in crate::model::openai) fn whole(&mut self, body: &str, out: &mut Events) -> Result<(), Failure> {
        let Some(response) = read::<Response<'_>>(body)? else {
            return Err(failure(body));
        };
        let finish = match response.status.as_str() {
            "incomplete" => Some(Finish::Length),
            // Some servers leave the status out.
            "completed" | "" if response.output.is_some() => Some(Finish::Stop),
            _ => None,
        };
        self.complete(response, finish, body, out)
    }

    /// Says that the bytes are over.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub(in crate::model::openai) fn end(&self) -> Result<(), Failure> {
        if self.done {
            Ok(())
        } else {
            Err(Failure::broken("the stream ended before the answer did"))
        }
    }

    /// Whether the answer is complete.
    pub(in crate::model::openai) fn is_done(&self) -> bool {
        self.done
    }

    fn say(&mut self, text: String, event: fn(String) -> ModelEvent, out: &mut Events) {
        if !text.is_empty() {
            self.said = true;
            let event = event(text);
            if let ModelEvent::TextDelta(text) = &event {
                self.characters += text.chars().count() as u64;
            }
            out.push_back(event);
        }
    }

    /// A message that is over. It is said now if nothing of the answer has come live.
    fn message(&mut self, parts: Vec<Part<'_>>, out: &mut Events) {
        if self.is_live {
            self.cite(parts, out);
        } else {
            self.whole_message(parts, out);
        }
    }

    fn whole_message(&mut self, parts: Vec<Part<'_>>, out: &mut Events) {
        for part in parts {
            if part.r#type.as_str() == "refusal" {
                self.say(part.refusal.into_text(), ModelEvent::RefusalDelta, out);
                continue;
            }
            let begins = self.characters;
            self.say(part.text.into_text(), ModelEvent::TextDelta, out);
            let annotations = part.annotations.elements();
            let read = annotations.iter().filter_map(annotation::read);
            out.extend(read.map(|read| ModelEvent::Annotation(read.behind(begins))));
        }
    }

    fn annotation(&mut self, json: Option<&RawValue>, out: &mut Events) {
        self.cited += 1;
        let read = json.and_then(|json| serde_json::from_str(json.get()).ok());
        let read = read.and_then(|value: Value| annotation::read(&value));
        out.extend(read.map(|read| ModelEvent::Annotation(read.behind(self.part_begins))));
    }

    /// The annotations of a message that is whole, without those that have come by themselves.
    fn cite(&mut self, parts: Vec<Part<'_>>, out: &mut Events) {
        let length = |part: &Part<'_>| part.text.as_str().chars().count() as u64;
        let mut begins = self.characters.saturating_sub(parts.iter().map(length).sum());
        let mut cited = Vec::new();
        for part in parts {
            let behind = begins + length(&part);
            let annotations = part.annotations.elements().into_iter();
            cited.extend(annotations.map(|annotation| (begins, annotation)));
            begins = behind;
        }
        for (begins, annotation) in cited.into_iter().skip(self.cited) {
            let read = annotation::read(&annotation).map(|read| read.behind(begins));
            out.extend(read.map(ModelEvent::Annotation));
        }
        self.cited = 0;
    }

    /// A piece of reasoning that is over.
    fn reasoned(&mut self, item: Item<'_>, out: &mut Events) {
        let shown = item.summary.0.into_iter().chain(item.content.0);
        let mut shown: Vec<String> = shown.map(|part| part.text.into_text()).collect();
        // Some servers give the same text as the reasoning and as its summary.
        shown.dedup();
        let reasoning = Reasoning {
            summary: shown.join("\n\n"),
            encrypted: item.encrypted_content.into_text(),
            id: item.id.into_text(),
            upstream: String::new(),
        };
        if !reasoning.summary.is_empty() || !reasoning.encrypted.is_empty() {
            self.reasoned = true;
            out.push_back(ModelEvent::Reasoning(reasoning));
        }
    }

    fn reason(&mut self, text: String, out: &mut Events) {
        if !text.is_empty() {
            self.reasoned = true;
            out.push_back(ModelEvent::ReasoningDelta(text));
        }
    }

    fn piece(&mut self, delta: Loose<'_>, event: fn(String) -> ModelEvent, out: &mut Events) {
        self.in_deltas = true;
        self.is_live = true;
        self.say(delta.into_text(), event, out);
    }

    /// The end of a part, with its whole text.
    fn part(&mut self, text: Loose<'_>, event: fn(String) -> ModelEvent, out: &mut Events) {
        if !std::mem::take(&mut self.in_deltas) {
            let text = text.into_text();
            self.is_live |= !text.is_empty();
            self.say(text, event, out);
        }
    }

    fn reasoning(&mut self, kind: &str, wire: Wire<'_>, out: &mut Events) {
        match kind {
            "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning_summary.delta"
            | "response.reasoning.delta" => {
                self.reason(wire.delta.into_text(), out);
            }
            // Each part of a summary is a paragraph.
            "response.reasoning_summary_part.added" if wire.summary_index.as_u64() > Some(0) => {
                self.reason("\n\n".to_owned(), out);
            }
            "response.reasoning_summary_part.added"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.done"
            | "response.reasoning_text.done"
            | "response.reasoning_part.added"
            | "response.reasoning_part.done"
            | "response.reasoning_summary.done"
            | "response.reasoning.done" => {}
            _ => out.push_back(ModelEvent::Unknown(1)),
        }
    }

    fn call(&mut self, kind: &str, wire: Wire<'_>, out: &mut Events) {
        let position = wire.output_index.as_u64();
        match kind {
            "response.function_call_arguments.delta" => {
                let mention = mention(position, &wire.item_id, "");
                self.calls.piece(&mention, &wire.delta.as_json(), out);
            }
            "response.function_call_arguments.done" => {
                let mention = mention(position, &wire.item_id, wire.name.as_str());
                self.calls.arguments(&mention, &wire.arguments.as_json(), out);
            }
            "response.output_item.added" | "response.output_item.done" => {
                let item = wire
                    .item
                    .and_then(|item| serde_json::from_str::<Item<'_>>(item.get()).ok());
                let Some(item) = item else {
                    return;
                };
                let is_done = kind.ends_with("done");
                match item.r#type.as_str() {
                    "function_call" => {}
                    "reasoning" if is_done => return self.reasoned(item, out),
                    "message" if is_done => return self.message(item.content.0, out),
                    _ => return,
                }
                let mention = Mention {
                    call_id: item.call_id.as_str(),
                    ..mention(position, &item.id, item.name.as_str())
                };
                if !is_done {
                    // What arguments it may have come again, in deltas or in the `done` event.
                    self.calls.start(&mention, out);
                } else {
                    self.calls.call(&mention, &item.arguments.as_json(), out);
                }
            }
            kind if is_passed_over(kind) => {}
            _ => out.push_back(ModelEvent::Unknown(1)),
        }
    }

    /// Takes the last event, which holds the whole answer once more.
    fn close(&mut self, wire: &Wire<'_>, finish: Option<Finish>, out: &mut Events) -> Result<(), Failure> {
        let json = wire.response.map_or("{}", RawValue::get);
        let response = read::<Response<'_>>(json)?.unwrap_or_default();
        if finish.is_none()
            && let Some(usage) = response.usage.and_then(usage)
        {
            // It failed, and was used all the same.
            out.push_back(ModelEvent::Usage(usage));
        }
        self.complete(response, finish, json, out)
    }

    fn complete(
        &mut self,
        response: Response<'_>,
        finish: Option<Finish>,
        json: &str,
        out: &mut Events,
    ) -> Result<(), Failure> {
        let response_id = response.id;
        // Some servers say `completed` of whatever is over, and how it ended only by its status.
        let finish = match response.status.as_str() {
            "incomplete" => finish.map(|_| Finish::Length),
            "failed" | "cancelled" => None,
            _ => finish,
        };
        let Some(mut finish) = finish.filter(|_| response.error.is_none()) else {
            return Err(failure(json));
        };
        if finish == Finish::Length
            && let Some(details) = response.incomplete_details
            && details.reason.as_str() == "content_filter"
        {
            finish = Finish::ContentFilter;
        }
        let (has_said, has_called) = (self.said, !self.calls.is_empty());
        for (position, item) in response.output.into_iter().flatten().enumerate() {
            self.item(position, item, has_said, has_called, out);
        }
        if finish == Finish::Stop && self.calls.has_nameless() {
            return Err(Failure::broken("a tool call without a name"));
        }
        if let Some(usage) = response.usage.and_then(usage) {
            out.push_back(ModelEvent::Usage(usage));
        }
        let response_id = response_id.as_str();
        let calls: Vec<&str> = self.calls.ids().collect();
        if !response_id.is_empty() && calls.iter().all(|id| !id.is_empty()) {
            out.push_back(ModelEvent::Continuation(Continuation {
                upstream: String::new(),
                state: kept::state(response_id, &calls),
            }));
        }
        self.done = true;
        out.push_back(ModelEvent::Finished(finish));
        Ok(())
    }

    /// Takes an item of a whole answer, as far as nothing of its kind has come before.
    fn item(&mut self, position: usize, json: &RawValue, has_said: bool, has_called: bool, out: &mut Events) {
        if has_said && has_called {
            return;
        }
        let Ok(item) = serde_json::from_str::<Item<'_>>(json.get()) else {
            return;
        };
        match item.r#type.as_str() {
            "function_call" if !has_called => {
                let mention = Mention {
                    call_id: item.call_id.as_str(),
                    ..mention(Some(position as u64), &item.id, item.name.as_str())
                };
                self.calls.call(&mention, &item.arguments.as_json(), out);
            }
            "message" if !has_said => self.whole_message(item.content.0, out),
            "reasoning" if !self.reasoned && !has_said && !has_called => self.reasoned(item, out),
            _ => {}
        }
    }
}

/// What is known, and tells nothing that is needed: how far the answer is, and what tools do that the provider runs
/// itself.
fn is_passed_over(kind: &str) -> bool {
    const EVENTS: [&str; 7] = [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.content_part.done",
        // Between events, so that nobody thinks that the connection is dead.
        "keepalive",
        "response.keepalive",
        "ping",
    ];
    const OF_ITS_TOOLS: [&str; 10] = [
        "response.audio",
        "response.apply_patch_call",
        "response.code_interpreter_call",
        "response.computer_call",
        "response.custom_tool_call",
        "response.file_search_call",
        "response.image_generation_call",
        "response.mcp_",
        "response.shell_call",
        "response.web_search_call",
    ];
    EVENTS.contains(&kind) || OF_ITS_TOOLS.iter().any(|tool| kind.starts_with(tool))
}

fn mention<'a>(position: Option<u64>, id: &'a Loose<'_>, name: &'a str) -> Mention<'a> {
    Mention {
        position,
        call_id: "",
        id: id.as_str(),
        name,
    }
}
