//! Resources and prompts of MCP servers, and resources attached to messages.

use std::net::SocketAddr;
use std::sync::Arc;

use assistd::api::pb;
use assistd::api::pb::prompt_service_client::PromptServiceClient;
use assistd::api::pb::resource_service_client::ResourceServiceClient;
use assistd::api::pb::tool_content::Content;
use assistd::simulator::{Script, Turn};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::mcp::peer::Listening;
use crate::world::{self, World};

/// A service with two servers that have the same, and one that is down.
struct Shelves {
    world: World,
    servers: [Listening; 2],
}

impl Shelves {
    async fn new(script: Script) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let one = Listening::start(loopback, &Arc::default()).await;
        let two = Listening::start(loopback, &Arc::default()).await;
        let servers = json!({"mcpServers": {
            "one": {"url": one.url()},
            "gone": {"command": "/does/not/exist"},
            "two": {"url": two.url()},
        }});
        Self {
            world: World::with(script, |config| config.mcp = world::mcp(&servers)).await,
            servers: [one, two],
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(self.world.url("")).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn resources(&self) -> ResourceServiceClient<Channel> {
        ResourceServiceClient::new(self.channel().await)
    }

    async fn prompts(&self) -> PromptServiceClient<Channel> {
        PromptServiceClient::new(self.channel().await)
    }

    /// The newest request to the model.
    fn asked_of_the_model(&self) -> String {
        let requests = self.world.simulator.requests();
        requests.last().unwrap().body.to_string()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(self.world.url(path)).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn resources_and_templates_are_listed_page_by_page_by_server() {
    let shelves = Shelves::new(Script::stand_in()).await;
    let mut client = shelves.resources().await;
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListResourcesRequest {
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = client.list_resources(request).await.unwrap().into_inner();
        listed.extend(page.resources.into_iter().map(|one| (one.server, one.uri)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        let other = pb::ListResourcesRequest {
            page_token: page_token.clone(),
            server: "one".into(),
            ..Default::default()
        };
        let refused = client.list_resources(other).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    }
    let expected = ["one", "two"]
        .map(|server| ["note://one", "note://picture"].map(|uri| (server.to_owned(), uri.to_owned())));
    assert_eq!(listed, expected.concat());

    let (status, body) = shelves.get("/v1/mcp/resources?server=two").await;
    let first = json!({
        "server": "two", "uri": "note://one", "displayName": "one", "title": "The first note",
        "description": "", "mimeType": "text/plain",
    });
    assert_eq!((status, &body["resources"][0]), (200, &first), "{body}");
    let (_, body) = shelves.get("/v1/mcp/resourceTemplates?pageSize=1").await;
    assert_eq!(body["resourceTemplates"][0]["uriTemplate"], "note://by/{author}");
    assert_ne!(body["nextPageToken"], "");
    let (status, body) = shelves.get("/v1/mcp/resources?pageSize=-1").await;
    assert_eq!(
        (status, &body["error"]["details"][0]["reason"]),
        (400, &json!("VALIDATION_FAILED"))
    );
    shelves.world.stopped().await;
}

#[tokio::test]
async fn a_resource_is_read_as_text_or_as_bytes_or_in_several_pieces() {
    let shelves = Shelves::new(Script::stand_in()).await;
    let (status, body) = shelves
        .get("/v1/mcp/resources:read?server=one&uri=note://one")
        .await;
    let expected = json!({"contents": [
        {"uri": "note://one", "mimeType": "text/plain", "text": "the first note"},
    ]});
    assert_eq!((status, body), (200, expected));
    let mut client = shelves.resources().await;
    let mut read = async |uri: &str| {
        let request = pb::ReadResourceRequest {
            server: "two".into(),
            uri: uri.into(),
        };
        client.read_resource(request).await.unwrap().into_inner().contents
    };
    let picture = read("note://picture").await;
    assert_eq!(
        picture[0].contents,
        Some(pb::resource_contents::Contents::Blob(b"ib".to_vec()))
    );
    let notes = read("note://by/ann").await;
    let uris: Vec<&str> = notes.iter().map(|one| one.uri.as_str()).collect();
    assert_eq!(uris, ["note://by/ann/a", "note://by/ann/b"]);
    shelves.world.stopped().await;
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_says_why() {
    let shelves = Shelves::new(Script::stand_in()).await;
    let cases = [
        ("one", "note://none", Code::NotFound, "RESOURCE_NOT_FOUND"),
        ("none", "note://one", Code::NotFound, "RESOURCE_NOT_FOUND"),
        ("gone", "note://one", Code::Unavailable, "MCP_UNAVAILABLE"),
        (
            "one",
            "note://broken",
            Code::FailedPrecondition,
            "MCP_REQUEST_REJECTED",
        ),
        (
            "one",
            "note://large",
            Code::FailedPrecondition,
            "CONTENT_TOO_LARGE",
        ),
        ("", "", Code::InvalidArgument, "VALIDATION_FAILED"),
    ];
    for (server, uri, code, expected) in cases {
        let request = pb::ReadResourceRequest {
            server: server.into(),
            uri: uri.into(),
        };
        let refused = shelves
            .resources()
            .await
            .read_resource(request)
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (code, expected),
            "{uri}"
        );
        let details = refused.get_error_details();
        match code {
            Code::NotFound => {
                let info = details.resource_info().unwrap();
                assert_eq!(
                    (info.resource_type.as_str(), info.resource_name.as_str()),
                    ("assistd/McpResource", uri)
                );
            }
            Code::Unavailable => assert!(details.retry_info().is_some()),
            Code::InvalidArgument => assert_eq!(details.bad_request().unwrap().field_violations.len(), 2),
            _ => {}
        }
    }
    shelves.world.stopped().await;
}

#[tokio::test]
async fn prompts_are_listed_by_name_and_filled_in() {
    let shelves = Shelves::new(Script::stand_in()).await;
    let (_, body) = shelves.get("/v1/mcp/prompts").await;
    let names: Vec<&str> = body["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "prompts/one__look",
            "prompts/one__translate",
            "prompts/two__look",
            "prompts/two__translate"
        ]
    );
    assert_eq!(
        body["prompts"][1]["arguments"],
        json!([
            {"key": "text", "title": "", "description": "", "required": true},
            {"key": "into", "title": "", "description": "the language", "required": false},
        ])
    );
    let arguments = json!({"arguments": {"text": "Guten Tag", "into": "Latin"}});
    let (status, body) = shelves
        .world
        .post("/v1/mcp/prompts/two__translate:get", &arguments)
        .await;
    let expected = json!({"description": "as asked", "messages": [
        {"role": "ROLE_USER", "content": {"text": "Into Latin: Guten Tag"}},
        {"role": "ROLE_ASSISTANT", "content": {"text": "Gladly."}},
    ]});
    assert_eq!((status, body), (200, expected));
    let request = pb::GetPromptRequest {
        name: "prompts/one__look".into(),
        ..Default::default()
    };
    let filled = shelves
        .prompts()
        .await
        .get_prompt(request)
        .await
        .unwrap()
        .into_inner();
    let content: Vec<_> = filled
        .messages
        .into_iter()
        .filter_map(|one| one.content?.content)
        .collect();
    assert!(
        matches!(&content[..], [Content::Image(image), Content::Resource(note)]
            if image.data == b"ib" && note.uri == "note://one"),
        "{content:?}"
    );
    shelves.world.stopped().await;
}

#[tokio::test]
async fn a_prompt_that_cannot_be_had_says_why() {
    let shelves = Shelves::new(Script::stand_in()).await;
    type Case = (&'static str, Value, u16, &'static str, &'static [&'static str]);
    let cases: [Case; 7] = [
        ("one__none", json!({}), 404, "PROMPT_NOT_FOUND", &[]),
        ("none", json!({}), 404, "PROMPT_NOT_FOUND", &[]),
        ("gone__any", json!({}), 503, "MCP_UNAVAILABLE", &[]),
        (
            "one__translate",
            json!({}),
            400,
            "VALIDATION_FAILED",
            &["arguments[\"text\"]"],
        ),
        (
            "one__translate",
            json!({"text": "x", "to": "y"}),
            400,
            "VALIDATION_FAILED",
            &["arguments[\"to\"]"],
        ),
        (
            "one__translate",
            json!({"text": "x", "into": "Klingon"}),
            400,
            "VALIDATION_FAILED",
            &["arguments"],
        ),
        (
            "one__look",
            json!({"x": "y"}),
            400,
            "VALIDATION_FAILED",
            &["arguments[\"x\"]"],
        ),
    ];
    for (prompt, arguments, code, expected, fields) in cases {
        let path = format!("/v1/mcp/prompts/{prompt}:get");
        let (status, body) = shelves.world.post(&path, &json!({"arguments": arguments})).await;
        let details = body["error"]["details"].as_array().unwrap();
        let reason = details.iter().find_map(|one| one["reason"].as_str());
        assert_eq!((status, reason), (code, Some(expected)), "{body}");
        let violations = details.iter().filter_map(|one| one["fieldViolations"].as_array());
        let found: Vec<&str> = violations
            .flatten()
            .filter_map(|one| one["field"].as_str())
            .collect();
        assert_eq!(found, fields, "{body}");
    }
    shelves.world.stopped().await;
}

fn attached(server: &str, uri: &str) -> Value {
    json!({"resource": {"server": server, "uri": uri}})
}

#[tokio::test]
async fn an_attached_resource_is_kept_in_the_message_and_given_to_the_model() {
    let script = Script::turns([Turn::text("I see"), Turn::text("I read")]);
    let shelves = Shelves::new(script).await;
    let message = json!({
        "message": "what is this?",
        "parts": [attached("one", "note://picture"), attached("two", "note://by/ann")],
    });
    let (status, body) = shelves.world.post("/v1/chat", &message).await;
    assert_eq!((status, &body["response"]), (200, &json!("I see")), "{body}");
    let request = shelves.asked_of_the_model();
    for given in [
        "what is this?",
        "data:image/png;base64,aWI=",
        "note://by/ann/a",
        "a by ann",
        "b by ann",
    ] {
        assert!(request.contains(given), "{given}: {request}");
    }

    let thread = body["thread"].as_str().unwrap();
    let (_, listed) = shelves.get(&format!("/v1/{thread}/messages")).await;
    let content = &listed["messages"][0]["content"];
    assert_eq!(
        content[1],
        json!({"resource": {"server": "one", "uri": "note://picture", "contents": [
            {"uri": "note://picture", "mimeType": "image/png", "blob": "aWI="},
        ]}})
    );
    assert_eq!(content[2]["resource"]["contents"][1]["text"], "b by ann");

    let added = json!({"content": [{"text": "and this"}, attached("one", "note://one")]});
    let (status, body) = shelves
        .world
        .post(&format!("/v1/{thread}/messages"), &added)
        .await;
    assert_eq!(
        (status, &body["content"][1]["resource"]["contents"][0]["text"]),
        (200, &json!("the first note")),
        "{body}"
    );
    let (_, body) = shelves
        .world
        .post("/v1/chat", &json!({"message": "well?", "thread": thread}))
        .await;
    assert_eq!(body["response"], "I read");
    let request = shelves.asked_of_the_model();
    assert!(request.contains("the first note"), "{request}");
    shelves.world.stopped().await;
}

#[tokio::test]
async fn a_request_that_is_repeated_reads_nothing_again() {
    let mut shelves = Shelves::new(Script::turns([Turn::text("I see")])).await;
    let repeated = |request: &Value, id: &str| {
        let mut request = request.clone();
        request["requestId"] = json!(format!("0197a000-0000-7000-8000-00000000000{id}"));
        request
    };
    let attached = attached("one", "note://one");
    let chat = repeated(&json!({"message": "what is this?", "parts": [attached]}), "1");
    let (status, answer) = shelves.world.post("/v1/chat", &chat).await;
    assert_eq!(status, 200, "{answer}");
    let messages = format!("/v1/{}/messages", answer["thread"].as_str().unwrap());
    let message = repeated(&json!({"content": [{"text": "and this"}, attached]}), "2");
    // The request id of a message is a parameter beside the body.
    let id = message["requestId"].as_str().unwrap();
    let path = format!("{messages}?requestId={id}");
    let body = json!({"content": message["content"]});
    let (status, added) = shelves.world.post(&path, &body).await;
    assert_eq!(status, 200, "{added}");

    // The server is gone.
    let [one, two] = shelves.servers;
    drop(one);
    shelves.servers = [
        two,
        Listening::start(SocketAddr::from(([127, 0, 0, 1], 0)), &Arc::default()).await,
    ];
    let (status, again) = shelves.world.post("/v1/chat", &chat).await;
    assert_eq!((status, &again), (200, &answer));
    let (status, again) = shelves.world.post(&path, &body).await;
    assert_eq!((status, &again), (200, &added));
    let mut other = chat.clone();
    other["message"] = json!("what is that?");
    let (status, refused) = shelves.world.post("/v1/chat", &other).await;
    assert_eq!(status, 400);
    assert!(refused.to_string().contains("REQUEST_ID_REUSED"), "{refused}");
    shelves.world.stopped().await;
}

#[tokio::test]
async fn a_resource_that_cannot_be_attached_is_a_field_violation() {
    let shelves = Shelves::new(Script::stand_in()).await;
    let cases = [
        (
            json!([{"resource": {}}]),
            400,
            "parts[0].resource.server parts[0].resource.uri",
        ),
        (
            json!([
                attached("one", "note://one"),
                attached("one", "note://none"),
                attached("none", "x")
            ]),
            400,
            "parts[1].resource parts[2].resource",
        ),
        (json!([attached("one", "note://large")]), 400, "parts[0].resource"),
        (
            json!([attached("one", "note://broken")]),
            400,
            "parts[0].resource",
        ),
        (
            json!(vec![attached("one", "note://one"); 17]),
            400,
            "parts[16].resource",
        ),
        (json!([attached("gone", "note://one")]), 503, ""),
    ];
    for (parts, code, expected) in cases {
        let (status, body) = shelves
            .world
            .post("/v1/chat", &json!({"message": "hi", "parts": parts}))
            .await;
        let details = body["error"]["details"].as_array().unwrap();
        let violations = details
            .iter()
            .filter_map(|one| one["fieldViolations"].as_array())
            .flatten();
        let fields: Vec<&str> = violations.filter_map(|one| one["field"].as_str()).collect();
        assert_eq!((status, fields.join(" ").as_str()), (code, expected), "{body}");
    }
    shelves.world.stopped().await;
}
