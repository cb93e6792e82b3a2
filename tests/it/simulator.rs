//! The simulator over real sockets: everything it says is what OpenAI's API description allows.

mod assistants;
mod conversations;
mod kept;
mod tape;

use std::time::Duration;

use crate::description::{Provider, assert_fits, description};
use assistd::simulator::{At, Cited, Fault, Finish, Item, Objection, Recorded, Script, Simulator, Turn};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

/// The test is its client, and may ask what nobody should.
async fn simulator(script: Script) -> Provider {
    Provider::answering(script).await
}

pub fn client() -> reqwest::Client {
    // The client wants a TLS provider even where no TLS is spoken; a second one is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(LIMIT)
        .build()
        .expect("a client")
}

async fn post(simulator: &Simulator, path: &str, body: &Value) -> reqwest::Response {
    let request = client()
        .post(format!("{}{path}", simulator.base_url()))
        .json(body);
    request.send().await.expect("an answer")
}

/// The two dialects under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Responses,
    Chat,
}

const BOTH: [Dialect; 2] = [Dialect::Responses, Dialect::Chat];

impl Dialect {
    fn path(self) -> &'static str {
        match self {
            Dialect::Responses => "/responses",
            Dialect::Chat => "/chat/completions",
        }
    }

    fn request(self, message: &str, stream: bool) -> Value {
        let parameters = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        let tool = |name: &str| match self {
            Dialect::Responses => {
                json!({"type": "function", "name": name, "parameters": parameters, "strict": false})
            }
            Dialect::Chat => {
                json!({"type": "function", "function": {"name": name, "parameters": parameters}})
            }
        };
        let tools = json!([tool("echo"), tool("server__calculate")]);
        match self {
            Dialect::Responses => json!({"model": "m", "input": message, "stream": stream, "tools": tools,
                "include": ["reasoning.encrypted_content"], "instructions": "be brief", "store": false, "metadata": {"k": "v"}, "temperature": 0.5}),
            Dialect::Chat if stream => json!({"model": "m", "stream": true, "tools": tools,
                "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": message}]}),
            Dialect::Chat => json!({"model": "m", "tools": tools,
                "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": message}]}),
        }
    }

    fn answer_schema(self) -> &'static str {
        match self {
            Dialect::Responses => "Response",
            Dialect::Chat => "CreateChatCompletionResponse",
        }
    }

    fn event_schema(self) -> &'static str {
        match self {
            Dialect::Responses => "ResponseStreamEvent",
            Dialect::Chat => "CreateChatCompletionStreamResponse",
        }
    }
}

/// The JSON of every event of a stream, checked for its frame on the way.
fn events(dialect: Dialect, body: &str) -> Vec<Value> {
    let mut frames: Vec<&str> = body.split_terminator("\n\n").collect();
    if dialect == Dialect::Chat {
        assert_eq!(frames.pop(), Some("data: [DONE]"), "{body}");
    }
    let parse = |frame: &&str| {
        let (name, data) = frame.split_once("data: ").expect("an event has data");
        let event: Value = serde_json::from_str(data).expect("an event is JSON");
        if dialect == Dialect::Responses {
            assert_eq!(
                name,
                format!(
                    "event: {}\n",
                    event["type"].as_str().expect("an event has a type")
                )
            );
        }
        event
    };
    frames.iter().map(parse).collect()
}

/// The events of one type alone would also satisfy the description's `anyOf` by another one: the
/// event's own schema, of this name, must hold too.
fn own_schema(event: &Value) -> &'static str {
    match event["type"].as_str().expect("an event has a type") {
        "response.created" => "ResponseCreatedEvent",
        "response.in_progress" => "ResponseInProgressEvent",
        "response.output_item.added" => "ResponseOutputItemAddedEvent",
        "response.output_item.done" => "ResponseOutputItemDoneEvent",
        "response.content_part.added" => "ResponseContentPartAddedEvent",
        "response.content_part.done" => "ResponseContentPartDoneEvent",
        "response.output_text.delta" => "ResponseTextDeltaEvent",
        "response.output_text.done" => "ResponseTextDoneEvent",
        "response.output_text.annotation.added" => "ResponseOutputTextAnnotationAddedEvent",
        "response.refusal.delta" => "ResponseRefusalDeltaEvent",
        "response.refusal.done" => "ResponseRefusalDoneEvent",
        "response.function_call_arguments.delta" => "ResponseFunctionCallArgumentsDeltaEvent",
        "response.function_call_arguments.done" => "ResponseFunctionCallArgumentsDoneEvent",
        "response.reasoning_summary_part.added" => "ResponseReasoningSummaryPartAddedEvent",
        "response.reasoning_summary_part.done" => "ResponseReasoningSummaryPartDoneEvent",
        "response.reasoning_summary_text.delta" => "ResponseReasoningSummaryTextDeltaEvent",
        "response.reasoning_summary_text.done" => "ResponseReasoningSummaryTextDoneEvent",
        "response.completed" => "ResponseCompletedEvent",
        "response.incomplete" => "ResponseIncompleteEvent",
        "response.failed" => "ResponseFailedEvent",
        other => panic!("an event of the unexpected type {other}"),
    }
}

/// A script that says everything there is to say, once for each way to finish.
fn loquacious() -> Script {
    let say = || {
        Turn::say([
            Item::Reasoning("thinking it over".into()),
            Item::text("some words"),
            Item::Cited(Cited {
                text: "as they say".into(),
                annotations: vec![json!({
                    "type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 11,
                })],
            }),
            Item::call("echo", r#"{"text":"a rather long text, sent in pieces"}"#),
            Item::call("server__calculate", "{malformed"),
            Item::Refusal("no".into()),
        ])
    };
    let finishes = [Finish::Stop, Finish::Length, Finish::ContentFilter];
    Script::turns(finishes.map(|finish| say().finish(finish)))
}

#[tokio::test]
async fn every_whole_answer_validates() {
    let Some(description) = description() else { return };
    for dialect in BOTH {
        let simulator = Provider::new(loquacious()).await;
        for message in ["1", "2", "3", "hello", "what is 2+2?", "echo x"] {
            let request = dialect.request(message, false);
            let answer = post(&simulator, dialect.path(), &request).await;
            assert_eq!(answer.headers()["content-type"], "application/json");
            let answer = answer.json().await.unwrap();
            assert_fits(&description, dialect.answer_schema(), &answer);
        }
    }
}

#[tokio::test]
async fn every_event_of_a_stream_validates() {
    let Some(description) = description() else { return };
    for dialect in BOTH {
        let simulator = simulator(loquacious()).await;
        for message in ["1", "2", "3", "hello", "what is 2+2?", "echo x"] {
            let answer = post(&simulator, dialect.path(), &dialect.request(message, true)).await;
            assert!(
                answer.headers()["content-type"]
                    .to_str()
                    .unwrap()
                    .starts_with("text/event-stream")
            );
            let events = events(dialect, &answer.text().await.unwrap());
            for (index, event) in events.iter().enumerate() {
                assert_fits(&description, dialect.event_schema(), event);
                if dialect == Dialect::Responses {
                    assert_fits(&description, own_schema(event), event);
                    assert_eq!(event["sequence_number"], index);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_failed_answer_validates_too() {
    let Some(description) = description() else { return };
    let failing = || Script::turns([Turn::text("half").finish(Finish::Failed).times(2)]);
    let responses = simulator(failing()).await;
    let whole = post(&responses, "/responses", &Dialect::Responses.request("x", false)).await;
    let whole: Value = whole.json().await.unwrap();
    assert_fits(&description, "Response", &whole);
    assert_eq!(whole["status"], "failed");
    let stream = post(&responses, "/responses", &Dialect::Responses.request("x", true)).await;
    let events = events(Dialect::Responses, &stream.text().await.unwrap());
    let last = events.last().unwrap();
    assert_fits(&description, own_schema(last), last);
    assert_eq!(events.last().unwrap()["type"], "response.failed");

    let chat = simulator(failing()).await;
    let whole = post(&chat, "/chat/completions", &Dialect::Chat.request("x", false)).await;
    assert_eq!(whole.status(), 500);
    assert_fits(&description, "ErrorResponse", &whole.json().await.unwrap());
    let stream = post(&chat, "/chat/completions", &Dialect::Chat.request("x", true)).await;
    let text = stream.text().await.unwrap();
    let (_, last) = text.trim_end().rsplit_once("data: ").unwrap();
    assert_fits(
        &description,
        "ErrorResponse",
        &serde_json::from_str(last).unwrap(),
    );
}

#[tokio::test]
async fn models_and_errors_validate() {
    let description = description();
    let valid = |name: &str, body: &Value| {
        if let Some(description) = &description {
            assert_fits(description, name, body);
        }
    };
    let simulator = simulator(Script::stand_in()).await;
    let url = simulator.base_url();
    let models: Value = client()
        .get(format!("{url}/models"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    valid("ListModelsResponse", &models);
    assert_eq!(models["data"][0]["id"], "simulator");

    let post = |path: &str, body: &str| client().post(format!("{url}{path}")).body(body.to_owned());
    let call = r#"{"role":"assistant","tool_calls":[{"id":"c"}]}"#;
    for (request, status, says) in [
        (post("/responses", "{"), 400, "could not parse"),
        (post("/responses", r#"{"input":"x"}"#), 400, "'model'"),
        (post("/responses", r#"{"model":"m"}"#), 400, "'input'"),
        (
            post("/responses", r#"{"model":7,"input":"x"}"#),
            400,
            "invalid type",
        ),
        (
            post(
                "/responses",
                r#"{"model":"m","input":"x","previous_response_id":"r"}"#,
            ),
            400,
            "not found",
        ),
        (
            post(
                "/responses",
                r#"{"model":"m","input":[{"type":"function_call","call_id":"c"}]}"#,
            ),
            400,
            "No tool output",
        ),
        (
            post(
                "/responses",
                r#"{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":""}]}"#,
            ),
            400,
            "No tool call",
        ),
        (
            post(
                "/responses",
                r#"{"model":"m","input":[{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"other"}]}"#,
            ),
            400,
            "could not be verified",
        ),
        (
            post("/responses", r#"{"model":"m","input":"x","tool_choice":"maybe"}"#),
            400,
            "maybe",
        ),
        (post("/chat/completions", r#"{"messages":[]}"#), 400, "'model'"),
        (
            post("/chat/completions", r#"{"model":"m","messages":[]}"#),
            400,
            "empty array",
        ),
        (
            post(
                "/chat/completions",
                r#"{"model":"m","messages":[{"role":"tool","content":"","tool_call_id":"c"}]}"#,
            ),
            400,
            "does not follow",
        ),
        (
            post(
                "/chat/completions",
                &format!(r#"{{"model":"m","messages":[{call}]}}"#),
            ),
            400,
            "must be answered",
        ),
        (
            post(
                "/chat/completions",
                r#"{"model":"m","messages":[{"role":"user"}],"stream_options":{}}"#,
            ),
            400,
            "stream_options",
        ),
        (
            post(
                "/chat/completions",
                r#"{"model":"m","messages":[{"role":"user"}],"n":2}"#,
            ),
            400,
            "'n'",
        ),
        (post("/embeddings", "{}"), 404, "Invalid URL"),
        (client().get(format!("{url}/responses")), 405, "Not allowed"),
        (client().delete(format!("{url}/models")), 405, "Not allowed"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{says}");
        let body: Value = answer.json().await.unwrap();
        valid("ErrorResponse", &body);
        assert!(
            body["error"]["message"].as_str().unwrap().contains(says),
            "{body} does not say {says}"
        );
    }
}

#[tokio::test]
async fn the_same_paths_work_without_their_prefix() {
    let simulator = simulator(Script::stand_in()).await;
    let url = format!("http://{}/chat/completions", simulator.address());
    let answer = client()
        .post(url)
        .json(&Dialect::Chat.request("hello", false))
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "Mock reply to: hello");
}

#[tokio::test]
async fn a_chat_completion_goes_through_a_tool_and_back() {
    let simulator = simulator(Script::stand_in()).await;
    let mut request = Dialect::Chat.request("x", false);
    request["messages"][1]["content"] =
        json!([{"type": "text", "text": "what is "}, {"type": "text", "text": "7/2?"}]);
    let first: Value = post(&simulator, "/chat/completions", &request)
        .await
        .json()
        .await
        .unwrap();
    let choice = &first["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        call["function"],
        json!({"name": "server__calculate", "arguments": r#"{"expression":"7/2"}"#})
    );

    let messages = request["messages"].as_array_mut().unwrap();
    messages.push(choice["message"].clone());
    messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "Result: 3.5"}));
    let second: Value = post(&simulator, "/chat/completions", &request)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        second["choices"][0]["message"]["content"],
        "The tool answered: Result: 3.5"
    );
    assert_eq!(second["choices"][0]["finish_reason"], "stop");
    let usage = &second["usage"];
    let sum = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn a_response_goes_through_a_tool_and_back_as_streams() {
    let simulator = simulator(Script::stand_in()).await;
    let mut request = Dialect::Responses.request("echo hello there", true);
    let first = post(&simulator, "/responses", &request)
        .await
        .text()
        .await
        .unwrap();
    let first = events(Dialect::Responses, &first);
    let call = first.last().unwrap()["response"]["output"][0].clone();
    let deltas = first
        .iter()
        .filter(|event| event["type"] == "response.function_call_arguments.delta");
    let arguments: String = deltas.map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(arguments, r#"{"text":"hello there"}"#);
    assert_eq!(call["arguments"], arguments);

    request["input"] = json!([
        {"role": "user", "content": "echo hello there"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "Echo: hello there"},
    ]);
    let second = post(&simulator, "/responses", &request)
        .await
        .text()
        .await
        .unwrap();
    let second = events(Dialect::Responses, &second);
    let deltas: Vec<&str> = second
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(deltas.concat(), "The tool answered: Echo: hello there");
    assert!(deltas.len() > 3, "{deltas:?}");
    let response = &second.last().unwrap()["response"];
    assert_eq!(response["instructions"], "be brief");
    assert_eq!(response["metadata"], json!({"k": "v"}));
    assert_eq!(response["tools"], request["tools"]);
    assert_eq!(response["usage"]["output_tokens"], 9);
}

#[tokio::test]
async fn tools_that_leave_out_fields_are_repeated_with_them() {
    let Some(description) = description() else { return };
    let simulator = simulator(Script::stand_in()).await;
    let request = json!({"model": "m", "input": "x", "tools": [{"type": "function", "name": "f"}]});
    let answer: Value = post(&simulator, "/responses", &request)
        .await
        .json()
        .await
        .unwrap();
    assert_fits(&description, "Response", &answer);
    assert_eq!(
        answer["tools"],
        json!([{"type": "function", "name": "f", "strict": null, "parameters": null}])
    );
}

#[tokio::test]
async fn a_script_answers_in_order_and_then_the_stand_in() {
    let script = r#"{"turns": [
        {"times": 2, "answer": {"raw": {"status": 429, "headers": [["retry-after", "1"]]}}},
        {"when": {"user": "weather"}, "answer": {"say": {"items": [{"call": {"name": "w", "arguments": {"c": "Oslo"}}}]}}},
        {"answer": {"raw": {"status": 502, "headers": [["content-type", "text/html"]], "body": "<h1>bad</h1>"}}}
    ]}"#;
    let simulator = simulator(Script::from_json(script).unwrap().recording()).await;
    let ask = |message: &'static str| {
        let simulator = &simulator;
        async move {
            post(
                simulator,
                "/chat/completions",
                &Dialect::Chat.request(message, false),
            )
            .await
        }
    };
    for _ in 0..2 {
        let limited = ask("hello").await;
        assert_eq!(
            (
                limited.status().as_u16(),
                &limited.headers()["retry-after"].to_str().unwrap()
            ),
            (429, &"1")
        );
        let body: Value = limited.json().await.unwrap();
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    }
    for _ in 0..2 {
        let weather: Value = ask("the weather?").await.json().await.unwrap();
        let call = &weather["choices"][0]["message"]["tool_calls"][0]["function"];
        assert_eq!(call, &json!({"name": "w", "arguments": r#"{"c":"Oslo"}"#}));
    }
    let html = ask("hello").await;
    assert_eq!(
        (
            html.status().as_u16(),
            &html.headers()["content-type"].to_str().unwrap()
        ),
        (502, &"text/html")
    );
    let stand_in: Value = ask("hello").await.json().await.unwrap();
    assert_eq!(
        stand_in["choices"][0]["message"]["content"],
        "Mock reply to: hello"
    );

    let requests = simulator.requests();
    assert_eq!(requests.len(), 6);
    assert_eq!(
        (requests[5].method.as_str(), requests[5].path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(requests[5].body["model"], "m");
    assert_eq!(requests[5].headers["content-type"], "application/json");
}

#[test]
fn a_script_with_an_unknown_name_is_refused() {
    for wrong in [
        r#"{"trns": []}"#,
        r#"{"turns": [{"answer": "sing"}]}"#,
        r#"{"turns": [{"answer": {"say": {"itms": []}}}]}"#,
    ] {
        assert!(Script::from_json(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_cut_breaks_the_body_off_and_a_stop_ends_it() {
    for dialect in BOTH {
        let cut = Turn::text(["one ", "two ", "three"]).fault(Fault::Cut(At::Deltas(2)));
        let stop = Turn::text(["one ", "two ", "three"]).fault(Fault::Stop(At::Deltas(2)));
        let simulator = simulator(Script::turns([cut, stop])).await;
        let mut answer = post(&simulator, dialect.path(), &dialect.request("x", true)).await;
        let (mut text, mut broken) = (String::new(), false);
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        assert!(
            broken && text.contains("two ") && !text.contains("three"),
            "{dialect:?} {broken} {text}"
        );
        let stopped = post(&simulator, dialect.path(), &dialect.request("x", true))
            .await
            .text()
            .await
            .unwrap();
        assert!(
            stopped.contains("two ") && !stopped.contains("three"),
            "{stopped}"
        );
    }
}

#[tokio::test]
async fn a_cut_whole_answer_and_a_disconnect_are_errors_of_the_transport() {
    let cut = Turn::text("hello").fault(Fault::Cut(At::Bytes(20)));
    let simulator = simulator(Script::turns([cut, Turn::disconnect().times(9)])).await;
    let answer = post(&simulator, "/responses", &Dialect::Responses.request("x", false)).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    let url = format!("{}/responses", simulator.base_url());
    assert!(
        client()
            .post(url)
            .json(&Dialect::Responses.request("x", false))
            .send()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_hang_lasts_until_the_client_goes() {
    let mid_stream = Turn::text(["one", "two"]).fault(Fault::Hang(At::Deltas(1)));
    let simulator = simulator(Script::turns([mid_stream, Turn::hang()])).await;
    let mut answer = post(&simulator, "/chat/completions", &Dialect::Chat.request("x", true)).await;
    let mut text = String::new();
    while !text.contains("one") {
        text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    let soon = Duration::from_millis(50);
    assert!(
        tokio::time::timeout(soon, answer.chunk()).await.is_err(),
        "the stream goes on"
    );
    let request = Dialect::Chat.request("x", true);
    let hanging = post(&simulator, "/chat/completions", &request);
    assert!(
        tokio::time::timeout(soon, hanging).await.is_err(),
        "there is an answer"
    );
}

#[tokio::test]
async fn events_can_be_malformed_unknown_and_lack_fields() {
    let turn = Turn::text(["one", "two"])
        .fault(Fault::Insert {
            at: At::Deltas(1),
            raw: "data: {broken\n\n".to_owned(),
        })
        .fault(Fault::Without(vec![
            "/id".to_owned(),
            "/choices/*/finish_reason".to_owned(),
        ]))
        .fault(Fault::With(serde_json::Map::from_iter([(
            "brand_new".to_owned(),
            json!(true),
        )])));
    let simulator = simulator(Script::turns([turn])).await;
    let text = post(&simulator, "/chat/completions", &Dialect::Chat.request("x", true))
        .await
        .text()
        .await
        .unwrap();
    let (before, after) = text.split_once("data: {broken\n\n").unwrap();
    assert!(before.contains("one") && after.contains("two"), "{text}");
    for event in events(Dialect::Chat, &format!("{before}{after}")) {
        assert_eq!(
            (event.get("id"), &event["brand_new"]),
            (None, &json!(true)),
            "{event}"
        );
        assert!(
            event["choices"]
                .as_array()
                .unwrap()
                .iter()
                .all(|choice| choice.get("finish_reason").is_none())
        );
    }
}

#[tokio::test]
async fn a_request_that_the_validator_refuses_is_a_violation() {
    let validator = |request: &Recorded| match request.body.get("model") {
        Some(model) if model == "m" => Ok(()),
        _ => Err(Objection {
            text: format!("not my model on {} {}", request.method, request.query),
            param: Some("model".to_owned()),
        }),
    };
    let simulator = simulator(Script::stand_in().validating(validator)).await;
    let good = post(&simulator, "/responses", &json!({"model": "m", "input": "x"})).await;
    let bad = post(&simulator, "/responses?a=b", &json!({"model": "n", "input": "x"})).await;
    assert_eq!((good.status().as_u16(), bad.status().as_u16()), (200, 400));
    let bad: Value = bad.json().await.unwrap();
    assert_eq!(
        (&bad["error"]["code"], &bad["error"]["param"]),
        (&json!("does_not_validate"), &json!("model"))
    );
    assert!(simulator.requests().is_empty(), "recording was not asked for");
    assert_eq!(
        simulator.close_with_violations(),
        ["/v1/responses: not my model on POST a=b"]
    );
}

#[tokio::test]
async fn the_markers_of_the_predecessor_are_obeyed_only_on_request() {
    let plain = simulator(Script::stand_in()).await;
    let marked = simulator(Script::stand_in().legacy_markers()).await;
    let failing = Dialect::Chat.request("[[mock status=failed]]", false);
    assert_eq!(post(&plain, "/chat/completions", &failing).await.status(), 200);
    assert_eq!(post(&marked, "/chat/completions", &failing).await.status(), 500);
    let image = Dialect::Chat.request("[[mock content=image]]", false);
    let image: Value = post(&marked, "/chat/completions", &image)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(image["choices"][0]["message"]["content"], Value::Null);
    let delayed = Dialect::Chat.request("hi [[mock delay=1]]", false);
    let delayed: Value = post(&marked, "/chat/completions", &delayed)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        delayed["choices"][0]["message"]["content"],
        "Mock reply to: hi [[mock delay=1]]"
    );
}

#[tokio::test]
async fn when_the_handle_is_dropped_the_port_is_closed_and_streams_end() {
    let simulator = simulator(Script::turns([
        Turn::text(["a", "b"]).fault(Fault::Hang(At::Deltas(1)))
    ]))
    .await;
    let address = simulator.address();
    let mut open = post(&simulator, "/responses", &Dialect::Responses.request("x", true)).await;
    assert!(open.chunk().await.unwrap().is_some());
    drop(simulator);
    let ended = async { while let Ok(Some(_)) = open.chunk().await {} };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn serving_ends_with_the_shutdown() {
    let simulator = simulator(Script::stand_in()).await;
    let address = simulator.address();
    tokio::time::timeout(LIMIT, simulator.close()).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
