//! What MCP servers ask models while a call of theirs goes on (sampling).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::action::SamplingPrompt;
use super::message::{Media, MediaSource, Part, Role};
use super::money::Prices;
use super::ports::Finish;

/// The most of a question that a person is shown, in bytes.
const SHOWN_LIMIT_BYTES: usize = 16 * 1024;

/// A question of a server to a model, within what the operator allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// The server in the configuration.
    pub server: String,
    /// The model, as the operator says; empty for the default.
    pub model: String,
    /// What the server tells the model about itself; empty for nothing.
    pub system_prompt: String,
    /// The conversation, oldest first: who speaks, and what is said.
    pub messages: Vec<(Role, Vec<Part>)>,
    /// Tokens that the model may write.
    pub max_tokens: u64,
    /// How much chance there is in the choice of tokens.
    pub temperature: Option<f64>,
    /// The model stops before it would write one of these.
    pub stop: Vec<String>,
    /// Whether a person decides first.
    pub asks_first: bool,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Its text.
    pub text: String,
    /// The model that answered, as its provider names it.
    pub model: String,
    /// Why it stopped.
    pub finish: Finish,
}

/// What a run has to know of a request to a model that a server wants made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The model, as its provider names it.
    pub provider_model: String,
    /// No fewer bytes than what the model is to read has tokens.
    pub bytes: u64,
    /// What the model costs; none when nobody has said.
    pub prices: Option<Prices>,
    /// What those cost that answer instead when it cannot, by their names.
    pub other_prices: Arc<BTreeMap<String, Prices>>,
}

/// What a run leaves for a request to a model that a server wants made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// When the run ends if nothing else ends it; none for never.
    pub deadline: Option<SystemTime>,
    /// The tokens that may be written; none for any number.
    pub output_tokens: Option<u64>,
}

impl Sampling {
    /// What a person is shown of it.
    pub fn prompt(&self) -> Arc<SamplingPrompt> {
        let spoken = self.messages.iter().map(|(role, parts)| {
            let said: Vec<String> = parts.iter().map(shown).collect();
            let who = if *role == Role::Assistant {
                "assistant"
            } else {
                "user"
            };
            format!("{who}: {}", said.join("\n"))
        });
        let spoken: Vec<String> = spoken.collect();
        Arc::new(SamplingPrompt {
            server: self.server.clone(),
            model: self.model.clone(),
            system_prompt: cut(&self.system_prompt),
            prompt: cut(&spoken.join("\n")),
            max_tokens: self.max_tokens,
        })
    }
}

fn shown(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Image(Media {
            source: MediaSource::Base64(data),
            mime_type,
            ..
        }) => format!("[{mime_type}, {} bytes of base64]", data.len()),
        _ => "[something that is not shown]".to_owned(),
    }
}

/// As much as is shown, with a mark where there is more.
fn cut(text: &str) -> String {
    if text.len() <= SHOWN_LIMIT_BYTES {
        return text.to_owned();
    }
    let shown = &text[..text.floor_char_boundary(SHOWN_LIMIT_BYTES)];
    format!("{shown}… ({} bytes in all)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_shown_who_says_what_up_to_a_bound() {
        let image = Part::Image(Media {
            source: MediaSource::Base64("aGk=".into()),
            mime_type: "image/png".into(),
            name: String::new(),
            detail: None,
        });
        let mut sampling = Sampling {
            server: "a".into(),
            model: String::new(),
            system_prompt: "Be kind.".into(),
            messages: vec![
                (Role::User, vec![Part::Text("hi".into()), image]),
                (Role::Assistant, vec![Part::Text("hello".into())]),
            ],
            max_tokens: 10,
            temperature: None,
            stop: Vec::new(),
            asks_first: true,
        };
        let prompt = sampling.prompt();
        assert_eq!(
            prompt.prompt,
            "user: hi\n[image/png, 4 bytes of base64]\nassistant: hello"
        );
        assert_eq!(
            (prompt.system_prompt.as_str(), prompt.max_tokens),
            ("Be kind.", 10)
        );
        sampling.system_prompt = "é".repeat(SHOWN_LIMIT_BYTES);
        let shown = sampling.prompt().system_prompt.clone();
        assert!(shown.len() < SHOWN_LIMIT_BYTES + 40 && shown.ends_with("é… (32768 bytes in all)"));
    }
}
