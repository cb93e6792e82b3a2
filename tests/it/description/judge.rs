//! Judges everything that the service sends to the simulator, and everything that the simulator answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use assistd::simulator::{Said, Script};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Description, description, discriminate, validator_of};

/// What the description forbids although real servers need it, with the reason.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "/components/schemas/CreateRunRequest/properties/tools/anyOf/0/maxItems",
        "128",
        "an assistant may have 128 tools, and a run that overrides them no fewer",
    ),
    (
        "/components/schemas/CreateThreadAndRunRequest/properties/tools/anyOf/0/maxItems",
        "128",
        "as for a run in a thread that is there",
    ),
];
/// The same for the answers that repeat them.
const RUN_TOOLS: &str = "/components/schemas/RunObject/properties/tools/maxItems";

/// The script, judged, where the description lies beside the project.
pub fn judged(script: Script) -> Script {
    static JUDGE: OnceLock<Option<Arc<Judge>>> = OnceLock::new();
    let judge = JUDGE.get_or_init(|| description().map(|description| Arc::new(Judge::new(description))));
    let Some(judge) = judge else { return script };
    let (of_requests, of_answers) = (Arc::clone(judge), Arc::clone(judge));
    script
        .validating(move |path, body| of_requests.request(path, body))
        .reviewing(move |method, path, said| of_answers.answer(method, path, said))
}

struct Judge {
    document: Value,
    /// With discriminators instead of `oneOf`, as requests are read.
    requests: Value,
    known: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Judge {
    fn new(Description { mut document }: Description) -> Self {
        for (place, value, _) in EXCEPTIONS {
            *document.pointer_mut(place).expect("the description has it") = value.parse().expect("JSON");
        }
        *document.pointer_mut(RUN_TOOLS).expect("the description has it") = json!(128);
        let mut requests = document["components"].clone();
        discriminate(&mut requests);
        Self {
            document,
            requests,
            known: Mutex::default(),
        }
    }

    fn request(&self, path: &str, body: &Value) -> Result<(), String> {
        let (template, operation) = self.operation("post", path)?;
        match operation.pointer("/requestBody/content/application~1json/schema") {
            Some(schema) => self.check(&format!("request {template}"), &self.requests, schema, body),
            // A cancel has no body.
            None if body.is_null() => Ok(()),
            None => Err("a body that nobody asked for".to_owned()),
        }
    }

    fn answer(&self, method: &str, path: &str, said: &Said<'_>) -> Result<(), String> {
        let components = &self.document["components"];
        let named = |name: &str, value: &Value| {
            let schema = json!({"$ref": format!("#/components/schemas/{name}")});
            self.check(name, components, &schema, value)
        };
        match said {
            Said::Whole(400.., body) => named("ErrorResponse", body),
            Said::Whole(_, body) => {
                let (template, operation) = self.operation(&method.to_lowercase(), path)?;
                let place = "/responses/200/content/application~1json/schema";
                match operation.pointer(place) {
                    Some(schema) => {
                        self.check(&format!("answer {method} {template}"), components, schema, body)
                    }
                    None => Ok(()),
                }
            }
            Said::Event(_, Value::String(end)) if end == "[DONE]" => Ok(()),
            Said::Event(_, data) if data.get("error").is_some_and(Value::is_object) => {
                named("ErrorResponse", data)
            }
            Said::Event("", data) => named("CreateChatCompletionStreamResponse", data),
            Said::Event(name, data) if name.starts_with("thread.") => {
                let schema = match *name {
                    "thread.created" => "ThreadStreamEvent",
                    name if name.starts_with("thread.run.step.") => "RunStepStreamEvent",
                    name if name.starts_with("thread.run.") => "RunStreamEvent",
                    _ => "MessageStreamEvent",
                };
                named(schema, &json!({"event": name, "data": data}))
            }
            Said::Event(_, data) => named("ResponseStreamEvent", data),
        }
    }

    /// The operation that the path stands for, with the path's template.
    fn operation(&self, method: &str, path: &str) -> Result<(&str, &Value), String> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        let paths = self.document["paths"].as_object().expect("it has paths");
        let fits = |template: &str| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            loop {
                match (wanted.next(), given.next()) {
                    (None, None) => return true,
                    (Some(wanted), Some(given)) if wanted.starts_with('{') || wanted == given => {}
                    _ => return false,
                }
            }
        };
        // A path without a parameter is closer than one with.
        let found = paths
            .iter()
            .filter(|(template, operations)| fits(template) && operations.get(method).is_some())
            .min_by_key(|(template, _)| template.matches('{').count());
        let (template, operations) = found.ok_or_else(|| format!("no operation {method} {path}"))?;
        Ok((template, &operations[method]))
    }

    fn check(&self, name: &str, components: &Value, schema: &Value, value: &Value) -> Result<(), String> {
        let known = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let make = || Arc::new(validator_of(components.clone(), schema));
            Arc::clone(known.entry(name.to_owned()).or_insert_with(make))
        };
        let errors: Vec<String> = known
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(format!("{name}: {}\n{value:#}", errors.join("; "))),
        }
    }
}
