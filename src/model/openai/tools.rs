//! The tools on offer, as both dialects write them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_openai::types::chat::{ChatCompletionTool, ChatCompletionTools, FunctionObject};
use async_openai::types::responses::{FunctionTool, Tool as ResponsesTool};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::Dialect;
use crate::run::catalogue::{Catalogue, ToolDescription};

/// The longest name that providers take, in bytes.
const NAME_LIMIT_BYTES: usize = 64;
/// How much of a digest tells two names apart that would otherwise become one, in bytes.
const DIGEST_BYTES: usize = 4;

/// A catalogue, rendered for a dialect.
#[derive(Debug)]
pub(super) struct Offer {
    /// The JSON array for the request's `tools`.
    pub(super) json: Box<RawValue>,
    /// The catalogue's names of the tools that had to be renamed.
    originals: HashMap<String, String>,
}

/// Keeps the last offer, since a catalogue is asked for many times and rendering its schemas costs more than
/// the rest of a small request.
#[derive(Debug, Default)]
pub(super) struct Offers {
    last: Mutex<Option<(Weak<Catalogue>, Arc<Offer>)>>,
}

impl Offers {
    /// The catalogue's tools for this dialect, which MUST be the same in all calls.
    ///
    /// # Errors
    /// When they cannot be written as JSON.
    pub(super) fn of(
        &self,
        catalogue: &Arc<Catalogue>,
        dialect: Dialect,
    ) -> Result<Arc<Offer>, serde_json::Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The weak reference keeps the address from being used again.
        if let Some((known, offer)) = &*last
            && std::ptr::eq(known.as_ptr(), Arc::as_ptr(catalogue))
        {
            return Ok(Arc::clone(offer));
        }
        let offer = Arc::new(Offer::new(catalogue, dialect)?);
        *last = Some((Arc::downgrade(catalogue), Arc::clone(&offer)));
        Ok(offer)
    }
}

impl Offer {
    fn new(catalogue: &Catalogue, dialect: Dialect) -> Result<Self, serde_json::Error> {
        let descriptions = || catalogue.tools().iter().map(|tool| tool.description());
        let json = match dialect {
            Dialect::Responses => {
                serde_json::value::to_raw_value(&descriptions().map(for_responses).collect::<Vec<_>>())?
            }
            // Assistants are offered tools in the same form.
            Dialect::ChatCompletions | Dialect::Assistants => serde_json::value::to_raw_value(
                &descriptions().map(for_chat_completions).collect::<Vec<_>>(),
            )?,
        };
        let originals = catalogue
            .tools()
            .iter()
            .filter_map(|tool| match alias(tool.name()) {
                Cow::Owned(alias) => Some((alias, tool.name().to_owned())),
                Cow::Borrowed(_) => None,
            })
            .collect();
        Ok(Self { json, originals })
    }

    /// The catalogue's name of the tool that the provider calls so.
    pub(super) fn original(&self, name: String) -> String {
        self.originals.get(&name).cloned().unwrap_or(name)
    }
}

/// The name under which a tool is offered: its own where providers take it, and otherwise one made from it,
/// always the same.
pub(super) fn alias(name: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=NAME_LIMIT_BYTES).contains(&name.len()) && name.bytes().all(fits) {
        return Cow::Borrowed(name);
    }
    let mut alias: String = name
        .chars()
        .take(NAME_LIMIT_BYTES - 1 - 2 * DIGEST_BYTES)
        .map(|char| match u8::try_from(char) {
            Ok(byte) if fits(byte) => char,
            _ => '_',
        })
        .collect();
    alias.push('_');
    for byte in Sha256::digest(name.as_bytes()).iter().take(DIGEST_BYTES) {
        alias.push_str(&format!("{byte:02x}"));
    }
    Cow::Owned(alias)
}

fn for_responses(tool: &ToolDescription) -> ResponsesTool {
    ResponsesTool::Function(FunctionTool {
        name: alias(&tool.name).into_owned(),
        description: description(tool),
        parameters: Some(parameters(tool)),
        // Strict mode takes only a part of JSON Schema, and the tools' schemas are not ours.
        strict: Some(false),
        ..FunctionTool::default()
    })
}

fn for_chat_completions(tool: &ToolDescription) -> ChatCompletionTools {
    ChatCompletionTools::Function(ChatCompletionTool {
        function: FunctionObject {
            name: alias(&tool.name).into_owned(),
            description: description(tool),
            parameters: Some(parameters(tool)),
            strict: None,
        },
    })
}

fn description(tool: &ToolDescription) -> Option<String> {
    [&tool.description, &tool.title]
        .into_iter()
        .find(|text| !text.is_empty())
        .cloned()
}

/// The schema as it is, but an object with `properties`, without which OpenAI takes no schema.
fn parameters(tool: &ToolDescription) -> Value {
    match &*tool.input_schema {
        Value::Object(schema) => {
            let mut schema = schema.clone();
            schema.entry("type").or_insert_with(|| json!("object"));
            schema.entry("properties").or_insert_with(|| json!({}));
            Value::Object(schema)
        }
        _ => json!({"type": "object", "properties": {}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::catalogue::{Annotations, Tool};

    fn tool(name: &str, input_schema: Value) -> Arc<Tool> {
        Arc::new(Tool::new(ToolDescription {
            name: name.into(),
            server: "s".into(),
            remote_name: name.into(),
            title: String::new(),
            description: String::new(),
            input_schema: Arc::new(input_schema),
            output_schema: None,
            annotations: Annotations::default(),
            timeout: None,
            policy: Default::default(),
        }))
    }

    #[test]
    fn names_that_providers_refuse_are_renamed_and_found_again() {
        let long = "x".repeat(65);
        for name in ["a.b", "ä", "", "a b", "a/b", &long] {
            let alias = alias(name);
            assert!((1..=64).contains(&alias.len()), "{alias}");
            assert!(
                alias
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
                "{alias}"
            );
            let catalogue = Catalogue::new(1, [tool(name, json!({})), tool("plain", json!({}))]);
            let offer = Offer::new(&catalogue, Dialect::Responses).unwrap();
            assert!(offer.json.get().contains(&*alias));
            assert_eq!(offer.original(alias.into_owned()), name);
            assert_eq!(offer.original("plain".into()), "plain");
            assert_eq!(offer.original("other".into()), "other");
        }
        assert_ne!(alias("a.b"), alias("a/b"));
        assert_eq!(alias("fine__name-1"), "fine__name-1");
    }

    #[test]
    fn a_catalogue_is_rendered_once() {
        let offers = Offers::default();
        let first = Arc::new(Catalogue::new(1, [tool("a", json!({}))]));
        let second = Arc::new(Catalogue::new(2, [tool("b", json!(true))]));
        let of = |catalogue| offers.of(catalogue, Dialect::ChatCompletions).unwrap();
        let rendered = of(&first);
        assert!(Arc::ptr_eq(&rendered, &of(&first)));
        assert_eq!(
            of(&second).json.get(),
            r#"[{"type":"function","function":{"name":"b","parameters":{"type":"object","properties":{}}}}]"#
        );
        assert!(!Arc::ptr_eq(&rendered, &of(&first)));
    }
}
