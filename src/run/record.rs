//! What is known of a run, while it goes on and ever after.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::catalogue::Selection;
use super::error::{Error, Facts, Reason};
use super::id::{AssistantId, RunId, ThreadId};
use super::message::Usage;
use super::money::Prices;
use super::options::ModelOptions;
use super::truncation::Truncation;

/// A run, as it is stored and shown.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its name.
    pub id: RunId,
    /// The thread that it answers.
    pub thread: ThreadId,
    /// What it was started with.
    pub snapshot: Snapshot,
    /// Where it is.
    pub state: State,
    /// What it has used so far, over all turns.
    pub usage: Usage,
    /// The sequence of the newest event that came with a [`Save`](super::ports::Save); 0 before the first. What
    /// came after it belongs to a turn that is not over.
    pub last_sequence: u64,
    /// No event with a larger sequence has been shown to anybody.
    pub reserved_sequence: u64,
    /// The fencing token: grows whenever another process takes the run over. Who writes with an older one has lost
    /// the run, and writes nothing.
    pub fence: u64,
    /// When it was asked for.
    pub create_time: SystemTime,
    /// When it left the queue; none before.
    pub start_time: Option<SystemTime>,
    /// When it ends if nothing else ends it; none once it has ended.
    pub expire_time: Option<SystemTime>,
    /// What it waits for, the oldest first.
    pub pending: Vec<Arc<Action>>,
    /// How long it has waited for people, before the present wait.
    pub waited: Duration,
    /// Since when it waits for people, if it does.
    pub waits_since: Option<SystemTime>,
    /// When it ended.
    pub end_time: Option<SystemTime>,
}

impl RunRecord {
    /// Whether it only waits for answers from outside: no call is at work beside that.
    pub fn is_idle(&self) -> bool {
        self.waits_since.is_some()
    }

    /// The fencing token of the process that opens a run.
    pub const FIRST_FENCE: u64 = 1;
}

/// A thread, as it is stored and shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadRecord {
    /// Its name.
    pub id: ThreadId,
    /// A name for people; empty until somebody gives one.
    pub title: String,
    /// The caller's own notes.
    pub metadata: BTreeMap<String, String>,
    /// Grows with every change of the title or the notes; the first is 1.
    pub version: u64,
    /// The run that is active on it.
    pub active_run: Option<RunId>,
    /// When it was created.
    pub create_time: SystemTime,
    /// When it was last changed, or something was last added to it.
    pub update_time: SystemTime,
    /// What its runs have used so far, all together.
    pub usage: Usage,
}

/// What a run was started with: later changes to the assistant or the configuration do not touch it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The model's name, as the provider knows it.
    pub model: String,
    /// The system instructions; empty for none.
    pub instructions: String,
    /// The bounds.
    pub limits: Limits,
    /// How the model is to answer.
    #[serde(default)]
    pub options: Arc<ModelOptions>,
    /// The assistant that answers; none for the operator's default.
    #[serde(default)]
    pub assistant: Option<AssistantId>,
    /// The version of the assistant when the run was asked for; none for the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_version: Option<u64>,
    /// The version of the tool catalogue that it saw.
    pub catalogue_version: u64,
    /// What narrows the tools.
    #[serde(default)]
    pub selection: Selection,
    /// What becomes of a conversation that is too long.
    #[serde(default)]
    pub truncation: Truncation,
    /// What the model cost when the run began; none when that was not known.
    #[serde(default)]
    pub prices: Option<Prices>,
    /// Who asked for it, as a proxy in front of the service says; empty when nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caller: String,
    /// What the other models cost that may be asked in it, as far as that was known, by their names.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub other_prices: Arc<BTreeMap<String, Prices>>,
    /// The caller's own notes.
    pub metadata: BTreeMap<String, String>,
}

fn is_empty(prices: &Arc<BTreeMap<String, Prices>>) -> bool {
    prices.is_empty()
}

/// The bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Model requests with tools on offer. When they run out, one more without tools asks for the answer.
    pub max_turns: u32,
    /// Tool calls, over all turns.
    pub max_tool_calls: u32,
    /// Tokens written, over all turns.
    pub max_output_tokens: Option<u64>,
    /// Tokens read and written, over all turns.
    pub max_total_tokens: Option<u64>,
    /// Wall time; the run ends INCOMPLETE with what there is.
    pub max_duration: Option<Duration>,
    /// Millionths of the unit of the currency of the run's [prices](Snapshot::prices); without those, no bound.
    #[serde(default)]
    pub max_cost: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_turns: 16,
            max_tool_calls: 64,
            max_output_tokens: None,
            max_total_tokens: None,
            max_duration: None,
            max_cost: None,
        }
    }
}

/// Bounds that hold instead of others where they are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsPatch {
    /// See [`Limits::max_turns`].
    pub max_turns: Option<u32>,
    /// See [`Limits::max_tool_calls`].
    pub max_tool_calls: Option<u32>,
    /// See [`Limits::max_output_tokens`].
    pub max_output_tokens: Option<u64>,
    /// See [`Limits::max_total_tokens`].
    pub max_total_tokens: Option<u64>,
    /// See [`Limits::max_duration`].
    pub max_duration: Option<Duration>,
    /// See [`Limits::max_cost`].
    pub max_cost: Option<u64>,
}

impl LimitsPatch {
    /// These bounds, and the others where these are not set.
    #[must_use]
    pub fn over(self, others: Limits) -> Limits {
        Limits {
            max_turns: self.max_turns.unwrap_or(others.max_turns),
            max_tool_calls: self.max_tool_calls.unwrap_or(others.max_tool_calls),
            max_output_tokens: self.max_output_tokens.or(others.max_output_tokens),
            max_total_tokens: self.max_total_tokens.or(others.max_total_tokens),
            max_duration: self.max_duration.or(others.max_duration),
            max_cost: self.max_cost.or(others.max_cost),
        }
    }
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Waits to be started.
    Queued,
    /// Works.
    Running,
    /// Waits for answers to what it has asked.
    RequiresAction,
    /// Was called off and is ending.
    Cancelling,
    /// Is over.
    Ended(Outcome),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With an answer.
    Completed,
    /// With what there was when a bound was reached.
    Incomplete(IncompleteReason),
    /// Without an answer.
    Failed(Error),
    /// Called off.
    Cancelled,
    /// Outlived the service's limit on its work or on its wait; the text says which, for people. It may be empty.
    Expired(String),
}

/// The bound that an incomplete run ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncompleteReason {
    /// [`Limits::max_turns`].
    MaxTurns,
    /// [`Limits::max_tool_calls`].
    MaxToolCalls,
    /// The model's own bound on its output, [`Limits::max_output_tokens`] or [`Limits::max_total_tokens`].
    MaxTokens,
    /// [`Limits::max_duration`].
    Deadline,
    /// The provider's content filter.
    ContentFilter,
    /// [`Limits::max_cost`].
    Budget,
}

/// Failures are equal when a client cannot tell them apart.
impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Outcome::Completed, Outcome::Completed) | (Outcome::Cancelled, Outcome::Cancelled) => true,
            (Outcome::Expired(one), Outcome::Expired(two)) => one == two,
            (Outcome::Incomplete(one), Outcome::Incomplete(two)) => one == two,
            (Outcome::Failed(one), Outcome::Failed(two)) => {
                one.reason() == two.reason() && one.message() == two.message() && one.facts() == two.facts()
            }
            _ => false,
        }
    }
}

impl State {
    /// The contract's word for it, in lower case. Together with [`stored_detail`](State::stored_detail) and
    /// [`message`](State::message) it is the stored form.
    pub fn name(&self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::RequiresAction => "requires_action",
            State::Cancelling => "cancelling",
            State::Ended(Outcome::Completed) => "completed",
            State::Ended(Outcome::Incomplete(_)) => "incomplete",
            State::Ended(Outcome::Failed(_)) => "failed",
            State::Ended(Outcome::Cancelled) => "cancelled",
            State::Ended(Outcome::Expired(_)) => "expired",
        }
    }

    /// Why it ended so, where the name alone does not say: an incomplete reason or an error's reason.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            State::Ended(Outcome::Incomplete(reason)) => Some(reason.name()),
            State::Ended(Outcome::Failed(error)) => Some(error.reason().as_str()),
            _ => None,
        }
    }

    /// The detail as it is stored: behind an error's reason and a space, what else is known of the error, as JSON.
    pub fn stored_detail(&self) -> Option<Cow<'static, str>> {
        let detail = self.detail()?;
        let facts = match self {
            State::Ended(Outcome::Failed(error)) => error.facts(),
            _ => Facts::default(),
        };
        if facts == Facts::default() {
            return Some(detail.into());
        }
        // Texts and a duration go into JSON whatever they are.
        let facts = serde_json::to_string(&facts).unwrap_or_default();
        Some(format!("{detail} {facts}").into())
    }

    /// What went wrong, for people.
    pub fn message(&self) -> Option<&str> {
        match self {
            State::Ended(Outcome::Failed(error)) => Some(error.message()),
            State::Ended(Outcome::Expired(text)) => Some(text),
            _ => None,
        }
    }

    /// Reads the stored form back.
    pub fn from_parts(name: &str, detail: Option<&str>, message: Option<&str>) -> Option<State> {
        Some(match name {
            "queued" => State::Queued,
            "running" => State::Running,
            "requires_action" => State::RequiresAction,
            "cancelling" => State::Cancelling,
            "completed" => State::Ended(Outcome::Completed),
            "incomplete" => State::Ended(Outcome::Incomplete(IncompleteReason::parse(detail?)?)),
            "failed" => {
                let detail = detail?;
                let (reason, facts) = detail.split_once(' ').unwrap_or((detail, "{}"));
                let error = Error::new(Reason::parse(reason)?, message.unwrap_or_default());
                let facts = serde_json::from_str(facts).ok()?;
                State::Ended(Outcome::Failed(error.with_facts(&facts)))
            }
            "cancelled" => State::Ended(Outcome::Cancelled),
            "expired" => State::Ended(Outcome::Expired(message.unwrap_or_default().to_owned())),
            _ => return None,
        })
    }

    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            State::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }
}

impl IncompleteReason {
    const ALL: [IncompleteReason; 6] = [
        Self::MaxTurns,
        Self::MaxToolCalls,
        Self::MaxTokens,
        Self::Deadline,
        Self::ContentFilter,
        Self::Budget,
    ];

    /// The contract's word for it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxTurns => "max_turns",
            Self::MaxToolCalls => "max_tool_calls",
            Self::MaxTokens => "max_tokens",
            Self::Deadline => "deadline",
            Self::ContentFilter => "content_filter",
            Self::Budget => "budget",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_from_before_there_were_options_reads() {
        let stored = r#"{"model":"m","instructions":"","limits":{"max_turns":1,"max_tool_calls":2,"max_output_tokens":null,
            "max_total_tokens":null,"max_duration":null},"catalogue_version":7,"metadata":{}}"#;
        let snapshot: Snapshot = serde_json::from_str(stored).unwrap();
        assert_eq!(*snapshot.options, ModelOptions::default());
    }

    #[test]
    fn every_state_reads_back_from_its_stored_form() {
        let mut states = vec![
            State::Queued,
            State::Running,
            State::RequiresAction,
            State::Cancelling,
            State::Ended(Outcome::Completed),
            State::Ended(Outcome::Cancelled),
            State::Ended(Outcome::Expired("it waited".into())),
            State::Ended(Outcome::Failed(Error::new(Reason::RateLimited, "slow down"))),
        ];
        states.extend(IncompleteReason::ALL.map(|reason| State::Ended(Outcome::Incomplete(reason))));
        for state in states {
            let detail = state.stored_detail();
            assert_eq!(
                State::from_parts(state.name(), detail.as_deref(), state.message()),
                Some(state)
            );
        }
    }

    #[test]
    fn an_error_reads_back_with_all_that_is_known_of_it() {
        let error = Error::new(Reason::RateLimited, "slow down")
            .with("provider_status", "429")
            .with("provider_field", "a \"b\" {c}")
            .retry_after(Duration::from_millis(1_500));
        for error in [error.clone(), Error::new(Reason::RateLimited, "slow down")] {
            let state = State::Ended(Outcome::Failed(error.clone()));
            let detail = state.stored_detail();
            let read = State::from_parts(state.name(), detail.as_deref(), state.message());
            let Some(State::Ended(Outcome::Failed(read))) = read else {
                panic!("{read:?}");
            };
            assert_eq!((read.reason(), read.facts()), (error.reason(), error.facts()));
        }
        // As runs were stored before.
        let before = State::from_parts("failed", Some("RATE_LIMITED"), Some("slow down"));
        assert!(before.is_some());
        for broken in ["RATE_LIMITED {", "NOBODY_KNOWS {}"] {
            assert_eq!(State::from_parts("failed", Some(broken), None), None);
        }
    }
}
