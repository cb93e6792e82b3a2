//! The OpenAPI document: that it says what the routes are, and that answers are as it says.

use std::collections::BTreeSet;

use assistd::simulator::Script;
use serde_json::{Value, json};

use crate::world::World;

async fn document(world: &World) -> Value {
    let response = reqwest::get(world.url("/openapi.json")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

/// A route as the golden table has it (`GET /v1/{name=threads/*}:x`), with its variables as plain segments. The document has no
/// other parameter for one that has several.
fn flattened(template: &str) -> String {
    let mut flat = String::new();
    for piece in template.split(['{', '}']) {
        flat.push_str(piece.split_once('=').map_or(piece, |(_, pattern)| pattern));
    }
    flat.replace("**", "*")
}

/// A path of the document, with its parameters as wildcards.
fn wild(path: &str) -> String {
    let pieces = path.split(['{', '}']).enumerate();
    pieces
        .map(|(place, piece)| if place % 2 == 1 { "*" } else { piece })
        .collect()
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let world = World::new(Script::stand_in()).await;
    let document = document(&world).await;
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, verbs)| {
            let verbs = verbs.as_object().unwrap().keys();
            verbs.map(|verb| (verb.to_uppercase(), wild(path)))
        })
        .collect();
    let golden = include_str!("routes.golden");
    let routes: BTreeSet<(String, String)> = golden
        .lines()
        .map(|line| {
            let (method, rest) = line.split_once(' ').unwrap();
            let (template, _) = rest.split_once(" -> ").unwrap();
            // The document has one kind of wildcard.
            (method.to_owned(), flattened(template).replace("**", "*"))
        })
        .collect();
    assert_eq!(described, routes);
    world.stopped().await;
}

#[tokio::test]
async fn references_lead_somewhere_and_operations_have_words() {
    let world = World::new(Script::stand_in()).await;
    let document = document(&world).await;
    let mut pending = vec![&document];
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                pending.extend(object.values());
            }
            Value::Array(items) => pending.extend(items),
            _ => {}
        }
    }
    let mut ids = BTreeSet::new();
    for operation in document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|verbs| verbs.as_object().unwrap().values())
    {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        assert!(
            !operation["description"].as_str().unwrap().is_empty(),
            "{id} has no words"
        );
    }
    world.stopped().await;
}

/// A validator for one component.
fn validator(document: &Value, component: &str) -> jsonschema::Validator {
    let schema = json!({
        "$ref": format!("#/components/schemas/{component}"),
        "components": document["components"],
    });
    jsonschema::validator_for(&schema).unwrap()
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let world = World::new(Script::stand_in()).await;
    let document = document(&world).await;
    let (_, chat) = world.post("/v1/chat", &json!({"message": "echo hi"})).await;
    let run = chat["run"].as_str().unwrap().to_owned();
    let thread = chat["thread"].as_str().unwrap().to_owned();
    let mut answers = vec![("ChatResponse", chat)];
    for (component, path) in [
        ("ListToolsResponse", "/v1/tools".to_owned()),
        ("HealthResponse", "/v1/health".to_owned()),
        ("ListThreadsResponse", "/v1/threads".to_owned()),
        ("ListMessagesResponse", format!("/v1/{thread}/messages")),
        ("Run", format!("/v1/{run}")),
        ("ListRunStepsResponse", format!("/v1/{run}/steps")),
        ("Error", "/v1/threads/thread_0".to_owned()),
        ("Error", "/v1/nowhere".to_owned()),
    ] {
        let answer = reqwest::get(world.url(&path))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answers.push((component, answer));
    }
    let watch = reqwest::get(world.url(&format!("/v1/{run}:watch")))
        .await
        .unwrap();
    let events = watch.text().await.unwrap();
    let events = events.lines().filter_map(|line| line.strip_prefix("data: "));
    answers.extend(events.map(|event| ("RunEvent", serde_json::from_str(event).unwrap())));
    assert!(answers.len() > 20);
    for (component, answer) in answers {
        let validator = validator(&document, component);
        let problems: Vec<String> = validator
            .iter_errors(&answer)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(problems, Vec::<String>::new(), "{component}: {answer}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn requests_have_examples_that_fit_and_fields_say_how_they_behave() {
    let world = World::new(Script::stand_in()).await;
    let document = document(&world).await;
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["ChatRequest"]["required"], json!(["message"]));
    assert_eq!(
        schemas["Thread"]["required"],
        Value::Null,
        "who makes a thread gives nothing that only the service can know"
    );
    let run = &schemas["Run"]["properties"];
    assert_eq!(
        (&run["state"]["readOnly"], &run["model"]["readOnly"]),
        (&json!(true), &Value::Null)
    );
    let operations = document["paths"].as_object().unwrap().values();
    let operations: Vec<&Value> = operations
        .flat_map(|verbs| verbs.as_object().unwrap().values())
        .collect();
    let mut bodies = 0;
    for operation in &operations {
        let id = &operation["operationId"];
        for status in ["400", "404", "413", "414", "415", "429", "501", "503", "504"] {
            let error = &operation["responses"][status]["$ref"];
            assert_eq!(error, "#/components/responses/Error", "{id} {status}");
        }
        let body = &operation["requestBody"]["content"]["application/json"];
        if body.is_null() {
            continue;
        }
        bodies += 1;
        let reference = body["schema"]["$ref"].as_str().unwrap();
        let component = reference.rsplit('/').next().unwrap();
        let problems: Vec<String> = validator(&document, component)
            .iter_errors(&body["example"])
            .map(|error| error.to_string())
            .collect();
        assert_eq!(problems, Vec::<String>::new(), "{id}: {}", body["example"]);
    }
    assert!(bodies > 5 && operations.len() > 30);
    for (id, resumes) in [("StreamChat", false), ("WatchRun", true)] {
        let stream = operations.iter().find(|one| one["operationId"] == id).unwrap();
        assert_eq!(stream["responses"]["204"].is_object(), resumes, "{id}");
        let content = stream["responses"]["200"]["content"].as_object().unwrap();
        let forms: Vec<&String> = content.keys().collect();
        assert_eq!(forms, ["text/event-stream", "application/x-ndjson"], "{id}");
        let event = &content["text/event-stream"]["schema"]["properties"];
        assert_eq!(
            event["data"]["contentSchema"], content["application/x-ndjson"]["schema"],
            "{id}"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn the_document_is_cached_by_its_tag_and_the_page_needs_nobody_else() {
    let world = World::new(Script::stand_in()).await;
    let client = reqwest::Client::new();
    for path in ["/openapi.json", "/docs"] {
        let first = client.get(world.url(path)).send().await.unwrap();
        let etag = first.headers()["etag"].clone();
        let policy = first.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"),
            "{policy}"
        );
        let again = client
            .get(world.url(path))
            .header("if-none-match", etag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 304);
        let head = client.head(world.url(path)).send().await.unwrap();
        assert_eq!(
            head.headers()["content-length"],
            first.headers()["content-length"]
        );
        let post = client.post(world.url(path)).send().await.unwrap();
        assert_eq!(
            (post.status().as_u16(), post.headers()["allow"].to_str().unwrap()),
            (405, "GET, HEAD, OPTIONS")
        );
    }
    world.stopped().await;
}
