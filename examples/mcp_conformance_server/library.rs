//! The resources and prompts.

use rmcp::model::{
    ContentBlock, ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult, Prompt,
    PromptArgument, PromptMessage, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, Role,
};
use serde_json::{Value, json};

use super::tools::PNG;

pub(crate) fn resources() -> Vec<Resource> {
    let listed = [
        ("test://static-text", "static-text", "A text", "text/plain"),
        ("test://static-binary", "static-binary", "An image", "image/png"),
        (
            "test://watched-resource",
            "watched-resource",
            "One to subscribe to",
            "text/plain",
        ),
        (
            "test://embedded-resource",
            "embedded-resource",
            "One that tools embed",
            "text/plain",
        ),
        (
            "test://example-resource",
            "example-resource",
            "One that prompts embed",
            "text/plain",
        ),
    ];
    listed
        .into_iter()
        .map(|(uri, name, description, mime_type)| {
            Resource::new(uri, name)
                .with_description(description)
                .with_mime_type(mime_type)
        })
        .collect()
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new("test://template/{id}/data", "template")
            .with_description("Data for an id")
            .with_mime_type("application/json"),
    ]
}

pub(crate) fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let id = uri
        .strip_prefix("test://template/")
        .and_then(|rest| rest.strip_suffix("/data"));
    let contents = match (uri, id) {
        (_, Some(id)) => {
            let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
        }
        ("test://static-binary", _) => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        _ if resources().iter().any(|resource| resource.uri == uri) => {
            ResourceContents::text(format!("This is the content of {uri}."), uri).with_mime_type("text/plain")
        }
        _ => {
            return Err(ErrorData::resource_not_found(
                "Resource not found",
                Some(json!({"uri": uri})),
            ));
        }
    };
    Ok(ReadResourceResult::new(vec![contents]).into())
}

pub(crate) fn prompts() -> Vec<Prompt> {
    let argument = |name: &str, description: &str| {
        PromptArgument::new(name)
            .with_description(description)
            .with_required(true)
    };
    vec![
        Prompt::new("test_simple_prompt", Some("A prompt without arguments"), None),
        Prompt::new(
            "test_prompt_with_arguments",
            Some("A prompt with arguments"),
            Some(vec![
                argument("arg1", "First test argument"),
                argument("arg2", "Second test argument"),
            ]),
        ),
        Prompt::new(
            "test_prompt_with_embedded_resource",
            Some("A prompt with a resource in it"),
            Some(vec![argument("resourceUri", "URI of the resource to embed")]),
        ),
        Prompt::new(
            "test_prompt_with_image",
            Some("A prompt with an image in it"),
            None,
        ),
        Prompt::new(
            super::asking::PROMPT,
            Some("A prompt that asks for something"),
            None,
        ),
    ]
}

pub(crate) fn prompt(request: &GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        let arguments = request.arguments.as_ref();
        arguments
            .and_then(|arguments| arguments.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let said = |text: String| PromptMessage::new_text(Role::User, text);
    let messages = match request.name.as_str() {
        "test_simple_prompt" => vec![said("This is a simple prompt for testing.".to_owned())],
        "test_prompt_with_arguments" => vec![said(format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument("arg1"),
            argument("arg2")
        ))],
        "test_prompt_with_embedded_resource" => {
            let embedded =
                ResourceContents::text("Embedded resource content for testing.", argument("resourceUri"))
                    .with_mime_type("text/plain");
            vec![
                PromptMessage::new(Role::User, ContentBlock::resource(embedded)),
                said("Please process the embedded resource above.".to_owned()),
            ]
        }
        "test_prompt_with_image" => vec![
            PromptMessage::new(Role::User, ContentBlock::image(PNG, "image/png")),
            said("Please analyze the image above.".to_owned()),
        ],
        name => return Err(ErrorData::invalid_params(format!("unknown prompt: {name}"), None)),
    };
    Ok(GetPromptResult::new(messages).into())
}
