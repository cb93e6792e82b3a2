//! Path templates, and where paths lead.

use std::collections::BTreeMap;

use assistd::api::transcode::query::{self, Plus};
use assistd::api::transcode::route::{Found, Router, capture};
use assistd::api::transcode::template::{Segment, Template};
use serde_json::Value;

use super::{Outcome, list, read, text};

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
