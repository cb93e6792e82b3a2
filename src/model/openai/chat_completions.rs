//! The Chat Completions dialect: requests here, answers in [`chunks`].

use async_openai::types::chat::{
    ChatCompletionMessageToolCall, ChatCompletionMessageToolCalls, ChatCompletionRequestAssistantMessage,
    ChatCompletionRequestAssistantMessageContent, ChatCompletionRequestDeveloperMessage,
    ChatCompletionRequestDeveloperMessageContent, ChatCompletionRequestMessage,
    ChatCompletionRequestMessageContentPartFile, ChatCompletionRequestMessageContentPartImage,
    ChatCompletionRequestMessageContentPartText, ChatCompletionRequestSystemMessage,
    ChatCompletionRequestSystemMessageContent, ChatCompletionRequestToolMessage,
    ChatCompletionRequestToolMessageContent, ChatCompletionRequestUserMessage,
    ChatCompletionRequestUserMessageContent, ChatCompletionRequestUserMessageContentPart,
    ChatCompletionStreamOptions, CreateChatCompletionRequest, FileObject, FunctionCall, ImageUrl,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::message::{Media, MediaSource, Message, Part, Role};
use crate::run::ports::ModelRequest;

use self::conversation::Conversation;
use self::reasoned::Back;
use super::tools::{Offer, alias};
use super::way::{LimitName, Way};
use super::{media, options};

mod call_names;
pub(super) mod chunks;
mod conversation;
pub(super) mod reasoned;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    request: CreateChatCompletionRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    /// See [`LimitName`]. The crate has only the newer name.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(flatten)]
    options: options::ForChatCompletions<'a>,
}

/// Who speaks the dialect: OpenAI has moved on in places where others have not.
///
/// | | OpenAI | others |
/// |---|---|---|
/// | the token limit, where the model does not refuse its name | `max_completion_tokens` | `max_tokens` |
/// | instructions | `developer` | `system` |
/// | a system message within the conversation | `developer` | `user`: many chat templates take `system` only in front |
/// | the id of a call | ours | nine letters and digits: see [`CallNames`](call_names::CallNames) |
/// | neighbouring messages of a user | as they are | one: see [`Conversation`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// OpenAI itself.
    OpenAi,
    /// Anybody who is compatible.
    Compatible,
}

/// The body of a request.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn body(
    request: &ModelRequest,
    max_output_tokens: Option<u64>,
    offer: Option<&Offer>,
    server: Server,
    back: &Back<'_>,
    way: Way,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut conversation = Conversation::with(server);
    if !request.instructions.is_empty() {
        conversation.rules(request.instructions.clone());
    }
    let mut reasoned = Vec::new();
    for message in &request.messages {
        let place = conversation.len();
        add(message, &mut conversation);
        if message.role == Role::Assistant && conversation.len() > place {
            reasoned.extend(back.fields(message).map(|fields| (place, fields)));
        }
    }
    let limit = max_output_tokens.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    let limit_as = |name| limit.filter(|_| way.limit_name() == Some(name));
    let body = Body {
        request: CreateChatCompletionRequest {
            messages: conversation.into_messages(),
            model: request.model.clone(),
            max_completion_tokens: limit_as(LimitName::MaxCompletionTokens),
            stream: Some(true),
            stream_options: Some(ChatCompletionStreamOptions {
                include_usage: Some(true),
                include_obfuscation: None,
            }),
            ..CreateChatCompletionRequest::default()
        },
        tools: offer.map(|offer| &*offer.json),
        options: options::for_chat_completions(request, offer.is_some()),
        max_tokens: limit_as(LimitName::MaxTokens),
    };
    if reasoned.is_empty() {
        return serde_json::to_vec(&body);
    }
    // The crate's types know of no such fields.
    let mut body = serde_json::to_value(&body)?;
    for (place, fields) in reasoned {
        if let Some(message) = body["messages"][place].as_object_mut() {
            message.extend(fields);
        }
    }
    serde_json::to_vec(&body)
}

fn add(message: &Message, conversation: &mut Conversation) {
    match message.role {
        Role::System => conversation.rules(message.text()),
        Role::User => conversation.push(of_user(message)),
        Role::Assistant => {
            if let Some(answer) = answer(message, conversation) {
                conversation.push(answer);
            }
        }
        Role::Tool => {
            for part in &message.content {
                if let Some(output) = output(part, conversation) {
                    conversation.push(output);
                }
            }
        }
    }
}

impl Server {
    /// What the token limit is called first.
    pub(super) fn limit_name(self) -> LimitName {
        match self {
            Server::OpenAi => LimitName::MaxCompletionTokens,
            Server::Compatible => LimitName::MaxTokens,
        }
    }

    /// What the service tells the model; in front of the conversation, or within it.
    fn rules(self, text: String, is_in_front: bool) -> ChatCompletionRequestMessage {
        match self {
            Server::OpenAi => {
                ChatCompletionRequestMessage::Developer(ChatCompletionRequestDeveloperMessage {
                    content: ChatCompletionRequestDeveloperMessageContent::Text(text),
                    name: None,
                })
            }
            Server::Compatible if is_in_front => {
                ChatCompletionRequestMessage::System(ChatCompletionRequestSystemMessage {
                    content: ChatCompletionRequestSystemMessageContent::Text(text),
                    name: None,
                })
            }
            Server::Compatible => ChatCompletionRequestMessage::User(ChatCompletionRequestUserMessage {
                content: ChatCompletionRequestUserMessageContent::Text(text),
                name: None,
            }),
        }
    }
}

/// Plain text stays plain text, which every server takes; parts are for what is not text.
fn of_user(message: &Message) -> ChatCompletionRequestMessage {
    let parts = media::spelled_out(&message.content);
    let content = match media::only_text(&parts) {
        Some(text) => ChatCompletionRequestUserMessageContent::Text(text),
        None => {
            ChatCompletionRequestUserMessageContent::Array(parts.iter().filter_map(|one| part(one)).collect())
        }
    };
    ChatCompletionRequestMessage::User(ChatCompletionRequestUserMessage { content, name: None })
}

fn part(part: &Part) -> Option<ChatCompletionRequestUserMessageContentPart> {
    match part {
        Part::Text(piece) => Some(text(piece.clone())),
        Part::Image(image) => Some(ChatCompletionRequestUserMessageContentPart::ImageUrl(
            ChatCompletionRequestMessageContentPartImage {
                image_url: ImageUrl {
                    url: media::address(image, "image/png"),
                    detail: image.detail.map(media::closeness),
                },
                prompt_cache_breakpoint: None,
            },
        )),
        Part::File(file) => Some(attached(file)),
        // A user has no others.
        _ => None,
    }
}

fn text(text: String) -> ChatCompletionRequestUserMessageContentPart {
    ChatCompletionRequestUserMessageContentPart::Text(ChatCompletionRequestMessageContentPartText {
        text,
        prompt_cache_breakpoint: None,
    })
}

/// This dialect takes files only by value; of one with an address the model is told that. In a question it is
/// [refused](media::check).
fn attached(file: &Media) -> ChatCompletionRequestUserMessageContentPart {
    match &file.source {
        MediaSource::Url(url) => text(format!("[file {}: {url}]", media::name(file))),
        MediaSource::Base64(_) => {
            ChatCompletionRequestUserMessageContentPart::File(ChatCompletionRequestMessageContentPartFile {
                file: FileObject {
                    file_data: Some(media::address(file, "application/octet-stream")),
                    file_id: None,
                    filename: Some(media::name(file)),
                },
                prompt_cache_breakpoint: None,
            })
        }
    }
}

/// What the model said and which calls it made; nothing for a message that was broken off before its first word.
fn answer(message: &Message, conversation: &mut Conversation) -> Option<ChatCompletionRequestMessage> {
    let mut said = String::new();
    for part in &message.content {
        if let Part::Text(piece) | Part::Refusal(piece) = part {
            said.push_str(piece);
        }
    }
    let calls: Vec<_> = message
        .tool_calls()
        .map(|call| {
            ChatCompletionMessageToolCalls::Function(ChatCompletionMessageToolCall {
                id: conversation.call_name(&call.id),
                function: FunctionCall {
                    name: alias(&call.tool).into_owned(),
                    arguments: call.arguments.clone(),
                },
            })
        })
        .collect();
    if said.is_empty() && calls.is_empty() {
        return None;
    }
    Some(ChatCompletionRequestMessage::Assistant(
        ChatCompletionRequestAssistantMessage {
            content: (!said.is_empty()).then_some(ChatCompletionRequestAssistantMessageContent::Text(said)),
            tool_calls: (!calls.is_empty()).then_some(calls),
            ..ChatCompletionRequestAssistantMessage::default()
        },
    ))
}

fn output(part: &Part, conversation: &mut Conversation) -> Option<ChatCompletionRequestMessage> {
    let Part::ToolOutput(output) = part else {
        return None;
    };
    Some(ChatCompletionRequestMessage::Tool(
        ChatCompletionRequestToolMessage {
            content: ChatCompletionRequestToolMessageContent::Text(output.output.text()),
            tool_call_id: conversation.call_name(&output.call),
        },
    ))
}
