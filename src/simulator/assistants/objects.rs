//! The objects of the Assistants API, as JSON.

use serde_json::{Map, Value, json};

use crate::simulator::refusal::Refusal;

/// How long a run may take, also while it waits for the outputs of tools.
pub(super) const RUN_LIFETIME_S: u64 = 600;

/// The fields of a request, by their names. Null stands for no field, as everywhere in this API.
pub(super) type Fields = Map<String, Value>;

/// Reads a body: an object, or nothing at all.
pub(super) fn fields(body: &[u8]) -> Result<Fields, Refusal> {
    if body.is_empty() {
        return Ok(Fields::new());
    }
    let mut fields: Fields = serde_json::from_slice(body)?;
    fields.retain(|_, value| !value.is_null());
    Ok(fields)
}

/// The field, or what stands for it.
fn field(fields: &Fields, name: &str, default: Value) -> Value {
    fields.get(name).cloned().unwrap_or(default)
}

pub(super) fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Refusal> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::missing(name))
}

pub(super) fn assistant(id: &str, created_s: u64, given: &Fields) -> Result<Value, Refusal> {
    let model = text(given, "model")?;
    Ok(json!({
        "id": id,
        "object": "assistant",
        "created_at": created_s,
        "name": field(given, "name", Value::Null),
        "description": field(given, "description", Value::Null),
        "model": model,
        "instructions": field(given, "instructions", Value::Null),
        "tools": field(given, "tools", json!([])),
        "tool_resources": field(given, "tool_resources", json!({})),
        "metadata": field(given, "metadata", json!({})),
        "temperature": field(given, "temperature", json!(1.0)),
        "top_p": field(given, "top_p", json!(1.0)),
        "response_format": field(given, "response_format", json!("auto")),
    }))
}

pub(super) fn thread(id: &str, created_s: u64, given: &Fields) -> Value {
    json!({
        "id": id,
        "object": "thread",
        "created_at": created_s,
        "tool_resources": field(given, "tool_resources", json!({})),
        "metadata": field(given, "metadata", json!({})),
    })
}

/// A message as a request gives it.
pub(super) fn given_message(
    id: &str,
    created_s: u64,
    thread: &str,
    given: &Fields,
) -> Result<Value, Refusal> {
    let role = text(given, "role")?;
    if !matches!(role, "user" | "assistant") {
        let message = format!("Invalid value: '{role}'. Supported values are: 'user' and 'assistant'.");
        return Err(Refusal::invalid(Some("role"), Some("invalid_value"), message));
    }
    let content = match given.get("content") {
        Some(Value::String(text)) => vec![text_part(text)],
        Some(Value::Array(parts)) => parts.iter().map(stored_part).collect(),
        _ => return Err(Refusal::missing("content")),
    };
    let mut message = message(id, created_s, thread, role);
    message["content"] = Value::Array(content);
    message["status"] = json!("completed");
    message["completed_at"] = json!(created_s);
    message["attachments"] = field(given, "attachments", json!([]));
    message["metadata"] = field(given, "metadata", json!({}));
    Ok(message)
}

/// A message that is yet to be written.
pub(super) fn message(id: &str, created_s: u64, thread: &str, role: &str) -> Value {
    json!({
        "id": id,
        "object": "thread.message",
        "created_at": created_s,
        "thread_id": thread,
        "status": "in_progress",
        "incomplete_details": null,
        "completed_at": null,
        "incomplete_at": null,
        "role": role,
        "content": [],
        "assistant_id": null,
        "run_id": null,
        "attachments": [],
        "metadata": {},
    })
}

pub(super) fn text_part(text: &str) -> Value {
    cited_part(text, &[])
}

pub(super) fn cited_part(text: &str, annotations: &[Value]) -> Value {
    json!({"type": "text", "text": {"value": text, "annotations": annotations}})
}

/// What a text refers to in the words of this API: only files, and always with a place in the text. That of one without is
/// where its `index` says, or the end.
pub(super) fn annotations(given: &[Value], text: &str) -> Vec<Value> {
    let end = text.chars().count() as u64;
    let annotation = |given: &Value| {
        let kind = given["type"].as_str()?;
        let file = &given["file_id"];
        if !matches!(kind, "file_citation" | "file_path") || !file.is_string() {
            return None;
        }
        let place = |name: &str, default: u64| given[name].as_u64().unwrap_or(default).min(end);
        let start = place("start_index", place("index", end));
        let stop = place("end_index", start).max(start);
        let cited = text.chars().skip(start as usize).take((stop - start) as usize);
        Some(json!({
            "type": kind,
            "text": cited.collect::<String>(),
            "start_index": start,
            "end_index": stop,
            kind: {"file_id": file},
        }))
    };
    given.iter().filter_map(annotation).collect()
}

pub(super) fn refusal_part(refusal: &str) -> Value {
    json!({"type": "refusal", "refusal": refusal})
}

/// Requests write a text plainly, messages with its annotations.
fn stored_part(part: &Value) -> Value {
    match (&part["type"], &part["text"]) {
        (Value::String(kind), Value::String(text)) if kind == "text" => text_part(text),
        _ => part.clone(),
    }
}

/// What a message says, its parts joined.
pub(super) fn said(message: &Value) -> String {
    let parts = message["content"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"]["value"].as_str()).collect()
}

/// A run of `assistant` as it is queued, with what the request has in place of the assistant's own.
pub(super) fn run(id: &str, created_s: u64, thread: &str, assistant: &Value, given: &Fields) -> Value {
    let own = |name: &str| field(given, name, assistant[name].clone());
    let instructions = match (own("instructions"), given.get("additional_instructions")) {
        (Value::String(text), Some(Value::String(more))) => json!(format!("{text}\n{more}")),
        (Value::String(text), _) => json!(text),
        (_, Some(more)) => more.clone(),
        (_, None) => json!(""),
    };
    json!({
        "id": id,
        "object": "thread.run",
        "created_at": created_s,
        "thread_id": thread,
        "assistant_id": assistant["id"],
        "status": "queued",
        "required_action": null,
        "last_error": null,
        "expires_at": created_s + RUN_LIFETIME_S,
        "started_at": null,
        "cancelled_at": null,
        "failed_at": null,
        "completed_at": null,
        "incomplete_details": null,
        "model": own("model"),
        "instructions": instructions,
        "tools": own("tools"),
        "metadata": field(given, "metadata", json!({})),
        "usage": null,
        "temperature": own("temperature"),
        "top_p": own("top_p"),
        "max_prompt_tokens": field(given, "max_prompt_tokens", Value::Null),
        "max_completion_tokens": field(given, "max_completion_tokens", Value::Null),
        "truncation_strategy": field(given, "truncation_strategy", json!({"type": "auto", "last_messages": null})),
        "tool_choice": field(given, "tool_choice", json!("auto")),
        "parallel_tool_calls": field(given, "parallel_tool_calls", json!(true)),
        "response_format": own("response_format"),
    })
}

/// A step of `run` that has begun. Its usage stays null: only the run's is counted.
pub(super) fn step(id: &str, created_s: u64, run: &Value, details: Value) -> Value {
    json!({
        "id": id,
        "object": "thread.run.step",
        "created_at": created_s,
        "assistant_id": run["assistant_id"],
        "thread_id": run["thread_id"],
        "run_id": run["id"],
        "type": details["type"],
        "status": "in_progress",
        "step_details": details,
        "last_error": null,
        "expired_at": null,
        "cancelled_at": null,
        "failed_at": null,
        "completed_at": null,
        "metadata": {},
        "usage": null,
    })
}

/// The run as it is shown: what it has used is told at its end only.
pub(super) fn shown(run: &Value) -> Value {
    let mut shown = run.clone();
    if is_active(run) {
        shown["usage"] = Value::Null;
    }
    shown
}

/// Whether more is to come of the run, and its thread is locked meanwhile.
pub(super) fn is_active(run: &Value) -> bool {
    matches!(
        run["status"].as_str(),
        Some("queued" | "in_progress" | "requires_action" | "cancelling")
    )
}
