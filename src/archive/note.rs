//! What could not be carried over as it was, and what became of it instead.

use std::collections::BTreeMap;

/// How many names stand for all.
const EXAMPLE_LIMIT: usize = 3;

/// What there is to say about an import, each thing once, with how often it is so and for example where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(BTreeMap<&'static str, Places>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    count: u64,
    examples: Vec<String>,
}

impl Notes {
    /// Says that it is so there.
    pub fn add(&mut self, text: &'static str, place: &str) {
        let places = self.0.entry(text).or_default();
        places.count += 1;
        let is_new = !places.examples.iter().any(|example| example == place);
        if is_new && places.examples.len() < EXAMPLE_LIMIT {
            places.examples.push(place.to_owned());
        }
    }

    /// A line for each, in the order of the alphabet.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(text, places)| {
            let more = if places.count > places.examples.len() as u64 {
                ", …"
            } else {
                ""
            };
            format!("{} × {text} ({}{more})", places.count, places.examples.join(", "))
        })
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
