//! The calls of one turn, and their answers in the model's order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Effect;
use crate::run::catalogue::Catalogue;
use crate::run::event::Body;
use crate::run::id::{CallId, MessageId, Mint, RunId};
use crate::run::message::{CallOutput, Message, Part, Role, ToolCall, ToolOutput};

#[derive(Debug)]
pub(super) struct Calls {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    call: ToolCall,
    output: Option<Arc<ToolOutput>>,
}

impl Calls {
    /// The calls that a message asks for.
    pub(super) fn new(message: &Message) -> Self {
        let slots = message.tool_calls().map(|call| Slot {
            call: call.clone(),
            output: None,
        });
        Self {
            slots: slots.collect(),
        }
    }

    /// Which calls can be made: up to `allowed`, of tools that exist, with arguments that fit. The others are
    /// answered at once, with what is wrong.
    pub(super) fn admit(&mut self, allowed: u32, catalogue: &Catalogue) -> (Vec<Effect>, Vec<Body>) {
        let mut made = Vec::new();
        let mut rejected = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let call = &slot.call;
            let admitted = if index >= allowed as usize {
                Err("not called: the run's tool calls are used up".to_owned())
            } else {
                match catalogue.get(&call.tool) {
                    None => Err(format!("there is no tool named {}", call.tool)),
                    Some(tool) => tool
                        .read_arguments(&call.arguments)
                        .map(|arguments| Effect::CallTool {
                            call: call.id.clone(),
                            tool: Arc::clone(tool),
                            arguments,
                        }),
                }
            };
            match admitted {
                Ok(effect) => made.push(effect),
                Err(text) => rejected.push(slot.fill(ToolOutput::failure(text), Duration::ZERO)),
            }
        }
        (made, rejected)
    }

    /// Whether more was asked for than was allowed.
    pub(super) fn exceeded(&self, allowed: u32) -> bool {
        self.slots.len() > allowed as usize
    }

    pub(super) fn is_open(&self, call: &CallId) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.output.is_none() && slot.call.id == *call)
    }

    pub(super) fn are_answered(&self) -> bool {
        self.slots.iter().all(|slot| slot.output.is_some())
    }

    /// Keeps the output of a call that is open; a second answer to one call changes nothing.
    pub(super) fn answer(&mut self, call: &CallId, output: ToolOutput, duration: Duration) -> Option<Body> {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.output.is_none() && slot.call.id == *call)?;
        Some(slot.fill(output, duration))
    }

    /// Answers every open call with the note.
    pub(super) fn give_up(&mut self, note: &str) -> Vec<Body> {
        let open = self.slots.iter_mut().filter(|slot| slot.output.is_none());
        open.map(|slot| slot.fill(ToolOutput::failure(note), Duration::ZERO))
            .collect()
    }

    /// The outputs as one message.
    pub(super) fn message(&self, run: &RunId, mint: &mut Mint, now: SystemTime) -> Arc<Message> {
        let outputs = self.slots.iter().filter_map(|slot| {
            let output = slot.output.as_deref()?.clone();
            Some(Part::ToolOutput(CallOutput {
                call: slot.call.id.clone(),
                tool: slot.call.tool.clone(),
                output,
            }))
        });
        Arc::new(Message {
            id: MessageId::new(mint),
            role: Role::Tool,
            content: outputs.collect(),
            run: Some(run.clone()),
            incomplete: false,
            create_time: now,
        })
    }
}

impl Slot {
    fn fill(&mut self, output: ToolOutput, duration: Duration) -> Body {
        let output = Arc::new(output);
        self.output = Some(Arc::clone(&output));
        Body::ToolCallCompleted {
            call: self.call.id.clone(),
            tool: self.call.tool.clone(),
            output,
            duration,
        }
    }
}
