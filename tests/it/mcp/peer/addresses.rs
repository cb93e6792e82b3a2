//! A tool that is of no use until somebody has been to an address.

use std::sync::atomic::Ordering;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, CustomNotification, ErrorCode, ServerNotification,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;

use super::Seen;

/// Refuses a call until somebody has been there.
pub fn visit(seen: &Seen) -> Result<CallToolResponse, ErrorData> {
    if seen.is_visited.load(Ordering::SeqCst) {
        return Ok(CallToolResult::success(vec![ContentBlock::text("welcome")]).into());
    }
    let address = json!({"mode": "url", "elicitationId": "visit-1", "url": "https://login.example/", "message": "log in"});
    let data = json!({"elicitations": [address]});
    Err(ErrorData::new(ErrorCode(-32042), "log in first", Some(data)))
}

/// Somebody has been there: the server says so.
pub async fn complete(seen: &Seen, context: &RequestContext<RoleServer>) -> String {
    seen.is_visited.store(true, Ordering::SeqCst);
    let method = "notifications/elicitation/complete";
    let over = CustomNotification::new(method, Some(json!({"elicitationId": "visit-1"})));
    let told = context
        .peer
        .send_notification(ServerNotification::CustomNotification(over));
    match told.await {
        Ok(()) => "told".to_owned(),
        Err(error) => error.to_string(),
    }
}
