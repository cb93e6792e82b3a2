//! What a text refers to.

use serde::{Deserialize, Serialize};

/// What a piece of a model's text refers to, as the provider says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// What is referred to.
    pub source: Cited,
    /// The first character that it is about, counted in Unicode characters from 0, in all the text of the message
    /// joined; none when the provider does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// The end of that, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

/// What an annotation refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cited {
    /// A page of the web.
    Url {
        /// Its address.
        url: String,
        /// Its title; empty when unknown.
        #[serde(default)]
        title: String,
    },
    /// A file at the provider.
    File {
        /// The provider's id of it.
        id: String,
        /// Its name; empty when unknown.
        #[serde(default)]
        name: String,
        /// The provider's id of the container that holds it; empty for none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        container: String,
    },
}

impl Annotation {
    /// The same, of a text that stands behind so many characters of others.
    #[must_use]
    pub fn behind(self, characters: u64) -> Self {
        let moved = |place: Option<u64>| place.map(|place| place.saturating_add(characters));
        Self {
            start: moved(self.start),
            end: moved(self.end),
            source: self.source,
        }
    }
}
