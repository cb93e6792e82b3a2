//! What a call gives back: the answer for people and models, and the whole for programs.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::run::action::Request;
use crate::run::engine::Finished;
use crate::run::id::{RunId, ThreadId};
use crate::run::record::{Outcome, RunRecord, State};

/// The contract's name of a thread.
pub(super) fn thread_name(thread: &ThreadId) -> String {
    format!("threads/{thread}")
}

/// The contract's name of a run.
pub(super) fn run_name(thread: &ThreadId, run: &RunId) -> String {
    format!("threads/{thread}/runs/{run}")
}

/// Reads a run's name.
pub(super) fn parse_run(name: &str) -> Option<(ThreadId, RunId)> {
    let (thread, run) = name.strip_prefix("threads/")?.split_once("/runs/")?;
    Some((ThreadId::parse(thread).ok()?, RunId::parse(run).ok()?))
}

/// The result of a call whose run is over, or waits for people.
pub(super) fn of(finished: &Finished) -> CallToolResult {
    let record = &finished.record;
    let response = &finished.response();
    let is_error = matches!(
        record.state,
        State::Ended(Outcome::Failed(_) | Outcome::Cancelled | Outcome::Expired(_))
    );
    let mut result = CallToolResult::structured(structured(record, response));
    result.content = texts(record, response)
        .into_iter()
        .map(ContentBlock::text)
        .collect();
    result.is_error = Some(is_error);
    result
}

fn structured(record: &RunRecord, response: &str) -> Value {
    let usage = &record.usage;
    let mut structured = json!({
        "response": response,
        "thread": thread_name(&record.thread),
        "run": run_name(&record.thread, &record.id),
        "state": record.state.name().to_ascii_uppercase(),
        "usage": {
            "inputTokens": usage.input_tokens,
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.input_tokens.saturating_add(usage.output_tokens),
        },
    });
    if let Some(reason) = record.state.detail() {
        structured["reason"] = json!(reason.to_ascii_uppercase());
    }
    if !record.pending.is_empty() {
        let pending = record.pending.iter().map(|action| {
            let mut pending = json!({
                "id": action.id.as_str(),
                "tool": action.call.tool,
                "arguments": action.call.arguments,
            });
            match &action.request {
                Request::Elicitation(asked) => {
                    pending["question"] = json!({
                        "server": asked.server,
                        "message": asked.message,
                        "requestedSchema": asked.requested_schema,
                        "url": asked.url,
                    });
                }
                Request::Sampling(prompt) => {
                    pending["sampling"] = json!({"server": prompt.server, "prompt": prompt.prompt});
                }
                Request::Approval { .. } | Request::ClientTool | Request::UnknownOutcome { .. } => {}
            }
            pending
        });
        structured["pendingActions"] = pending.collect();
    }
    structured
}

fn texts(record: &RunRecord, response: &str) -> Vec<String> {
    let mut texts = Vec::new();
    if !response.is_empty() {
        texts.push(response.to_owned());
    }
    let run = run_name(&record.thread, &record.id);
    match &record.state {
        State::RequiresAction => texts.push(waits(record, &run)),
        State::Ended(Outcome::Failed(error)) => texts.push(format!("The run failed: {}", error.message())),
        State::Ended(Outcome::Cancelled) => texts.push("The run was cancelled.".to_owned()),
        State::Ended(Outcome::Expired(text)) => texts.push(format!("The run expired: {text}")),
        State::Ended(Outcome::Incomplete(reason)) => {
            texts.push(format!("The answer is incomplete: {}", reason.name()));
        }
        _ => {}
    }
    texts
}

/// Says what a run waits for, and how it is answered.
fn waits(record: &RunRecord, run: &str) -> String {
    let mut text = format!("The run {run} waits for people:\n");
    for action in &record.pending {
        let call = &action.call;
        let id = &action.id;
        text.push_str(&match &action.request {
            Request::Elicitation(asked) => {
                format!("- {id}: the server {} asks: {}\n", asked.server, asked.message)
            }
            Request::Sampling(prompt) => {
                format!("- {id}: the server {} wants to ask a model\n", prompt.server)
            }
            _ => format!("- {id}: {} {}\n", call.tool, call.arguments),
        });
    }
    text.push_str(&format!(
        "It goes on when they are answered: POST /v1/{run}:submitActions with \
         {{\"answers\": [{{\"actionId\": …, \"approve\": {{}}}}]}}, or \"reject\"; the question of a server with \
         \"elicitation\": {{\"action\": \"ELICITATION_ACTION_ACCEPT\", \"content\": …}}."
    ));
    text
}
