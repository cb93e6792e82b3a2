//! Assistants over the wire, and what runs get from them.

use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};

use crate::world::World;

async fn send(world: &World, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method.parse().unwrap(), world.url(path));
    let request = match body {
        Value::Null => request,
        body => request.json(body),
    };
    let response = request.send().await.unwrap();
    (
        response.status().as_u16(),
        response.json().await.unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn an_assistant_is_made_changed_and_deleted() {
    let world = World::new(Script::stand_in()).await;
    let (status, created) = world
        .post("/v1/assistants", &json!({"displayName": "Clerk"}))
        .await;
    assert_eq!(status, 200, "{created}");
    let path = format!("/v1/{}", created["name"].as_str().unwrap());
    let (status, got) = send(&world, "GET", &path, &Value::Null).await;
    assert_eq!((status, &got), (200, &created));

    let change = json!({"description": "Keeps the books", "etag": created["etag"]});
    let (_, changed) = send(&world, "PATCH", &path, &change).await;
    assert_eq!(
        (&changed["displayName"], &changed["description"]),
        (&json!("Clerk"), &json!("Keeps the books"))
    );
    let (status, stale) = send(&world, "PATCH", &path, &change).await;
    assert_eq!((status, &stale["error"]["status"]), (409, &json!("ABORTED")));
    let mask = format!("{path}?updateMask=displayName,limits");
    let (_, cleared) = send(&world, "PATCH", &mask, &json!({"limits": {"maxTurns": 2}})).await;
    assert_eq!(
        (&cleared["displayName"], &cleared["limits"]["maxTurns"]),
        (&json!(""), &json!(2))
    );
    let mask = format!("{path}?updateMask=*");
    let (status, replaced) = send(&world, "PATCH", &mask, &json!({"displayName": "Scribe"})).await;
    assert_eq!(status, 200, "{replaced}");
    assert_eq!(
        (
            &replaced["displayName"],
            &replaced["description"],
            &replaced["limits"]["maxTurns"]
        ),
        (&json!("Scribe"), &json!(""), &Value::Null)
    );

    for (body, field) in [
        (json!({"displayName": "x".repeat(257)}), "assistant.display_name"),
        (
            json!({"allowedTools": {"tools": ["echo"]}}),
            "assistant.allowed_tools.tools[0]",
        ),
        (
            json!({"toolPolicies": [{"policy": "TOOL_POLICY_ASK"}]}),
            "assistant.tool_policies[0]",
        ),
        (
            json!({"toolPolicies": [{"server": "a"}]}),
            "assistant.tool_policies[0].policy",
        ),
        (json!({"limits": {"maxTurns": 0}}), "assistant.limits.max_turns"),
    ] {
        let (status, error) = world.post("/v1/assistants", &body).await;
        let details = error["error"]["details"].to_string();
        assert!(status == 400 && details.contains(field), "{field}: {error}");
    }
    let (status, error) = send(
        &world,
        "PATCH",
        &format!("{path}?updateMask=createTime"),
        &json!({}),
    )
    .await;
    assert_eq!(status, 400, "{error}");

    let (_, default) = send(&world, "GET", "/v1/assistants/default", &Value::Null).await;
    assert_eq!(default["instructions"], "Be brief.");
    let (status, _) = send(&world, "DELETE", "/v1/assistants/default", &Value::Null).await;
    assert_eq!(status, 400);
    let (_, listed) = send(&world, "GET", "/v1/assistants", &Value::Null).await;
    assert_eq!(listed["assistants"].as_array().unwrap().len(), 1);
    let (status, _) = send(&world, "DELETE", &path, &Value::Null).await;
    assert_eq!(status, 200);
    let (status, gone) = send(&world, "GET", &path, &Value::Null).await;
    assert_eq!(
        (status, &gone["error"]["details"][0]["reason"]),
        (404, &json!("ASSISTANT_NOT_FOUND"))
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_run_gets_what_its_assistant_is_and_keeps_it() {
    let script = Script::turns([Turn::call("echo", &json!({"text": "x"})), Turn::text("enough")]);
    let world = World::new(script).await;
    let clerk = json!({
        "instructions": "Speak like a clerk.",
        "model": "clerks-model",
        "allowedTools": {"tools": ["tools/echo"]},
        "toolPolicies": [{"server": "builtin", "policy": "TOOL_POLICY_ASK"}],
        "limits": {"maxTurns": 3},
    });
    let (_, clerk) = world.post("/v1/assistants", &clerk).await;
    let chat = json!({"message": "hi", "assistant": clerk["name"], "instructions": "Be kind."});
    let (status, waiting) = world.post("/v1/chat", &chat).await;
    assert_eq!(
        (status, &waiting["state"]),
        (200, &json!("RUN_STATE_REQUIRES_ACTION")),
        "{waiting}"
    );
    let path = format!("/v1/{}", clerk["name"].as_str().unwrap());
    send(&world, "DELETE", &path, &Value::Null).await;

    let run = waiting["run"].as_str().unwrap();
    let answers = json!({"answers": [{"actionId": waiting["pendingActions"][0]["id"], "approve": {}}]});
    let (status, _) = world.post(&format!("/v1/{run}:submitActions"), &answers).await;
    assert_eq!(status, 200);
    let watch = reqwest::get(world.url(&format!("/v1/{run}:watch")))
        .await
        .unwrap();
    assert!(watch.text().await.unwrap().contains("enough"));
    let (_, run) = send(&world, "GET", &format!("/v1/{run}"), &Value::Null).await;
    assert_eq!(
        (&run["assistant"], &run["model"], &run["limits"]["maxTurns"]),
        (&clerk["name"], &json!("clerks-model"), &json!(3))
    );
    assert_eq!(
        run["instructions"],
        "Be brief.\n\nSpeak like a clerk.\n\nBe kind."
    );
    let asked = world.simulator.requests();
    let offered = asked[1].body["tools"].to_string();
    assert!(
        offered.contains("echo") && !offered.contains("calculate"),
        "{offered}"
    );

    let (status, gone) = world.post("/v1/chat", &chat).await;
    assert_eq!((status, &gone["error"]["status"]), (404, &json!("NOT_FOUND")));
    world.stopped().await;
}
