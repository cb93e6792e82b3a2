//! What answers with a question (2026-07-28, multi-round-trip requests).

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, InputRequests, InputRequiredResult, InputResponses, PromptMessage, Role,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use super::tools::text;

/// The prompt that asks.
pub(crate) const PROMPT: &str = "test_input_required_result_prompt";

/// What makes a state of ours: a real server would sign it.
const SEAL: &str = "sealed-by-the-fixture";

fn requests(requests: Value) -> Result<InputRequests, ErrorData> {
    serde_json::from_value(requests).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn form(message: &str, field: &str, kind: &str) -> Value {
    json!({"method": "elicitation/create", "params": {
        "mode": "form",
        "message": message,
        "requestedSchema": {
            "type": "object",
            "properties": {field: {"type": kind}},
            "required": [field],
        },
    }})
}

fn sampling(question: &str) -> Value {
    json!({"method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": question}}],
        "maxTokens": 100,
    }})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

/// The step that a state stands for: 0 for none, and an error for a state that is not ours.
fn step(state: Option<&str>) -> Result<u32, ErrorData> {
    let Some(state) = state else { return Ok(0) };
    let step = state.strip_prefix(SEAL).and_then(|rest| rest.strip_prefix(':'));
    step.and_then(|step| step.parse().ok())
        .ok_or_else(|| ErrorData::invalid_params("the request state is not valid", None))
}

fn state(step: u32) -> String {
    format!("{SEAL}:{step}")
}

/// The fields of an accepted form.
fn accepted<'a>(responses: &'a InputResponses, key: &str) -> Option<&'a Value> {
    let response = responses.get(key)?;
    (response.get("action")? == "accept").then(|| response.get("content"))?
}

pub(crate) fn call(
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let responses = request.input_responses.unwrap_or_default();
    let step = step(request.request_state.as_deref())?;
    let asked = |questions: Value, next: Option<u32>| {
        let questions = requests(questions)?;
        Ok(InputRequiredResult::new(Some(questions), next.map(state)).into())
    };
    match request.name.as_ref() {
        "test_input_required_result_elicitation" => {
            let name = accepted(&responses, "user_name").and_then(|content| content.get("name"));
            match name.and_then(Value::as_str) {
                Some(name) => Ok(text(&format!("Hello, {name}!"))),
                None => asked(
                    json!({"user_name": form("What is your name?", "name", "string")}),
                    None,
                ),
            }
        }
        "test_input_required_result_sampling" => match responses.get("capital_question") {
            Some(answer) => Ok(text(&answer.to_string())),
            None => asked(
                json!({"capital_question": sampling("What is the capital of France?")}),
                None,
            ),
        },
        "test_input_required_result_list_roots" => match responses.get("client_roots") {
            Some(roots) => Ok(text(&roots.to_string())),
            None => asked(json!({"client_roots": roots()}), None),
        },
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            match (step, accepted(&responses, "confirm")) {
                (1, Some(_)) => Ok(text("state-ok")),
                _ => asked(
                    json!({"confirm": form("Please confirm", "ok", "boolean")}),
                    Some(1),
                ),
            }
        }
        "test_input_required_result_multiple_inputs" => {
            let keys = ["user_name", "greeting", "client_roots"];
            if step == 1 && keys.iter().all(|key| responses.contains_key(*key)) {
                return Ok(text("All three are answered."));
            }
            let questions = json!({
                "user_name": form("What is your name?", "name", "string"),
                "greeting": sampling("Generate a greeting"),
                "client_roots": roots(),
            });
            asked(questions, Some(1))
        }
        "test_input_required_result_multi_round" => match step {
            1 if responses.contains_key("step1") => asked(
                json!({"step2": form("Step 2: what is your favourite colour?", "color", "string")}),
                Some(2),
            ),
            2 if responses.contains_key("step2") => Ok(text("Both rounds are over.")),
            _ => asked(
                json!({"step1": form("Step 1: what is your name?", "name", "string")}),
                Some(1),
            ),
        },
        "test_input_required_result_capabilities" => {
            let capabilities = context.client_capabilities().unwrap_or_default();
            let mut questions = json!({});
            if capabilities.sampling.is_some() {
                questions["sampled"] = sampling("Say something");
            }
            if capabilities.elicitation.is_some() {
                questions["asked"] = form("What is your name?", "name", "string");
            }
            if capabilities.roots.is_some() {
                questions["roots"] = roots();
            }
            asked(questions, None)
        }
        name => Err(ErrorData::invalid_params(format!("unknown tool: {name}"), None)),
    }
}

pub(crate) fn prompt(request: GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let responses = request.input_responses.unwrap_or_default();
    match accepted(&responses, "user_context").and_then(|content| content.get("context")) {
        Some(context) => {
            let said = PromptMessage::new_text(Role::User, format!("Go on with this context: {context}"));
            Ok(GetPromptResult::new(vec![said]).into())
        }
        None => {
            let question = form("What context should the prompt use?", "context", "string");
            let questions = requests(json!({"user_context": question}))?;
            Ok(InputRequiredResult::from_input_requests(questions).into())
        }
    }
}
