//! OpenAPI 3.1 for the HTTP routes of a descriptor pool, from the same tables that the transcoder works by.
//!
//! Words come from the comments of the `.proto` files, if the pool was encoded with its source info. What the
//! document says of messages is what [`print`](super::print) writes and [`decode`](super::decode) takes.

mod comments;
mod example;
mod operation;
mod schemas;

use prost_reflect::DescriptorPool;
use serde_json::{Map, Value, json};

use super::Shared;
use super::bind::Binding;
use comments::Comments;
use schemas::Schemas;

/// What the document says of the service as a whole.
#[derive(Clone, Debug)]
pub struct Info {
    /// The service's name.
    pub title: String,
    /// The version of the contract or of the service.
    pub version: String,
    /// What it is, in Markdown.
    pub description: String,
}

/// The document.
pub(super) fn document(shared: &Shared, pool: &DescriptorPool, info: &Info) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(pool, &comments);
    for binding in &shared.bindings {
        schemas.note_request(binding, &shared.schema);
    }
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for binding in &shared.bindings {
        let (Some(method), Some(service)) = (
            operation::method(pool, &binding.rpc.name),
            operation::service(pool, &binding.rpc.name),
        ) else {
            continue;
        };
        let tag = service.name().to_owned();
        if !tags.iter().any(|known: &Value| known["name"] == tag.as_str()) {
            let text = comments.of_name(service.full_name());
            tags.push(json!({"name": tag, "description": text}));
        }
        let ordinal = shared
            .bindings
            .iter()
            .take_while(|other| !std::ptr::eq(*other, binding))
            .filter(|other| other.rpc.name == binding.rpc.name)
            .count();
        let operation = operation::operation(shared, binding, &method, &tag, ordinal, &mut schemas);
        let path = paths
            .entry(operation::path(pool, binding))
            .or_insert_with(|| json!({}));
        path[binding.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": info.title,
            "version": info.version,
            "description": info.description,
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": {"Error": operation::error_response()},
        },
    })
}

/// The name of a message or enum among the components: without its package, unless that would be ambiguous.
fn component(full_name: &str) -> String {
    let short = full_name.rsplit('.').next().unwrap_or(full_name);
    match full_name.strip_prefix("google.rpc.") {
        Some(name) => format!("Rpc{name}"),
        None => short.to_owned(),
    }
}

fn reference(full_name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", component(full_name))})
}

/// Whether the body of a binding is a message of its own: the request without what the path holds.
fn has_own_body(binding: &Binding) -> bool {
    binding.body == super::bind::Payload::Whole && !binding.variables.is_empty()
}
