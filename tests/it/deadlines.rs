//! Deadlines over HTTP/JSON and the legacy paths, for whole answers and for streams. (gRPC's are with the chats.)

use assistd::simulator::{Script, Turn};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::world::World;

/// Both headers; the one that is less counts.
const LEAST: [&[(&str, &str)]; 3] = [
    &[("x-server-timeout", "0.2")],
    &[("grpc-timeout", "200m")],
    &[("x-server-timeout", "30"), ("grpc-timeout", "200m")],
];

fn stuck() -> Script {
    Script::turns(std::iter::repeat_with(Turn::hang).take(LEAST.len()))
}

async fn post(world: &World, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let request = reqwest::Client::new().post(world.url(path));
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.json(&json!({"message": "slow"})).send().await.unwrap()
}

#[tokio::test]
async fn a_deadline_ends_an_answer_that_is_waited_for() {
    let world = World::new(stuck()).await;
    for headers in LEAST {
        let response = post(&world, "/v1/chat", headers).await;
        assert_eq!(response.status(), 504, "{headers:?}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["status"], "DEADLINE_EXCEEDED");
        assert_eq!(body["error"]["details"][0]["reason"], "DEADLINE_EXCEEDED");
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_deadline_ends_a_stream_with_an_error() {
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let world = World::new(stuck()).await;
        for headers in LEAST {
            let headers = [headers, &[("accept", accept)]].concat();
            let response = post(&world, "/v1/chat:stream", &headers).await;
            assert_eq!(response.status(), 200, "it had begun");
            let text = response.text().await.unwrap();
            let last = text.trim_end().lines().last().unwrap();
            let error: Value = serde_json::from_str(last.trim_start_matches("data: ")).unwrap();
            assert_eq!(error["error"]["code"], 504, "{text}");
            assert_eq!(error["error"]["status"], "DEADLINE_EXCEEDED");
            assert_eq!(text.contains("event: error\n"), accept == "text/event-stream");
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_deadline_counts_on_the_legacy_paths_too() {
    let world = World::new(stuck()).await;
    for headers in LEAST {
        let response = post(&world, "/assistant/chat", headers).await;
        assert_eq!(response.status(), 504, "{headers:?}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_any_longer() {
    let world = World::new(Script::stand_in()).await;
    for path in ["/v1/chat", "/v1/chat:stream", "/assistant/chat"] {
        let begun = futures::stream::iter([Ok::<_, std::io::Error>("{")]);
        let body = reqwest::Body::wrap_stream(begun.chain(futures::stream::pending()));
        let request = reqwest::Client::new()
            .post(world.url(path))
            .header("content-type", "application/json")
            .header("x-server-timeout", "0.2");
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 504, "{path}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused_by_every_door() {
    let world = World::new(Script::stand_in()).await;
    for (name, value) in [("x-server-timeout", "soon"), ("grpc-timeout", "1s")] {
        for (path, status) in [
            ("/v1/chat", 400),
            ("/v1/chat:stream", 400),
            ("/assistant/chat", 422),
        ] {
            let response = post(&world, path, &[(name, value)]).await;
            assert_eq!(response.status(), status, "{path} {name}");
            assert!(response.text().await.unwrap().contains(name), "{path} {name}");
        }
    }
    world.stopped().await;
}
