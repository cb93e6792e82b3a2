//! A person's answer to what a run asks: about a tool call, for a function of the client's own, or on behalf of a
//! tool's server.

mod form;

use serde_json::{Map, Value};

use super::call::object;
use super::printer;
use crate::api::convert::structure;
use crate::api::pb;
use crate::api::pb::action_answer::Answer;
use crate::api::pb::pending_action::Request;
use crate::api::pb::tool_content::Content;

pub use form::Form;

const TO_APPROVE: &str =
    "call it? [y]es, [n]o, \"no, because …\", [r]esult to give it yourself, or other arguments as JSON: ";
const TO_REPEAT: &str = "call it again? [y]es, [n]o, or [r]esult if it did happen: ";
const TO_CARRY_OUT: &str = "the result as text or JSON, or nothing to refuse: ";
const TO_LET_ASK: &str = "let it ask? [y]es, [n]o: ";
const TO_FILL_IN: &str = "fill it in? [y]es, the answer as JSON, [n]o, or nothing to put it away: ";
const TO_WRITE: &str = "the answer as JSON, [n]o, or nothing to put it away: ";
const TO_VISIT: &str = "[y]es once you have been there, [n]o, or nothing to put it away: ";
const WHY: &str = "why? The model is told; nothing for no reason: ";
const WHAT: &str = "the result as text or JSON: ";

/// What a person is asked.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// Whether a call is made.
    Approval(&'a pb::ToolCall),
    /// What became of a call that was cut off.
    Outcome(&'a pb::ToolCall, &'a pb::UnknownOutcomeRequest),
    /// What a function of the client's own gives.
    Function(&'a pb::ToolCall),
    /// What a tool's server wants to know.
    Question(&'a pb::ElicitationRequest),
    /// Whether a tool's server may ask a model.
    Sampling(&'a pb::SamplingRequest),
}

/// What a line says.
#[derive(Debug)]
pub enum Said {
    /// The whole answer.
    Answer(Answer),
    /// A part of it: one more line is needed.
    Part(Part),
    /// That a form is filled in: its fields are to be asked for.
    Fields(Form),
    /// Nothing that can be understood, and why; to be tried again.
    Unclear(String),
}

/// An answer that lacks a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A refusal without its reason.
    Refused,
    /// That the result is given, without it.
    Given,
}

impl Part {
    /// How the missing line is asked for.
    pub fn words(self) -> &'static str {
        match self {
            Part::Refused => WHY,
            Part::Given => WHAT,
        }
    }
}

impl<'a> Decision<'a> {
    /// What a person is asked by an action; none for one of a newer service, which is not known here.
    pub fn of(action: &'a pb::PendingAction) -> Option<Self> {
        match action.request.as_ref()? {
            Request::ToolApproval(approval) => approval.tool_call.as_ref().map(Decision::Approval),
            Request::UnknownOutcome(unknown) => unknown
                .tool_call
                .as_ref()
                .map(|call| Decision::Outcome(call, unknown)),
            Request::ClientTool(function) => function.tool_call.as_ref().map(Decision::Function),
            Request::Elicitation(asked) => Some(Decision::Question(asked)),
            Request::Sampling(asked) => Some(Decision::Sampling(asked)),
        }
    }

    /// The call that it is about, if it is about one.
    pub fn call(self) -> Option<&'a pb::ToolCall> {
        match self {
            Decision::Approval(call) | Decision::Outcome(call, _) | Decision::Function(call) => Some(call),
            Decision::Question(_) | Decision::Sampling(_) => None,
        }
    }

    /// In a word, for lists.
    pub fn kind(self) -> &'static str {
        match self {
            Decision::Approval(_) => "approval",
            Decision::Outcome(..) => "unknown-outcome",
            Decision::Function(_) => "function",
            Decision::Question(_) => "question",
            Decision::Sampling(_) => "sampling",
        }
    }

    /// The flags of `assistd actions answer` that fit, the most likely one first.
    pub fn flags(self) -> (&'static str, &'static str) {
        match self {
            Decision::Approval(_) | Decision::Outcome(..) => {
                ("--approve", "--edit JSON, --reject REASON or --output RESULT")
            }
            Decision::Function(_) => ("--output RESULT", "--reject REASON"),
            Decision::Question(asked) => match asked.requested_schema {
                Some(_) => ("--accept JSON", "--decline or --dismiss"),
                None => ("--accept", "--decline or --dismiss"),
            },
            Decision::Sampling(_) => ("--approve", "--reject"),
        }
    }

    /// What it is about, for the person.
    pub fn question(self) -> String {
        match self {
            Decision::Approval(call) => about(call),
            Decision::Outcome(call, unknown) => {
                let time = unknown.call_time.map(|time| format!(" at {time}"));
                format!(
                    "{}\n  it was sent{} and no result came: nobody knows whether it happened",
                    about(call),
                    time.unwrap_or_default()
                )
            }
            Decision::Function(call) => format!("{}\n  is yours to carry out", about(call)),
            Decision::Question(asked) => {
                let wanted = match &asked.requested_schema {
                    Some(_) if form(asked).is_some() => String::new(),
                    Some(schema) => {
                        let schema = Value::Object(structure::to_json(schema.clone()));
                        format!("\n  fill in {schema}")
                    }
                    None => format!("\n  go to {}", asked.url),
                };
                format!("? {} asks: {}{wanted}", asked.server, asked.message)
            }
            Decision::Sampling(asked) => {
                let system_prompt = match asked.system_prompt.as_str() {
                    "" => String::new(),
                    text => format!("system: {text}\n"),
                };
                format!(
                    "? {} wants to ask a model:\n{system_prompt}{}",
                    asked.server, asked.prompt
                )
            }
        }
    }

    /// All that is to be known of what a server asks: the fields of a form too, and what a model may write. None where
    /// nothing is asked but about a call.
    pub fn whole(self) -> Option<String> {
        let more = match self {
            Decision::Question(asked) => {
                let form = form(asked).map(|form| form.fields).unwrap_or_default();
                let field = |field: &form::Field| format!("\n{}", field.whole());
                form.iter().map(field).collect()
            }
            Decision::Sampling(asked) => {
                let model = match asked.model.as_str() {
                    "" => "the default model",
                    model => model,
                };
                format!("\n  of {model}, for at most {} tokens", asked.max_tokens)
            }
            Decision::Approval(_) | Decision::Outcome(..) | Decision::Function(_) => return None,
        };
        Some(self.question() + &more)
    }

    /// What can be answered.
    pub fn words(self) -> &'static str {
        match self {
            Decision::Approval(_) => TO_APPROVE,
            Decision::Outcome(..) => TO_REPEAT,
            Decision::Function(_) => TO_CARRY_OUT,
            Decision::Question(asked) => match asked.requested_schema {
                Some(_) if form(asked).is_some() => TO_FILL_IN,
                Some(_) => TO_WRITE,
                None => TO_VISIT,
            },
            Decision::Sampling(_) => TO_LET_ASK,
        }
    }

    /// Reads the line that was asked for.
    pub fn read(self, line: &str) -> Said {
        match self {
            Decision::Approval(call) | Decision::Outcome(call, _) => about_a_call(call, line.trim()),
            Decision::Function(_) if line.trim().is_empty() => Said::Part(Part::Refused),
            Decision::Function(call) => Said::Answer(output(call, line)),
            Decision::Question(asked) => to_a_question(asked, line.trim()),
            Decision::Sampling(_) => to_sampling(line.trim()),
        }
    }

    /// Reads the line that was missing.
    pub fn read_rest(self, part: Part, line: &str) -> Said {
        match (part, self.call()) {
            (Part::Given, Some(call)) => Said::Answer(output(call, line)),
            (Part::Given | Part::Refused, _) => Said::Answer(reject(line)),
        }
    }
}

fn about(call: &pb::ToolCall) -> String {
    format!("? {} {}", call.tool, printer::arguments(call).trim_end())
}

/// A refusal; without a reason when that is empty.
pub fn reject(reason: &str) -> Answer {
    Answer::Reject(pb::RejectCall {
        reason: reason.trim().to_owned(),
    })
}

/// Consent, perhaps with other arguments.
///
/// # Errors
/// These are no arguments.
pub fn approve(arguments: Option<&str>) -> Result<Answer, String> {
    let arguments = arguments
        .map(|text| object("the object of arguments", text))
        .transpose()?;
    Ok(Answer::Approve(pb::ApproveCall {
        arguments: arguments.as_ref().map(structure::from_json),
    }))
}

/// The result of a call: data when it is a JSON object that arrives as it is, and text otherwise.
pub fn output(call: &pb::ToolCall, result: &str) -> Answer {
    let data = object("the result", result).ok();
    let text = |text: &str| pb::ToolContent {
        content: Some(Content::Text(text.to_owned())),
    };
    Answer::Output(pb::ToolOutput {
        tool_call_id: call.id.clone(),
        content: match data {
            Some(_) => Vec::new(),
            None => vec![text(result)],
        },
        structured_content: data.as_ref().map(structure::from_json),
        ..Default::default()
    })
}

/// What the person did about a server's question.
pub fn reply(action: pb::ElicitationAction) -> Answer {
    Answer::Elicitation(pb::ElicitationAnswer {
        action: action.into(),
        content: None,
    })
}

/// What the person filled in, as JSON.
///
/// # Errors
/// It is no JSON object.
pub fn filled_in(text: &str) -> Result<Answer, String> {
    object("the answer", text).map(|content| accept(&content))
}

/// What the person filled in.
pub fn accept(content: &Map<String, Value>) -> Answer {
    Answer::Elicitation(pb::ElicitationAnswer {
        action: pb::ElicitationAction::Accept.into(),
        content: Some(structure::from_json(content)),
    })
}

/// What a question asks for field by field, where that can be done.
fn form(asked: &pb::ElicitationRequest) -> Option<Form> {
    Form::of(&structure::to_json(asked.requested_schema.clone()?))
}

fn about_a_call(call: &pb::ToolCall, line: &str) -> Said {
    if line.starts_with('{') {
        return said(approve(Some(line)));
    }
    let (word, rest) = line.split_once([' ', ',', ':']).unwrap_or((line, ""));
    let rest = rest.trim();
    match word.to_lowercase().as_str() {
        "y" | "yes" if rest.is_empty() => said(approve(None)),
        "" | "n" | "no" if rest.is_empty() => Said::Part(Part::Refused),
        "n" | "no" => Said::Answer(reject(rest)),
        "r" | "result" if rest.is_empty() => Said::Part(Part::Given),
        "r" | "result" => Said::Answer(output(call, rest)),
        _ => Said::Unclear("that is neither yes, no nor a result, nor arguments as a JSON object".to_owned()),
    }
}

fn to_a_question(asked: &pb::ElicitationRequest, line: &str) -> Said {
    match line.to_lowercase().as_str() {
        "" => Said::Answer(reply(pb::ElicitationAction::Cancel)),
        "n" | "no" => Said::Answer(reply(pb::ElicitationAction::Decline)),
        "y" | "yes" => match form(asked) {
            Some(form) => Said::Fields(form),
            None => Said::Answer(reply(pb::ElicitationAction::Accept)),
        },
        _ => said(filled_in(line)),
    }
}

/// A server is not told why it may not ask.
fn to_sampling(line: &str) -> Said {
    match line.to_lowercase().as_str() {
        "y" | "yes" => said(approve(None)),
        "" | "n" | "no" => Said::Answer(reject("")),
        _ => Said::Unclear("that is neither yes nor no".to_owned()),
    }
}

fn said(answer: Result<Answer, String>) -> Said {
    answer.map_or_else(Said::Unclear, Said::Answer)
}

#[cfg(test)]
mod tests;
