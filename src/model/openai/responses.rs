//! The Responses dialect: requests here, answers in [`events`].
//!
//! The history is our own, and is sent in whole, unless the operator has the provider keep it too.

use async_openai::types::responses::{
    CreateResponse, EasyInputContent, EasyInputMessage, FunctionCallOutput, FunctionCallOutputItemParam,
    FunctionToolCall, InputContent, InputFileContent, InputImageContent, InputItem, InputParam,
    InputTextContent, Item, ReasoningItem, Role as WireRole, SummaryPart, SummaryTextContent,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::message::{Media, MediaSource, Message, Part, Reasoning, Role, ToolOutput};
use crate::run::ports::ModelRequest;

use self::kept::Kept;
use super::tools::{Offer, alias};
use super::way::Way;
use super::{media, options};

pub(super) mod conversation;
pub(super) mod events;
mod kept;

/// The least that this API takes for a token limit.
pub(super) const LEAST_TOKENS: u64 = 16;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    request: CreateResponse,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_response_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a str>,
    #[serde(flatten)]
    options: options::ForResponses<'a>,
}

/// The body of a request, in this conversation if it is in one.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn body(
    request: &ModelRequest,
    max_output_tokens: Option<u64>,
    offer: Option<&Offer>,
    identity: &str,
    way: Way,
    conversation: Option<&str>,
) -> Result<Vec<u8>, serde_json::Error> {
    let kept = match way {
        Way::Kept => Kept::newest(&request.messages, identity),
        Way::InConversation => Kept::newest_spoken(&request.messages, identity),
        Way::Keep
        | Way::NewConversation
        | Way::Encrypted
        | Way::Plain
        | Way::Limited(_)
        | Way::Renamed(_) => None,
    };
    let messages = match &kept {
        Some(kept) => kept.rest,
        None => &request.messages,
    };
    let mut input = Vec::with_capacity(messages.len());
    let reader = (way == Way::Encrypted).then_some(identity);
    for message in messages {
        add(message, reader, kept.as_ref(), &mut input);
    }
    serde_json::to_vec(&Body {
        request: CreateResponse {
            model: Some(request.model.clone()),
            instructions: (!request.instructions.is_empty()).then(|| request.instructions.clone()),
            input: InputParam::Items(input),
            max_output_tokens: max_output_tokens
                .map(|limit| u32::try_from(limit.max(LEAST_TOKENS)).unwrap_or(u32::MAX)),
            store: Some(way.keeps()),
            stream: Some(true),
            ..CreateResponse::default()
        },
        tools: offer.map(|offer| &*offer.json),
        include: reader.map(|_| ["reasoning.encrypted_content"]),
        previous_response_id: kept.as_ref().and_then(Kept::response),
        conversation,
        options: options::for_responses(request, offer.is_some()),
    })
}

/// `reader` is whose encrypted reasoning may be sent back, if anybody's.
fn add(message: &Message, reader: Option<&str>, kept: Option<&Kept<'_>>, input: &mut Vec<InputItem>) {
    match message.role {
        Role::System => input.extend(said(WireRole::System, message.text())),
        Role::User => input.push(of_user(message)),
        Role::Assistant => add_answer(message, reader, input),
        Role::Tool => input.extend(message.content.iter().filter_map(|part| output(part, kept))),
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
    let parts = media::spelled_out(&message.content);
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
            detail: image.detail.map(media::detail).unwrap_or_default(),
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

/// What the model said and which calls it made, in its order, each with the reasoning that led to it: providers take
/// reasoning only in front of what came of it.
fn add_answer(message: &Message, reader: Option<&str>, input: &mut Vec<InputItem>) {
    let mut thoughts = Vec::new();
    let mut text = String::new();
    for part in &message.content {
        match part {
            Part::Text(piece) | Part::Refusal(piece) => {
                input.append(&mut thoughts);
                text.push_str(piece);
            }
            Part::Reasoning(reasoning) if !message.incomplete => {
                input.extend(said(WireRole::Assistant, std::mem::take(&mut text)));
                thoughts.extend(thought(reasoning, reader));
            }
            Part::ToolCall(call) => {
                input.append(&mut thoughts);
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

/// Reasoning that this upstream's model can read.
fn thought(reasoning: &Reasoning, reader: Option<&str>) -> Option<InputItem> {
    if reasoning.encrypted.is_empty() || reader != Some(reasoning.upstream.as_str()) {
        return None;
    }
    let summary = Some(&reasoning.summary).filter(|summary| !summary.is_empty());
    let summary = summary.map(|text| SummaryPart::SummaryText(SummaryTextContent { text: text.clone() }));
    Some(InputItem::Item(Item::Reasoning(ReasoningItem {
        id: Some(reasoning.id.clone()).filter(|id| !id.is_empty()),
        summary: summary.into_iter().collect(),
        content: None,
        encrypted_content: Some(reasoning.encrypted.clone()),
        status: None,
    })))
}

/// A picture is for the model to look at; everything else is text, which stays plain where there is no picture.
fn function_output(output: &ToolOutput) -> FunctionCallOutput {
    match output.parts() {
        Some(parts) => FunctionCallOutput::Content(parts.iter().filter_map(part).collect()),
        None => FunctionCallOutput::Text(output.text()),
    }
}

fn output(part: &Part, kept: Option<&Kept<'_>>) -> Option<InputItem> {
    let Part::ToolOutput(output) = part else {
        return None;
    };
    Some(InputItem::Item(Item::FunctionCallOutput(
        FunctionCallOutputItemParam {
            call_id: Some(
                kept.map_or(output.call.as_str(), |kept| kept.id(&output.call))
                    .to_owned(),
            ),
            output: function_output(&output.output),
            id: None,
            status: None,
            name: None,
            namespace: None,
            caller: None,
        },
    )))
}
