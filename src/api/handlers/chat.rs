//! Chat and StreamChat.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use prost::Message as _;
use sha2::{Digest, Sha256};

use super::Handlers;
use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::engine::{Begun, Finished, NewRun, OnDisconnect, RunHandle};
use crate::run::error::{Error, Reason, Violation};
use crate::run::event::{Body, Event};
use crate::run::id::{RunId, ThreadId};
use crate::run::log::Watch;
use crate::run::message::{Message, Part, Role};
use crate::run::ports::RequestKey;
use crate::run::record::Outcome;

/// How long a stream may be silent before it says that it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// The longest name of a model, in bytes.
const MODEL_NAME_LIMIT_BYTES: usize = 256;

/// The events of a run on their way to a client.
pub type Events = Pin<Box<dyn Stream<Item = pb::RunEvent> + Send>>;

impl Handlers {
    /// One message in, the finished answer out.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, those of [`Engine::begin`](crate::run::engine::Engine::begin), and why a run FAILED,
    /// was CANCELLED or EXPIRED, with metadata `run`.
    pub async fn chat(&self, request: pb::ChatRequest) -> Result<pb::ChatResponse, Error> {
        let finished = match self.begin(request).await? {
            Begun::Live(handle) => handle.finished().await?,
            Begun::Past(finished) => finished,
        };
        answer(finished)
    }

    /// The same, as the events of the run.
    ///
    /// # Errors
    /// Those of [`chat`](Self::chat) before the first event. After it, the stream ends with a terminal event.
    pub async fn stream_chat(&self, request: pb::ChatRequest) -> Result<Events, Error> {
        match self.begin(request).await? {
            Begun::Live(handle) => Ok(live_events(handle)),
            Begun::Past(finished) => self.past_events(finished).await,
        }
    }

    async fn begin(&self, request: pb::ChatRequest) -> Result<Begun, Error> {
        let (new, on_disconnect) = self.read(request)?;
        let thread = new.thread.clone();
        let begun = self.engine.begin(new, on_disconnect).await;
        begun.map_err(|error| match thread {
            Some(thread) => named(error, &thread),
            None => error,
        })
    }

    /// Reads a request, naming every field that does not fit.
    fn read(&self, mut request: pb::ChatRequest) -> Result<(NewRun, OnDisconnect), Error> {
        let key = request_key(&mut request)?;
        name::check_assistant("assistant", &request.assistant)?;
        check_busy(request.on_busy)?;
        if !request.client_tools.is_empty() {
            return Err(Error::new(
                Reason::Unimplemented,
                "tools of the client are not served yet",
            ));
        }
        let on_disconnect = on_disconnect(request.on_disconnect)?;
        if request.model.len() > MODEL_NAME_LIMIT_BYTES {
            return Err(Error::invalid(
                "model",
                format!("must be at most {MODEL_NAME_LIMIT_BYTES} bytes"),
            ));
        }
        let limits = request.limits.as_ref();
        let new = NewRun {
            thread: present(request.thread)
                .map(|thread| name::parse_thread("thread", &thread))
                .transpose()?,
            content: content(request.message, request.parts)?,
            model: present(request.model),
            instructions: present(request.instructions),
            limits: limits
                .map(|limits| convert::run::limits_from_pb(limits, self.engine.settings().limits))
                .transpose()?,
            request: key,
            metadata: request.metadata,
        };
        Ok((new, on_disconnect))
    }

    /// A run that is over, told from its records: these events have no sequence, the terminal one has its own.
    async fn past_events(&self, finished: Finished) -> Result<Events, Error> {
        let record = finished.record;
        let (thread, run) = (record.thread.clone(), record.id.clone());
        let messages = self.engine.ports().store.run_messages(&run).await?;
        let mut events: VecDeque<Event> = messages
            .into_iter()
            .map(|message| Event {
                sequence: 0,
                time: message.create_time,
                body: told(message),
            })
            .collect();
        events.push_back(Event {
            sequence: record.last_sequence,
            time: record.end_time.unwrap_or(record.create_time),
            body: Body::Ended(record),
        });
        Ok(stream::iter(events)
            .map(move |event| convert::event::to_pb(&thread, &run, &event))
            .boxed())
    }
}

/// Names the thread that is not there, or the run that keeps it busy, as the contract does.
fn named(error: Error, thread: &ThreadId) -> Error {
    match error.reason() {
        Reason::ThreadNotFound => error.with("thread", name::thread(thread)),
        Reason::ThreadBusy => {
            let active = error.metadata().iter().find(|(key, _)| *key == "run");
            let active = active.and_then(|(_, id)| RunId::parse(id).ok());
            match active {
                Some(run) => Error::new(error.reason(), error.message()).with("run", name::run(thread, &run)),
                None => error,
            }
        }
        _ => error,
    }
}

fn told(message: Arc<Message>) -> Body {
    match message.role {
        Role::Assistant => Body::MessageCompleted(message),
        _ => Body::MessageCreated(message),
    }
}

fn answer(finished: Finished) -> Result<pb::ChatResponse, Error> {
    let Finished { record, response } = finished;
    let run = name::run(&record.thread, &record.id);
    let error = match record.state.outcome() {
        Some(Outcome::Completed | Outcome::Incomplete(_)) => {
            return Ok(pb::ChatResponse {
                response,
                thread: name::thread(&record.thread),
                run,
                usage: Some(convert::run::usage(record.usage)),
                incomplete_reason: convert::run::incomplete_reason(&record.state).into(),
                pending_actions: Vec::new(),
                state: convert::run::state(&record.state).into(),
            });
        }
        Some(Outcome::Failed(error)) => error.clone(),
        Some(Outcome::Cancelled) => Error::new(Reason::RunCancelled, "the run was cancelled"),
        Some(Outcome::Expired) => {
            Error::new(Reason::RunExpired, "the run took longer than the service allows")
        }
        None => Error::internal("a finished run without an outcome"),
    };
    Err(error.with("run", run))
}

/// The run's events, with heartbeats between them. Holds the handle: who drops the stream leaves the run.
fn live_events(handle: RunHandle) -> Events {
    let (thread, run) = (handle.thread().clone(), handle.id().clone());
    let watch = handle.watch();
    stream::unfold((handle, watch), |(handle, mut watch)| async {
        let event = next_or_heartbeat(&mut watch).await?;
        Some((event, (handle, watch)))
    })
    .map(move |event| match event {
        Some(event) => convert::event::to_pb(&thread, &run, &event),
        None => heartbeat(name::run(&thread, &run)),
    })
    .boxed()
}

/// The next event, `Some(None)` when it is time to say that the stream is alive, `None` at the end.
async fn next_or_heartbeat(watch: &mut Watch) -> Option<Option<Arc<Event>>> {
    match tokio::time::timeout(HEARTBEAT_INTERVAL, watch.next()).await {
        Ok(Some(event)) => Some(Some(event)),
        Ok(None) => None,
        Err(_) => Some(None),
    }
}

fn heartbeat(run: String) -> pb::RunEvent {
    pb::RunEvent {
        run,
        event_time: Some(convert::timestamp(std::time::SystemTime::now())),
        payload: Some(pb::run_event::Payload::Heartbeat(pb::Heartbeat {})),
        ..pb::RunEvent::default()
    }
}

/// Takes the request's id out of it; what is left is what a replay must equal.
fn request_key(request: &mut pb::ChatRequest) -> Result<Option<RequestKey>, Error> {
    let id = std::mem::take(&mut request.request_id);
    if id.is_empty() {
        return Ok(None);
    }
    let uuid = uuid::Uuid::try_parse(&id).map_err(|_| Error::invalid("request_id", "must be a UUID"))?;
    let digest = Sha256::digest(request.encode_to_vec()).into();
    Ok(Some(RequestKey {
        id: uuid.to_string(),
        digest,
    }))
}

fn check_busy(on_busy: i32) -> Result<(), Error> {
    match pb::OnBusy::try_from(on_busy) {
        Ok(pb::OnBusy::Unspecified | pb::OnBusy::Reject) => Ok(()),
        Ok(pb::OnBusy::Enqueue | pb::OnBusy::Interrupt) => Err(Error::new(
            Reason::Unimplemented,
            "only ON_BUSY_REJECT is served yet",
        )),
        Err(_) => Err(Error::invalid("on_busy", "is not a known value")),
    }
}

fn on_disconnect(on_disconnect: i32) -> Result<OnDisconnect, Error> {
    match pb::OnDisconnect::try_from(on_disconnect) {
        Ok(pb::OnDisconnect::Unspecified | pb::OnDisconnect::Cancel) => Ok(OnDisconnect::Cancel),
        Ok(pb::OnDisconnect::Continue) => Ok(OnDisconnect::GoOn),
        Err(_) => Err(Error::invalid("on_disconnect", "is not a known value")),
    }
}

/// What the caller says: its text, then its parts.
fn content(message: String, parts: Vec<pb::ContentPart>) -> Result<Vec<Part>, Error> {
    if message.is_empty() && parts.is_empty() {
        return Err(Error::invalid("message", "must not be empty"));
    }
    let mut content = Vec::with_capacity(parts.len() + 1);
    content.extend(present(message).map(Part::Text));
    let mut violations: Vec<Violation> = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        match convert::message::said_from_pb(&format!("parts[{index}]"), part) {
            Ok(part) => content.push(part),
            Err(error) => violations.extend_from_slice(error.violations()),
        }
    }
    if violations.is_empty() {
        Ok(content)
    } else {
        Err(Error::invalid_fields(violations))
    }
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
