//! Messages of any type, made of bytes: the same bytes make the same message, and fewer make a simpler one.

use std::collections::HashMap;
use std::fmt;

use prost::Message as _;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value,
};

/// How deep messages are nested.
const DEPTH_LIMIT: usize = 4;

const LETTERS: [char; 12] = [
    'a',
    'B',
    '"',
    '\\',
    '\n',
    '\0',
    '\u{7f}',
    'é',
    '\u{2028}',
    '\u{1f980}',
    '/',
    '%',
];

/// Decisions, one a byte. When there are no more, each is the first.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    pub fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first) % limit
    }

    fn bits(&mut self) -> u64 {
        // Small numbers and the limits of types are the interesting ones.
        match self.below(6) {
            0 => 0,
            1 => u64::try_from(self.below(256)).unwrap_or_default(),
            2 => u64::MAX,
            3 => 1 << 63,
            4 => (1 << 53) + 1,
            _ => (0..8).fold(0, |bits, _| {
                bits << 8 | u64::try_from(self.below(256)).unwrap_or_default()
            }),
        }
    }

    fn text(&mut self) -> String {
        (0..self.below(5))
            .map(|_| LETTERS[self.below(LETTERS.len())])
            .collect()
    }
}

/// A message, shown as its ProtoJSON.
#[derive(Clone)]
pub struct Sample(pub DynamicMessage);

impl Sample {
    /// A message of that type.
    pub fn new(descriptor: &MessageDescriptor, choices: &mut Choices<'_>) -> Self {
        Self(on_the_wire(&nested(descriptor, choices, 0)))
    }

    pub fn json(&self) -> String {
        serde_json::to_string(&self.0).unwrap()
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.0.descriptor().name(), self.json())
    }
}

/// The message as a decoder leaves it: there, what is unset and what is set to nothing are the same.
pub fn on_the_wire(message: &DynamicMessage) -> DynamicMessage {
    DynamicMessage::decode(message.descriptor(), &*message.encode_to_vec()).unwrap()
}

fn nested(descriptor: &MessageDescriptor, choices: &mut Choices<'_>, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut set = |name: &str, value: Value| message.set_field_by_name(name, value);
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = choices.bits() % 315_537_897_600;
            set(
                "seconds",
                Value::I64(i64::try_from(seconds).unwrap() - 62_135_596_800),
            );
            set("nanos", Value::I32(nanos(choices)));
        }
        "google.protobuf.Duration" => {
            let sign = if choices.below(2) == 0 { 1 } else { -1 };
            let seconds = i64::try_from(choices.bits() % 315_576_000_000).unwrap();
            set("seconds", Value::I64(seconds * i64::from(sign)));
            set("nanos", Value::I32(nanos(choices) * sign));
        }
        "google.protobuf.FieldMask" => {
            let paths = ["title", "display_name", "limits.max_turns"];
            let paths = (0..choices.below(3)).map(|_| Value::String(paths[choices.below(3)].to_owned()));
            set("paths", Value::List(paths.collect()));
        }
        "google.protobuf.Any" => {
            set(
                "type_url",
                Value::String("type.googleapis.com/google.rpc.RequestInfo".to_owned()),
            );
        }
        "google.protobuf.Value" => match choices.below(if depth < DEPTH_LIMIT { 6 } else { 4 }) {
            0 => set("null_value", Value::EnumNumber(0)),
            1 => set("bool_value", Value::Bool(choices.below(2) == 1)),
            // What a double holds exactly; larger integers are refused.
            2 => set("number_value", Value::F64((choices.bits() >> 12) as f64 / 8.0)),
            3 => set("string_value", Value::String(choices.text())),
            form => {
                let name = if form == 4 { "struct_value" } else { "list_value" };
                let kind = descriptor.get_field_by_name(name).unwrap().kind();
                set(name, single(&kind, choices, depth));
            }
        },
        _ => fill(&mut message, choices, depth),
    }
    message
}

fn nanos(choices: &mut Choices<'_>) -> i32 {
    [0, 1, 500_000_000, 999_999_999, 123_456_000][choices.below(5)]
}

/// Sets some of the fields.
fn fill(message: &mut DynamicMessage, choices: &mut Choices<'_>, depth: usize) {
    for field in message.descriptor().fields() {
        let is_too_deep = depth >= DEPTH_LIMIT && field.kind().as_message().is_some();
        if is_too_deep || choices.below(3) == 0 {
            continue;
        }
        let value = if field.is_map() {
            map(&field, choices, depth)
        } else if field.is_list() {
            Value::List(
                (0..choices.below(3))
                    .map(|_| single(&field.kind(), choices, depth))
                    .collect(),
            )
        } else {
            single(&field.kind(), choices, depth)
        };
        message.set_field(&field, value);
    }
}

fn map(field: &FieldDescriptor, choices: &mut Choices<'_>, depth: usize) -> Value {
    let kind = field.kind();
    let entry = kind.as_message().unwrap();
    let mut entries = HashMap::new();
    for _ in 0..choices.below(3) {
        let key = single(&entry.map_entry_key_field().kind(), choices, depth);
        let key = match key {
            Value::Bool(key) => MapKey::Bool(key),
            Value::I32(key) => MapKey::I32(key),
            Value::I64(key) => MapKey::I64(key),
            Value::U32(key) => MapKey::U32(key),
            Value::U64(key) => MapKey::U64(key),
            Value::String(key) => MapKey::String(key),
            other => panic!("no key of a map: {other:?}"),
        };
        entries.insert(key, single(&entry.map_entry_value_field().kind(), choices, depth));
    }
    Value::Map(entries)
}

fn single(kind: &Kind, choices: &mut Choices<'_>, depth: usize) -> Value {
    match kind {
        Kind::Bool => Value::Bool(choices.below(2) == 1),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(choices.bits() as i32),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(choices.bits() as u32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(choices.bits() as i64),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(choices.bits()),
        Kind::Float => Value::F32([0.0, -0.0, 1.5, f32::MAX, f32::INFINITY][choices.below(5)]),
        Kind::Double => Value::F64([0.0, -0.0, 0.1, f64::MAX, f64::NEG_INFINITY][choices.below(5)]),
        Kind::String => Value::String(choices.text()),
        Kind::Bytes => Value::Bytes(choices.text().into_bytes().into()),
        Kind::Enum(enumeration) => Value::EnumNumber(number(enumeration, choices)),
        Kind::Message(descriptor) => Value::Message(nested(descriptor, choices, depth + 1)),
    }
}

/// A number of an enum, now and then one that it does not know.
fn number(enumeration: &EnumDescriptor, choices: &mut Choices<'_>) -> i32 {
    let known = enumeration.values().len();
    let place = choices.below(known + 1);
    enumeration.values().nth(place).map_or(77, |value| value.number())
}
