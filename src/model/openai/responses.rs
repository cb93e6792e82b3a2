//! The Responses dialect: requests here, answers in [`events`].
//!
//! Nothing is stored at the provider: the history is our own, and is sent in whole.

use async_openai::types::responses::{
    CreateResponse, EasyInputContent, EasyInputMessage, FunctionCallOutput, FunctionCallOutputItemParam,
    FunctionToolCall, InputContent, InputFileContent, InputImageContent, InputItem, InputParam,
    InputTextContent, Item, Role as WireRole,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::message::{Media, MediaSource, Message, Part, Role};
use crate::run::ports::ModelRequest;

use super::media;
use super::tools::{Offer, alias};

pub(super) mod events;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    request: CreateResponse,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
}

/// The body of a request.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn body(request: &ModelRequest, offer: Option<&Offer>) -> Result<Vec<u8>, serde_json::Error> {
    let mut input = Vec::with_capacity(request.messages.len());
    for message in &request.messages {
        add(message, &mut input);
    }
    serde_json::to_vec(&Body {
        request: CreateResponse {
            model: Some(request.model.clone()),
            instructions: (!request.instructions.is_empty()).then(|| request.instructions.clone()),
            input: InputParam::Items(input),
            max_output_tokens: request
                .max_output_tokens
                .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            parallel_tool_calls: offer.map(|_| true),
            store: Some(false),
            stream: Some(true),
            ..CreateResponse::default()
        },
        tools: offer.map(|offer| &*offer.json),
    })
}

fn add(message: &Message, input: &mut Vec<InputItem>) {
    match message.role {
        Role::System => input.extend(said(WireRole::System, message.text())),
        Role::User => input.push(of_user(message)),
        Role::Assistant => add_answer(message, input),
        Role::Tool => input.extend(message.content.iter().filter_map(output)),
    }
}

fn said(role: WireRole, text: String) -> Option<InputItem> {
    (!text.is_empty()).then(|| item(role, EasyInputContent::Text(text)))
}

fn item(role: WireRole, content: EasyInputContent) -> InputItem {
    InputItem::EasyMessage(EasyInputMessage {
        role,
        content,
        ..EasyInputMessage::default()
    })
}

/// Plain text stays plain text, which every server takes; parts are for what is not text.
fn of_user(message: &Message) -> InputItem {
    let parts = media::spelled_out(message);
    let content = match media::only_text(&parts) {
        Some(text) => EasyInputContent::Text(text),
        None => EasyInputContent::ContentList(parts.iter().filter_map(|one| part(one)).collect()),
    };
    item(WireRole::User, content)
}

fn part(part: &Part) -> Option<InputContent> {
    match part {
        Part::Text(text) => Some(InputContent::InputText(InputTextContent {
            text: text.clone(),
            ..InputTextContent::default()
        })),
        Part::Image(image) => Some(InputContent::InputImage(InputImageContent {
            image_url: Some(media::address(image, "image/png")),
            ..InputImageContent::default()
        })),
        Part::File(file) => Some(InputContent::InputFile(attached(file))),
        // A user has no others.
        _ => None,
    }
}

fn attached(file: &Media) -> InputFileContent {
    match &file.source {
        MediaSource::Url(url) => InputFileContent {
            file_url: Some(url.clone()),
            ..InputFileContent::default()
        },
        MediaSource::Base64(_) => InputFileContent {
            file_data: Some(media::address(file, "application/octet-stream")),
            filename: Some(media::name(file)),
            ..InputFileContent::default()
        },
    }
}

/// What the model said and which calls it made, in its order.
fn add_answer(message: &Message, input: &mut Vec<InputItem>) {
    let mut text = String::new();
    for part in &message.content {
        match part {
            Part::Text(piece) | Part::Refusal(piece) => text.push_str(piece),
            Part::ToolCall(call) => {
                input.extend(said(WireRole::Assistant, std::mem::take(&mut text)));
                input.push(InputItem::Item(Item::FunctionCall(FunctionToolCall {
                    call_id: call.id.as_str().to_owned(),
                    name: alias(&call.tool).into_owned(),
                    arguments: call.arguments.clone(),
                    ..FunctionToolCall::default()
                })));
            }
            _ => {}
        }
    }
    input.extend(said(WireRole::Assistant, text));
}

fn output(part: &Part) -> Option<InputItem> {
    let Part::ToolOutput(output) = part else {
        return None;
    };
    Some(InputItem::Item(Item::FunctionCallOutput(
        FunctionCallOutputItemParam {
            call_id: Some(output.call.as_str().to_owned()),
            output: FunctionCallOutput::Text(output.output.text()),
            id: None,
            status: None,
            name: None,
            namespace: None,
            caller: None,
        },
    )))
}
