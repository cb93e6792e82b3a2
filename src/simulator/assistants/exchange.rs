//! Requests that a run answers: it is created, alone or with its thread, or is given the outputs of tools.

use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::objects::{self, Fields};
use super::telling::{Teller, Told};
use super::{Objects, Thread, missing};
use crate::simulator::ask::{Ask, Offer};
use crate::simulator::refusal::Refusal;
use crate::simulator::server::Stamp;
use crate::simulator::turn::Speech;

/// How many messages a request may bring.
const MOST_MESSAGES: usize = 32;
/// Ids of one answer that messages of the request may use.
const IDS_OF_REQUEST: usize = MOST_MESSAGES + 1;

/// A request, read: what becomes of the thread when it is answered.
#[derive(Debug)]
pub(in crate::simulator) struct Exchange {
    pub(super) thread: String,
    /// The thread, if it is created with the run.
    pub(super) new_thread: Option<Value>,
    /// Messages that the request brings.
    pub(super) messages: Vec<Value>,
    /// The run as it is queued.
    pub(super) run: Value,
    /// Its steps so far.
    pub(super) steps: Vec<Value>,
    pub(super) is_new: bool,
}

impl Exchange {
    /// The answer, told to its end.
    pub fn tell(&self, ask: &Ask, speech: &Speech, stamp: &Stamp) -> serde_json::Result<Told> {
        let mut teller = Teller::new(self.run.clone(), speech, stamp, IDS_OF_REQUEST);
        if let Some(thread) = &self.new_thread {
            teller.event("thread.created", thread)?;
        }
        if self.is_new {
            teller.event("thread.run.created", &objects::shown(&self.run))?;
        } else if let Some(step) = self.steps.last() {
            teller.event("thread.run.step.completed", step)?;
        }
        teller.tell(ask)
    }
}

/// Reads a request for a run, in this thread or in one of its own.
pub(super) fn start(
    objects: &mut Objects,
    thread: Option<&str>,
    given: Fields,
    stamp: &Stamp,
) -> Result<super::Reply, Refusal> {
    let assistant_id = objects::text(&given, "assistant_id")?;
    let assistant = objects
        .assistants
        .get(assistant_id)
        .cloned()
        .ok_or_else(|| missing(format!("No assistant found with id '{assistant_id}'.")))?;
    let (id, new_thread, messages, before) = match thread {
        Some(id) => {
            let thread = objects.thread(id)?;
            refuse_if_active(thread, "create a run in")?;
            let messages = messages(given.get("additional_messages"), id, stamp)?;
            (id.to_owned(), None, messages, &*thread.messages)
        }
        None => {
            let id = stamp.id("thread_", 0);
            let fields = match given.get("thread") {
                Some(Value::Object(fields)) => fields.clone(),
                _ => Fields::new(),
            };
            let object = objects::thread(&id, stamp.created_s, &fields);
            let messages = messages(fields.get("messages"), &id, stamp)?;
            (id, Some(object), messages, [].as_slice())
        }
    };
    let run_id = stamp.id("run_", 0);
    let run = objects::run(&run_id, stamp.created_s, &id, &assistant, &given);
    let history = || before.iter().chain(&messages);
    let ask = ask(&run, history(), Vec::new(), &given)?;
    let exchange = Exchange {
        thread: id,
        new_thread,
        messages,
        run,
        steps: Vec::new(),
        is_new: true,
    };
    Ok(super::Reply::Answer(Box::new(exchange), ask))
}

/// Reads the outputs of the tools that a run waits for.
pub(super) fn submit(thread: &mut Thread, run: &str, given: &Fields) -> Result<super::Reply, Refusal> {
    let run = thread.run(run)?;
    if run.object["status"] != "requires_action" {
        let status = run.object["status"].as_str().unwrap_or_default();
        let message = format!("Runs in status \"{status}\" do not accept tool outputs.");
        return Err(Refusal::invalid(None, None, message));
    }
    let given_outputs = given.get("tool_outputs").and_then(Value::as_array);
    let given_outputs = given_outputs.ok_or_else(|| Refusal::missing("tool_outputs"))?;
    let (mut object, mut steps) = (run.object.clone(), run.steps.clone());
    let output_of = |id: &Value| {
        let found = given_outputs.iter().find(|output| output["tool_call_id"] == *id);
        found.map(|output| output["output"].as_str().unwrap_or_default().to_owned())
    };
    let listed = object["required_action"]["submit_tool_outputs"]["tool_calls"].take();
    let ids: Vec<&Value> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| &call["id"])
        .collect();
    let outputs: Option<Vec<String>> = ids.iter().map(|id| output_of(id)).collect();
    let Some(outputs) = outputs.filter(|outputs| outputs.len() == given_outputs.len()) else {
        let got: Vec<&Value> = given_outputs
            .iter()
            .map(|output| &output["tool_call_id"])
            .collect();
        let message = format!(
            "Expected tool outputs for call_ids {}, got {}",
            json!(ids),
            json!(got)
        );
        return Err(Refusal::invalid(Some("tool_outputs"), None, message));
    };
    object["required_action"] = Value::Null;
    object["status"] = json!("queued");
    if let Some(step) = steps.last_mut() {
        step["status"] = json!("completed");
        step["completed_at"] = object["started_at"].clone();
        let calls = step["step_details"]["tool_calls"].as_array_mut();
        for (call, output) in calls.into_iter().flatten().zip(&outputs) {
            call["function"]["output"] = json!(output);
        }
    }
    // All that this run's tools have said since the question, over all its turns.
    let said = steps
        .iter()
        .flat_map(|step| step["step_details"]["tool_calls"].as_array());
    let all = said
        .flatten()
        .filter_map(|call| call["function"]["output"].as_str());
    let outputs = all.map(str::to_owned).collect();
    let ask = ask(&object, thread.messages.iter(), outputs, given)?;
    let exchange = Exchange {
        thread: object["thread_id"].as_str().unwrap_or_default().to_owned(),
        new_thread: None,
        messages: Vec::new(),
        run: object,
        steps,
        is_new: false,
    };
    Ok(super::Reply::Answer(Box::new(exchange), ask))
}

fn ask<'a>(
    run: &Value,
    history: impl Iterator<Item = &'a Value>,
    outputs: Vec<String>,
    given: &Fields,
) -> Result<Ask, Refusal> {
    let (mut message, mut input_bytes) = (String::new(), 0);
    for one in history {
        let said = objects::said(one);
        input_bytes += said.len();
        if one["role"] == "user" {
            message = said;
        }
    }
    let tools = run["tools"].as_array().into_iter().flatten();
    let functions = tools.filter(|tool| tool["type"] == "function");
    let names = functions.map(|tool| tool["function"]["name"].as_str().map(str::to_owned));
    let names: Option<Vec<String>> = names.collect();
    let names = names.ok_or_else(|| Refusal::missing("tools[].function.name"))?;
    let choice = to_raw_value(&run["tool_choice"])?;
    input_bytes += run["instructions"].as_str().map_or(0, str::len) + run["tools"].to_string().len();
    input_bytes += outputs.iter().map(String::len).sum::<usize>();
    Ok(Ask {
        model: run["model"].as_str().unwrap_or_default().to_owned(),
        message,
        outputs,
        tools: Offer::new(names, Some(&choice))?,
        stream: given.get("stream").and_then(Value::as_bool).unwrap_or(false),
        input_bytes,
    })
}

/// Messages that a request brings, if it does.
pub(super) fn messages(given: Option<&Value>, thread: &str, stamp: &Stamp) -> Result<Vec<Value>, Refusal> {
    let Some(given) = given.and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    if given.len() > MOST_MESSAGES {
        let message = format!(
            "Invalid 'messages': array too long. Expected an array with maximum length {MOST_MESSAGES}, \
             but got an array with length {} instead.",
            given.len()
        );
        return Err(Refusal::invalid(
            Some("messages"),
            Some("array_above_max_length"),
            message,
        ));
    }
    let read = |(index, message): (usize, &Value)| match message {
        Value::Object(fields) => {
            objects::given_message(&stamp.id("msg_", index + 1), stamp.created_s, thread, fields)
        }
        _ => Err(Refusal::invalid(
            Some("messages"),
            Some("invalid_type"),
            "Expected an object.",
        )),
    };
    given.iter().enumerate().map(read).collect()
}

/// How much memory the messages take, about.
pub(super) fn weight(messages: &[Value]) -> usize {
    const FIELDS_BYTES: usize = 500;
    messages
        .iter()
        .map(|message| objects::said(message).len() + FIELDS_BYTES)
        .sum()
}

pub(super) fn refuse_if_active(thread: &Thread, what: &str) -> Result<(), Refusal> {
    let Some(run) = thread.active() else { return Ok(()) };
    let message = format!(
        "Can't {what} {} while a run {} is active.",
        thread.object["id"].as_str().unwrap_or_default(),
        run.object["id"].as_str().unwrap_or_default()
    );
    Err(Refusal::invalid(None, None, message))
}
