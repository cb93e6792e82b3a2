//! The tool calls of one turn, put together from whatever a provider tells them apart by.

use serde::Deserialize;

use crate::run::ports::ModelEvent;

use super::decode::Events;
use super::loose::Loose;

/// The calls of one turn, in the order in which they were first heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    heard: Vec<Call>,
    /// Their places, in the order in which they were given out.
    given: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Call {
    /// The provider's index, if it gives any.
    position: Option<u64>,
    /// The provider's id; empty if it gives none.
    id: String,
    /// The id that the provider wants the output under; empty if it has said none.
    call_id: String,
    /// The tool's name; empty until it comes.
    name: String,
    arguments: Arguments,
    /// How far into their JSON the arguments go.
    extent: Extent,
    /// The last that was said of it in whole.
    told: Told,
}

/// How much of a call has been said in whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    #[default]
    Pieces,
    /// Its arguments.
    Arguments,
    /// All of it.
    Call,
}

/// What an event brings of the call that it mentions.
#[derive(Clone, Copy, Debug)]
enum News<'a> {
    /// That it is made.
    Start,
    /// A piece of its arguments. The first of a list may go on where the list before it left off; one behind it that
    /// says nothing of which call it is begins a new one.
    Piece { json: &'a str, is_first: bool },
    /// All of its arguments, or all of it.
    Whole(Told),
}

/// Follows arguments that come in pieces, to know where their JSON is complete.
#[derive(Clone, Debug, Default)]
struct Extent {
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    has_begun: bool,
}

/// How far the arguments of a call are.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Takes the pieces of calls in one event, as they are written. The provider wants the output under the call's own
    /// id.
    pub(super) fn take_pieces(&mut self, calls: Vec<ToolCall<'_>>, events: &mut Events) {
        for (place, call) in calls.into_iter().enumerate() {
            let function = call.function.unwrap_or_default();
            let mention = function.mention(call.index.as_u64(), call.id.as_str());
            let json = function.arguments.as_json();
            let is_first = place == 0;
            let index = self.find(
                &mention,
                News::Piece {
                    json: &json,
                    is_first,
                },
            );
            self.name(index, mention.name, events);
            self.append(index, &json, events);
        }
    }

    /// Takes a call that is written in whole, the one at this place in a list.
    pub(super) fn take_whole(&mut self, position: usize, call: ToolCall<'_>, events: &mut Events) {
        let function = call.function.unwrap_or_default();
        let mention = function.mention(Some(position as u64), call.id.as_str());
        self.call(&mention, &function.arguments.as_json(), events);
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

    /// Takes note that a call is made.
    pub(super) fn start(&mut self, mention: &Mention<'_>, events: &mut Events) {
        let index = self.find(mention, News::Start);
        self.name(index, mention.name, events);
    }

    /// Adds a piece of arguments to the call that is meant.
    pub(super) fn piece(&mut self, mention: &Mention<'_>, json: &str, events: &mut Events) {
        let index = self.find(mention, News::Piece { json, is_first: true });
        self.name(index, mention.name, events);
        self.append(index, json, events);
    }

    /// Takes the arguments of a call in whole; the call itself may be said once more behind them. Where pieces have
    /// come already they are the same text, and are not given out again.
    pub(super) fn arguments(&mut self, mention: &Mention<'_>, json: &str, events: &mut Events) {
        self.whole(mention, Told::Arguments, json, events);
    }

    /// Takes a call in whole, its arguments as in [`arguments`](Self::arguments).
    pub(super) fn call(&mut self, mention: &Mention<'_>, json: &str, events: &mut Events) {
        self.whole(mention, Told::Call, json, events);
    }

    fn whole(&mut self, mention: &Mention<'_>, told: Told, json: &str, events: &mut Events) {
        let index = self.find(mention, News::Whole(told));
        let call = &mut self.heard[index];
        call.told = call.told.max(told);
        match &mut call.arguments {
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
    fn find(&mut self, mention: &Mention<'_>, news: News<'_>) -> usize {
        let index = self.known(mention, news).unwrap_or_else(|| {
            self.heard.push(Call::default());
            self.heard.len() - 1
        });
        let call = &mut self.heard[index];
        call.position = call.position.or(mention.position);
        if call.id.is_empty() {
            mention.id.clone_into(&mut call.id);
        }
        if call.call_id.is_empty() {
            mention.call_id.clone_into(&mut call.call_id);
        }
        index
    }

    /// The call that is meant, if it was heard of before: by its place, which is surest, since ids are known to change
    /// from event to event behind some gateways; then by its ids; then the newest that this may be about.
    fn known(&self, mention: &Mention<'_>, news: News<'_>) -> Option<usize> {
        let newest = |is_meant: &dyn Fn(&Call) -> bool| {
            self.heard
                .iter()
                .rposition(|call| !call.is_other(mention) && is_meant(call))
        };
        let is = |said: &str, id: &str| !said.is_empty() && said == id;
        let is_there = |call: &Call| mention.position.is_some() && call.position == mention.position;
        let may_be_there = |call: &Call| {
            call.position.is_none() || mention.position.is_none() || call.position == mention.position
        };
        newest(&|call| is_there(call) && is(mention.id, &call.id))
            .or_else(|| newest(&is_there))
            .or_else(|| newest(&|call| may_be_there(call) && is(mention.id, &call.id)))
            .or_else(|| newest(&|call| may_be_there(call) && is(mention.call_id, &call.call_id)))
            .or_else(|| newest(&|call| may_be_there(call) && call.goes_on(mention, news)))
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
        name.clone_into(&mut call.name);
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
                call.extent.follow(json);
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

impl Default for Arguments {
    fn default() -> Self {
        Self::Waiting(String::new())
    }
}

impl Call {
    /// Some servers give every call of a turn the same place: a new id together with a name is a new call.
    fn is_other(&self, mention: &Mention<'_>) -> bool {
        let is_unlike = |said: &str, id: &str| !said.is_empty() && !id.is_empty() && said != id;
        !mention.name.is_empty() && is_unlike(mention.call_id, &self.call_id)
    }

    /// Whether something that is said of a call without anything to know it by may be said of this one.
    fn goes_on(&self, mention: &Mention<'_>, news: News<'_>) -> bool {
        if mention.name.is_empty() {
            // An id that nobody knows may have changed, or be that of a call whose name is still to come.
            return mention.id.is_empty() || self.told == Told::Pieces;
        }
        if self.name.is_empty() {
            return mention.id.is_empty() || self.id.is_empty();
        }
        self.name == mention.name
            && match news {
                News::Start => false,
                News::Piece { json, is_first } => {
                    is_first && (json.trim().is_empty() || !self.extent.is_complete())
                }
                News::Whole(told) => self.told < told,
            }
    }
}

impl Extent {
    fn follow(&mut self, json: &str) {
        for byte in json.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_text => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Arguments are an object, whose end is seen.
    fn is_complete(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}
