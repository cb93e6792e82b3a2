//! What is done at start-up about runs whose process died.

use std::sync::Arc;
use std::time::SystemTime;

use super::Engine;
use crate::run::error::{Error, Reason};
use crate::run::id::{MessageId, Mint};
use crate::run::message::{CallOutput, Message, Part, Role, ToolOutput};
use crate::run::record::{Outcome, RunRecord, State};

impl Engine {
    /// Ends the runs that a dead process left open, and answers their open calls, so that their threads can go
    /// on. To be called once, before the first run.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn recover(&self) -> Result<usize, Error> {
        let store = &self.shared.ports.store;
        let runs = store.active_runs().await?;
        let count = runs.len();
        for record in runs {
            let messages = store.messages(&record.thread).await?;
            let answers = unanswered(&record, &messages, SystemTime::now());
            tracing::warn!(run = %record.id, thread = %record.thread, "ending a run that a dead process left open");
            store.save(&interrupted(record), answers.as_slice()).await?;
        }
        Ok(count)
    }
}

fn interrupted(mut record: RunRecord) -> RunRecord {
    let error = Error::new(Reason::RunInterrupted, "the process that worked on the run died");
    record.state = State::Ended(Outcome::Failed(error));
    record.end_time = Some(SystemTime::now());
    record.last_sequence += 1;
    record
}

/// Answers to the calls that the run asked for and that have no output: their outcome is not known.
fn unanswered(record: &RunRecord, messages: &[Arc<Message>], now: SystemTime) -> Option<Arc<Message>> {
    let last = messages
        .last()
        .filter(|message| message.run.as_ref() == Some(&record.id))?;
    let outputs: Vec<Part> = last
        .tool_calls()
        .map(|call| {
            let output = ToolOutput::failure("the outcome is not known: the process died during the call");
            Part::ToolOutput(CallOutput {
                call: call.id.clone(),
                tool: call.tool.clone(),
                output,
            })
        })
        .collect();
    (!outputs.is_empty()).then(|| {
        Arc::new(Message {
            id: MessageId::new(&mut Mint::System),
            role: Role::Tool,
            content: outputs,
            run: Some(record.id.clone()),
            incomplete: false,
            create_time: now,
        })
    })
}
