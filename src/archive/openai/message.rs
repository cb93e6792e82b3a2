//! Messages.

use serde_json::Value;

use crate::archive::fault::{Fault, of_id, typed};
use crate::archive::note::Notes;
use crate::run::id::{MessageId, RunId};
use crate::run::message::{self, Detail, Media, MediaSource, Part};

use super::label::{Labels, time};
use super::shape::{self, Content, Role};

/// A message of ours, and whether it was written by a run that is in the file.
pub(super) fn message(
    message: shape::Message,
    has_run: impl Fn(&str) -> bool,
    notes: &mut Notes,
) -> Result<message::Message, Fault> {
    let id = of_id("id", MessageId::parse(&message.id))?;
    let mut labels = Labels::of(&message.id, message.metadata);
    let run = match message.run_id {
        Some(run) if has_run(&run) => Some(of_id("run_id", RunId::parse(&run))?),
        Some(run) => {
            let told = (
                "run that is not in the file: its name is kept in the label openai_run_id of its message",
                "run that is not in the file: its name is not kept",
            );
            labels.keep("openai_run_id", &run, told, notes);
            None
        }
        None => None,
    };
    if let Some(assistant) = message.assistant_id.filter(|_| run.is_none()) {
        let told = (
            "assistant of a message without a run: its name is kept in the label openai_assistant_id",
            "assistant of a message without a run: its name is not kept",
        );
        labels.keep("openai_assistant_id", &assistant, told, notes);
    }
    let mut content = match message.content {
        Content::Text(text) => vec![Part::Text(text)],
        Content::Parts(parts) => {
            let mut content = Vec::with_capacity(parts.len());
            for (part, index) in parts.into_iter().zip(0..) {
                let is_of_user = message.role == Role::User;
                let place = format!("content[{index}]");
                let part = typed(part).map_err(|fault| fault.within(&place))?;
                let parts = self::part(part, is_of_user, &mut labels, notes, &message.id);
                content.extend(parts.map_err(|fault| fault.within(&place))?);
            }
            content
        }
    };
    let attached = message.attachments.unwrap_or_default();
    let attached = attached.into_iter().filter_map(|attachment| attachment.file_id);
    for file in attached.chain(message.file_ids) {
        notes.add(
            "attached file: named in a text part, its content was not in the file",
            &message.id,
        );
        content.push(Part::Text(format!("[attached file {file}, not imported]")));
    }
    let incomplete = matches!(message.status.as_deref(), Some("incomplete" | "in_progress"));
    if let Some(reason) = message.incomplete_details.and_then(|details| details.reason) {
        let told = (
            "reason of an incomplete message: kept in the label openai_incomplete_reason",
            "reason of an incomplete message: not kept",
        );
        labels.keep("openai_incomplete_reason", &reason, told, notes);
    }
    Ok(message::Message {
        id,
        role: match message.role {
            Role::User => message::Role::User,
            Role::Assistant => message::Role::Assistant,
        },
        content,
        run,
        incomplete,
        create_time: time("created_at", message.created_at)?,
        metadata: labels.into_map(),
    })
}

/// One part, perhaps with a text that says what it had beside it.
fn part(
    part: shape::Part,
    is_of_user: bool,
    labels: &mut Labels<'_>,
    notes: &mut Notes,
    message: &str,
) -> Result<Vec<Part>, Fault> {
    let missing = |field: &str| Fault::of(field, "is missing");
    Ok(match part.kind.as_str() {
        "text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            let mut parts = vec![Part::Text(text.value)];
            if !text.annotations.is_empty() {
                let annotations = Value::Array(text.annotations).to_string();
                let told = (
                    "citations of files: kept in the label openai_annotations of the message",
                    "citations of files: too long for a label, kept in a text part",
                );
                if !labels.keep("openai_annotations", &annotations, told, notes) {
                    parts.push(Part::Text(format!("[citations: {annotations}]")));
                }
            }
            parts
        }
        "refusal" => vec![Part::Refusal(part.refusal.ok_or_else(|| missing("refusal"))?)],
        // Models take images from their users only.
        "image_url" if is_of_user => {
            let image = part.image_url.ok_or_else(|| missing("image_url"))?;
            vec![Part::Image(Media {
                detail: image.detail.as_deref().and_then(detail),
                ..media(image.url)
            })]
        }
        "image_url" => {
            notes.add(
                "image of an assistant: its address is kept in a text part",
                message,
            );
            let image = part.image_url.ok_or_else(|| missing("image_url"))?;
            vec![Part::Text(format!("[image {}]", image.url))]
        }
        "image_file" => {
            notes.add(
                "image in a file: named in a text part, its content was not in the file",
                message,
            );
            let image = part.image_file.ok_or_else(|| missing("image_file"))?;
            vec![Part::Text(format!(
                "[image file {}, not imported]",
                image.file_id
            ))]
        }
        other => return Err(Fault::of("type", format!("{other:?} is not known"))),
    })
}

/// How closely the model was to look; `auto` says nothing.
fn detail(detail: &str) -> Option<Detail> {
    match detail {
        "low" => Some(Detail::Low),
        "high" => Some(Detail::High),
        _ => None,
    }
}

/// An image by its address, or by value where the address is one.
fn media(url: String) -> Media {
    let by_value = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
        .map(|(mime_type, data)| (mime_type.to_owned(), data.to_owned()));
    let (mime_type, source) = match by_value {
        Some((mime_type, data)) => (mime_type, MediaSource::Base64(data)),
        None => (String::new(), MediaSource::Url(url)),
    };
    Media {
        detail: None,
        source,
        mime_type,
        name: String::new(),
    }
}
