//! Whether two requests are the same, and what is different.

use serde_json::Value;

use super::Asked;

/// What differs between runs of the same test and means nothing for the answer.
const VOLATILE: [&str; 6] = [
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "stream_options",
    "service_tier",
];

/// A request as it is compared: in the order of its keys, without what is volatile.
pub(super) fn normal(asked: &Asked) -> Asked {
    let mut body = asked.body.clone();
    if let Value::Object(fields) = &mut body {
        fields.retain(|name, _| !VOLATILE.contains(&name.as_str()));
    }
    sort(&mut body);
    // Call ids are minted anew each time: what matters is which output belongs to which call.
    let mut ids = Vec::new();
    number(&mut body, &mut ids);
    Asked {
        body,
        ..asked.clone()
    }
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Object(fields) => {
            fields.sort_keys();
            fields.values_mut().for_each(sort);
        }
        _ => {}
    }
}

fn number(value: &mut Value, ids: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| number(item, ids)),
        Value::Object(fields) => {
            let is_call = fields.contains_key("function");
            for (name, field) in fields.iter_mut() {
                let is_id = matches!(name.as_str(), "call_id" | "tool_call_id") || (name == "id" && is_call);
                match field {
                    Value::String(id) if is_id => {
                        let place = ids.iter().position(|known| known == id).unwrap_or_else(|| {
                            ids.push(id.clone());
                            ids.len() - 1
                        });
                        *field = Value::String(format!("call {place}"));
                    }
                    field => number(field, ids),
                }
            }
        }
        _ => {}
    }
}

/// Where two requests differ first, in words; none where they are the same.
pub(super) fn difference(recorded: &Asked, given: &Asked) -> Option<String> {
    if recorded.method != given.method || recorded.path != given.path {
        return Some(format!(
            "{} {} instead of {} {}",
            given.method, given.path, recorded.method, recorded.path
        ));
    }
    let mut differences = Vec::new();
    compare(&recorded.body, &given.body, "", &mut differences);
    (!differences.is_empty()).then(|| differences.join("; "))
}

/// How far apart two requests are; nothing for equal ones.
pub(super) fn distance(recorded: &Asked, given: &Asked) -> usize {
    const ANOTHER_PATH: usize = 1_000_000;
    let mut differences = Vec::new();
    compare(&recorded.body, &given.body, "", &mut differences);
    let is_elsewhere = recorded.method != given.method || recorded.path != given.path;
    differences.len() + if is_elsewhere { ANOTHER_PATH } else { 0 }
}

fn compare(recorded: &Value, given: &Value, place: &str, differences: &mut Vec<String>) {
    match (recorded, given) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                match old.get(name) {
                    Some(known) => compare(known, value, &format!("{place}/{name}"), differences),
                    None => differences.push(format!("{place}/{name} was not there")),
                }
            }
            let missing = old.keys().filter(|name| !new.contains_key(*name));
            differences.extend(missing.map(|name| format!("{place}/{name} is missing")));
        }
        (Value::Array(old), Value::Array(new)) => {
            for (index, (known, value)) in old.iter().zip(new).enumerate() {
                compare(known, value, &format!("{place}/{index}"), differences);
            }
            if old.len() != new.len() {
                differences.push(format!(
                    "{place} has {} items instead of {}",
                    new.len(),
                    old.len()
                ));
            }
        }
        (old, new) if old != new => {
            differences.push(format!("{place} is {} instead of {}", short(new), short(old)));
        }
        _ => {}
    }
}

fn short(value: &Value) -> String {
    const LONGEST_BYTES: usize = 80;
    let mut text = value.to_string();
    if text.len() > LONGEST_BYTES {
        text.truncate(text.floor_char_boundary(LONGEST_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(body: Value) -> Asked {
        normal(&Asked {
            method: "POST".into(),
            path: "/responses".into(),
            body,
        })
    }

    #[test]
    fn requests_are_the_same_whatever_the_order_and_the_ids() {
        let recorded = asked(json!({"model": "m", "metadata": {"a": "1"}, "input": [
            {"type": "function_call", "call_id": "x", "name": "f"},
            {"type": "function_call_output", "call_id": "x", "output": "o"}]}));
        let again = asked(json!({"input": [
            {"name": "f", "type": "function_call", "call_id": "y"},
            {"type": "function_call_output", "call_id": "y", "output": "o"}], "model": "m"}));
        assert_eq!(difference(&recorded, &again), None);
        let crossed = asked(json!({"input": [
            {"name": "f", "type": "function_call", "call_id": "y"},
            {"type": "function_call_output", "call_id": "z", "output": "p"}], "model": "m"}));
        let said = difference(&recorded, &crossed).unwrap();
        assert_eq!(
            said,
            r#"/input/1/call_id is "call 1" instead of "call 0"; /input/1/output is "p" instead of "o""#
        );
        assert_eq!(distance(&recorded, &crossed), 2);
        let other = Asked {
            path: "/models".into(),
            ..asked(json!({}))
        };
        assert!(distance(&recorded, &other) > 1000);
    }
}
