//! Chat and StreamChat.

use super::Handlers;
use super::asked::{model, named, on_busy, on_disconnect, options, parts, present, request_key};
use super::attached;
use super::events::{self, Events};
use crate::api::caller::Requester;
use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::engine::{Begun, Finished, NewRun, OnDisconnect};
use crate::run::error::Error;
use crate::run::message::Part;
use crate::run::options::OutputFormat;
use crate::run::ports::RequestKey;
use crate::run::record::{Outcome, RunRecord, State};

impl Handlers {
    /// One message in, the finished answer out.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, those of [`Engine::begin`](crate::run::engine::Engine::begin), and why a run FAILED or
    /// EXPIRED, with metadata `run`.
    pub async fn chat(
        &self,
        request: pb::ChatRequest,
        requester: Requester,
    ) -> Result<pb::ChatResponse, Error> {
        let finished = match self.begin(request, requester).await? {
            Begun::Live(handle) => {
                let finished = handle.answered().await?;
                // The caller has its answer: who goes away now does not leave the run.
                handle.let_go();
                finished
            }
            Begun::Elsewhere(record) => self.engine.answered_elsewhere(&record.id).await?,
            Begun::Past(finished) => finished,
        };
        answer(finished)
    }

    /// The same, as the events of the run.
    ///
    /// # Errors
    /// Those of [`chat`](Self::chat) before the first event. After it, the stream ends with a terminal event.
    pub async fn stream_chat(&self, request: pb::ChatRequest, requester: Requester) -> Result<Events, Error> {
        match self.begin(request, requester).await? {
            Begun::Live(handle) => Ok(events::of_handle(handle, self.slow_watcher_limit)),
            Begun::Elsewhere(record) => self.watched(&record).await,
            Begun::Past(Finished { record, .. }) => self.watched(&record).await,
        }
    }

    async fn watched(&self, record: &RunRecord) -> Result<Events, Error> {
        let watch = self.engine.watch(&record.thread, &record.id, 0).await?;
        Ok(events::of_watch(watch, self.slow_watcher_limit))
    }

    async fn begin(&self, mut request: pb::ChatRequest, requester: Requester) -> Result<Begun, Error> {
        let id = std::mem::take(&mut request.request_id);
        let key = request_key(&id, "Chat", &request)?;
        // What it names may have changed since it was made before, or be gone.
        let names_others = !request.assistant.is_empty()
            || !request.client_tools.is_empty()
            || attached::are_among(&request.parts);
        if names_others
            && let Some(key) = &key
            && let Some(begun) = self.engine.begun_by(key).await?
        {
            return Ok(begun);
        }
        let (new, on_disconnect) = self.read(request, key, &requester.name).await?;
        let new = NewRun {
            caller: requester.name,
            credentials: requester.credentials,
            ..new
        };
        let thread = new.thread.clone();
        let begun = self.engine.begin(new, on_disconnect).await;
        begun.map_err(|error| match thread {
            Some(thread) => named(error, &thread),
            None => error,
        })
    }

    /// Reads a request, naming every field that does not fit.
    async fn read(
        &self,
        request: pb::ChatRequest,
        key: Option<RequestKey>,
        caller: &str,
    ) -> Result<(NewRun, OnDisconnect), Error> {
        let assistant = self.assistant("assistant", &request.assistant).await?;
        let on_busy = on_busy(request.on_busy)?;
        let catalogue = self.engine.ports().toolbox.catalogue();
        let client_tools = convert::tool::client_from_pb("client_tools", request.client_tools, &catalogue)?;
        convert::thread::check_labels("metadata", &request.metadata)?;
        let on_disconnect = on_disconnect(request.on_disconnect, OnDisconnect::Cancel)?;
        let limits = convert::run::limits_from_pb("limits", request.limits.as_ref())?;
        let truncation = convert::truncation::from_pb("truncation", request.truncation.as_ref())?;
        let options = options(
            "options",
            request.options,
            assistant.as_ref(),
            &client_tools,
            &catalogue,
        )?;
        let thread = present(request.thread)
            .map(|thread| name::parse_thread("thread", &thread))
            .transpose()?;
        let model = model("model", request.model)?;
        self.check_model("model", model.as_deref().unwrap_or_default())?;
        if request.message.is_empty() && request.parts.is_empty() {
            return Err(Error::invalid("message", "must not be empty"));
        }
        let mut parts = parts("parts", request.parts)?;
        self.read_attached("parts", &mut parts, caller).await?;
        // What the caller says: its text, then its parts.
        let text = present(request.message).map(Part::Text);
        let content = text.into_iter().chain(parts).collect();
        let new = NewRun {
            thread,
            content,
            model,
            instructions: request.instructions,
            limits,
            truncation,
            options,
            assistant,
            client_tools,
            on_busy,
            request: key,
            metadata: request.metadata,
            caller: String::new(),
            credentials: None,
        };
        Ok((new, on_disconnect))
    }
}

fn answer(finished: Finished) -> Result<pb::ChatResponse, Error> {
    let response = finished.response();
    let Finished { record, answer } = finished;
    let run = name::run(&record.thread, &record.id);
    let error = match &record.state {
        State::Ended(Outcome::Completed | Outcome::Incomplete(_) | Outcome::Cancelled)
        | State::RequiresAction => {
            return Ok(pb::ChatResponse {
                structured: structured(&record, &response),
                response,
                refusal: answer
                    .as_ref()
                    .map(|message| message.refusal())
                    .unwrap_or_default(),
                annotations: answer
                    .as_ref()
                    .map(|message| convert::message::annotations_to_pb(message))
                    .unwrap_or_default(),
                thread: name::thread(&record.thread),
                run,
                usage: Some(convert::run::usage(record.usage)),
                incomplete_reason: convert::run::incomplete_reason(&record.state).into(),
                pending_actions: convert::action::all_to_pb(&record),
                state: convert::run::state(&record.state).into(),
            });
        }
        State::Ended(Outcome::Failed(error)) => error.clone(),
        State::Ended(Outcome::Expired(text)) => convert::run::expired(text),
        State::Queued | State::Running | State::Cancelling => {
            Error::internal("an answered run that is at work")
        }
    };
    Err(error.with("run", run))
}

/// The answer as data, where it was to be JSON. Of a run that is COMPLETED, it is.
fn structured(record: &RunRecord, response: &str) -> Option<prost_types::Value> {
    let is_data = matches!(
        record.snapshot.options.output_format,
        Some(OutputFormat::JsonObject { .. } | OutputFormat::JsonSchema(_))
    );
    if !is_data || record.state != State::Ended(Outcome::Completed) {
        return None;
    }
    let value = serde_json::from_str(response).ok()?;
    Some(convert::structure::value_from_json(&value))
}
