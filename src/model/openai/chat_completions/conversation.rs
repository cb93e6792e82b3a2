//! The messages of a request, in an order that its server takes.

use async_openai::types::chat::{
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestAssistantMessageContent,
    ChatCompletionRequestMessage as Message, ChatCompletionRequestSystemMessage as SystemMessage,
    ChatCompletionRequestSystemMessageContent as Rules, ChatCompletionRequestUserMessageContent as Said,
    ChatCompletionRequestUserMessageContentPart as Part,
};

use super::call_names::CallNames;
use super::{Server, text};
use crate::run::id::CallId;

/// What a model is told to have said where it did not come to an answer to the outputs of its calls.
const BROKEN_OFF: &str = "[The answer was broken off.]";

/// Messages, as they are added.
///
/// Chat templates, and Mistral's own API, want the roles of users and models to alternate behind at most one system message.
/// A run that failed before its model said anything leaves none of its own, so that two messages of the user are
/// neighbours, or one and the output of a tool. Whoever is compatible is therefore given neighbouring messages of users, and
/// of the service in front, as one, and told that an answer was broken off. OpenAI takes them as they are.
#[derive(Debug)]
pub(super) struct Conversation {
    server: Server,
    messages: Vec<Message>,
    calls: CallNames,
}

impl Conversation {
    pub(super) fn with(server: Server) -> Self {
        Self {
            server,
            messages: Vec::new(),
            calls: CallNames::default(),
        }
    }

    /// How many messages there are, which is the place of the next one that is the model's.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// What the server is told that a call is named, where it is made and where it is answered.
    pub(super) fn call_name(&mut self, call: &CallId) -> String {
        match self.server {
            Server::OpenAi => call.as_str().to_owned(),
            Server::Compatible => self.calls.of(call),
        }
    }

    /// Adds what the service tells the model.
    pub(super) fn rules(&mut self, text: String) {
        let is_in_front = !self.messages.iter().any(is_said);
        let rules = self.server.rules(text, is_in_front);
        self.push(rules);
    }

    pub(super) fn push(&mut self, message: Message) {
        if self.server == Server::OpenAi {
            return self.messages.push(message);
        }
        let message = match (self.messages.last_mut(), message) {
            (Some(Message::User(last)), Message::User(next)) => return join(&mut last.content, next.content),
            (Some(Message::System(last)), Message::System(next)) => match (&mut last.content, next) {
                (
                    Rules::Text(text),
                    SystemMessage {
                        content: Rules::Text(more),
                        ..
                    },
                ) => return join_text(text, more),
                (_, next) => Message::System(next),
            },
            (Some(Message::Tool(_)), next @ Message::User(_)) => {
                self.messages.push(broken_off());
                next
            }
            (_, next) => next,
        };
        self.messages.push(message);
    }

    pub(super) fn into_messages(self) -> Vec<Message> {
        self.messages
    }
}

/// Whether a message belongs to the conversation, rather than to what it is held by.
fn is_said(message: &Message) -> bool {
    !matches!(message, Message::System(_) | Message::Developer(_))
}

fn broken_off() -> Message {
    Message::Assistant(ChatCompletionRequestAssistantMessage {
        content: Some(ChatCompletionRequestAssistantMessageContent::Text(
            BROKEN_OFF.to_owned(),
        )),
        ..ChatCompletionRequestAssistantMessage::default()
    })
}

/// Plain text stays plain text.
fn join(content: &mut Said, next: Said) {
    match (content, next) {
        (Said::Text(text), Said::Text(more)) => join_text(text, more),
        (content, next) => {
            let before = std::mem::replace(content, Said::Text(String::new()));
            let (mut parts, mut more) = (parts(before), parts(next));
            // Templates put the parts of a message next to each other.
            if let (Some(Part::Text(_)), Some(Part::Text(first))) = (parts.last(), more.first_mut()) {
                first.text.insert_str(0, "\n\n");
            }
            parts.append(&mut more);
            *content = Said::Array(parts);
        }
    }
}

fn join_text(text: &mut String, more: String) {
    if text.is_empty() {
        *text = more;
    } else if !more.is_empty() {
        text.push_str("\n\n");
        text.push_str(&more);
    }
}

/// Some servers refuse a part without text.
fn parts(content: Said) -> Vec<Part> {
    match content {
        Said::Text(said) if said.is_empty() => Vec::new(),
        Said::Text(said) => vec![text(said)],
        Said::Array(parts) => parts,
    }
}

#[cfg(test)]
mod tests {
    use async_openai::types::chat::{
        ChatCompletionRequestToolMessage, ChatCompletionRequestToolMessageContent,
        ChatCompletionRequestUserMessage,
    };
    use serde_json::{Value, json};

    use super::*;

    fn user(content: Said) -> Message {
        Message::User(ChatCompletionRequestUserMessage { content, name: None })
    }

    fn said(words: &str) -> Message {
        user(Said::Text(words.to_owned()))
    }

    fn in_parts(words: &[&str]) -> Message {
        user(Said::Array(
            words.iter().map(|word| text((*word).to_owned())).collect(),
        ))
    }

    fn answer() -> Message {
        Message::Assistant(ChatCompletionRequestAssistantMessage {
            content: Some(ChatCompletionRequestAssistantMessageContent::Text("a".to_owned())),
            ..ChatCompletionRequestAssistantMessage::default()
        })
    }

    fn output() -> Message {
        Message::Tool(ChatCompletionRequestToolMessage {
            content: ChatCompletionRequestToolMessageContent::Text("o".to_owned()),
            tool_call_id: "c".to_owned(),
        })
    }

    /// Roles by their first letter, with what is said: a text, or the texts of parts.
    fn in_short(conversation: Conversation) -> Value {
        let short = |message: &Message| {
            let message = serde_json::to_value(message).unwrap();
            let role = message["role"].as_str().unwrap()[..1].to_owned();
            let content = match &message["content"] {
                Value::Array(parts) => parts.iter().map(|part| part["text"].clone()).collect(),
                text => text.clone(),
            };
            json!([role, content])
        };
        conversation.messages.iter().map(short).collect()
    }

    enum Step {
        Rules(&'static str),
        Message(Message),
    }
    use Step::{Message as M, Rules as R};

    #[test]
    fn roles_alternate_for_whoever_is_compatible() {
        let table: Vec<(Vec<Step>, Value)> = vec![
            (
                vec![R("r"), M(said("x")), M(said("y")), M(said("z"))],
                json!([["s", "r"], ["u", "x\n\ny\n\nz"]]),
            ),
            (
                vec![R("r"), R("t"), M(said("x")), M(answer()), R("n")],
                json!([["s", "r\n\nt"], ["u", "x"], ["a", "a"], ["u", "n"]]),
            ),
            (
                vec![M(said("x")), R("n"), M(said("y"))],
                json!([["u", "x\n\nn\n\ny"]]),
            ),
            (
                vec![M(said("x")), M(in_parts(&["1", "2"])), M(said("")), M(said("y"))],
                json!([["u", ["x", "\n\n1", "2", "\n\ny"]]]),
            ),
            (
                vec![M(said("")), M(in_parts(&["1"])), M(in_parts(&["2"]))],
                json!([["u", ["1", "\n\n2"]]]),
            ),
            (vec![M(said("")), M(said("x")), M(said(""))], json!([["u", "x"]])),
            (
                vec![M(said("x")), M(output()), M(output()), M(said("y")), M(said("z"))],
                json!([
                    ["u", "x"],
                    ["t", "o"],
                    ["t", "o"],
                    ["a", BROKEN_OFF],
                    ["u", "y\n\nz"]
                ]),
            ),
            (
                vec![M(output()), M(answer()), M(said("y"))],
                json!([["t", "o"], ["a", "a"], ["u", "y"]]),
            ),
        ];
        for (steps, expected) in table {
            let mut conversation = Conversation::with(Server::Compatible);
            for step in steps {
                match step {
                    R(text) => conversation.rules(text.to_owned()),
                    M(message) => conversation.push(message),
                }
            }
            assert_eq!(in_short(conversation), expected);
        }
    }

    #[test]
    fn openai_is_told_a_conversation_as_it_was() {
        let mut conversation = Conversation::with(Server::OpenAi);
        conversation.rules("r".to_owned());
        conversation.rules("t".to_owned());
        for message in [said("x"), said("y"), output(), said("z")] {
            conversation.push(message);
        }
        assert_eq!(
            in_short(conversation),
            json!([
                ["d", "r"],
                ["d", "t"],
                ["u", "x"],
                ["u", "y"],
                ["t", "o"],
                ["u", "z"]
            ])
        );
    }
}
