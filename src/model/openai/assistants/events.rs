//! Assistants: from stream events, or from a run that was asked after, to the heart's events.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::calls::{Calls, ToolCall};
use super::super::decode::{Events, failure, read, usage};
use super::super::error::Failure;
use super::super::loose::Loose;
use crate::run::ports::{Finish, ModelEvent};

/// Reads one turn of a run.
#[derive(Debug, Default)]
pub(in crate::model::openai) struct Decoder {
    calls: Calls,
    /// The thread and the run there, as soon as they are heard of.
    place: Option<Place>,
    /// What the run was when it was last heard of.
    end: Option<End>,
    /// The message that is being written has come in deltas, so that its last event brings nothing new.
    in_deltas: bool,
    /// A message was cut off by the provider's filter: the run itself does not say so.
    is_filtered: bool,
    done: bool,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model::openai) struct Place {
    pub(in crate::model::openai) thread: String,
    pub(in crate::model::openai) run: String,
}

/// How a turn ended.
#[derive(Debug)]
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
    content: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    data: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    required_action: Option<Action<'a>>,
    #[serde(borrow)]
    incomplete_details: Option<Details<'a>>,
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
    content: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    step_details: Option<ToolCalls<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Loose<'a>,
}

/// A text with its annotations, or plain, as some servers write it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text<'a> {
    Annotated {
        #[serde(borrow, default)]
        value: Loose<'a>,
    },
    Plain(String),
    Other(serde::de::IgnoredAny),
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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details<'a> {
    #[serde(borrow)]
    reason: Loose<'a>,
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
                self.in_deltas = true;
                let content = wire.delta.and_then(|delta| delta.content);
                self.say(content, out);
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
            Some(End::Finished(_)) if self.calls.has_nameless() => {
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
                let reason = wire.incomplete_details.unwrap_or_default().reason;
                let is_filtered = self.is_filtered || reason.as_str() == "content_filter";
                Some(End::Finished(match is_filtered {
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
        let reason = wire.incomplete_details.unwrap_or_default().reason;
        self.is_filtered |= reason.as_str() == "content_filter";
        let is_over = matches!(wire.status.as_str(), "completed" | "incomplete")
            || name.ends_with(".completed")
            || name.ends_with(".incomplete");
        if is_over && !std::mem::take(&mut self.in_deltas) {
            self.say(wire.content, out);
        }
    }

    fn say(&mut self, content: Option<Vec<Part<'_>>>, out: &mut Events) {
        for part in content.into_iter().flatten() {
            let text = match part.text {
                Some(Text::Annotated { value }) => value.into_text(),
                Some(Text::Plain(text)) => text,
                Some(Text::Other(_)) | None => String::new(),
            };
            if !text.is_empty() {
                out.push_back(ModelEvent::TextDelta(text));
            }
            let refusal = part.refusal.into_text();
            if !refusal.is_empty() {
                out.push_back(ModelEvent::RefusalDelta(refusal));
            }
        }
    }
}
