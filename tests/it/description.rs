//! OpenAI's API description as a judge of requests and answers.
//!
//! Whatever a test has the service send to a provider is judged, and the test fails when something does not fit:
//! a [`Provider`] looks when it is dropped, and a server of a test's own asks a [`Judge`], which does the same.

mod provider;

pub use provider::{Bench, Judge, Provider};

use std::sync::{Arc, OnceLock};

use assistd::simulator::Description;
use serde_json::Value;

const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/openai/openapi.json");

/// The fields, parameters and parts of messages that requests have beyond the description, with the reason.
const DEVIATIONS: [(&str, &str); 5] = [
    (
        "top_k",
        "stands for what a provider has of its own, and callers pass on",
    ),
    ("min_p", "the same"),
    (
        "thinking",
        "what Mistral's models were thinking, which is given back as it came",
    ),
    (
        "api-version",
        "what Azure wants in every address, and operators put into base URLs",
    ),
    ("key", "what some gateways want there"),
];

/// The description, or `None` with a loud note where it does not lie beside the project.
pub fn description() -> Option<Arc<Description>> {
    static READ: OnceLock<Option<Arc<Description>>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string(DESCRIPTION).ok()?;
        let mut description = Description::read(&text).expect("a description");
        for (field, _) in DEVIATIONS {
            description = description.allowing(field);
        }
        Some(Arc::new(description))
    };
    let description = READ.get_or_init(read).clone();
    if description.is_none() {
        crate::skip::not_compared(
            "OpenAI's description is not beside the project: nothing is validated against it",
        );
    }
    description
}

/// Panics with every error when the value does not fit the schema of this name.
pub fn assert_fits(description: &Description, name: &str, value: &Value) {
    if let Err(problem) = description.fits(name, value) {
        panic!("{problem}");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use assistd::simulator::Script;
    use serde_json::json;

    use super::*;

    fn complaint(act: impl FnOnce()) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(act)).err()?;
        panic.downcast::<String>().ok().map(|text| *text)
    }

    #[tokio::test]
    async fn whoever_drops_a_provider_hears_what_did_not_fit() {
        if description().is_none() {
            return;
        }
        let table = [
            (
                "/responses",
                json!({"model": "m", "input": "x", "top_k": 3}),
                None,
            ),
            (
                "/responses",
                json!({"model": "m", "input": "x", "temprature": 1}),
                Some("temprature"),
            ),
            ("/responses", json!({"model": "m", "input": 1}), Some("/input")),
            (
                "/chat/completions",
                json!({"model": "m", "messages": []}),
                Some("/messages"),
            ),
            (
                "/chat/completions?n=1",
                json!({"model": "m", "messages": []}),
                Some("the parameter n"),
            ),
            ("/threads/runs", json!({"thread": {}}), Some("assistant_id")),
        ];
        for (path, body, expected) in table {
            let provider = Provider::new(Script::stand_in()).await;
            let sent = crate::simulator::client().post(format!("{}{path}", provider.base_url()));
            sent.json(&body).send().await.unwrap();
            let by_provider = complaint(|| drop(provider));
            let judge = Judge::default();
            judge
                .bench()
                .request(&format!("post /v1{path} http/1.1"), body.to_string().as_bytes());
            let by_judge = complaint(|| drop(judge));
            for complaint in [by_provider, by_judge] {
                assert_eq!(complaint.is_some(), expected.is_some(), "{body}: {complaint:?}");
                let complaint = complaint.unwrap_or_default();
                assert!(
                    complaint.contains(expected.unwrap_or_default()),
                    "{body}: {complaint}"
                );
            }
        }
    }
}
