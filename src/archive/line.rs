//! The lines of an export: one JSON object each, whose `kind` says what it is.
//!
//! A header comes first and an end line last. A thread's line is followed by those of its messages, oldest
//! first, and of its runs, each followed by its steps. The bodies are the serialised form of the heart's own
//! types, which is also what stores keep; times are RFC 3339 and spans seconds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::run::assistant::{AssistantRecord, Profile};
use crate::run::id::{AssistantId, CallId, MessageId, RunId, StepId, ThreadId};
use crate::run::message::{Message, Part, Usage};
use crate::run::ports::{WholeRun, WholeThread};
use crate::run::record::{RunRecord, Snapshot, State, ThreadRecord};
use crate::run::step::{Step, Work};

use super::Counts;
use super::fault::{Fault, of_id, typed};
use super::time;

/// The version of the format that is written and read.
pub const VERSION: u32 = 1;

/// The `kind` of the first line, by which the format is known.
pub const HEADER: &str = "assistd_export";

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The first: the version of the format.
    Header(u32),
    /// An assistant.
    Assistant(AssistantRecord),
    /// A thread. What follows is of it, up to the next assistant or thread.
    Thread(ThreadRecord),
    /// A message of the thread.
    Message(Arc<Message>),
    /// A run of the thread, without its steps.
    Run(Box<WholeRun>),
    /// A step of the run.
    Step(Arc<Step>),
    /// The last: how much there was.
    End(Counts),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssistantLine {
    id: AssistantId,
    version: u64,
    create_time: SystemTime,
    update_time: SystemTime,
    profile: Profile,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThreadLine {
    id: ThreadId,
    #[serde(default)]
    title: String,
    version: u64,
    create_time: SystemTime,
    update_time: SystemTime,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunLine {
    id: RunId,
    state: String,
    /// See [`State::detail`].
    #[serde(default)]
    detail: Option<String>,
    /// See [`State::message`].
    #[serde(default)]
    message: Option<String>,
    first_message: Option<MessageId>,
    create_time: SystemTime,
    start_time: Option<SystemTime>,
    end_time: Option<SystemTime>,
    waited: Duration,
    last_sequence: u64,
    usage: Usage,
    snapshot: Snapshot,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    assistants: u64,
    threads: u64,
    messages: u64,
    runs: u64,
    steps: u64,
}

impl Line {
    /// The line's text, without its end.
    ///
    /// # Errors
    /// It holds what cannot be told in JSON: a time before 1970.
    pub fn text(&self) -> Result<String, Fault> {
        let (kind, body) = match self {
            Line::Header(version) => (HEADER, value(&HeaderLine { version: *version })),
            Line::Assistant(record) => ("assistant", value(&AssistantLine::of(record))),
            Line::Thread(record) => ("thread", value(&ThreadLine::of(record))),
            Line::Message(message) => ("message", value(&**message)),
            Line::Run(run) => ("run", value(&RunLine::of(run))),
            Line::Step(step) => ("step", value(&**step)),
            Line::End(counts) => ("end", value(&EndLine::of(counts))),
        };
        let mut body = body?;
        time::to_text(&mut body)?;
        let mut line = json!({"kind": kind});
        if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), body) {
            line.extend(fields);
        }
        Ok(line.to_string())
    }

    /// Reads a line. A run's thread is the one whose line came before, given by its name.
    ///
    /// # Errors
    /// Names the field that does not fit.
    pub fn parse(text: &str, thread: Option<&ThreadId>) -> Result<Line, Fault> {
        let mut body: Value =
            serde_json::from_str(text).map_err(|error| Fault::of("", format!("is not JSON: {error}")))?;
        let fields = body
            .as_object_mut()
            .ok_or_else(|| Fault::of("", "is not a JSON object"))?;
        let kind = fields.shift_remove("kind");
        let kind = kind
            .as_ref()
            .and_then(Value::as_str)
            .ok_or_else(|| Fault::of("kind", "is missing"))?;
        time::from_text(&mut body)?;
        Ok(match kind {
            HEADER => Line::Header(typed::<HeaderLine>(body)?.version),
            "assistant" => Line::Assistant(typed::<AssistantLine>(body)?.record()?),
            "thread" => Line::Thread(typed::<ThreadLine>(body)?.record()?),
            "message" => Line::Message(Arc::new(checked_message(typed(body)?)?)),
            "run" => {
                let thread = thread.ok_or_else(|| Fault::of("kind", "a run comes after its thread"))?;
                Line::Run(Box::new(typed::<RunLine>(body)?.run(thread)?))
            }
            "step" => Line::Step(Arc::new(checked_step(typed(body)?)?)),
            "end" => Line::End(typed::<EndLine>(body)?.counts()),
            other => return Err(Fault::of("kind", format!("{other:?} is not known"))),
        })
    }
}

/// Every line of a thread, in their order.
pub fn of_thread(whole: &WholeThread) -> impl Iterator<Item = Line> {
    let messages = whole
        .messages
        .iter()
        .map(|message| Line::Message(Arc::clone(message)));
    let runs = whole.runs.iter().flat_map(|run| {
        let steps = run.steps.iter().map(|step| Line::Step(Arc::clone(step)));
        let bare = WholeRun {
            steps: Vec::new(),
            ..run.clone()
        };
        std::iter::once(Line::Run(Box::new(bare))).chain(steps)
    });
    std::iter::once(Line::Thread(whole.record.clone()))
        .chain(messages)
        .chain(runs)
}

impl AssistantLine {
    fn of(record: &AssistantRecord) -> Self {
        Self {
            id: record.id.clone(),
            version: record.version,
            create_time: record.create_time,
            update_time: record.update_time,
            profile: record.profile.clone(),
        }
    }

    fn record(self) -> Result<AssistantRecord, Fault> {
        Ok(AssistantRecord {
            id: of_id("id", AssistantId::parse(self.id.as_str()))?,
            profile: self.profile,
            version: checked_version(self.version)?,
            create_time: self.create_time,
            update_time: self.update_time,
        })
    }
}

impl ThreadLine {
    fn of(record: &ThreadRecord) -> Self {
        Self {
            id: record.id.clone(),
            title: record.title.clone(),
            version: record.version,
            create_time: record.create_time,
            update_time: record.update_time,
            metadata: record.metadata.clone(),
        }
    }

    fn record(self) -> Result<ThreadRecord, Fault> {
        Ok(ThreadRecord {
            id: of_id("id", ThreadId::parse(self.id.as_str()))?,
            title: self.title,
            metadata: self.metadata,
            version: checked_version(self.version)?,
            active_run: None,
            create_time: self.create_time,
            update_time: self.update_time,
            // It is that of its runs.
            usage: Usage::default(),
        })
    }
}

impl RunLine {
    fn of(run: &WholeRun) -> Self {
        let record = &run.record;
        Self {
            id: record.id.clone(),
            state: record.state.name().to_owned(),
            detail: record.state.stored_detail().map(Cow::into_owned),
            message: record.state.message().map(str::to_owned),
            first_message: run.first_message.clone(),
            create_time: record.create_time,
            start_time: record.start_time,
            end_time: record.end_time,
            waited: record.waited,
            last_sequence: record.last_sequence,
            usage: record.usage,
            snapshot: record.snapshot.clone(),
        }
    }

    fn run(self, thread: &ThreadId) -> Result<WholeRun, Fault> {
        let state = State::from_parts(&self.state, self.detail.as_deref(), self.message.as_deref())
            .ok_or_else(|| Fault::of("state", "is not known, or its detail does not fit"))?;
        if state.outcome().is_none() {
            return Err(Fault::of(
                "state",
                "is that of a run that is not over, which cannot be imported",
            ));
        }
        if let Some(assistant) = &self.snapshot.assistant {
            of_id("snapshot.assistant", AssistantId::parse(assistant.as_str()))?;
        }
        Ok(WholeRun {
            record: RunRecord {
                id: of_id("id", RunId::parse(self.id.as_str()))?,
                thread: thread.clone(),
                snapshot: self.snapshot,
                state,
                usage: self.usage,
                last_sequence: self.last_sequence,
                reserved_sequence: self.last_sequence,
                fence: RunRecord::FIRST_FENCE,
                create_time: self.create_time,
                start_time: self.start_time,
                expire_time: None,
                pending: Vec::new(),
                waited: self.waited,
                waits_since: None,
                end_time: self.end_time,
            },
            first_message: self.first_message,
            steps: Vec::new(),
        })
    }
}

impl EndLine {
    fn of(counts: &Counts) -> Self {
        let Counts {
            assistants,
            threads,
            messages,
            runs,
            steps,
        } = *counts;
        Self {
            assistants,
            threads,
            messages,
            runs,
            steps,
        }
    }

    fn counts(self) -> Counts {
        let Self {
            assistants,
            threads,
            messages,
            runs,
            steps,
        } = self;
        Counts {
            assistants,
            threads,
            messages,
            runs,
            steps,
        }
    }
}

fn value(body: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(body).map_err(|error| Fault::of("", error.to_string()))
}

fn checked_version(version: u64) -> Result<u64, Fault> {
    match i64::try_from(version) {
        Ok(1..) => Ok(version),
        _ => Err(Fault::of("version", "must be at least 1")),
    }
}

fn checked_message(message: Message) -> Result<Message, Fault> {
    of_id("id", MessageId::parse(message.id.as_str()))?;
    for (part, index) in message.content.iter().zip(0..) {
        let call = match part {
            Part::ToolCall(call) => Some(&call.id),
            Part::ToolOutput(output) => Some(&output.call),
            _ => None,
        };
        if let Some(call) = call {
            of_id(&format!("content[{index}]"), CallId::parse(call.as_str()))?;
        }
    }
    Ok(message)
}

fn checked_step(step: Step) -> Result<Step, Fault> {
    of_id("id", StepId::parse(step.id.as_str()))?;
    if let Work::ToolCall { call, .. } = &step.work {
        of_id("work.tool_call.call.id", CallId::parse(call.id.as_str()))?;
    }
    Ok(step)
}
