//! One turn of a script: for which request it is, and what it answers.

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ask::Ask;
use super::{Fault, Pace, fault};

/// One answer of a script.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Which requests it is for.
    #[serde(default)]
    pub when: When,
    /// How many requests it answers; by default one, or any number when `when` says something.
    #[serde(default)]
    pub times: Option<u32>,
    /// Its own pace instead of the script's.
    #[serde(default)]
    pub pace: Option<Pace>,
    /// What it answers.
    pub answer: Answer,
}

/// A condition on a request; all that is given must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The last user message contains this.
    pub user: Option<String>,
    /// An output of a tool called since that message contains this.
    pub output: Option<String>,
}

/// What the simulator does with a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A model's answer in the dialect of the request.
    Say(Speech),
    /// These bytes with this status: errors of any form, garbage.
    Raw(RawAnswer),
    /// No answer at all, not even headers, until the client goes away (10 minutes at most).
    Hang,
    /// The connection is closed without a word.
    Disconnect,
}

/// What the model says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Speech {
    /// Texts, calls and so on, in order.
    pub items: Vec<Item>,
    /// Why it stops.
    pub finish: Finish,
    /// What goes wrong on the way.
    pub faults: Vec<Fault>,
}

/// One thing that the model says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Text for the user.
    Text(Pieces),
    /// Text for the user that refers to something.
    Cited(Cited),
    /// A summary of its reasoning (`reasoning_content` in Chat Completions).
    Reasoning(Pieces),
    /// A refusal.
    Refusal(Pieces),
    /// A call of a tool.
    Call(Call),
}

/// A text and what it refers to. The Assistants API has words for files alone: anything else is not told there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cited {
    /// The text.
    pub text: Pieces,
    /// Annotations as the Responses API has them: `{"type": "url_citation", "url": …}`.
    pub annotations: Vec<Value>,
}

/// A call of a tool. The arguments are sent as given, also when they are not JSON.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// An object, a raw string, or a list of raw strings.
    #[serde(deserialize_with = "arguments")]
    pub arguments: Pieces,
    /// The call's id instead of a fresh one.
    #[serde(default)]
    pub id: Option<String>,
}

/// A text and how it is cut into deltas.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Pieces {
    /// Cut by the simulator: after each space, and into pieces of 32 bytes at most.
    Whole(String),
    /// One delta for each.
    Given(Vec<String>),
}

/// Why the model stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It has said everything: `stop`, or `tool_calls` when it calls tools.
    #[default]
    Stop,
    /// Its output has reached the token limit.
    Length,
    /// The provider's filter has cut it off.
    ContentFilter,
    /// The provider has failed: `response.failed`, or an error in place of the end.
    Failed,
}

/// A scripted HTTP answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers; `content-type` is `application/json` unless given here.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body; without one, an error in OpenAI's form that fits the status.
    #[serde(default)]
    pub body: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Arguments {
    Object(Map<String, Value>),
    Raw(Pieces),
}

fn arguments<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Pieces, D::Error> {
    Ok(match Arguments::deserialize(deserializer)? {
        Arguments::Object(object) => Pieces::Whole(Value::Object(object).to_string()),
        Arguments::Raw(pieces) => pieces,
    })
}

const LONGEST_PIECE_BYTES: usize = 32;

impl Pieces {
    /// The whole text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Pieces::Whole(text) => Cow::Borrowed(text),
            Pieces::Given(pieces) => Cow::Owned(pieces.concat()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Pieces::Whole(text) => text.len(),
            Pieces::Given(pieces) => pieces.iter().map(String::len).sum(),
        }
    }

    /// The deltas.
    pub fn deltas(&self) -> impl Iterator<Item = &str> {
        let (mut rest, given) = match self {
            Pieces::Whole(text) => (text.as_str(), [].as_slice()),
            Pieces::Given(pieces) => ("", pieces.as_slice()),
        };
        let cut = std::iter::from_fn(move || {
            let (piece, tail) = split_piece(rest)?;
            rest = tail;
            Some(piece)
        });
        cut.chain(given.iter().map(String::as_str))
    }
}

fn split_piece(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    let limit = text.floor_char_boundary(LONGEST_PIECE_BYTES);
    let end = text.as_bytes()[..limit]
        .iter()
        .position(|byte| *byte == b' ')
        .map_or(limit, |space| space + 1);
    Some(text.split_at(end))
}

impl From<&str> for Pieces {
    fn from(text: &str) -> Self {
        Pieces::Whole(text.to_owned())
    }
}

impl From<String> for Pieces {
    fn from(text: String) -> Self {
        Pieces::Whole(text)
    }
}

impl<const N: usize> From<[&str; N]> for Pieces {
    fn from(pieces: [&str; N]) -> Self {
        Pieces::Given(pieces.iter().map(|piece| (*piece).to_owned()).collect())
    }
}

impl Item {
    /// A text.
    pub fn text(text: impl Into<Pieces>) -> Self {
        Item::Text(text.into())
    }

    /// A call of `name`; `arguments` are sent as they are.
    pub fn call(name: impl Into<String>, arguments: impl Into<Pieces>) -> Self {
        Item::Call(Call {
            name: name.into(),
            arguments: arguments.into(),
            id: None,
        })
    }
}

impl Speech {
    /// Says `item` and nothing else.
    #[must_use]
    pub fn of(item: Item) -> Self {
        Speech {
            items: vec![item],
            ..Speech::default()
        }
    }

    /// How many tokens it is sent as.
    pub(super) fn deltas(&self) -> usize {
        let pieces = self.items.iter().map(|item| match item {
            Item::Text(pieces) | Item::Reasoning(pieces) | Item::Refusal(pieces) => pieces,
            Item::Cited(cited) => &cited.text,
            Item::Call(call) => &call.arguments,
        });
        pieces.map(|pieces| pieces.deltas().count()).sum()
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.items.iter().filter_map(|item| match item {
            Item::Call(call) => Some(call),
            _ => None,
        })
    }
}

/// How many tokens an exchange has, taking four bytes for one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub input: usize,
    /// All that was said, with the reasoning.
    pub output: usize,
    pub reasoning: usize,
}

impl Tokens {
    pub fn of(ask: &Ask, speech: &Speech) -> Self {
        const BYTES: usize = 4;
        let (mut said, mut reasoning) = (0, 0);
        for item in &speech.items {
            match item {
                Item::Text(pieces) | Item::Refusal(pieces) => said += pieces.bytes(),
                Item::Cited(cited) => said += cited.text.bytes(),
                Item::Reasoning(pieces) => reasoning += pieces.bytes(),
                Item::Call(call) => said += call.name.len() + call.arguments.bytes(),
            }
        }
        let reasoning = reasoning.div_ceil(BYTES);
        let output = said.div_ceil(BYTES) + reasoning;
        Tokens {
            input: ask.input_bytes.div_ceil(BYTES),
            output,
            reasoning,
        }
    }
}

impl When {
    pub(super) fn holds(&self, ask: &Ask) -> bool {
        let user = self.user.as_ref().is_none_or(|text| ask.message.contains(text));
        let output = self
            .output
            .as_ref()
            .is_none_or(|text| ask.outputs.iter().any(|output| output.contains(text)));
        user && output
    }

    fn says_something(&self) -> bool {
        self.user.is_some() || self.output.is_some()
    }
}

impl RawAnswer {
    /// What cannot be sent, behind its key.
    fn check(&self) -> Result<(), String> {
        // Below it are no answers, but what is said before one.
        if !(200..=599).contains(&self.status) {
            return Err(format!("status: {} is not from 200 to 599", self.status));
        }
        if matches!(self.status, 204 | 304) && self.body.as_ref().is_some_and(|body| !body.is_empty()) {
            return Err(format!("body: status {} has none", self.status));
        }
        for (index, (name, value)) in self.headers.iter().enumerate() {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err(format!("headers[{index}]: {name:?} cannot be sent"));
            }
        }
        Ok(())
    }
}

impl From<Answer> for Turn {
    fn from(answer: Answer) -> Self {
        Turn {
            when: When::default(),
            times: None,
            pace: None,
            answer,
        }
    }
}

impl Turn {
    /// What cannot be, behind its place.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.times == Some(0) {
            return Err("times: a turn answers at least one request".to_owned());
        }
        if let Some(pace) = &self.pace {
            pace.check().map_err(|what| format!("pace.{what}"))?;
        }
        match &self.answer {
            Answer::Say(speech) => fault::check(&speech.faults).map_err(|what| format!("answer.say.{what}")),
            Answer::Raw(answer) => answer.check().map_err(|what| format!("answer.raw.{what}")),
            Answer::Hang | Answer::Disconnect => Ok(()),
        }
    }

    /// Says `items`, in order.
    pub fn say(items: impl IntoIterator<Item = Item>) -> Self {
        Answer::Say(Speech {
            items: items.into_iter().collect(),
            ..Speech::default()
        })
        .into()
    }

    /// Says a text: a string, or an array of the deltas to send.
    pub fn text(text: impl Into<Pieces>) -> Self {
        Turn::say([Item::text(text)])
    }

    /// Calls one tool with JSON arguments.
    #[must_use]
    pub fn call(name: &str, arguments: &Value) -> Self {
        Turn::say([Item::call(name, arguments.to_string())])
    }

    /// Calls one tool with arguments sent as they are, e.g. malformed or in given pieces.
    pub fn raw_call(name: &str, arguments: impl Into<Pieces>) -> Self {
        Turn::say([Item::call(name, arguments)])
    }

    /// Answers `status` with an error in OpenAI's form.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Answer::Raw(RawAnswer {
            status,
            headers: Vec::new(),
            body: None,
        })
        .into()
    }

    /// Answers `status` with a body of any kind.
    pub fn raw(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Answer::Raw(RawAnswer {
            status,
            headers,
            body: Some(body.into()),
        })
        .into()
    }

    /// Does not answer at all.
    #[must_use]
    pub fn hang() -> Self {
        Answer::Hang.into()
    }

    /// Closes the connection without a word.
    #[must_use]
    pub fn disconnect() -> Self {
        Answer::Disconnect.into()
    }

    /// Adds a header to a status or raw answer (others keep their own).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Answer::Raw(raw) = &mut self.answer {
            raw.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Stops for this reason.
    #[must_use]
    pub fn finish(mut self, finish: Finish) -> Self {
        if let Answer::Say(speech) = &mut self.answer {
            speech.finish = finish;
        }
        self
    }

    /// Goes wrong in this way, besides the ways given before.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        if let Answer::Say(speech) = &mut self.answer {
            speech.faults.push(fault);
        }
        self
    }

    /// Only for a last user message that contains `text`.
    #[must_use]
    pub fn when_user(mut self, text: &str) -> Self {
        self.when.user = Some(text.to_owned());
        self
    }

    /// Only when a tool's output contains `text`.
    #[must_use]
    pub fn when_output(mut self, text: &str) -> Self {
        self.when.output = Some(text.to_owned());
        self
    }

    /// For this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Waits `first_ms` before the first token and `token_ms` before each other one.
    #[must_use]
    pub fn pace(mut self, first_ms: u64, token_ms: u64) -> Self {
        self.pace = Some(Pace::constant(first_ms, token_ms));
        self
    }

    /// Whether it answers yet another request after having answered `used`.
    pub(super) fn has_uses_left(&self, used: u32) -> bool {
        match self.times {
            Some(times) => used < times,
            None => used == 0 || self.when.says_something(),
        }
    }
}
