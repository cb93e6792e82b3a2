//! Servers that ask models.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use assistd::run::error::{Error, Reason};
use assistd::run::event::Progress;
use assistd::run::ports::{Caller, Finish, Toolbox};
use assistd::run::sampling::{Sampled, Sampling};
use serde_json::{Map, Value, json};

use super::peer::{Listening, Seen};
use super::{loopback, pool, tool_of};

/// A caller whose model is well, or who refuses; remembers what was asked.
#[derive(Default)]
struct Answering {
    refuses: bool,
    asked: Mutex<Vec<Sampling>>,
}

#[async_trait::async_trait]
impl Caller for Answering {
    fn progress(&self, _: Progress) {}

    async fn sample(&self, sampling: Sampling) -> Result<Sampled, Error> {
        self.asked.lock().unwrap().push(sampling);
        match self.refuses {
            true => Err(Error::new(Reason::PermissionDenied, "not today")),
            false => Ok(Sampled {
                text: "well".into(),
                model: "m".into(),
                finish: Finish::Length,
            }),
        }
    }
}

/// What the tool says that asks a model, over a server of this era with this policy; and what was asked.
async fn said(
    is_old: bool,
    policy: Option<Value>,
    arguments: Value,
    refuses: bool,
) -> (String, Vec<Sampling>) {
    let seen = Arc::<Seen>::default();
    seen.is_old.store(is_old, Ordering::SeqCst);
    seen.has_asking.store(true, Ordering::SeqCst);
    let server = Listening::start(loopback(), &seen).await;
    let mut entry = json!({"url": server.url()});
    if let Some(policy) = policy {
        entry["sampling"] = policy;
    }
    let pool = pool(json!({"a": entry})).await;
    let caller = Arc::new(Answering {
        refuses,
        ..Answering::default()
    });
    let arguments: Map<String, Value> = serde_json::from_value(arguments).unwrap();
    let output = pool
        .call(&tool_of(&pool, "a__sample"), arguments, caller.clone())
        .await;
    pool.shutdown().await;
    let asked = std::mem::take(&mut *caller.asked.lock().unwrap());
    (output.expect("an output").text(), asked)
}

#[tokio::test]
async fn a_server_is_answered_as_the_operator_allows_in_both_eras() {
    let allow = || Some(json!({"allow": "allow", "model": "small", "max_tokens": 20}));
    let none = "this service does not ask models for tools";
    for (is_old, policy, expected, asks_first) in [
        (true, None, none, None),
        (false, None, none, None),
        (true, Some(json!({"allow": "deny"})), none, None),
        (true, allow(), r#""assistant" "well" "maxTokens""#, Some(false)),
        (false, allow(), r#""assistant" "well" "maxTokens""#, Some(false)),
        (
            true,
            Some(json!({"allow": "ask"})),
            r#""assistant" "well" "maxTokens""#,
            Some(true),
        ),
    ] {
        let is_allowed = asks_first.is_some();
        let (text, asked) = said(is_old, policy.clone(), json!({}), false).await;
        assert!(text.contains(expected), "old: {is_old}, {policy:?}: {text}");
        assert!(
            !is_old || text.ends_with(&format!("declared: {is_allowed}")),
            "{text}"
        );
        let expected: Vec<bool> = asks_first.into_iter().collect();
        assert_eq!(
            asked.iter().map(|one| one.asks_first).collect::<Vec<_>>(),
            expected
        );
        if policy == allow() {
            let (model, most) = (asked[0].model.as_str(), asked[0].max_tokens);
            assert_eq!(
                (model, most, asked[0].system_prompt.as_str()),
                ("small", 20, "Be kind.")
            );
        }
    }
}

#[tokio::test]
async fn a_server_is_told_when_it_is_refused_or_has_asked_enough() {
    let twice = json!({"allow": "allow", "max_requests": 2});
    let (text, asked) = said(true, Some(twice), json!({"times": 3}), false).await;
    assert_eq!(text.matches("\"well\"").count(), 2, "{text}");
    assert!(text.contains("more than 2 answers during one call"), "{text}");
    assert_eq!(asked.len(), 2);
    let allow = || Some(json!({"allow": "allow"}));
    let (text, _) = said(true, allow(), json!({}), true).await;
    assert!(text.contains("not today"), "{text}");
    let (text, _) = said(false, allow(), json!({}), true).await;
    assert_eq!(
        text,
        "the tool asks for a model's answer and is not given it: not today"
    );
}
