//! The doors themselves: what is no conversation, and what does not fit.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use assistd::api::pb;
use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::world::{self, PATIENCE, World};

#[tokio::test]
async fn requests_that_do_not_fit_are_told_which_field_and_why() {
    let world = World::new(Script::stand_in()).await;
    let cases: [(Value, &str); 13] = [
        (json!({}), "message"),
        (json!({"message": ""}), "message"),
        (json!({"message": 5}), "message"),
        (json!({"mesage": "x"}), "mesage"),
        (json!({"message": "x", "thread": "nonsense"}), "thread"),
        (json!({"message": "x", "thread": "threads/../x"}), "thread"),
        (json!({"message": "x", "requestId": "7"}), "request_id"),
        (json!({"message": "x", "requestId": 7}), "request_id"),
        (
            json!({"message": "x", "limits": {"maxTurns": 0}}),
            "limits.max_turns",
        ),
        (
            json!({"message": "x", "limits": {"maxDuration": "-1s"}}),
            "limits.max_duration",
        ),
        (
            json!({"message": "x", "limits": {"maxDuration": "soon"}}),
            "limits.max_duration",
        ),
        (json!({"message": "x", "assistant": "me"}), "assistant"),
        (
            json!({"message": "x", "parts": [{"image": {}}]}),
            "parts[0].image",
        ),
    ];
    for (request, field) in cases {
        let (status, body) = world.post("/v1/chat", &request).await;
        assert_eq!(status, 400, "{request} {body}");
        let details = body["error"]["details"].as_array().unwrap();
        let info: Vec<&Value> = details.iter().filter(|one| one["reason"].is_string()).collect();
        assert_eq!(info.len(), 1, "one ErrorInfo: {body}");
        assert_eq!(info[0]["reason"], "VALIDATION_FAILED", "{body}");
        let fields: Vec<&str> = details
            .iter()
            .filter_map(|one| one["fieldViolations"].as_array())
            .flatten()
            .filter_map(|one| one["field"].as_str())
            .collect();
        assert_eq!(fields, [field], "{request} {body}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new(Script::stand_in()).await;
    for (request, reason) in [
        (
            json!({"message": "x", "thread": "threads/thread_nope"}),
            "THREAD_NOT_FOUND",
        ),
        (
            json!({"message": "x", "assistant": "assistants/asst_nope"}),
            "ASSISTANT_NOT_FOUND",
        ),
    ] {
        let (status, body) = world.post("/v1/chat", &request).await;
        assert_eq!(
            (status, &body["error"]["details"][0]["reason"]),
            (404, &json!(reason)),
            "{body}"
        );
    }
    let (status, body) = world.post("/v1/tools/nope:call", &json!({})).await;
    assert_eq!(
        (status, &body["error"]["details"][0]["reason"]),
        (404, &json!("TOOL_NOT_FOUND"))
    );
    let (status, _) = world.post("/v1/nope", &json!({})).await;
    assert_eq!(status, 404);
    world.stopped().await;
}

#[tokio::test]
async fn every_rpc_of_the_contract_is_served() {
    let world = World::new(Script::stand_in()).await;
    let pool = prost_reflect::DescriptorPool::decode(pb::DESCRIPTOR_SET).unwrap();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let services = pool
        .services()
        .filter(|service| service.package_name() == "assistant.v1");
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        // A frame of its own length and no message: every RPC takes the empty one, if only to refuse it.
        let response = client
            .post(world.url(&path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(vec![0; 5])
            .send()
            .await
            .unwrap();
        let status = response.headers().get("grpc-status");
        assert_ne!(status.map(|status| status.as_bytes()), Some(&b"12"[..]), "{path}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn tools_are_listed_page_by_page() {
    let world = World::new(Script::stand_in()).await;
    let mut client = world.grpc().await;
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListToolsRequest {
            page_size: 1,
            page_token,
            ..pb::ListToolsRequest::default()
        };
        let page = client.list_tools(request).await.unwrap().into_inner();
        names.extend(page.tools().unwrap().into_iter().map(|tool| tool.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["tools/echo", "tools/calculate"]);

    let bad = [
        pb::ListToolsRequest {
            page_size: -1,
            ..Default::default()
        },
        pb::ListToolsRequest {
            page_token: "nonsense".into(),
            ..Default::default()
        },
    ];
    for request in bad {
        assert_eq!(
            client.list_tools(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_tool_is_called_directly_and_its_failure_is_an_answer() {
    let world = World::new(Script::stand_in()).await;
    let call = |arguments: Value| {
        let world = &world;
        async move {
            world
                .post("/v1/tools/calculate:call", &json!({"arguments": arguments}))
                .await
        }
    };
    let (status, body) = call(json!({"expression": "7/2"})).await;
    assert_eq!(
        (status, &body["content"][0]["text"], &body["isError"]),
        (200, &json!("Result: 3.5"), &json!(false))
    );
    let (status, body) = call(json!({"expression": 5})).await;
    assert_eq!((status, &body["isError"]), (200, &json!(true)), "{body}");
    world.stopped().await;
}

#[tokio::test]
async fn health_tells_the_truth_about_what_is_missing() {
    let broken = json!({"mcpServers": {
        "gone": {"command": "/does/not/exist"},
        "builtin": {"command": world::program(), "args": ["mcp-server"], "prefix": ""},
    }});
    let world = World::with(Script::stand_in(), |config| config.mcp = world::mcp(&broken)).await;
    let health = world
        .grpc()
        .await
        .health(pb::HealthRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(health.status(), pb::HealthStatus::Degraded);
    let servers: Vec<_> = health
        .mcp_servers
        .iter()
        .map(|one| (one.name.as_str(), one.status()))
        .collect();
    assert_eq!(
        servers,
        [
            ("gone", pb::HealthStatus::Unhealthy),
            ("builtin", pb::HealthStatus::Healthy)
        ]
    );
    assert!(!health.mcp_servers[0].message.is_empty());
    let model = health.model.unwrap();
    assert_eq!(
        format!("http://{}/v1", model.base_url_host),
        world.simulator.base_url()
    );
    assert!(
        !model.simulator,
        "a configured model is not taken for the built-in one"
    );
    let answer = world
        .grpc()
        .await
        .chat(pb::ChatRequest {
            message: "echo on".into(),
            ..Default::default()
        })
        .await;
    assert!(answer.unwrap().into_inner().response.contains("Echo: on"));
    world.stopped().await;
}

#[tokio::test]
async fn without_a_model_and_without_the_simulator_chat_says_what_to_do() {
    let world = World::with(Script::stand_in(), |config| {
        config.model.endpoint.base_url = None;
        config.model.no_simulator = true;
    })
    .await;
    let (status, body) = world.post("/v1/chat", &json!({"message": "hi"})).await;
    assert_eq!(
        (status, &body["error"]["details"][0]["reason"]),
        (400, &json!("MODEL_NOT_CONFIGURED")),
        "{body}"
    );
    world.stopped().await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_with_when_to_come_back() {
    let world = World::with(Script::turns([Turn::hang()]), |config| {
        config.api.max_concurrent_requests = 1
    })
    .await;
    let mut client = world.grpc().await;
    let request = pb::ChatRequest {
        message: "hi".into(),
        ..Default::default()
    };
    let mut open = client.stream_chat(request).await.unwrap().into_inner();
    open.message().await.unwrap();
    let response = reqwest::get(world.url("/v1/health")).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    drop(open);
    world.stopped().await;
}

#[tokio::test]
async fn too_much_is_refused_on_every_door() {
    let world = World::with(Script::stand_in(), |config| config.api.body_limit_bytes = 1_000).await;
    let long = "x".repeat(2_000);
    let (status, body) = world.post("/v1/chat", &json!({"message": long})).await;
    assert_eq!(status, 413, "{body}");
    let request = pb::ChatRequest {
        message: long,
        ..Default::default()
    };
    let refused = world.grpc().await.chat(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.get_error_details().error_info().unwrap().reason,
        "REQUEST_TOO_LARGE"
    );
    world.stopped().await;
}

/// Sends bytes, and reads what comes back until the connection is closed or nothing more comes.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_requests_get_an_answer_and_leave_the_service_alone() {
    let world = World::new(Script::stand_in()).await;
    let chat = |content_type: &str, body: &[u8]| {
        let head = format!(
            "POST /v1/chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let grpc_web = |body: &[u8]| {
        let request = chat("application/grpc-web+proto", body);
        let text =
            String::from_utf8_lossy(&request).replace("/v1/chat", "/assistant.v1.AssistantService/Chat");
        text.into_bytes()
    };
    let cases: [(Vec<u8>, &str); 8] = [
        (b"nonsense\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (chat("application/json", b"{\"message\""), "HTTP/1.1 400"),
        (
            chat("application/json", b"{\"message\":\"\xff\"}"),
            "HTTP/1.1 400",
        ),
        (chat("text/plain", b"hello"), "HTTP/1.1 415"),
        (
            b"PUT /v1/chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            "HTTP/1.1 405",
        ),
        (
            b"GET /v1/../etc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            "HTTP/1.1 404",
        ),
        (grpc_web(b"\x00\x00\x00\x00\x05\xff\xff"), "HTTP/1.1 200"),
        (grpc_web(b"\x00\x00\x00\x00\x02\xff\xff"), "HTTP/1.1 200"),
    ];
    for (request, expected) in cases {
        let answer = tokio::task::block_in_place(|| raw(world.address, &request));
        assert!(
            answer.starts_with(expected),
            "{}\n{answer}",
            String::from_utf8_lossy(&request)
        );
        if expected.ends_with("200") {
            assert!(
                answer.contains("grpc-status:3") || answer.contains("grpc-status: 3"),
                "{answer}"
            );
        }
    }
    let answer = world
        .post("/v1/chat", &json!({"message": "still there?"}))
        .await
        .1;
    assert_eq!(answer["response"], "Mock reply to: still there?");
    world.stopped().await;
}

#[tokio::test]
async fn a_target_that_is_too_long_is_an_error_like_any_other() {
    let world = World::new(Script::stand_in()).await;
    assistd::model::install_tls_provider();
    let http_2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for client in [reqwest::Client::new(), http_2] {
        for path in ["/v1/", "/v1/threads?page_token=", "/assistant/", "/a.B/"] {
            for (length, is_taken) in [(16_384, true), (16_385, false), (60_000, false)] {
                let target = format!("{path}{}", "x".repeat(length - path.len()));
                let request = client
                    .get(world.url(&target))
                    .header("origin", "https://app.example");
                let response = request.send().await.unwrap();
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                assert_eq!(status != 414, is_taken, "{path} {length}");
                if is_taken {
                    continue;
                }
                assert!(!headers["x-request-id"].is_empty());
                assert_eq!(headers["access-control-allow-origin"], "*");
                let error: Value = response.json().await.unwrap();
                assert_eq!(error["error"]["details"][0]["reason"], "URI_TOO_LONG", "{error}");
            }
        }
    }
    let large = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let answer = tokio::task::spawn_blocking({
        let address = world.address;
        move || raw(address, large.as_bytes())
    });
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 431"));
    world.stopped().await;
}

#[tokio::test]
async fn what_can_only_be_read_says_so() {
    let world = World::new(Script::stand_in()).await;
    let client = reqwest::Client::new();
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs"] {
        for (method, status) in [("OPTIONS", 204), ("POST", 405), ("DELETE", 405)] {
            let request = client.request(method.parse().unwrap(), world.url(path));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(
                response.headers()["allow"],
                "GET, HEAD, OPTIONS",
                "{method} {path}"
            );
            if status == 405 {
                let error: Value = response.json().await.unwrap();
                assert_eq!(error["error"]["details"][0]["reason"], "METHOD_NOT_ALLOWED");
            }
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn probes_answer() {
    let world = World::new(Script::stand_in()).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            reqwest::get(world.url(path)).await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let channel = tonic::transport::Channel::from_shared(world.url(""))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["", "assistant.v1.AssistantService"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(
            answer.status(),
            tonic_health::pb::health_check_response::ServingStatus::Serving
        );
    }
    world.stopped().await;
}
