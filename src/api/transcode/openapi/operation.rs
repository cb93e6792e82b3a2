//! One operation for each HTTP binding.

use std::collections::BTreeMap;

use http::StatusCode;
use prost_reflect::{
    DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};
use serde_json::{Value, json};
use tonic::Code;

use super::example;
use super::schemas::{Schemas, any, describe};
use crate::api::transcode::Shared;
use crate::api::transcode::bind::{Binding, Payload};
use crate::api::transcode::code::{self, http_status};
use crate::api::transcode::request::resumes;
use crate::api::transcode::template::Segment;

/// The method of that full name.
pub fn method(pool: &DescriptorPool, full_name: &str) -> Option<MethodDescriptor> {
    let service = service(pool, full_name)?;
    service.methods().find(|method| method.full_name() == full_name)
}

/// The service that has the method of that full name.
pub fn service(pool: &DescriptorPool, method: &str) -> Option<ServiceDescriptor> {
    pool.get_service_by_name(method.rsplit_once('.')?.0)
}

/// A segment that a path leaves open, by the name of its parameter.
struct Open {
    name: String,
    /// Whether it stands for several segments.
    is_rest: bool,
    /// The path of the field that it goes to.
    field: String,
}

/// The path of a binding, its open segments as parameters of their own.
pub fn path(_: &DescriptorPool, binding: &Binding) -> String {
    let mut open = open(binding).into_iter();
    let mut path = String::new();
    for segment in &binding.template.segments {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::Any | Segment::Rest => {
                let name = open.next().map(|open| open.name).unwrap_or_default();
                path.push_str(&format!("{{{name}}}"));
            }
        }
    }
    if let Some(verb) = &binding.template.verb {
        path.push_str(&format!(":{verb}"));
    }
    path
}

/// The open segments of a binding, in their order. One is named for the collection before it (`threads/*` is a
/// `thread`), or for its field.
fn open(binding: &Binding) -> Vec<Open> {
    let mut found: Vec<Open> = Vec::new();
    let segments = &binding.template.segments;
    for (place, segment) in segments.iter().enumerate() {
        if matches!(segment, Segment::Literal(_)) {
            continue;
        }
        let variables = &binding.template.variables;
        let variable = variables
            .iter()
            .find(|variable| (variable.start..variable.end).contains(&place));
        let field = variable
            .map(|variable| variable.path.join("."))
            .unwrap_or_default();
        let collection = match place.checked_sub(1).map(|before| &segments[before]) {
            Some(Segment::Literal(text)) => Some(text.strip_suffix('s').unwrap_or(text).to_owned()),
            _ => None,
        };
        let mut name = collection.unwrap_or_else(|| field.replace('.', "_"));
        while found.iter().any(|other| other.name == name) {
            name.push('_');
        }
        found.push(Open {
            name,
            is_rest: *segment == Segment::Rest,
            field,
        });
    }
    found
}

pub fn operation(
    shared: &Shared,
    binding: &Binding,
    method: &MethodDescriptor,
    tag: &str,
    ordinal: usize,
    schemas: &mut Schemas<'_>,
) -> Value {
    let text = schemas.comment(method.full_name());
    let summary = text.split_once(". ").map_or(text, |(first, _)| first);
    let id = match ordinal {
        0 => method.name().to_owned(),
        n => format!("{}{}", method.name(), n + 1),
    };
    let mut operation = json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary.trim_end_matches('.'),
        "description": text,
        "responses": responses(shared, binding, method, schemas),
    });
    let parameters = parameters(shared, binding, method, schemas);
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(body) = request_body(shared, binding, method, schemas) {
        operation["requestBody"] = body;
    }
    operation
}

fn parameters(
    shared: &Shared,
    binding: &Binding,
    method: &MethodDescriptor,
    schemas: &mut Schemas<'_>,
) -> Vec<Value> {
    let mut parameters: Vec<Value> = open(binding).iter().map(path_parameter).collect();
    if binding.body != Payload::Whole {
        let taken: Vec<Vec<u32>> = binding
            .variables
            .iter()
            .map(|variable| variable.numbers.clone())
            .collect();
        let body = match binding.body {
            Payload::Field(position) => {
                Some(shared.schema.message(binding.rpc.input).fields[position].number)
            }
            Payload::None | Payload::Whole => None,
        };
        let mut query = Query {
            schemas,
            taken,
            body,
            found: Vec::new(),
        };
        query.collect(&method.input(), "", &[]);
        parameters.extend(query.found);
    }
    if resumes(&shared.schema, binding) {
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "required": false,
            "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
            "description": "The sequence of the last event that was seen: the stream goes on after it.",
        }));
    }
    parameters
}

fn path_parameter(open: &Open) -> Value {
    let pattern = if open.is_rest { "^.*$" } else { "^[^/]+$" };
    json!({
        "name": open.name,
        "in": "path",
        "required": true,
        "schema": {"type": "string", "pattern": pattern, "minLength": usize::from(!open.is_rest)},
        "description": format!("A part of `{}`.", open.field),
        "example": example::id(&open.name),
    })
}

/// What of a request goes into the query.
struct Query<'q, 's> {
    schemas: &'q mut Schemas<'s>,
    /// The fields that the path holds.
    taken: Vec<Vec<u32>>,
    /// The field that the body holds.
    body: Option<u32>,
    found: Vec<Value>,
}

impl Query<'_, '_> {
    fn collect(&mut self, message: &MessageDescriptor, prefix: &str, numbers: &[u32]) {
        // Deeper than this, a query is no way to say something.
        const DEPTH_LIMIT: usize = 4;
        for field in message.fields() {
            let mut way = numbers.to_vec();
            way.push(field.number());
            if self.taken.contains(&way) || (numbers.is_empty() && self.body == Some(field.number())) {
                continue;
            }
            let name = format!("{prefix}{}", field.json_name());
            match field.kind() {
                _ if field.is_map() => {}
                Kind::Message(inner) if is_plain(&inner) => {
                    if !field.is_list() && way.len() < DEPTH_LIMIT {
                        self.collect(&inner, &format!("{name}."), &way);
                    }
                }
                _ => self.add(&field, name),
            }
        }
    }

    fn add(&mut self, field: &FieldDescriptor, name: String) {
        let schema = self.schemas.field(field);
        let mut parameter = json!({
            "name": name,
            "in": "query",
            "required": self.schemas.is_required(field),
            "schema": schema,
        });
        describe(&mut parameter, self.schemas.comment(field.full_name()));
        self.found.push(parameter);
    }
}

/// Whether JSON writes the message as an object of its fields.
fn is_plain(message: &MessageDescriptor) -> bool {
    message.package_name() != "google.protobuf"
}

fn request_body(
    shared: &Shared,
    binding: &Binding,
    method: &MethodDescriptor,
    schemas: &mut Schemas<'_>,
) -> Option<Value> {
    if binding.body.is_raw(&shared.schema, binding.rpc.input) {
        return Some(json!({"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}));
    }
    let (schema, example, is_required) = match binding.body {
        Payload::None => return None,
        Payload::Whole => {
            let in_path: Vec<u32> = binding
                .variables
                .iter()
                .map(|variable| variable.numbers[0])
                .collect();
            let input = method.input();
            let fields = input.fields().filter(|field| !in_path.contains(&field.number()));
            let example = example::object(fields, schemas);
            let is_required = example.as_object().is_some_and(|object| !object.is_empty());
            (schemas.own_body(binding, &input), example, is_required)
        }
        Payload::Field(position) => {
            let number = shared.schema.message(binding.rpc.input).fields[position].number;
            let field = method.input().get_field(number)?;
            (schemas.field(&field), example::value(&field, schemas), true)
        }
    };
    Some(json!({
        "required": is_required,
        "content": {"application/json": {"schema": schema, "example": example}},
    }))
}

fn responses(
    shared: &Shared,
    binding: &Binding,
    method: &MethodDescriptor,
    schemas: &mut Schemas<'_>,
) -> Value {
    let mut responses = BTreeMap::new();
    responses.insert("200".to_owned(), success(binding, method, schemas));
    if resumes(&shared.schema, binding) {
        let text = "Nothing follows the event that `Last-Event-ID` names: the stream is over.";
        responses.insert("204".to_owned(), json!({"description": text}));
    }
    for status in error_statuses() {
        responses.insert(
            status.to_string(),
            json!({"$ref": "#/components/responses/Error"}),
        );
    }
    responses.insert(
        "default".to_owned(),
        json!({"$ref": "#/components/responses/Error"}),
    );
    json!(responses)
}

/// What a request can be answered before its method is called: 406, 413, 414 and 415.
const BEFORE_THE_CALL: [StatusCode; 4] = [
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];

/// Every status of an error that the transcoder gives: those of gRPC's codes, and its own. What somebody on the way
/// says is under `default`.
fn error_statuses() -> Vec<u16> {
    let of_codes = (1..=16).map(|code| http_status(Code::from_i32(code)));
    let mut statuses: Vec<u16> = of_codes
        .chain(BEFORE_THE_CALL)
        .map(|status| status.as_u16())
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn success(binding: &Binding, method: &MethodDescriptor, schemas: &mut Schemas<'_>) -> Value {
    let output = method.output();
    let held = match binding.response {
        Payload::Field(position) => output.fields().nth(position),
        Payload::Whole | Payload::None => None,
    };
    let is_raw = output.full_name() == "google.api.HttpBody";
    let schema = match &held {
        Some(field) => schemas.field(field),
        None => schemas.message(&output),
    };
    if binding.rpc.server_streams {
        // Of a stream, the schema is that of one item: one event, one line.
        let event = json!({
            "type": "object",
            "description": "One server-sent event. Before the first, `retry` says how long to wait before a stream that \
                            broke off is opened again.",
            "properties": {
                "id": {"type": "string", "description": "The sequence."},
                "event": {"type": "string", "description": "The case that is set, or `error`."},
                "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": schema},
            },
            "required": ["data"],
        });
        return json!({
            "description": "Messages as they come, to the last or an error. An error after the first message is the \
                            last event, `error`.",
            "content": {
                "text/event-stream": {"schema": event},
                "application/x-ndjson": {"schema": schema},
            },
        });
    }
    if is_raw {
        return json!({
            "description": "The bytes.",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        });
    }
    let mut text = schemas.comment(output.full_name()).to_owned();
    if text.is_empty() {
        text.push_str("Done.");
    }
    json!({"description": text, "content": {"application/json": {"schema": schema}}})
}

/// What every error is answered with.
pub fn error_response() -> Value {
    json!({
        "description": "What went wrong, as AIP-193 has it. `details` hold exactly one `google.rpc.ErrorInfo`, whose \
                        `reason` says what happened.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    })
}

pub fn error_schema() -> Value {
    let names: Vec<&str> = (1..=16)
        .map(|number| code::name(Code::from_i32(number)))
        .collect();
    json!({
        "type": "object",
        "description": "An error, as AIP-193 has it over HTTP.",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "message": {"type": "string", "description": "What went wrong, for people."},
                    "status": {"type": "string", "enum": names, "description": "The gRPC code."},
                    "details": {"type": "array", "items": any(), "description": "For programs."},
                },
                "required": ["code", "message", "status", "details"],
                "additionalProperties": false,
            },
        },
        "required": ["error"],
        "additionalProperties": false,
        "example": {
            "error": {
                "code": 404,
                "message": "no such thing",
                "status": "NOT_FOUND",
                "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "THING_NOT_FOUND",
                             "domain": "example", "metadata": {}}],
            },
        },
    })
}
