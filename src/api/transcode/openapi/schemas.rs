//! Schemas of messages and enums, as ProtoJSON has them.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, Value as Reflected,
};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use super::{component, has_own_body, reference};
use crate::api::transcode::bind::{Binding, Payload};
use crate::api::transcode::schema::Schema;

/// The values of `google.api.FieldBehavior` that say something about a schema.
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const IMMUTABLE: i32 = 5;
const IDENTIFIER: i32 = 8;

/// The components, made when they are first referred to.
pub struct Schemas<'a> {
    pool: &'a DescriptorPool,
    comments: &'a Comments,
    behavior: Option<ExtensionDescriptor>,
    /// Messages that are part of requests: what of theirs need not be sent is not required.
    in_requests: BTreeSet<String>,
    made: BTreeMap<String, Value>,
    pending: Vec<MessageDescriptor>,
}

impl<'a> Schemas<'a> {
    pub fn new(pool: &'a DescriptorPool, comments: &'a Comments) -> Self {
        Self {
            pool,
            comments,
            behavior: pool.get_extension_by_name("google.api.field_behavior"),
            in_requests: BTreeSet::new(),
            made: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// Marks what the body of a request is made of.
    pub fn note_request(&mut self, binding: &Binding, schema: &Schema) {
        let input = &*schema.message(binding.rpc.input).name;
        let Some(message) = self.pool.get_message_by_name(input) else {
            return;
        };
        let mut pending = match binding.body {
            Payload::None => Vec::new(),
            Payload::Whole => vec![message],
            Payload::Field(position) => {
                let number = schema.message(binding.rpc.input).fields[position].number;
                let field = message.get_field(number);
                field
                    .and_then(|field| field.kind().as_message().cloned())
                    .into_iter()
                    .collect()
            }
        };
        while let Some(message) = pending.pop() {
            if !self.in_requests.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                if !self.behaves(&field, OUTPUT_ONLY) {
                    pending.extend(field.kind().as_message().cloned());
                }
            }
        }
    }

    /// What is said of a field, a method or a message.
    pub fn comment(&self, full_name: &str) -> &'a str {
        self.comments.of_name(full_name)
    }

    pub fn is_required(&self, field: &FieldDescriptor) -> bool {
        self.behaves(field, REQUIRED)
    }

    fn behaves(&self, field: &FieldDescriptor, as_what: i32) -> bool {
        let Some(extension) = &self.behavior else {
            return false;
        };
        let options = field.options();
        match &*options.get_extension(extension) {
            Reflected::List(behaviors) => behaviors.contains(&Reflected::EnumNumber(as_what)),
            _ => false,
        }
    }

    /// The schema of a message, by reference where it is a component.
    pub fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(known) = well_known(message.full_name()) {
            return known;
        }
        let name = component(message.full_name());
        self.made.entry(name).or_insert_with(|| {
            self.pending.push(message.clone());
            Value::Null
        });
        reference(message.full_name())
    }

    /// The schema of a request's body where the path holds some of the request's fields.
    pub fn own_body(&mut self, binding: &Binding, message: &MessageDescriptor) -> Value {
        if !has_own_body(binding) {
            return self.message(message);
        }
        let in_path: Vec<u32> = binding
            .variables
            .iter()
            .map(|variable| variable.numbers[0])
            .collect();
        let name = component(message.full_name());
        let name = format!("{}Body", name.strip_suffix("Request").unwrap_or(&name));
        let body = self.object(message, |field| !in_path.contains(&field.number()));
        self.made.insert(name.clone(), body);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Every component that was referred to, and what those refer to.
    pub fn finish(mut self) -> Value {
        while let Some(message) = self.pending.pop() {
            let schema = self.object(&message, |_| true);
            self.made.insert(component(message.full_name()), schema);
        }
        self.made
            .insert("Error".to_owned(), super::operation::error_schema());
        json!(self.made)
    }

    fn object(&mut self, message: &MessageDescriptor, is_in: impl Fn(&FieldDescriptor) -> bool) -> Value {
        let is_in_requests = self.in_requests.contains(message.full_name());
        let (mut properties, mut required) = (Map::new(), Vec::new());
        let mut fields: Vec<_> = message.fields().filter(is_in).collect();
        fields.sort_by_key(FieldDescriptor::number);
        for field in &fields {
            let mut schema = self.field(field);
            describe(&mut schema, self.comment(field.full_name()));
            if self.behaves(field, OUTPUT_ONLY) {
                schema["readOnly"] = json!(true);
            }
            if self.behaves(field, IMMUTABLE) || self.behaves(field, IDENTIFIER) {
                schema["x-immutable"] = json!(true);
            }
            // Fields without presence are always printed; of what is sent too, only what must be.
            if self.is_required(field) || !(field.supports_presence() || is_in_requests) {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        let mut text = self.comment(message.full_name()).to_owned();
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let cases: Vec<String> = oneof
                .fields()
                .map(|field| format!("`{}`", field.json_name()))
                .collect();
            text.push_str(&format!(" At most one of {} is set.", cases.join(", ")));
        }
        describe(&mut schema, text.trim());
        schema
    }

    /// The schema of a field's value.
    pub fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map()
            && let Some(entry) = field.kind().as_message()
        {
            let value = entry.map_entry_value_field();
            return json!({"type": "object", "additionalProperties": self.single(&value)});
        }
        let single = self.single(field);
        match field.cardinality() {
            Cardinality::Repeated => json!({"type": "array", "items": single}),
            _ => single,
        }
    }

    /// The schema of one value of a field.
    pub fn single(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(message) => self.message(&message),
            Kind::Enum(enumeration) => self.enumeration(&enumeration),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "uint64", "pattern": "^[0-9]+$"})
            }
            Kind::Double | Kind::Float => json!({
                "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}],
            }),
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) -> Value {
        if enumeration.full_name() == "google.protobuf.NullValue" {
            return json!({"type": "null"});
        }
        let name = component(enumeration.full_name());
        if !self.made.contains_key(&name) {
            let names: Vec<String> = enumeration
                .values()
                .map(|value| value.name().to_owned())
                .collect();
            let mut text = self.comment(enumeration.full_name()).to_owned();
            for name in &names {
                let comment = self.comment(&format!("{}.{name}", enumeration.full_name()));
                if !comment.is_empty() {
                    text.push_str(&format!("\n* `{name}`: {comment}"));
                }
            }
            let mut schema = json!({"type": "string", "enum": names});
            describe(&mut schema, text.trim());
            self.made.insert(name, schema);
        }
        reference(enumeration.full_name())
    }
}

pub fn describe(schema: &mut Value, text: &str) {
    if !text.is_empty() {
        schema["description"] = json!(text);
    }
}

/// The messages that JSON writes in a form of their own.
fn well_known(full_name: &str) -> Option<Value> {
    Some(match full_name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}),
        "FieldMask" => json!({"type": "string"}),
        "Struct" => json!({"type": "object", "additionalProperties": true}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Value" => json!({}),
        "Any" => any(),
        "DoubleValue" | "FloatValue" => json!({"type": "number"}),
        "Int64Value" | "UInt64Value" => json!({"type": "string", "pattern": "^-?[0-9]+$"}),
        "Int32Value" | "UInt32Value" => json!({"type": "integer"}),
        "BoolValue" => json!({"type": "boolean"}),
        "StringValue" => json!({"type": "string"}),
        "BytesValue" => json!({"type": "string", "contentEncoding": "base64"}),
        _ => return None,
    })
}

/// Any message, with its type beside its fields.
pub fn any() -> Value {
    json!({
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": true,
    })
}
