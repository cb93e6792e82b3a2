//! The calls of one turn, and their answers in the model's order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::Effect;
use super::journal::Journal;
use crate::run::catalogue::{Catalogue, Tool};
use crate::run::event::Body;
use crate::run::id::{CallId, MessageId, Mint, RunId, StepId};
use crate::run::message::{CallOutput, Message, Part, Role, ToolCall, ToolOutput};
use crate::run::step::{Step, StepState, Work};

/// What a call is answered with when nobody knows what became of it.
const UNKNOWN_OUTCOME: &str = "the outcome is not known: the process died during the call";

#[derive(Debug)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// How many may go on at once.
    parallel: usize,
}

#[derive(Debug)]
struct Slot {
    call: ToolCall,
    step: Step,
    /// What to call and with what, until it is called.
    ready: Option<(Arc<Tool>, Map<String, Value>)>,
    is_called: bool,
    output: Option<Arc<ToolOutput>>,
}

/// What a change of the calls brings.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Steps that are new or have changed.
    pub(super) steps: Vec<Step>,
    /// Calls that are answered.
    pub(super) bodies: Vec<Body>,
    /// Calls to make, once the steps are written.
    pub(super) made: Vec<Effect>,
}

impl Calls {
    /// The calls that a message asks for. Those that can be made are up to `allowed`, of tools that exist, with
    /// arguments that fit; the others are answered at once, with what is wrong.
    pub(super) fn new(
        message: &Message,
        allowed: u32,
        parallel: usize,
        catalogue: &Catalogue,
        journal: &mut Journal,
        mint: &mut Mint,
        now: SystemTime,
    ) -> (Self, Change) {
        let turn = journal.record().usage.turns;
        let mut change = Change::default();
        let slots = message.tool_calls().enumerate().map(|(index, call)| {
            let mut slot = Slot::new(call, turn, catalogue, journal.place(), mint, now);
            let problem = if index >= allowed as usize {
                Some("not called: the run's tool calls are used up".to_owned())
            } else {
                slot.prepare(catalogue).err()
            };
            match problem {
                Some(text) => {
                    let body = slot.fill(
                        ToolOutput::failure(text),
                        Duration::ZERO,
                        StepState::Completed,
                        now,
                    );
                    change.bodies.push(body);
                }
                None => journal.count(0, 1),
            }
            slot
        });
        let mut calls = Self {
            slots: slots.collect(),
            parallel: parallel.max(1),
        };
        change.made = calls.start(now);
        change.steps = calls.slots.iter().map(|slot| slot.step.clone()).collect();
        (calls, change)
    }

    /// The calls of a turn that a dead process was at, as the ledger has them. One that may have had its effect
    /// is made again only if that does no harm.
    pub(super) fn resumed(
        message: &Message,
        steps: &[Arc<Step>],
        parallel: usize,
        catalogue: &Catalogue,
        journal: &mut Journal,
        mint: &mut Mint,
        now: SystemTime,
    ) -> (Self, Change) {
        let turn = journal.record().usage.turns;
        let mut change = Change::default();
        let slots = message.tool_calls().map(|call| {
            let kept = steps.iter().find(|step| is_of(step, &call.id));
            let is_untouched = kept.is_some_and(|step| step.state == StepState::Waiting);
            let mut slot = match kept {
                Some(step) => Slot::of(call, step),
                None => Slot::new(call, turn, catalogue, journal.place(), mint, now),
            };
            if slot.output.is_some() {
                return slot;
            }
            let is_safe = is_untouched || is_repeatable(catalogue, &call.tool);
            let problem = match is_safe {
                true => slot.prepare(catalogue).err(),
                false => Some(UNKNOWN_OUTCOME.to_owned()),
            };
            if let Some(text) = problem {
                let output = ToolOutput::failure(text);
                change
                    .bodies
                    .push(slot.fill(output, Duration::ZERO, StepState::Completed, now));
            }
            slot
        });
        let mut calls = Self {
            slots: slots.collect(),
            parallel: parallel.max(1),
        };
        change.made = calls.start(now);
        change.steps = calls.slots.iter().map(|slot| slot.step.clone()).collect();
        (calls, change)
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

    /// Keeps the output of a call that is open, which makes room for another; a second answer to one call
    /// changes nothing.
    pub(super) fn answer(
        &mut self,
        call: &CallId,
        output: ToolOutput,
        duration: Duration,
        now: SystemTime,
    ) -> Option<Change> {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.output.is_none() && slot.call.id == *call)?;
        let body = slot.fill(output, duration, StepState::Completed, now);
        let mut steps = vec![slot.step.clone()];
        let made = self.start(now);
        let started = |slot: &&Slot| made.iter().any(|effect| calls(effect, &slot.call.id));
        steps.extend(self.slots.iter().filter(started).map(|slot| slot.step.clone()));
        Some(Change {
            steps,
            bodies: vec![body],
            made,
        })
    }

    /// Answers every open call with the note.
    pub(super) fn give_up(&mut self, note: &str, now: SystemTime) -> Change {
        let mut change = Change::default();
        for slot in self.slots.iter_mut().filter(|slot| slot.output.is_none()) {
            let output = ToolOutput::failure(note);
            change
                .bodies
                .push(slot.fill(output, Duration::ZERO, StepState::Cancelled, now));
            change.steps.push(slot.step.clone());
        }
        change
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
            metadata: Default::default(),
        })
    }

    /// Starts as many of the calls that wait as there is room for.
    fn start(&mut self, now: SystemTime) -> Vec<Effect> {
        let at_work = self
            .slots
            .iter()
            .filter(|slot| slot.is_called && slot.output.is_none())
            .count();
        let room = self.parallel.saturating_sub(at_work);
        let waiting = self.slots.iter_mut().filter(|slot| slot.ready.is_some());
        waiting
            .take(room)
            .filter_map(|slot| {
                let (tool, arguments) = slot.ready.take()?;
                slot.is_called = true;
                slot.step.state = StepState::Running;
                slot.step.start_time = Some(now);
                Some(Effect::CallTool {
                    call: slot.call.id.clone(),
                    tool,
                    arguments,
                })
            })
            .collect()
    }
}

impl Slot {
    fn new(
        call: &ToolCall,
        turn: u32,
        catalogue: &Catalogue,
        place: u32,
        mint: &mut Mint,
        now: SystemTime,
    ) -> Self {
        let server = catalogue
            .get(&call.tool)
            .map_or("", |tool| tool.description().server.as_str());
        Self {
            call: call.clone(),
            step: Step {
                id: StepId::new(mint),
                place,
                turn,
                work: Work::ToolCall {
                    call: call.clone(),
                    server: server.to_owned(),
                    output: None,
                    duration: Duration::ZERO,
                },
                state: StepState::Waiting,
                create_time: now,
                start_time: None,
                end_time: None,
            },
            ready: None,
            is_called: false,
            output: None,
        }
    }

    /// A call that the ledger knows.
    fn of(call: &ToolCall, step: &Step) -> Self {
        let output = match &step.work {
            Work::ToolCall { output, .. } => output.clone(),
            Work::ModelTurn { .. } => None,
        };
        Self {
            call: call.clone(),
            step: step.clone(),
            ready: None,
            is_called: false,
            output,
        }
    }

    /// Reads the arguments for the tool, or says what is wrong.
    fn prepare(&mut self, catalogue: &Catalogue) -> Result<(), String> {
        let call = &self.call;
        let tool = catalogue
            .get(&call.tool)
            .ok_or_else(|| format!("there is no tool named {}", call.tool))?;
        let arguments = tool.read_arguments(&call.arguments)?;
        self.ready = Some((Arc::clone(tool), arguments));
        Ok(())
    }

    fn fill(&mut self, output: ToolOutput, took: Duration, state: StepState, now: SystemTime) -> Body {
        let output = Arc::new(output);
        self.output = Some(Arc::clone(&output));
        self.ready = None;
        self.step.state = state;
        self.step.end_time = Some(now);
        if let Work::ToolCall {
            output: kept,
            duration,
            ..
        } = &mut self.step.work
        {
            *kept = Some(Arc::clone(&output));
            *duration = took;
        }
        Body::ToolCallCompleted {
            call: self.call.id.clone(),
            tool: self.call.tool.clone(),
            output,
            duration: took,
        }
    }
}

fn calls(effect: &Effect, id: &CallId) -> bool {
    matches!(effect, Effect::CallTool { call, .. } if call == id)
}

fn is_of(step: &Step, id: &CallId) -> bool {
    matches!(&step.work, Work::ToolCall { call, .. } if call.id == *id)
}

/// Whether a second call of the tool does no harm, as its server says.
fn is_repeatable(catalogue: &Catalogue, tool: &str) -> bool {
    let annotations = catalogue.get(tool).map(|tool| tool.description().annotations);
    annotations.is_some_and(|says| says.read_only == Some(true) || says.idempotent == Some(true))
}
