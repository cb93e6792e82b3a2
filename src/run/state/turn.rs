//! One turn: the model's message while it is being said.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Effect;
use super::bill::Bill;
use super::journal::Journal;
use crate::run::event::Body;
use crate::run::id::{CallId, MessageId, Mint, RunId, StepId};
use crate::run::message::{Annotation, Continuation, Message, Part, Reasoning, Role, ToolCall, ToolOutput};
use crate::run::ports::ModelEvent;
use crate::run::record::RunRecord;
use crate::run::step::{Step, StepState, Work};
use crate::run::truncation::ContextUse;

#[derive(Debug)]
pub(super) struct Turn {
    run: RunId,
    message: MessageId,
    is_announced: bool,
    content: Vec<Part>,
    /// The model's index of each call, with its place in the content.
    calls: Vec<(usize, usize)>,
    annotations: Vec<Annotation>,
    continuation: Option<Continuation>,
    /// What it uses and costs.
    pub(super) bill: Bill,
    context: ContextUse,
    /// The model is asked with a shorter conversation, because its provider found a longer one too long.
    is_shortened: bool,
    unknown_events: u32,
    started: SystemTime,
}

impl Turn {
    pub(super) fn new(
        record: &RunRecord,
        provider_model: &str,
        context: ContextUse,
        mint: &mut Mint,
        now: SystemTime,
    ) -> Self {
        let message = MessageId::new(mint);
        Self {
            run: record.id.clone(),
            message,
            is_announced: false,
            content: Vec::new(),
            calls: Vec::new(),
            annotations: Vec::new(),
            continuation: None,
            bill: Bill::new(&record.snapshot, provider_model),
            context,
            is_shortened: false,
            unknown_events: 0,
            started: now,
        }
    }

    /// The step that the turn was, now that it is over.
    pub(super) fn step(
        &self,
        journal: &mut Journal,
        mint: &mut Mint,
        message: Option<&Arc<Message>>,
        state: StepState,
        now: SystemTime,
    ) -> Step {
        let record = journal.record();
        Step {
            id: StepId::new(mint),
            turn: record.usage.turns,
            work: Work::ModelTurn {
                model: self.bill.model(),
                message: message.map(|message| message.id.clone()),
                usage: self.bill.total(&state),
                context: self.context,
                attempts: self.bill.attempts(now),
                unknown_events: self.unknown_events,
            },
            place: journal.place(),
            state,
            create_time: self.started,
            start_time: Some(self.started),
            end_time: Some(now),
        }
    }

    /// Whether the model may be asked once more, with a shorter conversation: it was not, and has not begun to answer.
    pub(super) fn may_be_shortened(&self) -> bool {
        !self.is_shortened && !self.is_announced && self.content.is_empty() && !self.bill.is_answered()
    }

    /// It is asked with this much instead.
    pub(super) fn shorten(&mut self, context: ContextUse) {
        self.is_shortened = true;
        self.context = context;
    }

    /// Counts events that nobody here understands.
    pub(super) fn skipped(&mut self, count: u32) {
        self.unknown_events = self.unknown_events.saturating_add(count);
    }

    /// All that has been said, refusals apart.
    pub(super) fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Whether the model declines to answer.
    pub(super) fn has_refused(&self) -> bool {
        self.content.iter().any(|part| matches!(part, Part::Refusal(_)))
    }

    pub(super) fn asks_for_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Adds a piece of the message and tells the watchers.
    pub(super) fn say(
        &mut self,
        event: ModelEvent,
        journal: &mut Journal,
        mint: &mut Mint,
        now: SystemTime,
        out: &mut Vec<Effect>,
    ) {
        self.bill.wrote(event.written_bytes());
        let body = match event {
            ModelEvent::TextDelta(text) if !text.is_empty() => self.add_text(text),
            ModelEvent::RefusalDelta(text) if !text.is_empty() => self.add_refusal(text),
            ModelEvent::ReasoningDelta(text) if !text.is_empty() => self.add_reasoning(text),
            ModelEvent::Reasoning(reasoning) => self.close_reasoning(reasoning),
            ModelEvent::Annotation(annotation) => {
                self.annotations.push(annotation);
                None
            }
            ModelEvent::Continuation(continuation) => {
                self.continuation = Some(continuation);
                None
            }
            ModelEvent::ToolCallStarted { index, tool } => self.start_call(index, tool, mint),
            ModelEvent::ToolCallArgumentsDelta { index, json } if !json.is_empty() => {
                self.add_arguments(index, json)
            }
            _ => None,
        };
        if let Some(body) = body {
            self.announce(journal, now, out);
            journal.emit(body, now, out);
        }
    }

    fn announce(&mut self, journal: &mut Journal, now: SystemTime, out: &mut Vec<Effect>) {
        if !self.is_announced {
            self.is_announced = true;
            journal.emit(
                Body::MessageCreated(self.message_of(Vec::new(), false, now)),
                now,
                out,
            );
        }
    }

    fn add_text(&mut self, text: String) -> Option<Body> {
        match self.content.last_mut() {
            Some(Part::Text(said)) => said.push_str(&text),
            _ => self.content.push(Part::Text(text.clone())),
        }
        Some(Body::TextDelta {
            message: self.message.clone(),
            text,
        })
    }

    fn add_refusal(&mut self, text: String) -> Option<Body> {
        match self.content.last_mut() {
            Some(Part::Refusal(said)) => said.push_str(&text),
            _ => self.content.push(Part::Refusal(text.clone())),
        }
        Some(Body::RefusalDelta {
            message: self.message.clone(),
            text,
        })
    }

    fn add_reasoning(&mut self, text: String) -> Option<Body> {
        match self.open_reasoning() {
            Some(reasoning) => reasoning.summary.push_str(&text),
            None => self.content.push(Part::Reasoning(Reasoning {
                summary: text.clone(),
                ..Reasoning::default()
            })),
        }
        Some(Body::ReasoningDelta {
            message: self.message.clone(),
            text,
        })
    }

    /// Takes a piece of reasoning that is over. One of which something was shown has its summary already.
    fn close_reasoning(&mut self, whole: Reasoning) -> Option<Body> {
        match self.open_reasoning() {
            Some(open) => {
                let summary = std::mem::take(&mut open.summary);
                *open = Reasoning { summary, ..whole };
                None
            }
            None => {
                let text = whole.summary.clone();
                self.content.push(Part::Reasoning(whole));
                (!text.is_empty()).then(|| Body::ReasoningDelta {
                    message: self.message.clone(),
                    text,
                })
            }
        }
    }

    /// The reasoning that the model is at: more of it may come.
    fn open_reasoning(&mut self) -> Option<&mut Reasoning> {
        match self.content.last_mut() {
            Some(Part::Reasoning(reasoning)) if reasoning.upstream.is_empty() => Some(reasoning),
            _ => None,
        }
    }

    fn start_call(&mut self, index: usize, tool: String, mint: &mut Mint) -> Option<Body> {
        if self.calls.iter().any(|&(known, _)| known == index) {
            return None;
        }
        let call = CallId::new(mint);
        self.calls.push((index, self.content.len()));
        self.content.push(Part::ToolCall(ToolCall {
            id: call.clone(),
            tool: tool.clone(),
            arguments: String::new(),
        }));
        Some(Body::ToolCallStarted {
            message: self.message.clone(),
            call,
            tool,
        })
    }

    fn add_arguments(&mut self, index: usize, json: String) -> Option<Body> {
        let &(_, place) = self.calls.iter().find(|&&(known, _)| known == index)?;
        let Some(Part::ToolCall(call)) = self.content.get_mut(place) else {
            return None;
        };
        call.arguments.push_str(&json);
        Some(Body::ToolCallArgumentsDelta {
            call: call.id.clone(),
            json,
        })
    }

    /// The whole message, calls and all.
    pub(super) fn with_calls(&self, now: SystemTime) -> Arc<Message> {
        self.message_of(self.with_rest(self.content.clone()), false, now)
    }

    /// Closes the message without its calls, which will not be made: each is answered with the reason.
    /// There is a message to keep only if the model said anything else.
    pub(super) fn close(
        &mut self,
        is_whole: bool,
        why: &str,
        now: SystemTime,
    ) -> (Option<Arc<Message>>, Vec<Body>) {
        let mut bodies = Vec::new();
        let mut said = Vec::new();
        if !is_whole || self.asks_for_calls() {
            // What the provider has is not what is kept.
            self.continuation = None;
        }
        for part in std::mem::take(&mut self.content) {
            match part {
                Part::ToolCall(call) => bodies.push(Body::ToolCallCompleted {
                    call: call.id,
                    tool: call.tool,
                    arguments: String::new(),
                    output: Arc::new(ToolOutput::failure(format!("not called: {why}"))),
                    duration: Duration::ZERO,
                }),
                part => said.push(part),
            }
        }
        let has_said = said.iter().any(Part::is_said);
        let content = if has_said {
            self.with_rest(said)
        } else {
            Vec::new()
        };
        let message = self.message_of(content, !is_whole, now);
        if self.is_announced {
            bodies.push(Body::MessageCompleted(Arc::clone(&message)));
        }
        (has_said.then_some(message), bodies)
    }

    /// The content, and behind it what is about all of it.
    fn with_rest(&self, mut content: Vec<Part>) -> Vec<Part> {
        if !self.annotations.is_empty() {
            content.push(Part::Annotations(self.annotations.clone()));
        }
        content.extend(self.continuation.clone().map(Part::Continuation));
        content
    }

    fn message_of(&self, content: Vec<Part>, incomplete: bool, now: SystemTime) -> Arc<Message> {
        Arc::new(Message {
            id: self.message.clone(),
            role: Role::Assistant,
            content,
            run: Some(self.run.clone()),
            incomplete,
            create_time: now,
            metadata: Default::default(),
        })
    }
}
