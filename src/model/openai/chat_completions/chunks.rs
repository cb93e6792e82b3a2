//! Chat Completions: from chunks to the heart's events.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::annotation;
use super::super::calls::{Calls, Mention};
use super::super::decode::{Events, failure, read, usage};
use super::super::error::Failure;
use super::super::loose::Loose;
use crate::run::ports::{Finish, ModelEvent};

/// Reads the chunks of one answer.
#[derive(Debug, Default)]
pub(in crate::model::openai) struct Decoder {
    calls: Calls,
    /// Anything has been said, be it only reasoning.
    said: bool,
    /// The provider's reason to stop. More may follow it: the usage.
    finish: Option<Finish>,
    done: bool,
}

/// A chunk, or a whole answer: they differ in `delta` and `message`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Chunk<'a> {
    #[serde(borrow)]
    object: Loose<'a>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Loose<'a>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Loose<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Loose<'a>,
    #[serde(borrow)]
    refusal: Loose<'a>,
    /// DeepSeek's name for reasoning, and that of many servers.
    #[serde(borrow)]
    reasoning_content: Loose<'a>,
    /// OpenRouter's name for it.
    #[serde(borrow)]
    reasoning: Loose<'a>,
    annotations: Option<Vec<Value>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    /// What `tool_calls` was called before there could be more than one.
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    #[serde(borrow)]
    index: Loose<'a>,
    #[serde(borrow)]
    id: Loose<'a>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Loose<'a>,
    #[serde(borrow)]
    arguments: Loose<'a>,
}

impl Decoder {
    /// Takes one event.
    ///
    /// # Errors
    /// The provider's own, or that the chunk is not JSON.
    pub(in crate::model::openai) fn event(
        &mut self,
        name: &str,
        data: &str,
        out: &mut Events,
    ) -> Result<(), Failure> {
        let data = data.trim();
        match data {
            "" => Ok(()),
            "[DONE]" => self.close(out),
            _ if name == "error" => Err(failure(data)),
            _ => self.chunk(data, out),
        }
    }

    /// Takes a whole answer.
    ///
    /// # Errors
    /// As [`event`](Self::event), or that there is no answer in it.
    pub(in crate::model::openai) fn whole(&mut self, body: &str, out: &mut Events) -> Result<(), Failure> {
        self.chunk(body, out)?;
        self.close(out).map_err(|_| failure(body))
    }

    /// Says that the bytes are over. Without `[DONE]` only the provider's reason to stop proves completeness.
    ///
    /// # Errors
    /// When the answer is not complete.
    pub(in crate::model::openai) fn end(&mut self, out: &mut Events) -> Result<(), Failure> {
        if self.done || self.finish.is_some() {
            self.close(out)
        } else {
            Err(Failure::broken("the stream ended before the answer did"))
        }
    }

    /// Whether the answer is complete.
    pub(in crate::model::openai) fn is_done(&self) -> bool {
        self.done
    }

    /// The provider says that the answer is complete: a missing reason to stop is forgiven.
    fn close(&mut self, out: &mut Events) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        if self.calls.has_nameless() {
            return Err(Failure::broken("a tool call without a name"));
        }
        let spoke = self.said || !self.calls.is_empty();
        let finish = self.finish.or(spoke.then_some(Finish::Stop));
        let Some(finish) = finish else {
            return Err(Failure::broken("an answer without any content"));
        };
        self.done = true;
        out.push_back(ModelEvent::Finished(finish));
        Ok(())
    }

    fn chunk(&mut self, data: &str, out: &mut Events) -> Result<(), Failure> {
        let Some(chunk) = read::<Chunk<'_>>(data)? else {
            return Ok(());
        };
        let is_error = |error: &RawValue| !matches!(error.get(), "{}" | "\"\"" | "false");
        if chunk.error.is_some_and(is_error) || chunk.object.as_str() == "error" {
            return Err(failure(data));
        }
        for choice in chunk.choices.into_iter().flatten() {
            // One answer is asked for; further ones would be another's words.
            if choice.index.as_u64().unwrap_or(0) == 0 {
                self.choice(choice, out)?;
            }
        }
        if let Some(usage) = chunk.usage.and_then(usage) {
            out.push_back(ModelEvent::Usage(usage));
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut Events) -> Result<(), Failure> {
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, out);
        }
        match choice.finish_reason.as_str() {
            "" => {}
            "length" | "max_tokens" | "model_length" => self.finish = Some(Finish::Length),
            "content_filter" => self.finish = Some(Finish::ContentFilter),
            "error" => return Err(Failure::broken("the provider stopped with an error")),
            // "stop", "tool_calls", and whatever else servers have thought of, such as "eos".
            _ => self.finish = Some(Finish::Stop),
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Events) {
        // Some servers send the same reasoning under both names.
        let reasoning = delta.reasoning_content.into_text();
        let reasoning = if reasoning.is_empty() {
            delta.reasoning.into_text()
        } else {
            reasoning
        };
        self.say(reasoning, ModelEvent::ReasoningDelta, out);
        self.say(delta.content.into_text(), ModelEvent::TextDelta, out);
        self.say(delta.refusal.into_text(), ModelEvent::RefusalDelta, out);
        let annotations = delta.annotations.iter().flatten();
        out.extend(
            annotations
                .filter_map(annotation::read)
                .map(ModelEvent::Annotation),
        );
        for call in delta.tool_calls.into_iter().flatten() {
            let function = call.function.unwrap_or_default();
            let mention = Mention {
                position: call.index.as_u64(),
                id: call.id.as_str(),
                name: function.name.as_str(),
                ..Mention::default()
            };
            self.calls.piece(&mention, &function.arguments.into_json(), out);
        }
        if let Some(function) = delta.function_call {
            let mention = Mention {
                position: Some(0),
                name: function.name.as_str(),
                ..Mention::default()
            };
            self.calls.piece(&mention, &function.arguments.into_json(), out);
        }
    }

    fn say(&mut self, text: String, event: fn(String) -> ModelEvent, out: &mut Events) {
        if !text.is_empty() {
            self.said = true;
            out.push_back(event(text));
        }
    }
}
