//! What a tool was when it was approved, and how it differs from that now.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::catalogue::{Annotations, Tool, ToolDescription};
use super::error::{Error, Reason};

/// A digest of every part of a tool that a model or a person goes by.
///
/// Part by part, so that it can be said which have changed. Digests are SHA-256 in hexadecimal, of a schema as JSON
/// with its keys sorted: a server that writes the same in another order has changed nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    title: String,
    description: String,
    input_schema: String,
    output_schema: String,
    annotations: String,
}

/// A tool that is held back: it is not as it was when it was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// How it is now.
    pub now: Fingerprint,
    /// The parts that have changed, by their names in the contract: `description`, `input_schema`.
    pub changed: Vec<&'static str>,
}

impl Fingerprint {
    /// Of a tool.
    pub fn of(tool: &ToolDescription) -> Self {
        let schema = |schema: Option<&Value>| schema.map_or_else(String::new, json_digest);
        Self {
            title: digest(tool.title.as_bytes()),
            description: digest(tool.description.as_bytes()),
            input_schema: schema(Some(&tool.input_schema)),
            output_schema: schema(tool.output_schema.as_deref()),
            annotations: digest(annotations(tool).as_bytes()),
        }
    }

    /// One digest of all of it.
    pub fn digest(&self) -> String {
        let all = self.parts().map(|(_, part)| part).join(" ");
        digest(all.as_bytes())
    }

    /// The parts in which another one differs, by their names in the contract.
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.parts().into_iter().zip(other.parts());
        let differ = pairs.filter(|((_, before), (_, now))| before != now);
        differ.map(|((name, _), _)| name).collect()
    }

    fn parts(&self) -> [(&'static str, &str); 5] {
        [
            ("title", &self.title),
            ("description", &self.description),
            ("input_schema", &self.input_schema),
            ("output_schema", &self.output_schema),
            ("annotations", &self.annotations),
        ]
    }
}

impl Quarantine {
    /// What the tool is held back for, if it is: `approved` is how it was.
    pub fn of(approved: &Fingerprint, now: Fingerprint) -> Option<Self> {
        let changed = approved.changed(&now);
        (!changed.is_empty()).then_some(Self { now, changed })
    }

    /// `TOOL_QUARANTINED`, for whoever calls the tool.
    pub fn refusal(&self, tool: &Tool) -> Error {
        let description = tool.description();
        let text = format!(
            "the tool {:?} is held back: its {} changed after it was approved",
            description.name,
            self.changed.join(", ")
        );
        Error::new(Reason::ToolQuarantined, text)
            .with("tool", &description.name)
            .with("server", &description.server)
    }
}

/// What the annotations say, written as in the digests that are kept. A title of theirs that is the tool's own counts as that.
fn annotations(tool: &ToolDescription) -> String {
    let Annotations {
        title,
        read_only,
        destructive,
        idempotent,
        open_world,
    } = &tool.annotations;
    let mut text = format!(
        "Annotations {{ read_only: {read_only:?}, destructive: {destructive:?}, idempotent: {idempotent:?}, \
         open_world: {open_world:?} }}"
    );
    if *title != tool.title {
        text.push_str(title);
    }
    text
}

fn json_digest(value: &Value) -> String {
    digest(sorted(value).to_string().as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The same value, its keys in one order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields = fields
                .into_iter()
                .map(|(name, field)| (name.clone(), sorted(field)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::run::catalogue::Policy;

    fn tool() -> ToolDescription {
        ToolDescription {
            name: "files__read".into(),
            server: "files".into(),
            remote_name: "read".into(),
            title: "Read".into(),
            description: "Reads a file.".into(),
            input_schema: Arc::new(
                json!({"type": "object", "properties": {"a": {}, "b": [1, {"x": 1, "y": 2}]}}),
            ),
            output_schema: None,
            annotations: Annotations::default(),
            policy: Policy::Allow,
            timeout: None,
        }
    }

    #[test]
    fn annotations_are_written_as_in_the_digests_that_are_kept() {
        let kept = "Annotations { read_only: None, destructive: None, idempotent: None, open_world: None }";
        assert_eq!(annotations(&tool()), kept);
    }

    #[test]
    fn every_part_that_somebody_goes_by_counts_and_nothing_else() {
        type Case = (fn(&mut ToolDescription), &'static [&'static str]);
        let cases: [Case; 11] = [
            (|_| {}, &[]),
            (|tool| tool.policy = Policy::Deny, &[]),
            (|tool| tool.name = "f__read".into(), &[]),
            (
                |tool| {
                    let schema =
                        json!({"properties": {"b": [1, {"y": 2, "x": 1}], "a": {}}, "type": "object"});
                    tool.input_schema = Arc::new(schema);
                },
                &[],
            ),
            (|tool| tool.title.clear(), &["title"]),
            (|tool| tool.description.push('!'), &["description"]),
            (
                |tool| {
                    tool.input_schema = Arc::new(json!({"type": "object"}));
                    tool.output_schema = Some(Arc::new(json!({})));
                },
                &["input_schema", "output_schema"],
            ),
            (|tool| tool.annotations.read_only = Some(true), &["annotations"]),
            (
                |tool| tool.annotations.destructive = Some(false),
                &["annotations"],
            ),
            (|tool| tool.annotations.title = "Read".into(), &[]),
            (|tool| tool.annotations.title = "Write".into(), &["annotations"]),
        ];
        let before = Fingerprint::of(&tool());
        for (change, expected) in cases {
            let mut changed = tool();
            change(&mut changed);
            let now = Fingerprint::of(&changed);
            assert_eq!(before.changed(&now), expected);
            assert_eq!(before.digest() == now.digest(), expected.is_empty());
            let held = Quarantine::of(&before, now);
            assert_eq!(held.map_or(Vec::new(), |held| held.changed), expected);
        }
    }

    #[test]
    fn a_fingerprint_reads_back_from_what_is_kept() {
        let before = Fingerprint::of(&tool());
        let kept = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&kept).unwrap(), before);
    }
}
