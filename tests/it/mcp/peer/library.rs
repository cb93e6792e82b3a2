//! The resources and prompts of the test's server.

use std::sync::atomic::Ordering;

use rmcp::ErrorData;
use rmcp::model::{
    ContentBlock, GetPromptRequestParams, GetPromptResult, InputRequests, InputRequiredResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, Prompt,
    PromptArgument, PromptMessage, ReadResourceRequestParams, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, Role,
};
use serde_json::{Value, json};

use super::Seen;

/// A page of one thing, and where the next one is.
fn page<T: Clone>(all: &[T], request: Option<PaginatedRequestParams>) -> (Vec<T>, Option<String>) {
    let place: usize = request
        .and_then(|request| request.cursor)
        .and_then(|cursor| cursor.parse().ok())
        .unwrap_or(0);
    let next = (place + 1 < all.len()).then(|| (place + 1).to_string());
    (all.get(place).cloned().into_iter().collect(), next)
}

pub fn resources(seen: &Seen, request: Option<PaginatedRequestParams>) -> ListResourcesResult {
    let mut all = vec![
        Resource::new("note://one", "one")
            .with_title("The first note")
            .with_mime_type("text/plain"),
        Resource::new("note://picture", "picture").with_mime_type("image/png"),
    ];
    if seen.has_late.load(Ordering::SeqCst) {
        all.push(Resource::new("note://late", "late"));
    }
    let (resources, next) = page(&all, request);
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = next;
    result
}

pub fn templates() -> ListResourceTemplatesResult {
    let template =
        ResourceTemplate::new("note://by/{author}", "by").with_description("the notes of somebody");
    ListResourceTemplatesResult::with_all_items(vec![template])
}

/// What the server wants to know before it gives a resource.
pub fn wants(request: &ReadResourceRequestParams) -> Option<InputRequiredResult> {
    if request.input_responses.is_some() {
        return None;
    }
    let wants = match request.uri.as_str() {
        "note://in-a-root" => json!({"method": "roots/list"}),
        "note://private" => json!({"method": "elicitation/create", "params": {
            "mode": "form", "message": "who are you?", "requestedSchema": {"type": "object", "properties": {}},
        }}),
        _ => return None,
    };
    let wants = serde_json::from_value(wants).expect("a request");
    let wants = InputRequests::from([("it".to_owned(), wants)]);
    Some(InputRequiredResult::new(Some(wants), Some("state".to_owned())))
}

pub async fn read(
    seen: &Seen,
    request: &ReadResourceRequestParams,
    cancelled: impl Future<Output = ()>,
) -> Result<ReadResourceResult, ErrorData> {
    let uri = request.uri.as_str();
    seen.reads.lock().expect("a lock").push(uri.to_owned());
    let contents = match uri {
        "note://in-a-root" => {
            let given = serde_json::to_string(&(&request.input_responses, &request.request_state));
            vec![ResourceContents::text(given.expect("JSON"), uri)]
        }
        "note://one" => vec![ResourceContents::text("the first note", uri)],
        "note://picture" => vec![ResourceContents::blob("aWI=", uri).with_mime_type("image/png")],
        "note://large" => vec![ResourceContents::text("x".repeat(9 << 20), uri)],
        "note://broken" => return Err(ErrorData::internal_error("the disk is gone", None)),
        "note://wait" => {
            let released = seen.release.notified();
            seen.waiting.notify_one();
            tokio::select! {
                () = cancelled => {
                    seen.cancelled.notify_one();
                    Vec::new()
                }
                () = released => vec![ResourceContents::text("released", uri)],
            }
        }
        uri => match uri.strip_prefix("note://by/") {
            Some(author) => ["a", "b"]
                .map(|note| ResourceContents::text(format!("{note} by {author}"), format!("{uri}/{note}")))
                .into(),
            None => return Err(ErrorData::resource_not_found("no such note", None)),
        },
    };
    Ok(ReadResourceResult::new(contents))
}

pub fn prompts(request: Option<PaginatedRequestParams>) -> ListPromptsResult {
    let all = [
        Prompt::new(
            "translate",
            Some("Translates a text"),
            Some(vec![
                PromptArgument::new("text").with_required(true),
                PromptArgument::new("into").with_description("the language"),
            ]),
        ),
        Prompt::new("look", None::<String>, None),
    ];
    let (prompts, next) = page(&all, request);
    let mut result = ListPromptsResult::with_all_items(prompts);
    result.next_cursor = next;
    result
}

pub fn prompt(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let arguments = request.arguments.clone().unwrap_or_default();
    let argument = |key: &str| arguments.get(key).and_then(Value::as_str);
    let messages = match request.name.as_str() {
        "translate" => {
            let into = argument("into").unwrap_or("English");
            if into == "Klingon" {
                return Err(ErrorData::invalid_params("not into Klingon", None));
            }
            let text = argument("text").unwrap_or_default();
            vec![
                PromptMessage::new_text(Role::User, format!("Into {into}: {text}")),
                PromptMessage::new_text(Role::Assistant, "Gladly."),
            ]
        }
        "look" => {
            let note = ResourceContents::text("the first note", "note://one");
            vec![
                PromptMessage::new(Role::User, ContentBlock::image("aWI=", "image/png")),
                PromptMessage::new(Role::User, ContentBlock::resource(note)),
            ]
        }
        name => return Err(ErrorData::invalid_params(format!("no prompt {name}"), None)),
    };
    Ok(GetPromptResult::new(messages).with_description("as asked"))
}
