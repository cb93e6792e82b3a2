//! The tool calls of one turn, put together from whatever a provider tells them apart by.

use serde::Deserialize;

use crate::run::ports::ModelEvent;

use super::decode::Events;
use super::loose::Loose;

/// The calls of one turn, in the order in which they were first heard of.
#[derive(Debug, Default)]
pub(super) struct Calls {
    heard: Vec<Call>,
    /// Their places, in the order in which they were given out.
    given: Vec<usize>,
}

#[derive(Debug)]
struct Call {
    /// The provider's index, if it gives any.
    position: Option<u64>,
    /// The provider's id; empty if it gives none.
    id: String,
    /// The id that the provider wants the output under; empty if it has said none.
    call_id: String,
    arguments: Arguments,
}

/// How far the arguments of a call are.
#[derive(Debug, PartialEq, Eq)]
enum Arguments {
    /// The tool's name has not come yet; these wait for it.
    Waiting(String),
    /// The call is given out, without arguments so far.
    None,
    /// So are some of its arguments.
    Some,
}

/// What an event says of a call. Every field may be missing.
#[derive(Debug, Default)]
pub(super) struct Mention<'a> {
    pub(super) position: Option<u64>,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    /// See [`Calls::ids`].
    pub(super) call_id: &'a str,
}

/// A call, or a piece of one, as Chat Completions and Assistants write it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    index: Loose<'a>,
    #[serde(borrow)]
    id: Loose<'a>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

/// What is called, and with what.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    name: Loose<'a>,
    #[serde(borrow)]
    arguments: Loose<'a>,
}

impl Calls {
    /// Takes a piece of a call as it is written. The provider wants the output under the call's own id.
    pub(super) fn take_piece(&mut self, call: ToolCall<'_>, events: &mut Events) {
        let function = call.function.unwrap_or_default();
        let mention = function.mention(call.index.as_u64(), call.id.as_str());
        self.piece(&mention, &function.arguments.as_json(), events);
    }

    /// Takes a call that is written in whole, the one at this place in a list.
    pub(super) fn take_whole(&mut self, position: usize, call: ToolCall<'_>, events: &mut Events) {
        let function = call.function.unwrap_or_default();
        let mention = function.mention(Some(position as u64), call.id.as_str());
        self.whole(&mention, &function.arguments.as_json(), events);
    }

    /// Takes a piece of the one call that there could be before there were `tool_calls`.
    pub(super) fn take_only(&mut self, function: &Function<'_>, events: &mut Events) {
        let mention = function.mention(Some(0), "");
        self.piece(&mention, &function.arguments.as_json(), events);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }

    /// The ids that the provider wants the outputs under, in the order in which the calls were given out; empty for
    /// one that has none.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.given.iter().map(|&index| self.heard[index].call_id.as_str())
    }

    /// Whether a call was mentioned whose tool was never named: it can be neither made nor answered.
    pub(super) fn has_nameless(&self) -> bool {
        self.heard
            .iter()
            .any(|call| matches!(call.arguments, Arguments::Waiting(_)))
    }

    /// Adds a piece of arguments to the call that is meant.
    pub(super) fn piece(&mut self, mention: &Mention<'_>, json: &str, events: &mut Events) {
        let index = self.find(mention);
        self.name(index, mention.name, events);
        self.append(index, json, events);
    }

    /// Takes the arguments in whole. Where pieces have come already they are the same text, and are not
    /// given out again.
    pub(super) fn whole(&mut self, mention: &Mention<'_>, json: &str, events: &mut Events) {
        let index = self.find(mention);
        match &mut self.heard[index].arguments {
            Arguments::Waiting(waiting) if !json.is_empty() => {
                json.clone_into(waiting);
                self.name(index, mention.name, events);
            }
            Arguments::Waiting(_) => self.name(index, mention.name, events),
            Arguments::None => self.append(index, json, events),
            Arguments::Some => {}
        }
    }

    /// The call that is meant, which may be a new one.
    fn find(&mut self, mention: &Mention<'_>) -> usize {
        let found = if mention.position.is_some() {
            self.heard
                .iter()
                .rposition(|call| call.position == mention.position)
        } else if !mention.id.is_empty() {
            self.heard.iter().rposition(|call| call.id == mention.id)
        } else if mention.name.is_empty() {
            self.heard.len().checked_sub(1)
        } else {
            None
        };
        let found = found.filter(|&index| !self.heard[index].is_other(mention));
        let index = found.unwrap_or_else(|| {
            self.heard.push(Call {
                position: mention.position,
                id: String::new(),
                call_id: String::new(),
                arguments: Arguments::Waiting(String::new()),
            });
            self.heard.len() - 1
        });
        let call = &mut self.heard[index];
        if call.id.is_empty() {
            mention.id.clone_into(&mut call.id);
        }
        if call.call_id.is_empty() {
            mention.call_id.clone_into(&mut call.call_id);
        }
        index
    }

    fn name(&mut self, index: usize, name: &str, events: &mut Events) {
        let call = &mut self.heard[index];
        let Arguments::Waiting(waiting) = &mut call.arguments else {
            return;
        };
        if name.is_empty() {
            return;
        }
        let waiting = std::mem::take(waiting);
        call.arguments = Arguments::None;
        self.given.push(index);
        events.push_back(ModelEvent::ToolCallStarted {
            index,
            tool: name.to_owned(),
        });
        self.append(index, &waiting, events);
    }

    fn append(&mut self, index: usize, json: &str, events: &mut Events) {
        if json.is_empty() {
            return;
        }
        let call = &mut self.heard[index];
        match &mut call.arguments {
            Arguments::Waiting(waiting) => waiting.push_str(json),
            Arguments::None | Arguments::Some => {
                call.arguments = Arguments::Some;
                events.push_back(ModelEvent::ToolCallArgumentsDelta {
                    index,
                    json: json.to_owned(),
                });
            }
        }
    }
}

impl ToolCall<'_> {
    /// Whether it is a function that is called, and not a tool of the provider's.
    pub(super) fn is_of_function(&self) -> bool {
        self.function.is_some()
    }
}

impl Function<'_> {
    fn mention<'b>(&'b self, position: Option<u64>, id: &'b str) -> Mention<'b> {
        Mention {
            position,
            id,
            name: self.name.as_str(),
            call_id: id,
        }
    }
}

impl Call {
    /// Some servers give every call of a turn the index 0: a new id together with a name is a new call.
    fn is_other(&self, mention: &Mention<'_>) -> bool {
        !mention.id.is_empty() && !mention.name.is_empty() && !self.id.is_empty() && self.id != mention.id
    }
}
