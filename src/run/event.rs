//! What a watcher of a run sees.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::action::{Action, Resolution};
use super::id::{ActionId, CallId, MessageId};
use super::message::{Message, ToolOutput, Usage};
use super::record::{RunRecord, State};

/// One event of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Starts at 1, grows by 1, is the same for every watcher and never used twice.
    pub sequence: u64,
    /// When it happened.
    pub time: SystemTime,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The run went from one state to another that is not terminal.
    StateChanged {
        /// The state before; none in the first event of a run.
        from: Option<State>,
        /// The state now.
        to: State,
    },
    /// A message was added whole to the thread (the user's, the tools'), or one begins (the model's, still empty).
    MessageCreated(Arc<Message>),
    /// The model said this.
    TextDelta {
        /// The message that it belongs to.
        message: MessageId,
        /// What to append to its text.
        text: String,
    },
    /// The model declines with these words.
    RefusalDelta {
        /// The message that it belongs to.
        message: MessageId,
        /// What to append to its refusal.
        text: String,
    },
    /// The model thought this, as far as the provider shows it.
    ReasoningDelta {
        /// The message that it belongs to.
        message: MessageId,
        /// What to append.
        text: String,
    },
    /// A message is whole, or was broken off and says so.
    MessageCompleted(Arc<Message>),
    /// The model begins to ask for a call.
    ToolCallStarted {
        /// The message that asks.
        message: MessageId,
        /// The call.
        call: CallId,
        /// The tool's name.
        tool: String,
    },
    /// More of the call's arguments.
    ToolCallArgumentsDelta {
        /// The call.
        call: CallId,
        /// JSON text to append.
        json: String,
    },
    /// The tool reports how far it is.
    ToolCallProgress {
        /// The call.
        call: CallId,
        /// How far.
        progress: Progress,
    },
    /// The call has its output: the tool's, or what stands for it when it was not called.
    ToolCallCompleted {
        /// The call.
        call: CallId,
        /// The tool's name.
        tool: String,
        /// The whole arguments as the model wrote them: JSON, or what was meant to be. Empty for a call that was not
        /// asked for to the end.
        arguments: String,
        /// The output.
        output: Arc<ToolOutput>,
        /// How long the tool took; zero when it was not called.
        duration: Duration,
    },
    /// A process died and the run goes on in another: the turn that it was at begins again.
    TurnRestarted {
        /// The first event that is void: those from here on belong to the turn that broke off.
        first_void: u64,
    },
    /// The run needs an answer from outside.
    ActionRequired(Arc<Action>),
    /// Such an answer came, or cannot come any more.
    ActionResolved {
        /// The action.
        action: ActionId,
        /// How it came to its end.
        resolution: Resolution,
    },
    /// Tokens used so far, over all turns.
    UsageUpdated(Usage),
    /// The run is over: always the last event, and the only one of its kind.
    Ended(Arc<RunRecord>),
}

/// How far a tool is, in units of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Done so far; grows.
    pub progress: f64,
    /// All there is to do, if the tool knows.
    pub total: Option<f64>,
    /// What it does now; empty when it does not say.
    pub message: String,
}
