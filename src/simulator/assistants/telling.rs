//! What a run says: its events, and what is left of it in its thread.

use serde_json::{Value, json};

use super::objects;
use crate::simulator::ask::Ask;
use crate::simulator::server::Stamp;
use crate::simulator::sse::Events;
use crate::simulator::turn::{Call, Finish, Item, Pieces, Speech, Tokens};

/// A turn of a run, told to its end.
pub(in crate::simulator) struct Told {
    pub events: Events,
    /// The messages that the turn adds to the thread.
    pub messages: Vec<Value>,
    /// The steps that the turn adds to the run.
    pub steps: Vec<Value>,
    /// The run at the end of the turn.
    pub run: Value,
}

/// Tells a turn, event by event.
pub(super) struct Teller<'a> {
    told: Told,
    speech: &'a Speech,
    stamp: &'a Stamp,
    /// Ids given so far.
    ids: usize,
}

/// Whether a message says text, and what that refers to, or a refusal.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Text(&'a [Value]),
    Refusal,
}

impl<'a> Teller<'a> {
    /// Begins with a run as it is queued. `ids` are the ids of this stamp that are in use.
    pub fn new(run: Value, speech: &'a Speech, stamp: &'a Stamp, ids: usize) -> Self {
        Teller {
            told: Told {
                events: Events::new(),
                messages: Vec::new(),
                steps: Vec::new(),
                run,
            },
            speech,
            stamp,
            ids,
        }
    }

    /// Tells one event of before the turn.
    pub fn event(&mut self, name: &str, data: &Value) -> serde_json::Result<()> {
        self.told.events.named(name, data)
    }

    /// Tells the turn to its end.
    pub fn tell(mut self, ask: &Ask) -> serde_json::Result<Told> {
        self.run_event("queued")?;
        self.told.run["started_at"] = json!(self.stamp.created_s);
        self.run_event("in_progress")?;
        let last = self.speech.items.len().saturating_sub(1);
        for (index, item) in self.speech.items.iter().enumerate() {
            let is_broken_off = index == last && self.speech.finish != Finish::Stop;
            match item {
                Item::Text(pieces) => self.message(Kind::Text(&[]), pieces, is_broken_off)?,
                Item::Cited(cited) => {
                    let annotations = objects::annotations(&cited.annotations, &cited.text.text());
                    self.message(Kind::Text(&annotations), &cited.text, is_broken_off)?;
                }
                Item::Refusal(pieces) => self.message(Kind::Refusal, pieces, is_broken_off)?,
                // Calls come together, at the end; reasoning has no form in this API.
                Item::Call(_) | Item::Reasoning(_) => {}
            }
        }
        let calls: Vec<&Call> = self.speech.calls().collect();
        let calls = match calls.is_empty() {
            true => Vec::new(),
            false => self.calls(&calls)?,
        };
        self.end(calls, ask)?;
        self.told.events.named_done();
        Ok(self.told)
    }

    fn id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        self.stamp.id(prefix, self.ids)
    }

    fn run_event(&mut self, status: &str) -> serde_json::Result<()> {
        self.told.run["status"] = json!(status);
        let name = format!("thread.run.{status}");
        let shown = objects::shown(&self.told.run);
        self.told.events.named(&name, &shown)
    }

    fn delta(&mut self, name: &str, data: &Value) -> serde_json::Result<()> {
        let start = self.told.events.bytes.len();
        self.told.events.named(name, data)?;
        self.told.events.mark_delta(start);
        Ok(())
    }

    fn begin_step(&mut self, details: Value) -> serde_json::Result<Value> {
        let id = self.id("step_");
        let step = objects::step(&id, self.stamp.created_s, &self.told.run, details);
        self.event("thread.run.step.created", &step)?;
        self.event("thread.run.step.in_progress", &step)?;
        Ok(step)
    }

    fn message(&mut self, kind: Kind<'_>, pieces: &Pieces, is_broken_off: bool) -> serde_json::Result<()> {
        let (id, now) = (self.id("msg_"), self.stamp.created_s);
        let details = json!({"type": "message_creation", "message_creation": {"message_id": id}});
        let mut step = self.begin_step(details)?;
        let thread = self.told.run["thread_id"].as_str().unwrap_or_default();
        let mut message = objects::message(&id, now, thread, "assistant");
        message["assistant_id"] = self.told.run["assistant_id"].clone();
        message["run_id"] = self.told.run["id"].clone();
        self.event("thread.message.created", &message)?;
        self.event("thread.message.in_progress", &message)?;
        let delta_of =
            |part: Value| json!({"id": id, "object": "thread.message.delta", "delta": {"content": [part]}});
        for piece in pieces.deltas() {
            let part = match kind {
                Kind::Text(_) => json!({"index": 0, "type": "text", "text": {"value": piece}}),
                Kind::Refusal => json!({"index": 0, "type": "refusal", "refusal": piece}),
            };
            self.delta("thread.message.delta", &delta_of(part))?;
        }
        if let Kind::Text(annotations @ [_, ..]) = kind {
            let numbered = annotations.iter().enumerate().map(|(index, annotation)| {
                let mut annotation = annotation.clone();
                annotation["index"] = json!(index);
                annotation
            });
            let annotations: Vec<Value> = numbered.collect();
            let part = json!({"index": 0, "type": "text", "text": {"annotations": annotations}});
            self.event("thread.message.delta", &delta_of(part))?;
        }
        message["content"] = json!([match kind {
            Kind::Text(annotations) => objects::cited_part(&pieces.text(), annotations),
            Kind::Refusal => objects::refusal_part(&pieces.text()),
        }]);
        if is_broken_off {
            let reason = match self.speech.finish {
                Finish::ContentFilter => "content_filter",
                Finish::Failed => "run_failed",
                Finish::Length | Finish::Stop => "max_tokens",
            };
            message["status"] = json!("incomplete");
            message["incomplete_at"] = json!(now);
            message["incomplete_details"] = json!({ "reason": reason });
            self.event("thread.message.incomplete", &message)?;
        } else {
            message["status"] = json!("completed");
            message["completed_at"] = json!(now);
            self.event("thread.message.completed", &message)?;
        }
        step["status"] = json!("completed");
        step["completed_at"] = json!(now);
        self.event("thread.run.step.completed", &step)?;
        self.told.messages.push(message);
        self.told.steps.push(step);
        Ok(())
    }

    /// The calls as the run's `required_action` lists them.
    fn calls(&mut self, calls: &[&Call]) -> serde_json::Result<Vec<Value>> {
        let mut step = self.begin_step(json!({"type": "tool_calls", "tool_calls": []}))?;
        let step_id = step["id"].clone();
        let (mut listed, mut detailed) = (Vec::new(), Vec::new());
        for (index, call) in calls.iter().enumerate() {
            let id = match &call.id {
                Some(id) => id.clone(),
                None => self.id("call_"),
            };
            let delta = |call: Value| {
                json!({"id": step_id, "object": "thread.run.step.delta",
                    "delta": {"step_details": {"type": "tool_calls", "tool_calls": [call]}}})
            };
            self.event(
                "thread.run.step.delta",
                &delta(json!({"index": index, "id": id, "type": "function",
                    "function": {"name": call.name, "arguments": "", "output": null}})),
            )?;
            for piece in call.arguments.deltas() {
                let more = json!({"index": index, "type": "function", "function": {"arguments": piece}});
                self.delta("thread.run.step.delta", &delta(more))?;
            }
            let arguments = call.arguments.text();
            listed.push(json!({"id": id, "type": "function",
                "function": {"name": call.name, "arguments": arguments}}));
            detailed.push(json!({"id": id, "type": "function",
                "function": {"name": call.name, "arguments": arguments, "output": null}}));
        }
        step["step_details"]["tool_calls"] = Value::Array(detailed);
        self.told.steps.push(step);
        Ok(listed)
    }

    fn end(&mut self, calls: Vec<Value>, ask: &Ask) -> serde_json::Result<()> {
        let now = self.stamp.created_s;
        let run = &mut self.told.run;
        count(run, &Tokens::of(ask, self.speech));
        let status = match self.speech.finish {
            Finish::Stop if !calls.is_empty() => {
                run["required_action"] =
                    json!({"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}});
                "requires_action"
            }
            Finish::Stop => {
                run["completed_at"] = json!(now);
                "completed"
            }
            Finish::Length => {
                run["incomplete_details"] = json!({"reason": "max_completion_tokens"});
                "incomplete"
            }
            // This API has no word for it here, only at the message.
            Finish::ContentFilter => {
                run["incomplete_details"] = json!({});
                "incomplete"
            }
            Finish::Failed => {
                run["failed_at"] = json!(now);
                run["last_error"] = json!({"code": "server_error",
                    "message": "The model failed to generate a response (simulated)."});
                "failed"
            }
        };
        self.run_event(status)
    }
}

/// Adds a turn's tokens to those of the run.
fn count(run: &mut Value, tokens: &Tokens) {
    let before = |name: &str| run["usage"][name].as_u64().unwrap_or(0);
    let prompt = before("prompt_tokens") + tokens.input as u64;
    let completion = before("completion_tokens") + tokens.output as u64;
    run["usage"] = json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    });
}
