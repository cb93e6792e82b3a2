//! Examples, made of what a request must have: small, valid, and the same every time.

use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Map, Value, json};

use super::schemas::Schemas;

/// How deep an example goes.
const DEPTH_LIMIT: usize = 4;

/// The id of a resource of that kind.
pub fn id(kind: &str) -> String {
    format!("{kind}_1")
}

/// An object of those fields that must be there.
pub fn object(fields: impl Iterator<Item = FieldDescriptor>, schemas: &Schemas<'_>) -> Value {
    Value::Object(nested(fields, schemas, 0))
}

/// A value for a field.
pub fn value(field: &FieldDescriptor, schemas: &Schemas<'_>) -> Value {
    of_field(field, schemas, 0)
}

fn nested(
    fields: impl Iterator<Item = FieldDescriptor>,
    schemas: &Schemas<'_>,
    depth: usize,
) -> Map<String, Value> {
    let required = fields.filter(|field| schemas.is_required(field));
    required
        .map(|field| (field.json_name().to_owned(), of_field(&field, schemas, depth)))
        .collect()
}

fn of_field(field: &FieldDescriptor, schemas: &Schemas<'_>, depth: usize) -> Value {
    if field.is_map() {
        return json!({});
    }
    let single = single(field, schemas, depth);
    if field.is_list() { json!([single]) } else { single }
}

fn single(field: &FieldDescriptor, schemas: &Schemas<'_>, depth: usize) -> Value {
    match field.kind() {
        Kind::Bool => json!(true),
        Kind::String => json!(text(field.name())),
        Kind::Bytes => json!("aGk="),
        Kind::Double | Kind::Float => json!(1.5),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => json!("1"),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => json!(1),
        // The first value is the one that stands for nothing.
        Kind::Enum(enumeration) => json!(enumeration.values().nth(1).map(|value| value.name().to_owned())),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => json!("2026-01-02T03:04:05Z"),
            "google.protobuf.Duration" => json!("1.500s"),
            "google.protobuf.FieldMask" => json!(""),
            "google.protobuf.Any" => json!({"@type": "type.googleapis.com/google.protobuf.Empty"}),
            name if name.starts_with("google.protobuf.") => json!({}),
            _ if depth >= DEPTH_LIMIT => json!({}),
            _ => of_message(&message, schemas, depth + 1),
        },
    }
}

/// A message with what it must have; one that must have nothing but is a choice gets its first choice.
fn of_message(message: &prost_reflect::MessageDescriptor, schemas: &Schemas<'_>, depth: usize) -> Value {
    let mut object = nested(message.fields(), schemas, depth);
    if object.is_empty()
        && let Some(oneof) = message.oneofs().find(|oneof| !oneof.is_synthetic())
        && let Some(first) = oneof.fields().next()
    {
        object.insert(first.json_name().to_owned(), of_field(&first, schemas, depth));
    }
    Value::Object(object)
}

/// A text that says what it stands for.
fn text(field: &str) -> String {
    match field {
        "name" | "parent" => "things/thing_1".to_owned(),
        field if field.ends_with("_id") => "id_1".to_owned(),
        "message" | "text" => "Hello!".to_owned(),
        field => field.replace('_', " "),
    }
}
