//! What MCP servers have besides tools: resources to read and prompts to begin with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Violation;
use super::message::{Content, Role};

/// Every resource, template and prompt of every connected server, at one moment.
#[derive(Debug, Default)]
pub struct Holdings {
    /// The resources, by server and in the server's order.
    pub resources: Vec<Arc<Resource>>,
    /// The templates for further resources, in the same order.
    pub templates: Vec<Arc<ResourceTemplate>>,
    prompts: Vec<Arc<Prompt>>,
}

/// A resource as a server describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The server that has it.
    pub server: String,
    /// Its address, unique within the server.
    pub uri: String,
    /// What it is.
    pub about: About,
    /// Its media type; empty when unknown.
    pub mime_type: String,
    /// Its size in bytes before any encoding, if known.
    pub size_bytes: Option<u64>,
}

/// A pattern for the addresses of resources.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceTemplate {
    /// The server that has them.
    pub server: String,
    /// The pattern (RFC 6570).
    pub uri_template: String,
    /// What they are.
    pub about: About,
    /// The media type that all of them have; empty when unknown.
    pub mime_type: String,
}

/// How a server describes a thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Its name on the server.
    pub name: String,
    /// A title for people; empty when there is none.
    pub title: String,
    /// What it is, for models and people; empty when there is none.
    pub description: String,
}

/// A prompt as a server describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its name here: `server__prompt`, or as the server's prefix says.
    pub name: String,
    /// The server that offers it.
    pub server: String,
    /// What it is; the name is the one on the server.
    pub about: About,
    /// What it takes, in the server's order.
    pub arguments: Vec<PromptArgument>,
}

/// An argument of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptArgument {
    /// What it is; the name is its key.
    pub about: About,
    /// Whether the prompt cannot be had without it.
    pub required: bool,
}

/// A prompt with its arguments filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct FilledPrompt {
    /// What it is for; empty when the server does not say.
    pub description: String,
    /// The messages to begin a conversation with.
    pub messages: Vec<PromptMessage>,
}

/// A message of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptMessage {
    /// Who speaks: the user or the assistant.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

impl Holdings {
    /// Of these resources and templates, in this order, and these prompts, whose names are unique.
    pub fn new(
        resources: Vec<Arc<Resource>>,
        templates: Vec<Arc<ResourceTemplate>>,
        mut prompts: Vec<Arc<Prompt>>,
    ) -> Self {
        prompts.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            resources,
            templates,
            prompts,
        }
    }

    /// The prompts, sorted by name; names are unique.
    pub fn prompts(&self) -> &[Arc<Prompt>] {
        &self.prompts
    }

    /// The prompt of that name.
    pub fn prompt(&self, name: &str) -> Option<&Arc<Prompt>> {
        let place = self
            .prompts
            .binary_search_by(|prompt| prompt.name.as_str().cmp(name));
        place.ok().map(|place| &self.prompts[place])
    }
}

impl Prompt {
    /// What is wrong with these arguments: those that are missing, and those that it does not know. `field` is the
    /// path of the arguments.
    pub fn violations(&self, field: &str, arguments: &BTreeMap<String, String>) -> Vec<Violation> {
        let violation = |key: &str, description: &str| Violation {
            field: format!("{field}[{key:?}]"),
            description: description.to_owned(),
        };
        let missing = self
            .arguments
            .iter()
            .filter(|argument| argument.required && !arguments.contains_key(&argument.about.name))
            .map(|argument| violation(&argument.about.name, "must be given"));
        let unknown = arguments
            .keys()
            .filter(|key| !self.arguments.iter().any(|known| known.about.name == **key))
            .map(|key| violation(key, "is not an argument of this prompt"));
        missing.chain(unknown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(name: &str, server: &str, arguments: &[(&str, bool)]) -> Arc<Prompt> {
        let argument = |&(key, required): &(&str, bool)| PromptArgument {
            about: About {
                name: key.to_owned(),
                ..About::default()
            },
            required,
        };
        Arc::new(Prompt {
            name: name.to_owned(),
            server: server.to_owned(),
            about: About::default(),
            arguments: arguments.iter().map(argument).collect(),
        })
    }

    #[test]
    fn prompts_are_sorted_and_found_by_name() {
        let all = vec![prompt("b", "one", &[]), prompt("a", "two", &[])];
        let holdings = Holdings::new(Vec::new(), Vec::new(), all);
        let names: Vec<&str> = holdings.prompts().iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(holdings.prompt("b").map(|one| one.server.as_str()), Some("one"));
        assert!(holdings.prompt("c").is_none());
    }

    #[test]
    fn arguments_that_are_missing_or_unknown_are_named() {
        let prompt = prompt("p", "s", &[("city", true), ("state", false)]);
        let cases: [(&[&str], &[&str]); 5] = [
            (&["city"], &[]),
            (&["city", "state"], &[]),
            (&[], &["arguments[\"city\"]"]),
            (&["state", "zip"], &["arguments[\"city\"]", "arguments[\"zip\"]"]),
            (&["city", "City"], &["arguments[\"City\"]"]),
        ];
        for (given, expected) in cases {
            let given = given
                .iter()
                .map(|key| ((*key).to_owned(), String::new()))
                .collect();
            let fields = prompt
                .violations("arguments", &given)
                .into_iter()
                .map(|one| one.field);
            assert_eq!(fields.collect::<Vec<_>>(), expected, "{given:?}");
        }
    }
}
