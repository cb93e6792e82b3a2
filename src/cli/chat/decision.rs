//! A person's answer to a tool call that a run asks about.

use serde_json::Value;

use crate::api::convert::structure;
use crate::api::pb;
use crate::api::pb::action_answer::Answer;
use crate::api::pb::pending_action::Request;

/// What a person is asked.
pub const WORDS: &str = "call it? [y]es, [n]o, \"no, because …\", or other arguments as JSON: ";

/// The call that an action is about, if a person can decide about it here.
pub fn call(action: &pb::PendingAction) -> Option<&pb::ToolCall> {
    match action.request.as_ref()? {
        Request::ToolApproval(approval) => approval.tool_call.as_ref(),
        Request::UnknownOutcome(unknown) => unknown.tool_call.as_ref(),
        Request::ClientTool(_) | Request::Elicitation(_) => None,
    }
}

/// Reads a line as an answer.
///
/// # Errors
/// What is wrong with it, for the person to try again.
pub fn read(line: &str) -> Result<Answer, String> {
    let reject = |reason: &str| {
        Answer::Reject(pb::RejectCall {
            reason: reason.to_owned(),
        })
    };
    let line = line.trim();
    let (word, reason) = line.split_once([' ', ',', ':']).unwrap_or((line, ""));
    match (word.to_lowercase().as_str(), line) {
        ("y" | "yes", _) if reason.is_empty() => Ok(Answer::Approve(pb::ApproveCall { arguments: None })),
        ("" | "n" | "no", _) => Ok(reject(reason.trim())),
        (_, text) if text.starts_with('{') => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => Ok(Answer::Approve(pb::ApproveCall {
                arguments: Some(structure::from_json(&arguments)),
            })),
            Ok(_) => Err("the arguments must be a JSON object".to_owned()),
            Err(error) => Err(format!("the arguments are not valid JSON: {error}")),
        },
        _ => Err("that is neither yes nor no, nor arguments as a JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_approves_edits_or_rejects() {
        for yes in ["y", " yes ", "Y", "Yes"] {
            assert!(
                matches!(read(yes), Ok(Answer::Approve(approve)) if approve.arguments.is_none()),
                "{yes}"
            );
        }
        let rejections = [
            ("n", ""),
            ("", ""),
            ("No", ""),
            ("no, not today", "not today"),
            ("n it is late", "it is late"),
        ];
        for (line, reason) in rejections {
            assert!(
                matches!(read(line), Ok(Answer::Reject(reject)) if reject.reason == reason),
                "{line}"
            );
        }
        let edited = read(r#"{"expression": "1+1"}"#).unwrap();
        assert!(matches!(edited, Answer::Approve(approve) if approve.arguments.is_some()));
        assert!(read("{\"half\":").unwrap_err().contains("not valid JSON"));
        for unclear in ["maybe", "yess", "not today", "yes, but", "42"] {
            assert!(
                read(unclear).unwrap_err().contains("neither yes nor no"),
                "{unclear}"
            );
        }
    }
}
