//! Chat Completions: from chunks to the heart's events.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::annotation;
use super::super::calls::{Calls, Function, ToolCall};
use super::super::decode::{Events, failure, read, usage};
use super::super::error::Failure;
use super::super::loose::{List, Loose};
use super::reasoned::{self, REASONING, REASONING_CONTENT, THINKING, Thought};
use crate::run::ports::{Finish, ModelEvent};

/// Reads the chunks of one answer.
#[derive(Clone, Debug, Default)]
pub(in crate::model::openai) struct Decoder {
    calls: Calls,
    /// The reasoning that has not been told as over yet.
    thought: Thought,
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
    #[serde(borrow)]
    reasoning_content: Loose<'a>,
    #[serde(borrow)]
    reasoning: Loose<'a>,
    #[serde(borrow)]
    reasoning_details: List<'a>,
    #[serde(borrow)]
    annotations: List<'a>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    /// What `tool_calls` was called before there could be more than one.
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
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
            _ => {
                let is_known = self.chunk(data, out)?;
                if !is_known {
                    out.push_back(ModelEvent::Unknown(1));
                }
                Ok(())
            }
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
        let spoke = self.said || !self.calls.is_empty();
        let finish = self.finish.or(spoke.then_some(Finish::Stop));
        let Some(finish) = finish else {
            return Err(Failure::broken("an answer without any content"));
        };
        // One that was cut off may be cut before it has a name.
        if finish == Finish::Stop && self.calls.has_nameless() {
            return Err(Failure::broken("a tool call without a name"));
        }
        self.done = true;
        self.close_thought(out);
        out.push_back(ModelEvent::Finished(finish));
        Ok(())
    }

    /// Whether that is a chunk, or something that nobody here knows.
    fn chunk(&mut self, data: &str, out: &mut Events) -> Result<bool, Failure> {
        let Some(chunk) = read::<Chunk<'_>>(data)? else {
            return Ok(false);
        };
        let is_error = |error: &RawValue| !matches!(error.get(), "{}" | "\"\"" | "false");
        if chunk.error.is_some_and(is_error) || chunk.object.as_str() == "error" {
            return Err(failure(data));
        }
        let is_known = chunk.choices.is_some()
            || chunk.usage.is_some()
            || chunk.object.as_str().starts_with("chat.completion");
        for choice in chunk.choices.into_iter().flatten() {
            // One answer is asked for; further ones would be another's words.
            if choice.index.as_u64().unwrap_or(0) == 0 {
                self.choice(choice, out)?;
            }
        }
        if let Some(usage) = chunk.usage.and_then(usage) {
            out.push_back(ModelEvent::Usage(usage));
        }
        Ok(is_known)
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut Events) -> Result<(), Failure> {
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, out);
        }
        match choice.finish_reason.as_str() {
            "" => {}
            "length" | "max_tokens" | "model_length" => self.finish = Some(Finish::Length),
            "content_filter" => self.finish = Some(Finish::ContentFilter),
            // "abort" is vLLM's, the resource DeepSeek's, the network that of GLM.
            "error" | "abort" | "insufficient_system_resource" | "network_error" => {
                return Err(Failure::broken("the provider stopped with an error"));
            }
            // "stop", "tool_calls", and whatever else servers have thought of, such as "eos".
            _ => self.finish = Some(Finish::Stop),
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Events) {
        let details = delta.reasoning_details.elements();
        let (thinking, content) = delta.content.into_thought_and_text();
        let reasoning = delta.reasoning_content.into_text();
        // Some servers send the same reasoning under both names, or under a name and in details.
        let (field, reasoning) = if reasoning.is_empty() {
            match delta.reasoning.into_text() {
                reasoning if reasoning.is_empty() => (THINKING, thinking),
                reasoning => (REASONING, reasoning),
            }
        } else {
            (REASONING_CONTENT, reasoning)
        };
        let reasoning = if reasoning.is_empty() {
            details.iter().map(reasoned::shown).collect()
        } else {
            self.thought.said(field);
            reasoning
        };
        for piece in details {
            self.thought.add(piece);
        }
        self.say(reasoning, ModelEvent::ReasoningDelta, out);
        let refusal = delta.refusal.into_text();
        let calls = delta.tool_calls.unwrap_or_default();
        let goes_on = content.is_empty() && refusal.is_empty() && calls.is_empty();
        if !goes_on || delta.function_call.is_some() {
            self.close_thought(out);
        }
        self.say(content, ModelEvent::TextDelta, out);
        self.say(refusal, ModelEvent::RefusalDelta, out);
        let annotations = delta.annotations.elements();
        out.extend(
            annotations
                .iter()
                .filter_map(annotation::read)
                .map(ModelEvent::Annotation),
        );
        self.calls.take_pieces(calls, out);
        if let Some(function) = delta.function_call {
            self.calls.take_only(&function, out);
        }
    }

    /// What the model was thinking led to something: it is over.
    fn close_thought(&mut self, out: &mut Events) {
        out.extend(self.thought.take().map(ModelEvent::Reasoning));
    }

    fn say(&mut self, text: String, event: fn(String) -> ModelEvent, out: &mut Events) {
        if !text.is_empty() {
            self.said = true;
            out.push_back(event(text));
        }
    }
}
