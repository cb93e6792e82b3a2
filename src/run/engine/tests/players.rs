//! A model and tools that do whatever comes into their heads, and remember what they did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::archive::Archive;
use crate::run::action::Question;
use crate::run::catalogue::{Annotations, Catalogue, Policy, Tool, ToolDescription};
use crate::run::error::{Error, Reason};
use crate::run::event::Progress;
use crate::run::message::{Content, Part, Role, ToolOutput, Usage};
use crate::run::ports::{
    Caller, Finish, Model, ModelEvent, ModelRequest, ModelStatus, ModelStream, ServerStatus, Toolbox,
};
use crate::run::rules;
use crate::run::sampling::Sampling;

/// The client's own function, which a run is begun with.
pub(super) const OF_CLIENT: &str = "mine";

/// What the model calls: does no harm, may do harm, is asked about, the client's own, not there.
const TOOLS: [&str; 5] = ["look", "send", "risky", OF_CLIENT, "nope"];

pub(super) struct Players {
    rng: Mutex<fastrand::Rng>,
    archive: Arc<Archive>,
    /// Tells calls apart.
    calls: AtomicU64,
    /// How often each call had its effect, by the text that it came with: of tools that may do harm.
    pub(super) effects: Mutex<BTreeMap<String, u32>>,
    /// What was asked of them against the rules.
    pub(super) offences: Mutex<Vec<String>>,
}

impl Players {
    pub(super) fn new(seed: u64, archive: Arc<Archive>) -> Self {
        Self {
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            archive,
            calls: AtomicU64::new(0),
            effects: Mutex::default(),
            offences: Mutex::default(),
        }
    }

    /// Whether something happens that happens so often in a hundred.
    fn happens(&self, percent: u32) -> bool {
        self.pick(100) < percent
    }

    fn pick(&self, count: u32) -> u32 {
        self.rng.lock().unwrap().u32(0..count)
    }

    async fn dawdle(&self, longest_millis: u32) {
        let millis = u64::from(self.pick(longest_millis + 1));
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn check(&self, request: &ModelRequest) {
        let mut offences = self.offences.lock().unwrap();
        if let Err(error) = rules::check_answered(&request.messages) {
            offences.push(format!(
                "the model is asked about a call without an answer: {error}"
            ));
        }
        let thread = self.archive.kept().runs[&request.run].record.thread.clone();
        if self.archive.active(&thread).as_ref() != Some(&request.run) {
            offences.push(format!("{} asks the model and is not active", request.run));
        }
    }

    /// What is said in one turn, each piece with the milliseconds before it.
    fn turn(&self, with_tools: bool) -> Vec<(u64, ModelEvent)> {
        let is_flood = self.happens(4);
        let count = if is_flood { 1_500 } else { self.pick(6) };
        let mut said = Vec::new();
        for index in 0..count {
            let text = format!("{index} ");
            let pause = if is_flood { 0 } else { self.pick(40) };
            let event = match self.pick(8) {
                0 => ModelEvent::ReasoningDelta(text),
                1 => ModelEvent::RefusalDelta(text),
                _ => ModelEvent::TextDelta(text),
            };
            said.push((u64::from(pause), event));
        }
        if with_tools && self.happens(60) {
            for index in 0..=self.pick(3) as usize {
                let tool = TOOLS[self.pick(5) as usize].to_owned();
                let number = self.calls.fetch_add(1, Ordering::SeqCst);
                let json = json!({"text": format!("n{number}")}).to_string();
                said.push((1, ModelEvent::ToolCallStarted { index, tool }));
                said.push((1, ModelEvent::ToolCallArgumentsDelta { index, json }));
            }
        }
        let usage = Usage {
            input_tokens: 3,
            ..Usage::default()
        };
        said.push((1, ModelEvent::Usage(usage)));
        said
    }
}

#[async_trait]
impl Model for Players {
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream, Error> {
        self.check(&request);
        self.dawdle(50).await;
        if self.happens(5) {
            return Err(Error::new(Reason::ModelUnavailable, "not now"));
        }
        let said = self.turn(request.tools.is_some());
        let pieces = futures::stream::iter(said).then(|(pause, event)| async move {
            if pause > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Ok(event)
        });
        let finished = |finish| futures::stream::iter([Ok(ModelEvent::Finished(finish))]);
        Ok(match self.pick(20) {
            0 => pieces.boxed(),
            1 => pieces.chain(futures::stream::pending()).boxed(),
            2 => pieces.chain(finished(Finish::Length)).boxed(),
            _ => pieces.chain(finished(Finish::Stop)).boxed(),
        })
    }

    fn status(&self) -> ModelStatus {
        unreachable!("the engine does not ask")
    }
}

#[async_trait]
impl Toolbox for Players {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(Catalogue::new(
            1,
            TOOLS[..3].iter().map(|name| Arc::new(tool(name))),
        ))
    }

    async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        caller: Arc<dyn Caller>,
    ) -> Result<ToolOutput, Error> {
        let text = arguments["text"].as_str().unwrap_or_default().to_owned();
        self.dawdle(120).await;
        if tool.name() != "look" {
            *self.effects.lock().unwrap().entry(text.clone()).or_default() += 1;
        }
        if self.happens(20) {
            caller.progress(Progress::default());
        }
        self.dawdle(120).await;
        if self.happens(20) {
            caller.ask(question()).await;
        }
        if self.happens(15) {
            let asks_first = self.happens(50);
            let _ = caller.sample(sampling(asks_first)).await;
        }
        match self.pick(20) {
            0 => Err(Error::new(Reason::McpUnavailable, "it is gone")),
            1 => Ok(ToolOutput::failure("it does not work")),
            2 => std::future::pending().await,
            _ => Ok(ToolOutput {
                content: vec![Content::Text(text)],
                ..ToolOutput::default()
            }),
        }
    }

    fn servers(&self) -> Vec<ServerStatus> {
        Vec::new()
    }
}

/// What a server asks a person.
fn question() -> Question {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    Question {
        server: "fake".to_owned(),
        message: "who are you?".to_owned(),
        requested_schema: Some(Arc::new(schema)),
        url: String::new(),
    }
}

/// What a server asks the model.
fn sampling(asks_first: bool) -> Sampling {
    Sampling {
        server: "fake".to_owned(),
        model: String::new(),
        system_prompt: String::new(),
        messages: vec![(Role::User, vec![Part::Text("how are you?".to_owned())])],
        max_tokens: 10,
        temperature: None,
        stop: Vec::new(),
        asks_first,
    }
}

fn tool(name: &str) -> Tool {
    Tool::new(ToolDescription {
        name: name.to_owned(),
        server: "fake".to_owned(),
        remote_name: name.to_owned(),
        title: String::new(),
        description: String::new(),
        input_schema: Arc::new(json!({"type": "object", "required": ["text"]})),
        output_schema: None,
        annotations: Annotations {
            read_only: (name == "look").then_some(true),
            ..Annotations::default()
        },
        timeout: None,
        policy: match name {
            "risky" => Policy::Ask,
            _ => Policy::Allow,
        },
    })
}
