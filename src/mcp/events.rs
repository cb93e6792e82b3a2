//! The stream of events that answers a request over HTTP.
//!
//! rmcp ends it at the first answer, whatever that answers, and breaks it off at an event that is too large without a
//! word. Here, as over stdio, answers to something else are passed over, and in place of what is too large there is an
//! answer that says so.

use futures::StreamExt;
use futures::stream::BoxStream;
use rmcp::ErrorData;
use rmcp::model::{RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::SseError;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sse_stream::Sse;

use super::lines;

/// Events, until the stream of them breaks.
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The events that answer the request with this id, none larger than `limit_bytes`.
pub(super) fn answering(id: RequestId, limit_bytes: usize, events: Events) -> Events {
    let checked = events.map(move |event| match event {
        Ok(mut event) => {
            if event
                .data
                .as_deref()
                .is_some_and(|data| answers_another(data, &id))
            {
                // Its place in the stream stays.
                event.data = None;
            }
            Ok(event)
        }
        Err(error) if is_too_large(&error) => Ok(refusal(&id, limit_bytes)),
        Err(error) => Err(error),
    });
    checked.boxed()
}

/// As much of a message as says what it answers.
#[derive(Deserialize)]
struct Envelope {
    id: Option<RequestId>,
    method: Option<IgnoredAny>,
}

/// Whether a message is an answer, and not to this request. Some servers make text of its number.
fn answers_another(message: &str, id: &RequestId) -> bool {
    let Ok(envelope) = serde_json::from_str::<Envelope>(message) else {
        return false;
    };
    let (Some(answered), None) = (envelope.id, envelope.method) else {
        return false;
    };
    answered != *id && answered.to_string() != id.to_string()
}

/// rmcp keeps the kind of this error to itself.
fn is_too_large(error: &SseError) -> bool {
    matches!(error, SseError::Body(error) if error.to_string().starts_with("SSE event exceeded the maximum size"))
}

fn refusal(id: &RequestId, limit_bytes: usize) -> Sse {
    let error = ErrorData::internal_error(lines::too_large(limit_bytes), None);
    let refusal = ServerJsonRpcMessage::error(error, Some(id.clone()));
    Sse {
        data: serde_json::to_string(&refusal).ok(),
        ..Sse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_something_else_are_passed_over() {
        for (message, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, false),
            (r#"{"jsonrpc":"2.0","id":"7","result":{}}"#, false),
            (r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, true),
            (
                r#"{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":""}}"#,
                true,
            ),
            // It may be about this one.
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
                false,
            ),
            (r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#, false),
            // A request of the server, whose numbers are its own.
            (r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#, false),
            (r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, false),
            ("no message", false),
        ] {
            assert_eq!(
                answers_another(message, &RequestId::Number(7)),
                expected,
                "{message}"
            );
        }
    }
}
