//! Resources and prompts.

use rmcp::model as remote;

use super::{content, contents, cut, tool_name};
use crate::mcp::config::ServerConfig;
use crate::run::library::{
    About, FilledPrompt, Prompt, PromptArgument, PromptMessage, Resource, ResourceTemplate,
};
use crate::run::message::{Content, Role};

/// The longest address; one of something longer is not a name to work with.
const URI_LIMIT_BYTES: usize = 8 * 1024;
/// The longest name, title or media type that is passed on, and the longest description.
const NAME_LIMIT_BYTES: usize = 1024;
const DESCRIPTION_LIMIT_BYTES: usize = 4 * 1024;
/// The most arguments of a prompt.
const ARGUMENTS: usize = 100;

/// What the heart is told of a resource. `None` for one that cannot be named.
pub(in crate::mcp) fn resource(server: &ServerConfig, resource: remote::Resource) -> Option<Resource> {
    is_address(&resource.uri).then(|| Resource {
        server: server.name.clone(),
        uri: resource.uri,
        about: about(resource.name, resource.title, resource.description),
        mime_type: cut(resource.mime_type.unwrap_or_default(), NAME_LIMIT_BYTES),
        size_bytes: resource.size,
    })
}

/// What the heart is told of a template. `None` for one that cannot be named.
pub(in crate::mcp) fn template(
    server: &ServerConfig,
    template: remote::ResourceTemplate,
) -> Option<ResourceTemplate> {
    is_address(&template.uri_template).then(|| ResourceTemplate {
        server: server.name.clone(),
        uri_template: template.uri_template,
        about: about(template.name, template.title, template.description),
        mime_type: cut(template.mime_type.unwrap_or_default(), NAME_LIMIT_BYTES),
    })
}

/// What the heart is told of a prompt. `None` for one that cannot be asked for: its name, or the key of an argument,
/// is missing or too long.
pub(in crate::mcp) fn prompt(server: &ServerConfig, prompt: remote::Prompt) -> Option<Prompt> {
    let arguments = prompt.arguments.unwrap_or_default();
    let keys = arguments.iter().map(|argument| &argument.name);
    let names_fit = std::iter::once(&prompt.name)
        .chain(keys)
        .all(|name| !name.is_empty() && name.len() <= NAME_LIMIT_BYTES);
    (names_fit && arguments.len() <= ARGUMENTS).then(|| Prompt {
        name: tool_name(&server.prefix, &prompt.name),
        server: server.name.clone(),
        about: about(prompt.name, prompt.title, prompt.description),
        arguments: arguments.into_iter().map(argument).collect(),
    })
}

fn argument(argument: remote::PromptArgument) -> PromptArgument {
    PromptArgument {
        about: about(argument.name, argument.title, argument.description),
        required: argument.required.unwrap_or(false),
    }
}

/// A prompt with its arguments filled in.
pub(in crate::mcp) fn filled(result: remote::GetPromptResult) -> FilledPrompt {
    let messages = result.messages.into_iter().map(|message| PromptMessage {
        role: match message.role {
            remote::Role::User => Role::User,
            remote::Role::Assistant => Role::Assistant,
        },
        content: content(message.content),
    });
    FilledPrompt {
        description: result.description.unwrap_or_default(),
        messages: messages.collect(),
    }
}

/// A resource that came within something else.
pub(super) fn embedded(resource: remote::ResourceContents) -> Content {
    let text = serde_json::to_string(&resource).unwrap_or_default();
    contents(resource).map_or(Content::Text(text), Content::Resource)
}

fn is_address(uri: &str) -> bool {
    !uri.is_empty() && uri.len() <= URI_LIMIT_BYTES
}

fn about(name: String, title: Option<String>, description: Option<String>) -> About {
    About {
        name: cut(name, NAME_LIMIT_BYTES),
        title: cut(title.unwrap_or_default(), NAME_LIMIT_BYTES),
        description: cut(description.unwrap_or_default(), DESCRIPTION_LIMIT_BYTES),
    }
}
