//! JSON fields that need not be what the specification says.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Any JSON value; text is borrowed where it has no escapes. Never fails on valid JSON.
#[derive(Debug, Default)]
pub(super) enum Loose<'a> {
    /// `null`, a truth value, or no field at all.
    #[default]
    Absent,
    /// A string.
    Text(Cow<'a, str>),
    /// A number.
    Number(f64),
    /// An array or an object. Boxed, since a stream is mostly texts: what is small is moved quickly.
    Tree(Box<Value>),
}

impl<'a> Loose<'a> {
    /// The string, if it is one.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Loose::Text(text) => text,
            _ => "",
        }
    }

    /// A count or an index, also where it is written as a string or a float.
    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Loose::Number(number) if (0.0..9e15).contains(number) => Some(*number as u64),
            Loose::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// What is said: a string, or the text parts of an array or object, joined.
    pub(super) fn into_text(self) -> String {
        match self {
            Loose::Text(text) => text.into_owned(),
            Loose::Tree(tree) => {
                let mut text = String::new();
                gather(&tree, &mut text);
                text
            }
            Loose::Absent | Loose::Number(_) => String::new(),
        }
    }

    /// What is thought, and what is said: of a list of parts, or of one, those of reasoning apart from the others.
    pub(super) fn into_thought_and_text(self) -> (String, String) {
        let Loose::Tree(tree) = &self else {
            return (String::new(), self.into_text());
        };
        let parts = match &**tree {
            Value::Array(parts) => parts.as_slice(),
            part => std::slice::from_ref(part),
        };
        let (mut thought, mut text) = (String::new(), String::new());
        for part in parts {
            match part.get(THINKING) {
                Some(thinking) => gather(thinking, &mut thought),
                None => gather(part, &mut text),
            }
        }
        (thought, text)
    }

    /// JSON text: a string that holds it already, or the value itself.
    pub(super) fn as_json(&self) -> Cow<'_, str> {
        match self {
            Loose::Text(text) => Cow::Borrowed(text),
            Loose::Tree(tree) => Cow::Owned(tree.to_string()),
            Loose::Number(number) => Cow::Owned(number.to_string()),
            Loose::Absent => Cow::Borrowed(""),
        }
    }
}

/// A list that is read only where it is wanted: mostly it is empty or not there. Anything else has no elements.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct List<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl List<'_> {
    /// The elements.
    pub(super) fn elements(&self) -> Vec<Value> {
        match self.0.map(RawValue::get) {
            None | Some("[]") => Vec::new(),
            Some(json) => serde_json::from_str(json).unwrap_or_default(),
        }
    }
}

/// What parts of reasoning hold their text in: `{"type":"thinking","thinking":…}`.
const THINKING: &str = "thinking";

/// Content parts: `[{"type":"text","text":"…"}]`, or bare strings. Parts of reasoning are not what is said.
fn gather(tree: &Value, text: &mut String) {
    match tree {
        Value::String(piece) => text.push_str(piece),
        Value::Array(pieces) => pieces.iter().for_each(|piece| gather(piece, text)),
        Value::Object(part) => {
            if let Some(piece) = part.get("text") {
                gather(piece, text);
            }
        }
        _ => {}
    }
}

/// A list of parts, also where there is one without a list around it, or only its text. Anything else has none.
#[derive(Debug)]
pub(super) struct Parts<T>(pub(super) Vec<T>);

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de> + From<String>> Deserialize<'de> for Parts<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyParts(PhantomData))
    }
}

struct AnyParts<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for AnyParts<T> {
    type Value = Parts<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Parts(vec![T::from(text.to_owned())]))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Parts::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Parts::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Parts::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Parts::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Parts::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element::<Option<T>>()? {
            parts.extend(part);
        }
        Ok(Parts(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let part = T::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Parts(vec![part]))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Loose::Absent)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(|list| Loose::Tree(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(|object| Loose::Tree(object.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_taken_and_read_as_far_as_it_goes() {
        let table = [
            ("null", "", None, ""),
            ("true", "", None, ""),
            (r#""a\nb""#, "a\nb", None, "a\nb"),
            (r#""7""#, "7", Some(7), "7"),
            ("7", "", Some(7), "7"),
            ("7.0", "", Some(7), "7"),
            ("-1", "", None, "-1"),
            (r#"{"q": 1, "a": 2}"#, "", None, r#"{"q":1,"a":2}"#),
            (
                r#"[{"type":"text","text":"a"},{"type":"x"},"b"]"#,
                "ab",
                None,
                r#"[{"type":"text","text":"a"},{"type":"x"},"b"]"#,
            ),
        ];
        for (json, text, number, as_json) in table {
            let read = || serde_json::from_str::<Loose<'_>>(json).unwrap();
            assert_eq!(read().into_text(), text, "{json}");
            assert_eq!(read().as_u64(), number, "{json}");
            assert_eq!(read().as_json(), as_json, "{json}");
        }
    }

    #[test]
    fn only_a_list_has_elements() {
        let table = [
            ("[]", 0),
            ("[ ]", 0),
            (r#"[{"a":"\u00e9"}, null]"#, 2),
            ("null", 0),
            ("7", 0),
            (r#""[1]""#, 0),
            (r#"{"0":1}"#, 0),
        ];
        for (json, elements) in table {
            let list: List<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(list.elements().len(), elements, "{json}");
        }
        assert!(List::default().elements().is_empty());
    }
}
