//! What a run did, one thing at a time. The steps of tool calls are the ledger: the intent is written before a
//! call, the output after it. What is stored is the serialised form of these types: rename with care.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::action::{Action, Answer};
use super::error::{Error, Facts, Reason};
use super::id::{MessageId, StepId};
use super::message::{ToolCall, ToolOutput, Usage};
use super::model::Attempt;
use super::truncation::ContextUse;

/// One thing that a run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// Its place among the steps of its run, from 0.
    pub place: u32,
    /// The turn that it belongs to, from 1.
    pub turn: u32,
    /// What was done.
    pub work: Work,
    /// Where it stands.
    pub state: StepState,
    /// When it was decided on.
    pub create_time: SystemTime,
    /// When its work began.
    pub start_time: Option<SystemTime>,
    /// When it was over.
    pub end_time: Option<SystemTime>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// One model request.
    ModelTurn {
        /// The model's name, as the provider knows it.
        model: String,
        /// What it wrote, if it wrote anything.
        message: Option<MessageId>,
        /// What it used.
        usage: Usage,
        /// How much of the conversation the model was given.
        #[serde(default)]
        context: ContextUse,
        /// The requests that it took, in order.
        #[serde(default)]
        attempts: Vec<Attempt>,
        /// Events of its provider that were skipped, because nobody here knows what they mean.
        #[serde(default)]
        unknown_events: u32,
    },
    /// A summary of what the model is not given any more.
    Summary {
        /// The name of the model that wrote it, as the provider knows it.
        model: String,
        /// The message that it is; none when there is none.
        message: Option<MessageId>,
        /// How many messages it was to sum up, those of an earlier summary included.
        messages: u32,
        /// What it used.
        usage: Usage,
        /// The requests that it took, in order.
        attempts: Vec<Attempt>,
    },
    /// One tool call.
    ToolCall {
        /// The call as the model wrote it.
        call: ToolCall,
        /// The server in the configuration that has the tool; empty when there is no such tool.
        server: String,
        /// What was asked of people or of the client about it.
        #[serde(default)]
        action: Option<Arc<Action>>,
        /// The answer to that.
        #[serde(default)]
        answer: Option<Answer>,
        /// What the tool's server asked while the call went on, the oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        questions: Vec<Inquiry>,
        /// What the tool's server has asked models while the call went on, in the order in which that was over.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sampled: Vec<SampledRequest>,
        /// The whole output, once there is one.
        output: Option<Arc<ToolOutput>>,
        /// How long the tool took; zero when it was not called.
        duration: Duration,
    },
}

/// A question of a tool's server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inquiry {
    /// What is asked.
    pub action: Arc<Action>,
    /// What a person replied; none as long as nobody has.
    pub reply: Option<Answer>,
}

/// A request of a tool's server to a model that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledRequest {
    /// The name of the model that answered, as the provider knows it; of the one that was asked when none did.
    pub model: String,
    /// What it used.
    pub usage: Usage,
    /// The requests that it took, in order.
    pub attempts: Vec<Attempt>,
    /// How it ended.
    pub state: StepState,
    /// When the server asked.
    pub start_time: SystemTime,
    /// When it was over.
    pub end_time: SystemTime,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Waits for its turn, or for people.
    Waiting,
    /// Is at work: from here on, its effect may have happened.
    Running,
    /// Has its result.
    Completed,
    /// Has no result, for this reason.
    Failed {
        /// The reason's name.
        reason: String,
        /// For people.
        message: String,
        /// [Facts](super::error::Error::metadata) that a program can act on.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        facts: BTreeMap<String, String>,
        /// When a later try may work, if that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<Duration>,
    },
    /// Was given up with its run.
    Cancelled,
}

impl StepState {
    /// The end of a step that failed with this.
    pub fn failed(error: &Error) -> Self {
        let Facts { facts, retry_after } = error.facts();
        StepState::Failed {
            reason: error.reason().as_str().to_owned(),
            message: error.message().to_owned(),
            facts,
            retry_after,
        }
    }

    /// What the step failed with, if it did.
    pub fn error(&self) -> Option<Error> {
        let StepState::Failed {
            reason,
            message,
            facts,
            retry_after,
        } = self
        else {
            return None;
        };
        // A reason that this build does not know was written by another one.
        let reason = Reason::parse(reason).unwrap_or(Reason::Internal);
        let stored = Facts {
            facts: facts.clone(),
            retry_after: *retry_after,
        };
        Some(Error::new(reason, message.clone()).with_facts(&stored))
    }
}

impl Step {
    /// What is asked about its call, or by its tool, and not answered yet.
    pub fn pending(&self) -> Option<&Arc<Action>> {
        if matches!(&self.work, Work::ToolCall { output: Some(_), .. }) {
            return None;
        }
        let open = self.asked().find(|(_, answer)| answer.is_none());
        open.map(|(action, _)| action)
    }

    /// What was asked about its call and by its tool, with the answers.
    pub fn asked(&self) -> impl Iterator<Item = (&Arc<Action>, Option<&Answer>)> {
        let asked = match &self.work {
            Work::ToolCall {
                action,
                answer,
                questions,
                ..
            } => (
                action.as_ref().map(|action| (action, answer.as_ref())),
                questions.as_slice(),
            ),
            Work::ModelTurn { .. } | Work::Summary { .. } => (None, [].as_slice()),
        };
        let questions = asked.1.iter();
        asked
            .0
            .into_iter()
            .chain(questions.map(|inquiry| (&inquiry.action, inquiry.reply.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_failed_with_reads_back_and_older_ones_read_too() {
        let error = Error::new(Reason::RateLimited, "slow down")
            .with("provider_status", "429")
            .retry_after(Duration::from_secs(5));
        let stored = serde_json::to_string(&StepState::failed(&error)).unwrap();
        let read = serde_json::from_str::<StepState>(&stored)
            .unwrap()
            .error()
            .unwrap();
        assert_eq!((read.reason(), read.message()), (error.reason(), error.message()));
        assert_eq!(read.metadata(), error.metadata());
        assert_eq!(read.retry_delay(), error.retry_delay());

        let before = r#"{"failed":{"reason":"GONE_SINCE","message":"m"}}"#;
        let read = serde_json::from_str::<StepState>(before)
            .unwrap()
            .error()
            .unwrap();
        assert_eq!((read.reason(), read.retry_delay()), (Reason::Internal, None));
        assert_eq!(StepState::Cancelled.error().map(|error| error.reason()), None);
    }
}
