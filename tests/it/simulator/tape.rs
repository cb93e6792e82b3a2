//! Recording what a provider says, and answering from the recording.

use std::path::Path;

use assistd::simulator::{At, Fault, Player, Recorder, Script, Simulator, Timing, Turn};
use serde_json::{Value, json};

use super::{Dialect, client, post, simulator};

async fn recording(upstream: &Simulator, file: &Path) -> Simulator {
    let recorder = Recorder::new(&upstream.base_url(), file).unwrap();
    Simulator::record(([127, 0, 0, 1], 0).into(), recorder)
        .await
        .unwrap()
}

async fn replaying(text: &str) -> Simulator {
    let player = Player::read(text, Timing::AtOnce).unwrap();
    Simulator::replay(([127, 0, 0, 1], 0).into(), player)
        .await
        .unwrap()
}

/// What a client goes by when it is to wait.
fn kept(answer: &reqwest::Response) -> [Option<String>; 3] {
    [
        "retry-after",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ]
    .map(|name| {
        let value = answer.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    })
}

#[tokio::test]
async fn what_was_recorded_is_answered_again_without_the_provider_or_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("upstream.jsonl");
    let limited = Turn::status(429)
        .header("retry-after", "7")
        .header("x-ratelimit-remaining-tokens", "0")
        .header("x-ratelimit-reset-tokens", "6m0s")
        .when_user("limit")
        .times(1);
    let upstream = simulator(Script::turns([limited]).recording()).await;
    let recorder = recording(&upstream, &file).await;
    let asked = [
        ("/responses", Dialect::Responses.request("hé", true)),
        ("/responses", Dialect::Responses.request("hé", false)),
        ("/chat/completions", Dialect::Chat.request("limit", true)),
        ("/chat/completions", Dialect::Chat.request("limit", true)),
    ];
    let mut said = Vec::new();
    for (path, body) in &asked {
        let request = client()
            .post(format!("{}{path}", recorder.base_url()))
            .header("authorization", "Bearer sk-very-secret")
            .json(body);
        let answer = request.send().await.unwrap();
        said.push((answer.status(), kept(&answer), answer.text().await.unwrap()));
    }
    assert_eq!(said[2].0, 429);
    let limits = [Some("7"), Some("0"), Some("6m0s")].map(|value| value.map(str::to_owned));
    assert_eq!(said[2].1, limits);
    assert_eq!(
        upstream.requests()[0].headers["authorization"],
        "Bearer sk-very-secret"
    );
    drop((recorder, upstream));

    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 4);
    assert!(!text.contains("sk-very-secret"));
    let player = replaying(&text).await;
    for ((path, body), expected) in asked.iter().zip(&said) {
        let answer = post(&player, path, body).await;
        let seen = (answer.status(), kept(&answer), answer.text().await.unwrap());
        assert_eq!(&seen, expected);
    }
    // Once more: the last of equal ones.
    let again = post(&player, "/chat/completions", &asked[3].1).await;
    assert_eq!(again.text().await.unwrap(), said[3].2);
}

#[tokio::test]
async fn a_request_that_was_not_recorded_is_told_what_is_different() {
    let line = json!({
        "request": {"method": "POST", "path": "/responses", "body": {"model": "m", "input": "x"}},
        "response": {"status": 200, "headers": [], "chunks": []},
    });
    let player = replaying(&format!("{line}\n\n")).await;
    let answer = post(&player, "/responses", &json!({"model": "m", "input": "y"})).await;
    assert_eq!(answer.status(), 404);
    let error: Value = answer.json().await.unwrap();
    assert_eq!(error["error"]["code"], "not_recorded");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(r#"/input is "y" instead of "x""#), "{message}");
    assert!(
        Player::read("{}", Timing::AtOnce)
            .unwrap_err()
            .starts_with("line 1: ")
    );
}

#[tokio::test]
async fn a_connection_that_broke_breaks_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("upstream.jsonl");
    let upstream = simulator(Script::turns([
        Turn::text(["a ", "b"]).fault(Fault::Cut(At::Deltas(1)))
    ]))
    .await;
    let recorder = recording(&upstream, &file).await;
    let request = Dialect::Chat.request("x", true);
    assert!(
        post(&recorder, "/chat/completions", &request)
            .await
            .bytes()
            .await
            .is_err()
    );
    drop(recorder);
    let player = replaying(&std::fs::read_to_string(&file).unwrap()).await;
    assert!(
        post(&player, "/chat/completions", &request)
            .await
            .bytes()
            .await
            .is_err()
    );
}
