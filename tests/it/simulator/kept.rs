//! What the simulator keeps of Responses, and how it refuses for a while.

use assistd::simulator::{Script, Storm, Turn};
use serde_json::{Value, json};

use super::{client, post, simulator};
use crate::description::Provider;

async fn respond(simulator: &assistd::simulator::Simulator, body: Value) -> (u16, Value) {
    let answer = post(simulator, "/responses", &body).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_response_is_gone_on_from_until_it_is_deleted() {
    let tool = json!({"type": "function", "name": "echo", "parameters": null, "strict": null});
    let simulator = Provider::new(Script::stand_in()).await;
    let ask = |input: Value, previous: &Value| json!({"model": "m", "input": input, "previous_response_id": previous, "tools": [tool]});
    let (_, first) = respond(&simulator, ask(json!("echo hi"), &Value::Null)).await;
    let call = &first["output"][0]["call_id"];
    // The call is open: nothing but its output may follow.
    let (status, refused) = respond(&simulator, ask(json!("hello?"), &first["id"])).await;
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("input")));
    let output = json!([{"type": "function_call_output", "call_id": call, "output": "Echo: hi"}]);
    let (_, second) = respond(&simulator, ask(output, &first["id"])).await;
    assert_eq!(
        second["output"][0]["content"][0]["text"],
        "The tool answered: Echo: hi"
    );
    assert_eq!(second["previous_response_id"], first["id"]);
    assert!(second["usage"]["input_tokens"].as_u64() > first["usage"]["input_tokens"].as_u64());

    let url = format!(
        "{}/responses/{}",
        simulator.base_url(),
        second["id"].as_str().unwrap()
    );
    let fetched = client().get(&url).send().await.unwrap();
    assert_eq!(fetched.json::<Value>().await.unwrap()["output"], second["output"]);
    assert_eq!(client().delete(&url).send().await.unwrap().status(), 200);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 404);
    let (status, gone) = respond(&simulator, ask(json!("more"), &second["id"])).await;
    assert_eq!(
        (status, &gone["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
}

#[tokio::test]
async fn a_response_that_must_not_be_kept_is_not() {
    let simulator = simulator(Script::stand_in()).await;
    let body = json!({"model": "m", "input": "x", "store": false});
    let (_, first) = respond(&simulator, body).await;
    let more = json!({"model": "m", "input": "x", "previous_response_id": first["id"]});
    assert_eq!(respond(&simulator, more).await.0, 400);
}

#[tokio::test]
async fn a_storm_passes_and_uses_no_turn_up() {
    let storm = Storm {
        retry_after_ms: Some(20),
        ..Storm::of_requests(2)
    };
    let simulator = simulator(Script::turns([Turn::text("at last")]).storm(storm)).await;
    let body = json!({"model": "m", "input": "x"});
    for _ in 0..2 {
        let refused = post(&simulator, "/responses", &body).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(
            (
                &refused.headers()["retry-after"],
                &refused.headers()["retry-after-ms"]
            ),
            (&"1".parse().unwrap(), &"20".parse().unwrap())
        );
    }
    let (_, answer) = respond(&simulator, body).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "at last");
}
