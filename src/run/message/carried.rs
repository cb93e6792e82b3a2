//! What only the provider that wrote a message can make use of, kept for its next turn.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Message, Part};

/// How the model came to what follows in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reasoning {
    /// As far as the provider shows it; empty when it shows nothing.
    pub summary: String,
    /// All of it, which only the provider can read; empty when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encrypted: String,
    /// The provider's id of it; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Who can read what is encrypted: an upstream and its model. Nobody else is sent it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upstream: String,
}

/// What a provider needs to go on behind a message that its model wrote: a response's id, or the ids of a thread,
/// a run and its calls there. Never shown to callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// Who can go on so: an upstream and its model.
    pub upstream: String,
    /// In the upstream's own terms.
    pub state: Value,
}

impl Part {
    /// Whether anything is said to anybody, or asked for. What is not is kept only beside what is.
    pub fn is_said(&self) -> bool {
        !matches!(
            self,
            Part::Reasoning(_) | Part::Annotations(_) | Part::Continuation(_) | Part::Summarized(_)
        )
    }
}

impl Message {
    /// How this upstream goes on behind the message, if it can.
    pub fn continuation(&self, upstream: &str) -> Option<&Value> {
        self.content.iter().rev().find_map(|part| match part {
            Part::Continuation(continuation) if continuation.upstream == upstream => {
                Some(&continuation.state)
            }
            _ => None,
        })
    }
}
