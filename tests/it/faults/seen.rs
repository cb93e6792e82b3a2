//! What there is to see of a run: its events as they come and again from the log, its steps, and its thread.

use std::collections::BTreeMap;

use assistd::api::pb::assistant_service_client::AssistantServiceClient;
use assistd::api::pb::run_service_client::RunServiceClient;
use assistd::api::pb::thread_service_client::ThreadServiceClient;
use assistd::api::pb::{self, content_part, run_event::Payload, run_step::Details, tool_content};
use tonic::transport::Channel;
use tonic_types::{ErrorDetails, RpcStatusExt};

use super::rows::State;
use crate::world::{PATIENCE, World};

/// A run that is over.
pub struct Seen {
    pub run: pb::Run,
    pub thread: String,
    pub events: Vec<pb::RunEvent>,
    pub turns: Vec<Step>,
}

/// A turn, as the steps tell of it.
pub struct Step {
    pub step: pb::RunStep,
    pub turn: pb::ModelTurnStep,
}

/// The service, over one connection.
pub struct Door(Channel);

impl Door {
    pub async fn new(world: &World) -> Door {
        let endpoint = Channel::from_shared(world.url("")).unwrap();
        Door(endpoint.connect().await.unwrap())
    }
}

/// Asks, and watches until the run is over.
pub async fn ask(door: &Door, message: &str, thread: &str, model: &str) -> Seen {
    let request = pb::ChatRequest {
        message: message.to_owned(),
        thread: thread.to_owned(),
        model: model.to_owned(),
        ..pb::ChatRequest::default()
    };
    let mut assistants = AssistantServiceClient::new(door.0.clone());
    let stream = assistants.stream_chat(request).await.unwrap();
    let events = all(stream.into_inner()).await;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, index as i64 + 1, "{message}");
        let is_last = index + 1 == events.len();
        assert_eq!(ended(event).is_some(), is_last, "{message}: {event:?}");
    }
    let run = ended(events.last().unwrap()).unwrap().clone();
    let mut runs = RunServiceClient::new(door.0.clone());
    let watched = pb::WatchRunRequest {
        name: run.name.clone(),
        after_sequence: 0,
    };
    let again = all(runs.watch_run(watched).await.unwrap().into_inner()).await;
    assert!(
        again.iter().map(plain).eq(events.iter().map(plain)),
        "{message}: the same for every watcher"
    );
    let name = run.name.clone();
    let kept = runs
        .get_run(pb::GetRunRequest { name })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(in_words(&kept), in_words(&run), "{message}");
    let listed = pb::ListRunStepsRequest {
        parent: run.name.clone(),
        ..pb::ListRunStepsRequest::default()
    };
    let steps = runs.list_run_steps(listed).await.unwrap().into_inner().steps;
    let turn_of = |step: pb::RunStep| match step.details.clone() {
        Some(Details::ModelTurn(turn)) => Some(Step { step, turn }),
        _ => None,
    };
    Seen {
        thread: run.name.split_once("/runs/").unwrap().0.to_owned(),
        run,
        events,
        turns: steps.into_iter().filter_map(turn_of).collect(),
    }
}

async fn all(mut stream: tonic::Streaming<pb::RunEvent>) -> Vec<pb::RunEvent> {
    let mut events = Vec::new();
    while let Some(event) = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
    {
        events.push(event);
    }
    events
}

/// The event, with its error as it can be compared.
fn plain(event: &pb::RunEvent) -> pb::RunEvent {
    let mut event = event.clone();
    if let Some(Payload::RunFailed(end)) = &mut event.payload {
        end.run = end.run.as_ref().map(in_words);
    }
    event
}

/// The run, with what its error says as a text: the details are encoded in any order.
fn in_words(run: &pb::Run) -> pb::Run {
    let mut run = run.clone();
    if let Some(error) = &mut run.error {
        let details = error.get_error_details();
        let info = details.error_info().unwrap();
        let facts: BTreeMap<_, _> = info.metadata.iter().collect();
        let (reason, delay) = (&info.reason, details.retry_info());
        error.message = format!("{}: {reason}, {facts:?}, {delay:?}", error.message);
        error.details.clear();
    }
    run
}

/// The run that the event says the end of.
fn ended(event: &pb::RunEvent) -> Option<&pb::Run> {
    match event.payload.as_ref()? {
        Payload::RunCompleted(end) => end.run.as_ref(),
        Payload::RunFailed(end) => end.run.as_ref(),
        Payload::RunIncomplete(end) => end.run.as_ref(),
        Payload::RunCancelled(end) => end.run.as_ref(),
        Payload::RunExpired(end) => end.run.as_ref(),
        _ => None,
    }
}

impl Seen {
    /// How it ended, by its last event and by its state, which say the same.
    pub fn end(&self) -> (State, Option<(i32, ErrorDetails)>) {
        let last = self.events.last().unwrap().payload.as_ref().unwrap();
        match (last, self.run.state()) {
            (Payload::RunCompleted(_), pb::RunState::Completed) => (State::Completed, None),
            (Payload::RunIncomplete(_), pb::RunState::Incomplete) => {
                (State::Incomplete(self.run.incomplete_reason()), None)
            }
            (Payload::RunFailed(_), pb::RunState::Failed) => {
                let error = self.run.error.as_ref().unwrap();
                let details = error.get_error_details();
                let reason = details.error_info().unwrap().reason.clone().leak();
                (State::Failed(reason), Some((error.code, details)))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything that was said, message by message, from the events alone.
    pub fn told(&self) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        let find = |told: &mut Vec<Told>, name: &str| {
            let place = told.iter().position(|one| one.name == name);
            place.unwrap_or_else(|| panic!("{name} grows before it is there"))
        };
        for event in &self.events {
            match event.payload.as_ref().unwrap() {
                Payload::MessageCreated(created) => {
                    let message = created.message.as_ref().unwrap();
                    if message.role() == pb::Role::Assistant {
                        told.push(Told {
                            name: message.name.clone(),
                            ..Told::default()
                        });
                    }
                }
                Payload::TextDelta(delta) => {
                    let place = find(&mut told, &delta.message);
                    told[place].text.push_str(&delta.text);
                }
                Payload::ToolCallStarted(started) => {
                    let place = find(&mut told, &started.message);
                    told[place].calls.push(Called {
                        id: started.tool_call.as_ref().unwrap().id.clone(),
                        ..Called::default()
                    });
                }
                Payload::ToolCallArgumentsDelta(delta) => {
                    let call = call(&mut told, &delta.tool_call_id);
                    call.arguments.push_str(&delta.arguments_json);
                }
                Payload::ToolCallCompleted(completed) => {
                    let output = completed.output.as_ref().unwrap();
                    let call = call(&mut told, &completed.tool_call.as_ref().unwrap().id);
                    assert_eq!(call.output, None, "a call has one output");
                    call.output = Some((text_of(output), output.is_error));
                }
                Payload::MessageCompleted(completed) => {
                    let message = completed.message.as_ref().unwrap();
                    let place = find(&mut told, &message.name);
                    assert_eq!(told[place].completed, None, "a message is completed once");
                    told[place].completed = Some(brief(message));
                }
                _ => {}
            }
        }
        told
    }
}

fn call<'a>(told: &'a mut [Told], id: &str) -> &'a mut Called {
    let mut calls = told.iter_mut().flat_map(|one| &mut one.calls);
    calls.find(|call| call.id == id).expect("it was started")
}

/// A message of the model, as events tell of it.
#[derive(Debug, Default)]
pub struct Told {
    name: String,
    pub text: String,
    pub calls: Vec<Called>,
    /// What it was when it was over.
    pub completed: Option<Brief>,
}

/// A call, as events tell of it.
#[derive(Debug, Default)]
pub struct Called {
    id: String,
    pub arguments: String,
    /// The text of its output, and whether that is an error.
    pub output: Option<(String, bool)>,
}

/// A message in short: who speaks, what is in it, and whether it is whole.
pub type Brief = (pb::Role, Vec<String>, pb::MessageStatus);

/// A message in short.
pub fn brief(message: &pb::Message) -> Brief {
    let part = |part: &pb::ContentPart| match part.part.as_ref().unwrap() {
        content_part::Part::Text(text) => text.clone(),
        content_part::Part::ToolCall(call) => format!("calls {}", call.tool),
        content_part::Part::ToolOutput(output) => format!("has {}", text_of(output)),
        other => panic!("{other:?}"),
    };
    let parts = message.content.iter().map(part).collect();
    (message.role(), parts, message.status())
}

fn text_of(output: &pb::ToolOutput) -> String {
    let texts = output
        .content
        .iter()
        .filter_map(|content| match &content.content {
            Some(tool_content::Content::Text(text)) => Some(text.as_str()),
            _ => None,
        });
    texts.collect()
}

/// The messages of a thread, oldest first.
pub async fn history(door: &Door, thread: &str) -> Vec<Brief> {
    let mut threads = ThreadServiceClient::new(door.0.clone());
    let request = pb::ListMessagesRequest {
        parent: thread.to_owned(),
        ..pb::ListMessagesRequest::default()
    };
    let listed = threads.list_messages(request).await.unwrap().into_inner();
    listed.messages.iter().map(brief).collect()
}

/// The requests of a turn: a status that was answered, or a reason with its status.
pub fn attempts(turn: &pb::ModelTurnStep) -> Vec<String> {
    let short = |attempt: &pb::ModelAttempt| {
        let status = attempt.http_status.map(|status| status.to_string());
        let reason = (!attempt.reason.is_empty()).then(|| attempt.reason.clone());
        let words: Vec<String> = reason.into_iter().chain(status).collect();
        words.join(" ")
    };
    turn.attempts.iter().map(short).collect()
}
