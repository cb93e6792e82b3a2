//! Tools.

use std::sync::Arc;

use serde_json::Value;

use super::{name, structure};
use crate::api::pb;
use crate::run::catalogue::{Annotations, Catalogue, ClientTool, Policy, Tool, check_schema};
use crate::run::error::{Error, Violation};
use crate::run::pin::Quarantine;

/// The longest name of a function of the client, in bytes, and how many there may be.
const NAME_LIMIT: usize = 64;
const CLIENT_TOOLS_LIMIT: usize = 128;

/// A tool as the contract has it, with the operator's policy, and what it is held back for.
pub fn to_pb(tool: &Tool, held: Option<&Quarantine>) -> pb::Tool {
    let description = tool.description();
    pb::Tool {
        name: name::tool(&description.name),
        title: description.title.clone(),
        description: description.description.clone(),
        input_schema: schema(Some(&description.input_schema)),
        output_schema: schema(description.output_schema.as_deref()),
        annotations: annotations(&description.annotations),
        server: description.server.clone(),
        policy: policy(description.policy).into(),
        quarantine: held.map(|held| pb::ToolQuarantine {
            changed_fields: held.changed.iter().map(|field| (*field).to_owned()).collect(),
            digest: held.now.digest(),
        }),
    }
}

/// A policy as the contract has it.
pub fn policy(policy: Policy) -> pb::ToolPolicy {
    match policy {
        Policy::Allow => pb::ToolPolicy::Allow,
        Policy::Ask => pb::ToolPolicy::Ask,
        Policy::Deny => pb::ToolPolicy::Deny,
    }
}

/// A function of the client as the contract has it.
pub fn client_to_pb(tool: &ClientTool) -> pb::FunctionTool {
    pb::FunctionTool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: schema(Some(&tool.input_schema)),
    }
}

/// Reads the functions of a client.
///
/// # Errors
/// `VALIDATION_FAILED` naming every function that does not fit: its name, its schema, or that another tool has
/// its name.
pub fn client_from_pb(
    field: &str,
    tools: Vec<pb::FunctionTool>,
    catalogue: &Catalogue,
) -> Result<Vec<ClientTool>, Error> {
    if tools.len() > CLIENT_TOOLS_LIMIT {
        return Err(Error::invalid(
            field,
            format!("must be at most {CLIENT_TOOLS_LIMIT}"),
        ));
    }
    let mut read: Vec<ClientTool> = Vec::with_capacity(tools.len());
    let mut violations = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        let mut report = |part: &str, description: String| {
            violations.push(Violation {
                field: format!("{field}[{index}].{part}"),
                description,
            });
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=NAME_LIMIT).contains(&tool.name.len()) || !tool.name.bytes().all(is_plain) {
            report(
                "name",
                format!("must be 1 to {NAME_LIMIT} letters, digits, '-' or '_'"),
            );
        } else if catalogue.get(&tool.name).is_some() || read.iter().any(|other| other.name == tool.name) {
            report("name", format!("there is a tool named {} already", tool.name));
        }
        let input_schema = match tool.input_schema {
            Some(schema) => Value::Object(structure::to_json(schema)),
            None => serde_json::json!({"type": "object", "properties": {}}),
        };
        if let Err(error) = check_schema(&input_schema) {
            report("input_schema", format!("is no JSON Schema: {error}"));
        } else if input_schema.get("type").is_some_and(|kind| kind != "object") {
            report(
                "input_schema",
                "must be of type object: arguments have names".to_owned(),
            );
        }
        read.push(ClientTool {
            name: tool.name,
            description: tool.description,
            input_schema: Arc::new(input_schema),
        });
    }
    if violations.is_empty() {
        Ok(read)
    } else {
        Err(Error::invalid_fields(violations))
    }
}

fn schema(schema: Option<&Value>) -> Option<prost_types::Struct> {
    schema.and_then(Value::as_object).map(structure::from_json)
}

/// A server's hints as the contract has them; none when it says nothing.
pub fn annotations(annotations: &Annotations) -> Option<pb::ToolAnnotations> {
    (*annotations != Annotations::default()).then(|| pb::ToolAnnotations {
        title: annotations.title.clone(),
        read_only: annotations.read_only,
        destructive: annotations.destructive,
        idempotent: annotations.idempotent,
        open_world: annotations.open_world,
    })
}
