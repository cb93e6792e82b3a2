//! Assistants: from stream events, or from a run that was asked after, to the heart's events.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::annotation;
use super::super::calls::{Calls, ToolCall};
use super::super::decode::{Events, failure, read, usage};
use super::super::error::Failure;
use super::super::loose::{List, Loose, Parts};
use crate::run::ports::{Finish, ModelEvent};

/// Reads one turn of a run.
#[derive(Clone, Debug, Default)]
pub(in crate::model::openai) struct Decoder {
    calls: Calls,
    /// The thread and the run there, as soon as they are heard of.
    place: Option<Place>,
    /// What the run was when it was last heard of.
    end: Option<End>,
    /// Characters of text so far.
    characters: u64,
    writing: Writing,
    /// The id of the newest message.
    written: Option<String>,
    /// Why a message was cut off, which the run itself need not say.
    cut: Option<Finish>,
    done: bool,
}

/// The message that is being written.
#[derive(Clone, Debug, Default)]
struct Writing {
    /// It has come in deltas, so that its last event brings no new text.
    in_deltas: bool,
    id: String,
    /// Its parts by their places, each with the characters of text before it: annotations count from there.
    begins: Vec<(u64, u64)>,
    /// The annotations that have been given out, by the places of their parts and their own.
    cited: Vec<(u64, u64)>,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model::openai) struct Place {
    pub(in crate::model::openai) thread: String,
    pub(in crate::model::openai) run: String,
}

/// How a turn ended.
#[derive(Clone, Debug)]
enum End {
    Finished(Finish),
    Failed(Failure),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire<'a> {
    #[serde(borrow)]
    object: Loose<'a>,
    #[serde(borrow)]
    id: Loose<'a>,
    #[serde(borrow)]
    thread_id: Loose<'a>,
    #[serde(borrow)]
    status: Loose<'a>,
    #[serde(borrow)]
    role: Loose<'a>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    content: Parts<Part<'a>>,
    #[serde(borrow)]
    data: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    required_action: Option<Action<'a>>,
    #[serde(borrow)]
    incomplete_details: Loose<'a>,
    #[serde(borrow)]
    last_error: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Parts<Part<'a>>,
    #[serde(borrow)]
    step_details: Option<ToolCalls<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    index: Loose<'a>,
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    refusal: Loose<'a>,
}

/// A text with its annotations, or plain, as some servers write it.
#[derive(Debug, Default)]
struct Text<'a> {
    value: Loose<'a>,
    annotations: List<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotated<'a> {
    #[serde(borrow)]
    value: Loose<'a>,
    #[serde(borrow)]
    annotations: List<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Action<'a> {
    #[serde(borrow)]
    submit_tool_outputs: Option<ToolCalls<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCalls<'a> {
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
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
        if name == "error" {
            return Err(failure(data));
        }
        let Some(wire) = read::<Wire<'_>>(data)? else {
            out.push_back(ModelEvent::Unknown(1));
            return Ok(());
        };
        if wire.error.is_some() {
            return Err(failure(data));
        }
        // The object says what it is, also where the event's name is missing.
        match wire.object.as_str() {
            "thread.run" => {
                self.run(wire, out)?;
                self.settle(out)?;
            }
            "thread.message.delta" => {
                self.write(wire.id.as_str());
                self.writing.in_deltas = true;
                let content = wire.delta.unwrap_or_default().content;
                for (place, part) in content.0.into_iter().enumerate() {
                    self.part(place as u64, part, out);
                }
            }
            "thread.message" => self.message(name, wire, out),
            "thread.run.step.delta" => {
                let details = wire.delta.and_then(|delta| delta.step_details);
                let calls = details.and_then(|details| details.tool_calls).unwrap_or_default();
                let calls = calls.into_iter().filter(ToolCall::is_of_function);
                self.calls.take_pieces(calls.collect(), out);
            }
            // What is told of a thread and of a step is told by the run and its messages too.
            "thread" | "thread.run.step" => {}
            _ => out.push_back(ModelEvent::Unknown(1)),
        }
        Ok(())
    }

    /// Takes an object in whole: a run, or the list of the messages that it has written.
    ///
    /// # Errors
    /// That it is not JSON, or an error.
    pub(in crate::model::openai) fn whole(&mut self, body: &str, out: &mut Events) -> Result<(), Failure> {
        let Some(wire) = read::<Wire<'_>>(body)? else {
            return Err(failure(body));
        };
        if wire.object.as_str() == "thread.run" && wire.error.is_none() {
            return self.run(wire, out);
        }
        let Some(messages) = wire.data else {
            return Err(failure(body));
        };
        for message in messages {
            if let Some(message) = read::<Wire<'_>>(message.get())? {
                self.message("", message, out);
            }
        }
        Ok(())
    }

    /// Tells the end of the turn, if it has come.
    ///
    /// # Errors
    /// The run there failed, or was ended by somebody else.
    pub(in crate::model::openai) fn settle(&mut self, out: &mut Events) -> Result<(), Failure> {
        match self.end.take() {
            None => Ok(()),
            Some(End::Failed(failure)) => Err(failure),
            // One that was cut off may be cut before it has a name.
            Some(End::Finished(Finish::Stop)) if self.calls.has_nameless() => {
                Err(Failure::broken("a tool call without a name"))
            }
            Some(End::Finished(finish)) => {
                self.done = true;
                out.push_back(ModelEvent::Finished(finish));
                Ok(())
            }
        }
    }

    /// Says that the bytes are over.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub(in crate::model::openai) fn end(&self) -> Result<(), Failure> {
        if self.done {
            Ok(())
        } else {
            Err(Failure::broken("the stream ended before the run did"))
        }
    }

    /// Whether the turn is over.
    pub(in crate::model::openai) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the run has come to an end that is yet to be [told](Self::settle).
    pub(in crate::model::openai) fn is_at_end(&self) -> bool {
        self.end.is_some()
    }

    /// Where the run is, as soon as that is known.
    pub(in crate::model::openai) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The provider's id of the newest message of this turn; none where none has come, or it has none.
    pub(in crate::model::openai) fn written(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// The provider's ids of the calls of this turn, in their order here; none if any of them is not known.
    pub(in crate::model::openai) fn call_ids(&self) -> Option<Vec<String>> {
        let known = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        self.calls.ids().map(known).collect()
    }

    fn run(&mut self, wire: Wire<'_>, out: &mut Events) -> Result<(), Failure> {
        if !wire.id.as_str().is_empty() {
            self.place = Some(Place {
                thread: wire.thread_id.as_str().to_owned(),
                run: wire.id.as_str().to_owned(),
            });
        }
        let broken = |text: &str| Some(End::Failed(Failure::broken(text)));
        self.end = match wire.status.as_str() {
            "completed" => Some(End::Finished(Finish::Stop)),
            "requires_action" => {
                let action = wire.required_action.and_then(|action| action.submit_tool_outputs);
                let calls = action.and_then(|action| action.tool_calls).into_iter().flatten();
                let calls = calls.filter(ToolCall::is_of_function);
                for (position, call) in calls.enumerate() {
                    self.calls.take_whole(position, call, out);
                }
                Some(End::Finished(Finish::Stop))
            }
            "incomplete" => {
                // A run has words for limits alone: one that names none, and whose messages do not either, was cut by
                // the filter.
                let reasons = [self.cut, cut(&wire.incomplete_details)];
                let is_of_limit = reasons.contains(&Some(Finish::Length));
                let is_of_filter = reasons.contains(&Some(Finish::ContentFilter)) || !is_of_limit;
                Some(End::Finished(match is_of_filter {
                    true => Finish::ContentFilter,
                    false => Finish::Length,
                }))
            }
            "failed" => Some(End::Failed(match wire.last_error {
                Some(error) => failure(error.get()),
                None => Failure::broken("the run failed"),
            })),
            "cancelled" | "cancelling" => broken("the run was cancelled there"),
            "expired" => broken("the run expired there"),
            // "queued", "in_progress", and whatever else servers have thought of: it goes on.
            _ => None,
        };
        if self.end.is_some()
            && let Some(usage) = wire.usage.and_then(usage)
        {
            out.push_back(ModelEvent::Usage(usage));
        }
        Ok(())
    }

    /// A message as a whole: its beginning, where it is empty, or its end.
    fn message(&mut self, name: &str, wire: Wire<'_>, out: &mut Events) {
        if wire.role.as_str() == "user" {
            return;
        }
        self.write(wire.id.as_str());
        self.cut = cut(&wire.incomplete_details).or(self.cut);
        let is_over = matches!(wire.status.as_str(), "completed" | "incomplete")
            || name.ends_with(".completed")
            || name.ends_with(".incomplete");
        if !is_over {
            return;
        }
        if self.writing.in_deltas {
            self.cite(wire.content.0, out);
        } else {
            for (place, part) in wire.content.0.into_iter().enumerate() {
                self.part(place as u64, part, out);
            }
        }
        self.writing = Writing::default();
    }

    /// The message of this id is what is written now. Some servers give it none.
    fn write(&mut self, id: &str) {
        if id.is_empty() || id == self.writing.id {
            return;
        }
        if !self.writing.id.is_empty() {
            self.writing = Writing::default();
        }
        id.clone_into(&mut self.writing.id);
        self.written = Some(id.to_owned());
    }

    /// A part of a message, or a piece of one; `place` is for one that has none of its own.
    fn part(&mut self, place: u64, part: Part<'_>, out: &mut Events) {
        let place = part.index.as_u64().unwrap_or(place);
        let begins = self.begins(place);
        let text = part.text.value.into_text();
        if !text.is_empty() {
            self.characters += text.chars().count() as u64;
            out.push_back(ModelEvent::TextDelta(text));
        }
        for annotation in part.text.annotations.elements() {
            let known = self.writing.cited.iter().filter(|(part, _)| *part == place);
            let number = annotation.get("index").and_then(Value::as_u64);
            let number = number.unwrap_or(known.count() as u64);
            self.annotation((place, number), begins, &annotation, out);
        }
        let refusal = part.refusal.into_text();
        if !refusal.is_empty() {
            out.push_back(ModelEvent::RefusalDelta(refusal));
        }
    }

    /// What a message refers to that has come in deltas, as far as they have not said so.
    fn cite(&mut self, parts: Vec<Part<'_>>, out: &mut Events) {
        for (place, part) in parts.into_iter().enumerate() {
            let place = place as u64;
            let begins = self.begins(place);
            for (number, annotation) in part.text.annotations.elements().iter().enumerate() {
                self.annotation((place, number as u64), begins, annotation, out);
            }
        }
    }

    fn annotation(&mut self, known_by: (u64, u64), begins: u64, annotation: &Value, out: &mut Events) {
        if self.writing.cited.contains(&known_by) {
            return;
        }
        // In deltas it may be told piece by piece: then the whole message tells it.
        if let Some(read) = annotation::read(annotation) {
            self.writing.cited.push(known_by);
            out.push_back(ModelEvent::Annotation(read.behind(begins)));
        }
    }

    /// The characters of text before the part at this place, which begins now if it has not before.
    fn begins(&mut self, place: u64) -> u64 {
        let known = self.writing.begins.iter().find(|(part, _)| *part == place);
        if let Some((_, begins)) = known {
            return *begins;
        }
        self.writing.begins.push((place, self.characters));
        self.characters
    }
}

/// Why a run or a message is incomplete, where that is said: in an object, or plainly.
fn cut(details: &Loose<'_>) -> Option<Finish> {
    let reason = match details {
        Loose::Tree(details) => details.get("reason").and_then(Value::as_str).unwrap_or_default(),
        details => details.as_str(),
    };
    match reason {
        "content_filter" => Some(Finish::ContentFilter),
        "max_tokens" | "max_completion_tokens" | "max_prompt_tokens" => Some(Finish::Length),
        _ => None,
    }
}

impl From<String> for Part<'_> {
    fn from(text: String) -> Self {
        Self {
            text: Text::plain(Loose::Text(text.into())),
            ..Self::default()
        }
    }
}

impl<'a> Text<'a> {
    fn plain(value: Loose<'a>) -> Self {
        Self {
            value,
            annotations: List::default(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyText)
    }
}

/// Whatever stands where a text should be. Read by hand, because this is most of a stream.
struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Annotated { value, annotations } = Annotated::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Text { value, annotations })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text::plain(Loose::Text(text.to_owned().into())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
}
