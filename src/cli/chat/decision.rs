//! A person's answer to what a run asks: about a tool call, or on behalf of a tool's server.

use serde_json::Value;

use super::printer;
use crate::api::convert::structure;
use crate::api::pb;
use crate::api::pb::action_answer::Answer;
use crate::api::pb::pending_action::Request;

const ABOUT_A_CALL: &str = "call it? [y]es, [n]o, other arguments as JSON, or why not: ";
const TO_FILL_IN: &str = "the answer as JSON, [n]o, or nothing to put it away: ";
const TO_VISIT: &str = "[y]es once you have been there, [n]o, or nothing to put it away: ";

/// What a person is asked, and how the answer is read.
pub struct Decision {
    /// What it is about.
    pub question: String,
    /// What can be answered.
    pub words: &'static str,
    /// Reads a line as an answer, or says what is wrong with it, for the person to try again.
    pub read: fn(&str) -> Result<Answer, String>,
}

/// What a person is asked by an action, if it can be answered here.
pub fn of(action: &pb::PendingAction) -> Option<Decision> {
    if let Some(call) = call(action) {
        return Some(Decision {
            question: format!("? {} {}", call.tool, printer::arguments(call)),
            words: ABOUT_A_CALL,
            read,
        });
    }
    let Some(Request::Elicitation(asked)) = &action.request else {
        return None;
    };
    let about = match &asked.requested_schema {
        Some(schema) => format!("fill in {}", Value::Object(structure::to_json(schema.clone()))),
        None => format!("go to {}", asked.url),
    };
    Some(Decision {
        question: format!("? {} asks: {}\n  {about}", asked.server, asked.message),
        words: if asked.url.is_empty() {
            TO_FILL_IN
        } else {
            TO_VISIT
        },
        read: read_reply,
    })
}

fn read_reply(line: &str) -> Result<Answer, String> {
    let reply = |action: pb::ElicitationAction, content| {
        Answer::Elicitation(pb::ElicitationAnswer {
            action: action.into(),
            content,
        })
    };
    match line.trim() {
        "" => Ok(reply(pb::ElicitationAction::Cancel, None)),
        "n" | "N" | "no" => Ok(reply(pb::ElicitationAction::Decline, None)),
        "y" | "Y" | "yes" => Ok(reply(pb::ElicitationAction::Accept, None)),
        text => match serde_json::from_str(text) {
            Ok(Value::Object(content)) => {
                let content = structure::from_json(&content);
                Ok(reply(pb::ElicitationAction::Accept, Some(content)))
            }
            Ok(_) => Err("the answer must be a JSON object".to_owned()),
            Err(error) => Err(format!("the answer is not valid JSON: {error}")),
        },
    }
}

/// The call that an action is about, if a person can decide about it here.
fn call(action: &pb::PendingAction) -> Option<&pb::ToolCall> {
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
fn read(line: &str) -> Result<Answer, String> {
    let reject = |reason: &str| {
        Answer::Reject(pb::RejectCall {
            reason: reason.to_owned(),
        })
    };
    match line.trim() {
        "y" | "Y" | "yes" => Ok(Answer::Approve(pb::ApproveCall { arguments: None })),
        "" | "n" | "N" | "no" => Ok(reject("")),
        text if text.starts_with('{') => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => Ok(Answer::Approve(pb::ApproveCall {
                arguments: Some(structure::from_json(&arguments)),
            })),
            Ok(_) => Err("the arguments must be a JSON object".to_owned()),
            Err(error) => Err(format!("the arguments are not valid JSON: {error}")),
        },
        reason => Ok(reject(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_answers_declines_or_puts_away_a_question() {
        use pb::ElicitationAction as Action;
        for (line, action, has_content) in [
            ("", Action::Cancel, false),
            ("n", Action::Decline, false),
            ("yes", Action::Accept, false),
            (r#"{"name": "Ada"}"#, Action::Accept, true),
        ] {
            let Ok(Answer::Elicitation(answer)) = read_reply(line) else {
                panic!("{line}")
            };
            assert_eq!(
                (answer.action(), answer.content.is_some()),
                (action, has_content),
                "{line}"
            );
        }
        assert!(read_reply("Ada").unwrap_err().contains("not valid JSON"));
        assert!(read_reply("[1]").unwrap_err().contains("must be a JSON object"));
    }

    #[test]
    fn a_line_approves_edits_or_rejects() {
        for yes in ["y", " yes ", "Y"] {
            assert!(
                matches!(read(yes), Ok(Answer::Approve(approve)) if approve.arguments.is_none()),
                "{yes}"
            );
        }
        for (line, reason) in [("n", ""), ("", ""), ("no", ""), ("not today", "not today")] {
            assert!(
                matches!(read(line), Ok(Answer::Reject(reject)) if reject.reason == reason),
                "{line}"
            );
        }
        let edited = read(r#"{"expression": "1+1"}"#).unwrap();
        assert!(matches!(edited, Answer::Approve(approve) if approve.arguments.is_some()));
        assert!(read("{\"half\":").unwrap_err().contains("not valid JSON"));
    }
}
