//! Recording what a provider says, and answering from the recording.

use std::path::Path;

use assistd::config;
use assistd::simulator::{At, Fault, Player, Recorder, Script, Simulator, Timing, Turn};
use serde_json::{Value, json};

use super::{Dialect, client, post, simulator};
use crate::description::Provider;
use crate::world::{PATIENCE, World};

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
fn kept(answer: &reqwest::Response) -> [Option<String>; 5] {
    [
        "retry-after",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
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
        .header("X-RateLimit-Remaining", "0")
        .header("X-RateLimit-Reset", "4102444800000")
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
    let limits = ["7", "0", "6m0s", "0", "4102444800000"].map(|value| Some(value.to_owned()));
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

#[tokio::test]
async fn a_request_is_passed_on_with_all_that_is_not_of_its_connection_and_no_key_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("upstream.jsonl");
    let upstream = simulator(Script::stand_in().recording()).await;
    let address = format!(
        "{}?api-version=2025-01-01&sig=sk-of-upstream",
        upstream.base_url()
    );
    let recorder = Recorder::new(&address, &file).unwrap();
    let recorder = Simulator::record(([127, 0, 0, 1], 0).into(), recorder)
        .await
        .unwrap();
    let body = Dialect::Chat.request("hello", true);
    let asked = |base: &str, key: &str| {
        client()
            .post(format!("{base}/chat/completions?api-key={key}&tenant=7"))
            .header("authorization", "Bearer sk-in-header")
            .header("x-of-ours", "one")
            .header("x-of-ours", "two")
            .header("connection", "x-for-the-next")
            .header("x-for-the-next", "1")
            .header("proxy-authorization", "Basic sk-of-proxy")
            .header("accept-encoding", "gzip")
            .json(&body)
            .send()
    };
    let answer = asked(&recorder.base_url(), "sk-in-query").await.unwrap();
    assert_eq!(answer.status(), 200);
    let said = answer.text().await.unwrap();
    let request = upstream.requests().pop().unwrap();
    assert_eq!(
        request.query,
        "api-version=2025-01-01&sig=sk-of-upstream&api-key=sk-in-query&tenant=7"
    );
    let values = |name: &str| {
        let values = request.headers.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let address = upstream.base_url();
    let host = address.trim_start_matches("http://").trim_end_matches("/v1");
    let length = body.to_string().len().to_string();
    for (name, expected) in [
        ("authorization", "Bearer sk-in-header"),
        ("x-of-ours", "one, two"),
        ("host", host),
        ("content-length", &length),
        ("connection", ""),
        ("x-for-the-next", ""),
        ("proxy-authorization", ""),
        ("accept-encoding", ""),
    ] {
        assert_eq!(values(name), expected, "{name}");
    }
    drop((recorder, upstream));

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("sk-"), "{text}");
    let player = replaying(&text).await;
    let again = asked(&player.base_url(), "another").await.unwrap();
    assert_eq!(
        (again.status().as_u16(), again.text().await.unwrap()),
        (200, said)
    );
}

/// What callers of a service with this provider get to hear: a tool is called, and then there is another chat.
async fn conversation(base_url: String, dialect: config::Dialect) -> Vec<Value> {
    let world = World::with(Script::turns([]), |config| {
        let model = &mut config.model;
        model.dialect = Some(dialect);
        model.endpoint.base_url = Some(base_url);
        model.endpoint.api_key = Some(config::Secret::new("sk-very-secret"));
    })
    .await;
    let (status, first) = world.post("/v1/chat", &json!({"message": "echo hello"})).await;
    assert_eq!(status, 200, "{dialect:?}: {first}");
    let again = json!({"message": "and now?", "thread": first["thread"]});
    let (status, second) = world.post("/v1/chat", &again).await;
    assert_eq!(status, 200, "{dialect:?}: {second}");
    world.stopped().await;
    let heard = |answer: &Value| json!([answer["response"], answer["usage"]]);
    vec![heard(&first), heard(&second)]
}

#[tokio::test]
async fn a_service_hears_the_same_of_the_recording_as_of_the_provider() {
    use config::Dialect::{Assistants, ChatCompletions, Responses};
    for dialect in [Responses, ChatCompletions, Assistants] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("upstream.jsonl");
        let upstream = Provider::new(Script::stand_in().recording()).await;
        let recorder = recording(&upstream, &file).await;
        let heard = conversation(recorder.base_url(), dialect).await;
        assert_eq!(
            [&heard[0][0], &heard[1][0]],
            ["The tool answered: Echo: hello", "Mock reply to: and now?"],
            "{dialect:?}"
        );
        // A line is written when the end of its answer has been passed on, which nobody may wait for.
        let written = async || loop {
            let text = std::fs::read_to_string(&file).unwrap();
            if text.lines().count() >= upstream.requests().len() {
                break text;
            }
            tokio::task::yield_now().await;
        };
        let text = tokio::time::timeout(PATIENCE, written()).await.unwrap();
        drop((recorder, upstream));
        assert!(!text.contains("sk-very-secret"), "{dialect:?}");

        let player = replaying(&text).await;
        let again = conversation(player.base_url(), dialect).await;
        assert_eq!(again, heard, "{dialect:?}");
    }
}
