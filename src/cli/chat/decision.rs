//! A person's answer to what a run asks: about a tool call, or on behalf of a tool's server.

use serde_json::{Map, Value};

use super::form::Form;
use super::printer;
use crate::api::convert::structure;
use crate::api::pb;
use crate::api::pb::action_answer::Answer;
use crate::api::pb::pending_action::Request;

const ABOUT_A_CALL: &str = "call it? [y]es, [n]o, \"no, because …\", or other arguments as JSON: ";
const ABOUT_SAMPLING: &str = "let it ask? [y]es, [n]o: ";
const TO_FILL_IN: &str = "fill it in? [y]es, the answer as JSON, [n]o, or nothing to put it away: ";
const AS_JSON: &str = "the answer as JSON, [n]o, or nothing to put it away: ";
const TO_VISIT: &str = "[y]es once you have been there, [n]o, or nothing to put it away: ";

/// What a person is asked, and how the answer is read.
pub struct Decision {
    /// What it is about.
    pub question: String,
    /// What can be answered.
    pub words: &'static str,
    /// What can be filled in field by field, when the line says yes.
    pub form: Option<Form>,
    /// Reads a line as an answer, or says what is wrong with it, for the person to try again.
    pub read: fn(&str) -> Result<Answer, String>,
}

/// What a person is asked by an action, if it can be answered here.
pub fn of(action: &pb::PendingAction) -> Option<Decision> {
    if let Some(call) = call(action) {
        return Some(Decision {
            question: format!("? {} {}", call.tool, printer::arguments(call)),
            words: ABOUT_A_CALL,
            form: None,
            read,
        });
    }
    let asked = match &action.request {
        Some(Request::Elicitation(asked)) => asked,
        Some(Request::Sampling(sampling)) => {
            let system_prompt = match sampling.system_prompt.as_str() {
                "" => String::new(),
                text => format!("system: {text}\n"),
            };
            return Some(Decision {
                question: format!(
                    "? {} wants to ask a model:\n{system_prompt}{}",
                    sampling.server, sampling.prompt
                ),
                words: ABOUT_SAMPLING,
                form: None,
                read,
            });
        }
        _ => return None,
    };
    let schema = asked.requested_schema.clone().map(structure::to_json);
    let form = schema.as_ref().and_then(Form::of);
    let (about, words) = match (&form, schema) {
        (Some(_), _) => (String::new(), TO_FILL_IN),
        (None, Some(schema)) => (format!("\n  fill in {}", Value::Object(schema)), AS_JSON),
        (None, None) => (format!("\n  go to {}", asked.url), TO_VISIT),
    };
    Some(Decision {
        question: format!("? {} asks: {}{about}", asked.server, asked.message),
        words,
        form,
        read: read_reply,
    })
}

/// Whether a line says yes.
pub fn is_yes(line: &str) -> bool {
    matches!(line.trim(), "y" | "Y" | "yes")
}

/// The answer to a form that is filled in so.
pub fn accept(content: &Map<String, Value>) -> Answer {
    Answer::Elicitation(pb::ElicitationAnswer {
        action: pb::ElicitationAction::Accept.into(),
        content: Some(structure::from_json(content)),
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
        text if is_yes(text) => Ok(reply(pb::ElicitationAction::Accept, None)),
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
        Request::ClientTool(_) | Request::Elicitation(_) | Request::Sampling(_) => None,
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
