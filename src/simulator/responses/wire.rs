//! What the Responses API sends, as serde shapes.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::simulator::ask::Ask;
use crate::simulator::turn::{Speech, Tokens};

/// The `Response` object.
#[derive(Serialize)]
pub(super) struct Resource<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created_at: u64,
    pub status: &'static str,
    pub completed_at: Option<u64>,
    pub error: Option<Failure>,
    pub incomplete_details: Option<Reason>,
    pub instructions: Option<&'a RawValue>,
    pub max_output_tokens: Option<u64>,
    pub model: &'a str,
    pub output: Vec<OutputItem<'a>>,
    pub parallel_tool_calls: bool,
    pub previous_response_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Whereabouts<'a>>,
    pub reasoning: Option<&'a RawValue>,
    pub temperature: f64,
    pub text: Repeated<'a>,
    pub tool_choice: Repeated<'a>,
    pub tools: &'a Repeated<'a>,
    pub top_p: f64,
    pub truncation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    pub metadata: Repeated<'a>,
}

/// `conversation`: the one that the response is a part of.
#[derive(Serialize)]
pub(super) struct Whereabouts<'a> {
    pub id: &'a str,
}

/// `incomplete_details`.
#[derive(Serialize)]
pub(super) struct Reason {
    pub reason: &'static str,
}

/// `error` of a failed response.
#[derive(Serialize)]
pub(super) struct Failure {
    pub code: &'static str,
    pub message: &'static str,
}

/// A field that the response repeats from the request, or what it is when the request has none.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Repeated<'a> {
    Given(&'a RawValue),
    Absent(Absent),
    Mended(Value),
}

/// The values of absent fields.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Absent {
    Word(&'static str),
    Text { format: Type },
    List([(); 0]),
    Object {},
}

#[derive(Serialize)]
pub(super) struct Type {
    r#type: &'static str,
}

pub(super) fn text(given: Option<&RawValue>) -> Repeated<'_> {
    let default = Absent::Text {
        format: Type { r#type: "text" },
    };
    given.map_or(Repeated::Absent(default), Repeated::Given)
}

pub(super) fn tool_choice(given: Option<&RawValue>) -> Repeated<'_> {
    given.map_or(Repeated::Absent(Absent::Word("auto")), Repeated::Given)
}

pub(super) fn metadata(given: Option<&RawValue>) -> Repeated<'_> {
    given.map_or(Repeated::Absent(Absent::Object {}), Repeated::Given)
}

/// Token counts: a token is taken for four bytes.
#[derive(Serialize)]
pub(super) struct Usage {
    input_tokens: usize,
    input_tokens_details: InputDetails,
    output_tokens: usize,
    output_tokens_details: OutputDetails,
    total_tokens: usize,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: usize,
    cache_write_tokens: usize,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: usize,
}

impl Usage {
    pub fn of(ask: &Ask, speech: &Speech) -> Self {
        let tokens = Tokens::of(ask, speech);
        Usage {
            input_tokens: tokens.input,
            input_tokens_details: InputDetails {
                cached_tokens: 0,
                cache_write_tokens: 0,
            },
            output_tokens: tokens.output,
            output_tokens_details: OutputDetails {
                reasoning_tokens: tokens.reasoning,
            },
            total_tokens: tokens.input + tokens.output,
        }
    }
}

/// One of `output`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputItem<'a> {
    Message {
        id: &'a str,
        status: &'static str,
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    FunctionCall {
        id: &'a str,
        status: &'static str,
        call_id: &'a str,
        name: &'a str,
        arguments: Cow<'a, str>,
    },
    Reasoning {
        id: &'a str,
        status: &'static str,
        summary: Vec<Part<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
}

impl<'a> OutputItem<'a> {
    pub fn message(id: &'a str, status: &'static str, content: Vec<Part<'a>>) -> Self {
        OutputItem::Message {
            id,
            status,
            role: "assistant",
            content,
        }
    }

    pub fn reasoning(
        id: &'a str,
        status: &'static str,
        summary: Vec<Part<'a>>,
        encrypted_content: Option<&'a str>,
    ) -> Self {
        OutputItem::Reasoning {
            id,
            status,
            summary,
            encrypted_content,
        }
    }

    pub fn call(
        id: &'a str,
        status: &'static str,
        call_id: &'a str,
        name: &'a str,
        arguments: Cow<'a, str>,
    ) -> Self {
        OutputItem::FunctionCall {
            id,
            status,
            call_id,
            name,
            arguments,
        }
    }
}

/// A part of a message or of a summary.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Part<'a> {
    #[serde(rename = "output_text")]
    Text {
        text: Cow<'a, str>,
        annotations: &'a [Value],
        logprobs: [(); 0],
    },
    #[serde(rename = "refusal")]
    Refusal { refusal: Cow<'a, str> },
    #[serde(rename = "summary_text")]
    Summary { text: Cow<'a, str> },
}

impl<'a> Part<'a> {
    pub fn text(text: Cow<'a, str>, annotations: &'a [Value]) -> Self {
        Part::Text {
            text,
            annotations,
            logprobs: [],
        }
    }

    pub fn refusal(refusal: Cow<'a, str>) -> Self {
        Part::Refusal { refusal }
    }

    pub fn summary(text: Cow<'a, str>) -> Self {
        Part::Summary { text }
    }
}

/// Any stream event: each kind has some of the fields.
#[derive(Serialize, Default)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<&'a Resource<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<OutputItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<[(); 0]>,
}
