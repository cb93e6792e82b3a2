//! The simulator's Assistants API, as a client of that API uses it.

use assistd::simulator::{At, Fault, Finish, Item, Script, Turn};
use http::Method;
use serde_json::{Value, json};

use super::{client, loquacious};
use crate::description::Provider;

/// A client of the API.
struct Client {
    simulator: Provider,
    assistant: String,
}

impl Client {
    async fn new(script: Script) -> Self {
        let mut client = Client {
            simulator: Provider::new(script).await,
            assistant: String::new(),
        };
        let echo =
            json!({"type": "function", "function": {"name": "echo", "parameters": {"type": "object"}}});
        let new = json!({"model": "m", "instructions": "be brief", "tools": [echo], "metadata": {"k": "v"}});
        let assistant = client.post("/assistants", new).await;
        client.assistant = id(&assistant);
        client
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Response {
        let request = client()
            .request(method, format!("{}{path}", self.simulator.base_url()))
            .header("openai-beta", "assistants=v2");
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, Some(body))
            .await
            .json()
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None).await.json().await.unwrap()
    }

    /// The events of a stream: names and data.
    async fn events(&self, path: &str, body: Value) -> Vec<(String, Value)> {
        let answer = self.send(Method::POST, path, Some(body)).await;
        assert_eq!(
            answer.headers()["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let text = answer.text().await.unwrap();
        let event = |frame: &str| {
            let (name, data) = frame.split_once("\ndata: ").unwrap();
            let data = serde_json::from_str(data).unwrap_or_else(|_| data.into());
            (name.strip_prefix("event: ").unwrap().to_owned(), data)
        };
        text.split_terminator("\n\n").map(event).collect()
    }

    async fn thread(&self, message: &str) -> String {
        let messages = json!([{"role": "user", "content": message}]);
        id(&self.post("/threads", json!({ "messages": messages })).await)
    }

    fn run(&self) -> Value {
        json!({"assistant_id": self.assistant})
    }

    fn streamed(&self) -> Value {
        json!({"assistant_id": self.assistant, "stream": true})
    }

    /// The texts of a thread's messages, oldest first.
    async fn texts(&self, thread: &str) -> Vec<String> {
        let list = self.get(&format!("/threads/{thread}/messages?order=asc")).await;
        let messages = list["data"].as_array().unwrap();
        let text = |message: &Value| {
            message["content"][0]["text"]["value"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        messages.iter().map(text).collect()
    }
}

fn id(object: &Value) -> String {
    object["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{object}"))
        .to_owned()
}

#[tokio::test]
async fn a_run_is_polled_through_its_tools_to_its_answer() {
    let client = Client::new(Script::stand_in()).await;
    let thread = client.thread("echo hello").await;
    let runs = format!("/threads/{thread}/runs");
    let queued = client.post(&runs, client.run()).await;
    assert_eq!(queued["status"], "queued");
    let run = format!("{runs}/{}", id(&queued));
    let waiting = client.get(&run).await;
    assert_eq!(waiting["status"], "requires_action");
    let call = &waiting["required_action"]["submit_tool_outputs"]["tool_calls"][0];
    assert_eq!(
        call["function"],
        json!({"name": "echo", "arguments": r#"{"text":"hello"}"#})
    );

    // Locked until the outputs are there, and nothing else is taken for them.
    let more = json!({"role": "user", "content": "and?"});
    let locked = client.post(&format!("/threads/{thread}/messages"), more).await;
    assert!(locked["error"]["message"].as_str().unwrap().contains("is active"));
    let submit = format!("{run}/submit_tool_outputs");
    let wrong = json!({"tool_outputs": [{"tool_call_id": "call_x", "output": "?"}]});
    let wrong = client.post(&submit, wrong).await;
    assert!(
        wrong["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Expected tool outputs")
    );

    let outputs = json!({"tool_outputs": [{"tool_call_id": call["id"], "output": "Echo: hello"}]});
    client.post(&submit, outputs).await;
    let done = client.get(&run).await;
    assert_eq!(done["status"], "completed");
    assert!(done["usage"]["total_tokens"].as_u64() > Some(0));
    assert_eq!(
        client.texts(&thread).await,
        ["echo hello", "The tool answered: Echo: hello"]
    );
    let steps = client.get(&format!("{run}/steps?order=asc")).await;
    let output = "/data/0/step_details/tool_calls/0/function/output";
    assert_eq!(steps.pointer(output).unwrap(), "Echo: hello");
    assert_eq!(steps["data"][1]["type"], "message_creation");
}

#[tokio::test]
async fn a_stream_tells_everything_and_leaves_the_same_behind() {
    let client = Client::new(Script::stand_in()).await;
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "echo hi"}]}]);
    let mut body = client.streamed();
    body["thread"] = json!({ "messages": messages });
    let events = client.events("/threads/runs", body).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..4],
        [
            "thread.created",
            "thread.run.created",
            "thread.run.queued",
            "thread.run.in_progress"
        ]
    );
    assert_eq!(names[names.len() - 2..], ["thread.run.requires_action", "done"]);
    let (_, waiting) = &events[events.len() - 2];
    assert_eq!(waiting["usage"], Value::Null);
    let call = &waiting["required_action"]["submit_tool_outputs"]["tool_calls"][0]["id"];
    let thread = waiting["thread_id"].as_str().unwrap();
    let submit = format!("/threads/{thread}/runs/{}/submit_tool_outputs", id(waiting));
    let outputs = json!({"tool_outputs": [{"tool_call_id": call, "output": "o"}], "stream": true});
    let events = client.events(&submit, outputs).await;
    let deltas: String = events
        .iter()
        .filter(|(name, _)| name == "thread.message.delta")
        .map(|(_, data)| data["delta"]["content"][0]["text"]["value"].as_str().unwrap())
        .collect();
    assert_eq!(deltas, "The tool answered: o");
    assert_eq!(client.texts(thread).await, ["echo hi", "The tool answered: o"]);
}

#[tokio::test]
async fn every_way_to_end_is_as_described() {
    let failed = Turn::text("half").finish(Finish::Failed);
    for (script, turns) in [(loquacious(), 3), (Script::turns([failed]), 1)] {
        let client = Client::new(script).await;
        for _ in 0..turns {
            let thread = client.thread("x").await;
            let events = client
                .events(&format!("/threads/{thread}/runs"), client.streamed())
                .await;
            let (_, run) = &events[events.len() - 2];
            let seen = client.get(&format!("/threads/{thread}/runs/{}", id(run))).await;
            assert_eq!(&seen, run);
            client.get(&format!("/threads/{thread}/messages?limit=1")).await;
            client.get(&format!("/threads/{thread}/runs")).await;
        }
    }
}

#[tokio::test]
async fn a_run_that_hangs_can_be_cancelled_and_one_that_is_over_cannot() {
    let hanging = Turn::text(["a", "b"]).fault(Fault::Hang(At::Deltas(1)));
    let client = Client::new(Script::turns([hanging, Turn::say([Item::text("next")])])).await;
    let thread = client.thread("x").await;
    let runs = format!("/threads/{thread}/runs");
    let _open = client.send(Method::POST, &runs, Some(client.streamed())).await;
    let run = client.get(&runs).await["data"][0].clone();
    assert_eq!(run["status"], "in_progress");
    let cancel = format!("{runs}/{}/cancel", id(&run));
    let cancelling: Value = client
        .send(Method::POST, &cancel, None)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(cancelling["status"], "cancelling");
    assert_eq!(
        client.get(&format!("{runs}/{}", id(&run))).await["status"],
        "cancelled"
    );
    assert_eq!(client.send(Method::POST, &cancel, None).await.status(), 400);
    client.post(&runs, client.run()).await;
    assert_eq!(client.texts(&thread).await, ["x", "next"]);
}

#[tokio::test]
async fn objects_are_listed_changed_and_deleted() {
    let client = Client::new(Script::stand_in()).await;
    let assistant = format!("/assistants/{}", client.assistant);
    assert_eq!(
        client.get("/assistants").await["data"][0]["id"],
        *client.assistant
    );
    let renamed = client.post(&assistant, json!({"name": "n"})).await;
    assert_eq!(renamed["name"], "n");
    let thread = format!("/threads/{}", client.thread("x").await);
    let changed = client.post(&thread, json!({"metadata": {"a": "b"}})).await;
    assert_eq!(client.get(&thread).await, changed);
    let message = client.get(&format!("{thread}/messages")).await["data"][0].clone();
    let message = format!("{thread}/messages/{}", id(&message));
    assert_eq!(client.get(&message).await["role"], "user");
    for path in [&message, &thread, &assistant] {
        let deleted: Value = client
            .send(Method::DELETE, path, None)
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(deleted["deleted"], true);
        assert_eq!(client.send(Method::GET, path, None).await.status(), 404);
    }
    // There is no such operation, which only a client that is not judged may try.
    let unjudged = super::simulator(Script::stand_in()).await;
    let put = super::client().put(format!("{}/assistants", unjudged.base_url()));
    let put = put.header("openai-beta", "assistants=v2").send().await.unwrap();
    assert_eq!(put.status(), 404);
    let plain = super::client().get(format!("{}/assistants", client.simulator.base_url()));
    assert_eq!(
        plain.send().await.unwrap().status(),
        400,
        "the version is not named"
    );
}
