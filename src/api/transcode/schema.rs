//! The messages of a descriptor pool, laid out for quick lookup.
//!
//! A descriptor answers every question through several shared pointers; on the hot path that costs
//! more than the work itself. So everything JSON needs to know is copied into flat tables once.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};

use super::wire::WireType;

/// A message of the [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId(u32);

/// An enum of the [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumId(u32);

/// Every message and enum of a pool.
#[derive(Debug)]
pub struct Schema {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    names: HashMap<Box<str>, MessageId>,
}

/// One message: its JSON form and its fields.
#[derive(Debug)]
pub struct Message {
    /// The full name, such as `google.protobuf.Timestamp`.
    pub name: Box<str>,
    /// How it looks in JSON.
    pub shape: Shape,
    /// The fields by ascending number.
    pub fields: Vec<Field>,
    names: HashMap<Box<str>, u16>,
    dense: bool,
}

/// How a message looks in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object of its fields.
    Object,
    /// `google.protobuf.Timestamp`: RFC 3339 text.
    Timestamp,
    /// `google.protobuf.Duration`: seconds and an `s`.
    Duration,
    /// `google.protobuf.FieldMask`: camel-case paths, joined by commas.
    FieldMask,
    /// `google.protobuf.Struct`: any object.
    Struct,
    /// `google.protobuf.ListValue`: any array.
    List,
    /// `google.protobuf.Value`: any JSON.
    Value,
    /// `google.protobuf.Any`: an object with `@type`.
    Any,
    /// One of the wrappers: the value itself.
    Wrapper,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// The number on the wire.
    pub number: u32,
    /// The name in the `.proto` file.
    pub name: Box<str>,
    /// The name in JSON.
    pub json_name: Box<str>,
    /// What it holds.
    pub kind: Kind,
    /// How often.
    pub label: Label,
    /// The index of the (real) oneof it belongs to.
    pub oneof: Option<u16>,
    pub(super) key: Box<[u8]>,
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Once, and an unset one cannot be told from its default.
    Implicit,
    /// Once or not at all.
    Optional,
    /// Any number of times.
    Repeated {
        /// Scalars in one length-delimited part.
        packed: bool,
    },
    /// A map; the kind is its entry message.
    Map,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the scalar kinds are protobuf's own words")]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
}

/// One enum.
#[derive(Debug)]
pub struct Enum {
    /// `google.protobuf.NullValue`, which JSON writes as `null`.
    pub is_null: bool,
    numbers: HashMap<Box<str>, i32>,
    names: HashMap<i32, Box<str>>,
}

impl Schema {
    /// Lays out every message of the pool.
    #[must_use]
    pub fn new(pool: &DescriptorPool) -> Self {
        let mut schema = Self {
            messages: Vec::new(),
            enums: Vec::new(),
            names: HashMap::new(),
        };
        schema.extend(pool);
        schema
    }

    /// Adds the messages of another pool that are not here yet.
    pub fn extend(&mut self, pool: &DescriptorPool) {
        let mut enums = HashMap::new();
        for descriptor in pool.all_enums() {
            enums.insert(descriptor.full_name().to_owned(), EnumId(index(self.enums.len())));
            self.enums.push(Enum::new(&descriptor));
        }
        let fresh: Vec<_> = pool
            .all_messages()
            .filter(|message| !self.names.contains_key(message.full_name()))
            .collect();
        for (offset, descriptor) in fresh.iter().enumerate() {
            let id = MessageId(index(self.messages.len() + offset));
            self.names.insert(descriptor.full_name().into(), id);
        }
        for descriptor in &fresh {
            let message = Message::new(descriptor, &self.names, &enums);
            self.messages.push(message);
        }
    }

    /// The message of that full name.
    #[must_use]
    pub fn find(&self, full_name: &str) -> Option<MessageId> {
        self.names.get(full_name).copied()
    }

    /// The message behind an id of this schema.
    #[must_use]
    pub fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0 as usize]
    }

    /// The enum behind an id of this schema.
    #[must_use]
    pub fn enumeration(&self, id: EnumId) -> &Enum {
        &self.enums[id.0 as usize]
    }

    /// Whether a JSON `null` is a value for this kind, and not the absence of one.
    #[must_use]
    pub fn takes_null(&self, kind: Kind) -> bool {
        match kind {
            Kind::Message(id) => self.message(id).shape == Shape::Value,
            Kind::Enum(id) => self.enumeration(id).is_null,
            _ => false,
        }
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Message {
    fn new(
        descriptor: &MessageDescriptor,
        names: &HashMap<Box<str>, MessageId>,
        enums: &HashMap<String, EnumId>,
    ) -> Self {
        let mut fields: Vec<_> = descriptor
            .fields()
            .map(|field| Field::new(&field, names, enums))
            .collect();
        fields.sort_by_key(|field| field.number);
        let mut by_name = HashMap::new();
        for (position, field) in (0u16..).zip(&fields) {
            by_name.insert(field.name.clone(), position);
        }
        for (position, field) in (0u16..).zip(&fields) {
            by_name.insert(field.json_name.clone(), position);
        }
        let dense = fields
            .iter()
            .zip(1u32..)
            .all(|(field, number)| field.number == number);
        let name = descriptor.full_name();
        Self {
            name: name.into(),
            shape: Shape::of(name),
            fields,
            names: by_name,
            dense,
        }
    }

    /// The field of that name, as the `.proto` file or as JSON has it, with its position.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<(usize, &Field)> {
        let position = usize::from(*self.names.get(name)?);
        Some((position, &self.fields[position]))
    }

    /// The position of the field of that number.
    #[must_use]
    pub fn by_number(&self, number: u32) -> Option<usize> {
        if self.dense {
            return (number as usize)
                .checked_sub(1)
                .filter(|position| *position < self.fields.len());
        }
        self.fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()
    }
}

impl Shape {
    fn of(name: &str) -> Self {
        match name.strip_prefix("google.protobuf.") {
            Some("Timestamp") => Shape::Timestamp,
            Some("Duration") => Shape::Duration,
            Some("FieldMask") => Shape::FieldMask,
            Some("Struct") => Shape::Struct,
            Some("ListValue") => Shape::List,
            Some("Value") => Shape::Value,
            Some("Any") => Shape::Any,
            Some(
                "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value"
                | "BoolValue" | "StringValue" | "BytesValue",
            ) => Shape::Wrapper,
            _ => Shape::Object,
        }
    }
}

impl Field {
    fn new(
        descriptor: &FieldDescriptor,
        names: &HashMap<Box<str>, MessageId>,
        enums: &HashMap<String, EnumId>,
    ) -> Self {
        let label = if descriptor.is_map() {
            Label::Map
        } else if descriptor.is_list() {
            Label::Repeated {
                packed: descriptor.is_packed(),
            }
        } else if descriptor.supports_presence() {
            Label::Optional
        } else {
            Label::Implicit
        };
        let oneof = descriptor
            .containing_oneof()
            .filter(|oneof| !oneof.is_synthetic());
        let oneof = oneof.and_then(|oneof| u16::try_from(*oneof.path().last()?).ok());
        let kind = match descriptor.kind() {
            prost_reflect::Kind::Message(message) => Kind::Message(names[message.full_name()]),
            prost_reflect::Kind::Enum(enumeration) => Kind::Enum(enums[enumeration.full_name()]),
            scalar => Kind::scalar(&scalar),
        };
        let mut key = Vec::new();
        super::text::put_string(&mut key, descriptor.json_name());
        key.push(b':');
        Self {
            number: descriptor.number(),
            name: descriptor.name().into(),
            json_name: descriptor.json_name().into(),
            kind,
            label,
            oneof,
            key: key.into(),
        }
    }
}

impl Kind {
    fn scalar(kind: &prost_reflect::Kind) -> Self {
        match kind {
            prost_reflect::Kind::Double => Kind::Double,
            prost_reflect::Kind::Float => Kind::Float,
            prost_reflect::Kind::Int32 => Kind::Int32,
            prost_reflect::Kind::Int64 => Kind::Int64,
            prost_reflect::Kind::Uint32 => Kind::Uint32,
            prost_reflect::Kind::Uint64 => Kind::Uint64,
            prost_reflect::Kind::Sint32 => Kind::Sint32,
            prost_reflect::Kind::Sint64 => Kind::Sint64,
            prost_reflect::Kind::Fixed32 => Kind::Fixed32,
            prost_reflect::Kind::Fixed64 => Kind::Fixed64,
            prost_reflect::Kind::Sfixed32 => Kind::Sfixed32,
            prost_reflect::Kind::Sfixed64 => Kind::Sfixed64,
            prost_reflect::Kind::Bool => Kind::Bool,
            prost_reflect::Kind::String => Kind::String,
            prost_reflect::Kind::Bytes | prost_reflect::Kind::Message(_) | prost_reflect::Kind::Enum(_) => {
                Kind::Bytes
            }
        }
    }

    /// How one value of this kind stands on the wire.
    #[must_use]
    pub fn wire(self) -> WireType {
        match self {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::Fixed64,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::Fixed32,
            Kind::String | Kind::Bytes | Kind::Message(_) => WireType::Delimited,
            _ => WireType::Varint,
        }
    }
}

impl Enum {
    fn new(descriptor: &EnumDescriptor) -> Self {
        let (mut numbers, mut names) = (HashMap::new(), HashMap::new());
        for value in &descriptor.enum_descriptor_proto().value {
            numbers.insert(value.name().into(), value.number());
            // Of several names for one number, the first declared is the one to print.
            names.entry(value.number()).or_insert_with(|| value.name().into());
        }
        Self {
            is_null: descriptor.full_name() == "google.protobuf.NullValue",
            numbers,
            names,
        }
    }

    /// What to say of a name that is none of its own.
    #[must_use]
    pub fn unknown(&self, name: &str) -> String {
        let mut numbers: Vec<i32> = self.names.keys().copied().collect();
        numbers.sort_unstable();
        let known: Vec<&str> = numbers.iter().map(|number| &*self.names[number]).collect();
        format!(
            "unknown enum value {name:?}: it must be one of {}",
            known.join(", ")
        )
    }

    /// The number behind a name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i32> {
        self.numbers.get(name).copied()
    }

    /// The first name declared for a number.
    #[must_use]
    pub fn name(&self, number: i32) -> Option<&str> {
        self.names.get(&number).map(|name| &**name)
    }
}
