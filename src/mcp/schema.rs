//! Bounds on the schemas of tools. A schema is compiled and checked against, and every model is sent it: one that is
//! made to blow up must not get that far.

use std::collections::HashMap;

use serde_json::Value;

/// The longest schema, written out as JSON.
const SIZE_LIMIT_BYTES: usize = 256 * 1024;
/// How deep values may stand within one another.
const DEPTH_LIMIT: usize = 64;
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
    let mut weights = Weights {
        root: schema,
        known: HashMap::new(),
    };
    if weights.of(schema) > WEIGHT_LIMIT {
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
    /// By reference; none while it is being counted: a schema that refers to itself is counted once.
    known: HashMap<&'a str, Option<u64>>,
}

impl<'a> Weights<'a> {
    fn of(&mut self, value: &'a Value) -> u64 {
        match value {
            Value::Array(items) => items
                .iter()
                .fold(1, |sum: u64, item| sum.saturating_add(self.of(item))),
            Value::Object(fields) => fields.iter().fold(1, |sum: u64, (key, field)| {
                let weight = match (key.as_str(), field) {
                    ("$ref" | "$dynamicRef", Value::String(reference)) => self.of_reference(reference),
                    _ => self.of(field),
                };
                sum.saturating_add(weight)
            }),
            _ => 1,
        }
    }

    fn of_reference(&mut self, reference: &'a str) -> u64 {
        if let Some(known) = self.known.get(reference) {
            return known.unwrap_or(1);
        }
        let pointer = reference.strip_prefix('#');
        let Some(target) = pointer.and_then(|pointer| self.root.pointer(pointer)) else {
            return 1;
        };
        self.known.insert(reference, None);
        let weight = self.of(target);
        self.known.insert(reference, Some(weight));
        weight
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_that_would_blow_up_is_refused() {
        let deep = (0..65).fold(json!({}), |inner, _| json!({ "not": inner }));
        let mut doubling = json!({"$defs": {"0": {"type": "string"}}, "$ref": "#/$defs/40"});
        for level in 1..=40 {
            let below = json!({"$ref": format!("#/$defs/{}", level - 1)});
            doubling["$defs"][level.to_string()] = json!({"allOf": [below, below]});
        }
        let recursive =
            json!({"type": "object", "properties": {"child": {"$ref": "#"}, "next": {"$ref": "#"}}});
        for (schema, expected) in [
            (json!({"type": "object"}), None),
            (recursive, None),
            (json!({"$ref": "#/nowhere"}), None),
            (json!({"$ref": "https://elsewhere.example/schema"}), None),
            (deep, Some("is more than 64 levels deep")),
            (
                json!({"description": "x".repeat(SIZE_LIMIT_BYTES)}),
                Some("bytes, more than 262144"),
            ),
            (doubling, Some("stands for more than 100000 values")),
        ] {
            let checked = check(&schema);
            match expected {
                None => assert_eq!(checked, Ok(())),
                Some(expected) => assert!(checked.clone().unwrap_err().contains(expected), "{checked:?}"),
            }
        }
    }
}
