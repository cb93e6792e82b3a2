//! What a user sets and what a history holds, as each dialect says it.

use assistd::model::{ReasoningBack, State};
use assistd::run::message::{Continuation, Detail, Reasoning};
use assistd::run::options::ModelOptions;

use super::*;

fn model(base: &str, dialect: Dialect, state: State) -> OpenAi {
    let config = Config {
        dialect: Some(dialect),
        state,
        ..config(base)
    };
    OpenAi::new(config, false).unwrap()
}

fn with(options: Value, request: ModelRequest) -> ModelRequest {
    ModelRequest {
        options: Arc::new(serde_json::from_value::<ModelOptions>(options).unwrap()),
        ..request
    }
}

/// The body of the request that a model sends; in the Assistants dialect, of the one for a run.
async fn body(dialect: Dialect, request: ModelRequest) -> Value {
    let (base, mut seen) = serve(vec![refused(dialect)]).await;
    ask(&model(&base, dialect, State::Stateless), request)
        .await
        .unwrap_err();
    let (_, body) = model_asked(dialect, &mut seen).await;
    body
}

/// Options, and the fields that they become in Responses, in Chat Completions and in the Assistants dialect; null is a
/// field that is not there.
#[tokio::test]
async fn every_option_is_said_in_the_words_of_its_dialect() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let table = [
        (
            json!({"temperature": 0.2, "top_p": 0.9, "service_tier": "flex", "metadata": {"k": "v"}, "extra": {"top_k": 3}}),
            json!({"temperature": 0.2, "top_p": 0.9, "service_tier": "flex", "metadata": {"k": "v"}, "top_k": 3}),
            json!({"temperature": 0.2, "top_p": 0.9, "service_tier": "flex", "metadata": {"k": "v"}, "top_k": 3}),
            json!({"temperature": 0.2, "top_p": 0.9, "service_tier": null, "metadata": {"k": "v"}, "top_k": 3}),
        ),
        (
            json!({"reasoning_effort": "xhigh", "reasoning_summary": "auto", "verbosity": "low"}),
            json!({"reasoning": {"effort": "xhigh", "summary": "auto"}, "text": {"verbosity": "low"}}),
            json!({"reasoning_effort": "xhigh", "verbosity": "low", "reasoning": null}),
            json!({"reasoning_effort": "xhigh", "verbosity": null, "reasoning": null}),
        ),
        (
            json!({"reasoning_summary": "concise", "seed": -7}),
            json!({"reasoning": {"summary": "concise"}, "seed": null}),
            json!({"seed": -7, "reasoning": null, "reasoning_effort": null}),
            json!({"seed": null, "reasoning": null, "reasoning_effort": null}),
        ),
        (
            json!({"output_format": {"json_object": {"max_corrections": 2}}}),
            json!({"text": {"format": {"type": "json_object"}}}),
            json!({"response_format": {"type": "json_object"}}),
            json!({"response_format": {"type": "json_object"}}),
        ),
        (
            json!({"output_format": {"json_schema": {
                "name": "n", "description": "d", "schema": schema, "strict": true, "max_corrections": 2,
            }}}),
            json!({"text": {"format": {
                "type": "json_schema", "name": "n", "description": "d", "schema": schema, "strict": true,
            }}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {
                "name": "n", "description": "d", "schema": schema, "strict": true,
            }}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {
                "name": "n", "description": "d", "schema": schema, "strict": true,
            }}}),
        ),
        (
            json!({"output_format": "text"}),
            json!({"text": null}),
            json!({"response_format": null}),
            json!({"response_format": null}),
        ),
        (
            json!({"tool_choice": "required", "parallel_tool_calls": false}),
            json!({"tool_choice": "required", "parallel_tool_calls": false}),
            json!({"tool_choice": "required", "parallel_tool_calls": false}),
            json!({"tool_choice": "required", "parallel_tool_calls": false}),
        ),
        (
            json!({"tool_choice": "none"}),
            json!({"tool_choice": "none", "parallel_tool_calls": true}),
            json!({"tool_choice": "none", "parallel_tool_calls": null}),
            json!({"tool_choice": "none", "parallel_tool_calls": null}),
        ),
        // A tool that is offered under another name, and one that is not offered.
        (
            json!({"tool_choice": {"tool": "s__find"}}),
            json!({"tool_choice": {"type": "function", "name": "s__find"}}),
            json!({"tool_choice": {"type": "function", "function": {"name": "s__find"}}}),
            json!({"tool_choice": {"type": "function", "function": {"name": "s__find"}}}),
        ),
        (
            json!({"tool_choice": {"tool": "gone"}}),
            json!({"tool_choice": null}),
            json!({"tool_choice": null}),
            json!({"tool_choice": null}),
        ),
        (
            json!({}),
            json!({"temperature": null, "metadata": null}),
            json!({"stop": null, "metadata": null}),
            json!({"temperature": null, "stop": null, "metadata": null}),
        ),
    ];
    for (options, responses, chat, assistants) in table {
        let columns = [
            (Dialect::Responses, responses),
            (Dialect::ChatCompletions, chat),
            (Dialect::Assistants, assistants),
        ];
        for (dialect, expected) in columns {
            let body = body(dialect, with(options.clone(), everything())).await;
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(&body[field], value, "{field} of {options} in {dialect:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_dialect_cannot_say_is_refused_before_anything_is_sent() {
    let stop = || with(json!({"stop": ["END", "\n"]}), hello());
    assert_eq!(
        body(Dialect::ChatCompletions, stop()).await["stop"],
        json!(["END", "\n"])
    );
    for (dialect, name) in [
        (Dialect::Responses, "Responses"),
        (Dialect::Assistants, "Assistants"),
    ] {
        let (base, mut seen) = serve(vec![ok(CHAT_OK)]).await;
        let error = ask(&model(&base, dialect, State::Stateless), stop())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Reason::ModelRequestRejected);
        assert!(error.message().starts_with("options.stop: "), "{error}");
        assert!(error.message().contains(name), "{error}");
        assert!(seen.try_recv().is_err(), "nothing was sent");
    }
}

#[tokio::test]
async fn without_tools_nothing_is_said_of_tools() {
    let options = json!({"tool_choice": "required", "parallel_tool_calls": true});
    for dialect in DIALECTS {
        let body = body(dialect, with(options.clone(), hello())).await;
        assert_eq!(body.get("tool_choice"), None);
        assert_eq!(body.get("parallel_tool_calls"), None);
    }
}

#[tokio::test]
async fn images_say_how_closely_to_look_and_rules_stand_in_front() {
    let image = |detail| {
        Part::Image(Media {
            source: MediaSource::Url("https://a.example/b.png".into()),
            mime_type: String::new(),
            name: String::new(),
            detail: Some(detail),
        })
    };
    let images: Vec<Part> = [Detail::Low, Detail::High, Detail::Original].map(image).into();
    let request = || ModelRequest {
        instructions: "be brief".into(),
        ..request(vec![
            message(Role::System, vec![Part::Text("in front".into())]),
            message(Role::User, images.clone()),
            message(Role::System, vec![Part::Text("within".into())]),
        ])
    };
    let chat = body(Dialect::ChatCompletions, request()).await;
    let roles: Vec<&str> = chat["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    // Many chat templates take one system message, in front, and never two users in a row.
    assert_eq!(roles, ["system", "user"]);
    assert_eq!(chat["messages"][0]["content"], "be brief\n\nin front");
    let content = &chat["messages"][1]["content"];
    let details = [0, 1, 2].map(|index| content[index]["image_url"]["detail"].clone());
    // There is no "original" in this API.
    assert_eq!(details, ["low", "high", "high"]);
    assert_eq!(content[3]["text"], "within");
    let responses = body(Dialect::Responses, request()).await;
    assert_eq!(responses["instructions"], "be brief");
    let content = &responses["input"][1]["content"];
    let details = [0, 1, 2].map(|index| content[index]["detail"].clone());
    assert_eq!(details, ["low", "high", "original"]);
    assert_eq!(responses["input"][2]["role"], "system");
}

const REASONED: &str = concat!(
    "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}}\n\n",
    "data: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"id\":\"rs_1\",",
    "\"summary\":[{\"type\":\"summary_text\",\"text\":\"hm\"}],\"encrypted_content\":\"0x\"}}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":\"function_call\",\"id\":\"fc_1\",",
    "\"call_id\":\"theirs\",\"name\":\"s__find\",\"arguments\":\"{}\"}}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\"}}\n\n",
);
const DONE: &str =
    "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_2\",\"status\":\"completed\"}}\n\n";

/// A history as a run keeps it: what the model said, with the output of its call.
fn went_on(events: &[ModelEvent]) -> ModelRequest {
    let call = CallId::new(&mut Mint::System);
    let mut content = Vec::new();
    for event in events {
        match event {
            ModelEvent::Reasoning(reasoning) => content.push(Part::Reasoning(Reasoning {
                summary: "hm".into(),
                ..reasoning.clone()
            })),
            ModelEvent::ToolCallStarted { tool, .. } => content.push(Part::ToolCall(ToolCall {
                id: call.clone(),
                tool: tool.clone(),
                arguments: "{}".into(),
            })),
            ModelEvent::Continuation(continuation) => content.push(Part::Continuation(continuation.clone())),
            _ => {}
        }
    }
    let output = CallOutput {
        call,
        tool: "s__find".into(),
        output: ToolOutput {
            content: vec![Content::Text("found".into())],
            ..ToolOutput::default()
        },
        truncated: false,
    };
    request(vec![
        message(Role::User, vec![Part::Text("find it".into())]),
        message(Role::Assistant, content),
        message(Role::Tool, vec![Part::ToolOutput(output)]),
    ])
}

#[tokio::test]
async fn encrypted_reasoning_goes_back_in_front_of_its_calls_and_to_nobody_else() {
    let (base, mut seen) = serve(vec![ok(REASONED), ok(DONE)]).await;
    let responses = model(&base, Dialect::Responses, State::Stateless);
    let said = ask(&responses, hello()).await.unwrap();
    let (_, first) = request_seen(&mut seen).await;
    assert_eq!(first["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(first["store"], false);
    assert!(
        !said
            .iter()
            .any(|event| matches!(event, ModelEvent::Continuation(_)))
    );

    let mut second = went_on(&said);
    ask(&responses, second.clone()).await.unwrap();
    let (_, body) = request_seen(&mut seen).await;
    let kinds: Vec<&Value> = body["input"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["type"])
        .collect();
    assert_eq!(
        kinds[1..],
        [
            &json!("reasoning"),
            &json!("function_call"),
            &json!("function_call_output")
        ]
    );
    assert_eq!(
        body["input"][1],
        json!({
            "type": "reasoning", "id": "rs_1", "encrypted_content": "0x",
            "summary": [{"type": "summary_text", "text": "hm"}],
        })
    );

    // Another model cannot read it.
    second.model = "other".into();
    ask(&responses, second).await.unwrap();
    let (_, body) = request_seen(&mut seen).await;
    assert!(!body.to_string().contains("0x"), "{body}");
}

#[tokio::test]
async fn a_model_that_does_not_encrypt_is_asked_again_without_and_remembered() {
    let refused = refusal(
        "400 Bad Request",
        r#"{"error":{"message":"Encrypted content is not supported with this model.","type":"invalid_request_error","param":"include"}}"#,
    );
    let (base, mut seen) = serve(vec![refused, ok(DONE)]).await;
    let responses = model(&base, Dialect::Responses, State::Stateless);
    for asked in [vec![true, false], vec![false]] {
        ask(&responses, hello()).await.unwrap();
        for includes in asked {
            let (_, body) = request_seen(&mut seen).await;
            assert_eq!(body.get("include").is_some(), includes);
        }
    }
}

#[tokio::test]
async fn a_provider_that_keeps_the_state_is_sent_what_is_new_or_once_all_of_it() {
    let lost = refusal(
        "400 Bad Request",
        r#"{"error":{"message":"Previous response with id 'resp_1' not found.","code":"previous_response_not_found"}}"#,
    );
    let (base, mut seen) = serve(vec![ok(REASONED), ok(DONE), lost, ok(DONE)]).await;
    let responses = model(&base, Dialect::Responses, State::PreviousResponse);
    let said = ask(&responses, hello()).await.unwrap();
    let (_, first) = request_seen(&mut seen).await;
    assert_eq!((&first["store"], first.get("include")), (&json!(true), None));
    let goes_on = said.iter().find_map(|event| match event {
        ModelEvent::Continuation(Continuation { state, .. }) => Some(state.clone()),
        _ => None,
    });
    assert_eq!(goes_on, Some(json!({"response": "resp_1", "calls": ["theirs"]})));

    let second = went_on(&said);
    ask(&responses, second.clone()).await.unwrap();
    let (_, body) = request_seen(&mut seen).await;
    assert_eq!(body["previous_response_id"], "resp_1");
    // The provider knows the call by its own name.
    assert_eq!(
        body["input"],
        json!([{"type": "function_call_output", "call_id": "theirs", "output": "found"}])
    );

    // It has forgotten: once more, with everything.
    ask(&responses, second).await.unwrap();
    let (_, forgotten) = request_seen(&mut seen).await;
    assert_eq!(forgotten["previous_response_id"], "resp_1");
    let (_, whole) = request_seen(&mut seen).await;
    assert_eq!(
        (whole.get("previous_response_id"), &whole["store"]),
        (None, &json!(true))
    );
    assert_eq!(whole["input"].as_array().unwrap().len(), 3);
    assert_eq!(whole["input"][1]["call_id"], whole["input"][2]["call_id"]);
}

#[tokio::test]
async fn a_provider_that_has_no_conversations_is_asked_for_one_and_no_more() {
    let refused = refusal(
        "404 Not Found",
        r#"{"error":{"message":"Invalid URL (POST /v1/conversations)"}}"#,
    );
    let (base, mut seen) = serve(vec![refused]).await;
    let model = model(&base, Dialect::Responses, State::Conversation);
    let in_thread = ModelRequest {
        thread: Some(ThreadId::new(&mut Mint::System)),
        ..hello()
    };
    let error = ask(&model, in_thread).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ModelRequestRejected);
    let (head, _) = request_seen(&mut seen).await;
    assert!(head.starts_with("post /v1/conversations http"), "{head}");
    // What is asked beside a thread is no part of one.
    ask(&model, hello()).await.unwrap_err();
    let (head, body) = request_seen(&mut seen).await;
    assert!(head.starts_with("post /v1/responses http"), "{head}");
    assert_eq!((&body["store"], body.get("conversation")), (&json!(false), None));
}

/// What the model can write, what its context is, what is asked for, what the conversation has; and what is sent.
#[tokio::test]
async fn no_more_is_asked_for_than_the_model_can_write_and_that_where_it_has_room() {
    let table = [
        (None, None, None, None, None),
        (None, None, Some(50), None, Some(50)),
        (Some(100), None, Some(50), None, Some(50)),
        (Some(100), None, Some(500), None, Some(100)),
        (Some(100), None, None, None, Some(100)),
        (Some(100), Some(1_000), None, Some(900), Some(100)),
        // It may not fit: the provider decides.
        (Some(100), Some(1_000), None, Some(901), None),
        (Some(100), Some(1_000), None, None, None),
        (Some(100), Some(1_000), Some(50), Some(901), Some(50)),
        (Some(500), None, None, None, Some(500)),
        (None, None, Some(3), None, Some(3)),
        (Some(5), None, None, None, Some(5)),
    ];
    for dialect in DIALECTS {
        // What is less than the API takes is kept here.
        let (field, least) = match dialect {
            Dialect::Responses => ("max_output_tokens", 16),
            Dialect::ChatCompletions => ("max_tokens", 0),
            Dialect::Assistants => ("max_completion_tokens", 256),
        };
        for (can, context_tokens, asked, estimated, sent) in table {
            let sent = sent.map(|limit: u64| limit.max(least));
            let (base, mut seen) = serve(vec![refused(dialect)]).await;
            let config = Config {
                dialect: Some(dialect),
                context_tokens,
                max_output_tokens: can,
                ..config(&base)
            };
            let request = ModelRequest {
                max_output_tokens: asked,
                estimated_tokens: estimated,
                ..hello()
            };
            ask(&OpenAi::new(config, false).unwrap(), request)
                .await
                .unwrap_err();
            let (_, body) = model_asked(dialect, &mut seen).await;
            let case = (dialect, can, context_tokens, asked, estimated);
            assert_eq!(body.get(field).and_then(Value::as_u64), sent, "{case:?}");
        }
    }
}

/// What a server says of its reasoning beside a call, and what it is given back of it, by the operator's word.
#[tokio::test]
async fn reasoning_goes_back_with_its_calls_as_it_came_or_as_the_operator_says() {
    use ReasoningBack::{AsGiven, Never, ReasoningContent};
    let content = json!([{"reasoning_content": "hm"}]);
    let both = json!([{"reasoning_content": "hm", "reasoning": "hm"}]);
    let short = json!([{"reasoning": "h"}, {"reasoning": "m"}]);
    let details = json!([
        {"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "h", "signature": null}]},
        {"reasoning": "m", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "m"}]},
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "0x"}]},
    ]);
    let thinking = json!([{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}]);
    let whole = json!({"reasoning_details": [
        {"type": "reasoning.text", "index": 0, "text": "hm", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "0x"},
    ]});
    let table = [
        (&content, AsGiven, json!({"reasoning_content": "hm"})),
        (&both, AsGiven, json!({"reasoning_content": "hm"})),
        (&short, AsGiven, json!({"reasoning": "hm"})),
        (&details, AsGiven, whole),
        // Mistral's, which is a part of the content.
        (&thinking, AsGiven, json!({"content": thinking[0]["content"]})),
        (&thinking, ReasoningContent, json!({"reasoning_content": "hm"})),
        (&short, ReasoningContent, json!({"reasoning_content": "hm"})),
        (&content, Never, json!({})),
        (&json!([]), AsGiven, json!({})),
        // Some servers want the field, whatever is in it.
        (&json!([]), ReasoningContent, json!({"reasoning_content": ""})),
    ];
    for (deltas, reasoning_back, expected) in table {
        let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "s__find", "arguments": "{}"}}]});
        let chunks = deltas.as_array().unwrap().iter().chain([&call]);
        let chunks: String = chunks
            .map(|delta| format!("data: {}\n\n", json!({"choices": [{"delta": delta}]})))
            .collect();
        let (base, mut seen) = serve(vec![ok(&format!("{chunks}data: [DONE]\n\n")), ok(CHAT_OK)]).await;
        let config = Config {
            reasoning_back,
            ..config(&base)
        };
        let model = OpenAi::new(config, false).unwrap();
        let said = ask(&model, hello()).await.unwrap();
        request_seen(&mut seen).await;
        let mut second = went_on(&said);
        let given_back = async |seen: &mut _, model: &OpenAi, request: &ModelRequest| {
            ask(model, request.clone()).await.unwrap();
            let (_, body) = request_seen(seen).await;
            let message = body["messages"][1].as_object().unwrap().clone();
            let fields = message.into_iter().filter(|(name, value)| {
                name.starts_with("reasoning") || (name == "content" && value.is_array())
            });
            Value::Object(fields.collect())
        };
        let case = format!("{deltas} {reasoning_back:?}");
        assert_eq!(given_back(&mut seen, &model, &second).await, expected, "{case}");
        // What is given back as it came is for the model that it came from.
        second.model = "other".into();
        let other = match reasoning_back {
            AsGiven => json!({}),
            _ => expected,
        };
        assert_eq!(given_back(&mut seen, &model, &second).await, other, "{case}");
    }
}
