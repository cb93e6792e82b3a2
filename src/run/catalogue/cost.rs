//! How much work it is to check a value against a JSON Schema, found out without doing it.
//!
//! A schema may apply many schemas to one value, and refer to itself: a few lines of it, and a value that is deep enough,
//! can take longer than anybody lives. Whoever wrote the one may have sent the other, and the check cannot be
//! interrupted. The number of steps is the same sum over the same pairs of schema and value, and each pair need be looked
//! at only once.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The most steps of one check: some tens of milliseconds at worst.
const STEPS: u64 = 2_000_000;
/// Where no more than this can come of it, nothing is counted.
const SURELY_FEW: u64 = 50_000;
/// The most pairs that are looked at.
const PAIRS: usize = 300_000;
/// How deep schemas may be applied within one another: the check takes a part of the stack for each.
const DEPTH: usize = 400;
/// How many bytes of text are as much work as a value.
const BYTES_A_STEP: usize = 64;
/// What a pattern may cost that has to try again, as it looks around or back. Regular ones are linear.
const BACKTRACKING_STEPS: u64 = 20_000;

/// What can be said of a schema beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// How many values it has.
    size: u64,
    /// Whether each part of it is applied to each value at most once, and takes one step then.
    is_plain: bool,
}

impl Cost {
    /// Of this schema.
    pub(super) fn of(schema: &Value) -> Self {
        let mut cost = Self {
            size: 0,
            is_plain: true,
        };
        cost.take(schema);
        cost
    }

    fn take(&mut self, value: &Value) {
        self.size += 1;
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.take(item)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    self.is_plain &= match (key.as_str(), field) {
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(_)) => false,
                        ("unevaluatedProperties" | "unevaluatedItems" | "uniqueItems", _) => false,
                        ("pattern", Value::String(pattern)) => !backtracks(pattern),
                        ("patternProperties", Value::Object(patterns)) => {
                            !patterns.keys().any(|pattern| backtracks(pattern))
                        }
                        _ => true,
                    };
                    self.take(field);
                }
            }
            _ => {}
        }
    }

    /// Whether to check this value against the schema that it is the cost of is more than can be done.
    pub(super) fn is_too_high(self, schema: &Value, instance: &Value) -> bool {
        let most = SURELY_FEW / self.size.max(1);
        if self.is_plain && size(instance, most) <= most {
            return false;
        }
        let mut count = Count {
            root: schema,
            names: None,
            known: HashMap::new(),
            depth: 0,
        };
        count.of(schema, instance) > STEPS
    }
}

/// How many values there are, and about how much text; not much more than `most` are counted.
fn size(value: &Value, most: u64) -> u64 {
    let add = |sum: u64, part: &Value| {
        if sum > most {
            return sum;
        }
        sum + size(part, most - sum)
    };
    match value {
        Value::String(text) => 1 + text_steps(text),
        Value::Array(items) => items.iter().fold(1, add),
        Value::Object(fields) => fields
            .iter()
            .fold(1, |sum, (key, field)| add(sum + text_steps(key), field)),
        _ => 1,
    }
}

fn text_steps(text: &str) -> u64 {
    (text.len() / BYTES_A_STEP) as u64
}

/// Whether a pattern looks around or back.
fn backtracks(pattern: &str) -> bool {
    let looks_back = pattern
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0] == b'\\' && (pair[1].is_ascii_digit() || pair[1] == b'k'));
    looks_back
        || ["(?=", "(?!", "(?<", "(?>", "*+", "++"]
            .iter()
            .any(|sign| pattern.contains(sign))
}

fn pattern_steps(pattern: &str, text: &str) -> u64 {
    let steps = 1 + text_steps(text) * (1 + text_steps(pattern));
    if backtracks(pattern) {
        return steps.saturating_add(BACKTRACKING_STEPS);
    }
    steps
}

/// The steps of a check, pair by pair.
struct Count<'a> {
    root: &'a Value,
    /// Where references may point besides places, once that is asked.
    names: Option<Names<'a>>,
    /// By the addresses of a schema and a value, which stay where they are. Of a pair that is being counted there is no
    /// end: the schema applies itself to the same value.
    known: HashMap<(*const Value, *const Value), u64>,
    depth: usize,
}

/// Schemas that have names.
#[derive(Default)]
struct Names<'a> {
    anchors: HashMap<&'a str, &'a Value>,
    /// Those with an identifier of their own: places may be meant within them.
    bases: Vec<&'a Value>,
}

impl<'a> Count<'a> {
    fn of(&mut self, schema: &'a Value, instance: &'a Value) -> u64 {
        let Value::Object(fields) = schema else {
            return 1;
        };
        let pair = (std::ptr::from_ref(schema), std::ptr::from_ref(instance));
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        if self.known.len() >= PAIRS || self.depth >= DEPTH {
            return u64::MAX;
        }
        self.known.insert(pair, u64::MAX);
        self.depth += 1;
        let mut steps: u64 = 1;
        let mut again: u64 = 1;
        for (key, field) in fields {
            let more = match key.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => self.of_reference(field, instance),
                "allOf" | "anyOf" | "oneOf" => self.of_each(field, instance),
                "not" | "if" | "then" | "else" => self.of(field, instance),
                "dependentSchemas" | "dependencies" => match field {
                    Value::Object(schemas) => self.sum(schemas.values().map(|schema| (schema, instance))),
                    _ => 1,
                },
                "enum" => field.as_array().map_or(1, |values| values.len() as u64),
                "pattern" => match (field, instance) {
                    (Value::String(pattern), Value::String(text)) => pattern_steps(pattern, text),
                    _ => 1,
                },
                "uniqueItems" => {
                    let items = size(instance, STEPS);
                    items.saturating_mul(1 + u64::from(items.ilog2()))
                }
                // What has been evaluated is found out anew for each.
                "unevaluatedProperties" | "unevaluatedItems" => {
                    again = again.saturating_add(children(instance));
                    self.of_children(field, instance)
                }
                _ => match instance {
                    Value::Object(_) => self.of_object(key, field, instance),
                    Value::Array(items) => self.of_array(key, field, items),
                    _ => 1,
                },
            };
            steps = steps.saturating_add(more);
        }
        self.depth -= 1;
        let steps = steps.saturating_mul(again);
        self.known.insert(pair, steps);
        steps
    }

    fn of_object(&mut self, key: &str, field: &'a Value, instance: &'a Value) -> u64 {
        let Value::Object(values) = instance else {
            return 1;
        };
        match (key, field) {
            ("properties", Value::Object(schemas)) => {
                let pairs = schemas
                    .iter()
                    .filter_map(|(name, schema)| Some((schema, values.get(name)?)));
                self.sum(pairs).saturating_add(schemas.len() as u64)
            }
            ("patternProperties", Value::Object(schemas)) => {
                let mut steps: u64 = 1;
                for (pattern, schema) in schemas {
                    for (name, value) in values {
                        let more = pattern_steps(pattern, name).saturating_add(self.of(schema, value));
                        steps = steps.saturating_add(more);
                    }
                }
                steps
            }
            ("additionalProperties", _) => self.of_children(field, instance),
            ("propertyNames", _) => {
                const NAME: &Value = &Value::Null;
                let names: u64 = values.keys().map(|name| 1 + text_steps(name)).sum();
                let pattern = field.get("pattern").and_then(Value::as_str).unwrap_or_default();
                let each = self.of(field, NAME).saturating_add(pattern_steps(pattern, ""));
                each.saturating_mul(names)
            }
            _ => 1,
        }
    }

    fn of_array(&mut self, key: &str, field: &'a Value, items: &'a [Value]) -> u64 {
        match (key, field) {
            ("items" | "prefixItems", Value::Array(schemas)) => self.sum(schemas.iter().zip(items)),
            ("items" | "additionalItems" | "contains", _) => self.sum(items.iter().map(|item| (field, item))),
            _ => 1,
        }
    }

    fn of_children(&mut self, schema: &'a Value, instance: &'a Value) -> u64 {
        match instance {
            Value::Array(items) => self.sum(items.iter().map(|item| (schema, item))),
            Value::Object(fields) => self.sum(fields.values().map(|field| (schema, field))),
            _ => 1,
        }
    }

    fn of_each(&mut self, schemas: &'a Value, instance: &'a Value) -> u64 {
        match schemas {
            Value::Array(schemas) => self.sum(schemas.iter().map(|schema| (schema, instance))),
            _ => 1,
        }
    }

    fn sum(&mut self, pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> u64 {
        pairs.fold(1, |sum: u64, (schema, instance)| {
            // Nobody asks how much too much it is.
            if sum > STEPS {
                return sum;
            }
            sum.saturating_add(self.of(schema, instance))
        })
    }

    /// Of all that a reference may mean.
    fn of_reference(&mut self, reference: &Value, instance: &'a Value) -> u64 {
        let Some(reference) = reference.as_str() else {
            return 1;
        };
        let fragment = reference.split_once('#').map_or("", |(_, fragment)| fragment);
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let root = self.root;
        let names = self.names.get_or_insert_with(|| Names::of(root));
        let targets: Vec<&'a Value> = if fragment.is_empty() || fragment.starts_with('/') {
            let bases = std::iter::once(root).chain(names.bases.iter().copied());
            bases.filter_map(|base| base.pointer(&fragment)).collect()
        } else {
            names
                .anchors
                .get(fragment.as_ref())
                .copied()
                .into_iter()
                .collect()
        };
        self.sum(targets.into_iter().map(|target| (target, instance)))
    }
}

impl<'a> Names<'a> {
    fn of(root: &'a Value) -> Self {
        let mut names = Self::default();
        names.collect(root, true);
        names
    }

    fn collect(&mut self, value: &'a Value, is_root: bool) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, false)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    match (key.as_str(), field) {
                        ("$id" | "id", Value::String(_)) if !is_root => self.bases.push(value),
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
}

fn children(instance: &Value) -> u64 {
    match instance {
        Value::Array(items) => items.len() as u64,
        Value::Object(fields) => fields.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!({}), |inner, _| json!({"a": inner}))
    }

    /// Each level applies the schema to what is below it so many times.
    fn branching(keyword: &str, times: usize) -> Value {
        let below = json!({"properties": {"a": {"$ref": "#"}}});
        json!({"type": "object", keyword: vec![below; times]})
    }

    fn chain(length: usize) -> Value {
        let mut schema = json!({"$ref": "#/$defs/0", "$defs": {}});
        for link in 0..length {
            schema["$defs"][link.to_string()] = json!({"$ref": format!("#/$defs/{}", link + 1)});
        }
        schema["$defs"][length.to_string()] = json!({"type": "object"});
        schema
    }

    #[test]
    fn what_would_take_forever_is_told_from_what_would_not() {
        let numbers = |count: usize| json!((0..count).collect::<Vec<_>>());
        let row = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}}});
        let rows = json!({"a": 1, "b": "text"});
        let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {
            "type": "object", "properties": {"a": {"$ref": "#/$defs/node"}}, "additionalProperties": false,
        }}});
        let unevaluated = (0..6).fold(
            json!({"type": "array"}),
            |inner, _| json!({"allOf": [inner], "unevaluatedItems": {"type": "integer"}}),
        );
        let looks_ahead = json!({"items": {"type": "string", "pattern": "^(?=(a+)+$)"}});
        let texts = |count: usize| json!(vec!["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"; count]);
        for (what, schema, instance, expected) in [
            ("a plain one", row.clone(), rows.clone(), false),
            (
                "a long list",
                json!({"items": row}),
                json!(vec![rows; 20_000]),
                false,
            ),
            (
                "numbers",
                json!({"items": {"type": "integer"}, "uniqueItems": true}),
                numbers(20_000),
                false,
            ),
            ("a tree", tree, nested(100), false),
            ("a few branches", branching("anyOf", 2), nested(10), false),
            ("many branches", branching("anyOf", 2), nested(40), true),
            ("many branches", branching("allOf", 3), nested(100), true),
            ("many branches", branching("oneOf", 2), nested(100), true),
            ("a loop", json!({"$ref": "#"}), json!({}), true),
            (
                "a loop",
                json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#"}}}),
                json!({}),
                true,
            ),
            ("a chain", chain(100), json!({}), false),
            ("a long chain", chain(5_000), json!({}), true),
            ("a nowhere", json!({"$ref": "#/nowhere"}), json!({}), false),
            ("unevaluated", unevaluated.clone(), numbers(3), false),
            ("unevaluated", unevaluated, numbers(1_000), true),
            ("a pattern", looks_ahead.clone(), texts(50), false),
            ("many patterns", looks_ahead, texts(1_000), true),
            (
                "an anchor",
                json!({"$ref": "#x", "$defs": {"x": {"$anchor": "x", "items": {"$ref": "#x"}}}}),
                json!([[[1]]]),
                false,
            ),
        ] {
            let began = Instant::now();
            let cost = Cost::of(&schema);
            assert_eq!(cost.is_too_high(&schema, &instance), expected, "{what}: {cost:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        }
    }
}
