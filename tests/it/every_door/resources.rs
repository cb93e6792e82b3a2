//! Threads, messages, assistants and tools: made, listed, changed.

use assistd::simulator::Script;
use serde_json::{Value, json};
use tonic::Code;

use super::door::{Door, Form};
use crate::world::World;

over_every_door! {
    lists_come_page_by_page,
    a_page_token_is_good_for_its_own_list,
    an_assistant_is_made_changed_and_deleted,
    messages_keep_every_kind_of_part,
}

/// The names of everything in a list, asked for in pages of this size.
async fn names(door: &Door, rpc: &str, things: &str, mut request: Value, page_size: usize) -> Vec<String> {
    let mut names = Vec::new();
    request["pageSize"] = page_size.into();
    loop {
        let mut page = door.call(rpc, request.clone()).await.unwrap();
        let listed = page[things].as_array().unwrap();
        assert!(listed.len() <= page_size);
        names.extend(
            listed
                .iter()
                .map(|thing| thing["name"].as_str().unwrap().to_owned()),
        );
        request["pageToken"] = page["nextPageToken"].take();
        if request["pageToken"] == "" {
            return names;
        }
        assert_eq!(
            page[things].as_array().unwrap().len(),
            page_size,
            "only the last page is short"
        );
    }
}

async fn lists_come_page_by_page(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let tools = names(&door, "AssistantService.ListTools", "tools", json!({}), 1).await;
    assert_eq!(tools, ["tools/echo", "tools/calculate"]);
    for (method, things) in [
        ("AssistantService.ListTools", "tools"),
        ("ResourceService.ListResources", "resources"),
        ("ResourceService.ListResourceTemplates", "resourceTemplates"),
        ("PromptService.ListPrompts", "prompts"),
    ] {
        let of_it = names(&door, method, things, json!({"server": "builtin"}), 1).await;
        assert_eq!(of_it.is_empty(), things != "tools");
        let refusal = door.refusal(method, json!({"server": "nobody"})).await;
        assert_eq!(
            (
                refusal.code,
                &refusal.detail("ErrorInfo")["reason"],
                refusal.fact("server")
            ),
            (Code::NotFound, &json!("MCP_SERVER_NOT_FOUND"), "nobody"),
            "{method}"
        );
        assert_eq!(
            refusal.message,
            "there is no MCP server named \"nobody\"; there are: builtin"
        );
    }

    let mut made = Vec::new();
    for number in 0..5 {
        let thread = json!({"thread": {"title": format!("number {number}"), "metadata": {"a.b": "x y&z"}}});
        let mut thread = door.call("ThreadService.CreateThread", thread).await.unwrap();
        assert_eq!(thread["metadata"], json!({"a.b": "x y&z"}));
        made.push(thread["name"].take().as_str().unwrap().to_owned());
    }
    let oldest_first = json!({"orderBy": "create_time"});
    let listed = names(&door, "ThreadService.ListThreads", "threads", oldest_first, 2).await;
    assert_eq!(listed, made);
    made.reverse();
    assert_eq!(
        names(&door, "ThreadService.ListThreads", "threads", json!({}), 2).await,
        made
    );
    world.stopped().await;
}

async fn a_page_token_is_good_for_its_own_list(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    for _ in 0..2 {
        door.call("ThreadService.CreateThread", json!({"thread": {}}))
            .await
            .unwrap();
    }
    let page = door
        .call("ThreadService.ListThreads", json!({"pageSize": 1}))
        .await
        .unwrap();
    let token = &page["nextPageToken"];
    for (rpc, request, code, reason) in [
        (
            "ThreadService.ListThreads",
            json!({"pageToken": token, "orderBy": "create_time"}),
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        ),
        (
            "RunService.ListPendingActions",
            json!({"pageToken": token}),
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        ),
        (
            "AssistantService.ListTools",
            json!({"pageToken": "no token&=?"}),
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        ),
        (
            "ThreadService.ListThreads",
            json!({"pageSize": -1}),
            Code::InvalidArgument,
            "VALIDATION_FAILED",
        ),
    ] {
        assert_eq!(door.refusal(rpc, request).await.why(), (code, reason), "{rpc}");
    }
    world.stopped().await;
}

async fn an_assistant_is_made_changed_and_deleted(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let clerk = json!({
        "displayName": "Clerk",
        "allowedTools": {"tools": ["tools/echo"]},
        "toolPolicies": [{"tool": "tools/echo", "policy": "TOOL_POLICY_ASK"}],
        "limits": {"maxTurns": 3, "maxDuration": "90.500s"},
        "metadata": {"team": "red"},
    });
    let created = door
        .call("AssistantService.CreateAssistant", json!({"assistant": clerk}))
        .await
        .unwrap();
    for (key, value) in clerk.as_object().unwrap() {
        assert_eq!(&created[key], value);
    }
    let name = &created["name"];
    let got = door
        .call("AssistantService.GetAssistant", json!({"name": name}))
        .await
        .unwrap();
    assert_eq!(got, created);

    let change = json!({
        "assistant": {"name": name, "description": "Keeps the books", "etag": created["etag"]},
    });
    let changed = door
        .call("AssistantService.UpdateAssistant", change.clone())
        .await
        .unwrap();
    assert_eq!(
        (&changed["displayName"], &changed["description"]),
        (&json!("Clerk"), &json!("Keeps the books"))
    );
    let stale = door.refusal("AssistantService.UpdateAssistant", change).await;
    assert_eq!(stale.why(), (Code::Aborted, "ETAG_MISMATCH"));
    let masked = json!({
        "assistant": {"name": name, "limits": {"maxTurns": 2}, "description": "not this"},
        "updateMask": "displayName,limits",
    });
    let masked = door
        .call("AssistantService.UpdateAssistant", masked)
        .await
        .unwrap();
    assert_eq!(
        (&masked["displayName"], &masked["description"]),
        (&json!(""), &json!("Keeps the books")),
    );
    assert_eq!(masked["limits"]["maxTurns"], 2);
    for mask in ["createTime", "nothing"] {
        let request = json!({"assistant": {"name": name}, "updateMask": mask});
        let refused = door.refusal("AssistantService.UpdateAssistant", request).await;
        assert_eq!(
            refused.why(),
            (Code::InvalidArgument, "VALIDATION_FAILED"),
            "{mask}"
        );
        assert_eq!(refused.violations()[0].0, "update_mask", "{mask}");
    }
    let etag = json!({"name": name, "etag": created["etag"]});
    let stale = door.refusal("AssistantService.DeleteAssistant", etag).await;
    assert_eq!(stale.why(), (Code::Aborted, "ETAG_MISMATCH"));
    let deleted = door
        .call("AssistantService.DeleteAssistant", json!({"name": name}))
        .await;
    assert_eq!(deleted, Ok(json!({})));
    let gone = door
        .refusal("AssistantService.GetAssistant", json!({"name": name}))
        .await;
    assert_eq!(gone.why(), (Code::NotFound, "ASSISTANT_NOT_FOUND"));
    world.stopped().await;
}

async fn messages_keep_every_kind_of_part(form: Form) {
    let world = World::new(Script::stand_in()).await;
    let door = Door::to(&world, form);
    let thread = door
        .call("ThreadService.CreateThread", json!({"thread": {}}))
        .await
        .unwrap();
    let message = json!({
        "role": "ROLE_USER",
        "content": [
            {"text": "look: \u{2028} \u{0} \u{1f980}"},
            {"image": {"data": "AP9/", "mimeType": "image/png", "detail": "IMAGE_DETAIL_HIGH"}},
            {"image": {
                "url": "https://images.example/a?b=c&d", "mimeType": "", "detail": "IMAGE_DETAIL_UNSPECIFIED",
            }},
            {"file": {"name": "a b.txt", "mimeType": "text/plain", "data": "aGk="}},
        ],
        "metadata": {"k": "", "a.b": "v"},
    });
    let request = json!({"parent": thread["name"], "message": message});
    let created = door.call("ThreadService.CreateMessage", request).await.unwrap();
    assert_eq!(
        (&created["content"], &created["role"]),
        (&message["content"], &message["role"])
    );
    let got = door
        .call("ThreadService.GetMessage", json!({"name": created["name"]}))
        .await
        .unwrap();
    assert_eq!(got, created);
    let listed = door
        .call("ThreadService.ListMessages", json!({"parent": thread["name"]}))
        .await
        .unwrap();
    assert_eq!(listed["messages"], json!([created]));
    world.stopped().await;
}
