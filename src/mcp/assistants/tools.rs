//! The tools as clients see them.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::naming;
use crate::run::assistant::AssistantRecord;

/// The tool that talks to any assistant.
pub(super) const CHAT: &str = "chat";

/// Whom a tool talks to.
pub(super) enum Addressee {
    /// Whom the call names, or else the operator's default.
    Named,
    /// This one.
    One(Box<AssistantRecord>),
}

/// Every tool, `chat` first.
pub(super) fn all(assistants: &[AssistantRecord]) -> Vec<Tool> {
    let names = naming::names(assistants);
    let chat = tool(
        CHAT.to_owned(),
        "Chat".to_owned(),
        "Sends a message to an assistant and gives back its answer. The assistant may call tools of its own on the way."
            .to_owned(),
        input(true),
    );
    let others = assistants.iter().zip(names).map(|(assistant, name)| {
        let profile = &assistant.profile;
        let title = match profile.display_name.as_str() {
            "" => format!("assistants/{}", assistant.id),
            name => name.to_owned(),
        };
        let description = match profile.description.as_str() {
            "" => format!("Sends a message to the assistant \"{title}\" and gives back its answer."),
            text => text.to_owned(),
        };
        tool(name, title, description, input(false))
    });
    std::iter::once(chat).chain(others).collect()
}

/// Whom the tool of this name talks to; none if there is no such tool.
pub(super) fn find(assistants: &[AssistantRecord], name: &str) -> Option<Addressee> {
    match name {
        CHAT => Some(Addressee::Named),
        name => naming::find(assistants, name).map(|one| Addressee::One(Box::new(one.clone()))),
    }
}

/// An assistant may do anything that its tools do: nothing is promised of it.
fn tool(name: String, title: String, description: String, input: JsonObject) -> Tool {
    Tool::new(name, description, Arc::new(input))
        .with_title(title)
        .with_raw_output_schema(Arc::new(output()))
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(true)
                .idempotent(false)
                .open_world(true),
        )
}

fn input(names_assistant: bool) -> JsonObject {
    let mut properties = json!({
        "message": {"type": "string", "minLength": 1, "description": "What to say"},
        "thread": {
            "type": "string",
            "description": "The conversation to go on with, as an earlier answer named it: threads/{thread}. A new one \
                            begins without it",
        },
    });
    if names_assistant {
        properties["assistant"] = json!({
            "type": "string",
            "description": "Who answers: assistants/{assistant}. The service's default assistant without it",
        });
    }
    object(json!({
        "type": "object",
        "properties": properties,
        "required": ["message"],
        "additionalProperties": false,
    }))
}

/// What [`result`](super::result) gives.
fn output() -> JsonObject {
    let count = json!({"type": "integer", "minimum": 0});
    object(json!({
        "type": "object",
        "properties": {
            "response": {"type": "string", "description": "The assistant's answer; empty if it has none"},
            "thread": {"type": "string", "description": "The conversation: threads/{thread}"},
            "run": {"type": "string", "description": "The run that answered: threads/{thread}/runs/{run}"},
            "state": {
                "type": "string",
                "enum": ["COMPLETED", "INCOMPLETE", "REQUIRES_ACTION", "FAILED", "CANCELLED", "EXPIRED"],
                "description": "How the run ended, or that it waits for people",
            },
            "reason": {"type": "string", "description": "Why it is incomplete or has failed"},
            "usage": {
                "type": "object",
                "properties": {"inputTokens": count, "outputTokens": count, "totalTokens": count},
                "required": ["inputTokens", "outputTokens", "totalTokens"],
            },
            "pendingActions": {
                "type": "array",
                "description": "What the run waits for",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "tool": {"type": "string"},
                        "arguments": {"type": "string", "description": "JSON, as the model wrote it"},
                    },
                    "required": ["id", "tool", "arguments"],
                },
            },
        },
        "required": ["response", "thread", "run", "state", "usage"],
    }))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
