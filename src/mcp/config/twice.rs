//! Keys that stand twice in one object of a JSON text: whichever would count, the other one was meant too.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::ConfigError;

/// Looks at every object of a text that is JSON.
///
/// # Errors
/// The first key that its object has had already, with its place and line.
pub(super) fn check(json: &str) -> Result<(), ConfigError> {
    let path = RefCell::default();
    let mut reader = serde_json::Deserializer::from_str(json);
    Place(&path).deserialize(&mut reader).map_err(|error| {
        let mut place = String::new();
        for step in path.into_inner() {
            match step {
                Step::Key(key) if place.is_empty() => place.push_str(&key),
                Step::Key(key) => place.push_str(&format!(".{key}")),
                Step::Index(index) => place.push_str(&format!("[{index}]")),
            }
        }
        ConfigError::Invalid {
            place,
            problem: format!("stands there twice, again in line {}", error.line()),
        }
    })
}

/// What leads to a value.
enum Step {
    Key(String),
    Index(usize),
}

/// A value, at the end of this path.
#[derive(Clone, Copy)]
struct Place<'a>(&'a RefCell<Vec<Step>>);

impl Place<'_> {
    fn enter(&self, step: Step) {
        self.0.borrow_mut().push(step);
    }

    fn leave(&self) {
        self.0.borrow_mut().pop();
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            self.enter(Step::Key(key.clone()));
            if !keys.insert(key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            object.next_value_seed(self)?;
            self.leave();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.enter(Step::Index(index));
            let next = list.next_element_seed(self)?;
            self.leave();
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_place_and_line() {
        let table = [
            (r#"{"a": 1, "b": {"a": [1, -2, 1.5, null, true, "x"]}}"#, ""),
            ("{\"a\": 1,\n\"a\": 2}", "a: stands there twice, again in line 2"),
            (
                "{\"mcpServers\": {\"x\": {\"env\": {\"A\": \"1\",\n\n\"A\": \"1\"}}}}",
                "mcpServers.x.env.A: stands there twice, again in line 3",
            ),
            (
                r#"{"list": [{}, {"k": 1, "k": 1}]}"#,
                "list[1].k: stands there twice, again in line 1",
            ),
            (
                r#"{"one": {"k": 1}, "two": {"k": 1, "\u006b": 1}}"#,
                "two.k: stands there twice, again in line 1",
            ),
        ];
        for (json, expected) in table {
            let problem = check(json).err().map(|error| error.to_string());
            assert_eq!(problem.unwrap_or_default(), expected, "{json}");
        }
    }
}
