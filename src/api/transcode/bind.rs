//! Every annotated RPC of a pool, taken apart once: what the routes lead to.

use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

use super::query::FieldPath;
use super::route::{Conflict, Router};
use super::schema::{Kind, Label, MessageId, Schema, Shape};
use super::template::{Template, TemplateError};

/// Why no transcoder can be built from a descriptor pool. Each names the RPC.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No RPC has a rule: most likely the options were lost when the descriptors were encoded.
    #[error("no rpc carries google.api.http: were the options kept?")]
    NoRules,
    /// A path template is not of the grammar.
    #[error("{rpc}: {template:?}: {error}")]
    Template {
        /// The RPC.
        rpc: String,
        /// Its template.
        template: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// A rule names a field that it cannot use.
    #[error("{rpc}: field {field:?}: {reason}")]
    Field {
        /// The RPC.
        rpc: String,
        /// The field as the rule names it.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rule is not complete or not allowed.
    #[error("{rpc}: {reason}")]
    Rule {
        /// The RPC.
        rpc: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two RPCs take the same requests.
    #[error("{rpc} and {other} are both bound to {route}")]
    Conflict {
        /// The RPC that came second.
        rpc: String,
        /// The RPC that came first.
        other: String,
        /// The method and the template of the second.
        route: String,
    },
}

/// An RPC, whatever its routes.
#[derive(Debug)]
pub struct Rpc {
    /// The full name with dots, `package.Service.Method`.
    pub name: String,
    /// The path of the gRPC request.
    pub path: PathAndQuery,
    /// The request's message.
    pub input: MessageId,
    /// The response's message.
    pub output: MessageId,
    /// The client would have to stream.
    pub client_streams: bool,
    /// The server streams.
    pub server_streams: bool,
}

/// One HTTP binding of an RPC.
#[derive(Debug)]
pub struct Binding {
    /// The RPC that it calls.
    pub rpc: Arc<Rpc>,
    /// The HTTP method.
    pub method: Method,
    /// The path template.
    pub template: Template,
    /// The template as written.
    pub text: String,
    /// The fields of the template's variables, in their order.
    pub variables: Vec<FieldPath>,
    /// What the body is.
    pub body: Payload,
    /// What the answer's body is.
    pub response: Payload,
}

/// The part of a message that a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// There is no body.
    None,
    /// All of the message.
    Whole,
    /// The field at this position.
    Field(usize),
}

impl Payload {
    /// How a rule writes it: `*`, a field's name, or nothing.
    #[must_use]
    pub fn text(self, schema: &Schema, message: MessageId) -> &str {
        match self {
            Payload::None => "",
            Payload::Whole => "*",
            Payload::Field(position) => &schema.message(message).fields[position].name,
        }
    }

    /// Whether it is a `google.api.HttpBody`, which is raw bytes and not JSON.
    #[must_use]
    pub fn is_raw(self, schema: &Schema, message: MessageId) -> bool {
        let held = match self {
            Payload::None => return false,
            Payload::Whole => message,
            Payload::Field(position) => match schema.message(message).fields[position] {
                super::schema::Field {
                    kind: Kind::Message(id),
                    label: Label::Optional | Label::Implicit,
                    ..
                } => id,
                _ => return false,
            },
        };
        &*schema.message(held).name == "google.api.HttpBody"
    }
}

/// All bindings of a pool, and the router to them.
///
/// # Errors
/// The first rule that cannot be served.
pub fn bindings(pool: &DescriptorPool, schema: &Schema) -> Result<(Vec<Binding>, Router<usize>), BuildError> {
    let extension = pool
        .get_extension_by_name("google.api.http")
        .ok_or(BuildError::NoRules)?;
    let mut found: Vec<Binding> = Vec::new();
    let mut router = Router::default();
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let options = method.options();
        if !options.has_extension(&extension) {
            continue;
        }
        let value = options.get_extension(&extension).into_owned();
        let Value::Message(rule) = value else { continue };
        let rpc = Arc::new(rpc(&method, schema)?);
        let additional = list(&rule, "additional_bindings");
        if additional
            .iter()
            .any(|rule| !list(rule, "additional_bindings").is_empty())
        {
            return Err(BuildError::Rule {
                rpc: rpc.name.clone(),
                reason: "additional_bindings inside one",
            });
        }
        for rule in std::iter::once(&rule).chain(&additional) {
            let binding = binding(&rpc, schema, rule)?;
            let position = found.len();
            router
                .add(binding.method.clone(), &binding.template, position)
                .map_err(|Conflict(other): Conflict<usize>| BuildError::Conflict {
                    rpc: rpc.name.clone(),
                    other: found[other].rpc.name.clone(),
                    route: format!("{} {}", binding.method, binding.text),
                })?;
            found.push(binding);
        }
    }
    if found.is_empty() {
        Err(BuildError::NoRules)
    } else {
        Ok((found, router))
    }
}

fn rpc(method: &MethodDescriptor, schema: &Schema) -> Result<Rpc, BuildError> {
    let name = method.full_name().to_owned();
    let missing = |reason| BuildError::Rule {
        rpc: method.full_name().to_owned(),
        reason,
    };
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    Ok(Rpc {
        path: path.parse().map_err(|_| missing("its name is not a path"))?,
        input: schema
            .find(method.input().full_name())
            .ok_or_else(|| missing("unknown request message"))?,
        output: schema
            .find(method.output().full_name())
            .ok_or_else(|| missing("unknown response message"))?,
        client_streams: method.is_client_streaming(),
        server_streams: method.is_server_streaming(),
        name,
    })
}

fn list(rule: &DynamicMessage, name: &str) -> Vec<DynamicMessage> {
    let field = rule.get_field_by_name(name);
    let values = field.as_deref().and_then(Value::as_list).unwrap_or_default();
    values.iter().filter_map(Value::as_message).cloned().collect()
}

fn text(rule: &DynamicMessage, name: &str) -> String {
    let value = rule.get_field_by_name(name);
    value
        .as_deref()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn pattern(rule: &DynamicMessage) -> Option<(Method, String)> {
    for (name, method) in [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ] {
        if rule.has_field_by_name(name) {
            return Some((method, text(rule, name)));
        }
    }
    let custom = rule
        .get_field_by_name("custom")
        .filter(|_| rule.has_field_by_name("custom"))?;
    let custom = custom.as_message()?;
    Some((text(custom, "kind").parse().ok()?, text(custom, "path")))
}

fn binding(rpc: &Arc<Rpc>, schema: &Schema, rule: &DynamicMessage) -> Result<Binding, BuildError> {
    let name = &rpc.name;
    let missing = BuildError::Rule {
        rpc: name.clone(),
        reason: "a rule without a method and a path",
    };
    let (method, text_of_template) = pattern(rule).ok_or(missing)?;
    let template = Template::parse(&text_of_template).map_err(|error| BuildError::Template {
        rpc: name.clone(),
        template: text_of_template.clone(),
        error,
    })?;
    let refused = |field: &str, reason: &str| BuildError::Field {
        rpc: name.clone(),
        field: field.to_owned(),
        reason: reason.to_owned(),
    };
    let mut variables = Vec::new();
    for variable in &template.variables {
        let field = variable.path.join(".");
        let path =
            FieldPath::resolve(schema, rpc.input, &field).map_err(|reason| refused(&field, &reason))?;
        let target = path.field(schema);
        let is_text = match target.kind {
            Kind::Message(id) => !matches!(schema.message(id).shape, Shape::Object | Shape::Any),
            _ => true,
        };
        if !is_text || matches!(target.label, Label::Repeated { .. } | Label::Map) {
            return Err(refused(
                &field,
                "a path variable must be a scalar that occurs once",
            ));
        }
        variables.push(path);
    }
    let payload = |message: MessageId, field: &str| match field {
        "*" => Ok(Payload::Whole),
        field => match schema.message(message).by_name(field) {
            Some((position, _)) => Ok(Payload::Field(position)),
            None => Err(refused(field, "unknown field")),
        },
    };
    let body = match &*text(rule, "body") {
        "" => Payload::None,
        field => payload(rpc.input, field)?,
    };
    let response = match &*text(rule, "response_body") {
        "" => Payload::Whole,
        field => payload(rpc.output, field)?,
    };
    if body != Payload::None && matches!(method, Method::GET | Method::HEAD) {
        return Err(BuildError::Rule {
            rpc: name.clone(),
            reason: "a body with GET",
        });
    }
    Ok(Binding {
        rpc: Arc::clone(rpc),
        method,
        template,
        text: text_of_template,
        variables,
        body,
        response,
    })
}
