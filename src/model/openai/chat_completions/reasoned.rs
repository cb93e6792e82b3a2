//! Reasoning in Chat Completions: what servers call it, and how it is given back with the calls that came of it.
//!
//! OpenAI's own API has no such field; others have invented several. DeepSeek refuses a conversation in which a message
//! that calls tools has lost its `reasoning_content` (<https://api-docs.deepseek.com/guides/thinking_mode>), and so do
//! some that serve its models. vLLM has called the field `reasoning` since late in 2025
//! (<https://github.com/vllm-project/vllm/issues/27755>), as Ollama does. OpenRouter wants its `reasoning_details` back
//! as they were (<https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks>). So reasoning goes
//! back under the name under which it came, unless the operator names another. Mistral has it as parts of the content, and
//! recommends to keep them there (<https://docs.mistral.ai/capabilities/reasoning>).

use serde_json::{Map, Value, json};

use crate::model::ReasoningBack;
use crate::run::message::{Message, Part, Reasoning};

/// DeepSeek's name for reasoning, and that of many servers.
pub(super) const REASONING_CONTENT: &str = "reasoning_content";
/// The name of vLLM, Ollama, Groq, and of OpenRouter for what it shows.
pub(super) const REASONING: &str = "reasoning";
/// Mistral's: no field, but parts of the content.
pub(super) const THINKING: &str = "thinking";
/// OpenRouter's name for all of it, signatures and what is encrypted included.
const DETAILS: &str = "reasoning_details";

/// The reasoning that a model is at, or has been at since it was last told.
#[derive(Clone, Debug, Default)]
pub(super) struct Thought {
    /// The name under which its text comes.
    field: Option<&'static str>,
    details: Vec<Value>,
}

impl Thought {
    /// Takes note of a text that came under this name.
    pub(super) fn said(&mut self, field: &'static str) {
        self.field = Some(field);
    }

    /// Takes a piece of details. Pieces of one detail come in a row, with its type and its place.
    pub(super) fn add(&mut self, piece: Value) {
        let is_of_the_same = |last: &Value| {
            ["type", "index", "id"]
                .iter()
                .all(|key| last.get(key) == piece.get(key))
        };
        let last = self.details.last_mut().filter(|last| is_of_the_same(last));
        match (last.and_then(Value::as_object_mut), piece) {
            (Some(last), Value::Object(piece)) => append(last, piece),
            (_, piece) => self.details.push(piece),
        }
    }

    /// All of it, once it is over; none if there was nothing.
    pub(super) fn take(&mut self) -> Option<Reasoning> {
        let field = self.field.take();
        let details = std::mem::take(&mut self.details);
        let (id, encrypted) = match details.is_empty() {
            true => (field?, String::new()),
            false => (DETAILS, Value::Array(details).to_string()),
        };
        Some(Reasoning {
            id: id.to_owned(),
            encrypted,
            ..Reasoning::default()
        })
    }
}

/// What a detail shows.
pub(super) fn shown(detail: &Value) -> &str {
    let shown = ["text", "summary"]
        .iter()
        .find_map(|key| detail.get(key)?.as_str());
    shown.unwrap_or_default()
}

fn append(last: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (key, value) in piece {
        match (last.get_mut(&key), value) {
            (Some(Value::String(text)), Value::String(more))
                if matches!(key.as_str(), "text" | "summary" | "data") =>
            {
                text.push_str(&more);
            }
            (Some(known), value) if known.is_null() => *known = value,
            (None, value) => {
                last.insert(key, value);
            }
            (Some(_), _) => {}
        }
    }
}

/// How reasoning is given back.
pub(in crate::model::openai) struct Back<'a> {
    pub(in crate::model::openai) mode: ReasoningBack,
    /// The upstream and model that are asked.
    pub(in crate::model::openai) identity: &'a str,
}

impl Back<'_> {
    /// What goes with a message of the model's beside what it says; nothing unless it calls tools.
    pub(super) fn fields(&self, message: &Message) -> Option<Map<String, Value>> {
        message.tool_calls().next()?;
        let reasoned = message.content.iter().filter_map(|part| match part {
            Part::Reasoning(reasoning) => Some(reasoning),
            _ => None,
        });
        let field = match self.mode {
            ReasoningBack::Never => return None,
            ReasoningBack::AsGiven => return self.as_given(reasoned, message),
            ReasoningBack::ReasoningContent => REASONING_CONTENT,
            ReasoningBack::Reasoning => REASONING,
        };
        // Where somebody says that it is wanted, it is wanted also of a message that has none.
        let text: String = reasoned.map(|reasoning| reasoning.summary.as_str()).collect();
        Some(Map::from_iter([(field.to_owned(), text.into())]))
    }

    fn as_given<'a>(
        &self,
        reasoned: impl Iterator<Item = &'a Reasoning>,
        message: &Message,
    ) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        let mut thinking = String::new();
        for reasoning in reasoned.filter(|reasoning| reasoning.upstream == self.identity) {
            match reasoning.id.as_str() {
                DETAILS => {
                    let details = serde_json::from_str(&reasoning.encrypted).unwrap_or_default();
                    let before = fields.entry(DETAILS).or_insert_with(|| Value::Array(Vec::new()));
                    if let (Value::Array(before), Value::Array(details)) = (before, details) {
                        before.extend(details);
                    }
                }
                THINKING => thinking.push_str(&reasoning.summary),
                field @ (REASONING_CONTENT | REASONING) => {
                    let before = fields.entry(field).or_insert_with(|| String::new().into());
                    if let Value::String(before) = before {
                        before.push_str(&reasoning.summary);
                    }
                }
                _ => {}
            }
        }
        if !thinking.is_empty() {
            let thinking = json!([{"type": "text", "text": thinking}]);
            let mut parts = vec![json!({"type": "thinking", "thinking": thinking})];
            let said = message.text() + &message.refusal();
            if !said.is_empty() {
                parts.push(json!({"type": "text", "text": said}));
            }
            fields.insert("content".to_owned(), parts.into());
        }
        (!fields.is_empty()).then_some(fields)
    }
}
