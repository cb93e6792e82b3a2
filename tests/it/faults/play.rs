//! Plays a case, looks at everything that can be seen of it, and then asks the next question.

use assistd::api::pb;
use assistd::config::Dialect;
use assistd::simulator::{Fault, Finish, Turn};
use tonic::Code;

use super::IMPATIENT;
use super::places::{Heard, OUTPUT, Place, Tools, counted, estimated};
use super::rows::{End, Row, State, Wrong};
use super::seen::{Brief, Door, Seen, ask, attempts, history};

/// A combination that is played.
pub struct Case {
    pub row: &'static Row,
    pub dialect: Dialect,
    /// Whether the server streams, or has to be asked after what it does.
    pub streams: bool,
    pub place: Place,
    pub tools: Tools,
    /// What the user says; no other case's.
    pub message: String,
}

/// What a tool was called with, in a turn before the one that goes wrong.
const CALL: &str = r#"{"text":"before"}"#;
/// What the next question is answered.
/// What the next chat asks, and how it is answered.
pub const NEXT_QUESTION: &str = "and now?";
pub const NEXT: &str = "as ever";
/// What the model says of what the tool said.
const QUOTED: &str = "The tool answered: Echo: before";

impl Case {
    /// What the model says to it. A request too many would be answered otherwise.
    pub fn turns(&self) -> Vec<Turn> {
        let good = || self.tools.turn().times(1);
        let at = self.place.at(self.tools);
        let mut turns = Vec::new();
        if self.tools == Tools::Answered {
            turns.push(Turn::raw_call("echo", CALL).times(1));
        }
        match self.row.wrong {
            Wrong::Instead(others) => turns.extend(others()),
            Wrong::There(fault) => turns.push(good().fault(fault(self.dialect, at))),
            Wrong::Event(raw) => {
                let raw = raw(self.dialect).to_owned();
                turns.push(good().fault(Fault::Insert { at, raw }));
            }
            Wrong::Throughout(fault) => turns.push(good().fault(fault(self.dialect))),
            Wrong::Slowly(pace) => turns.push(Turn {
                pace: Some(pace),
                ..good()
            }),
            Wrong::Ends(finish) => turns.push(good().finish(finish)),
        }
        // For the request that follows, or one that should not.
        if self.is_repeated() || self.end().state != State::Completed {
            turns.push(good());
        }
        let one = |turn: Turn| {
            let times = turn.times.unwrap_or(1);
            turn.when_user(&self.message).times(times)
        };
        turns.into_iter().map(one).collect()
    }

    fn end(&self) -> End {
        self.row.end(self.place)
    }

    /// What is heard of the turn in the end.
    fn heard(&self) -> Heard {
        let is_answered = self
            .end()
            .attempts
            .is_none_or(|attempts| attempts.last() == Some(&"200"));
        match (self.end().state, self.row.wrong) {
            _ if !is_answered => Heard::NOTHING,
            // A run that does not wait for outputs says nothing of its calls when it is asked after.
            (State::Incomplete(_) | State::Failed(_), Wrong::Ends(_)) if !self.streams => Heard {
                arguments: 0,
                ..self.tools.all()
            },
            (State::Completed, _) | (_, Wrong::Ends(_)) => self.tools.all(),
            (_, Wrong::Instead(_)) => Heard::NOTHING,
            _ => self.place.heard(self.tools),
        }
    }

    /// Whether the turn's calls are made.
    fn calls(&self) -> bool {
        self.end().state == State::Completed && self.tools == Tools::Asking
    }

    /// Whether the turn's request is sent again.
    fn is_repeated(&self) -> bool {
        self.attempts().len() > 1
    }

    /// The number of the turn that goes wrong, from 0.
    fn turn(&self) -> usize {
        usize::from(self.tools == Tools::Answered)
    }

    /// The requests of the turn.
    fn attempts(&self) -> Vec<String> {
        let end = self.end();
        let derived = match end.state {
            State::Failed(reason) if self.heard() == Heard::NOTHING => vec![reason],
            _ => vec!["200"],
        };
        let attempts = end.attempts.map_or(derived, <[&str]>::to_vec);
        attempts.into_iter().map(str::to_owned).collect()
    }

    /// The tokens that the turn wrote, and whether somebody has counted them.
    fn written(&self) -> (i64, bool) {
        let (all, dialect) = (self.tools.all(), self.dialect);
        let is_told = match (self.end().state, self.row.wrong) {
            // One that is asked after says it later, too.
            _ if self.row.is_uncounted && self.streams => false,
            // A run there is counted when it is over, and not while it waits for an output.
            (State::Completed, _) => dialect != Dialect::Assistants || self.tools != Tools::Asking,
            // Chat Completions fails without a word of what was used.
            (_, Wrong::Ends(Finish::Failed)) => dialect != Dialect::ChatCompletions,
            (_, Wrong::Instead(_)) if self.row.is_counted => dialect != Dialect::ChatCompletions,
            (_, Wrong::Ends(_)) => true,
            _ => false,
        };
        if !is_told {
            return (self.heard().estimate(), false);
        }
        let said = match self.heard() {
            Heard::NOTHING => 0,
            _ => all.text().len() + all.arguments().len(),
        };
        let tokens = match (self.tools, dialect) {
            (Tools::Without, _) => counted(said),
            (Tools::Asking, _) if self.heard() == Heard::NOTHING => 0,
            (Tools::Asking, _) => counted(said + "echo".len()),
            // It is counted with the turn before, which is of the same run there unless that went on before it broke: what
            // that one was estimated to have written is not written again.
            (Tools::Answered, Dialect::Assistants)
                if !(self.is_repeated() && matches!(self.row.wrong, Wrong::Event(_))) =>
            {
                counted(said) + counted("echo".len() + CALL.len()) - estimated(CALL.len())
            }
            (Tools::Answered, _) => counted(said),
        };
        (tokens, true)
    }

    /// The thread, when the run is over.
    fn history(&self) -> Vec<Brief> {
        use pb::MessageStatus::{Complete, Incomplete};
        use pb::Role::{Assistant, Tool, User};
        let words = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect();
        let mut history: Vec<Brief> = vec![(User, words(&[&self.message]), Complete)];
        let output = || (Tool, words(&[&format!("has {OUTPUT}")]), Complete);
        if self.tools == Tools::Answered {
            history.extend([(Assistant, words(&["calls echo"]), Complete), output()]);
        }
        let said = self.heard().text();
        if self.calls() {
            history.extend([(Assistant, words(&[&said, "calls echo"]), Complete), output()]);
            history.push((Assistant, words(&[QUOTED]), Complete));
        } else if !said.is_empty() {
            let status = match self.end().state {
                State::Completed => Complete,
                State::Incomplete(_) | State::Failed(_) => Incomplete,
            };
            history.push((Assistant, words(&[&said]), status));
        }
        history
    }

    /// Plays it.
    pub async fn play(&self, door: &Door) {
        let model = match self.row.is_silent {
            true => IMPATIENT,
            false => "",
        };
        let seen = ask(door, &self.message, "", model).await;
        self.check_end(&seen);
        self.check_events(&seen);
        self.check_steps_and_usage(&seen);
        let mut expected = self.history();
        assert_eq!(history(door, &seen.thread).await, expected, "{self}");

        let next = ask(door, NEXT_QUESTION, &seen.thread, "").await;
        assert_eq!(next.end().0, State::Completed, "{self}");
        let texts: Vec<String> = next.told().into_iter().map(|told| told.text).collect();
        assert_eq!(texts, [NEXT], "{self}");
        let whole = pb::MessageStatus::Complete;
        expected.push((pb::Role::User, vec![NEXT_QUESTION.to_owned()], whole));
        expected.push((pb::Role::Assistant, vec![NEXT.to_owned()], whole));
        assert_eq!(history(door, &seen.thread).await, expected, "{self}");
    }

    fn check_end(&self, seen: &Seen) {
        let end = self.end();
        let (state, error) = seen.end();
        assert_eq!(state, end.state, "{self}");
        let Some((code, details)) = error else {
            assert_eq!(seen.run.error, None, "{self}");
            return;
        };
        let State::Failed(reason) = state else {
            panic!("{self}: an error without a failure")
        };
        assert_eq!(Code::from(code), code_of(reason), "{self}");
        let attempts = self.attempts();
        let (_, status) = attempts.last().unwrap().split_once(' ').unzip();
        let info = details.error_info().unwrap();
        let told = info.metadata.get("provider_status").map(String::as_str);
        // An error within an answer may name a status too.
        assert_eq!(
            told,
            status.or(told.filter(|_| self.row.name == "an error with a status")),
            "{self}"
        );
        let come_back = details.retry_info().and_then(|info| info.retry_delay);
        let come_back = come_back.map(|delay| delay.as_secs() as i64);
        assert_eq!(come_back, end.come_back_s, "{self}");
        let said = format!("{:?}", seen.run.error);
        for secret in ["words of the provider", "simulated"] {
            assert!(!said.contains(secret), "{self}: {said}");
        }
    }

    fn check_events(&self, seen: &Seen) {
        let heard = self.heard();
        let mut told = seen.told();
        for one in &told {
            let (role, parts, _) = one
                .completed
                .as_ref()
                .unwrap_or_else(|| panic!("{self}: {one:?}"));
            assert_eq!(*role, pb::Role::Assistant, "{self}");
            let texts = parts.iter().filter(|part| !part.starts_with("calls "));
            let text: String = texts.map(String::as_str).collect();
            assert_eq!(text, one.text, "{self}: the pieces are the message");
        }
        if self.tools == Tools::Answered {
            let first = told.remove(0);
            assert_eq!(first.calls[0].output, Some((OUTPUT.to_owned(), false)), "{self}");
        }
        if self.calls() {
            assert_eq!(told.pop().unwrap().text, QUOTED, "{self}");
        }
        if heard == Heard::NOTHING {
            assert!(told.is_empty(), "{self}: {told:?}");
            return;
        }
        assert_eq!(told.len(), 1, "{self}: {told:?}");
        let turn = &told[0];
        assert_eq!(turn.text, heard.text(), "{self}");
        let arguments: Vec<&str> = turn.calls.iter().map(|call| call.arguments.as_str()).collect();
        if heard.arguments > 0 {
            assert_eq!(arguments, [heard.arguments()], "{self}");
        } else {
            assert!(
                arguments.iter().all(|arguments| arguments.is_empty()),
                "{self}: {turn:?}"
            );
        }
        // No call stays without an output, however its run ends.
        for call in &turn.calls {
            let (output, is_error) = call.output.as_ref().unwrap_or_else(|| panic!("{self}: {call:?}"));
            match self.calls() {
                true => assert_eq!((output.as_str(), *is_error), (OUTPUT, false), "{self}"),
                false => assert!(
                    output.starts_with("not called: ") && *is_error,
                    "{self}: {output}"
                ),
            }
        }
    }

    fn check_steps_and_usage(&self, seen: &Seen) {
        let usage = seen.run.usage.as_ref().unwrap();
        let turns = self.turn() + 1 + usize::from(self.calls());
        let calls = self.turn() + usize::from(self.calls());
        assert_eq!(seen.turns.len(), turns, "{self}");
        assert_eq!(
            (usage.turns as usize, usage.tool_calls as usize),
            (turns, calls),
            "{self}"
        );

        let Seen { turns, .. } = seen;
        let wrong = &turns[self.turn()];
        assert_eq!(attempts(&wrong.turn), self.attempts(), "{self}");
        let (state, error) = match self.end().state {
            State::Failed(_) => (pb::StepState::Failed, seen.run.error.as_ref()),
            _ => (pb::StepState::Completed, None),
        };
        assert_eq!(wrong.step.state(), state, "{self}");
        let own =
            |error: Option<&tonic_types::pb::Status>| error.map(|error| (error.code, error.message.clone()));
        assert_eq!(own(wrong.step.error.as_ref()), own(error), "{self}");

        let spent = wrong.turn.usage.clone().unwrap_or_default();
        let (written, is_counted) = self.written();
        assert_eq!(spent.output_tokens, written, "{self}");
        assert_eq!(
            spent.input_tokens > 0,
            is_counted || self.heard() != Heard::NOTHING,
            "{self}: {spent:?}"
        );
        let of_all = |part: fn(&pb::Usage) -> i64| {
            turns
                .iter()
                .filter_map(|turn| turn.turn.usage.as_ref())
                .map(part)
                .sum()
        };
        let sums: (i64, i64) = (
            of_all(|usage| usage.input_tokens),
            of_all(|usage| usage.output_tokens),
        );
        assert_eq!((usage.input_tokens, usage.output_tokens), sums, "{self}");
        assert_eq!(usage.total_tokens, sums.0 + sums.1, "{self}");
    }
}

/// The kind of each reason.
fn code_of(reason: &str) -> Code {
    match reason {
        "MODEL_UNAVAILABLE" => Code::Unavailable,
        "RATE_LIMITED" | "QUOTA_EXCEEDED" => Code::ResourceExhausted,
        "MODEL_CREDENTIALS_REJECTED" | "MODEL_REQUEST_REJECTED" | "CONTEXT_LENGTH_EXCEEDED" => {
            Code::FailedPrecondition
        }
        other => panic!("{other}"),
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            row,
            dialect,
            streams,
            place,
            tools,
            ..
        } = self;
        let form = match streams {
            true => "",
            false => ", asked after",
        };
        write!(formatter, "{}, {place:?}, {tools:?}, {dialect:?}{form}", row.name)
    }
}
