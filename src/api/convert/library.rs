//! Resources and prompts of MCP servers.

use super::message::content_to_pb;
use super::name;
use crate::api::pb;
use crate::run::library::{FilledPrompt, Prompt, Resource, ResourceTemplate};
use crate::run::message::Role;

/// A resource as the contract has it.
pub fn resource_to_pb(resource: &Resource) -> pb::McpResource {
    pb::McpResource {
        server: resource.server.clone(),
        uri: resource.uri.clone(),
        display_name: resource.about.name.clone(),
        title: resource.about.title.clone(),
        description: resource.about.description.clone(),
        mime_type: resource.mime_type.clone(),
        size_bytes: resource.size_bytes.map(super::count),
    }
}

/// A template as the contract has it.
pub fn template_to_pb(template: &ResourceTemplate) -> pb::McpResourceTemplate {
    pb::McpResourceTemplate {
        server: template.server.clone(),
        uri_template: template.uri_template.clone(),
        display_name: template.about.name.clone(),
        title: template.about.title.clone(),
        description: template.about.description.clone(),
        mime_type: template.mime_type.clone(),
    }
}

/// A prompt as the contract has it.
pub fn prompt_to_pb(prompt: &Prompt) -> pb::Prompt {
    let arguments = prompt.arguments.iter().map(|argument| pb::PromptArgument {
        key: argument.about.name.clone(),
        title: argument.about.title.clone(),
        description: argument.about.description.clone(),
        required: argument.required,
    });
    pb::Prompt {
        name: name::prompt(&prompt.name),
        title: prompt.about.title.clone(),
        description: prompt.about.description.clone(),
        arguments: arguments.collect(),
        server: prompt.server.clone(),
    }
}

/// A prompt with its arguments filled in, as the contract has it.
pub fn filled_to_pb(filled: &FilledPrompt) -> pb::GetPromptResponse {
    let messages = filled.messages.iter().map(|message| pb::PromptMessage {
        role: match message.role {
            Role::Assistant => pb::Role::Assistant,
            _ => pb::Role::User,
        }
        .into(),
        content: Some(content_to_pb(&message.content)),
    });
    pb::GetPromptResponse {
        description: filled.description.clone(),
        messages: messages.collect(),
    }
}
