//! The tools that a run may use, and the check of their arguments.

mod cost;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use self::cost::Cost;
use super::glob;
use super::message::{Content, ToolOutput};
use super::pin::Quarantine;

/// Every tool of every connected server, at one moment. A run keeps the catalogue that it started with.
#[derive(Debug, Default)]
pub struct Catalogue {
    version: u64,
    tools: Vec<Arc<Tool>>,
    by_name: HashMap<String, usize>,
    /// Policies that are stricter than the tools' own.
    stricter: HashMap<String, Policy>,
    /// By name, the tools that are held back.
    held: HashMap<String, Quarantine>,
    /// The tools that a run may not use although its servers have them, by name, and why not.
    withheld: HashMap<String, Withheld>,
    /// See [`Catalogue::size_bytes`], once somebody has asked.
    size_bytes: OnceLock<u64>,
}

/// Why a run is not given a tool that is there.
#[derive(Clone, Copy, Debug)]
enum Withheld {
    Denied,
    HeldBack,
}

/// A tool as a server describes it.
#[derive(Debug)]
pub struct Tool {
    description: ToolDescription,
    /// Of all that is said of it.
    digest: [u8; 32],
    arguments: Option<Check>,
    structured: Option<Check>,
    /// See [`Tool::unchecked`].
    unchecked: Option<String>,
}

/// A schema, compiled.
#[derive(Debug)]
struct Check {
    schema: Arc<Value>,
    validator: jsonschema::Validator,
    cost: Cost,
}

/// What a server says of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDescription {
    /// The name in the catalogue: `server__tool`, or as the server's prefix says.
    pub name: String,
    /// The server that offers it.
    pub server: String,
    /// The name on that server.
    pub remote_name: String,
    /// A title for people; empty when there is none.
    pub title: String,
    /// What it does, for models and people; empty when there is none.
    pub description: String,
    /// JSON Schema (2020-12 unless it says otherwise) of the arguments: an object.
    pub input_schema: Arc<Value>,
    /// JSON Schema of the structured content, if the server gives one.
    pub output_schema: Option<Arc<Value>>,
    /// The server's hints about its effects.
    pub annotations: Annotations,
    /// What happens when a model asks for it, as the operator says.
    pub policy: Policy,
    /// How long it may take to answer or to report progress, where the operator says so for this tool.
    pub timeout: Option<Duration>,
}

/// What happens when a model asks for a tool. Of several that apply, the strictest holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The call is made.
    #[default]
    Allow,
    /// The run waits until someone decides.
    Ask,
    /// The model is not offered the tool.
    Deny,
}

/// What narrows the tools of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// The only tools on offer, by name, or by [patterns](glob::fits) of names; none for all that are not denied.
    pub allowed: Option<Vec<String>>,
    /// Policies that hold beside the operator's.
    pub rules: Vec<Rule>,
    /// Functions that the client carries out itself.
    pub client_tools: Vec<ClientTool>,
}

/// A policy for some tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Which tools.
    pub target: Target,
    /// The policy.
    pub policy: Policy,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The tool of that name, or all whose names fit this [pattern](glob::fits).
    Tool(String),
    /// Every tool of that server, or of all whose names fit this pattern.
    Server(String),
}

/// A function that the client carries out itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientTool {
    /// The name that the model calls.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub input_schema: Arc<Value>,
}

/// A server's hints about a tool's effects, as MCP has them; none of them is a promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// A name for people; empty when they have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy something.
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
    /// It touches things outside the server's own domain.
    pub open_world: Option<bool>,
}

impl Catalogue {
    /// A catalogue of these tools, in this order. Of two tools with one name the first stays.
    pub fn new(version: u64, tools: impl IntoIterator<Item = Arc<Tool>>) -> Self {
        let mut catalogue = Self {
            version,
            ..Self::default()
        };
        for tool in tools {
            if !catalogue.by_name.contains_key(tool.name()) {
                catalogue
                    .by_name
                    .insert(tool.name().to_owned(), catalogue.tools.len());
                catalogue.tools.push(tool);
            }
        }
        catalogue
    }

    /// The same catalogue, with these of its tools held back: they are shown, and no run is given them.
    #[must_use]
    pub fn holding(mut self, held: HashMap<String, Quarantine>) -> Self {
        self.held = held;
        self
    }

    /// Which of its tools are held back, by name, and why.
    pub fn held(&self) -> &HashMap<String, Quarantine> {
        &self.held
    }

    /// The catalogue of one run: without what it may not use, with the client's own tools.
    #[must_use]
    pub fn selected(self: &Arc<Self>, selection: &Selection) -> Arc<Self> {
        let denies = self
            .tools
            .iter()
            .any(|tool| tool.description.policy == Policy::Deny);
        if *selection == Selection::default() && !denies && self.held.is_empty() {
            return Arc::clone(self);
        }
        let mut stricter = HashMap::new();
        let mut not_given = HashMap::new();
        let mut tools: Vec<Arc<Tool>> = Vec::new();
        for tool in &self.tools {
            let is_listed = selection
                .allowed
                .as_ref()
                .is_none_or(|allowed| allowed.iter().any(|name| glob::fits(name, tool.name())));
            let policy = selection.policy(&tool.description);
            let withheld = match policy {
                Policy::Deny => Some(Withheld::Denied),
                _ if self.held.contains_key(tool.name()) => Some(Withheld::HeldBack),
                _ => None,
            };
            if !is_listed || withheld.is_some() {
                let name = || tool.name().to_owned();
                not_given.extend(withheld.filter(|_| is_listed).map(|why| (name(), why)));
                continue;
            }
            if policy != tool.description.policy {
                stricter.insert(tool.name().to_owned(), policy);
            }
            tools.push(Arc::clone(tool));
        }
        tools.extend(
            selection
                .client_tools
                .iter()
                .map(|tool| Arc::new(Tool::of_client(tool))),
        );
        let mut selected = Self::new(self.version, tools);
        selected.stricter = stricter;
        selected.withheld = not_given;
        Arc::new(selected)
    }

    /// What happens when a model asks for this tool.
    pub fn policy(&self, tool: &Tool) -> Policy {
        let stricter = self.stricter.get(tool.name()).copied();
        stricter.unwrap_or_default().max(tool.description.policy)
    }

    /// What tells it from another: the same for the same tools, also in another process.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tools, in the order of the configuration.
    pub fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }

    /// How many bytes of text a model is given of the tools, about.
    pub fn size_bytes(&self) -> u64 {
        *self.size_bytes.get_or_init(|| {
            let size = |tool: &Arc<Tool>| {
                let ToolDescription {
                    name,
                    description,
                    input_schema,
                    ..
                } = tool.description();
                (name.len() + description.len() + input_schema.to_string().len()) as u64
            };
            self.tools.iter().map(size).sum()
        })
    }

    /// Why there is no tool of that name, in words that a model or a person can act on.
    pub fn lack(&self, name: &str) -> String {
        match self.withheld.get(name) {
            Some(Withheld::Denied) => format!("the tool {name} is denied by its policy"),
            Some(Withheld::HeldBack) => {
                format!("the tool {name} is held back: it has changed since it was approved")
            }
            None => format!("there is no tool named {name}"),
        }
    }

    /// The tool of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Tool>> {
        self.by_name.get(name).map(|&index| &self.tools[index])
    }
}

/// Whether this is a JSON Schema that arguments can be checked against.
///
/// # Errors
/// What is wrong with it.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    compiled(schema).map(drop)
}

fn compiled(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| {
        let is_reference = matches!(error.kind(), ValidationErrorKind::Referencing(_));
        match foreign_reference(schema).filter(|_| is_reference) {
            Some(reference) => format!(
                "it refers to {reference}, and other documents are not fetched: put what is meant under \"$defs\""
            ),
            None => error.to_string(),
        }
    })
}

/// A reference to another document, if there is one.
fn foreign_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Array(items) => items.iter().find_map(foreign_reference),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| match field {
            Value::String(reference) if key == "$ref" && !reference.starts_with('#') => {
                Some(reference.as_str())
            }
            field => foreign_reference(field),
        }),
        _ => None,
    }
}

/// What is wrong with a value by this JSON Schema, if anything is: the first things, each with its place. A schema that does
/// not compile checks nothing.
pub fn violation(schema: &Value, instance: &Value) -> Option<String> {
    if Cost::of(schema).is_too_high(schema, instance) {
        return Some(TOO_MUCH.to_owned());
    }
    let validator = jsonschema::validator_for(schema).ok()?;
    violations(&validator, instance)
}

impl Check {
    /// Of a schema, or why it does not compile.
    fn new(schema: &Arc<Value>) -> Result<Self, String> {
        Ok(Self {
            validator: compiled(schema)?,
            cost: Cost::of(schema),
            schema: schema.clone(),
        })
    }

    /// What is wrong with a value, if anything is. What cannot be checked in good time is wrong: nothing could stop it.
    fn violation(&self, instance: &Value) -> Option<String> {
        if self.cost.is_too_high(&self.schema, instance) {
            return Some(TOO_MUCH.to_owned());
        }
        violations(&self.validator, instance)
    }
}

impl Selection {
    fn policy(&self, tool: &ToolDescription) -> Policy {
        let rules = self.rules.iter().filter(|rule| match &rule.target {
            Target::Tool(name) => glob::fits(name, &tool.name),
            Target::Server(server) => glob::fits(server, &tool.server),
        });
        rules.map(|rule| rule.policy).fold(tool.policy, Policy::max)
    }
}

impl ToolDescription {
    /// Whether a second call with the same arguments does no harm, by what the server says.
    pub fn is_repeatable(&self) -> bool {
        self.annotations.read_only == Some(true) || self.annotations.idempotent == Some(true)
    }

    fn digest(&self) -> [u8; 32] {
        let output_schema = self.output_schema.as_deref().unwrap_or(&Value::Null);
        let rest = (&self.annotations, self.policy, self.timeout);
        digest_of([
            &self.name,
            &self.server,
            &self.remote_name,
            &self.title,
            &self.description,
            &self.input_schema.to_string(),
            &output_schema.to_string(),
            &format!("{rest:?}"),
        ])
    }
}

/// One number for several texts: another one when any of them changes, or where one ends and the next begins.
pub(super) fn digest_of(pieces: impl IntoIterator<Item: AsRef<str>>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for piece in pieces {
        let piece = piece.as_ref();
        digest.update(piece.len().to_be_bytes());
        digest.update(piece);
    }
    digest.finalize().into()
}

impl Tool {
    fn of_client(tool: &ClientTool) -> Self {
        Self::new(ToolDescription {
            name: tool.name.clone(),
            server: String::new(),
            remote_name: tool.name.clone(),
            title: String::new(),
            description: tool.description.clone(),
            input_schema: Arc::clone(&tool.input_schema),
            output_schema: None,
            annotations: Annotations::default(),
            policy: Policy::Allow,
            timeout: None,
        })
    }

    /// Whether it is a function of the client, and no server has it.
    pub fn is_of_client(&self) -> bool {
        self.description.server.is_empty()
    }

    /// A tool, with its schemas compiled. A schema that does not compile checks nothing, as if absent:
    /// the server has the last word on its arguments anyway. [`unchecked`](Self::unchecked) tells of it.
    pub fn new(description: ToolDescription) -> Self {
        let mut unusable = Vec::new();
        let mut check = |which: &str, schema: &Arc<Value>| {
            let check = Check::new(schema);
            check
                .map_err(|mut problem| {
                    problem.truncate(problem.floor_char_boundary(TOLD_BYTES));
                    unusable.push(format!("its {which} schema cannot be used: {problem}"));
                })
                .ok()
        };
        let arguments = check("input", &description.input_schema);
        let output_schema = description.output_schema.as_ref();
        let structured = output_schema.and_then(|schema| check("output", schema));
        Self {
            digest: description.digest(),
            description,
            arguments,
            structured,
            unchecked: (!unusable.is_empty()).then(|| unusable.join(", and ")),
        }
    }

    /// What is said of it, in one number: another one when anything of it changes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether a second call with the same arguments does no harm, by what the server says.
    pub fn is_repeatable(&self) -> bool {
        self.description.is_repeatable()
    }

    /// The output, checked against the tool's output schema. One that breaks it is the tool's failure: all of it is
    /// kept, and a text at its end says what is wrong.
    #[must_use]
    pub fn checked(&self, mut output: ToolOutput) -> ToolOutput {
        let Some(check) = self.structured.as_ref().filter(|_| !output.is_error) else {
            return output;
        };
        let problem = match &output.structured {
            None => {
                Some("there is no structured content, which the tool's output schema asks for".to_owned())
            }
            Some(structured) => check.violation(structured),
        };
        if let Some(problem) = problem {
            output.is_error = true;
            let text = format!("Output validation error: {problem}");
            output.content.push(Content::Text(text));
        }
        output
    }

    /// What the server says of it.
    pub fn description(&self) -> &ToolDescription {
        &self.description
    }

    /// The name in the catalogue.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// Which of its schemas checks nothing, and why, in words for operators; none when all that there are check.
    pub fn unchecked(&self) -> Option<&str> {
        self.unchecked.as_deref()
    }

    /// Reads JSON text as this tool's arguments and checks them against its schema.
    /// No text at all is the empty object, which is how models call a tool without parameters.
    ///
    /// # Errors
    /// What is wrong, in words that a model can act on.
    pub fn read_arguments(&self, text: &str) -> Result<Map<String, Value>, String> {
        let value = match text.trim() {
            "" => Value::Object(Map::new()),
            text => serde_json::from_str(text)
                .map_err(|error| format!("arguments are not valid JSON: {error}"))?,
        };
        match value {
            Value::Object(arguments) => self.check_arguments(arguments),
            _ => Err("arguments are not a JSON object".to_owned()),
        }
    }

    /// Checks arguments against the tool's schema and gives them back.
    ///
    /// # Errors
    /// What is wrong, in words that a model can act on.
    pub fn check_arguments(&self, arguments: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let Some(check) = &self.arguments else {
            return Ok(arguments);
        };
        let instance = Value::Object(arguments);
        if let Some(violation) = check.violation(&instance) {
            return Err(format!("Input validation error: {violation}"));
        }
        match instance {
            Value::Object(arguments) => Ok(arguments),
            _ => Ok(Map::new()),
        }
    }
}

/// What is said of a value that is not checked.
const TOO_MUCH: &str = "it would take too long to check this against its schema";

/// How many things that are wrong with a value are told.
const TOLD: usize = 5;

/// How much of one of them is told, in bytes: it may quote the whole value.
const TOLD_BYTES: usize = 300;

/// What is wrong with a value, if anything is: the first things, and that there are more.
fn violations(validator: &jsonschema::Validator, instance: &Value) -> Option<String> {
    let mut errors = validator.iter_errors(instance);
    let told: Vec<String> = errors.by_ref().take(TOLD).map(|error| describe(&error)).collect();
    let more = errors.next().map_or("", |_| "; and more");
    (!told.is_empty()).then(|| told.join("; ") + more)
}

/// What is wrong, and where: a JSON Pointer into the value, unless it is the whole. The two commonest mishaps in the words
/// that MCP's Python SDK uses, which clients of the service that this one replaces have seen; all others in the validator's
/// own.
fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    let what = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            format!("'{property}' is a required property")
        }
        ValidationErrorKind::Type {
            kind: TypeKind::Single(kind),
        } => {
            format!("{} is not of type '{kind}'", error.instance())
        }
        _ => error.to_string(),
    };
    match error.instance_path().as_str() {
        "" => cut(what),
        place => format!("{} at {}", cut(what), cut(place.to_owned())),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TOLD_BYTES {
        text.truncate(text.floor_char_boundary(TOLD_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn echo() -> Tool {
        Tool::new(ToolDescription {
            name: "echo".into(),
            server: "builtin".into(),
            remote_name: "echo".into(),
            title: String::new(),
            description: String::new(),
            input_schema: Arc::new(json!({
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
            })),
            output_schema: None,
            annotations: Annotations::default(),
            policy: Policy::Allow,
            timeout: None,
        })
    }

    #[test]
    fn an_output_that_breaks_its_schema_is_a_failure_and_is_kept() {
        let tool = Tool::new(ToolDescription {
            output_schema: Some(Arc::new(json!({
                "type": "object",
                "properties": {"sum": {"type": "integer"}},
                "required": ["sum"],
            }))),
            ..echo().description().clone()
        });
        let output = |structured: Option<Value>, is_error| ToolOutput {
            content: vec![Content::Text("three".into())],
            structured,
            is_error,
        };
        let fits = output(Some(json!({"sum": 3, "more": 1})), false);
        assert_eq!(tool.checked(fits.clone()), fits);
        let failed = output(None, true);
        assert_eq!(tool.checked(failed.clone()), failed);
        assert_eq!(echo().checked(output(None, false)), output(None, false));
        for (structured, problem) in [
            (
                None,
                "there is no structured content, which the tool's output schema asks for",
            ),
            (Some(json!({})), "'sum' is a required property"),
            (
                Some(json!({"sum": "3"})),
                "\"3\" is not of type 'integer' at /sum",
            ),
        ] {
            let checked = tool.checked(output(structured.clone(), false));
            assert!(checked.is_error);
            assert_eq!(checked.structured, structured);
            assert_eq!(
                checked.text(),
                format!("three\nOutput validation error: {problem}")
            );
        }
    }

    #[test]
    fn what_would_take_forever_to_check_is_refused_at_once() {
        let branch = json!({"properties": {"a": {"$ref": "#"}}});
        let schema = Arc::new(json!({"type": "object", "anyOf": [branch, branch]}));
        let deep = (0..100).fold(json!({}), |inner, _| json!({"a": inner}));
        let tool = Tool::new(ToolDescription {
            input_schema: schema.clone(),
            output_schema: Some(schema),
            ..echo().description().clone()
        });
        assert!(tool.read_arguments(r#"{"a": {"a": {}}}"#).is_ok());
        let refused = "Input validation error: it would take too long to check this against its schema";
        assert_eq!(tool.read_arguments(&deep.to_string()), Err(refused.to_owned()));
        let output = ToolOutput {
            structured: Some(deep),
            ..ToolOutput::default()
        };
        let checked = tool.checked(output);
        assert!(
            checked.is_error && checked.text().contains("would take too long"),
            "{checked:?}"
        );
        let looping = json!({"$ref": "#"});
        assert_eq!(violation(&looping, &json!({})).as_deref(), Some(TOO_MUCH));
    }

    #[test]
    fn arguments_are_read_and_checked() {
        let cases = [
            (r#"{"text":"hi"}"#, Ok(r#"{"text":"hi"}"#)),
            (r#"{"text":"hi","x":1}"#, Ok(r#"{"text":"hi","x":1}"#)),
            ("{}", Err("Input validation error: 'text' is a required property")),
            ("", Err("Input validation error: 'text' is a required property")),
            (
                r#"{"text":5}"#,
                Err("Input validation error: 5 is not of type 'string' at /text"),
            ),
            ("[1]", Err("arguments are not a JSON object")),
        ];
        for (text, expected) in cases {
            let read = echo()
                .read_arguments(text)
                .map(|arguments| Value::Object(arguments).to_string());
            assert_eq!(
                read.as_deref(),
                expected.map_err(str::to_owned).as_deref(),
                "{text}"
            );
        }
        assert!(
            echo()
                .read_arguments("{")
                .unwrap_err()
                .starts_with("arguments are not valid JSON")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_places_and_within_bounds() {
        let schema = json!({
            "properties": {"a": {"items": {"type": "string"}}, "b/c": {"minimum": 3}},
            "required": ["d"],
        });
        let wrong = |value: Value| violation(&schema, &value).unwrap_or_default();
        assert_eq!(wrong(json!({"d": 1})), "");
        let all = wrong(json!({"a": ["x", 7], "b/c": 1}));
        for one in [
            "7 is not of type 'string' at /a/1",
            "1 is less than the minimum of 3 at /b~1c",
            "'d' is a required property",
        ] {
            assert!(all.split("; ").any(|told| told == one), "{one}: {all}");
        }
        assert_eq!(all.split("; ").count(), 3, "{all}");
        let many = wrong(json!({"a": [1, 2, 3, 4, 5, 6, 7], "d": 1}));
        assert_eq!(many.split("; ").count(), TOLD + 1, "{many}");
        assert!(many.ends_with("; and more"), "{many}");
        let long = wrong(json!({"a": [{"k": "x".repeat(10_000)}], "d": 1}));
        assert!(
            long.len() < 2 * TOLD_BYTES && long.ends_with("… at /a/0"),
            "{long}"
        );
    }

    #[test]
    fn a_selection_narrows_and_never_widens() {
        let of = |name: &str, server: &str, policy| {
            let description = ToolDescription {
                name: name.into(),
                server: server.into(),
                policy,
                ..echo().description().clone()
            };
            Arc::new(Tool::new(description))
        };
        let all = Arc::new(Catalogue::new(
            3,
            [
                of("a", "one", Policy::Allow),
                of("b", "one", Policy::Ask),
                of("c", "two", Policy::Allow),
                of("d", "two", Policy::Deny),
            ],
        ));
        let tool = |name: &str| Target::Tool(name.into());
        let server = |name: &str| Target::Server(name.into());
        type Case = (
            Option<&'static [&'static str]>,
            Vec<(Target, Policy)>,
            &'static str,
        );
        let cases: [Case; 8] = [
            (None, vec![], "a:Allow b:Ask c:Allow"),
            (Some(&["c", "d", "gone"]), vec![], "c:Allow"),
            (Some(&[]), vec![], ""),
            (Some(&["*"]), vec![(tool("b*"), Policy::Deny)], "a:Allow c:Allow"),
            (None, vec![(server("t*"), Policy::Ask)], "a:Allow b:Ask c:Ask"),
            (None, vec![(server("one"), Policy::Ask)], "a:Ask b:Ask c:Allow"),
            (
                None,
                vec![(tool("b"), Policy::Allow), (tool("d"), Policy::Allow)],
                "a:Allow b:Ask c:Allow",
            ),
            (
                None,
                vec![(server("one"), Policy::Ask), (tool("a"), Policy::Deny)],
                "b:Ask c:Allow",
            ),
        ];
        for (allowed, rules, expected) in cases {
            let selection = Selection {
                allowed: allowed.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
                rules: rules
                    .iter()
                    .map(|(target, policy)| Rule {
                        target: target.clone(),
                        policy: *policy,
                    })
                    .collect(),
                client_tools: Vec::new(),
            };
            let selected = all.selected(&selection);
            let shown = selected
                .tools()
                .iter()
                .map(|tool| format!("{}:{:?}", tool.name(), selected.policy(tool)));
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{selection:?}");
            assert_eq!(selected.version(), 3);
        }
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused_in_words_that_help() {
        let refused = |schema: Value| check_schema(&schema).unwrap_err();
        assert_eq!(
            refused(json!({"properties": {"a": {"$ref": "https://elsewhere.example/a.json"}}})),
            "it refers to https://elsewhere.example/a.json, and other documents are not fetched: \
             put what is meant under \"$defs\""
        );
        assert!(refused(json!({"type": 5})).contains("5"));
        assert!(!refused(json!({"$ref": "#/$defs/missing"})).contains("other documents"));
        assert_eq!(
            check_schema(&json!({"$ref": "#/$defs/a", "$defs": {"a": {}}})),
            Ok(())
        );
    }

    #[test]
    fn the_first_of_two_tools_with_one_name_stays() {
        let catalogue = Catalogue::new(1, [Arc::new(echo()), Arc::new(echo())]);
        assert_eq!(catalogue.tools().len(), 1);
        assert!(catalogue.get("echo").is_some());
        assert!(catalogue.get("nope").is_none());
    }
}
