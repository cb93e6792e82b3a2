//! A script: what the simulator says to which request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Value;

use super::ask::Ask;
use super::description::Description;
use super::pace::{Delay, Pace};
use super::stand_in;
use super::storm::{Storm, Weather};
use super::turn::{Answer, RawAnswer, Turn};
use super::{Objection, Recorded};

/// Looks at a request, and says what is wrong with it.
type Validator = Arc<dyn Fn(&Recorded) -> Result<(), Objection> + Send + Sync>;

/// Looks at what is answered to a request, by its method and path, and says what is wrong with it.
type Reviewer = Arc<dyn Fn(&str, &str, &Said<'_>) -> Result<(), String> + Send + Sync>;

/// Something that the simulator sends, before faults change it.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// A whole answer with this status.
    Whole(u16, &'a Value),
    /// An event of a stream: its name, empty for none, and its data.
    Event(&'a str, &'a Value),
}

/// What the simulator says.
///
/// A request is answered by the first turn, in order, that has uses left and whose `when` holds. When
/// there is none, and so without any turns, the honest stand-in answers.
///
/// As JSON (`assistd simulate --script FILE`):
///
/// ```json
/// {
///   "pace": {"first_ms": 20, "token_ms": 5},
///   "turns": [
///     {"times": 2, "answer": {"raw": {"status": 429, "headers": [["retry-after", "1"]]}}},
///     {"when": {"user": "weather"},
///      "answer": {"say": {"items": [{"call": {"name": "weather", "arguments": {"city": "Oslo"}}}]}}},
///     {"answer": {"say": {"items": [{"text": ["It ", "rains."]}],
///                         "faults": [{"cut": {"deltas": 1}}]}}},
///     {"answer": "hang"}
///   ]
/// }
/// ```
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    turns: Vec<Turn>,
    pace: Pace,
    storms: Vec<Storm>,
    legacy_markers: bool,
    never_streams: bool,
    #[serde(skip)]
    recording: bool,
    #[serde(skip)]
    validator: Option<Validator>,
    #[serde(skip)]
    reviewer: Option<Reviewer>,
}

impl Script {
    /// No script: the honest stand-in answers everything, at once.
    #[must_use]
    pub fn stand_in() -> Self {
        Script::default()
    }

    /// These turns, and the stand-in for what they do not answer.
    pub fn turns(turns: impl IntoIterator<Item = Turn>) -> Self {
        Script {
            turns: turns.into_iter().collect(),
            ..Script::default()
        }
    }

    /// Reads a script from JSON.
    ///
    /// # Errors
    /// The text is not JSON, a name or a type in it is unknown, or it wants what cannot be, such as a wait below zero or a
    /// status that is none; the error says where.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let script: Self = serde_json::from_str(text)?;
        script.check().map_err(serde_json::Error::custom)?;
        Ok(script)
    }

    /// What cannot be, behind its place.
    fn check(&self) -> Result<(), String> {
        self.pace.check().map_err(|what| format!("pace.{what}"))?;
        for (index, storm) in self.storms.iter().enumerate() {
            storm.check().map_err(|what| format!("storms[{index}].{what}"))?;
        }
        for (index, turn) in self.turns.iter().enumerate() {
            turn.check().map_err(|what| format!("turns[{index}].{what}"))?;
        }
        Ok(())
    }

    /// The pace of everything that has none of its own.
    #[must_use]
    pub fn pace(mut self, first_ms: u64, token_ms: u64) -> Self {
        self.pace = Pace::constant(first_ms, token_ms);
        self
    }

    /// Refuses requests for a while, besides the whiles given before.
    #[must_use]
    pub fn storm(mut self, storm: Storm) -> Self {
        self.storms.push(storm);
        self
    }

    /// Lets the stand-in obey `[[mock status=failed]]`, `[[mock delay=MS]]` and `[[mock content=image]]`
    /// in a message, as the stand-in of the service's predecessor did.
    #[must_use]
    pub fn legacy_markers(mut self) -> Self {
        self.legacy_markers = true;
        self
    }

    /// Answers in whole, also where a stream is asked for, as servers do that do not know of streams.
    #[must_use]
    pub fn never_streaming(mut self) -> Self {
        self.never_streams = true;
        self
    }

    pub(super) fn streams(&self) -> bool {
        !self.never_streams
    }

    /// Keeps the last requests for [`Simulator::requests`](super::Simulator::requests).
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.recording = true;
        self
    }

    /// Judges every request and every answer by this description: [`validating`](Self::validating) with the one,
    /// [`reviewing`](Self::reviewing) with the other.
    #[must_use]
    pub fn described_by(self, description: &Arc<Description>) -> Self {
        let (of_requests, of_answers) = (Arc::clone(description), Arc::clone(description));
        self.validating(move |request| of_requests.request(request))
            .reviewing(move |method, path, said| of_answers.answer(method, path, said))
    }

    /// Shows every request to `validator`. One that it refuses is answered 400 and kept for
    /// [`Simulator::violations`](super::Simulator::violations).
    #[must_use]
    pub fn validating<E: Into<Objection>>(
        mut self,
        validator: impl Fn(&Recorded) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.validator = Some(Arc::new(move |request| validator(request).map_err(Into::into)));
        self
    }

    /// Shows everything that is answered to `reviewer` (method, path as sent, what is said), but not the bodies
    /// that a script gives. What it objects to is sent all the same and kept for
    /// [`Simulator::violations`](super::Simulator::violations).
    #[must_use]
    pub fn reviewing(
        mut self,
        reviewer: impl Fn(&str, &str, &Said<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.reviewer = Some(Arc::new(reviewer));
        self
    }

    pub(super) fn reviewer(&self) -> Option<&Reviewer> {
        self.reviewer.as_ref()
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording
    }

    pub(super) fn validator(&self) -> Option<&Validator> {
        self.validator.as_ref()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Script")
            .field("turns", &self.turns)
            .field("pace", &self.pace)
            .field("storms", &self.storms)
            .finish_non_exhaustive()
    }
}

/// A script and how far it has come.
#[derive(Debug)]
pub(super) struct Prompter {
    script: Script,
    used: Mutex<Vec<u32>>,
    weather: Mutex<Weather>,
}

impl Prompter {
    pub fn new(script: Script) -> Self {
        let used = Mutex::new(vec![0; script.turns.len()]);
        let weather = Mutex::new(Weather::new(&script.storms, Instant::now()));
        Prompter {
            script,
            used,
            weather,
        }
    }

    pub fn script(&self) -> &Script {
        &self.script
    }

    /// What to answer to `ask`, and how fast.
    pub fn cue(&self, ask: &Ask) -> (Answer, Pace) {
        if let Some(refusal) = self.storm() {
            return (Answer::Raw(refusal), self.script.pace);
        }
        if let Some(turn) = self.next_turn(ask) {
            return (turn.answer.clone(), turn.pace.unwrap_or(self.script.pace));
        }
        if self.script.legacy_markers
            && let Some((answer, delay_ms)) = stand_in::obey_markers(ask)
        {
            let first_ms = delay_ms.map_or(self.script.pace.first_ms, |ms| Delay::Constant(ms as f64));
            return (
                answer,
                Pace {
                    first_ms,
                    ..self.script.pace
                },
            );
        }
        (Answer::Say(stand_in::answer(ask)), self.script.pace)
    }

    fn storm(&self) -> Option<RawAnswer> {
        if self.script.storms.is_empty() {
            return None;
        }
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        weather.refuse(Instant::now())
    }

    fn next_turn(&self, ask: &Ask) -> Option<&Turn> {
        if self.script.turns.is_empty() {
            return None;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turns = self.script.turns.iter().zip(used.iter_mut());
        let (turn, uses) = turns.find(|(turn, uses)| turn.has_uses_left(**uses) && turn.when.holds(ask))?;
        *uses = uses.saturating_add(1);
        Some(turn)
    }
}
