//! Parameters and JSON into messages, and messages into JSON.

use assistd::api::transcode::decode::{self, Unknown};
use assistd::api::transcode::query::{self, FieldPath};
use serde_json::Value;

use super::{Oracle, Outcome, bytes, list, read, text};

#[test]
fn parameters_are_bound_as_the_vectors_say() {
    let Some(file) = read("query_binding.json") else {
        return;
    };
    let oracle = Oracle::read("query_vectors.binpb");
    let mut outcome = Outcome::of("query_binding");
    for case in list(&file, "cases") {
        let name: String = case["query"].to_string().chars().take(120).collect();
        let bound = case["fields_already_bound_by_path_or_body"]
            .to_string()
            .replace("null", "");
        let name = format!("{} {name}{bound}", text(case, "source"));
        outcome.add(name, query_case(&oracle, case));
    }
    outcome.settle();
}

fn query_case(oracle: &Oracle, case: &Value) -> Result<(), String> {
    let message = text(case, "message");
    let pairs = list(case, "query")
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let bound: Vec<FieldPath> = list(case, "fields_already_bound_by_path_or_body")
        .iter()
        .map(|path| FieldPath::resolve(&oracle.schema, oracle.id(message), path.as_str().unwrap()).unwrap())
        .collect();
    let bound: Vec<&[u32]> = bound.iter().map(|path| &*path.numbers).collect();
    let mut out = bytes(&case["initial"], "payload_base64");
    let result = query::bind(&oracle.schema, oracle.id(message), pairs, &bound, &mut out);
    match (result, text(case, "expect")) {
        (Err(_), "error") => Ok(()),
        (Ok(()), "error") => Err("bound, but should not".into()),
        (Err(violations), _) => Err(format!("{violations:?}")),
        (Ok(()), _) => {
            oracle.message(message, &out);
            oracle.compare(message, &out, &bytes(case, "payload_base64"))
        }
    }
}

#[test]
fn json_is_read_and_written_as_protobuf_has_it() {
    let Some(file) = read("protojson_conformance.json") else {
        return;
    };
    let oracle = Oracle::read("test_messages_proto3.binpb");
    let mut outcome = Outcome::of("protojson_conformance");
    for case in list(&file, "cases") {
        outcome.add(
            format!("{} {}", text(case, "name"), text(case, "kind")),
            json_case(&oracle, case),
        );
    }
    outcome.settle();
}

fn json_case(oracle: &Oracle, case: &Value) -> Result<(), String> {
    let message = text(case, "message");
    let kind = text(case, "kind");
    if kind == "serialize_error" {
        let printed = oracle.print(message, &bytes(case, "payload_base64"));
        return if printed.is_err() {
            Ok(())
        } else {
            Err(format!("printed {printed:?}"))
        };
    }
    let unknown = if case["ignore_unknown"] == true {
        Unknown::Ignore
    } else {
        Unknown::Refuse
    };
    let mut out = Vec::new();
    match decode::message(
        &oracle.schema,
        oracle.id(message),
        text(case, "input_json"),
        unknown,
        &mut out,
    ) {
        Err(_) if matches!(kind, "parse_error" | "ok_or_error") => return Ok(()),
        Err(problem) => return Err(format!("{}: {}", problem.field(), problem.text)),
        Ok(()) if kind == "parse_error" => return Err("read, but should not".into()),
        Ok(()) => {}
    }
    oracle.message(message, &out);
    let printed = oracle.print(message, &out)?;
    if kind == "output_validator" {
        return validator(text(case, "validator_cpp"), &printed);
    }
    oracle.compare(message, &out, &bytes(case, "payload_base64"))?;
    contains(&printed, &case["canonical_json"])?;
    let mut again = Vec::new();
    decode::message(
        &oracle.schema,
        oracle.id(message),
        &printed.to_string(),
        Unknown::Refuse,
        &mut again,
    )
    .map_err(|problem| format!("own output: {}: {}", problem.field(), problem.text))?;
    oracle.compare(message, &again, &bytes(case, "payload_base64"))
}

/// Every member of the expected JSON is there. (Fields without presence are there besides.)
fn contains(found: &Value, expected: &Value) -> Result<(), String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().try_for_each(|(name, expected)| {
                contains(found.get(name).unwrap_or(&Value::Null), expected)
                    .map_err(|problem| format!("{name}: {problem}"))
            })
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => found
            .iter()
            .zip(expected)
            .try_for_each(|(found, expected)| contains(found, expected)),
        (Value::Number(found), Value::Number(expected)) if close(found.as_f64(), expected.as_f64()) => Ok(()),
        (found, expected) if found == expected => Ok(()),
        _ => Err(format!("{found} instead of {expected}")),
    }
}

/// Some expected numbers are floats that were printed as doubles.
fn close(found: Option<f64>, expected: Option<f64>) -> bool {
    matches!((found, expected), (Some(a), Some(b)) if a == b || (a - b).abs() <= b.abs() * 1e-6)
}

/// Understands the few forms of checks that the suite writes in C++.
fn validator(check: &str, printed: &Value) -> Result<(), String> {
    let body = check
        .split_once("return ")
        .map_or(check, |(_, body)| body)
        .split(';')
        .next()
        .unwrap();
    for term in body.split("&&").map(str::trim) {
        let member = |open: &str| Some(term.split_once(open)?.1.split_once('"')?.0);
        let holds = if let Some(name) = member("isMember(\"") {
            printed.get(name).is_some() != term.starts_with('!')
        } else if term.ends_with(".empty()") {
            printed.as_object().is_some_and(serde_json::Map::is_empty)
        } else if let Some(name) = member("value[\"") {
            let value = &printed[name];
            match term.split_once("==").map(|(_, right)| right.trim()) {
                Some("Json::stringValue") => value.is_string(),
                Some("Json::intValue") => value.is_i64(),
                Some(right) => *value == serde_json::from_str::<Value>(right).unwrap(),
                None => return Err(format!("not understood: {term}")),
            }
        } else {
            return Err(format!("not understood: {term}"));
        };
        if !holds {
            return Err(format!("{term} does not hold"));
        }
    }
    Ok(())
}
