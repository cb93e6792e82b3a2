//! Assistants.

use std::sync::Arc;

use serde_json::Value;

use crate::archive::fault::{Fault, of_id};
use crate::archive::note::Notes;
use crate::run::assistant::{AssistantRecord, Profile};
use crate::run::id::AssistantId;

use super::label::{Labels, time};
use super::options::options;
use super::shape::{Assistant, Tool};

/// An assistant of ours. It is offered no tool that it did not have: of functions, those of the same name.
pub(super) fn assistant(assistant: Assistant, notes: &mut Notes) -> Result<AssistantRecord, Fault> {
    let id = of_id("id", AssistantId::parse(&assistant.id))?;
    let create_time = time("created_at", assistant.created_at)?;
    let mut labels = Labels::of(&assistant.id, assistant.metadata);
    labels.keep_tools(&assistant.tools, notes);
    labels.keep_resources(assistant.tool_resources.as_ref(), &assistant.file_ids, notes);
    let (options, carried) = options(&assistant.settings);
    labels.keep_settings(&assistant.settings, &carried, notes);
    Ok(AssistantRecord {
        id,
        profile: Profile {
            display_name: assistant.name.unwrap_or_default(),
            description: assistant.description.unwrap_or_default(),
            instructions: assistant.instructions.unwrap_or_default(),
            model: assistant.model,
            allowed_tools: Some(functions(&assistant.tools)),
            options: Arc::new(options),
            metadata: labels.into_map(),
            ..Profile::default()
        },
        version: 1,
        create_time,
        update_time: create_time,
    })
}

/// The names of the functions among these tools.
pub(super) fn functions(tools: &[Tool]) -> Vec<String> {
    let name = |tool: &Tool| {
        let function = tool.rest.get("function")?;
        function.get("name").and_then(Value::as_str).map(str::to_owned)
    };
    tools.iter().filter_map(name).collect()
}
