//! Tools.

use serde_json::Value;

use super::{name, structure};
use crate::api::pb;
use crate::run::catalogue::{Annotations, Tool};

/// A tool as the contract has it. Every tool may be called without asking anybody.
pub fn to_pb(tool: &Tool) -> pb::Tool {
    let description = tool.description();
    pb::Tool {
        name: name::tool(&description.name),
        title: description.title.clone(),
        description: description.description.clone(),
        input_schema: schema(Some(&description.input_schema)),
        output_schema: schema(description.output_schema.as_deref()),
        annotations: annotations(&description.title, description.annotations),
        server: description.server.clone(),
        policy: pb::ToolPolicy::Allow.into(),
    }
}

fn schema(schema: Option<&Value>) -> Option<prost_types::Struct> {
    schema.and_then(Value::as_object).map(structure::from_json)
}

fn annotations(title: &str, annotations: Annotations) -> Option<pb::ToolAnnotations> {
    (annotations != Annotations::default()).then(|| pb::ToolAnnotations {
        title: title.to_owned(),
        read_only: annotations.read_only,
        destructive: annotations.destructive,
        idempotent: annotations.idempotent,
        open_world: annotations.open_world,
    })
}
