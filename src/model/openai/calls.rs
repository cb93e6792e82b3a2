//! The tool calls of one turn, put together from whatever a provider tells them apart by.

use crate::run::ports::ModelEvent;

use super::decode::Events;

/// The calls of one turn, in the order in which they were first heard of.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug)]
struct Call {
    /// The provider's index, if it gives any.
    position: Option<u64>,
    /// The provider's id; empty if it gives none.
    id: String,
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
}

impl Calls {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The provider's ids, in the order of the indices here; empty for one that has none.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|call| call.id.as_str())
    }

    /// Whether a call was mentioned whose tool was never named: it can be neither made nor answered.
    pub(super) fn has_nameless(&self) -> bool {
        self.0
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
        match &mut self.0[index].arguments {
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
            self.0.iter().rposition(|call| call.position == mention.position)
        } else if !mention.id.is_empty() {
            self.0.iter().rposition(|call| call.id == mention.id)
        } else if mention.name.is_empty() {
            self.0.len().checked_sub(1)
        } else {
            None
        };
        let found = found.filter(|&index| !self.0[index].is_other(mention));
        let index = found.unwrap_or_else(|| {
            self.0.push(Call {
                position: mention.position,
                id: String::new(),
                arguments: Arguments::Waiting(String::new()),
            });
            self.0.len() - 1
        });
        let call = &mut self.0[index];
        if call.id.is_empty() {
            mention.id.clone_into(&mut call.id);
        }
        index
    }

    fn name(&mut self, index: usize, name: &str, events: &mut Events) {
        let call = &mut self.0[index];
        let Arguments::Waiting(waiting) = &mut call.arguments else {
            return;
        };
        if name.is_empty() {
            return;
        }
        let waiting = std::mem::take(waiting);
        call.arguments = Arguments::None;
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
        let call = &mut self.0[index];
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

impl Call {
    /// Some servers give every call of a turn the index 0: a new id together with a name is a new call.
    fn is_other(&self, mention: &Mention<'_>) -> bool {
        !mention.id.is_empty() && !mention.name.is_empty() && !self.id.is_empty() && self.id != mention.id
    }
}
