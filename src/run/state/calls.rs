//! The calls of one turn, and their answers in the model's order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::journal::Journal;
use super::sampling::{Asked, not_called};
use super::{Effect, Terms};
use crate::run::action::{Action, Answer, Asking, Request, Resolution, Submission};
use crate::run::catalogue::{Catalogue, Policy, Tool};
use crate::run::error::{Error, Reason};
use crate::run::event::Body;
use crate::run::id::{ActionId, CallId, MessageId, Mint, RunId, StepId};
use crate::run::message::{CallOutput, Message, Part, Role, ToolCall, ToolOutput, Usage};
use crate::run::ports::ModelEvent;
use crate::run::step::{Inquiry, Step, StepState, Work};

/// What a call beyond the limit is answered with. The ledger's word for it, too: a run that goes on after a crash
/// finds there that its calls are used up.
const USED_UP: &str = "not called: the run's tool calls are used up";

#[derive(Debug)]
pub(super) struct Calls {
    pub(super) slots: Vec<Slot>,
}

#[derive(Debug)]
pub(super) struct Slot {
    call: ToolCall,
    step: Step,
    /// What to call and with what, until it is called.
    ready: Option<(Arc<Tool>, Map<String, Value>)>,
    is_called: bool,
    output: Option<Arc<ToolOutput>>,
    /// What its server asks models.
    pub(super) asked: Vec<Asked>,
    /// What its server has used of models, as long as the run has not counted it.
    used: Usage,
}

/// An answer that fits.
struct Acceptance {
    action: ActionId,
    answer: Answer,
    /// What to call, if the call was approved.
    ready: Ready,
}

/// What a change of the calls brings.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Steps that are new or have changed.
    pub(super) steps: Vec<Step>,
    /// What tells of it.
    pub(super) bodies: Vec<Body>,
    /// Calls to make, once the steps are written.
    pub(super) made: Vec<Effect>,
}

impl Calls {
    /// The calls that a message asks for. Those that can be made are up to `allowed`, of tools that exist, with
    /// arguments that fit; the others are answered at once, with what is wrong. What is to be asked first is asked.
    pub(super) fn new(
        message: &Message,
        allowed: u32,
        terms: &Terms,
        journal: &mut Journal,
        mint: &mut Mint,
        now: SystemTime,
    ) -> (Self, Change) {
        let turn = journal.record().usage.turns;
        let mut change = Change::default();
        let slots = message.tool_calls().enumerate().map(|(index, call)| {
            let mut slot = Slot::new(call, turn, &terms.catalogue, journal.place(), mint, now);
            let problem = if index >= allowed as usize {
                Some(USED_UP.to_owned())
            } else {
                slot.prepare(terms, mint, now, &mut change.bodies).err()
            };
            match problem {
                Some(text) => {
                    let output = ToolOutput::failure(text);
                    let body = slot.fill(output, Duration::ZERO, StepState::Completed, now);
                    change.bodies.push(body);
                }
                None => journal.count(0, 1),
            }
            slot
        });
        let mut calls = Self {
            slots: slots.collect(),
        };
        change.made = calls.start(terms, now);
        change.steps = calls.slots.iter().map(|slot| slot.step.clone()).collect();
        (calls, change)
    }

    /// The calls of a turn as the ledger has them.
    pub(super) fn recorded(
        message: &Message,
        steps: &[Arc<Step>],
        terms: &Terms,
        journal: &mut Journal,
        mint: &mut Mint,
        now: SystemTime,
    ) -> (Self, Change) {
        let turn = journal.record().usage.turns;
        let mut change = Change::default();
        let slots = message.tool_calls().map(|call| {
            if let Some(step) = steps.iter().find(|step| is_of(step, &call.id)) {
                return Slot::of(call, step);
            }
            // The steps are written with their message; one that is not there was never begun.
            let mut slot = Slot::new(call, turn, &terms.catalogue, journal.place(), mint, now);
            let output = ToolOutput::failure("not called: the process died");
            let body = slot.fill(output, Duration::ZERO, StepState::Completed, now);
            change.bodies.push(body);
            change.steps.push(slot.step.clone());
            slot
        });
        let calls = Self {
            slots: slots.collect(),
        };
        (calls, change)
    }

    /// Goes on with calls that a dead process was at. One that may have had its effect is made again only if that
    /// does no harm; about any other, somebody is to decide.
    pub(super) fn resume(
        &mut self,
        mut recorded: Change,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
    ) -> Change {
        for slot in &mut self.slots {
            if let Err(text) = slot.resume(terms, mint, now, &mut recorded.bodies) {
                let output = ToolOutput::failure(text);
                let body = slot.fill(output, Duration::ZERO, StepState::Completed, now);
                recorded.bodies.push(body);
            }
        }
        Change {
            made: self.start(terms, now),
            steps: self.slots.iter().map(|slot| slot.step.clone()).collect(),
            bodies: recorded.bodies,
        }
    }

    /// What is asked and not answered yet, the oldest first.
    pub(super) fn pending(&self) -> Vec<Arc<Action>> {
        let pending = self.slots.iter().filter_map(|slot| slot.step.pending());
        pending.cloned().collect()
    }

    /// Whether a call waits for somebody whose tool is not in this catalogue: its server was not there when the run went
    /// on.
    pub(super) fn misses_a_tool(&self, catalogue: &Catalogue) -> bool {
        self.slots.iter().any(|slot| {
            let asked = slot.step.pending();
            asked.is_some_and(|action| catalogue.get(&action.call.tool).is_none())
        })
    }

    /// Whether any call is being made that does not itself wait for somebody.
    pub(super) fn is_at_work(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.is_at_work() && slot.step.pending().is_none())
    }

    /// Takes answers to what was asked: all of them or none.
    ///
    /// # Errors
    /// `ACTION_NOT_PENDING`; `VALIDATION_FAILED` for an answer that does not fit its action.
    pub(super) fn submit(
        &mut self,
        submissions: Vec<Submission>,
        terms: &Terms,
        now: SystemTime,
    ) -> Result<Change, Error> {
        let mut accepted = Vec::with_capacity(submissions.len());
        for (index, submission) in submissions.into_iter().enumerate() {
            let place = self
                .slots
                .iter()
                .position(|slot| slot.asks(&submission.action))
                .ok_or_else(|| not_pending(&submission.action))?;
            let slot = &self.slots[place];
            if slot.is_answered_by(&submission) {
                continue;
            }
            accepted.push((place, slot.accept(index, submission, terms)?));
        }
        let mut change = Change::default();
        let mut changed = Vec::with_capacity(accepted.len());
        for (place, acceptance) in accepted {
            let slot = &mut self.slots[place];
            if slot.step.pending().is_some() {
                change
                    .made
                    .extend(slot.resolve(acceptance, now, &mut change.bodies));
                changed.push(place);
            }
        }
        change.made.extend(self.start(terms, now));
        for (place, slot) in self.slots.iter().enumerate() {
            let is_started = change.made.iter().any(|effect| calls(effect, &slot.call.id));
            if is_started || changed.contains(&place) {
                change.steps.push(slot.step.clone());
            }
        }
        Ok(change)
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
        terms: &Terms,
        now: SystemTime,
    ) -> Option<Change> {
        let place = self.at_work(call)?;
        let slot = &mut self.slots[place];
        let mut bodies: Vec<Body> = slot.withdraw().into_iter().collect();
        bodies.push(slot.fill(output, duration, StepState::Completed, now));
        Some(self.changed(place, bodies, terms, now))
    }

    /// The tool of a call that goes on asks a person.
    pub(super) fn question(
        &mut self,
        call: &CallId,
        asking: Asking,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
    ) -> Option<Change> {
        let place = self.at_work(call)?;
        let slot = &mut self.slots[place];
        if !slot.is_called() || slot.step.pending().is_some() {
            return None;
        }
        let mut bodies = Vec::new();
        slot.pass_on(asking, terms, mint, now, &mut bodies);
        Some(self.changed(place, bodies, terms, now))
    }

    /// What was asked during a call need not be answered any more.
    pub(super) fn question_withdrawn(
        &mut self,
        call: &CallId,
        terms: &Terms,
        now: SystemTime,
    ) -> Option<Change> {
        let place = self.at_work(call)?;
        let withdrawn = self.slots[place].withdraw()?;
        Some(self.changed(place, vec![withdrawn], terms, now))
    }

    /// The server of a call that goes on asks a model.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` when the call does not go on.
    pub(super) fn samples(&mut self, call: &CallId, asked: Asked) -> Result<(), Error> {
        let place = self.at_work(call).ok_or_else(not_called)?;
        let slot = &mut self.slots[place];
        if !slot.is_called() {
            return Err(not_called());
        }
        slot.asked.push(asked);
        Ok(())
    }

    /// Takes what a model says to the server of a call: gives back what all such requests have used so far.
    pub(super) fn hear(
        &mut self,
        call: &CallId,
        request: u64,
        event: ModelEvent,
        now: SystemTime,
    ) -> Option<Usage> {
        let mut slots = self.slots.iter_mut();
        let slot = slots.find(|slot| slot.call.id == *call)?;
        let mut asked = slot.asked.iter_mut();
        asked.find(|asked| asked.request == request)?.hear(event, now);
        Some(self.open_tokens())
    }

    /// A request of the server of a call is over.
    pub(super) fn sampled(
        &mut self,
        call: &CallId,
        request: u64,
        failure: Option<&Error>,
        now: SystemTime,
    ) -> Option<Change> {
        let mut slots = self.slots.iter_mut();
        let slot = slots.find(|slot| slot.call.id == *call)?;
        let place = slot.asked.iter().position(|asked| asked.request == request)?;
        let asked = slot.asked.remove(place);
        slot.keep(
            asked,
            failure.map_or(StepState::Completed, StepState::failed),
            now,
        );
        Some(Change {
            steps: vec![slot.step.clone()],
            ..Change::default()
        })
    }

    /// What servers have used of models since this was last asked.
    pub(super) fn take_used(&mut self) -> Usage {
        let used = self.slots.iter_mut().map(|slot| std::mem::take(&mut slot.used));
        used.fold(Usage::default(), Usage::plus)
    }

    /// A call has broken off, and nobody knows whether it had its effect: somebody is to decide.
    pub(super) fn lost(
        &mut self,
        call: &CallId,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
    ) -> Option<Change> {
        let place = self.at_work(call)?;
        let slot = &mut self.slots[place];
        if !slot.is_called() {
            return None;
        }
        slot.is_called = false;
        let mut bodies: Vec<Body> = slot.withdraw().into_iter().collect();
        slot.give_up_asking(now);
        slot.ask_what_to_do(terms, mint, now, &mut bodies);
        Some(self.changed(place, bodies, terms, now))
    }

    /// The place of a call that is at work.
    fn at_work(&self, call: &CallId) -> Option<usize> {
        let is_it = |slot: &Slot| slot.is_at_work() && slot.call.id == *call;
        self.slots.iter().position(is_it)
    }

    /// What the change of one call brings, with the calls that there is room for now.
    fn changed(&mut self, place: usize, bodies: Vec<Body>, terms: &Terms, now: SystemTime) -> Change {
        let made = self.start(terms, now);
        let slots = self.slots.iter().enumerate();
        let changed =
            slots.filter(|(at, slot)| *at == place || made.iter().any(|effect| calls(effect, &slot.call.id)));
        Change {
            steps: changed.map(|(_, slot)| slot.step.clone()).collect(),
            bodies,
            made,
        }
    }

    /// Answers every open call with the reason, and says how what is still asked came to its end.
    pub(super) fn give_up(&mut self, why: &str, resolution: Resolution, now: SystemTime) -> Change {
        let mut change = Change::default();
        for slot in self.slots.iter_mut().filter(|slot| slot.output.is_none()) {
            if let Some(action) = slot.step.pending() {
                change.bodies.push(Body::ActionResolved {
                    action: action.id.clone(),
                    resolution,
                });
            }
            let what = match slot.step.start_time {
                Some(_) => "not finished",
                None => "not called",
            };
            let output = ToolOutput::failure(format!("{what}: {why}"));
            change
                .bodies
                .push(slot.fill(output, Duration::ZERO, StepState::Cancelled, now));
            change.steps.push(slot.step.clone());
        }
        change
    }

    /// The outputs as one message, each with no more text than the model is to read.
    pub(super) fn message(
        &self,
        run: &RunId,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
    ) -> Arc<Message> {
        let outputs = self.slots.iter().filter_map(|slot| {
            let whole = slot.output.as_deref()?;
            let cut = whole.cut(terms.tool_output_limit);
            let truncated = cut.is_some();
            let output = cut.unwrap_or_else(|| whole.clone());
            Some(Part::ToolOutput(CallOutput {
                call: slot.call.id.clone(),
                tool: slot.call.tool.clone(),
                output,
                truncated,
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
    fn start(&mut self, terms: &Terms, now: SystemTime) -> Vec<Effect> {
        let is_at_work = |slot: &&Slot| slot.is_called() && slot.step.pending().is_none();
        let at_work = self.slots.iter().filter(is_at_work).count();
        let room = terms.parallel_calls.max(1).saturating_sub(at_work);
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
                    action: None,
                    answer: None,
                    questions: Vec::new(),
                    sampled: Vec::new(),
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
            asked: Vec::new(),
            used: Usage::default(),
        }
    }

    /// A call that the ledger knows.
    fn of(call: &ToolCall, step: &Step) -> Self {
        let output = match &step.work {
            Work::ToolCall { output, .. } => output.clone(),
            Work::ModelTurn { .. } | Work::Summary { .. } => None,
        };
        Self {
            call: call.clone(),
            step: step.clone(),
            ready: None,
            is_called: false,
            output,
            asked: Vec::new(),
            used: Usage::default(),
        }
    }

    /// Is at work, or will be without anybody's answer.
    fn is_at_work(&self) -> bool {
        self.output.is_none() && (self.is_called || self.ready.is_some())
    }

    fn is_called(&self) -> bool {
        self.output.is_none() && self.is_called
    }

    /// Reads the arguments for the tool, or says what is wrong; then the call is ready, or asked about.
    fn prepare(
        &mut self,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
        bodies: &mut Vec<Body>,
    ) -> Result<(), String> {
        let (tool, arguments) = self.read(terms)?;
        let description = tool.description();
        let request = if tool.is_of_client() {
            Request::ClientTool
        } else if terms.catalogue.policy(&tool) == Policy::Ask {
            Request::Approval {
                server: description.server.clone(),
                annotations: description.annotations.clone(),
            }
        } else {
            self.ready = Some((tool, arguments));
            return Ok(());
        };
        self.ask(request, Some(&tool), terms, mint, now, bodies);
        Ok(())
    }

    /// The tool and the arguments that the model, or whoever approved the call, wants it called with.
    fn read(&self, terms: &Terms) -> Result<(Arc<Tool>, Map<String, Value>), String> {
        let tool = terms
            .catalogue
            .get(&self.call.tool)
            .ok_or_else(|| terms.catalogue.lack(&self.call.tool))?;
        let arguments = match &self.step.work {
            Work::ToolCall {
                answer: Some(Answer::Approve(Some(edited))),
                ..
            } => tool.check_arguments(edited.clone())?,
            Work::ToolCall {
                action: Some(action), ..
            } => tool.read_arguments(&action.call.arguments)?,
            _ => tool.read_arguments(&self.call.arguments)?,
        };
        Ok((Arc::clone(tool), arguments))
    }

    fn ask(
        &mut self,
        request: Request,
        tool: Option<&Tool>,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
        bodies: &mut Vec<Body>,
    ) {
        let expires = now.checked_add(terms.waiting_limit).unwrap_or(now);
        let schema = tool.map(|tool| &*tool.description().input_schema);
        let (call, server) = (self.as_approved(), self.server());
        let asked = Action::new(request, &call, server, schema, mint, now, expires);
        let asked = Arc::new(asked);
        bodies.push(Body::ActionRequired(Arc::clone(&asked)));
        self.step.state = StepState::Waiting;
        if let Work::ToolCall { action, answer, .. } = &mut self.step.work {
            *action = Some(asked);
            *answer = None;
        }
    }

    /// The call with the arguments that somebody has approved, or as the model wrote it.
    fn as_approved(&self) -> ToolCall {
        let arguments = match &self.step.work {
            Work::ToolCall {
                answer: Some(Answer::Approve(Some(edited))),
                ..
            } => Value::Object(edited.clone()).to_string(),
            Work::ToolCall {
                action: Some(action), ..
            } => action.call.arguments.clone(),
            _ => self.call.arguments.clone(),
        };
        ToolCall {
            arguments,
            ..self.call.clone()
        }
    }

    /// Asks a person what the tool's server wants of one. The call goes on.
    fn pass_on(
        &mut self,
        asking: Asking,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
        bodies: &mut Vec<Body>,
    ) {
        let expires = now.checked_add(terms.waiting_limit).unwrap_or(now);
        let shown = match &asking {
            Asking::Question(asked) => {
                serde_json::json!([asked.message, asked.requested_schema, asked.url])
            }
            Asking::Sampling(prompt) => serde_json::json!([
                prompt.model,
                prompt.system_prompt,
                prompt.prompt,
                prompt.max_tokens
            ]),
        };
        let request = Request::from(asking);
        let (call, server) = (self.as_approved(), self.server());
        let asked = Action::new(request, &call, server, Some(&shown), mint, now, expires);
        let asked = Arc::new(asked);
        bodies.push(Body::ActionRequired(Arc::clone(&asked)));
        if let Work::ToolCall { questions, .. } = &mut self.step.work {
            questions.push(Inquiry {
                action: asked,
                reply: None,
            });
        }
    }

    /// Takes back a question that nobody needs to answer any more; the body tells of it.
    fn withdraw(&mut self) -> Option<Body> {
        let Work::ToolCall { questions, .. } = &mut self.step.work else {
            return None;
        };
        let open = questions.pop_if(|inquiry| inquiry.reply.is_none())?;
        Some(Body::ActionResolved {
            action: open.action.id.clone(),
            resolution: Resolution::Cancelled,
        })
    }

    /// Asks what is to become of a call that may have had its effect, whatever has become of its tool since.
    fn ask_what_to_do(&mut self, terms: &Terms, mint: &mut Mint, now: SystemTime, bodies: &mut Vec<Body>) {
        let request = Request::UnknownOutcome {
            server: self.server().to_owned(),
            call_time: self.step.start_time.unwrap_or(self.step.create_time),
        };
        let tool = terms.catalogue.get(&self.call.tool);
        self.ask(request, tool.map(Arc::as_ref), terms, mint, now, bodies);
    }

    /// Goes on from what the ledger says, or says why that cannot be.
    fn resume(
        &mut self,
        terms: &Terms,
        mint: &mut Mint,
        now: SystemTime,
        bodies: &mut Vec<Body>,
    ) -> Result<(), String> {
        if self.output.is_some() {
            return Ok(());
        }
        // Who asked has died with the call.
        bodies.extend(self.withdraw());
        if self.step.pending().is_some() {
            return Ok(());
        }
        let read = self.read(terms);
        if self.step.state == StepState::Waiting {
            self.ready = Some(read?);
            return Ok(());
        }
        if let Ok((tool, arguments)) = read
            && tool.is_repeatable()
        {
            self.ready = Some((tool, arguments));
            return Ok(());
        }
        self.ask_what_to_do(terms, mint, now, bodies);
        Ok(())
    }

    /// The server that has the tool, or had it.
    fn server(&self) -> &str {
        match &self.step.work {
            Work::ToolCall { server, .. } => server,
            Work::ModelTurn { .. } | Work::Summary { .. } => "",
        }
    }

    fn asks(&self, id: &ActionId) -> bool {
        self.step.asked().any(|(action, _)| action.id == *id)
    }

    fn is_answered_by(&self, submission: &Submission) -> bool {
        let mut asked = self.step.asked();
        asked.any(|(action, answer)| submission.is_about(action) && answer == Some(&submission.answer))
    }

    /// Whether the answer fits what is asked: with what is to be called, if anything.
    fn accept(&self, index: usize, submission: Submission, terms: &Terms) -> Result<Acceptance, Error> {
        let action = self
            .step
            .pending()
            .ok_or_else(|| not_pending(&submission.action))?;
        let ready = ready(action, index, &submission, terms)?;
        Ok(Acceptance {
            action: submission.action,
            answer: submission.answer,
            ready,
        })
    }

    /// Does what the answer says; gives back what is to be said to the tool's server.
    fn resolve(&mut self, acceptance: Acceptance, now: SystemTime, bodies: &mut Vec<Body>) -> Option<Effect> {
        let Acceptance {
            action,
            answer: given,
            ready,
        } = acceptance;
        bodies.push(Body::ActionResolved {
            action,
            resolution: given.resolution(),
        });
        let asked = self.step.pending();
        if let Some(reply) = asked.and_then(|action| action.request.reply(&given)) {
            let effect = Effect::Reply {
                call: self.call.id.clone(),
                reply,
            };
            if let Work::ToolCall { questions, .. } = &mut self.step.work
                && let Some(open) = questions.last_mut()
            {
                open.reply = Some(given);
            }
            return Some(effect);
        }
        self.ready = ready;
        let output = match &given {
            Answer::Approve(_) | Answer::Reply(_) => None,
            Answer::Reject(reason) if reason.is_empty() => {
                Some(ToolOutput::failure("not called: the call was rejected"))
            }
            Answer::Reject(reason) => Some(ToolOutput::failure(format!(
                "not called: the call was rejected: {reason}"
            ))),
            Answer::Output(output) => Some(output.clone()),
        };
        if let Work::ToolCall { answer, .. } = &mut self.step.work {
            *answer = Some(given);
        }
        if let Some(output) = output {
            bodies.push(self.fill(output, Duration::ZERO, StepState::Completed, now));
        }
        None
    }

    /// Keeps what became of a request of its server.
    fn keep(&mut self, asked: Asked, state: StepState, now: SystemTime) {
        let closed = asked.closed(state, now);
        self.used = self.used.plus(closed.usage);
        if let Work::ToolCall { sampled, .. } = &mut self.step.work {
            sampled.push(closed);
        }
    }

    /// Nobody waits any more for what its server asks models.
    fn give_up_asking(&mut self, now: SystemTime) {
        for asked in std::mem::take(&mut self.asked) {
            self.keep(asked, StepState::Cancelled, now);
        }
    }

    fn fill(&mut self, output: ToolOutput, took: Duration, state: StepState, now: SystemTime) -> Body {
        self.give_up_asking(now);
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
            arguments: self.call.arguments.clone(),
            output,
            duration: took,
        }
    }
}

fn calls(effect: &Effect, id: &CallId) -> bool {
    matches!(effect, Effect::CallTool { call, .. } if call == id)
}

/// Whether calls were refused because there were too many.
pub(super) fn are_used_up(steps: &[Arc<Step>]) -> bool {
    steps.iter().any(|step| match &step.work {
        Work::ToolCall {
            output: Some(output),
            action: None,
            ..
        } => step.start_time.is_none() && output.is_error && output.text() == USED_UP,
        _ => false,
    })
}

fn is_of(step: &Step, id: &CallId) -> bool {
    matches!(&step.work, Work::ToolCall { call, .. } if call.id == *id)
}

/// What a call that is approved is made with.
type Ready = Option<(Arc<Tool>, Map<String, Value>)>;

/// Whether the answer, the one of this index, fits the action: with what is to be called, if anything.
fn ready(action: &Action, index: usize, submission: &Submission, terms: &Terms) -> Result<Ready, Error> {
    let field = |name: &str| format!("answers[{index}].{name}");
    if !submission.is_about(action) {
        let text = "the action waits, but is another one than the answer's digest says: look at it again";
        let action = submission.action.as_str();
        return Err(Error::new(Reason::ActionNotPending, text).with("action", action));
    }
    match (&action.request, &submission.answer) {
        (Request::Elicitation(question), Answer::Reply(reply)) => {
            let unfit = |text| Error::invalid(field("elicitation.content"), text);
            return question.check(reply).map(|()| None).map_err(unfit);
        }
        (Request::Elicitation(_), _) => {
            let description = "does not fit: the question of an MCP server is answered by `elicitation`";
            return Err(Error::invalid(format!("answers[{index}]"), description));
        }
        (Request::Sampling(_), Answer::Approve(None) | Answer::Reject(_)) => return Ok(None),
        (Request::Sampling(_), _) => {
            let description =
                "does not fit: that an MCP server asks a model is approved as it is, or rejected";
            return Err(Error::invalid(format!("answers[{index}]"), description));
        }
        (_, Answer::Reply(_)) => {
            let description = "does not fit: no MCP server has asked for this";
            return Err(Error::invalid(field("elicitation"), description));
        }
        _ => {}
    }
    match &submission.answer {
        Answer::Approve(_) if action.request == Request::ClientTool => {
            let description = "the client's own function is answered by its output, or rejected";
            Err(Error::invalid(field("approve"), description))
        }
        Answer::Approve(edited) => {
            let tool = terms.catalogue.get(&action.call.tool);
            let tool = tool.ok_or_else(|| {
                let why = terms.catalogue.lack(&action.call.tool);
                Error::invalid(field("approve"), format!("{why} now"))
            })?;
            if action.schema_is_another(tool) {
                let description = format!(
                    "{} takes other arguments now than when it was asked for",
                    tool.name()
                );
                return Err(Error::invalid(field("approve"), description));
            }
            let arguments = match edited {
                Some(edited) => tool.check_arguments(edited.clone()),
                None => tool.read_arguments(&action.call.arguments),
            };
            let arguments = arguments.map_err(|text| Error::invalid(field("approve.arguments"), text))?;
            Ok(Some((Arc::clone(tool), arguments)))
        }
        Answer::Reject(_) | Answer::Output(_) | Answer::Reply(_) => Ok(None),
    }
}

/// Whether an answer fits one of the actions that a run waits for.
///
/// # Errors
/// `ACTION_NOT_PENDING`; `VALIDATION_FAILED`, naming the field of the answer of this index.
pub fn check_answer(
    pending: &[Arc<Action>],
    index: usize,
    submission: &Submission,
    terms: &Terms,
) -> Result<(), Error> {
    let action = pending.iter().find(|action| action.id == submission.action);
    let action = action.ok_or_else(|| not_pending(&submission.action))?;
    ready(action, index, submission, terms).map(drop)
}

/// The error for an answer that nothing asks for.
pub fn not_pending(action: &ActionId) -> Error {
    let text = "no such action waits for an answer";
    Error::new(Reason::ActionNotPending, text).with("action", action.as_str())
}
