//! Conversations at the simulator.

use assistd::simulator::{Finish, Script, Turn};
use serde_json::{Value, json};

use super::{client, post};
use crate::description::Provider;

async fn made(simulator: &Provider, path: &str, body: Value) -> (u16, Value) {
    let answer = post(simulator, path, &body).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn got(simulator: &Provider, path: &str) -> (u16, Value) {
    let answer = client()
        .get(format!("{}{path}", simulator.base_url()))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn types(list: &Value) -> Vec<&str> {
    let items = list["data"].as_array().unwrap().iter();
    items.map(|item| item["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_conversation_has_what_was_said_in_it_and_a_model_reads_all_of_it() {
    let tool = json!({"type": "function", "name": "echo", "parameters": null, "strict": null});
    let simulator = Provider::new(Script::stand_in()).await;
    let hello = json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]);
    let new = json!({"metadata": {"a": "b"}, "items": hello});
    let (status, conversation) = made(&simulator, "/conversations", new).await;
    assert_eq!((status, &conversation["metadata"]), (200, &json!({"a": "b"})));
    let id = conversation["id"].as_str().unwrap();
    let ask = |input: Value, name: Value| json!({"model": "m", "input": input, "conversation": name, "tools": [tool]});
    // By its name and as an object.
    let (_, first) = made(&simulator, "/responses", ask(json!("echo hi"), json!(id))).await;
    assert_eq!(first["conversation"], json!({"id": id}));
    let (status, refused) = made(&simulator, "/responses", ask(json!("hello?"), json!({"id": id}))).await;
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("input")));
    let call = &first["output"][0]["call_id"];
    let output = json!([{"type": "function_call_output", "call_id": call, "output": "Echo: hi"}]);
    let (_, second) = made(&simulator, "/responses", ask(output, json!({"id": id}))).await;
    assert_eq!(
        second["output"][0]["content"][0]["text"],
        "The tool answered: Echo: hi"
    );
    assert!(second["usage"]["input_tokens"].as_u64() > first["usage"]["input_tokens"].as_u64());

    let path = format!("/conversations/{id}");
    assert_eq!(got(&simulator, &path).await.1, conversation);
    let (_, all) = got(&simulator, &format!("{path}/items?order=asc")).await;
    assert_eq!(
        types(&all),
        [
            "message",
            "message",
            "message",
            "function_call",
            "function_call_output",
            "message"
        ]
    );
    let (_, newest) = got(&simulator, &format!("{path}/items?limit=1")).await;
    assert_eq!(
        (&newest["data"][0], &newest["has_more"]),
        (&second["output"][0], &json!(true))
    );

    let url = format!("{}{path}", simulator.base_url());
    assert_eq!(client().delete(&url).send().await.unwrap().status(), 200);
    assert_eq!(got(&simulator, &path).await.0, 404);
    let (status, gone) = made(&simulator, "/responses", ask(json!("more"), json!(id))).await;
    let expected = format!("Conversation with id '{id}' not found.");
    assert_eq!((status, &gone["error"]["message"]), (404, &json!(expected)));
}

#[tokio::test]
async fn what_failed_is_no_part_of_a_conversation_and_nobody_goes_on_from_two_places() {
    let failed = Turn::say([]).finish(Finish::Failed).times(1);
    let simulator = Provider::new(Script::turns([failed])).await;
    let (_, conversation) = made(&simulator, "/conversations", json!({})).await;
    let id = &conversation["id"];
    let ask = json!({"model": "m", "input": "x", "conversation": id, "store": false});
    assert_eq!(
        made(&simulator, "/responses", ask.clone()).await.1["status"],
        "failed"
    );
    let items = format!("/conversations/{}/items", id.as_str().unwrap());
    assert_eq!(types(&got(&simulator, &items).await.1), [""; 0]);
    let (_, first) = made(&simulator, "/responses", ask).await;
    assert_eq!(types(&got(&simulator, &items).await.1), ["message", "message"]);
    let both = json!({"model": "m", "input": "x", "conversation": id, "previous_response_id": first["id"]});
    let (status, refused) = made(&simulator, "/responses", both).await;
    assert_eq!(
        (status, &refused["error"]["param"]),
        (400, &json!("conversation"))
    );
    // What OpenAI does not describe is asked of one that is not judged for it.
    let simulator = super::simulator(Script::stand_in()).await;
    let many: Vec<Value> = (0..21).map(|_| json!({"role": "user", "content": "x"})).collect();
    let answer = post(&simulator, "/conversations", &json!({"items": many})).await;
    assert_eq!(answer.status(), 400);
}
