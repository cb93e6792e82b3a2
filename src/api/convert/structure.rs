//! JSON objects and `google.protobuf.Struct`. A Struct's numbers are doubles; integers stay integers as far as a
//! double holds them exactly.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as PbValue};
use serde_json::{Map, Number, Value};

/// The largest integer up to which every integer is a double: 2^53.
const EXACT_INTEGER: u64 = 1 << 53;

/// A JSON object as a Struct.
pub fn from_json(object: &Map<String, Value>) -> Struct {
    Struct {
        fields: object
            .iter()
            .map(|(key, value)| (key.clone(), value_from_json(value)))
            .collect(),
    }
}

/// A Struct as a JSON object: a whole number up to 2^53 becomes an integer.
pub fn to_json(structure: Struct) -> Map<String, Value> {
    structure
        .fields
        .into_iter()
        .map(|(key, value)| (key, value_to_json(value)))
        .collect()
}

/// Whether a Struct holds this value unchanged: no integer in it is beyond 2^53.
pub fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            magnitude.is_none_or(|magnitude| magnitude <= EXACT_INTEGER)
        }
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(object) => object.values().all(is_exact),
        _ => true,
    }
}

/// A JSON value as a Value.
pub fn value_from_json(value: &Value) -> PbValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(value_from_json).collect(),
        }),
        Value::Object(object) => Kind::StructValue(from_json(object)),
    };
    PbValue { kind: Some(kind) }
}

fn value_to_json(value: PbValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => number_to_json(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(value_to_json).collect(),
        Some(Kind::StructValue(structure)) => Value::Object(to_json(structure)),
    }
}

fn number_to_json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER as f64 {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_object_goes_through_a_struct_unchanged() {
        let value = json!({
            "integer": 3, "negative": -9007199254740991_i64, "fraction": 0.5, "text": "x", "yes": true,
            "nothing": null, "list": [1, [2.5, {}]], "object": {"a": {"b": []}}, "large": 1e300,
        });
        let Value::Object(object) = value else {
            unreachable!()
        };
        assert_eq!(to_json(from_json(&object)), object);
    }

    #[test]
    fn an_integer_is_exact_up_to_the_last_one_before_doubles_skip_some() {
        for (value, is_kept) in [
            (json!(9_007_199_254_740_992_u64), true),
            (json!(9_007_199_254_740_993_u64), false),
            (json!([-9_007_199_254_740_992_i64]), true),
            (json!({"a": [-9_007_199_254_740_993_i64]}), false),
            (json!(u64::MAX), false),
            (json!(1e300), true),
        ] {
            assert_eq!(is_exact(&value), is_kept, "{value}");
        }
    }
}
