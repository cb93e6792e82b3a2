//! What goes wrong, and what comes of it.

use std::num::NonZeroUsize;

use assistd::api::pb::IncompleteReason;
use assistd::config::Dialect;
use assistd::simulator::{At, Delay, Fault, Finish, Pace, Turn};

use super::places::{Place, Tools};

/// One thing that goes wrong.
pub struct Row {
    pub name: &'static str,
    pub wrong: Wrong,
    /// What comes of it.
    pub end: End,
    /// What comes of it in other places.
    pub but: &'static [(Place, End)],
    /// Whether nothing comes for longer than the model is waited for.
    pub is_silent: bool,
    /// Whether nobody says how many tokens were used.
    pub is_uncounted: bool,
    /// Whether the provider says how many tokens were used, though nothing is heard.
    pub is_counted: bool,
}

/// How it goes wrong.
#[derive(Clone, Copy)]
pub enum Wrong {
    /// These come in place of the answer that was to be, which the request behind them gets.
    Instead(fn() -> Vec<Turn>),
    /// In the middle of the answer's bytes.
    There(fn(Dialect, At) -> Fault),
    /// An event stands there that does not belong there.
    Event(fn(Dialect) -> &'static str),
    /// All the way through.
    Throughout(fn(Dialect) -> Fault),
    /// Nothing, but the tokens come like this.
    Slowly(Pace),
    /// It stops for this reason.
    Ends(Finish),
}

/// What comes of a fault.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub state: State,
    /// The requests of the turn: a status that was answered, or a reason with its status. `None` for one that was
    /// answered if anything was heard, and else failed for the reason of the run.
    pub attempts: Option<&'static [&'static str]>,
    /// After how many seconds callers are told to come back.
    pub come_back_s: Option<i64>,
}

/// How the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Completed,
    Incomplete(IncompleteReason),
    Failed(&'static str),
}

const fn ends(state: State) -> End {
    End {
        state,
        attempts: None,
        come_back_s: None,
    }
}

const fn after(attempts: &'static [&'static str], state: State) -> End {
    End {
        attempts: Some(attempts),
        ..ends(state)
    }
}

const fn row(name: &'static str, wrong: Wrong, end: End) -> Row {
    Row {
        name,
        wrong,
        end,
        but: &[],
        is_silent: false,
        is_uncounted: false,
        is_counted: false,
    }
}

const COMPLETED: State = State::Completed;
const FILTERED: State = State::Incomplete(IncompleteReason::ContentFilter);
const UNAVAILABLE: State = State::Failed("MODEL_UNAVAILABLE");
const REJECTED: State = State::Failed("MODEL_REQUEST_REJECTED");
const BAD_KEY: State = State::Failed("MODEL_CREDENTIALS_REJECTED");
const NO_QUOTA: State = State::Failed("QUOTA_EXCEEDED");
const LIMITED: State = State::Failed("RATE_LIMITED");
const TOO_LONG: State = State::Failed("CONTEXT_LENGTH_EXCEEDED");

/// A refusal with this status that may be sent again at once.
fn at_once(status: u16, times: u32) -> Vec<Turn> {
    vec![Turn::status(status).header("retry-after", "0").times(times)]
}

/// A refusal with this status and code.
fn coded(status: u16, code: &str) -> Vec<Turn> {
    let body = format!(r#"{{"error":{{"message":"words of the provider","code":"{code}"}}}}"#);
    vec![Turn::raw(status, "application/json", body)]
}

/// These fields are missing, by the dialect.
fn without<'a>(
    dialect: Dialect,
    responses: &'a str,
    chat_completions: &'a str,
    assistants: &'a str,
) -> Fault {
    let fields = match dialect {
        Dialect::Responses => responses,
        Dialect::ChatCompletions => chat_completions,
        Dialect::Assistants => assistants,
    };
    Fault::Without(fields.split(' ').map(str::to_owned).collect())
}

/// An error in the stream, as each dialect writes it.
macro_rules! error_event {
    ($code:literal) => {
        |dialect| match dialect {
            Dialect::Responses => concat!(
                "event: error\ndata: {\"type\":\"error\",\"code\":",
                $code,
                ",\"message\":\"words of the provider\"}\n\n"
            ),
            Dialect::ChatCompletions => concat!(
                "data: {\"error\":{\"code\":",
                $code,
                ",\"message\":\"words of the provider\"}}\n\n"
            ),
            Dialect::Assistants => concat!(
                "event: error\ndata: {\"code\":",
                $code,
                ",\"message\":\"words of the provider\"}\n\n"
            ),
        }
    };
}

pub static ROWS: [Row; 51] = [
    row(
        "nothing",
        Wrong::Throughout(|_| Fault::Without(Vec::new())),
        ends(COMPLETED),
    ),
    // Before any answer.
    row(
        "400",
        Wrong::Instead(|| vec![Turn::status(400)]),
        after(&["MODEL_REQUEST_REJECTED 400"], REJECTED),
    ),
    row(
        "401",
        Wrong::Instead(|| vec![Turn::status(401)]),
        after(&["MODEL_CREDENTIALS_REJECTED 401"], BAD_KEY),
    ),
    row(
        "402",
        Wrong::Instead(|| vec![Turn::status(402)]),
        after(&["QUOTA_EXCEEDED 402"], NO_QUOTA),
    ),
    row(
        "403",
        Wrong::Instead(|| vec![Turn::status(403)]),
        after(&["MODEL_CREDENTIALS_REJECTED 403"], BAD_KEY),
    ),
    row(
        "404",
        Wrong::Instead(|| vec![Turn::status(404)]),
        after(&["MODEL_REQUEST_REJECTED 404"], REJECTED),
    ),
    row(
        "422",
        Wrong::Instead(|| vec![Turn::status(422)]),
        after(&["MODEL_REQUEST_REJECTED 422"], REJECTED),
    ),
    // Work may have been done.
    row(
        "500",
        Wrong::Instead(|| vec![Turn::status(500)]),
        after(&["MODEL_UNAVAILABLE 500"], UNAVAILABLE),
    ),
    row(
        "502, once",
        Wrong::Instead(|| at_once(502, 1)),
        after(&["MODEL_UNAVAILABLE 502", "200"], COMPLETED),
    ),
    row(
        "503, once, without a word of when",
        Wrong::Instead(|| vec![Turn::status(503).times(1)]),
        after(&["MODEL_UNAVAILABLE 503", "200"], COMPLETED),
    ),
    Row {
        end: End {
            come_back_s: Some(0),
            ..after(
                &[
                    "MODEL_UNAVAILABLE 504",
                    "MODEL_UNAVAILABLE 504",
                    "MODEL_UNAVAILABLE 504",
                ],
                UNAVAILABLE,
            )
        },
        ..row(
            "504, for long",
            Wrong::Instead(|| at_once(504, 3)),
            ends(UNAVAILABLE),
        )
    },
    row(
        "a storm that passes",
        Wrong::Instead(|| at_once(429, 2)),
        after(&["RATE_LIMITED 429", "RATE_LIMITED 429", "200"], COMPLETED),
    ),
    Row {
        end: End {
            come_back_s: Some(0),
            ..after(
                &["RATE_LIMITED 429", "RATE_LIMITED 429", "RATE_LIMITED 429"],
                LIMITED,
            )
        },
        ..row(
            "a storm that stays",
            Wrong::Instead(|| at_once(429, 3)),
            ends(LIMITED),
        )
    },
    row(
        "a storm of all kinds",
        Wrong::Instead(|| [at_once(429, 1), at_once(503, 1)].concat()),
        after(&["RATE_LIMITED 429", "MODEL_UNAVAILABLE 503", "200"], COMPLETED),
    ),
    row(
        "a storm that ends in a wall",
        Wrong::Instead(|| [at_once(429, 1), vec![Turn::status(401)]].concat()),
        after(&["RATE_LIMITED 429", "MODEL_CREDENTIALS_REJECTED 401"], BAD_KEY),
    ),
    Row {
        end: End {
            come_back_s: Some(60),
            ..after(&["RATE_LIMITED 429"], LIMITED)
        },
        ..row(
            "429 for longer than a caller waits",
            Wrong::Instead(|| vec![Turn::status(429).header("retry-after", "60")]),
            ends(LIMITED),
        )
    },
    row(
        "a quota that is used up",
        Wrong::Instead(|| coded(429, "insufficient_quota")),
        after(&["QUOTA_EXCEEDED 429"], NO_QUOTA),
    ),
    row(
        "a conversation that is too long",
        Wrong::Instead(|| coded(400, "context_length_exceeded")),
        after(&["CONTEXT_LENGTH_EXCEEDED 400"], TOO_LONG),
    ),
    row(
        "a prompt that the filter refuses",
        Wrong::Instead(|| coded(400, "content_filter")),
        after(&["MODEL_REQUEST_REJECTED 400"], FILTERED),
    ),
    Row {
        is_silent: true,
        ..row(
            "no answer",
            Wrong::Instead(|| vec![Turn::hang()]),
            ends(UNAVAILABLE),
        )
    },
    row(
        "a closed connection",
        Wrong::Instead(|| vec![Turn::disconnect()]),
        ends(UNAVAILABLE),
    ),
    row(
        "a page",
        Wrong::Instead(|| vec![Turn::raw(200, "text/html", "<html>words of the provider</html>")]),
        ends(UNAVAILABLE),
    ),
    row(
        "an empty answer",
        Wrong::Instead(|| vec![Turn::raw(200, "text/event-stream", "")]),
        ends(UNAVAILABLE),
    ),
    row(
        "an answer that is none",
        Wrong::Instead(|| vec![Turn::raw(200, "application/json", "{}")]),
        ends(UNAVAILABLE),
    ),
    Row {
        is_counted: true,
        ..row(
            "a failure before a word",
            Wrong::Instead(|| vec![Turn::say([]).finish(Finish::Failed)]),
            ends(UNAVAILABLE),
        )
    },
    // In the answer.
    row("a cut", Wrong::There(|_, at| Fault::Cut(at)), ends(UNAVAILABLE)),
    row(
        "an early end",
        Wrong::There(|_, at| Fault::Stop(at)),
        ends(UNAVAILABLE),
    ),
    Row {
        is_silent: true,
        ..row(
            "silence",
            Wrong::There(|_, at| Fault::Hang(at)),
            ends(UNAVAILABLE),
        )
    },
    row(
        "garbage",
        Wrong::There(|_, at| Fault::Insert {
            at,
            raw: "data: {broken\n\n".to_owned(),
        }),
        ends(UNAVAILABLE),
    ),
    row(
        "an error",
        Wrong::Event(error_event!("\"server_error\"")),
        ends(UNAVAILABLE),
    ),
    Row {
        end: End {
            come_back_s: Some(1),
            ..ends(LIMITED)
        },
        ..row(
            "a limit of the rate",
            Wrong::Event(error_event!("\"rate_limit_exceeded\"")),
            ends(LIMITED),
        )
    },
    row(
        "the end of the quota",
        Wrong::Event(error_event!("\"insufficient_quota\"")),
        ends(NO_QUOTA),
    ),
    row(
        "the end of the context",
        Wrong::Event(error_event!("\"context_length_exceeded\"")),
        ends(TOO_LONG),
    ),
    row(
        "the end of the key",
        Wrong::Event(error_event!("\"invalid_api_key\"")),
        ends(BAD_KEY),
    ),
    row(
        "a late refusal",
        Wrong::Event(error_event!("\"invalid_prompt\"")),
        ends(REJECTED),
    ),
    Row {
        // Nothing has come of it yet, and the provider says that it may be sent again.
        but: &[(Place::Before, after(&["MODEL_UNAVAILABLE 502", "200"], COMPLETED))],
        ..row(
            "an error with a status",
            Wrong::Event(error_event!("502")),
            ends(UNAVAILABLE),
        )
    },
    Row {
        but: &[(Place::Before, after(&["MODEL_REQUEST_REJECTED"], FILTERED))],
        ..row(
            "the filter's word",
            Wrong::Event(error_event!("\"content_filter\"")),
            ends(FILTERED),
        )
    },
    row(
        "an unknown event",
        Wrong::Event(|_| "event: brand.new\ndata: {\"type\":\"brand.new\",\"object\":\"brand.new\"}\n\n"),
        ends(COMPLETED),
    ),
    row("a comment", Wrong::Event(|_| ": ping\n\n"), ends(COMPLETED)),
    row("an empty event", Wrong::Event(|_| "event: \n\n"), ends(COMPLETED)),
    // All the way through.
    row(
        "a slow trickle",
        Wrong::Throughout(|_| Fault::Trickle {
            bytes: const { NonZeroUsize::new(64).unwrap() },
            ms: 1,
        }),
        ends(COMPLETED),
    ),
    row(
        "byte by byte",
        Wrong::Throughout(|_| Fault::Trickle {
            bytes: NonZeroUsize::MIN,
            ms: 0,
        }),
        ends(COMPLETED),
    ),
    row(
        "fields of its own",
        Wrong::Throughout(|_| Fault::With([("brand_new".to_owned(), true.into())].into_iter().collect())),
        ends(COMPLETED),
    ),
    row(
        "no ids",
        Wrong::Throughout(|dialect| {
            without(
                dialect,
                "/response/id /item_id /item/id /response/output/*/id",
                "/id /choices/*/delta/tool_calls/*/id",
                "/delta/step_details/tool_calls/*/id /step_details/tool_calls/*/id /assistant_id /run_id",
            )
        }),
        ends(COMPLETED),
    ),
    row(
        "no word of why it stops",
        Wrong::Throughout(|dialect| {
            without(
                dialect,
                "/response/status /item/status /response/output/*/status",
                "/choices/*/finish_reason",
                "/completed_at /incomplete_details /last_error /required_action/type",
            )
        }),
        ends(COMPLETED),
    ),
    Row {
        is_uncounted: true,
        ..row(
            "no count of tokens",
            Wrong::Throughout(|dialect| without(dialect, "/response/usage", "/usage", "/usage")),
            ends(COMPLETED),
        )
    },
    row(
        "no word of who made it, when and of what kind",
        Wrong::Throughout(|dialect| {
            without(
                dialect,
                "/sequence_number /output_index /content_index /response/object /response/model /response/created_at",
                "/object /created /model /choices/*/index /choices/*/delta/role /choices/*/delta/tool_calls/*/type",
                "/created_at /model /assistant_id /role",
            )
        }),
        ends(COMPLETED),
    ),
    row(
        "a server under load",
        Wrong::Slowly(Pace {
            first_ms: Delay::Lognormal {
                median: 10.0,
                sigma: 1.0,
            },
            token_ms: Delay::Lognormal {
                median: 2.0,
                sigma: 1.0,
            },
            seed: 7,
        }),
        ends(COMPLETED),
    ),
    // At its end.
    row(
        "the token limit",
        Wrong::Ends(Finish::Length),
        ends(State::Incomplete(IncompleteReason::MaxTokens)),
    ),
    row("the filter", Wrong::Ends(Finish::ContentFilter), ends(FILTERED)),
    row("a failure", Wrong::Ends(Finish::Failed), ends(UNAVAILABLE)),
];

impl Wrong {
    /// Why nothing goes wrong in this way there.
    pub fn never(self, place: Place, tools: Tools, dialect: Dialect, streams: bool) -> Option<&'static str> {
        if !streams && matches!(self, Wrong::There(_) | Wrong::Event(_)) {
            return Some("a run that is asked after has no events");
        }
        if !streams && matches!(self, Wrong::Instead(_)) {
            return Some("what comes instead of an answer is the same whether it would have been streamed");
        }
        if matches!(
            (self, tools, dialect),
            (
                Wrong::Ends(Finish::ContentFilter),
                Tools::Asking,
                Dialect::Assistants
            )
        ) {
            return Some("an assistant's run has no word for a filter but in the message that it cuts off");
        }
        match (self, place) {
            (Wrong::Instead(_), Place::Within | Place::After | Place::Arguments | Place::End) => {
                Some("what comes instead of an answer comes before its first token")
            }
            (Wrong::Event(_), Place::Within) => Some("an event cannot stand within another one"),
            (
                Wrong::Throughout(_) | Wrong::Slowly(_),
                Place::Within | Place::After | Place::Arguments | Place::End,
            ) => {
                Some("what goes on all the way through is played once, as if it were before the first token")
            }
            (Wrong::Ends(_), Place::Before | Place::Within | Place::After | Place::Arguments) => {
                Some("a model says why it stops when it has said everything")
            }
            _ => None,
        }
    }
}

impl Row {
    /// What comes of it there.
    pub fn end(&self, place: Place) -> End {
        let but = self.but.iter().find(|(other, _)| *other == place);
        but.map_or(self.end, |(_, end)| *end)
    }
}
