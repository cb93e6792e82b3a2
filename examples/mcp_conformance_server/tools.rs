//! The tools.

use std::sync::Arc;
use std::time::Duration;

use assistd::mcp::door::CallStream;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
    CreateMessageRequestParams, ElicitRequestParams, ErrorData, LoggingLevel,
    LoggingMessageNotificationParam, ProgressNotificationParam, ResourceContents, Tool,
};
use rmcp::service::RequestContext;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

/// One red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A sound of no length.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";
/// Between two pieces of what a tool says on the way.
const PACE: Duration = Duration::from_millis(50);

/// The tools whose arguments are nothing, by name, with what they are for.
const PLAIN: [(&str, &str); 23] = [
    ("test_simple_text", "Answers with a text"),
    ("test_image_content", "Answers with an image"),
    ("test_audio_content", "Answers with a sound"),
    ("test_embedded_resource", "Answers with a resource"),
    (
        "test_multiple_content_types",
        "Answers with a text, an image and a resource",
    ),
    ("test_tool_with_logging", "Writes to the log on its way"),
    ("test_logging_tool", "Writes to the log if it may"),
    ("test_error_handling", "Fails"),
    ("test_tool_with_progress", "Says how far it is"),
    ("test_elicitation_sep1034_defaults", "Asks with defaults"),
    ("test_elicitation_sep1330_enums", "Asks with choices"),
    (
        "test_reconnection",
        "Closes its stream before it is done, and has its client come back",
    ),
    ("test_missing_capability", "Needs sampling"),
    ("test_streaming_elicitation", "Says how far it is, and ends"),
    (
        "test_trigger_tool_change",
        "Says that the list of tools has changed",
    ),
    (
        "test_trigger_prompt_change",
        "Says that the list of prompts has changed",
    ),
    ("test_input_required_result_elicitation", "Asks for a name"),
    ("test_input_required_result_sampling", "Asks a model"),
    ("test_input_required_result_list_roots", "Asks for roots"),
    ("test_input_required_result_request_state", "Asks, with a state"),
    (
        "test_input_required_result_tampered_state",
        "Asks, with a state that it checks",
    ),
    ("test_input_required_result_multiple_inputs", "Asks three things"),
    ("test_input_required_result_multi_round", "Asks twice"),
];

pub(crate) fn all() -> Vec<Tool> {
    let nothing = json!({"type": "object", "properties": {}});
    let plain = PLAIN
        .iter()
        .map(|(name, purpose)| tool(name, purpose, nothing.clone()));
    let one =
        |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]});
    let mut tools: Vec<Tool> = plain.collect();
    tools.extend([
        tool(
            "test_input_required_result_capabilities",
            "Asks what the client can answer",
            nothing,
        ),
        tool("test_sampling", "Asks the client's model", one("prompt")),
        tool("test_elicitation", "Asks the client's user", one("message")),
        tool(
            "json_schema_2020_12_tool",
            "Tool with JSON Schema 2020-12 features",
            schema_2020_12(),
        ),
        tool(
            "test_custom_header",
            "Has an argument that is a header too",
            json!({
                "type": "object",
                "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
                "required": ["region"],
            }),
        ),
    ]);
    tools
}

fn tool(name: &str, purpose: &str, schema: Value) -> Tool {
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name.to_owned(), purpose.to_owned(), Arc::new(schema))
}

fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            },
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

/// A text as a tool's answer.
pub(crate) fn text(text: &str) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn success(content: Vec<ContentBlock>) -> Result<CallToolResponse, ErrorData> {
    Ok(CallToolResult::success(content).into())
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

pub(crate) async fn call(
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let argument = |name: &str| {
        let arguments = request.arguments.as_ref();
        let value = arguments.and_then(|arguments| arguments.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let image = || ContentBlock::image(PNG, "image/png");
    match request.name.as_ref() {
        "test_simple_text" => Ok(text("This is a simple text response for testing.")),
        "test_image_content" => success(vec![image()]),
        "test_audio_content" => success(vec![ContentBlock::audio(WAV, "audio/wav")]),
        "test_embedded_resource" => {
            let embedded = ResourceContents::text(
                "This is an embedded resource content.",
                "test://embedded-resource",
            )
            .with_mime_type("text/plain");
            success(vec![ContentBlock::resource(embedded)])
        }
        "test_multiple_content_types" => {
            let data = json!({"test": "data", "value": 123}).to_string();
            let embedded = ResourceContents::text(data, "test://mixed-content-resource")
                .with_mime_type("application/json");
            success(vec![
                ContentBlock::text("Multiple content types test:"),
                image(),
                ContentBlock::resource(embedded),
            ])
        }
        "test_error_handling" => {
            let text = ContentBlock::text("This tool intentionally returns an error for testing");
            Ok(CallToolResult::error(vec![text]).into())
        }
        "test_tool_with_logging" => with_logging(&context).await,
        "test_logging_tool" => match context.meta.log_level() {
            Some(_) => with_logging(&context).await,
            None => Ok(text("Nothing was logged: nobody has asked for it.")),
        },
        "test_tool_with_progress" | "test_streaming_elicitation" => with_progress(&context).await,
        "test_sampling" => sampled(&context, &argument("prompt")).await,
        "test_elicitation" => {
            let schema = json!({
                "type": "object",
                "properties": {
                    "username": {"type": "string", "description": "User's response"},
                    "email": {"type": "string", "description": "User's email address"},
                },
                "required": ["username", "email"],
            });
            elicited(&context, &argument("message"), schema, "User response: ").await
        }
        "test_elicitation_sep1034_defaults" => {
            let schema = json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "default": "John Doe"},
                    "age": {"type": "integer", "default": 30},
                    "score": {"type": "number", "default": 95.5},
                    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                    "verified": {"type": "boolean", "default": true},
                },
            });
            elicited(
                &context,
                "Please check the defaults",
                schema,
                "Elicitation completed: ",
            )
            .await
        }
        "test_elicitation_sep1330_enums" => {
            elicited(&context, "Please choose", choices(), "Elicitation completed: ").await
        }
        "test_reconnection" => {
            if let Some(stream) = context.extensions.get::<CallStream>() {
                stream.close();
            }
            sleep(PACE).await;
            Ok(text("The client has come back."))
        }
        "test_missing_capability" => {
            let capabilities = context.client_capabilities().unwrap_or_default();
            if capabilities.sampling.is_some() {
                return Ok(text("The client has the capability."));
            }
            let required: ClientCapabilities = read(json!({"sampling": {}}))?;
            Err(ErrorData::missing_required_client_capability(required))
        }
        "json_schema_2020_12_tool" => Ok(text("The arguments fit.")),
        "test_custom_header" => Ok(text(&format!("The region is {}.", argument("region")))),
        name => Err(ErrorData::invalid_params(format!("unknown tool: {name}"), None)),
    }
}

fn choices() -> Value {
    let titled = |values: [(&str, &str); 3]| -> Vec<Value> {
        let titled = values.into_iter();
        titled
            .map(|(value, title)| json!({"const": value, "title": title}))
            .collect()
    };
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
            "titledSingle": {
                "type": "string",
                "oneOf": titled([("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option")]),
            },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {
                "type": "array",
                "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
            },
            "titledMulti": {
                "type": "array",
                "items": {
                    "anyOf": titled([("value1", "First Choice"), ("value2", "Second Choice"), ("value3", "Third Choice")]),
                },
            },
        },
    })
}

async fn with_logging(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    for (index, line) in [
        "Tool execution started",
        "Tool processing data",
        "Tool execution completed",
    ]
    .into_iter()
    .enumerate()
    {
        if index > 0 {
            sleep(PACE).await;
        }
        let entry = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(line));
        let _ = context.peer.notify_logging_message(entry).await;
    }
    Ok(text("The tool has written three lines to the log."))
}

async fn with_progress(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    for percent in [0.0, 50.0, 100.0] {
        if percent > 0.0 {
            sleep(PACE).await;
        }
        if let Some(token) = context.meta.get_progress_token() {
            let report = ProgressNotificationParam::new(token, percent).with_total(100.0);
            let _ = context.peer.notify_progress(report).await;
        }
    }
    Ok(text("The tool has come to its end."))
}

async fn sampled(context: &RequestContext<RoleServer>, prompt: &str) -> Result<CallToolResponse, ErrorData> {
    let params: CreateMessageRequestParams = read(json!({
        "messages": [{"role": "user", "content": {"type": "text", "text": prompt}}],
        "maxTokens": 100,
    }))?;
    Ok(match context.peer.create_message(params).await {
        Ok(answer) => {
            let content = serde_json::to_value(&answer.message.content).unwrap_or_default();
            let said = content.get("text").and_then(Value::as_str).unwrap_or_default();
            text(&format!("LLM response: {said}"))
        }
        Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into(),
    })
}

async fn elicited(
    context: &RequestContext<RoleServer>,
    message: &str,
    schema: Value,
    before: &str,
) -> Result<CallToolResponse, ErrorData> {
    let params: ElicitRequestParams =
        read(json!({"mode": "form", "message": message, "requestedSchema": schema}))?;
    Ok(match context.peer.create_elicitation(params).await {
        Ok(result) => {
            let action = serde_json::to_value(&result.action).unwrap_or_default();
            let action = action.as_str().unwrap_or_default();
            let content = result.content.unwrap_or_default();
            text(&format!("{before}action={action}, content={content}"))
        }
        Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into(),
    })
}
