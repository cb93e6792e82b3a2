//! Cases taken from other transcoders and from protobuf, read as data.
//!
//! The folder is named by `ASSISTD_VECTORS`, or is `../shared/vectors`. Every case passes, or stands in
//! `vectors/deviations.txt` with the rule of the contract that decides otherwise; a deviation that
//! passes is a failure too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use assistd::api::transcode::decode::{self, Unknown};
use assistd::api::transcode::print;
use assistd::api::transcode::query::{self, FieldPath, Plus};
use assistd::api::transcode::route::{Found, Router, capture};
use assistd::api::transcode::schema::{MessageId, Schema};
use assistd::api::transcode::template::{Segment, Template};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

const DEVIATIONS: &str = include_str!("vectors/deviations.txt");

fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSISTD_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    crate::skip::skipped(&format!(
        "no vectors: {} is not a folder (set ASSISTD_VECTORS)",
        folder.display()
    ));
    None
}

fn read(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder()?.join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_default()
}

fn list<'v>(case: &'v Value, key: &str) -> &'v [Value] {
    case[key].as_array().map_or(&[], Vec::as_slice)
}

/// What came out of the cases of one file.
struct Outcome {
    file: &'static str,
    seen: BTreeSet<String>,
    failed: BTreeMap<String, String>,
}

impl Outcome {
    fn of(file: &'static str) -> Self {
        Self {
            file,
            seen: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    fn add(&mut self, case: String, result: Result<(), String>) {
        if let Err(problem) = result {
            self.failed.insert(case.clone(), problem);
        }
        self.seen.insert(case);
    }

    /// Fails unless the failed cases are exactly those that are listed.
    fn settle(self) {
        let listed: BTreeSet<&str> = DEVIATIONS
            .lines()
            .filter_map(|line| line.split(" | ").collect::<Vec<_>>().try_into().ok())
            .filter_map(|[file, case, reason]: [&str; 3]| {
                assert!(!reason.trim().is_empty(), "{case} deviates without a reason");
                (file == self.file).then_some(case)
            })
            .collect();
        let unlisted: Vec<_> = self
            .failed
            .iter()
            .filter(|(case, _)| !listed.contains(&***case))
            .collect();
        assert!(
            unlisted.is_empty(),
            "{}: {} cases failed: {unlisted:#?}",
            self.file,
            unlisted.len()
        );
        let stale: Vec<_> = listed
            .iter()
            .filter(|case| self.seen.contains(**case) && !self.failed.contains_key(**case))
            .collect();
        assert!(
            stale.is_empty(),
            "{}: listed as deviations, but they pass: {stale:#?}",
            self.file
        );
        assert!(!self.seen.is_empty(), "{} has no cases", self.file);
    }
}

#[test]
fn templates_are_valid_or_not_as_the_vectors_say() {
    let Some(file) = read("path_template_parse.json") else {
        return;
    };
    let mut outcome = Outcome::of("path_template_parse");
    for case in list(&file, "cases") {
        outcome.add(text(case, "template").to_owned(), template_case(case));
    }
    outcome.settle();
}

fn template_case(case: &Value) -> Result<(), String> {
    let valid = case["valid"].as_bool().unwrap_or_default();
    let template = match Template::parse(text(case, "template")) {
        Err(_) if !valid => return Ok(()),
        Err(error) => return Err(format!("{error}")),
        Ok(_) if !valid => return Err("taken, but not valid".into()),
        Ok(template) => template,
    };
    if !case["segments"].is_null() {
        let segments: Vec<_> = template.segments.iter().map(Segment::text).collect();
        if list(case, "segments") != segments {
            return Err(format!("segments {segments:?}"));
        }
    }
    if case["verb"]
        .as_str()
        .is_some_and(|verb| verb != template.verb.as_deref().unwrap_or_default())
    {
        return Err(format!("verb {:?}", template.verb));
    }
    for (variable, expected) in template.variables.iter().zip(list(case, "variables")) {
        let is_open = template.segments[variable.end - 1] == Segment::Rest;
        let end = if is_open {
            -1
        } else {
            i64::try_from(variable.end).unwrap()
        };
        if variable.path.join(".") != text(expected, "field_path")
            || expected["start"] != variable.start
            || expected["end"] != end
        {
            return Err(format!("{variable:?}"));
        }
    }
    let expected = list(case, "variables").len().max(list(case, "field_paths").len());
    if !(case["variables"].is_null() && case["field_paths"].is_null()) && expected != template.variables.len()
    {
        return Err(format!("{} variables", template.variables.len()));
    }
    Ok(())
}

#[test]
fn paths_lead_where_the_vectors_say() {
    let Some(file) = read("path_match.json") else {
        return;
    };
    let mut outcome = Outcome::of("path_match");
    for group in list(&file, "groups") {
        let mut router = Router::default();
        for route in list(group, "routes") {
            // What is not a template here is a deviation of its own, and so is what should lead to it.
            if let Ok(template) = Template::parse(text(route, "template")) {
                let value = (template.clone(), text(route, "template").to_owned());
                router
                    .add(text(route, "method").parse().unwrap(), &template, value)
                    .unwrap();
            }
        }
        for case in list(group, "cases") {
            let generator = &case["path_generator"];
            let path = match generator["count"].as_u64() {
                Some(count) => {
                    let middle = text(generator, "repeat").repeat(usize::try_from(count).unwrap());
                    [text(generator, "prefix"), &middle, text(generator, "suffix")].concat()
                }
                None => text(case, "path").to_owned(),
            };
            let query = case["query"]
                .as_str()
                .map(|query| format!("?{query}"))
                .unwrap_or_default();
            let shown: String = path.chars().take(120).collect();
            let name = format!("{} {} {shown}{query}", text(group, "source"), text(group, "test"));
            outcome.add(name, match_case(&router, group, case, &path));
        }
    }
    outcome.settle();
}

fn match_case(
    router: &Router<(Template, String)>,
    group: &Value,
    case: &Value,
    path: &str,
) -> Result<(), String> {
    let named = case["method"].as_str().map(|method| vec![method]);
    let methods = named.unwrap_or_else(|| {
        list(group, "methods_registered")
            .iter()
            .filter_map(Value::as_str)
            .collect()
    });
    let expected = case["expect_template"].as_str();
    for method in methods {
        let mut segments = Vec::new();
        let found = router.find(&method.parse().unwrap(), path, &mut segments);
        let Found::Route((template, text)) = found else {
            if expected.is_some() {
                return Err(format!("{method}: {found:?}"));
            }
            continue;
        };
        if Some(&**text) != expected {
            return Err(format!("{method}: led to {text}"));
        }
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for variable in &template.variables {
            let value = capture(variable, template, &segments).map_err(|error| error.to_string())?;
            values.insert(variable.path.join("."), value.into_owned());
        }
        let plus = match group["options"]["query_param_unescape_plus"].as_bool() {
            Some(true) => Plus::Space,
            _ => Plus::Literal,
        };
        for (name, value) in query::pairs(case["query"].as_str().unwrap_or_default(), plus).unwrap() {
            values.insert(name.into_owned(), value.into_owned());
        }
        if let Some(expected) = case["expect_vars"].as_object() {
            let expected: BTreeMap<_, _> = expected
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            if values != expected {
                return Err(format!("{method}: {values:?}"));
            }
        }
        let texts: Vec<_> = values.values().map(String::as_str).collect();
        if !case["expect_var_values"].is_null() && list(case, "expect_var_values") != texts {
            return Err(format!("{method}: {texts:?}"));
        }
    }
    for method in list(group, "methods_that_must_not_match")
        .iter()
        .filter_map(Value::as_str)
    {
        if matches!(
            router.find(&method.parse().unwrap(), path, &mut Vec::new()),
            Found::Route(_)
        ) {
            return Err(format!("{method} led somewhere"));
        }
    }
    Ok(())
}

#[test]
fn escapes_survive_as_the_vectors_say() {
    let Some(file) = read("path_match.json") else {
        return;
    };
    let mut outcome = Outcome::of("escaping_roundtrip");
    for case in list(&file["escaping_roundtrip"], "cases") {
        let (input, mode) = (text(case, "input"), text(case, "mode"));
        let template = Template::parse(if mode == "single" { "/{x}" } else { "/{x=**}" }).unwrap();
        let decoded = capture(&template.variables[0], &template, &[input]);
        let expected = text(case, "decoded");
        let result = if decoded.as_deref() == Ok(expected) {
            Ok(())
        } else {
            Err(format!("{decoded:?}"))
        };
        outcome.add(format!("{mode} {input}"), result);
    }
    outcome.settle();
}

/// A schema out of the vectors, with what decodes its messages independently of the code under test.
struct Oracle {
    pool: DescriptorPool,
    schema: Schema,
}

impl Oracle {
    fn read(name: &str) -> Self {
        let bytes = std::fs::read(folder().unwrap().join("protos").join(name)).unwrap();
        let pool = DescriptorPool::decode(&*bytes).unwrap();
        Self {
            schema: Schema::new(&pool),
            pool,
        }
    }

    fn id(&self, message: &str) -> MessageId {
        self.schema.find(message).unwrap()
    }

    /// Decodes and encodes again, so that equal messages have equal bytes (but for maps' order).
    fn message(&self, name: &str, bytes: &[u8]) -> DynamicMessage {
        DynamicMessage::decode(self.pool.get_message_by_name(name).unwrap(), bytes).unwrap()
    }

    fn print(&self, name: &str, bytes: &[u8]) -> Result<Value, String> {
        let mut json = Vec::new();
        print::message(&self.schema, self.id(name), bytes, &mut json).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&json)))
    }

    /// The bytes hold the expected message, in every field.
    fn compare(&self, name: &str, bytes: &[u8], expected: &[u8]) -> Result<(), String> {
        let (found, expected) = (self.print(name, bytes)?, self.print(name, expected)?);
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found} instead of {expected}"))
        }
    }
}

fn bytes(case: &Value, key: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text(case, key)).unwrap()
}

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

#[test]
fn codes_become_statuses_as_the_vectors_say() {
    let Some(file) = read("status_codes.json") else {
        return;
    };
    let mut outcome = Outcome::of("status_codes");
    for case in list(&file, "cases") {
        let code = tonic::Code::from_i32(i32::try_from(case["code"].as_i64().unwrap()).unwrap());
        let status = assistd::api::transcode::http_status(code).as_u16();
        let name = assistd::api::transcode::code::name(code);
        let ok = case["http"] == status && case["name"] == name;
        outcome.add(
            text(case, "name").to_owned(),
            if ok {
                Ok(())
            } else {
                Err(format!("{name} {status}"))
            },
        );
    }
    outcome.settle();
}
