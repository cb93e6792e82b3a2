//! Values that come as text, from the path or the query, into fields of the request.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::decode::{self, Unknown, put_instant, put_mask};
use super::error::Violation;
use super::scalar::{self, Reason};
use super::schema::{Field, Kind, Label, MessageId, Schema, Shape};
use super::wellknown::{MaskSpelling, parse_duration, parse_mask, parse_timestamp};
use super::wire::{self, WireType};

/// The way to a field, through messages that occur once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    /// The field numbers; the last is the field's own.
    pub numbers: Vec<u32>,
    parent: MessageId,
    position: usize,
    /// The oneofs on the way: how much of the path leads to them, and which of the message's they are.
    oneofs: Vec<(usize, u16)>,
}

impl FieldPath {
    /// Finds a field by names joined with dots, in the spelling of the `.proto` file or of JSON.
    ///
    /// # Errors
    /// When there is no such field, or the way leads through a scalar, a repeated field or a map.
    pub fn resolve(schema: &Schema, root: MessageId, path: &str) -> Result<Self, Reason> {
        let mut parent = root;
        let (mut numbers, mut oneofs) = (Vec::new(), Vec::new());
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let (position, field) = schema.message(parent).by_name(name).ok_or("unknown field")?;
            if let Some(oneof) = field.oneof {
                oneofs.push((numbers.len(), oneof));
            }
            numbers.push(field.number);
            if names.peek().is_none() {
                return Ok(Self {
                    numbers,
                    parent,
                    position,
                    oneofs,
                });
            }
            match (field.kind, field.label) {
                (Kind::Message(id), Label::Implicit | Label::Optional)
                    if schema.message(id).shape == Shape::Object =>
                {
                    parent = id;
                }
                _ => return Err(format!("{name} has no fields").into()),
            }
        }
        Err("unknown field".into())
    }

    /// The field that the path leads to.
    #[must_use]
    pub fn field<'s>(&self, schema: &'s Schema) -> &'s Field {
        &schema.message(self.parent).fields[self.position]
    }

    /// Appends a value for the field.
    ///
    /// # Errors
    /// When the text is not such a value.
    pub fn put(&self, schema: &Schema, text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
        self.nested(out, |out| put_value(schema, self.field(schema), text, out))
    }

    fn put_entry(&self, schema: &Schema, key: &str, text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
        let field = self.field(schema);
        let Kind::Message(entry) = field.kind else {
            return Err("not a map".into());
        };
        let entry = &schema.message(entry).fields;
        self.nested(out, |out| {
            wire::put_tag(out, field.number, WireType::Delimited);
            let start = wire::open(out);
            wire::put_tag(out, 1, entry[0].kind.wire());
            scalar::put_text(schema, entry[0].kind, key, out)?;
            put_value(schema, &entry[1], text, out)?;
            wire::close(out, start);
            Ok(())
        })
    }

    fn nested(
        &self,
        out: &mut Vec<u8>,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let before = out.len();
        let mut starts = Vec::new();
        for number in &self.numbers[..self.numbers.len() - 1] {
            wire::put_tag(out, *number, WireType::Delimited);
            starts.push(wire::open(out));
        }
        let result = put(out);
        match result {
            Ok(()) => {
                while let Some(start) = starts.pop() {
                    wire::close(out, start);
                }
            }
            Err(_) => out.truncate(before),
        }
        result
    }
}

/// The name of a parameter with each field that it names in the spelling of the `.proto` file, as every violation has it.
/// What is unknown stays as it is.
#[must_use]
pub fn proto_name(schema: &Schema, root: MessageId, name: &str) -> String {
    let (path, key) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut parent = Some(root);
    let mut names = Vec::new();
    for name in path.split('.') {
        let field = parent.and_then(|parent| schema.message(parent).by_name(name));
        names.push(field.map_or(name, |(_, field)| &*field.name));
        parent = field.and_then(|(_, field)| match field.kind {
            Kind::Message(id) => Some(id),
            _ => None,
        });
    }
    names.join(".") + key
}

/// A field's value with its tag; for a repeated field, one element. A default is written too: it
/// replaces whatever the body had there.
fn put_value(schema: &Schema, field: &Field, text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    if field.label == Label::Map {
        return Err("a map needs a key in brackets".into());
    }
    wire::put_tag(out, field.number, field.kind.wire());
    let Kind::Message(id) = field.kind else {
        return scalar::put_text(schema, field.kind, text, out);
    };
    let start = wire::open(out);
    match schema.message(id).shape {
        Shape::Timestamp => {
            let (seconds, nanos) = parse_timestamp(text)?;
            put_instant(out, seconds, nanos);
        }
        Shape::Duration => {
            let (seconds, nanos) = parse_duration(text)?;
            put_instant(out, seconds, nanos);
        }
        Shape::FieldMask => put_mask(out, &parse_mask(text, MaskSpelling::Any)?),
        Shape::Wrapper => put_value(schema, &schema.message(id).fields[0], text, out)?,
        Shape::Struct | Shape::List | Shape::Value => {
            decode::message(schema, id, text, Unknown::Refuse, out).map_err(|problem| problem.text)?;
        }
        Shape::Object | Shape::Any => return Err("a message cannot be given as text".into()),
    }
    wire::close(out, start);
    Ok(())
}

/// What a plus sign in a query stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// A space, as forms and URL libraries write it.
    Space,
    /// Itself, as RFC 3986 reads it.
    Literal,
}

/// A parameter's decoded name and value.
pub type Pair<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The decoded names and values of a query, in order.
///
/// # Errors
/// When a name or value is not UTF-8 or an escape is malformed.
pub fn pairs(query: &str, plus: Plus) -> Result<Vec<Pair<'_>>, Violation> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decode = |text| unescape(text, plus);
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            let description = "malformed percent escape or text that is not utf-8".to_owned();
            return Err(Violation {
                field: name.to_owned(),
                description,
            });
        };
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn unescape(raw: &str, plus: Plus) -> Option<Cow<'_, str>> {
    if !raw.contains('%') && (plus == Plus::Literal || !raw.contains('+')) {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = raw.bytes();
    let mut text = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' if plus == Plus::Space => text.push(b' '),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                text.push((high << 4 | low) as u8);
            }
            byte => text.push(byte),
        }
    }
    String::from_utf8(text).ok().map(Cow::Owned)
}

/// Appends the parameters of a query to a request. A parameter for a field that the path or the body
/// has set already (`bound`, field numbers from the root) does not change it.
///
/// # Errors
/// A violation for each parameter that names no field, does not fit it, or is given twice.
pub fn bind<'p>(
    schema: &Schema,
    root: MessageId,
    pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
    bound: &[&[u32]],
    out: &mut Vec<u8>,
) -> Result<(), Vec<Violation>> {
    let mut binder = Binder {
        schema,
        root,
        bound,
        once: HashSet::new(),
        oneofs: HashMap::new(),
    };
    let violations: Vec<_> = pairs
        .into_iter()
        .filter_map(|(name, text)| {
            let reason = binder.parameter(name, text, out).err()?;
            Some(Violation {
                field: name.to_owned(),
                description: reason.into_owned(),
            })
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations)
    }
}

struct Binder<'s> {
    schema: &'s Schema,
    root: MessageId,
    bound: &'s [&'s [u32]],
    /// The singular fields, and map entries, that have a value.
    once: HashSet<(Vec<u32>, String)>,
    /// Which field of a oneof is set.
    oneofs: HashMap<(Vec<u32>, u16), u32>,
}

impl Binder<'_> {
    fn parameter(&mut self, name: &str, text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
        let (name, key) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((name, key)) => (name, Some(key)),
            None => (name, None),
        };
        let path = FieldPath::resolve(self.schema, self.root, name)?;
        if self.bound.iter().any(|bound| path.numbers.starts_with(bound)) {
            return Ok(());
        }
        let label = path.field(self.schema).label;
        let is_element = matches!(label, Label::Repeated { .. });
        if !is_element
            && !self
                .once
                .insert((path.numbers.clone(), key.unwrap_or_default().to_owned()))
        {
            return Err("given twice".into());
        }
        for (depth, oneof) in &path.oneofs {
            let number = path.numbers[*depth];
            let place = (path.numbers[..*depth].to_vec(), *oneof);
            if *self.oneofs.entry(place).or_insert(number) != number {
                return Err("another field of its oneof is set too".into());
            }
        }
        match key {
            Some(key) if label == Label::Map => path.put_entry(self.schema, key, text, out),
            Some(_) => Err("only a map takes a key in brackets".into()),
            None => path.put(self.schema, text, out),
        }
    }
}
