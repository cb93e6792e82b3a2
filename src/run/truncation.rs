//! What becomes of a conversation that is longer than a model is to be given. What is stored is the serialised form
//! of these types: rename with care.

use serde::{Deserialize, Serialize};

/// How a long conversation is shortened for the model. The thread itself keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Truncation {
    /// What happens to the oldest part.
    pub strategy: Strategy,
    /// How many turns the model is given at most, the newest; a turn begins where the caller speaks. None for all.
    pub last_turns: Option<u32>,
    /// How many tokens it is given at most, beside the bound of its own context. None for no more than that.
    pub max_tokens: Option<u64>,
}

/// What happens to the oldest part of a conversation that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing is left out: the run fails.
    #[default]
    Disabled,
    /// It is left out.
    Auto,
    /// It is summed up by a model, and left out.
    Summarize,
}

/// How much of a thread a run wants to read: nothing before that can be given to a model, except what the operator
/// said (system messages), which always comes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    #[default]
    All,
    /// At least so many turns, the newest; a turn begins where the caller speaks after somebody else.
    Turns(u32),
    /// At least so many messages, the newest.
    Messages(u64),
}

/// How much of a conversation a model turn was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextUse {
    /// Messages that the model was given.
    pub messages: u32,
    /// Messages of the thread that it was not given.
    pub omitted: u32,
}
