//! Codes and statuses, and what headers say of time.

use std::time::Duration;

use assistd::api::deadline;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Outcome, list, read, text};

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

#[test]
fn timeouts_are_read_as_the_vectors_say() {
    let Some(file) = read("timeouts.json") else {
        return;
    };
    let mut outcome = Outcome::of("timeouts");
    for case in list(&file, "cases") {
        let name = format!("{} {}", text(case, "header"), text(case, "value"));
        outcome.add(name, timeout_case(case));
    }
    outcome.settle();
}

fn timeout_case(case: &Value) -> Result<(), String> {
    let name: HeaderName = text(case, "header").parse().unwrap();
    let value = HeaderValue::from_str(text(case, "value")).unwrap();
    let read = deadline::timeout(&HeaderMap::from_iter([(name, value)]), Duration::MAX);
    match (read, case["valid"] == true) {
        (Err(_), false) => Ok(()),
        (Ok(timeout), true) if case["ns"].as_u64().map(u128::from) == Some(timeout.as_nanos()) => Ok(()),
        (read, _) => Err(format!("{read:?}")),
    }
}
