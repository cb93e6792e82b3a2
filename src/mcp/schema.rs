//! Bounds on the schemas of tools. A schema is compiled and checked against, and every model is sent it: one that is
//! made to blow up must not get that far.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The longest schema, written out as JSON.
const SIZE_LIMIT_BYTES: usize = 256 * 1024;
/// How deep values may stand within one another.
const DEPTH_LIMIT: usize = 64;
/// How many references may lead from one to the next. Whoever follows them takes a part of the stack for each.
const CHAIN_LIMIT: usize = 100;
/// How many values there may be once every local `$ref` is written out in place. References that double one another
/// make a short schema take forever.
const WEIGHT_LIMIT: u64 = 100_000;

/// Whether a schema is within bounds.
///
/// # Errors
/// Which bound it is beyond, in words for operators.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    if depth_exceeds(schema, DEPTH_LIMIT) {
        return Err(format!("is more than {DEPTH_LIMIT} levels deep"));
    }
    let size = schema.to_string().len();
    if size > SIZE_LIMIT_BYTES {
        return Err(format!("has {size} bytes, more than {SIZE_LIMIT_BYTES}"));
    }
    let mut weights = Weights::of_root(schema);
    let (weight, chain) = weights.of(schema);
    if chain > CHAIN_LIMIT {
        return Err(format!(
            "has references that lead to more than {CHAIN_LIMIT} others"
        ));
    }
    if weight > WEIGHT_LIMIT {
        return Err(format!(
            "stands for more than {WEIGHT_LIMIT} values, its references written out"
        ));
    }
    Ok(())
}

fn depth_exceeds(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|item| depth_exceeds(item, left - 1)),
        Value::Object(fields) => left == 0 || fields.values().any(|field| depth_exceeds(field, left - 1)),
        _ => false,
    }
}

/// How many values a schema stands for.
struct Weights<'a> {
    root: &'a Value,
    /// Its own `$id`.
    id: Option<&'a str>,
    /// Schemas within it by their `$anchor` or `$dynamicAnchor`.
    anchors: HashMap<&'a str, &'a Value>,
    /// Whether any schema within it has an `$id`: then references may be meant against that, and what they refer to
    /// cannot be told here.
    has_bases: bool,
    /// By reference; none while it is being counted: a schema that refers to itself is counted once.
    known: HashMap<&'a str, Option<(u64, usize)>>,
    /// How many references have led to the one that is being counted.
    chain: usize,
}

impl<'a> Weights<'a> {
    fn of_root(root: &'a Value) -> Self {
        let mut weights = Self {
            root,
            id: root.get("$id").and_then(Value::as_str),
            anchors: HashMap::new(),
            has_bases: false,
            known: HashMap::new(),
            chain: 0,
        };
        weights.collect(root, true);
        weights
    }

    fn is_of_draft_4(&self) -> bool {
        let schema = self.root.get("$schema").and_then(Value::as_str);
        schema.is_some_and(|schema| schema.contains("draft-04"))
    }

    /// Notes the names in a schema.
    fn collect(&mut self, value: &'a Value, is_root: bool) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, false)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    match (key.as_str(), field) {
                        ("$id", Value::String(_)) => self.has_bases |= !is_root,
                        // How the fourth draft has it; elsewhere it means nothing.
                        ("id", Value::String(_)) if self.is_of_draft_4() => self.has_bases |= !is_root,
                        ("$anchor" | "$dynamicAnchor", Value::String(anchor)) => {
                            self.anchors.insert(anchor, value);
                        }
                        _ => self.collect(field, false),
                    }
                }
            }
            _ => {}
        }
    }

    /// How many values this stands for, and how many references lead on from it, one from the next.
    fn of(&mut self, value: &'a Value) -> (u64, usize) {
        let add = |sum: (u64, usize), more: (u64, usize)| (sum.0.saturating_add(more.0), sum.1.max(more.1));
        match value {
            Value::Array(items) => items.iter().fold((1, 0), |sum, item| add(sum, self.of(item))),
            Value::Object(fields) => fields.iter().fold((1, 0), |sum, (key, field)| {
                let more = match (key.as_str(), field) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                        self.of_reference(reference)
                    }
                    _ => self.of(field),
                };
                add(sum, more)
            }),
            _ => (1, 0),
        }
    }

    fn of_reference(&mut self, reference: &'a str) -> (u64, usize) {
        if let Some(known) = self.known.get(reference) {
            return known.unwrap_or((1, 0));
        }
        if self.has_bases {
            return (u64::MAX, 0);
        }
        if self.chain > CHAIN_LIMIT {
            return (1, CHAIN_LIMIT);
        }
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let is_elsewhere = !base.is_empty() && self.id.is_none_or(|id| id.trim_end_matches('#') != base);
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let target = match fragment.as_ref() {
            // Nothing is fetched.
            _ if is_elsewhere => None,
            pointer if pointer.is_empty() || pointer.starts_with('/') => self.root.pointer(pointer),
            anchor => self.anchors.get(anchor).copied(),
        };
        let Some(target) = target else {
            return (1, 0);
        };
        self.known.insert(reference, None);
        self.chain += 1;
        let (weight, chain) = self.of(target);
        self.chain -= 1;
        let known = (weight, chain + 1);
        self.known.insert(reference, Some(known));
        known
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_that_would_blow_up_is_refused() {
        let deep = (0..65).fold(json!({}), |inner, _| json!({ "not": inner }));
        // Each level twice the one below, which is said in one of these ways.
        let doubling = |name: &str, below: &dyn Fn(u32) -> String| {
            let mut schema = json!({"$defs": {"0": {"type": "object", name: "l0"}}, "$ref": below(40)});
            for level in 1..=40 {
                let reference = json!({"$ref": below(level - 1)});
                schema["$defs"][level.to_string()] =
                    json!({name: format!("l{level}"), "allOf": [reference, reference]});
            }
            schema
        };
        // Each refers to the next, and they are written from the first or from the last.
        let chain = |length: usize, is_turned: bool| {
            let mut schema = json!({"$defs": {}, "$ref": "#/$defs/0"});
            for place in 0..length {
                let link = if is_turned { length - 1 - place } else { place };
                schema["$defs"][link.to_string()] = json!({"$ref": format!("#/$defs/{}", link + 1)});
            }
            schema
        };
        let recursive =
            json!({"type": "object", "properties": {"child": {"$ref": "#"}, "next": {"$ref": "#"}}});
        for (schema, expected) in [
            (json!({"type": "object"}), None),
            (chain(90, false), None),
            (
                chain(5_000, false),
                Some("has references that lead to more than 100 others"),
            ),
            (
                chain(5_000, true),
                Some("has references that lead to more than 100 others"),
            ),
            (recursive, None),
            (json!({"$ref": "#/nowhere"}), None),
            (json!({"$ref": "https://elsewhere.example/schema"}), None),
            (
                json!({"$defs": {"x": {"type": "string"}}, "$ref": "#/$defs/x", "default": {"id": "a"}}),
                None,
            ),
            (deep, Some("is more than 64 levels deep")),
            (
                json!({"description": "x".repeat(SIZE_LIMIT_BYTES)}),
                Some("bytes, more than 262144"),
            ),
            (
                doubling("title", &|level| format!("#/$defs/{level}")),
                Some("stands for more than 100000 values"),
            ),
            (
                doubling("title", &|level| format!("#/%24defs/{level}")),
                Some("stands for more than 100000 values"),
            ),
            (
                doubling("$anchor", &|level| format!("#l{level}")),
                Some("stands for more than 100000 values"),
            ),
            (
                doubling("$id", &|level| format!("l{level}")),
                Some("stands for more than 100000 values"),
            ),
            (
                doubling("$id", &|level| format!("./l{level}")),
                Some("stands for more than 100000 values"),
            ),
            (
                doubling("$id", &|level| format!("l{level}#l{level}")),
                Some("stands for more than 100000 values"),
            ),
            (
                json!({"$id": "https://a.example/s", "$defs": {"x": {"type": "string"}},
                "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "https://a.example/s#/$defs/x"}}}),
                None,
            ),
        ] {
            let checked = check(&schema);
            match expected {
                None => assert_eq!(checked, Ok(())),
                Some(expected) => assert!(checked.clone().unwrap_err().contains(expected), "{checked:?}"),
            }
        }
    }
}
