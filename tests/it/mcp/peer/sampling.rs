//! A tool that asks a model: in the old way by a request of its own, in the new way before it goes on.

#![expect(
    deprecated,
    reason = "the newest revision deprecates sampling; servers of today use it"
)]

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateMessageRequest,
    CreateMessageRequestParams, InputRequest, InputRequests, InputRequiredResult, ProtocolVersion,
    ServerRequest,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

/// Asks how the model is, as often as the call says.
pub async fn sample(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let text = json!({"type": "text", "text": "how are you?"});
    let asked = json!({"messages": [{"role": "user", "content": text}], "maxTokens": 5000, "systemPrompt": "Be kind."});
    let params: CreateMessageRequestParams = serde_json::from_value(asked).expect("a question");
    let is_stateless = context.protocol_version() == Some(ProtocolVersion::V_2026_07_28);
    let said = match &request.input_responses {
        Some(responses) => vec![said(&responses["model"])],
        None if is_stateless => {
            let asked = InputRequest::CreateMessage(CreateMessageRequest::new(params));
            let requests = InputRequests::from([("model".to_owned(), asked)]);
            return Ok(InputRequiredResult::new(Some(requests), Some("state".to_owned())).into());
        }
        None => {
            let times = request
                .arguments
                .as_ref()
                .and_then(|given| given.get("times")?.as_u64());
            let mut said = Vec::new();
            for _ in 0..times.unwrap_or(1) {
                said.push(ask(params.clone(), context).await);
            }
            let info = context.peer.peer_info();
            let is_declared = info.is_some_and(|info| info.capabilities.sampling.is_some());
            said.push(format!("declared: {is_declared}"));
            said
        }
    };
    let said = said.into_iter().map(ContentBlock::text).collect();
    Ok(CallToolResult::success(said).into())
}

async fn ask(params: CreateMessageRequestParams, context: &RequestContext<RoleServer>) -> String {
    let request = ServerRequest::CreateMessageRequest(CreateMessageRequest::new(params));
    match context.peer.send_request(request).await {
        Ok(result) => said(&serde_json::to_value(result).expect("JSON")),
        Err(error) => error.to_string(),
    }
}

fn said(result: &Value) -> String {
    format!(
        "{} {} {}",
        result["role"], result["content"]["text"], result["stopReason"]
    )
}
