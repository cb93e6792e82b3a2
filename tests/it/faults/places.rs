//! Where in an answer something goes wrong, and in which turn.

use assistd::simulator::{At, Item, Turn};

/// What the model says, token by token.
pub const TEXT: [&str; 3] = ["one and one ", "are two, and ", "one is three"];
/// What it calls `echo` with behind that, where it does, token by token.
pub const ARGUMENTS: [&str; 3] = [r#"{"text": "#, r#""bef"#, r#"ore"}"#];
/// What the tool answers.
pub const OUTPUT: &str = "Echo: before";

/// A place in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first token.
    Before,
    /// In the middle of the event with the first token.
    Within,
    /// After the first token.
    After,
    /// After the first token of a call's arguments.
    Arguments,
    /// After the last token, before the answer says that it is over.
    End,
}

/// What the turn that goes wrong has to do with tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    /// Nothing.
    Without,
    /// It asks for one.
    Asking,
    /// It has the output of one that the turn before asked for.
    Answered,
}

/// What has been heard of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How many tokens of the text.
    pub text: usize,
    /// How many tokens of the arguments.
    pub arguments: usize,
}

impl Place {
    pub const ALL: [Place; 5] = [
        Place::Before,
        Place::Within,
        Place::After,
        Place::Arguments,
        Place::End,
    ];

    /// Why a turn has no such place.
    pub fn never(self, tools: Tools) -> Option<&'static str> {
        (self == Place::Arguments && tools != Tools::Asking)
            .then_some("a turn that calls nothing writes no arguments")
    }

    /// The place, as the simulator says it.
    pub fn at(self, tools: Tools) -> At {
        match self {
            Place::Before => At::Deltas(0),
            Place::Within => At::Within(1),
            Place::After => At::Deltas(1),
            Place::Arguments => At::Deltas(TEXT.len() + 1),
            Place::End => At::Deltas(tools.all().text + tools.all().arguments),
        }
    }

    /// What has been heard there.
    pub fn heard(self, tools: Tools) -> Heard {
        let (text, arguments) = match self {
            Place::Before | Place::Within => (0, 0),
            Place::After => (1, 0),
            Place::Arguments => (TEXT.len(), 1),
            Place::End => return tools.all(),
        };
        Heard { text, arguments }
    }
}

impl Tools {
    pub const ALL: [Tools; 3] = [Tools::Without, Tools::Asking, Tools::Answered];

    /// All that there is to hear of the turn.
    pub fn all(self) -> Heard {
        Heard {
            text: TEXT.len(),
            arguments: match self {
                Tools::Asking => ARGUMENTS.len(),
                Tools::Without | Tools::Answered => 0,
            },
        }
    }

    /// The turn, when nothing goes wrong.
    pub fn turn(self) -> Turn {
        match self {
            Tools::Asking => Turn::say([Item::text(TEXT), Item::call("echo", ARGUMENTS)]),
            Tools::Without | Tools::Answered => Turn::text(TEXT),
        }
    }
}

impl Heard {
    pub const NOTHING: Heard = Heard {
        text: 0,
        arguments: 0,
    };

    /// The text that was heard.
    pub fn text(self) -> String {
        TEXT[..self.text].concat()
    }

    /// The arguments that were heard.
    pub fn arguments(self) -> String {
        ARGUMENTS[..self.arguments].concat()
    }

    /// How many tokens the service takes it for, where nobody has counted.
    pub fn estimate(self) -> i64 {
        estimated(self.text().len() + self.arguments().len())
    }
}

/// How many tokens the service takes so many bytes for, at eight bytes each.
pub fn estimated(bytes: usize) -> i64 {
    bytes as i64 / 8
}

/// How many tokens the simulator counts for a text, at four bytes each, or for a call of `echo`.
pub fn counted(bytes: usize) -> i64 {
    bytes.div_ceil(4) as i64
}
